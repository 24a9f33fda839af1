"""One run of annealed importance sampling: checks its arguments, keeps finished batches."""

import concurrent.futures
import hashlib
import io
import json
import os
import pathlib
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from kgzoo.errors import UserError, unknown_name
from kgzoo.evaluation import ais_chains, ais_likelihoods, archives, arrays, files

__all__ = ["Progress", "Run", "whole"]

Progress = Callable[[int, int], None]

_LEAST = {"latent_dim": 1, "chains": 1, "temperatures": 2, "leapfrog_steps": 1, "seed": 0}
_PROBES = 16
# What two computations of one likelihood may differ by: float32 sums in another order.
_PROBE_TOLERANCE = 1e-5


class Run:
    """One decoder, its examples and the settings, checked.

    Args:
        decoder: logits or a `Likelihood`.
        examples: [n, ...].
        settings: what the result depends on: `latent_dim`, `chains`, `temperatures`,
            `leapfrog_steps`, `schedule`, `step_size`, `seed`.
        batch_size: points that run together, at most.
        workers: batches that run at once, or None.
        jit: compile by XLA.

    Raises:
        UserError: arguments out of range or of shapes that do not fit.
    """

    def __init__(
        self,
        decoder: Any,
        examples: Any,
        settings: dict[str, Any],
        *,
        batch_size: int,
        workers: int | None,
        jit: bool,
    ):
        _check(settings, batch_size, workers)
        self._likelihood = ais_likelihoods.as_likelihood(decoder)
        self._examples = arrays.as_array(examples, "examples").astype(np.float32)
        self._settings = settings
        if self._examples.ndim < 2 or not self._examples.size:
            shape = list(self._examples.shape)
            raise UserError(f"examples have shape {shape}; give [n, ...] with n >= 1.")
        self._likelihood.check(self._examples, settings["latent_dim"])
        self._workers = workers or ((os.cpu_count() or 1) if jit else 1)
        # No more than it takes to give every worker a batch.
        self._batch_size = min(batch_size, -(-len(self._examples) // self._workers))
        self._chains = ais_chains.Chains(
            self._likelihood.log_likelihood,
            self._examples.shape[1:],
            **{name: value for name, value in settings.items() if name != "step_size"},
            batch_size=self._batch_size,
            jit=jit,
        )

    def forward(
        self, folder: str | os.PathLike | None, progress: Progress | None
    ) -> tuple[np.ndarray, np.ndarray, list[float]]:
        """Runs from the prior to the posteriors.

        Args:
            folder: where to keep and find finished batches, or None.
            progress: is told (done, total).

        Returns:
            Logarithms of the weights, [n, chains], acceptances by stage, [n, stages], and the step
            size of each stage.

        Raises:
            UserError: the folder holds another estimate.
        """
        if folder is None:
            steps = self._step_size()
            return *self._run({}, steps, progress), steps
        store = _Store(pathlib.Path(folder), self._fingerprint())
        if store.steps is None:
            store.begin(self._step_size())
        return *self._run(store.read(), store.steps, progress, store=store), store.steps

    def backward(
        self, ends: np.ndarray, steps: list[float], progress: Progress | None
    ) -> np.ndarray:
        """Runs from samples of the posteriors, [n, latent_dim], to the prior: log-weights."""
        return self._run({}, steps, progress, ends=ends)[0]

    def _run(
        self,
        done: dict[int, tuple],
        steps: list[float],
        progress: Progress | None,
        *,
        store: "_Store | None" = None,
        ends: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        count, moves = len(self._examples), self._settings["temperatures"]
        pending = np.array([index for index in range(count) if index not in done], np.int64)
        told, stopped, lock = len(done) * moves, threading.Event(), threading.Lock()

        def after_segment(made: int):
            nonlocal told
            if stopped.is_set():
                raise InterruptedError("Another batch failed.")
            with lock:
                told += made
                if progress:
                    progress(told, count * moves)

        def run(indices: np.ndarray) -> dict[int, tuple]:
            weights, accepted = self._chains.anneal(
                self._examples, indices, steps, ends=ends, after_segment=after_segment
            )
            if store:
                store.write(indices, weights, accepted)
            return dict(zip(indices.tolist(), zip(weights, accepted, strict=True), strict=True))

        size, points = self._batch_size, dict(done)
        batches = [pending[first : first + size] for first in range(0, len(pending), size)]
        with concurrent.futures.ThreadPoolExecutor(self._workers) as executor:
            futures = [executor.submit(run, batch) for batch in batches]
            try:
                for future in concurrent.futures.as_completed(futures):
                    points.update(future.result())
            except BaseException:
                stopped.set()
                executor.shutdown(cancel_futures=True)
                raise
        weights, accepted = zip(*(points[index] for index in range(count)), strict=True)
        return np.stack(weights), np.stack(accepted)

    def _step_size(self) -> list[float]:
        given = self._settings["step_size"]
        if given is None:
            return self._chains.tune(self._examples)
        return np.broadcast_to(np.asarray(given, np.float64), [ais_chains.STAGES]).tolist()

    def _fingerprint(self) -> dict[str, Any]:
        # A decoder is any function: it is known by its values at random latents.
        places = np.arange(_PROBES) % len(self._examples)
        latents = tf.random.stateless_normal([_PROBES, self._settings["latent_dim"]], [0, 0])
        values = self._likelihood.log_likelihood(latents, tf.constant(self._examples[places]))
        plain = {name: np.asarray(value).tolist() for name, value in self._settings.items()}
        return {
            **plain,
            "examples": hashlib.sha256(self._examples.tobytes()).hexdigest(),
            "shape": list(self._examples.shape),
            "decoder": np.asarray(values, np.float64).tolist(),
        }


class _Store:
    """A folder of finished batches and of `settings.json`, which says whose they are.

    Every file is whole or absent, so a run may be killed at any moment.
    """

    def __init__(self, folder: pathlib.Path, fingerprint: dict[str, Any]):
        self._folder, self._fingerprint = folder, fingerprint
        self.steps: list[float] | None = None
        path = folder / "settings.json"
        if path.exists():
            try:
                content = json.loads(path.read_text(encoding="utf-8"))
                held, steps = dict(content["fingerprint"]), content["step_size"]
                steps = [float(size) for size in steps]
            except (OSError, ValueError, TypeError, KeyError, RecursionError):
                raise UserError(
                    f"{path} cannot be read as an estimate's settings; give another folder, or "
                    "delete this one."
                ) from None
            self._compare(held)
            self.steps = steps

    def _compare(self, held: dict[str, Any]):
        for name, value in self._fingerprint.items():
            other = held.get(name)
            if name == "decoder":
                close = dict(rtol=_PROBE_TOLERANCE, atol=_PROBE_TOLERANCE)
                if other is not None and np.allclose(value, other, **close):
                    continue
                difference = "of another decoder"
            elif value == other:
                continue
            elif name in ("examples", "shape"):
                difference = "of other examples"
            else:
                difference = f"with {name}={other!r} instead of {value!r}"
            raise UserError(
                f"folder={str(self._folder)!r} holds an estimate {difference}; give another "
                "folder, or delete this one."
            )

    def begin(self, steps: list[float]):
        content = {"fingerprint": self._fingerprint, "step_size": steps}
        files.replace_file(
            self._folder / "settings.json", (json.dumps(content, indent=2) + "\n").encode()
        )
        self.steps = steps

    def read(self) -> dict[int, tuple]:
        points = {}
        for path in sorted(self._folder.glob("points-*.npz")):
            try:
                stored = archives.load(path)
                rows = zip(stored["log_weights"], stored["acceptance"], strict=True)
                points.update(zip(stored["indices"].tolist(), rows, strict=True))
            except archives.DAMAGES:
                raise UserError(
                    f"{path} cannot be read as a finished batch; delete that file, and it is "
                    "computed again."
                ) from None
        return points

    def write(self, indices: np.ndarray, weights: np.ndarray, accepted: np.ndarray):
        content = io.BytesIO()
        np.savez(
            content, allow_pickle=False, indices=indices, log_weights=weights, acceptance=accepted
        )
        files.replace_file(self._folder / f"points-{indices[0]:06d}.npz", content.getvalue())


def _check(settings: dict[str, Any], batch_size: int, workers: int | None):
    for name, least in _LEAST.items():
        whole(name, settings[name], least)
    whole("batch_size", batch_size, 1)
    if workers is not None:
        whole("workers", workers, 1)
    if settings["schedule"] not in ais_chains.SCHEDULES:
        raise unknown_name("schedule", settings["schedule"], ais_chains.SCHEDULES)
    given, stages = settings["step_size"], ais_chains.STAGES
    if given is None:
        return
    steps = arrays.as_array(given, "step_size").astype(np.float64)
    if steps.shape not in ((), (stages,)) or not ((steps > 0) & (steps < np.inf)).all():
        raise UserError(f"step_size={given!r} must be a number above 0, or {stages} of them.")


def whole(name: str, value: Any, least: int):
    """Raises a `UserError` unless `value` is an integer of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise UserError(f"{name}={value!r} must be a whole number of at least {least}.")
