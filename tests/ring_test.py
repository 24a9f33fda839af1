"""The ring of the GRAM paper, and the small trainings behind it, at a few steps."""

import contextlib
import importlib.util
import io
import json
import os
import pathlib
import tempfile
import unittest
from unittest import mock

import numpy as np
import tensorflow as tf

from kgzoo import config
from kgzoo.errors import UserError
from kgzoo.reproductions import ring, toy_runs

DRAWS = unittest.skipUnless(importlib.util.find_spec("matplotlib"), "matplotlib is not installed")
SMALL = {"network": "mlp_two", "generator_width": 8, "critic_width": 8, "latent_dim": 2}
SMALL |= {"batch_size": 16, "latent_distribution": "normal", "ema_half_life_images": 0.0}


def brute_force(samples, centres, sd):
    """Counts by the words of the criterion, one sample at a time."""
    counts, near, wide, close = [0] * len(centres), 0, 0, 0
    for sample in samples:
        distances = [float(np.hypot(*(sample - centre))) for centre in centres]
        distance = min(distances)
        near += distance <= 10 * sd
        wide += distance <= 30 * sd
        close += distance <= 4 * sd
        if distance <= 10 * sd:
            counts[distances.index(distance)] += 1
    total = len(samples)
    return sum(count >= 0.05 * total for count in counts), near / total, wide / total, close / total


class ScoreTest(unittest.TestCase):
    def setUp(self):
        angle = 2 * np.pi * np.arange(8) / 8
        self.centres = 2 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
        self.facts = {"centres": self.centres.tolist(), "sd": 0.01}

    def test_agrees_with_brute_force(self):
        random = np.random.default_rng(0)
        for spread in (0.005, 0.03, 0.1, 0.4):
            mode = np.minimum(random.geometric(0.35, 2000) - 1, 7)
            samples = self.centres[mode] + spread * random.standard_normal([2000, 2])
            found = toy_runs.score(samples, self.facts)
            names = ("modes", "share_near", "share_wide", "share_4_sd")
            expected = brute_force(samples, self.centres, 0.01)
            np.testing.assert_allclose([found[name] for name in names], expected, atol=1e-12)
            self.assertFalse(found["diverged"])
        self.assertLess(found["modes"], 8)

    def test_a_mode_counts_from_five_percent_within_a_tenth(self):
        for count, distance, modes in ((500, 0.099, 1), (499, 0.099, 0), (500, 0.101, 0)):
            samples = np.zeros([10_000, 2])
            samples[:count] = self.centres[3] + [0.0, distance]
            self.assertEqual(toy_runs.score(samples, self.facts)["modes"], modes)

    def test_divergence(self):
        for value, diverged in ((19.0, False), (21.0, True), (np.nan, True), (np.inf, True)):
            samples = np.zeros([100, 2])
            samples[:, 0] = value
            self.assertEqual(toy_runs.score(samples, self.facts)["diverged"], diverged)


class ToyRunTest(tf.test.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.model = toy_runs.ToyRun("gan", "ring2d", SMALL)

    def _trained(self, seed, *steps):
        self.model.reset(seed)
        for count in steps:
            self.model.advance(count)
        return self.model.samples(50)

    def test_a_seed_gives_one_run_whatever_was_trained_before(self):
        first = self._trained(1, 5)
        self.assertEqual(self.model.step, 5)
        other = self._trained(0, 5)
        self.assertAllClose(self._trained(1, 3, 2), first, rtol=1e-4, atol=1e-4)
        self.assertNotAllClose(first, other, atol=0.01)
        self.model.reset(1)
        self.assertEqual(self.model.step, 0)
        self.assertNotAllClose(self.model.samples(50), first, atol=1e-4)

    def test_a_seed_of_the_config_is_that_of_weights_and_batches(self):
        first, other = (toy_runs.ToyRun("gan", "ring2d", SMALL | {"seed": s}) for s in (3, 3))
        other.reset(3)
        self.assertAllEqual(first._key, other._key)
        self.assertAllClose(first.samples(9), other.samples(9))
        self.model.reset(0)
        self.assertNotAllClose(first.samples(9), self.model.samples(9), atol=0.01)

    def test_the_steps_are_those_of_the_method(self):
        # The same batches and seeds by hand, without the graph of many steps.
        self.model.reset(0)
        by_hand = toy_runs.ToyRun("gan", "ring2d", SMALL)
        for _ in range(3):
            by_hand._one_step(by_hand._key)
        self.assertEqual(by_hand.step, 3)
        self.model.advance(3)
        self.assertAllClose(by_hand.samples(20), self.model.samples(20), rtol=1e-4, atol=1e-4)

    def test_batches_hold_other_data_at_every_step(self):
        seen = []

        def train_step(batch):
            seen.append(batch.numpy())
            self.model.model.step.assign_add(1)

        self.model.reset(0)
        with mock.patch.object(self.model.model, "train_step", train_step):
            for _ in range(2):
                self.model._one_step(self.model._key)
        updates = len(self.model.model.schedule)
        self.assertEqual(seen[0].shape, (updates, 16, 2))
        data = {tuple(point) for point in np.array(self.model.source.examples)}
        points = [tuple(point) for point in np.concatenate(seen).reshape(-1, 2)]
        self.assertTrue(data.issuperset(points))
        self.assertGreater(len(set(points)), 0.9 * len(points))

    def test_stops_when_a_weight_is_not_finite(self):
        self.model.reset(0)
        weight = self.model.model.generator.trainable_weights[0]
        weight.assign(np.full(weight.shape, np.nan))
        self.assertEqual(self.model.advance(3), {})
        self.assertEqual(self.model.step, 0)
        self.assertFalse(self.model.finite)
        self.model.reset(0)
        self.assertTrue(self.model.finite)


class RingTest(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))

    def _run(self, **options):
        # Of one width: each setting is a graph of its own.
        with (
            contextlib.redirect_stderr(io.StringIO()) as err,
            mock.patch.object(ring, "WIDTHS", (20,)),
        ):
            result = ring.run(self.folder, quick=True, arms="gan", **options)
        return result, err.getvalue()

    @DRAWS
    def test_writes_both_files_and_goes_on_where_it_stopped(self):
        result, told = self._run(steps=4)
        self.assertEqual(json.loads((self.folder / "ring.json").read_text()), result)
        picture = (self.folder / "ring.png").read_bytes()
        self.assertEqual(picture[:8], b"\x89PNG\r\n\x1a\n")
        self.assertEqual(len(told.splitlines()), 2)
        self.assertIn("min left", told)
        self.assertEqual(len(result["runs"]), 2)
        self.assertEqual({one["steps_done"] for one in result["runs"]}, {4})
        self.assertEqual({one["latent_dim"] for one in result["runs"]}, {2, 4})
        self.assertEqual(result["arms"]["gan"]["settings"], 2)
        for row in result["findings"]:
            self.assertEqual(set(row), {"quantity", "found", "paper"})
        self.assertIn("failed in every case", result["findings"][0]["paper"])

        store = self.folder / "runs" / "4_steps"
        kept = {path: path.read_bytes() for path in store.iterdir()}
        self.assertEqual(len(kept), 2)
        gone, torn = store / "gan_2_20_0.npz", store / "gan_4_20_0.npz"
        gone.unlink()
        torn.write_bytes(kept[torn][:100])
        made = []
        build = toy_runs.ToyRun
        with mock.patch.object(
            toy_runs, "ToyRun", side_effect=lambda *a: made.append(a[2]) or build(*a)
        ):
            again, told = self._run(steps=4)
        widths = [(fields["latent_dim"], fields["generator_width"]) for fields in made]
        self.assertCountEqual(widths, [(2, 20), (4, 20)])
        self.assertEqual(len(told.splitlines()), 2)
        self.assertEqual(
            [path for path in kept if path.read_bytes() == kept[path]],
            [path for path in kept if path not in (gone, torn)],
        )
        for before, after in zip(result["runs"], again["runs"], strict=True):
            self.assertAlmostEqual(before["share_wide"], after["share_wide"], delta=0.01)

    @DRAWS
    def test_runs_of_other_settings_are_not_taken(self):
        one = ring.Run("gan", 2, 20, 0)
        kept = {"samples": np.zeros([3, 2], np.float32), "steps_done": 4, "seconds": 1.0}
        ring._write(one, self.folder, 4, kept)
        self.assertEqual(ring._read(one, self.folder, 4)["steps_done"], 4)
        self.assertIsNone(ring._read(one, self.folder, 5))
        self.assertIsNone(ring._read(one._replace(seed=1), self.folder, 4))
        with mock.patch.dict(ring._COMMON, {"batch_size": 64}):
            self.assertIsNone(ring._read(one, self.folder, 4))

    def test_the_printed_settings(self):
        resolved = {
            name: config.compose(arm.method, "ring2d", None, ring.Run(name, 8, 100, 0).fields)
            for name, arm in ring.ARMS.items()
        }
        for name, of in resolved.items():
            with self.subTest(name):
                self.assertEqual((of.batch_size, of.latent_dim, of.generator_width), (200, 8, 100))
                self.assertEqual((of.latent_distribution, of.network), ("normal", "mlp_two"))
                self.assertEqual((of.adam_beta1, of.critic_batch_norm), (0.5, False))
                averaged = 20_000.0 if name == "gram" else 0.0
                self.assertEqual((of.ema_half_life_images, of.early_critic_steps), (averaged, 0))
        rates = {
            name: of.generator_learning_rate * of.learning_rate_multiplier
            for name, of in resolved.items()
        }
        expected = {"gram": 1e-3, "gram_printed": 1e-3, "mmd_net": 1e-3}
        expected |= {"gan": 1e-4, "gan_fast": 1e-3, "mmd_gan": 5e-5}
        self.assertEqual(rates, expected)
        by_width = [
            [ring.Run(arm, 8, width, 0).fields["generator_learning_rate"] for width in (20, 200)]
            for arm in ("gram", "gram_printed")
        ]
        self.assertEqual(by_width, [[5e-3, 1e-3], [1e-3, 1e-3]])
        self.assertEqual(resolved["mmd_net"].optimizer, "rmsprop")
        self.assertEqual((resolved["gram"].bandwidths, resolved["gram"].output_dim), ((1.0,), 10))
        li = resolved["mmd_gan"]
        self.assertEqual((li.clip_weights, li.critic_steps, li.output_dim), (0.1, 5, 10))
        self.assertTrue(li.autoencoder_weight > 0 and li.feasible_set_weight > 0)

    def test_summary_counts_settings_and_runs(self):
        found = {}
        for latent_dim, seed, modes, wide in ((2, 0, 8, 0.9), (2, 1, 7, 0.8), (4, 0, 8, 0.7)):
            shares = {"share_wide": wide, "share_near": 0.5, "share_4_sd": 0.1, "seconds": 1.0}
            scores = {"modes": modes, "diverged": False, **shares}
            found[ring.Run("gram", latent_dim, 20, seed)] = scores
        summary = ring._summary("gram", found)
        self.assertEqual((summary["settings"], summary["runs"]), (2, 3))
        self.assertEqual(summary["settings_covered_by_all_seeds"], 1)
        self.assertEqual(summary["settings_covered_by_first_seed"], 2)
        self.assertEqual((summary["runs_covered"], summary["runs_good"]), (2, 1))
        self.assertAlmostEqual(summary["mean_share_wide"], 0.8)
        self.assertAlmostEqual(summary["smallest_share_wide"], 0.7)

    def test_wrong_options_are_refused_before_anything_is_trained(self):
        for options, word in (
            ({"steps": -1}, "steps=-1"),
            ({"seeds": 1.5}, "seeds=1.5"),
            ({"arms": "gram,gann"}, "did you mean 'gan'"),
        ):
            with self.assertRaisesRegex(UserError, word):
                ring.run(self.folder, quick=True, **options)
        self.assertEqual(os.listdir(self.folder), [])


if __name__ == "__main__":
    tf.test.main()
