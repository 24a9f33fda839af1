"""Scores against formulas written out in float64, and score cards on real data."""

import json
import pathlib
import sys
from unittest import mock

import numpy as np
import scipy.linalg
import scipy.special
import scipy.stats
import tensorflow as tf
from absl.testing import parameterized

from kgzoo import data
from kgzoo.errors import UserError
from kgzoo.evaluation import features, score_card, scores, tfgan


def _normal(n, d, seed, mean=0.0):
    random = np.random.RandomState(seed)
    mixing = np.random.RandomState(1000 + d).normal(size=(d, d)) / np.sqrt(d)
    return random.normal(size=(n, d)) @ mixing + mean


def _frechet_by_sqrtm(x, y):
    """|m1 - m2|^2 + tr(C1 + C2 - 2 sqrtm(C1 C2)), word for word."""
    c1, c2 = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    root = scipy.linalg.sqrtm(c1 @ c2)
    mean = np.sum((x.mean(0) - y.mean(0)) ** 2)
    return float(np.real(mean + np.trace(c1) + np.trace(c2) - 2 * np.trace(root)))


def _frechet_by_svd(x, y):
    """The same for singular covariances: tr (C1 C2)^(1/2) is the nuclear norm of A B^T.

    A and B are the centred rows over sqrt(n - 1), sqrt(m - 1).
    """
    x, y = x.astype(np.float64), y.astype(np.float64)
    a, b = ((z - z.mean(0)) / np.sqrt(len(z) - 1) for z in (x, y))
    cross = np.linalg.svd(a @ b.T, compute_uv=False).sum()
    return float(np.sum((x.mean(0) - y.mean(0)) ** 2) + np.sum(a**2) + np.sum(b**2) - 2 * cross)


def _polynomial_mmd2(x, y):
    """The unbiased estimator as sums over pairs i != j."""

    def kernel(a, b):
        return (a @ b.T / a.shape[1] + 1.0) ** 3

    def off_diagonal_mean(k):
        return (k.sum() - np.trace(k)) / (len(k) * (len(k) - 1))

    within = off_diagonal_mean(kernel(x, x)) + off_diagonal_mean(kernel(y, y))
    return within - 2 * kernel(x, y).mean()


def _inception_score(logits):
    p = np.exp(logits - logits.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    q = p.mean(0)
    return float(np.exp(np.mean(np.sum(p * (np.log(p) - np.log(q)), axis=1))))


class FrechetDistanceTest(parameterized.TestCase, tf.test.TestCase):
    @parameterized.parameters((300, 450, 16), (2000, 500, 64), (50, 40, 1))
    def test_equals_the_formula_with_sqrtm(self, n, m, d):
        x, y = _normal(n, d, 1), 1.3 * _normal(m, d, 2, mean=0.2)
        if d == 1:
            expected = (x.mean() - y.mean()) ** 2 + (x.std(ddof=1) - y.std(ddof=1)) ** 2
        else:
            expected = _frechet_by_sqrtm(x, y)
        self.assertAllClose(scores.frechet_distance(x, y), expected, rtol=1e-8)

    def test_equals_tf_gan(self):
        x, y = _normal(400, 12, 3), _normal(300, 12, 4, mean=0.1)
        metrics = tfgan.classifier_metrics()
        theirs = metrics.frechet_classifier_distance_from_activations(
            tf.constant(x), tf.constant(y)
        )
        self.assertAllClose(scores.frechet_distance(x, y), theirs, rtol=1e-6)

    def test_identities(self):
        x = _normal(200, 8, 5)
        shift = np.linspace(-1, 2, 8)
        self.assertAllClose(scores.frechet_distance(x, x), 0.0, atol=1e-9)
        self.assertAllClose(scores.frechet_distance(x, x + shift), shift @ shift, rtol=1e-9)
        # Same mean, covariance four times as large: tr(C + 4C - 2 * 2C) = tr(C).
        stretched = x.mean(0) + 2 * (x - x.mean(0))
        trace = np.trace(np.cov(x, rowvar=False))
        self.assertAllClose(scores.frechet_distance(x, stretched), trace, rtol=1e-9)
        y = _normal(150, 8, 6)
        forth, back = scores.frechet_distance(x, y), scores.frechet_distance(y, x)
        self.assertAllClose(forth, back, rtol=1e-9)

    def test_fewer_examples_than_features(self):
        x, y = _normal(10, 64, 7), _normal(12, 64, 8, mean=0.3)
        self.assertAllClose(scores.frechet_distance(x, y), _frechet_by_svd(x, y), rtol=1e-6)

    def test_collapsed_samples(self):
        x = _normal(300, 16, 9)
        point = np.repeat(x[:1], 100, axis=0)
        # A point has no covariance: |m1 - m2|^2 + tr(C1) remains.
        expected = np.sum((x.mean(0) - x[0]) ** 2) + np.trace(np.cov(x, rowvar=False))
        self.assertAllClose(scores.frechet_distance(point, x), expected, rtol=1e-9)
        self.assertEqual(scores.frechet_distance(point, point), 0.0)
        self.assertTrue(np.isfinite(scores.frechet_distance(x[:2], x)))


class KernelDistanceTest(parameterized.TestCase, tf.test.TestCase):
    @parameterized.parameters((300, 300), (120, 301))
    def test_one_block_equals_the_formula(self, n, m):
        x, y = _normal(n, 10, 1), _normal(m, 10, 2, mean=0.2)
        score = scores.kernel_distance(x, y)
        self.assertAllClose(score["mean"], _polynomial_mmd2(x, y), rtol=1e-9)
        self.assertEqual(score["blocks"], 1)
        self.assertIsNone(score["std"])
        self.assertIsNone(score["standard_error"])

    def test_blocks_equal_the_formula_on_the_shuffled_parts(self):
        x, y = _normal(300, 6, 3), _normal(200, 6, 4, mean=0.3)
        score = scores.kernel_distance(x, y, block_size=75, seed=5)
        random = np.random.RandomState(5)
        x, y = x[random.permutation(300)], y[random.permutation(200)]
        parts = zip(np.split(x, 4), np.split(y, 4), strict=True)
        expected = [_polynomial_mmd2(*part) for part in parts]
        self.assertEqual((score["blocks"], score["block_size"]), (4, 75))
        self.assertAllClose(score["mean"], np.mean(expected), rtol=1e-9)
        self.assertAllClose(score["std"], np.std(expected, ddof=1), rtol=1e-9)
        self.assertAllClose(score["standard_error"], np.std(expected, ddof=1) / 2, rtol=1e-9)

    def test_order_of_storage_does_not_matter(self):
        # Two clusters, sorted: unshuffled blocks would compare one cluster with the other.
        x = np.concatenate([_normal(500, 4, 1), _normal(500, 4, 2, mean=3.0)])
        score = scores.kernel_distance(x, x[::-1], block_size=100)
        self.assertLess(abs(score["mean"]), 4 * score["standard_error"])
        unshuffled = [_polynomial_mmd2(a, b) for a, b in zip(
            np.split(x, 10), np.split(x[::-1], 10), strict=True)]  # fmt: skip
        self.assertGreater(np.mean(unshuffled), 100 * abs(score["mean"]))

    def test_mean_is_about_zero_for_one_distribution(self):
        means = [
            scores.kernel_distance(_normal(60, 5, seed), _normal(80, 5, 500 + seed))["mean"]
            for seed in range(100)
        ]
        error = np.std(means, ddof=1) / 10
        self.assertLess(abs(np.mean(means)), 3.5 * error)
        self.assertLess(min(means), 0.0)  # a biased estimator would never be negative

    def test_same_seed_same_value(self):
        x, y = _normal(100, 5, 1), _normal(100, 5, 2)
        one, same, other = (scores.kernel_distance(x, y, 20, seed)["mean"] for seed in (1, 1, 2))
        self.assertEqual(one, same)
        self.assertNotEqual(one, other)

    @parameterized.parameters((2, 1000), (3, 1000), (5, 37), (1000, 2))
    def test_very_unequal_counts_stay_finite(self, n, m):
        score = scores.kernel_distance(_normal(n, 3, 1), _normal(m, 3, 2), block_size=10)
        self.assertLessEqual(2 * score["blocks"], min(n, m))
        self.assertTrue(np.isfinite(score["mean"]))
        self.assertEqual(score["std"] is None, score["blocks"] == 1)
        json.dumps(score, allow_nan=False)

    def test_collapsed_samples_are_far_away(self):
        x = _normal(300, 16, 9)
        score = scores.kernel_distance(np.repeat(x[:1], 300, axis=0), x, block_size=50)
        self.assertGreater(score["mean"], 5 * score["std"])


class InceptionScoreTest(tf.test.TestCase):
    def test_equals_the_formula(self):
        logits = 3 * np.random.RandomState(0).normal(size=(500, 10))
        self.assertAllClose(
            scores.inception_score(logits, splits=1)["mean"], _inception_score(logits), rtol=1e-9
        )
        score = scores.inception_score(logits, splits=5, seed=3)
        shuffled = logits[np.random.RandomState(3).permutation(500)]
        expected = [_inception_score(part) for part in np.split(shuffled, 5)]
        self.assertAllClose(score["mean"], np.mean(expected), rtol=1e-9)
        self.assertAllClose(score["std"], np.std(expected), rtol=1e-9)

    def test_identities(self):
        logits = np.random.RandomState(1).normal(size=(100, 7))
        constant = np.repeat(logits[:1], 100, axis=0)
        self.assertAllClose(scores.inception_score(np.zeros((100, 7)))["mean"], 1.0, rtol=1e-12)
        self.assertAllClose(scores.inception_score(constant)["mean"], 1.0, rtol=1e-12)
        # Logits are logits: adding a number to all classes of an example changes nothing.
        shifted = logits + np.linspace(-50, 50, 100)[:, None]
        self.assertAllClose(
            scores.inception_score(shifted)["mean"], scores.inception_score(logits)["mean"]
        )

    def test_sure_and_balanced_classes_give_their_number(self):
        for gap in (50.0, 1e6):
            logits = gap * np.eye(7)[np.arange(70) % 7]
            score = scores.inception_score(logits, splits=1)["mean"]
            self.assertAllClose(score, 7.0, rtol=1e-9)

    def test_sure_and_collapsed(self):
        logits = 1e6 * np.eye(7)[np.zeros(70, int)]
        self.assertAllClose(scores.inception_score(logits)["mean"], 1.0, rtol=1e-9)

    def test_sorted_samples(self):
        logits = 50.0 * np.eye(5)[np.repeat(np.arange(5), 100)]
        self.assertGreater(scores.inception_score(logits, splits=5)["mean"], 4.5)

    def test_few_samples_use_fewer_splits(self):
        score = scores.inception_score(np.eye(5)[:3], splits=10)
        self.assertEqual(score["splits"], 1)
        self.assertIsNone(score["std"])


class ArgumentsTest(tf.test.TestCase):
    def test_wrong_arrays_are_refused_in_a_sentence(self):
        good = np.ones((5, 3))
        bad = np.full((5, 3), np.nan)
        pairs = [scores.frechet_distance, scores.kernel_distance]
        for score in pairs:
            for x, y, message in (
                (good[:1], good, "at least 2"),
                (good, good[:0], "at least 2"),
                (good, good[:, :2], "one extractor"),
                (good, bad, "NaN or infinity in 5 of 5 rows"),
                (good * np.inf, good, "NaN or infinity"),
                (good[0], good, "matrix"),
                (good[:, :0], good[:, :0], "matrix"),
            ):
                with self.assertRaisesRegex(UserError, message):
                    score(x, y)
        with self.assertRaisesRegex(UserError, "block_size=1 "):
            scores.kernel_distance(good, good, block_size=1)
        with self.assertRaisesRegex(UserError, "splits=0"):
            scores.inception_score(good, splits=0)
        with self.assertRaisesRegex(UserError, "at least 2"):
            scores.inception_score(good[:1])
        with self.assertRaisesRegex(UserError, "NaN"):
            scores.inception_score(bad)

    def test_values_are_plain_numbers(self):
        x, y = _normal(50, 3, 1).astype(np.float32), _normal(50, 3, 2).astype(np.float32)
        self.assertIs(type(scores.frechet_distance(x, y)), float)
        kernel = scores.kernel_distance(x, y, 10)
        self.assertEqual(
            {key: type(value) for key, value in kernel.items()},
            {"mean": float, "std": float, "standard_error": float, "blocks": int,
             "block_size": int, "seed": int, "convention": str},
        )  # fmt: skip
        self.assertIs(type(scores.inception_score(x)["mean"]), float)


class ClassifierScoresTest(parameterized.TestCase, tf.test.TestCase):
    @parameterized.parameters((200, 10, 1.0), (2, 3, 30.0), (500, 2, 5.0))
    def test_equals_the_formulas(self, n, classes, scale):
        random = np.random.RandomState(n)
        logits = scale * random.normal(size=(n, classes)) + 7.0
        frequencies = random.dirichlet(np.full(classes, 5.0))
        found = scores.classifier_scores(logits, frequencies)
        p = scipy.special.softmax(logits, axis=1)
        entropy = np.mean(scipy.stats.entropy(p, axis=1))
        divergence = np.mean(scipy.stats.entropy(p, frequencies[None], axis=1))
        self.assertEqual(set(found), {"expected_entropy", "classifier_score"})
        self.assertAllClose(found["expected_entropy"], entropy, rtol=1e-9)
        self.assertAllClose(found["classifier_score"], np.exp(divergence), rtol=1e-9)

    def test_equal_logits_say_nothing(self):
        uniform = np.full(4, 0.25)
        found = scores.classifier_scores(np.zeros((5, 4)), uniform)
        self.assertAllClose(found["expected_entropy"], np.log(4), rtol=1e-12)
        self.assertAllClose(found["classifier_score"], 1.0, rtol=1e-12)

    def test_no_doubt_and_the_frequencies_of_training(self):
        frequencies = np.array([0.5, 0.3, 0.2])
        logits = 2000.0 * np.eye(3)[np.repeat([0, 1, 2], [50, 30, 20])]
        found = scores.classifier_scores(logits, frequencies)
        self.assertEqual(found["expected_entropy"], 0.0)
        entropy = -np.sum(frequencies * np.log(frequencies))
        self.assertAllClose(found["classifier_score"], np.exp(entropy), rtol=1e-12)

    def test_a_collapse_to_one_class_is_not_punished(self):
        # KL(one class || q) = -log q of that class: a rare class scores above all real data.
        logits = 50.0 * np.eye(3)[np.full(40, 2)]
        found = scores.classifier_scores(logits, np.array([0.5, 0.3, 0.2]))
        self.assertAllClose(found["classifier_score"], 5.0, rtol=1e-9)
        self.assertIn("does not punish a collapse", scores.CLASSIFIER_CONVENTION)

    def test_wrong_arguments(self):
        logits, good = np.zeros((5, 3)), np.array([0.5, 0.3, 0.2])
        for bad in (good[:2], good * 2, np.array([0.7, 0.3, 0.0]), np.full(3, np.nan), None):
            with self.assertRaisesRegex(UserError, "positive shares of 3 classes"):
                scores.classifier_scores(logits, bad)
        with self.assertRaisesRegex(UserError, "at least 2"):
            scores.classifier_scores(logits[:1], good)
        with self.assertRaisesRegex(UserError, "NaN"):
            scores.classifier_scores(logits * np.nan, good)

    def test_values_are_plain_numbers(self):
        found = scores.classifier_scores(np.zeros((5, 2), np.float32), [0.5, 0.5])
        self.assertEqual({type(value) for value in found.values()}, {float})


class TfGanTest(tf.test.TestCase):
    def test_missing_package_names_the_remedy(self):
        without = {k: v for k, v in sys.modules.items() if not k.startswith("tensorflow_gan")}
        with (
            mock.patch.dict(sys.modules, without, clear=True),
            mock.patch("importlib.util.find_spec", return_value=None),
            self.assertRaisesRegex(ImportError, "pip install tensorflow-gan"),
        ):
            tfgan.classifier_metrics()

    def test_repeated_calls_give_the_same_module(self):
        self.assertIs(tfgan.classifier_metrics(), tfgan.classifier_metrics())


class ScoreCardTest(tf.test.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.train, cls.test = data.load("digits", split="train"), data.load("digits", split="test")
        cls.reference = score_card.prepare(cls.test)

    def test_entries(self):
        card = score_card.score_samples(self.train.examples, self.reference, seed=1)
        x = features.get("digits").extract(self.train.examples)[0]
        y, y_logits = features.get("digits").extract(self.test.examples)
        self.assertAllClose(card["fid"]["value"], _frechet_by_svd(x, y), rtol=1e-5)
        kid = scores.kernel_distance(x, y, block_size=270, seed=1)
        self.assertAllClose(card["kid"]["value"], kid["mean"], rtol=1e-6)
        self.assertAllClose(card["kid"]["std"], kid["std"], rtol=1e-6)
        self.assertEqual(card["kid"]["blocks"], 5)
        self.assertAllClose(
            card["inception_score_of_reference"]["value"],
            scores.inception_score(y_logits, seed=1)["mean"],
            rtol=1e-6,
        )
        entries = [entry for entry in card.values() if "convention" in entry]
        self.assertLen(entries, 11)
        for entry in entries:
            self.assertContainsSubset(
                {"value", "num_samples", "num_reference", "extractor", "seed"}, entry
            )
            self.assertEqual(entry["extractor"], "digits")
        self.assertEqual((card["fid"]["num_samples"], card["fid"]["num_reference"]), (1347, 450))
        self.assertEqual(card["reference"], self.test.describe())
        halves = card["fid_between_real_halves"]
        self.assertEqual(halves["num_samples"] + halves["num_reference"], 1797)
        self.assertBetween(halves["value"], 0.05, 2.0)

    def test_entropy_and_classifier_score(self):
        samples = np.rint(np.random.RandomState(0).uniform(size=(60, 16, 16, 1)) * 255)
        samples = samples.astype(np.uint8)
        card = score_card.score_samples(samples, self.reference)
        frequencies = np.bincount(self.train.labels) / 1347
        self.assertAllClose(self.reference.class_frequencies, frequencies, rtol=1e-12)
        for images, suffix in ((samples, ""), (self.test.examples, "_of_reference")):
            logits = features.get("digits").extract(images)[1].astype(np.float64)
            p = scipy.special.softmax(logits, axis=1)
            entropy, score = card[f"expected_entropy{suffix}"], card[f"classifier_score{suffix}"]
            self.assertAllClose(entropy["value"], scipy.stats.entropy(p, axis=1).mean(), rtol=1e-5)
            divergence = scipy.stats.entropy(p, frequencies[None], axis=1).mean()
            self.assertAllClose(score["value"], np.exp(divergence), rtol=1e-5)
            for entry in (entropy, score):
                self.assertEqual(
                    (entry["num_samples"], entry["num_reference"]), (len(images), None)
                )
        self.assertBetween(card["expected_entropy_of_reference"]["value"], 0.0, 0.05)
        self.assertBetween(card["classifier_score_of_reference"]["value"], 9.6, 9.98)
        self.assertGreater(card["expected_entropy"]["value"], 0.5)
        self.assertLess(card["classifier_score"]["value"], 5.0)

    def test_class_shares(self):
        zeros = self.train.examples[self.train.labels == 0]
        ones = self.train.examples[self.train.labels == 1]
        samples = np.concatenate([zeros[:90], ones[:30]])
        card = score_card.score_samples(samples, self.reference)
        self.assertAllClose(card["class_shares"]["value"][:2], [0.75, 0.25], atol=0.03)
        self.assertAllClose(sum(card["class_shares"]["value"]), 1.0)
        self.assertEqual(card["lowest_class_share"]["value"], 0.0)

    def test_worse_samples_score_worse(self):
        random = np.random.RandomState(0)
        clean = self.train.examples[:450] / np.float32(255.0)
        noisy = [
            np.clip(clean + sd * random.normal(size=clean.shape), 0, 1) for sd in (0.0, 0.2, 0.5)
        ]
        for name in ("digits", "random_conv"):
            reference = score_card.prepare(self.test, name)
            cards = [score_card.score_samples(samples, reference) for samples in noisy]
            fid, kid = ([card[key]["value"] for card in cards] for key in ("fid", "kid"))
            self.assertLess(2 * fid[0], fid[1], name)
            self.assertLess(2 * fid[1], fid[2], name)
            self.assertEqual(kid, sorted(kid), name)

    def test_floats_score_like_the_stored_images(self):
        uint8 = self.train.examples[:300]
        one = score_card.score_samples(uint8, self.reference)
        for less_than_half_a_level in (-1e-3, 1e-3):
            floats = uint8 / np.float32(255.0) + np.float32(less_than_half_a_level)
            two = score_card.score_samples(np.clip(floats, 0.0, 1.0), self.reference)
            self.assertEqual(one, two)

    def test_collapsed_samples_and_two_samples(self):
        for samples in (np.repeat(self.test.examples[:1], 100, axis=0), self.test.examples[:2]):
            card = score_card.score_samples(samples, self.reference)
            json.dumps(card, allow_nan=False)
            self.assertGreater(card["fid"]["value"], 5.0)
        self.assertIsNone(card["kid"]["std"])

    def test_reference_is_limited_and_counted(self):
        reference = score_card.prepare(self.test, num_reference=100)
        self.assertAllClose(reference.features, self.reference.features[:100], atol=1e-5)
        card = score_card.score_samples(self.train.examples[:50], reference)
        self.assertEqual(card["fid"]["num_reference"], 100)

    def test_another_image_size_uses_random_features(self):
        source = data.load("digits", split="test", image_size=8)
        card = score_card.score_samples(source.examples[:50], source)
        self.assertEqual(card["fid"]["extractor"], "random_conv")
        self.assertNotIn("inception_score", card)
        self.assertNotIn("expected_entropy", card)
        self.assertIsNone(score_card.prepare(source).class_frequencies)
        self.assertEqual(card["fid_between_real_halves"]["num_samples"], 898)

    def test_vectors_and_modes(self):
        source = data.load("ring2d", split="test")
        centres = np.array(source.describe()["modes"]["centres"], np.float32)
        samples = np.concatenate(
            [
                np.repeat(centres[:3], 100, axis=0),
                centres[3:4],  # one sample is not a covered mode
                np.full((99, 2), 7.0, np.float32),
            ]
        )
        card = score_card.score_samples(samples, source)
        y = source.examples.astype(np.float64)
        self.assertAllClose(card["fid"]["value"], _frechet_by_sqrtm(samples, y), rtol=1e-6)
        coverage = card["mode_coverage"]
        self.assertEqual(coverage["value"], 3)
        self.assertEqual(coverage["counts"], [100, 100, 100, 1, 0, 0, 0, 0])
        self.assertAllClose(coverage["share_near_a_mode"], 301 / 400)
        self.assertEqual(card["fid"]["extractor"], "identity")
        json.dumps(card, allow_nan=False)

    def test_wrong_samples_are_refused(self):
        good = self.test.examples[:10]
        for samples, message in (
            (good[:1], "at least 2"),
            (good[:, :8], "shape"),
            (good * np.float32(1.0), "scale floats"),
            (np.full(good.shape, np.nan, np.float32), "NaN"),
            (good.astype(np.int32), "dtype int32"),
        ):
            with self.assertRaisesRegex(UserError, message):
                score_card.score_samples(samples, self.reference)
        with self.assertRaisesRegex(UserError, "contradicts"):
            score_card.score_samples(good, self.reference, "random_conv")
        with self.assertRaisesRegex(UserError, "did you mean 'digits'"):
            score_card.prepare(self.test, "digit")

    def test_file_is_whole_or_absent(self):
        path = pathlib.Path(self.get_temp_dir()) / "run" / "scores.json"
        score_card.write(path, {"fid": {"value": 1.5}})
        self.assertEqual(json.loads(path.read_text()), {"fid": {"value": 1.5}})
        with self.assertRaises(ValueError):
            score_card.write(path, {"fid": {"value": float("nan")}})
        with mock.patch("os.fsync", side_effect=OSError("disk full")), self.assertRaises(OSError):
            score_card.write(path, {"fid": {"value": 2.5}})
        self.assertEqual(json.loads(path.read_text()), {"fid": {"value": 1.5}})
        self.assertEqual([p.name for p in path.parent.iterdir()], ["scores.json"])


if __name__ == "__main__":
    tf.test.main()
