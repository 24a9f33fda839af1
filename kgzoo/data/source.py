"""One split of one data set, in memory or as a stream."""

import dataclasses
import operator
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from kgzoo.errors import UserError, unknown_name

__all__ = ["BINARIZATIONS", "FOLDER_PREFIX", "SPLITS", "Source", "at_least", "batches"]

SPLITS = ("train", "test")
BINARIZATIONS = ("none", "dynamic", "fixed")
FOLDER_PREFIX = "image_folder:"
_DTYPES = {"image": np.uint8, "vector": np.float32}


@dataclasses.dataclass(frozen=True, eq=False)
class Source:
    """One split of one data set.

    Attributes:
        name: what the user calls it: "digits", "mnist", "image_folder:/x", "ring2d".
        kind: "image" or "vector".
        shape: of one example, (height, width, channels) or (d,).
        num_examples: how many examples an epoch has.
        examples: uint8 [N, height, width, channels] or float32 [N, d]; None when streamed.
        labels: integers [N] where known, else None.
        stream: a `kgzoo.data.records.RecordStream` where the examples do not fit into memory:
            called with a key it gives one epoch of undecoded records, its `decode` one example.
        split: "train" or "test".
        facts: what else `describe` should tell; anything json can hold.
        binarization: of images: "none", "dynamic" (training batches are drawn anew) or "fixed" (the
            examples are drawn); see `kgzoo.data.binarization`.

    Raises:
        UserError: the fields contradict each other.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    num_examples: int
    examples: np.ndarray | None = None
    labels: np.ndarray | None = None
    stream: Callable | None = None
    split: str = "train"
    facts: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    binarization: str = "none"

    def __post_init__(self):
        if self.kind not in _DTYPES:
            raise UserError(f"kind={self.kind!r} is not known; choose 'image' or 'vector'.")
        if (self.examples is None) == (self.stream is None):
            raise UserError("A Source needs either examples or a stream; give exactly one of them.")
        if not isinstance(self.examples, (np.ndarray, type(None))):
            raise UserError(
                f"examples are a {type(self.examples).__name__}; give a NumPy array of them."
            )
        if not isinstance(self.shape, tuple):
            raise UserError(f"shape={self.shape!r} is no tuple; give that of one example.")
        at_least("num_examples", self.num_examples, 0)
        if self.num_examples < 1:
            raise UserError(
                f"The data set {self.name!r} has no examples; a Source needs at least 1."
            )
        if self.binarization not in BINARIZATIONS:
            raise unknown_name("binarization", self.binarization, BINARIZATIONS)
        if self.binarization != "none" and self.kind != "image":
            raise UserError(
                f"binarization={self.binarization!r} needs images, and {self.name!r} has vectors; "
                "choose another data set or --config.binarization=none."
            )
        if self.examples is None:
            return
        wanted, dtype = (self.num_examples, *self.shape), np.dtype(_DTYPES[self.kind])
        if self.examples.shape != wanted or self.examples.dtype != dtype:
            raise UserError(
                f"examples of kind {self.kind!r} must be {dtype} {list(wanted)}, got "
                f"{self.examples.dtype} {list(self.examples.shape)}; convert them first."
            )
        # Several readers share the one array, so a stray in-place change would reach them all.
        self.examples.setflags(write=False)

    def describe(self) -> dict[str, Any]:
        """Returns the facts for config.json and scores.json; json can hold every value."""
        drawn = {} if self.binarization == "none" else {"binarization": self.binarization}
        return {
            "name": self.name,
            "split": self.split,
            "kind": self.kind,
            "shape": list(self.shape),
            "num_examples": self.num_examples,
            "in_memory": self.examples is not None,
            **drawn,
            **self.facts,
        }

    def damage(self) -> UserError | None:
        """Returns the sentence about the first file of a stream that cannot be read, or None.

        Reads all of the split: for after an error, not before.
        """
        damaged = self.stream.damaged_file() if self.stream is not None else None
        if damaged is None:
            return None
        return UserError(
            f"'{damaged}' of the data set {self.name!r} cannot be read; restore that file, and the "
            "same command goes on."
        )


def at_least(field: str, value: int, least: int) -> int:
    """Returns `value` as an int, or raises the UserError that says how small it may be."""
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool) or number < least:
        raise UserError(f"{field}={value!r} must be an integer of at least {least}.")
    return number


def batches(source: Source, batch_size: int, limit: int | None = None) -> Iterator[np.ndarray]:
    """Iterates over a split once, in stored order, for evaluation.

    Args:
        source: the split.
        batch_size: examples in a batch; the last one may be smaller.
        limit: stop after so many examples; None gives all of them.

    Returns:
        An iterator of uint8 [b, height, width, channels] or float32 [b, d] arrays.

    Raises:
        UserError: `batch_size` or `limit` is below 1; while iterating, a file of a stream cannot be
            read.
    """
    batch_size = at_least("batch_size", batch_size, 1)
    total = source.num_examples
    if limit is not None:
        total = min(total, at_least("limit", limit, 1))
    if source.examples is not None:
        starts = range(0, total, batch_size)
        return (source.examples[start : min(start + batch_size, total)] for start in starts)
    return _streamed(source, batch_size, total)


def _streamed(source: Source, batch_size: int, total: int) -> Iterator[np.ndarray]:
    import tensorflow as tf

    try:
        yield from source.stream.examples().take(total).batch(batch_size).as_numpy_iterator()
    except tf.errors.OpError as error:
        if damage := source.damage():
            raise damage from error
        raise
