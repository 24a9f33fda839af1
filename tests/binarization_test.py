"""Binarised images: what is drawn, with which probability, and what the draws depend on."""

import json
import pathlib
import tempfile

import numpy as np
import tensorflow as tf
from absl.testing import parameterized

import datadir
from kgzoo import data
from kgzoo.data import binarization, pipeline
from kgzoo.errors import UserError

_LEVELS = np.array([0, 1, 51, 128, 204, 254, 255], np.uint8)
# Of two 4 x 4 images of grey 128, a bit a pixel: NumPy's frozen stream as it came out.
_TRAIN_BITS = "c6d06366"
_TEST_BITS = "793f55fc"


def images(examples, split="train"):
    """The Source of uint8 [n, height, width, 1]."""
    return data.Source("grey", "image", examples.shape[1:], len(examples), examples, split=split)


def grey(num_examples, split="train"):
    """Images whose seven rows are the levels."""
    picture = np.broadcast_to(_LEVELS[:, np.newaxis, np.newaxis], (7, 4, 1))
    return images(np.tile(picture, (num_examples, 1, 1, 1)), split)


def numbered(num_examples):
    """Example i is flat grey of value i: with "none" the batches tell the order."""
    levels = np.arange(num_examples, dtype=np.uint8)[:, np.newaxis, np.newaxis, np.newaxis]
    return images(np.tile(levels, (1, 8, 8, 1)))


def take(source, num_elements, seed=1, batch_size=6, batches_per_step=2, **arguments):
    """Returns uint8 [num_elements, batches_per_step, share, *shape]."""
    dataset = pipeline.training_dataset(
        source,
        seed=seed,
        batch_size=batch_size,
        batches_per_step=batches_per_step,
        **arguments,
    )
    return np.stack(list(dataset.take(num_elements).as_numpy_iterator()))


def black_and_white(values):
    return values.dtype == np.uint8 and set(np.unique(values)) == {0, 255}


class Probabilities:
    """`white`: for every level, which of many independent draws came out white, [n, 7]."""

    def check(self, white):
        wanted, count = _LEVELS / 255.0, len(white)
        # Five standard deviations; black and white never change.
        slack = 5.0 * np.sqrt(wanted * (1.0 - wanted) / count)
        self.assertAllLessEqual(np.abs(white.mean(axis=0) - wanted) - slack, 1e-12)


class FixedTest(Probabilities, tf.test.TestCase):
    def test_values_and_probabilities(self):
        drawn = data.binarize(grey(5000))
        self.assertTrue(black_and_white(drawn.examples))
        self.check(np.moveaxis(drawn.examples[..., 0] == 255, 2, 1).reshape(-1, 7))

    def test_pixels_are_independent(self):
        drawn = data.binarize(images(np.full((4000, 2, 2, 1), 128, np.uint8))).examples
        spins = drawn.reshape(4000, 4) / 127.5 - 1.0
        moments = spins.T @ spins / 4000.0
        self.assertAllClose(moments, np.eye(4), atol=5.0 / np.sqrt(4000))
        neighbours = np.mean(spins[1:] * spins[:-1], axis=0)
        self.assertAllClose(neighbours, np.zeros(4), atol=5.0 / np.sqrt(4000))

    def test_the_documented_stream(self):
        # More examples than are drawn at once.
        examples = np.random.RandomState(3).randint(256, size=(2500, 3, 2, 1)).astype(np.uint8)
        for split, number in (("train", 0), ("test", 1)):
            noise = np.random.RandomState([20, number]).random_sample(examples.shape)
            expected = np.where(noise < examples / 255.0, 255, 0)
            self.assertAllEqual(data.binarize(images(examples, split)).examples, expected)

    def test_the_same_on_every_machine(self):
        for split, bits in (("train", _TRAIN_BITS), ("test", _TEST_BITS)):
            drawn = data.binarize(images(np.full((2, 4, 4, 1), 128, np.uint8), split)).examples
            self.assertEqual(np.packbits(drawn > 0).tobytes().hex(), bits)

    def test_what_the_draws_depend_on(self):
        few, many = data.binarize(grey(3)), data.binarize(grey(1500))
        # On the place of an example, not on how many there are.
        self.assertAllEqual(few.examples, many.examples[:3])
        others = (
            data.binarize(grey(1500, "test")),
            data.binarize(grey(1500, "all")),
            data.binarize(grey(1500), seed=21),
        )
        for other in others:
            # Of the middle level a half agrees by chance.
            same = np.mean(many.examples[:, 3] == other.examples[:, 3])
            self.assertLess(abs(same - 0.5), 0.05)
        np.random.seed(1)
        tf.random.set_seed(1)
        self.assertAllEqual(data.binarize(grey(3)).examples, few.examples)

    def test_the_rest_of_the_source_stays(self):
        source = data.load("digits", "test")
        drawn = data.binarize(source)
        self.assertAllEqual(drawn.labels, source.labels)
        self.assertEqual(drawn.binarization, "fixed")
        facts = {"binarization": "fixed", "binarization_seed": binarization.FIXED_SEED}
        self.assertEqual(json.loads(json.dumps(drawn.describe())), {**source.describe(), **facts})
        self.assertNotIn("binarization", source.describe())
        self.assertGreater(len(np.unique(source.examples)), 50)  # not drawn in place
        self.assertIs(data.binarize(drawn, seed=5), drawn)
        for setting in ("none", "dynamic", "fixed"):
            self.assertIs(binarization.with_binarization(drawn, setting), drawn)


class PipelineTest(Probabilities, parameterized.TestCase, tf.test.TestCase):
    def test_values_and_probabilities(self):
        drawn = take(grey(5), 200, batch_size=16, binarization="dynamic")
        self.assertEqual(drawn.shape, (200, 2, 16, 7, 4, 1))
        self.assertTrue(black_and_white(drawn))
        white = np.moveaxis(drawn.reshape(-1, 7, 4) == 255, 2, 1)
        self.check(white.reshape(-1, 7))

    def test_draws_are_independent(self):
        source = images(np.full((2, 4, 4, 1), 128, np.uint8))
        drawn = take(source, 200, batch_size=4, binarization="dynamic").reshape(200, 8 * 16)
        spins = drawn / 127.5 - 1.0
        # Of pixels, examples, batches of a step: 8128 pairs; then of steps.
        moments = spins.T @ spins / 200.0
        self.assertAllClose(moments, np.eye(128), atol=6.0 / np.sqrt(200))
        steps = spins @ spins.T / 128.0
        self.assertAllClose(steps, np.eye(200), atol=6.5 / np.sqrt(128))

    def test_an_example_is_drawn_anew_each_time(self):
        source = images(np.full((1, 8, 8, 1), 128, np.uint8))
        shown = take(source, 10, binarization="dynamic").reshape(120, 64)
        self.assertLen({row.tobytes() for row in shown}, 120)

    def test_the_order_stays(self):
        source = numbered(40)
        order = take(source, 8)
        drawn = take(source, 8, binarization="dynamic")
        # 0 is black; of the others the share of white follows the level.
        self.assertAllEqual(drawn[order == 0], np.zeros(np.sum(order == 0)))
        shares = drawn.reshape(-1, 64).mean(axis=1) / 255.0
        levels = order.reshape(-1, 64)[:, 0] / 255.0
        self.assertAllLess(np.abs(shares - levels), 0.28)
        self.assertGreater(np.corrcoef(shares, levels)[0, 1], 0.5)

    @parameterized.parameters("dynamic", "fixed")
    def test_resuming_equals_dropping_the_past(self, setting):
        source = numbered(23)
        whole = take(source, 12, binarization=setting)
        self.assertTrue(black_and_white(whole))
        for start in (1, 2, 11):
            rest = take(source, 12 - start, start_step=start, binarization=setting)
            self.assertAllEqual(rest, whole[start:])

    @parameterized.parameters("dynamic", "fixed")
    def test_replicas_share_the_same_draws(self, setting):
        source = numbered(23)
        whole = take(source, 4, binarization=setting)
        for replicas in (2, 3):
            share = 6 // replicas
            parts = take(source, 4 * replicas, num_replicas=replicas, binarization=setting)
            parts = parts.reshape(4, replicas, 2, share, 8, 8, 1)
            self.assertAllEqual(np.moveaxis(parts, 1, 2).reshape(whole.shape), whole)

    def test_dynamic_draws_depend_on_the_seed_alone(self):
        source = images(np.full((1, 8, 8, 1), 128, np.uint8))
        whole = take(source, 20, seed=5, binarization="dynamic")
        tf.random.set_seed(8)
        self.assertAllEqual(take(source, 20, seed=5, binarization="dynamic"), whole)
        other = take(source, 20, seed=6, binarization="dynamic")
        self.assertLess(abs(np.mean(whole == other) - 0.5), 0.03)
        # Nor is one seed's step another seed's next one.
        self.assertLess(abs(np.mean(whole[1:] == other[:-1]) - 0.5), 0.03)

    @parameterized.parameters(1, 2)
    def test_fixed_draws_belong_to_the_examples(self, seed):
        source = numbered(200)
        order = take(source, 40, seed=seed).reshape(-1, 64)[:, 0]
        shown = take(source, 40, seed=seed, binarization="fixed").reshape(-1, 8, 8, 1)
        self.assertAllEqual(shown, data.binarize(source).examples[order])

    def test_the_setting_of_the_source_is_kept(self):
        source = numbered(23)
        for setting in ("none", "dynamic", "fixed"):
            expected = take(source, 3, binarization=setting)
            self.assertAllEqual(take(binarization.with_binarization(source, setting), 3), expected)
        self.assertAllEqual(take(source, 3), take(source, 3, binarization="none"))

    def test_shapes_are_static(self):
        dataset = pipeline.training_dataset(
            numbered(23),
            seed=0,
            batch_size=6,
            batches_per_step=5,
            num_replicas=3,
            binarization="dynamic",
        )
        self.assertEqual(dataset.element_spec, tf.TensorSpec((5, 2, 8, 8, 1), tf.uint8))

    def test_streams_are_drawn_dynamically(self):
        root = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        for number in range(12):
            picture = np.full((4, 4, 1), 128, np.uint8)
            (root / f"{number:02d}.png").write_bytes(tf.io.encode_png(picture).numpy())
        arguments = {"name": f"image_folder:{root}", "image_size": 4, "memory_limit_bytes": 0}
        source = data.load(**arguments, binarization="dynamic")
        self.assertIsNone(source.examples)
        whole = take(source, 20)
        self.assertTrue(black_and_white(whole))
        self.assertLess(abs(np.mean(whole == 255) - 128 / 255), 0.05)
        self.assertAllEqual(take(source, 9, start_step=11), whole[11:])
        with self.assertRaisesRegex(UserError, "'fixed'.*train.*image_size or --config.binari"):
            data.load(**arguments, binarization="fixed")
        # The draws of a test split are fixed under both.
        with self.assertRaisesRegex(UserError, "'fixed'.*test.*image_size.$"):
            data.load(**arguments, split="test", binarization="dynamic")


class LoadTest(parameterized.TestCase, tf.test.TestCase):
    def test_digits(self):
        stored = {split: data.load("digits", split) for split in ("train", "test")}
        for setting, train, test in (
            ("none", "none", "none"),
            ("dynamic", "dynamic", "fixed"),
            ("fixed", "fixed", "fixed"),
        ):
            for split, found in (("train", train), ("test", test)):
                source = data.load("digits", split, binarization=setting)
                self.assertEqual(source.describe().get("binarization", "none"), found)
                if found == "fixed":
                    expected = data.binarize(stored[split]).examples
                else:
                    expected = stored[split].examples
                self.assertAllEqual(source.examples, expected)

    @parameterized.parameters("dynamic", "fixed")
    def test_vectors_are_refused(self, setting):
        words = f"binarization='{setting}' needs images, and '.*' has vectors; .*binarization=none"
        for split in ("train", "test"):
            with self.assertRaisesRegex(UserError, words):
                data.load("ring2d", split, binarization=setting)
        source = data.load("gaussian")
        with self.assertRaisesRegex(UserError, words):
            take(source, 1, binarization=setting)
        if setting == "fixed":
            with self.assertRaisesRegex(UserError, words):
                data.binarize(source)

    def test_unknown_settings_are_refused(self):
        for call in (
            lambda: data.load("digits", binarization="fixd"),
            lambda: take(numbered(3), 1, binarization="fixd"),
        ):
            with self.assertRaisesRegex(UserError, "binarization='fixd'.*'fixed'"):
                call()


class RealTest(tf.test.TestCase):
    def test_mnist(self):
        folder, reason = datadir.data_dir("mnist")
        if folder is None:
            self.skipTest(reason)
        stored = data.load("mnist", "test", data_dir=folder)
        drawn = data.load("mnist", "test", data_dir=folder, binarization="fixed").examples
        self.assertTrue(black_and_white(drawn))
        for level in (0, 255):
            self.assertTrue(np.all(drawn[stored.examples == level] == level))
        wanted = stored.examples / 255.0
        slack = 5.0 * np.sqrt(np.sum(wanted * (1.0 - wanted), axis=0))
        distance = np.abs(np.sum(drawn / 255.0 - wanted, axis=0))
        self.assertAllLessEqual(distance - slack, 1e-6)
        whole = take(stored, 3, batch_size=32, batches_per_step=1, binarization="dynamic")
        self.assertTrue(black_and_white(whole))
        order = take(stored, 3, batch_size=32, batches_per_step=1)
        self.assertTrue(np.all(whole[order == 0] == 0) and np.all(whole[order == 255] == 255))


if __name__ == "__main__":
    tf.test.main()
