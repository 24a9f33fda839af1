"""Figure 5 of the KernelNet paper: targets, distance, gradient, and a short training."""

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
from scipy import optimize, stats

from kgzoo.errors import UserError
from kgzoo.reproductions import figure, sampler

DRAWS = unittest.skipUnless(importlib.util.find_spec("matplotlib"), "matplotlib is not installed")
LAPLACE = stats.laplace(0, 2)
LEFT, RIGHT = stats.norm(-2, 1), stats.norm(2, 1)
GRID = np.concatenate([np.linspace(-12, 12, 48), [-40.0, -0.01, 0.01, 40.0]])


def mixture_pdf(z):
    return 0.3 * LEFT.pdf(z) + 0.7 * RIGHT.pdf(z)


def mixture_slope(z):
    return -0.3 * (z + 2) * LEFT.pdf(z) - 0.7 * (z - 2) * RIGHT.pdf(z)


class TargetsTest(tf.test.TestCase):
    def test_log_densities(self):
        far = np.logaddexp(np.log(0.3) + LEFT.logpdf(GRID), np.log(0.7) + RIGHT.logpdf(GRID))
        for name, expected in (("laplace", LAPLACE.logpdf(GRID)), ("mixture", far)):
            found = sampler.TARGETS[name].log_density(tf.constant(GRID))
            self.assertAllClose(found, expected, rtol=1e-12, atol=1e-12)

    def test_scores(self):
        near = np.linspace(-9.0, 9.0, 50)
        found = sampler.target_scores(tf.constant([near, near], tf.float32))
        self.assertEqual(list(sampler.TARGETS), ["laplace", "mixture"])
        self.assertAllClose(found[0], np.where(near < 0, 0.5, -0.5), rtol=1e-6)
        self.assertAllClose(found[1], mixture_slope(near) / mixture_pdf(near), atol=1e-4)

    def test_distribution_functions(self):
        mixture = 0.3 * LEFT.cdf(GRID) + 0.7 * RIGHT.cdf(GRID)
        for name, expected in (("laplace", LAPLACE.cdf(GRID)), ("mixture", mixture)):
            found = sampler.TARGETS[name].cdf(GRID)
            self.assertAllClose(found, expected, rtol=1e-12, atol=1e-15)

    def test_the_valley_is_a_minimum_between_the_modes(self):
        found = sampler.valley()
        self.assertAllClose(found, optimize.brentq(mixture_slope, -1.5, 1.5), atol=1e-4)
        self.assertGreater(mixture_slope(found + 0.01), 0)
        self.assertLess(mixture_slope(found - 0.01), 0)


class DistanceTest(unittest.TestCase):
    def test_agrees_with_scipy(self):
        random = np.random.default_rng(0)
        for count, shift, scale in ((1, 0, 1), (2, 5, 1), (7, -1, 2), (500, 0, 1), (500, 1, 0.5)):
            samples = shift + scale * random.laplace(0, 2, count)
            found = sampler.ks_distance(samples.astype(np.float32), LAPLACE.cdf)
            expected = stats.kstest(samples, LAPLACE.cdf, method="asymp").statistic
            self.assertAlmostEqual(found, expected, places=6)

    def test_no_number_is_as_far_as_can_be(self):
        self.assertEqual(sampler.ks_distance(np.array([0.0, np.nan, 1.0]), LAPLACE.cdf), 1.0)

    def test_distances_of_exact_samples(self):
        self.assertAlmostEqual(100 * sampler._EXACT_MEAN, stats.kstwobign.mean(), places=3)
        self.assertAlmostEqual(100 * sampler._EXACT_95, stats.kstwobign.ppf(0.95), places=3)


class SamplersTest(tf.test.TestCase):
    def test_gradient_is_that_of_the_samples_times_the_difference_of_scores(self):
        # The score of N(0, 3) stands for the estimate, and finite differences for the chain rule.
        arm = sampler.Arm("exact", lambda z, setting: -z / 3.0, {})
        setting = sampler.Setting(noise_dim=2, batch_size=5)
        model = sampler.Samplers(arm, setting, [4, 5], 10)
        random = np.random.default_rng(1)
        noise = random.standard_normal([2, 2, 5, 2])
        weights = [weight.numpy().astype(np.float64) for weight in model._weights]

        def decode(weights):
            one = np.tanh(noise @ weights[0] + weights[1])
            two = np.tanh(one @ weights[2] + weights[3])
            return two @ weights[4] + weights[5]

        z = decode(weights)
        laplace, mixture = -np.sign(z[0]) / 2, mixture_slope(z[1]) / mixture_pdf(z[1])
        difference = -z / 3 - np.stack([laplace, mixture])
        found = model.gradients(tf.constant(noise, tf.float32))
        ways = [random.standard_normal(weight.shape) for weight in weights]
        ends = [
            decode([weight + step * way for weight, way in zip(weights, ways, strict=True)])
            for step in (1e-5, -1e-5)
        ]
        slope = np.sum(difference * (ends[0] - ends[1]) / 2e-5, axis=(2, 3)) / 5
        products = [np.sum(g * way, axis=(2, 3)) for g, way in zip(found, ways, strict=True)]
        self.assertAllClose(np.sum(products, axis=0), slope, rtol=1e-4, atol=1e-4)

    def test_a_seed_learns_as_if_it_were_alone(self):
        setting = sampler.Setting(batch_size=20)
        samples = []
        for seeds in ([3, 0], [0]):
            model = sampler.Samplers(sampler.ARMS["stein"], setting, seeds, 5)
            before = model.samples(30)
            model.advance(2)
            model.advance(3)
            samples.append((before, model.samples(30)))
        for of_two, alone in zip(*samples, strict=True):
            self.assertAllClose(of_two[:, 1], alone[:, 0], rtol=1e-3, atol=1e-3)
            self.assertNotAllClose(of_two[:, 0], alone[:, 0], atol=0.1)
        # Targets share weights and noise until they are trained, and part then.
        self.assertAllClose(before[0], before[1])
        self.assertNotAllClose(*samples[1][1], atol=0.01)
        draws = [
            model._normal([50, 1], stream, step).numpy()
            for stream in (sampler._TRAINING, sampler._SAMPLES)
            for step in (0, 1)
        ]
        self.assertEqual(len(np.unique([draw[0] for draw in draws])), 200)


class SamplerTest(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))

    @DRAWS
    def test_quick_run_learns_and_writes_both_files(self):
        with contextlib.redirect_stderr(io.StringIO()) as told:
            result = sampler.run(self.folder, quick=True)
        self.assertEqual(json.loads((self.folder / "sampler.json").read_text()), result)
        picture = (self.folder / "sampler.png").read_bytes()
        self.assertEqual(picture[:8], b"\x89PNG\r\n\x1a\n")
        self.assertEqual(len(told.getvalue().splitlines()), 2)
        self.assertEqual(list(result["arms"]), ["stein", "spectral"])
        for of in result["arms"].values():
            self.assertEqual(of["at_steps"], [0, 60, 120, 180, 240, 300])
            for curve in of["ks_at_steps_by_seed"].values():
                self.assertEqual(np.shape(curve), (6, 1))
                self.assertGreater(curve[0][0], 0.3)
                self.assertLess(curve[-1][0], 0.12)
            self.assertAlmostEqual(of["left_share_by_seed"][0], 0.3, delta=0.12)
            self.assertAlmostEqual(of["deviation_by_seed"]["mixture"][0], 2.09, delta=0.4)
        self.assertIsNone(result["settings"]["search"])
        self.assertEqual(len(result["findings"]), 6)
        for row in result["findings"]:
            self.assertEqual(set(row), {"quantity", "found", "paper"})
        self.assertEqual(result["settings"]["budget"], "quick")
        self.assertRegex(result["findings"][0]["found"], r"^0\.\d{4}, one seed; untrained ")

    @DRAWS
    def test_the_picture_says_of_how_many_seeds_it_is(self):
        for seeds, words in ((1, "one seed"), (3, "mean and range of 3 seeds")):
            ks = dict.fromkeys(sampler.TARGETS, np.full([2, seeds], 0.1))
            of = {"at_steps": [0, 5], "ks_at_steps_by_seed": ks}
            made = np.zeros([2, seeds, sampler._NUM_SAMPLES])
            _, axes = figure.new_figure(1, 3, 6.0, 2.0)
            sampler._draw(axes[0], sampler.ARMS["stein"], of, made)
            self.assertEqual(axes[0, -1].get_title().splitlines()[-1], words)

    @DRAWS
    def test_search_has_a_row_for_every_setting(self):
        trained = []

        def train(arm, seeds, points, setting=sampler._SETTING):
            trained.append((arm.title, list(seeds), points[-1], setting))
            ks = {"laplace": [[0.1, 0.2]] * len(points), "mixture": [[0.3, 0.6]] * len(points)}
            of = {"at_steps": points, "ks_at_steps_by_seed": ks, "left_share_by_seed": [0.3, 0.3]}
            return {**of, "seconds": 1.0}, np.zeros([2, 2, sampler._NUM_SAMPLES])

        options = {"steps": 2500, "seeds": 2, "arms": "spectral,stein,stein", "search": True}
        with (
            contextlib.redirect_stderr(io.StringIO()),
            mock.patch.object(sampler, "_train", train),
        ):
            result = sampler.run(self.folder, **options)
        search = result["settings"]["search"]
        self.assertEqual((search["steps"], search["seeds"]), (2000, [100, 101]))
        self.assertEqual([one[1:3] for one in trained[:2]], [([0, 1], 2500)] * 2)
        for row, (title, seeds, steps, setting) in zip(search["rows"], trained[2:], strict=True):
            self.assertEqual((seeds, steps), ([100, 101], 2000))
            self.assertEqual(sampler.ARMS[row["arm"]].title, title)
            self.assertLessEqual(len(row["changed"]), 1)
            self.assertEqual(setting, sampler.Setting()._replace(**row["changed"]))
            self.assertAlmostEqual(row["ks_mean"], 0.3)
        settings = {(one[0], one[3]) for one in trained[2:]}
        self.assertEqual(len(settings), len(search["rows"]))
        changed = [row["changed"] for row in search["rows"] if row["arm"] == "stein"]
        self.assertIn({}, changed)
        self.assertIn({"ridge": 0.1}, changed)
        self.assertNotIn("eigenfunctions", [key for change in changed for key in change])

    def test_wrong_options_are_refused_before_anything_is_trained(self):
        for options, word in (
            ({"steps": -1}, "steps=-1"),
            ({"steps": True}, "steps=True"),
            ({"seeds": 1.5}, "seeds=1.5"),
            ({"arms": "stein,spectrl"}, "did you mean 'spectral'"),
        ):
            with self.assertRaisesRegex(UserError, word):
                sampler.run(self.folder, quick=True, **options)
        self.assertEqual(os.listdir(self.folder), [])


if __name__ == "__main__":
    tf.test.main()
