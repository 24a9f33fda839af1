"""Nearest neighbours and the scores made of them, against plain geometry and scikit-learn."""

import json

import numpy as np
import tensorflow as tf
from scipy.spatial import distance
from sklearn import neighbors

from kgzoo.errors import UserError
from kgzoo.evaluation import neighbours


def normal(n, d, seed, scale=1.0, mean=0.0):
    return (scale * np.random.RandomState(seed).normal(size=(n, d)) + mean).astype(np.float32)


def published(real, samples, k):
    """The four formulas, word for word, with the radii of scikit-learn's ball tree."""
    real, samples = real.astype(np.float64), samples.astype(np.float64)
    # Queried without points, a tree leaves each point out of its own neighbours.
    radius, radius_of_samples = (
        neighbors.NearestNeighbors(n_neighbors=k, algorithm="ball_tree")
        .fit(points)
        .kneighbors()[0][:, -1]
        for points in (real, samples)
    )
    held = distance.cdist(real, samples) <= radius[:, None]
    recalled = distance.cdist(real, samples) <= radius_of_samples
    return {
        "precision": held.any(axis=0).mean(),
        "recall": recalled.any(axis=1).mean(),
        "density": held.sum() / (k * len(samples)),
        "coverage": held.any(axis=1).mean(),
    }


class NearestTest(tf.test.TestCase):
    def test_equals_sorting_all_distances(self):
        references, queries = normal(300, 7, 0), normal(130, 7, 1)
        apart = distance.cdist(queries.astype(np.float64), references.astype(np.float64))
        expected = np.argsort(apart, axis=1, kind="stable")[:, :4]
        for block in (1, 50, 1000):
            indices, distances = neighbours.nearest(queries, references, 4, block)
            self.assertAllEqual(indices, expected)
            self.assertAllClose(
                distances, np.take_along_axis(apart, expected, 1), rtol=1e-12, atol=0
            )
        self.assertEqual((indices.dtype, distances.dtype), (np.int64, np.float64))

    def test_equal_points_are_at_zero_and_the_first_comes_first(self):
        references = np.repeat(normal(40, 600, 2, mean=30.0), 3, axis=0)
        indices, distances = neighbours.nearest(references, references, 4)
        first = np.arange(120) // 3 * 3
        self.assertAllEqual(indices[:, :3], first[:, None] + [0, 1, 2])
        self.assertAllEqual(distances[:, :3], np.zeros((120, 3)))
        self.assertTrue((distances[:, 3] > 1.0).all())

    def test_points_far_from_the_origin(self):
        offset = 1e6
        references = offset + 1e-3 * normal(200, 5, 3).astype(np.float64)
        queries = offset + 1e-3 * normal(50, 5, 4).astype(np.float64)
        apart = distance.cdist(queries, references)
        indices, distances = neighbours.nearest(queries, references)
        self.assertAllEqual(indices[:, 0], apart.argmin(axis=1))
        self.assertAllClose(distances[:, 0], apart.min(axis=1), rtol=1e-12, atol=0)

    def test_two_clusters_far_apart(self):
        # Squared distances from norms are wrong in their last digits, by more than they differ.
        random = np.random.RandomState(19)
        references = 1e-3 * random.normal(size=(80, 6)) + np.repeat([[1e4], [-1e4]], 40, axis=0)
        queries = 1e-3 * random.normal(size=(60, 6)) + 1e4
        apart = distance.cdist(queries, references)
        indices, _ = neighbours.nearest(queries, references, 2)
        self.assertAllEqual(indices, np.argsort(apart, axis=1)[:, :2])

    def test_bytes_and_halves_count_as_they_are(self):
        images = np.random.RandomState(5).randint(256, size=(60, 30)).astype(np.uint8)
        apart = distance.cdist(images[:20].astype(np.float64), images[20:].astype(np.float64))
        for dtype in (np.uint8, np.float16, np.float32, np.int64):
            points = images.astype(dtype)
            _, distances = neighbours.nearest(points[:20], points[20:])
            self.assertAllClose(distances[:, 0], apart.min(axis=1), rtol=1e-12, atol=0)

    def test_refusals(self):
        points = normal(5, 3, 6)
        broken = np.where(np.eye(5, 3) > 0, np.nan, points)
        for arguments, message in (
            ((points, points, 6), "k=6 exceeds the 5 references"),
            ((points, points, 0), "k=0 must be an integer of at least 1"),
            ((points, points, 1, 0), "block=0 must be"),
            ((points, points[:, :2]), "queries has 3 features and references 2"),
            ((points, points[:0]), r"references has shape \[0, 3\]"),
            ((points[0], points), r"queries has shape \[3\]"),
            ((broken, points), "queries holds NaN or infinity"),
        ):
            with self.assertRaisesRegex(UserError, message):
                neighbours.nearest(*arguments)


class NeighbourScoresTest(tf.test.TestCase):
    def scores(self, *arguments, **options):
        found = neighbours.neighbour_scores(*arguments, **options)
        return {name: entry["value"] for name, entry in found.items()}

    def test_equals_the_published_formulas(self):
        for n, m, d, scale, mean in ((300, 260, 8, 0.8, 0.3), (150, 90, 6, 0.8, 0.6)):
            real, samples = normal(n, d, 7), normal(m, d, 8, scale, mean)
            three, five = published(real, samples, 3), published(real, samples, 5)
            for expected in (three, five):
                self.assertBetween(expected["precision"], 0.2, 0.99)
                self.assertBetween(expected["recall"], 0.2, 0.99)
                self.assertBetween(expected["coverage"], 0.2, 0.99)
            expected = {**three, "density": five["density"], "coverage": five["coverage"]}
            for block in (1, 37, 1000):
                self.assertAllClose(
                    self.scores(real, samples, block=block), expected, rtol=1e-12, atol=0
                )
            found = self.scores(real, samples, k_precision=5, k_density=3)
            swapped = {**five, "density": three["density"], "coverage": three["coverage"]}
            self.assertAllClose(found, swapped, rtol=1e-12, atol=0)

    def test_a_sample_against_itself(self):
        # Every ball ends at its k-th neighbour, which it holds: ties that rounding must not break.
        for dtype in (np.float32, np.float64):
            points = normal(400, 64, 9, mean=5.0).astype(dtype)
            for block in (64, 333):
                found = self.scores(points, points.copy(), block=block)
                one = {"precision": 1.0, "recall": 1.0, "density": 6 / 5, "coverage": 1.0}
                self.assertEqual(found, one)

    def test_what_each_score_tells(self):
        real = np.concatenate([normal(200, 4, 10), normal(200, 4, 11, mean=20.0)])
        collapsed = self.scores(real, np.repeat(real[:1], 50, axis=0))
        self.assertEqual(collapsed["precision"], 1.0)
        self.assertLess(max(collapsed["recall"], collapsed["coverage"]), 0.05)
        one_mode = self.scores(real, normal(400, 4, 12))
        self.assertBetween(one_mode["coverage"], 0.4, 0.5)
        self.assertGreater(one_mode["precision"], 0.8)
        away = self.scores(real, normal(400, 4, 13, mean=-50.0))
        self.assertEqual(set(away.values()), {0.0})
        # A far real point's wide ball lifts precision, and coverage hardly.
        outlier = np.concatenate([real, np.full((1, 4), 60.0, np.float32)])
        lifted = self.scores(outlier, normal(400, 4, 14, mean=45.0))
        self.assertEqual(lifted["precision"], 1.0)
        self.assertLess(lifted["coverage"], 0.01)
        self.assertAllClose(lifted["density"], 0.2)

    def test_entries(self):
        found = neighbours.neighbour_scores(normal(30, 2, 15), normal(30, 2, 16))
        self.assertEqual([entry["k"] for entry in found.values()], [3, 3, 5, 5])
        for entry in found.values():
            self.assertIn("closed balls", entry["convention"])
            self.assertIsInstance(entry["value"], float)
        json.dumps(found, allow_nan=False)

    def test_refusals(self):
        few, many = normal(5, 3, 17), normal(20, 3, 18)
        for real, samples, name in ((few, many, "real"), (many, few, "samples")):
            with self.assertRaisesRegex(UserError, rf"{name} has 5 example\(s\), no more than k=5"):
                neighbours.neighbour_scores(real, samples)
            neighbours.neighbour_scores(real, samples, k_density=4)
        with self.assertRaisesRegex(UserError, "k_precision=0"):
            neighbours.neighbour_scores(many, many, k_precision=0)
        with self.assertRaisesRegex(UserError, "real has 3 features and samples 2"):
            neighbours.neighbour_scores(many, many[:, :2])
        with self.assertRaisesRegex(UserError, "samples holds NaN"):
            neighbours.neighbour_scores(many, many * np.nan)


if __name__ == "__main__":
    tf.test.main()
