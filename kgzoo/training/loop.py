"""The training loop: graph calls of several steps, checkpoints, records, and every way to stop."""

import re
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
from kgzoo.training import rate_schedule, spectra
from kgzoo.training.checkpoints import Checkpoints
from kgzoo.training.extra_updates import ExtraUpdates, counts_only
from kgzoo.training.progress import Progress
from kgzoo.training.runtime import iterate
from kgzoo.training.summaries import NoSummaries, Summaries
from kgzoo.training.workers import OF_A_PEER, Workers

__all__ = ["Diverged", "Stopped", "train"]

_CALL_SECONDS = 2.0
# The first updates of a critic that starts small look stuck, and are not.
_STUCK_LINES = 10
# What TensorFlow raises inside a step: for a file of streamed examples that is not whole, and for a
# matrix that is singular or not finite, where a method solves a system.
_IN_A_STEP = (
    *(tf.errors.DataLossError, tf.errors.InvalidArgumentError, tf.errors.NotFoundError),
    tf.errors.FailedPreconditionError,
)
_UNSOLVED = re.compile("not invertible|decomposition was not successful")
_PICTURED = {"image": 64, "vector": 1000}


class Diverged(RuntimeError):
    """A loss or a weight is not finite; the message says which, at which step."""


class Stopped(BaseException):
    """A signal asked the run to stop and its state is saved.

    No `Exception`, as KeyboardInterrupt is none: a signal handler raises it wherever the program
    happens to be, also inside an `except Exception` that takes what goes wrong with a file for
    damage, and says so or goes on without the file.

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
    reference: score_card.Reference | None,
    config: Mapping[str, Any],
    workdir: Path,
    strategy: tf.distribute.Strategy,
    resume_command: str,
) -> None:
    """Trains a compiled model from its present step to `config["steps"]`.

    Where several processes train as one, each calls this, with a model in the same state, and the
    chief alone writes. A signal to any of them stops all after the same step.

    Args:
        model: built and compiled under `strategy`, restored when this is a resume.
        source: the training split.
        reference: the real side of the KIDs that pick the best checkpoint and lower the rates;
            None where the config asks for neither, and on a process that is not the chief.
        config: the resolved config.
        workdir: the run folder.
        strategy: where the steps run.
        resume_command: what the messages tell the user to type.

    Raises:
        Diverged: when a loss or weight stops being finite; the last good checkpoint stays.
        Stopped: when SIGTERM or Ctrl-C asked for it; the state is saved.
        UserError: when the disk refuses, or a file of a streamed data set cannot be read.
    """
    run = _Run(model, source, reference, config, workdir, strategy)
    try:
        with _StopSignal() as stop:
            if run.step == 0:
                run.picture()
            number = 0
            while run.step < run.last and not (number := run.workers.signalled(stop.number)):
                # None: a signal came between two extra critic updates.
                if logs := run.advance(stop):
                    run.record(logs)
            if run.step > 0 or run.early.done_in_step or not number:
                run.save_once()
            if number:
                name = signal.Signals(number).name
                raise Stopped(
                    f"{name}: saved at step {run.step} of {run.last}; to go on type "
                    f"{resume_command}",
                    number,
                )
    except _IN_A_STEP as error:
        # Before the examples are searched, which may take long.
        if _UNSOLVED.search(str(error)):
            raise run.unsolved() from error
        gone = run.workers.count > 1 and OF_A_PEER.search(str(error))
        if not gone and (damage := source.damage()):
            raise damage from error
        raise
    finally:
        run.summaries.close()


class _Run:
    """The state of `train`, and what it does at a step; the arguments are those of `train`."""

    def __init__(
        self,
        model: Method,
        source: data.Source,
        reference: score_card.Reference | None,
        config: Mapping[str, Any],
        workdir: Path,
        strategy: tf.distribute.Strategy,
    ):
        self.model, self.source, self.reference, self.config = model, source, reference, config
        self.workers = Workers(strategy)
        is_chief = self.workers.is_chief
        self.step, self.last = model.steps_done, config["steps"]
        self.checkpoints = Checkpoints(workdir / "checkpoints", config["keep_checkpoints"])
        self.last_saved, memory = -1, {}
        if is_chief:
            self.rates = rate_schedule.from_config(model, reference, config)
        else:
            self.rates = rate_schedule.FollowedRates(config)
        if is_chief and self.step in self.checkpoints.steps():
            self.last_saved, memory = self.step, self.checkpoints.extra(self.step)
            self.rates.restore(memory)
        told = self.workers.from_chief(lambda: [self.last_saved, counts_only(memory)])
        self.last_saved, memory = told
        replicas = self.workers.replicas
        self.iterator = _iterator(model, source, config, strategy, self.step, replicas)
        self.execute = _executor(model, strategy)
        self.early = ExtraUpdates(
            model, source, config, strategy, self.step, self.last, memory, replicas
        )
        several = strategy.num_replicas_in_sync > 1
        self.at_most = 1 if several else config["steps_per_execution"]
        batch_size = config["batch_size"]
        self.progress = Progress(
            self.step,
            self.last,
            batch_size * len(model.schedule),
            lambda step: batch_size * model.extra_updates_before(step),
            silent=not is_chief,
        )
        self.summaries = Summaries(workdir, self.step) if is_chief else NoSummaries()
        self.stuck_lines = 0
        self.every = {
            name: config[f"{name}_every_steps"] for name in ("log", "sample", "checkpoint", "score")
        }

    def advance(self, stop: _StopSignal) -> dict[str, float] | None:
        """Runs the next steps, as many as go into one graph call; returns the logs of the last.

        A signal before them, between two extra critic updates, leaves them undone: None.
        """
        extra = self.model.extra_updates(self.step)
        for logs in self.early.run(self.step):
            done = self.early.done_in_step
            self._check_losses(self.step + 1, logs, f" in extra update {done}")
            self.progress.extra(self.step, done, extra)
            if self.step == 0 and done % self.every["checkpoint"] == 0:
                # An autoencoder's training may take longer than the steps.
                self._check_weights()
                self._save({})
            if self.workers.signalled(stop.number):
                return None
        # A signal waits for the graph call: keep it to about two seconds.
        count = min(
            self.at_most,
            self.progress.steps_within(_CALL_SECONDS),
            *(_until(self.step, n) for n in (*self.every.values(), self.rates.every_steps)),
            self.last - self.step,
        )
        count = self.early.call_length(self.step, count)
        try:
            step, logs = self.execute(self.iterator, tf.constant(count))
        except tf.errors.UnknownError as error:
            # What a solver written in Python says reaches us inside a stack of TensorFlow's.
            said = re.search(r"RuntimeError: (.+)", str(error))
            if said is None:
                raise
            raise Diverged(f"step {self.step + 1}: {said[1]} {self._remedy()}") from None
        self.step, logs = int(step), {name: float(value) for name, value in logs.items()}
        self._check_losses(self.step, logs)
        self.progress.update(self.step, logs)
        return logs

    def record(self, logs: Mapping[str, float]) -> None:
        """Does what is due at the present step: lines, pictures, scores, rates, checkpoints."""
        step, at_end = self.step, self.step == self.last
        due = {name: n and (step % n == 0 or at_end) for name, n in self.every.items()}
        # Not at the end: a run that is given more steps later must not have had one test more.
        due["rates"] = self.rates.every_steps and step % self.rates.every_steps == 0
        if due["log"]:
            speed = {"images_per_second": round(self.progress.images_per_second, 1)}
            self.summaries.scalars(step, {**logs, **speed})
            self._warn(logs)
        if due["sample"] or due["checkpoint"] or due["score"] or due["rates"] or at_end:
            self._check_weights()
        if due["sample"]:
            self.picture()
        # Scores and rates come before the checkpoint: a resume from it must find their lines.
        about = self._scores() if due["score"] and self.workers.is_chief else {}
        if about:
            self.summaries.scalars(step, about)
        if due["rates"]:
            logs = self.workers.from_chief(lambda: self.rates.update(step))
            if not self.workers.is_chief:
                rate_schedule.follow(self.model, logs)
            self.summaries.scalars(step, logs)
        if due["checkpoint"] or due["score"] or at_end:
            self._save(about)
        if about:
            self.progress.say(f"step {step}: KID {about['kid']:.4f}, checkpoint saved")

    def _warn(self, logs: Mapping[str, float]) -> None:
        """Says once when the model has been stuck for many lines of the record."""
        complaint = self.model.complaint(logs)
        self.stuck_lines = self.stuck_lines + 1 if complaint else 0
        if self.stuck_lines == _STUCK_LINES:
            self.progress.say(f"step {self.step}: {complaint}")

    def picture(self) -> None:
        """Draws samples of fixed latents and the critic's spectra, where the config wants any."""
        model, count = self.model, _PICTURED[self.model.kind]
        if self.config["sample_every_steps"] and self.workers.is_chief:
            points = self.source.examples[:count] if model.kind == "vector" else None
            samples = model.sample(count, seed=self.config["seed"])
            self.summaries.picture(self.step, samples, model.kind, points)
            if model.has_critic:
                self.summaries.spectra(self.step, spectra.critic_spectra(model.critic))

    def save_once(self) -> None:
        """Saves the present step unless that was done.

        The extra updates of a critic since then are not worth a second checkpoint: a resume repeats
        them. Those before step 0 may be an autoencoder's whole training.
        """
        if self.last_saved != self.step or (self.step == 0 and self.early.done_in_step):
            self._check_weights()
            self._save({})

    def _save(self, about: Mapping[str, Any]) -> None:
        def save() -> None:
            memory = {**self.rates.memory(), **self.early.memory()}
            self.checkpoints.save(self.model, about, memory)

        self.workers.from_chief(save)
        self.last_saved = self.step

    def _scores(self) -> dict[str, float]:
        samples = self.model.sample(self.config["num_samples"], seed=self.config["seed"])
        features, logits = self.reference.extractor.extract(samples)
        seed = self.config["seed"]
        kid = score_functions.kernel_distance(features, self.reference.features, seed=seed)
        about = {"kid": kid["mean"]}
        if logits is not None:
            frequencies = self.reference.class_frequencies
            about |= score_functions.classifier_scores(logits, frequencies)
        return about

    def _check_losses(self, step: int, logs: Mapping[str, float], where: str = "") -> None:
        for name, value in logs.items():
            if name.endswith("_loss") and not np.isfinite(value):
                raise Diverged(f"step {step}: {name} is {value}{where}; {self._remedy()}")

    def _check_weights(self) -> None:
        # Finite losses come from the weights before the update: look at what is drawn and saved.
        for weight in self.model.weights:
            if weight.dtype.startswith(("float", "bfloat")):
                if not bool(tf.reduce_all(tf.math.is_finite(weight.value))):
                    raise Diverged(
                        f"step {self.step}: {weight.path} is not finite; {self._remedy()}"
                    )

    def unsolved(self) -> Diverged:
        """Returns the error of a step that meets a matrix which nobody can solve with."""
        # Weights that are not finite end here where a method solves before it has a loss.
        what = "a matrix to solve with is singular or not finite"
        return Diverged(f"step {self.step + 1}: {what}; {self._remedy()}")

    def _remedy(self) -> str:
        saved = self.last_saved
        kept = f"the checkpoint of step {saved} is kept" if saved >= 0 else "nothing is saved"
        return (
            f"{kept}; start anew in another --workdir with a lower "
            "--config.learning_rate_multiplier or with --config.clip_gradient_norm=1."
        )


def _iterator(
    model: Method,
    source: data.Source,
    config: Mapping[str, Any],
    strategy: tf.distribute.Strategy,
    start_step: int,
    replicas: range | None,
) -> Any:
    dataset = training_dataset(
        source,
        seed=config["seed"],
        batch_size=config["batch_size"],
        batches_per_step=len(model.schedule),
        start_step=start_step,
        num_replicas=strategy.num_replicas_in_sync,
        replicas=replicas,
    )
    return iterate(dataset, strategy)


def _until(step: int, every: int) -> int:
    """Steps from `step` to the next multiple of `every` (0: never)."""
    return every - step % every if every else 1 << 30
