"""Trainings of a grid as child processes, one at a time: finished ones skipped, others resumed.

Every run is an ordinary run folder, trained by `python -m kgzoo.main`: what one of them does to
its memory or to its process ends with it. Beside the run folder `seed0/` stand `seed0.log`, what
the child printed, and `seed0.json`, the record: command, outcome, seconds, commit. Nothing here
imports TensorFlow.
"""

import json
import os
import pathlib
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

from kgzoo import locks
from kgzoo.config import FREE_ON_RESUME
from kgzoo.errors import UserError
from kgzoo.evaluation import files
from kgzoo.reproductions import provenance

__all__ = ["COMMAND", "Run", "Stopped", "check", "finished_step", "locked", "train"]

# What trains a run: its flags follow.
COMMAND: tuple[str, ...] = (sys.executable, "-m", "kgzoo.main")
_ROOT = pathlib.Path(__file__).resolve().parents[2]
# Of a child that the system killed: it resumes from its checkpoint. A bug's traceback is no reason
# to try again.
_ATTEMPTS = 3
_SAID_LAST = 4000  # bytes at the end of a log
# How often the last line of a child's log is shown.
_TOLD_EVERY_SECONDS = 30.0
_DIVERGED = re.compile(r"^kgzoo: (step (\d+): .*start anew in another --workdir.*)$", re.MULTILINE)
_USER_ERROR, _SIGNALLED = 2, (128 + signal.SIGTERM, 128 + signal.SIGINT)


class Run(NamedTuple):
    """One training of a grid.

    Attributes:
        name: of the arm, with what is varied within it.
        seed: of the training.
        workdir: the run folder.
        config: resolved.
        flags: of `kgzoo.main` that give this config.
        data_dir: of prepared TFDS data sets; empty: the TFDS default.
    """

    name: str
    seed: int
    workdir: pathlib.Path
    config: Mapping[str, Any]
    flags: tuple[str, ...]
    data_dir: str = ""

    @property
    def command(self) -> tuple[str, ...]:
        """The flags with the folders: what a child is given."""
        where = (f"--data_dir={self.data_dir}",) if self.data_dir else ()
        return (*self.flags, *where, f"--workdir={self.workdir}")

    @property
    def record(self) -> pathlib.Path:
        """The file beside the run folder that says how the run ended."""
        return self.workdir.with_suffix(".json")


class Stopped(UserError):
    """A signal asked the grid to stop; the run that it met has saved its state.

    Attributes:
        signal_number: of SIGTERM or SIGINT.
    """

    def __init__(self, message: str, signal_number: int):
        super().__init__(message)
        self.signal_number = signal_number


def locked(folder: pathlib.Path) -> AbstractContextManager[None]:
    """Holds a grid's folder for one process; see `locks.held`."""
    return locks.held(folder, "--to", "grid")


def finished_step(workdir: pathlib.Path) -> int | None:
    """Returns the step at which a run was scored and said that all is done, or None."""
    result, scores = _read(workdir / "result.json"), _read(workdir / "scores.json")
    try:
        return int(result["step"]) if result["step"] == scores["step"] else None
    except (KeyError, TypeError, ValueError):
        return None


def check(run: Run) -> None:
    """Refuses a run folder that holds a training of other fields, or a longer one.

    Raises:
        UserError: naming the field that differs, or the steps.
    """
    old = (_read(run.workdir / "config.json") or {}).get("config", {})
    # One that never came to a whole checkpoint binds nobody.
    if not any((run.workdir / "checkpoints").glob("step_*")):
        return
    new = json.loads(json.dumps(dict(run.config)))
    for field in sorted(set(new) & set(old) - FREE_ON_RESUME):
        if old[field] != new[field]:
            raise UserError(
                f"{run.workdir} holds a run with {field}={old[field]}, the grid asks for "
                f"{new[field]}; choose another --to."
            )
    done = finished_step(run.workdir)
    if done is not None and done > new["steps"]:
        raise UserError(
            f"{run.workdir} has {done} steps and the grid asks for {new['steps']}: arms are "
            f"compared at equal steps; give --steps={done} or another --to."
        )


def train(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Trains every run from where it stands, in order, and returns their records.

    A record has `outcome` (finished, diverged or failed), `seconds` of all its children,
    `attempts`, `said` (its last line, where it did not finish), `commit` and `command`. One that
    finished or diverged is not trained again; one that failed is, when the same grid is asked for
    again.

    Args:
        runs: with distinct folders, `check`ed.

    Raises:
        Stopped: when SIGTERM or Ctrl-C came, to this process or to the child.
        UserError: if a child refuses its command line, with its sentence.
    """
    records = [_known(run) for run in runs]
    waiting = [place for place, record in enumerate(records) if record is None]
    began = time.monotonic()
    with _StopSignal() as stop:
        for number, place in enumerate(waiting):
            done = len(runs) - len(waiting) + number
            _say(f"{runs[place].name}, seed {runs[place].seed}: run {done + 1} of {len(runs)}")
            records[place] = _train(runs[place], stop, f"{done} of {len(runs)}")
            spent = (time.monotonic() - began) / (number + 1)
            left = (len(waiting) - number - 1) * spent / 60
            how = records[place]
            _say(f"  {how['outcome']} after {how['seconds']:.0f} s; about {left:.0f} min left")
    return records


def _known(run: Run) -> dict[str, Any] | None:
    """Returns the record of a run that need not be trained, or None."""
    record = _read(run.record) or {}
    if finished_step(run.workdir) == run.config["steps"]:
        empty = {"seconds": 0.0, "attempts": 0, "commit": None, "command": shlex.join(run.flags)}
        return {**empty, **record, "outcome": "finished", "said": ""}
    same = record.get("command") == shlex.join(run.flags)
    return record if same and record.get("outcome") == "diverged" else None


def _train(run: Run, stop: "_StopSignal", done: str) -> dict[str, Any]:
    # Of an interrupted run, whose seconds count; not of one that somebody removed.
    record = (_read(run.record) if run.workdir.exists() else None) or {}
    record = {"seconds": 0.0, "attempts": 0, **record}
    record |= {"command": shlex.join(run.flags), "commit": provenance.commit()}
    for attempt in range(1, _ATTEMPTS + 1):
        began = time.monotonic()
        code, said = _child(run, stop)
        record["seconds"] = round(record["seconds"] + time.monotonic() - began, 2)
        record["attempts"] += 1
        record |= _outcome(run, code, said)
        if stop.number or code in _SIGNALLED:
            number = stop.number or code - 128
            _write(run.record, {**record, "outcome": "stopped"})
            raise Stopped(
                f"{signal.Signals(number).name}: stopped in {run.name}, seed {run.seed}, with "
                f"{done} runs done; type the same command to go on.",
                number,
            )
        if code == _USER_ERROR:
            sentence = record["said"].removeprefix("kgzoo: ")
            raise UserError(f"{run.name}, seed {run.seed}: {sentence}")
        _write(run.record, record)
        if code >= 0:
            break
        if attempt < _ATTEMPTS:
            _say(f"  {record['said']}; goes on from its checkpoint")
    return record


def _child(run: Run, stop: "_StopSignal") -> tuple[int, str]:
    """Runs the child to its end; returns its code and the end of what it printed."""
    run.workdir.parent.mkdir(parents=True, exist_ok=True)
    paths = [str(_ROOT), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    log = run.workdir.with_suffix(".log")
    with open(log, "ab") as output:
        start = output.tell()
        # A group of its own: a Ctrl-C in the terminal comes to this process, which passes it on.
        with subprocess.Popen(
            [*COMMAND, *run.command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=environment,
        ) as child:
            try:
                stop.pass_on_to(child)
                code = _wait(child, log, start)
            finally:
                stop.pass_on_to(None)
                if child.poll() is None:
                    child.terminate()
    return code, _end_of(log, start)


def _wait(child: subprocess.Popen, log: pathlib.Path, start: int) -> int:
    """Returns the code of a child; until then shows now and then what it printed last."""
    told = ""
    while True:
        try:
            return child.wait(timeout=_TOLD_EVERY_SECONDS)
        except subprocess.TimeoutExpired:
            line = _end_of(log, start).rstrip().rpartition("\n")[2]
            if line != told:
                _say(f"  {line}")
            told = line


def _end_of(log: pathlib.Path, start: int) -> str:
    """Returns the end of a log, nothing of what stands before byte `start`."""
    with open(log, "rb") as output:
        output.seek(max(start, output.seek(0, os.SEEK_END) - _SAID_LAST))
        return output.read().decode(errors="replace")


def _outcome(run: Run, code: int, said: str) -> dict[str, Any]:
    """Returns how a child ended, by its code, its files and its words."""
    if code == 0 and finished_step(run.workdir) == run.config["steps"]:
        return {"outcome": "finished", "said": "", "diverged_at": None}
    diverged = _DIVERGED.search(said) if code == 1 else None
    if diverged:
        step = int(diverged[2])
        return {"outcome": "diverged", "said": diverged[1], "diverged_at": step}
    lines = said.strip().splitlines() or ["it printed nothing"]
    last = f"killed by {signal.Signals(-code).name}" if code < 0 else lines[-1]
    return {"outcome": "failed", "said": last or f"code {code}", "diverged_at": None}


class _StopSignal:
    """Notes SIGTERM and Ctrl-C while in its context, and passes every one on to the child."""

    def __init__(self):
        self.number = 0
        self._child: subprocess.Popen | None = None
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> "_StopSignal":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._previous[number] = signal.signal(number, self._note)
        return self

    def pass_on_to(self, child: subprocess.Popen | None) -> None:
        """Says who is to be told; one that came before the child was there is told now."""
        self._child = child
        if child is not None and self.number:
            child.send_signal(self.number)

    def _note(self, number: int, frame: Any) -> None:
        self.number = number
        if self._child is not None:
            self._child.send_signal(number)

    def __exit__(self, *exc_info: Any) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)


def _read(path: pathlib.Path) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def _write(path: pathlib.Path, content: Mapping[str, Any]) -> None:
    files.replace_file(path, (json.dumps(content, indent=2) + "\n").encode())


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
