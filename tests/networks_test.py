"""Networks against the repulsive paper's Tables S1 and S2, and what every network promises.

The residual networks have tests of their own, resnet_test.py, and so have the GRAM paper's and
Li et al.'s, gram_networks_test.py.
"""

import os

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from kgzoo import layers, networks
from kgzoo.errors import UserError
from kgzoo.networks import blocks

# Table S1(b) at its width: kernel size, stride, filters; LReLU after each.
_CRITIC = (
    (3, 1, 64),
    (4, 2, 128),
    (3, 1, 128),
    (4, 2, 256),
    (3, 1, 256),
    (4, 2, 512),
    (3, 1, 512),
)
# Table S2(b): two more.
_CRITIC_64 = (*_CRITIC, (4, 2, 1024), (3, 1, 1024))
# The smallest sizes, not square where that costs nothing.
_SHAPES = {
    "sndcgan": (16, 8, 3),
    "dcgan_small": (8, 12, 1),
    "mlp": (2,),
    "dcgan64": (16, 32, 3),
    "dcgan_resnet": (32, 32, 3),
    "resnet": (16, 32, 3),
    "mlp_two": (3,),
    "mlp_vae": (4, 3, 1),
    "mlp_tanh": (2, 1),
    "gmmn": (4, 3, 1),
    "gram_mnist": (8, 9, 1),
    "gram_dcgan": (8, 16, 3),
    "gram_dcgan_weak": (16, 8, 1),
    "li_dcgan": (16, 16, 3),
}
# Layers that spectral normalisation covers; the last four of resnet's are shortcuts.
_LAYERS = {
    "sndcgan": 8,
    "dcgan_small": 4,
    "mlp": 4,
    "mlp_vae": 2,
    "dcgan64": 10,
    "dcgan_resnet": 6,
    "resnet": 14,
    "mlp_two": 3,
    "mlp_tanh": 4,
    "gmmn": 4,
    "gram_mnist": 4,
    "gram_dcgan": 4,
    "gram_dcgan_weak": 4,
    "li_dcgan": 3,
}
_each_network = parameterized.parameters(*_SHAPES)


def _generator(name, shape, width=2, activation="sigmoid", dtype="float32", latent_dim=5):
    return networks.get(name).generator(
        latent_dim=latent_dim,
        sample_shape=shape,
        width=width,
        output_activation=activation,
        dtype=dtype,
    )


def _critic(
    name,
    shape,
    width=2,
    output_dim=3,
    spectral="none",
    constant=1.0,
    dtype="float32",
    **options,
):
    return networks.get(name).critic(
        sample_shape=shape,
        output_dim=output_dim,
        width=width,
        spectral=spectral,
        spectral_constant=constant,
        dtype=dtype,
        **options,
    )


def _kinds(model):
    return [type(layer).__name__ for layer in model.layers]


class TableS1Test(parameterized.TestCase, tf.test.TestCase):
    @parameterized.parameters(32, 48)
    def test_generator(self, size):
        model = _generator("sndcgan", (size, size, 3), 64, "tanh", latent_dim=128)
        side = {32: 4, 48: 6}[size]
        dense = (128 + 1) * side * side * 512
        deconvolutions = 4 * 4 * (512 * 256 + 256 * 128 + 128 * 64)
        channels = 256 + 128 + 64  # Batch normalisation: gamma and beta, mean and variance.
        last = 3 * 3 * 64 * 3 + 3
        self.assertEqual(model.count_params(), dense + deconvolutions + 4 * channels + last)
        trainable = sum(int(np.prod(w.shape)) for w in model.trainable_weights)
        self.assertEqual(trainable, dense + deconvolutions + 2 * channels + last)
        self.assertEqual(model.input_shape, (None, 128))
        self.assertEqual(model.output_shape, (None, size, size, 3))
        up = ["Conv2DTranspose", "BatchNormalization", "ReLU"]
        start, end = ["InputLayer", "Dense", "Reshape"], ["Conv2D", "Activation"]
        self.assertEqual(_kinds(model), start + 3 * up + end)
        found = [l_ for l_ in model.layers if isinstance(l_, keras.layers.Conv2DTranspose)]
        sizes = [layer.output.shape[1:] for layer in found]
        self.assertEqual(
            sizes, [(2 * side,) * 2 + (256,), (4 * side,) * 2 + (128,), (8 * side,) * 2 + (64,)]
        )
        for layer in found:
            self.assertEqual((layer.kernel_size, layer.strides), ((4, 4), (2, 2)))
        self.assertEqual(model.layers[1].activation, keras.activations.linear)
        self.assertEqual(model.layers[-1].activation, keras.activations.tanh)

    @parameterized.product(size=(32, 48), outputs=(1, 16))
    def test_critic(self, size, outputs):
        model = _critic("sndcgan", (size, size, 3), 64, outputs)
        side = {32: 4, 48: 6}[size]
        parameters, channels = 0, 3
        for kernel, _, filters in _CRITIC:
            parameters += kernel * kernel * channels * filters + filters
            channels = filters
        parameters += side * side * 512 * outputs + outputs
        self.assertEqual(model.count_params(), parameters)
        self.assertEqual(model.output_shape, (None, outputs))
        self.assertEqual(
            _kinds(model), ["InputLayer"] + 7 * ["Conv2D", "LeakyReLU"] + ["Flatten", "Dense"]
        )
        for layer, (kernel, stride, filters) in zip(model.layers[1:-2:2], _CRITIC, strict=True):
            self.assertEqual(layer.kernel_size, (kernel, kernel))
            self.assertEqual((layer.strides, layer.filters), ((stride, stride), filters))
            self.assertTrue(layer.use_bias)
        for layer in model.layers[2:-2:2]:
            self.assertAlmostEqual(layer.negative_slope, 0.1)
        self.assertEqual(model.layers[-1].activation, keras.activations.linear)
        self.assertEqual(model.layers[-2].output.shape, (None, side * side * 512))

    def test_the_printed_totals(self):
        # The same sums once more as plain numbers: 32 x 32 x 3, one output.
        self.assertEqual(_critic("sndcgan", (32, 32, 3), 64, 1).count_params(), 5_860_865)
        generator = _generator("sndcgan", (32, 32, 3), 64, "tanh", latent_dim=128)
        self.assertEqual(generator.count_params(), 3_812_803)


class TableS2Test(parameterized.TestCase, tf.test.TestCase):
    def test_generator(self):
        model = _generator("dcgan64", (64, 64, 3), 64, "tanh", latent_dim=128)
        dense = (128 + 1) * 4 * 4 * 1024
        deconvolutions = 4 * 4 * (1024 * 512 + 512 * 256 + 256 * 128 + 128 * 64)
        channels = 512 + 256 + 128 + 64
        last = 3 * 3 * 64 * 3 + 3
        self.assertEqual(model.count_params(), dense + deconvolutions + 4 * channels + last)
        self.assertEqual(model.count_params(), 13_260_227)
        trainable = sum(int(np.prod(w.shape)) for w in model.trainable_weights)
        self.assertEqual(trainable, dense + deconvolutions + 2 * channels + last)
        self.assertEqual(model.output_shape, (None, 64, 64, 3))
        up = ["Conv2DTranspose", "BatchNormalization", "ReLU"]
        start, end = ["InputLayer", "Dense", "Reshape"], ["Conv2D", "Activation"]
        self.assertEqual(_kinds(model), start + 4 * up + end)
        found = [l_ for l_ in model.layers if isinstance(l_, keras.layers.Conv2DTranspose)]
        for layer, side, filters in zip(found, (8, 16, 32, 64), (512, 256, 128, 64), strict=True):
            self.assertEqual(layer.output.shape, (None, side, side, filters))
            self.assertEqual((layer.kernel_size, layer.strides), ((4, 4), (2, 2)))

    def test_critic(self):
        model = _critic("dcgan64", (64, 64, 3), 64, 16)
        parameters, channels = 0, 3
        for kernel, _, filters in _CRITIC_64:
            parameters += kernel * kernel * channels * filters + filters
            channels = filters
        # The table prints 4x4x512 before the dense layer.
        parameters += 4 * 4 * 1024 * 16 + 16
        self.assertEqual(model.count_params(), parameters)
        self.assertEqual(model.count_params(), 23_942_672)
        self.assertEqual(
            _kinds(model), ["InputLayer"] + 9 * ["Conv2D", "LeakyReLU"] + ["Flatten", "Dense"]
        )
        for layer, (kernel, stride, filters) in zip(model.layers[1:-2:2], _CRITIC_64, strict=True):
            self.assertEqual(layer.kernel_size, (kernel, kernel))
            self.assertEqual((layer.strides, layer.filters), ((stride, stride), filters))
        for layer in model.layers[2:-2:2]:
            self.assertAlmostEqual(layer.negative_slope, 0.1)
        self.assertEqual(model.layers[-2].output.shape, (None, 4 * 4 * 1024))
        self.assertEqual(model.output_shape, (None, 16))


class OutputTest(parameterized.TestCase, tf.test.TestCase):
    @parameterized.product(
        name=tuple(_SHAPES),
        activation=(("sigmoid", 0.0, 1.0), ("tanh", -1.0, 1.0), ("linear", None, None)),
    )
    def test_shape_and_range(self, name, activation):
        activation, low, high = activation
        model, shape = _generator(name, _SHAPES[name], 4, activation), _SHAPES[name]
        for index, weight in enumerate(model.trainable_weights):
            weight.assign(tf.random.stateless_normal(weight.shape, [1, index], stddev=2.0))
        images = model(200.0 * tf.random.stateless_normal([64, 5], [3, 4])).numpy()
        self.assertEqual((images.shape, images.dtype), ((64, *shape), np.float32))
        if low is None:
            self.assertGreater(np.abs(images).max(), 2.0)
        else:
            # Saturated latents reach both ends and never pass them.
            self.assertAllInRange(images, low, high)
            self.assertAllClose((images.min(), images.max()), (low, high), atol=0.05)

    @_each_network
    def test_mixed_bfloat16(self, name):
        generator = _generator(name, _SHAPES[name], dtype="mixed_bfloat16")
        samples = generator(tf.random.stateless_normal([3, 5], [1, 2]), training=True)
        self.assertEqual(samples.dtype, tf.float32)
        for spectral in ("none", "pico"):
            critic = _critic(name, _SHAPES[name], spectral=spectral, dtype="mixed_bfloat16")
            self.assertEqual(critic(samples, training=True).dtype, tf.float32)
            dtypes = {w.dtype for w in critic.weights + generator.weights}
            self.assertEqual(dtypes, {"float32"})
            # All but the last layer do compute in bfloat16.
            *inner, last = [layer for layer in critic.layers if layer.weights]
            self.assertEqual({layer.compute_dtype for layer in inner}, {"bfloat16"})
            self.assertEqual(last.compute_dtype, "float32")

    @parameterized.parameters(
        ("sndcgan", (8, 8, 1)),
        ("sndcgan", (24, 16, 3)),
        ("dcgan_small", (4, 4, 1)),
        ("dcgan_small", (28, 28, 1)),
        ("dcgan_small", (12, 8, 3)),
        ("mlp", (2,)),
        ("mlp", (5, 3, 1)),
        ("dcgan64", (16, 16, 3)),
        ("dcgan64", (48, 32, 1)),
        ("dcgan_resnet", (32, 64, 1)),
        ("dcgan_resnet", (160, 160, 3)),
        ("resnet", (16, 16, 1)),
        ("resnet", (64, 48, 3)),
        ("mlp_tanh", (4, 5)),
        ("gmmn", (28, 28, 1)),
        ("gram_mnist", (28, 28, 1)),
        ("gram_mnist", (15, 9, 3)),
        ("gram_dcgan", (64, 64, 3)),
        ("gram_dcgan_weak", (24, 16, 1)),
        ("li_dcgan", (32, 32, 1)),
    )
    def test_shapes(self, name, shape):
        samples = _generator(name, shape)(np.zeros((2, 5), np.float32))
        self.assertEqual(samples.shape, (2, *shape))
        self.assertEqual(_critic(name, shape)(samples).shape, (2, 3))

    def test_small_dcgan(self):
        # Latents to 4 x base, two 4x4 deconvolutions of stride 2, a 3x3 convolution to the image.
        generator, critic = (
            _generator("dcgan_small", (8, 12, 1)),
            _critic("dcgan_small", (8, 12, 1)),
        )
        dense = (5 + 1) * 2 * 3 * 8
        deconvolutions = 4 * 4 * (8 * 4 + 4 * 2)
        normalisations = 4 * (8 + 4 + 2)
        last = 3 * 3 * 2 * 1 + 1
        self.assertEqual(generator.count_params(), dense + deconvolutions + normalisations + last)
        convolutions = (9 * 1 * 2 + 2) + (16 * 2 * 4 + 4) + (16 * 4 * 8 + 8)
        self.assertEqual(critic.count_params(), convolutions + (2 * 3 * 8 + 1) * 3)

    def test_mlp(self):
        generator, critic = _generator("mlp", (2,), width=7), _critic("mlp", (2,), width=7)
        hidden = 2 * (7 * 7 + 7)
        self.assertEqual(generator.count_params(), (5 * 7 + 7) + hidden + (7 * 2 + 2))
        self.assertEqual(critic.count_params(), (2 * 7 + 7) + hidden + (7 * 3 + 3))

    @_each_network
    def test_examples_do_not_mix_in_the_critic(self, name):
        # The scaled losses take one gradient per example from the gradient of a sum over examples.
        critic = _critic(name, _SHAPES[name], spectral="pim")
        layers.power_iterate(critic, 5)
        samples = tf.random.stateless_uniform([4, *_SHAPES[name]], [1, 2])
        whole = critic(samples, training=True)
        parts = [critic(samples[i : i + 1], training=True) for i in range(4)]
        self.assertAllClose(whole, tf.concat(parts, axis=0), atol=1e-6)


class SpectralOptionTest(parameterized.TestCase, tf.test.TestCase):
    @parameterized.product(name=tuple(_SHAPES), spectral=blocks.SPECTRAL)
    def test_every_critic_layer_is_of_the_type(self, name, spectral):
        critic = _critic(name, _SHAPES[name], spectral=spectral, constant=1.25)
        weighted = [layer for layer in critic.layers if layer.weights]
        self.assertLen(weighted, _LAYERS[name])
        if spectral == "none":
            self.assertEqual(layers.spectral_layers(critic), [])
            kinds = {type(layer) for layer in weighted}
            self.assertLessEqual(kinds, {keras.layers.Dense, keras.layers.Conv2D})
            return
        self.assertEqual(layers.spectral_layers(critic), weighted)
        norm = {"pim": "matrix", "pico": "operator", "gain": "matrix"}[spectral]
        for layer in weighted:
            self.assertEqual((layer.norm, layer.constant), (norm, 1.25))
            self.assertEqual(layer.gain is not None, spectral == "gain")
            self.assertFalse(layer.update_on_call)
        before = [layer.spectral_u.numpy() for layer in weighted]
        critic(np.ones((2, *_SHAPES[name]), np.float32), training=True)
        for layer, u in zip(weighted, before, strict=True):
            self.assertAllEqual(layer.spectral_u, u)

    @_each_network
    def test_the_generator_is_never_normalised(self, name):
        self.assertEqual(layers.spectral_layers(_generator(name, _SHAPES[name])), [])

    def test_options_differ_in_state_only(self):
        counts = {}
        for spectral in blocks.SPECTRAL:
            critic = _critic("dcgan_small", (8, 8, 1), spectral=spectral)
            counts[spectral] = sum(int(np.prod(w.shape)) for w in critic.trainable_weights)
        self.assertEqual(counts["pim"], counts["none"])
        self.assertEqual(counts["pico"], counts["none"])
        self.assertEqual(counts["gain"], counts["none"] + 4)


class CriticBatchNormTest(parameterized.TestCase, tf.test.TestCase):
    @parameterized.product(name=tuple(_SHAPES), spectral=("none", "pico"))
    def test_follows_every_hidden_layer_but_the_first(self, name, spectral):
        critic = _critic(name, _SHAPES[name], spectral=spectral, critic_batch_norm=True)
        # Followed along the graph: what comes right after each weighted layer.
        followed = {}
        for layer in critic.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                self.assertTrue(layer.synchronized)
                followed[layer.input._keras_history.operation.name] = layer
        weighted = [
            layer
            for layer in critic.layers
            if isinstance(layer, (keras.layers.Dense, keras.layers.Conv2D))
        ]
        self.assertLen(weighted, _LAYERS[name])
        shortcuts = [layer for layer in weighted if getattr(layer, "kernel_size", 0) == (1, 1)]
        self.assertLen(shortcuts, 4 if name == "resnet" else 0)
        path = [layer for layer in weighted if layer not in shortcuts]
        # Table 3 of the GRAM paper has it after the first layer too.
        hidden = [layer.name for layer in path[0 if name == "gram_mnist" else 1 : -1]]
        self.assertCountEqual(followed, hidden)
        for layer in weighted:
            # The normalisation has an offset of its own.
            self.assertEqual(layer.use_bias, layer.name not in hidden)
            if layer.name in hidden:
                self.assertEqual(layer.activation, keras.activations.linear)

    @_each_network
    def test_none_unless_it_is_asked_for(self, name):
        for options in ({}, {"critic_batch_norm": False}):
            critic = _critic(name, _SHAPES[name], **options)
            self.assertNotIn("BatchNormalization", _kinds(critic))
            self.assertTrue(all(layer.use_bias for layer in critic.layers if layer.weights))

    @_each_network
    def test_normalises_over_the_batch_and_saves(self, name):
        shape = _SHAPES[name]
        critic = _critic(name, shape, width=4, critic_batch_norm=True, dtype="mixed_bfloat16")
        samples = tf.random.stateless_normal([6, *shape], [1, 2], mean=0.5)
        found = [x for x in critic.layers if isinstance(x, keras.layers.BatchNormalization)]
        start = [layer.moving_mean.numpy() for layer in found]
        self.assertEqual(critic(samples, training=True).dtype, tf.float32)
        for layer, mean in zip(found, start, strict=True):
            self.assertNotAllClose(layer.moving_mean, mean, rtol=0.0, atol=1e-8)
        # In inference mode an example's features are its own.
        self.assertAllClose(critic(samples)[:2], critic(samples[:2]), rtol=1e-2, atol=1e-3)
        path = os.path.join(self.get_temp_dir(), "critic.keras")
        critic.save(path)
        self.assertAllEqual(keras.models.load_model(path)(samples), critic(samples))

    def test_means_and_variances_are_the_batch_s(self):
        critic = _critic("dcgan_small", (8, 8, 1), width=4, critic_batch_norm=True)
        samples = tf.random.stateless_normal([5, 8, 8, 1], [1, 2])
        first = next(x for x in critic.layers if isinstance(x, keras.layers.BatchNormalization))
        probe = keras.Model(critic.inputs, [first.input, first.output])
        before, after = (value.numpy().astype(float) for value in probe(samples, training=True))
        expected = before - before.mean(axis=(0, 1, 2))
        expected /= np.sqrt(before.var(axis=(0, 1, 2)) + 1e-5)
        self.assertAllClose(after, expected, atol=1e-5)


class WrongArgumentTest(parameterized.TestCase, tf.test.TestCase):
    @parameterized.parameters(
        ("sndcgan", (36, 32, 3)),
        ("sndcgan", (32, 36, 3)),
        ("sndcgan", (2,)),
        ("dcgan_small", (10, 8, 1)),
        ("dcgan_small", (8, 10, 1)),
        ("dcgan_small", (8, 8)),
        ("dcgan64", (56, 64, 3)),
        ("dcgan64", (64, 56, 3)),
        ("dcgan_resnet", (160, 80, 3)),
        ("dcgan_resnet", (144, 160, 3)),
        ("dcgan_resnet", (2,)),
        ("resnet", (64, 72, 3)),
        ("resnet", (72, 64, 3)),
        ("resnet", (64, 64)),
        ("gram_mnist", (7, 8, 1)),
        ("gram_mnist", (8, 7, 1)),
        ("gram_mnist", (784,)),
        ("gram_dcgan", (28, 32, 1)),
        ("gram_dcgan", (32, 28, 1)),
        ("gram_dcgan_weak", (28, 28, 1)),
        ("gram_dcgan_weak", (2,)),
        ("li_dcgan", (32, 64, 3)),
        ("li_dcgan", (48, 48, 3)),
        ("li_dcgan", (8, 8, 1)),
        ("li_dcgan", (32, 32)),
    )
    def test_wrong_sizes(self, name, shape):
        for build in (_generator, _critic):
            with self.assertRaisesRegex(UserError, f"network='{name}'.*--config.image_size"):
                build(name, shape)

    def test_unknown_names(self):
        with self.assertRaisesRegex(UserError, "network='sndcgn' .*did you mean 'sndcgan'"):
            networks.get("sndcgn")
        with self.assertRaisesRegex(UserError, "spectral='pic' .*did you mean 'pico'"):
            _critic("mlp", (2,), spectral="pic")
        self.assertCountEqual(networks.names(), _SHAPES)
