"""Losses of whole methods against NumPy formulas on their own critic's outputs."""

import functools

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from kgzoo import config as configs
from kgzoo import layers, methods
from kgzoo.errors import UserError
from kgzoo.methods.noise import Noise

_SHAPE = (8, 8, 1)
_COUNT = 6
_RBF = (1.0, 2**0.5, 2.0, 8**0.5, 4.0)
_RQ = (0.2, 0.5, 1.0, 2.0, 5.0)
_METHODS = ("mmd_opt", "smmd", "sn_smmd", "swgan", "sn_swgan", "mmd_rbf", "mmd_rq", "hinge", "gan")
_each = parameterized.parameters(*_METHODS)
_one_of_each_class = parameterized.parameters("mmd_opt", "sn_smmd", "swgan", "hinge")
_each_scaled = parameterized.parameters("smmd", "sn_smmd", "swgan", "sn_swgan")


def _config(method, **overrides):
    small = {"generator_width": 2, "critic_width": 2, "latent_dim": 4, "batch_size": _COUNT}
    return configs.compose(method, "digits", overrides={**small, **overrides})


def _model(method, **overrides):
    """Builds a tiny method whose critic tells its examples apart: weights of size 1, not 0.02."""
    model = methods.build(_config(method, **overrides), "image", _SHAPE)
    random = np.random.RandomState(0)
    for weight in (*model.generator.trainable_variables, *model.critic.trainable_variables):
        if len(weight.shape) > 1:
            fan_in = np.prod(weight.shape) / weight.shape[-1]
            weight.assign(random.normal(size=weight.shape) * np.sqrt(6 / fan_in))
        elif weight.name == "gain":
            weight.assign(2.5)
    layers.power_iterate(model.critic, 3)
    return model


@functools.cache
def _kept(method):
    """Returns model, batch and critic outputs for tests that change no weight of the critic."""
    model = _model(method)
    batch = _batch(model)
    return model, batch, _outputs(model, batch)


def _smooth_model(method):
    """The method with a tanh critic: a leaky ReLU's Jacobian jumps, which no difference bears."""
    model = _model(method)
    outputs, gain = model.critic.output_shape[-1], method.startswith("sn_")
    options = {"learned_gain": gain, "update_on_call": False, "constant": 2.0}
    model.critic = keras.Sequential(
        [
            keras.Input(_SHAPE),
            layers.SpectralConv2D(3, 3, 2, "same", activation="tanh", norm="operator", **options),
            layers.SpectralConv2D(4, 4, 2, "same", activation="tanh", norm="matrix", **options),
            keras.layers.Flatten(),
            layers.SpectralDense(outputs, **options),
        ]
    )
    layers.power_iterate(model.critic, 3)
    return model


def _batch(model, update=1):
    low, high = model.image_range
    real = np.random.RandomState(1).uniform(low, high, size=(_COUNT, *_SHAPE))
    noise = Noise(seed=3, step=tf.constant(5, tf.int64), update=update)
    return methods.Batch(tf.constant(real, tf.float32), noise)


def _outputs(model, batch):
    """Returns features of real and fake examples and the squared Jacobian norms, in float64."""
    latents = batch.noise.latents(_COUNT, model.latent_dim, model.latent_distribution)
    fake = model.generator(latents, training=True)
    with tf.GradientTape() as tape:
        tape.watch(batch.real)
        features = model.critic(batch.real)
    jacobian = tape.batch_jacobian(features, batch.real).numpy().astype(float)
    squared = np.sum(jacobian**2, axis=(1, 2, 3, 4))
    return features.numpy().astype(float), model.critic(fake).numpy().astype(float), squared


def _gram(x, y, rbf=(), rq=()):
    distance = np.sum((x[:, None] - y[None]) ** 2, axis=-1)
    total = np.zeros_like(distance)
    for bandwidth in rbf:
        total += np.exp(-distance / (2 * bandwidth**2))
    for rate in rq:
        total += (1 + distance / (2 * rate)) ** -rate
    return total


def _mmd2(x, y, estimator, **kernel):
    def mean(matrix, diagonal):
        keep = np.ones_like(matrix, bool) if diagonal else ~np.eye(len(matrix), dtype=bool)
        return np.mean(matrix[keep])

    xx, xy, yy = (_gram(a, b, **kernel) for a, b in ((x, x), (x, y), (y, y)))
    within, across = estimator == "biased", estimator != "u_statistic"
    return mean(xx, within) + mean(yy, within) - 2 * mean(xy, across)


def _oracle(method, x, y, squared, weight=10.0):
    """Returns what the critic and the generator minimise, and the scale, from the formulas."""
    scale = 1.0
    if method == "hinge":
        critic = np.mean(np.maximum(1 - x, 0)) + np.mean(np.maximum(1 + y, 0))
        return critic, -np.mean(y), scale
    if method == "gan":
        critic = np.mean(np.logaddexp(0, -x)) + np.mean(np.logaddexp(0, y))
        return critic, np.mean(np.logaddexp(0, -y)), scale
    if method == "mmd_rbf":
        value = _mmd2(x, y, "u_statistic", rbf=_RBF)
    elif method == "mmd_rq":
        value = _mmd2(x, y, "u_statistic", rq=_RQ)
    elif method == "mmd_opt":
        value = _mmd2(x, y, "unbiased", rbf=(1.0,))
    elif method in ("smmd", "sn_smmd"):
        value = _mmd2(x, y, "unbiased", rbf=(1.0,))
        scale = 1 / (1 + weight * np.mean(squared))
    else:
        value = np.mean(x) - np.mean(y)
        scale = 1 / np.sqrt(1 + weight * (np.mean(x**2) + np.mean(squared)))
    return -scale * value, scale * value, scale


class LossTest(parameterized.TestCase, tf.test.TestCase):
    @_each
    def test_against_the_formula(self, method):
        model, batch, outputs = _kept(method)
        critic, generator, _ = _oracle(method, *outputs)
        self.assertGreater(abs(critic), 3e-4)
        for players in (("critic",), ("generator",), ("critic", "generator")):
            losses = model.losses(batch, players)
            self.assertCountEqual(losses, players)
            for player in players:
                value = losses[player][0]
                self.assertEqual((value.dtype, value.shape), (tf.float32, ()))
                expected = {"critic": critic, "generator": generator}[player]
                self.assertAllClose(value, expected, rtol=1e-3, atol=1e-7)

    @_one_of_each_class
    def test_noise_decides_the_examples(self, method):
        model, batch, _ = _kept(method)
        value = model.losses(batch, ("generator",))["generator"][0]
        again = model.losses(batch, ("generator",))["generator"][0]
        other = model.losses(_batch(model, update=2), ("generator",))["generator"][0]
        self.assertAllEqual(value, again)
        self.assertNotAllClose(value, other)

    @_each_scaled
    def test_the_generators_scale_can_be_switched_off(self, method):
        model = _model(method, scale_generator_loss=False)
        batch = _batch(model)
        critic, generator, scale = _oracle(method, *_outputs(model, batch))
        self.assertLess(scale, 0.9)
        for players in (("generator",), ("critic", "generator")):
            value = model.losses(batch, players)["generator"][0]
            self.assertAllClose(value, generator / scale, rtol=1e-3, atol=1e-7)
        self.assertAllClose(
            model.losses(batch, ("critic",))["critic"][0], critic, rtol=1e-3, atol=1e-7
        )

    @_each_scaled
    def test_scale_weight(self, method):
        for weight in (0.0, 0.5):
            model = _model(method, scale_weight=weight)
            batch = _batch(model)
            expected, _, scale = _oracle(method, *_outputs(model, batch), weight=weight)
            value, diagnostics = model.losses(batch, ("critic",))["critic"]
            self.assertAllClose(value, expected, rtol=1e-3, atol=1e-7)
            self.assertAllClose(diagnostics["scale"], scale, rtol=1e-4)

    def test_kernel_and_estimator_are_those_of_the_config(self):
        for estimator in ("unbiased", "biased", "u_statistic"):
            model = _model("mmd_opt", kernel="gaussian_mixture", estimator=estimator, output_dim=3)
            batch = _batch(model)
            x, y, _ = _outputs(model, batch)
            expected = _mmd2(x, y, estimator, rbf=_RBF)
            value = model.losses(batch, ("generator",))["generator"][0]
            self.assertAllClose(value, expected, rtol=1e-3, atol=1e-7)
        # SMMD with several outputs and a mixture: the slopes of the five kernels add.
        model = _model("smmd", kernel="gaussian_mixture", output_dim=3)
        batch = _batch(model)
        x, y, squared = _outputs(model, batch)
        slope = sum(1 / bandwidth**2 for bandwidth in _RBF)
        expected = -_mmd2(x, y, "unbiased", rbf=_RBF) / (1 + 10 * slope * np.mean(squared))
        value = model.losses(batch, ("critic",))["critic"][0]
        self.assertAllClose(value, expected, rtol=1e-3, atol=1e-7)

    @_each
    def test_diagnostics(self, method):
        model, batch, (x, y, squared) = _kept(method)
        critic, _, scale = _oracle(method, x, y, squared)
        diagnostics = model.losses(batch, ("critic",))["critic"][1]
        if method in ("hinge", "gan"):
            expected = {"score_real": np.mean(x), "score_fake": np.mean(y)}
        elif "swgan" in method:
            expected = {"mean_difference": np.mean(x) - np.mean(y)}
        else:
            kernel = {"mmd_rbf": {"rbf": _RBF}, "mmd_rq": {"rq": _RQ}}.get(method, {"rbf": (1.0,)})
            expected = {"mmd2": -critic / scale}
            for name, sample in (("kernel_xx", x), ("kernel_yy", y)):
                gram = _gram(sample, sample, **kernel)
                expected[name] = np.mean(gram[~np.eye(_COUNT, dtype=bool)])
            expected["kernel_xy"] = (
                expected["kernel_xx"] + expected["kernel_yy"] - expected["mmd2"]
            ) / 2
        if scale != 1.0:
            expected |= {"scale": scale, "critic_gradient_squared": np.mean(squared)}
        self.assertCountEqual(diagnostics, expected)
        for name, value in expected.items():
            self.assertAllClose(diagnostics[name], value, rtol=1e-4, atol=1e-5, msg=name)

    @_one_of_each_class
    def test_mixed_bfloat16_losses_are_float32(self, method):
        model = _model(method, precision="mixed_bfloat16")
        losses = model.losses(_batch(model), ("critic", "generator"))
        for value, diagnostics in losses.values():
            for tensor in (value, *diagnostics.values()):
                self.assertEqual(tensor.dtype, tf.float32)
                self.assertTrue(np.isfinite(tensor))


class GradientTest(parameterized.TestCase, tf.test.TestCase):
    def _gradients(self, model, player, variables):
        with tf.GradientTape() as tape:
            value = model.losses(_batch(model), (player,))[player][0]
        return tape.gradient(value, [variable.value for variable in variables])

    @_one_of_each_class
    def test_who_moves_what(self, method):
        model, _, _ = _kept(method)
        for gradient in self._gradients(model, "critic", model.players["generator"]):
            self.assertIsNone(gradient)
        gradients = self._gradients(model, "generator", model.players["generator"])
        self.assertGreater(max(float(tf.norm(g)) for g in gradients if g is not None), 1e-6)

    @parameterized.parameters("mmd_opt", "mmd_rbf", "smmd", "sn_smmd", "swgan", "hinge", "gan")
    def test_critic_against_finite_differences(self, method):
        # Through everything at once: sigma, scale, features of real and of generated examples.
        model = _smooth_model(method)
        variables = model.players["critic"]
        gradients = [
            np.zeros(variable.shape) if gradient is None else tf.convert_to_tensor(gradient).numpy()
            for variable, gradient in zip(
                variables, self._gradients(model, "critic", variables), strict=True
            )
        ]
        size = np.sqrt(sum(np.sum(gradient**2) for gradient in gradients))
        starts, ends = [variable.numpy() for variable in variables], []
        for step in (3e-3, -3e-3):
            for variable, start, gradient in zip(variables, starts, gradients, strict=True):
                variable.assign(start + step * gradient / size)
            x, y, squared = _outputs(model, _batch(model))
            ends.append(_oracle(method, x, y, squared)[0])
        self.assertAllClose((ends[0] - ends[1]) / 6e-3, size, rtol=1e-2, atol=0)


class StateTest(parameterized.TestCase, tf.test.TestCase):
    @parameterized.parameters("hinge", "sn_smmd", "mmd_rbf")
    def test_losses_leave_the_critics_state(self, method):
        model, batch, _ = _kept(method)
        before = [weight.numpy() for weight in model.critic.weights]
        model.losses(batch, ("critic", "generator"))
        for weight, value in zip(model.critic.weights, before, strict=True):
            self.assertAllEqual(weight, value)

    def test_one_power_iteration_per_critic_update(self):
        model = _model("sn_smmd", critic_steps=3)
        other = _model("sn_smmd", critic_steps=3)
        still = {player: keras.optimizers.SGD(0.0) for player in model.players}
        model.compile(still)
        found, expected = (layers.spectral_layers(m.critic) for m in (model, other))
        for layer in (*found, *expected):
            layer.spectral_u.assign(tf.random.stateless_normal(layer.spectral_u.shape, [1, 2]))
        model.train_step(np.random.RandomState(2).uniform(size=(_COUNT, *_SHAPE)))
        layers.power_iterate(other.critic, 3)
        for layer, reference in zip(found, expected, strict=True):
            self.assertAllClose(layer.spectral_u, reference.spectral_u, atol=1e-5)
            if layer.spectral_u.shape[-1] > 1:
                reference.power_iterate()
                self.assertNotAllClose(layer.spectral_u, reference.spectral_u, atol=1e-5)


class WrongArgumentTest(parameterized.TestCase, tf.test.TestCase):
    @parameterized.parameters("gan", "hinge", "swgan")
    def test_a_score_is_one_output(self, method):
        with self.assertRaisesRegex(UserError, "set output_dim=1"):
            methods.build(_config(method, output_dim=2), "image", _SHAPE)

    @parameterized.parameters("gan", "smmd")
    def test_unknown_objective(self, method):
        with self.assertRaisesRegex(UserError, "objective='nothing'"):
            methods.build(_config(method, objective="nothing"), "image", _SHAPE)

    @parameterized.parameters("mmd_opt", "smmd")
    def test_unknown_kernel_and_estimator(self, method):
        plain = _config(method).to_dict()
        for field in ("kernel", "estimator"):
            with self.assertRaisesRegex(UserError, f"{field}='nothing'"):
                methods.build({**plain, field: "nothing"}, "image", _SHAPE)

    def test_scale_weight(self):
        plain = _config("smmd").to_dict()
        for value in (-1.0, float("nan"), float("inf")):
            with self.assertRaisesRegex(UserError, "scale_weight="):
                methods.build({**plain, "scale_weight": value}, "image", _SHAPE)

    def test_smmd_needs_a_stationary_kernel(self):
        # The scale is made of the kernel's value and slope at distance 0; x.y has neither.
        with self.assertRaisesRegex(UserError, "kernel"):
            methods.build(_config("smmd", kernel="linear"), "image", _SHAPE)
