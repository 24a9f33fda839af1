"""The scale of the SMMD under a trainable kernel on features z = h(x) with Jacobians J.

sigma^-2 = lambda + E k(x, x) + E sum_i d^2 k / dy_i dz_i (SMMD paper, Prop. 2). For KernelNet the
last term is exactly E tr(J J^T M(z)), M the second moment of the frequencies. Prop. 6 of the
KernelNet paper prints something else: ||J||_F where the square belongs, E|omega|^2 in the place of
M, and 1 for kappa(z, z) = 2. The printed forms and that of the authors' code are kept by name.
"""

import tensorflow as tf

from kgzoo.errors import UserError, unknown_name
from kgzoo.kernels import Drawn
from kgzoo.kernels.arguments import non_negative, of_one_type

__all__ = ["FORMS", "kernel_scale", "sigma2"]

FORMS = ("exact", "proposition_6", "equation_11", "authors")

# The root's gradient at an all-zero Jacobian stays finite.
_TINY = 1e-8


def _gradient_term(drawn: Drawn, features: tf.Tensor, jacobian_gram: tf.Tensor) -> tf.Tensor:
    """mean tr(J J^T M(z))."""
    features, jacobian_gram = _checked(features, jacobian_gram)
    products = jacobian_gram * drawn.second_moment(features)
    return tf.reduce_mean(tf.reduce_sum(products, axis=[1, 2]))


def _checked(features: tf.Tensor, gram: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    features, gram = of_one_type(features=features, jacobian_gram=gram)
    fits = features.shape.rank == 2 and gram.shape.rank == 3 and features.shape[0] != 0
    if fits:
        n, s = features.shape
        fits = gram.shape.is_compatible_with([n, s, s])
    if not fits:
        raise UserError(
            f"features have shape {features.shape} and jacobian_gram {gram.shape}; a scale needs "
            "[n, s] and [n, s, s] with n > 0, from one call of features_and_jacobian_gram."
        )
    return features, gram


def sigma2(
    drawn: Drawn, features: tf.Tensor, jacobian_gram: tf.Tensor, regularization: float
) -> tf.Tensor:
    """sigma^2 of Prop. 6 put right: SMMD^2 = sigma^2 MMD^2.

    sigma^-2 = lambda + kappa(z, z) + mean tr(J J^T M(z)), with kappa(z, z) = 2 (1 for IKL).

    Args:
        drawn: the kernel of the update.
        features: critic outputs `[n, s]` at the points of mu (real images).
        jacobian_gram: J J^T of the same points, `[n, s, s]`.
        regularization: lambda.
    """
    non_negative("sigma2", "regularization", regularization)
    gradient = _gradient_term(drawn, features, jacobian_gram)
    return 1.0 / (regularization + drawn.diagonal + gradient)


def kernel_scale(
    drawn: Drawn,
    features: tf.Tensor,
    jacobian_gram: tf.Tensor,
    form: str = "exact",
    weight: float = 1.0,
    regularization: float = 1.0,
) -> tf.Tensor:
    """The factor of MMD^2 in SMMD-DK: a scalar, differentiable by features, Jacobians and kernel.

    Args:
        drawn: the kernel of the update.
        features: critic outputs `[n, s]` at the points of mu (real images).
        jacobian_gram: J J^T of the same points, `[n, s, s]`.
        form: with w_1, w_2 the two frequencies, w_2 at (z, z), and means over the points,
            exact: 1 / (1 + weight mean tr(J J^T M)), eq. (11)'s shape with the right trace;
            proposition_6: 1 / (lambda + 1 + mean E|w_2|^2 ||J||_F + mean E|w_1|^2 ||J||_F);
            equation_11: 1 / (1 + weight mean E|w_2|^2 ||J||_F + mean E|w_1|^2 ||J||_F);
            authors: 1 / (1 + weight mean ||J||_F^2 (E|w_1|^2 + E|w_2|^2)).
        weight: zeta (1, 2 or 5 in the paper) or the authors' constant (10).
        regularization: lambda, of Prop. 6 alone.

    Raises:
        UserError: if the form is not known.
    """
    if form not in FORMS:
        raise unknown_name("scale_form", form, FORMS)
    for name, value in (("weight", weight), ("regularization", regularization)):
        non_negative("kernel_scale", name, value)
    if form == "exact":
        return 1.0 / (1.0 + weight * _gradient_term(drawn, features, jacobian_gram))
    features, jacobian_gram = _checked(features, jacobian_gram)
    first, second = drawn.squared_norms(features)
    squared = tf.linalg.trace(jacobian_gram)
    if form == "authors":
        return 1.0 / (1.0 + weight * tf.reduce_mean(squared * (first + second)))
    norm = tf.sqrt(tf.nn.relu(squared) + _TINY)
    of_first, of_second = tf.reduce_mean(first * norm), tf.reduce_mean(second * norm)
    if form == "proposition_6":
        return 1.0 / (regularization + 1.0 + of_second + of_first)
    return 1.0 / (1.0 + weight * of_second + of_first)
