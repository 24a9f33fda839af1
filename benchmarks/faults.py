"""Kills a training with SIGKILL again and again, types the same command, and looks for harm.

  python benchmarks/faults.py --to=runs/faults [--rounds=50 --kills_per_run=5 --seed=0]

One run of a small network on digits is left alone, with all its checkpoints. Others, of the same
command line, are killed: a round is one kill. Its moment is drawn: somewhere in the start, some
milliseconds after some step, while a checkpoint is written (when the hidden folder of one is seen,
and up to 30 ms later), while the trained model is scored, while the export is written. After every
kill all that is visible must be whole: each checkpoint holds bit for bit what the undisturbed run
held at that step, each export draws its samples, JSON and pictures can be read. The same command is
typed until the run is finished; then weights, optimizers, metrics, scores, pictures and the samples
of the export must be bit-identical to the undisturbed run's. Harmed folders are kept to look at.

Writes faults.json to the folder and prints a table. Ends with 1 when anything was harmed.
`--preloaded` starts runs as forks of a process that has imported TensorFlow, which saves seconds.
"""

import argparse
import collections
import importlib
import json
import multiprocessing
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from kgzoo import cli
from kgzoo.errors import UserError

_ROOT = pathlib.Path(__file__).resolve().parent.parent
_NAME = "hinge_digits"
_POLL_SECONDS = 0.0005
_PRELOADED = ("sklearn.datasets", "kgzoo.results", "kgzoo.training.loop")
_LINE = (
    *("--method=hinge", "--dataset=digits", "--config.image_size=8", "--seed=3"),
    *("--config.generator_width=4", "--config.critic_width=4", "--config.latent_dim=4"),
    *("--config.batch_size=8", "--config.num_samples=32", "--config.log_every_steps=2"),
    *("--config.checkpoint_every_steps=10", "--config.score_every_steps=60"),
    "--config.sample_every_steps=40",
)
# How likely each moment is, and until how many seconds after its sign the kill comes.
_WEIGHTS = {"start": 1, "step": 3, "checkpoint": 4, "scoring": 1, "export": 3}
_DELAYS = {"step": 0.05, "checkpoint": 0.03, "scoring": 0.5, "export": 1.5}


def _serve(line: tuple[str, ...], log: str) -> None:
    """Is the program, in a process that was forked."""
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    cli.run(importlib.import_module("kgzoo.main").main, ["kgzoo", *line])


class _Process:
    """One `python -m kgzoo.main`, from its start to its end."""

    def __init__(self, line: tuple[str, ...], log: pathlib.Path, preloaded: bool):
        self._child: Any
        if preloaded:
            context = multiprocessing.get_context("forkserver")
            context.set_forkserver_preload(list(_PRELOADED))
            self._child = context.Process(target=_serve, args=(line, str(log)))
            self._child.start()
            return
        with open(log, "ab") as output:
            self._child = subprocess.Popen(
                [sys.executable, "-m", "kgzoo.main", *line],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def code(self) -> int | None:
        """Returns how it ended, or None."""
        if isinstance(self._child, subprocess.Popen):
            return self._child.poll()
        return self._child.exitcode

    def kill(self) -> None:
        """Ends it as nothing can prepare for."""
        os.kill(self._child.pid, signal.SIGKILL)
        self.wait()

    def wait(self) -> int:
        """Returns its code, when it has one."""
        if isinstance(self._child, subprocess.Popen):
            return self._child.wait()
        self._child.join()
        return self._child.exitcode


def _line(workdir: pathlib.Path, steps: int, *more: str) -> tuple[str, ...]:
    return (*_LINE, f"--steps={steps}", f"--workdir={workdir}", *more)


def _record(workdir: pathlib.Path) -> list[dict]:
    """Returns the lines of metrics.jsonl without the speed; the last one may be torn."""
    try:
        lines = (workdir / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    found = []
    for place, line in enumerate(lines):
        try:
            found.append(json.loads(line))
        except ValueError:
            if place != len(lines) - 1:
                raise
    return [{k: v for k, v in line.items() if k != "images_per_second"} for line in found]


def _step(workdir: pathlib.Path) -> int:
    """Returns the last step that is in the record."""
    return max((line["step"] for line in _record(workdir)), default=0)


def _hidden(workdir: pathlib.Path) -> list[str]:
    """Returns what is being written, or was when the run was killed."""
    return sorted(
        str(path.relative_to(workdir))
        for pattern in ("checkpoints/.*", "export/*/.tmp-*", "**/.*.tmp")
        for path in workdir.glob(pattern)
    )


def _signs(workdir: pathlib.Path, moment: str, goal: int) -> Callable[[], bool]:
    """Returns a function that tells whether a moment has come; `goal` counts steps or saves."""
    seen: set[str] = set()

    def saves() -> bool:
        folder = workdir / "checkpoints"
        names = os.listdir(folder) if folder.is_dir() else []
        seen.update(name for name in names if name.startswith(".writing-step"))
        return len(seen) >= goal

    return {
        "start": lambda: True,
        "step": lambda: _step(workdir) >= goal,
        "checkpoint": saves,
        "scoring": lambda: (workdir / "checkpoints" / f"step_{goal:08d}").is_dir(),
        "export": lambda: any(workdir.glob("export/*/.tmp-*")),
    }[moment]


def _tensors(workdir: pathlib.Path, step: int) -> dict[str, bytes]:
    """Returns all that a checkpoint holds, as bytes; the reader checks their checksums."""
    import tensorflow as tf

    from kgzoo.training.checkpoints import Checkpoints

    checkpoints = Checkpoints(workdir / "checkpoints")
    reader = tf.train.load_checkpoint(str(checkpoints.path(step) / "weights"))
    found = {
        name: reader.get_tensor(name).tobytes()
        for name in reader.get_variable_to_shape_map()
        # A message whose bytes may come in any order.
        if "OBJECT_GRAPH" not in name
    }
    found |= {name: array.tobytes() for name, array in checkpoints.extra(step).items()}
    return {**found, "about": json.dumps(checkpoints.about(step)).encode()}


def _samples(export: pathlib.Path) -> bytes:
    from kgzoo import serving

    return serving.sample_export(export, 8, seed=1).tobytes()


def _harm(workdir: pathlib.Path, whole: pathlib.Path) -> Iterator[str]:
    """Yields a complaint for all that is visible in a run folder and is not whole."""
    import tensorflow as tf

    from kgzoo.serving import versions
    from kgzoo.training.checkpoints import Checkpoints

    def bears(what: str, test: Callable[[], bool]) -> Iterator[str]:
        try:
            if not test():
                yield f"{what} differs"
        except Exception as error:
            yield f"{what}: {type(error).__name__}: {error}"

    for step in Checkpoints(workdir / "checkpoints").steps():
        same = lambda step=step: _tensors(workdir, step) == _tensors(whole, step)  # noqa: E731
        yield from bears(f"checkpoint {step}", same)
    exports = workdir / "export" / _NAME
    wanted = whole / "export" / _NAME / "1"
    for version in versions.version_folders(exports):
        same = lambda v=version: _samples(exports / str(v)) == _samples(wanted)  # noqa: E731
        yield from bears(f"export {version}", same)
    for path in sorted(workdir.glob("*.json")):
        yield from bears(path.name, lambda path=path: bool(json.loads(path.read_text())))
    for path in sorted(workdir.glob("samples/[!.]*")):
        yield from bears(path.name, lambda path=path: tf.io.decode_png(path.read_bytes()).ndim == 3)
    yield from bears("metrics.jsonl", lambda: _record(workdir) is not None)


def _differences(workdir: pathlib.Path, whole: pathlib.Path, steps: int) -> Iterator[str]:
    """Yields what of a finished run is not bit for bit that of the undisturbed one."""
    if _tensors(workdir, steps) != _tensors(whole, steps):
        yield "weights"
    if _record(workdir) != _record(whole):
        yield "metrics"
    scores = [json.loads((each / "scores.json").read_text()) for each in (workdir, whole)]
    if scores[0] != scores[1]:
        yield "scores"
    pictures = [
        {path.name: path.read_bytes() for path in each.glob("samples/[!.]*")}
        for each in (workdir, whole)
    ]
    if pictures[0] != pictures[1]:
        yield "pictures"
    export = json.loads((workdir / "result.json").read_text())["export"]
    if _samples(workdir / export) != _samples(whole / "export" / _NAME / "1"):
        yield "samples of the export"


def _moments(draw: random.Random, count: int) -> list[str]:
    """Draws moments, those that leave no steps to be killed in last."""
    drawn = draw.choices(list(_WEIGHTS), list(_WEIGHTS.values()), k=count)
    return sorted(drawn, key=["scoring", "export"].__contains__)


def _goal(draw: random.Random, moment: str, workdir: pathlib.Path, steps: int, left: int) -> int:
    """Returns the step or the number of saves after which to kill, so that some are left after."""
    saved = [int(path.name[5:]) for path in workdir.glob("checkpoints/step_*")]
    room = max(1, (steps - max(saved, default=0)) // (left + 1))
    if moment == "step":
        return max(saved, default=0) + draw.randint(1, room)
    return steps if moment == "scoring" else draw.randint(1, max(1, room // 10))


def _killed(process: _Process, comes: Callable[[], bool], delay: float) -> bool:
    """Kills at a moment; returns False when the run came to its end before."""
    while not comes():
        if process.code() is not None:
            return False
        time.sleep(_POLL_SECONDS)
    time.sleep(delay)
    if process.code() is not None:
        return False
    process.kill()
    return True


def _one_run(
    number: int, kills: int, whole: pathlib.Path, arguments: argparse.Namespace, seconds: float
) -> dict[str, Any]:
    """Kills one run so many times and lets it finish; returns what became of it."""
    folder, draw = whole.parent, random.Random(f"{arguments.seed}/{number}")
    workdir, log = folder / f"run_{number:02d}", folder / f"run_{number:02d}.log"
    line, rounds = _line(workdir, arguments.steps), []
    for left, moment in zip(range(kills, 0, -1), _moments(draw, kills), strict=True):
        goal = _goal(draw, moment, workdir, arguments.steps, left)
        delay = draw.uniform(0, _DELAYS.get(moment, seconds / 2))
        process = _Process(line, log, arguments.preloaded)
        try:
            if not _killed(process, _signs(workdir, moment, goal), delay):
                break
        finally:
            if process.code() is None:
                process.kill()
        harm = list(_harm(workdir, whole))
        place = {"step": _step(workdir), "half_written": _hidden(workdir)}
        rounds.append({"run": number, "moment": moment, **place, "harm": harm})
        print(f"  {moment:<10} step {place['step']:>4}  {'; '.join(harm) or 'whole'}", flush=True)
    code = _Process(line, log, arguments.preloaded).wait()
    different = list(_harm(workdir, whole))
    different += [f"ended with {code}"] if code else _differences(workdir, whole, arguments.steps)
    if not different and not any(each["harm"] for each in rounds):
        shutil.rmtree(workdir)
        log.unlink()
    return {"rounds": rounds, "different": different}


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Does all rounds; returns the summary."""
    folder = pathlib.Path(arguments.to).expanduser().resolve()
    if folder.exists() and any(folder.iterdir()):
        raise UserError(f"--to={folder} is not empty; choose a new folder.")
    folder.mkdir(parents=True, exist_ok=True)
    whole = folder / "undisturbed"
    keep_all = f"--config.keep_checkpoints={arguments.steps}"
    line = _line(whole, arguments.steps, keep_all)
    began, log = time.monotonic(), folder / "undisturbed.log"
    if code := _Process(line, log, arguments.preloaded).wait():
        raise UserError(f"the undisturbed run ended with {code}; see {log}.")
    seconds = time.monotonic() - began
    print(f"undisturbed: {arguments.steps} steps, {seconds:.1f} s", flush=True)
    rounds, runs = [], []
    while len(rounds) < arguments.rounds:
        kills = min(arguments.kills_per_run, arguments.rounds - len(rounds))
        print(f"run {len(runs)}", flush=True)
        done = _one_run(len(runs), kills, whole, arguments, seconds)
        rounds += done["rounds"]
        runs.append(done["different"])
        print(f"  finished   {'differs: ' + '; '.join(runs[-1]) if runs[-1] else 'bit-identical'}")
    return {
        "command": "python -m kgzoo.main " + " ".join(_line(pathlib.Path("W"), arguments.steps)),
        "seed": arguments.seed,
        "rounds": len(rounds),
        "survived": sum(not each["harm"] for each in rounds),
        "with_something_half_written": sum(bool(each["half_written"]) for each in rounds),
        "moments": dict(collections.Counter(each["moment"] for each in rounds)),
        "runs": len(runs),
        "bit_identical": sum(not different for different in runs),
        "different": {str(number): found for number, found in enumerate(runs) if found},
        "each": rounds,
    }


def table(summary: dict[str, Any]) -> str:
    """Returns the summary as a table in Markdown."""
    lines = [
        "| killed | rounds | left something half written, hidden | harmed |",
        "|---|---|---|---|",
    ]
    for moment in _WEIGHTS:
        these = [each for each in summary["each"] if each["moment"] == moment]
        half = sum(bool(each["half_written"]) for each in these)
        lines.append(
            f"| {moment} | {len(these)} | {half} | {sum(bool(e['harm']) for e in these)} |"
        )
    lines.append(
        f"\n{summary['rounds']} rounds, {summary['survived']} survived; {summary['runs']} runs, "
        f"{summary['bit_identical']} bit-identical to the undisturbed one."
    )
    return "\n".join(lines)


def main() -> None:
    """Runs the script."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--to", required=True, help="a new folder")
    parser.add_argument("--rounds", type=int, default=50, help="kills in all")
    parser.add_argument("--kills_per_run", type=int, default=5)
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--preloaded", action="store_true")
    arguments = parser.parse_args()
    os.environ["PYTHONPATH"] = str(_ROOT)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        summary = run(arguments)
    except UserError as error:
        raise SystemExit(str(error)) from None
    path = pathlib.Path(arguments.to).expanduser() / "faults.json"
    path.write_text(json.dumps(summary, indent=2) + "\n")
    print(table(summary))
    raise SystemExit(summary["survived"] < summary["rounds"] or bool(summary["different"]))


if __name__ == "__main__":
    main()
