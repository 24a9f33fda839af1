"""The part `scaling` of speed.py: what a step costs as batch, critic, images or replicas grow."""

import argparse
import json
import os
import pathlib
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import stopwatch

from kgzoo import cli

__all__ = ["AXES", "draw", "exponents", "measure", "replica_step", "say"]

_ROOT = pathlib.Path(__file__).resolve().parent.parent
AXES = ("batch_size", "output_dim", "resolution", "replicas")
_SIZES = {
    "batch_size": (16, 32, 64, 128, 256, 512),
    "output_dim": (1, 2, 4, 8, 16),
    "resolution": (16, 32, 64),
    "replicas": (1, 2, 4),
}
_QUICK_SIZES = {
    "batch_size": (8, 16),
    "output_dim": (1, 2),
    "resolution": (16, 32),
    "replicas": (1, 2),
}
_METHODS = {
    "batch_size": ("hinge", "mmd_rep", "smmd", "gcmmd"),
    "output_dim": ("mmd_rep", "rep_dk", "smmd", "gcmmd"),
    "resolution": ("hinge", "mmd_rep", "smmd"),
    # The global batch stays: the work is the same, and more hands share two cores.
    "replicas": ("hinge", "mmd_rep", "smmd"),
}
_TITLES = {
    "batch_size": "examples in a batch",
    "output_dim": "outputs of the critic",
    "resolution": "height and width, pixels",
    "replicas": "replicas that share one batch",
}


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Returns the curves of all axes asked for; `arguments` are those of speed.py."""
    sizes = _QUICK_SIZES if arguments.quick else _SIZES
    return {
        "axes": {
            axis: {
                "title": _TITLES[axis],
                "curves": _axis(axis, sizes[axis], _METHODS[axis], arguments),
            }
            for axis in arguments.axes.split(",")
        }
    }


def _axis(
    axis: str, sizes: Sequence[int], methods: Sequence[str], arguments: argparse.Namespace
) -> dict[str, Any]:
    """Returns the curve of each method: sizes, median seconds of a step, exponent, all rounds."""
    import keras

    if axis == "replicas":
        seconds = _replicas(sizes, methods, arguments)
    else:
        turns = {}
        for name in methods:
            for size in sizes:
                turns[name, size] = _turn(axis, size, name, arguments)
            print(f"  {name} by {axis}: ready to be timed", file=sys.stderr, flush=True)
        seconds = stopwatch.interleaved(turns, arguments.rounds, warm_up=1)
        turns.clear()
        keras.backend.clear_session()
    curves = {}
    for name in methods:
        rounds = [seconds[name, size] for size in sizes]
        medians = [stopwatch.median(values) for values in rounds]
        curves[name] = {"sizes": list(sizes), "seconds": medians, "rounds": rounds}
        curves[name] |= exponents(sizes, medians)
    return curves


def exponents(sizes: Sequence[int], seconds: Sequence[float]) -> dict[str, float]:
    """Returns the exponent fitted to all sizes, and that between the two largest.

    What a step costs beside the work that grows bends the curve at its small end.
    """
    return {
        "exponent": stopwatch.exponent(sizes, seconds),
        "last_exponent": stopwatch.exponent(sizes[-2:], seconds[-2:]),
    }


def _fields(arguments: argparse.Namespace) -> dict[str, Any]:
    return {
        "network": "sndcgan",
        "generator_width": arguments.scaling_width,
        "critic_width": arguments.scaling_width,
        "batch_size": arguments.batch_size,
    }


def _turn(axis: str, size: int, method: str, arguments: argparse.Namespace) -> Any:
    fields, side = _fields(arguments), arguments.size
    if axis == "resolution":
        side = size
    else:
        fields[axis] = size
    return stopwatch.make_step(method, (side, side, arguments.channels), fields)[0]


def say(found: Mapping[str, Any]) -> None:
    """Prints a table for each axis."""
    for axis, of in found["axes"].items():
        sizes = next(iter(of["curves"].values()))["sizes"]
        print(f"ms a step by {of['title']}")
        print(
            f"{'':<12}" + "".join(f"{size:>9}" for size in sizes) + f"{'exponent':>10}{'last':>7}"
        )
        for name, curve in of["curves"].items():
            numbers = "".join(f"{1e3 * value:>9.1f}" for value in curve["seconds"])
            print(f"{name:<12}{numbers}{curve['exponent']:>10.2f}{curve['last_exponent']:>7.2f}")
        if axis == "replicas":
            print("  (logical CPU devices of one machine: what sharing costs, not what it gains)")


def draw(folder: pathlib.Path, found: Mapping[str, Any]) -> None:
    """Writes speed_scaling.png: a panel for each axis, both scales logarithmic."""
    from kgzoo.reproductions import figure

    canvas, axes = figure.new_figure(1, len(found["axes"]), 3.6 * len(found["axes"]), 3.4)
    for panel, of in zip(axes.flat, found["axes"].values(), strict=True):
        for name, curve in of["curves"].items():
            label = f"{name}: exponent {curve['exponent']:.2f}"
            milliseconds = [1e3 * value for value in curve["seconds"]]
            panel.loglog(curve["sizes"], milliseconds, "o-", markersize=3, label=label)
        panel.set_xlabel(of["title"])
        panel.set_xticks(curve["sizes"], [str(size) for size in curve["sizes"]])
        panel.minorticks_off()
        panel.legend()
    axes.flat[0].set_ylabel("ms a step")
    figure.write(folder, "speed_scaling", canvas, found)


# Replicas: logical devices are made before TensorFlow starts, so each number has its own process.


def _replicas(
    sizes: Sequence[int], methods: Sequence[str], arguments: argparse.Namespace
) -> dict[tuple[str, int], list[float]]:
    """Returns seconds of rounds; processes take turns, one child's rounds after the other's."""
    seconds = {}
    for size in sizes:
        settings = {**_fields(arguments), "replicas": size, "rounds": arguments.rounds}
        settings |= {"shape": [arguments.size, arguments.size, arguments.channels]}
        paths = [str(_ROOT), os.environ.get("PYTHONPATH", "")]
        done = subprocess.run(
            [sys.executable, __file__, json.dumps({**settings, "methods": list(methods)})],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        for name, rounds in json.loads(done.stdout.strip().splitlines()[-1]).items():
            seconds[name, size] = rounds
        print(f"  {size} replicas: timed", file=sys.stderr, flush=True)
    return seconds


def replica_step(method: str, settings: Mapping[str, Any], strategy: Any) -> Any:
    """Returns a step of a method on all replicas of a strategy, on a batch of noise."""
    import numpy as np
    import tensorflow as tf

    from kgzoo import config
    from kgzoo.training import run_folder

    names = ("network", "generator_width", "critic_width", "batch_size")
    fields = {**{name: settings[name] for name in names}, "critic_steps": 1}
    resolved = config.compose(method, "cifar10", overrides=fields)
    shape, count = tuple(settings["shape"]), strategy.num_replicas_in_sync
    model = run_folder.build_model(resolved, "image", shape, strategy)
    sizes = (len(model.schedule), settings["batch_size"] // count, *shape)
    noise = np.random.RandomState(0).randint(0, 256, sizes, np.uint8)
    batch = strategy.experimental_distribute_values_from_function(lambda _: tf.constant(noise))

    @tf.function(autograph=False)
    def step(examples: Any) -> tf.Tensor:
        loss = strategy.run(model.train_step, args=(examples,))["generator_loss"]
        return strategy.reduce(tf.distribute.ReduceOp.MEAN, loss, axis=None)

    return lambda: float(step(batch))


def _child(settings: Mapping[str, Any]) -> None:
    """Prints the seconds of a step of each method on so many logical devices."""
    cli.quiet_tensorflow()
    import tensorflow as tf

    from kgzoo.training import runtime

    cpu = tf.config.list_physical_devices("CPU")[0]
    logical = [tf.config.LogicalDeviceConfiguration() for _ in range(settings["replicas"])]
    tf.config.set_logical_device_configuration(cpu, logical)
    # One strategy of the same kind for any number: a process with several can abort.
    strategy = runtime.get_strategy("mirrored")
    turns = {name: replica_step(name, settings, strategy) for name in settings["methods"]}
    print(json.dumps(stopwatch.interleaved(turns, settings["rounds"], warm_up=1)))


if __name__ == "__main__":
    _child(json.loads(sys.argv[1]))
