"""Small models on embedded data, trained fast: many steps to a graph call, batches drawn inside.

The methods, configs and steps are those of `python -m kgzoo.main`; left out is what costs more than
a step of a network of a hundred units: checkpoints, records, a pipeline of batches.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from kgzoo import config as configs
from kgzoo import data, methods
from kgzoo.evaluation import modes

__all__ = ["ToyRun", "score"]

# Steps of a call; the next one is started only when all weights are finite.
_CALL_STEPS = 1000
# Two models of one graph differ in the steps that their noise is drawn at.
_STRETCH = 1_000_000
# Of the draws beside those of the method itself.
_BATCHES, _SAMPLES = 101, 102


class ToyRun:
    """A method on an embedded data set: traced once, trained as often as there are seeds.

    Noise is a function of the config's seed, which is part of the graph, and of the step. So models
    that share the graph take different stretches of steps; `step` counts within the stretch.

    Args:
        method: row of the catalogue.
        dataset: name of an embedded toy data set.
        fields: further fields of the config.
        compiled: whether XLA compiles the steps, which pays for small networks and Gram matrices
            and costs where a Cholesky factor is taken.

    Raises:
        UserError: if a name or a field does not fit.
    """

    def __init__(
        self, method: str, dataset: str, fields: Mapping[str, Any], compiled: bool = False
    ):
        self.config = configs.compose(method, dataset, None, fields)
        self.source = data.load(dataset)
        self._examples = tf.constant(np.array(self.source.examples))
        self.model = self._build(self.config["seed"])
        # Building them makes the slots, whose first values `reset` brings back.
        self._optimizers = methods.build_optimizers(self.config, self.model.players)
        self.model.compile(self._optimizers)
        for player, optimizer in self._optimizers.items():
            optimizer.build(self.model.players[player])
        slots = [slot for optimizer in self._optimizers.values() for slot in optimizer.variables]
        self._slots = [(slot, slot.numpy()) for slot in slots]
        self._run = tf.function(self._steps, autograph=False, jit_compile=compiled)
        self._concrete: Any = None
        self._first, self._key = 0, tf.constant([self.config["seed"], _BATCHES])

    def _build(self, seed: int) -> methods.Method:
        with self.config.unlocked():
            own = self.config.copy_and_resolve_references()
            own["seed"] = seed
        return methods.build(own, "vector", self.source.shape)

    def reset(self, seed: int) -> None:
        """Begins anew: weights, batches and noise of `seed`, optimizers as they were built."""
        for weight, fresh in zip(self.model.weights, self._build(seed).weights, strict=True):
            weight.assign(fresh.value)
        for slot, value in self._slots:
            slot.assign(value)
        self._first = (seed - self.config["seed"]) * _STRETCH
        self.model.step.assign(self._first)
        self._key = tf.constant([seed, _BATCHES])

    @property
    def step(self) -> int:
        """Steps since the last reset."""
        return self.model.steps_done - self._first

    def _steps(self, count: tf.Tensor, key: tf.Tensor) -> dict[str, tf.Tensor]:
        def goes_on(done: tf.Tensor, logs: dict[str, tf.Tensor]) -> tf.Tensor:
            return done < count

        def step(done: tf.Tensor, logs: dict[str, tf.Tensor]) -> tuple:
            return done + 1, self._one_step(key)

        _, logs = tf.while_loop(goes_on, step, (tf.constant(1), self._one_step(key)))
        return logs

    def _one_step(self, key: tf.Tensor) -> dict[str, tf.Tensor]:
        updates, size = len(self.model.schedule), self.config["batch_size"]
        key = tf.random.fold_in(key, tf.cast(self.model.step, tf.int32))
        indices = tf.random.stateless_uniform(
            [updates * size], key, 0, self.source.num_examples, tf.int32
        )
        batch = tf.gather(self._examples, indices)
        return self.model.train_step(tf.reshape(batch, [updates, size, *self.source.shape]))

    def advance(self, steps: int) -> dict[str, float]:
        """Trains, and returns the logs of the last step; stops early when weights are not finite.

        Args:
            steps: how many, at least 1.
        """
        logs: Mapping[str, Any] = {}
        while steps > 0 and self.finite:
            now = min(steps, _CALL_STEPS)
            # A concrete function: of a new one for every model TensorFlow would warn.
            self._concrete = self._concrete or self._run.get_concrete_function(
                tf.TensorSpec([], tf.int32), tf.TensorSpec([2], tf.int32)
            )
            logs = self._concrete(tf.constant(now), self._key)
            steps -= now
        return {name: float(value) for name, value in logs.items()}

    @property
    def finite(self) -> bool:
        """Whether every weight is a finite number."""
        return all(np.isfinite(weight.numpy()).all() for weight in self.model.trainable_weights)

    def samples(self, count: int, seed: int = 0) -> np.ndarray:
        """Returns samples [count, d] of the generator as it is."""
        shape, key = [count, self.model.latent_dim], [seed, _SAMPLES]
        if self.model.latent_distribution == "normal":
            latents = tf.random.stateless_normal(shape, key)
        else:
            latents = tf.random.stateless_uniform(shape, key, -1.0, 1.0)
        return self.model.decode(latents).numpy()

    def features(self, points: np.ndarray) -> np.ndarray:
        """Returns the critic's outputs [n, K] on points [n, d]."""
        return self.model.critic_features(tf.constant(points)).numpy()


def score(samples: np.ndarray, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Returns how samples [n, d] lie about the modes of a mixture.

    Args:
        samples: of a generator; not finite where it diverged.
        facts: `modes` of the data set's description.

    Returns:
        `modes` that count (on the ring: at least 5 % of the samples within 0.1), shares of all
        samples within 10, 30 and 4 standard deviations (0.1, 0.3 and 0.04), and `diverged`: some
        sample is not finite, or they lie ten times as far out as the data on average.
    """
    found = modes.mode_scores(samples, **{**facts, "centres": np.asarray(facts["centres"])})
    size = np.linalg.norm(np.asarray(samples, np.float64), axis=1)
    farthest = 10 * np.linalg.norm(facts["centres"], axis=1).max()
    return {
        "modes": found["value"],
        "share_near": found["share_near_a_mode"],
        "share_wide": found["share_within_wide_radius"],
        "share_4_sd": found["share_within_4_sd"],
        "diverged": bool(not np.isfinite(size).all() or size.mean() > farthest),
        "convention": found["convention"],
    }
