"""The three-sample test: its statistic by loops, its variance and its errors by simulation."""

import math

import numpy as np
import tensorflow as tf

from kgzoo.errors import UserError
from kgzoo.evaluation import relative_similarity


def kernel(a, b):
    return (sum(p * q for p, q in zip(a, b, strict=True)) / len(a) + 1.0) ** 3


def mmd2u(x, y):
    """Gretton et al. (2012), lemma 6, loop by loop."""
    m, n = len(x), len(y)
    xx = sum(kernel(x[i], x[j]) for i in range(m) for j in range(m) if i != j)
    yy = sum(kernel(y[i], y[j]) for i in range(n) for j in range(n) if i != j)
    xy = sum(kernel(x[i], y[j]) for i in range(m) for j in range(n))
    return xx / (m * (m - 1)) + yy / (n * (n - 1)) - 2 * xy / (m * n)


def simulated(sizes, scales, repetitions, dim, seed=0, centres=(0.0, 0.0, 0.0)):
    """Returns `repetitions` tests of normal samples (real, now, then)."""
    random = np.random.RandomState(seed)
    return [
        relative_similarity.relative_test(
            *(
                centre + scale * random.standard_normal((size, dim))
                for size, scale, centre in zip(sizes, scales, centres, strict=True)
            )
        )
        for _ in range(repetitions)
    ]


class StatisticTest(tf.test.TestCase):
    def test_difference_equals_the_loops(self):
        random = np.random.RandomState(1)
        for m, n, l in ((4, 4, 4), (7, 5, 6)):  # noqa: E741
            x, y, z = (random.standard_normal((size, 3)) for size in (m, n, l))
            test = relative_similarity.relative_test(x, y, z)
            self.assertAllClose(test.difference, mmd2u(x, y) - mmd2u(x, z), rtol=1e-12)
            wanted = test.difference / math.sqrt(test.variance)
            self.assertAllClose(test.statistic, wanted, rtol=1e-12)
            normal = 0.5 * (1 + math.erf(wanted / math.sqrt(2)))
            self.assertAllClose(test.p_value, normal, rtol=1e-9)

    def test_exchanged_models_exchange_the_verdict(self):
        x, y, z = np.random.RandomState(2).standard_normal((3, 20, 4))
        one, other = (relative_similarity.relative_test(x, *pair) for pair in ((y, z), (z, y)))
        self.assertAllClose(one.statistic, -other.statistic, rtol=1e-12)
        self.assertAllClose(one.p_value + other.p_value, 1.0, rtol=1e-12)
        self.assertAllClose(one.variance, other.variance, rtol=1e-12)

    def test_small_when_now_is_nearer(self):
        (test,) = simulated((200, 200, 200), (1.0, 1.1, 2.0), 1, 4)
        self.assertLess(test.p_value, 1e-3)
        self.assertLess(test.statistic, 0)

    def test_collapsed_samples_have_a_finite_verdict(self):
        x = np.random.RandomState(3).standard_normal((16, 2))
        point, other = np.ones((16, 2)), np.full((16, 2), 3.0)
        self.assertAllClose(
            relative_similarity.relative_test(x, point, point).p_value, 0.5, atol=0.01
        )
        self.assertLess(relative_similarity.relative_test(x, x[::-1], other).p_value, 0.01)
        same = relative_similarity.relative_test(point, other, other)
        self.assertAllEqual([same.statistic, same.p_value], [0.0, 0.5])
        apart = relative_similarity.relative_test(point, point, other)
        self.assertEqual(apart.p_value, 0.0)
        self.assertTrue(np.isfinite(apart.statistic))

    def test_float32_features_are_computed_in_float64(self):
        x, y, z = np.random.RandomState(4).standard_normal((3, 12, 5)).astype(np.float32)
        one = relative_similarity.relative_test(x, y, z)
        other = relative_similarity.relative_test(*(each.astype(np.float64) for each in (x, y, z)))
        self.assertEqual(one, other)

    def test_refusals_are_one_sentence(self):
        good, rows = np.zeros((8, 3)), np.zeros((3, 3))
        bad = np.full((8, 3), np.nan)
        for arguments, words in (
            ((good, rows, good), r"\[3, 3\].*at least 4"),
            ((good, good, good[0]), r"\[3\]"),
            ((good, good[:, :2], good), "3 features.*2"),
            ((bad, good, good), "real holds NaN"),
        ):
            with self.assertRaisesRegex(UserError, words) as caught:
                relative_similarity.relative_test(*arguments)
            self.assertNotIn("\n", str(caught.exception))
        near = relative_similarity.closeness(good, good)
        with self.assertRaisesRegex(UserError, "8 real examples.*5"):
            relative_similarity.compare(near, relative_similarity.closeness(good[:5], good))


class VarianceTest(tf.test.TestCase):
    def test_equals_that_of_many_repetitions(self):
        # Sizes far too small for use, where every term counts, and unequal; both models off the
        # data, one of them, and none (where the terms of first order are 0).
        for sizes in ((40, 40, 40), (60, 30, 45)):
            for scales in ((1.0, 1.5, 1.5), (1.0, 1.0, 1.4), (1.0, 1.0, 1.0)):
                tests = simulated(sizes, scales, 2500, 3)
                found = np.var([test.difference for test in tests])
                # Of a variance of 2500 heavy-tailed values, three standard errors are about 15 %.
                estimates = np.mean([test.variance for test in tests])
                self.assertAllClose(estimates / found, 1.0, rtol=0, atol=0.15, msg=f"{scales}")

    def test_shared_real_data_count_once(self):
        # Models so alike that X moves both MMDs by the same amount: it must drop out.
        random = np.random.RandomState(5)
        x = 3.0 * random.standard_normal((50, 2))
        y, z = random.standard_normal((2, 2000, 2))
        joint = relative_similarity.relative_test(x, y, z).variance
        alone = 4 * np.var(relative_similarity.closeness(x, y).per_real, ddof=1) / len(x)
        self.assertLess(joint, 0.1 * alone)


class ErrorsTest(tf.test.TestCase):
    def rejections(self, **arguments):
        tests = simulated(repetitions=1000, dim=8, **arguments)
        return np.mean([test.p_value <= 0.1 for test in tests])

    def test_false_improvements_are_as_many_as_promised(self):
        # Binomial: standard deviation sqrt(0.1 * 0.9 / 1000) = 0.0095.
        for scale in (1.0, 1.2):
            found = self.rejections(sizes=(100, 100, 100), scales=(1.0, scale, scale))
            self.assertAllClose(found, 0.1, rtol=0, atol=0.035, msg=f"{scale}")

    def test_clear_improvements_are_seen(self):
        found = self.rejections(sizes=(100, 100, 100), scales=(1.0, 1.0, 1.4))
        self.assertGreater(found, 0.9)

    def test_clear_losses_are_never_improvements(self):
        found = self.rejections(sizes=(100, 100, 100), scales=(1.0, 1.4, 1.0))
        self.assertLess(found, 0.01)


if __name__ == "__main__":
    tf.test.main()
