"""Trains the small models of `contract.py` on one replica and on two, side by side.

Two replicas on one CPU need logical devices before TensorFlow starts, and a second MirroredStrategy
in a process can abort the collectives of the first: so this is a program, one strategy a process.

  python tests/replicas.py results.npz smmd hinge

The arrays in results.npz are named <method>/<one|two>/<what>/..., see `_train`.
"""

import sys
import threading

import keras
import numpy as np
import tensorflow as tf

import contract
from kgzoo.methods.noise import PURPOSES, Noise

STEPS = 3
CLIP_NORM = 0.02
RATE = 1.0


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


def _train(name, strategy):
    """Returns arrays: losses/<step>/<key>, gradients/<player>/<i>/<replica>, state/<path>."""
    with strategy.scope():
        method = contract.compiled(name, _optimizers)
    spy = _Spy(method)

    @tf.function
    def step(batch):
        return strategy.run(spy.collect, args=(method.train_step, batch))

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
    # The number of a model in its process is part of a path: the position is not.
    found |= {f"state/{i}/{k}": v for i, (k, v) in enumerate(contract.state(method).items())}
    return found


def _mean(strategy, value):
    return strategy.reduce(tf.distribute.ReduceOp.MEAN, value, axis=None).numpy()


def _scoped_losses(name, strategy):
    """Losses of one step, every replica scoring its own batch (the papers' block estimator)."""
    with strategy.scope():
        method = contract.compiled(name, _optimizers, mmd_scope="replica")
    logs = strategy.run(method.train_step, args=(next(_iterator(name, method, strategy)),))
    return {f"block_losses/{key}": _mean(strategy, value) for key, value in logs.items()}


def _noise(strategy):
    """Every purpose and distribution, a batch of 6 in all, the replicas' shares joined."""
    local = 6 // strategy.num_replicas_in_sync

    def draw():
        found = {}
        for update in range(2):
            noise = Noise(7, tf.constant(11, tf.int64), update)
            for distribution in ("uniform", "normal"):
                key = f"noise/{update}/latents_{distribution}"
                found[key] = noise.latents(local, 3, distribution)
            for purpose in PURPOSES:
                found[f"noise/{update}/{purpose}_normal"] = noise.normal(purpose, [local, 2, 2])
                found[f"noise/{update}/{purpose}_unit"] = noise.unit(purpose, [local])
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
    for label, strategy in (("one", one), ("two", two)):
        assert strategy.num_replicas_in_sync == (1 if label == "one" else 2)
        parts = {"": _noise(strategy)}
        parts |= {name: _train(name, strategy) for name in names}
        for name in names:
            parts[name] |= _scoped_losses(name, strategy)
        for name, found in parts.items():
            results |= {f"{name}/{label}/{key}": value for key, value in found.items()}
    np.savez(path, **results)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
