"""Spectral layers against dense singular values: every convolution written out as a matrix."""

import os
from unittest import mock

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from kgzoo import layers, networks
from kgzoo.errors import UserError


def _convolve(images, kernel, stride):
    """A `same` convolution in NumPy: images [n, h, w, c], kernel [kh, kw, c, o]."""
    n, height, width, _ = images.shape
    out_h, out_w = -(-height // stride), -(-width // stride)
    pads = []
    for size, out, length in ((height, out_h, kernel.shape[0]), (width, out_w, kernel.shape[1])):
        total = max((out - 1) * stride + length - size, 0)
        pads.append((total // 2, total - total // 2))
    padded = np.pad(images, ((0, 0), *pads, (0, 0)))
    outputs = np.zeros((n, out_h, out_w, kernel.shape[-1]))
    for i, j in np.ndindex(*kernel.shape[:2]):
        window = padded[:, i : i + stride * out_h : stride, j : j + stride * out_w : stride]
        outputs += window[:, :out_h, :out_w] @ kernel[i, j]
    return outputs


def _largest_singular_value(kernel, norm, stride=1, shape=None):
    """Float64 SVD of the reshaped kernel, or of the convolution built from all basis images."""
    kernel = np.asarray(kernel, np.float64)
    if norm == "matrix" or kernel.ndim == 2:
        matrix = kernel.reshape(-1, kernel.shape[-1])
    else:
        basis = np.eye(int(np.prod(shape))).reshape(-1, *shape)
        matrix = _convolve(basis, kernel, stride).reshape(len(basis), -1)
    return np.linalg.svd(matrix, compute_uv=False)[0]


def _converge(layer, iterations=500):
    @tf.function
    def iterate():
        for _ in tf.range(iterations):
            layer.power_iterate()

    iterate()


def _built(layer, shape, seed=0, kernel=None):
    """Builds a layer for examples of a shape and gives it a random kernel and bias."""
    layer.build((None, *shape))
    random = np.random.RandomState(seed)
    layer.kernel.assign(random.normal(size=layer.kernel.shape) if kernel is None else kernel)
    if layer.bias is not None:
        layer.bias.assign(random.normal(size=layer.bias.shape))
    return layer


# name, stride, kernel size, input shape, filters
_CONVOLUTIONS = (
    ("3x3_stride1", 1, 3, (5, 5, 3), 4),
    ("3x3_stride2", 2, 3, (8, 8, 2), 3),
    ("4x4_stride2", 2, 4, (8, 8, 2), 3),
    ("4x4_stride2_not_square", 2, 4, (4, 7, 3), 2),
    ("3x3_stride2_odd", 2, 3, (7, 5, 1), 4),
    ("4x4_stride1", 1, 4, (6, 6, 1), 2),
)
_convolutions = parameterized.named_parameters(*_CONVOLUTIONS)


class SigmaTest(parameterized.TestCase, tf.test.TestCase):
    def test_our_convolution_is_the_layers(self):
        for _, stride, size, shape, filters in _CONVOLUTIONS:
            layer = _built(layers.SpectralConv2D(filters, size, stride, "same"), shape)
            images = np.random.RandomState(1).normal(size=(3, *shape)).astype(np.float32)
            expected = _convolve(images, layer.normalized_kernel().numpy(), stride)
            self.assertAllClose(layer(images), expected + layer.bias.numpy(), atol=1e-4)

    def test_dense(self):
        for norm, rows, columns in (
            ("matrix", 7, 3),
            ("operator", 7, 3),
            ("matrix", 3, 7),
            ("operator", 5, 1),
            ("matrix", 1, 4),
        ):
            layer = _built(layers.SpectralDense(columns, norm=norm), (rows,))
            _converge(layer)
            expected = _largest_singular_value(layer.kernel, "matrix")
            self.assertAllClose(layer.sigma(), expected, rtol=1e-5)

    @_convolutions
    def test_convolution(self, stride, size, shape, filters):
        for norm in ("matrix", "operator"):
            layer = layers.SpectralConv2D(filters, size, stride, "same", norm=norm)
            _built(layer, shape)
            _converge(layer)
            expected = _largest_singular_value(layer.kernel, norm, stride, shape)
            self.assertAllClose(layer.sigma(), expected, rtol=1e-4)
            normalized = _largest_singular_value(layer.normalized_kernel(), norm, stride, shape)
            self.assertAllClose(normalized, 1.0, rtol=1e-4)

    def test_sigma_never_exceeds_the_singular_value_and_only_grows(self):
        layer = layers.SpectralConv2D(4, 3, 1, "same", norm="operator")
        _built(layer, (6, 6, 2))
        limit = _largest_singular_value(layer.kernel, "operator", 1, (6, 6, 2))
        values = [0.0]
        for _ in range(12):
            values.append(float(layer.sigma()))
            self.assertGreaterEqual(values[-1], values[-2] * (1 - 1e-6))
            self.assertLess(values[-1], limit * (1 + 1e-5))
            layer.power_iterate(1)
        self.assertGreater(values[-1], 0.8 * limit)

    def test_iterations_add_up(self):
        one = _built(layers.SpectralDense(4), (6,))
        many = _built(layers.SpectralDense(4), (6,))
        for _ in range(3):
            one.power_iterate()
        many.power_iterate(3)
        self.assertAllClose(one.spectral_u, many.spectral_u)
        self.assertAllClose(tf.norm(one.spectral_u.value), 1.0)

    def test_ratio_of_the_two_norms(self):
        # A 3x3 kernel of stride 2 that is 1 in the corners: patches overlap in the corners alone.
        # The repulsive MMD-GAN paper's app. C.2 bounds the ratio by sqrt(9) / 2 = 1.5; the bound
        # that holds is the root of the largest overlap, sqrt(ceil(3/2)^2) = 2.
        corners = np.zeros((3, 3, 1, 1))
        corners[::2, ::2] = 1.0
        for size, ratio in ((8, 1.766), (16, 1.932)):
            sigmas = []
            for norm in ("operator", "matrix"):
                layer = layers.SpectralConv2D(1, 3, 2, "same", norm=norm)
                _built(layer, (size, size, 1), kernel=corners)
                _converge(layer)
                sigmas.append(float(layer.sigma()))
                expected = _largest_singular_value(corners, norm, 2, (size, size, 1))
                self.assertAllClose(sigmas[-1], expected, rtol=1e-5)
            self.assertAllClose(sigmas[0] / sigmas[1], ratio, atol=5e-4, rtol=0)

    def test_mixed_bfloat16_keeps_sigma_in_float32(self):
        for norm in ("matrix", "operator"):
            layer = layers.SpectralConv2D(4, 3, 2, "same", norm=norm, dtype="mixed_bfloat16")
            _built(layer, (6, 6, 3))
            _converge(layer)
            seen = []
            original = layers.SpectralConv2D.sigma

            def sigma(self, seen=seen, original=original):
                seen.append(original(self))
                return seen[-1]

            # Within a call, where Keras' autocast is at work.
            with mock.patch.object(layers.SpectralConv2D, "sigma", sigma):
                outputs = layer(np.ones((2, 6, 6, 3), np.float32), training=True)
            self.assertEqual((outputs.dtype, seen[0].dtype), (tf.bfloat16, tf.float32))
            expected = _largest_singular_value(layer.kernel, norm, 2, (6, 6, 3))
            self.assertAllClose(seen[0], expected, rtol=1e-4)
            self.assertEqual(layer.kernel.dtype, "float32")
            self.assertEqual(layer.spectral_u.dtype, "float32")


def _normalized(kernel, norm, stride, shape, constant, gain):
    return constant * gain * kernel / _largest_singular_value(kernel, norm, stride, shape)


class CallTest(parameterized.TestCase, tf.test.TestCase):
    def test_outputs(self):
        images = np.random.RandomState(2).normal(size=(3, 6, 6, 2)).astype(np.float32)
        for norm in ("matrix", "operator"):
            layer = layers.SpectralConv2D(
                3, 4, 2, "same", norm=norm, constant=1.7, learned_gain=True, activation="relu"
            )
            _built(layer, (6, 6, 2))
            layer.gain.assign(-0.6)
            _converge(layer)
            kernel = layer.kernel.numpy().astype(float)
            kernel = _normalized(kernel, norm, 2, (6, 6, 2), 1.7, -0.6)
            expected = np.maximum(_convolve(images, kernel, 2) + layer.bias.numpy(), 0.0)
            self.assertAllClose(layer(images), expected, atol=1e-4)

    def test_gain_and_constant_multiply_the_kernel_and_not_the_bias(self):
        inputs = np.random.RandomState(3).normal(size=(4, 5)).astype(np.float32)
        plain = _built(layers.SpectralDense(3), (5,))
        scaled = _built(layers.SpectralDense(3, constant=2.0, learned_gain=True), (5,))
        self.assertAllClose(scaled(inputs) - scaled.bias, 2.0 * (plain(inputs) - plain.bias))
        self.assertAllEqual(scaled.gain, 1.0)
        scaled.gain.assign(0.25)
        self.assertAllClose(scaled(inputs) - scaled.bias, 0.5 * (plain(inputs) - plain.bias))
        self.assertLen(plain.trainable_variables, 2)
        self.assertLen(scaled.trainable_variables, 3)
        self.assertLen(scaled.non_trainable_variables, 1)

    def test_no_bias_and_more_axes(self):
        layer = _built(layers.SpectralDense(3, use_bias=False), (5,))
        inputs = np.random.RandomState(4).normal(size=(2, 4, 5)).astype(np.float32)
        self.assertAllClose(layer(inputs), inputs @ layer.normalized_kernel().numpy(), atol=1e-5)

    @parameterized.product(update=(True, False), training=(True, False))
    def test_u_changes_only_in_a_training_call_that_may_update(self, update, training):
        layer = _built(layers.SpectralDense(3, update_on_call=update), (5,))
        other = _built(layers.SpectralDense(3), (5,))
        inputs, before = np.ones((2, 5), np.float32), layer.spectral_u.numpy()
        call = tf.function(lambda: layer(inputs, training=training))
        for step in range(1, 3):
            outputs = call()
            other.power_iterate()
            if update and training:
                self.assertAllClose(layer.spectral_u, other.spectral_u)
                self.assertNotAllClose(layer.spectral_u, before)
                # The call sees the vector that it has just made.
                self.assertAllClose(outputs, other(inputs), msg=f"step {step}")
            else:
                self.assertAllEqual(layer.spectral_u, before)
        layer(inputs)
        keras.Sequential([keras.Input([5]), layer])
        if not (update and training):
            self.assertAllEqual(layer.spectral_u, before)

    def test_power_iterate_on_a_model(self):
        inner = keras.Sequential([keras.Input([4]), layers.SpectralDense(4, name="inner")])
        plain = keras.layers.Dense(3)
        outer = keras.Sequential(
            [keras.Input([5]), layers.SpectralDense(4, name="first"), inner, plain]
        )
        found = layers.spectral_layers(outer)
        self.assertEqual([layer.name for layer in found], ["first", "inner"])
        before = [layer.spectral_u.numpy() for layer in found]
        layers.power_iterate(outer, 2)
        for layer, u in zip(found, before, strict=True):
            kernel = layer.kernel.numpy().astype(float)
            for _ in range(2):
                u = u @ kernel.T @ kernel
            self.assertAllClose(layer.spectral_u, u / np.linalg.norm(u), atol=1e-5)


class SetProductTest(parameterized.TestCase, tf.test.TestCase):
    def _critic(self, name, size, spectral="pico"):
        return networks.get(name).critic(
            sample_shape=(size, size, 3),
            output_dim=16,
            width=2,
            spectral=spectral,
            spectral_constant=1.0,
            dtype="float32",
        )

    @parameterized.parameters(
        # 64 ** (1 / 8) is 2 ** 0.75; the paper's two networks have 8 and 10 layers.
        ("sndcgan", 16, 64.0, 2**0.75, 1.6818),
        ("sndcgan", 16, 256, 2.0, 2.0),
        ("dcgan64", 16, 64.0, 2**0.6, 1.5157),
        ("dcgan_resnet", 32, 64.0, 2.0, 2.0),
        ("resnet", 16, 2.0**7, 2**0.5, 1.4142),
        ("sndcgan", 16, 0.5, 0.5**0.125, 0.9170),
    )
    def test_root_of_the_number_of_layers(self, name, size, product, exact, printed):
        critic = self._critic(name, size)
        constant = layers.set_product(critic, product)
        self.assertIs(type(constant), float)
        self.assertAlmostEqual(constant, exact, places=12)
        self.assertAlmostEqual(constant, printed, places=4)
        found = layers.spectral_layers(critic)
        self.assertEqual({layer.constant for layer in found}, {constant})
        self.assertAlmostEqual(np.prod([layer.constant for layer in found]), product)

    def test_outputs_grow_by_the_product(self):
        # Linear layers without a bias: every factor comes out in front, nested models included.
        inner = keras.Sequential(
            [keras.Input([4]), layers.SpectralDense(4, use_bias=False, learned_gain=True)]
        )
        stack = [layers.SpectralDense(4, use_bias=False, constant=1.0), inner]
        model = keras.Sequential([keras.Input([5]), *stack, keras.layers.Dense(2, use_bias=False)])
        inputs = tf.random.stateless_normal([3, 5], [1, 2])
        before = model(inputs)
        self.assertAlmostEqual(layers.set_product(model, 9.0), 3.0)
        self.assertAllClose(model(inputs), 9.0 * before, rtol=1e-5)
        # Set, not multiplied.
        layers.set_product(model, 9.0)
        self.assertAllClose(model(inputs), 9.0 * before, rtol=1e-5)

    @parameterized.parameters("pim", "pico", "gain")
    def test_survives_a_keras_file(self, spectral):
        critic = self._critic("sndcgan", 8, spectral)
        constant = layers.set_product(critic, 64.0)
        path = os.path.join(self.get_temp_dir(), "critic.keras")
        critic.save(path)
        loaded = keras.models.load_model(path)
        for layer in layers.spectral_layers(loaded):
            self.assertEqual(layer.constant, constant)
            self.assertEqual(layer.get_config()["constant"], constant)
        images = tf.random.stateless_uniform([2, 8, 8, 3], [1, 2])
        self.assertAllEqual(loaded(images), critic(images))

    @parameterized.parameters(0.0, -64.0, float("nan"), float("inf"))
    def test_wrong_products(self, product):
        critic = self._critic("sndcgan", 8)
        with self.assertRaisesRegex(UserError, "spectral_product=.*above 0"):
            layers.set_product(critic, product)
        self.assertEqual({layer.constant for layer in layers.spectral_layers(critic)}, {1.0})

    def test_no_spectral_layer(self):
        with self.assertRaisesRegex(UserError, "'critic' has none; set --config.spectral"):
            layers.set_product(self._critic("sndcgan", 8, "none"), 64.0)


class GradientTest(parameterized.TestCase, tf.test.TestCase):
    def _gradients(self, layer, inputs, upstream):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(upstream * tf.square(layer(inputs)))
        variables = layer.trainable_variables
        gradients = tape.gradient(loss, [v.value for v in variables])
        by_name = {v.name: g for v, g in zip(variables, gradients, strict=True)}
        return {name: tf.convert_to_tensor(g).numpy() for name, g in by_name.items()}

    @parameterized.product(norm=("matrix", "operator"), gain=(True, False))
    def test_orthogonal_to_the_kernel(self, norm, gain):
        # W / sigma(W) does not change along W, so neither does any loss of it.
        random = np.random.RandomState(5)
        options = {"norm": norm, "learned_gain": gain, "constant": 1.5}
        for layer, shape in (
            (layers.SpectralDense(4, **options), (6,)),
            (layers.SpectralConv2D(3, 3, 2, "same", **options), (5, 6, 2)),
        ):
            _built(layer, shape)
            inputs = random.normal(size=(4, *shape)).astype(np.float32)
            upstream = random.normal(size=layer.compute_output_shape(inputs.shape))
            gradient = self._gradients(layer, inputs, upstream.astype(np.float32))["kernel"]
            kernel = layer.kernel.numpy()
            size = np.linalg.norm(gradient) * np.linalg.norm(kernel)
            self.assertGreater(size, 1e-2)
            self.assertLess(abs(np.sum(gradient * kernel)), 1e-5 * size)

    @parameterized.parameters("matrix", "operator")
    def test_against_finite_differences_through_the_svd(self, norm):
        random = np.random.RandomState(6)
        shape, stride = (6, 5, 2), 2
        layer = layers.SpectralConv2D(
            3, 4, stride, "same", norm=norm, constant=1.3, learned_gain=True, dtype="float64"
        )
        _built(layer, shape)
        layer.gain.assign(0.7)
        _converge(layer)
        images = random.normal(size=(3, *shape))
        upstream = random.normal(size=layer.compute_output_shape(images.shape))
        gradients = self._gradients(layer, images, upstream)
        kernel, bias = layer.kernel.numpy(), layer.bias.numpy()

        def loss(kernel, gain=0.7):
            kernel = _normalized(kernel, norm, stride, shape, 1.3, gain)
            return np.sum(upstream * (_convolve(images, kernel, stride) + bias) ** 2)

        for _ in range(3):
            direction = random.normal(size=kernel.shape)
            slope = (loss(kernel + 1e-5 * direction) - loss(kernel - 1e-5 * direction)) / 2e-5
            self.assertAllClose(np.sum(gradients["kernel"] * direction), slope, rtol=1e-5)
        slope = (loss(kernel, 0.7 + 1e-5) - loss(kernel, 0.7 - 1e-5)) / 2e-5
        self.assertAllClose(gradients["gain"], slope, rtol=1e-6)

    def test_flows_through_sigma(self):
        layer = _built(layers.SpectralDense(3), (4,))
        inputs, upstream = np.ones((2, 4), np.float32), np.ones((2, 3), np.float32)
        through = self._gradients(layer, inputs, upstream)["kernel"]
        sigma = layer.sigma().numpy()
        with mock.patch.object(layers.SpectralDense, "sigma", lambda self: tf.constant(sigma)):
            stopped = self._gradients(layer, inputs, upstream)["kernel"]
        self.assertGreater(np.linalg.norm(through - stopped), 0.1 * np.linalg.norm(stopped))

    @parameterized.parameters("matrix", "operator")
    def test_second_order(self, norm):
        # The gradient of a squared input gradient (SN-SMMD's scale) with respect to the kernels.
        random = np.random.RandomState(7)
        stack = [
            layers.SpectralConv2D(
                3, 3, 2, "same", activation="tanh", norm=norm, dtype="float64", learned_gain=True
            ),
            keras.layers.Flatten(dtype="float64"),
            layers.SpectralDense(1, dtype="float64", norm=norm),
        ]
        model = keras.Sequential([keras.Input((4, 4, 2), dtype="float64"), *stack])
        for layer in (stack[0], stack[2]):
            layer.kernel.assign(random.normal(size=layer.kernel.shape))
        layers.power_iterate(model, 3)
        images = tf.constant(random.normal(size=(2, 4, 4, 2)))

        def squared_gradient():
            with tf.GradientTape() as tape:
                tape.watch(images)
                total = tf.reduce_sum(model(images))
            return tf.reduce_sum(tf.square(tape.gradient(total, images)))

        with tf.GradientTape() as outer:
            value = squared_gradient()
        variables = [stack[0].kernel, stack[0].gain, stack[2].kernel]
        gradients = outer.gradient(value, [variable.value for variable in variables])
        for variable, gradient in zip(variables, gradients, strict=True):
            start, direction = variable.numpy(), random.normal(size=variable.shape)
            ends = []
            for step in (1e-5, -1e-5):
                variable.assign(start + step * direction)
                ends.append(float(squared_gradient()))
            variable.assign(start)
            slope = (ends[0] - ends[1]) / 2e-5
            self.assertGreater(abs(slope), 1e-3)
            self.assertAllClose(tf.reduce_sum(gradient * direction), slope, rtol=1e-6)


class ZeroKernelTest(parameterized.TestCase, tf.test.TestCase):
    def _layers(self):
        for norm in ("matrix", "operator"):
            options = {"norm": norm, "kernel_initializer": "zeros", "use_bias": False}
            yield layers.SpectralDense(3, **options), (4,)
            yield layers.SpectralConv2D(3, 3, 1, "same", **options), (4, 4, 2)

    def test_finite_output_and_gradient(self):
        for layer, shape in self._layers():
            layer.build((None, *shape))
            inputs = tf.random.stateless_normal([2, *shape], [1, 2])
            for _ in range(2):
                with tf.GradientTape() as tape:
                    outputs = layer(inputs, training=True)
                    loss = tf.reduce_sum(outputs) + tf.reduce_sum(tf.square(outputs))
                self.assertAllEqual(outputs, tf.zeros_like(outputs))
                gradient = tf.convert_to_tensor(tape.gradient(loss, layer.kernel.value))
                self.assertAllInRange(gradient, -1e30, 1e30)
                self.assertAllInRange(layer.spectral_u.value, -1e3, 1e3)

    def test_recovers_when_the_kernel_leaves_zero(self):
        for layer, shape in self._layers():
            layer.build((None, *shape))
            layer.power_iterate(2)
            layer.kernel.assign(np.random.RandomState(8).normal(size=layer.kernel.shape))
            _converge(layer)
            expected = _largest_singular_value(layer.kernel, layer.norm, 1, shape)
            self.assertAllClose(layer.sigma(), expected, rtol=1e-4)


class SaveTest(parameterized.TestCase, tf.test.TestCase):
    @parameterized.parameters("none", "pim", "pico", "gain")
    def test_keras_file_restores_every_weight(self, spectral):
        model = networks.get("dcgan_small").critic(
            sample_shape=(8, 8, 2),
            output_dim=3,
            width=2,
            spectral=spectral,
            spectral_constant=1.4,
            dtype="float32",
        )
        random = np.random.RandomState(9)
        for weight in model.weights:
            weight.assign(random.normal(size=weight.shape))
        path = os.path.join(self.get_temp_dir(), "critic.keras")
        model.save(path)
        loaded = keras.models.load_model(path)
        self.assertEqual([w.path for w in loaded.weights], [w.path for w in model.weights])
        for weight, other in zip(model.weights, loaded.weights, strict=True):
            self.assertAllEqual(weight, other)
        names = [weight.name for weight in loaded.weights]
        self.assertEqual(names.count("spectral_u"), 0 if spectral == "none" else 4)
        self.assertEqual(names.count("gain"), 4 if spectral == "gain" else 0)
        images = random.normal(size=(2, 8, 8, 2)).astype(np.float32)
        self.assertAllEqual(model(images), loaded(images))
        for layer, other in zip(model.layers, loaded.layers, strict=True):
            self.assertEqual(other.get_config(), layer.get_config())

    def test_config_round_trip(self):
        options = {
            "norm": "operator",
            "learned_gain": True,
            "constant": 1.25,
            "update_on_call": False,
            "name": "layer",
            "activation": "relu",
        }
        for layer in (
            layers.SpectralDense(3, **options),
            layers.SpectralConv2D(3, 4, 2, "same", **options),
        ):
            config = keras.saving.serialize_keras_object(layer)
            restored = keras.saving.deserialize_keras_object(config)
            self.assertIs(type(restored), type(layer))
            self.assertEqual(restored.get_config(), layer.get_config())
            for name, value in options.items():
                self.assertEqual(restored.get_config()[name], value)


class WrongArgumentTest(tf.test.TestCase):
    def test_norm(self):
        for cls, arguments in ((layers.SpectralDense, (3,)), (layers.SpectralConv2D, (3, 3))):
            with self.assertRaisesRegex(UserError, "norm='frobenius'"):
                cls(*arguments, norm="frobenius")

    def test_operator_needs_a_fixed_size(self):
        layer = layers.SpectralConv2D(3, 3, norm="operator")
        with self.assertRaisesRegex(UserError, "fixed image size"):
            layer.build((None, None, 8, 2))
        layers.SpectralConv2D(3, 3, norm="matrix").build((None, None, 8, 2))

    def test_convolutions_that_are_not_covered(self):
        for options in ({"groups": 2}, {"dilation_rate": 2}, {"data_format": "channels_first"}):
            with self.assertRaisesRegex(UserError, "data_format='channels_last', groups=1"):
                layers.SpectralConv2D(4, 3, **options).build((None, 8, 8, 8))
