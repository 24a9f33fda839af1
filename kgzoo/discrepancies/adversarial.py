"""Classical adversarial losses on critic scores (repulsive MMD-GAN paper, appendix B.1).

Scores are logits `[n]` or `[n, 1]`: high means real. Each entry of `LOSSES` is a pair of functions
`critic(real, fake) -> scalar` and `generator(fake) -> scalar`, both to be minimised.
"""

from collections.abc import Callable

import tensorflow as tf

__all__ = ["LOSSES"]


def _score(x: tf.Tensor) -> tf.Tensor:
    x = tf.convert_to_tensor(x)
    return x if x.dtype == tf.float64 else tf.cast(x, tf.float32)


def _logistic_critic(real: tf.Tensor, fake: tf.Tensor) -> tf.Tensor:
    """mean softplus(-D(x)) + mean softplus(D(G(z))); Goodfellow et al. (2014)."""
    return tf.reduce_mean(tf.nn.softplus(-_score(real))) + tf.reduce_mean(
        tf.nn.softplus(_score(fake))
    )


def _non_saturating_generator(fake: tf.Tensor) -> tf.Tensor:
    """mean softplus(-D(G(z))); Goodfellow et al. (2014)."""
    return tf.reduce_mean(tf.nn.softplus(-_score(fake)))


def _hinge_critic(real: tf.Tensor, fake: tf.Tensor) -> tf.Tensor:
    """mean relu(1 - D(x)) + mean relu(1 + D(G(z))); Tran et al. (2017)."""
    return tf.reduce_mean(tf.nn.relu(1.0 - _score(real))) + tf.reduce_mean(
        tf.nn.relu(1.0 + _score(fake))
    )


def _mean_generator(fake: tf.Tensor) -> tf.Tensor:
    """-mean D(G(z))"""
    return -tf.reduce_mean(_score(fake))


LOSSES: dict[str, tuple[Callable, Callable]] = {
    "non_saturating": (_logistic_critic, _non_saturating_generator),
    "hinge": (_hinge_critic, _mean_generator),
}
