"""Bandwidths of Gaussian kernels: their numbers, and the median heuristic as a unit for them."""

import math
from collections.abc import Iterable

import numpy as np
import tensorflow as tf

from kgzoo.errors import UserError, unknown_name
from kgzoo.kernels.base import as_points

__all__ = ["RULES", "as_bandwidths", "median_distance", "unit"]

RULES = ("fixed", "median")
# Squared distances below so many roundings of the points' squared norms count as 0.
_ROUNDINGS = 16
_LARGEST_BITS = 0x7F800000  # infinity as a float32


def as_bandwidths(value: Iterable[float]) -> tuple[float, ...]:
    """Returns the field `bandwidths` as a tuple of at least one finite float above 0.

    Raises:
        UserError: if it is not that.
    """
    try:
        numbers = () if isinstance(value, str) else tuple(float(number) for number in value)
    except (TypeError, ValueError):
        numbers = ()
    if not numbers or not all(0 < number < math.inf for number in numbers):
        raise UserError(f"bandwidths={value!r} are no widths; give numbers above 0, as in (1.0,).")
    return numbers


def unit(rule: str, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor | float:
    """Returns the length in which bandwidths are given: 1, or `median_distance` of the samples.

    Raises:
        UserError: if the rule is not one of `RULES`.
    """
    if rule not in RULES:
        raise unknown_name("bandwidth_rule", rule, RULES)
    return 1.0 if rule == "fixed" else median_distance(x, y)


def median_distance(x: tf.Tensor, y: tf.Tensor | None = None) -> tf.Tensor:
    """Median Euclidean distance over the pairs i < j of the pooled sample, a positive scalar.

    The n + m distances of points to themselves are left out: as zeros they would pull the median
    down. No gradient flows: the median is a unit, not a part of the objective.

    Where more than half of the pairs coincide, so that the median is 0, the mean distance takes its
    place; where all do, or there is one point, the answer is 1. NaN for points that are not finite.

    Args:
        x: points `[n, d]`; n may be known only to the graph.
        y: further points `[m, d]`, or None.

    Returns:
        float32, or float64 if an input is; accurate to float32 either way.

    References:
        Gretton et al. (2012), section 8: the heuristic.
    """
    first, second = as_points(x, x if y is None else y)
    points = first if y is None else tf.concat([first, second], axis=0)
    distances = tf.sqrt(_squared_distances(tf.stop_gradient(tf.cast(points, tf.float64))))
    median = tf.cast(_middle(tf.cast(distances, tf.float32)), tf.float64)
    count = tf.cast(tf.shape(points)[0], tf.float64)
    mean = tf.reduce_sum(distances) / tf.maximum(count * (count - 1.0), 1.0)
    median = tf.where(median > 0, median, mean)
    # Comparisons are false for NaN, which must come out as it is.
    return tf.cast(
        tf.where(tf.equal(median, 0), tf.ones_like(median), median + 0 * mean), first.dtype
    )


def _squared_distances(points: tf.Tensor) -> tf.Tensor:
    """Returns `[n, n]` squared distances, float64, those that are roundings alone being 0."""
    # The expansion costs n n numbers where differences cost n n d; the shift keeps its terms small.
    points -= tf.reduce_mean(points, axis=0, keepdims=True)
    norms = tf.reduce_sum(tf.square(points), axis=1)
    sums = norms[:, None] + norms[None, :]
    squared = sums - 2 * tf.matmul(points, points, transpose_b=True)
    roundings = _ROUNDINGS * np.finfo(np.float64).eps * sums
    squared = tf.where(squared < roundings, tf.zeros_like(squared), squared)
    return tf.linalg.set_diag(squared, tf.zeros_like(norms))


def _middle(matrix: tf.Tensor) -> tf.Tensor:
    """Returns the median of the off-diagonal numbers, all >= 0, of a symmetric matrix; 0 if none.

    Bisection on the bits of the floats, whose order is that of the numbers: 31 counts, where a sort
    of all pairs would take longer than the training step around it.
    """
    size = tf.shape(matrix)[0]
    bits = tf.bitcast(matrix, tf.int32)
    bits = tf.linalg.set_diag(bits, tf.fill([size], tf.int32.max))

    def at_most(bound: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(tf.cast(bits <= bound, tf.int32))

    # Every pair is there twice: of 2 P numbers in order, the P-th and the one after it.
    pairs = size * (size - 1) // 2

    def halve(low: tf.Tensor, high: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        centre = low + (high - low) // 2
        enough = at_most(centre) >= pairs
        return tf.where(enough, low, centre + 1), tf.where(enough, centre, high)

    bounds = (tf.constant(0), tf.constant(_LARGEST_BITS))
    _, high = tf.while_loop(lambda low, high: low < high, halve, bounds)
    above = tf.reduce_min(tf.where(bits > high, bits, tf.int32.max))
    upper = tf.where(tf.logical_or(at_most(high) > pairs, pairs < 1), high, above)
    return (tf.bitcast(high, tf.float32) + tf.bitcast(upper, tf.float32)) / 2
