"""Relative KID: when the rates fall, what is remembered, and runs that are resumed or replicated.

As a program it trains a run with early critic updates and a falling rate, on one replica and on
two, which need logical devices before TensorFlow starts:  python tests/rate_schedule_test.py x.json
"""

import contextlib
import io
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import types
from unittest import mock

import keras
import numpy as np
import pytest
import tensorflow as tf

import contract
from kgzoo import config, data
from kgzoo.evaluation import features, relative_similarity, score_card
from kgzoo.training import loop, rate_schedule, run_folder
from kgzoo.training.checkpoints import Checkpoints

# TensorFlow on eager functions: what the tests mean to do.
pytestmark = pytest.mark.filterwarnings("ignore:Even though")

ROOT = pathlib.Path(__file__).resolve().parent.parent
POINTS = data.Source(
    "points", "vector", (2,), 64, np.random.RandomState(0).randn(64, 2).astype(np.float32)
)
# Every test from the third evaluation on fails, and the second failure in a row lowers the rates.
FALLING = {
    "learning_rate_schedule": "relative_kid",
    "relative_kid_every_steps": 1,
    "relative_kid_lag": 2,
    "relative_kid_samples": 16,
    "relative_kid_patience": 2,
    "relative_kid_p_value": 0.0,
    "relative_kid_decay": 0.5,
}


class FakeModel:
    """Has optimizers, and draws points at a distance that a list of numbers gives."""

    def __init__(self, offsets=(), rates=(0.8, 0.2)):
        self.optimizers = {
            player: keras.optimizers.Adam(rate)
            for player, rate in zip(("critic", "generator"), rates, strict=True)
        }
        self.offsets, self.seeds = list(offsets), []

    def sample(self, n, seed):
        self.seeds.append(seed)
        noise = np.random.RandomState(seed).standard_normal((n, 2))
        return (noise + self.offsets[len(self.seeds) - 1]).astype(np.float32)

    def rates(self):
        return [float(optimizer.learning_rate) for optimizer in self.optimizers.values()]


def scheduled(model, **fields):
    settings = {
        **{name: default for name, (default, _) in config.FIELDS.items()},
        **{"relative_kid_samples": 400, "relative_kid_lag": 2, "relative_kid_decay": 0.5},
        "learning_rate_schedule": "relative_kid",
        **fields,
    }
    real = np.random.RandomState(1).standard_normal((500, 2)).astype(np.float32)
    reference = types.SimpleNamespace(features=real, extractor=features.get("identity", (2,)))
    return rate_schedule.from_config(model, reference, settings)


@contextlib.contextmanager
def verdicts(p_values):
    """The tests' p values are these, in turn; yields the pairs (now, then) that were compared."""
    compared, left = [], iter(p_values)

    def compare(now, then):
        compared.append((now, then))
        return relative_similarity.RelativeTest(0.0, next(left), 0.0, 1.0)

    with mock.patch.object(relative_similarity, "compare", compare):
        yield compared


class RelativeKIDTest(tf.test.TestCase):
    def test_constant_is_nothing_at_all(self):
        model = FakeModel()
        constant = scheduled(model, learning_rate_schedule="constant")
        self.assertEqual((constant.every_steps, constant.memory()), (0, {}))
        constant.restore({})
        self.assertEqual((constant.update(1), model.seeds), ({}, []))

    def test_samples_that_come_nearer_keep_the_rates(self):
        model = FakeModel(offsets=[3, 2.5, 2, 1.5, 1, 0.5, 0])
        schedule = scheduled(model, relative_kid_patience=1)
        logs = [schedule.update(step) for step in range(7)]
        self.assertAllClose(model.rates(), [0.8, 0.2])
        for each in logs[:2]:
            self.assertNotIn("relative_kid_p_value", each)
        for each in logs[2:]:
            self.assertLess(each["relative_kid_p_value"], 0.1)
            self.assertLess(each["relative_kid_statistic"], -1.3)
            self.assertEqual((each["relative_kid_failures"], each["relative_kid_decays"]), (0, 0))

    def test_samples_that_do_not_lower_them(self):
        # Nearer than last time, but not than `lag` = 2 times ago.
        model = FakeModel(offsets=[0.5, 2, 0.5, 2, 0.5, 2])
        schedule = scheduled(model, relative_kid_patience=2)
        failures = [schedule.update(step)["relative_kid_failures"] for step in range(4)]
        # Equal ones pass one time in ten: not with this seed.
        self.assertEqual(failures, [0, 0, 1, 0])
        self.assertAllClose(model.rates(), [0.4, 0.1])

    def test_compares_with_lag_evaluations_ago_whatever_happens(self):
        model = FakeModel(offsets=np.zeros(12))
        schedule = scheduled(model, relative_kid_lag=3)
        with verdicts([0.9] * 9) as compared:
            for step in range(12):
                schedule.update(step)
        self.assertLen(compared, 9)
        # Decays after the third, sixth and ninth test: the memory moved on all the same.
        for (now, _), (_, then) in zip(compared, compared[3:], strict=False):
            self.assertIs(now, then)
        self.assertAllClose(model.rates(), [0.8 / 8, 0.2 / 8])

    def test_only_failures_in_a_row_count(self):
        model = FakeModel(offsets=np.zeros(20))
        schedule = scheduled(model, relative_kid_lag=1, relative_kid_patience=3)
        p_values = [0.2, 0.2, 0.1, 0.2, 0.11, 0.05, 0.5, 0.5, 0.5, 0.5, 0.5]
        with verdicts(p_values):
            logs = [schedule.update(step) for step in range(len(p_values) + 1)][1:]
        # A p value of exactly the threshold is an improvement.
        self.assertEqual(
            [log["relative_kid_failures"] for log in logs], [1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2]
        )
        self.assertEqual([log["relative_kid_decays"] for log in logs], [0] * 8 + [1] * 3)
        rates = [log["critic_learning_rate"] for log in logs]
        self.assertAllClose(rates, [0.8] * 8 + [0.4] * 3)

    def test_rates_stop_at_the_floor_each_by_itself(self):
        model = FakeModel(offsets=np.zeros(20), rates=(0.8, 0.005))
        schedule = scheduled(
            model, relative_kid_lag=1, relative_kid_patience=1, learning_rate_floor=0.01
        )
        with verdicts([1.0] * 10):
            for step in range(11):
                schedule.update(step)
        # The second began below: it is neither lowered nor raised.
        self.assertAllClose(model.rates(), [0.01, 0.005])

    def test_latents_are_new_at_every_evaluation(self):
        model = FakeModel(offsets=np.zeros(300))
        schedule = scheduled(model, relative_kid_samples=4)
        for step in range(0, 300_000, 1000):
            schedule.update(step)
        self.assertLen(set(model.seeds), 300)
        self.assertAllInRange(np.array(model.seeds), 0, 2**31 - 1)

    def test_memory_goes_on_exactly(self):
        offsets = np.random.RandomState(3).uniform(0, 2, 12)
        for stop in (0, 1, 4, 7):
            whole, broken = FakeModel(offsets), FakeModel(offsets)
            arguments = {"relative_kid_lag": 3, "relative_kid_patience": 2}
            schedule, first = (scheduled(model, **arguments) for model in (whole, broken))
            wanted = [schedule.update(step) for step in range(12)]
            found = [first.update(step) for step in range(stop)]
            second = scheduled(broken, **arguments)
            with tempfile.TemporaryFile() as file:
                np.savez(file, **first.memory())
                file.seek(0)
                second.restore(dict(np.load(file)))
            found += [second.update(step) for step in range(stop, 12)]
            self.assertEqual(found, wanted)
            for name, value in schedule.memory().items():
                np.testing.assert_array_equal(second.memory()[name], value, err_msg=name)

    def test_memory_is_small(self):
        model = FakeModel(offsets=np.zeros(12))
        schedule = scheduled(model, relative_kid_lag=10, relative_kid_samples=400)
        for step in range(12):
            schedule.update(step)
        numbers = sum(value.size for value in schedule.memory().values())
        self.assertLess(numbers, 10 * (400 + 400 + 10))


def train(workdir, strategy=None, steps=8, **fields):
    """Trains, or resumes, a GAN of two dense networks; returns the model."""
    workdir.mkdir(exist_ok=True)
    fields = {**contract.TOY, "log_every_steps": 1, "checkpoint_every_steps": 4, **fields}
    settings = config.compose("gan", "gaussian", overrides={**fields, "steps": steps})
    strategy = strategy or tf.distribute.get_strategy()
    keras.utils.set_random_seed(0)
    model = run_folder.build_model(settings, "vector", (2,), strategy)
    with strategy.scope():
        contract.wake(model)
    Checkpoints(workdir / "checkpoints").restore(model)
    reference = score_card.prepare(POINTS, "identity")
    with contextlib.redirect_stdout(io.StringIO()):
        loop.train(model, POINTS, reference, settings, workdir, strategy, "")
    return model


def records(workdir):
    """Returns the lines of metrics.jsonl without the speed."""
    lines = map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines())
    return [{k: v for k, v in line.items() if k != "images_per_second"} for line in lines]


class RunTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        tf.config.run_functions_eagerly(True)
        self.addCleanup(tf.config.run_functions_eagerly, False)

    def test_a_run_in_parts_equals_a_whole_one(self):
        whole, parts = self.folder / "whole", self.folder / "parts"
        model = train(whole, **FALLING)
        # In the middle of the first wait, in a row of failures, after a decay.
        for steps in (1, 3, 5, 8):
            again = train(parts, steps=steps, **FALLING)
        for wanted, found in zip(
            contract.state(model).values(), contract.state(again).values(), strict=True
        ):
            np.testing.assert_array_equal(found, wanted)
        self.assertEqual(records(parts), records(whole))
        memories = [Checkpoints(each / "checkpoints").extra(8) for each in (whole, parts)]
        self.assertNotEmpty(memories[0])
        for name, value in memories[0].items():
            np.testing.assert_array_equal(memories[1][name], value, err_msg=name)
        tests = [line for line in records(whole) if "relative_kid_p_value" in line]
        self.assertEqual([line["step"] for line in tests], [3, 4, 5, 6, 7, 8])
        self.assertEqual([line["relative_kid_decays"] for line in tests], [0, 1, 1, 2, 2, 3])
        rates = [line["generator_learning_rate"] for line in tests]
        self.assertAllClose(rates, 1e-3 * np.array([1, 0.5, 0.5, 0.25, 0.25, 0.125]))

    def test_rates_are_part_of_a_checkpoint(self):
        train(self.folder, **FALLING)
        fresh = train(self.folder, **FALLING)
        for optimizer in fresh.optimizers.values():
            self.assertAllClose(float(optimizer.learning_rate), 1e-3 / 8)

    def test_lowered_rates_change_the_weights(self):
        one = train(self.folder / "one", **FALLING)
        other = train(self.folder / "other")
        weights = [model.generator.weights[0].numpy() for model in (one, other)]
        self.assertNotAllClose(weights[0], weights[1], rtol=0, atol=1e-6)

    def test_a_constant_rate_leaves_no_trace(self):
        train(self.folder)
        self.assertEmpty(list(self.folder.rglob("extra*")))
        self.assertNotIn("relative_kid", (self.folder / "metrics.jsonl").read_text())

    def test_the_last_step_is_no_reason_for_a_test(self):
        train(self.folder, steps=3, **{**FALLING, "relative_kid_every_steps": 2})
        found = [line["step"] for line in records(self.folder) if "relative_kid_decays" in line]
        self.assertEqual(found, [2])


class ReplicasTest(tf.test.TestCase):
    def test_two_replicas_do_what_one_does(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "results.json"
            environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
            done = subprocess.run(
                [sys.executable, __file__, str(path)],
                capture_output=True,
                text=True,
                env=environment,
            )
            self.assertEqual(done.returncode, 0, done.stderr[-4000:])
            one, two = json.loads(path.read_text())
        # Extra critic updates before three of five steps; two tests failed, and two more.
        self.assertEqual(two["iterations"], {"critic": 5 + 2 * 3, "generator": 5})
        self.assertEqual(one["iterations"], two["iterations"])
        self.assertAllClose(two["rates"], [1e-3 / 4] * 2)
        self.assertEqual(one["rates"], two["rates"])
        self.assertLen(two["records"], 10)
        for wanted, found in zip(one["records"], two["records"], strict=True):
            self.assertAllClose(found, wanted, rtol=1e-3, atol=1e-4)


def _number(variable):
    return keras.ops.convert_to_numpy(variable).item()


def program(path):
    """Writes records, iterations and rates of both runs."""
    devices = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(
        devices[0], [tf.config.LogicalDeviceConfiguration()] * 2
    )
    two = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    # Early updates before steps 0, 1 and 4; the second part of the run begins between them.
    early = {"early_critic_steps": 3, "early_steps": 2, "early_every_steps": 4}
    fields = {**FALLING, **early, "relative_kid_lag": 1, "sample_every_steps": 2}
    results = []
    for strategy in (tf.distribute.get_strategy(), two):
        with tempfile.TemporaryDirectory() as folder:
            workdir = pathlib.Path(folder)
            for steps in (2, 5):
                model = train(workdir, strategy, steps, **fields)
            results.append(
                {
                    "records": records(workdir),
                    "iterations": {k: _number(o.iterations) for k, o in model.optimizers.items()},
                    "rates": [_number(o.learning_rate) for o in model.optimizers.values()],
                }
            )
    pathlib.Path(path).write_text(json.dumps(results))


if __name__ == "__main__":
    program(sys.argv[1])
