"""Learning rates over a run: constant, or lowered when samples stop coming nearer to real data.

`RelativeKID` is the scheme of the SMMD paper, section 4 (after Binkowski et al., 2018): every
`relative_kid_every_steps` steps, samples are compared with those of `relative_kid_lag` evaluations
before by the three-sample test. It fails to show an improvement when the p value exceeds
`relative_kid_p_value`; after `relative_kid_patience` failures in a row every rate is multiplied by
`relative_kid_decay`.
"""

import zlib
from collections import deque
from collections.abc import Mapping
from typing import Any, Protocol

import keras
import numpy as np

from kgzoo.errors import UserError, unknown_name
from kgzoo.evaluation import relative_similarity, score_card
from kgzoo.methods import Method

__all__ = [
    "NAMES",
    "ConstantRates",
    "FollowedRates",
    "RateSchedule",
    "RelativeKID",
    "follow",
    "from_config",
]

NAMES = ("constant", "relative_kid")
_LEAST_REAL = 4
_COUNTS = ("failures", "decays")
_RATE = "_learning_rate"


class RateSchedule(Protocol):
    """What the loop asks of a schedule.

    Attributes:
        every_steps: steps between calls of `update`; 0: never.
    """

    every_steps: int

    def update(self, step: int) -> dict[str, float]:
        """Looks at the model and may change its rates; returns what to log."""

    def memory(self) -> dict[str, np.ndarray]:
        """Returns all that a resumed run needs, for the checkpoint; {} when that is nothing."""

    def restore(self, memory: Mapping[str, np.ndarray]) -> None:
        """Takes back what `memory` returned; {} is the memory of a run that begins."""


class ConstantRates:
    """Leaves the rates alone."""

    every_steps = 0

    def update(self, step: int) -> dict[str, float]:
        return {}

    def memory(self) -> dict[str, np.ndarray]:
        return {}

    def restore(self, memory: Mapping[str, np.ndarray]) -> None:
        pass


class FollowedRates(ConstantRates):
    """Leaves them to another process, from which `follow` takes them.

    Args:
        config: the resolved config.
    """

    def __init__(self, config: Mapping[str, Any]):
        if config["learning_rate_schedule"] != "constant":
            self.every_steps = config["relative_kid_every_steps"]


class RelativeKID:
    """Lowers all rates when the relative KID test fails several times in a row.

    The memory moves on with every evaluation, whatever the test says and whether or not the rates
    were lowered; the first test is at evaluation `relative_kid_lag` + 1. The authors' code differs:
    a failure that does not lower the rates leaves the memory where it is, lowering them cuts it to
    its last three entries (so the next test is seven evaluations away), the variance is at least
    1e-5, and the memory is forgotten on a resume. None of this is in the paper.

    Samples are of the averaged generator, as everywhere in kgzoo; the paper has no average. A test
    split with fewer examples than `relative_kid_samples` takes part whole.

    Every evaluation draws latents of its own, since the test takes samples as independent. The
    rates are variables of the optimizers, which checkpoints hold anyway; the rest is `memory`.

    Args:
        model: compiled.
        reference: the real side; its first `relative_kid_samples` features take part.
        config: the resolved config.
    """

    def __init__(self, model: Method, reference: score_card.Reference, config: Mapping[str, Any]):
        self.every_steps = config["relative_kid_every_steps"]
        self._model, self._extractor = model, reference.extractor
        self._samples = config["relative_kid_samples"]
        self._real = reference.features[: self._samples]
        if len(self._real) < _LEAST_REAL:
            raise UserError(
                f"learning_rate_schedule='relative_kid' compares with {len(self._real)} test "
                f"examples and needs {_LEAST_REAL}; give more data or set it to constant."
            )
        self._seed, self._p_value = config["seed"], config["relative_kid_p_value"]
        self._patience, self._decay = config["relative_kid_patience"], config["relative_kid_decay"]
        self._floor = config["learning_rate_floor"]
        self._past: deque[relative_similarity.Closeness] = deque(maxlen=config["relative_kid_lag"])
        self._failures = self._decays = 0

    def update(self, step: int) -> dict[str, float]:
        """Draws samples and tests them; returns rates and counts, and the test where there was one.

        Args:
            step: the present one; the latents of the samples depend on it and on the seed.
        """
        samples = self._model.sample(self._samples, seed=_seed_of(self._seed, step))
        features, _ = self._extractor.extract(samples)
        now, logs = relative_similarity.closeness(self._real, features), {}
        if len(self._past) == self._past.maxlen:
            test = relative_similarity.compare(now, self._past[0])
            self._judge(test.p_value)
            logs = {
                "relative_kid_p_value": test.p_value,
                "relative_kid_statistic": test.statistic,
                "relative_kid_difference": test.difference,
            }
        self._past.append(now)
        counts = {f"relative_kid_{name}": float(getattr(self, f"_{name}")) for name in _COUNTS}
        rates = {
            player + _RATE: _rate(optimizer) for player, optimizer in self._model.optimizers.items()
        }
        return {**logs, **counts, **rates}

    def _judge(self, p_value: float) -> None:
        self._failures = self._failures + 1 if p_value > self._p_value else 0
        if self._failures == self._patience:
            self._failures = 0
            self._decays += 1
            for optimizer in self._model.optimizers.values():
                rate = _rate(optimizer)
                # A rate that starts below the floor is not raised to it.
                optimizer.learning_rate = min(rate, max(self._decay * rate, self._floor))

    def memory(self) -> dict[str, np.ndarray]:
        """Returns the counts, and field by field the closeness of past samples, oldest first."""
        past = {
            field: np.array([getattr(entry, field) for entry in self._past], np.float64)
            for field in relative_similarity.Closeness._fields
        }
        counts = {name: np.array(getattr(self, f"_{name}"), np.int64) for name in _COUNTS}
        return {**past, **counts}

    def restore(self, memory: Mapping[str, np.ndarray]) -> None:
        """Takes back what `memory` returned."""
        self._past.clear()
        self._failures = self._decays = 0
        if memory:
            fields = (memory[field] for field in relative_similarity.Closeness._fields)
            for value, per_real, per_sample, within, across in zip(*fields, strict=True):
                self._past.append(
                    relative_similarity.Closeness(
                        float(value), per_real, per_sample, float(within), float(across)
                    )
                )
            self._failures, self._decays = (int(memory[name]) for name in _COUNTS)


def from_config(
    model: Method, reference: score_card.Reference | None, config: Mapping[str, Any]
) -> RateSchedule:
    """Returns the schedule named by `learning_rate_schedule`; a constant one needs no reference."""
    name = config["learning_rate_schedule"]
    if name not in NAMES:
        raise unknown_name("learning_rate_schedule", name, NAMES)
    return ConstantRates() if name == "constant" else RelativeKID(model, reference, config)


def follow(model: Method, logs: Mapping[str, float]) -> None:
    """Sets the rates of a model to those that `update` of another process returned."""
    for player, optimizer in model.optimizers.items():
        if player + _RATE in logs:
            optimizer.learning_rate = logs[player + _RATE]


def _rate(optimizer: keras.optimizers.Optimizer) -> float:
    # `float` does not take a variable that has a copy on every replica.
    return float(keras.ops.convert_to_numpy(optimizer.learning_rate))


def _seed_of(seed: int, step: int) -> int:
    """Returns a seed of 31 bits that differs from step to step."""
    return zlib.crc32(f"relative KID {seed} {step}".encode()) >> 1
