"""sin(u) / u, accurate with its first two derivatives at and near 0, and products along an axis."""

from collections.abc import Callable
from math import factorial

import tensorflow as tf

__all__ = ["product", "sinc"]

# sinc is 1 and its slope -u / 3 to every digit of float64 below this.
_ZERO = 1e-12
# Below this the slope's closed form cancels; its series needs so many terms up to there.
_SERIES = 0.5
_TERMS = {tf.float32: 4, tf.float64: 8}


def _off_zero(u: tf.Tensor) -> tf.Tensor:
    return tf.where(tf.abs(u) < _ZERO, tf.constant(_ZERO, u.dtype), u)


@tf.custom_gradient
def _slope(u: tf.Tensor, value: tf.Tensor) -> tuple[tf.Tensor, Callable]:
    """sinc'(u) = (cos u - sinc u) / u, given the value of sinc; a function of u alone."""
    closed = (tf.cos(u) - value) / u  # NaN at 0, where the series is taken
    squared, count = tf.square(u), range(_TERMS[u.dtype], 0, -1)
    coefficients = [(-1) ** k * 2 * k / factorial(2 * k + 1) for k in count]
    series = u * tf.math.polyval([tf.constant(c, u.dtype) for c in coefficients], squared)
    slope = tf.where(squared < _SERIES**2, series, closed)

    def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, None]:
        # sinc'' = -sinc - 2 sinc' / u: no digit is lost as long as sinc' itself has all of its.
        safe = _off_zero(u)
        value = sinc(safe)
        return upstream * (-value - 2.0 * _slope(safe, tf.stop_gradient(value)) / safe), None

    return slope, gradient


@tf.custom_gradient
def sinc(u: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
    """sin(u) / u, with 1 at 0, for float32 or float64; differentiable twice."""
    value = tf.where(tf.equal(u, 0), tf.ones([], u.dtype), tf.sin(u) / u)
    return value, lambda upstream: upstream * _slope(u, tf.stop_gradient(value))


def product(factors: tf.Tensor) -> tf.Tensor:
    """Returns the product `[...]` along the first axis of `factors` `[d, ...]`, d fixed.

    Halves are multiplied with each other: unlike `tf.reduce_prod` its derivatives of any order are
    plain products, also where factors are 0.
    """
    count = factors.shape[0]
    while count > 1:
        half, odd = divmod(count, 2)
        # The gradient of a split is one copy, that of slices a padded array for each.
        first, second, rest = tf.split(factors, [half, half, odd])
        factors = tf.concat([first * second, rest], axis=0) if odd else first * second
        count = half + odd
    return factors[0]
