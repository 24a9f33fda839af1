"""Training batches whose order is a pure function of (seed, step).

Example number g of a run, counted over all its batches, is at position g % N of epoch g // N, and
every epoch is a fresh permutation of the N examples. Nothing else enters: a run resumed at a step
sees what the uninterrupted run would have seen, whatever the number of replicas.

The pixels of a dynamically binarised set are drawn anew for every example of every step, from the
seed, the step and the example's position in it: the same holds for them.
"""

import operator

import numpy as np
import tensorflow as tf

from kgzoo.data.binarization import with_binarization
from kgzoo.data.records import EXAMPLES, permutation
from kgzoo.data.source import Source, at_least
from kgzoo.errors import UserError

__all__ = ["training_dataset"]

# The purpose of a step's draws; those of an epoch's permutations count from 0 on.
_PIXELS = -1


def training_dataset(
    source: Source,
    *,
    seed: int,
    batch_size: int,
    batches_per_step: int,
    start_step: int = 0,
    num_replicas: int = 1,
    replicas: range | None = None,
    binarization: str | None = None,
) -> tf.data.Dataset:
    """Builds the endless data set of a run.

    Args:
        source: the training split. In memory, an epoch is a uniform permutation; streamed, see
            `RecordStream`. The pipeline holds a copy of the examples of its own.
        seed: of the order, any integer; its low 63 bits count.
        batch_size: of the global batch. It may exceed the number of examples: epochs follow one
            another inside a batch.
        batches_per_step: global batches in a step.
        start_step: the first step wanted.
        num_replicas: into how many consecutive slices each global batch is cut.
        replicas: whose slices are wanted, where this process does not train all; None: all.
        binarization: "none", "dynamic" or "fixed", see `kgzoo.data.binarization`; None keeps the
            source's.

    Returns:
        Elements [batches_per_step, batch_size // num_replicas, *source.shape], uint8 or float32:
        for every step one for each of the `replicas` in turn, replica r's holding the examples
        r*b..(r+1)*b-1 of each global batch, b = batch_size // num_replicas.

    Raises:
        UserError: a number is too small, `batch_size` cannot be cut into equal slices, or the
            binarisation does not fit the source.
    """
    batch_size = at_least("batch_size", batch_size, 1)
    batches_per_step = at_least("batches_per_step", batches_per_step, 1)
    start_step = at_least("start_step", start_step, 0)
    num_replicas = at_least("num_replicas", num_replicas, 1)
    if batch_size % num_replicas:
        raise UserError(
            f"batch_size={batch_size} cannot be shared by {num_replicas} replicas; make it a "
            f"multiple of {num_replicas}."
        )
    per_step = batches_per_step * batch_size
    if binarization is not None:
        source = with_binarization(source, binarization)
    first_epoch, position = divmod(start_step * per_step, source.num_examples)
    seed = operator.index(seed) % 2**63
    replicas = range(num_replicas) if replicas is None else replicas
    local_batch = batch_size // num_replicas
    wanted = np.arange(per_step).reshape(batches_per_step, num_replicas, local_batch)
    wanted = wanted[:, replicas.start : replicas.stop].reshape(-1)
    build = _from_memory if source.examples is not None else _from_stream
    steps = build(source, seed, first_epoch, position, per_step, wanted)
    if source.binarization == "dynamic":
        steps = steps.enumerate(start_step).map(
            lambda step, examples: _draw(examples, _key(seed, step), per_step, wanted),
            num_parallel_calls=tf.data.AUTOTUNE,
        )

    def by_replica(examples):
        sizes = (batches_per_step, len(replicas), local_batch)
        examples = tf.reshape(examples, (*sizes, *source.shape))
        return tf.transpose(examples, [1, 0, *range(2, 3 + len(source.shape))])

    options = tf.data.Options()
    options.deterministic = True
    # The replicas' shares are already cut here.
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return steps.map(by_replica).unbatch().prefetch(tf.data.AUTOTUNE).with_options(options)


def _from_memory(
    source: Source, seed: int, first_epoch: int, position: int, per_step: int, wanted: np.ndarray
) -> tf.data.Dataset:
    # An eager tensor is captured by reference; an ndarray would become part of the graph.
    with tf.device("CPU:0"):
        examples = tf.constant(source.examples)

    def epoch_order(epoch):
        order = permutation(source.num_examples, _key(seed, epoch), EXAMPLES)
        past = tf.where(epoch == first_epoch, tf.constant(position, tf.int64), 0)
        return tf.data.Dataset.from_tensors(order[past:])

    # Whole epochs are cut into steps: one index at a time would outweigh the step of a small model.
    order = tf.data.Dataset.counter(first_epoch).flat_map(epoch_order)
    return order.rebatch(per_step, drop_remainder=True).map(
        lambda index: tf.gather(examples, _only(index, wanted, per_step)),
        num_parallel_calls=tf.data.AUTOTUNE,
    )


def _from_stream(
    source: Source, seed: int, first_epoch: int, position: int, per_step: int, wanted: np.ndarray
) -> tf.data.Dataset:
    epochs = tf.data.Dataset.counter(first_epoch)
    records = epochs.flat_map(lambda epoch: source.stream(_key(seed, epoch)))
    # Skipped before decoding: a resumed run reads past its past and computes none of it.
    records = records.skip(position)
    if len(wanted) < per_step:
        is_wanted = np.isin(np.arange(per_step), wanted)
        records = records.enumerate().filter(
            lambda number, record: tf.gather(is_wanted, number % per_step)
        )
        records = records.map(lambda number, record: record)
    examples = records.map(
        source.stream.decode, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
    )
    return examples.batch(len(wanted), drop_remainder=True)


def _only(values: tf.Tensor, wanted: np.ndarray, per_step: int) -> tf.Tensor:
    """Returns those of a whole step's values that this process has use for."""
    return values if len(wanted) == per_step else tf.gather(values, wanted)


def _draw(images: tf.Tensor, key: tf.Tensor, per_step: int, wanted: np.ndarray) -> tf.Tensor:
    """Draws every pixel, 255 with probability value / 255, else 0.

    The noise is that of the whole step, whatever part of it the images are.
    """
    noise = tf.random.stateless_uniform(
        tf.concat([[per_step], tf.shape(images)[1:]], axis=0),
        tf.random.fold_in(key, tf.constant(_PIXELS, tf.int64), alg="philox"),
        minval=0,
        maxval=255,
        dtype=tf.int32,
        alg="philox",
    )
    white = _only(noise, wanted, per_step) < tf.cast(images, tf.int32)
    return tf.where(white, tf.constant(255, tf.uint8), tf.constant(0, tf.uint8))


def _key(seed: int, number: tf.Tensor) -> tf.Tensor:
    """Of an epoch or of a step."""
    return tf.stack([tf.constant(seed, tf.int64), number])
