"""What scores ask of arrays and seeds; each refusal is one sentence."""

import operator
from typing import Any

import numpy as np

from kgzoo.errors import UserError, shown

__all__ = ["as_array", "as_seed", "refuse_beyond"]

# Booleans, signed and unsigned integers, floats.
_KINDS = "biuf"
_LARGEST_SEED = 2**32 - 1


def as_array(values: Any, name: str) -> np.ndarray:
    """Returns an array of real numbers, of the dtype it has.

    Raises:
        UserError: text, objects, complex numbers, or rows of unequal length.
    """
    try:
        array = np.asarray(values)
    except (TypeError, ValueError, OverflowError) as error:
        raise UserError(f"{name}={shown(values)} is no array; give one of numbers.") from error
    if array.dtype.kind not in _KINDS:
        raise UserError(f"{name} has dtype {array.dtype}; give real numbers, as in float32.")
    return array


def as_seed(seed: Any, name: str = "seed") -> int:
    """Returns a seed of `numpy.random.RandomState`.

    Raises:
        UserError: no whole number from 0 to 2^32 - 1.
    """
    try:
        number = operator.index(seed)
    except TypeError:
        number = -1
    if isinstance(seed, bool) or not 0 <= number <= _LARGEST_SEED:
        raise UserError(
            f"{name}={shown(seed)} must be a whole number; give one from 0 to {_LARGEST_SEED}."
        )
    return number


def refuse_beyond(values: np.ndarray, name: str, bound: float) -> None:
    """Refuses numbers whose products a score could not hold.

    Raises:
        UserError: a number beyond +-bound.
    """
    if values.size and not (float(np.abs(values).max()) <= bound):
        raise UserError(
            f"{name} holds numbers beyond {bound:.0e}, whose products overflow; score a model that "
            "has not diverged, or scale them down."
        )
