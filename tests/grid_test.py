"""Grids of trainings, with a stand-in for the child that trains: what runs, what is said of it."""

import contextlib
import importlib
import importlib.util
import io
import json
import os
import pathlib
import shutil
import signal
import sys
import tempfile
import threading
import time
import unittest
from unittest import mock

import numpy as np
import pytest

from kgzoo import config, reproductions
from kgzoo.errors import UserError
from kgzoo.reproductions import gram_sensitivity, grid, grid_runs, grid_table, stability
from kgzoo.reproductions.grid import FID, Arm, Budget, Claim

CLAIMS = (
    *("kernel_gan_table", "stability", "repulsion", "kernelnet", "lambda_sweep", "pico_sweep"),
    "gram_sensitivity",
)
# Trains nothing: leaves the files of a run folder, or ends as `plan.json` beside it says.
CHILD = r"""
import json, os, pathlib, signal, sys, time
flags = dict(word[2:].split("=", 1) for word in sys.argv[1:])
work = pathlib.Path(flags["workdir"])
root = pathlib.Path(os.environ["GRID_TEST_ROOT"])
place = str(work.relative_to(root))
with open(root / "calls.txt", "a") as calls:
    calls.write(place + "\n")
config = {name[7:]: value for name, value in flags.items() if name.startswith("config.")}
steps, seed = int(config["steps"]), int(config.get("seed", 0))
(work / "checkpoints").mkdir(parents=True, exist_ok=True)
typed = {"method": flags["method"], "steps": steps, "seed": seed}
(work / "config.json").write_text(json.dumps({"config": typed}))
plans = json.loads((root / "plan.json").read_text())
action = plans.get(place, "ok")
first = not (work / "checkpoints" / "step_00000005").exists()
def save():
    (work / "checkpoints" / "step_00000005").mkdir(exist_ok=True)
if action == "slow":
    print("step 3/10  7 images/s\nstep 4/10  8 images/s", flush=True)
    time.sleep(1)
if action == "hang" and first:
    def stop(number, frame):
        save()
        print("kgzoo: SIGTERM: saved", file=sys.stderr)
        sys.exit(143)
    signal.signal(signal.SIGTERM, stop)
    (root / "hangs").write_text(str(os.getpid()))
    time.sleep(30)
if action == "killed once" and first or action == "killed":
    save()
    os.kill(os.getpid(), signal.SIGKILL)
save()
if action == "diverged":
    print("kgzoo: step 7: critic_loss is nan; the checkpoint of step 5 is kept; start anew in "
          "another --workdir with a lower rate.", file=sys.stderr)
    sys.exit(1)
if action == "crashed":
    raise RuntimeError("out of luck")
if action == "refused":
    print("kgzoo: --data_dir=x is wrong; give y.", file=sys.stderr)
    sys.exit(2)
width = float(config.get("critic_width", 32))
fid = 100.0 / width + seed + 10 * (flags["method"] == "mmd_opt") + len(place) % 3
rows = [{"step": step, "generator_loss": -1.0, "critic_loss": 1.0, "kid": fid / step}
        for step in range(1, steps + 1)] + ["torn"]
text = "".join((json.dumps(row) if row != "torn" else '{"step"') + "\n" for row in rows)
(work / "metrics.jsonl").write_text(text)
entry = {"convention": "c", "extractor": "digits", "num_samples": 4}
card = {"fid": {"value": fid, **entry}, "kid": {"value": fid / 1000, **entry},
        "fid_between_real_halves": {"value": 0.1, **entry}, "class_shares": {"value": [0.5, 0.5]},
        "expected_entropy": {"value": 0.1 + seed, **entry}, "extractor": {"name": "digits"},
        "jsd": {"value": -1.2, "first": -0.7, "second": -0.5},
        "expected_entropy_of_reference": {"value": 0.3}, "step": steps}
(work / "scores.json").write_text(json.dumps(card))
(work / "result.json").write_text(json.dumps({"step": steps, "training_seconds": 1.0}))
"""
ARMS = {
    "a": Arm("smmd", "A", printed={"fid": 1.5}),
    "b": Arm("mmd_opt", "B", {"clip_gradient_norm": 1.0}),
}
BUDGETS = {
    "quick": Budget("digits", 10, seeds=2),
    "cpu": Budget("digits", 20, seeds=2, choice_steps=10),
    "paper": Budget("mnist", 10),
}
CLAIM = Claim("toy", "a paper, Table 1", ARMS, BUDGETS, expects=(("a", "b"),))


def score(place, seed, method, width=32.0):
    """The FID of the child above."""
    return 100.0 / width + seed + 10 * (method == "mmd_opt") + len(place) % 3


class GridCase(unittest.TestCase):
    def setUp(self):
        if importlib.util.find_spec("matplotlib") is None:
            self.skipTest("matplotlib is not installed")
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory())).resolve()
        child = self.folder / "child.py"
        child.write_text(CHILD)
        self.plan({})
        command = (sys.executable, "-I", "-S", str(child))
        self.enterContext(mock.patch.object(grid_runs, "COMMAND", command))
        environment = {"GRID_TEST_ROOT": str(self.folder)}
        self.enterContext(mock.patch.dict(os.environ, environment))
        self.enterContext(contextlib.redirect_stderr(io.StringIO()))

    def plan(self, actions):
        (self.folder / "plan.json").write_text(json.dumps(actions))

    def calls(self):
        """The children since the last look, by run folder."""
        path = self.folder / "calls.txt"
        calls = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return calls

    def run_grid(self, claim=CLAIM, **options):
        return grid.run(claim, self.folder, **options)


class RunsTest(GridCase):
    def test_table_is_numpys_and_the_file_is_complete(self):
        result = self.run_grid()
        self.assertEqual(
            self.calls(),
            ["quick/a/seed0", "quick/b/seed0", "quick/a/seed1", "quick/b/seed1"],
        )
        self.assertEqual(result, json.loads((self.folder / "toy.json").read_text()))
        self.assertEqual((self.folder / "toy.png").read_bytes()[:4], b"\x89PNG")
        for arm, method in (("a", "smmd"), ("b", "mmd_opt")):
            expected = np.array([score(f"quick/{arm}/seed{k}", k, method) for k in (0, 1)])
            found = result["arms"][arm]["scores"]["fid"]
            self.assertEqual(found["values"], expected.tolist())
            self.assertAlmostEqual(found["mean"], expected.mean(), places=12)
            self.assertAlmostEqual(found["std"], np.sqrt(((expected - expected.mean()) ** 2).sum()))
            self.assertEqual((found["min"], found["max"]), (expected.min(), expected.max()))
            self.assertEqual(found["runs"], 2)
            halves = ("jsd", "jsd_first", "jsd_second")
            self.assertEqual(result["arms"][arm]["scores"]["jsd_second"]["mean"], -0.5)
            # Of a list, of the data or of the reference: no score of the samples.
            self.assertEqual(
                set(result["arms"][arm]["scores"]), {"fid", "kid", "expected_entropy", *halves}
            )
        settings, machine = result["settings"], result["machine"]
        facts = [settings[name] for name in ("budget", "steps", "seeds")]
        self.assertEqual(facts, ["quick", 10, 2])
        self.assertTrue(settings["quick"])
        self.assertIn("last checkpoint", settings["scores_of"])
        self.assertEqual(settings["extractor"], ["digits"])
        self.assertEqual(
            set(machine), {"commit", "date", "cores", "cpu", "system", "python", "packages"}
        )
        self.assertGreaterEqual(machine["cores"], 1)
        self.assertTrue(machine["packages"]["tensorflow"])
        self.assertGreater(result["wall_seconds"], 0)
        for row in result["runs"]:
            self.assertEqual((row["outcome"], row["step"], row["attempts"]), ("finished", 10, 1))
            self.assertEqual(row["learning_rates"], {"generator": 5e-4, "critic": 5e-4})
            self.assertEqual(row["curves"]["kid"]["steps"][-1], 10)
        self.assertEqual(result["arms"]["b"]["fields"], {"clip_gradient_norm": 1.0})
        told = {row["quantity"]: row for row in result["findings"]}
        self.assertEqual(told["A: FID"]["paper"], "1.5")
        self.assertIn("2 runs", told["A: FID"]["found"])
        self.assertIn("critic 0.0005", told["B: learning rates"]["found"])
        self.assertEqual(told["A better than B, by FID"]["paper"], "yes")
        self.assertRegex(told["A better than B, by FID"]["found"], r"^yes \(")

    def test_finished_ones_are_skipped_and_more_seeds_or_steps_go_on(self):
        first = self.run_grid()
        self.calls()
        again = self.run_grid()
        self.assertEqual(self.calls(), [])
        self.assertEqual(again["runs"], first["runs"])
        more = self.run_grid(seeds=3, arms="b,a")
        self.assertEqual(self.calls(), ["quick/a/seed2", "quick/b/seed2"])
        self.assertEqual(list(more["arms"]), ["a", "b"])
        self.run_grid(steps=12, arms="a")
        self.assertEqual(self.calls(), ["quick/a/seed0", "quick/a/seed1"])
        with self.assertRaisesRegex(UserError, "has 12 steps and the grid asks for 10: .*equal"):
            self.run_grid()

    def test_a_killed_child_resumes_and_one_that_always_dies_does_not_end_the_rest(self):
        self.plan({"quick/a/seed0": "killed once", "quick/b/seed0": "killed"})
        result = self.run_grid()
        calls = self.calls()
        self.assertEqual(calls.count("quick/a/seed0"), 2)
        self.assertEqual(calls.count("quick/b/seed0"), 3)
        rows = {row["run"] + str(row["seed"]): row for row in result["runs"]}
        self.assertEqual((rows["a0"]["outcome"], rows["a0"]["attempts"]), ("finished", 2))
        self.assertEqual((rows["b0"]["outcome"], rows["b0"]["scores"]), ("failed", {}))
        self.assertIn("SIGKILL", rows["b0"]["said"])
        self.assertEqual(rows["b1"]["outcome"], "finished")
        self.assertEqual(result["arms"]["b"]["failed"], 1)
        self.assertEqual(result["arms"]["b"]["scores"]["fid"]["runs"], 1)
        # Asked for again, what failed is tried again, and nothing else.
        self.plan({})
        self.assertEqual(self.run_grid()["arms"]["b"]["failed"], 0)
        self.assertEqual(self.calls(), ["quick/b/seed0"])

    def test_a_traceback_is_no_reason_to_try_again_at_once(self):
        self.plan({"quick/a/seed0": "crashed"})
        result = self.run_grid(seeds=1)
        self.assertEqual(self.calls().count("quick/a/seed0"), 1)
        self.assertEqual(result["runs"][0]["said"], "RuntimeError: out of luck")
        self.assertIn("1 of 1 failed", result["findings"][0]["found"])

    def test_diverged_ones_are_counted_and_not_trained_again(self):
        self.plan({"quick/b/seed1": "diverged"})
        result = self.run_grid()
        of = result["arms"]["b"]
        self.assertEqual((of["runs"], of["finished"], of["diverged"]), (2, 1, 1))
        self.assertEqual(of["scores"]["fid"]["values"], [score("quick/b/seed0", 0, "mmd_opt")])
        self.assertIsNone(of["scores"]["fid"]["std"])
        row = next(row for row in result["runs"] if row["outcome"] == "diverged")
        self.assertEqual((row["diverged_at"], row["scores"], row["step"]), (7, {}, None))
        self.assertIn("critic_loss is nan", row["said"])
        told = {row["quantity"]: row["found"] for row in result["findings"]}
        self.assertIn("1 of 2 diverged", told["B: FID"])
        self.assertIn("no conclusion", told["A better than B, by FID"])
        self.calls()
        self.run_grid()
        self.assertEqual(self.calls(), [])

    def test_sigterm_reaches_the_child_and_the_same_command_goes_on(self):
        self.plan({"quick/b/seed0": "hang"})
        before = signal.getsignal(signal.SIGTERM)

        def stop():
            while not (self.folder / "hangs").exists():
                time.sleep(0.02)
            os.kill(os.getpid(), signal.SIGTERM)

        thread = threading.Thread(target=stop, daemon=True)
        thread.start()
        with self.assertRaisesRegex(
            grid_runs.Stopped, "SIGTERM.* b, seed 0, with 1 of 4"
        ) as caught:
            self.run_grid()
        thread.join()
        self.assertEqual(caught.exception.signal_number, signal.SIGTERM)
        self.assertIs(signal.getsignal(signal.SIGTERM), before)
        with self.assertRaises(ProcessLookupError):
            os.kill(int((self.folder / "hangs").read_text()), 0)
        self.assertTrue((self.folder / "quick/b/seed0/checkpoints/step_00000005").exists())
        self.assertFalse((self.folder / "toy.json").exists())
        self.calls()
        self.run_grid()
        self.assertEqual(self.calls(), ["quick/b/seed0", "quick/a/seed1", "quick/b/seed1"])

    def test_what_a_child_printed_last_is_shown_once(self):
        self.plan({"quick/a/seed1": "slow"})
        with (
            mock.patch.object(grid_runs, "_TOLD_EVERY_SECONDS", 0.05),
            contextlib.redirect_stderr(io.StringIO()) as told,
        ):
            self.run_grid()
        self.assertEqual(told.getvalue().count("  step 4/10  8 images/s\n"), 1)
        self.assertNotIn("step 3/10", told.getvalue())

    def test_choices_are_made_with_a_seed_of_their_own(self):
        widths = {"narrow": {"critic_width": 5}, "wide": {"critic_width": 50}}
        arms = {"a": ARMS["a"]._replace(choices=widths), "b": ARMS["b"]}
        claim = CLAIM._replace(arms=arms)
        result = self.run_grid(claim, budget="cpu", seeds=1)
        choice = result["arms"]["a"]["choice"]
        self.assertEqual((choice["chosen"], choice["steps"], choice["seed"]), ("wide", 10, 1000))
        expected = {
            label: score(f"cpu/choice/a/{label}/seed1000", 1000, "smmd", of["critic_width"])
            for label, of in widths.items()
        }
        self.assertEqual(choice["found"], expected)
        self.assertEqual(result["arms"]["a"]["title"], "A, wide")
        self.assertEqual(result["arms"]["a"]["fields"]["critic_width"], 50)
        self.assertIn("--config.critic_width=50", result["runs"][0]["command"])
        self.assertEqual([row["seed"] for row in result["runs"]], [0, 0])
        self.assertIsNone(result["arms"]["b"]["choice"])
        # When no candidate ends, the first one stands for the arm.
        self.plan(dict.fromkeys((f"cpu/choice/a/{label}/seed1000" for label in widths), "diverged"))
        shutil.rmtree(self.folder / "cpu")
        result = self.run_grid(claim, budget="cpu", seeds=1)
        self.assertEqual(result["arms"]["a"]["choice"]["chosen"], "narrow")
        self.assertEqual(set(result["arms"]["a"]["choice"]["found"].values()), {None})

    def test_rates_are_pooled_within_an_arm(self):
        claim = CLAIM._replace(rates=((1e-4, 2e-4), (1e-3, 1e-3)))
        result = self.run_grid(claim, seeds=1, grid=True, arms="a")
        self.assertEqual(
            self.calls(),
            [
                "quick/a/critic0.0001_generator0.0002/seed0",
                "quick/a/critic0.001_generator0.001/seed0",
            ],
        )
        self.assertEqual(result["arms"]["a"]["scores"]["fid"]["runs"], 2)
        rates = result["arms"]["a"]["learning_rates"]
        # Times the data set's factor of 5.
        self.assertEqual(
            rates, [{"generator": 1e-3, "critic": 5e-4}, {"generator": 5e-3, "critic": 5e-3}]
        )
        self.assertTrue(result["settings"]["rates_varied"])


class RefusalsTest(GridCase):
    def test_options(self):
        for options, words in (
            ({"budget": "cpus"}, "budget='cpus' is not known.*'cpu'"),
            ({"quick": True, "budget": "cpu"}, "quick contradicts budget=cpu"),
            ({"arms": "a,c"}, "arm='c'"),
            ({"seeds": -1}, "seeds=-1"),
            ({"seeds": 2000}, "seeds=2000"),
            ({"steps": True}, "steps=True"),
            ({"budget": "paper", "data_dir": str(self.folder / "none")}, "mnist"),
        ):
            with self.subTest(options), self.assertRaisesRegex(UserError, words):
                self.run_grid(**options)
        self.assertEqual(self.calls(), [])
        self.assertFalse((self.folder / "quick").exists())

    def test_options_that_grids_do_not_have(self):
        with mock.patch.dict(reproductions.NAMES, {"stability": "a grid"}):
            with self.assertRaisesRegex(UserError, "no option scale; it takes budget, seeds, arms"):
                reproductions.run("stability", self.folder, scale="paper")
            with self.assertRaisesRegex(UserError, "did you mean 'smmd'"):
                reproductions.run("stability", self.folder, arms="smmmd")

    def test_what_a_child_refuses_is_told_in_its_words(self):
        self.plan({"quick/a/seed0": "refused"})
        with self.assertRaisesRegex(UserError, "^a, seed 0: --data_dir=x is wrong; give y.$"):
            self.run_grid()
        self.assertEqual(self.calls(), ["quick/a/seed0"])

    def test_a_folder_with_another_training_is_refused_before_anything_is_trained(self):
        workdir = self.folder / "quick" / "b" / "seed1"
        (workdir / "checkpoints" / "step_00000001").mkdir(parents=True)
        (workdir / "config.json").write_text(json.dumps({"config": {"batch_size": 3, "steps": 9}}))
        with self.assertRaisesRegex(UserError, "batch_size=3, the grid asks for 64"):
            self.run_grid()
        self.assertEqual(self.calls(), [])

    def test_one_grid_at_a_time_in_a_folder(self):
        with grid_runs.locked(self.folder):
            with self.assertRaisesRegex(UserError, "in use"):
                self.run_grid()
        self.run_grid(seeds=1, arms="a")


@pytest.mark.slow
class TrainingTest(unittest.TestCase):
    def test_real_children_finish_and_diverge(self):
        folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        narrow = {"generator_width": 4, "critic_width": 4, "num_samples": 64, "batch_size": 8}
        arms = {
            "ends": Arm("hinge", "ends"),
            "diverges": Arm("gan", "diverges", {"learning_rate_multiplier": 1e30}),
        }
        budgets = {"quick": Budget("digits", 12, narrow, seeds=1)}
        result = grid.run(Claim("toy", "a paper", arms, budgets), folder)
        counts = {arm: (of["finished"], of["diverged"]) for arm, of in result["arms"].items()}
        self.assertEqual(counts, {"ends": (1, 0), "diverges": (0, 1)}, result["runs"])
        self.assertGreaterEqual(result["runs"][1]["diverged_at"], 1)
        self.assertEqual(result["runs"][0]["step"], 12)
        self.assertIn("kid", result["arms"]["ends"]["scores"])


class TableTest(unittest.TestCase):
    def verdict(self, better, worse, score=FID):
        pair = [{"title": "x", "printed": {}, "learning_rates": {}} for _ in (better, worse)]
        for of, values in zip(pair, (better, worse), strict=True):
            of |= {"runs": 3, "diverged": 3 - len(values), "failed": 0, "scores": {}}
            of["scores"] = {score.name: grid_table.summarize(values)} if values else {}
        rows = grid_table.findings({"a": pair[0], "b": pair[1]}, [score], [("a", "b")])
        return rows[-1]["found"]

    def test_a_conclusion_needs_ranges_that_lie_apart(self):
        self.assertRegex(self.verdict([1.0, 2.0, 3.0], [3.5, 4.0, 9.0]), "^yes")
        self.assertRegex(self.verdict([3.5, 4.0, 9.0], [1.0, 2.0, 3.0]), "^no, the other way")
        self.assertRegex(self.verdict([1.0, 2.0, 3.6], [3.5, 4.0, 9.0]), "^no conclusion.*overlap")
        self.assertRegex(self.verdict([1.0], [3.0]), "^no conclusion.*one run")
        self.assertRegex(self.verdict([1.0, 2.0], []), "^no conclusion: an arm has no score")
        self.assertIn("without 1 and 0 runs", self.verdict([1.0, 2.0], [3.0, 4.0, 5.0]))
        higher = grid_table.Score("classifier_score", "LS", lower_is_better=False)
        self.assertRegex(self.verdict([7.0, 8.0, 9.0], [1.0, 2.0, 3.0], higher), "^yes")

    def test_condition_numbers_of_the_record(self):
        folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        rng = np.random.default_rng(0)
        kernels = [[rng.normal(size=(9, 4)), rng.normal(size=(20, 6))] for _ in range(3)]
        conditions = [[np.linalg.cond(kernel) for kernel in pair] for pair in kernels]
        text = ""
        for step, pair in enumerate(conditions):
            layers = {f"{k}_conv2d": {"condition": value} for k, value in enumerate(pair, 1)}
            text += json.dumps({"step": step, "layers": layers}) + "\n"
        dead = {"1_conv2d": {"condition": 2.0}, "2_dense": {"condition": None}}
        text += json.dumps({"step": 3, "layers": dead}) + "\n"
        (folder / "spectra.jsonl").write_text(text)
        (folder / "metrics.jsonl").write_text('{"step": 1, "scale": 0.5}\n{"step": 2, "kid": 1}\n')
        found = stability.measure(folder)
        steps, values = found.curves["condition_of_first_layer"]
        self.assertEqual(steps, [0, 1, 2, 3])
        np.testing.assert_allclose(values, [*np.array(conditions)[:, 0], 2.0])
        steps, values = found.curves["largest_condition"]
        self.assertEqual(steps, [0, 1, 2])
        np.testing.assert_allclose(values, np.max(conditions, axis=1))
        self.assertEqual(found.numbers["scale"], 0.5)
        self.assertEqual(found.numbers["condition_of_first_layer"], 2.0)
        nothing = stability.measure(folder / "none")
        self.assertEqual(set(nothing.numbers.values()), {None})

    def test_sensitivity_of_gram(self):
        means = {"gram_rate1e-4": 2.0, "gram_rate1e-3": 3.0, "gan_rate1e-4": 5.0, "gram_dim16": 4.0}
        summaries = {name: {"scores": {"fid": {"mean": value}}} for name, value in means.items()}
        found = gram_sensitivity.conclude({**summaries, "gram_dim32": {"scores": {}}})
        self.assertEqual(len(found), 1)
        self.assertEqual(found[0]["quantity"], "GRAM: mean FID over 2 points of rate")
        self.assertEqual(found[0]["found"], "largest 1.5 times the least, which is at 1e-4")


class ClaimsTest(unittest.TestCase):
    """The seven tables: every arm composes at every budget, and `paper` is what the card says."""

    def test_arms_compose(self):
        for name in CLAIMS:
            claim = importlib.import_module(f"kgzoo.reproductions.{name}").run.args[0]
            self.assertEqual(claim.name, name)
            self.assertEqual(tuple(claim.budgets), grid.BUDGETS)
            for pair in claim.expects:
                self.assertLessEqual(set(pair), set(claim.arms))
            for budget in claim.budgets:
                spent = grid._spent(claim, False, budget, 1, 0)
                plan = grid._plan(claim, pathlib.Path("x"), spent, budget, "", "")
                runs = list(grid._runs(plan, {"": {}}, {}))
                candidates = grid._candidates(plan)
                runs += [one for of in candidates.values() for one in of.values()]
                self.assertEqual(len({one.workdir for one in runs}), len(runs))
                for one in runs:
                    self.same_config(one)
                    self.assertEqual(one.config["dataset"], plan.spent.dataset)
                if budget == "paper":
                    self.as_printed(claim, runs)

    def same_config(self, one):
        """What the child is given is the config that the grid thinks of."""
        flags = dict(word[2:].split("=", 1) for word in one.flags)
        method, dataset = flags.pop("method"), flags.pop("dataset")
        overrides = {flag.removeprefix("config."): value for flag, value in flags.items()}
        resolved = config.compose(method, dataset, overrides=overrides)
        self.assertEqual(dict(resolved), dict(one.config), one.name)

    def as_printed(self, claim, runs):
        cadence = {*grid._cadence(1), "seed"}
        for one in runs:
            arm = claim.arms[one.name]
            if arm.card:
                printed = config.compose(card=arm.card, overrides=arm.fields)
                differ = {field for field in printed if printed[field] != one.config[field]}
                self.assertLessEqual(differ, cadence, one.name)


if __name__ == "__main__":
    unittest.main()
