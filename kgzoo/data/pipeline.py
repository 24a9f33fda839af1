"""Training batches whose order is a pure function of (seed, step).

Example number g of a run, counted over all its batches, is at position g % N of epoch g // N, and
every epoch is a fresh permutation of the N examples. Nothing else enters: a run resumed at a step
sees what the uninterrupted run would have seen, whatever the number of replicas.
"""

import operator

import numpy as np
import tensorflow as tf

from kgzoo.data.records import permuted
from kgzoo.data.source import Source, at_least
from kgzoo.errors import UserError

__all__ = ["training_dataset"]


def training_dataset(
    source: Source,
    *,
    seed: int,
    batch_size: int,
    batches_per_step: int,
    start_step: int = 0,
    num_replicas: int = 1,
) -> tf.data.Dataset:
    """Builds the endless data set of a run.

    Args:
        source: the training split. In memory, an epoch is a uniform pseudorandom permutation;
            streamed, see `RecordStream`. The pipeline holds a copy of the examples of its own.
        seed: of the order; its low 32 bits count.
        batch_size: of the global batch. It may exceed the number of examples: epochs follow one
            another inside a batch.
        batches_per_step: global batches in a step.
        start_step: the first step wanted.
        num_replicas: into how many consecutive slices each global batch is cut.

    Returns:
        Elements [batches_per_step, batch_size // num_replicas, *source.shape], uint8 or float32:
        for every step `num_replicas` consecutive ones, replica r's holding the examples
        r*b..(r+1)*b-1 of each global batch, b = batch_size // num_replicas.

    Raises:
        UserError: a number is too small, or `batch_size` cannot be cut into equal slices.
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
    sizes = (batches_per_step, num_replicas, batch_size // num_replicas)
    build = _from_memory if source.examples is not None else _from_stream
    dataset = build(source, seed, start_step, sizes)
    options = tf.data.Options()
    options.deterministic = True
    # The replicas' shares are already cut here.
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return dataset.prefetch(tf.data.AUTOTUNE).with_options(options)


def _from_memory(
    source: Source, seed: int, start_step: int, sizes: tuple[int, int, int]
) -> tf.data.Dataset:
    batches, replicas, share = sizes
    # An eager tensor is captured by reference; an ndarray would become part of the graph.
    with tf.device("CPU:0"):
        examples = tf.constant(source.examples)
    # Where a replica's examples lie in its step, replica 0 taken as the first: [batches * share].
    batch = np.arange(batches, dtype=np.int64)[:, np.newaxis]
    offset = (batch * (replicas * share) + np.arange(share)).reshape(-1)

    def element(number):
        step, replica = number // replicas, number % replicas
        index = step * (batches * replicas * share) + replica * share + offset
        epoch, position = index // source.num_examples, index % source.num_examples
        key = tf.stack(
            [tf.fill(tf.shape(epoch), _int64(seed)), epoch, tf.zeros_like(epoch)], axis=1
        )
        chosen = permuted(position, source.num_examples, key)
        return tf.reshape(tf.gather(examples, chosen), (batches, share, *source.shape))

    numbers = tf.data.Dataset.counter(start_step * replicas)
    return numbers.map(element, num_parallel_calls=tf.data.AUTOTUNE)


def _from_stream(
    source: Source, seed: int, start_step: int, sizes: tuple[int, int, int]
) -> tf.data.Dataset:
    batches, replicas, share = sizes
    per_step = batches * replicas * share
    first_epoch, position = divmod(start_step * per_step, source.num_examples)

    def epoch_records(epoch):
        return source.stream(tf.stack([_int64(seed), epoch]))

    def by_replica(examples):
        examples = tf.reshape(examples, (batches, replicas, share, *source.shape))
        return tf.transpose(examples, [1, 0, *range(2, 3 + len(source.shape))])

    records = tf.data.Dataset.counter(first_epoch).flat_map(epoch_records)
    # Skipped before decoding: a resumed run reads past its past and computes none of it.
    examples = records.skip(position).map(
        source.stream.decode, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
    )
    return examples.batch(per_step, drop_remainder=True).map(by_replica).unbatch()


def _int64(seed: int) -> tf.Tensor:
    return tf.constant(operator.index(seed) % 2**32, tf.int64)
