"""KernelNet's Table 3 at a tiny scale on digits: runs, likelihoods, what is said of them."""

import functools
import importlib.util
import json
import pathlib
import re
import shlex
import shutil
import tempfile
import unittest
from unittest import mock

import numpy as np
import tensorflow as tf
from scipy import special

from kgzoo import config, data
from kgzoo.errors import UserError
from kgzoo.evaluation import ais
from kgzoo.reproductions import figure, nll, nll_runs
from kgzoo.training import loop, run_folder

DRAWS = unittest.skipUnless(importlib.util.find_spec("matplotlib"), "matplotlib is not installed")
TINY = {"arms": "sivi,vae", "steps": 30, "test_points": 4, "chains": 2, "temperatures": 20}


def by_prior(model, examples, count=100_000):
    """log p(x) as the logarithm of the mean of p(x|z) over samples of the prior, in float64."""
    latents = np.random.default_rng(0).standard_normal([count, model.latent_dim])
    logits = model.decoder_logits(tf.constant(latents, tf.float32)).numpy().astype(np.float64)
    logits, pixels = logits.reshape([count, -1]), examples.reshape([len(examples), -1]) / 255.0
    logs = pixels @ logits.T - np.logaddexp(0.0, logits).sum(axis=1)
    return special.logsumexp(logs, axis=1) - np.log(count)


def row(value, **more):
    """A row of the JSON file as `_findings` needs it."""
    quality = {"effective_sample_size": {"mean": 3.0}, "acceptance": 0.7, "ais": {"chains": 5}}
    quality |= {"bidirectional_gap": {"gap": 0.1}, "diverged": "", "minus_vae": None}
    quality |= {"printed": None, "steps": 10}
    return {"nll": value, "standard_error": 0.5, **quality, **more}


class OptionsTest(unittest.TestCase):
    def test_scales_and_their_numbers(self):
        paper = nll.scale_of(False, "paper", steps=0, test_points=500)
        self.assertEqual(tuple(paper), (0, 500, 10, 1000, 10, "sigmoid"))
        self.assertEqual(nll.scale_of(True, ""), nll.scale_of(False, "quick"))
        for arguments, numbers, words in (
            ((False, "papr"), {}, "did you mean 'paper'"),
            ((True, "paper"), {}, "quick contradicts scale=paper"),
            ((False, ""), {"chains": -1}, "chains=-1"),
            ((False, ""), {"steps": True}, "steps=True"),
        ):
            with self.assertRaisesRegex(UserError, words):
                nll.scale_of(*arguments, **numbers)

    def test_arms_keep_the_order_of_the_table(self):
        self.assertEqual(nll_runs.methods_of("sivi,vae"), ["vae", "sivi"])
        self.assertEqual(len(nll_runs.methods_of("")), 9)
        with self.assertRaisesRegex(UserError, "did you mean 'sivi'"):
            nll_runs.methods_of("sivy")

    def test_mistakes_come_before_any_file(self):
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name) / "nll"
            for options, words in (
                ({"data_dir": name}, "holds no prepared 'mnist'"),
                ({"dataset": "digits", "binarization": "none"}, "'none'"),
                ({"dataset": "cifar10"}, "'cifar10'"),
                ({"dataset": "digits", "arms": "gan"}, "'gan'"),
            ):
                with self.assertRaisesRegex(UserError, words):
                    nll.run(folder, **options)
            self.assertFalse(folder.exists())

    def test_the_rows_are_those_of_the_run_card_and_of_its_command(self):
        plan = nll_runs.Plan(pathlib.Path("a b"), data_dir="x", binarization="fixed", seed=3)
        every = {f"{name}_every_steps" for name in ("log", "sample", "checkpoint", "score")}
        for method in nll_runs.PRINTED:
            resolved = plan.compose(method)
            self.assertEqual(resolved.steps, nll_runs.PAPER_STEPS)
            words = shlex.split(plan.command(method, resolved.steps))
            given = dict(word[2:].split("=", 1) for word in words[3:])
            self.assertEqual(given.pop("workdir"), f"a b/{method}")
            typed = config.compose(card=given.pop("config"), overrides=given)
            differ = {name for name in typed if typed[name] != resolved[name]}
            self.assertLessEqual(differ, every)
            self.assertEqual((typed.method, typed.binarization), (method, "fixed"))
        card = config.cards_folder() / pathlib.Path(nll_runs.CARD).name
        for method, printed in nll_runs.PRINTED.items():
            self.assertTrue(re.search(rf"^  {method} +{printed:.2f} ", card.read_text(), re.M))


class ComparisonTest(unittest.TestCase):
    def test_differences_are_of_the_same_images(self):
        random = np.random.default_rng(1)
        images = random.normal(-90, 10, 50)
        values = {"vae": images, "sivi": images + 2 + random.normal(0, 0.1, 50)}
        values["info_vae"] = np.full(50, np.nan)
        rows = {
            name: row(-found.mean(), printed=nll_runs.PRINTED[name])
            for name, found in values.items()
        }
        nll._compare(rows, values)
        found = rows["sivi"]["minus_vae"]
        difference = values["vae"] - values["sivi"]
        self.assertAlmostEqual(found["mean"], difference.mean())
        self.assertLess(found["mean"], -1.9)
        error = np.sqrt(np.sum((difference - difference.mean()) ** 2) / 49 / 50)
        self.assertAlmostEqual(found["standard_error"], error)
        self.assertEqual(found["printed"], -1.29)
        self.assertIsNone(rows["vae"]["minus_vae"])
        self.assertIsNone(rows["info_vae"]["minus_vae"])

    def test_order_and_what_is_said(self):
        means = {"vae": 100.0, "sivi": 98.0, "info_vae": 99.0, "info_ivae_dk": None}
        rows = {name: row(mean, printed=nll_runs.PRINTED[name]) for name, mean in means.items()}
        rows["info_ivae_dk"]["diverged"] = "step 7: it is nan."
        order = nll._order(rows)
        self.assertEqual(order["found"], ["sivi", "info_vae", "vae"])
        self.assertEqual(order["printed"], ["info_vae", "sivi", "vae"])
        self.assertEqual((order["pairs"], order["pairs_as_printed"]), (3, 2))
        said = {line["quantity"]: line["found"] for line in nll._findings(rows)}
        self.assertEqual(said["vae: -log p(x), nats"], "100.00 +- 0.50")
        self.assertIn("step 7", said["info_ivae_dk: -log p(x), nats"])
        self.assertEqual(said["pairs of rows in the printed order"], "2 of 3")

    @DRAWS
    def test_other_data_have_nothing_printed_beside_them(self):
        folder = pathlib.Path("x")
        self.assertEqual(nll_runs.Plan(folder).printed, nll_runs.PRINTED)
        self.assertEqual(nll_runs.Plan(folder, "digits").printed, {})
        rows = {"vae": row(20.0), "sivi": row(None, diverged="step 7: it is nan.")}
        rows["info_vae"] = row(19.0, minus_vae={"mean": -1, "standard_error": 1, "printed": None})
        order = nll._order(rows)
        self.assertEqual((order["found"], order["printed"]), (["info_vae", "vae"], []))
        self.assertEqual(order["pairs"], 0)
        for line in nll._findings(rows):
            self.assertEqual(line["paper"], "not given", line)
        axis = figure.new_figure(1, 1, 4.0, 3.0)[1][0, 0]
        nll._draw_table(axis, rows)
        labels = axis.get_legend_handles_labels()[1]
        self.assertEqual(labels, ["found, +- 2 standard errors"])
        rows["vae"]["printed"] = 90.32
        axis = figure.new_figure(1, 1, 4.0, 3.0)[1][0, 0]
        nll._draw_table(axis, rows)
        self.assertIn("printed (Table 3)", axis.get_legend_handles_labels()[1])

    def test_what_is_not_comparable_is_said(self):
        resolved = {"dataset": "mnist", "binarization": "dynamic", "steps": nll_runs.PAPER_STEPS}
        paper = nll_runs.SCALES["paper"]
        whole = nll._not_comparable(paper, resolved, 5000)
        self.assertNotIn(";", whole)
        less = nll._not_comparable(paper._replace(chains=5), resolved | {"steps": 10}, 100)
        for words in ("10 of 562,500 updates", "100 of 5000 test points", "5 of 10 chains"):
            self.assertIn(words, less)
        self.assertIn("fixed", nll._not_comparable(paper, resolved | {"binarization": "fixed"}, 9))


@DRAWS
class RunTest(tf.test.TestCase):
    """One folder, filled once: what is there, what typing again does, what other verbs can do."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.folder = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        # Without compilation: the chains are those of ais_test, here they are few.
        for name in ("estimate", "bidirectional_gap"):
            plain = functools.partial(getattr(ais, name), jit=False)
            cls.enterClassContext(mock.patch.object(ais, name, plain))
        cls.first = cls.run_again()

    @classmethod
    def run_again(cls, **options):
        return nll.run(cls.folder, dataset="digits", **(TINY | options))

    def test_files_and_what_they_hold(self):
        self.assertEqual(json.loads((self.folder / "nll.json").read_text()), self.first)
        self.assertGreater((self.folder / "nll.png").stat().st_size, 10_000)
        self.assertEqual(list(self.first["rows"]), ["vae", "sivi"])
        for found in self.first["rows"].values():
            self.assertEqual((found["steps"], found["binarization"]), (30, "dynamic"))
            self.assertEqual(found["learning_rates"], {"generator": 0.002, "encoder": 0.002})
            self.assertBetween(found["effective_sample_size"]["mean"], 1.0, 2.0)
            self.assertBetween(found["acceptance"], 0.3, 1.0)
            self.assertLess(abs(found["bidirectional_gap"]["gap"]), 10.0)
            self.assertGreater(found["standard_error"], 0.0)
        settings = self.first["settings"]
        self.assertIn("digits instead of MNIST", settings["not_comparable"])
        self.assertEqual((settings["budget"], settings["quick"]), ("quick, changed", True))
        self.assertEqual({found["printed"] for found in self.first["rows"].values()}, {None})
        self.assertEqual({line["paper"] for line in self.first["findings"]}, {"not given"})

    def test_likelihoods_are_those_of_the_prior(self):
        test = data.load("digits", "test", image_size=8, binarization="fixed")
        points = nll_runs.chosen_points(test.num_examples, 4, 0)
        for method, found in self.first["rows"].items():
            model, recorded, step = run_folder.load_run(self.folder / method)
            self.assertEqual((step, recorded["config"]["method"]), (30, method))
            exact = by_prior(model, test.examples[points])
            # Two chains of twenty temperatures are a nat or so below.
            self.assertAllClose(found["nll"], -exact.mean(), atol=2.0)

    def test_typed_again_nothing_is_computed_twice_and_more_steps_go_on(self):
        with mock.patch.object(loop, "train", side_effect=AssertionError):
            self.assertEqual(self.run_again(), self.first)
            self.assertEqual(self.run_again(steps=20)["rows"]["vae"]["steps"], 30)
        own = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory())) / "copy"
        shutil.copytree(self.folder, own)
        with mock.patch.object(loop, "train", wraps=loop.train) as train:
            more = nll.run(own, dataset="digits", **(TINY | {"arms": "vae", "steps": 35}))
        self.assertEqual(train.call_count, 1)
        self.assertEqual(train.call_args.args[3]["steps"], 35)
        self.assertEqual(more["rows"]["vae"]["steps"], 35)
        self.assertNotEqual(more["rows"]["vae"]["nll"], self.first["rows"]["vae"]["nll"])
        steps = {path.name.split("_")[1] for path in (own / "vae" / "ais").iterdir()}
        self.assertEqual(steps, {"00000030", "00000035"})
        with self.assertRaisesRegex(UserError, "binarization=dynamic"):
            self.run_again(arms="sivi", binarization="fixed")

    def test_a_row_that_diverges_or_is_stopped(self):
        with tempfile.TemporaryDirectory() as name:
            options = {"dataset": "digits", **TINY, "arms": "vae"}
            error = loop.Diverged("step 3: encoder_loss is nan; nothing is saved.")
            with mock.patch.object(loop, "train", side_effect=error):
                found = nll.run(pathlib.Path(name), **options)
            self.assertIsNone(found["rows"]["vae"]["nll"])
            self.assertIn("step 3", found["findings"][0]["found"])
            error = loop.Stopped("SIGTERM: saved at step 3 of 30; to go on type x", 15)
            with mock.patch.object(loop, "train", side_effect=error):
                with self.assertRaisesRegex(UserError, "training of vae was stopped by SIGTERM"):
                    nll.run(pathlib.Path(name), **options)


if __name__ == "__main__":
    unittest.main()
