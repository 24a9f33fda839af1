"""Closed-form kernel derivatives against automatic differentiation of the kernels' formulas."""

import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from kgzoo import kernels
from kgzoo.errors import UserError


def _squared(x, y):
    return tf.reduce_sum(tf.square(x - y), axis=1)


def _gaussian(bandwidth):
    return lambda x, y: tf.exp(-_squared(x, y) / (2 * bandwidth**2))


def _rational_quadratic(rate):
    return lambda x, y: (1 + _squared(x, y) / (2 * rate)) ** -rate


def _linear(x, y):
    return tf.reduce_sum(x * y, axis=1)


_EACH = (
    ("gaussian", kernels.Gaussian(0.7), _gaussian(0.7)),
    ("rational_quadratic", kernels.RationalQuadratic(0.5), _rational_quadratic(0.5)),
    ("rational_quadratic_2", kernels.RationalQuadratic(2.0), _rational_quadratic(2.0)),
    ("linear", kernels.Linear(), _linear),
    (
        "sum",
        0.3 * kernels.Gaussian(1.5) + kernels.Linear(),
        lambda x, y: 0.3 * _gaussian(1.5)(x, y) + _linear(x, y),
    ),
    (
        "mixture",
        kernels.rational_quadratic_mixture((0.2, 5.0)),
        lambda x, y: _rational_quadratic(0.2)(x, y) + _rational_quadratic(5.0)(x, y),
    ),
    (
        "product_of_three",
        kernels.Product([kernels.Gaussian(2.0), kernels.Linear(), kernels.RationalQuadratic(1.0)]),
        lambda x, y: _gaussian(2.0)(x, y) * _linear(x, y) * _rational_quadratic(1.0)(x, y),
    ),
    (
        "product_of_sums",
        (kernels.Gaussian() + kernels.Linear()) * (2.0 * kernels.RationalQuadratic(3.0)),
        lambda x, y: (_gaussian(1.0)(x, y) + _linear(x, y)) * 2.0 * _rational_quadratic(3.0)(x, y),
    ),
)


def _points(n=5, m=4, s=3):
    random = np.random.RandomState(s)
    x, y = random.normal(size=(n, s)), random.normal(size=(m, s))
    y[0] = x[1]  # coinciding points
    return tf.constant(x), tf.constant(y)


def _oracle(formula, x, y):
    """Value, left, right and both by nested tapes; every pair has points of its own."""
    (n, s), m = x.shape, y.shape[0]
    first, second = tf.repeat(x, m, axis=0), tf.tile(y, [n, 1])
    with tf.GradientTape(persistent=True) as outer:
        outer.watch(second)
        with tf.GradientTape(persistent=True) as inner:
            inner.watch([first, second])
            value = formula(first, second)
        left = inner.gradient(value, first)
        columns = tf.unstack(left, axis=1)
    right = inner.gradient(value, second)
    both = tf.stack([outer.gradient(column, second) for column in columns], axis=1)
    parts, shapes = (value, left, right, both), ([], [s], [s], [s, s])
    return [tf.reshape(part, [n, m, *shape]) for part, shape in zip(parts, shapes, strict=True)]


class DerivativesTest(parameterized.TestCase, tf.test.TestCase):
    @parameterized.named_parameters(*_EACH)
    def test_against_automatic_differentiation(self, kernel, formula):
        for s in (1, 3):
            x, y = _points(s=s)
            result = kernel.derivatives(x, y)
            self.assertIsInstance(result, kernels.Derivatives)
            for name, got, expected in zip(
                result._fields, result, _oracle(formula, x, y), strict=True
            ):
                self.assertEqual(got.dtype, tf.float64)
                self.assertAllClose(got, expected, rtol=1e-11, atol=1e-12, msg=name)
            self.assertAllClose(result.value, kernel.matrix(x, y), rtol=1e-12, atol=1e-13)

    @parameterized.named_parameters(*_EACH)
    def test_differentiable_again(self, kernel, formula):
        x, y = _points(n=3, m=3, s=2)
        random = np.random.RandomState(0)
        weights = [random.normal(size=t.shape) for t in kernel.derivatives(x, y)]
        gradients = []
        for parts in (kernel.derivatives, lambda x, y: _oracle(formula, x, y)):
            with tf.GradientTape() as tape:
                tape.watch([x, y])
                terms = zip(weights, parts(x, y), strict=True)
                total = tf.add_n([tf.reduce_sum(w * part) for w, part in terms])
            gradients.append(tape.gradient(total, [x, y]))
        for got, expected in zip(*gradients, strict=True):
            self.assertGreater(np.max(np.abs(expected)), 0.1)
            self.assertAllClose(got, expected, rtol=1e-10, atol=1e-11)

    @parameterized.named_parameters(*_EACH)
    def test_one_sample_with_itself_is_a_positive_semidefinite_system(self, kernel, formula):
        # [K G^T; G H] is the Gram matrix of k(x_i, .) and d_a k(x_i, .).
        del formula
        x, _ = _points()
        value, left, right, both = kernel.derivatives(x, x)
        self.assertAllClose(left, tf.transpose(right, [1, 0, 2]), rtol=1e-12, atol=1e-13)
        blocks = tf.concat(
            [
                tf.concat([value[:, None, :, None], right[:, None, :, :]], axis=3),
                tf.concat(
                    [tf.transpose(left, [0, 2, 1])[..., None], tf.transpose(both, [0, 2, 1, 3])],
                    axis=3,
                ),
            ],
            axis=1,
        )
        system = tf.reshape(blocks, [20, 20])
        self.assertAllClose(system, tf.transpose(system), rtol=1e-12, atol=1e-13)
        self.assertGreater(np.min(np.linalg.eigvalsh(system)), -1e-12 * np.max(system))

    @parameterized.named_parameters(*_EACH)
    def test_types_shapes_and_graph(self, kernel, formula):
        del formula
        x, y = tf.ones([5, 2], tf.bfloat16), tf.zeros([4, 2])
        signature = [tf.TensorSpec([None, None], dtype) for dtype in (tf.bfloat16, tf.float32)]
        for function in (kernel.derivatives, tf.function(kernel.derivatives, signature)):
            result = function(x, y)
            shapes = ([5, 4], [5, 4, 2], [5, 4, 2], [5, 4, 2, 2])
            for part, shape in zip(result, shapes, strict=True):
                self.assertEqual((part.dtype, part.shape), (tf.float32, shape))

    def test_trace_of_both_at_one_point_is_the_slope(self):
        # sum_a d2k / dy_a dz_a at y = z = x is s 2|g'(0)|: what multiplies the Jacobian in Prop. 4.
        x, _ = _points()
        kernel = kernels.Gaussian(0.7) * kernels.RationalQuadratic(2.0) + kernels.Gaussian(3.0)
        result = kernel.derivatives(x, x)
        for i in range(5):
            self.assertAllClose(result.both[i, i], kernel.slope * np.eye(3), rtol=1e-12, atol=1e-13)
            self.assertAllClose(result.value[i, i], kernel.at_zero, rtol=1e-12)

    def test_many_features_far_from_zero(self):
        # No cancellation: float32 differences of points around 1000 are exact.
        x = 1000.0 + np.random.RandomState(0).randint(-8, 8, size=(4, 40)) / 8
        kernel = kernels.RationalQuadratic(1.0)
        exact = kernel.derivatives(tf.constant(x), tf.constant(x))
        for part, expected in zip(
            kernel.derivatives(np.float32(x), np.float32(x)), exact, strict=True
        ):
            self.assertAllClose(part, expected, rtol=1e-5, atol=1e-6)

    def test_wrong_shapes_and_kernels(self):
        for kernel in (kernels.Gaussian(), kernels.Linear()):
            with self.assertRaisesRegex(UserError, "x has shape"):
                kernel.derivatives(np.zeros(3), np.zeros((2, 3)))
            with self.assertRaisesRegex(UserError, "same number"):
                kernel.derivatives(np.zeros((2, 1)), np.zeros((2, 3)))

        class Bare(kernels.Kernel):
            pass

        with self.assertRaisesRegex(UserError, "kernel=Bare has no derivatives"):
            (Bare() + kernels.Linear()).derivatives(np.zeros((1, 1)), np.zeros((1, 1)))
