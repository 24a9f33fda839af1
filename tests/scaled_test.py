"""The scaled MMD's Jacobian, scales and second-order gradient against float64 oracles."""

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from kgzoo import kernels
from kgzoo.discrepancies import mmd, repulsive, scaled
from kgzoo.errors import UserError


def _convnet(outputs, shape=(6, 5, 3), seed=0):
    """A smooth float64 network with strides, channels and a dense layer."""
    initializer = keras.initializers.RandomNormal(stddev=0.4, seed=seed)
    options = {"kernel_initializer": initializer, "dtype": "float64"}
    return keras.Sequential(
        [
            keras.Input(shape, dtype="float64"),
            keras.layers.Conv2D(4, 3, 2, "same", activation="tanh", **options),
            keras.layers.Conv2D(3, 3, 1, "same", activation="softplus", **options),
            keras.layers.Flatten(dtype="float64"),
            keras.layers.Dense(outputs, **options),
        ]
    )


def _images(n, shape=(6, 5, 3), seed=0):
    return np.random.RandomState(seed).uniform(size=(n, *shape))


class JacobianTest(parameterized.TestCase, tf.test.TestCase):
    @parameterized.parameters(1, 3)
    def test_against_the_dense_jacobian(self, outputs):
        network, images = _convnet(outputs), _images(4)
        features, squared = scaled.features_and_jacobian(network, tf.constant(images))
        self.assertEqual((features.shape, squared.shape), ((4, outputs), (4,)))
        self.assertEqual((features.dtype, squared.dtype), (tf.float64, tf.float64))
        self.assertAllClose(features, network(images), rtol=1e-12, atol=1e-12)
        with tf.GradientTape() as tape:
            tensor = tf.constant(images)
            tape.watch(tensor)
            value = network(tensor)
        dense = tape.batch_jacobian(value, tensor).numpy().reshape(4, outputs, -1)
        self.assertEqual(dense.shape[-1], 6 * 5 * 3)
        self.assertAllClose(squared, np.sum(dense**2, axis=(1, 2)), rtol=1e-10, atol=1e-12)

    @parameterized.parameters(1, 3)
    def test_gram_of_the_dense_jacobian(self, outputs):
        network, images = _convnet(outputs), tf.constant(_images(4))
        features, gram = scaled.features_and_jacobian_gram(network, images)
        self.assertEqual((features.dtype, gram.dtype), (tf.float64, tf.float64))
        self.assertAllClose(features, network(images), rtol=1e-12, atol=1e-12)
        with tf.GradientTape() as tape:
            tape.watch(images)
            value = network(images)
        dense = tape.batch_jacobian(value, images).numpy().reshape(4, outputs, -1)
        expected = np.einsum("nad,nbd->nab", dense, dense)
        self.assertAllClose(gram, expected, rtol=1e-10, atol=1e-12)
        _, squared = scaled.features_and_jacobian(network, images)
        self.assertAllClose(np.trace(gram, axis1=1, axis2=2), squared, rtol=1e-10, atol=0)

    def test_against_finite_differences_in_every_pixel_and_channel(self):
        network, images = _convnet(3), _images(1, seed=1)
        moved = images[0] + 1e-5 * np.eye(90).reshape(90, 6, 5, 3)
        back = images[0] - 1e-5 * np.eye(90).reshape(90, 6, 5, 3)
        columns = (network(moved).numpy() - network(back).numpy()) / 2e-5
        _, squared = scaled.features_and_jacobian(network, tf.constant(images))
        self.assertAllClose(squared, [np.sum(columns**2)], rtol=1e-8, atol=0)

    def test_every_axis_counts(self):
        # phi(x) = sum w x per example: the squared norm is |w|^2 over height, width and channels.
        weights = np.random.RandomState(2).normal(size=(4, 3, 2))
        network = lambda x: tf.reduce_sum(x * weights, axis=[1, 2, 3])[:, None]  # noqa: E731
        _, squared = scaled.features_and_jacobian(network, tf.constant(_images(5, (4, 3, 2))))
        self.assertAllClose(squared, np.full(5, np.sum(weights**2)), rtol=1e-12, atol=0)

    def test_vectors_and_an_output_that_ignores_its_input(self):
        def network(x):
            return tf.stack([x[:, 0] ** 2, 3.0 * x[:, 1], tf.ones_like(x[:, 0])], axis=1)

        x = np.array([[1.0, 5.0], [-2.0, 0.0]])
        features, squared = scaled.features_and_jacobian(network, tf.constant(x))
        self.assertAllClose(features, [[1.0, 15.0, 1.0], [4.0, 0.0, 1.0]])
        self.assertAllClose(squared, [4.0 + 9.0, 16.0 + 9.0])

    def test_bfloat16_network_gives_float32(self):
        network = keras.Sequential([keras.Input([3]), keras.layers.Dense(2, dtype="bfloat16")])
        outputs = scaled.features_and_jacobian(network, tf.ones([4, 3]))
        for output in outputs:
            self.assertEqual(output.dtype, tf.float32)
        kernel = tf.cast(network.layers[0].kernel.value, tf.float32).numpy()
        self.assertAllClose(outputs[1], np.full(4, np.sum(kernel**2)), rtol=2e-2)

    def test_outputs_must_be_a_matrix(self):
        for network in (lambda x: tf.reduce_sum(x, axis=1), lambda x: x[:, :, None]):
            for function in (scaled.features_and_jacobian, scaled.features_and_jacobian_gram):
                with self.assertRaisesRegex(UserError, "critic's output has shape"):
                    function(network, tf.ones([2, 3]))


class ScaleTest(parameterized.TestCase, tf.test.TestCase):
    def setUp(self):
        super().setUp()
        self.squared = np.random.RandomState(0).uniform(0.1, 4.0, size=9)
        self.features = np.random.RandomState(1).normal(size=(9, 3))

    def test_smmd_scale_of_the_paper(self):
        # Section 4: MMD^2 / (1 + 10 E ||grad phi||_F^2), for the unit Gaussian kernel.
        scale = scaled.smmd_scale(kernels.Gaussian(), tf.constant(self.squared))
        self.assertAllClose(scale, 1 / (1 + 10 * np.mean(self.squared)), rtol=1e-12, atol=0)

    def test_smmd_scale_takes_the_kernels_slope(self):
        squared = tf.constant(self.squared)
        # 2|g'(0)| = 1 / bandwidth^2: the same critic, rescaled, gives the same loss.
        for bandwidth in (0.5, 3.0):
            scale = scaled.smmd_scale(kernels.Gaussian(bandwidth), squared * bandwidth**2)
            self.assertAllClose(scale, scaled.smmd_scale(kernels.Gaussian(), squared), rtol=1e-12)
        scale = scaled.smmd_scale(kernels.rational_quadratic_mixture(), squared, weight=0.7)
        self.assertAllClose(scale, 1 / (1 + 0.7 * 5 * np.mean(self.squared)), rtol=1e-12, atol=0)
        self.assertAllEqual(scaled.smmd_scale(kernels.Gaussian(), squared, weight=0.0), 1.0)

    def test_linear_scale_of_the_paper(self):
        # Section 4, SWGAN: 1 / (1 + 10 (E |phi|^2 + E ||grad phi||_F^2)) under the root.
        scale = scaled.linear_scale(tf.constant(self.features), tf.constant(self.squared))
        value = np.mean(np.sum(self.features**2, axis=1))
        expected = 1 / (1 + 10 * (value + np.mean(self.squared)))
        self.assertAllClose(scale, expected, rtol=1e-12, atol=0)
        scale = scaled.linear_scale(tf.constant(self.features), tf.constant(self.squared), 0.3)
        expected = 1 / (1 + 0.3 * (value + np.mean(self.squared)))
        self.assertAllClose(scale, expected, rtol=1e-12, atol=0)

    def test_smmd_scale_is_proposition_4_up_to_a_factor(self):
        # The docstring's lambda = slope / weight - g(0) makes them proportional for every critic.
        kernel, ratios = kernels.Gaussian(1.5), []
        weight = 0.2
        for factor in (0.0, 1.0, 30.0):
            squared = tf.constant(factor * self.squared)
            sigma2 = scaled.sigma2(kernel, squared, regularization=1 / weight - 1.0)
            ratios.append(scaled.smmd_scale(kernel, squared, weight=weight) / sigma2)
        self.assertAllClose(ratios, np.full(3, 1 / weight), rtol=1e-12)


def _gaussian(bandwidth):
    return lambda a, b: tf.exp(-tf.reduce_sum((a - b) ** 2) / (2 * bandwidth**2))


def _rational_quadratic(rate):
    return lambda a, b: (1 + tf.reduce_sum((a - b) ** 2) / (2 * rate)) ** -rate


class Proposition4Test(parameterized.TestCase, tf.test.TestCase):
    @parameterized.named_parameters(
        ("gaussian", kernels.Gaussian(0.8), _gaussian(0.8)),
        ("rational_quadratic", kernels.RationalQuadratic(0.5), _rational_quadratic(0.5)),
        (
            "scaled_sum",
            2.0 * kernels.Gaussian(0.5) + kernels.RationalQuadratic(3.0),
            lambda a, b: 2.0 * _gaussian(0.5)(a, b) + _rational_quadratic(3.0)(a, b),
        ),
        (
            "product",
            kernels.gaussian_mixture([1.0, 2.0]) * kernels.RationalQuadratic(2.0),
            lambda a, b: (
                (_gaussian(1.0)(a, b) + _gaussian(2.0)(a, b)) * _rational_quadratic(2.0)(a, b)
            ),
        ),
    )
    def test_sigma2_by_automatic_differentiation(self, kernel, formula):
        # sigma^-2 = lambda + E k(x, x) + sum_i E d2k(y, z) / dy_i dz_i at y = z = x.
        regularization, random = 0.3, np.random.RandomState(3)
        first, second = random.normal(size=(2, 5)), random.normal(size=(5, 3))

        def phi(x):
            return tf.matmul(tf.tanh(tf.matmul(x, first)), second)

        points, terms = random.normal(size=(4, 2)), []
        for point in points:
            y, z = tf.constant(point), tf.constant(point)
            with tf.GradientTape(persistent=True) as outer:
                outer.watch(y)
                with tf.GradientTape() as inner:
                    inner.watch(z)
                    value = formula(phi(y[None])[0], phi(z[None])[0])
                by_z = inner.gradient(value, z)
            mixed = outer.jacobian(by_z, y, experimental_use_pfor=False)
            terms.append(value + tf.linalg.trace(mixed))
        expected = 1 / (regularization + np.mean(terms))
        _, squared = scaled.features_and_jacobian(phi, tf.constant(points))
        self.assertAllClose(
            scaled.sigma2(kernel, squared, regularization), expected, rtol=1e-10, atol=0
        )

    def test_smmd2_is_a_supremum(self):
        # Eq. (7): SMMD = sup of E f(X) - E f(Y) over sigma^-1 |f| <= 1. In the span of k at all the
        # points f = sum_j c_j k(z_j, .), the supremum of g'c over c'Kc <= sigma^2, g = K(w_x - w_y)
        # being the mean difference, squares to sigma^2 g'K^-1 g.
        random = np.random.RandomState(4)
        x, y = random.normal(size=(5, 2)), random.normal(0.5, 1.0, size=(4, 2))
        squared = random.uniform(size=5)
        kernel, z = kernels.Gaussian(0.9), np.concatenate([x, y])
        gram = np.exp(-np.sum((z[:, None] - z[None]) ** 2, axis=-1) / (2 * 0.9**2))
        sign = np.concatenate([np.full(5, 1 / 5), np.full(4, -1 / 4)])
        difference = gram @ sign
        best = np.linalg.solve(gram, difference)
        sigma2 = 1 / (0.1 + 1 + np.mean(squared) / 0.9**2)
        best *= np.sqrt(sigma2 / (best @ gram @ best))
        value, _ = mmd.mmd2(kernel, tf.constant(x), tf.constant(y), "biased")
        smmd2 = scaled.sigma2(kernel, tf.constant(squared), 0.1) * value
        self.assertAllClose(smmd2, (difference @ best) ** 2, rtol=1e-9, atol=0)


def _mlp_oracle(weights, real, fake, loss):
    """Scaled losses of phi(x) = tanh(x A + a) B in NumPy, the Jacobian by hand.

    `repulsive` is eq. S8 of the repulsive MMD-GAN paper, with lambda = 0.1.
    """
    a, bias, b = weights

    def features(x):
        return np.tanh(x @ a + bias) @ b

    hidden = np.tanh(real @ a + bias)
    jacobian = np.einsum("dh,nh,hs->nds", a, 1 - hidden**2, b)
    squared = np.mean(np.sum(jacobian**2, axis=(1, 2)))
    x, y = features(real), features(fake)
    if loss == "swgan":
        value = np.mean(np.sum(x**2, axis=1))
        return (np.mean(x) - np.mean(y)) / np.sqrt(1 + 10 * (value + squared))

    def gram(p, q):
        return np.exp(-np.sum((p[:, None] - q[None]) ** 2, axis=-1) / 2)

    def off_diagonal(matrix):
        n = len(matrix)
        return (np.sum(matrix) - np.trace(matrix)) / (n * (n - 1))

    if loss == "repulsive":
        bracket = off_diagonal(gram(x, x)) - off_diagonal(gram(y, y)) - 1
        return bracket / (1 + 0.1 * squared)
    discrepancy = off_diagonal(gram(x, x)) + off_diagonal(gram(y, y)) - 2 * np.mean(gram(x, y))
    return discrepancy / (1 + 10 * squared)


class SecondOrderTest(parameterized.TestCase, tf.test.TestCase):
    @parameterized.parameters(("smmd", 1), ("smmd", 3), ("swgan", 1), ("repulsive", 2))
    def test_weight_gradient_against_finite_differences(self, loss, outputs):
        random = np.random.RandomState(5)
        weights = [random.normal(size=s) for s in ((3, 4), (4,), (4, outputs))]
        real, fake = random.normal(size=(6, 3)), random.normal(0.4, 1.0, size=(6, 3))
        with tf.GradientTape() as tape:
            a, bias, b = tensors = [tf.constant(w) for w in weights]
            tape.watch(tensors)

            def network(x):
                return tf.matmul(tf.tanh(tf.matmul(x, a) + bias), b)

            features, squared = scaled.features_and_jacobian(network, tf.constant(real))
            generated = network(tf.constant(fake))
            if loss == "swgan":
                scale = tf.sqrt(scaled.linear_scale(features, squared))
                value = scale * (tf.reduce_mean(features) - tf.reduce_mean(generated))
            elif loss == "repulsive":
                kernel = kernels.Gaussian()
                bracket, _ = repulsive.critic_loss(kernel, features, generated)
                value = scaled.smmd_scale(kernel, squared, 0.1) * (bracket - kernel.at_zero)
            else:
                kernel = kernels.Gaussian()
                discrepancy, _ = mmd.mmd2(kernel, features, generated)
                value = scaled.smmd_scale(kernel, squared) * discrepancy
        self.assertAllClose(value, _mlp_oracle(weights, real, fake, loss), rtol=1e-10, atol=0)
        for which, gradient in enumerate(tape.gradient(value, tensors)):
            expected = np.zeros_like(weights[which])
            for index in np.ndindex(*expected.shape):
                ends = []
                for step in (1e-5, -1e-5):
                    moved = [w.copy() for w in weights]
                    moved[which][index] += step
                    ends.append(_mlp_oracle(moved, real, fake, loss))
                expected[index] = (ends[0] - ends[1]) / 2e-5
            self.assertGreater(np.max(np.abs(expected)), 1e-4)
            self.assertAllClose(gradient, expected, rtol=1e-6, atol=1e-10)

    def test_inside_a_graph(self):
        network, images = _convnet(2), tf.constant(_images(3))

        def gradient():
            with tf.GradientTape() as tape:
                _, squared = scaled.features_and_jacobian(network, images)
                scale = scaled.smmd_scale(kernels.Gaussian(), squared)
            return tape.gradient(scale, network.trainable_variables[0].value)

        self.assertAllClose(tf.function(gradient)(), gradient(), rtol=1e-10, atol=1e-12)
        self.assertGreater(np.max(np.abs(gradient())), 1e-4)
