"""The Kernel GAN objective: a Jensen-Shannon divergence of kernel density estimates.

Kernel GAN paper, eq. 10-12 and A.2. With p^ and q^ the kernel density estimates of the real and of
the generated sample and phi >= 0,

    mean over X of log (p^ + phi) / (p^ + q^ + 2 phi)  +  mean over Y of log (q^ + phi) / (same),

everything in logarithms: a ratio of densities is a difference of log-sum-exps, and a half is
-softplus of it, whatever the bandwidths and however far the points. An estimate at a point of its
own sample includes that point (eq. 12 has no leave-one-out), which bounds p^(X_i) from below.

-log 4 on coinciding samples, for every phi. Not a lower bound: eq. 12 evaluates the estimates at
the points themselves instead of around them, so a finite sample may fall below it, either half
below -log 2.
"""

import math
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from kgzoo.errors import UserError, unknown_name
from kgzoo.kernels.arguments import as_numbers, as_points, as_width, non_negative, refuse_overflow

__all__ = ["CORRECTIONS", "LOG4", "MIXTURES", "jensen_shannon"]

MIXTURES = ("sum", "mean")
CORRECTIONS = ("none", "printed", "corrected")
LOG4 = math.log(4.0)

# Up to so many features squared distances are computed from differences; see kernels/stationary.py.
_DIRECT_FEATURES = 32


def jensen_shannon(
    real: tf.Tensor,
    fake: tf.Tensor,
    bandwidths: Sequence[float] | tf.Tensor,
    *,
    mixture: str = "sum",
    normalized: bool = False,
    offset: float = 0.0,
    correction: str = "none",
    uniform: tf.Tensor | None = None,
    volume: float = 1.0,
) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
    """The Kernel GAN objective, which the generator minimises.

    Several bandwidths make one density, of all their kernels. Where phi is 0, `mixture` and, for a
    single bandwidth, `normalized` change nothing.

    Args:
        real: features of the real sample, `[n, d]`.
        fake: features of the generated sample, `[m, d]`.
        bandwidths: sigma of the Gaussian kernels, in units of the features; numbers above 0, or a
            tensor `[K]` that may change during training.
        mixture: `sum` or `mean` over the bandwidths inside the density: phi weighs K times as much
            beside the mean.
        normalized: whether each kernel is a density (eq. 10 with 1/sigma^d and the Gaussian's
            constant) or 1 at distance 0 (eq. 14-15). In many dimensions the smallest of several
            normalized bandwidths outweighs all others, and far points pull no more: on MNIST they
            learn nothing (benchmarks/kernel_gan_mixtures.py).
        offset: phi >= 0, in units of the density.
        correction: the terms of A.2, whose sum with the limit of eq. 12 is the divergence of the
            densities shifted by phi. Their estimators as `printed`, which lack a factor phi, or
            `corrected`.
        uniform: points `[u, d]` of the uniform density on the bounded set of the features; needed
            with a correction.
        volume: mu(X), the volume of that set.

    Returns:
        The scalar, and its two halves: `jsd_first` over the real points, `jsd_second` over the
        generated ones; `jsd_correction` with a correction.

    Raises:
        UserError: if a name is unknown, a number out of range, a shape does not fit, or `uniform`
            is missing.

    References:
        Sinn and Rawat (2018), Non-parametric estimation of Jensen-Shannon divergence in generative
        adversarial network training, https://arxiv.org/abs/1705.09199, eq. (12), appendix A.2.
    """
    _check(mixture, offset, correction, uniform)
    volume = as_width("jensen_shannon", "volume", volume)
    real, fake = as_points(real, fake)
    if 0 in (real.shape[0], fake.shape[0]):
        raise UserError(
            f"jensen_shannon got {real.shape[0]} real and {fake.shape[0]} generated examples; "
            "give at least one of each."
        )
    densities = _Densities(real, fake, bandwidths, mixture, normalized, offset)
    cross = _squared_distances(real, fake)
    real_at_real = densities.log_real(_squared_distances(real))
    fake_at_real = densities.log_fake(cross)
    fake_at_fake = densities.log_fake(_squared_distances(fake))
    real_at_fake = densities.log_real(tf.transpose(cross))
    first = tf.reduce_mean(_log_share(real_at_real, fake_at_real))
    second = tf.reduce_mean(_log_share(fake_at_fake, real_at_fake))
    diagnostics = {"jsd_first": first, "jsd_second": second}
    value = first + second
    if correction != "none":
        points, _ = as_points(tf.cast(as_numbers("uniform", uniform), real.dtype), real)
        if points.shape[0] == 0:
            raise UserError("uniform has no points; give at least one of the bounded set.")
        # No own point keeps both densities from vanishing there.
        refuse_overflow("jensen_shannon", uniform=points, real=real, fake=fake)
        p = densities.log_real(_squared_distances(points, real))
        q = densities.log_fake(_squared_distances(points, fake))
        weight = volume if correction == "printed" else offset * volume
        third = weight * tf.reduce_mean(_log_share(p, q) + _log_share(q, p))
        diagnostics["jsd_correction"] = third
        value += third
    return value, diagnostics


def _log_share(log_p: tf.Tensor, log_q: tf.Tensor) -> tf.Tensor:
    """Returns log p / (p + q)."""
    return -tf.nn.softplus(log_q - log_p)


class _Densities:
    """log (p^ + phi) and log (q^ + phi), both less one constant that their ratios do not see."""

    def __init__(
        self,
        real: tf.Tensor,
        fake: tf.Tensor,
        bandwidths: Sequence[float] | tf.Tensor,
        mixture: str,
        normalized: bool,
        offset: float,
    ):
        bandwidths = _as_bandwidths(bandwidths, real.dtype)
        self._rates = 0.5 / tf.square(bandwidths)
        log_weights = tf.zeros_like(bandwidths)
        if normalized:
            dim = tf.cast(tf.shape(real)[1], real.dtype)
            log_weights -= dim * (tf.math.log(bandwidths) + 0.5 * math.log(2.0 * math.pi))
        # d log sigma may be thousands, beside which a difference of log densities has no digits.
        constant = tf.reduce_max(log_weights)
        self._log_weights = log_weights - constant
        self._log_offset = None
        if offset:
            self._log_offset = math.log(offset) - constant
            if mixture == "mean":
                # The mean is the sum with phi taken K times, up to the constant log K.
                self._log_offset += tf.math.log(tf.cast(tf.size(bandwidths), real.dtype))
        self._log_n, self._log_m = (
            tf.math.log(tf.cast(tf.shape(points)[0], real.dtype)) for points in (real, fake)
        )

    def log_real(self, squared: tf.Tensor) -> tf.Tensor:
        """At points `[v]` with squared distances `[v, n]` to the real sample."""
        return self._log(squared, self._log_n)

    def log_fake(self, squared: tf.Tensor) -> tf.Tensor:
        """At points `[v]` with squared distances `[v, m]` to the generated sample."""
        return self._log(squared, self._log_m)

    def _log(self, squared: tf.Tensor, log_size: tf.Tensor) -> tf.Tensor:
        exponents = -self._rates[:, None, None] * squared
        of_each = tf.reduce_logsumexp(exponents, axis=2) + self._log_weights[:, None]
        density = tf.reduce_logsumexp(of_each, axis=0) - log_size
        if self._log_offset is None:
            return density
        return self._log_offset + tf.nn.softplus(density - self._log_offset)


def _squared_distances(x: tf.Tensor, y: tf.Tensor | None = None) -> tf.Tensor:
    """Returns the squared distances `[n, m]` between the points of x and y, or of x and itself."""
    other = x if y is None else y
    if x.shape[1] is not None and x.shape[1] <= _DIRECT_FEATURES:
        return tf.reduce_sum(tf.math.squared_difference(x[:, None, :], other[None, :, :]), axis=-1)
    refuse_overflow("jensen_shannon", points=x, others=other)
    centre = tf.stop_gradient(tf.reduce_mean(other, axis=0, keepdims=True))
    x, other = x - centre, other - centre
    squares = tf.reduce_sum(tf.square(x), axis=1)[:, None]
    squares += tf.reduce_sum(tf.square(other), axis=1) - 2.0 * tf.matmul(x, other, transpose_b=True)
    squares = tf.maximum(squares, 0.0)
    if y is None:
        # Rounding of the expansion, divided by a small sigma^2, would take the own point away.
        squares = tf.linalg.set_diag(squares, tf.zeros_like(squares[:, 0]))
    return squares


def _as_bandwidths(bandwidths: Sequence[float] | tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    if tf.is_tensor(bandwidths) or isinstance(bandwidths, keras.Variable):
        return tf.reshape(tf.cast(bandwidths, dtype), [-1])
    try:
        given = np.ravel(bandwidths).tolist()
    except (TypeError, ValueError):
        given = [bandwidths]
    values = [as_width("jensen_shannon", "bandwidths", value) for value in given]
    if not values:
        raise UserError("jensen_shannon got bandwidths=(); give at least one number above 0.")
    return tf.constant(values, dtype)


def _check(mixture: str, offset: float, correction: str, uniform: tf.Tensor | None) -> None:
    if mixture not in MIXTURES:
        raise unknown_name("mixture", mixture, MIXTURES)
    if correction not in CORRECTIONS:
        raise unknown_name("bounded_correction", correction, CORRECTIONS)
    non_negative("jensen_shannon", "offset", offset)
    if correction != "none" and uniform is None:
        raise UserError(
            f"correction={correction!r} needs points of the uniform density on the bounded set; "
            "give uniform, or take correction='none'."
        )
