"""The Lipschitz MMD against the paper's programme in the input space, its dual, and theorems."""

import importlib.util
import sys
import unittest
from unittest import mock

import numpy as np
import scipy.optimize
import scipy.stats
import tensorflow as tf
from absl.testing import parameterized

from kgzoo import kernels
from kgzoo.discrepancies import lipschitz, scaled
from kgzoo.discrepancies.mmd import mmd2
from kgzoo.errors import UserError

SOLVER = all(importlib.util.find_spec(name) for name in ("cvxpy", "clarabel"))
WITHOUT_SOLVER = "needs cvxpy and clarabel (pip install cvxpy clarabel)"


def _phi(name, d, s, seed=0):
    """Returns a map [n, d] -> [n, s] and its Jacobian [n, s, d], in NumPy, and the map in TF."""
    w = np.random.RandomState(seed).normal(size=(s, d)) + 0.5
    if name == "linear":
        return (
            lambda x: x @ w.T,
            lambda x: np.broadcast_to(w, (len(x), s, d)),
            lambda x: tf.matmul(x, w, transpose_b=True),
        )
    return (
        lambda x: np.tanh(x @ w.T),
        lambda x: (1 - np.tanh(x @ w.T) ** 2)[:, :, None] * w,
        lambda x: tf.tanh(tf.matmul(x, w, transpose_b=True)),
    )


def _points(n, m, count, d, seed=0):
    random = np.random.RandomState(seed)
    x, y = random.normal(size=(n, d)), random.normal(size=(m, d)) + 0.8
    return x, y, random.uniform(-1.5, 2.5, size=(count, d))


def _features(n, m, count, s, seed=0):
    """Features of two samples and of Z, and Gram matrices of Jacobians, as NumPy arrays."""
    jacobian = np.random.RandomState(seed + 100).normal(size=(count, s, s + 1))
    return *_points(n, m, count, s, seed), jacobian @ jacobian.transpose(0, 2, 1)


def _dense(phi, jacobian, x, y, z, bandwidth):
    """The matrix [K B'; B H] of app. D for k = Gaussian of phi, derivatives by the inputs.

    Returns it with the functions' weights in mean f(X) - mean f(Y), which are on K's part.
    """
    samples = np.concatenate([x, y])
    scale = bandwidth**-2

    def gaussian(a, b):
        t = phi(a)[:, None] - phi(b)[None]
        return t, np.exp(-0.5 * scale * np.sum(t**2, axis=-1))

    _, k = gaussian(samples, samples)
    t, zk = gaussian(z, samples)
    # d/dz_i k(phi(z), phi(x)) = -k (phi(z) - phi(x)) . d_i phi(z) / bandwidth^2
    b = -scale * zk[:, :, None] * np.einsum("mns,msi->mni", t, jacobian(z))
    b = b.transpose(0, 2, 1).reshape(-1, len(samples))
    t, zz = gaussian(z, z)
    left = np.einsum("mns,msi->mni", t, jacobian(z))
    right = np.einsum("mns,nsj->mnj", t, jacobian(z))
    both = scale * np.einsum("msi,nsj->mnij", jacobian(z), jacobian(z))
    both = zz[:, :, None, None] * (both - scale**2 * left[:, :, :, None] * right[:, :, None, :])
    h = both.transpose(0, 2, 1, 3).reshape(len(b), len(b))
    signs = np.concatenate([np.full(len(x), 1 / len(x)), np.full(len(y), -1 / len(y))])
    return np.block([[k, b.T], [b, h]]), np.concatenate([signs, np.zeros(len(b))])


def _primal(matrix, signs, count, regularization):
    """Eq. 29, corrected, over delta: SLSQP with the paper's objective and constraints."""
    size = (matrix.shape[0] - np.count_nonzero(signs)) // count
    rows = matrix[np.count_nonzero(signs) :].reshape(count, size, -1)
    quadratics = np.einsum("mai,maj->mij", rows, rows) + regularization * matrix
    objective = matrix @ signs
    start = signs / np.sqrt(np.max(signs @ quadratics @ signs))
    result = scipy.optimize.minimize(
        lambda delta: -objective @ delta,
        start,
        jac=lambda delta: -objective,
        constraints={
            "type": "ineq",
            "fun": lambda delta: 1 - delta @ quadratics @ delta,
            "jac": lambda delta: -2 * quadratics @ delta,
        },
        method="SLSQP",
        options={"maxiter": 1000, "ftol": 1e-13},
    )
    return -result.fun, result


def _dual(matrix, signs, count, regularization):
    """min over w in the simplex of g'(lambda + sum w_m G_m'G_m)^-1 g, in H's own coordinates."""
    values, vectors = np.linalg.eigh(matrix)
    factor = vectors * np.sqrt(np.maximum(values, 0))
    g, rows = signs @ factor, factor[np.count_nonzero(signs) :]
    rows = rows.reshape(count, -1, len(g))

    def square(w):
        operator = regularization * np.eye(len(g)) + np.einsum("m,mai,maj->ij", w, rows, rows)
        solution = np.linalg.solve(operator, g)
        return g @ solution, -np.sum((rows @ solution) ** 2, axis=1)

    result = scipy.optimize.minimize(
        square,
        np.full(count, 1 / count),
        jac=True,
        bounds=[(0, 1)] * count,
        constraints={
            "type": "eq",
            "fun": lambda w: np.sum(w) - 1,
            "jac": lambda w: np.ones(count),
        },
        method="SLSQP",
        options={"maxiter": 1000, "ftol": 1e-14},
    )
    return np.sqrt(result.fun)


@unittest.skipUnless(SOLVER, WITHOUT_SOLVER)
class OracleTest(parameterized.TestCase, tf.test.TestCase):
    @parameterized.parameters(
        ("linear", 1, 1, 1.0),
        ("linear", 2, 2, 0.1),
        ("tanh", 1, 1, 0.05),
        ("tanh", 2, 1, 1.0),
        ("tanh", 1, 2, 0.3),  # more features than inputs: J J' is singular
        ("tanh", 2, 3, 0.5),
    )
    def test_against_the_programme_in_the_input_space(self, name, d, s, regularization):
        phi, jacobian, network = _phi(name, d, s)
        x, y, z = _points(4, 3, 5, d)
        matrix, signs = _dense(phi, jacobian, x, y, z, 0.8)
        expected, result = _primal(matrix, signs, len(z), regularization)
        self.assertTrue(result.success, result.message)
        features, gram = scaled.features_and_jacobian_gram(network, tf.constant(z))
        value = lipschitz.lipmmd(
            kernels.Gaussian(0.8), phi(x), phi(y), features, gram, regularization
        )
        self.assertEqual(value.dtype, tf.float64)
        self.assertAllClose(value, expected, rtol=1e-5, atol=0)
        dual = _dual(matrix, signs, len(z), regularization)
        self.assertAllClose(value, dual, rtol=1e-6, atol=0)

    def test_against_the_dual_with_many_points(self):
        phi, jacobian, network = _phi("tanh", 2, 2, seed=3)
        x, y, z = _points(14, 11, 16, 2, seed=3)
        matrix, signs = _dense(phi, jacobian, x, y, z, 1.0)
        features, gram = scaled.features_and_jacobian_gram(network, tf.constant(z))
        for regularization in (10.0, 1e-2):
            value = lipschitz.lipmmd(
                kernels.Gaussian(), phi(x), phi(y), features, gram, regularization
            )
            expected = _dual(matrix, signs, len(z), regularization)
            self.assertAllClose(value, expected, rtol=1e-5, atol=0)

    @parameterized.parameters(
        kernels.RationalQuadratic(0.5),
        kernels.Linear(),
        kernels.gaussian_mixture() * kernels.RationalQuadratic(2.0),
    )
    def test_one_point_by_hand(self, kernel):
        # With one constraint: (MMD^2 - u'G (lambda + H G)^-1 u) / lambda, G = J J'.
        x, y, z, gram = _features(5, 4, 1, 2)
        value = lipschitz.lipmmd(kernel, x, y, z, gram, 0.3)
        left = lambda other: kernel.derivatives(z, other).left.numpy()[0].mean(axis=0)  # noqa: E731
        u, h = left(x) - left(y), kernel.derivatives(z, z).both.numpy()[0, 0]
        penalty = u @ gram[0] @ np.linalg.solve(0.3 * np.eye(2) + h @ gram[0], u)
        expected = (mmd2(kernel, x, y, "biased")[0] - penalty) / 0.3
        self.assertAllClose(value, np.sqrt(expected), rtol=1e-7, atol=0)

    def test_a_linear_kernel_by_hand(self):
        # f(x) = a.x has one gradient: |J'a|^2 + lambda |a|^2 <= 1 at the steepest J.
        x, y, z, _ = _features(6, 6, 3, 1)
        gram = np.array([0.5, 4.0, 2.0])[:, None, None]
        value = lipschitz.lipmmd(kernels.Linear(), x, y, z, gram, 0.25)
        self.assertAllClose(value, abs(x.mean() - y.mean()) / np.sqrt(4.25), rtol=1e-7, atol=0)


@unittest.skipUnless(SOLVER, WITHOUT_SOLVER)
class GradientTest(parameterized.TestCase, tf.test.TestCase):
    @parameterized.parameters((1, 1.0), (1, 0.01), (2, 0.3))
    def test_against_finite_differences(self, s, regularization):
        kernel = kernels.Gaussian() + kernels.RationalQuadratic(0.5)
        inputs = _features(3, 2, 4, s, seed=s)
        tensors = [tf.constant(value) for value in inputs]
        function = tf.function(
            lambda *values: lipschitz.lipmmd(kernel, *values, regularization), autograph=False
        )
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            value = lipschitz.lipmmd(kernel, *tensors, regularization)
        gradients = tape.gradient(value, tensors)
        step = 1e-5
        for index, gradient in enumerate(gradients):
            differences = np.zeros_like(inputs[index])
            for position in np.ndindex(*differences.shape):
                values = []
                for sign in (1, -1):
                    moved = [value.copy() for value in inputs]
                    moved[index][position] += sign * step / 2
                    if index == 3:
                        # A Gram matrix stays symmetric; both halves of the step add up.
                        moved[3][position[0], position[2], position[1]] += sign * step / 2
                    values.append(function(*map(tf.constant, moved)).numpy())
                width = step * (2 if index == 3 else 1)
                differences[position] = (values[0] - values[1]) / width
            scale = np.abs(differences).max()
            self.assertGreater(scale, 1e-3)
            self.assertAllClose(gradient, differences, rtol=0, atol=1e-4 * scale)

    def test_by_the_bandwidth_of_a_kernel(self):
        class Learned(kernels.Gaussian):
            """A Gaussian whose points are divided by a variable."""

            width = tf.Variable(1.3, dtype=tf.float64)

            def matrix(self, x, y):
                return super().matrix(x / self.width, y / self.width)

            def derivatives(self, x, y):
                value, left, right, both = super().derivatives(x / self.width, y / self.width)
                width = self.width
                return kernels.Derivatives(value, left / width, right / width, both / width**2)

        kernel, inputs = Learned(), _features(4, 3, 5, 1)
        with tf.GradientTape() as tape:
            value = lipschitz.lipmmd(kernel, *inputs)
        gradient = tape.gradient(value, kernel.width)
        difference = [lipschitz.lipmmd(kernels.Gaussian(1.3 + h), *inputs) for h in (5e-6, -5e-6)]
        self.assertAllClose(value, lipschitz.lipmmd(kernels.Gaussian(1.3), *inputs), rtol=1e-9)
        self.assertAllClose(gradient, (difference[0] - difference[1]) / 1e-5, rtol=1e-4, atol=0)

    def test_coinciding_samples(self):
        x, _, z, gram = (tf.constant(value) for value in _features(6, 1, 4, 2))
        for y in (x, tf.reverse(x, [0]), tf.repeat(x, 2, axis=0)):
            with tf.GradientTape() as tape:
                tape.watch([x, y, z, gram])
                value = lipschitz.lipmmd(kernels.Gaussian(), x, y, z, gram, 1e-3)
            self.assertEqual(value.numpy(), 0)
            for gradient in tape.gradient(value, [x, y, z, gram]):
                self.assertAllEqual(gradient, tf.zeros_like(gradient))

    def test_a_flat_critic_has_no_slope_to_bound(self):
        x, y, z, gram = (tf.constant(value) for value in _features(6, 5, 4, 2))
        with tf.GradientTape() as tape:
            tape.watch([x, z])
            value = lipschitz.lipmmd(kernels.Gaussian(), x, y, z, 0 * gram, 0.25)
        expected = np.sqrt(mmd2(kernels.Gaussian(), x, y, "biased")[0]) / 0.5
        self.assertAllClose(value, expected, rtol=1e-9, atol=0)
        by_x, by_z = tape.gradient(value, [x, z])
        self.assertGreater(np.abs(by_x).max(), 1e-3)
        self.assertAllEqual(by_z, tf.zeros_like(z))


@unittest.skipUnless(SOLVER, WITHOUT_SOLVER)
class TheoremTest(parameterized.TestCase, tf.test.TestCase):
    def _line(self, x, y, regularization, bandwidth=1.0, count=121):
        """LipMMD on the line, phi(x) = x, with points that cover it densely."""
        z = np.linspace(min(x.min(), y.min()) - 1, max(x.max(), y.max()) + 1, count)[:, None]
        ones = np.ones([count, 1, 1])
        return float(lipschitz.lipmmd(kernels.Gaussian(bandwidth), x, y, z, ones, regularization))

    @parameterized.parameters(0, 1, 2)
    def test_approaches_wasserstein_from_below(self, seed):
        random = np.random.RandomState(seed)
        x, y = random.normal(size=(12, 1)), 0.6 * random.normal(size=(9, 1)) + seed
        w1 = scipy.stats.wasserstein_distance(x[:, 0], y[:, 0])
        values = [self._line(x, y, regularization) for regularization in (1.0, 0.1, 1e-2, 1e-4)]
        self.assertAllGreater(np.diff(values), 0)
        self.assertLess(values[-1], w1 * (1 + 1e-4))
        self.assertGreater(values[-1], 0.95 * w1)
        self.assertLess(values[0], 0.8 * w1)

    @parameterized.parameters((1, 0.1), (2, 1.0), (3, 10.0))
    def test_at_most_the_mmd(self, s, regularization):
        x, y, z, gram = _features(8, 7, 9, s, seed=s)
        for steepness in (1e-4, 1.0, 1e4):
            for kernel in (kernels.Gaussian(), kernels.rational_quadratic_mixture()):
                value = lipschitz.lipmmd(kernel, x, y, z, steepness * gram, regularization)
                bound = np.sqrt(mmd2(kernel, x, y, "biased")[0] / regularization)
                self.assertBetween(float(value), 0, bound * (1 + 1e-9))

    def test_more_points_constrain_more(self):
        x, y, z, gram = _features(8, 7, 12, 2)
        values = [
            lipschitz.lipmmd(kernels.Gaussian(), x, y, z[:m], gram[:m], 0.01) for m in (1, 4, 12)
        ]
        self.assertAllLess(np.diff(values), 1e-9)
        self.assertLess(values[-1], 0.9 * values[0])

    @parameterized.parameters((1.0, 1.0), (3.0, 1.0), (2.0, 0.1))
    def test_two_diracs(self, psi, regularization):
        # Example 1: phi(x) = psi x, K Gaussian of bandwidth 1. Near theta = 0 the critic is
        # proportional to dk(0, .), whose slope is steepest there: psi / sqrt(psi^2 + lambda).
        grid = tf.constant(np.linspace(-4, 4, 161)[:, None])

        def value_and_slope(theta):
            theta = tf.constant([[theta]], tf.float64)
            with tf.GradientTape() as tape:
                tape.watch(theta)
                value = lipschitz.lipmmd(
                    kernels.Gaussian(),
                    tf.zeros_like(theta),
                    psi * theta,
                    psi * grid,
                    tf.fill([161, 1, 1], tf.constant(psi**2, tf.float64)),
                    regularization,
                )
            return value.numpy(), tape.gradient(value, theta).numpy().item()

        limit = psi / np.sqrt(psi**2 + regularization)
        value, slope = value_and_slope(1e-3)
        self.assertAllClose([value / 1e-3, slope], [limit, limit], rtol=1e-3, atol=0)
        # Continuous in the Wasserstein topology and never stuck: at most |theta|, and growing.
        values, slopes = zip(
            *(value_and_slope(theta) for theta in (0.1, 0.5, 1.0, 2.0)), strict=True
        )
        self.assertAllLess(np.array(values) / [0.1, 0.5, 1.0, 2.0], limit * (1 + 1e-6))
        self.assertAllGreater(np.diff(values), 0)
        self.assertAllGreater(slopes[:3], 1e-2)
        mirrored, opposite = value_and_slope(-0.5)
        self.assertAllClose([mirrored, -opposite], [values[1], slopes[1]], rtol=1e-6, atol=0)

    @parameterized.parameters(1e-6, 1e6)
    def test_units_of_the_constraint(self, unit):
        # Dividing J J' and lambda by t multiplies the value by sqrt(t).
        x, y, z, gram = _features(6, 5, 7, 2)
        value = lipschitz.lipmmd(kernels.Gaussian(), x, y, z, gram, 0.1)
        other = lipschitz.lipmmd(kernels.Gaussian(), x, y, z, unit * gram, unit * 0.1)
        self.assertAllClose(other * np.sqrt(unit), value, rtol=1e-6, atol=0)


@unittest.skipUnless(SOLVER, WITHOUT_SOLVER)
class ContractTest(parameterized.TestCase, tf.test.TestCase):
    def test_in_a_graph_of_float32(self):
        calls = []

        @tf.function(
            input_signature=[
                tf.TensorSpec([None, 2]),
                tf.TensorSpec([None, 2]),
                tf.TensorSpec([5, 2]),
                tf.TensorSpec([5, 2, 2]),
            ]
        )
        def step(x, y, z, gram):
            with tf.GradientTape() as tape:
                tape.watch([x, y, z, gram])
                value = lipschitz.lipmmd(kernels.Gaussian(), x, y, z, gram, 0.1)
            calls.append((value.shape, value.dtype))
            return value, *tape.gradient(value, [x, y, z, gram])

        inputs = _features(6, 4, 5, 2)
        with tf.GradientTape() as tape:
            exact = [tf.constant(value) for value in inputs]
            tape.watch(exact)
            value = lipschitz.lipmmd(kernels.Gaussian(), *exact, 0.1)
        expected = [value, *tape.gradient(value, exact)]
        for x in (inputs[0], np.concatenate([inputs[0], inputs[0]])):
            results = step(*(tf.constant(value, tf.float32) for value in (x, *inputs[1:])))
            self.assertEqual({result.dtype for result in results}, {tf.float32})
            self.assertAllClose(results[0], expected[0], rtol=1e-5)
        self.assertEqual(calls, [((), tf.float32)])
        results = step(*(tf.constant(value, tf.float32) for value in inputs))
        for result, wanted in zip(results, expected, strict=True):
            self.assertAllClose(result, wanted, rtol=1e-4, atol=1e-5)
            self.assertEqual(result.shape, wanted.shape)
        again = step(*(tf.constant(value, tf.float32) for value in inputs))
        for result, wanted in zip(again, results, strict=True):
            self.assertAllClose(result, wanted, rtol=1e-4, atol=1e-5)

    def test_not_finite_in_not_finite_out(self):
        x, y, z, gram = _features(3, 3, 2, 1)
        x[0] = np.nan
        self.assertAllEqual(np.isnan(lipschitz.lipmmd(kernels.Gaussian(), x, y, z, gram)), True)

    @parameterized.parameters(0.0, -1.0, np.nan, np.inf, "much")
    def test_regularization_is_a_positive_number(self, regularization):
        with self.assertRaisesRegex(UserError, "regularization=.*above 0"):
            lipschitz.lipmmd(kernels.Gaussian(), *_features(3, 3, 2, 1), regularization)

    @parameterized.parameters(
        ([4, 2], [3, 2, 2]), ([4, 2], [4, 2]), ([4], [4, 1, 1]), ([0, 1], [0, 1, 1])
    )
    def test_shapes_that_do_not_fit(self, points, gram):
        x, y, _, _ = _features(3, 3, 2, 2)
        with self.assertRaisesRegex(UserError, "jacobian_gram"):
            lipschitz.lipmmd(kernels.Gaussian(), x, y, tf.zeros(points), tf.zeros(gram))

    def test_features_that_do_not_fit(self):
        x, y, z, gram = _features(3, 3, 4, 2)
        for inputs in ((x, y[:, :1], z, gram), (x[:, :1], y[:, :1], z, gram)):
            with self.assertRaisesRegex(UserError, "features"):
                lipschitz.lipmmd(kernels.Gaussian(), *inputs)

    def test_a_solver_that_fails_says_so(self):
        import cvxpy

        inputs = _features(3, 3, 4, 1)
        failure = mock.Mock(side_effect=cvxpy.error.SolverError("no progress"))
        with mock.patch.object(cvxpy.Problem, "solve", failure):
            with self.assertRaisesRegex(RuntimeError, "no progress.*larger regularization"):
                lipschitz.lipmmd(kernels.Gaussian(), *inputs)
        self.assertGreater(failure.call_count, 1)
        with mock.patch.object(cvxpy.Problem, "solve"):
            with self.assertRaisesRegex(RuntimeError, "the solver .* status"):
                lipschitz.lipmmd(kernels.Gaussian(), *inputs)
            with self.assertRaisesRegex(tf.errors.OpError, "larger regularization"):
                tf.function(lipschitz.lipmmd)(kernels.Gaussian(), *map(tf.constant, inputs))

    def test_weights_that_are_not_optimal_are_refused(self):
        inputs = _features(8, 8, 6, 1)
        wrong = np.array([1.0, 0, 0, 0, 0, 0]), "optimal"
        with mock.patch.object(lipschitz, "_minimise", return_value=wrong):
            with self.assertRaisesRegex(RuntimeError, "relative duality gap of [0-9.e-]+ at 6"):
                lipschitz.lipmmd(kernels.Gaussian(), *inputs, 0.01)


class WithoutSolverTest(parameterized.TestCase):
    @parameterized.parameters("cvxpy", "clarabel")
    def test_one_sentence_with_the_command(self, missing):
        inputs = [tf.constant(value) for value in _features(3, 3, 4, 1)]
        graph = tf.function(lipschitz.lipmmd, autograph=False)
        for function in (lipschitz.lipmmd, graph):
            with (
                mock.patch.dict(sys.modules, {missing: None}),
                self.assertRaisesRegex(UserError, r"pip install cvxpy clarabel") as caught,
            ):
                function(kernels.Gaussian(), *inputs)
            self.assertNotIn("\n", str(caught.exception).strip())


if __name__ == "__main__":
    tf.test.main()
