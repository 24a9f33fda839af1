"""Checkpoints that are whole or absent: one folder per step, written aside and renamed.

checkpoints/step_00001000/
    weights.index, weights.data-*   every weight, optimizer slot and counter
    about.json                      the step, and the KID where one was computed
    extra.npz                       arrays that are no variables, where a run has such state
"""

import json
import math
import os
import shutil
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from kgzoo.errors import UserError
from kgzoo.evaluation import archives, files
from kgzoo.methods import Method

__all__ = ["Checkpoints", "sync_folder"]

_PREFIX = "step_"
_TEMPORARY = ".writing-"
# What a second save of a step makes room with: found until the new one is in its place.
_REPLACED = ".replaced-"
_ABOUT = "about.json"
_CHECKSUM = "crc32"
_EXTRA = "extra.npz"
# What TensorFlow and NumPy raise for torn, flipped, missing or foreign files.
_UNREADABLE = (
    *(tf.errors.OpError, AssertionError),
    *archives.DAMAGES,
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
        starts = (_PREFIX, _REPLACED + _PREFIX)
        found = (
            path.name.removeprefix(start)
            for start in starts
            for path in self.folder.glob(f"{start}*")
        )
        return sorted({int(step) for step in found if step.isdecimal()})

    def path(self, step: int) -> Path:
        """Returns the folder of the checkpoint of a step."""
        final, replaced = self._places(step)
        return replaced if replaced.exists() and not final.exists() else final

    def _places(self, step: int) -> tuple[Path, Path]:
        name = f"{_PREFIX}{step:08d}"
        return self.folder / name, self.folder / f"{_REPLACED}{name}"

    def about(self, step: int) -> dict[str, Any]:
        """Returns what was recorded beside the weights, or {} when that cannot be read."""
        try:
            about = json.loads((self.path(step) / _ABOUT).read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return {}
        if not isinstance(about, dict):
            return {}
        # A digit that was flipped is good JSON. The first checkpoints had no checksum.
        whole = about.pop(_CHECKSUM, None) in (None, _checksum(about))
        return about if whole else {}

    def extra(self, step: int) -> dict[str, np.ndarray]:
        """Returns the arrays saved beside the weights of a step, {} when there were none.

        Raises:
            OSError, ValueError, LookupError, zipfile.BadZipFile, ...: if they are damaged, which
                `restore` finds out first.
        """
        names = self.about(step).get("extra", [])
        if not names:
            return {}
        arrays = archives.load(self.path(step) / _EXTRA)
        return {name: arrays[name] for name in names}

    def best(self) -> int | None:
        """Returns the step of the lowest KID, or None when none was scored."""
        scored = [(self.about(step).get("kid"), step) for step in self.steps()]
        # Nothing is less than NaN, nor more: it would stay the best.
        scored = [(kid, step) for kid, step in scored if kid is not None and math.isfinite(kid)]
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
        final, replaced = self._places(step)
        temporary = self.folder / f"{_TEMPORARY}{final.name}-{os.getpid()}"
        try:
            self._clear(step)
            temporary.mkdir(parents=True)
            _trackable(model).write(str(temporary / "weights"))
            notes = {"step": step, **about}
            if extra:
                np.savez(temporary / _EXTRA, allow_pickle=False, **extra)
                notes["extra"] = sorted(extra)
            text = json.dumps({**notes, _CHECKSUM: _checksum(notes)}, indent=2)
            (temporary / _ABOUT).write_text(text, encoding="utf-8")
            sync_folder(temporary)
            if final.exists():
                # Moved away and not removed: at no moment are there fewer whole checkpoints.
                final.rename(replaced)
            temporary.rename(final)
            sync_folder(self.folder)
            shutil.rmtree(replaced, ignore_errors=True)
        except (OSError, tf.errors.OpError) as error:
            raise UserError(
                f"the checkpoint of step {step} cannot be written to {self.folder} "
                f"({files.reason(error)}); make room or mend the folder and type the same "
                "command: earlier ones are whole."
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
        for each in self.steps():
            final, replaced = self._places(each)
            if final.exists() and replaced.exists():
                shutil.rmtree(replaced)
        for later in self.steps():
            if later > step:
                aside = self.folder / f"unreadable_{_PREFIX}{later:08d}"
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
        if step is not None:
            raise UserError(
                f"{self.path(step)} cannot be read; choose another checkpoint of the run."
            )
        if candidates:
            raise UserError(
                f"{self.folder} holds no checkpoint that can be read; choose a new --workdir."
            )
        return None


def _checksum(notes: Mapping[str, Any]) -> int:
    return zlib.crc32(json.dumps(notes, sort_keys=True).encode())


def _trackable(model: Method) -> tf.train.Checkpoint:
    # Every variable by its position. Tracking the model object would leave out lists of variables
    # (the moving average) without a word, and layer names depend on what else the process built.
    optimizers = {
        name: [variable.value for variable in optimizer.variables]
        for name, optimizer in model.optimizers.items()
    }
    weights = [variable.value for variable in model.weights]
    return tf.train.Checkpoint(weights=weights, optimizers=optimizers)
