"""Terms of a variational autoencoder's objective: likelihood, divergences, dependence.

Samples of q(z|x) are `[n, s, d]`: s codes of each of n examples.
"""

import math

import tensorflow as tf

from kgzoo.kernels import Kernel

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
    matching = tf.linalg.matvec(logits, examples)
    return matching - tf.reduce_sum(tf.nn.softplus(logits), axis=-1)


def gaussian_kl(means: tf.Tensor, log_variances: tf.Tensor) -> tf.Tensor:
    """KL[N(mean, diag exp log_variance) || N(0, I)], `[...]` of arguments `[..., d]`."""
    terms = tf.square(means) + tf.exp(log_variances) - log_variances - 1.0
    return 0.5 * tf.reduce_sum(terms, axis=-1)


def normal_log_density(z: tf.Tensor) -> tf.Tensor:
    """log N(z; 0, I), `[...]` of points `[..., d]`."""
    return -0.5 * tf.reduce_sum(tf.square(z) + math.log(2.0 * math.pi), axis=-1)


def known_by_gradient(z: tf.Tensor, gradient: tf.Tensor) -> tf.Tensor:
    """A scalar of value 0 whose gradient by z is `gradient`, over the number of points.

    For a divergence E_q f of which only the gradient of f at the samples is known: with
    reparameterised samples, its gradient by the weights of q is the mean of dz/dphi . grad f.

    Args:
        z: points `[..., d]`.
        gradient: of the same shape, taken as a constant.
    """
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
    d = codes.shape[-1]
    own = tf.reduce_mean(kernel.matrices(codes), axis=[1, 2])
    cross = kernel.matrix(tf.reshape(codes, [-1, d]), marginal)
    cross = tf.reduce_mean(tf.reshape(cross, [tf.shape(codes)[0], -1]), axis=1)
    squared = own - 2.0 * cross + tf.reduce_mean(kernel.matrix(marginal, marginal))
    return tf.reduce_mean(tf.sqrt(tf.nn.relu(squared) + _TINY))
