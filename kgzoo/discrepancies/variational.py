"""Terms of a variational autoencoder's objective: likelihood, divergences, dependence.

Samples of q(z|x) are `[n, s, d]`: s codes of each of n examples.
"""

import math

import tensorflow as tf

from kgzoo.errors import UserError
from kgzoo.kernels import Kernel
from kgzoo.kernels.arguments import as_numbers, of_one_type, same_shape

__all__ = [
    "bernoulli_log_likelihood",
    "conditional_mmd",
    "gaussian_kl",
    "known_by_gradient",
    "normal_log_density",
]

# Keeps the root's gradient finite at 0.
_TINY = 1e-8


def bernoulli_log_likelihood(examples: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """log p(x|z) in nats, summed over pixels: `[n, s]`.

    Args:
        examples: `[n, d]` in [0, 1]; for values between, the negative cross-entropy.
        logits: of the pixels, `[n, s, d]`.
    """
    examples, logits = of_one_type(examples=examples, logits=logits)
    fit = examples.shape.rank == 2 and logits.shape.rank == 3
    if not fit or not examples.shape.is_compatible_with([logits.shape[0], logits.shape[2]]):
        raise UserError(
            f"bernoulli_log_likelihood got examples of shape {examples.shape} and logits of shape "
            f"{logits.shape}; give [n, d] and [n, s, d]."
        )
    matching = tf.linalg.matvec(logits, examples)
    return matching - tf.reduce_sum(tf.nn.softplus(logits), axis=-1)


def gaussian_kl(means: tf.Tensor, log_variances: tf.Tensor) -> tf.Tensor:
    """KL[N(mean, diag exp log_variance) || N(0, I)], `[...]` of arguments `[..., d]`."""
    means, log_variances = same_shape("gaussian_kl", means=means, log_variances=log_variances)
    terms = tf.square(means) + tf.exp(log_variances) - log_variances - 1.0
    return 0.5 * tf.reduce_sum(terms, axis=-1)


def normal_log_density(z: tf.Tensor) -> tf.Tensor:
    """log N(z; 0, I), `[...]` of points `[..., d]`."""
    z = as_numbers("z", z)
    if z.shape.rank == 0:
        raise UserError(f"normal_log_density got z of shape {z.shape}; give points [..., d].")
    return -0.5 * tf.reduce_sum(tf.square(z) + math.log(2.0 * math.pi), axis=-1)


def known_by_gradient(z: tf.Tensor, gradient: tf.Tensor) -> tf.Tensor:
    """A scalar of value 0 whose gradient by z is `gradient`, over the number of points.

    For a divergence E_q f of which only the gradient of f at the samples is known: with
    reparameterised samples, its gradient by the weights of q is the mean of dz/dphi . grad f.

    Args:
        z: points `[..., d]`.
        gradient: of the same shape, taken as a constant.
    """
    z, gradient = same_shape("known_by_gradient", z=z, gradient=gradient)
    moved = tf.reduce_mean(tf.reduce_sum(z * tf.stop_gradient(gradient), axis=-1))
    return moved - tf.stop_gradient(moved)


def conditional_mmd(kernel: Kernel, codes: tf.Tensor, marginal: tf.Tensor) -> tf.Tensor:
    """E_x MMD[q(z|x), q(z)]: the last term of eq. (14) of the KernelNet paper, a scalar.

    The biased estimator, with the square root of each example's MMD^2; one that is negative, as
    can be under a kernel that is not positive definite, counts 0.

    Args:
        kernel: on points `[m, d]`.
        codes: samples of q(z|x), `[n, s, d]`.
        marginal: a sample of q(z), `[m, d]`.
    """
    codes, marginal = of_one_type(codes=codes, marginal=marginal)
    fit = codes.shape.rank == 3 and marginal.shape.rank == 2
    if not fit or 0 in (*codes.shape[:2], marginal.shape[0]):
        raise UserError(
            f"conditional_mmd got codes of shape {codes.shape} and marginal of shape "
            f"{marginal.shape}; give [n, s, d] and [m, d], with at least one of each."
        )
    d = codes.shape[-1]
    own = tf.reduce_mean(kernel.matrices(codes), axis=[1, 2])
    cross = kernel.matrix(tf.reshape(codes, [-1, d]), marginal)
    cross = tf.reduce_mean(tf.reshape(cross, [tf.shape(codes)[0], -1]), axis=1)
    squared = own - 2.0 * cross + tf.reduce_mean(kernel.matrix(marginal, marginal))
    return tf.reduce_mean(tf.sqrt(tf.nn.relu(squared) + _TINY))
