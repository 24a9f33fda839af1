"""What kernels, discrepancies and scores ask of their arguments; each refusal is one sentence.

Checks are of what a graph knows when it is made, shapes and types, and of plain numbers: they cost
a training step nothing. What only the numbers of a step could tell is checked in eager calls alone.
"""

import math
import operator

import keras
import tensorflow as tf

from kgzoo.errors import UserError, shown

__all__ = [
    "as_numbers",
    "as_points",
    "as_seed",
    "as_width",
    "non_negative",
    "of_one_type",
    "positive",
    "refuse_beyond",
    "refuse_overflow",
    "same_shape",
    "whole",
]

# Of a width both the square and its inverse are normal numbers, in float32 too.
_LEAST_WIDTH, _MOST_WIDTH = 1e-18, 1e18


def as_numbers(name: str, values: tf.Tensor) -> tf.Tensor:
    """Returns real numbers as a tensor: float64 if they are, else float32.

    Raises:
        UserError: if they are no array of real numbers.
    """
    try:
        values = tf.convert_to_tensor(values)
    except (TypeError, ValueError, OverflowError) as error:
        raise UserError(
            f"{name}={shown(values)} is no array of numbers; give one of float32 or float64."
        ) from error
    kind = values.dtype
    if not (kind.is_floating or kind.is_integer or kind.is_bool):
        raise UserError(f"{name} has dtype {kind.name}; give real numbers, as float32 or float64.")
    return values if kind in (tf.float32, tf.float64) else tf.cast(values, tf.float32)


def as_points(x: tf.Tensor, y: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns two sets of points `[n, d]` and `[m, d]`, both float32, or float64 if either is.

    Kernels compute in at least float32 whatever the policy outside: bfloat16 squared distances
    have two digits.

    Raises:
        UserError: if one is no matrix of numbers, or their dimensions differ.
    """
    x, y = of_one_type(x=x, y=y)
    for name, points in (("x", x), ("y", y)):
        if points.shape.rank != 2:
            raise UserError(
                f"{name} has shape {points.shape}; a kernel needs points of shape [n, d]."
            )
    if not x.shape[1:].is_compatible_with(y.shape[1:]):
        raise UserError(
            f"x has {x.shape[1]} features and y has {y.shape[1]}; a kernel needs the same number."
        )
    return x, y


def positive(owner: str, name: str, value: float) -> float:
    """Returns a finite float above 0.

    Raises:
        UserError: if `value` is not one.
    """
    try:
        number = math.nan if isinstance(value, (str, bytes)) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not 0 < number < math.inf:
        raise UserError(f"{owner} got {name}={shown(value)}; give a finite number above 0.")
    return number


def as_width(owner: str, name: str, value: float) -> float:
    """Returns a float from 1e-18 to 1e18: what a length or a rate may be in float32.

    Raises:
        UserError: if `value` is not one.
    """
    number = positive(owner, name, value)
    if not _LEAST_WIDTH <= number <= _MOST_WIDTH:
        raise UserError(
            f"{owner} got {name}={number!r}; give a number from {_LEAST_WIDTH} to {_MOST_WIDTH}."
        )
    return number


def non_negative(owner: str, name: str, value: float | tf.Tensor, below: float = math.inf) -> None:
    """Refuses what is no number in [0, below). A tensor passes: only a step could tell.

    Raises:
        UserError: if `value` is none.
    """
    if tf.is_tensor(value) or isinstance(value, keras.Variable):
        return
    try:
        number = math.nan if isinstance(value, (str, bytes)) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not 0 <= number < below:
        wanted = "a finite number >= 0" if below == math.inf else f"a number in [0, {below:g})"
        raise UserError(f"{owner} got {name}={shown(value)}; give {wanted}.")


def refuse_beyond(owner: str, bound: float, **points: tf.Tensor) -> None:
    """Refuses finite numbers beyond +-bound, in eager calls.

    In a graph nothing is checked, as that would cost every step: there such numbers give NaN, which
    the training loop reports. So do numbers that are not finite, everywhere.

    Raises:
        UserError: naming the argument.
    """
    if not tf.executing_eagerly():
        return
    for name, values in points.items():
        sizes = tf.abs(values)
        if tf.reduce_any(tf.math.is_finite(values) & (sizes > bound)):
            raise UserError(
                f"{owner} got {name} with numbers beyond {bound:.0e}, for which "
                f"{values.dtype.name} has no products; scale them down."
            )


def refuse_overflow(owner: str, **points: tf.Tensor) -> None:
    """`refuse_beyond` the bound at which the inner products of points `[..., d]` overflow."""
    for name, values in points.items():
        # A squared distance is four products of each coordinate, and a shift may double them.
        terms = 16.0 * max(values.shape[-1] or 1, 1)
        refuse_beyond(owner, math.sqrt(values.dtype.max / terms), **{name: values})


def whole(owner: str, name: str, value: int, least: int, most: int) -> int:
    """Returns a whole number from `least` to `most`.

    Raises:
        UserError: if `value` is not one.
    """
    try:
        number = operator.index(value)
    except TypeError:
        number = least - 1
    if isinstance(value, bool) or not least <= number <= most:
        raise UserError(
            f"{owner} got {name}={shown(value)}; give a whole number of at least {least}, at most "
            f"{most}."
        )
    return number


def as_seed(owner: str, seed: tf.Tensor | tuple[int, int]) -> tf.Tensor:
    """Returns a seed of stateless random numbers, int32 `[2]`.

    Raises:
        UserError: if it is none.
    """
    try:
        values = tf.convert_to_tensor(seed, tf.int32)
    except (TypeError, ValueError, OverflowError):
        values = None
    if values is None or not values.shape.is_compatible_with([2]):
        raise UserError(f"{owner} got seed={shown(seed)}; give two whole numbers of 32 bits.")
    return values


def of_one_type(**arrays: tf.Tensor) -> list[tf.Tensor]:
    """Returns arrays of numbers, all float32, or float64 if one is.

    Raises:
        UserError: if one is no array of real numbers.
    """
    found = [as_numbers(name, values) for name, values in arrays.items()]
    dtype = tf.float64 if tf.float64 in [values.dtype for values in found] else tf.float32
    return [tf.cast(values, dtype) for values in found]


def same_shape(owner: str, **arrays: tf.Tensor) -> list[tf.Tensor]:
    """Returns two arrays of one shape `[n, ...]`, as far as a graph knows it, and of one type.

    Raises:
        UserError: if they are no such arrays.
    """
    (first, second), (x, y) = arrays, of_one_type(**arrays)
    if x.shape.rank == 0 or not x.shape.is_compatible_with(y.shape):
        raise UserError(
            f"{owner} got {first} of shape {x.shape} and {second} of shape {y.shape}; give both "
            "the same, [n, ...]."
        )
    return [x, y]
