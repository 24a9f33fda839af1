"""Kernels as a third player: who learns from what, Omega in the losses, the scaled loss."""

import functools

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized

import contract
from kgzoo import catalog, config, kernels, methods
from kgzoo.discrepancies import kernel_scale, mmd, repulsive, scaled
from kgzoo.errors import UserError
from kgzoo.methods import Batch
from kgzoo.methods.noise import Noise

TRAINED = [
    name
    for name, row in catalog.ROWS.items()
    if row.kernel in ("ikl", "dk", "dk2", "dk_pd") and not row.target.endswith(":VAE")
]


def _batch(name, step=3, update=0):
    examples = contract.source(name).examples[: contract.BATCH_SIZE]
    real = tf.cast(examples, tf.float32) / 127.5 - 1.0
    return Batch(real, Noise(5, tf.constant(step, tf.int64), update))


class PlayersTest(parameterized.TestCase, tf.test.TestCase):
    def test_eight_rows_train_their_kernel(self):
        self.assertLen(TRAINED, 8)
        for name in TRAINED:
            row = catalog.row(name)
            settings = contract.tiny_config(name)
            self.assertEqual(row.kernel, settings["kernel"])
            self.assertEqual(row.kernel_penalty_weight, 0.1)

    def test_schedule_and_optimizers(self):
        model = contract.model("rep_dk")
        self.assertEqual(list(model.players), ["generator", "critic", "kernel"])
        self.assertEqual(model.schedule, (("critic", "kernel"), ("generator",)))
        settings = config.compose(
            "sn_mmd_dk", "digits", overrides={"learning_rate_multiplier": 3.0}
        )
        found = methods.build_optimizers(settings, model.players)
        self.assertAllClose(found["kernel"].learning_rate, 3.0 * 0.01 * 1e-4)
        self.assertAllClose(found["generator"].learning_rate, 3.0 * 1e-4)

    def test_gradients_are_those_of_the_critics_loss(self):
        # A power iteration before the update would change what the critic is.
        model = contract.model("rep_dk", spectral="none")
        model.compile({p: keras.optimizers.SGD(1.0) for p in model.players})
        batch = _batch("rep_dk")
        before = {p: [v.numpy() for v in vs] for p, vs in model.players.items()}
        kept = {p: vs for p, vs in model.players.items() if p != "generator"}
        gradients = {}
        for player, variables in kept.items():
            with tf.GradientTape() as tape:
                loss, _ = model.losses(batch, ("critic", "kernel"))["critic"]
            gradients[player] = tape.gradient(loss, [v.value for v in variables])
        model._update(batch, ("critic", "kernel"))
        for player, variables in kept.items():
            for variable, old, gradient in zip(
                variables, before[player], gradients[player], strict=True
            ):
                gradient = 0.0 if gradient is None else gradient.numpy()
                self.assertAllClose(old - variable.numpy(), gradient, rtol=1e-3, atol=1e-5)
        for variable, old in zip(model.players["generator"], before["generator"], strict=True):
            self.assertAllEqual(variable, old)

    def test_a_generator_update_leaves_the_kernel(self):
        model = contract.compiled("rep_dk")
        before = [v.numpy() for v in model.players["kernel"]]
        model._update(_batch("rep_dk"), ("generator",))
        for variable, old in zip(model.players["kernel"], before, strict=True):
            self.assertAllEqual(variable, old)
        self.assertEqual(int(model.optimizers["kernel"].iterations), 0)

    def test_extra_updates_train_both(self):
        model = contract.compiled("rep_dk", early_critic_steps=3)
        model.extra_update(contract.source("rep_dk").examples[:8], tf.constant(0))
        counts = {p: int(o.iterations) for p, o in model.optimizers.items()}
        self.assertEqual(counts, {"generator": 0, "critic": 1, "kernel": 1})


class LossesTest(parameterized.TestCase, tf.test.TestCase):
    def _features(self, model, batch):
        fake = model.generate(batch, ("critic",))
        return model.outputs_on_both(batch, fake)

    @parameterized.parameters("rep_ikl", "rep_dk", "rep_dk2", "rep_dk_pd", "sn_mmd_dk")
    def test_omega_joins_all_three(self, name):
        model = contract.model(name, kernel_penalty_generator_weight=0.3)
        batch = _batch(name)
        x, y = self._features(model, batch)
        kernel = model.kernel_of(batch)
        loss, _ = repulsive.critic_loss(kernel, x, y, model.repulsion, "none", model.estimator)
        omega = kernel.penalty(x, y, "frobenius")
        self.assertGreater(float(omega), 0.1)
        losses = model.losses(batch, ("critic", "kernel"))
        self.assertAllClose(losses["critic"][0], loss + 0.1 * omega, rtol=1e-4, atol=1e-5)
        self.assertIs(losses["kernel"][0], losses["critic"][0])
        value, _ = mmd.mmd2(kernel, x, y, model.estimator)
        found, logs = model.losses(batch, ("generator",))["generator"]
        self.assertAllClose(found, value + 0.3 * omega, rtol=1e-4, atol=1e-5)
        self.assertAllClose(logs["kernel_penalty"], omega, rtol=1e-4)

    def test_pairs_and_norm(self):
        batch = _batch("rep_dk")
        found = {}
        for pairs in ("cross", "real"):
            for norm in ("frobenius", "squared"):
                model = contract.model(
                    "rep_dk", kernel_penalty_pairs=pairs, kernel_penalty_norm=norm
                )
                x, y = self._features(model, batch)
                _, logs = model.losses(batch, ("critic", "kernel"))["critic"]
                expected = model.kernel_of(batch).penalty(x, y if pairs == "cross" else x, norm)
                self.assertAllClose(logs["kernel_penalty"], expected, rtol=1e-4)
                found[pairs, norm] = float(expected)
        self.assertLen(set(found.values()), 4)

    def test_smallest_eigenvalue_is_logged(self):
        model = contract.model("rep_dk_pd")
        batch = _batch("rep_dk_pd")
        x, _ = self._features(model, batch)
        _, logs = model.losses(batch, ("critic", "kernel"))["critic"]
        gram = model.kernel_of(batch).matrix(x, x).numpy().astype(np.float64)
        smallest = np.linalg.eigvalsh(gram)[0]
        self.assertAllClose(logs["kernel_smallest_eigenvalue"], smallest, rtol=1e-3, atol=1e-5)
        self.assertGreater(smallest, -1e-6 * np.trace(gram))

    def test_divergence_shows_in_the_losses_and_not_in_the_eigenvalue(self):
        model = contract.compiled("rep_dk")
        weight = model.critic.trainable_variables[0]
        weight.assign(tf.fill(weight.shape, float("nan")))
        logs = tf.function(model.train_step)(contract.source("rep_dk").examples[:8])
        self.assertTrue(np.isnan(logs["critic_loss"]))
        self.assertTrue(np.isnan(logs["kernel_smallest_eigenvalue"]))

    def test_the_spectral_sample_is_the_updates_own(self):
        model = contract.model("rep_ikl")
        x = tf.constant(np.random.RandomState(0).normal(size=(5, 16)), tf.float32)
        matrices = [
            model.kernel_of(_batch("rep_ikl", step, update)).matrix(x, x).numpy()
            for step, update in ((3, 0), (3, 0), (3, 1), (4, 0))
        ]
        self.assertAllEqual(matrices[0], matrices[1])
        self.assertNotAllClose(matrices[0], matrices[2])
        self.assertNotAllClose(matrices[0], matrices[3])

    @parameterized.parameters(*kernel_scale.FORMS)
    def test_smmd_dk(self, form):
        model = contract.model("sn_smmd_dk", scale_form=form, kernel_penalty_weight=0.0)
        batch = _batch("sn_smmd_dk")
        batch = batch._replace(real=(batch.real + 1.0) / 2.0)
        x, gram = scaled.features_and_jacobian_gram(model.critic_outputs, batch.real)
        y = model.critic_outputs(model.generate(batch, ("critic",)))
        kernel = model.kernel_of(batch)
        scale = kernel_scale.kernel_scale(kernel, x, gram, form, model.scale_weight, 1.0)
        value, _ = mmd.mmd2(kernel, x, y, model.estimator)
        loss, logs = model.losses(batch, ("critic", "kernel"))["critic"]
        self.assertAllClose(logs["scale"], scale, rtol=1e-4)
        self.assertAllClose(loss, -scale * value, rtol=1e-3, atol=1e-6)

    def test_monte_carlo_is_near_the_closed_form(self):
        batch = _batch("rep_dk")
        values = {}
        for expectation in ("closed_form", "monte_carlo"):
            model = contract.model("rep_dk", kernel_expectation=expectation, kernel_samples=2000)
            x, y = self._features(model, batch)
            values[expectation] = model.kernel_of(batch).matrix(x / 4, y / 4)
        self.assertAllClose(values["closed_form"], values["monte_carlo"], atol=0.15)


class RefusalsTest(parameterized.TestCase):
    @parameterized.parameters(
        ("mmd_rep", {"kernel_penalty_weight": 0.1}, "kernel_penalty_weight=0.1 needs a trained"),
        ("mmd_rep", {"kernel_samples": 5}, "kernel_samples=5 is for trained kernels"),
        ("gcmmd", {"kernel": "dk"}, "kernel=.*is trained.*use"),
        ("swgan", {"kernel": "dk"}, "kernel=.*choose"),
        ("mmd_rep_gp", {"kernel": "dk"}, "kernel=.*choose"),
        ("rep_dk", {"random_bandwidth": 0.5}, "random_bandwidth=0.5.*set"),
        ("rep_dk", {"bounding": "paper"}, "bounding='paper'.*set"),
        ("hinge", {"kernel_penalty_weight": 0.1}, "kernel_penalty_weight=0.1 is not used"),
        ("mmd_rep", {"kernel_learning_rate_ratio": 0.1}, "kernel_learning_rate_ratio=0.1 has no"),
        ("smmd", {"scale_form": "authors"}, "scale_form='authors' has no effect.*set"),
        ("sn_smmd_dk", {"regularization": 3.0}, "regularization=3.0 has no effect.*set"),
    )
    def test_one_sentence(self, name, overrides, words):
        with self.assertRaisesRegex(UserError, words) as caught:
            contract.model(name, **overrides)
        self.assertNotIn("\n", str(caught.exception))

    def test_a_kernel_by_value(self):
        make = functools.partial(kernels.KernelNet, "dk_pd", width=8)
        model = contract.model("mmd_rep")
        networks = {"generator": model.generator, "critic": model.critic}
        rebuilt = methods.method_class("mmd_rep")(**networks, kernel=make(), critic_steps=2)
        self.assertEqual(rebuilt.schedule, (("critic", "kernel"),) * 2 + (("generator",),))
        self.assertEqual(rebuilt.kernel.width, 8)


if __name__ == "__main__":
    tf.test.main()
