"""Trainable kernels against Monte Carlo of their definitions, NumPy formulas and derivatives.

Networks are evaluated here by NumPy from the kernel's weights, in float64.
"""

import os

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized
from scipy import special

from kgzoo import kernels
from kgzoo.discrepancies import mmd
from kgzoo.errors import UserError
from kgzoo.kernels import KernelNet
from kgzoo.kernels.sinc import product, sinc

DEPENDENT = ("dk", "dk2", "dk_pd")
_each = parameterized.product(dependence=DEPENDENT, d=(1, 16))
_any = parameterized.parameters("none", *DEPENDENT)


def _built(dependence, d, seed=0, strength=6.0, **arguments):
    """A kernel whose networks depend on the points `strength` times as much as at the start."""
    keras.utils.set_random_seed(seed)
    kernel = KernelNet(dependence, **arguments)
    kernel.build((None, d))
    random = np.random.RandomState(seed)
    for name, network in kernel.networks.items():
        for _, bias in network:
            bias.assign(bias + 0.1 * random.normal(size=bias.shape).astype(np.float32))
        if name != "frequency":
            last = network[-1][0]
            last.assign(strength * last)
    return kernel


def _without_dependence(kernel):
    """The kernel's kappa_1 alone, with the same weights."""
    alone = KernelNet("none", num_samples=kernel.num_samples, width=kernel.width)
    alone.build((None, kernel.features))
    for ours, theirs in zip(alone.networks["frequency"], kernel.networks["frequency"], strict=True):
        for variable, value in zip(ours, theirs, strict=True):
            variable.assign(value)
    return alone


def _second_part(kernel, x, y, seed=(0, 0)):
    """kappa_2: the kernel's matrix less that of kappa_1."""
    both = kernel.draw(seed).matrix(x, y)
    return (both - _without_dependence(kernel).draw(seed).matrix(x, y)).numpy()


def _network(kernel, name, inputs):
    hidden = np.asarray(inputs, np.float64)
    layers = [[np.float64(weight.numpy()) for weight in layer] for layer in kernel.networks[name]]
    for matrix, bias in layers[:-1]:
        hidden = np.maximum(hidden @ matrix + bias, 0)
    return hidden @ layers[-1][0] + layers[-1][1]


def _distribution(kernel, z1, z2):
    """mu and sigma of omega_2 for two points `[d]`; for dk_pd those of the first point."""

    def of(name):
        if kernel.dependence == "dk":
            return _network(kernel, name, z1) + _network(kernel, name, z2)
        if kernel.dependence == "dk2":
            orders = np.concatenate([z1, z2]), np.concatenate([z2, z1])
            return sum(_network(kernel, name, order) for order in orders)
        return _network(kernel, name, z1)

    return of("mean"), np.exp(of("log_scale"))


def _noise(kernel, count, seed=0):
    random = np.random.RandomState(seed)
    if kernel.dependence == "dk2":
        return random.normal(size=(count, kernel.features))
    return random.uniform(-1, 1, (count, kernel.features))


def _variance(kernel):
    return 1.0 if kernel.dependence == "dk2" else 1 / 3


def _points(n, d, seed=0, scale=1.0):
    return np.random.RandomState(seed).normal(0, scale, (n, d))


class SincTest(parameterized.TestCase, tf.test.TestCase):
    @parameterized.parameters((tf.float32, 3e-7, 4e-6), (tf.float64, 1e-15, 2e-14))
    def test_value_and_two_derivatives(self, dtype, value_tolerance, tolerance):
        small = [10.0**-k for k in (100, 30, 13, 12, 11, 8, 7, 4, 3, 2, 1)]
        near = np.linspace(0.4, 0.6, 41)
        values = np.concatenate([[0.0], small, near, np.linspace(0.7, 40, 200)])
        u = tf.constant(np.concatenate([values, -values]), dtype)
        with tf.GradientTape() as outer:
            outer.watch(u)
            with tf.GradientTape() as inner:
                inner.watch(u)
                value = sinc(u)
            slope = inner.gradient(value, u)
        curvature = outer.gradient(slope, u)
        self.assertEqual(value.dtype, dtype)
        exact = np.abs(np.float64(u))
        j0, j1, j2 = (special.spherical_jn(order, exact) for order in range(3))
        self.assertAllClose(value, j0, rtol=0, atol=value_tolerance)
        self.assertAllClose(slope, -np.sign(u) * j1, rtol=0, atol=tolerance)
        self.assertAllClose(curvature, (2 * j2 - j0) / 3, rtol=0, atol=tolerance)
        # Relative to its size -u/3 as well, where it is small.
        tiny = exact < 0.5
        self.assertAllClose(slope[tiny], (-np.sign(u) * j1)[tiny], rtol=100 * tolerance, atol=0)

    @parameterized.parameters(1, 2, 3, 5, 16, 21)
    def test_product_with_zeros(self, d):
        factors = np.random.RandomState(d).normal(size=(d, 3, 4))
        factors[0, 1, 1] = 0.0
        tensor = tf.constant(factors)
        with tf.GradientTape() as tape:
            tape.watch(tensor)
            value = product(tensor)
        self.assertAllClose(value, factors.prod(axis=0), rtol=1e-12)
        others = [np.delete(factors, k, axis=0).prod(axis=0) for k in range(d)]
        self.assertAllClose(tape.gradient(value, tensor), others, rtol=1e-12)


class ClosedFormTest(parameterized.TestCase, tf.test.TestCase):
    @_each
    def test_a_million_draws_of_the_definition(self, dependence, d):
        kernel = _built(dependence, d, seed=d)
        x, y = _points(2, d, 1), _points(3, d, 2)
        x[1] = y[0] + 0.1
        matrix = _second_part(kernel, tf.constant(x), tf.constant(y))
        noise = _noise(kernel, 10**6)
        phases = np.random.RandomState(1).uniform(0, 2 * np.pi, 10**6)
        for i, j in np.ndindex(2, 3):
            mean, scale = _distribution(kernel, x[i], y[j])
            left = mean @ x[i] + noise @ (scale * x[i])
            if dependence == "dk_pd":
                mean, scale = _distribution(kernel, y[j], y[j])
            right = mean @ y[j] + noise @ (scale * y[j])
            draws = 2 * np.cos(left + phases) * np.cos(right + phases)
            error = draws.std() / 1e3
            self.assertLess(error, 2e-3)
            self.assertAllClose(matrix[i, j], draws.mean(), rtol=0, atol=5 * error, msg=f"{i},{j}")
            # Theorem 1: the other form, with less variance.
            draws = np.cos(left - right)
            error = draws.std() / 1e3
            self.assertAllClose(matrix[i, j], draws.mean(), rtol=0, atol=5 * error, msg=f"{i},{j}")

    @parameterized.parameters(1, 2, 16)
    def test_kappa_1_is_the_mean_cosine_of_its_frequencies(self, d):
        kernel = _built("none", d, num_samples=200)
        x, y = _points(4, d, 1), _points(3, d, 2)
        drawn = kernel.draw((1, 2))
        omega = drawn.frequencies.numpy()
        self.assertEqual(omega.shape, (200, d))
        t = x[:, None] - y[None]
        self.assertAllClose(
            drawn.matrix(x, y), np.cos(t @ omega.T).mean(axis=-1), rtol=0, atol=1e-5
        )

    @parameterized.parameters(1, 2, 16)
    def test_kappa_1_against_its_definition(self, d):
        kernel = _built("none", d, num_samples=4096)
        x, y = _points(4, d, 1), _points(3, d, 2)
        noise = np.random.RandomState(0).uniform(-1, 1, (10**5, max(4, 2 * d)))
        omega = _network(kernel, "frequency", noise)
        cosines = np.cos((x[:, None] - y[None]) @ omega.T)
        error = cosines.std(axis=-1) * (1 / 4096 + 1e-5) ** 0.5
        difference = np.abs(kernel.draw((3, 4)).matrix(x, y) - cosines.mean(axis=-1))
        self.assertAllLess(difference / error, 5.0)

    @_each
    def test_squared_norms_against_draws(self, dependence, d):
        kernel = _built(dependence, d, seed=d)
        z = _points(3, d, 3)
        first, second = kernel.draw((0, 1)).squared_norms(tf.constant(z))
        omega = kernel.draw((0, 1)).frequencies.numpy()
        self.assertAllClose(first, (omega**2).sum(axis=1).mean(), rtol=1e-5)
        noise = _noise(kernel, 10**5)
        for i in range(3):
            mean, scale = _distribution(kernel, z[i], z[i])
            draws = ((mean + noise * scale) ** 2).sum(axis=1)
            self.assertAllClose(second[i], draws.mean(), rtol=0, atol=5 * draws.std() / 10**2.5)

    @_any
    def test_diagonal_and_symmetry(self, dependence):
        kernel = _built(dependence, 3)
        x = _points(8, 3, 4).astype(np.float32)
        for points, tolerance in ((tf.constant(x, tf.float64), 1e-12), (tf.constant(x), 1e-5)):
            drawn = kernel.draw((5, 6))
            matrix = drawn.matrix(points, points).numpy()
            self.assertEqual(drawn.diagonal, 1.0 if dependence == "none" else 2.0)
            self.assertAllClose(np.diag(matrix), [drawn.diagonal] * 8, rtol=0, atol=tolerance)
            self.assertAllClose(matrix, matrix.T, rtol=0, atol=tolerance)
            # One set of points twice is computed once; the outcome is that of two sets.
            copied = drawn.matrix(points, tf.identity(points) + 0)
            self.assertAllClose(matrix, copied, rtol=0, atol=tolerance)
            other = drawn.matrix(points, points[:3])
            self.assertAllClose(matrix[:, :3], other, rtol=0, atol=tolerance)

    @parameterized.parameters("none", "dk")
    def test_far_from_the_origin(self, dependence):
        # Networks that are blind to a shift of the points leave t = z1 - z2 alone.
        kernel = _built(dependence, 4)
        for name in ("mean", "log_scale"):
            for matrix, _ in kernel.networks.get(name, []):
                matrix.assign(0 * matrix)
        x = (1e3 + _points(6, 4, 5)).astype(np.float32)
        exact = kernel.matrix(tf.constant(x, tf.float64), tf.constant(x, tf.float64))
        self.assertAllClose(kernel.matrix(x, x), exact, rtol=0, atol=1e-4)


class MonteCarloTest(parameterized.TestCase, tf.test.TestCase):
    @_any
    def test_within_its_error_of_the_closed_form(self, dependence):
        x, y = _points(4, 3, 1), _points(6, 3, 2)
        kernel = _built(dependence, 3, num_samples=64, expectation="monte_carlo")
        closed = _built(dependence, 3, num_samples=4096)
        sampled, exact = (
            tf.function(lambda seed, kernel=k: kernel.draw(seed).matrix(x, y), autograph=False)
            for k in (kernel, closed)
        )
        draws = np.array([sampled(tf.constant([7, seed])) for seed in range(200)])
        # The closed form too has drawn its frequencies omega_1.
        first = np.array([exact(tf.constant([8, seed])) for seed in range(20)])
        error = np.sqrt(draws.var(axis=0) / len(draws) + first.var(axis=0) / len(first) + 1e-14)
        self.assertAllLess(error, 0.05)
        difference = np.abs(draws.mean(axis=0) - first.mean(axis=0))
        self.assertAllLess(difference / error, 5.0)

    @parameterized.parameters(("none", 2), ("dk", 2), ("dk", 5), ("dk2", 3), ("dk_pd", 4))
    def test_chunks_change_nothing(self, dependence, rows):
        x, y = (tf.constant(_points(n, 2, n), tf.float32) for n in (5, 3))
        upstream = tf.constant(_points(5, 3, 9), tf.float32)
        found = []
        for chunk_rows in (0, rows):
            kernel = _built(
                dependence, 2, num_samples=20, expectation="monte_carlo", chunk_rows=chunk_rows
            )
            weights = [weight.value for weight in kernel.trainable_variables]

            @tf.function(autograph=False)
            def derive(kernel=kernel, weights=weights):
                with tf.GradientTape() as tape:
                    tape.watch([x, y])
                    matrix = kernel.draw((0, 3)).matrix(x, y)
                    total = tf.reduce_sum(upstream * matrix)
                return matrix, tape.gradient(total, [x, y, *weights])

            found.append(derive())
        self.assertEqual(found[0][0].shape, (5, 3))
        self.assertAllClose(found[0][0], found[1][0], rtol=0, atol=1e-5)
        for left, right in zip(found[0][1], found[1][1], strict=True):
            self.assertAllClose(left, right, rtol=1e-4, atol=1e-5)

    def test_chunks_of_an_unknown_number_of_rows(self):
        arguments = {"num_samples": 20, "expectation": "monte_carlo"}
        whole, chunked = (_built("dk", 2, chunk_rows=rows, **arguments) for rows in (0, 4))
        spec = tf.TensorSpec([None, 2], tf.float32)
        function = tf.function(chunked.matrix, input_signature=[spec, spec], autograph=False)
        for n in (1, 4, 7):
            x = _points(n, 2, n).astype(np.float32)
            self.assertAllClose(function(x, x[:2]), whole.matrix(x, x[:2]), atol=1e-5)


def _smooth(v):
    """A smooth map of R^3 to R^4, and more of the same for other widths."""
    matrix = tf.constant(_points(3, 4, 20))
    return tf.tanh(tf.matmul(v, matrix)) + 0.3 * tf.square(tf.matmul(v, matrix))


class SecondMomentTest(parameterized.TestCase, tf.test.TestCase):
    @_any
    def test_against_differentiation_of_the_kernel(self, dependence):
        kernel = _built(dependence, 4, num_samples=50)
        drawn = kernel.draw((0, 9))
        points = tf.constant(_points(3, 3, 21))
        with tf.GradientTape() as tape:
            tape.watch(points)
            features = _smooth(points)
        jacobian = tape.batch_jacobian(features, points)
        gram = tf.matmul(jacobian, jacobian, transpose_b=True)
        moment = drawn.second_moment(features)
        self.assertEqual(moment.shape, (3, 4, 4))
        self.assertAllClose(moment, tf.linalg.matrix_transpose(moment), rtol=1e-12)
        traces = tf.linalg.trace(tf.matmul(gram, moment))
        copies = tf.identity(points)
        with tf.GradientTape(persistent=True) as outer:
            outer.watch(copies)
            with tf.GradientTape() as inner:
                inner.watch(points)
                matrix = drawn.matrix(_smooth(points), _smooth(copies))
                values = tf.linalg.diag_part(matrix)
            slopes = inner.gradient(values, points)
        mixed = outer.batch_jacobian(slopes, copies, experimental_use_pfor=False)
        self.assertAllClose(traces, tf.linalg.trace(mixed), rtol=1e-8, atol=1e-8)

    @parameterized.parameters("dk", "dk2")
    def test_its_trace_is_the_squared_norm(self, dependence):
        drawn = _built(dependence, 5).draw((0, 1))
        z = tf.constant(_points(4, 5, 22))
        first, second = drawn.squared_norms(z)
        self.assertAllClose(tf.linalg.trace(drawn.second_moment(z)), first + second, rtol=1e-10)

    def test_ikl(self):
        drawn = _built("none", 3).draw((0, 1))
        first, second = drawn.squared_norms(_points(4, 3, 1))
        self.assertAllClose(second, np.zeros(4))
        self.assertAllClose(tf.linalg.trace(drawn.second_moment(_points(4, 3, 1)))[0], first)


def _tf_network(kernel, name, z):
    for matrix, bias in kernel.networks[name][:-1]:
        z = tf.nn.relu(z @ tf.cast(matrix.value, z.dtype) + tf.cast(bias.value, z.dtype))
    matrix, bias = kernel.networks[name][-1]
    return z @ tf.cast(matrix.value, z.dtype) + tf.cast(bias.value, z.dtype)


def _frequency_of_pairs(kernel, z1, z2, noise):
    """omega_2 of pairs `[p, d]`, by TensorFlow, for automatic differentiation."""

    def of(name):
        if kernel.dependence == "dk":
            return _tf_network(kernel, name, z1) + _tf_network(kernel, name, z2)
        orders = tf.concat([z1, z2], axis=1), tf.concat([z2, z1], axis=1)
        return tf.add_n([_tf_network(kernel, name, order) for order in orders])

    return of("mean") + noise * tf.exp(of("log_scale"))


def _jacobian_differences(kernel, x, y):
    """A and B of d omega/dz1 - d omega/dz2 = A + diag(eps) B, `[n m, d, d]`, by AD at eps 0, 1."""
    z1 = tf.constant(np.repeat(x, len(y), axis=0))
    z2 = tf.constant(np.tile(y, (len(x), 1)))
    values = []
    for noise in (0.0, 1.0):
        with tf.GradientTape(persistent=True) as tape:
            tape.watch([z1, z2])
            omega = _frequency_of_pairs(kernel, z1, z2, noise)
        first, second = (
            tape.batch_jacobian(omega, z, experimental_use_pfor=False) for z in (z1, z2)
        )
        values.append((first - second).numpy())
    return values[0], values[1] - values[0]


class PenaltyTest(parameterized.TestCase, tf.test.TestCase):
    @parameterized.product(dependence=("dk", "dk2"), d=(1, 2, 5))
    def test_eq_9(self, dependence, d):
        kernel = _built(dependence, d, seed=d)
        x, y = _points(3, d, 30), _points(4, d, 31)
        a, b = _jacobian_differences(kernel, x, y)
        norms = []
        for i, j in np.ndindex(3, 4):
            mean, scale = _distribution(kernel, x[i], y[j])
            norms.append((mean**2).sum() + _variance(kernel) * (scale**2).sum())
        seeds = [(0, seed) for seed in range(10)]
        first = [np.square(kernel.draw(s).frequencies).sum(axis=1).mean() for s in seeds]
        rest = np.mean(norms)
        squared = rest + np.mean((a**2 + _variance(kernel) * b**2).sum(axis=(1, 2)))
        found = kernel.draw(seeds[0]).penalty(tf.constant(x), tf.constant(y), "squared")
        self.assertAllClose(found, first[0] + squared, rtol=1e-5)
        noise = _noise(kernel, 10**4)[:, None, :, None]
        pairs = list(zip(a, b, strict=True))
        draws = np.mean(
            [np.sqrt(((pa + noise[:, 0] * pb) ** 2).sum(axis=(1, 2))) for pa, pb in pairs],
            axis=0,
        )
        # 64 draws of eps for each seed.
        found = [kernel.draw(s).penalty(tf.constant(x), tf.constant(y)) for s in seeds]
        difference = np.mean(np.array(found) - first) - (rest + draws.mean())
        error = draws.std() * (1 / (64 * len(seeds)) + 1 / len(draws)) ** 0.5
        self.assertLess(abs(difference), 5 * error + 2e-4)
        self.assertGreater(draws.mean(), 20 * error)

    @parameterized.parameters("dk", "dk2")
    def test_coinciding_pairs_and_one_sample_with_itself(self, dependence):
        kernel = _built(dependence, 3)
        x = tf.constant(_points(4, 3, 32), tf.float32)
        for norm in ("frobenius", "squared"):
            with tf.GradientTape() as tape:
                tape.watch(x)
                value = kernel.draw((0, 1)).penalty(x, x, norm)
            gradients = tape.gradient(value, [x, *[w.value for w in kernel.trainable_variables]])
            for gradient in gradients:
                self.assertAllInRange(gradient, -1e4, 1e4)
            copied = kernel.draw((0, 1)).penalty(x, tf.identity(x) + 0, norm)
            self.assertAllClose(value, copied, rtol=1e-4)

    @parameterized.parameters(1, 2, 5)
    def test_dk_pd_has_the_squared_gradient_of_its_features(self, d):
        kernel = _built("dk_pd", d)
        drawn = kernel.draw((0, 1))
        means = []
        samples = [_points(3, d, 33), _points(5, d, 34)]
        for points in samples:
            z = tf.constant(points)
            gradients = []
            for noise in [np.zeros(d), *np.eye(d)]:
                with tf.GradientTape() as tape:
                    tape.watch(z)
                    mean, log_scale = (_tf_network(kernel, n, z) for n in ("mean", "log_scale"))
                    inner = tf.reduce_sum((mean + noise * tf.exp(log_scale)) * z)
                gradients.append(tape.gradient(inner, z).numpy())
            moving = [g - gradients[0] for g in gradients[1:]]
            means.append((gradients[0] ** 2).sum(axis=1) + sum((g**2).sum(1) for g in moving) / 3)
            # The same numbers are the trace of the second moment.
            first, _ = drawn.squared_norms(z)
            traces = tf.linalg.trace(drawn.second_moment(z)) - first
            self.assertAllClose(traces, means[-1], rtol=1e-8)
        expected = first + (means[0].mean() + means[1].mean()) / 2
        for norm in ("frobenius", "squared"):
            found = drawn.penalty(*map(tf.constant, samples), norm)
            self.assertAllClose(found, expected, rtol=1e-8)

    def test_ikl_has_the_first_term_alone(self):
        drawn = _built("none", 3).draw((0, 1))
        x = tf.constant(_points(3, 3, 35))
        self.assertAllClose(drawn.penalty(x, x), drawn.squared_norms(x)[0])


class DefinitenessTest(parameterized.TestCase, tf.test.TestCase):
    @parameterized.parameters(1, 2, 16)
    def test_dk_pd_is_positive_definite(self, d):
        kernel = _built("dk_pd", d, num_samples=32)
        alone = _without_dependence(kernel)
        for seed in range(20):
            random = np.random.RandomState(seed)
            for name in ("mean", "log_scale"):
                for weight in (w for layer in kernel.networks[name] for w in layer):
                    spread = 0.3 + 0.1 * (seed % 4)
                    weight.assign(random.normal(size=weight.shape) * spread)
            x = tf.constant(_points(30, d, seed))
            both = kernel.matrix(x, x).numpy()
            for matrix in (both, both - alone.matrix(x, x).numpy()):
                lowest = np.linalg.eigvalsh((matrix + matrix.T) / 2)[0]
                self.assertGreater(lowest, -1e-6 * np.trace(matrix), msg=f"seed {seed}")

    @parameterized.product(dependence=("dk", "dk2"), d=(1, 2, 16))
    def test_eq_5_and_eq_22_are_not(self, dependence, d):
        lowest = []
        for seed in range(6):
            kernel = _built(dependence, d, seed=seed, strength=12.0, num_samples=8)
            x = tf.constant(_points(30, d, seed))
            matrix = _second_part(kernel, x, x)
            self.assertAllClose(np.diag(matrix), np.ones(30), rtol=0, atol=1e-6)
            lowest.append(np.linalg.eigvalsh((matrix + matrix.T) / 2)[0])
        self.assertLess(min(lowest), -0.1)

    def test_a_negative_squared_mmd(self):
        # The biased squared MMD is a squared norm for any positive definite kernel.
        lowest = {}
        for dependence in ("dk", "dk_pd"):
            kernel = _built(dependence, 2, seed=1, strength=12.0, num_samples=8)
            x = tf.constant(_points(200, 2, 1))
            matrix = _second_part(kernel, x, x)
            values = []
            for chosen in np.random.RandomState(2).randint(0, 200, (2000, 4)):
                k = matrix[np.ix_(chosen, chosen)]
                values.append(k[:2, :2].mean() - 2 * k[:2, 2:].mean() + k[2:, 2:].mean())
            lowest[dependence] = min(values)
        self.assertLess(lowest["dk"], -0.01)
        self.assertGreater(lowest["dk_pd"], -1e-10)


class GradientTest(parameterized.TestCase, tf.test.TestCase):
    @_any
    def test_finite_differences(self, dependence):
        kernel = _built(dependence, 3, num_samples=30)
        drawn = kernel.draw((0, 4))
        x, y = _points(4, 3, 40), _points(5, 3, 41)
        y[0] = x[0]
        upstream, moves = _points(4, 5, 42), (_points(4, 3, 43), _points(5, 3, 44))
        with tf.GradientTape() as tape:
            tensors = [tf.constant(x), tf.constant(y)]
            tape.watch(tensors)
            value = tf.reduce_sum(upstream * drawn.matrix(*tensors))
        gradients = tape.gradient(value, tensors)
        slope = sum(tf.reduce_sum(g * move) for g, move in zip(gradients, moves, strict=True))
        ends = [
            np.sum(upstream * drawn.matrix(x + step * moves[0], y + step * moves[1]).numpy())
            for step in (1e-6, -1e-6)
        ]
        self.assertAllClose(slope, (ends[0] - ends[1]) / 2e-6, rtol=1e-6, atol=1e-6)

    @parameterized.product(
        dependence=("none", *DEPENDENT), expectation=("closed_form", "monte_carlo")
    )
    def test_every_weight_learns_and_all_is_finite(self, dependence, expectation):
        kernel = _built(dependence, 3, num_samples=30, expectation=expectation)
        x = tf.constant(_points(6, 3, 45), tf.float32)
        y = tf.concat([x[:3], x[:3] + 1.0], axis=0)
        with tf.GradientTape() as tape:
            tape.watch(x)
            value, _ = mmd.mmd2(kernel.draw((0, 5)), x, y, "biased")
        weights = kernel.trainable_variables
        gradients = tape.gradient(value, [x, *[weight.value for weight in weights]])
        for name, gradient in zip(["x", *[w.path for w in weights]], gradients, strict=True):
            self.assertAllInRange(gradient, -1e4, 1e4)
            self.assertGreater(np.abs(gradient).max(), 0.0, msg=name)

    @_any
    def test_gradient_of_a_gradient_is_finite(self, dependence):
        kernel = _built(dependence, 3, num_samples=30)
        x = tf.constant(_points(5, 3, 46), tf.float32)
        with tf.GradientTape() as outer:
            outer.watch(x)
            with tf.GradientTape() as inner:
                inner.watch(x)
                value = tf.reduce_sum(tf.sin(kernel.draw((0, 6)).matrix(x, tf.identity(x))))
            penalty = tf.reduce_sum(tf.square(inner.gradient(value, x)))
        for gradient in outer.gradient(penalty, [x, kernel.networks["frequency"][0][0].value]):
            self.assertAllInRange(gradient, -1e6, 1e6)


class GroupsTest(parameterized.TestCase, tf.test.TestCase):
    """`matrices` of groups, and all its derivatives, are those of the groups one by one."""

    def assert_one_by_one(self, of_groups, of_one, variables, groups):
        with tf.GradientTape(persistent=True) as tape:
            tape.watch([groups, *variables])
            found, expected = of_groups(groups), tf.stack([of_one(g) for g in tf.unstack(groups)])
            # Coinciding points, on the diagonal, count too.
            weights = _points(*found.shape[1:], seed=7).astype(np.float32)
            sums = [tf.reduce_sum(weights * value) for value in (found, expected)]
        self.assertAllClose(found, expected, rtol=1e-5, atol=1e-5)
        gradients = (tape.gradient(s, [groups, *variables]) for s in sums)
        for one, other in zip(*gradients, strict=True):
            self.assertAllClose(one, other, rtol=1e-3, atol=1e-3 * np.abs(other).max() + 1e-6)

    @parameterized.product(name=("gaussian", "gaussian_mixture", "linear"), d=(2, 5, 40))
    def test_fixed_kernels(self, name, d):
        kernel, groups = kernels.get(name), tf.constant(_points(12, d).reshape(3, 4, d), tf.float32)
        self.assert_one_by_one(kernel.matrices, lambda g: kernel.matrix(g, g), [], groups)

    @parameterized.product(
        dependence=("none", *DEPENDENT), expectation=("closed_form", "monte_carlo")
    )
    def test_trained_kernels(self, dependence, expectation):
        kernel = _built(dependence, 5, expectation=expectation, num_samples=32)
        groups = tf.constant(_points(12, 5).reshape(3, 4, 5), tf.float32)
        self.assert_one_by_one(
            lambda g: kernel.draw((0, 1)).matrices(g),
            lambda g: kernel.draw((0, 1)).matrix(g, g),
            [variable.value for variable in kernel.trainable_variables],
            groups,
        )


class StartTest(parameterized.TestCase, tf.test.TestCase):
    @parameterized.product(dependence=("none", *DEPENDENT), d=(1, 2, 16))
    def test_neither_constant_nor_zero_off_the_diagonal(self, dependence, d):
        means, deviations = [], []
        for seed in range(4):
            keras.utils.set_random_seed(seed)
            kernel = KernelNet(dependence, num_samples=256)
            kernel.build((None, d))
            drawn = kernel.draw((0, seed))
            x = tf.constant(_points(40, d, seed), tf.float32)
            matrix = drawn.matrix(x, x).numpy() / drawn.diagonal
            others = matrix[~np.eye(40, dtype=bool)]
            means.append(others.mean())
            deviations.append(others.std())
        self.assertBetween(np.mean(means), 0.25, 0.8)
        self.assertBetween(np.mean(deviations), 0.1, 0.5)

    @parameterized.parameters((1, 16), (2, 16), (3, 15), (8, 32), (16, 64), (32, 128))
    def test_width(self, d, width):
        kernel = _built("dk", d)
        for name, inputs in (("frequency", max(4, 2 * d)), ("mean", d), ("log_scale", d)):
            shapes = [tuple(matrix.shape) for matrix, _ in kernel.networks[name]]
            middle = [(width, width)] * 2
            self.assertEqual(shapes, [(inputs, width), *middle, (width, d)])
        self.assertEqual(_built("dk2", d, width=7).networks["mean"][0][0].shape, (2 * d, 7))


@keras.saving.register_keras_serializable("kgzoo_test")
class _Holder(keras.Model):
    """A model that holds a kernel, as a method does."""

    def __init__(self, kernel=None, **kwargs):
        super().__init__(**kwargs)
        self.kernel = kernel
        self.dense = keras.layers.Dense(3)

    def build(self, input_shape):
        self.dense.build(input_shape)
        self.kernel.build((None, 3))

    def call(self, inputs):
        points = self.dense(inputs)
        return self.kernel.matrix(points, points)

    def get_config(self):
        return {
            **super().get_config(),
            "kernel": keras.saving.serialize_keras_object(self.kernel),
        }

    def build_from_config(self, config):
        self.build(config["input_shape"])

    @classmethod
    def from_config(cls, config):
        kernel = keras.saving.deserialize_keras_object(config.pop("kernel"))
        return cls(kernel, **config)


class LayerTest(parameterized.TestCase, tf.test.TestCase):
    @_any
    def test_dtypes(self, dependence):
        keras.config.set_dtype_policy("mixed_bfloat16")
        try:
            kernel = _built(dependence, 3, num_samples=30)
            x = tf.constant(_points(4, 3, 50))
            exact = kernel.matrix(x, x)
            self.assertEqual(exact.dtype, tf.float64)
            for dtype, tolerance in ((tf.float32, 1e-5), (tf.bfloat16, 0.1)):
                low = tf.cast(x, dtype)
                drawn = kernel.draw((0, 0))
                self.assertAllClose(drawn.matrix(low, low), exact, atol=tolerance)
                for value in (
                    drawn.matrix(low, low),
                    drawn.penalty(low, low),
                    drawn.second_moment(low),
                    *drawn.squared_norms(low),
                    kernel(low),
                ):
                    self.assertEqual(value.dtype, tf.float32)
            for value in (drawn.penalty(x, x), drawn.second_moment(x), *drawn.squared_norms(x)):
                self.assertEqual(value.dtype, tf.float64)
            self.assertEqual({w.dtype for w in kernel.weights}, {"float32"})
        finally:
            keras.config.set_dtype_policy("float32")

    @_any
    def test_one_seed_one_kernel(self, dependence):
        for expectation in ("closed_form", "monte_carlo"):
            kernel = _built(dependence, 2, num_samples=30, expectation=expectation)
            x = tf.constant(_points(4, 2, 51), tf.float32)
            first, again, other = (kernel.draw(s).matrix(x, x) for s in ((0, 1), (0, 1), (1, 1)))
            self.assertAllClose(first, again, rtol=0, atol=1e-6)
            self.assertGreater(np.abs(first - other).max(), 1e-3)
            self.assertAllClose(kernel.matrix(x, x), kernel.draw((0, 0)).matrix(x, x), atol=1e-6)
            self.assertAllClose(kernel(x), kernel.matrix(x, x), atol=1e-6)

    @_any
    def test_serialisation_round_trip(self, dependence):
        kernel = KernelNet(dependence, "monte_carlo", num_samples=9, width=5, chunk_rows=2)
        kernel.build((None, 3))
        config = keras.saving.serialize_keras_object(kernel)
        restored = keras.saving.deserialize_keras_object(config)
        self.assertEqual(restored.get_config(), kernel.get_config())
        self.assertEqual(repr(restored), repr(kernel))
        if not restored.built:
            restored.build((None, 3))
        restored.set_weights(kernel.get_weights())
        x = _points(4, 3, 52)
        self.assertAllClose(restored.matrix(x, x), kernel.matrix(x, x), rtol=0, atol=1e-12)

    @_any
    def test_a_model_that_holds_one_survives_files(self, dependence):
        model = _Holder(KernelNet(dependence, num_samples=9))
        x = tf.constant(_points(4, 2, 53), tf.float32)
        before = model(x)
        count = 8 if dependence == "none" else 24
        self.assertLen(model.trainable_variables, count + 2)
        self.assertLen(model.kernel.trainable_variables, count)
        path = os.path.join(self.get_temp_dir(), f"{dependence}.keras")
        model.save(path)
        self.assertAllClose(keras.saving.load_model(path)(x), before, rtol=0, atol=1e-6)
        prefix = tf.train.Checkpoint(model=model).save(os.path.join(self.get_temp_dir(), "ck"))
        other = _Holder(KernelNet(dependence, num_samples=9))
        other(x)
        tf.train.Checkpoint(model=other).restore(prefix).assert_existing_objects_matched()
        self.assertAllClose(other(x), before, rtol=0, atol=1e-6)

    def test_a_kernel_is_equal_to_itself_alone(self):
        first, second = KernelNet(name="kernel"), KernelNet(name="kernel")
        self.assertEqual(first, first)
        self.assertNotEqual(first, second)
        self.assertLen({first, second}, 2)
        self.assertNotEqual(_built("dk", 2).draw((0, 0)), _built("dk", 2).draw((0, 0)))
        self.assertEqual(repr(KernelNet("dk2", width=5)), "KernelNet('dk2', width=5)")
        self.assertIn("'dk2'", repr(_built("dk2", 2).draw((0, 0))))

    def test_by_name(self):
        names = {"ikl": "none", "dk": "dk", "dk2": "dk2", "dk_pd": "dk_pd"}
        for name, dependence in names.items():
            self.assertIn(name, kernels.names())
            kernel = kernels.get(name)
            self.assertEqual(kernel.dependence, dependence)
            self.assertFalse(kernels.is_stationary(kernel))
            self.assertIsNot(kernels.get(name), kernel)
        self.assertFalse(kernels.is_stationary(_built("none", 2).draw((0, 0))))


class RefusalTest(parameterized.TestCase, tf.test.TestCase):
    @parameterized.parameters(
        ({"dependence": "dk3"}, "dependence='dk3' is not known; did you mean 'dk"),
        ({"expectation": "montecarlo"}, "did you mean 'monte_carlo'"),
        ({"num_samples": 0}, "num_samples=0; give a whole number of at least 1"),
        ({"num_samples": 1.5}, "num_samples=1.5"),
        ({"num_samples": True}, "num_samples=True"),
        ({"width": -1}, "width=-1"),
        ({"chunk_rows": -2}, "chunk_rows=-2"),
    )
    def test_arguments(self, arguments, sentence):
        with self.assertRaisesRegex(UserError, sentence):
            KernelNet(**arguments)

    def test_points(self):
        kernel = _built("dk", 3)
        with self.assertRaisesRegex(UserError, "points have 2 features .* built for 3"):
            kernel.matrix(np.zeros((4, 2)), np.zeros((5, 2)))
        with self.assertRaisesRegex(UserError, "needs points of shape"):
            kernel.draw((0, 0)).second_moment(np.zeros(3))
        with self.assertRaisesRegex(UserError, "needs the same number"):
            kernel.matrix(np.zeros((4, 3)), np.zeros((5, 2)))
        with self.assertRaisesRegex(UserError, "kernel_penalty_norm='frob' .*'frobenius'"):
            kernel.draw((0, 0)).penalty(np.zeros((4, 3)), np.zeros((5, 3)), "frob")

    def test_before_it_is_built(self):
        with self.assertRaisesRegex(UserError, "has no weights yet; call build"):
            KernelNet().matrix(np.zeros((4, 3)), np.zeros((5, 3)))
        kernel = _built("dk", 3)
        kernel.build((None, 3))
        self.assertLen(kernel.weights, 24)
        with self.assertRaisesRegex(UserError, "was built for 3 features"):
            kernel.build((None, 4))
        for shape in ((None, None), (3,), (None, 4, 4)):
            with self.assertRaisesRegex(UserError, "input_shape="):
                KernelNet().build(shape)
