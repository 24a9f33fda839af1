"""Feature extractors: the shipped classifier, random features, coordinates."""

import hashlib
import json
import pathlib
import shutil
from unittest import mock

import numpy as np
import tensorflow as tf
from absl.testing import parameterized

import datadir
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

    def test_training_is_repeatable_even_if_interrupted_and_loads_again(self):
        folders = [pathlib.Path(self.get_temp_dir()) / name for name in ("one", "two")]
        lines, facts = [], []

        def interrupt(line):
            raise KeyboardInterrupt(line)

        def train(folder, report, seed=3):
            return classifiers.train_extractor("digits", folder, seed, 2, report=report)

        facts.append(train(folders[0], lines.append))
        self.assertStartsWith(lines[0], "epoch 1/2")
        self.assertEqual({path.suffix for path in folders[0].iterdir()}, {".json", ".npz"})
        # The second time, what another training left is of no use.
        for seed in (4, 3):
            with self.assertRaisesRegex(KeyboardInterrupt, "epoch 1/2"):
                train(folders[1], interrupt, seed)
        (unfinished,) = folders[1].iterdir()
        del lines[:]
        facts.append(train(folders[1], lines.append))
        self.assertStartsWith(lines[0], "epoch 2/2")
        self.assertFalse(unfinished.exists())
        self.assertEqual(facts[0], {**facts[1], "sha256": facts[0]["sha256"]})
        weights = [classifiers.load("digits", folder)[0].get_weights() for folder in folders]
        for one, two in zip(*weights, strict=True):
            self.assertAllClose(one, two, rtol=1e-5, atol=1e-5)
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


def _coloured(split, count):
    """Noise of three colours, as a stand-in for CIFAR-10: [n, 32, 32, 3]."""
    random = np.random.RandomState(len(split))
    labels = np.arange(count) % 3
    examples = random.randint(0, 150, size=(count, 32, 32, 3)).astype(np.uint8)
    examples[np.arange(count), :, :, labels] += 100
    return data.Source("cifar10", "image", (32, 32, 3), count, examples, labels, split=split)


class Cifar10Test(tf.test.TestCase):
    def test_without_weights(self):
        self.assertIn("cifar10", features.names())
        folder = pathlib.Path(self.get_temp_dir())
        command = r"python -m kgzoo.evaluate --train_extractor=cifar10 --data_dir=\S+$"
        with mock.patch.object(classifiers, "_FOLDER", folder):
            with self.assertRaisesRegex(UserError, f"'cifar10' are missing in .*; .*{command}"):
                features.get("cifar10", (32, 32, 3))
            for shape in (None, (32, 32, 3)):
                self.assertEqual(features.default_name("cifar10", "image", shape), "random_conv")
            (folder / "cifar10.npz").touch()
            for name in ("cifar10", "cifar10:3.0.2"):
                self.assertEqual(features.default_name(name, "image", (32, 32, 3)), "cifar10")
            self.assertEqual(features.default_name("cifar10", "image", (48, 48, 3)), "random_conv")

    def test_shipped_file(self):
        facts = json.loads((_WEIGHTS / "cifar10.json").read_text())
        content = (_WEIGHTS / "cifar10.npz").read_bytes()
        self.assertEqual(facts["sha256"], hashlib.sha256(content).hexdigest())
        self.assertLess(len(content), 1_500_000)
        self.assertEqual((facts["num_held_out"], facts["trained_on"]["split"]), (10_000, "train"))
        self.assertGreaterEqual(facts["accuracy_held_out"], 0.88)
        self.assertAllClose(facts["class_frequencies"], [0.1] * 10, rtol=1e-12)
        folder, reason = datadir.data_dir("cifar10")
        if folder is None:
            self.skipTest(reason)
        test = data.load("cifar10", "test", folder)
        _, logits = features.get("cifar10").extract(test.examples[:1000])
        self.assertGreaterEqual(np.mean(logits.argmax(1) == test.labels[:1000]), 0.86)

    def test_training(self):
        folder = pathlib.Path(self.get_temp_dir())
        sources = {"train": _coloured("train", 120), "test": _coloured("test", 60)}
        with mock.patch.object(data, "load", lambda name, split, data_dir: sources[split]):
            facts = classifiers.train_extractor(
                "cifar10", folder, epochs=4, batch_size=12, report=lambda _: None
            )
        self.assertGreater(facts["accuracy_held_out"], 0.8)  # chance: a third
        self.assertBetween(facts["num_parameters"], 300_000, 700_000)
        self.assertLess((folder / "cifar10.npz").stat().st_size, 1_500_000)
        with np.load(folder / "cifar10.npz") as arrays:
            self.assertEqual({arrays[name].dtype for name in arrays.files}, {np.dtype("float16")})
        with mock.patch.object(classifiers, "_FOLDER", folder):
            extractor = features.get("cifar10", (32, 32, 3))
        x, logits = extractor.extract(sources["test"].examples)
        self.assertEqual((x.shape, logits.shape), ((60, 144), (60, 10)))
        right = int(np.sum(logits.argmax(1) == sources["test"].labels))
        self.assertAllClose(right, facts["num_held_out_right"], atol=1.5)
        x, _ = extractor.extract(sources["train"].examples)
        self.assertAllClose(np.mean(np.square(x)), 1.0, rtol=5e-3)

    def test_folding_leaves_the_outputs_as_they_are(self):
        trained = classifiers._architecture("cifar10", seed=1, training=True)
        random = np.random.RandomState(0)
        for layer in trained.layers:
            if layer.name.endswith("_norm"):
                shapes = [weight.shape for weight in layer.get_weights()]
                low_high = ((-1, 1), (-1, 1), (0.1, 3.0))  # offset, mean, variance
                layer.set_weights(
                    [random.uniform(*pair, s) for pair, s in zip(low_high, shapes, strict=True)]
                )
        trained.get_layer("logits").set_weights([random.normal(size=(144, 10)), np.ones(10)])
        images = random.uniform(size=(5, 32, 32, 3)).astype(np.float32)
        model = classifiers._folded(trained, classifiers._architecture("cifar10"))
        for one, two in zip(trained(images, training=False), model(images), strict=True):
            self.assertGreater(np.std(one), 0.01)
            self.assertAllClose(one, two, rtol=1e-3, atol=1e-3)

    def test_whitening(self):
        # Neighbours alike, as in pictures, and channels too.
        noise = np.random.RandomState(0).normal(size=(50, 33, 33, 4)).cumsum(axis=1).cumsum(axis=3)
        images = np.clip(128 + 12 * (noise[:, 1:, 1:, :3] + noise[:, 1:, :-1, 1:]), 0, 255)
        kernel, bias = classifiers._whitening(images.astype(np.uint8))
        x = images.astype(np.uint8) / 255.0
        x = tf.nn.conv2d(x, kernel, 1, "VALID").numpy().reshape(-1, 24) + bias
        self.assertAllClose(x[:, :12], -x[:, 12:], atol=1e-8)
        covariance = np.cov(x[:, :12], rowvar=False)
        self.assertAllClose(
            covariance - np.diag(np.diag(covariance)), np.zeros((12, 12)), atol=0.01
        )
        self.assertAllClose(x.mean(axis=0), np.zeros(24), atol=1e-6)
        self.assertAllClose(np.diag(covariance)[-6:], np.ones(6), atol=0.05)


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
        for name in ("mnist", "mnist:3.0.1"):
            self.assertEqual(features.default_name(name, "image", (28, 28, 1)), "mnist")
            self.assertEqual(features.default_name(name, "image", (14, 14, 1)), "random_conv")
        for name in ("fashion_mnist", "image_folder:mnist"):
            self.assertEqual(features.default_name(name, "image", (28, 28, 1)), "random_conv")
        self.assertEqual(features.default_name("ring2d", "vector"), "identity")


if __name__ == "__main__":
    tf.test.main()
