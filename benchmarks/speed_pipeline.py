"""The part `pipeline` of speed.py: graph calls, input, start-up, --help."""

import argparse
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from typing import Any

import stopwatch

from kgzoo.errors import UserError

__all__ = ["measure", "say"]

_ROOT = pathlib.Path(__file__).resolve().parent.parent
_GOAL_INPUT_SHARE = 0.02
_STEPS_PER_EXECUTION = (1, 10, 100)
_EXAMPLES = 4096
_POLL_SECONDS = 0.005
_LONGEST_START_SECONDS = 600.0


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Returns what was found and the goals; `arguments` are those of speed.py."""
    small = {"generator_width": 8, "critic_width": 8, "critic_steps": 1}
    small |= {"batch_size": arguments.batch_size}
    wide = {"network": arguments.network, "batch_size": arguments.batch_size, "critic_steps": 1}
    wide |= {"generator_width": arguments.width, "critic_width": arguments.width}
    shape = (arguments.size, arguments.size, arguments.channels)
    inputs = {
        "small network on digits": _input(_digits(), small, "digits", 100, arguments.rounds),
        f"{arguments.network}, width {arguments.width}, {shape}": _input(
            _noise(shape), wide, "cifar10", 2, arguments.rounds
        ),
    }
    found = {
        "seconds_per_step": _graph_calls(small, arguments.rounds),
        "input": inputs,
        "start_seconds": [_start() for _ in range(arguments.starts)],
        "help_seconds": [_help() for _ in range(arguments.rounds)],
    }
    goals = [
        {
            "goal": f"share of a step spent on input < {_GOAL_INPUT_SHARE} ({name})",
            "found": of["share"],
            "met": of["share"] < _GOAL_INPUT_SHARE,
        }
        for name, of in inputs.items()
    ]
    return {**found, "goals": goals}


def say(found: Mapping[str, Any]) -> None:
    """Prints the tables."""
    for count, seconds in found["seconds_per_step"].items():
        print(f"{count:>5} steps a graph call: {1e3 * stopwatch.median(seconds):8.2f} ms a step")
    for name, of in found["input"].items():
        milliseconds = {key: 1e3 * of[key] for key in ("next", "step", "constant")}
        print(
            "input, {}: a batch alone {next:.3f} ms; a step on the pipeline {step:.2f} ms, on one "
            "batch {constant:.2f} ms: share {:.4f}".format(name, of["share"], **milliseconds)
        )
    for name in ("start", "help"):
        if found[f"{name}_seconds"]:
            print(f"{name:>5}: {stopwatch.median(found[f'{name}_seconds']):.2f} s")


def _digits() -> Any:
    from kgzoo import data

    return data.load("digits")


def _noise(shape: tuple[int, int, int]) -> Any:
    import numpy as np

    from kgzoo import data

    examples = np.random.RandomState(0).randint(0, 256, (_EXAMPLES, *shape), np.uint8)
    return data.Source("noise", "image", shape, _EXAMPLES, examples)


def _model(source: Any, fields: Mapping[str, Any], dataset: str) -> tuple[Any, Any]:
    """Returns an smmd model and the iterator of its training data."""
    import tensorflow as tf

    from kgzoo import config
    from kgzoo.data.pipeline import training_dataset
    from kgzoo.training import run_folder

    settings = config.compose("smmd", dataset, overrides=fields)
    strategy = tf.distribute.get_strategy()
    model = run_folder.build_model(settings, source.kind, source.shape, strategy)
    dataset = training_dataset(
        source,
        seed=0,
        batch_size=settings.batch_size,
        batches_per_step=len(model.schedule),
    )
    return model, iter(dataset)


class _Same:
    """Stands for an iterator, and gives one batch for ever."""

    def __init__(self, batch: Any):
        self._batch = batch

    def __next__(self) -> Any:
        return self._batch


def _graph_calls(fields: Mapping[str, Any], rounds: int) -> dict[str, list[float]]:
    """Returns seconds of a step by how many steps a graph call has, as the training loop calls."""
    import tensorflow as tf

    from kgzoo.training import loop

    model, iterator = _model(_digits(), fields, "digits")
    execute = loop._executor(model, tf.distribute.get_strategy())
    most = max(_STEPS_PER_EXECUTION)

    def turn(count: int) -> None:
        for _ in range(most // count):
            step, _ = execute(iterator, tf.constant(count))
            int(step)

    turns = {str(count): lambda count=count: turn(count) for count in _STEPS_PER_EXECUTION}
    seconds = stopwatch.interleaved(turns, rounds, warm_up=1)
    return {count: [value / most for value in values] for count, values in seconds.items()}


def _input(
    source: Any, fields: Mapping[str, Any], dataset: str, steps: int, rounds: int
) -> dict[str, Any]:
    """Returns seconds of a batch alone, and of a step on the pipeline and on one batch, in a graph.

    The share is what the pipeline adds to a step on one batch, over the step: it works on other
    threads while the step runs, and takes its part of the cores.
    """
    import tensorflow as tf

    from kgzoo.training import loop

    model, iterator = _model(source, fields, dataset)
    execute = loop._executor(model, tf.distribute.get_strategy())
    same = _Same(next(iterator))

    def alone() -> None:
        for _ in range(steps):
            next(iterator)

    def constant() -> None:
        int(execute(same, tf.constant(steps))[0])

    def pipeline() -> None:
        int(execute(iterator, tf.constant(steps))[0])

    turns = {"constant": constant, "pipeline": pipeline, "next": alone}
    rounds_of = {
        name: [value / steps for value in values]
        for name, values in stopwatch.interleaved(turns, rounds, warm_up=1).items()
    }
    medians = {name: stopwatch.median(values) for name, values in rounds_of.items()}
    pairs = zip(rounds_of["constant"], rounds_of["pipeline"], strict=True)
    share = stopwatch.median([(with_input - bare) / with_input for bare, with_input in pairs])
    return {
        "next": medians["next"],
        "step": medians["pipeline"],
        "constant": medians["constant"],
        "share": share,
        "next_over_step": medians["next"] / medians["pipeline"],
        "rounds": rounds_of,
    }


def _environment() -> dict[str, str]:
    paths = [str(_ROOT), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


def _help() -> float:
    """Returns the seconds of `python -m kgzoo.main --help`, the interpreter's own included."""
    began = time.perf_counter()
    command = [sys.executable, "-m", "kgzoo.main", "--help"]
    subprocess.run(command, env=_environment(), stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began


def _start() -> float:
    """Returns the seconds from the command line to the record of the first step on digits."""
    folder = pathlib.Path(tempfile.mkdtemp())
    metrics = folder / "run" / "metrics.jsonl"
    command = [sys.executable, "-m", "kgzoo.main", f"--workdir={folder / 'run'}"]
    command += ["--config.log_every_steps=1", "--config.steps_per_execution=1"]
    began = time.perf_counter()
    with open(folder / "log", "w+") as log:
        child = subprocess.Popen(command, env=_environment(), stdout=log, stderr=log)
        try:
            while not (metrics.exists() and metrics.stat().st_size):
                late = time.perf_counter() - began > _LONGEST_START_SECONDS
                if late or child.poll() is not None:
                    log.seek(0)
                    said = (log.read().strip().splitlines() or ["it printed nothing"])[-1]
                    raise UserError(f"a run on digits took no step ({said}); try it by itself.")
                time.sleep(_POLL_SECONDS)
            seconds = time.perf_counter() - began
        finally:
            child.send_signal(signal.SIGTERM)
            child.wait()
    shutil.rmtree(folder)
    return seconds
