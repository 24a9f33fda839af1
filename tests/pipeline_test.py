"""Training batches: their order is a permutation an epoch, and a pure function of (seed, step)."""

import itertools
import pathlib
import tempfile

import numpy as np
import tensorflow as tf

import datadir
from kgzoo import data
from kgzoo.data import pipeline, records
from kgzoo.errors import UserError


def counted(num_examples):
    """In memory, example number i is the vector [i]."""
    examples = np.arange(num_examples, dtype=np.float32)[:, np.newaxis]
    return data.Source("counted", "vector", (1,), num_examples, examples)


def counted_stream(folder, num_examples, num_files=5, block_records=20):
    """The same, out of TFRecord files of unequal lengths."""
    cuts = np.sort(np.random.RandomState(0).choice(num_examples - 1, num_files - 1, False)) + 1
    files = []
    for rows in np.split(np.arange(num_examples, dtype=np.float32), cuts):
        files.append(str(pathlib.Path(folder) / f"part{len(files)}.tfrecord"))
        with tf.io.TFRecordWriter(files[-1]) as writer:
            for row in rows:
                writer.write(row.tobytes())

    def decode(record):
        return tf.reshape(tf.io.decode_raw(record, tf.float32), [1])

    stream = records.RecordStream(tuple(files), decode, block_records)
    return data.Source("counted", "vector", (1,), num_examples, stream=stream)


def take(source, num_elements, seed=1, batch_size=4, batches_per_step=1, **arguments):
    """Returns float32 [num_elements, batches_per_step, share, 1]."""
    dataset = pipeline.training_dataset(
        source,
        seed=seed,
        batch_size=batch_size,
        batches_per_step=batches_per_step,
        **arguments,
    )
    return np.stack(list(dataset.take(num_elements).as_numpy_iterator()))


def epochs(source, num_epochs, **arguments):
    """Returns int [num_epochs, num_examples]: which example came when."""
    batch_size = 64
    steps = -(-num_epochs * source.num_examples // batch_size)
    rows = take(source, steps, batch_size=batch_size, **arguments).reshape(-1)
    shape = (num_epochs, source.num_examples)
    return rows[: np.prod(shape)].reshape(shape).astype(int)


class SharedTests:
    """What holds in memory and streamed alike; `make(num_examples)` gives a Source."""

    def test_each_epoch_is_a_fresh_permutation(self):
        for num_examples in (2, 3, 67):
            order = epochs(self.make(num_examples), 6)
            for row in order:
                self.assertEqual(sorted(row), list(range(num_examples)))
        for one, other in itertools.combinations(order, 2):
            # Random permutations agree in one place on average; blocks of 20 in a few more.
            self.assertLess(np.sum(one == other), 14)

    def test_one_example_is_enough(self):
        self.assertAllEqual(take(self.make(1), 3), np.zeros((3, 1, 4, 1)))

    def test_seeds_differ_and_repeat(self):
        source = self.make(67)
        one, again, other = (epochs(source, 2, seed=seed) for seed in (5, 5, 6))
        self.assertAllEqual(one, again)
        self.assertLess(np.mean(one == other), 0.15)
        # Nor is one seed's epoch another seed's next one.
        self.assertLess(np.mean(one[1] == other[0]), 0.15)
        for seed in (-1, 2**40 + 3):
            self.assertEqual(sorted(epochs(source, 1, seed=seed)[0]), list(range(67)))

    def test_the_state_of_tensorflow_does_not_matter(self):
        source = self.make(30)
        orders = []
        for state in (1, 2):
            tf.random.set_seed(state)
            tf.random.uniform([3])
            orders.append(epochs(source, 2))
        self.assertAllEqual(*orders)

    def test_resuming_equals_dropping_the_past(self):
        source = self.make(23)
        sizes = {"batch_size": 6, "batches_per_step": 2}
        whole = take(source, 12, **sizes)
        for start in (1, 2, 11):  # within the first epoch, at later ones, across ends
            rest = take(source, 12 - start, start_step=start, **sizes)
            self.assertAllEqual(rest, whole[start:])
        replicas = take(source, 24, num_replicas=2, **sizes)
        rest = take(source, 14, num_replicas=2, start_step=5, **sizes)
        self.assertAllEqual(rest, replicas[10:])

    def test_resuming_far_into_a_run(self):
        source = self.make(5)
        one = take(source, 3, start_step=100_000)
        self.assertAllEqual(take(source, 2, start_step=100_001), one[1:])

    def test_replicas_share_each_global_batch_in_order(self):
        source = self.make(23)
        sizes = {"batch_size": 12, "batches_per_step": 3}
        whole = take(source, 4, **sizes)
        for replicas in (3, 12):
            parts = take(source, 4 * replicas, num_replicas=replicas, **sizes)
            share = 12 // replicas
            self.assertEqual(parts.shape, (4 * replicas, 3, share, 1))
            for step, replica in itertools.product(range(4), range(replicas)):
                self.assertAllEqual(
                    parts[step * replicas + replica],
                    whole[step][:, replica * share : (replica + 1) * share],
                )

    def test_batches_larger_than_the_set_run_into_the_next_epochs(self):
        source = self.make(5)
        whole = take(source, 1, batch_size=13).reshape(-1).astype(int)
        order = epochs(source, 3).reshape(-1)
        self.assertAllEqual(whole, order[:13])

    def test_shapes_are_static(self):
        dataset = pipeline.training_dataset(
            self.make(23), seed=0, batch_size=6, batches_per_step=5, num_replicas=3
        )
        self.assertEqual(dataset.element_spec, tf.TensorSpec((5, 2, 1), tf.float32))

    def test_wrong_numbers_are_refused(self):
        good = {"seed": 0, "batch_size": 6, "batches_per_step": 1}
        for wrong, words in (
            ({"batch_size": 0}, "batch_size=0.*at least 1"),
            ({"batch_size": 6.0}, "batch_size=6.0"),
            ({"batches_per_step": 0}, "batches_per_step=0"),
            ({"start_step": -1}, "start_step=-1.*at least 0"),
            ({"num_replicas": 0}, "num_replicas=0"),
            ({"num_replicas": 4}, "batch_size=6 cannot be shared by 4 replicas.*multiple of 4"),
        ):
            with self.assertRaisesRegex(UserError, words):
                pipeline.training_dataset(self.make(23), **{**good, **wrong})


class InMemoryTest(SharedTests, tf.test.TestCase):
    def make(self, num_examples):
        return counted(num_examples)

    def test_every_order_is_as_likely(self):
        order = np.concatenate([epochs(counted(4), 800, seed=seed) for seed in range(3)])
        _, counts = np.unique(order, axis=0, return_counts=True)
        self.assertLen(counts, 24)
        # Chi squared with 23 degrees of freedom exceeds 60 once in 30,000 times.
        self.assertLess(np.sum((counts - 100.0) ** 2 / 100.0), 60.0)

    def test_epochs_and_neighbours_are_uncorrelated_at_the_size_of_cifar10(self):
        size = 50_000
        order = [
            records.permutation(size, tf.constant([seed, epoch], tf.int64), purpose).numpy()
            for seed, epoch, purpose in itertools.product((0, 1), (0, 1), (0, 2))
        ]
        for one in order:
            self.assertAllEqual(np.sort(one), np.arange(size))
            self.assertLess(abs(np.corrcoef(one[1:], one[:-1])[0, 1]), 5.0 / np.sqrt(size))
        # With tf.random.experimental.index_shuffle this is 0.75.
        for one, other in itertools.combinations(order, 2):
            self.assertLess(abs(np.corrcoef(one, other)[0, 1]), 5.0 / np.sqrt(size))

    def test_images_stay_whole(self):
        source = data.load("digits")
        (batch,) = take(source, 1, batch_size=32)
        self.assertEqual((batch.shape, batch.dtype), ((1, 32, 16, 16, 1), np.uint8))
        stored = {image.tobytes() for image in source.examples}
        self.assertTrue(all(image.tobytes() in stored for image in batch[0]))


class StreamedTest(SharedTests, tf.test.TestCase):
    def make(self, num_examples):
        folder = self.enterContext(tempfile.TemporaryDirectory())
        return counted_stream(folder, num_examples, num_files=min(5, num_examples))

    def test_stored_order_without_a_key(self):
        (rows,) = data.batches(self.make(67), 100)
        self.assertAllEqual(rows[:, 0], np.arange(67))

    def test_files_and_blocks_are_both_shuffled(self):
        folder = self.enterContext(tempfile.TemporaryDirectory())
        source = counted_stream(folder, 67, num_files=5, block_records=1)
        first = {order[0] for order in epochs(source, 30)}
        self.assertGreater(len(first), 3)  # blocks of one record: the order of files remains
        self.assertLessEqual(len(first), 5)
        source = counted_stream(folder, 67, num_files=1, block_records=10)
        for order in epochs(source, 4):
            for start in range(0, 67, 10):
                block = list(range(start, min(start + 10, 67)))
                self.assertEqual(sorted(order[start : start + 10]), block)
            # Each block has a permutation of its own.
            self.assertGreater(len({tuple(row) for row in order[:60].reshape(6, 10) % 10}), 3)

    def test_an_image_folder_is_permuted_as_a_whole(self):
        root = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        for number in range(44):
            picture = np.full((4, 4, 1), number, np.uint8)
            (root / f"{number:02d}.png").write_bytes(tf.io.encode_png(picture).numpy())
        source = data.load(f"image_folder:{root}", image_size=4, memory_limit_bytes=0)
        self.assertEqual(source.num_examples, 40)
        stored = [number for number in range(44) if number % 10 != 9]
        order = take(source, 10, batch_size=8)[..., 0, 0, 0].reshape(2, 40)
        for row in order:
            self.assertEqual(sorted(row), stored)
        self.assertLess(np.mean(order[0] == order[1]), 0.2)
        self.assertLess(abs(np.corrcoef(order[0], np.arange(40))[0, 1]), 0.6)

    def test_cifar10_resumes_in_its_second_epoch(self):
        folder, reason = datadir.data_dir("cifar10")
        if folder is None:
            self.skipTest(reason)
        source = data.load("cifar10", "test", data_dir=folder, memory_limit_bytes=0)
        facts = source.describe()
        self.assertEqual(facts["shuffle_block_records"], 10_000)
        sizes = {"batch_size": 512, "batches_per_step": 2}
        whole = take(source, 13, **sizes)
        self.assertAllEqual(take(source, 2, start_step=11, **sizes), whole[11:])
        images = whole.reshape(-1, 32 * 32 * 3)[:10_000]
        stored = np.concatenate(list(data.batches(source, 1000))).reshape(10_000, -1)
        self.assertAllEqual(images.sum(axis=0), stored.sum(axis=0))
        self.assertLess(np.mean(np.all(images == stored, axis=1)), 0.01)


if __name__ == "__main__":
    tf.test.main()
