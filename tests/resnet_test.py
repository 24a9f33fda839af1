"""The residual networks of the SMMD paper against hand counts and a NumPy forward pass."""

import os

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from kgzoo import layers, networks

_CONVOLUTIONS = (keras.layers.Conv2D, keras.layers.Conv2DTranspose)


def _generator(name, size, width, latent_dim=128, activation="sigmoid", channels=3):
    return networks.get(name).generator(
        latent_dim=latent_dim,
        sample_shape=(size, size, channels),
        width=width,
        output_activation=activation,
        dtype="float32",
    )


def _critic(name, size, width, output_dim=1, spectral="none", dtype="float32", **options):
    return networks.get(name).critic(
        sample_shape=(size, size, 3),
        output_dim=output_dim,
        width=width,
        spectral=spectral,
        spectral_constant=1.0,
        dtype=dtype,
        **options,
    )


def _conv(kernel, inputs, outputs, bias=True):
    return kernel * kernel * inputs * outputs + (outputs if bias else 0)


def _main_path(model):
    """Dense layers and convolutions, without the 1x1 ones of the shortcuts."""
    kinds = (keras.layers.Dense, *_CONVOLUTIONS)
    found = [layer for layer in model.layers if isinstance(layer, kinds)]
    return [layer for layer in found if getattr(layer, "kernel_size", None) != (1, 1)]


def _trainable(model):
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


class CountTest(tf.test.TestCase):
    """At the paper's width and sizes; 128 latents, one output."""

    def test_imagenet_generator(self):
        model = _generator("resnet", 64, 64)
        parameters = (128 + 1) * 4 * 4 * 1024
        channels = 0  # of all batch normalisations
        for inputs, outputs in ((1024, 512), (512, 256), (256, 128), (128, 64)):
            # The first convolution of a block has no bias: batch normalisation follows it.
            parameters += _conv(3, inputs, outputs, bias=False) + _conv(3, outputs, outputs)
            parameters += _conv(1, inputs, outputs)
            channels += inputs + outputs
        channels += 64
        parameters += _conv(3, 64, 3)
        self.assertEqual(model.count_params(), parameters + 4 * channels)
        self.assertEqual(model.count_params(), 12_225_603)
        self.assertEqual(_trainable(model), parameters + 2 * channels)
        self.assertEqual(model.output_shape, (None, 64, 64, 3))
        self.assertLen(_main_path(model), 10)

    def test_imagenet_critic(self):
        model = _critic("resnet", 64, 64, spectral="gain")
        parameters = _conv(3, 3, 64)
        for inputs, outputs in ((64, 128), (128, 256), (256, 512), (512, 1024)):
            parameters += _conv(3, inputs, inputs) + _conv(3, inputs, outputs)
            parameters += _conv(1, inputs, outputs)
        parameters += 1024 + 1
        self.assertEqual(_trainable(model), parameters + 14)  # one gain a layer
        self.assertEqual(parameters, 10_104_257)
        self.assertEqual(model.output_shape, (None, 1))
        self.assertLen(_main_path(model), 10)
        self.assertLen(layers.spectral_layers(model), 14)

    def test_celeba_generator(self):
        model = _generator("dcgan_resnet", 160, 64)
        parameters = (128 + 1) * 5 * 5 * 1024
        for inputs, outputs in ((1024, 512), (512, 256), (256, 128), (128, 64)):
            parameters += _conv(3, inputs, outputs) + _conv(3, outputs, outputs)
            parameters += _conv(1, inputs, outputs)
        parameters += _conv(5, 64, 3)
        # One batch normalisation, before the last layer.
        self.assertEqual(model.count_params(), parameters + 4 * 64)
        self.assertEqual(model.count_params(), 13_406_979)
        self.assertEqual(_trainable(model), parameters + 2 * 64)
        self.assertEqual(model.output_shape, (None, 160, 160, 3))
        path = _main_path(model)
        self.assertLen(path, 10)
        self.assertIsInstance(path[-1], keras.layers.Conv2DTranspose)
        sides = [layer.output.shape[1] for layer in path[1:]]
        self.assertEqual(sides, [10, 10, 20, 20, 40, 40, 80, 80, 160])

    def test_celeba_critic(self):
        model = _critic("dcgan_resnet", 160, 64)
        filters = (3, 64, 128, 256, 512, 1024)
        parameters = sum(_conv(5, *pair) for pair in zip(filters, filters[1:], strict=False))
        parameters += 5 * 5 * 1024 + 1
        self.assertEqual(model.count_params(), parameters)
        self.assertEqual(model.count_params(), 17_440_385)
        self.assertLen(_main_path(model), 6)
        for layer in _main_path(model)[:-1]:
            self.assertEqual((layer.kernel_size, layer.strides), ((5, 5), (2, 2)))
        slopes = [x.negative_slope for x in model.layers if isinstance(x, keras.layers.LeakyReLU)]
        self.assertAllClose(slopes, 5 * [0.2])


def _randomise(model, seed=0):
    """Gives every weight, moving statistics included, a random value; variances are positive."""
    random = np.random.RandomState(seed)
    for weight in model.weights:
        value = 0.3 * random.normal(size=weight.shape)
        weight.assign(1.0 + np.abs(value) if weight.name == "moving_variance" else value)


def _relu(x):
    return np.maximum(x, 0.0)


class _Weights:
    """Takes a model's layers of one kind after another, in the order they were made."""

    def __init__(self, model):
        def made(layer):
            # Keras counts the layers of one kind: conv2d, conv2d_1, conv2d_2 ...
            return int(digits) if (digits := layer.name.rpartition("_")[2]).isdigit() else 0

        self.left = sorted(model.layers, key=made)

    def _next(self, *kinds):
        layer = next(layer for layer in self.left if isinstance(layer, kinds))
        self.left.remove(layer)
        return [np.asarray(weight, np.float64) for weight in layer.weights]

    def dense(self, x):
        kernel, bias = self._next(keras.layers.Dense)
        return x @ kernel + bias

    def conv(self, x):
        """Stride 1, zeros around the image."""
        kernel, *bias = self._next(keras.layers.Conv2D)
        reach = len(kernel) // 2
        padded = np.pad(x, ((0, 0), (reach, reach), (reach, reach), (0, 0)))
        height, width = x.shape[1:3]
        total = sum(
            padded[:, i : i + height, j : j + width] @ kernel[i, j]
            for i, j in np.ndindex(*kernel.shape[:2])
        )
        return total + (bias[0] if bias else 0.0)

    def deconv(self, x):
        """5x5 stride 2: every pixel stamps the kernel; one row is cut off before, two after."""
        kernel, bias = self._next(keras.layers.Conv2DTranspose)
        n, height, width, _ = x.shape
        canvas = np.zeros((n, 2 * height + 3, 2 * width + 3, kernel.shape[2]))
        for i, j in np.ndindex(5, 5):
            canvas[:, i : i + 2 * height : 2, j : j + 2 * width : 2] += x @ kernel[i, j].T
        return canvas[:, 1:-2, 1:-2] + bias

    def normalise(self, x):
        gamma, beta, mean, variance = self._next(keras.layers.BatchNormalization)
        return gamma * (x - mean) / np.sqrt(variance + 1e-5) + beta


def _twice(x):
    return x.repeat(2, axis=1).repeat(2, axis=2)


def _half(x):
    return (x[:, ::2, ::2] + x[:, 1::2, ::2] + x[:, ::2, 1::2] + x[:, 1::2, 1::2]) / 4.0


class ForwardTest(parameterized.TestCase, tf.test.TestCase):
    """The networks written out as in Gulrajani et al. (2017), float64."""

    @parameterized.parameters("resnet", "dcgan_resnet")
    def test_generator(self, name):
        model = _generator(name, 32, 2, latent_dim=3, activation="linear", channels=2)
        _randomise(model)
        latents = np.random.RandomState(1).normal(size=(2, 3))
        take = _Weights(model)
        normalise = take.normalise if name == "resnet" else lambda x: x
        side = {"resnet": 2, "dcgan_resnet": 1}[name]
        x = take.dense(latents).reshape(2, side, side, 32)
        for _ in range(4):
            shortcut = take.conv(_twice(x))
            x = take.conv(_twice(_relu(normalise(x))))
            x = shortcut + take.conv(_relu(normalise(x)))
        x = _relu(take.normalise(x))
        x = take.conv(x) if name == "resnet" else take.deconv(x)
        self.assertEqual(x.shape, (2, 32, 32, 2))
        self.assertGreater(np.abs(x).max(), 0.1)
        scale = np.abs(x).max()
        self.assertAllClose(model(latents.astype(np.float32)) / scale, x / scale, atol=1e-5)

    def test_critic(self):
        # 32 pixels leave 2x2 positions to sum over.
        model = _critic("resnet", 32, 2, output_dim=3)
        _randomise(model)
        images = np.random.RandomState(1).uniform(size=(2, 32, 32, 3))
        take = _Weights(model)
        x = take.conv(images)
        for _ in range(4):
            shortcut = take.conv(_half(x))
            x = take.conv(_relu(x))
            x = shortcut + _half(take.conv(_relu(x)))
        features = take.dense(_relu(x).sum(axis=(1, 2)))
        self.assertAllClose(model(images.astype(np.float32)), features, rtol=1e-4)

    def test_one_set_of_weights_serves_every_size(self):
        small, large = _critic("resnet", 16, 2), _critic("resnet", 32, 2)
        self.assertEqual([w.shape for w in small.weights], [w.shape for w in large.weights])


class TrainingTest(parameterized.TestCase, tf.test.TestCase):
    @parameterized.product(
        name=("resnet", "dcgan_resnet"),
        spectral=("none", "pico", "gain"),
        dtype=("float32", "mixed_bfloat16"),
    )
    def test_gradients_of_the_input_gradient_reach_every_kernel(self, name, spectral, dtype):
        # What the scaled losses and the gradient penalties need, mean pooling and shortcuts too.
        critic = _critic(name, 32, 2, spectral=spectral, dtype=dtype)
        for index, weight in enumerate(critic.trainable_weights):
            if weight.name != "gain":
                weight.assign(tf.random.stateless_normal(weight.shape, [1, index], stddev=0.3))
        layers.power_iterate(critic, 2)
        images = tf.random.stateless_uniform([2, 32, 32, 3], [1, 2])
        variables = critic.trainable_variables
        with tf.GradientTape() as outer:
            with tf.GradientTape() as inner:
                inner.watch(images)
                total = tf.reduce_sum(critic(images, training=True))
            penalty = tf.reduce_sum(tf.square(inner.gradient(total, images)))
        gradients = outer.gradient(penalty, [variable.value for variable in variables])
        for variable, gradient in zip(variables, gradients, strict=True):
            if variable.name in ("kernel", "gain"):
                gradient = tf.convert_to_tensor(gradient).numpy()
                self.assertTrue(np.isfinite(gradient).all(), variable.path)
                self.assertGreater(np.abs(gradient).max(), 0.0, variable.path)

    @parameterized.parameters("resnet", "dcgan_resnet")
    def test_keras_files(self, name):
        generator = _generator(name, 32, 2, latent_dim=3)
        critic = _critic(name, 32, 2, spectral="gain", dtype="mixed_bfloat16")
        latents = tf.random.stateless_normal([2, 3], [1, 2])
        for index, model in enumerate((generator, critic)):
            _randomise(model, index)
            path = os.path.join(self.get_temp_dir(), f"{index}.keras")
            model.save(path)
            loaded = keras.models.load_model(path)
            self.assertEqual([w.path for w in loaded.weights], [w.path for w in model.weights])
            inputs = latents if model is generator else generator(latents)
            self.assertAllEqual(loaded(inputs), model(inputs))


if __name__ == "__main__":
    tf.test.main()
