"""The scaled MMD: an MMD over critics whose mean gradient is bounded (SMMD paper, section 3.3)."""

from collections.abc import Callable

import tensorflow as tf

from kgzoo.errors import UserError
from kgzoo.kernels import Kernel
from kgzoo.kernels.arguments import as_numbers, non_negative, of_one_type

__all__ = [
    "features_and_jacobian",
    "features_and_jacobian_gram",
    "linear_scale",
    "sigma2",
    "smmd_scale",
]


def _features_and_gradients(
    network: Callable[[tf.Tensor], tf.Tensor], x: tf.Tensor
) -> tuple[tf.Tensor, list[tf.Tensor]]:
    """Returns the features `[n, s]` and, for each of them, its gradient by `x`, flat `[n, d]`."""
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        features = tf.cast(network(x), tf.float64 if x.dtype == tf.float64 else tf.float32)
        if features.shape.rank != 2 or features.shape[1] is None:
            raise UserError(
                f"the critic's output has shape {features.shape}; a scaled discrepancy needs [n, s]"
                " with a fixed s."
            )
        outputs = [tf.reduce_sum(features[:, i]) for i in range(features.shape[1])]
    gradients = []
    for output in outputs:
        gradient = tape.gradient(output, x, unconnected_gradients="zero")
        gradients.append(tf.reshape(tf.cast(gradient, features.dtype), [tf.shape(x)[0], -1]))
    return features, gradients


def features_and_jacobian(
    network: Callable[[tf.Tensor], tf.Tensor], x: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the features `[n, s]` of `x` and the squared Frobenius norm `[n]` of their Jacobian.

    One backward pass per output. The norm runs over every pixel and channel of one example (some
    public code sums over one axis only). Differentiable again, by an outer tape.

    Args:
        network: maps `x` to `[n, s]`, every row from its own example alone.
        x: inputs `[n, ...]`.
    """
    features, gradients = _features_and_gradients(network, x)
    return features, tf.add_n([tf.reduce_sum(tf.square(g), axis=1) for g in gradients])


def features_and_jacobian_gram(
    network: Callable[[tf.Tensor], tf.Tensor], x: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the features `[n, s]` of `x` and the Gram matrices `[n, s, s]` of their Jacobians.

    The Gram matrix J J^T of an example holds the inner products of its features' gradients by every
    pixel and channel; its trace is the squared norm of `features_and_jacobian`, and costs as much.
    Differentiable again, by an outer tape.

    Args: as for `features_and_jacobian`.
    """
    features, gradients = _features_and_gradients(network, x)
    jacobian = tf.stack(gradients, axis=1)
    return features, tf.matmul(jacobian, jacobian, transpose_b=True)


def smmd_scale(kernel: Kernel, jacobian_squared: tf.Tensor, weight: float = 10.0) -> tf.Tensor:
    """1 / (1 + weight * 2|g'(0)| * mean ||grad phi||_F^2): the scale of the SMMD loss.

    For the Gaussian kernel of bandwidth 1, 2|g'(0)| = 1 and this is the paper's constant 10 in the
    losses of section 4. It is Prop. 4 up to a constant factor, with lambda = slope/weight - g(0).

    Args:
        kernel: a stationary kernel on the features.
        jacobian_squared: squared Jacobian norms `[n]` at the points of mu (real images).
        weight: the constant 10, for images in [0, 1].
    """
    non_negative("smmd_scale", "weight", weight)
    return 1.0 / (1.0 + weight * kernel.slope * _mean(jacobian_squared))


def linear_scale(
    features: tf.Tensor, jacobian_squared: tf.Tensor, weight: float = 10.0
) -> tf.Tensor:
    """1 / (1 + weight * (mean |phi|^2 + mean ||grad phi||_F^2)): the scale under a linear kernel.

    The SWGAN loss of section 4 is the difference of means times its square root.

    Args:
        features: critic outputs `[n, s]` at the points of mu.
        jacobian_squared: squared Jacobian norms `[n]` at the same points.
        weight: the constant 10, for images in [0, 1].
    """
    non_negative("linear_scale", "weight", weight)
    features, jacobian_squared = of_one_type(features=features, jacobian_squared=jacobian_squared)
    if features.shape.rank != 2:
        raise UserError(f"features have shape {features.shape}; linear_scale needs [n, s].")
    value = tf.reduce_mean(tf.reduce_sum(tf.square(features), axis=1))
    return 1.0 / (1.0 + weight * (value + _mean(jacobian_squared)))


def sigma2(kernel: Kernel, jacobian_squared: tf.Tensor, regularization: float) -> tf.Tensor:
    """sigma^2 of Prop. 4 for k = K o phi, K(a, b) = g(-|a - b|^2): SMMD^2 = sigma^2 MMD^2.

    sigma^-2 = lambda + g(0) + 2|g'(0)| mean ||grad phi||_F^2.

    Args:
        kernel: a stationary kernel on the features.
        jacobian_squared: squared Jacobian norms `[n]` at the points of mu.
        regularization: lambda.
    """
    non_negative("sigma2", "regularization", regularization)
    return 1.0 / (regularization + kernel.at_zero + kernel.slope * _mean(jacobian_squared))


def _mean(jacobian_squared: tf.Tensor) -> tf.Tensor:
    values = as_numbers("jacobian_squared", jacobian_squared)
    if values.shape.rank != 1 or values.shape[0] == 0:
        raise UserError(
            f"jacobian_squared has shape {values.shape}; give one squared norm for each of n >= 1 "
            "points."
        )
    return tf.reduce_mean(values)
