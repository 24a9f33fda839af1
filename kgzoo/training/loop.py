"""The training loop: graph calls of several steps, checkpoints, records, and every way to stop."""

import signal
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from kgzoo import data
from kgzoo.data.pipeline import training_dataset
from kgzoo.evaluation import score_card
from kgzoo.evaluation import scores as score_functions
from kgzoo.methods import Method
from kgzoo.training.checkpoints import Checkpoints
from kgzoo.training.progress import Progress
from kgzoo.training.summaries import Summaries

__all__ = ["Diverged", "Stopped", "train"]

_CALL_SECONDS = 2.0
_PICTURED = {"image": 64, "vector": 1000}


class Diverged(RuntimeError):
    """A loss or a weight is not finite; the message says which, at which step."""


class Stopped(RuntimeError):
    """A signal asked the run to stop and its state is saved.

    Attributes:
        signal_number: of SIGTERM or SIGINT.
    """

    def __init__(self, message: str, signal_number: int):
        super().__init__(message)
        self.signal_number = signal_number


class _StopSignal:
    """Notes SIGTERM and Ctrl-C while in its context; a second Ctrl-C interrupts at once."""

    def __init__(self):
        self.number = 0
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> "_StopSignal":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._previous[number] = signal.signal(number, self._note)
        return self

    def _note(self, number: int, frame: Any) -> None:
        if self.number == signal.SIGINT == number:
            raise KeyboardInterrupt
        self.number = number
        print("\nStopping: the state is saved after the present steps ...", flush=True)

    def __exit__(self, *exc_info: Any) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)


def _executor(model: Method, strategy: tf.distribute.Strategy) -> Callable:
    """Returns `execute(iterator, count) -> (step, logs)`: up to `count` steps in one graph call.

    It leaves early when a loss is not finite, so that the step counter names the culprit.
    """

    # Without autograph an error keeps its type and its sentence.
    @tf.function(autograph=False)
    def one_step(batch: Any) -> dict[str, tf.Tensor]:
        logs = strategy.run(model.train_step, args=(batch,))
        mean = tf.distribute.ReduceOp.MEAN
        return {
            name: tf.cast(strategy.reduce(mean, value, axis=None), tf.float32)
            for name, value in logs.items()
        }

    @tf.function(autograph=False)
    def execute(iterator: Any, count: tf.Tensor) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        def goes_on(done: tf.Tensor, logs: dict[str, tf.Tensor]) -> tf.Tensor:
            return (done < count) & _all_finite(logs)

        def step(done: tf.Tensor, logs: dict[str, tf.Tensor]) -> tuple:
            return done + 1, one_step(next(iterator))

        first = (tf.constant(1), one_step(next(iterator)))
        _, logs = tf.while_loop(goes_on, step, first)
        return tf.convert_to_tensor(model.step), logs

    return execute


def _all_finite(logs: Mapping[str, tf.Tensor]) -> tf.Tensor:
    losses = [value for name, value in logs.items() if name.endswith("_loss")]
    return tf.reduce_all(tf.math.is_finite(tf.stack(losses)))


def train(
    model: Method,
    source: data.Source,
    reference: score_card.Reference,
    config: Mapping[str, Any],
    workdir: Path,
    strategy: tf.distribute.Strategy,
    resume_command: str,
) -> None:
    """Trains a compiled model from its present step to `config["steps"]`.

    Args:
        model: built and compiled under `strategy`, restored when this is a resume.
        source: the training split.
        reference: the real side of the KIDs that pick the best checkpoint.
        config: the resolved config.
        workdir: the run folder.
        strategy: where the steps run.
        resume_command: what the messages tell the user to type.

    Raises:
        Diverged: when a loss or weight stops being finite; the last good checkpoint stays.
        Stopped: when SIGTERM or Ctrl-C asked for it; the state is saved.
    """
    first, last = model.steps_done, config["steps"]
    checkpoints = Checkpoints(workdir / "checkpoints", config["keep_checkpoints"])
    iterator = _iterator(model, source, config, strategy, first)
    execute = _executor(model, strategy)
    several = strategy.num_replicas_in_sync > 1
    at_most = 1 if several else config["steps_per_execution"]
    progress = Progress(first, last, config["batch_size"] * len(model.schedule))
    summaries = Summaries(workdir, first)
    picture = _pictures(model, source, config, summaries)
    every = {
        name: config[f"{name}_every_steps"] for name in ("log", "sample", "checkpoint", "score")
    }
    last_saved = first if first in checkpoints.steps() else -1
    step = first
    try:
        with _StopSignal() as stop:
            if step == 0:
                picture(0)
            while step < last and not stop.number:
                # A signal waits for the graph call: keep it to about two seconds.
                count = min(
                    at_most,
                    progress.steps_within(_CALL_SECONDS),
                    *(_until(step, n) for n in every.values()),
                    last - step,
                )
                new_step, logs = execute(iterator, tf.constant(count))
                step, logs = int(new_step), {k: float(v) for k, v in logs.items()}
                _check_losses(step, logs, last_saved)
                progress.update(step, logs)
                due = {name: n and (step % n == 0 or step == last) for name, n in every.items()}
                if due["log"]:
                    speed = {"images_per_second": round(progress.images_per_second, 1)}
                    summaries.scalars(step, {**logs, **speed})
                if due["sample"] or due["checkpoint"] or due["score"] or step == last:
                    _check_weights(model, step, last_saved)
                if due["sample"]:
                    picture(step)
                if due["checkpoint"] or due["score"] or step == last:
                    about = _about(model, reference, config) if due["score"] else {}
                    if about:
                        # Before the checkpoint: a resume from it must find the line.
                        summaries.scalars(step, about)
                    checkpoints.save(model, about)
                    last_saved = step
                    if about:
                        progress.say(f"step {step}: KID {about['kid']:.4f}, checkpoint saved")
            if stop.number and step < last:
                if step > 0 and step != last_saved:
                    _check_weights(model, step, last_saved)
                    checkpoints.save(model, {})
                name = signal.Signals(stop.number).name
                raise Stopped(
                    f"{name}: saved at step {step} of {last}; to go on type {resume_command}",
                    stop.number,
                )
            if last_saved != step:
                checkpoints.save(model, {})
    finally:
        summaries.close()


def _iterator(
    model: Method,
    source: data.Source,
    config: Mapping[str, Any],
    strategy: tf.distribute.Strategy,
    start_step: int,
) -> Any:
    dataset = training_dataset(
        source,
        seed=config["seed"],
        batch_size=config["batch_size"],
        batches_per_step=len(model.schedule),
        start_step=start_step,
        num_replicas=strategy.num_replicas_in_sync,
    )
    if strategy.num_replicas_in_sync == 1:
        return iter(dataset)
    return iter(strategy.distribute_datasets_from_function(lambda context: dataset))


def _pictures(
    model: Method, source: data.Source, config: Mapping[str, Any], summaries: Summaries
) -> Callable[[int], None]:
    count = _PICTURED[model.kind]
    points = source.examples[:count] if model.kind == "vector" else None

    def picture(step: int) -> None:
        if config["sample_every_steps"]:
            summaries.picture(step, model.sample(count, seed=config["seed"]), model.kind, points)

    return picture


def _until(step: int, every: int) -> int:
    """Steps from `step` to the next multiple of `every` (0: never)."""
    return every - step % every if every else 1 << 30


def _check_losses(step: int, logs: Mapping[str, float], last_saved: int) -> None:
    for name, value in logs.items():
        if name.endswith("_loss") and not np.isfinite(value):
            raise Diverged(f"step {step}: {name} is {value}; {_remedy(last_saved)}")


def _remedy(last_saved: int) -> str:
    kept = f"the checkpoint of step {last_saved} is kept" if last_saved > 0 else "nothing is saved"
    return (
        f"{kept}; start anew in another --workdir with a lower --config.learning_rate_multiplier "
        "or with --config.clip_gradient_norm=1."
    )


def _check_weights(model: Method, step: int, last_saved: int) -> None:
    # Finite losses come from the weights before the update: look at what is drawn and saved.
    for weight in model.weights:
        if weight.dtype.startswith(("float", "bfloat")):
            if not bool(tf.reduce_all(tf.math.is_finite(weight.value))):
                raise Diverged(f"step {step}: {weight.path} is not finite; {_remedy(last_saved)}")


def _about(
    model: Method, reference: score_card.Reference, config: Mapping[str, Any]
) -> dict[str, float]:
    samples = model.sample(config["num_samples"], seed=config["seed"])
    features, _ = reference.extractor.extract(samples)
    kid = score_functions.kernel_distance(features, reference.features, seed=config["seed"])
    return {"kid": kid["mean"]}
