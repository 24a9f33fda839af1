"""Feature extractors: the shipped classifier, random features, coordinates."""

import hashlib
import json
import pathlib
import shutil

import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from kgzoo import data
from kgzoo.errors import UserError
from kgzoo.evaluation import classifiers, features

_WEIGHTS = pathlib.Path(classifiers.__file__).parent / "weights"


class DigitsTest(tf.test.TestCase):
    def test_accuracy_on_the_held_out_split(self):
        test = data.load("digits", split="test")
        x, logits = features.get("digits").extract(test.examples)
        self.assertEqual((x.shape, x.dtype), ((450, 64), np.float32))
        self.assertEqual((logits.shape, logits.dtype), ((450, 10), np.float32))
        accuracy = np.mean(logits.argmax(1) == test.labels)
        self.assertGreaterEqual(accuracy, 0.97)
        _, facts = classifiers.load("digits")
        self.assertAllClose(facts["accuracy_held_out"], accuracy, atol=1.5 / 450)

    def test_features_have_mean_square_one_on_the_training_split(self):
        x, _ = features.get("digits").extract(data.load("digits").examples)
        self.assertAllClose(np.mean(np.square(x)), 1.0, rtol=1e-3)
        self.assertGreaterEqual(x.min(), 0.0)

    def test_facts_describe_the_shipped_file(self):
        facts = json.loads((_WEIGHTS / "digits.json").read_text())
        content = (_WEIGHTS / "digits.npz").read_bytes()
        self.assertEqual(facts["sha256"], hashlib.sha256(content).hexdigest())
        self.assertLess(len(content), 200_000)
        train = data.load("digits").describe()
        self.assertEqual(facts["trained_on"], json.loads(json.dumps(train)))
        self.assertEqual(facts["trained_on"]["split"], "train")
        described = features.get("digits").describe()
        self.assertEqual(described["sha256"], facts["sha256"])
        shares = np.bincount(data.load("digits").labels) / 1347
        self.assertAllClose(described["class_frequencies"], shares, rtol=1e-12)
        self.assertAllClose(features.get("digits").class_frequencies, shares, rtol=1e-12)
        json.dumps(described, allow_nan=False)

    def test_damaged_or_missing_weights(self):
        folder = pathlib.Path(self.get_temp_dir())
        with self.assertRaisesRegex(UserError, "missing.*--train_extractor=digits"):
            classifiers.load("digits", folder)
        for suffix in (".json", ".npz"):
            shutil.copy(_WEIGHTS / f"digits{suffix}", folder)
        classifiers.load("digits", folder)
        content = bytearray((folder / "digits.npz").read_bytes())
        content[1000] ^= 1
        (folder / "digits.npz").write_bytes(bytes(content))
        with self.assertRaisesRegex(UserError, "not the file"):
            classifiers.load("digits", folder)

    def test_training_is_repeatable_and_loads_again(self):
        folders = [pathlib.Path(self.get_temp_dir()) / name for name in ("one", "two")]
        lines = []
        facts = [
            classifiers.train_extractor("digits", folder, seed=3, epochs=2, report=lines.append)
            for folder in folders
        ]
        self.assertEqual(facts[0], facts[1])
        self.assertGreater(facts[0]["accuracy_held_out"], 0.5)  # far from 0.1, after two epochs
        self.assertEqual(json.loads((folders[0] / "digits.json").read_text()), facts[0])
        model, _ = classifiers.load("digits", folders[0])
        test = data.load("digits", split="test")
        logits = model(test.examples / np.float32(255.0))[1].numpy()
        x = model(data.load("digits").examples / np.float32(255.0))[0].numpy()
        self.assertAllClose(np.mean(np.square(x)), 1.0, rtol=1e-3)
        right = int(np.sum(logits.argmax(1) == test.labels))
        self.assertEqual(right, facts[0]["num_held_out_right"])
        self.assertNotEmpty(lines)
        shares = np.bincount(data.load("digits").labels) / 1347
        self.assertAllClose(facts[0]["class_frequencies"], shares, rtol=1e-12)


class RandomConvTest(parameterized.TestCase, tf.test.TestCase):
    @parameterized.parameters((8, 8, 1), (16, 16, 1), (32, 32, 3), (33, 57, 3), (64, 64, 3))
    def test_any_size(self, *shape):
        images = np.random.RandomState(0).randint(0, 256, size=(5, *shape)).astype(np.uint8)
        extractor = features.get("random_conv", shape)
        x, logits = extractor.extract(images)
        self.assertEqual((x.shape, x.dtype), ((5, extractor.dim), np.float32))
        self.assertBetween(extractor.dim, 128, 256)
        self.assertIsNone(logits)
        self.assertFalse(extractor.has_logits)
        self.assertTrue(np.isfinite(x).all())
        # He scaling keeps features at the order of one whatever the depth.
        self.assertBetween(np.sqrt(np.mean(np.square(x))), 0.05, 5.0)

    def test_weights_are_the_same_everywhere(self):
        # Oracle: Philox numbers recomputed from raw bits, 23 of them as TensorFlow makes floats.
        extractor = features.get("random_conv", (8, 8, 1))
        black = extractor.extract(np.full((1, 8, 8, 1), 255, np.uint8))[0]
        seed = extractor.describe()["seed"]
        bits = tf.random.stateless_uniform(
            (3, 3, 1, 32), (seed, 0), None, None, tf.uint32, alg="philox"
        ).numpy()
        unit = ((bits & 0x7FFFFF) | 0x3F800000).view(np.float32) - 1.0
        kernel = (2.0 * unit.astype(np.float64) - 1.0) * np.sqrt(6.0 / 9.0)
        bits = tf.random.stateless_uniform(
            (32,), (seed, 1), None, None, tf.uint32, alg="philox"
        ).numpy()
        unit = ((bits & 0x7FFFFF) | 0x3F800000).view(np.float32) - 1.0
        bias = (2.0 * unit.astype(np.float64) - 1.0) * 0.5
        total = np.zeros(32)
        for row in range(8):
            for column in range(8):
                rows = slice(max(0, 1 - row), 3 - max(0, row - 6))
                columns = slice(max(0, 1 - column), 3 - max(0, column - 6))
                value = kernel[rows, columns, 0].sum(axis=(0, 1)) + bias
                total += np.where(value > 0, value, 0.2 * value)
        self.assertAllClose(black[0, :32], total / 64, rtol=1e-4, atol=1e-5)

    def test_last_features_see_one_quadrant_each(self):
        images = np.zeros((5, 32, 32, 1), np.uint8)
        for quadrant in range(4):
            top, left = 6 + 16 * (quadrant // 2), 6 + 16 * (quadrant % 2)
            images[quadrant, top : top + 4, left : left + 4] = 255
        x, _ = features.get("random_conv", (32, 32, 1)).extract(images)
        change = np.square(x[:4, 32:] - x[4, 32:]).reshape(4, 4, 48).sum(axis=-1)
        self.assertAllEqual(change.argmax(axis=1), np.arange(4))
        self.assertAllGreater(3 * np.diag(change) - 2 * change.sum(axis=1), 0.0)

    def test_wrong_shapes(self):
        for shape in ((7, 16, 1), (16, 16, 2), (16, 16), (16,)):
            with self.assertRaisesRegex(UserError, "8x8 pixels with 1 or 3 channels"):
                features.get("random_conv", shape)
        with self.assertRaisesRegex(UserError, "needs image_shape"):
            features.get("random_conv")


class ExtractorTest(parameterized.TestCase, tf.test.TestCase):
    @parameterized.parameters("digits", "random_conv")
    def test_batch_size_does_not_matter(self, name):
        images = data.load("digits", split="test").examples[:70]
        extractor = features.get(name, (16, 16, 1))
        x, logits = extractor.extract(images)
        for batch_size in (1, 32, 69):
            again, again_logits = extractor.extract(images, batch_size)
            self.assertAllClose(again, x, rtol=1e-4, atol=1e-5)
            if logits is not None:
                self.assertAllClose(again_logits, logits, rtol=1e-4, atol=1e-4)

    @parameterized.parameters("digits", "random_conv")
    def test_uint8_and_floats_are_the_same_images(self, name):
        images = data.load("digits", split="test").examples[:20]
        extractor = features.get(name, (16, 16, 1))
        x, _ = extractor.extract(images)
        for dtype in (np.float32, np.float64):
            self.assertAllClose(extractor.extract(images.astype(dtype) / 255)[0], x, atol=1e-5)

    def test_identity(self):
        points = np.random.RandomState(0).normal(size=(300, 3)).astype(np.float32)
        extractor = features.get("identity", (3,))
        x, logits = extractor.extract(points, batch_size=7)
        self.assertAllEqual(x, points)
        self.assertIsNone(logits)
        with self.assertRaisesRegex(UserError, "random_conv"):
            features.get("identity", (16, 16, 1))

    def test_wrong_images(self):
        extractor = features.get("digits")
        good = np.zeros((3, 16, 16, 1), np.float32)
        for images, message in (
            (np.zeros((3, 28, 28, 1), np.uint8), "takes examples of shape .*'random_conv'"),
            (good[0], "takes examples of shape"),
            (good[:0], "takes examples of shape"),
            (good + 2.0, r"span \[2, 2\]; scale"),
            (good - 0.5, "scale"),
            (good * np.nan, "NaN"),
            (good.astype(np.int64), "int64"),
        ):
            with self.assertRaisesRegex(UserError, message):
                extractor.extract(images)
        with self.assertRaisesRegex(UserError, "batch_size=0"):
            extractor.extract(good, batch_size=0)
        with self.assertRaisesRegex(UserError, "use extractor 'random_conv'"):
            features.get("digits", (28, 28, 1))
        with self.assertRaisesRegex(UserError, "did you mean 'digits'"):
            features.get("digit")
        with self.assertRaisesRegex(UserError, "not known"):
            classifiers.train_extractor("random_conv")
        for name in ("epochs", "batch_size"):
            with self.assertRaisesRegex(UserError, f"{name}=0"):
                classifiers.train_extractor("digits", self.get_temp_dir(), **{name: 0})
        for name in ("identity", "random_conv"):
            shape = (16,) if name == "identity" else (16, 16, 1)
            self.assertIsNone(features.get(name, shape).class_frequencies)

    def test_default_names(self):
        self.assertEqual(features.default_name("digits", "image"), "digits")
        self.assertEqual(features.default_name("digits", "image", (16, 16, 1)), "digits")
        self.assertEqual(features.default_name("digits", "image", (32, 32, 1)), "random_conv")
        self.assertEqual(features.default_name("cifar10", "image"), "random_conv")
        for name in ("mnist", "mnist:3.0.1"):
            self.assertEqual(features.default_name(name, "image", (28, 28, 1)), "mnist")
            self.assertEqual(features.default_name(name, "image", (14, 14, 1)), "random_conv")
        for name in ("fashion_mnist", "image_folder:mnist"):
            self.assertEqual(features.default_name(name, "image", (28, 28, 1)), "random_conv")
        self.assertEqual(features.default_name("ring2d", "vector"), "identity")


if __name__ == "__main__":
    tf.test.main()
