"""Bandwidths of Gaussian kernels: their numbers, and the median heuristic as a unit for them."""

import math
from collections.abc import Iterable

import numpy as np
import tensorflow as tf

from kgzoo.errors import UserError, shown, unknown_name
from kgzoo.kernels.arguments import as_numbers, as_width, refuse_overflow

__all__ = [
    "RULES",
    "as_bandwidths",
    "median_distance",
    "median_of_pairs",
    "squared_distances",
    "unit",
]

RULES = ("fixed", "median")
# Squared distances below so many roundings of the points' squared norms count as 0.
_ROUNDINGS = 16
_LARGEST_BITS = 0x7F800000  # infinity as a float32


def as_bandwidths(value: Iterable[float]) -> tuple[float, ...]:
    """Returns the field `bandwidths` as a tuple of at least one float from 1e-18 to 1e18.

    Raises:
        UserError: if it is not that.
    """
    try:
        numbers = () if isinstance(value, str) else tuple(float(number) for number in value)
    except (TypeError, ValueError, OverflowError):
        numbers = ()
    if not numbers or not all(0 < number < math.inf for number in numbers):
        raise UserError(
            f"bandwidths={shown(value)} are no widths; give numbers above 0, as in (1.0,)."
        )
    return tuple(as_width("bandwidths", "width", number) for number in numbers)


def unit(rule: str, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor | float:
    """Returns the length in which bandwidths are given: 1, or `median_distance` of the samples.

    Raises:
        UserError: if the rule is not one of `RULES`.
    """
    if rule not in RULES:
        raise unknown_name("bandwidth_rule", rule, RULES)
    return 1.0 if rule == "fixed" else median_distance(x, y)


def median_distance(x: tf.Tensor, y: tf.Tensor | None = None) -> tf.Tensor:
    """Median Euclidean distance over the pairs i < j of the pooled sample, above 0.

    The n + m distances of points to themselves are left out: as zeros they would pull the median
    down. No gradient flows: the median is a unit, not a part of the objective.

    Where more than half of the pairs coincide, so that the median is 0, the mean distance takes its
    place; where all do, or there is one point, the answer is 1. NaN for points that are not finite.

    Args:
        x: points `[..., n, d]`; n may be known only to the graph. Every leading element is a sample
            of its own.
        y: further points `[..., m, d]`, or None.

    Returns:
        `[...]`, float32, or float64 if an input is; accurate to float32 either way.

    Raises:
        UserError: if shapes do not fit.

    References:
        Gretton et al. (2012), section 8: the heuristic.
    """
    points, dtype = _pooled(x, y)
    # The shift keeps the products small.
    points -= tf.reduce_mean(points, axis=-2, keepdims=True)
    return tf.cast(median_of_pairs(tf.sqrt(squared_distances(points))), dtype)


def _pooled(x: tf.Tensor, y: tf.Tensor | None) -> tuple[tf.Tensor, tf.DType]:
    """Returns all points in float64, without gradient, and the type of the answer."""
    given = {"x": x} if y is None else {"x": x, "y": y}
    samples = [as_numbers(name, values) for name, values in given.items()]
    for name, points in zip(given, samples, strict=True):
        if points.shape.rank is None or points.shape.rank < 2:
            raise UserError(
                f"{name} has shape {points.shape}; a median distance needs points of shape "
                "[..., n, d]."
            )
    first, last = samples[0].shape, samples[-1].shape
    if not first[-1:].is_compatible_with(last[-1:]):
        raise UserError(f"x has {first[-1]} features and y has {last[-1]}; give both the same.")
    if not first[:-2].is_compatible_with(last[:-2]):
        raise UserError(
            f"x has shape {first} and y has shape {last}; give both the same leading dimensions."
        )
    dtype = tf.float64 if tf.float64 in [points.dtype for points in samples] else tf.float32
    points = [tf.cast(tf.stop_gradient(points), tf.float64) for points in samples]
    refuse_overflow("median_distance", **dict(zip(given, points, strict=True)))
    return points[0] if y is None else tf.concat(points, axis=-2), dtype


def squared_distances(points: tf.Tensor) -> tf.Tensor:
    """Squared distances of all pairs of points, those that are roundings alone being 0.

    Args:
        points: `[..., n, d]`, float64, their mean near 0: the terms of the expansion stay small.

    Returns:
        `[..., n, n]`, float64.
    """
    # The expansion costs n n numbers where differences cost n n d.
    norms = tf.reduce_sum(tf.square(points), axis=-1)
    sums = norms[..., :, None] + norms[..., None, :]
    squared = sums - 2 * tf.matmul(points, points, transpose_b=True)
    roundings = _ROUNDINGS * np.finfo(np.float64).eps * sums
    squared = tf.where(squared < roundings, tf.zeros_like(squared), squared)
    return tf.linalg.set_diag(squared, tf.zeros_like(norms))


def median_of_pairs(distances: tf.Tensor) -> tf.Tensor:
    """Median of the distances i < j, or what `median_distance` has in its place.

    Args:
        distances: `[..., n, n]`, float64, symmetric.

    Returns:
        `[...]`, float64, accurate to float32.
    """
    median = tf.cast(_middle(tf.cast(distances, tf.float32)), tf.float64)
    count = tf.cast(tf.shape(distances)[-1], tf.float64)
    mean = tf.reduce_sum(distances, axis=[-2, -1]) / tf.maximum(count * (count - 1.0), 1.0)
    median = tf.where(median > 0, median, mean)
    # Comparisons are false for NaN, which must come out as it is.
    return tf.where(tf.equal(median, 0), tf.ones_like(median), median + 0 * mean)


def _middle(matrices: tf.Tensor) -> tf.Tensor:
    """Returns medians of the off-diagonal numbers, all >= 0, of symmetric matrices; 0 if none.

    Bisection on the bits of the floats, whose order is that of the numbers: 31 counts, where a sort
    of all pairs would take longer than the training step around it.
    """
    bits = tf.bitcast(matrices, tf.int32)
    bits = tf.linalg.set_diag(bits, tf.fill(tf.shape(bits)[:-1], tf.int32.max))
    size = tf.shape(bits)[-1]

    def at_most(bound: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(tf.cast(bits <= bound[..., None, None], tf.int32), axis=[-2, -1])

    # Every pair is there twice: of 2 P numbers in order, the P-th and the one after it.
    pairs = size * (size - 1) // 2

    def halve(low: tf.Tensor, high: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        centre = low + (high - low) // 2
        enough = at_most(centre) >= pairs
        return tf.where(enough, low, centre + 1), tf.where(enough, centre, high)

    low = tf.reduce_sum(tf.zeros_like(bits), axis=[-2, -1])
    bounds = (low, low + _LARGEST_BITS)
    _, high = tf.while_loop(lambda low, high: tf.reduce_any(low < high), halve, bounds)
    over = tf.where(bits > high[..., None, None], bits, tf.int32.max)
    above = tf.reduce_min(over, axis=[-2, -1])
    upper = tf.where(tf.logical_or(at_most(high) > pairs, pairs < 1), high, above)
    # In float64 their sum is exact.
    lower, upper = (tf.cast(tf.bitcast(value, tf.float32), tf.float64) for value in (high, upper))
    return (lower + upper) / 2
