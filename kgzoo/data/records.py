"""Streams of undecoded records, and permutations that are pure functions of their key."""

import dataclasses
from collections.abc import Callable

import tensorflow as tf

__all__ = ["EXAMPLES", "RecordStream", "block_length", "permutation"]

_BLOCK_BYTES = 128 << 20
_BLOCK_RECORDS = 16_384
_SHARDS_AT_ONCE = 16
# What a permutation is for; blocks of records count on from _BLOCKS.
EXAMPLES, _SHARDS, _BLOCKS = 0, 1, 2


def permutation(size: tf.Tensor | int, key: tf.Tensor, purpose: tf.Tensor | int) -> tf.Tensor:
    """Draws a uniform permutation of 0..size-1 that depends on nothing but the arguments.

    tf.random.experimental.index_shuffle would need no memory, but its four rounds mix too little:
    at 50,000 positions any two of its permutations correlate by 0.75.

    Args:
        size: number of elements.
        key: int64 [2], (seed, epoch).
        purpose: permutations of one epoch with different purposes are independent.

    Returns:
        int64 [size].
    """
    seed = tf.random.fold_in(key, tf.cast(purpose, tf.int64), alg="philox")
    # 64 random bits each: among a million two are equal once in 40 million times.
    bits = tf.random.stateless_uniform(
        [size], seed, minval=None, maxval=None, dtype=tf.int64, alg="philox"
    )
    return tf.cast(tf.argsort(bits, stable=True), tf.int64)


def block_length(num_records: int, num_bytes: int) -> int:
    """Returns how many records a shuffled block has: 16,384 or 128 MiB, whichever is less."""
    mean_bytes = max(1, num_bytes // num_records)
    return max(1, min(num_records, _BLOCK_RECORDS, _BLOCK_BYTES // mean_bytes))


@dataclasses.dataclass(frozen=True)
class RecordStream:
    """The records of a split that does not fit into memory.

    An epoch has every record once: the files in shuffled order, sixteen read in turns, then blocks
    of `block_records` shuffled whole. Everything is drawn from the key, nothing from the state of
    TensorFlow's generators, and records stay undecoded, so that skipping them is cheap.

    Attributes:
        files: TFRecord files, or one file for each record.
        decode: maps one scalar string record to one example (uint8 or float32, static shape).
        block_records: records in a shuffled block; None says that each file is one record, its path
            standing for it, and the order of files already is a permutation of the records.
        lengths: how many records each of the TFRecord files has, where that is known.
    """

    files: tuple[str, ...]
    decode: Callable[[tf.Tensor], tf.Tensor]
    block_records: int | None = None
    lengths: tuple[int, ...] | None = None

    def __call__(self, key: tf.Tensor | None = None) -> tf.data.Dataset:
        """Returns one epoch of undecoded records.

        Args:
            key: int64 [2], (seed, epoch); None keeps the stored order.

        Returns:
            A data set of scalar strings.
        """
        # Lifted out of the graph of the caller, where a million names would be one huge constant.
        with tf.init_scope(), tf.device("CPU:0"):
            files = tf.constant(self.files)
        if key is not None:
            files = tf.gather(files, permutation(len(self.files), key, _SHARDS))
        if self.block_records is None:
            return tf.data.Dataset.from_tensor_slices(files)
        if key is None:
            return self._complete(tf.data.TFRecordDataset(files))
        records = tf.data.Dataset.from_tensor_slices(files).interleave(
            tf.data.TFRecordDataset,
            cycle_length=min(_SHARDS_AT_ONCE, len(self.files)),
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        )
        blocks = self._complete(records).batch(self.block_records).enumerate(_BLOCKS)
        blocks = blocks.map(
            lambda block, rows: tf.gather(rows, permutation(tf.size(rows), key, block))
        )
        # The next block is read while this one is used.
        return blocks.prefetch(1).unbatch()

    def _complete(self, records: tf.data.Dataset) -> tf.data.Dataset:
        """Returns the records; at their end it is an error when some have been lost."""
        if self.lengths is None:
            return records
        return records.apply(tf.data.experimental.assert_cardinality(sum(self.lengths)))

    def examples(self) -> tf.data.Dataset:
        """Returns the decoded examples once, in stored order."""
        return self().map(self.decode, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)

    def damaged_file(self) -> str | None:
        """Reads and decodes everything; returns the first file that does not bear it, or None.

        What tf.data raises in the middle of an epoch does not say where it was.
        """
        if self.block_records is None:
            # A file is an example, and they come in order.
            count = 0
            try:
                for _ in self.examples():
                    count += 1
            except tf.errors.OpError:
                return self.files[count]
            return None
        lengths = self.lengths or (None,) * len(self.files)
        for file, length in zip(self.files, lengths, strict=True):
            one = dataclasses.replace(self, files=(file,), lengths=None)
            try:
                found = sum(1 for _ in one.examples())
            except tf.errors.OpError:
                return file
            if length not in (None, found):
                return file
        return None
