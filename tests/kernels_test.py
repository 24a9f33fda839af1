"""Kernels against double loops, finite differences and their definitions, in float64."""

import math

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized
from hypothesis import given, settings
from hypothesis import strategies as st

from kgzoo import kernels
from kgzoo.errors import UserError

_FEW = settings(max_examples=6, deadline=None, derandomize=True)


def _rbf(bandwidth):
    return lambda a, b: math.exp(-sum((a - b) ** 2) / (2 * bandwidth**2))


def _rq(rate):
    return lambda a, b: (1 + sum((a - b) ** 2) / (2 * rate)) ** -rate


def _sum(functions, weights=None):
    weights = weights or [1.0] * len(functions)
    return lambda a, b: sum(w * f(a, b) for w, f in zip(weights, functions, strict=True))


# name -> (kernel, its formula on two points); the mixtures' constants are those printed in section
# 5.1 of the repulsive MMD-GAN paper.
STATIONARY = {
    "gaussian": (kernels.Gaussian(), _rbf(1.0)),
    "gaussian_wide": (kernels.Gaussian(2.5), _rbf(2.5)),
    "rational_quadratic": (kernels.RationalQuadratic(0.3), _rq(0.3)),
    "gaussian_mixture": (
        kernels.gaussian_mixture(),
        _sum([_rbf(s) for s in (1.0, math.sqrt(2), 2.0, math.sqrt(8), 4.0)]),
    ),
    "rational_quadratic_mixture": (
        kernels.rational_quadratic_mixture(),
        _sum([_rq(a) for a in (0.2, 0.5, 1.0, 2.0, 5.0)]),
    ),
    "own_mixture": (kernels.gaussian_mixture([0.5, 3.0]), _sum([_rbf(0.5), _rbf(3.0)])),
    "scaled_sum": (
        0.5 * kernels.Gaussian(2.0) + kernels.RationalQuadratic(2.0) * 3.0,
        _sum([_rbf(2.0), _rq(2.0)], [0.5, 3.0]),
    ),
    "weighted": (
        kernels.Sum([kernels.Gaussian(), kernels.Gaussian(3.0)], weights=[0.0, 0.25]),
        _sum([_rbf(3.0)], [0.25]),
    ),
    "product": (
        kernels.Gaussian(2.0) * kernels.RationalQuadratic(0.5),
        lambda a, b: _rbf(2.0)(a, b) * _rq(0.5)(a, b),
    ),
    "product_of_sums": (
        kernels.Product([kernels.gaussian_mixture([1.0, 2.0]), 3.0 * kernels.Gaussian(0.7)]),
        lambda a, b: 3.0 * _sum([_rbf(1.0), _rbf(2.0)])(a, b) * _rbf(0.7)(a, b),
    ),
}
ALL = {
    **STATIONARY,
    "linear": (kernels.Linear(), lambda a, b: float(np.dot(a, b))),
    "linear_and_gaussian": (
        0.1 * kernels.Linear() + kernels.Gaussian(),
        lambda a, b: 0.1 * float(np.dot(a, b)) + _rbf(1.0)(a, b),
    ),
}
_each = parameterized.named_parameters([(name, *pair) for name, pair in ALL.items()])
_stationary = parameterized.named_parameters([(name, *pair) for name, pair in STATIONARY.items()])


def _matrix(function, x, y):
    return np.array([[function(a, b) for b in y] for a in x])


def _points(n, d, seed=0, mean=0.0, scale=1.0):
    return np.random.RandomState(seed).normal(mean, scale, (n, d))


class MatrixTest(parameterized.TestCase, tf.test.TestCase):
    @_each
    def test_float64_against_a_double_loop(self, kernel, function):
        for n, m, d in ((5, 7, 3), (1, 4, 1), (4, 1, 16)):
            x, y = _points(n, d, 1), _points(m, d, 2, mean=0.3, scale=1.5)
            matrix = kernel.matrix(tf.constant(x), tf.constant(y))
            self.assertEqual(matrix.dtype, tf.float64)
            self.assertEqual(matrix.shape, (n, m))
            self.assertAllClose(matrix, _matrix(function, x, y), rtol=1e-10, atol=1e-10)

    @_each
    def test_low_precision_in_float32_out(self, kernel, function):
        x, y = _points(6, 4, 3), _points(5, 4, 4)
        for dtype in (tf.float32, tf.bfloat16, tf.float16):
            low_x, low_y = tf.cast(x, dtype), tf.cast(y, dtype)
            matrix = kernel.matrix(low_x, low_y)
            self.assertEqual(matrix.dtype, tf.float32)
            # The inputs are rounded, the computation is not.
            exact = _matrix(function, *(tf.cast(v, tf.float64).numpy() for v in (low_x, low_y)))
            self.assertAllClose(matrix, exact, rtol=1e-5, atol=1e-5)

    @_stationary
    def test_far_from_the_origin(self, kernel, function):
        x = _points(6, 16, 5, mean=1e3).astype(np.float32)
        y = _points(7, 16, 6, mean=1e3).astype(np.float32)
        expected = _matrix(function, x.astype(float), y.astype(float))
        self.assertAllClose(kernel.matrix(x, y), expected, rtol=0, atol=1e-4)
        expected = _matrix(function, x.astype(float), x.astype(float))
        self.assertAllClose(kernel.matrix(x, x), expected, rtol=0, atol=1e-4)

    @_stationary
    def test_two_distant_clusters(self, kernel, function):
        # No shift brings both near the origin: |x|^2 + |y|^2 - 2xy keeps no digit of |x - y|^2.
        x = np.concatenate([_points(4, 16, 17, mean=m) for m in (-1e3, 1e3)]).astype(np.float32)
        expected = _matrix(function, x.astype(float), x.astype(float))
        self.assertAllClose(kernel.matrix(x, x), expected, rtol=0, atol=1e-4)

    @_each
    def test_gradient_against_finite_differences(self, kernel, function):
        x, y = _points(4, 3, 7), _points(5, 3, 8, mean=0.5)
        y[0] = x[0]  # A pair of equal points: the distance's square root would give NaN.
        upstream = _points(4, 5, 9)
        with tf.GradientTape() as tape:
            tensors = [tf.constant(x), tf.constant(y)]
            tape.watch(tensors)
            value = tf.reduce_sum(upstream * kernel.matrix(*tensors))
        for which, gradient in enumerate(tape.gradient(value, tensors)):
            expected = np.zeros_like((x, y)[which])
            for index in np.ndindex(*expected.shape):
                ends = []
                for step in (1e-5, -1e-5):
                    moved = [x.copy(), y.copy()]
                    moved[which][index] += step
                    ends.append(np.sum(upstream * _matrix(function, *moved)))
                expected[index] = (ends[0] - ends[1]) / 2e-5
            self.assertAllClose(gradient, expected, rtol=1e-7, atol=1e-7)

    @_each
    def test_gradient_of_one_sample_against_itself(self, kernel, function):
        x, upstream = _points(4, 3, 10), _points(4, 4, 11)
        with tf.GradientTape() as tape:
            tensor = tf.constant(x)
            tape.watch(tensor)
            value = tf.reduce_sum(upstream * kernel.matrix(tensor, tensor))
        direction = _points(4, 3, 12)
        ends = [
            np.sum(upstream * _matrix(function, x + step * direction, x + step * direction))
            for step in (1e-5, -1e-5)
        ]
        slope = tf.reduce_sum(tape.gradient(value, tensor) * direction)
        self.assertAllClose(slope, (ends[0] - ends[1]) / 2e-5, rtol=1e-7, atol=1e-7)

    @_each
    def test_positive_semi_definite(self, kernel, function):
        del function
        for d, scale in ((1, 1.0), (3, 1.0), (16, 0.1)):
            x = _points(30, d, 13, scale=scale)
            matrix = kernel.matrix(tf.constant(x), tf.constant(x)).numpy()
            self.assertAllClose(matrix, matrix.T, rtol=0, atol=1e-12)
            lowest = np.linalg.eigvalsh((matrix + matrix.T) / 2)[0]
            self.assertGreater(lowest, -1e-10)

    @_FEW
    @given(st.floats(0.05, 20.0), st.integers(1, 6), st.integers(0, 2**16))
    def test_any_parameter(self, parameter, d, seed):
        x, y = _points(3, d, seed), _points(4, d, seed + 1, mean=1.0)
        for kernel, function in (
            (kernels.Gaussian(parameter), _rbf(parameter)),
            (kernels.RationalQuadratic(parameter), _rq(parameter)),
            (parameter * kernels.Gaussian(), _sum([_rbf(1.0)], [parameter])),
        ):
            matrix = kernel.matrix(tf.constant(x), tf.constant(y))
            self.assertAllClose(matrix, _matrix(function, x, y), rtol=1e-9, atol=1e-10)

    def test_unknown_number_of_points(self):
        spec = tf.TensorSpec([None, 2], tf.float32)
        matrix = tf.function(kernels.gaussian_mixture().matrix, input_signature=[spec, spec])
        x = _points(3, 2, 14).astype(np.float32)
        self.assertAllClose(
            matrix(x, x[:2]), _matrix(STATIONARY["gaussian_mixture"][1], x, x[:2]), atol=1e-5
        )


class AtZeroAndSlopeTest(parameterized.TestCase, tf.test.TestCase):
    @_stationary
    def test_numerical_derivative(self, kernel, function):
        # K(a, b) = g(-|a - b|^2); slope is 2 |g'(0)| = -2 d/dD K at squared distance D = 0.
        def of_squared_distance(squared):
            return function(np.array([math.sqrt(squared)]), np.array([0.0]))

        self.assertAllClose(kernel.at_zero, of_squared_distance(0.0), rtol=1e-12, atol=0)
        step = 1e-5
        first, second, third = (of_squared_distance(k * step) for k in range(3))
        slope = -2 * (-3 * first + 4 * second - third) / (2 * step)
        self.assertAllClose(kernel.slope, slope, rtol=1e-6)

    def test_product_with_itself(self):
        # (g^2)'(0) = 2 g(0) g'(0), with g(0) = 2 and 2|g'(0)| = 1 + 1/4: one object twice.
        mixture = kernels.gaussian_mixture([1.0, 2.0])
        product = mixture * mixture
        self.assertAllClose(product.at_zero, 4.0)
        self.assertAllClose(product.slope, 2 * 2.0 * 1.25)

    def test_not_stationary(self):
        for kernel in (kernels.Linear(), kernels.Linear() + kernels.Gaussian()):
            for attribute in ("at_zero", "slope"):
                with self.assertRaisesRegex(TypeError, "Linear is not stationary"):
                    getattr(kernel, attribute)


class ValueTest(parameterized.TestCase, tf.test.TestCase):
    @_each
    def test_serialisation_round_trip(self, kernel, function):
        config = keras.saving.serialize_keras_object(kernel)
        restored = keras.saving.deserialize_keras_object(config)
        self.assertIs(type(restored), type(kernel))
        self.assertEqual(restored, kernel)
        self.assertEqual(hash(restored), hash(kernel))
        x, y = _points(3, 2, 15), _points(4, 2, 16)
        matrix = restored.matrix(tf.constant(x), tf.constant(y))
        self.assertAllClose(matrix, _matrix(function, x, y), rtol=1e-10, atol=1e-10)

    def test_equality(self):
        gaussian, rq = kernels.Gaussian(2), kernels.RationalQuadratic(2)
        self.assertEqual(gaussian, kernels.Gaussian(2.0))
        self.assertEqual(gaussian + rq, kernels.Sum([kernels.Gaussian(2.0), rq]))
        self.assertEqual(2 * gaussian, gaussian * 2.0)
        for other in (kernels.Gaussian(2.1), rq, kernels.Linear(), "gaussian", 2.0, None):
            self.assertNotEqual(gaussian, other)
        self.assertNotEqual(gaussian + rq, rq + gaussian)
        self.assertNotEqual(gaussian + rq, gaussian * rq)
        self.assertNotEqual(2 * gaussian, 3 * gaussian)
        self.assertLen({gaussian, kernels.Gaussian(2.0), rq, kernels.RationalQuadratic(2.0)}, 2)

    def test_operators_make_new_kernels(self):
        gaussian = kernels.Gaussian()
        before = gaussian.get_config()
        for kernel in (gaussian + gaussian, gaussian * gaussian, 2 * gaussian, gaussian * 2):
            self.assertIsInstance(kernel, kernels.Kernel)
            self.assertIsNot(kernel, gaussian)
        self.assertEqual(gaussian.get_config(), before)

    def test_repr_says_what_it_is(self):
        self.assertEqual(repr(kernels.Gaussian(2)), "Gaussian(bandwidth=2.0)")
        self.assertIn("RationalQuadratic(rate=0.5)", repr(2 * kernels.RationalQuadratic(0.5)))

    def test_get(self):
        for name in kernels.names():
            # What is trained is a layer, equal to itself alone.
            trained = isinstance(kernels.get(name), kernels.KernelNet)
            self.assertEqual(kernels.get(name) == kernels.get(name), not trained, name)
        self.assertEqual(kernels.get("gaussian"), kernels.Gaussian(1.0))
        self.assertEqual(kernels.get("linear"), kernels.Linear())
        own = kernels.Gaussian(3.0)
        self.assertIs(kernels.get(own), own)
        with self.assertRaisesRegex(UserError, "kernel='gausian' .*did you mean 'gaussian'"):
            kernels.get("gausian")


class WrongArgumentTest(parameterized.TestCase, tf.test.TestCase):
    @parameterized.parameters(0.0, -1.0, float("nan"), float("inf"))
    def test_parameter_out_of_range(self, value):
        with self.assertRaisesRegex(UserError, f"bandwidth={value}"):
            kernels.Gaussian(value)
        with self.assertRaisesRegex(UserError, f"rate={value}"):
            kernels.RationalQuadratic(value)

    @parameterized.parameters(([1.0],), ([1.0, 2.0, 3.0],), ([1.0, -0.5],), ([],))
    def test_wrong_weights(self, weights):
        with self.assertRaisesRegex(UserError, "weights="):
            kernels.Sum([kernels.Gaussian(), kernels.Linear()], weights=weights)

    @parameterized.parameters(-1.0, float("nan"), float("inf"))
    def test_wrong_factor(self, factor):
        with self.assertRaisesRegex(UserError, "weights="):
            factor * kernels.Gaussian()

    def test_no_kernels(self):
        for composite in (kernels.Sum, kernels.Product):
            with self.assertRaisesRegex(UserError, r"kernels=\[\]"):
                composite([])

    def test_what_is_no_kernel_is_refused_when_it_is_added(self):
        with self.assertRaises((UserError, TypeError)):
            kernels.Gaussian() + 1
        with self.assertRaises((UserError, TypeError)):
            kernels.Sum([kernels.Gaussian(), "linear"])

    @_each
    def test_wrong_shapes(self, kernel, function):
        del function
        for x, y, name in (
            (np.zeros(3), np.zeros((2, 3)), "x has shape"),
            (np.zeros((2, 3)), np.zeros((2, 3, 1)), "y has shape"),
        ):
            with self.assertRaisesRegex(UserError, name):
                kernel.matrix(x, y)

    def test_unequal_dimensions(self):
        # Without a check, points [n, 1] broadcast against [m, 3] in the centring.
        for kernel in (kernels.Gaussian(), kernels.Linear()):
            for d in (1, 2):
                with self.assertRaises(UserError):
                    kernel.matrix(np.zeros((2, d)), np.zeros((2, 3)))
