"""Two processes that train as one do what one does; and what happens when one of them ends."""

import inspect
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import unittest
from unittest import mock

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.distribute import collective_all_reduce_strategy
from tensorflow.python.eager import context

import command_lines
import contract
import pipeline_test
from kgzoo import config, data
from kgzoo.data import pipeline
from kgzoo.errors import UserError
from kgzoo.training import cluster, loop, rate_schedule, run_folder, runtime, workers
from kgzoo.training.checkpoints import Checkpoints
from kgzoo.training.workers import Workers

PROGRAM = pathlib.Path(__file__).with_name("multi_workers.py")
STEPS = 5
# Batch normalisation, a moving average, power iterations, an MMD of the gathered features.
FIELDS = {
    "image_size": 8,
    "generator_width": 4,
    "critic_width": 4,
    "latent_dim": 4,
    "batch_size": 8,
    "num_samples": 32,
    "critic_steps": 1,
    "optimizer": "sgd",
    "critic_learning_rate": 0.01,
    "generator_learning_rate": 0.01,
    "log_every_steps": 1,
    "checkpoint_every_steps": 2,
    "sample_every_steps": 0,
    "score_every_steps": 0,
    "ema_half_life_images": 20.0,
    "extractor": "random_conv",
    "seed": 3,
    "steps": STEPS,
}
# An early critic schedule, rates that fall by tests, pictures and scores on the way.
MORE = {
    "early_critic_steps": 3,
    "early_steps": 4,
    "early_every_steps": 0,
    "learning_rate_schedule": "relative_kid",
    "relative_kid_every_steps": 2,
    "relative_kid_lag": 1,
    "relative_kid_samples": 32,
    "relative_kid_patience": 1,
    "relative_kid_p_value": 0.0,
    "sample_every_steps": 3,
    "score_every_steps": 3,
}


def free_addresses(count):
    """Returns addresses on the loopback, all different."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [f"127.0.0.1:{probe.getsockname()[1]}" for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def together(folder, signals=("", ""), each=({}, {}), **fields):
    """Runs two workers to their ends; returns (exit code, output, errors) of each.

    Args:
        folder: for run folders.
        signals: what each is sent, as `multi_workers.py` has it.
        each: fields that one has for itself.
        **fields: of both.

    Only the chief is given the run folder of the test, as on machines that share no files.
    """
    addresses, processes = free_addresses(2), []
    for index, when in enumerate(signals):
        given = {**FIELDS, **fields, **each[index]}
        line = [f"--config.{name}={value}" for name, value in given.items()]
        task = {"type": "worker", "index": index}
        tf_config = json.dumps({"cluster": {"worker": addresses}, "task": task})
        processes.append(
            subprocess.Popen(
                [
                    *(sys.executable, str(PROGRAM), when, "--method=mmd_rep", "--dataset=digits"),
                    *("--strategy=multi_worker", f"--workdir={folder / f'run{index}'}", *line),
                ],
                env={**command_lines.environment(), "TF_CONFIG": tf_config},
                cwd=folder,
                text=True,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        )
    try:
        ended = [process.communicate(timeout=600) for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [(process.returncode, *texts) for process, texts in zip(processes, ended, strict=True)]


def alone(folder, **fields):
    """Trains the same model in this process with the whole batch, in folder/alone."""
    settings = config.compose("mmd_rep", "digits", overrides={**FIELDS, **fields})
    source = data.load("digits", "train", image_size=8)
    one = tf.distribute.get_strategy()
    model = run_folder.build_model(settings, "image", source.shape, one)
    contract.wake(model)
    start = contract.state(model)
    (folder / "alone").mkdir()
    loop.train(model, source, None, settings, folder / "alone", one, "the same line")
    return model, start


def tensors(workdir, step=STEPS):
    """Returns every tensor of a checkpoint by name."""
    path = str(Checkpoints(workdir / "checkpoints").path(step) / "weights")
    reader = tf.train.load_checkpoint(path)
    names = sorted(reader.get_variable_to_shape_map())
    return {name: reader.get_tensor(name) for name in names if "OBJECT_GRAPH" not in name}


def metrics(workdir):
    """Returns the lines of metrics.jsonl without the speed."""
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(x).items() if k != "images_per_second"} for x in lines]


class MultiWorkerTestCase(tf.test.TestCase):
    def folder(self):
        return pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))

    def assert_ended_well(self, ended):
        for code, _, err in ended:
            self.assertEqual((code, err), (0, ""))

    def assert_sentence(self, err, *words):
        self.assertRegex(err, r"\A\s*kgzoo: [^\n]+\n\Z")
        for word in words:
            self.assertRegex(err, word)


class TwoProcessesTest(MultiWorkerTestCase):
    """A run of two processes beside the same of one."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        temporary = tempfile.TemporaryDirectory()
        cls.addClassCleanup(temporary.cleanup)
        cls.folder = pathlib.Path(temporary.name)
        cls.model, cls.start = alone(cls.folder)
        cls.ended = together(cls.folder)

    def test_ends_well(self):
        self.assert_ended_well(self.ended)

    def test_weights_are_those_of_one_process_with_the_whole_batch(self):
        one, two = tensors(self.folder / "alone"), tensors(self.folder / "run0")
        self.assertEqual(list(two), list(one))
        self.assertGreater(len(one), 30)
        for name, value in one.items():
            self.assertAllClose(two[name], value, rtol=1e-6, atol=1e-6, msg=name)

    def test_there_was_something_to_learn(self):
        end = contract.state(self.model)
        for kind in ("kernel", "moving_variance", "moving_average", "momentum", "spectral_u"):
            moved = [np.abs(end[k] - self.start[k]).max() for k in end if kind in k]
            self.assertGreater(np.max(moved), 1e-3, kind)

    def test_losses_are_those_of_the_whole_batch(self):
        one, two = (metrics(self.folder / name) for name in ("alone", "run0"))
        self.assertEqual([line["step"] for line in two], list(range(1, STEPS + 1)))
        for line, other in zip(one, two, strict=True):
            for name, value in line.items():
                self.assertAllClose(other[name], value, rtol=1e-5, atol=1e-6, msg=name)

    def test_only_the_chief_writes_and_reports(self):
        self.assertFalse((self.folder / "run1").exists())
        for name in ("config.json", "scores.json", "result.json", "export"):
            self.assertTrue((self.folder / "run0" / name).exists(), name)
        self.assertIn("Scoring", self.ended[0][1])
        self.assertNotRegex(self.ended[1][1], "step |Scoring|Exporting|FID")


@pytest.mark.slow
class EndsTest(MultiWorkerTestCase):
    """Whole pairs of processes: half a minute each."""

    def test_a_resumed_run_is_the_uninterrupted_one_bit_for_bit(self):
        whole, broken = self.folder(), self.folder()
        self.assert_ended_well(together(whole, **MORE))
        killed, survivor = together(broken, ("SIGKILL:1", ""), **MORE)
        self.assertEqual((killed[0], survivor[0]), (-signal.SIGKILL, 1), survivor)
        self.assert_sentence(survivor[2], r"worker 0 \(127.*gone", "the chief keeps its newest")
        survivor, killed = together(broken, ("", "SIGKILL:3"), **MORE)
        self.assertEqual((killed[0], survivor[0]), (-signal.SIGKILL, 1), survivor)
        self.assert_sentence(
            survivor[2],
            r"worker 1 \(127\.0\.0\.1:\d+\) is gone or",
            "the checkpoint of step 3 is kept",
            ": type the same command for every worker again",
        )
        # One is asked to stop, and both do.
        for code, _, err in together(broken, ("", "SIGTERM:4"), **MORE):
            self.assertEqual(code, 128 + signal.SIGTERM)
            self.assert_sentence(err, f"SIGTERM: saved at step 4 of {STEPS}")
        last = together(broken, **MORE)
        self.assert_ended_well(last)
        self.assertIn("Resumed at step 4.", last[0][1])
        one, two = tensors(whole / "run0"), tensors(broken / "run0")
        self.assertEqual(list(two), list(one))
        for name, value in one.items():
            np.testing.assert_array_equal(two[name], value, err_msg=name)
        self.assertEqual(metrics(broken / "run0"), metrics(whole / "run0"))
        rate = "generator_learning_rate"
        rates = [line[rate] for line in metrics(whole / "run0") if rate in line]
        self.assertLess(rates[-1], rates[0])

    def test_a_weight_that_is_not_finite_ends_all(self):
        folder = self.folder()
        for code, _, err in together(folder, generator_learning_rate=1e30):
            self.assertEqual(code, 1)
            self.assert_sentence(err, "step ", "is not finite|is nan|is inf", "--config")

    def test_processes_with_different_commands_refuse(self):
        folder = self.folder()
        ended = together(folder, each=({}, {"seed": 4}))
        for code, _, err in ended:
            self.assertEqual(code, 2)
            self.assert_sentence(err, r"worker 1 \(127.* has seed=4, the chief has 3")
        self.assertFalse((folder / "run0" / "config.json").exists())

    def test_one_that_stays_alone_says_so(self):
        code = (
            "from kgzoo import cli; cli.quiet_tensorflow(); "
            "from kgzoo.training import runtime, workers; workers.START_SECONDS = 5; "
            "cli.run(lambda argv: runtime.get_strategy('multi_worker') and 0)"
        )
        addresses = free_addresses(2)
        task = {"type": "worker", "index": 0}
        tf_config = json.dumps({"cluster": {"worker": addresses}, "task": task})
        environment = {**command_lines.environment(), "TF_CONFIG": tf_config}
        call = [sys.executable, "-c", code]
        done = subprocess.run(call, env=environment, capture_output=True, text=True, timeout=300)
        self.assertEqual(done.returncode, 2, done.stderr)
        self.assert_sentence(done.stderr, f"{addresses[1]} within 5 s", "; start the same command")
        # Its port is held by another.
        with socket.socket() as held:
            host, port = addresses[0].split(":")
            held.bind((host, int(port)))
            held.listen()
            done = subprocess.run(call, env=environment, capture_output=True, text=True)
        self.assertEqual(done.returncode, 2, done.stderr)
        self.assert_sentence(done.stderr, f"gives port {port} to worker 0", "; end what holds it")


class OneProcessTest(unittest.TestCase):
    """What costs nothing where there is no TF_CONFIG."""

    def test_agrees_with_itself(self):
        team = Workers(tf.distribute.get_strategy())
        self.assertTrue(team.is_chief)
        self.assertIsNone(team.replicas)
        self.assertEqual(team.from_chief(lambda: {1: "as it is"}), {1: "as it is"})
        self.assertEqual(team.on_all(lambda: 5), 5)
        self.assertEqual(team.signalled(signal.SIGINT), signal.SIGINT)
        team.check_same({"seed": object()})
        with self.assertRaisesRegex(UserError, "as it was"), team.joined(lambda: "kept"):
            raise UserError("as it was")


class WatchTest(unittest.TestCase):
    """What is set of TensorFlow without a public name is there, and is missed when it is not."""

    def setUp(self):
        self.extended = collective_all_reduce_strategy.CollectiveAllReduceExtended
        for name, value in vars(self.extended).items():
            if name.startswith("_check_health") and not callable(value):
                self.enterContext(mock.patch.object(self.extended, name, value))

    def test_this_tensorflow_has_it(self):
        choose = workers._set_watch()
        self.assertTrue(callable(choose))
        self.assertEqual(self.extended._check_health_interval, 5)
        self.assertEqual(self.extended._check_health_initial_timeout, 300)
        # And reads it.
        source = inspect.getsource(self.extended)
        for name in ("_check_health_interval", "_check_health_initial_timeout"):
            self.assertIn(f"self.{name}", source)

    def test_one_that_has_not_is_refused_in_a_sentence(self):
        for owner, name in (
            (self.extended, "_check_health"),
            (self.extended, "_check_health_interval"),
            (context.Context, "configure_coordination_service"),
            (collective_all_reduce_strategy, "CollectiveAllReduceExtended"),
        ):
            with mock.patch.object(owner, name):
                delattr(owner, name)
                with self.assertRaisesRegex(UserError, f"fit TensorFlow .*{name}.*; ") as caught:
                    workers._set_watch()
            self.assertNotIn("\n", str(caught.exception))


class TfConfigTest(unittest.TestCase):
    """TF_CONFIG is looked at before anything waits."""

    GOOD = {"cluster": {"worker": ["a:1", "b:2"]}, "task": {"type": "worker", "index": 1}}

    def read(self, content):
        text = content if isinstance(content, str) else json.dumps(content)
        with mock.patch.dict(os.environ, {"TF_CONFIG": text}):
            return cluster.from_environment("multi_worker")

    def test_says_who_there_is(self):
        found = self.read(self.GOOD)
        self.assertEqual((found.addresses, found.rank, found.is_chief), (("a:1", "b:2"), 1, False))
        self.assertEqual(found.name(1), "worker 1 (b:2)")
        several = {"worker": ["b:2", "[::1]:3"], "chief": ["a:1"]}
        for kind, index, rank in (("chief", 0, 0), ("worker", 0, 1), ("worker", 1, 2)):
            found = self.read({"cluster": several, "task": {"type": kind, "index": index}})
            self.assertEqual((found.addresses[0], found.rank), ("a:1", rank))

    def test_other_strategies_do_not_read_it(self):
        with mock.patch.dict(os.environ, {"TF_CONFIG": "{"}):
            self.assertEqual(cluster.from_environment("one").addresses, ("",))

    def test_mistakes_are_told_in_a_sentence(self):
        task = self.GOOD["task"]
        cases = {
            "": "TF_CONFIG is not set",
            "{nonsense": "TF_CONFIG='{nonsense' is no JSON",
            "[1]": "has cluster=None, not an object",
            json.dumps({"task": task}): "has cluster=None",
            json.dumps({"cluster": {}, "task": task}): "has no cluster.worker",
            json.dumps({"cluster": self.GOOD["cluster"]}): "has task=None",
        }
        for field, value, words in (
            ("cluster", {"worker": []}, r"cluster.worker=\[\]"),
            ("cluster", {"worker": "a:1"}, "cluster.worker='a:1'; give a list"),
            ("cluster", {"worker": ["a:1", "b"]}, "'b' in cluster.worker; give"),
            ("cluster", {"worker": ["a:1", "b:70000"]}, "'b:70000' in"),
            ("cluster", {"worker": ["a:1", "a:1"]}, "'a:1' again in"),
            ("cluster", {"worker": ["a:1", 7]}, "7 in cluster.worker"),
            ("cluster", {"worker": ["a:1"], "ps": ["b:2"]}, "cluster.ps, whose"),
            ("cluster", {"worker": ["a:1"], "chief": ["b:2", "c:3"]}, "2 tasks in cluster.chief"),
            ("task", {"type": "worker", "index": 2}, "task.index=2, .* 0 to 1; give"),
            ("task", {"type": "worker", "index": -1}, "task.index=-1"),
            ("task", {"type": "worker", "index": True}, "task.index=True"),
            ("task", {"type": "worker"}, "task.index=None"),
            ("task", {"type": "evaluator", "index": 0}, "task.type='evaluator'.*give one of"),
        ):
            cases[json.dumps({**self.GOOD, field: value})] = words
        for text, words in cases.items():
            with self.subTest(text), self.assertRaisesRegex(UserError, words) as caught:
                self.read(text)
            self.assertNotIn("\n", str(caught.exception))
            self.assertRegex(str(caught.exception), r"; (set|write|give|list|leave) ")


class SharesTest(tf.test.TestCase):
    """What a process reads is its part of what one process reads."""

    def test_slices_of_a_process_are_those_of_all(self):
        rows = np.arange(40, dtype=np.uint8)[:, None, None, None] * 6
        whole = data.Source("rows", "image", (1, 1, 1), 40, rows)
        common = {"seed": 1, "batch_size": 12, "batches_per_step": 2, "start_step": 2}

        def take(count, **arguments):
            dataset = pipeline.training_dataset(whole, **common, **arguments)
            return list(dataset.take(count).as_numpy_iterator())

        for binarization in ("none", "dynamic"):
            every = take(8, num_replicas=4, binarization=binarization)
            for start, stop in ((0, 2), (2, 4), (3, 4)):
                mine = take(
                    2 * (stop - start),
                    num_replicas=4,
                    replicas=range(start, stop),
                    binarization=binarization,
                )
                wanted = [*every[start:stop], *every[4 + start : 4 + stop]]
                self.assertAllEqual(mine, wanted)

    def test_slices_of_a_stream_are_those_of_all(self):
        folder = self.enterContext(tempfile.TemporaryDirectory())
        whole = pipeline_test.counted_stream(folder, 50)
        common = {"batch_size": 12, "batches_per_step": 2, "start_step": 1, "num_replicas": 3}
        every = pipeline_test.take(whole, 9, **common)
        self.assertLen(np.unique(every), 50)
        for start, stop in ((0, 1), (1, 3)):
            mine = pipeline_test.take(
                whole, 3 * (stop - start), replicas=range(start, stop), **common
            )
            wanted = np.concatenate([every[i + start : i + stop] for i in (0, 3, 6)])
            self.assertAllEqual(mine, wanted)

    def test_another_number_of_blocks_is_refused(self):
        recorded = {"precision": "float32", "blocks": 4}
        runtime.check_same_runtime(recorded, recorded)
        with self.assertRaisesRegex(UserError, "blocks=4, here it is 2; use 4 replicas"):
            runtime.check_same_runtime(recorded, {**recorded, "blocks": 2})

    def test_followed_rates_are_those_of_the_chief(self):
        settings = config.compose("gan", "gaussian", overrides=contract.TOY)
        keras.utils.set_random_seed(0)
        model = run_folder.build_model(settings, "vector", (2,), tf.distribute.get_strategy())
        rate_schedule.follow(model, {"critic_learning_rate": 0.125, "relative_kid_decays": 1.0})
        self.assertEqual(float(model.optimizers["critic"].learning_rate), 0.125)
        before = settings["generator_learning_rate"] * settings["learning_rate_multiplier"]
        self.assertAllClose(model.optimizers["generator"].learning_rate, before)
        fields = {**contract.TOY, **{k: v for k, v in MORE.items() if "kid" in k or "rate" in k}}
        followed = rate_schedule.FollowedRates(config.compose("gan", "gaussian", overrides=fields))
        self.assertEqual((followed.every_steps, followed.memory()), (2, {}))
        self.assertEqual(rate_schedule.FollowedRates(settings).every_steps, 0)


if __name__ == "__main__":
    tf.test.main()
