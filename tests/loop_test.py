"""The training loop in one process: divergence, records, `fit`, and what is shown on the way."""

import contextlib
import io
import json
import os
import pathlib
import signal
import tempfile
from unittest import mock

import keras
import numpy as np
import pytest
import tensorflow as tf

import contract
from kgzoo import config, data
from kgzoo.data.pipeline import training_dataset
from kgzoo.errors import UserError
from kgzoo.evaluation import score_card
from kgzoo.methods import Method
from kgzoo.training import extra_updates, loop, run_folder, spectra
from kgzoo.training.checkpoints import Checkpoints
from kgzoo.training.extra_updates import ExtraUpdates
from kgzoo.training.progress import Progress, duration
from kgzoo.training.summaries import Summaries

# Keras on data sets, TensorFlow on eager functions: what the tests mean to do.
pytestmark = pytest.mark.filterwarnings(
    "ignore:.shuffle=True. was passed", "ignore:Your input ran out of data", "ignore:Even though"
)

POINTS = data.Source(
    "points", "vector", (2,), 64, np.random.RandomState(0).randn(64, 2).astype(np.float32)
)
FIELDS = {
    **contract.TOY,
    "steps": 8,
    "steps_per_execution": 3,
    "log_every_steps": 2,
    "checkpoint_every_steps": 4,
    "keep_checkpoints": 2,
}


class LoopTestCase(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        # Where nothing is traced, seeds become latents one by one: a thousand take seconds.
        self.enterContext(mock.patch.dict(loop._PICTURED, vector=8))
        self.workdir = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))

    def train(self, change=None, workdir=None, **fields):
        """Trains, or resumes, a GAN of two dense networks; returns the model and what was shown.

        Args:
            change: function of (model, step, losses) that returns the losses to use.
            workdir: another run folder than the test's own.
            **fields: of the config.
        """
        workdir = workdir or self.workdir
        settings = config.compose("gan", "gaussian", overrides={**FIELDS, **fields})
        keras.utils.set_random_seed(0)
        one = tf.distribute.get_strategy()
        model = run_folder.build_model(settings, "vector", (2,), one)
        contract.wake(model)
        if change:
            real = model.losses

            def changed(batch, players):
                return change(model, batch.noise.step, real(batch, players))

            model.losses = changed
        Checkpoints(workdir / "checkpoints", settings.keep_checkpoints).restore(model)
        reference = score_card.prepare(POINTS, "identity") if settings.score_every_steps else None
        shown = io.StringIO()
        with contextlib.redirect_stdout(shown):
            loop.train(model, POINTS, reference, settings, workdir, one, "the same line")
        return model, shown.getvalue()

    def records(self, workdir=None):
        """Returns metrics.jsonl without the speed, which is never the same."""
        lines = ((workdir or self.workdir) / "metrics.jsonl").read_text().splitlines()
        found = [json.loads(line) for line in lines]
        return [{k: v for k, v in line.items() if k != "images_per_second"} for line in found]

    def kept(self):
        return Checkpoints(self.workdir / "checkpoints").steps()


class TrainTest(LoopTestCase):
    def test_logs_and_saves_when_due(self):
        model, shown = self.train(steps=7)
        self.assertEqual(int(model.step), 7)
        self.assertEqual([line["step"] for line in self.records()], [2, 4, 6, 7])
        for line in self.records():
            for key in ("critic_loss", "generator_loss", "score_real", "score_fake"):
                self.assertTrue(np.isfinite(line[key]))
            self.assertNotEqual(line["critic_loss"], 0.0)
        self.assertEqual(self.kept(), [4, 7])
        self.assertNotEmpty(list((self.workdir / "events").iterdir()))

    def test_draws_pictures_of_fixed_latents(self):
        self.train(steps=4, sample_every_steps=3)
        names = sorted(path.name for path in (self.workdir / "samples").iterdir())
        self.assertEqual(names, [f"step_{step:08d}.png" for step in (0, 3, 4)])

    def test_scores_pick_the_best(self):
        self.train(score_every_steps=2, checkpoint_every_steps=8, keep_checkpoints=1)
        kids = {line["step"]: line["kid"] for line in self.records() if "kid" in line}
        self.assertEqual(list(kids), [2, 4, 6, 8])
        best = min(kids, key=kids.get)
        checkpoints = Checkpoints(self.workdir / "checkpoints")
        self.assertEqual((checkpoints.best(), checkpoints.steps()), (best, sorted({best, 8})))
        self.assertEqual(checkpoints.about(best)["kid"], kids[best])

    def test_traces_spectra_with_every_picture(self):
        self.train(steps=4, sample_every_steps=3)
        lines = (self.workdir / "spectra.jsonl").read_text().splitlines()
        lines = [json.loads(line) for line in lines]
        self.assertEqual([line["step"] for line in lines], [0, 3, 4])
        for line in lines:
            self.assertEqual(list(line["layers"])[0], "1_dense")
            for layer in line["layers"].values():
                self.assertGreater(layer["sigma"], 0)
        first = [line["layers"]["1_dense"]["sigma"] for line in lines]
        self.assertLen(set(first), 3)

    def test_a_model_that_is_stuck_is_told_of_once(self):
        said = "the critic is stuck."
        with mock.patch.object(Method, "complaint", lambda model, logs: said):
            _, shown = self.train(steps=9, log_every_steps=1)
            self.assertNotIn(said, shown)
            _, shown = self.train(steps=24, log_every_steps=1)
        self.assertEqual(shown.count(said), 1)
        self.assertIn(f"step 19: {said}", shown)

    def test_when_an_mmd_gan_is_stuck(self):
        model = contract.toy("mmd_rep")
        for means, word in (
            ((1e-4, 0.0, 1e-5), "too far apart"),
            # Real ones far from all, generated ones at one point.
            ((0.0, 0.0, 1.0), "too far apart"),
            ((1.0, 0.9999, 1.0), "coincide"),
        ):
            logs = dict(zip(("kernel_xx", "kernel_xy", "kernel_yy"), means, strict=True))
            self.assertIn(word, model.complaint(logs))
        logs = {"kernel_xx": 0.9, "kernel_xy": 0.0, "kernel_yy": 1.0}
        self.assertEqual(model.complaint(logs), "")
        self.assertEqual(contract.toy("gan").complaint({"critic_loss": 0.0}), "")

    def test_without_pictures_there_are_no_spectra(self):
        self.train(steps=1)
        self.assertFalse((self.workdir / "spectra.jsonl").exists())

    def test_the_largest_seed_serves(self):
        early = {"early_critic_steps": 2, "early_steps": 1}
        self.train(steps=1, seed=2**31 - 1, score_every_steps=1, sample_every_steps=1, **early)
        self.assertIn("kid", self.records()[-1])

    def test_calls_of_several_steps_change_nothing(self):
        one, _ = self.train(steps_per_execution=1, log_every_steps=1)
        other = self.workdir / "other"
        other.mkdir()
        three, _ = self.train(workdir=other, steps_per_execution=3, log_every_steps=8)
        for wanted, found in zip(
            contract.state(one).values(), contract.state(three).values(), strict=True
        ):
            np.testing.assert_array_equal(found, wanted)
        self.assertEqual(self.records()[-1], self.records(other)[-1])

    def test_a_finished_run_is_left_as_it_is(self):
        self.train()
        before = {path: path.read_bytes() for path in self.workdir.rglob("weights*")}
        records = self.records()
        self.train()
        for path, content in before.items():
            self.assertEqual(path.read_bytes(), content)
        self.assertEqual(self.records(), records)


class StopTest(LoopTestCase):
    """The run is stopped in every way, and its record reads as if it had not been.

    Eagerly, for the sake of time: `resume_test.py` does the same with graphs, in real processes.
    Steps 0, 1, 2, 4 and 6 have extra critic updates.
    """

    FIELDS = {"early_critic_steps": 3, "early_steps": 3, "early_every_steps": 2}
    whole = None

    def setUp(self):
        super().setUp()
        tf.config.run_functions_eagerly(True)
        self.addCleanup(tf.config.run_functions_eagerly, False)

    def resumed(self, broken):
        """Runs `broken`, which is stopped, and goes on: all must be as in a run that is not."""
        fields = {"score_every_steps": 4, "log_every_steps": 1, "sample_every_steps": 3}
        fields |= self.FIELDS
        state, whole = self.uninterrupted(fields)
        broken(fields)
        again, _ = self.train(**fields)
        for wanted, found in zip(state, contract.state(again).values(), strict=True):
            np.testing.assert_array_equal(found, wanted)
        self.assertEqual(self.records(), self.records(whole))
        spectra = [(each / "spectra.jsonl").read_text() for each in (whole, self.workdir)]
        self.assertEqual(spectra[0], spectra[1])
        self.assertEqual(events(self.workdir), events(whole))

    def uninterrupted(self, fields):
        """Returns final state and folder of a run that all tests are compared with."""
        cls = type(self)
        if cls.whole is None:
            temporary = tempfile.TemporaryDirectory()
            cls.addClassCleanup(temporary.cleanup)
            folder = pathlib.Path(temporary.name)
            model, _ = self.train(workdir=folder, **fields)
            cls.whole = list(contract.state(model).values()), folder
        return cls.whole

    def test_a_signal_saves_and_leaves(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            with self.subTest(signal.Signals(number).name):
                self.workdir = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
                self.resumed(lambda fields, number=number: self.stopped(number, fields))

    def stopped(self, number, fields):
        before = signal.getsignal(number)
        real = Summaries.scalars

        def scalars(summaries, step, values):
            real(summaries, step, values)
            if step == 5:
                os.kill(os.getpid(), number)

        with mock.patch.object(Summaries, "scalars", scalars):
            with self.assertRaises(loop.Stopped) as caught:
                self.train(**fields)
        name = signal.Signals(number).name
        self.assertEqual(
            str(caught.exception), f"{name}: saved at step 5 of 8; to go on type the same line"
        )
        self.assertEqual(caught.exception.signal_number, number)
        self.assertEqual(self.kept()[-1], 5)
        self.assertIs(signal.getsignal(number), before)

    def test_a_signal_between_extra_updates_does_not_wait_for_the_rest(self):
        # Step 4 has a checkpoint without the updates, which the resumed run repeats.
        for step, left in ((2, 1), (4, 0)):
            with self.subTest(step=step):
                self.workdir = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
                self.resumed(lambda fields, step=step: self.stopped_among(step, fields))
                memory = Checkpoints(self.workdir / "checkpoints").extra(4)
                self.assertEqual(memory, {})
                self.assertEqual(self.done_when_stopped, left)

    def stopped_among(self, where, fields):
        real = ExtraUpdates.run

        def run(early, step):
            for logs in real(early, step):
                if step == where:
                    os.kill(os.getpid(), signal.SIGTERM)
                yield logs

        with mock.patch.object(ExtraUpdates, "run", run):
            with self.assertRaisesRegex(loop.Stopped, f"saved at step {where} of 8"):
                self.train(**fields)
        memory = Checkpoints(self.workdir / "checkpoints").extra(where)
        self.done_when_stopped = int(memory.get("extra_updates_done", 0))

    def test_killed_before_a_checkpoint(self):
        self.resumed(lambda fields: self.killed(fields, after=False))

    def test_killed_after_a_checkpoint(self):
        self.resumed(lambda fields: self.killed(fields, after=True))

    def killed(self, fields, after):
        class Killed(BaseException):
            pass

        real = Checkpoints.save

        def save(checkpoints, model, *others):
            if int(model.step) == 8 and not after:
                raise Killed
            real(checkpoints, model, *others)
            if int(model.step) == 4 and after:
                raise Killed

        with mock.patch.object(Checkpoints, "save", save), self.assertRaises(Killed):
            self.train(**fields)
        self.assertEqual(self.kept(), [4])

    def test_more_steps_go_on_from_the_end(self):
        self.train(steps=4)
        model, _ = self.train(steps=8)
        self.assertEqual(int(model.step), 8)
        self.assertEqual([line["step"] for line in self.records()], [2, 4, 6, 8])


class ExtraUpdatesTest(LoopTestCase):
    """Extra critic updates: how many, of which examples, and what they may break."""

    FIELDS = {"early_critic_steps": 3, "early_steps": 2, "early_every_steps": 5}

    def setUp(self):
        super().setUp()
        tf.config.run_functions_eagerly(True)
        self.addCleanup(tf.config.run_functions_eagerly, False)

    def seen(self, **fields):
        """Trains; returns (step, index, examples) of every extra update, and the model."""
        calls, real = [], Method.extra_update

        def extra_update(model, examples, index):
            calls.append((int(model.step), int(index), np.array(examples)))
            return real(model, examples, index)

        with mock.patch.object(Method, "extra_update", extra_update):
            model, _ = self.train(**{**self.FIELDS, **fields})
        return calls, model

    def test_as_many_as_the_method_asks_for(self):
        calls, model = self.seen()
        steps = [(step, index) for step in (0, 1, 5) for index in (0, 1)]
        self.assertEqual([call[:2] for call in calls], steps)
        counts = {name: int(each.iterations) for name, each in model.optimizers.items()}
        self.assertEqual(counts, {"critic": 8 + 6, "generator": 8})
        self.assertEqual([line["step"] for line in self.records()], [2, 4, 6, 8])

    def test_examples_are_a_stream_of_their_own(self):
        calls, _ = self.seen()
        found = np.stack([call[2] for call in calls])
        # Six batches of 8 of 64 examples: none twice.
        self.assertEqual(found.shape, (6, 8, 2))
        self.assertLen(np.unique(found.reshape(-1, 2), axis=0), 48)
        main = training_dataset(POINTS, seed=0, batch_size=8, batches_per_step=2)
        first = next(iter(main)).numpy()
        self.assertFalse(any(np.array_equal(found[0], batch) for batch in first))
        again = self.workdir / "again"
        again.mkdir()
        self.workdir = again
        self.seen(steps=1)
        resumed, _ = self.seen()
        self.assertEqual([call[0] for call in resumed], [1, 1, 5, 5])
        self.assertAllEqual(np.stack([call[2] for call in resumed]), found[2:])

    def test_they_train_the_critic(self):
        (_, one), two = self.seen(steps=2), self.workdir / "two"
        two.mkdir()
        other, _ = self.train(workdir=two, steps=2)
        weights = [model.critic.trainable_variables[0].numpy() for model in (one, other)]
        self.assertNotAllClose(weights[0], weights[1], rtol=0, atol=1e-5)

    def test_no_stream_is_opened_where_none_are_left(self):
        real = training_dataset
        with mock.patch.object(extra_updates, "training_dataset", side_effect=real) as opened:
            self.seen(steps=4, early_critic_steps=0)
            opened.assert_not_called()
            self.workdir /= "early"
            self.workdir.mkdir()
            self.seen(steps=3, early_every_steps=0)
            opened.assert_called_once()
            calls, _ = self.seen(steps=6, early_every_steps=0)
            opened.assert_called_once()
        self.assertEmpty(calls)

    def test_they_leave_scored_checkpoints_alone(self):
        saved, real = [], Checkpoints.save

        def save(checkpoints, model, *others):
            saved.append(int(model.step))
            return real(checkpoints, model, *others)

        with mock.patch.object(Checkpoints, "save", save):
            self.seen(early_critic_steps=5, checkpoint_every_steps=2, steps=6)
        # Four extra updates before steps 0, 1 and 5: those before step 0 are saved as they come.
        self.assertEqual([step for step in saved if step], [2, 4, 6])

    def test_a_loss_that_is_not_finite_is_told(self):
        def change(model, step, losses):
            # The critic's third update of step 1: two extra ones, then its own.
            bad = int(model.optimizers["critic"].iterations) == 4
            factor = np.nan if bad and "critic" in losses else 1.0
            return {name: (loss * factor, rest) for name, (loss, rest) in losses.items()}

        words = "^step 2: critic_loss is nan in extra update 2; nothing is saved"
        with self.assertRaisesRegex(loop.Diverged, words):
            self.train(change, **self.FIELDS)
        self.assertEmpty(self.kept())

    def test_graph_calls_end_where_extra_updates_begin(self):
        tf.config.run_functions_eagerly(False)
        one, _ = self.train(steps_per_execution=1, **self.FIELDS)
        other = self.workdir / "other"
        other.mkdir()
        # No other reason to end a call: 8 steps would fit.
        many, _ = self.train(
            workdir=other,
            steps_per_execution=8,
            log_every_steps=8,
            checkpoint_every_steps=8,
            **self.FIELDS,
        )
        for wanted, found in zip(
            contract.state(one).values(), contract.state(many).values(), strict=True
        ):
            np.testing.assert_array_equal(found, wanted)

    def test_length_of_calls(self):
        model = contract.toy(**{**self.FIELDS, "early_every_steps": 6})
        early = extra_updates.ExtraUpdates(
            model, POINTS, {"seed": 0, "batch_size": 8}, tf.distribute.get_strategy(), 0, 20
        )
        found = [early.call_length(step, 4) for step in range(9)]
        self.assertEqual(found, [1, 1, 4, 3, 2, 1, 1, 4, 4])
        self.assertEqual([early.call_length(2, n) for n in (1, 2, 4, 5, 99)], [1, 2, 4, 4, 4])


def events(workdir):
    """Returns (step, tag) of all TensorBoard events of a run, sorted."""
    found = []
    for path in (workdir / "events").iterdir():
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            event = tf.compat.v1.Event.FromString(record)
            found += [(event.step, value.tag) for value in event.summary.value]
    return sorted(found)


def _not_a_number_at(bad_step, player, value=np.nan):
    """Losses that are as they should be except one player's at one step (counted from 0)."""

    def change(model, step, losses):
        if player in losses:
            loss, diagnostics = losses[player]
            factor = tf.where(tf.equal(step, bad_step), tf.constant(value, loss.dtype), 1.0)
            losses[player] = (loss * factor, diagnostics)
        return losses

    return change


class DivergedTest(LoopTestCase):
    def assert_diverged(self, words, kept, change, **fields):
        with self.assertRaisesRegex(loop.Diverged, words) as caught:
            self.train(change, **fields)
        self.assertNotIn("\n", str(caught.exception))
        self.assertIn("--workdir", str(caught.exception))
        self.assertEqual(self.kept(), kept)
        for step in kept:
            prefix = str(self.workdir / "checkpoints" / f"step_{step:08d}" / "weights")
            reader = tf.train.load_checkpoint(prefix)
            for name, dtype in reader.get_variable_to_dtype_map().items():
                if dtype.is_floating:
                    self.assertTrue(np.all(np.isfinite(reader.get_tensor(name))), name)

    def test_names_step_and_loss_and_keeps_the_last_good_checkpoint(self):
        words = "^step 6: critic_loss is nan; the checkpoint of step 4 is kept"
        self.assert_diverged(words, [4], _not_a_number_at(5, "critic"))

    def test_names_the_other_loss(self):
        words = "^step 7: generator_loss is inf; the checkpoint of step 4 is kept"
        self.assert_diverged(words, [4], _not_a_number_at(6, "generator", np.inf))

    def test_at_the_first_step_nothing_is_saved(self):
        words = "^step 1: critic_loss is nan; nothing is saved"
        self.assert_diverged(words, [], _not_a_number_at(0, "critic"))

    def test_in_the_step_of_a_checkpoint(self):
        words = "^step 4: generator_loss is nan; nothing is saved"
        self.assert_diverged(words, [], _not_a_number_at(3, "generator"))

    def test_names_the_checkpoint_a_resumed_run_began_from(self):
        self.train(steps=4)
        words = "^step 5: critic_loss is nan; the checkpoint of step 4 is kept"
        self.assert_diverged(words, [4], _not_a_number_at(4, "critic"))

    def test_weights_that_are_not_finite_are_never_saved(self):
        # The last update before a checkpoint: the loss is finite, its gradient is not.
        def change(model, step, losses):
            @tf.custom_gradient
            def poisoned(loss):
                factor = tf.where(tf.equal(step, 7), np.float32(np.nan), np.float32(1.0))
                return tf.identity(loss), lambda upstream: upstream * factor

            if "generator" in losses:
                loss, diagnostics = losses["generator"]
                losses["generator"] = (poisoned(loss), diagnostics)
            return losses

        words = "^step 8: .*is not finite; the checkpoint of step 4 is kept"
        self.assert_diverged(words, [4], change)

    def test_the_record_ends_before(self):
        with self.assertRaises(loop.Diverged):
            self.train(_not_a_number_at(5, "critic"), log_every_steps=1)
        self.assertEqual([line["step"] for line in self.records()], [1, 2, 3, 4, 5])


class FitTest(tf.test.TestCase):
    """`model.fit` on plain arrays, with every kind of row."""

    def fit(self, name, examples, **arguments):
        model = contract.model(name)
        model.compile(run_eagerly=True)
        arguments = {"batch_size": 8, "shuffle": False, "verbose": 0, **arguments}
        return model, model.fit(examples, **arguments).history

    def assert_history(self, history, length):
        for key in ("critic_loss", "generator_loss"):
            self.assertLen(history[key], length)
            self.assertTrue(np.all(np.isfinite(history[key])))
            self.assertTrue(np.all(np.not_equal(history[key], 0.0)), key)
        self.assertNotIn("loss", history)

    def test_bytes_and_unit_floats_are_the_same_images(self):
        # gan: images in [-1, 1] inside; smmd: in [0, 1].
        for name, epochs in (("gan", 2), ("smmd", 1)):
            examples = contract.source(name).examples[:8]
            model, history = self.fit(name, examples, epochs=epochs)
            self.assert_history(history, epochs)
            self.assertEqual(int(model.step), epochs)
            _, other = self.fit(name, examples.astype(np.float32) / 255.0, epochs=epochs)
            for key, values in history.items():
                self.assertAllClose(values, other[key], rtol=1e-3, atol=1e-4, msg=key)

    def test_a_data_set_of_steps_is_what_the_loop_sees(self):
        steps = training_dataset(POINTS, seed=3, batch_size=8, batches_per_step=2).take(2)
        model, other = contract.toy(), contract.toy()
        model.fit(steps, verbose=0)
        step = tf.function(other.train_step)
        for batch in steps:
            step(batch)
        # A data set of unknown length ends inside a call: nothing may move in that one.
        self.assertEqual(int(model.step), 2)
        for wanted, found in zip(
            contract.state(other).values(), contract.state(model).values(), strict=True
        ):
            self.assertAllClose(found, wanted, rtol=1e-4, atol=1e-5)

    def test_a_last_batch_of_one_does_no_harm(self):
        # 17 = 2 * 8 + 1, and an MMD has no unbiased estimate from one example.
        model = contract.toy("mmd_rbf")
        try:
            model.fit(POINTS.examples[:17], batch_size=8, verbose=0)
        except (UserError, tf.errors.InvalidArgumentError) as error:
            self.assertRegex(str(error), "batch_size")
        for weight in model.weights:
            self.assertTrue(np.all(np.isfinite(weight.numpy())), weight.path)

    def test_wrong_shapes_are_one_sentence(self):
        good = contract.source("hinge").examples
        for examples in (good[:8, :4], np.repeat(good, 3, axis=-1), good[..., 0], good[0]):
            with self.subTest(str(examples.shape)), self.assertRaises(UserError) as caught:
                self.fit("hinge", examples)
            message = str(caught.exception)
            self.assertRegex(message, r"\(None, 8, 8, 1\)|\(8, 8, 1\)|8, 8, 1")
            self.assertNotIn("\n", message)

    def test_it_must_be_compiled(self):
        model = contract.model("hinge")
        with self.assertRaisesRegex(ValueError, "compile"):
            model.fit(contract.source("hinge").examples[:8], verbose=0)

    def test_optimizers_are_checked(self):
        model = contract.model("hinge")
        shared = keras.optimizers.Adam()
        for wrong, words in (
            ({"critic": shared, "generator": shared}, "one optimizer for each"),
            ({"teacher": keras.optimizers.Adam()}, "teacher.*critic"),
        ):
            with self.assertRaisesRegex(UserError, words):
                model.compile(wrong)


class SummariesTest(tf.test.TestCase):
    def test_a_resumed_record_is_cut(self):
        workdir = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        path = workdir / "metrics.jsonl"
        lines = [json.dumps({"step": step, "a": step / 2}) for step in range(1, 7)]
        path.write_text("\n".join([*lines[:4], "[4]", "17", *lines[4:], '{"step": 3, "a"']))
        summaries = Summaries(workdir, 4)
        summaries.scalars(5, {"a": 9.0})
        summaries.close()
        found = [json.loads(line) for line in path.read_text().splitlines()]
        self.assertEqual(found, [*map(json.loads, lines[:4]), {"step": 5, "a": 9.0}])

    def test_a_new_record_starts_empty(self):
        workdir = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        Summaries(workdir, 0).close()
        self.assertEqual((workdir / "metrics.jsonl").read_text(), "")

    def test_spectra_and_events_are_cut_too(self):
        workdir = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        found = {"1_dense": spectra.spectrum(np.eye(2))}
        summaries = Summaries(workdir, 0)
        for step in range(0, 7, 2):
            summaries.scalars(step, {"a": 1.0})
            summaries.spectra(step, found)
        summaries.close()
        (path,) = (workdir / "events").iterdir()
        whole = events(workdir)
        self.assertLen(whole, 4 * 4)
        content = path.read_bytes()
        # Killed while it wrote.
        path.write_bytes(content[:-5])
        Summaries(workdir, 4).close()
        self.assertEqual(events(workdir), [each for each in whole if each[0] <= 4])
        lines = (workdir / "spectra.jsonl").read_text().splitlines()
        self.assertEqual([json.loads(line)["step"] for line in lines], [0, 2, 4])
        # What need not be cut is not written anew, even though a resumed run never draws again.
        before = path.stat().st_ino
        Summaries(workdir, 4).close()
        self.assertEqual(path.stat().st_ino, before)

    def test_a_run_that_begins_anew_keeps_nothing(self):
        workdir = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        for _ in range(2):
            summaries = Summaries(workdir, 0)
            summaries.scalars(0, {"a": 1.0})
            summaries.spectra(0, {"1_dense": spectra.spectrum(np.eye(2))})
            summaries.close()
        self.assertLen(events(workdir), 4)
        for name in ("metrics.jsonl", "spectra.jsonl"):
            self.assertLen((workdir / name).read_text().splitlines(), 1)


class ProgressTest(tf.test.TestCase):
    LOGS = {"critic_loss": -0.5, "generator_loss": 0.25, "scale": 3.0}

    def shown(self, terminal, last=3):
        out = io.StringIO()
        out.isatty = lambda: terminal
        with contextlib.redirect_stdout(out):
            progress = Progress(0, last, 64)
            for step in range(1, last + 1):
                progress.update(step, self.LOGS)
            progress.say("done")
        return out.getvalue()

    def test_lines_are_plain_when_it_is_no_terminal(self):
        text = self.shown(terminal=False)
        self.assertNotRegex(text, "[\r\x1b]")
        lines = text.splitlines()
        self.assertLen(lines, 3)  # the first, the last, and "done": not one for each step
        self.assertStartsWith(lines[0], "step 1/3 ")
        self.assertStartsWith(lines[1], "step 3/3 ")
        self.assertEndsWith(lines[1], "critic -0.5000  generator +0.2500")
        self.assertEqual(lines[2], "done")

    def test_one_line_is_rewritten_on_a_terminal(self):
        text = self.shown(terminal=True)
        self.assertStartsWith(text, "\rstep 1/3 ")
        self.assertEqual(text.count("\n"), 1)
        self.assertEqual(text.splitlines()[-1].split("\r")[-1], "done")

    def test_images_beyond_the_schedule_count(self):
        # Before step 0 a hundred batches, then none: the rate is that of images, not of steps.
        clock = iter((0.0, 10.1, 10.2, 10.3))
        out = io.StringIO()
        with contextlib.redirect_stdout(out), mock.patch("time.monotonic", lambda: next(clock)):
            progress = Progress(0, 103, 8, lambda step: 800 if step > 0 else 0)
            progress.update(0, self.LOGS)
            for step in (1, 2, 3):
                progress.update(step, self.LOGS)
                self.assertAllClose(progress.images_per_second, 80.0)
        self.assertEqual(progress.steps_within(2.0), 20)
        self.assertIn("80 images/s  10s left", out.getvalue())

    def test_durations(self):
        for seconds, text in ((0.4, "0s"), (59.4, "59s"), (59.6, "1m00s"), (200, "3m20s")):
            self.assertEqual(duration(seconds), text)
        self.assertEqual(duration(3600 + 2 * 60 + 59), "1h02m")


if __name__ == "__main__":
    tf.test.main()
