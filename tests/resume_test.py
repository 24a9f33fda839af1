"""Interrupted and resumed equals uninterrupted, bit for bit; and what a resume refuses."""

import json
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

import numpy as np
import pytest
import tensorflow as tf

import command_lines
from kgzoo.errors import UserError
from kgzoo.training import run_folder, runtime

# Operator norms (their vectors are state), moving statistics, a moving average, two optimizers,
# extra critic updates before steps 0-5 and 9, rates that fall by tests against remembered samples.
LINE = [
    *("--method=hinge", "--dataset=digits", "--config.image_size=8", "--seed=3"),
    *("--config.generator_width=4", "--config.critic_width=4", "--config.latent_dim=4"),
    *("--config.batch_size=8", "--config.num_samples=32", "--config.log_every_steps=2"),
    *("--config.checkpoint_every_steps=5", "--config.score_every_steps=6"),
    *("--config.sample_every_steps=6", "--config.keep_checkpoints=2"),
    *("--config.early_critic_steps=3", "--config.early_steps=6", "--config.early_every_steps=9"),
    *("--config.learning_rate_schedule=relative_kid", "--config.relative_kid_every_steps=3"),
    *("--config.relative_kid_lag=1", "--config.relative_kid_samples=32"),
    *("--config.relative_kid_patience=1", "--config.relative_kid_p_value=0.0"),
]
STEPS = 12


def command(workdir, steps=STEPS):
    return [*LINE, f"--workdir={workdir}", f"--steps={steps}"]


def start(workdir, steps=STEPS, **arguments):
    """Starts a run as a user does."""
    return subprocess.Popen(
        [sys.executable, "-m", "kgzoo.main", *command(workdir, steps)],
        env=command_lines.environment(),
        cwd=workdir.parent,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        **arguments,
    )


def checkpoint(workdir, step=STEPS):
    """Returns every tensor of a checkpoint by name."""
    prefix = str(workdir / "checkpoints" / f"step_{step:08d}" / "weights")
    reader = tf.train.load_checkpoint(prefix)
    names = sorted(reader.get_variable_to_shape_map())
    # Its object graph is a message whose bytes may come in any order.
    return {name: reader.get_tensor(name) for name in names if "OBJECT_GRAPH" not in name}


def extra(workdir, step=STEPS):
    """Returns the arrays that a checkpoint holds beside the variables."""
    with np.load(workdir / "checkpoints" / f"step_{step:08d}" / "extra.npz") as arrays:
        return dict(arrays)


def events(workdir):
    """Returns (step, tag) of all TensorBoard events, sorted."""
    found = []
    for path in (workdir / "events").iterdir():
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            event = tf.compat.v1.Event.FromString(record)
            found += [(event.step, value.tag) for value in event.summary.value]
    return sorted(found)


def metrics(workdir):
    """Returns the lines of metrics.jsonl without the speed."""
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(x).items() if k != "images_per_second"} for x in lines]


class ResumeTestCase(tf.test.TestCase):
    def assert_same_run(self, one, other, step=STEPS):
        wanted, found = checkpoint(one, step), checkpoint(other, step)
        self.assertEqual(list(found), list(wanted))
        self.assertGreater(len(wanted), 60)
        for name, value in wanted.items():
            np.testing.assert_array_equal(found[name], value, err_msg=name)
        self.assertEqual(metrics(other), metrics(one))
        for name in ("per_real", "per_sample", "failures", "decays"):
            np.testing.assert_array_equal(
                extra(other, step)[name], extra(one, step)[name], err_msg=name
            )
        spectra = [(folder / "spectra.jsonl").read_text() for folder in (one, other)]
        self.assertEqual(spectra[0], spectra[1])
        self.assertEqual(events(other), events(one))
        scores = [json.loads((folder / "scores.json").read_text()) for folder in (one, other)]
        for name in ("fid", "kid", "untrained"):
            self.assertEqual(scores[0][name], scores[1][name], name)


class ResumeTest(ResumeTestCase):
    """One run that is never stopped, one that is: politely, then not; then what is left to do."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        temporary = tempfile.TemporaryDirectory()
        cls.addClassCleanup(temporary.cleanup)
        cls.folder = pathlib.Path(temporary.name)
        cls.whole, cls.broken = cls.folder / "whole", cls.folder / "broken"
        process = start(cls.whole)
        out, err = process.communicate()
        cls.first = (process.returncode, out, err)
        cls.stopped = command_lines.interrupted("SIGTERM:4,SIGKILL:8", command(cls.broken))
        cls.steps_after_kill = sorted(path.name for path in (cls.broken / "checkpoints").iterdir())
        held = cls.folder / "held"
        same = command(cls.broken)
        with run_folder.locked(held):
            names = ("resumed", "again", "held", "width", "fewer", "not_a_run", "mirrored")
            (cls.folder / "files").mkdir()
            (cls.folder / "files" / "thesis.tex").write_text("mine")
            lines = [
                *(same, same, command(held), [*same, "--config.critic_width=5"]),
                *(command(cls.broken, steps=3), command(cls.folder / "files")),
                [*same, "--strategy=mirrored"],
            ]
            before = cls.listing()
            done = command_lines.many(lines, cls.folder)
        cls.before, cls.done = before, dict(zip(names, done, strict=True))

    @classmethod
    def listing(cls):
        return sorted(str(path) for path in cls.whole.rglob("*"))

    def test_an_uninterrupted_run_ends_well(self):
        code, out, err = self.first
        self.assertEqual((code, err), (0, ""))
        self.assertEqual(
            [line["step"] for line in metrics(self.whole)],
            [2, 3, 4, 6, 6, 6, 8, 9, 10, 12, 12, 12],
        )
        tests = [x for x in metrics(self.whole) if "relative_kid_p_value" in x]
        self.assertEqual([line["step"] for line in tests], [6, 9, 12])
        self.assertEqual([line["relative_kid_decays"] for line in tests], [1, 2, 3])
        self.assertIn(f"hinge on digits: {STEPS} steps", out)
        for name in ("config.json", "scores.json", "result.json", "export", "samples"):
            self.assertTrue((self.whole / name).exists(), name)

    def test_a_terminated_run_saves_and_says_what_to_type(self):
        self.assertIn(f"SIGTERM: exit code {128 + signal.SIGTERM}\n", self.stopped.stdout)
        typed = " ".join(command(self.broken))
        said = f"SIGTERM: saved at step 4 of {STEPS}; to go on type python -m kgzoo.main {typed}\n"
        self.assertIn(f"kgzoo: {said}", self.stopped.stderr)
        self.assertNotIn("Traceback", self.stopped.stderr)

    def test_a_killed_run_leaves_its_last_checkpoints(self):
        self.assertIn("Resumed at step 4.", self.stopped.stdout)
        self.assertEqual(self.stopped.returncode, -signal.SIGKILL)
        self.assertEqual(self.steps_after_kill[-1], "step_00000006")

    def test_resumed_equals_uninterrupted_bit_for_bit(self):
        resumed = self.done["resumed"]
        self.assertEqual((resumed["code"], resumed["err"]), (0, ""))
        self.assertIn("Resumed at step 6.", resumed["out"])
        self.assert_same_run(self.whole, self.broken)

    def test_the_same_line_on_a_finished_run_prints_its_results(self):
        again, resumed = self.done["again"], self.done["resumed"]
        self.assertEqual((again["code"], again["err"]), (0, ""))
        summary = again["out"][again["out"].index("hinge on digits:") :]
        self.assertIn("FID", summary)
        self.assertEndsWith(resumed["out"], summary)
        exports = self.broken / "export" / "hinge_digits"
        self.assertEqual([path.name for path in exports.iterdir()], ["1"])

    def test_another_strategy_finds_the_run_finished(self):
        mirrored = self.done["mirrored"]
        self.assertEqual((mirrored["code"], mirrored["err"]), (0, ""))
        self.assertIn(f"{STEPS} steps, last part took", mirrored["out"])

    def test_fewer_steps_than_done_are_done(self):
        self.assertEqual(self.done["fewer"]["code"], 0)
        self.assertEqual(self.done["fewer"]["err"], "")

    def assert_refused(self, name, *words):
        done = self.done[name]
        self.assertEqual(done["code"], 2)
        self.assertStartsWith(done["err"], "kgzoo: ")
        self.assertEqual(done["err"].count("\n"), 1)
        for word in words:
            self.assertIn(word, done["err"])

    def test_a_changed_field_is_refused_by_name(self):
        self.assert_refused("width", "critic_width=4", "asked for is 5", "--workdir")

    def test_another_runtime_is_refused_with_the_remedy(self):
        recorded = json.loads((self.whole / "config.json").read_text())["runtime"]
        runtime.check_same_runtime(recorded, recorded)
        for field, value in (
            ("threads", recorded["threads"] + 1),
            ("deterministic", not recorded["deterministic"]),
            ("precision", "mixed_bfloat16"),
        ):
            words = f"{field}={recorded[field]}.*{value}.*--config.{field}={recorded[field]}"
            with self.assertRaisesRegex(UserError, words):
                runtime.check_same_runtime(recorded, {**recorded, field: value})

    def test_a_folder_in_use_is_refused(self):
        self.assert_refused("held", str(self.folder / "held"), "in use")

    def test_a_folder_of_other_files_is_refused(self):
        self.assert_refused("not_a_run", str(self.folder / "files"), "holds files but no run")
        self.assertEqual(
            [path.name for path in (self.folder / "files").glob("[!.]*")], ["thesis.tex"]
        )

    def test_what_was_refused_changed_nothing(self):
        self.assertEqual(self.listing(), self.before)


@pytest.mark.slow
class AtAnyMomentTest(ResumeTestCase):
    """Signals from outside, at moments that nobody chose."""

    STEPS = 400

    def wait_for(self, process, workdir, step):
        """Waits until a step's line is there; returns False when the run ended before."""
        path = workdir / "metrics.jsonl"
        while process.poll() is None:
            if path.exists() and f'"step": {step},' in path.read_text():
                return True
            time.sleep(0.01)
        return False

    def test_terminated_and_killed_again_and_again(self):
        folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        whole, broken = folder / "whole", folder / "broken"
        process = start(whole, self.STEPS)
        process.communicate()
        self.assertEqual(process.returncode, 0)
        for number, step in (
            *((signal.SIGTERM, 20), (signal.SIGKILL, 90), (signal.SIGKILL, 160)),
            *((signal.SIGINT, 210), (signal.SIGKILL, 290)),
        ):
            process = start(broken, self.STEPS)
            self.assertTrue(self.wait_for(process, broken, step), process.stderr)
            process.send_signal(number)
            out, err = process.communicate()
            self.assertNotIn("Traceback", err)
            expected = -number if number == signal.SIGKILL else 128 + number
            self.assertEqual(process.returncode, expected)
        process = start(broken, self.STEPS)
        _, err = process.communicate()
        self.assertEqual((process.returncode, err), (0, ""))
        self.assert_same_run(whole, broken, self.STEPS)

    def test_the_second_of_two_runs_on_one_folder_is_refused(self):
        workdir = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory())) / "run"
        first = start(workdir, 100_000)
        try:
            self.assertTrue(self.wait_for(first, workdir, 2))
            second = start(workdir, 100_000)
            _, err = second.communicate()
            self.assertEqual(second.returncode, 2)
            self.assertRegex(err, r"\Akgzoo: --workdir=.* is in use by another run; .*\n\Z")
            self.assertIsNone(first.poll())
        finally:
            first.kill()
            first.communicate()

    def test_terminated_while_it_starts(self):
        workdir = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory())) / "run"
        for seconds in (0.05, 0.5, 2.0, 4.0, 6.0):
            process = start(workdir, 100_000)
            time.sleep(seconds)
            process.terminate()
            _, err = process.communicate()
            self.assertNotIn("Traceback", err, seconds)
            self.assertIn(process.returncode, (-signal.SIGTERM, 128 + signal.SIGTERM), seconds)
        process = start(workdir, 2)
        _, err = process.communicate()
        self.assertEqual((process.returncode, err), (0, ""))


if __name__ == "__main__":
    tf.test.main()
