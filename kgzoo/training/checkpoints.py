"""Checkpoints that are whole or absent: one folder per step, written aside and renamed.

checkpoints/step_00001000/
    weights.index, weights.data-*   every weight, optimizer slot and counter
    about.json                      the step, and the KID where one was computed
    extra.npz                       arrays that are no variables, where a run has such state
"""

import json
import os
import shutil
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from kgzoo.errors import UserError
from kgzoo.methods import Method

__all__ = ["Checkpoints", "sync_folder"]

_PREFIX = "step_"
_TEMPORARY = ".writing-"
_ABOUT = "about.json"
_EXTRA = "extra.npz"
# What TensorFlow and NumPy raise for torn, flipped, missing or foreign files.
_UNREADABLE = (
    *(tf.errors.OpError, OSError, ValueError, LookupError, AssertionError),
    *(zipfile.BadZipFile, zlib.error, EOFError, RuntimeError),
)


def sync_folder(folder: Path) -> None:
    """Makes the files of a folder, and its own entries, survive a power cut."""
    for path in [*folder.rglob("*"), folder]:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


class Checkpoints:
    """The checkpoints of one run.

    Args:
        folder: made by the first save.
        keep: how many of the newest are kept, beside the best by KID.
    """

    def __init__(self, folder: Path, keep: int = 3):
        self.folder, self.keep = Path(folder), keep

    def steps(self) -> list[int]:
        """Returns the steps of all checkpoints, ascending."""
        found = (path.name.removeprefix(_PREFIX) for path in self.folder.glob(_PREFIX + "*"))
        return sorted(int(step) for step in found if step.isdigit())

    def path(self, step: int) -> Path:
        """Returns the folder of the checkpoint of a step."""
        return self.folder / f"{_PREFIX}{step:08d}"

    def about(self, step: int) -> dict[str, Any]:
        """Returns what was recorded beside the weights, or {} when that cannot be read."""
        try:
            about = json.loads((self.path(step) / _ABOUT).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return about if isinstance(about, dict) else {}

    def extra(self, step: int) -> dict[str, np.ndarray]:
        """Returns the arrays saved beside the weights of a step, {} when there were none.

        Raises:
            OSError, ValueError, LookupError, zipfile.BadZipFile, ...: if they are damaged, which
                `restore` finds out first.
        """
        names = self.about(step).get("extra", [])
        if not names:
            return {}
        with np.load(self.path(step) / _EXTRA, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in names}

    def best(self) -> int | None:
        """Returns the step of the lowest KID, or None when none was scored."""
        scored = [(self.about(step).get("kid"), step) for step in self.steps()]
        scored = [(kid, step) for kid, step in scored if kid is not None]
        return min(scored)[1] if scored else None

    def save(
        self,
        model: Method,
        about: Mapping[str, Any],
        extra: Mapping[str, np.ndarray] | None = None,
    ) -> Path:
        """Saves all state of `model` under its step, then removes what need not be kept.

        Args:
            model: compiled.
            about: what else to note in about.json.
            extra: state outside the model, arrays of numbers by name.

        Raises:
            UserError: if the disk refuses.
        """
        step = model.steps_done
        final = self.path(step)
        temporary = self.folder / f"{_TEMPORARY}{final.name}-{os.getpid()}"
        try:
            self._clear(step)
            temporary.mkdir(parents=True)
            _trackable(model).write(str(temporary / "weights"))
            notes = {"step": step, **about}
            if extra:
                np.savez(temporary / _EXTRA, **extra)
                notes["extra"] = sorted(extra)
            text = json.dumps(notes, indent=2)
            (temporary / _ABOUT).write_text(text, encoding="utf-8")
            sync_folder(temporary)
            if final.exists():
                # Moved away and not removed: at no moment are there fewer whole checkpoints.
                final.rename(self.folder / f"{_TEMPORARY}old-{step}")
            temporary.rename(final)
            sync_folder(self.folder)
        except (OSError, tf.errors.OpError) as error:
            reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
            raise UserError(
                f"the checkpoint of step {step} cannot be written to {self.folder} ({reason}); "
                "make room or mend the folder and type the same command: earlier ones are whole."
            ) from error
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        self._prune()
        return final

    def _clear(self, step: int) -> None:
        """Removes leftovers of killed saves, and sets aside what claims to be of a later step.

        The run went on from an earlier step because the later one could not be read: it must not
        count among the newest.
        """
        for leftover in self.folder.glob(_TEMPORARY + "*"):
            shutil.rmtree(leftover)
        for later in self.steps():
            if later > step:
                aside = self.folder / f"unreadable_{self.path(later).name}"
                shutil.rmtree(aside, ignore_errors=True)
                self.path(later).rename(aside)

    def _prune(self) -> None:
        kept = {*self.steps()[-self.keep :], self.best()}
        for step in self.steps():
            if step not in kept:
                # Renamed first, so that a kill in the middle leaves no half checkpoint.
                doomed = self.folder / f"{_TEMPORARY}old-{step}"
                self.path(step).rename(doomed)
                shutil.rmtree(doomed)

    def restore(self, model: Method, step: int | None = None) -> dict[str, Any] | None:
        """Restores the newest checkpoint, or that of `step`, into a compiled model.

        A checkpoint that cannot be read is passed over for the one before; a line says so.

        Returns:
            What was recorded beside it, or None when there is no checkpoint.

        Raises:
            UserError: if there are checkpoints but none can be read.
        """
        candidates = self.steps()[::-1] if step is None else [step]
        for candidate in candidates:
            try:
                about = self.about(candidate)
                if about.get("step") != candidate:
                    raise ValueError(f"its {_ABOUT} is damaged")
                self.extra(candidate)
                status = _trackable(model).read(str(self.path(candidate) / "weights"))
                status.assert_consumed()
                return about
            except _UNREADABLE as error:
                reason = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
                print(f"The checkpoint of step {candidate} cannot be read ({reason}).", flush=True)
        if candidates:
            raise UserError(
                f"{self.folder} holds no checkpoint that can be read; choose a new --workdir."
            )
        return None


def _trackable(model: Method) -> tf.train.Checkpoint:
    # Every variable by its position. Tracking the model object would leave out lists of variables
    # (the moving average) without a word, and layer names depend on what else the process built.
    optimizers = {
        name: [variable.value for variable in optimizer.variables]
        for name, optimizer in model.optimizers.items()
    }
    weights = [variable.value for variable in model.weights]
    return tf.train.Checkpoint(weights=weights, optimizers=optimizers)
