"""Updates beyond the schedule, before the steps for which a method asks for some.

Those of a critic in its early schedule, or of an autoencoder before the first step.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from kgzoo import data
from kgzoo.data.pipeline import training_dataset
from kgzoo.methods import Method
from kgzoo.training.runtime import iterate

__all__ = ["ExtraUpdates", "counts_only"]

# Above every seed of a config: these examples come in an order of their own.
_SEED_OFFSET = 2**40
_DONE = "extra_updates_done"


def counts_only(memory: Mapping[str, np.ndarray]) -> dict[str, int]:
    """Returns what `ExtraUpdates` needs of a checkpoint's memory, as JSON can hold it."""
    return {_DONE: int(memory[_DONE])} if _DONE in memory else {}


class ExtraUpdates:
    """Runs the extra updates of a run, on a data stream of their own.

    The stream, like the main one, is a function of seed and step alone: a resumed run goes on where
    the updates before its first step ended. A run that has none of them left opens no stream.

    Args:
        model: compiled under `strategy`.
        source: the training split.
        config: the resolved config.
        strategy: where the updates run.
        first, last: the steps of this part of the run are first .. last - 1.
        memory: what `memory` returned when this state was saved.
        replicas: those of this process, `Workers.replicas`; None where it has all of them.
    """

    def __init__(
        self,
        model: Method,
        source: data.Source,
        config: Mapping[str, Any],
        strategy: tf.distribute.Strategy,
        first: int,
        last: int,
        memory: Mapping[str, np.ndarray | int] | None = None,
        replicas: range | None = None,
    ):
        self._model = model
        self.done_in_step = int((memory or {}).get(_DONE, 0))
        done = model.extra_updates_before(first)
        if model.extra_updates_before(last) == done:
            return
        done += self.done_in_step
        dataset = training_dataset(
            source,
            seed=config["seed"] + _SEED_OFFSET,
            batch_size=config["batch_size"],
            batches_per_step=1,
            start_step=done,
            num_replicas=strategy.num_replicas_in_sync,
            replicas=replicas,
        )
        self._iterator = iterate(dataset, strategy)

        def update(batch: tf.Tensor, index: tf.Tensor) -> dict[str, tf.Tensor]:
            return model.extra_update(batch[0], index)

        @tf.function(autograph=False)
        def execute(iterator: Any, index: tf.Tensor) -> dict[str, tf.Tensor]:
            logs = strategy.run(update, args=(next(iterator), index))
            mean = tf.distribute.ReduceOp.MEAN
            return {name: strategy.reduce(mean, value, axis=None) for name, value in logs.items()}

        self._execute = execute

    def call_length(self, step: int, at_most: int) -> int:
        """Returns how many steps from `step` on may go into one graph call, at most so many.

        Extra updates come between calls. A step that has some is called alone.
        """
        model = self._model
        if model.extra_updates(step):
            return 1
        before = model.extra_updates_before
        if before(step + at_most) == before(step):
            return at_most
        return next(n for n in range(1, at_most) if model.extra_updates(step + n))

    def run(self, step: int) -> Iterator[dict[str, float]]:
        """Runs the extra updates that are left before `step`, yielding the losses of each."""
        while self.done_in_step < self._model.extra_updates(step):
            logs = self._execute(self._iterator, tf.constant(self.done_in_step))
            self.done_in_step += 1
            yield {name: float(value) for name, value in logs.items()}
        self.done_in_step = 0

    def memory(self) -> dict[str, np.ndarray]:
        """Returns what a resume from the middle of a step needs; {} between two steps."""
        return {_DONE: np.array(self.done_in_step, np.int64)} if self.done_in_step else {}
