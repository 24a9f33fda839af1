"""The gradient-constrained MMD against the paper's dense system, by automatic differentiation."""

import importlib.util
import itertools
from unittest import mock

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized
from hypothesis import given, settings
from hypothesis import strategies as st

from kgzoo import kernels
from kgzoo.discrepancies import mmd, scaled
from kgzoo.discrepancies.gradient_constrained import gcmmd2
from kgzoo.errors import UserError
from kgzoo.methods.gradient_constrained import GradientConstrained

_FEW = settings(max_examples=25, deadline=None, derandomize=True)


def _squared(a, b):
    return tf.reduce_sum(tf.square(a - b), axis=1)


def _gaussian(a, b):
    return tf.exp(-_squared(a, b) / (2 * 0.8**2))


def _rational_quadratic(a, b):
    return (1 + _squared(a, b) / (2 * 0.5)) ** -0.5


def _linear(a, b):
    return tf.reduce_sum(a * b, axis=1)


_KERNELS = {
    "gaussian": (kernels.Gaussian(0.8), _gaussian),
    "rational_quadratic": (kernels.RationalQuadratic(0.5), _rational_quadratic),
    "linear": (kernels.Linear(), _linear),
    "sum": (
        2.0 * kernels.Gaussian(0.8) + kernels.Linear(),
        lambda a, b: 2.0 * _gaussian(a, b) + _linear(a, b),
    ),
}


def _network(weights):
    first, bias, last = weights
    return lambda x: tf.matmul(tf.tanh(tf.matmul(x, first) + bias), last)


def _problem(d, s, seed=0, sizes=(5, 6, 4)):
    """Weights of a smooth network, and real, generated and mu's points, all float64."""
    random = np.random.RandomState(seed + 10 * d + s)
    weights = [random.normal(size=shape) for shape in ((d, 4), (4,), (4, s))]
    samples = [
        random.normal(shift, 1.0, size=(n, d))
        for n, shift in zip(sizes, (0.0, 0.6, 0.2), strict=True)
    ]
    return [tf.constant(w) for w in weights], [tf.constant(x) for x in samples]


def _dense(formula, phi, real, fake, points, regularization):
    """Prop. 3 with mu = (1/M) sum delta, its M (1 + d) system, all derivatives by tapes."""

    def pairs(x, y):
        first, second = tf.repeat(x, y.shape[0], axis=0), tf.tile(y, [x.shape[0], 1])
        return first, second, lambda: formula(phi(first), phi(second))

    def mean(x, y):
        return tf.reduce_mean(pairs(x, y)[2]())

    count, d = points.shape
    # Points of their own, also where mu is the real sample.
    points = tf.identity(points)
    with tf.GradientTape() as tape:
        tape.watch(points)
        eta = sum(
            sign * tf.reduce_mean(tf.reshape(pairs(x, points)[2](), [-1, count]), axis=0)
            for sign, x in ((1, real), (-1, fake))
        )
    u = tf.concat([eta, tf.reshape(tape.gradient(eta, points), [-1])], axis=0)[:, None]
    first, second, values = pairs(points, points)
    with tf.GradientTape(persistent=True) as outer:
        outer.watch(second)
        with tf.GradientTape() as inner:
            inner.watch(first)
            k = values()
        left = inner.gradient(k, first)
        columns = tf.unstack(left, axis=1)
    both = tf.stack([outer.gradient(column, second) for column in columns], axis=1)
    k = tf.reshape(k, [count, count])
    g = tf.reshape(tf.einsum("mnd->mdn", tf.reshape(left, [count, count, d])), [-1, count])
    h = tf.einsum("mnij->minj", tf.reshape(both, [count, count, d, d]))
    h = tf.reshape(h, [count * d, count * d])
    system = tf.concat([tf.concat([k, tf.transpose(g)], 1), tf.concat([g, h], 1)], 0)
    system += count * regularization * tf.eye(count * (1 + d), dtype=tf.float64)
    penalty = tf.reduce_sum(u * tf.linalg.solve(system, u))
    mmd2 = mean(real, real) + mean(fake, fake) - 2 * mean(real, fake)
    return (mmd2 - penalty) / regularization, penalty


def _factorised(kernel, phi, real, fake, points, regularization):
    features, gram = scaled.features_and_jacobian_gram(phi, points)
    first = features if points is real else phi(real)
    value, diagnostics = gcmmd2(kernel, first, phi(fake), features, gram, regularization)
    return value, diagnostics["penalty"]


class OracleTest(parameterized.TestCase, tf.test.TestCase):
    def _compare(self, name, weights, samples, regularization=0.3, tolerance=1e-8):
        kernel, formula = _KERNELS[name]
        results = []
        for function, k in ((_factorised, kernel), (_dense, formula)):
            with tf.GradientTape() as tape:
                tape.watch([weights, samples[1]])
                value, penalty = function(k, _network(weights), *samples, regularization)
            gradients = tape.gradient(value, [*weights, samples[1]])
            results.append([value, penalty, *gradients])
        largest = max(1e-3, *(np.max(np.abs(gradient)) for gradient in results[1][2:]))
        for got, expected in zip(*results, strict=True):
            floor = tolerance * (largest if expected.shape.rank else 1e-2)
            self.assertAllClose(got, expected, rtol=tolerance, atol=floor)
        return results[1]

    @parameterized.parameters(itertools.product(_KERNELS, (1, 2, 5), (1, 2, 3)))
    def test_value_and_gradients(self, name, d, s):
        # With d < s every J J^T is singular. Gradients: the network's weights, generated points.
        value, penalty, *gradients = self._compare(name, *_problem(d, s))
        self.assertGreater(value, 1e-3)
        self.assertGreater(penalty, 1e-3)
        for gradient in gradients:
            self.assertGreater(np.max(np.abs(gradient)), 1e-4)

    @parameterized.parameters("gaussian", "linear")
    def test_mu_is_the_real_sample(self, name):
        weights, (real, fake, _) = _problem(3, 2)
        self._compare(name, weights, [real, fake, real])

    @parameterized.parameters(itertools.product(("gaussian", "rational_quadratic"), (1e-3, 100.0)))
    def test_other_regularizations(self, name, regularization):
        self._compare(name, *_problem(2, 2), regularization=regularization, tolerance=1e-7)

    @parameterized.parameters("gaussian", "linear", "sum")
    def test_singular_jacobians(self, name):
        # An output that is constant, one that repeats another, points that coincide.
        weights, samples = _problem(5, 3)
        last = weights[2].numpy()
        last[:, 1], last[:, 2] = 0.0, last[:, 0]
        weights[2] = tf.constant(last)
        self._compare(name, weights, samples)
        real, fake, points = samples
        points = tf.concat([points[:1], points[:1], points[2:]], axis=0)
        self._compare(name, weights, [real, fake, points])

    @parameterized.parameters("gaussian", "linear")
    def test_zero_jacobian(self, name):
        # All features coincide: nothing tells the samples apart, and nothing is NaN.
        for s in (1, 2):
            weights, samples = _problem(2, s)
            weights[0] = tf.zeros_like(weights[0])
            value, penalty, *gradients = self._compare(name, weights, samples)
            self.assertAllClose([value, penalty], [0.0, 0.0], atol=1e-12)
            self.assertTrue(all(np.all(np.isfinite(gradient)) for gradient in gradients))

    def test_zero_jacobian_of_distinct_features(self):
        # Then GCMMD constrains values alone: Fisher GAN's, eta'(K + M lambda)^-1 eta in MMD terms.
        random = np.random.RandomState(0)
        real, fake, points = (random.normal(size=(n, 2)) for n in (5, 6, 4))
        kernel = kernels.Gaussian()

        def gram(x, y):
            return np.exp(-np.sum((x[:, None] - y[None]) ** 2, axis=-1) / 2)

        eta = np.mean(gram(points, real), axis=1) - np.mean(gram(points, fake), axis=1)
        penalty = eta @ np.linalg.solve(gram(points, points) + 4 * 0.7 * np.eye(4), eta)
        tensors = [tf.constant(x) for x in (real, fake, points, np.zeros((4, 2, 2)))]
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            value, diagnostics = gcmmd2(kernel, *tensors, 0.7)
        biased, _ = mmd.mmd2(kernel, real, fake, "biased")
        self.assertAllClose(diagnostics["penalty"], penalty, rtol=1e-12)
        self.assertAllClose(value, (biased - penalty) / 0.7, rtol=1e-12)
        for gradient in tape.gradient(value, tensors):
            self.assertTrue(np.all(np.isfinite(gradient)))
            self.assertGreater(np.max(np.abs(gradient)), 1e-4)


class IdentityTest(parameterized.TestCase, tf.test.TestCase):
    @parameterized.parameters((1, 1), (2, 3), (5, 2))
    def test_linear_kernel_is_the_operator_form(self, d, s):
        # Prop. 5 with H = R^s: eta'(D + lambda)^-1 eta, D = mean phi phi' + J J' over mu. This is
        # what tells M lambda with mu = (1/M) sum delta from the printed sum.
        weights, (real, fake, points) = _problem(d, s, sizes=(5, 6, 9))
        phi = _network(weights)
        value, _ = _factorised(kernels.Linear(), phi, real, fake, points, 0.4)
        with tf.GradientTape() as tape:
            tape.watch(points)
            features = phi(points)
        jacobian = tape.batch_jacobian(features, points).numpy()
        operator = np.einsum("ma,mb->ab", features, features)
        operator = (operator + np.einsum("mai,mbi->ab", jacobian, jacobian)) / 9
        eta = np.mean(phi(real), axis=0) - np.mean(phi(fake), axis=0)
        expected = eta @ np.linalg.solve(operator + 0.4 * np.eye(s), eta)
        self.assertAllClose(value, expected, rtol=1e-12, atol=0)

    def test_mu_is_a_measure(self):
        # Neither order nor number of the points counts, only their distribution.
        random = np.random.RandomState(1)
        real, fake, points = (random.normal(size=(n, 2)) for n in (5, 6, 4))
        jacobian = random.normal(size=(4, 2, 3))
        gram = jacobian @ np.transpose(jacobian, [0, 2, 1])
        kernel = kernels.rational_quadratic_mixture()
        expected, diagnostics = gcmmd2(kernel, real, fake, points, gram, 0.2)
        order, twice = [2, 0, 3, 1], [0, 1, 2, 3, 0, 1, 2, 3]
        for index in (order, twice):
            value, others = gcmmd2(kernel, real, fake, points[index], gram[index], 0.2)
            self.assertAllClose(value, expected, rtol=1e-11, atol=0)
            self.assertAllClose(others, diagnostics, rtol=1e-11, atol=0)
        value, _ = gcmmd2(kernel, real[[4, 3, 2, 1, 0]], fake, points, gram, 0.2)
        self.assertAllClose(value, expected, rtol=1e-11, atol=0)
        # Exchanging the samples turns eta around.
        self.assertAllClose(gcmmd2(kernel, fake, real, points, gram, 0.2)[0], expected, rtol=1e-11)

    def test_sharing_the_real_sample_changes_nothing(self):
        random = np.random.RandomState(2)
        real, fake = (tf.constant(random.normal(size=(n, 2))) for n in (5, 6))
        gram = tf.constant(np.tile(0.5 * np.eye(2), [5, 1, 1]))
        values, gradients = [], []
        for points in (real, tf.identity(real)):
            with tf.GradientTape() as tape:
                tape.watch([real, points])
                value, _ = gcmmd2(kernels.Gaussian(), real, fake, points, gram)
            parts = tape.gradient(value, [real] if points is real else [real, points])
            values.append(value)
            gradients.append(tf.add_n(parts))
        self.assertAllClose(*values, rtol=1e-13)
        self.assertAllClose(*gradients, rtol=1e-11, atol=1e-13)

    @_FEW
    @given(
        st.sampled_from([kernels.Gaussian(0.7), kernels.rational_quadratic_mixture()]),
        st.integers(1, 3),
        st.integers(1, 4),
        st.floats(1e-3, 10.0),
        st.floats(0.0, 30.0),
        st.integers(0, 10**6),
    )
    def test_between_the_scaled_mmd_and_the_mmd(self, kernel, s, d, regularization, steep, seed):
        # 0 <= SMMD^2 <= GCMMD^2 <= MMD^2 / lambda (section 3.3), for any critic.
        random = np.random.RandomState(seed)
        real, fake, points = (random.normal(size=(n, s)) for n in (3, 4, 5))
        jacobian = steep * random.normal(size=(5, s, d))
        gram = jacobian @ np.transpose(jacobian, [0, 2, 1])
        value, diagnostics = gcmmd2(kernel, real, fake, points, gram, regularization)
        biased, _ = mmd.mmd2(kernel, tf.constant(real), tf.constant(fake), "biased")
        squared = np.trace(gram, axis1=1, axis2=2)
        smmd2 = scaled.sigma2(kernel, tf.constant(squared), regularization) * biased
        self.assertGreaterEqual(smmd2, 0.0)
        self.assertLessEqual(smmd2, value + 1e-12)
        self.assertLessEqual(value, biased / regularization + 1e-12)
        self.assertGreaterEqual(diagnostics["penalty"], 0.0)
        self.assertAllClose(diagnostics["mmd2"], biased, rtol=1e-13)
        self.assertAllClose(diagnostics["critic_gradient_squared"], np.mean(squared), rtol=1e-12)


class NumericsTest(parameterized.TestCase, tf.test.TestCase):
    @parameterized.parameters(itertools.product((1, 4), (1e-2, 1.0), (0.0, 1.0, 100.0)))
    def test_float32(self, s, regularization, steep):
        # Against float64 from inputs that differ by their rounding; 40 points, rank-one Jacobians
        # among them. The stated tolerance, relative to the largest entry: 1e-5, or where rounded
        # singular Gram matrices cost more, 1e-10 trace / lambda of the value and 1e-9 of gradients.
        random = np.random.RandomState(s)
        real, fake = random.normal(size=(40, s)), random.normal(0.7, 1.0, size=(40, s))
        jacobian = steep * random.normal(size=(40, s, 2))
        jacobian[::2, :, 1] = 0.0
        gram = jacobian @ np.transpose(jacobian, [0, 2, 1])
        results = []
        for dtype in (tf.float32, tf.float64):
            tensors = [tf.constant(x, dtype) for x in (real, fake, gram)]
            with tf.GradientTape() as tape:
                tape.watch(tensors)
                first, second, third = tensors
                value, diagnostics = gcmmd2(
                    kernels.gaussian_mixture(), first, second, first, third, regularization
                )
            for tensor in (value, *diagnostics.values()):
                self.assertEqual((tensor.dtype, tensor.shape), (dtype, ()))
            results.append([value, *tape.gradient(value, tensors)])
            self.assertEqual({tensor.dtype for tensor in results[-1]}, {dtype})
        ratio = np.max(np.trace(gram, axis1=1, axis2=2)) / regularization
        for got, expected in zip(*results, strict=True):
            tolerance = max(1e-5, (1e-9 if expected.shape.rank else 1e-10) * ratio)
            largest = np.max(np.abs(expected))
            self.assertAllClose(got, expected, rtol=0, atol=tolerance * largest)

    def test_ridge(self):
        # M lambda + ridge in the system: the penalty of another lambda, over this one.
        random = np.random.RandomState(3)
        real, fake, points = (random.normal(size=(n, 2)) for n in (5, 6, 4))
        gram = np.tile(np.eye(2), [4, 1, 1])
        value, diagnostics = gcmmd2(kernels.Gaussian(), real, fake, points, gram, 0.5, ridge=1.2)
        _, others = gcmmd2(kernels.Gaussian(), real, fake, points, gram, 0.5 + 1.2 / 4)
        self.assertAllClose(diagnostics["penalty"], others["penalty"], rtol=1e-12)
        self.assertAllClose(value, (others["mmd2"] - others["penalty"]) / 0.5, rtol=1e-12)

    def test_graph_of_unknown_sizes(self):
        weights, samples = _problem(3, 2)
        phi = _network(weights)

        def gradient(real, fake):
            with tf.GradientTape() as tape:
                tape.watch(fake)
                value, _ = _factorised(kernels.Gaussian(), phi, real, fake, real, 1.0)
            return value, tape.gradient(value, fake)

        signature = [tf.TensorSpec([None, 3], tf.float64)] * 2
        for real, fake in (samples[:2], samples[1:]):
            got, expected = tf.function(gradient, signature)(real, fake), gradient(real, fake)
            self.assertAllClose(got[0], expected[0], rtol=1e-12)
            self.assertAllClose(got[1], expected[1], rtol=1e-11, atol=1e-14)

    def test_mistakes(self):
        x, gram = np.zeros((4, 2)), np.zeros((4, 2, 2))
        kernel = kernels.Gaussian()
        for value in (0.0, -1.0, float("nan"), float("inf")):
            with self.assertRaisesRegex(UserError, "regularization="):
                gcmmd2(kernel, x, x, x, gram, value)
        for value in (-1e-6, float("nan"), float("inf")):
            with self.assertRaisesRegex(UserError, "ridge="):
                gcmmd2(kernel, x, x, x, gram, 1.0, value)
        for points, wrong in (
            (x, np.zeros((4, 2))),
            (x, np.zeros((3, 2, 2))),
            (x, np.zeros((4, 2, 3))),
            (x, np.zeros((4, 1, 1))),
            (np.zeros(4), gram),
        ):
            with self.assertRaisesRegex(UserError, "jacobian_gram"):
                gcmmd2(kernel, x, x, points, wrong)
        with self.assertRaisesRegex(UserError, "same number"):
            gcmmd2(kernel, x, np.zeros((4, 3)), x, gram)
        with self.assertRaisesRegex(UserError, "at least 1"):
            gcmmd2(kernel, x[:0], x, x, gram)


class GramTest(parameterized.TestCase, tf.test.TestCase):
    @parameterized.parameters(1, 3)
    def test_against_the_dense_jacobian(self, outputs):
        initializer = keras.initializers.RandomNormal(stddev=0.4, seed=0)
        options = {"kernel_initializer": initializer, "dtype": "float64"}
        network = keras.Sequential(
            [
                keras.Input([6, 5, 2], dtype="float64"),
                keras.layers.Conv2D(3, 3, 2, "same", activation="tanh", **options),
                keras.layers.Flatten(dtype="float64"),
                keras.layers.Dense(outputs, **options),
            ]
        )
        images = tf.constant(np.random.RandomState(0).uniform(size=(4, 6, 5, 2)))
        features, gram = scaled.features_and_jacobian_gram(network, images)
        self.assertEqual((features.shape, gram.shape), ((4, outputs), (4, outputs, outputs)))
        with tf.GradientTape() as tape:
            tape.watch(images)
            value = network(images)
        dense = tape.batch_jacobian(value, images).numpy().reshape(4, outputs, 60)
        self.assertAllClose(features, value, rtol=1e-12, atol=1e-14)
        self.assertAllClose(gram, dense @ np.transpose(dense, [0, 2, 1]), rtol=1e-10, atol=1e-14)
        _, squared = scaled.features_and_jacobian(network, images)
        self.assertAllClose(tf.linalg.trace(gram), squared, rtol=1e-12)

    def test_types_and_mistakes(self):
        network = keras.Sequential([keras.Input([3]), keras.layers.Dense(2, dtype="bfloat16")])
        for output in scaled.features_and_jacobian_gram(network, tf.ones([4, 3])):
            self.assertEqual(output.dtype, tf.float32)
        with self.assertRaisesRegex(UserError, "critic's output has shape"):
            scaled.features_and_jacobian_gram(lambda x: tf.reduce_sum(x, axis=1), tf.ones([2, 3]))


def _toy(outputs=2, dimensions=2, **fields):
    keras.utils.set_random_seed(0)
    networks = [
        keras.Sequential(
            [
                keras.Input([dimensions]),
                keras.layers.Dense(6, activation="tanh"),
                keras.layers.Dense(last),
            ]
        )
        for last in (dimensions, outputs)
    ]
    model = GradientConstrained(*networks, kind="vector", batch_size=6, **fields)
    model.compile()
    return model


def _batch(dimensions=2):
    return np.random.RandomState(0).normal(1.0, 1.0, size=(6, dimensions)).astype("float32")


class MethodTest(parameterized.TestCase, tf.test.TestCase):
    def test_losses_are_the_discrepancy_at_the_real_points(self):
        model = _toy(kernel="rational_quadratic_mixture", regularization=0.3, ridge=0.1)
        batch = model._batch(tf.constant(_batch()), 0)
        fake = model.generate(batch, ("critic",))
        features, gram = scaled.features_and_jacobian_gram(model.critic, batch.real)
        expected, _ = gcmmd2(model.kernel, features, model.critic(fake), features, gram, 0.3, 0.1)
        self.assertGreater(expected, 1e-3)
        for player, sign in (("critic", -1.0), ("generator", 1.0)):
            loss, diagnostics = model.losses(batch, (player,))[player]
            self.assertAllClose(loss, sign * expected, rtol=1e-5)
            self.assertAllClose(diagnostics["gcmmd2"], expected, rtol=1e-5)
            self.assertEqual(
                set(diagnostics), {"gcmmd2", "mmd2", "penalty", "critic_gradient_squared"}
            )

    @parameterized.parameters("gcmmd2", "lipmmd2")
    def test_label_smoothing_divides_the_critics_value(self, objective):
        if objective == "lipmmd2" and importlib.util.find_spec("cvxpy") is None:
            self.skipTest("cvxpy is not installed")
        losses = []
        for smoothing in (0.0, 0.25):
            model = _toy(objective=objective, label_smoothing=smoothing)
            batch = model._batch(tf.constant(_batch()), 0)
            losses.append([model.losses(batch, (player,))[player][0] for player in model.players])
        (generator, critic), (smooth_generator, smooth_critic) = losses
        self.assertAllClose(smooth_critic, critic / 1.25**2, rtol=1e-5)
        self.assertAllClose(smooth_generator, generator, rtol=1e-5)

    def test_training_moves_every_weight(self):
        model = _toy(kernel="linear", critic_steps=2)
        before = [v.numpy() for v in model.trainable_variables]
        history = model.fit(np.tile(_batch(), [4, 1]), batch_size=6, epochs=2, verbose=0)
        for values in history.history.values():
            self.assertTrue(np.all(np.isfinite(values)))
        for variable, old in zip(model.trainable_variables, before, strict=True):
            self.assertTrue(np.any(variable.numpy() != old), variable.path)

    def test_lipschitz_objective(self):
        if importlib.util.find_spec("cvxpy") is None:
            self.skipTest("cvxpy is not installed")
        model = _toy(objective="lipmmd2", regularization=0.2)
        batch = model._batch(tf.constant(_batch()), 0)
        variables = [v.value for v in model.trainable_variables]
        with tf.GradientTape() as tape:
            loss, diagnostics = model.losses(batch, ("generator",))["generator"]
        gradients = tape.gradient(loss, variables)
        self.assertAllClose(loss, diagnostics["lipmmd"] ** 2, rtol=1e-6)
        self.assertGreater(loss, 1e-3)
        for gradient in gradients[: len(model.generator.trainable_variables)]:
            self.assertGreater(np.max(np.abs(gradient)), 1e-5)
        # The constraint takes something away from MMD^2 / lambda.
        fake = model.critic(model.generate(batch, ("critic",)))
        biased, _ = mmd.mmd2(model.kernel, model.critic(batch.real), fake, "biased")
        self.assertLess(loss, biased / 0.2)
        self.assertIn("critic_loss", model.train_step(_batch()))

    def test_config_round_trip(self):
        model = _toy(kernel=kernels.Gaussian(2.0) + kernels.Linear(), regularization=0.3, ridge=0.1)
        again = GradientConstrained.from_config(model.get_config())
        self.assertEqual(again.get_config(), model.get_config())
        self.assertEqual(again.kernel, model.kernel)

    @parameterized.parameters(
        ({"objective": "gcmmd"}, "objective='gcmmd'"),
        ({"kernel": "rbf"}, "kernel='rbf'"),
        ({"regularization": 0.0}, "regularization=0.0"),
        ({"ridge": -0.1}, "ridge=-0.1"),
        ({"objective": "lipmmd2", "ridge": 0.1}, "ridge=0.1 belongs"),
        ({"objective": "lipmmd2", "dimensions": 4}, "vectors of 4 dimensions"),
    )
    def test_mistakes(self, fields, message):
        with self.assertRaisesRegex(UserError, message):
            _toy(**fields)

    def test_lipschitz_objective_refuses_images_and_replicas(self):
        images = [keras.Input([2]), keras.layers.Dense(4), keras.layers.Reshape([2, 2, 1])]
        critic = [keras.Input([2, 2, 1]), keras.layers.Flatten(), keras.layers.Dense(1)]
        with self.assertRaisesRegex(UserError, "not for images"):
            GradientConstrained(
                keras.Sequential(images), keras.Sequential(critic), objective="lipmmd2"
            )
        model = _toy(objective="lipmmd2")
        with mock.patch("kgzoo.methods.gradient_constrained.replica_count", lambda: 2):
            with self.assertRaisesRegex(UserError, "not on 2"):
                _toy(objective="lipmmd2")
            with self.assertRaisesRegex(UserError, "not on 2"):
                model.losses(model._batch(tf.constant(_batch()), 0), ("critic",))
            _toy(objective="gcmmd2")

    def test_needs_a_critic(self):
        generator = keras.Sequential([keras.Input([2]), keras.layers.Dense(2)])
        with self.assertRaisesRegex(UserError, "needs a critic"):
            GradientConstrained(generator, kind="vector")
