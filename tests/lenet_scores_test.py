"""Scores of the Kernel GAN paper's Table 1: against float64 loops, and on real digits."""

import json
import math
import unittest

import numpy as np
import pytest
import tensorflow as tf
from scipy import special
from scipy.spatial import distance

import datadir
from kgzoo import data, results
from kgzoo.discrepancies import jensen_shannon
from kgzoo.errors import UserError
from kgzoo.evaluation import features, lenet_scores, scores

_COUNTS = np.array([5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949])


def digits(split, count):
    return data.load("digits", split).examples[:count]


def flat(images):
    return images.reshape(len(images), -1) / 255.0


def table_one(test, samples, bandwidths):
    """Eq. 12 with phi = 0 and the biased MMD^2, one point at a time, float64."""
    x, y = flat(test), flat(samples)

    def log_density(point, sample):
        squared = np.sum((sample - point) ** 2, axis=1)
        exponents = [-squared / (2 * sigma**2) for sigma in bandwidths]
        return special.logsumexp(exponents) - math.log(len(sample))

    def log_share(point, own, other):
        p, q = log_density(point, own), log_density(point, other)
        return p - np.logaddexp(p, q)

    def mean_kernel(a, b):
        squared = distance.cdist(a, b, "sqeuclidean")
        return sum(np.mean(np.exp(-squared / (2 * sigma**2))) for sigma in bandwidths)

    first = np.mean([log_share(point, x, y) for point in x])
    second = np.mean([log_share(point, y, x) for point in y])
    return first, second, mean_kernel(x, x) + mean_kernel(y, y) - 2 * mean_kernel(x, y)


class PixelDivergencesTest(tf.test.TestCase):
    def test_equals_loops_over_points(self):
        test, samples = digits("test", 70), digits("train", 70)[:, ::-1]
        for bandwidths in (lenet_scores.BANDWIDTHS, (3.0,), (0.5, 2.0), (1e-2,)):
            first, second, squared = table_one(test, samples, bandwidths)
            found = lenet_scores.pixel_divergences(samples, test, bandwidths)
            self.assertAllClose(found["jsd"]["first"], first, rtol=1e-7, atol=1e-12)
            self.assertAllClose(found["jsd"]["second"], second, rtol=1e-7, atol=1e-12)
            self.assertAllClose(found["jsd"]["value"], first + second, rtol=1e-7, atol=1e-12)
            self.assertAllClose(found["mmd"]["value"], squared, rtol=1e-7, atol=0)
            self.assertAllClose(found["mmd"]["root"], math.sqrt(squared), rtol=1e-7, atol=0)

    def test_equals_the_training_objective(self):
        test, samples = digits("test", 150), digits("train", 150)
        for bandwidths in (lenet_scores.BANDWIDTHS, (2.0, 0.7)):
            value, halves = jensen_shannon.jensen_shannon(
                tf.constant(flat(test)), tf.constant(flat(samples)), bandwidths, offset=0.0
            )
            found = lenet_scores.pixel_divergences(samples, test, bandwidths)["jsd"]
            self.assertAllClose(found["value"], value, rtol=1e-7, atol=0)
            self.assertAllClose(found["first"], halves["jsd_first"], rtol=1e-7, atol=0)
            self.assertAllClose(found["second"], halves["jsd_second"], rtol=1e-7, atol=0)

    def test_narrow_kernels_far_from_everything(self):
        black, white = np.zeros((5, 16, 16, 1), np.uint8), np.full((5, 16, 16, 1), 255, np.uint8)
        found = lenet_scores.pixel_divergences(white, black, (0.01,))
        # No density of one sample at a point of the other: log 1 + log 1.
        self.assertAllClose(found["jsd"]["value"], 0.0, atol=1e-12)
        self.assertAllClose(found["mmd"]["value"], 2.0, rtol=1e-12, atol=0)

    def test_equal_counts_chosen_alike(self):
        test, samples = digits("test", 400), digits("train", 150)
        found = lenet_scores.pixel_divergences(samples, test)
        self.assertEqual((found["jsd"]["num_samples"], found["jsd"]["num_reference"]), (150, 150))
        same = lenet_scores.pixel_divergences(test, test.copy(), limit=120, seed=5)
        self.assertEqual(same["mmd"]["num_samples"], 120)
        self.assertAllClose(same["jsd"]["value"], -math.log(4.0), rtol=1e-12, atol=0)
        self.assertEqual(same["mmd"]["value"], 0.0)
        one, other = (
            lenet_scores.pixel_divergences(samples, test, limit=50, seed=seed)["jsd"]["value"]
            for seed in (0, 1)
        )
        self.assertNotEqual(one, other)

    def test_refusals(self):
        images = digits("test", 10)
        for samples, options, message in (
            (images[:1], {}, "samples and test share 1 image"),
            (images[:0], {}, r"samples has shape \[0, 16, 16, 1\]"),
            (images[:, :8], {}, "samples has 128 pixels and test 256"),
            (images.astype(np.float32), {}, r"samples spans \[0, 255\]"),
            (images * np.nan, {}, "samples holds NaN"),
            (images, {"bandwidths": (0.0,)}, "bandwidths="),
            (images, {"limit": 1}, "limit=1"),
        ):
            with self.assertRaisesRegex(UserError, message):
                lenet_scores.pixel_divergences(samples, images, **options)


class TrainingDistancesTest(tf.test.TestCase):
    def test_means_of_distances_and_of_their_squares(self):
        train, samples = digits("train", 500), digits("test", 60)
        nearest = distance.cdist(flat(samples), flat(train)).min(axis=1)
        for given in (samples, samples / 255.0):
            found = lenet_scores.training_distances(given, train)
            self.assertAllClose(found["enn"]["value"], nearest.mean(), rtol=1e-6, atol=0)
            self.assertAllClose(
                found["enn_squared"]["value"], np.mean(nearest**2), rtol=1e-6, atol=0
            )
        self.assertEqual(lenet_scores.training_distances(train[:9], train)["enn"]["value"], 0.0)
        with self.assertRaisesRegex(UserError, r"train has shape \[0, 16, 16, 1\]"):
            lenet_scores.training_distances(samples, train[:0])

    def test_all_entries_are_entries_of_a_card(self):
        train, test = digits("train", 90), digits("test", 50)
        found = lenet_scores.lenet_scores(digits("test", 80)[50:], test, train, seed=3)
        self.assertEqual(list(found), ["enn_squared", "enn", "jsd", "mmd"])
        for entry in found.values():
            self.assertIsInstance(entry["value"], float)
            self.assertContainsSubset(("convention", "seed"), entry)
            self.assertEqual((entry["num_samples"], entry["extractor"]), (30, "pixels"))
        self.assertEqual([entry["num_reference"] for entry in found.values()], [90, 90, 30, 30])
        self.assertIn("100, 50, 10, 5, 1, 0.5, 0.1, 0.05, 0.01", found["jsd"]["convention"])
        json.dumps(found, allow_nan=False)


class ResultsTest(tf.test.TestCase):
    """Which runs have them: those on grey images of which there is a training split."""

    def test_training_images(self):
        found = results.training_images(data.load("digits", "test"), "")
        self.assertAllEqual(found, data.load("digits", "train").examples)
        self.assertIsNone(results.training_images(data.load("ring2d", "test"), None))
        colour = data.Source("cifar10", "image", (2, 2, 3), 1, np.zeros((1, 2, 2, 3), np.uint8))
        self.assertIsNone(results.training_images(colour, None))
        folder = data.Source("image_folder:x", "image", (2, 2, 1), 1, colour.examples[..., :1])
        self.assertIsNone(results.training_images(folder, None))


class RealDigitsTest(tf.test.TestCase):
    """The sanity rows: what real images have, so that a generator can be read against it."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        folder, reason = datadir.data_dir("mnist")
        if folder is None:
            raise unittest.SkipTest(reason)
        cls.train, cls.test = (
            data.load("mnist", split, data_dir=folder).examples for split in ("train", "test")
        )

    def test_the_test_set_against_itself(self):
        test = self.test[:1000]
        found = lenet_scores.pixel_divergences(test, test)
        self.assertAllClose(found["jsd"]["value"], -math.log(4.0), atol=1e-6)
        self.assertAllClose(found["jsd"]["first"], -math.log(2.0), atol=1e-6)
        self.assertEqual((found["mmd"]["value"], found["mmd"]["root"]), (0.0, 0.0))

    def test_training_images_against_test_images(self):
        found = lenet_scores.pixel_divergences(self.train[:1000], self.test[:1000])
        self.assertBetween(found["jsd"]["value"], -1.3863, -1.380)
        # Of the biased estimate's nine kernels at distance 0, two thousandths are the own points'.
        self.assertBetween(found["mmd"]["value"], 1e-6, 0.018)
        blurred = np.stack([self.train[i::200].mean(axis=0) for i in range(200)]).astype(np.uint8)
        worse = lenet_scores.pixel_divergences(blurred, self.test[:1000])
        self.assertGreater(worse["mmd"]["value"], 0.05)
        self.assertGreater(abs(worse["jsd"]["first"] - worse["jsd"]["second"]), 0.05)

    def test_distance_of_test_images_to_training_images(self):
        # Table 1 prints 19.299 for what is the mean squared distance.
        found = lenet_scores.training_distances(self.test[:600], self.train)
        self.assertBetween(found["enn_squared"]["value"], 18.8, 19.8)
        self.assertBetween(found["enn"]["value"], 4.1, 4.35)

    def test_training_images_are_recognised(self):
        # Table 1: EE 0.023 and LS 9.752 for the test images.
        _, logits = features.get("mnist").extract(self.train[:2000])
        found = scores.classifier_scores(logits, _COUNTS / 60_000)
        self.assertBetween(found["expected_entropy"], 0.01, 0.05)
        self.assertBetween(found["classifier_score"], 9.6, 9.9)

    @pytest.mark.slow
    def test_more_images(self):
        test = self.test[:2500]
        found = lenet_scores.lenet_scores(test, test, self.train)
        self.assertAllClose(found["enn_squared"]["value"], 19.3, atol=0.2)
        self.assertAllClose(found["enn"]["value"], 4.22, atol=0.03)
        self.assertAllClose(found["jsd"]["value"], -math.log(4.0), atol=1e-6)
        self.assertEqual(found["mmd"]["value"], 0.0)
        disjoint = lenet_scores.pixel_divergences(self.train[:2500], test)
        self.assertBetween(disjoint["jsd"]["value"], -1.3863, -1.384)


if __name__ == "__main__":
    tf.test.main()
