"""What keeps a critic in bounds, against formulas in float64 and derivatives by hand."""

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from kgzoo import kernels, regularizers


class _Tanh:
    """f(x) = tanh(x A + a) b on flattened examples: value, gradient and penalty by hand."""

    def __init__(self, shape, hidden=4, seed=0):
        random = np.random.RandomState(seed)
        size = int(np.prod(shape))
        self.weights = [
            random.normal(size=(size, hidden)) / np.sqrt(size),
            random.normal(size=hidden),
            random.normal(size=hidden),
        ]

    def __call__(self, x, weights=None):
        a, bias, b = weights or map(tf.constant, self.weights)
        flat = tf.reshape(x, [tf.shape(x)[0], -1])
        return tf.linalg.matvec(tf.tanh(tf.matmul(flat, a) + bias), b)

    @staticmethod
    def gradients(weights, x):
        a, bias, b = weights
        return ((1 - np.tanh(x.reshape(len(x), -1) @ a + bias) ** 2) * b) @ a.T

    @classmethod
    def penalty(cls, weights, x):
        """mean (|grad f| - 1)^2; Gulrajani et al. (2017), eq. 3, without lambda."""
        norms = np.sqrt(np.sum(cls.gradients(weights, x) ** 2, axis=1))
        return np.mean((norms - 1) ** 2)


class GradientNormTest(parameterized.TestCase, tf.test.TestCase):
    @parameterized.parameters((4, 5, 3), (6, 6, 1), (7,))
    def test_against_the_gradient_by_hand(self, *shape):
        # Over every pixel and channel: public code that sums over one axis gives one norm a pixel.
        function = _Tanh(shape)
        x = np.random.RandomState(1).normal(size=(5, *shape))
        squared = regularizers.gradient_norms_squared(function, tf.constant(x))
        expected = np.sum(function.gradients(function.weights, x) ** 2, axis=1)
        self.assertEqual((squared.dtype, squared.shape), (tf.float64, (5,)))
        self.assertAllClose(squared, expected, rtol=1e-10, atol=0)
        value = regularizers.gradient_penalty(squared)
        self.assertAllClose(value, function.penalty(function.weights, x), rtol=1e-6, atol=0)

    def test_a_column_of_values_is_as_good(self):
        function = _Tanh((3,))
        x = tf.constant(np.random.RandomState(1).normal(size=(5, 3)))
        column = regularizers.gradient_norms_squared(lambda z: function(z)[:, None], x)
        self.assertAllEqual(column, regularizers.gradient_norms_squared(function, x))

    def test_a_linear_function_has_the_norm_of_its_weights(self):
        weights = np.random.RandomState(2).normal(size=(4, 3, 2))
        x = tf.zeros([3, 4, 3, 2], tf.float64)
        function = lambda z: tf.reduce_sum(z * weights, axis=[1, 2, 3])  # noqa: E731
        squared = regularizers.gradient_norms_squared(function, x)
        self.assertAllClose(squared, np.full(3, np.sum(weights**2)), rtol=1e-12)
        expected = (np.sqrt(np.sum(weights**2)) - 1) ** 2
        self.assertAllClose(regularizers.gradient_penalty(squared), expected, rtol=1e-7)

    def test_weight_gradient_against_finite_differences(self):
        function = _Tanh((2, 3, 2))
        x = np.random.RandomState(3).normal(size=(5, 2, 3, 2))
        with tf.GradientTape() as tape:
            tensors = [tf.constant(w) for w in function.weights]
            tape.watch(tensors)
            squared = regularizers.gradient_norms_squared(
                lambda z: function(z, tensors), tf.constant(x)
            )
            value = regularizers.gradient_penalty(squared)
        random = np.random.RandomState(4)
        gradients = [g.numpy() for g in tape.gradient(value, tensors)]
        for _ in range(3):
            direction = [random.normal(size=w.shape) for w in function.weights]
            ends = [
                function.penalty(
                    [w + h * d for w, d in zip(function.weights, direction, strict=True)], x
                )
                for h in (1e-6, -1e-6)
            ]
            slope = sum(np.sum(g * d) for g, d in zip(gradients, direction, strict=True))
            self.assertGreater(abs(slope), 1e-2)
            self.assertAllClose(slope, (ends[0] - ends[1]) / 2e-6, rtol=1e-5, atol=0)

    def test_bfloat16_functions_and_float32_norms(self):
        layer = keras.layers.Dense(1, dtype="mixed_bfloat16")
        x = tf.ones([3, 4])
        layer(x)
        function = lambda z: tf.cast(layer(z), tf.float32)  # noqa: E731
        squared = regularizers.gradient_norms_squared(function, x)
        self.assertEqual(squared.dtype, tf.float32)
        kernel = layer.kernel.numpy()
        self.assertAllClose(squared, np.full(3, np.sum(kernel**2)), rtol=2e-2)

    def test_a_function_that_ignores_its_input(self):
        squared = regularizers.gradient_norms_squared(lambda z: tf.ones([3]), tf.ones([3, 4]))
        self.assertAllEqual(squared, tf.zeros([3]))

    @parameterized.parameters(tf.float32, tf.float64)
    def test_zero_gradients_have_finite_second_derivatives(self, dtype):
        # sqrt has no derivative at 0: a critic that starts flat must not turn the weights to NaN.
        x = tf.cast(np.random.RandomState(5).normal(size=(4, 3)), dtype)
        for start in (0.0, 1e-20, 1e-8, 1e-4):
            weights = tf.fill([3], tf.cast(start, dtype))
            with tf.GradientTape() as outer:
                outer.watch(weights)
                with tf.GradientTape() as tape:
                    tape.watch(weights)
                    squared = regularizers.gradient_norms_squared(
                        lambda z, w=weights: tf.linalg.matvec(z, w), x
                    )
                    value = regularizers.gradient_penalty(squared)
                gradient = tape.gradient(value, weights)
            self.assertAllClose(value, 1.0, atol=1e-2)
            self.assertTrue(np.all(np.isfinite(gradient)))
            # |w| has slopes of at most 1; (|w| - 1)^2 of at most 2 below |w| = 2.
            self.assertAllInRange(gradient, -2.0, 2.0)
            self.assertTrue(np.all(np.isfinite(outer.gradient(gradient, weights))))

    def test_safe_sqrt(self):
        x = tf.constant([0.0, -1.0, 1e-12, 1.0, 1e6], tf.float64)
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = regularizers.safe_sqrt(x)
        expected = np.sqrt(np.maximum(x, 0) + 1e-8)
        self.assertAllClose(value, expected, rtol=1e-12, atol=0)
        self.assertAllClose(value[:2], [1e-4, 1e-4], rtol=1e-10, atol=0)
        gradient = tape.gradient(value, x)
        self.assertTrue(np.all(np.isfinite(gradient)))
        self.assertAllEqual(gradient[1], 0.0)
        self.assertAllClose(gradient[2:], 0.5 / expected[2:], rtol=1e-10, atol=0)
        self.assertAllInRange(gradient[:1], 0.0, 0.5e4)


class InterpolateTest(tf.test.TestCase):
    def test_one_number_for_each_pair(self):
        random = np.random.RandomState(0)
        for shape in ((4, 3, 2), (5,)):
            x, y = random.normal(size=(2, 3, *shape))
            u = np.array([0.0, 0.25, 1.0])
            points = regularizers.interpolate(tf.constant(x), tf.constant(y), tf.constant(u))
            expected = [u[i] * x[i] + (1 - u[i]) * y[i] for i in range(3)]
            self.assertAllClose(points, expected, rtol=1e-12)


def _squared(a, b):
    return np.sum((a[:, None] - b[None]) ** 2, axis=-1)


_PROFILES = {
    "gaussian": (kernels.Gaussian(0.8), lambda d: np.exp(-d / (2 * 0.8**2))),
    "rq": (
        kernels.rational_quadratic_mixture(),
        lambda d: sum((1 + d / (2 * a)) ** -a for a in (0.2, 0.5, 1.0, 2.0, 5.0)),
    ),
}


class WitnessTest(parameterized.TestCase, tf.test.TestCase):
    def setUp(self):
        super().setUp()
        random = np.random.RandomState(0)
        self.points, self.x = random.normal(size=(4, 2)), random.normal(size=(5, 2))
        self.y = random.normal(0.9, 1.0, size=(6, 2))

    @parameterized.parameters(*_PROFILES)
    def test_against_the_formula(self, name):
        # eta(t) = mean k(t, x) - mean k(t, y) (SMMD paper, Prop. 2); |eta|_H^2 is the biased MMD^2.
        kernel, profile = _PROFILES[name]
        tensors = [tf.constant(v) for v in (self.points, self.x, self.y)]
        eta = profile(_squared(self.points, self.x)).mean(1)
        eta -= profile(_squared(self.points, self.y)).mean(1)
        values = regularizers.witness(kernel, *tensors)
        self.assertEqual((values.dtype, values.shape), (tf.float64, (4,)))
        self.assertAllClose(values, eta, rtol=1e-10, atol=1e-12)
        norm2 = profile(_squared(self.x, self.x)).mean() + profile(_squared(self.y, self.y)).mean()
        norm2 -= 2 * profile(_squared(self.x, self.y)).mean()
        normalized = regularizers.witness(kernel, *tensors, normalize=True)
        self.assertAllClose(normalized, eta / np.sqrt(norm2), rtol=1e-6, atol=0)

    def test_its_mean_difference_is_the_squared_norm(self):
        # E_P eta - E_Q eta = |eta|_H^2, and the normalised one attains the MMD.
        kernel, _ = _PROFILES["gaussian"]
        x, y = tf.constant(self.x), tf.constant(self.y)
        found = []
        for normalize in (False, True):
            on_x, on_y = (regularizers.witness(kernel, t, x, y, normalize) for t in (x, y))
            found.append(float(tf.reduce_mean(on_x) - tf.reduce_mean(on_y)))
        self.assertAllClose(found[1], np.sqrt(found[0]), rtol=1e-6, atol=0)

    def test_linear_kernels_have_the_critic_of_a_wasserstein_gan(self):
        # Appendix E: eta(t) / |eta| = sign(E phi(X) - E phi(Y)) phi(t).
        kernel = kernels.Linear()
        points, x, y = (tf.constant(v[:, :1]) for v in (self.points, self.x, self.y))
        sign = np.sign(np.mean(x) - np.mean(y))
        values = regularizers.witness(kernel, points, x, y, normalize=True)
        self.assertAllClose(values, sign * points[:, 0], rtol=1e-6, atol=0)
        swapped = regularizers.witness(kernel, points, y, x, normalize=True)
        self.assertAllClose(swapped, -sign * points[:, 0], rtol=1e-6, atol=0)

    def test_equal_samples_give_a_finite_gradient(self):
        kernel, _ = _PROFILES["gaussian"]
        for normalize in (False, True):
            x = tf.constant(self.x)
            with tf.GradientTape() as tape:
                tape.watch(x)
                values = regularizers.witness(kernel, tf.constant(self.points), x, x, normalize)
            self.assertAllClose(values, np.zeros(4), atol=1e-8)
            self.assertTrue(np.all(np.isfinite(tape.gradient(values, x))))


class PenaltyTest(tf.test.TestCase):
    def test_activation_penalty(self):
        random = np.random.RandomState(0)
        layers = [random.normal(size=shape) for shape in ((3, 4, 4, 2), (3, 5), (3, 1))]
        value = regularizers.activation_penalty([tf.constant(v, tf.float32) for v in layers])
        expected = sum(np.mean(layer**2) for layer in layers)
        self.assertEqual((value.dtype, value.shape), (tf.float32, ()))
        self.assertAllClose(value, expected, rtol=1e-6)
        half = regularizers.activation_penalty([tf.constant(v, tf.bfloat16) for v in layers])
        self.assertEqual(half.dtype, tf.float32)
        self.assertAllClose(half, expected, rtol=2e-2)

    def test_feasible_set(self):
        # Li et al. (2017): E f(x) >= E f(y) element by element; what violates it counts, negative.
        x = np.array([[1.0, 0.0, 2.0], [3.0, 0.0, -2.0]])
        y = np.array([[0.0, 1.0, 0.5], [0.0, 2.0, 1.5], [3.0, 0.0, 1.0]])
        violation = np.maximum(0, y.mean(0) - x.mean(0))
        self.assertAllClose(violation, [0.0, 1.0, 1.0])
        value = regularizers.feasible_set(tf.constant(x), tf.constant(y))
        self.assertAllClose(value, -np.mean(violation))
        self.assertAllEqual(regularizers.feasible_set(tf.constant(y + 9), tf.constant(x)), 0.0)
        with tf.GradientTape() as tape:
            tensors = [tf.constant(x), tf.constant(y)]
            tape.watch(tensors)
            value = regularizers.feasible_set(*tensors)
        by_x, by_y = tape.gradient(value, tensors)
        # To raise it: real features up, generated ones down, in the violated outputs alone.
        self.assertAllClose(by_x, np.tile([0.0, 1 / 6, 1 / 6], (2, 1)))
        self.assertAllClose(by_y, np.tile([0.0, -1 / 9, -1 / 9], (3, 1)))

    def test_reconstruction(self):
        random = np.random.RandomState(1)
        x, y = random.uniform(size=(2, 3, 4, 4, 2))
        value = regularizers.reconstruction(tf.constant(x, tf.float32), tf.constant(y, tf.float32))
        self.assertAllClose(value, np.mean((x - y) ** 2), rtol=1e-6)
        half = regularizers.reconstruction(tf.constant(x, tf.float32), tf.constant(y, tf.bfloat16))
        self.assertEqual(half.dtype, tf.float32)

    def test_consistency(self):
        random = np.random.RandomState(2)
        x, y = random.normal(size=(2, 5, 3))
        value = regularizers.consistency(tf.constant(x), tf.constant(y))
        self.assertAllClose(value, np.mean(np.linalg.norm(x - y, axis=1) ** 2), rtol=1e-12)
        self.assertAllEqual(regularizers.consistency(tf.constant(x), tf.constant(x)), 0.0)

    def test_clip_weights(self):
        values = np.array([[-3.0, -0.01, 0.0], [0.005, 0.01, 7.0]], np.float32)
        variables = [keras.Variable(values), keras.Variable(values[0])]
        regularizers.clip_weights(variables, 0.01)
        for variable, value in zip(variables, (values, values[0]), strict=True):
            self.assertAllClose(variable.value, np.clip(value, -0.01, 0.01), atol=1e-9)

    def test_clip_weights_in_a_graph(self):
        variable = keras.Variable(np.array([2.0, 0.25, -2.0], np.float32))
        tf.function(lambda: regularizers.clip_weights([variable], 0.5))()
        self.assertAllEqual(variable.value, [0.5, 0.25, -0.5])


if __name__ == "__main__":
    tf.test.main()
