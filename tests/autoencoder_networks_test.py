"""Perceptrons by their hidden layers, code generators, and an autoencoder for every network."""

import os

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from kgzoo import networks
from kgzoo.errors import UserError
from kgzoo.networks import autoencoder, blocks

# The smallest sizes; all but the first six have convolutional autoencoders.
_SHAPES = {
    "mlp": (2,),
    "mlp_two": (3,),
    "mlp_tanh": (2,),
    "mlp_vae": (4, 3, 1),
    "gmmn": (4, 3, 1),
    "gram_mnist": (8, 8, 1),
    "gram_dcgan": (8, 16, 3),
    "gram_dcgan_weak": (8, 8, 1),
    "li_dcgan": (16, 16, 3),
    "dcgan_small": (8, 4, 1),
    "sndcgan": (8, 8, 3),
    "dcgan64": (16, 16, 3),
    "dcgan_resnet": (32, 32, 3),
    "resnet": (16, 32, 3),
}
_DENSE = tuple(_SHAPES)[:6]
_CONVOLUTIONAL = tuple(_SHAPES)[6:]
# Of which no multiple nor power is a size.
_ODD = (9, 9, 1)


def _generator(name, shape, width, latent_dim=5):
    return networks.get(name).generator(
        latent_dim=latent_dim,
        sample_shape=shape,
        width=width,
        output_activation="linear",
        dtype="float32",
    )


def _critic(name, shape, width, output_dim):
    return networks.get(name).critic(
        sample_shape=shape,
        output_dim=output_dim,
        width=width,
        spectral="none",
        spectral_constant=1.0,
        dtype="float32",
    )


def _autoencoder(name, shape, code_dim=3, width=2, activation="sigmoid", dtype="float32"):
    return networks.get(name).autoencoder(
        sample_shape=shape,
        code_dim=code_dim,
        width=width,
        output_activation=activation,
        dtype=dtype,
    )


def _dense_layers(model):
    """Units and activation of the dense layers, in order."""
    dense = [layer for layer in model.layers if isinstance(layer, keras.layers.Dense)]
    return [(layer.units, layer.activation.__name__) for layer in dense]


def _output_activation(model):
    return model.layers[-1].activation.__name__


class PerceptronTest(parameterized.TestCase, tf.test.TestCase):
    """Hidden layers as the papers print them, at the papers' widths."""

    @parameterized.parameters(
        ("mlp", 128, 3 * [(128, "relu")]),
        ("mlp_two", 20, 2 * [(20, "relu")]),
        ("mlp_two", 200, 2 * [(200, "relu")]),
        ("mlp_tanh", 128, [(128, "relu"), (128, "relu"), (128, "tanh")]),
        ("gmmn", 64, [(64, "relu"), (256, "relu"), (256, "relu"), (1024, "relu")]),
    )
    def test_generators(self, name, width, hidden):
        model = _generator(name, (2,), width)
        self.assertEqual(_dense_layers(model), [*hidden, (2, "linear")])
        self.assertEqual(_output_activation(model), "linear")

    @parameterized.parameters(
        # GRAM's critic of the rings, 2-100-100-10.
        ("mlp_two", 100, [100, 100]),
        ("mlp", 128, [128, 128, 128]),
        ("mlp_tanh", 128, [128, 128, 128]),
        ("gmmn", 64, [256, 256, 256]),
    )
    def test_critics(self, name, width, hidden):
        model = _critic(name, (2,), width, 10)
        expected = [*((units, "relu") for units in hidden), (10, "linear")]
        self.assertEqual(_dense_layers(model), expected)

    def test_gmmn_for_mnist(self):
        model = _generator("gmmn", (28, 28, 1), 64, latent_dim=10)
        parameters = 11 * 64 + 65 * 256 + 257 * 256 + 257 * 1024 + 1025 * 784
        self.assertEqual(model.count_params(), parameters)
        self.assertEqual(model.output_shape, (None, 28, 28, 1))

    def test_mlp_keeps_its_weights(self):
        # The chains written out: a run of an earlier version goes on as it was.
        keras.utils.set_random_seed(7)
        generator, critic = _generator("mlp", (2,), 6), _critic("mlp", (2,), 6, 4)
        keras.utils.set_random_seed(7)
        relu = {"activation": "relu", "kernel_initializer": "he_normal"}
        hidden = [keras.layers.Dense(6, **relu) for _ in range(3)]
        expected = [keras.Sequential([keras.Input([5]), *hidden, keras.layers.Dense(2)])]
        option = blocks.SpectralOption("none", 1.0, "float32")
        hidden = [option.dense(6, **relu) for _ in range(3)]
        last = option.dense(4, kernel_initializer="glorot_normal")
        expected.append(keras.Sequential([keras.Input([2]), *hidden, last]))
        for model, other, size in zip((generator, critic), expected, (5, 2), strict=True):
            self.assertLen(model.weights, len(other.weights))
            for weight, same in zip(model.weights, other.weights, strict=True):
                self.assertAllEqual(weight, same)
            inputs = tf.random.stateless_normal([8, size], [1, 2])
            self.assertAllClose(model(inputs), other(inputs), atol=1e-6)


class CodeGeneratorTest(tf.test.TestCase):
    def test_fc_fs_of_the_paper(self):
        model = autoencoder.code_generator(latent_dim=10, code_dim=32, width=64, dtype="float32")
        hidden = [(64, "relu"), (256, "relu"), (256, "relu")]
        self.assertEqual(_dense_layers(model), [*hidden, (32, "linear")])
        self.assertEqual(_output_activation(model), "sigmoid")
        self.assertEqual(model.count_params(), 11 * 64 + 65 * 256 + 257 * 256 + 257 * 32)
        self.assertEqual(model.name, "code_generator")

    def test_codes(self):
        model = autoencoder.code_generator(
            latent_dim=4, code_dim=3, width=2, dtype="mixed_bfloat16"
        )
        codes = model(100.0 * tf.random.stateless_normal([50, 4], [1, 2]))
        self.assertEqual((codes.shape, codes.dtype), ((50, 3), tf.float32))
        self.assertAllInRange(codes, 0.0, 1.0)


class DenseTest(tf.test.TestCase):
    def test_layers_of_the_paper(self):
        # 784-1024-sigmoid-32-sigmoid, then 32-sigmoid-1024-sigmoid-784.
        encoder, decoder = _autoencoder("gmmn", (28, 28, 1), 32, 64)
        self.assertEqual(_dense_layers(encoder), [(1024, "sigmoid"), (32, "linear")])
        self.assertEqual(_output_activation(encoder), "sigmoid")
        self.assertEqual(encoder.count_params(), 785 * 1024 + 1025 * 32)
        self.assertEqual(
            _dense_layers(decoder), [(32, "sigmoid"), (1024, "sigmoid"), (784, "linear")]
        )
        self.assertEqual(decoder.count_params(), 33 * 32 + 33 * 1024 + 1025 * 784)

    def test_values_by_numpy(self):
        encoder, decoder = _autoencoder("mlp", (3, 2), 2, 1, activation="linear")

        def sigmoid(x):
            return 1.0 / (1.0 + np.exp(-x))

        samples = np.random.RandomState(0).normal(size=(5, 3, 2))
        x = samples.reshape(5, 6)
        for layer in encoder.layers[2:4]:
            kernel, bias = (np.asarray(weight, np.float64) for weight in layer.weights)
            x = sigmoid(x @ kernel + bias)
        codes = encoder(samples.astype(np.float32))
        self.assertAllClose(codes, x, atol=1e-5)
        *hidden, last = [layer for layer in decoder.layers if layer.weights]
        for layer in hidden:
            kernel, bias = (np.asarray(weight, np.float64) for weight in layer.weights)
            x = sigmoid(x @ kernel + bias)
        kernel, bias = (np.asarray(weight, np.float64) for weight in last.weights)
        self.assertAllClose(decoder(codes), (x @ kernel + bias).reshape(5, 3, 2), atol=1e-5)


class EveryNetworkTest(parameterized.TestCase, tf.test.TestCase):
    def test_all_are_here(self):
        self.assertCountEqual(networks.names(), _SHAPES)

    @parameterized.product(name=tuple(_SHAPES), dtype=("float32", "mixed_bfloat16"))
    def test_codes_and_examples(self, name, dtype):
        shape = _SHAPES[name]
        encoder, decoder = _autoencoder(name, shape, dtype=dtype)
        self.assertEqual((encoder.name, decoder.name), ("encoder", "decoder"))
        samples = 50.0 * tf.random.stateless_normal([4, *shape], [1, 2])
        for training in (False, True):
            codes = encoder(samples, training=training)
            self.assertEqual((codes.shape, codes.dtype), ((4, 3), tf.float32))
            self.assertAllInRange(codes, 0.0, 1.0)
            again = decoder(codes, training=training)
            self.assertEqual((again.shape, again.dtype), (samples.shape, tf.float32))
            self.assertAllInRange(again, 0.0, 1.0)
        self.assertEqual(_output_activation(encoder), "sigmoid")
        self.assertEqual({weight.dtype for weight in encoder.weights}, {"float32"})

    @parameterized.parameters(*_SHAPES)
    def test_encoders_are_chains_without_normalisation(self, name):
        encoder, _ = _autoencoder(name, _SHAPES[name])
        self.assertIsInstance(encoder.layers[0], keras.layers.InputLayer)
        for layer, following in zip(encoder.layers, encoder.layers[1:], strict=False):
            self.assertIs(following.input, layer.output)
        self.assertIs(encoder.layers[-1].output, encoder.outputs[0])
        # One layer after another, and no state of its own anywhere.
        samples = x = tf.random.stateless_normal([3, *_SHAPES[name]], [1, 2])
        for layer in encoder.layers[1:]:
            x = layer(x, training=True)
        self.assertAllClose(x, encoder(samples, training=True), atol=1e-6)
        self.assertEqual(encoder.non_trainable_weights, [])
        self.assertNotIn("Spectral", " ".join(type(layer).__name__ for layer in encoder.layers))

    @parameterized.parameters(*_CONVOLUTIONAL)
    def test_convolutional_ones_are_made_of_the_pair(self, name):
        shape = _SHAPES[name]
        encoder, decoder = _autoencoder(name, shape, activation="linear")
        # Shortcuts are no chain: the residual pair borrows a critic for the same sizes.
        critic = _critic("dcgan64" if name == "resnet" else name, shape, 2, 3)
        generator = _generator(name, shape, 2, latent_dim=3)
        for model, other in ((encoder, critic), (decoder, generator)):
            self.assertEqual([w.shape for w in model.weights], [w.shape for w in other.weights])
        self.assertEqual(_output_activation(decoder), "linear")
        kinds = [type(layer) for layer in critic.layers]
        self.assertEqual([type(layer) for layer in encoder.layers[:-1]], kinds)

    @parameterized.parameters("mlp", "dcgan_small", "resnet", "li_dcgan")
    def test_keras_files(self, name):
        samples = tf.random.stateless_normal([3, *_SHAPES[name]], [1, 2])
        encoder, decoder = _autoencoder(name, _SHAPES[name])
        for model, inputs in ((encoder, samples), (decoder, encoder(samples))):
            path = os.path.join(self.get_temp_dir(), f"{model.name}.keras")
            model.save(path)
            loaded = keras.models.load_model(path)
            self.assertEqual([w.path for w in loaded.weights], [w.path for w in model.weights])
            self.assertAllEqual(loaded(inputs), model(inputs))

    @parameterized.parameters(*_CONVOLUTIONAL)
    def test_sizes_that_do_not_fit(self, name):
        with self.assertRaisesRegex(UserError, f"network='{name}'.*--config.image_size"):
            _autoencoder(name, _ODD)

    @parameterized.parameters(*_DENSE)
    def test_dense_ones_take_any_shape(self, name):
        encoder, decoder = _autoencoder(name, _ODD)
        self.assertEqual(decoder(encoder(np.ones((2, *_ODD), np.float32))).shape, (2, *_ODD))


class TrainingTest(tf.test.TestCase):
    def test_learns_codes(self):
        # Points on a circle need both coordinates: a constant leaves a mean squared error of 1/2.
        keras.utils.set_random_seed(0)
        encoder, decoder = _autoencoder("mlp", (2,), 2, 1, activation="linear")
        angles = 2.0 * np.pi * tf.random.stateless_uniform([256], [1, 2])
        samples = tf.stack([tf.cos(angles), tf.sin(angles)], axis=1)
        variables = encoder.trainable_variables + decoder.trainable_variables
        optimizer = keras.optimizers.Adam(0.02)
        optimizer.build(variables)

        @tf.function
        def step():
            with tf.GradientTape() as tape:
                again = decoder(encoder(samples, training=True), training=True)
                loss = tf.reduce_mean(tf.square(again - samples))
            gradients = tape.gradient(loss, [variable.value for variable in variables])
            optimizer.apply(gradients, variables)
            return loss

        start = step()
        for _ in range(500):
            end = step()
        self.assertGreater(start, 0.3)
        self.assertLess(end, 0.05)


if __name__ == "__main__":
    tf.test.main()
