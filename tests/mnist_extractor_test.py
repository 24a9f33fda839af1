"""The LeNet of MNIST: its file, its architecture, its training, and what it says of real digits."""

import hashlib
import json
import pathlib
import unittest
from unittest import mock

import numpy as np
import pytest
import tensorflow as tf

import datadir
from kgzoo import data, evaluate
from kgzoo.errors import UserError
from kgzoo.evaluation import classifiers, features, score_card, scores

_WEIGHTS = pathlib.Path(classifiers.__file__).parent / "weights"
# The counts of the digits in the published training set.
_COUNTS = np.array([5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949])


def _enlarged_digits(split):
    return data.load("digits", split, image_size=28)


def _convolved(h, kernel, bias):
    """A convolution without padding, then relu, then the largest of each 2x2: [n, y, x, c]."""
    windows = np.lib.stride_tricks.sliding_window_view(h, (3, 3), axis=(1, 2))
    h = np.maximum(np.einsum("nyxcij,ijcf->nyxf", windows, kernel, optimize=True) + bias, 0.0)
    side = h.shape[1] // 2
    h = h[:, : 2 * side, : 2 * side].reshape(len(h), side, 2, side, 2, -1)
    return h.max(axis=(2, 4))


class ShippedFileTest(tf.test.TestCase):
    def test_facts_describe_the_file(self):
        facts = json.loads((_WEIGHTS / "mnist.json").read_text())
        content = (_WEIGHTS / "mnist.npz").read_bytes()
        self.assertEqual(facts["sha256"], hashlib.sha256(content).hexdigest())
        self.assertLess(len(content), 500_000)
        trained_on = facts["trained_on"]
        self.assertEqual((trained_on["split"], trained_on["num_examples"]), ("train", 60_000))
        self.assertEqual(facts["num_held_out"], 10_000)
        self.assertEqual(facts["accuracy_held_out"], facts["num_held_out_right"] / 10_000)
        self.assertGreaterEqual(facts["accuracy_held_out"], 0.99)
        self.assertIn("--data_dir=", facts["command"])
        extractor = features.get("mnist")
        self.assertAllClose(extractor.class_frequencies, _COUNTS / 60_000, rtol=1e-12)
        described = extractor.describe()
        self.assertEqual(described["sha256"], facts["sha256"])
        self.assertEqual((described["dim"], described["image_shape"]), (128, [28, 28, 1]))
        json.dumps(described, allow_nan=False)

    def test_architecture_of_appendix_a3(self):
        # Oracle: conv 32, pool, conv 64, pool, dense 128, dense 10 in float64 NumPy.
        with np.load(_WEIGHTS / "mnist.npz") as arrays:
            weights = [arrays[str(index)].astype(np.float64) for index in range(8)]
            self.assertLen(arrays.files, 8)
        self.assertEqual(
            [weight.shape for weight in weights[::2]],
            [(3, 3, 1, 32), (3, 3, 32, 64), (5 * 5 * 64, 128), (128, 10)],
        )
        images = _enlarged_digits("test").examples[:20]
        h = _convolved(images / 255.0, *weights[0:2])
        h = _convolved(h, *weights[2:4]).reshape(len(images), -1)
        expected = np.maximum(h @ weights[4] + weights[5], 0.0)
        x, logits = features.get("mnist").extract(images)
        self.assertAllClose(x, expected, rtol=1e-4, atol=1e-4)
        self.assertAllClose(logits, expected @ weights[6] + weights[7], rtol=1e-4, atol=1e-3)

    def test_wrong_shapes(self):
        for shape in ((16, 16, 1), (28, 28, 3), (28, 28), (784,)):
            with self.assertRaisesRegex(UserError, r"'mnist' takes images \[28, 28, 1\]"):
                features.get("mnist", shape)
        with self.assertRaisesRegex(UserError, "takes examples of shape"):
            features.get("mnist").extract(np.zeros((2, 32, 32, 1), np.uint8))
        with self.assertRaisesRegex(UserError, r"'mnist' takes images \[28, 28, 1\]"):
            score_card.prepare(data.load("digits", "test"), "mnist")


class TrainingTest(tf.test.TestCase):
    def test_training_writes_half_precision_and_what_it_measured(self):
        folder, asked = pathlib.Path(self.get_temp_dir()), []
        digits = {split: _enlarged_digits(split) for split in ("train", "test")}
        train, test = digits["train"], digits["test"]

        def load(name, split, data_dir):
            asked.append((name, split, data_dir))
            return digits[split]

        with mock.patch.object(data, "load", load):
            facts = classifiers.train_extractor(
                "mnist", folder, epochs=2, batch_size=32, data_dir="there", report=lambda _: None
            )
        self.assertEqual(asked, [("mnist", "train", "there"), ("mnist", "test", "there")])
        self.assertEqual((facts["epochs"], facts["batch_size"]), (2, 32))
        self.assertEqual(facts["class_frequencies"][0], np.mean(train.labels == 0))
        with np.load(folder / "mnist.npz") as arrays:
            self.assertEqual({arrays[name].dtype for name in arrays.files}, {np.dtype("float16")})
        model, loaded = classifiers.load("mnist", folder)
        self.assertEqual(loaded, facts)
        logits = model.predict(test.examples / np.float32(255.0), verbose=0)[1]
        self.assertEqual(int(np.sum(logits.argmax(1) == test.labels)), facts["num_held_out_right"])
        self.assertGreater(facts["accuracy_held_out"], 0.8)
        x = model.predict(train.examples / np.float32(255.0), verbose=0)[0]
        self.assertAllClose(np.mean(np.square(x)), 1.0, rtol=2e-3)

    def test_the_verb_passes_the_folder_of_the_data(self):
        with mock.patch.object(classifiers, "train_extractor", return_value={}) as train:
            evaluate.main(["", "--train_extractor=mnist", "--data_dir=~/sets", "--out=weights"])
        self.assertEqual(train.call_args.args, ("mnist",))
        self.assertEqual(train.call_args.kwargs["data_dir"], str(pathlib.Path.home() / "sets"))
        self.assertEqual(train.call_args.kwargs["folder"], "weights")

    def test_without_the_data_set(self):
        with self.assertRaisesRegex(UserError, "'mnist'"):
            classifiers.train_extractor("mnist", self.get_temp_dir(), data_dir="/nowhere")


class RealDataTest(tf.test.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.folder, reason = datadir.data_dir("mnist")
        if cls.folder is None:
            raise unittest.SkipTest(reason)
        cls.test = data.load("mnist", "test", data_dir=cls.folder)
        cls.reference = score_card.prepare(cls.test)

    def test_accuracy_on_the_test_images(self):
        self.assertEqual(self.reference.extractor.name, "mnist")
        right = int(np.sum(self.reference.logits.argmax(1) == self.test.labels))
        # One image on the edge may fall to either side on another processor.
        _, facts = classifiers.load("mnist")
        self.assertAllClose(right, facts["num_held_out_right"], atol=1.5)
        self.assertGreaterEqual(right, 9900)

    def test_real_digits_are_recognised_without_doubt(self):
        # The paper's classifier: EE 0.023 and LS 9.752 on the test images (Table 1).
        found = scores.classifier_scores(self.reference.logits, _COUNTS / 60_000)
        self.assertBetween(found["expected_entropy"], 0.01, 0.05)
        self.assertBetween(found["classifier_score"], 9.6, 9.9)

    def test_card_tells_blurred_digits_from_real_ones(self):
        real = self.test.examples[:1000]
        means = np.stack([self.test.examples[i::200].mean(axis=0) for i in range(200)])
        cards = [
            score_card.score_samples(samples, self.reference)
            for samples in (real, np.rint(means).astype(np.uint8))
        ]
        for name, sign in (("kid", 1), ("expected_entropy", 1), ("classifier_score", -1)):
            good, bad = (card[name]["value"] for card in cards)
            self.assertGreater(sign * bad, sign * good, name)
            self.assertEqual(cards[0][name]["extractor"], "mnist")
        for card in cards:
            self.assertBetween(card["expected_entropy_of_reference"]["value"], 0.01, 0.05)
            self.assertBetween(card["classifier_score_of_reference"]["value"], 9.6, 9.9)

    def test_a_version_leads_to_the_same_extractor(self):
        source = data.load(f"mnist:{self._version()}", "test", data_dir=self.folder)
        self.assertEqual(score_card.prepare(source, num_reference=10).extractor.name, "mnist")

    @pytest.mark.slow
    def test_features_have_mean_square_one_on_the_training_images(self):
        train = data.load("mnist", data_dir=self.folder)
        self.assertAllEqual(np.bincount(train.labels), _COUNTS)
        x, _ = self.reference.extractor.extract(train.examples)
        self.assertAllClose(np.mean(np.square(x)), 1.0, rtol=1e-3)

    def _version(self):
        return self.test.describe()["prepared_as"].rpartition("/")[2]


if __name__ == "__main__":
    tf.test.main()
