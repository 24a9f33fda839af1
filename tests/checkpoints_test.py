"""Checkpoints: all state comes back, a killed or damaged one costs nothing, few are kept."""

import contextlib
import io
import json
import os
import pathlib
import shutil
import tempfile
from unittest import mock

import numpy as np
import tensorflow as tf

import contract
from contract import toy
from kgzoo import config
from kgzoo.errors import UserError
from kgzoo.training import checkpoints, run_folder
from kgzoo.training.checkpoints import Checkpoints


def at(model, step):
    """Puts the model at a step, with the step in its weights: `stamp` reads it."""
    model.step.assign(step)
    model.generator.weights[0].assign(tf.fill(model.generator.weights[0].shape, float(step)))
    return model


def stamp(model):
    return float(model.generator.weights[0].numpy()[0, 0])


class CheckpointsTestCase(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory())) / "checkpoints"

    def saved(self, *steps, keep=3, **kids):
        """Saves the steps in turn; `kid_4=0.5` records a KID beside step 4."""
        model, kept = toy(), Checkpoints(self.folder, keep)
        for step in steps:
            kid = kids.get(f"kid_{step}")
            kept.save(at(model, step), {} if kid is None else {"kid": kid})
        return kept

    def restored(self, keep=3):
        """Restores the newest; returns the step found in the weights, and what was printed."""
        model, printed = toy(seed=1), io.StringIO()
        with contextlib.redirect_stdout(printed):
            about = Checkpoints(self.folder, keep).restore(model)
        self.assertEqual(about["step"], int(model.step))
        self.assertEqual(stamp(model), about["step"])
        return about["step"], printed.getvalue()


class StateTest(CheckpointsTestCase):
    def test_everything_comes_back_exactly(self):
        model = contract.compiled("hinge")
        for batch in contract.batches("hinge", model).take(2):
            model.train_step(batch)
        Checkpoints(self.folder).save(model, {"kid": 0.25})
        fresh = contract.compiled("hinge", seed=6)
        before = contract.state(fresh)
        about = Checkpoints(self.folder).restore(fresh)
        self.assertEqual(about, {"step": 2, "kid": 0.25})
        wanted, found = contract.state(model), contract.state(fresh)
        self.assertLen(found, len(wanted))
        changed = set()
        for (path, value), old, new in zip(
            wanted.items(), before.values(), found.values(), strict=True
        ):
            np.testing.assert_array_equal(new, value, err_msg=path)
            if np.any(old != new):
                changed.add(path)
        for kind in (
            *("step", "kernel", "moving_variance", "moving_average", "spectral_u"),
            *("_momentum", "_velocity", "iteration"),
        ):
            self.assertTrue(any(kind in path for path in changed), kind)

    def test_a_checkpoint_of_another_model_is_refused(self):
        self.saved(2)
        other = toy(generator_width=5)
        with contextlib.redirect_stdout(io.StringIO()):
            with self.assertRaisesRegex(UserError, "no checkpoint that can be read.*--workdir"):
                Checkpoints(self.folder).restore(other)

    def test_no_checkpoint_is_no_error(self):
        self.assertIsNone(Checkpoints(self.folder).restore(toy()))

    def test_names_steps_and_notes(self):
        kept = self.saved(2, 10, kid_10=0.5)
        names = sorted(path.name for path in self.folder.iterdir())
        self.assertEqual(names, ["step_00000002", "step_00000010"])
        self.assertEqual(kept.steps(), [2, 10])
        self.assertEqual(kept.about(2), {"step": 2})
        text = (self.folder / "step_00000010" / "about.json").read_text()
        notes = json.loads(text)
        self.assertIsInstance(notes.pop("crc32"), int)
        self.assertEqual(notes, {"step": 10, "kid": 0.5})

    def test_a_given_step_is_restored(self):
        kept, model = self.saved(2, 4, 6), toy(seed=1)
        self.assertEqual(kept.restore(model, 4), {"step": 4})
        self.assertEqual((int(model.step), stamp(model)), (4, 4.0))


class ExtraTest(CheckpointsTestCase):
    """State outside the model: arrays by name."""

    # The middle of the file is in the first: a byte flipped there is one of its numbers.
    ARRAYS = {"a": np.arange(600.0).reshape(200, 3) / 7, "count": np.array(3, np.int64)}

    def test_it_comes_back_exactly(self):
        kept = Checkpoints(self.folder)
        kept.save(at(toy(), 2), {"kid": 0.5}, self.ARRAYS)
        found = kept.extra(2)
        self.assertEqual(sorted(found), ["a", "count"])
        for name, value in self.ARRAYS.items():
            np.testing.assert_array_equal(found[name], value)
            self.assertEqual(found[name].dtype, value.dtype)
        about = kept.restore(toy(seed=1))
        self.assertEqual(about, {"step": 2, "kid": 0.5, "extra": ["a", "count"]})

    def test_each_step_has_its_own(self):
        kept = Checkpoints(self.folder)
        for step in (2, 4):
            kept.save(at(toy(), step), {}, {"a": np.full(2, step)})
        kept.save(at(toy(), 6), {}, {})
        self.assertAllEqual(kept.extra(2)["a"], [2, 2])
        self.assertAllEqual(kept.extra(4)["a"], [4, 4])
        self.assertEqual(kept.extra(6), {})

    def test_without_it_there_is_no_file(self):
        kept = self.saved(2)
        self.assertEmpty(list(self.folder.rglob("extra*")))
        self.assertEqual((kept.extra(2), kept.extra(99)), ({}, {}))

    def test_a_damaged_one_is_passed_over(self):
        for number, how in enumerate((truncate, flip_a_byte, os.remove, lambda path: None)):
            with self.subTest(number):
                shutil.rmtree(self.folder, ignore_errors=True)
                kept = Checkpoints(self.folder)
                for step in (2, 4):
                    kept.save(at(toy(), step), {}, self.ARRAYS)
                how(self.folder / "step_00000004" / "extra.npz")
                step, printed = self.restored()
                self.assertEqual(step, 4 if number == 3 else 2)
                self.assertEqual(printed != "", number != 3)

    def test_a_save_that_dies_leaves_the_one_before(self):
        kept = Checkpoints(self.folder)
        kept.save(at(toy(), 2), {}, self.ARRAYS)
        with mock.patch.object(checkpoints, "sync_folder", side_effect=OSError(28, "full")):
            with self.assertRaises(UserError):
                kept.save(at(toy(), 4), {}, self.ARRAYS)
        self.assertEqual(kept.steps(), [2])
        self.assertAllEqual(kept.extra(2)["a"], self.ARRAYS["a"])


class KeepTest(CheckpointsTestCase):
    def test_the_newest_are_kept(self):
        self.assertEqual(self.saved(1, 2, 3, 4, 5, keep=2).steps(), [4, 5])

    def test_the_best_is_kept_beside_them(self):
        kept = self.saved(1, 2, 3, 4, 5, keep=2, kid_1=0.5, kid_2=0.1, kid_4=0.3)
        self.assertEqual(kept.steps(), [2, 4, 5])
        self.assertEqual(kept.best(), 2)
        kept.save(at(toy(), 6), {"kid": 0.05})
        self.assertEqual((kept.steps(), kept.best()), ([5, 6], 6))

    def test_without_scores_there_is_no_best(self):
        self.assertIsNone(self.saved(1, 2).best())

    def test_negative_kids_are_the_lowest(self):
        self.assertEqual(self.saved(1, 2, 3, kid_1=0.0, kid_2=-0.01, kid_3=0.02).best(), 2)


class KilledTest(CheckpointsTestCase):
    """A save that ends in the middle: the folder as it was, and no leftovers for long."""

    def kill_during(self, target, name, after=False):
        """Saves step 4 after step 2 and dies in the call of `name`; nothing cleans up."""
        kept = self.saved(2)
        real = getattr(target, name)

        class Killed(BaseException):
            pass

        def dying(*args, **kwargs):
            if after:
                real(*args, **kwargs)
            raise Killed

        # A killed process runs no `finally`: the cleaning is switched off too.
        with mock.patch.object(shutil, "rmtree"), mock.patch.object(target, name, dying):
            with self.assertRaises(Killed):
                kept.save(at(toy(), 4), {})

    def assert_next_save_leaves(self, *steps):
        Checkpoints(self.folder).save(at(toy(), 5), {})
        names = sorted(path.name for path in self.folder.iterdir())
        self.assertEqual(names, [f"step_{step:08d}" for step in steps])

    def test_before_the_weights_are_on_disk(self):
        self.kill_during(checkpoints, "sync_folder")
        leftovers = [path.name for path in self.folder.iterdir() if path.name[0] == "."]
        self.assertLen(leftovers, 1)
        self.assertEqual(self.restored(), (2, ""))
        self.assert_next_save_leaves(2, 5)

    def test_before_the_note_is_written(self):
        self.kill_during(pathlib.Path, "write_text")
        self.assertEqual(self.restored(), (2, ""))

    def test_at_the_rename(self):
        self.kill_during(pathlib.Path, "rename")
        self.assertEqual(self.restored(), (2, ""))

    def test_after_the_rename(self):
        self.kill_during(pathlib.Path, "rename", after=True)
        self.assertEqual(self.restored(), (4, ""))

    def test_while_old_ones_are_removed(self):
        kept = self.saved(1, 2, 3)
        with mock.patch.object(shutil, "rmtree"):
            kept.save(at(toy(), 4), {})
        self.assertEqual(kept.steps(), [2, 3, 4])
        self.assertEqual(Checkpoints(self.folder).steps(), [2, 3, 4])
        self.assert_next_save_leaves(3, 4, 5)

    def test_a_full_disk_is_one_sentence_and_costs_nothing(self):
        kept = self.saved(2)
        full = OSError(28, "No space left on device")
        with mock.patch.object(checkpoints, "sync_folder", side_effect=full):
            with self.assertRaisesRegex(UserError, "step 4 .*No space left.*room") as caught:
                kept.save(at(toy(), 4), {})
        self.assertNotIn("\n", str(caught.exception))
        self.assertEqual([path.name for path in self.folder.iterdir()], ["step_00000002"])

    def test_a_reader_leaves_a_save_in_progress_alone(self):
        # kgzoo.evaluate and kgzoo.export read the folder of a run that may be training.
        workdir = self.folder.parent
        settings = config.compose("gan", "gaussian", overrides=contract.TOY)
        content = {
            "config": dict(settings),
            "data": {"kind": "vector", "shape": [2]},
            "runtime": {},
            "version": "0",
        }
        run_folder.write_json(workdir / "config.json", content)
        kept, read, real = self.saved(2), [], checkpoints.sync_folder

        def reading(folder):
            if not read:
                read.append(run_folder.load_run(workdir)[2])
            real(folder)

        with mock.patch.object(checkpoints, "sync_folder", reading):
            kept.save(at(toy(), 4), {})
        self.assertEqual(read, [2])
        self.assertEqual(self.restored(), (4, ""))


def truncate(path):
    os.truncate(path, path.stat().st_size // 2)


def flip_a_byte(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


class DamagedTest(CheckpointsTestCase):
    """The newest checkpoint is damaged: the one before serves, and a line says so."""

    def damage(self, step, name, how):
        how(next((self.folder / f"step_{step:08d}").glob(name)))

    def test_falls_back_and_says_so(self):
        for number, (name, how) in enumerate(
            (
                ("weights.data*", truncate),
                ("weights.data*", flip_a_byte),
                ("weights.index", truncate),
                ("weights.index", os.remove),
                ("weights.data*", os.remove),
                ("about.json", truncate),
                ("about.json", os.remove),
                ("about.json", lambda path: path.write_text("[]")),
            )
        ):
            with self.subTest(f"{name} {number}"):
                shutil.rmtree(self.folder, ignore_errors=True)
                self.saved(2, 4)
                self.damage(4, name, how)
                step, printed = self.restored()
                self.assertEqual(step, 2)
                self.assertRegex(printed, r"\AThe checkpoint of step 4 cannot be read \(.*\)\.\n\Z")

    def test_none_left_is_one_sentence(self):
        self.saved(2)
        self.damage(2, "weights.data*", truncate)
        with contextlib.redirect_stdout(io.StringIO()):
            with self.assertRaisesRegex(UserError, "no checkpoint that can be read") as caught:
                Checkpoints(self.folder).restore(toy())
        self.assertNotIn("\n", str(caught.exception))

    def test_a_damaged_one_is_not_counted_among_the_newest(self):
        for keep in (1, 2):
            with self.subTest(keep):
                shutil.rmtree(self.folder, ignore_errors=True)
                self.saved(2, 8, keep=2)
                self.damage(8, "weights.data*", truncate)
                model, printed = toy(), io.StringIO()
                with contextlib.redirect_stdout(printed):
                    kept = Checkpoints(self.folder, keep)
                    self.assertEqual(kept.restore(model), {"step": 2})
                kept.save(at(model, 4), {})
                # The run goes on from 2: what it saves is its newest, not what is left of 8.
                self.assertEqual(self.restored(keep)[0], 4)

    def test_a_damaged_note_does_not_stop_the_next_save(self):
        self.saved(2, 8)
        self.damage(8, "about.json", truncate)
        model = toy()
        with contextlib.redirect_stdout(io.StringIO()):
            kept = Checkpoints(self.folder)
            kept.restore(model)
        kept.save(at(model, 4), {})
        self.assertEqual(self.restored()[0], 4)


if __name__ == "__main__":
    tf.test.main()
