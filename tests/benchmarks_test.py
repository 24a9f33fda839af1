"""benchmarks/speed.py and benchmarks/precision.py: what they print and write, at tiny sizes.

No time is asserted: what counts is that a table has its rows, goals are read from them as they are
stated, and files hold what was found.
"""

import contextlib
import io
import json
import math
import os
import pathlib
import subprocess
import sys
import tempfile
import types
import unittest
from unittest import mock

import numpy as np
import pytest
import tensorflow as tf

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "benchmarks"))

import precision  # noqa: E402
import speed  # noqa: E402
import speed_pipeline  # noqa: E402
import speed_scaling  # noqa: E402
import stopwatch  # noqa: E402

TINY = {
    "network": "mlp",
    "generator_width": 2,
    "critic_width": 2,
    "batch_size": 4,
    "latent_dim": 2,
}


def arguments(*typed):
    return speed._parse(["--quick", "--batch_size=4", "--rounds=1", *typed])


class StopwatchTest(unittest.TestCase):
    def test_all_take_one_turn_a_round_and_no_one_always_follows_the_same(self):
        calls, clock = [], iter(range(100))
        turns = {name: lambda name=name: calls.append(name) for name in "abc"}
        with mock.patch.object(stopwatch.time, "perf_counter", lambda: next(clock)):
            seconds = stopwatch.interleaved(turns, rounds=3, warm_up=2)
        self.assertEqual("".join(calls), "aabbcc" + "abc" + "cba" + "abc")
        self.assertEqual(seconds, {name: [1, 1, 1] for name in "abc"})

    def test_exponents_of_power_laws(self):
        sizes = (16, 32, 64, 128)
        for power in (0.5, 1.0, 2.0):
            found = speed_scaling.exponents(sizes, [3.0 * size**power for size in sizes])
            self.assertAlmostEqual(found["exponent"], power)
            self.assertAlmostEqual(found["last_exponent"], power)
        # With a fixed cost the curve is flatter, least so at its large end.
        found = speed_scaling.exponents(sizes, [50.0 + size for size in sizes])
        slope = math.log(178 / 114) / math.log(2)
        self.assertAlmostEqual(found["last_exponent"], slope)
        self.assertLess(found["exponent"], slope)

    def test_a_record_says_where_it_was_made(self):
        with tempfile.TemporaryDirectory() as folder:
            path = stopwatch.record(pathlib.Path(folder), "x", {"rounds": 5}, {"rows": [1.5]})
            content = json.loads(path.read_text())
        self.assertEqual(content["settings"], {"rounds": 5})
        self.assertEqual(content["rows"], [1.5])
        self.assertLessEqual(
            {"cpu", "cores", "commit", "packages", "load_average"}, set(content["machine"])
        )


class GoalsTest(unittest.TestCase):
    def test_each_goal_in_its_precision(self):
        both = ("float32", "mixed_bfloat16")
        times = {"hinge": 1.0, "mmd_rep": 1.02, "mmd_rbf": 1.1, "smmd": 1.7, "gcmmd": 2.0}
        seconds = {(name, p): [t, 3 * t, 2 * t] for name, t in times.items() for p in both}
        found = {row["goal"]: row["met"] for row in speed.check_goals(seconds)}
        expected = {f"mmd_rep <= 1.03 x hinge in {p}": True for p in both}
        expected |= {f"mmd_rbf <= 1.03 x hinge in {p}": False for p in both}
        expected |= {f"gcmmd <= 1.25 x smmd in {p}": True for p in both}
        expected["smmd <= 2.0 x hinge in float32"] = True
        expected["smmd <= 1.6 x hinge in mixed_bfloat16"] = False
        self.assertEqual(found, expected)

    def test_a_ratio_is_of_rounds(self):
        # A slow minute that both met changes nothing; ratios of medians would say 1.
        self.assertAlmostEqual(speed.ratio([2.0, 20.0, 4.0], [1.0, 10.0, 4.0]), 2.0)

    def test_an_unknown_part_or_axis_is_refused(self):
        for typed in (["--parts=method"], ["--axes=width"], ["--rounds=0"]):
            said = io.StringIO()
            with contextlib.redirect_stderr(said), self.assertRaises(SystemExit) as caught:
                speed._parse(typed)
            self.assertEqual(caught.exception.code, 2)
            self.assertIn("choose parts methods, pipeline", said.getvalue())


class PartsTest(tf.test.TestCase):
    def test_methods_have_the_same_critic_steps(self):
        for name, steps, updates in (("smmd", 1, 2), ("smmd", 0, 6), ("hinge", 3, 4)):
            found = stopwatch.make_step(name, (8, 8, 1), TINY, steps)[1]
            self.assertEqual(found, updates, name)

    def test_the_table_of_methods(self):
        asked = arguments("--methods=mmd_rbf,hinge", "--network=mlp", "--width=2")
        asked.size, asked.channels = 8, 1
        found = speed.methods_part(asked)
        self.assertEqual(found["baseline"], "hinge")
        self.assertLen(found["rows"], 4)
        for row in found["rows"]:
            self.assertEqual(row["updates"], 2)
            self.assertLen(row["rounds"], 1)
            self.assertAllClose(row["images_per_second"] * row["seconds"], 2 * 4)
            if row["method"] == "hinge":
                self.assertEqual(row["of_baseline"], 1.0)
            if row["precision"] == "float32":
                self.assertEqual(row["of_float32"], 1.0)
        self.assertLen(found["goals"], 2)
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            speed._say_methods(found)
        self.assertEqual(said.getvalue().count("mmd_rbf "), 4)

    def test_the_input_beside_a_step(self):
        source = speed_pipeline._noise((8, 8, 1))
        found = speed_pipeline._input(source, TINY | {"critic_steps": 1}, "digits", 2, 2)
        self.assertEqual(set(found["rounds"]), {"constant", "pipeline", "next"})
        for values in found["rounds"].values():
            self.assertLen(values, 2)
        rounds = found["rounds"]
        shares = 1 - np.array(rounds["constant"]) / np.array(rounds["pipeline"])
        self.assertAllClose(found["share"], np.median(shares))
        with mock.patch.object(speed_pipeline, "_STEPS_PER_EXECUTION", (1, 3)):
            calls = speed_pipeline._graph_calls(TINY | {"critic_steps": 1}, 1)
        self.assertEqual({count: len(values) for count, values in calls.items()}, {"1": 1, "3": 1})
        self.assertGreater(speed_pipeline._help(), 0)
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            times = {"start_seconds": [], "help_seconds": [0.5]}
            speed_pipeline.say({"seconds_per_step": calls, "input": {"x": found}, **times})
        self.assertIn("share", said.getvalue())

    def test_curves_and_their_picture(self):
        asked = arguments("--axes=batch_size")
        asked.scaling_width, asked.size, asked.channels = 2, 8, 1
        with mock.patch.dict(speed_scaling._METHODS, batch_size=("hinge",)):
            found = speed_scaling.measure(asked)
        curve = found["axes"]["batch_size"]["curves"]["hinge"]
        self.assertEqual(curve["sizes"], [8, 16])
        self.assertAllClose(curve["seconds"][1] / curve["seconds"][0], 2 ** curve["exponent"])
        said = io.StringIO()
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(said):
            speed_scaling.say(found)
            speed_scaling.draw(pathlib.Path(folder), found)
            self.assertTrue((pathlib.Path(folder) / "speed_scaling.png").stat().st_size)
        self.assertIn("hinge", said.getvalue())

    def test_a_step_on_all_replicas(self):
        settings = {**TINY, "shape": [8, 8, 1]}
        turn = speed_scaling.replica_step("hinge", settings, tf.distribute.get_strategy())
        self.assertTrue(math.isfinite(turn()))


class PrecisionTest(unittest.TestCase):
    def test_welch(self):
        first, second = [1.0, 2.0, 3.0], [2.0, 4.0, 9.0]
        found = precision.compare(first, second)
        # Means 2 and 5, variances 1 and 13, of three each.
        self.assertAlmostEqual(found["difference"], 3.0)
        self.assertAlmostEqual(found["standard_error"], math.sqrt(14 / 3))
        self.assertTrue(found["within_noise"])
        self.assertGreater(found["p_value"], 0.2)
        far = precision.compare(first, [11.0, 12.0, 13.0])
        self.assertFalse(far["within_noise"])
        self.assertLess(far["p_value"], 0.001)
        self.assertIsNone(precision.compare([1.0], [2.0, 3.0])["within_noise"])
        self.assertTrue(precision.compare([1.0, 1.0], [1.0, 1.0])["within_noise"])
        self.assertFalse(precision.compare([1.0, 1.0], [2.0, 2.0])["within_noise"])

    def test_findings_say_what_was_compared(self):
        def arm(*values):
            return {"scores": {"fid": {"values": values}}}

        rows = precision.conclude(
            {"smmd_float32": arm(1.0, 2.0, 3.0), "smmd_mixed_bfloat16": arm(11.0, 12.0, 13.0)}
        )
        said = {row["quantity"]: row["found"] for row in rows}
        self.assertIn("beyond the noise", said["SMMD: FID in bfloat16 minus float32"])
        self.assertIn("+10 ", said["SMMD: FID in bfloat16 minus float32"])
        self.assertIn("no conclusion", said["SMMD: KID in bfloat16 minus float32"])
        self.assertIn("no conclusion", said["repulsive MMD: FID in bfloat16 minus float32"])

    def test_arms_differ_by_their_precision_alone(self):
        from kgzoo.reproductions import grid

        claim = precision._claim()
        plan = grid._plan(claim, pathlib.Path("x"), claim.budgets["cpu"], "cpu", "", "")
        for method in precision._METHODS:
            one, other = (
                plan.run(f"{method}_{name}", seed=2).config for name in precision._PRECISIONS
            )
            differing = {field for field in one if one[field] != other[field]}
            self.assertEqual(differing, {"precision"})
            self.assertEqual(one["seed"], 2)

    def test_runs_are_those_of_the_grid(self):
        result = {"findings": [{"quantity": "q", "found": "f"}], "arms": {}}
        said, calls = io.StringIO(), []
        fake = types.SimpleNamespace(
            run=lambda claim, to, **options: calls.append((to, options)) or result
        )
        from kgzoo.reproductions import grid

        with mock.patch.object(grid, "run", fake.run), contextlib.redirect_stdout(said):
            self.assertEqual(precision.main(["--to=here", "--data_dir=there", "--seeds=2"]), 0)
        (to, options), *_ = calls
        self.assertEqual((str(to), options["data_dir"]), ("here", "there"))
        self.assertEqual((options["budget"], options["seeds"]), ("cpu", 2))
        self.assertIn("q", said.getvalue())


@pytest.mark.slow
class CommandTest(unittest.TestCase):
    def run_benchmark(self, name, *typed):
        command = [sys.executable, str(ROOT / "benchmarks" / name), *typed]
        done = subprocess.run(
            command,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=1800,
        )
        self.assertEqual(done.returncode, 0, done.stderr[-3000:])
        return done.stdout

    def test_speed(self):
        with tempfile.TemporaryDirectory() as folder:
            said = self.run_benchmark("speed.py", "--quick", "--rounds=1", f"--to={folder}")
            made = {path.name for path in pathlib.Path(folder).iterdir()}
        parts = {f"speed_{part}.json" for part in speed.PARTS}
        self.assertEqual(made, {*parts, "speed_scaling.png"})
        for word in ("hinge", "share", "start", "help", "replicas", "exponent"):
            self.assertIn(word, said)

    def test_precision(self):
        with tempfile.TemporaryDirectory() as folder:
            said = self.run_benchmark("precision.py", "--quick", f"--to={folder}")
            result = json.loads((pathlib.Path(folder) / "precision.json").read_text())
        self.assertEqual(set(result["arms"]), set(precision._claim().arms))
        self.assertIn("the noise of seeds", said)


if __name__ == "__main__":
    unittest.main()
