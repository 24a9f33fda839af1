"""What the machine resolves for a run, and the strategy that places it.

A run is repeatable bit for bit only under the same precision, threads and op determinism: they are
recorded in config.json and a resume under others is refused.
"""

import os
import platform
from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from kgzoo.errors import UserError, unknown_name
from kgzoo.methods import precision
from kgzoo.training import workers

__all__ = ["check_same_runtime", "get_strategy", "iterate", "prepare", "strategy_names"]

_STRATEGIES = ("auto", "one", "mirrored", "multi_worker")
_REMEDIES = {
    "device": "a machine whose TensorFlow sees a {}",
    "precision": "--config.precision={}",
    "deterministic": "--config.deterministic={}",
    "threads": "--config.threads={}",
    "blocks": "{} replicas, for each makes a block of mmd_scope=replica",
}


def strategy_names() -> tuple[str, ...]:
    """Returns what `get_strategy` accepts."""
    return _STRATEGIES


def prepare(config: Mapping[str, Any]) -> dict[str, Any]:
    """Sets threads, determinism and seeds for a run and returns what was resolved, for config.json.

    Must run before TensorFlow executes its first op.
    """
    threads = config["threads"] or os.cpu_count() or 1
    try:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
    except RuntimeError:
        # TensorFlow has started (a notebook, a test): its threads are what they are.
        threads = tf.config.threading.get_intra_op_parallelism_threads() or os.cpu_count() or 1
    if config["deterministic"]:
        tf.config.experimental.enable_op_determinism()
    return {
        "device": "GPU" if tf.config.list_physical_devices("GPU") else "CPU",
        "precision": precision.resolve(config["precision"]),
        "deterministic": config["deterministic"],
        "threads": threads,
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
    }


def check_same_runtime(recorded: Mapping[str, Any], present: Mapping[str, Any]) -> None:
    """Refuses a resume that could not be bit for bit the same.

    Raises:
        UserError: naming the first thing that differs, and the flag that restores it.
    """
    for field, remedy in _REMEDIES.items():
        here = present.get(field)
        if field in recorded and recorded[field] != here:
            raise UserError(
                f"this run was made with {field}={recorded[field]}, here it is {here}; "
                f"use {remedy.format(recorded[field])} or choose a new --workdir."
            )


def get_strategy(name: str) -> tf.distribute.Strategy:
    """Returns the strategy named `name`.

    `one` is the default device. `mirrored` spans all GPUs, or all logical CPUs where there is no
    GPU. `auto` is `mirrored` where there are several GPUs, otherwise `one`. `multi_worker` spans
    the GPUs, or the CPUs, of all processes of TF_CONFIG and waits for them; it must be asked for
    before TensorFlow executes its first op.

    Raises:
        UserError: if the name is not known, or the processes of `multi_worker` do not meet.
    """
    if name not in _STRATEGIES:
        raise unknown_name("strategy", name, _STRATEGIES)
    if name == "multi_worker":
        return workers.multi_worker_strategy()
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    several_gpus = len(devices) > 1 and devices[0].device_type == "GPU"
    if name == "mirrored" or (name == "auto" and several_gpus):
        return tf.distribute.MirroredStrategy([device.name for device in devices])
    # The default strategy, which does not wrap variables.
    return tf.distribute.get_strategy()


def iterate(dataset: tf.data.Dataset, strategy: tf.distribute.Strategy) -> Any:
    """Returns an iterator that gives every replica its element of a `training_dataset`."""
    if strategy.num_replicas_in_sync == 1:
        return iter(dataset)
    # Or several processes would agree at every step that none has come to an end.
    dataset = dataset.apply(tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY))
    return iter(strategy.distribute_datasets_from_function(lambda context: dataset))
