"""The permutation test, against sums over pairs written out and by simulation of its level."""

import json
import math

import numpy as np
import tensorflow as tf
from absl.testing import parameterized
from scipy.spatial import distance

from kgzoo.errors import UserError
from kgzoo.evaluation import two_sample


def normal(n, d, seed, mean=0.0):
    return np.random.RandomState(seed).normal(size=(n, d)) + mean


def unbiased(x, y, bandwidth):
    """Lemma 6 of Gretton et al. as loops over pairs."""

    def kernel(a, b):
        return math.exp(-np.sum((a - b) ** 2) / (2 * bandwidth**2))

    def within(points):
        n = len(points)
        pairs = [(i, j) for i in range(n) for j in range(n) if i != j]
        return sum(kernel(points[i], points[j]) for i, j in pairs) / (n * (n - 1))

    across = sum(kernel(a, b) for a in x for b in y) / (len(x) * len(y))
    return within(x) + within(y) - 2 * across


class StatisticTest(tf.test.TestCase):
    def test_equals_loops_over_pairs(self):
        x, y = normal(9, 3, 0), normal(14, 3, 1, mean=0.5)
        found = two_sample.mmd_test(x, y, bandwidth=1.3, num_permutations=9)
        self.assertAllClose(found["value"], unbiased(x, y, 1.3), rtol=1e-12, atol=0)
        self.assertEqual((found["num_reference"], found["num_samples"]), (9, 14))
        self.assertIn("bandwidth = as given", found["convention"])

    def test_the_bandwidth_is_the_median_of_all_pairs(self):
        x, y = normal(12, 4, 2), normal(21, 4, 3, mean=3.0)
        median = np.median(distance.pdist(np.concatenate([x, y])))
        found = two_sample.mmd_test(x, y, num_permutations=9)
        self.assertAllClose(found["bandwidth"], median, rtol=1e-6, atol=0)
        self.assertAllClose(found["value"], unbiased(x, y, median), rtol=1e-6, atol=0)
        self.assertIn("bandwidth = median distance", found["convention"])

    def test_p_value_counts_permutations(self):
        x, y = normal(6, 2, 4), normal(8, 2, 5, mean=0.7)
        pooled, random = np.concatenate([x, y]), np.random.RandomState(7)
        observed, as_large = unbiased(x, y, 1.0), 0
        for _ in range(150):
            first = random.permutation(14) < 6
            as_large += unbiased(pooled[first], pooled[~first], 1.0) >= observed
        self.assertBetween(as_large, 2, 140)
        found = two_sample.mmd_test(x, y, bandwidth=1.0, num_permutations=150, seed=7)
        self.assertEqual(found["p_value"], (1 + as_large) / 151)

    def test_ties_count(self):
        # One point on each side of three is another: every dealing has one of two values.
        points = np.zeros((4, 1))
        self.assertEqual(two_sample.mmd_test(points, points)["p_value"], 1.0)
        x, y = np.zeros((6, 3)) + 0.1, np.repeat(np.eye(3), 2, axis=0)
        found = two_sample.mmd_test(x, y, num_permutations=2000, seed=1)
        # Two of the 924 dealings of 12 points, 6 of them equal, are as extreme.
        self.assertAllClose(found["p_value"], 2 / 924, atol=4e-3)
        json.dumps(found, allow_nan=False)

    def test_limit_and_seed(self):
        x, y = normal(60, 3, 8), normal(40, 3, 9, mean=0.4)
        found = two_sample.mmd_test(x, y, num_permutations=50, limit=25, seed=3)
        self.assertEqual((found["num_reference"], found["num_samples"]), (25, 25))
        again = two_sample.mmd_test(x, y, num_permutations=50, limit=25, seed=3)
        self.assertAllClose(found["value"], again["value"], rtol=1e-12, atol=0)
        other = two_sample.mmd_test(x, y, num_permutations=50, limit=25, seed=4)
        self.assertNotAllClose(found["value"], other["value"], rtol=1e-6)
        # Features in single precision, far from the origin.
        near = two_sample.mmd_test(x, y, num_permutations=9)
        far = two_sample.mmd_test(
            (x + 100).astype(np.float32), (y + 100).astype(np.float32), num_permutations=9
        )
        self.assertAllClose(near["value"], far["value"], atol=1e-5)

    def test_refusals(self):
        points = normal(8, 2, 10)
        for arguments, options, message in (
            ((points[:1], points), {}, "real has 1 example; the test needs at least 2"),
            ((points, points[:1]), {}, "samples has 1 example"),
            ((points, points[:0]), {}, r"samples has shape \[0, 2\]"),
            ((points, points[:, :1]), {}, "real has 2 features and samples 1"),
            ((points, points * np.inf), {}, "samples holds NaN or infinity"),
            ((points, points), {"num_permutations": 0}, "num_permutations=0"),
            ((points, points), {"limit": 1}, "limit=1"),
            ((points, points), {"bandwidth": 0.0}, r"bandwidth=0\.0"),
        ):
            with self.assertRaisesRegex(UserError, message):
                two_sample.mmd_test(*arguments, **options)


class SimulationTest(parameterized.TestCase, tf.test.TestCase):
    def rejections(self, count, level, n, m, mean):
        options = {"bandwidth": 1.5, "num_permutations": 99}
        return sum(
            two_sample.mmd_test(
                normal(n, 2, 2 * i), normal(m, 2, 2 * i + 1, mean), seed=i, **options
            )["p_value"]
            <= level
            for i in range(count)
        )

    @parameterized.parameters((12, 12), (8, 30))
    def test_level(self, n, m):
        # Of 400 true hypotheses 10 % are rejected, give or take three standard deviations.
        self.assertBetween(self.rejections(400, 0.1, n, m, 0.0), 22, 58)

    def test_power(self):
        self.assertGreater(self.rejections(50, 0.05, 30, 30, 1.0), 45)


if __name__ == "__main__":
    tf.test.main()
