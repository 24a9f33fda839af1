"""Losses of whole methods against NumPy formulas on their own critic's outputs."""

import functools

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from kgzoo import config as configs
from kgzoo import layers, methods
from kgzoo.errors import UserError
from kgzoo.methods import augmentation
from kgzoo.methods.noise import Noise

_SHAPE = (8, 8, 1)
_COUNT = 6
_RBF = (1.0, 2**0.5, 2.0, 8**0.5, 4.0)
_LI = (1.0, 2.0, 4.0, 8.0, 16.0)
_RQ = (0.2, 0.5, 1.0, 2.0, 5.0)
_LOW, _HIGH = 0.25, 4.0


def _kernel(rbf=(), rq=(), estimator="unbiased", **more):
    return {"rbf": rbf, "rq": rq, "estimator": estimator, **more}


_REP = _kernel((1.0,), estimator="u_statistic")
_GP = _kernel(rq=_RQ, witness=1.0)
# What the papers print for each name; nothing here is read from the catalogue.
_ADVERSARIAL = {
    "gan": "non_saturating",
    "gan_minimax": "minimax",
    "hinge": "hinge",
    "wgan": "wasserstein",
    "wgan_gp": "wasserstein",
    "sobolev_gan": "wasserstein",
    "sn_gan": "non_saturating",
    "bgan": "boundary_seeking",
    "cr_gan": "non_saturating",
    "sn_wgan": "wasserstein",
    "sn_wgan_gp": "wasserstein",
    "sn_sobolev_gan": "wasserstein",
}
_KERNEL = {
    "mmd_gan": _kernel(_LI, estimator="biased", root=True, autoencoder=8.0, feasible=16.0),
    "mmd_rbf": _kernel(_RBF, estimator="u_statistic"),
    "mmd_rq": _kernel(rq=_RQ, estimator="u_statistic"),
    "mmd_rbf_b": _REP | {"bounds": (_LOW, _HIGH, _LOW)},
    "mmd_rep": _REP | {"repulsion": 1.0},
    "mmd_rep_b": _REP | {"repulsion": 1.0, "bounds": (_HIGH, None, _LOW)},
    "mmd_lambda": _REP | {"repulsion": 0.5},
    "mmd_rep_gp": _REP | {"repulsion": 1.0, "minus": 1.0, "scale": 0.1, "generator": "plain"},
    "mmd_opt": _kernel((1.0,)),
    "mmd_gan_gp": _GP,
    "mmd_gan_gp_l2": _GP | {"activations": 1.0},
    "sn_mmd": _kernel((1.0,)),
    "sn_mmd_l2": _kernel((1.0,), activations=1.0),
    "sn_mmd_gp": _GP,
    "sn_mmd_gp_l2": _GP | {"activations": 1.0},
    "smmd": _kernel((1.0,), scale=10.0),
    "sn_smmd": _kernel((1.0,), scale=10.0),
}
_LINEAR = ("swgan", "sn_swgan")
_METHODS = (*_ADVERSARIAL, *_KERNEL, *_LINEAR)
_each = parameterized.parameters(*_METHODS)
_one_of_each_class = parameterized.parameters("mmd_gan", "sn_smmd", "swgan", "sobolev_gan")


def _config(method, **overrides):
    small = {"generator_width": 2, "critic_width": 2, "latent_dim": 4, "batch_size": _COUNT}
    return configs.compose(method, "digits", overrides={**small, **overrides})


def _wake(model):
    """Weights of size 1, not 0.02: a critic that tells its examples apart."""
    random = np.random.RandomState(0)
    for weight in model.trainable_variables:
        if len(weight.shape) > 1:
            fan_in = np.prod(weight.shape) / weight.shape[-1]
            weight.assign(random.normal(size=weight.shape) * np.sqrt(6 / fan_in))
        elif weight.name == "gain":
            weight.assign(2.5)
    layers.power_iterate(model.critic, 3)
    return model


def _model(method, **overrides):
    """Builds a tiny method."""
    return _wake(methods.build(_config(method, **overrides), "image", _SHAPE))


@functools.cache
def _kept(method):
    """Returns model, batch and expected losses for tests that change no weight of the critic."""
    model = _model(method)
    if model.name in ("sobolev_gan", "sn_sobolev_gan"):
        model.multiplier.assign(0.7)
    batch = _batch(model)
    return model, batch, _expected(model, batch)


def _smooth_model(method, **overrides):
    """The method with a tanh critic: a leaky ReLU's Jacobian jumps, which no difference bears."""
    config = _config(method, **overrides)
    options = {
        "learned_gain": config["spectral"] == "gain",
        "update_on_call": False,
        "constant": 2.0,
    }
    inputs = x = keras.Input(_SHAPE)
    for layer in (
        layers.SpectralConv2D(3, 3, 2, "same", activation="tanh", norm="operator", **options),
        layers.SpectralConv2D(4, 4, 2, "same", activation="tanh", norm="matrix", **options),
        keras.layers.Flatten(),
        layers.SpectralDense(config["output_dim"], **options),
    ):
        x = layer(x)
    critic = keras.Model(inputs, x)
    model = methods.build(config, "image", _SHAPE)
    fields = {field: getattr(model, field) for field in model.get_config()}
    return _wake(type(model)(**{**fields, "critic": critic}))


def _batch(model, update=1):
    low, high = model.image_range
    real = np.random.RandomState(1).uniform(low, high, size=(_COUNT, *_SHAPE))
    noise = Noise(seed=3, step=tf.constant(5, tf.int64), update=update)
    return methods.Batch(tf.constant(real, tf.float32), noise)


def _fake(model, batch):
    latents = batch.noise.latents(_COUNT, model.latent_dim, model.latent_distribution)
    return model.generator(latents, training=True)


def _numpy(tensor):
    return tf.cast(tensor, tf.float64).numpy()


def _outputs(model, examples):
    return _numpy(model.critic(examples, training=True))


def _jacobian(model, examples):
    """Returns the Jacobians `[n, s, d]` of the critic's outputs by every pixel and channel."""
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(examples)
        columns = tf.unstack(model.critic(examples, training=True), axis=1)
    gradients = [tape.gradient(column, examples) for column in columns]
    return np.stack([_numpy(g).reshape(len(g), -1) for g in gradients], axis=1)


def _distance(x, y):
    return np.sum((x[:, None] - y[None]) ** 2, axis=-1)


def _profile(distance, rbf, rq):
    terms = [np.exp(-distance / (2 * bandwidth**2)) for bandwidth in rbf]
    return sum(terms + [(1 + distance / (2 * rate)) ** -rate for rate in rq])


def _means(x, y, rbf, rq, estimator, bounds=(None, None, None)):
    """Means of k over pairs of xx, xy, yy; squared distances at least 0.25 or at most 4."""

    def mean(distance, bound, leave_out):
        if bound is not None:
            distance = (np.maximum if bound == _LOW else np.minimum)(distance, bound)
        keep = ~np.eye(len(distance), dtype=bool) if leave_out else np.ones(distance.shape, bool)
        return np.mean(_profile(distance, rbf, rq)[keep])

    within, across = estimator != "biased", estimator == "u_statistic"
    samples = ((x, x), (x, y), (y, y))
    rules = zip(samples, bounds, (within, across, within), strict=True)
    return tuple(mean(_distance(*pair), bound, leave_out) for pair, bound, leave_out in rules)


def _root(value):
    """The square root is kept finite at 0 by 1e-8 below it."""
    return np.sqrt(max(value, 0.0) + 1e-8)


def _squared_norms(jacobian):
    return np.sum(jacobian**2, axis=(1, 2))


def _penalty(norms):
    return np.mean((norms - 1) ** 2)


def _between(batch, fake):
    """Returns u x + (1 - u) y with one number u for each pair."""
    unit = batch.noise.unit("interpolation", [_COUNT]).numpy()[:, None, None, None]
    return tf.constant(unit * batch.real.numpy() + (1 - unit) * fake.numpy())


def _adversarial(model, batch, fake, x, y):
    """Returns what critic and generator minimise, and the critic's terms by name."""
    logistic = np.mean(np.logaddexp(0, -x)) + np.mean(np.logaddexp(0, y))
    critic, generator = {
        "non_saturating": lambda: (logistic, np.mean(np.logaddexp(0, -y))),
        "minimax": lambda: (logistic, -np.mean(np.logaddexp(0, y))),
        "hinge": lambda: (
            np.mean(np.maximum(1 - x, 0)) + np.mean(np.maximum(1 + y, 0)),
            -np.mean(y),
        ),
        "wasserstein": lambda: (np.mean(y) - np.mean(x), -np.mean(y)),
        "boundary_seeking": lambda: (logistic, 0.5 * np.mean(y**2)),
    }[_ADVERSARIAL[model.name]]()
    terms = {"score_real": np.mean(x), "score_fake": np.mean(y)}
    if model.name in ("wgan_gp", "sn_wgan_gp"):
        norms = np.sqrt(_squared_norms(_jacobian(model, _between(batch, fake))))
        terms["gradient_penalty"] = _penalty(norms)
        critic += 10 * terms["gradient_penalty"]
    elif "sobolev" in model.name:
        # Mroueh et al. (2018): the critic maximises E f(X) - E f(Y) + alpha (1 - Omega)
        # - rho / 2 (1 - Omega)^2, Omega the mean of |grad f|^2 over half real, half generated.
        omega = 0.5 * np.mean(_squared_norms(_jacobian(model, batch.real)))
        omega += 0.5 * np.mean(_squared_norms(_jacobian(model, fake)))
        alpha, rho = float(model.multiplier), 0.01
        terms |= {"sobolev_constraint": omega, "multiplier": alpha}
        critic -= alpha * (1 - omega) - rho / 2 * (1 - omega) ** 2
    elif model.name == "cr_gan":
        moved = augmentation.shift_and_flip(batch.real, batch.noise)
        terms["consistency"] = np.mean((x - _outputs(model, moved)) ** 2)
        critic += 10 * terms["consistency"]
    return critic, generator, terms


def _witness_norms(model, points, x, y, rbf, rq, normalize):
    """|grad eta(phi(z))| by the chain rule; grad_t k(t, a) = g(d) (t - a) with d = |t - a|^2."""
    jacobian, features = _jacobian(model, points), _outputs(model, points)

    def by_feature(sample):
        distance = _distance(features, sample)
        slope = sum(-np.exp(-distance / (2 * b**2)) / b**2 for b in rbf)
        slope = slope + sum(-((1 + distance / (2 * a)) ** (-a - 1)) for a in rq)
        return np.mean(slope[..., None] * (features[:, None] - sample[None]), axis=1)

    gradient = np.einsum("ns,nsd->nd", by_feature(x) - by_feature(y), jacobian)
    if normalize:
        xx, xy, yy = _means(x, y, rbf, rq, "biased")
        gradient = gradient / np.sqrt(xx + yy - 2 * xy)
    return np.linalg.norm(gradient, axis=1)


def _activations(critic, examples):
    """Mean squares of what the nonlinearities and the last layer give out, summed."""
    total, x = 0.0, examples
    for layer in critic.layers[1:]:
        x = layer(x)
        bent = getattr(layer, "activation", None) not in (None, keras.activations.linear)
        if bent or isinstance(layer, (keras.layers.LeakyReLU, keras.layers.ReLU)):
            total += np.mean(_numpy(x) ** 2)
    return total + np.mean(_numpy(x) ** 2)


def _with_kernel(model, batch, fake, x, y, **changes):
    row = {
        **{"repulsion": -1.0, "bounds": (None, None, None), "minus": 0.0, "scale": 0.0},
        **{"witness": 0.0, "activations": 0.0, "autoencoder": 0.0, "feasible": 0.0},
        **{"root": False, "generator": "scaled", "normalize": False},
        **(_KERNEL[model.name] | changes),
    }
    kernel = {key: row[key] for key in ("rbf", "rq", "estimator")}
    xx, xy, yy = _means(x, y, **kernel)
    mmd2 = xx + yy - 2 * xy
    terms = {"mmd2": mmd2, "kernel_xx": xx, "kernel_xy": xy, "kernel_yy": yy}
    bounded = _means(x, y, bounds=row["bounds"], **kernel)
    if row["bounds"] != (None, None, None):
        terms |= {
            f"bounded_kernel_{n}": v for n, v in zip(("xx", "xy", "yy"), bounded, strict=True)
        }
    repulsion = row["repulsion"]
    critic = repulsion * bounded[0] - (repulsion - 1) * bounded[1] - bounded[2] - row["minus"]
    generator = mmd2
    if row["root"]:
        critic, generator = -_root(mmd2), _root(mmd2)
    if row["scale"]:
        squared = np.mean(_squared_norms(_jacobian(model, batch.real)))
        scale = 1 / (1 + row["scale"] * sum(1 / b**2 for b in row["rbf"]) * squared)
        terms |= {"scale": scale, "critic_gradient_squared": squared}
        critic *= scale
        generator *= scale if row["generator"] == "scaled" else 1.0
    if row["feasible"]:
        # Li et al. (2017): D maximises, G minimises 16 times it; D wants E f(x) >= E f(y).
        terms["feasible_set"] = -np.mean(np.maximum(y.mean(0) - x.mean(0), 0))
        critic -= row["feasible"] * terms["feasible_set"]
        generator += row["feasible"] * terms["feasible_set"]
    if row["autoencoder"]:
        for name, examples, code in (("real", batch.real, x), ("fake", fake, y)):
            decoded = model.decoder(tf.constant(code, tf.float32), training=True)
            value = np.mean((_numpy(examples) - _numpy(decoded)) ** 2)
            terms[f"reconstruction_{name}"] = value
            critic += row["autoencoder"] * value
    if row["witness"]:
        norms = _witness_norms(
            model, _between(batch, fake), x, y, row["rbf"], row["rq"], row["normalize"]
        )
        terms["gradient_penalty"] = _penalty(norms)
        critic += row["witness"] * terms["gradient_penalty"]
    if row["activations"]:
        terms["activation_penalty"] = sum(_activations(model.critic, v) for v in (batch.real, fake))
        critic += row["activations"] * terms["activation_penalty"]
    return critic, generator, terms


def _linear(model, batch, fake, x, y, scale=10.0):
    value = np.mean(x) - np.mean(y)
    squared = np.mean(_squared_norms(_jacobian(model, batch.real)))
    factor = 1 / np.sqrt(1 + scale * (np.mean(x**2) + squared))
    terms = {"mean_difference": value, "scale": factor, "critic_gradient_squared": squared}
    return -factor * value, factor * value, terms


def _expected(model, batch, **changes):
    """Returns what the critic and the generator minimise, and what is logged of the critic."""
    fake = _fake(model, batch)
    # Real and generated examples in passes of their own: so batch normalisation needs it.
    x, y = _outputs(model, batch.real), _outputs(model, fake)
    kind = _adversarial if model.name in _ADVERSARIAL else _with_kernel
    kind = _linear if model.name in _LINEAR else kind
    return kind(model, batch, fake, x, y, **changes)


class LossTest(parameterized.TestCase, tf.test.TestCase):
    def _check(self, model, batch, expected, players=("critic", "generator")):
        losses = model.losses(batch, players)
        self.assertCountEqual(losses, players)
        for player in players:
            value = losses[player][0]
            self.assertEqual((value.dtype, value.shape), (tf.float32, ()))
            wanted = expected[("critic", "generator").index(player)]
            self.assertAllClose(value, wanted, rtol=1e-3, atol=1e-6, msg=player)
        return losses

    @_each
    def test_against_the_formula(self, method):
        model, batch, expected = _kept(method)
        self.assertGreater(abs(expected[0]), 1e-4)
        losses = self._check(model, batch, expected, ("critic",))
        diagnostics = losses["critic"][1]
        self.assertCountEqual(diagnostics, expected[2])
        for name, value in expected[2].items():
            self.assertAllClose(diagnostics[name], value, rtol=1e-3, atol=1e-5, msg=name)
        self._check(model, batch, expected, ("generator",))

    @_one_of_each_class
    def test_both_players_at_once(self, method):
        self._check(*_kept(method))

    @_one_of_each_class
    def test_noise_decides_the_examples(self, method):
        model, batch, _ = _kept(method)
        value = model.losses(batch, ("generator",))["generator"][0]
        again = model.losses(batch, ("generator",))["generator"][0]
        other = model.losses(_batch(model, update=2), ("generator",))["generator"][0]
        self.assertAllEqual(value, again)
        self.assertNotAllClose(value, other)

    @parameterized.parameters("smmd", "swgan")
    def test_the_generators_scale_can_be_switched_off(self, method):
        model, batch, (critic, generator, terms) = _kept(method)
        self.assertLess(terms["scale"], 0.9)
        for field, value in (("scale_generator_loss", False), ("scale_weight", 0.0)):
            model = _model(method, **{field: value})
            for players in (("generator",), ("critic", "generator")):
                losses = model.losses(batch, players)
                self.assertAllClose(
                    losses["generator"][0], generator / terms["scale"], rtol=1e-3, atol=1e-7
                )
            if field == "scale_weight":
                critic /= terms["scale"]
            self.assertAllClose(
                model.losses(batch, ("critic",))["critic"][0], critic, rtol=1e-3, atol=1e-7
            )

    @parameterized.parameters("sn_smmd", "sn_swgan")
    def test_scale_weight(self, method):
        model = _model(method, scale_weight=0.5)
        batch = _batch(model)
        expected = _expected(model, batch, scale=0.5)
        self._check(model, batch, expected)
        diagnostics = model.losses(batch, ("critic",))["critic"][1]
        self.assertAllClose(diagnostics["scale"], expected[2]["scale"], rtol=1e-4)

    def test_kernel_and_estimator_are_those_of_the_config(self):
        for estimator in ("unbiased", "biased", "u_statistic"):
            model = _model("mmd_opt", kernel="gaussian_mixture", estimator=estimator, output_dim=3)
            batch = _batch(model)
            self._check(model, batch, _expected(model, batch, rbf=_RBF, estimator=estimator))
        # SMMD with several outputs and a mixture: the slopes of the five kernels add.
        model = _model("smmd", kernel="gaussian_mixture", output_dim=3)
        batch = _batch(model)
        self._check(model, batch, _expected(model, batch, rbf=_RBF))
        # "1" of eq. S8 is the kernel's largest value; a sum of five kernels has 5.
        model = _model("mmd_rep_gp", kernel="gaussian_mixture", output_dim=2)
        batch = _batch(model)
        self._check(model, batch, _expected(model, batch, rbf=_RBF, minus=5.0))

    def test_every_part_of_mmd_gan_has_its_switch(self):
        for fields, changes in (
            ({"objective": "mmd2", "autoencoder_weight": 3.0}, {"root": False, "autoencoder": 3.0}),
            ({"feasible_set_weight": 2.5}, {"feasible": 2.5}),
            ({"critic_batch_norm": False}, {}),
            (
                {"autoencoder_weight": 0.0, "feasible_set_weight": 0.0},
                {"autoencoder": 0.0, "feasible": 0.0},
            ),
        ):
            model = _model("mmd_gan", **fields)
            self.assertEqual(model.decoder is None, fields.get("autoencoder_weight") == 0.0)
            batch = _batch(model)
            self._check(model, batch, _expected(model, batch, **changes))

    def test_penalties_have_their_switches(self):
        for method, fields, changes in (
            (
                "mmd_gan_gp",
                {"penalty_weight": 7.0, "normalize_witness": True},
                {"witness": 7.0, "normalize": True},
            ),
            (
                "mmd_rep",
                {"penalty": "gradient", "penalty_weight": 2.0, "activation_weight": 0.5},
                {"witness": 2.0, "activations": 0.5},
            ),
            (
                "mmd_lambda",
                {"repulsion": 2.0, "bounding": "sign"},
                {"repulsion": 2.0, "bounds": (_HIGH, _LOW, _LOW)},
            ),
        ):
            model = _model(method, **fields)
            batch = _batch(model)
            self._check(model, batch, _expected(model, batch, **changes))

    def test_the_generator_is_never_bounded(self):
        model = _model("mmd_rep_b", bounding="none")
        bounded, batch, _ = _kept("mmd_rep_b")
        free, other = (m.losses(batch, ("critic", "generator")) for m in (model, bounded))
        self.assertAllEqual(free["generator"][0], other["generator"][0])
        self.assertGreater(abs(free["critic"][0] - other["critic"][0]), 1e-4)

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

    def test_the_decoder_belongs_to_the_critic(self):
        model, _, _ = _kept("mmd_gan")
        decoder = model.decoder.trainable_variables
        ids = {id(variable) for variable in model.players["critic"]}
        self.assertContainsSubset({id(variable) for variable in decoder}, ids)
        self.assertCountEqual(model.players, ("generator", "critic"))
        gradients = self._gradients(model, "critic", decoder)
        self.assertGreater(max(float(tf.norm(g)) for g in gradients if g is not None), 1e-3)
        for gradient in self._gradients(model, "generator", decoder):
            self.assertIsNone(gradient)

    @parameterized.parameters(
        *("mmd_opt", "mmd_rbf", "smmd", "sn_smmd", "swgan", "hinge", "gan"),
        *("wgan_gp", "sobolev_gan", "cr_gan", "mmd_gan", "mmd_gan_gp_l2", "mmd_rep_gp"),
        *("mmd_rbf_b", "mmd_rep_b"),
    )
    def test_critic_against_finite_differences(self, method):
        # Through everything at once: sigma, scale, penalties, features of real and of generated.
        model = _smooth_model(method)
        if method == "sobolev_gan":
            model.multiplier.assign(0.7)
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
            ends.append(_expected(model, _batch(model))[0])
        self.assertAllClose((ends[0] - ends[1]) / 6e-3, size, rtol=1e-2, atol=0)


class UpdateTest(parameterized.TestCase, tf.test.TestCase):
    """What an update does beside a step of the optimizer."""

    def _trained(self, method, **overrides):
        model = _model(method, **overrides)
        model.compile({player: keras.optimizers.SGD(0.0) for player in model.players})
        examples = np.random.RandomState(2).uniform(size=(_COUNT, *_SHAPE)).astype(np.float32)
        return model, examples

    def test_sobolev_multiplier(self):
        # alpha <- alpha + rho (Omega - 1) after a critic update, and only then.
        model, examples = self._trained("sobolev_gan", critic_steps=3, penalty_weight=0.2)
        model.multiplier.assign(0.3)
        alpha = 0.3
        low, high = model.image_range
        for update in range(3):
            noise = Noise(model.seed, tf.constant(0, tf.int64), update)
            batch = methods.Batch(tf.constant(low + (high - low) * examples), noise)
            omega = _expected(model, batch)[2]["sobolev_constraint"]
            alpha += 0.2 * (omega - 1)
        logs = model.train_step(examples)
        self.assertAllClose(model.multiplier, alpha, rtol=1e-4)
        self.assertGreater(abs(alpha - 0.3), 1e-2)
        # What is logged is what the last critic update used.
        self.assertAllClose(logs["multiplier"], alpha - 0.2 * (omega - 1), rtol=1e-3, atol=1e-5)

    def test_clipping_is_for_the_critic_alone(self):
        model, examples = self._trained("mmd_gan", critic_steps=1)
        outside = {
            name: [v.numpy() for v in network.trainable_variables]
            for name, network in (("decoder", model.decoder), ("generator", model.generator))
        }
        self.assertTrue(any(np.any(np.abs(v) > 0.01) for v in outside["decoder"]))
        before = [v.numpy() for v in model.critic.trainable_variables]
        model.train_step(examples)
        for variable, value in zip(model.critic.trainable_variables, before, strict=True):
            # Scales and offsets of batch normalisation too, as in Li et al.
            self.assertAllClose(variable, np.clip(value, -0.01, 0.01), atol=1e-7)
        for name, network in (("decoder", model.decoder), ("generator", model.generator)):
            for variable, value in zip(network.trainable_variables, outside[name], strict=True):
                self.assertAllEqual(variable, value, msg=variable.path)

    def test_a_generators_update_clips_nothing(self):
        model, examples = self._trained("wgan")
        before = [v.numpy() for v in model.critic.trainable_variables]
        model._update(model._batch(tf.constant(examples), 0), ("generator",))
        for variable, value in zip(model.critic.trainable_variables, before, strict=True):
            self.assertAllEqual(variable, value)

    def test_batch_normalisation_sees_real_and_generated_apart(self):
        # Together they would share means and deviations: other features.
        model, batch, _ = _kept("wgan")
        fake = _fake(model, batch)
        together = model.critic(tf.concat([batch.real, fake], axis=0), training=True)
        real, generated = model.outputs_on_both(batch, fake)
        self.assertAllClose(real, _outputs(model, batch.real), rtol=1e-4, atol=1e-5)
        self.assertAllClose(generated, _outputs(model, fake), rtol=1e-4, atol=1e-5)
        self.assertNotAllClose(together[:_COUNT], real, rtol=1e-2)

    def test_critics_with_batch_normalisation_train(self):
        for method in ("wgan", "mmd_gan"):
            kinds = {type(layer) for layer in _kept(method)[0].critic.layers}
            self.assertIn(keras.layers.BatchNormalization, kinds)


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

    @parameterized.parameters("wgan_gp", "sobolev_gan", "mmd_gan_gp", "smmd", "swgan")
    def test_gradients_at_each_example_need_a_critic_without_batch_normalisation(self, method):
        # The gradient of a sum of scores at one example is that of its own score alone only if the
        # critic does not mix examples.
        with self.assertRaisesRegex(UserError, "set critic_batch_norm=False"):
            methods.build(_config(method, critic_batch_norm=True), "image", _SHAPE)

    def test_a_square_root_goes_with_the_attractive_loss_alone(self):
        for field, value in (("repulsion", 1.0), ("bounding", "paper")):
            with self.assertRaisesRegex(UserError, f"objective='mmd' .*{field}={value!r}"):
                methods.build(_config("mmd_gan", **{field: value}), "image", _SHAPE)

    def test_bounds_and_scales_need_a_stationary_kernel(self):
        for method in ("mmd_rep_b", "smmd", "mmd_rep_gp"):
            for kernel in ("linear", "rational_quadratic_mixture_dot"):
                with self.assertRaisesRegex(UserError, "stationary"):
                    methods.build(_config(method, kernel=kernel), "image", _SHAPE)
