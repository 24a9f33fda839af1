"""MMD nets and Kernel GANs as methods: what they compare, and the autoencoder of a code space."""

import pathlib
import tempfile
from unittest import mock

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized

import contract
from kgzoo import config, data, methods, serving
from kgzoo.errors import UserError
from kgzoo.methods import Batch
from kgzoo.methods.noise import Noise
from kgzoo.training import loop
from kgzoo.training.checkpoints import Checkpoints

_LOG4 = np.log(4.0)


def _batch(real, step=3, update=0):
    return Batch(tf.constant(real, tf.float32), Noise(5, tf.constant(step, tf.int64), update))


def _squared(x, y):
    return np.sum((x[:, None] - y[None]) ** 2, axis=-1)


def _mmd(x, y, bandwidths):
    """The biased MMD (GRAM paper, eq. 2) under a sum of Gaussians."""

    def mean(a, b):
        return np.mean(sum(np.exp(-_squared(a, b) / (2 * s**2)) for s in bandwidths))

    return np.sqrt(mean(x, x) - 2 * mean(x, y) + mean(y, y))


def _halves(x, y, bandwidths, phi=0.0):
    """The halves of eq. 12, kernels not normalised."""

    def density(at, of):
        return np.mean(sum(np.exp(-_squared(at, of) / (2 * s**2)) for s in bandwidths), axis=1)

    found = []
    for at, own, other in ((x, x, y), (y, y, x)):
        p, q = density(at, own) + phi, density(at, other) + phi
        found.append(np.mean(np.log(p / (p + q))))
    return found


class DataSpaceTest(parameterized.TestCase, tf.test.TestCase):
    def setUp(self):
        super().setUp()
        self.real = np.random.RandomState(0).normal(size=(9, 2)).astype(np.float32)

    def _compared(self, name, batch, **overrides):
        """Returns a model, its losses at a batch, and the generated points, float64."""
        model = contract.toy(name, **overrides)
        fake = model.generate(batch, ("generator",)).numpy().astype(np.float64)
        return model, model.losses(batch, ("generator",))["generator"], fake

    def test_mmd_net_is_the_mmd_of_the_samples(self):
        bandwidths = (2.0, 0.5)
        _, (loss, logs), fake = self._compared("mmd_net", _batch(self.real), bandwidths=bandwidths)
        self.assertAllClose(loss, _mmd(self.real, fake, bandwidths), rtol=1e-4)
        self.assertAllClose(logs["mmd2"], loss**2, rtol=1e-4, atol=1e-6)
        _, (square, _), _ = self._compared(
            "mmd_net", _batch(self.real), bandwidths=bandwidths, objective="mmd2"
        )
        self.assertAllClose(square, loss**2, rtol=1e-4, atol=1e-6)

    def test_median_rule(self):
        _, (loss, _), fake = self._compared(
            "mmd_net", _batch(self.real), bandwidths=(0.5,), bandwidth_rule="median"
        )
        pooled = np.concatenate([self.real, fake])
        distances = np.sqrt(_squared(pooled, pooled))[np.triu_indices(len(pooled), 1)]
        self.assertAllClose(loss, _mmd(self.real, fake, (0.5 * np.median(distances),)), rtol=1e-4)

    @parameterized.parameters(0.0, 0.3)
    def test_kernel_gan_is_equation_12(self, phi):
        _, (loss, logs), fake = self._compared(
            "kernel_gan", _batch(self.real), bandwidths=(1.0, 0.3), density_offset=phi
        )
        first, second = _halves(self.real.astype(np.float64), fake, (1.0, 0.3), phi)
        self.assertAllClose(logs["jsd_first"], first, rtol=1e-4)
        self.assertAllClose(logs["jsd_second"], second, rtol=1e-4)
        self.assertAllClose(loss, first + second, rtol=1e-4)

    def test_no_critic_is_built(self):
        for name in ("mmd_net", "kernel_gan"):
            model = contract.toy(name)
            self.assertFalse(model.has_critic)
            self.assertEqual(list(model.players), ["generator"])
            self.assertEqual(model.schedule, (("generator",),))
            self.assertEqual(model.extra_updates(0), 0)

    def test_random_bandwidth_scales_all(self):
        batch = _batch(self.real)
        model, (loss, _), fake = self._compared(
            "mmd_net", batch, bandwidths=(1.0,), random_bandwidth=1.0
        )
        factor = float(model.bandwidth(batch))
        self.assertNotAllClose(factor, 1.0, rtol=1e-2)
        self.assertAllClose(loss, _mmd(self.real, fake, (factor,)), rtol=1e-4)

    def test_correction_uses_uniform_points(self):
        arguments = {"image_range": (0.0, 1.0), "density_offset": 0.2}
        model = contract.model("kernel_gan", bounded_correction="corrected", **arguments)
        batch = _batch(np.random.RandomState(0).rand(8, 8, 8, 1))
        loss, logs = model.losses(batch, ("generator",))["generator"]
        plain, _ = contract.model("kernel_gan", **arguments).losses(batch, ("generator",))[
            "generator"
        ]
        self.assertAllClose(loss - plain, logs["jsd_correction"], rtol=1e-4, atol=1e-6)
        self.assertLess(float(logs["jsd_correction"]), 0)

    def test_complaint_when_nothing_overlaps(self):
        model = contract.toy("kernel_gan", bandwidths=(1e-3,))
        _, logs = model.losses(_batch(100 + self.real), ("generator",))["generator"]
        self.assertIn("bandwidths", model.complaint({k: float(v) for k, v in logs.items()}))
        self.assertEqual(model.complaint({"jensen_shannon": -_LOG4}), "")

    @parameterized.parameters(
        ("kernel_gan", {"bandwidths": ()}, "bandwidths"),
        ("kernel_gan", {"bounded_correction": "corrected"}, "bounded_correction.*set"),
        ("mmd_net", {"space": "critic"}, "space='critic' is not for MMDNet; choose"),
        ("mmd_net", {"label_smoothing": 0.1}, "label_smoothing=0.1.*set"),
        ("mmd_net", {"early_critic_steps": 9}, "early_critic_steps=9.*set"),
        ("kernel_gan_ae", {"instance_noise": 0.1}, "instance_noise=0.1.*set"),
        ("mmd_net", {"estimator": "unbiased"}, "estimator='unbiased'.*set"),
        ("kernel_gan", {"bandwidths": (1.0,), "bandwidth_schedule": "staircase"}, "two bandwidths"),
        ("kernel_gan", {"autoencoder_weight": 3.0}, "autoencoder_weight=3.0 has no effect"),
        *(
            ("kernel_gan", {field: value}, f"{field}={value!r} has no effect on kernel_gan.*leave")
            for field, value in (
                *(("critic_steps", 5), ("output_dim", 7), ("spectral", "pim")),
                *(("clip_weights", 0.1), ("critic_learning_rate", 0.5), ("autoencoder_steps", 9)),
            )
        ),
        ("mmd_net_ae", {"critic_steps": 5}, "critic_steps=5 has no effect on mmd_net_ae.*leave"),
    )
    def test_refusals(self, name, overrides, words):
        with self.assertRaisesRegex(UserError, words):
            contract.toy(name, **overrides)


class BandwidthScheduleTest(tf.test.TestCase):
    def _used(self, model, steps):
        real = np.zeros([4, 2], np.float32)
        found = []
        for step in steps:
            _, logs = model.losses(_batch(real, step), ("generator",))["generator"]
            found.append(float(logs["bandwidth"]))
        return found

    def _model(self, schedule):
        return contract.toy(
            "kernel_gan",
            bandwidths=(0.8, 0.4, 0.1),
            bandwidth_schedule=schedule,
            bandwidth_every_steps=10,
        )

    def test_staircase(self):
        found = self._used(self._model("staircase"), (0, 9, 10, 19, 20, 1000))
        self.assertAllClose(found, [0.8, 0.8, 0.4, 0.4, 0.1, 0.1])

    def test_geometric(self):
        found = self._used(self._model("geometric"), (0, 5, 10, 99))
        self.assertAllClose(found, [0.8, np.sqrt(0.8 * 0.1), 0.1, 0.1], rtol=1e-5)

    def test_plateau(self):
        model = self._model("plateau")
        logs = {"jensen_shannon": tf.constant(-1.0)}
        for _ in range(10):
            model._after_update(("generator",), logs)
        self.assertAllClose(self._used(model, (0,)), [0.8])
        model._after_update(("generator",), logs)
        self.assertAllClose(self._used(model, (0,)), [0.4])
        # Progress puts the next one off.
        for number in range(30):
            loss = tf.constant(-1.0 - number)
            model._after_update(("generator",), {"jensen_shannon": loss})
        self.assertAllClose(self._used(model, (0,)), [0.4])
        for _ in range(2000):
            model._after_update(("generator",), {"jensen_shannon": tf.constant(-30.0)})
        self.assertAllClose(self._used(model, (0,)), [0.1])

    def test_plateau_survives_a_file(self):
        model = self._model("plateau")
        for _ in range(11):
            model._after_update(("generator",), {"jensen_shannon": tf.constant(-1.0)})
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "model.keras"
            model.save(path)
            again = keras.saving.load_model(path)
        self.assertAllClose(self._used(again, (0,)), [0.4])


class CriticSpaceTest(tf.test.TestCase):
    def test_min_max_with_a_decoder(self):
        model = contract.model("kernel_gan_critic")
        real = np.random.RandomState(0).uniform(-1, 1, size=(8, 8, 8, 1))
        batch = _batch(real)
        losses = model.losses(batch, ("critic",))
        loss, logs = losses["critic"]
        # Batch normalisation: real and generated examples pass one after the other.
        code = model.critic_outputs(batch.real).numpy().astype(np.float64)
        made = model.generate(batch, ("critic",))
        of_made = model.critic_outputs(made).numpy().astype(np.float64)
        value = sum(_halves(code, of_made, model.bandwidths))
        errors = [
            np.mean((examples.numpy() - model.decoder(codes, training=True).numpy()) ** 2)
            for examples, codes in ((batch.real, code), (made, of_made))
        ]
        self.assertAllClose(loss, 100 * sum(errors) - value, rtol=1e-3)
        self.assertAllClose(logs["reconstruction_real"], errors[0], rtol=1e-3)
        loss, _ = model.losses(batch, ("generator",))["generator"]
        self.assertAllClose(loss, value, rtol=1e-3)
        self.assertEqual(model.schedule[0], ("critic",))
        self.assertGreater(model.extra_updates(0), 0)


class CodeSpaceTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        self.images = contract.source("mmd_net_ae").examples[:8]

    def _state(self, model):
        return {
            "code_generator": [v.numpy() for v in model._code_generator.trainable_variables],
            "decoder": [v.numpy() for v in model._decoder.trainable_variables],
            "encoder": [v.numpy() for v in model.encoder.trainable_variables],
        }

    def assert_moved(self, before, after, moved):
        for name, values in before.items():
            changed = any(np.any(a != b) for a, b in zip(values, after[name], strict=True))
            self.assertEqual(changed, name in moved, name)

    def test_each_phase_moves_its_own_networks(self):
        for name in ("mmd_net_ae", "kernel_gan_ae"):
            model = contract.compiled(name)
            before = self._state(model)
            logs = model.extra_update(self.images, tf.constant(0))
            self.assertEqual(set(logs), {"autoencoder_loss"})
            middle = self._state(model)
            self.assert_moved(before, middle, {"encoder", "decoder"})
            # The average, which samples, has this decoder from the start.
            latents = tf.zeros([2, model.latent_dim])
            expected = model.to_unit_range(model.generator(latents, training=False))
            self.assertAllClose(model.decode(latents), expected, atol=1e-6)
            model.train_step(self.images)
            self.assert_moved(middle, self._state(model), {"code_generator"})
            self.assertEqual(int(model.step), 1)
            self.assertEqual(int(model.autoencoder_updates), 1)

    def test_losses_compare_codes(self):
        model = contract.compiled("mmd_net_ae")
        batch = model._batch(tf.constant(self.images), 0)
        loss, _ = model.losses(batch, ("generator",))["generator"]
        codes = model.encoder(batch.real, training=False).numpy().astype(np.float64)
        made = model.generate(batch, ("generator",)).numpy().astype(np.float64)
        self.assertEqual(made.shape, codes.shape)
        self.assertAllClose(loss, _mmd(codes, made, model.bandwidths), rtol=1e-3)

    def test_cross_entropy_of_the_reconstruction(self):
        model = contract.compiled("mmd_net_ae", autoencoder_dropout=0.0)
        batch = model._batch(tf.constant(self.images), 0)
        loss, _ = model.autoencoder_losses(batch)["autoencoder"]
        x = batch.real.numpy().astype(np.float64)
        p = model._decoder(model.encoder(batch.real, training=True), training=True).numpy()
        p = np.clip(p.astype(np.float64), 1e-6, 1 - 1e-6)
        expected = -np.mean(x * np.log(p) + (1 - x) * np.log(1 - p))
        self.assertAllClose(loss, expected, rtol=1e-4)

    def test_dropout_is_drawn_anew_for_each_update_and_layer(self):
        model = contract.compiled("mmd_net_ae", autoencoder_dropout=0.5)
        draws, real = [], Noise.unit

        def unit(noise, purpose, shape, slot=0):
            drawn = real(noise, purpose, shape, slot)
            if purpose == "dropout":
                draws.append((slot, drawn.numpy().ravel()[:4]))
            return drawn

        with mock.patch.object(Noise, "unit", unit):
            for index in (0, 1, 1):
                model.autoencoder_losses(model._batch(tf.constant(self.images), 7 + index))
        layers = len(draws) // 3
        self.assertGreater(layers, 1)
        first, second, again = (draws[i * layers : (i + 1) * layers] for i in range(3))
        for (_, one), (_, other), (_, same) in zip(first, second, again, strict=True):
            self.assertNotAllClose(one, other)
            self.assertAllEqual(other, same)
        self.assertLen({slot for slot, _ in first}, layers)
        self.assertNotAllClose(first[0][1], first[1][1])

    def test_autoencoder_learns(self):
        model = contract.toy("mmd_net_ae", autoencoder_steps=60, output_dim=2)
        points = np.random.RandomState(0).normal(size=(64, 2)).astype(np.float32)
        batch = model._batch(tf.constant(points), 0)
        before, _ = model.autoencoder_losses(batch)["autoencoder"]
        model.pretrain(points, 32)
        self.assertEqual(int(model.autoencoder_updates), 60)
        after, _ = model.autoencoder_losses(batch)["autoencoder"]
        self.assertLess(float(after), float(before))

    def test_fit_pretrains_once(self):
        model = contract.compiled("mmd_net_ae", autoencoder_steps=3)
        model.fit(self.images, batch_size=4, epochs=1, verbose=0)
        self.assertEqual(int(model.autoencoder_updates), 3)
        self.assertEqual(int(model.step), 2)
        model.fit(self.images, batch_size=4, epochs=1, verbose=0)
        self.assertEqual(int(model.autoencoder_updates), 3)

    def test_fit_refuses_before_it_pretrains(self):
        model = contract.compiled("mmd_net_ae", autoencoder_steps=3)
        with self.assertRaisesRegex(UserError, "x spans"):
            model.fit(255.0 * self.images.astype(np.float32), batch_size=4, verbose=0)
        self.assertEqual(int(model.autoencoder_updates), 0)
        with self.assertRaisesRegex(ValueError, "compile"):
            contract.model("mmd_net_ae").fit(self.images, batch_size=4, verbose=0)
        # As `train_step` takes them: a batch for each update.
        batches = tf.data.Dataset.from_tensors(self.images[None])
        model.fit(batches, verbose=0)
        self.assertEqual(int(model.autoencoder_updates), 3)

    def test_exports_encode_and_reconstruct(self):
        model = contract.compiled("kernel_gan_ae")
        card = serving.ModelCard("kernel_gan_ae", "paper", {}, steps=1, seed=5)
        with tempfile.TemporaryDirectory() as folder:
            path = serving.export_model(model, folder, "kernel_gan_ae", card)
            loaded = tf.saved_model.load(str(path)).signatures
        images = self.images.astype(np.float32) / 255
        codes = loaded["encode"](images=images)["codes"]
        self.assertEqual(codes.shape, (8, model.encoder.output_shape[-1]))
        self.assertAllClose(codes, model.encoder(images, training=False), atol=1e-5)
        made = loaded["reconstruct"](images=images)["images"]
        self.assertAllClose(made, model._decoder(codes, training=False), atol=1e-5)


class PretrainingLoopTest(tf.test.TestCase):
    """The training loop trains the autoencoder first, and survives a kill in the middle of it."""

    FIELDS = {
        **contract.TOY,
        "steps": 3,
        "autoencoder_steps": 7,
        "checkpoint_every_steps": 3,
        "log_every_steps": 1,
        "score_every_steps": 0,
        "bandwidths": (1.0,),
        "output_dim": 2,
    }

    def setUp(self):
        super().setUp()
        tf.config.run_functions_eagerly(True)
        self.addCleanup(tf.config.run_functions_eagerly, False)
        whole = data.load("gaussian")
        self.source = data.Source("gaussian", "vector", (2,), 64, whole.examples[:64])
        self.settings = config.compose("mmd_net_ae", "gaussian", overrides=self.FIELDS)

    def _train(self, folder):
        strategy = tf.distribute.get_strategy()
        model = methods.build(self.settings, "vector", (2,))
        model.compile(methods.build_optimizers(self.settings, model.players))
        saved = Checkpoints(folder / "checkpoints")
        saved.restore(model)
        loop.train(model, self.source, None, self.settings, folder, strategy, "the same line")
        return model

    def test_killed_in_pretraining(self):
        folders = [
            pathlib.Path(self.enter_context(tempfile.TemporaryDirectory())) for _ in range(2)
        ]
        whole = self._train(folders[0])
        self.assertEqual(int(whole.autoencoder_updates), 7)
        self.assertEqual(int(whole.optimizers["autoencoder"].iterations), 7)
        self.assertEqual(int(whole.optimizers["generator"].iterations), 3)

        class Killed(BaseException):
            pass

        real = Checkpoints.save

        def save(checkpoints, model, *others):
            real(checkpoints, model, *others)
            if int(model.autoencoder_updates) == 6:
                raise Killed

        with mock.patch.object(Checkpoints, "save", save), self.assertRaises(Killed):
            self._train(folders[1])
        memory = Checkpoints(folders[1] / "checkpoints").extra(0)
        self.assertEqual(int(memory["extra_updates_done"]), 6)
        resumed = self._train(folders[1])
        for wanted, found in zip(
            contract.state(whole).values(), contract.state(resumed).values(), strict=True
        ):
            np.testing.assert_array_equal(found, wanted)


if __name__ == "__main__":
    tf.test.main()
