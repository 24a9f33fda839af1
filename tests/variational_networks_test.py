"""Encoders and Bernoulli decoders: the KernelNet paper's, and a pair for every network."""

import os

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from kgzoo import networks
from kgzoo.errors import UserError

# The smallest sizes; the first six have dense pairs.
_SHAPES = {
    "mlp": (2,),
    "mlp_two": (3,),
    "mlp_tanh": (2, 1),
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
_OUTPUTS, _LATENT_DIM = 6, 3


def _pair(name, shape=None, dtype="float32", widths=(3, 2), **sizes):
    return networks.get(name).variational(
        sample_shape=shape or _SHAPES[name],
        **{"outputs": _OUTPUTS, "latent_dim": _LATENT_DIM, **sizes},
        encoder_width=widths[0],
        decoder_width=widths[1],
        dtype=dtype,
    )


def _inputs(name, count=4):
    samples = tf.random.stateless_normal([count, *_SHAPES[name]], [1, 2])
    return samples, tf.random.stateless_normal([count, _LATENT_DIM], [3, 4])


def _dense_layers(model):
    """Units and activation of the dense layers, in order."""
    dense = [layer for layer in model.layers if isinstance(layer, keras.layers.Dense)]
    return [(layer.units, layer.activation.__name__) for layer in dense]


def _has_activation(layer):
    return isinstance(layer, (keras.layers.Activation, keras.layers.Dense, keras.layers.Conv2D))


class PaperTest(parameterized.TestCase, tf.test.TestCase):
    """Appendix G.2: one hidden layer of 400 units in both, 32 latents, 784 pixels."""

    @parameterized.parameters((32, 326_832), (64, 339_664))
    def test_sizes(self, outputs, encoder_parameters):
        encoder, decoder = _pair(
            "mlp_vae", (28, 28, 1), widths=(400, 400), outputs=outputs, latent_dim=32
        )
        self.assertEqual(_dense_layers(encoder), [(400, "relu"), (outputs, "linear")])
        self.assertEqual(_dense_layers(decoder), [(400, "relu"), (784, "linear")])
        # 784 * 400 + 400 + 400 * 32 + 32, the same with 64, and 32 * 400 + 400 + 400 * 784 + 784.
        self.assertEqual(encoder.count_params(), encoder_parameters)
        self.assertEqual(decoder.count_params(), 327_584)
        self.assertEqual(encoder.output_shape, (None, outputs))
        self.assertEqual(
            (decoder.input_shape, decoder.output_shape), ((None, 32), (None, 28, 28, 1))
        )

    def test_values_by_numpy(self):
        (samples, latents), (encoder, decoder) = _inputs("mlp_vae"), _pair("mlp_vae")
        for model, inputs in ((encoder, samples), (decoder, latents)):
            for weight in model.weights:  # Zero biases would hide one that is left out.
                weight.assign(tf.random.stateless_normal(weight.shape, [5, 6]))
            first, last = [layer for layer in model.layers if layer.weights]
            x = np.asarray(inputs, np.float64).reshape(4, -1)
            for layer in (first, last):
                kernel, bias = (np.asarray(weight, np.float64) for weight in layer.weights)
                x = (np.maximum(x, 0.0) if layer is last else x) @ kernel + bias
            outputs = model(inputs)
            self.assertAllClose(tf.reshape(outputs, [4, -1]), x, atol=1e-4)

    def test_the_two_widths_are_told_apart(self):
        encoder, decoder = _pair("mlp_vae", widths=(7, 5))
        self.assertEqual(_dense_layers(encoder)[0], (7, "relu"))
        self.assertEqual(_dense_layers(decoder)[0], (5, "relu"))

    def test_as_generator_and_critic(self):
        builders = networks.get("mlp_vae")
        shape = {"sample_shape": (28, 28, 1), "width": 400, "dtype": "float32"}
        generator = builders.generator(latent_dim=32, output_activation="sigmoid", **shape)
        critic = builders.critic(output_dim=16, spectral="pim", spectral_constant=1.0, **shape)
        self.assertEqual(_dense_layers(generator), [(400, "relu"), (784, "linear")])
        self.assertEqual(generator.layers[-1].activation.__name__, "sigmoid")
        kinds = [type(layer).__name__ for layer in critic.layers]
        self.assertEqual(kinds, ["InputLayer", "Flatten", "SpectralDense", "SpectralDense"])
        self.assertEqual([layer.units for layer in critic.layers[2:]], [400, 16])


class EveryNetworkTest(parameterized.TestCase, tf.test.TestCase):
    def test_all_are_here(self):
        self.assertCountEqual(networks.names(), _SHAPES)

    @parameterized.product(name=tuple(_SHAPES), dtype=("float32", "mixed_bfloat16"))
    def test_outputs_and_logits(self, name, dtype):
        (samples, latents), (encoder, decoder) = _inputs(name), _pair(name, dtype=dtype)
        self.assertEqual((encoder.name, decoder.name), ("encoder", "decoder_logits"))
        for training in (False, True):
            outputs = encoder(samples, training=training)
            self.assertEqual((outputs.shape, outputs.dtype), ((4, _OUTPUTS), tf.float32))
            logits = decoder(latents, training=training)
            self.assertEqual((logits.shape, logits.dtype), (samples.shape, tf.float32))
        for model in (encoder, decoder):  # After the last weights nothing but the identity.
            ends = [layer.activation.__name__ for layer in model.layers if _has_activation(layer)]
            self.assertEqual(ends[-1], "linear")
        # From different inputs, linear ends give both signs.
        for values in (encoder(1e4 * samples), decoder(1e4 * latents)):
            self.assertLess(tf.reduce_min(values), 0.0)
            self.assertGreater(tf.reduce_max(values), 0.0)
        weights = encoder.weights + decoder.weights
        self.assertEqual({weight.dtype for weight in weights}, {"float32"})

    @parameterized.parameters(*_SHAPES)
    def test_encoders_are_chains_without_state(self, name):
        encoder, _ = _pair(name)
        self.assertIsInstance(encoder.layers[0], keras.layers.InputLayer)
        for layer, following in zip(encoder.layers, encoder.layers[1:], strict=False):
            self.assertIs(following.input, layer.output)
        self.assertIs(encoder.layers[-1].output, encoder.outputs[0])
        samples, _ = _inputs(name)
        x = samples
        for layer in encoder.layers[1:]:
            x = layer(x, training=True)
        self.assertAllClose(x, encoder(samples, training=True), atol=1e-6)
        self.assertEqual(encoder.non_trainable_weights, [])

    @parameterized.parameters(*_SHAPES)
    def test_rows_do_not_depend_on_each_other(self, name):
        for model, inputs in zip(_pair(name), _inputs(name), strict=True):
            whole = model(inputs, training=False)
            self.assertGreater(tf.reduce_max(tf.abs(whole[0] - whole[1])), 0.0)
            for row in (0, 2):
                alone = model(inputs[row : row + 1], training=False)
                self.assertAllClose(alone[0], whole[row], atol=1e-5, rtol=1e-5)

    @parameterized.parameters("mlp_vae", "dcgan_small", "li_dcgan", "resnet")
    def test_keras_files(self, name):
        for model, inputs in zip(_pair(name), _inputs(name), strict=True):
            path = os.path.join(self.get_temp_dir(), f"{model.name}.keras")
            model.save(path)
            loaded = keras.models.load_model(path)
            self.assertEqual([w.path for w in loaded.weights], [w.path for w in model.weights])
            self.assertAllClose(loaded(inputs), model(inputs), atol=1e-6)

    def test_the_decoder_is_found_as_a_layer(self):
        _, decoder = _pair("mlp_vae")
        latents = keras.Input([_LATENT_DIM])
        whole = keras.Model(latents, keras.layers.Activation("sigmoid")(decoder(latents)))
        path = os.path.join(self.get_temp_dir(), "whole.keras")
        whole.save(path)
        found = keras.models.load_model(path).get_layer("decoder_logits")
        _, latents = _inputs("mlp_vae")
        self.assertAllClose(tf.sigmoid(found(latents)), whole(latents), atol=1e-6)

    @parameterized.parameters(*_CONVOLUTIONAL)
    def test_sizes_that_do_not_fit(self, name):
        with self.assertRaisesRegex(UserError, f"network='{name}'.*--config.image_size"):
            _pair(name, (9, 9, 1))

    @parameterized.parameters(*_DENSE)
    def test_dense_ones_take_any_shape(self, name):
        encoder, decoder = _pair(name, (9, 9, 1))
        self.assertEqual(_dense_layers(encoder), [(3, "relu"), (_OUTPUTS, "linear")])
        self.assertEqual(_dense_layers(decoder), [(2, "relu"), (81, "linear")])


if __name__ == "__main__":
    tf.test.main()
