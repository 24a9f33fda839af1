"""Classical adversarial losses on critic scores (repulsive MMD-GAN paper, appendix B.1).

Scores are logits `[n]` or `[n, 1]`: high means real. Each entry of `LOSSES` is a pair of functions
`critic(real, fake) -> scalar` and `generator(fake) -> scalar`, both to be minimised.
"""

from collections.abc import Callable

import tensorflow as tf

__all__ = ["LOSSES"]


def _mean(x: tf.Tensor) -> tf.Tensor:
    return tf.reduce_mean(tf.cast(x, tf.float64 if x.dtype == tf.float64 else tf.float32))


def _logistic_critic(real: tf.Tensor, fake: tf.Tensor) -> tf.Tensor:
    """mean softplus(-D(x)) + mean softplus(D(G(z))); Goodfellow et al. (2014)."""
    return _mean(tf.nn.softplus(-real)) + _mean(tf.nn.softplus(fake))


def _non_saturating_generator(fake: tf.Tensor) -> tf.Tensor:
    """mean softplus(-D(G(z))); Goodfellow et al. (2014)."""
    return _mean(tf.nn.softplus(-fake))


def _hinge_critic(real: tf.Tensor, fake: tf.Tensor) -> tf.Tensor:
    """mean relu(1 - D(x)) + mean relu(1 + D(G(z))); Tran et al. (2017)."""
    return _mean(tf.nn.relu(1.0 - real)) + _mean(tf.nn.relu(1.0 + fake))


def _mean_generator(fake: tf.Tensor) -> tf.Tensor:
    """-mean D(G(z))"""
    return -_mean(fake)


LOSSES: dict[str, tuple[Callable, Callable]] = {
    "non_saturating": (_logistic_critic, _non_saturating_generator),
    "hinge": (_hinge_critic, _mean_generator),
}
