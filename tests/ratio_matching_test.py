"""The density ratio and the critic's objective against the GRAM paper, eq. 6 to 9."""

import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from kgzoo import kernels
from kgzoo.discrepancies import ratio_matching
from kgzoo.errors import UserError

_RIDGE = 1e-3


def _gaussian(x, y, bandwidth=1.0):
    return np.exp(-np.sum((x[:, None] - y[None]) ** 2, axis=2) / (2 * bandwidth**2))


def _rational_quadratic(x, y, rate=0.5):
    return (1 + np.sum((x[:, None] - y[None]) ** 2, axis=2) / (2 * rate)) ** -rate


def _ratio(x, y, ridge, kernel=_gaussian, **parameters):
    """Eq. 8 for real `x` and generated `y`, with the factor M / N that it omits."""
    gram = kernel(y, y, **parameters) + ridge * np.eye(len(y))
    return len(y) / len(x) * np.linalg.solve(gram, kernel(y, x, **parameters) @ np.ones(len(x)))


def _samples(n, m, d=2, seed=0, scale=1.0):
    random = np.random.RandomState(seed)
    return scale * random.normal(0.3, 1.0, size=(n, d)), scale * random.normal(size=(m, d))


def _lattice(count, mean, sd):
    """Quantiles of a normal distribution: a sample without noise."""
    from scipy import stats

    return stats.norm.ppf((np.arange(count) + 0.5) / count, mean, sd)[:, None]


class RatiosTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.parameters((5, 5, 1e-3), (9, 4, 0.1), (3, 8, 1.0), (1, 6, 1e-3), (6, 1, 0.5))
    def test_equals_eq_8(self, n, m, ridge):
        x, y = _samples(n, m)
        found = ratio_matching.ratios([kernels.Gaussian()], x, y, ridge)
        self.assertEqual(found.dtype, tf.float64)
        self.assertAllClose(found, _ratio(x, y, ridge), rtol=1e-9, atol=1e-9)

    def test_equals_eq_8_without_ridge(self):
        # Few points far apart, or the system is singular.
        x, y = _samples(7, 5, scale=3.0)
        found = ratio_matching.ratios([kernels.Gaussian(0.5)], x, y, ridge=0)
        self.assertAllClose(found, _ratio(x, y, 0.0, bandwidth=0.5), rtol=1e-9, atol=1e-9)

    def test_minimises_eq_3(self):
        # |sum_i k(., x_i) / N - sum_j r_j k(., y_j) / M|^2 + ridge |r|^2 / M^2.
        x, y = _samples(8, 5)
        values = ratio_matching.ratios([kernels.Gaussian()], x, y, 0.01).numpy()

        def distance(r):
            cross, own = _gaussian(y, x), _gaussian(y, y)
            return (r @ own @ r + 0.01 * r @ r) / 25 - 2 * r @ cross.sum(axis=1) / (8 * 5)

        for index in range(5):
            for change in (-0.01, 0.01):
                self.assertGreater(distance(values + change * np.eye(5)[index]), distance(values))

    def test_averages_over_kernels(self):
        x, y = _samples(6, 4)
        several = [kernels.Gaussian(0.5), kernels.Gaussian(2.0), kernels.RationalQuadratic(0.5)]
        expected = [
            _ratio(x, y, _RIDGE, bandwidth=0.5),
            _ratio(x, y, _RIDGE, bandwidth=2.0),
            _ratio(x, y, _RIDGE, kernel=_rational_quadratic),
        ]
        found = ratio_matching.ratios(several, x, y)
        self.assertAllClose(found, np.mean(expected, axis=0), rtol=1e-8)

    def test_unequal_samples_need_the_factor_of_their_sizes(self):
        # Real N(0.5, 0.8^2) over generated N(0, 1), 180 points for 60.
        x, y = _lattice(180, 0.5, 0.8), _lattice(60, 0.0, 1.0)
        values = ratio_matching.ratios([kernels.Gaussian()], x, y, _RIDGE)
        self.assertAllClose(tf.reduce_mean(values), 1.0, atol=0.02)
        as_printed = values.numpy() * 180 / 60
        self.assertAllClose(np.mean(as_printed), 3.0, atol=0.06)
        self.assertGreater(np.mean((as_printed - 1) ** 2), 4.0)

    def test_approximates_the_ratio_of_two_gaussians(self):
        x, y = _lattice(400, 0.5, 0.8), _lattice(300, 0.0, 1.0)
        points = y[:, 0]
        true = np.exp(points**2 / 2 - (points - 0.5) ** 2 / (2 * 0.8**2)) / 0.8
        values = ratio_matching.ratios([kernels.Gaussian(0.5)], x, y, 0.01).numpy()
        inner = np.abs(points) < 2
        self.assertLess(np.max(np.abs(values - true)[inner]), 0.12)
        divergence = ratio_matching.pearson_divergence(values)
        self.assertAllClose(divergence, np.mean((true - 1) ** 2), rtol=0.05)

    def test_coincident_samples_have_ratio_one(self):
        x, _ = _samples(40, 1)
        values = ratio_matching.ratios([kernels.Gaussian()], x, x, 1e-6)
        self.assertAllClose(values, np.ones(40), atol=0.01)

    def test_samples_far_apart_have_ratio_zero(self):
        x, y = _samples(5, 6)
        self.assertAllClose(ratio_matching.ratios([kernels.Gaussian()], x + 60, y), np.zeros(6))

    def test_duplicates_share_their_weight(self):
        x, y = _samples(7, 5)
        twice = np.concatenate([y, y])
        values = ratio_matching.ratios([kernels.Gaussian()], x, twice, _RIDGE)
        self.assertAllClose(values, _ratio(x, twice, _RIDGE), rtol=1e-7)
        self.assertAllClose(values[:5], values[5:], rtol=1e-9)
        # As one example with a ridge half as large.
        self.assertAllClose(values[:5], _ratio(x, y, _RIDGE / 2), rtol=1e-7)

    def test_without_ridge_the_ratios_are_noise(self):
        # 60 points on a line under bandwidth 1: condition 3e18. True divergence: 0.2.
        random = np.random.RandomState(0)
        x, y = random.normal(0.3, 0.9, size=(180, 1)), random.normal(size=(60, 1))
        self.assertGreater(np.linalg.cond(_gaussian(y, y)), 1e16)
        self.assertGreater(np.mean((_ratio(x, y, 0.0) - 1) ** 2), 100.0)
        values = ratio_matching.ratios([kernels.Gaussian()], x, y, ridge=0).numpy()
        self.assertFalse(np.mean((values - 1) ** 2) < 100.0)
        values = ratio_matching.ratios([kernels.Gaussian()], x, y, _RIDGE).numpy()
        self.assertLess(np.mean((values - 1) ** 2), 0.6)
        self.assertAllInRange(values, -2.0, 4.0)

    def test_what_cannot_be_solved_is_nan(self):
        x, y = _samples(4, 3)
        twice = np.concatenate([y, y])
        for jit_compile in (False, True):
            function = tf.function(ratio_matching.ratios, jit_compile=jit_compile)
            values = function([kernels.Gaussian()], x, twice, 0.0)
            for positivity in ratio_matching.POSITIVITIES:
                loss, _ = ratio_matching.critic_loss(values, positivity)
                self.assertTrue(np.isnan(loss), positivity)
        y[0] = np.nan
        values = ratio_matching.ratios([kernels.Gaussian()], x, y)
        self.assertTrue(np.isnan(ratio_matching.critic_loss(values)[0]))

    def test_float32_features_are_solved_in_float64(self):
        # Condition 2e5: float32 would keep two digits.
        x, y = (part.astype(np.float32) for part in _samples(60, 200, d=1))
        found = ratio_matching.ratios([kernels.Gaussian()], x, y, _RIDGE)
        self.assertEqual(found.dtype, tf.float32)
        expected = _ratio(x.astype(np.float64), y.astype(np.float64), _RIDGE)
        self.assertAllClose(found, expected, rtol=2e-6, atol=2e-6)
        halves = [tf.cast(part, tf.bfloat16) for part in (x, y)]
        found = ratio_matching.ratios([kernels.Gaussian()], *halves, _RIDGE)
        self.assertEqual(found.dtype, tf.float32)
        expected = _ratio(*(tf.cast(part, tf.float64).numpy() for part in halves), _RIDGE)
        self.assertAllClose(found, expected, rtol=2e-6, atol=2e-6)

    @parameterized.parameters(1e-3, 0.1)
    def test_gradients_by_both_samples(self, ridge):
        several = [kernels.Gaussian(0.7), kernels.Gaussian(1.5)]
        weights = np.array([0.3, -1.0, 2.0, 0.7, 1.1])

        def value(x, y):
            return tf.reduce_sum(weights * ratio_matching.ratios(several, x, y, ridge) ** 2)

        theoretical, numerical = tf.test.compute_gradient(value, _samples(4, 5), delta=1e-5)
        for ours, differences in zip(theoretical, numerical, strict=True):
            self.assertGreater(np.max(np.abs(differences)), 0.1)
            self.assertAllClose(ours, differences, rtol=1e-5, atol=1e-5)

    @parameterized.parameters(False, True)
    def test_graph_with_unknown_sizes(self, jit_compile):
        signature = [tf.TensorSpec([None, 2], tf.float32)] * 2
        function = tf.function(
            lambda x, y: ratio_matching.ratios([kernels.Gaussian()], x, y),
            signature,
            jit_compile=jit_compile,
        )
        for n, m in ((4, 7), (9, 3)):
            x, y = (part.astype(np.float32) for part in _samples(n, m, seed=n))
            expected = _ratio(x.astype(np.float64), y.astype(np.float64), _RIDGE)
            self.assertAllClose(function(x, y), expected, rtol=1e-5, atol=1e-5)

    def test_refuses(self):
        x, y = _samples(4, 3)
        for ridge in (-1e-3, float("nan"), float("inf"), "nonsense"):
            with self.assertRaisesRegex(UserError, f"ridge={ridge!r}.*give"):
                ratio_matching.ratios([kernels.Gaussian()], x, y, ridge)
        with self.assertRaisesRegex(UserError, "0 kernels.*give at least one"):
            ratio_matching.ratios([], x, y)
        with self.assertRaisesRegex(UserError, "0 generated"):
            ratio_matching.ratios([kernels.Gaussian()], x, y[:0])


class CriticLossTest(tf.test.TestCase, parameterized.TestCase):
    values = np.array([-0.5, 0.25, 1.5, 3.0, -2.0])

    @parameterized.parameters(
        ("penalty", "sum", lambda r: np.mean((r - 1) ** 2) + 0.3 * np.sum(r)),
        ("penalty", "mean", lambda r: np.mean((r - 1) ** 2) + 0.3 * np.mean(r)),
        ("clip", "sum", lambda r: np.mean((np.maximum(r, 0) - 1) ** 2)),
        ("none", "mean", lambda r: np.mean((r - 1) ** 2)),
    )
    def test_is_minus_eq_9(self, positivity, reduction, objective):
        loss, _ = ratio_matching.critic_loss(self.values, positivity, 0.3, reduction)
        self.assertAllClose(loss, -objective(self.values), rtol=1e-12)

    def test_diagnostics(self):
        for positivity in ratio_matching.POSITIVITIES:
            _, diagnostics = ratio_matching.critic_loss(self.values, positivity)
            used = np.maximum(self.values, 0) if positivity == "clip" else self.values
            expected = {
                "pearson_divergence": np.mean((used - 1) ** 2),
                "mean_ratio": np.mean(self.values),
                "smallest_ratio": -2.0,
                "negative_share": 0.4,
            }
            self.assertAllClose(diagnostics, expected, rtol=1e-12)

    def test_clipped_ratios_have_no_gradient(self):
        values = tf.constant(self.values)
        with tf.GradientTape() as tape:
            tape.watch(values)
            loss, _ = ratio_matching.critic_loss(values, "clip")
        expected = np.where(self.values > 0, -2 * (self.values - 1) / 5, 0)
        self.assertAllClose(tape.gradient(loss, values), expected)

    @parameterized.parameters(
        ("positivity", "nonsense"), ("reduction", "nonsense"), ("weight", -1.0), ("weight", np.nan)
    )
    def test_refuses(self, argument, value):
        field = {"weight": "positivity_weight", "reduction": "positivity_reduction"}
        with self.assertRaises(UserError) as caught:
            ratio_matching.critic_loss(self.values, **{argument: value})
        self.assertIn(f"{field.get(argument, argument)}={value!r}", str(caught.exception))
        self.assertRegex(str(caught.exception), "give|choose|did you mean")
