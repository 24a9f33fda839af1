"""The three MMD estimators against loops over pairs, textbook identities and simulation."""

import itertools

import numpy as np
import tensorflow as tf
from absl.testing import parameterized
from hypothesis import given, settings
from hypothesis import strategies as st

from kgzoo import kernels
from kgzoo.discrepancies import mmd
from kgzoo.errors import UserError

_FEW = settings(max_examples=10, deadline=None, derandomize=True)
_estimators = parameterized.parameters("unbiased", "biased", "u_statistic")


def _rbf(bandwidth=1.0):
    return lambda a, b: np.exp(-np.sum((a - b) ** 2) / (2 * bandwidth**2))


def _means(function, x, y, estimator):
    """Means of k over the pairs that the estimator counts (Gretton et al. 2012, eq. 3, 4, 5)."""

    def mean(first, second, leave_out):
        pairs = itertools.product(range(len(first)), range(len(second)))
        return np.mean([function(first[i], second[j]) for i, j in pairs if i != j or not leave_out])

    within, across = estimator != "biased", estimator == "u_statistic"
    return mean(x, x, within), mean(x, y, across), mean(y, y, within)


def _samples(n, m, d, seed=0, shift=0.7):
    random = np.random.RandomState(seed)
    return random.normal(size=(n, d)), random.normal(shift, 1.3, size=(m, d))


class EstimatorTest(parameterized.TestCase, tf.test.TestCase):
    @_estimators
    def test_against_loops(self, estimator):
        for n, m, d in ((5, 5, 3), (2, 2, 1), (6, 4, 2), (2, 7, 16)):
            if estimator == "u_statistic" and n != m:
                continue
            x, y = _samples(n, m, d, seed=n)
            kernel, function = kernels.Gaussian(1.5), _rbf(1.5)
            xx, xy, yy = _means(function, x, y, estimator)
            x, y = tf.constant(x), tf.constant(y)
            means = mmd.mean_kernels(kernel, x, y, estimator)
            self.assertEqual(means._fields, ("xx", "xy", "yy"))
            self.assertAllClose(tuple(means), (xx, xy, yy), rtol=1e-12, atol=1e-12)
            value, diagnostics = mmd.mmd2(kernel, x, y, estimator)
            self.assertEqual((value.dtype, value.shape), (tf.float64, ()))
            self.assertAllClose(value, xx + yy - 2 * xy, rtol=1e-10, atol=1e-12)
            self.assertAllClose(
                diagnostics,
                {"kernel_xx": xx, "kernel_xy": xy, "kernel_yy": yy},
                rtol=1e-12,
                atol=1e-12,
            )

    def test_default_is_unbiased(self):
        x, y = map(tf.constant, _samples(5, 4, 2))
        kernel = kernels.Gaussian()
        self.assertAllEqual(
            mmd.mmd2(kernel, x, y)[0], mmd.mmd2(kernel, x, y, estimator="unbiased")[0]
        )

    @_estimators
    def test_what_bounds_the_matrices_sees_each_by_name(self, estimator):
        x, y = _samples(4, 4, 2)
        factors, seen = {"xx": 2.0, "xy": 3.0, "yy": 5.0}, {}

        def bound(matrix, name):
            seen[name] = matrix
            return factors[name] * matrix

        kernel = kernels.Gaussian()
        means = mmd.mean_kernels(kernel, tf.constant(x), tf.constant(y), estimator, bound)
        expected = np.array([2.0, 3.0, 5.0]) * _means(_rbf(), x, y, estimator)
        self.assertAllClose(tuple(means), expected, rtol=1e-12, atol=1e-12)
        # Real with generated, the real ones in rows.
        self.assertAllClose(seen["xy"], [[_rbf()(a, b) for b in y] for a in x])

    @_estimators
    def test_a_weighted_sum_of_means(self, estimator):
        x, y = map(tf.constant, _samples(4, 4, 2))
        means = mmd.mean_kernels(kernels.Gaussian(), x, y, estimator)
        value = mmd.combine(means, (0.5, -3.0, 2.0), x, y, estimator)
        expected = 0.5 * means.xx - 3.0 * means.xy + 2.0 * means.yy
        self.assertAllClose(value, expected, rtol=1e-12)

    @_estimators
    def test_a_last_batch_of_one_has_no_unbiased_value(self, estimator):
        # Its size is known to the graph alone; without pairs there is nothing to learn, nor NaN.
        @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float64)] * 2)
        def value_and_gradient(x, y):
            with tf.GradientTape() as tape:
                tape.watch(x)
                value, _ = mmd.mmd2(kernels.Gaussian(), x, y, estimator)
            return value, tape.gradient(value, x)

        x, y = map(tf.constant, _samples(4, 4, 2))
        value, gradient = value_and_gradient(x[:1], y[:1])
        self.assertTrue(np.all(np.isfinite(gradient)))
        if estimator == "biased":
            self.assertAllClose(value, 2 - 2 * _rbf()(x[0].numpy(), y[0].numpy()))
        else:
            self.assertAllEqual(value, 0.0)
            self.assertAllEqual(gradient, np.zeros([1, 2]))

    @_estimators
    def test_bfloat16_features_give_a_float32_value(self, estimator):
        x, y = (tf.cast(v, tf.bfloat16) for v in _samples(16, 16, 4))
        value, _ = mmd.mmd2(kernels.gaussian_mixture(), x, y, estimator)
        exact, _ = mmd.mmd2(
            kernels.gaussian_mixture(), tf.cast(x, tf.float64), tf.cast(y, tf.float64), estimator
        )
        self.assertEqual(value.dtype, tf.float32)
        self.assertAllClose(value, exact, rtol=1e-5, atol=1e-6)

    @_FEW
    @given(st.integers(1, 6), st.integers(1, 6), st.integers(1, 4), st.integers(0, 2**16))
    def test_biased_linear_is_the_distance_of_means(self, n, m, d, seed):
        x, y = _samples(n, m, d, seed)
        value, _ = mmd.mmd2(kernels.Linear(), tf.constant(x), tf.constant(y), "biased")
        self.assertAllClose(value, np.sum((x.mean(0) - y.mean(0)) ** 2), rtol=1e-9, atol=1e-12)

    @_FEW
    @given(st.integers(2, 6), st.integers(2, 6), st.integers(1, 4), st.integers(0, 2**16))
    def test_unbiased_linear_subtracts_the_variance_of_the_means(self, n, m, d, seed):
        # E|mean x - mean y|^2 = |difference|^2 + tr S_x / n + tr S_y / m: the unbiased estimator is
        # the biased one minus the last two, with the covariances' unbiased estimates.
        x, y = _samples(n, m, d, seed)
        value, _ = mmd.mmd2(kernels.Linear(), tf.constant(x), tf.constant(y), "unbiased")
        distance = np.sum((x.mean(0) - y.mean(0)) ** 2)
        noise = np.sum(x.var(0, ddof=1)) / n + np.sum(y.var(0, ddof=1)) / m
        self.assertAllClose(value, distance - noise, rtol=1e-9, atol=1e-12)

    @_FEW
    @given(st.integers(2, 6), st.integers(1, 4), st.integers(0, 2**16))
    def test_u_statistic_linear_is_a_sum_over_pairs_of_differences(self, n, d, seed):
        # h(z_i, z_j) = (x_i - y_i).(x_j - y_j), averaged over i != j (Gretton et al., Lemma 6).
        x, y = _samples(n, n, d, seed)
        value, _ = mmd.mmd2(kernels.Linear(), tf.constant(x), tf.constant(y), "u_statistic")
        z = x - y
        expected = (np.sum(z.sum(0) ** 2) - np.sum(z**2)) / (n * (n - 1))
        self.assertAllClose(value, expected, rtol=1e-9, atol=1e-12)

    @_FEW
    @given(st.integers(1, 8), st.integers(1, 8), st.integers(0, 2**16))
    def test_biased_is_never_negative_and_0_on_equal_samples(self, n, m, seed):
        x, y = map(tf.constant, _samples(n, m, 2, seed, shift=0.0))
        for kernel in (kernels.Gaussian(), kernels.RationalQuadratic(0.2), kernels.Linear()):
            self.assertGreater(mmd.mmd2(kernel, x, y, "biased")[0], -1e-12)
            self.assertAllClose(mmd.mmd2(kernel, x, x, "biased")[0], 0.0, atol=1e-12)

    def test_symmetric_and_independent_of_order(self):
        x, y = _samples(5, 5, 3)
        order = np.array([3, 1, 4, 0, 2])
        for estimator in ("unbiased", "biased"):
            value = mmd.mmd2(kernels.Gaussian(), tf.constant(x), tf.constant(y), estimator)[0]
            for first, second in ((y, x), (x[order], y), (x, y[order])):
                first, second = tf.constant(first), tf.constant(second)
                other = mmd.mmd2(kernels.Gaussian(), first, second, estimator)[0]
                self.assertAllClose(value, other, rtol=1e-10, atol=1e-12)

    @_estimators
    def test_gradient_against_finite_differences(self, estimator):
        x, y = _samples(4, 4, 2)
        kernel = kernels.gaussian_mixture([0.8, 2.0])

        def oracle(x, y):
            xx, xy, yy = _means(lambda a, b: _rbf(0.8)(a, b) + _rbf(2.0)(a, b), x, y, estimator)
            return xx + yy - 2 * xy

        with tf.GradientTape() as tape:
            tensors = [tf.constant(x), tf.constant(y)]
            tape.watch(tensors)
            value, _ = mmd.mmd2(kernel, *tensors, estimator)
        gradients = tape.gradient(value, tensors)
        random = np.random.RandomState(1)
        for _ in range(3):
            dx, dy = random.normal(size=(2, 4, 2))
            ends = [oracle(x + step * dx, y + step * dy) for step in (1e-5, -1e-5)]
            slope = np.sum(gradients[0].numpy() * dx) + np.sum(gradients[1].numpy() * dy)
            self.assertAllClose(slope, (ends[0] - ends[1]) / 2e-5, rtol=1e-7, atol=1e-9)


class UnbiasednessTest(tf.test.TestCase):
    def _mean_and_error(self, estimator, n, m, shift=0.0, draws=2000):
        kernel = kernels.Gaussian(1.0)
        random = np.random.RandomState(7)
        x = random.normal(size=(draws, n, 2))
        y = random.normal(shift, 1.0, size=(draws, m, 2))

        @tf.function
        def all_values(x, y):
            return tf.map_fn(
                lambda pair: mmd.mmd2(kernel, *pair, estimator)[0],
                (x, y),
                fn_output_signature=tf.float64,
            )

        values = all_values(tf.constant(x), tf.constant(y)).numpy()
        return values.mean(), values.std(ddof=1) / np.sqrt(draws)

    def test_zero_in_the_mean_on_equal_distributions(self):
        for estimator, n, m in (("unbiased", 5, 3), ("u_statistic", 4, 4)):
            mean, error = self._mean_and_error(estimator, n, m)
            self.assertLess(abs(mean), 4 * error)
            self.assertLess(error, 0.01)

    def test_the_true_value_in_the_mean(self):
        # For N(0, I) and N(a, I) in d = 2 and the unit Gaussian kernel, a difference of two points
        # is N(shift, 2 I), so E k = (1 + 2)^(-d/2) exp(-|shift|^2 / (2 (1 + 2))).
        shift = 0.8
        true = 2 / 3 * (1 - np.exp(-2 * shift**2 / 6))
        for estimator, n, m in (("unbiased", 3, 5), ("u_statistic", 4, 4)):
            mean, error = self._mean_and_error(estimator, n, m, shift)
            self.assertLess(abs(mean - true), 4 * error)

    def test_the_biased_one_has_its_bias(self):
        # On equal distributions the bias is (k(x,x) - E k) (1/n + 1/m) with E k = 1/3 here.
        mean, error = self._mean_and_error("biased", 5, 3)
        self.assertLess(abs(mean - (1 - 1 / 3) * (1 / 5 + 1 / 3)), 4 * error)
        self.assertGreater(mean, 10 * error)


class WrongArgumentTest(parameterized.TestCase, tf.test.TestCase):
    @parameterized.parameters("unbiased", "u_statistic")
    def test_one_row_is_too_few(self, estimator):
        one, two = np.zeros((1, 2)), np.zeros((2, 2))
        with self.assertRaisesRegex(UserError, "x has 1 rows.*at least 2.*batch_size"):
            mmd.mmd2(kernels.Gaussian(), one, two, estimator)
        with self.assertRaisesRegex(UserError, "y has 1 rows.*at least 2.*batch_size"):
            mmd.mmd2(kernels.Gaussian(), two, one, estimator)

    @_estimators
    def test_empty_samples(self, estimator):
        with self.assertRaisesRegex(UserError, "x has 0 rows"):
            mmd.mmd2(kernels.Gaussian(), np.zeros((0, 2)), np.zeros((2, 2)), estimator)

    def test_u_statistic_needs_equal_samples(self):
        with self.assertRaisesRegex(UserError, "x has 3 rows and y has 4.*u_statistic"):
            mmd.mmd2(kernels.Gaussian(), np.zeros((3, 2)), np.zeros((4, 2)), "u_statistic")

    def test_unknown_estimator(self):
        with self.assertRaisesRegex(UserError, "estimator='unbias' .*did you mean 'unbiased'"):
            mmd.mmd2(kernels.Gaussian(), np.zeros((3, 2)), np.zeros((3, 2)), "unbias")

    def test_points_are_matrices(self):
        with self.assertRaisesRegex(UserError, "x has shape"):
            mmd.mmd2(kernels.Gaussian(), np.zeros((3, 2, 1)), np.zeros((3, 2)))
