"""The GRAM paper's networks against its Tables 3, 5, 6, 7, and Li et al.'s pair against a DCGAN."""

import os

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from kgzoo import layers, networks

# Op, output shape without the batch; what the tables print, activations as the text says.
_TABLE_3 = (
    ("Conv2D", (28, 28, 16)),
    ("BatchNormalization", (28, 28, 16)),
    ("ReLU", (28, 28, 16)),
    ("MaxPooling2D", (14, 14, 16)),
    ("Conv2D", (14, 14, 32)),
    ("BatchNormalization", (14, 14, 32)),
    ("ReLU", (14, 14, 32)),
    ("MaxPooling2D", (7, 7, 32)),
    ("Conv2D", (7, 7, 32)),
    ("BatchNormalization", (7, 7, 32)),
    ("ReLU", (7, 7, 32)),
    ("MaxPooling2D", (3, 3, 32)),
    ("Flatten", (288,)),
    ("Dense", (100,)),
)
_TABLE_5 = (
    ("Dense", (2048,)),
    ("Reshape", (4, 4, 128)),
    ("BatchNormalization", (4, 4, 128)),
    ("ReLU", (4, 4, 128)),
    ("Conv2DTranspose", (8, 8, 64)),
    ("BatchNormalization", (8, 8, 64)),
    ("ReLU", (8, 8, 64)),
    ("Conv2DTranspose", (16, 16, 32)),
    ("BatchNormalization", (16, 16, 32)),
    ("ReLU", (16, 16, 32)),
    ("Conv2DTranspose", (32, 32, 3)),
    ("Activation", (32, 32, 3)),
)
# Filters of the three convolutions, and the inputs of the linear layer.
_TABLES_6_AND_7 = {
    "gram_dcgan": ((32, 64, 128), 2048),
    "gram_dcgan_weak": ((32, 32, 64), 1024),
}


def _generator(name, shape, width, latent_dim, activation="tanh", dtype="float32"):
    return networks.get(name).generator(
        latent_dim=latent_dim,
        sample_shape=shape,
        width=width,
        output_activation=activation,
        dtype=dtype,
    )


def _critic(name, shape, width, output_dim, batch_norm=True, dtype="float32", spectral="none"):
    return networks.get(name).critic(
        sample_shape=shape,
        output_dim=output_dim,
        width=width,
        spectral=spectral,
        spectral_constant=1.0,
        dtype=dtype,
        critic_batch_norm=batch_norm,
    )


def _rows(model):
    """Type and output shape of every layer but the input."""
    return [(type(x).__name__, tuple(x.output.shape[1:])) for x in model.layers[1:]]


def _of(model, *kinds):
    return [layer for layer in model.layers if isinstance(layer, kinds)]


def _sizes_and_strides(model):
    convolutions = _of(model, keras.layers.Conv2D, keras.layers.Conv2DTranspose)
    return [(layer.kernel_size, layer.strides, layer.padding) for layer in convolutions]


class MnistTest(tf.test.TestCase):
    def test_generator_of_appendix_b_4(self):
        model = _generator("gram_mnist", (28, 28, 1), 600, 100, "sigmoid")
        dense = _of(model, keras.layers.Dense)
        self.assertEqual([layer.units for layer in dense], [600, 600, 800, 784])
        activations = [layer.activation.__name__ for layer in dense]
        self.assertEqual(activations, 3 * ["relu"] + ["linear"])
        self.assertEqual(model.layers[-1].activation, keras.activations.sigmoid)
        self.assertEqual(model.count_params(), 101 * 600 + 601 * 600 + 601 * 800 + 801 * 784)

    def test_critic_of_table_3(self):
        model = _critic("gram_mnist", (28, 28, 1), 16, 100)
        self.assertEqual(_rows(model), list(_TABLE_3))
        self.assertEqual(_sizes_and_strides(model), 3 * [((3, 3), (1, 1), "same")])
        for layer in _of(model, keras.layers.MaxPooling2D):
            self.assertEqual((layer.pool_size, layer.strides), ((2, 2), (2, 2)))
        convolutions = 9 * (1 * 16 + 16 * 32 + 32 * 32)
        self.assertEqual(model.count_params(), convolutions + 4 * (16 + 32 + 32) + (288 + 1) * 100)
        plain = _critic("gram_mnist", (28, 28, 1), 16, 100, batch_norm=False)
        rest = [row for row in _TABLE_3 if row[0] != "BatchNormalization"]
        self.assertEqual(_rows(plain), rest)
        self.assertEqual(plain.count_params(), convolutions + (16 + 32 + 32) + (288 + 1) * 100)

    def test_critic_by_numpy(self):
        # The table's operations in float64, the odd last row and column of 7 and of 9 dropped.
        model = _critic("gram_mnist", (14, 9, 2), 2, 3)
        random = np.random.RandomState(0)
        for weight in model.weights:
            value = random.normal(size=weight.shape)
            weight.assign(1.0 + np.abs(value) if weight.name == "moving_variance" else value)
        images = random.uniform(-1.0, 1.0, size=(4, 14, 9, 2))
        x, weights = images, [np.asarray(weight, np.float64) for weight in model.weights]
        for kernel, gamma, beta, mean, variance in (weights[0:5], weights[5:10], weights[10:15]):
            height, width = x.shape[1:3]
            padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
            x = sum(
                padded[:, i : i + height, j : j + width] @ kernel[i, j] for i, j in np.ndindex(3, 3)
            )
            x = np.maximum(gamma * (x - mean) / np.sqrt(variance + 1e-5) + beta, 0.0)
            even = x[:, : height // 2 * 2, : width // 2 * 2]
            x = np.max([even[:, i::2, j::2] for i, j in np.ndindex(2, 2)], axis=0)
        self.assertEqual(x.shape, (4, 1, 1, 4))
        expected = x.reshape(4, 4) @ weights[15] + weights[16]
        self.assertAllClose(model(images.astype(np.float32)), expected, rtol=1e-4, atol=1e-4)

    def test_features_of_different_images_differ_without_batch_normalisation(self):
        # A small Gaussian kernel on features that are all alike sees nothing.
        keras.utils.set_random_seed(0)
        images = tf.random.stateless_uniform([16, 28, 28, 1], [1, 2])
        features = _critic("gram_mnist", (28, 28, 1), 16, 100, batch_norm=False)(images)
        distances = tf.norm(features[:, None] - features[None], axis=-1)
        self.assertGreater(tf.reduce_mean(distances), 0.1)


class DcganTest(parameterized.TestCase, tf.test.TestCase):
    @parameterized.parameters(*_TABLES_6_AND_7)
    def test_generator_of_table_5(self, name):
        model = _generator(name, (32, 32, 3), 32, 128)
        self.assertEqual(_rows(model), list(_TABLE_5))
        self.assertEqual(_sizes_and_strides(model), 3 * [((4, 4), (2, 2), "same")])
        linear = (128 + 1) * 2048
        deconvolutions = 16 * (128 * 64 + 64 * 32 + 32 * 3) + 3
        normalisations = 4 * (128 + 64 + 32)
        self.assertEqual(model.count_params(), linear + deconvolutions + normalisations)
        self.assertEqual(model.layers[-1].activation, keras.activations.tanh)
        # CelebA's 64 pixels start from 8 x 8 of the same 128 filters.
        large = _generator(name, (64, 64, 3), 32, 128)
        self.assertEqual(_rows(large)[1], ("Reshape", (8, 8, 128)))
        self.assertEqual(large.output_shape, (None, 64, 64, 3))

    @parameterized.parameters(*_TABLES_6_AND_7)
    def test_critics_of_tables_6_and_7(self, name):
        filters, inputs = _TABLES_6_AND_7[name]
        model = _critic(name, (32, 32, 3), 32, 128)
        expected = []
        for place, (side, count) in enumerate(zip((16, 8, 4), filters, strict=True)):
            kinds = ["Conv2D", "BatchNormalization", "LeakyReLU"]
            if place == 0:
                kinds.remove("BatchNormalization")
            expected += [(kind, (side, side, count)) for kind in kinds]
        expected += [("Flatten", (inputs,)), ("Dense", (128,))]
        self.assertEqual(_rows(model), expected)
        self.assertEqual(_sizes_and_strides(model), 3 * [((4, 4), (2, 2), "same")])
        slopes = [layer.negative_slope for layer in _of(model, keras.layers.LeakyReLU)]
        self.assertAllClose(slopes, 3 * [0.2])
        a, b, c = filters
        convolutions = 16 * (3 * a + a * b + b * c)
        linear = (inputs + 1) * 128
        self.assertEqual(model.count_params(), convolutions + a + 4 * (b + c) + linear)
        plain = _critic(name, (32, 32, 3), 32, 128, batch_norm=False)
        self.assertEqual(plain.count_params(), convolutions + a + b + c + linear)


class LiTest(parameterized.TestCase, tf.test.TestCase):
    @parameterized.parameters((16, (64, 128)), (32, (64, 128, 256)), (64, (64, 128, 256, 512)))
    def test_pair(self, size, filters):
        generator = _generator("li_dcgan", (size, size, 3), 64, 100)
        critic = _critic("li_dcgan", (size, size, 3), 64, 100)
        sides = [size // 2 ** (place + 1) for place in range(len(filters))]
        up, down = [("Reshape", (1, 1, 100))], []
        for place, (side, count) in enumerate(zip(sides, filters, strict=True)):
            kinds = ["Conv2D", "BatchNormalization", "LeakyReLU"]
            if place == 0:
                kinds.remove("BatchNormalization")
            down += [(kind, (side, side, count)) for kind in kinds]
        for side, count in zip(reversed(sides), reversed(filters), strict=True):
            kinds = ("Conv2DTranspose", "BatchNormalization", "ReLU")
            up += [(kind, (side, side, count)) for kind in kinds]
        image = (size, size, 3)
        self.assertEqual(_rows(generator), up + [("Conv2DTranspose", image), ("Activation", image)])
        self.assertEqual(_rows(critic), down + [("Conv2D", (1, 1, 100)), ("Flatten", (100,))])
        halves = len(filters) * [((4, 4), (2, 2), "same")]
        whole = [((4, 4), (1, 1), "valid")]
        self.assertEqual(_sizes_and_strides(generator), whole + halves)
        self.assertEqual(_sizes_and_strides(critic), halves + whole)
        self.assertEqual(_of(critic, keras.layers.Dense), [])
        slopes = [layer.negative_slope for layer in _of(critic, keras.layers.LeakyReLU)]
        self.assertAllClose(slopes, len(filters) * [0.2])
        # The kernels of the two mirror each other.
        chain = (3, *filters, 100)
        kernels = 16 * sum(a * b for a, b in zip(chain, chain[1:], strict=False))
        self.assertEqual(generator.count_params(), kernels + 3 + 4 * sum(filters))
        self.assertEqual(critic.count_params(), kernels + 64 + 4 * sum(filters[1:]) + 100)

    def test_the_totals_as_plain_numbers(self):
        # 64 pixels, 128 latents: DCGAN's 3,576,704 with the last layer's three biases.
        generator = _generator("li_dcgan", (64, 64, 3), 64, 100)
        trainable = sum(int(np.prod(weight.shape)) for weight in generator.trainable_weights)
        self.assertEqual(trainable, 3_576_704 + 3)

    def test_spectral_norm_of_the_last_convolution(self):
        # It sees its whole input at once: its operator norm is that of the reshaped kernel.
        critic = _critic("li_dcgan", (16, 16, 1), 2, 3, batch_norm=False, spectral="pico")
        layers.power_iterate(critic, 60)
        last = layers.spectral_layers(critic)[-1]
        kernel = np.asarray(last.kernel, np.float64).reshape(-1, 3)
        largest = np.linalg.svd(kernel, compute_uv=False)[0]
        self.assertAllClose(last.sigma(), largest, rtol=1e-4)


class KeepTest(parameterized.TestCase, tf.test.TestCase):
    @parameterized.product(
        name=("gram_mnist", "gram_dcgan", "gram_dcgan_weak", "li_dcgan"),
        spectral=("none", "gain"),
    )
    def test_keras_files(self, name, spectral):
        pair = (
            _generator(name, (16, 16, 1), 2, 5, dtype="mixed_bfloat16"),
            _critic(name, (16, 16, 1), 2, 3, spectral=spectral),
        )
        for index, model in enumerate(pair):
            path = os.path.join(self.get_temp_dir(), f"{index}.keras")
            model.save(path)
            loaded = keras.models.load_model(path)
            self.assertEqual([w.path for w in loaded.weights], [w.path for w in model.weights])
            inputs = tf.random.stateless_normal([2, *model.input_shape[1:]], [1, 2])
            self.assertAllEqual(loaded(inputs), model(inputs))


if __name__ == "__main__":
    tf.test.main()
