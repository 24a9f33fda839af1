"""Figure 8's reproduction without its hours: what it starts, what it reads, what it draws."""

import importlib.util
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import threading
import time
import types
import unittest
from unittest import mock

import numpy as np
import pytest

from kgzoo import config
from kgzoo.errors import UserError
from kgzoo.evaluation import pictures
from kgzoo.reproductions import gcmmd_mnist

DRAWS = unittest.skipUnless(importlib.util.find_spec("matplotlib"), "matplotlib is not installed")


def _write_run(workdir, kid=0.5):
    """Writes what the reproduction reads of a finished run."""
    pictures.save_png(workdir / "samples" / "step_00000020.png", np.zeros([8, 8, 3], np.uint8))
    last = np.full([8, 8, 3], 200, np.uint8)
    pictures.save_png(workdir / "samples" / "step_00000100.png", last)
    lines = []
    for step in range(10, 101, 10):
        slow = 1.0 if step < 50 else 320.0  # images a second; the first steps compile
        lines.append({"step": step, "generator_loss": 1 / step, "images_per_second": slow})
        lines.append({"step": step, "kid": kid / step})
    (workdir / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    settings = {"batch_size": 64, "critic_steps": 4}
    (workdir / "config.json").write_text(json.dumps({"config": settings}))
    scores = {
        "step": 100,
        "kid": {"value": kid / 100, "extractor": "random_conv"},
        "fid": {"value": 2.0},
        "untrained": {"kid": {"value": kid}, "fid": {"value": 50.0}},
    }
    (workdir / "scores.json").write_text(json.dumps(scores))


class _Child:
    """Stands for a process that trains."""

    commands: list = []
    code = 0

    def __init__(self, command, env):
        self.commands.append(command)
        flags = dict(word[2:].split("=", 1) for word in command[3:])
        _write_run(pathlib.Path(flags["workdir"]))

    def wait(self):
        return self.code


class GCMMDMnistTest(unittest.TestCase):
    def setUp(self):
        super().setUp()
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        _Child.commands, _Child.code = [], 0

    def _run(self, **options):
        stand_in = types.SimpleNamespace(Popen=_Child)
        with mock.patch.object(gcmmd_mnist, "subprocess", stand_in):
            return gcmmd_mnist.run(self.folder, **options)

    def _config(self, command):
        """Composes the config as the verb would: an unknown field or value is refused."""
        flags = dict(word[2:].split("=", 1) for word in command[3:])
        prefix = "config."
        overrides = {k[len(prefix) :]: v for k, v in flags.items() if k.startswith(prefix)}
        overrides |= {k: flags[k] for k in ("steps", "seed", "data_dir") if k in flags}
        return config.compose(flags["method"], flags["dataset"], None, overrides)

    @DRAWS
    def test_starts_the_verb_with_settings_that_it_knows(self):
        self._run(data_dir="somewhere", steps=200, smmd=True, seed=3)
        methods = []
        for command in _Child.commands:
            self.assertEqual(command[:3], [sys.executable, "-m", "kgzoo.main"])
            resolved = self._config(command)
            methods.append(resolved.method)
            self.assertEqual((resolved.steps, resolved.seed), (200, 3))
            self.assertEqual((resolved.dataset, resolved.data_dir), ("mnist", "somewhere"))
            self.assertEqual(resolved.score_every_steps, 20)
            self.assertEqual(resolved.generator_width, 32)
        self.assertEqual(methods, ["gcmmd", "sn_gcmmd", "smmd", "sn_smmd"])
        workdirs = {word for command in _Child.commands for word in command if "workdir" in word}
        self.assertEqual(len(workdirs), 4)

    @DRAWS
    def test_quick_is_small_and_in_folders_of_its_own(self):
        budgets = [self._run(**of)["settings"]["budget"] for of in ({"quick": True}, {"steps": 50})]
        self.assertEqual(budgets, ["quick", "cpu, changed"])
        quick, full = _Child.commands[0], _Child.commands[2]
        self.assertEqual(self._config(quick).generator_width, config.QUICK["generator_width"])
        self.assertLess(self._config(quick).steps, 50)
        self.assertNotIn("--data_dir=", quick)
        self.assertNotEqual(quick[4], full[4])

    @DRAWS
    def test_writes_picture_and_what_the_runs_say(self):
        result = self._run(steps=100)
        self.assertEqual(json.loads((self.folder / "gcmmd_mnist.json").read_text()), result)
        self.assertLess((self.folder / "gcmmd_mnist.png").stat().st_size, 500_000)
        run = result["runs"]["sn_gcmmd"]
        self.assertEqual(run["kid"][0], [0, 0.5])
        self.assertEqual(run["kid"][-1], [100, 0.005])
        self.assertEqual(len(run["generator_loss"]), 10)
        # 64 images for each of 4 + 1 updates at 320 images a second.
        self.assertEqual(run["seconds_per_step"], 1.0)
        found = {row["quantity"]: row["found"] for row in result["findings"]}
        hours = found["gcmmd, step 100: hours for 32,000 steps at this rate"]
        self.assertAlmostEqual(hours, 80 / 9, places=3)
        self.assertEqual(found["gcmmd, step 100: KID untrained"], 0.5)

    @DRAWS
    def test_a_failed_run_is_told(self):
        _Child.code = 2
        with self.assertRaisesRegex(UserError, "gcmmd.*exit code 2"):
            self._run(steps=100)
        with self.assertRaisesRegex(UserError, "steps=-1"):
            self._run(steps=-1)

    def test_a_signal_goes_to_the_run_and_waits_for_it(self):
        saved = self.folder / "saved"
        ready = self.folder / "ready"
        program = (
            "import pathlib, signal, sys, time\n"
            "def save(*_):\n"
            f"    pathlib.Path({str(saved)!r}).touch(); sys.exit(143)\n"
            "signal.signal(signal.SIGTERM, save)\n"
            f"pathlib.Path({str(ready)!r}).touch()\n"
            "time.sleep(60)\n"
        )

        def start(command, env):
            return subprocess.Popen([sys.executable, "-c", program], env=env)

        def stop():
            while not ready.exists():
                time.sleep(0.02)
            os.kill(os.getpid(), signal.SIGTERM)

        before = signal.getsignal(signal.SIGTERM)
        killer = threading.Thread(target=stop)
        stand_in = types.SimpleNamespace(Popen=start)
        with mock.patch.object(gcmmd_mnist, "subprocess", stand_in):
            killer.start()
            with self.assertRaisesRegex(UserError, "exit code 143"):
                gcmmd_mnist._train("gcmmd", self.folder / "run", {}, {})
        killer.join()
        self.assertTrue(saved.exists())
        self.assertEqual(signal.getsignal(signal.SIGTERM), before)

    @DRAWS
    @pytest.mark.slow
    def test_trains_on_the_embedded_digits_and_goes_on(self):
        first = gcmmd_mnist.run(self.folder, quick=True, dataset="digits", steps=2)
        self.assertEqual(first["runs"]["gcmmd"]["step"], 2)
        more = gcmmd_mnist.run(self.folder, quick=True, dataset="digits", steps=4)
        self.assertEqual(more["runs"]["sn_gcmmd"]["step"], 4)
        self.assertEqual(more["runs"]["gcmmd"]["kid"][:3], first["runs"]["gcmmd"]["kid"][:3])


if __name__ == "__main__":
    unittest.main()
