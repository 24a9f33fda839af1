"""Trains the small models of `contract.py` on one replica and on two, side by side.

Two replicas on one CPU need logical devices before TensorFlow starts, and a second MirroredStrategy
in a process can abort the collectives of the first: so this is a program, one strategy a process.

  python tests/replicas.py results.npz smmd hinge:eager

The arrays in results.npz are named <method>/<one|two>/..., see `_train`, `_block` and `_loop`.
"""

import json
import pathlib
import sys
import tempfile
import threading

import keras
import numpy as np
import tensorflow as tf

import contract
from kgzoo import config, data
from kgzoo.methods.noise import PURPOSES, Noise
from kgzoo.training import loop, run_folder
from kgzoo.training.checkpoints import Checkpoints

STEPS = 3
# Whose losses show the difference between the estimators of one big batch and of blocks.
BLOCK = "smmd"
CLIP_NORM = 0.005
RATE = 4.0


def _optimizers(players):
    # Every update has a length of about 0.02, whatever the loss.
    return {player: keras.optimizers.SGD(RATE, clipnorm=CLIP_NORM) for player in players}


class _Spy:
    """Keeps the gradients that reach the optimizers, by player; each replica is a thread."""

    def __init__(self, method):
        self._seen = threading.local()
        for player, optimizer in method.optimizers.items():
            optimizer.apply = self._wrapped(player, optimizer.apply)

    def _wrapped(self, player, apply):
        def spying(gradients, variables):
            self._seen.gradients[player] = list(gradients)
            return apply(gradients, variables)

        return spying

    def collect(self, function, *args):
        """Returns what `function` returns, and the last gradients of every player."""
        self._seen.gradients = {}
        return function(*args), self._seen.gradients


def _iterator(name, method, strategy):
    if strategy.num_replicas_in_sync == 1:
        return iter(contract.batches(name, method))
    return iter(
        strategy.distribute_datasets_from_function(
            lambda context: contract.batches(name, method, num_replicas=2)
        )
    )


def _train(name, strategy, eagerly):
    """Returns losses/<step>/<key>, gradients/<player>/<i>/<replica>, state/<i> and paths."""
    with strategy.scope():
        method = contract.compiled(name, _optimizers, critic_steps=1)
    spy = _Spy(method)

    def step(batch):
        return strategy.run(spy.collect, args=(method.train_step, batch))

    if not eagerly:
        # Without autograph, which a step has no need of, tracing takes half the time.
        step = tf.function(step, autograph=False)
    found = {}
    iterator = _iterator(name, method, strategy)
    for number in range(STEPS):
        logs, gradients = step(next(iterator))
        for key, value in logs.items():
            found[f"losses/{number}/{key}"] = _mean(strategy, value)
        if number == 0:
            for player, values in gradients.items():
                for i, value in enumerate(values):
                    for replica, part in enumerate(strategy.experimental_local_results(value)):
                        found[f"gradients/{player}/{i}/{replica}"] = part.numpy()
    return found | _state(method)


def _state(method):
    """Positions are names, for the number of a model in its process is part of a path."""
    values = contract.state(method)
    found = {f"state/{i}": value for i, value in enumerate(values.values())}
    return found | {"paths": np.array(list(values))}


def _mean(strategy, value):
    return strategy.reduce(tf.distribute.ReduceOp.MEAN, value, axis=None).numpy()


def _block(strategy):
    """Returns block_losses/<key> of a step in which every replica scores its own examples."""
    with strategy.scope():
        method = contract.compiled(BLOCK, _optimizers, mmd_scope="replica", critic_steps=1)
    batch = next(_iterator(BLOCK, method, strategy))
    logs = strategy.run(method.train_step, args=(batch,))
    return {f"block_losses/{key}": _mean(strategy, value) for key, value in logs.items()}


def _loop(parts):
    """Returns losses and state after five steps of the loop with Adam.

    Args:
        parts: (last step, strategy) of the run's parts: it is stopped and resumed between them.
    """
    examples = data.load("gaussian")
    with tempfile.TemporaryDirectory() as folder:
        for steps, strategy in parts:
            fields = {**contract.TOY, "critic_steps": 2, "log_every_steps": 1, "steps": steps}
            settings = config.compose("gan", "gaussian", overrides=fields)
            keras.utils.set_random_seed(0)
            method = run_folder.build_model(settings, "vector", (2,), strategy)
            Checkpoints(pathlib.Path(folder) / "checkpoints").restore(method)
            loop.train(method, examples, None, settings, pathlib.Path(folder), strategy, "")
        lines = (pathlib.Path(folder) / "metrics.jsonl").read_text().splitlines()
    losses = [json.loads(line)["critic_loss"] for line in lines]
    return {**_state(method), "critic_losses": np.array(losses)}


def _noise(strategy):
    """Every purpose and distribution, a batch of 6 in all, the replicas' shares joined."""
    local = 6 // strategy.num_replicas_in_sync

    def draw():
        found = {}
        for update in range(2):
            noise = Noise(7, tf.constant(11, tf.int64), update)
            for distribution in ("uniform", "normal"):
                key = f"{update}/latents_{distribution}"
                found[key] = noise.latents(local, 3, distribution)
            for purpose in PURPOSES:
                found[f"{update}/{purpose}_normal"] = noise.normal(purpose, [local, 2, 2])
                found[f"{update}/{purpose}_unit"] = noise.unit(purpose, [local])
        return found

    parts = strategy.run(tf.function(draw))
    return {
        key: np.concatenate([part.numpy() for part in strategy.experimental_local_results(value)])
        for key, value in parts.items()
    }


def main(path, names):
    """Writes results.npz."""
    devices = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(
        devices[0], [tf.config.LogicalDeviceConfiguration()] * 2
    )
    one = tf.distribute.get_strategy()
    two = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    results = {}
    runs = {"one": [(5, one)], "two": [(3, two), (5, one)]}
    for label, strategy in (("one", one), ("two", two)):
        assert strategy.num_replicas_in_sync == ("one", "two").index(label) + 1
        parts = {"noise": _noise(strategy), "block": _block(strategy), "loop": _loop(runs[label])}
        for name in names:
            name, _, mode = name.partition(":")
            parts[name] = _train(name, strategy, eagerly=mode == "eager")
        for name, found in parts.items():
            results |= {f"{name}/{label}/{key}": value for key, value in found.items()}
    np.savez(path, **results)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
