"""The rows of KernelNet's Table 3 as ordinary run folders: trained, resumed, loaded.

Every row is `<folder>/<method>/`, as `python -m kgzoo.main` would make it from the run card
configs/kernelnet_table3.py; the command in its config.json goes on with it, scores it, exports it.
Nine of them share a process and its copy of the images. Scores of samples are left out; what AIS
has finished is kept in the run folder, by step and settings, under `ais/`.
"""

import json
import pathlib
import shlex
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from kgzoo import config, data
from kgzoo.errors import UserError, unknown_name
from kgzoo.evaluation import ais, files, json_lines
from kgzoo.methods import Method
from kgzoo.training import checkpoints, loop, run_folder, runtime
from kgzoo.training.progress import duration

__all__ = [
    "CARD",
    "PRINTED",
    "SCALES",
    "Plan",
    "Scale",
    "Trained",
    "chosen_points",
    "furthest",
    "likelihood",
    "load",
    "methods_of",
    "train",
]

CARD = "configs/kernelnet_table3.py"
# Table 3, in its order: the negative log-likelihood in nats.
PRINTED: Mapping[str, float] = {
    "vae": 90.32,
    "stein_vae": 88.85,
    "spectral_vae": 89.67,
    "sivi": 89.03,
    "info_vae": 88.89,
    "info_ivae": 89.79,
    "info_ivae_rbf": 88.24,
    "info_ivae_ikl": 88.21,
    "info_ivae_dk": 88.16,
}
# 300 epochs of MNIST.
PAPER_STEPS = 562_500
_RECORDS, _PICTURES, _CHECKPOINTS = 200, 5, 10
# A checkpoint takes as long as one step; these are a minute's, of the slower rows a few.
_LEAST_STEPS_BETWEEN_CHECKPOINTS, _MOST_STEPS_BETWEEN_CHECKPOINTS = 100, 2000
_SECONDS_BETWEEN_LINES = 20.0
# Points of the bidirectional gap for each test point, and at most.
_GAP_SHARE, _MOST_GAP_POINTS = 0.1, 50


class Scale(NamedTuple):
    """How much is spent.

    Attributes:
        steps: of each training; 0: the run card's.
        test_points: test images whose likelihood is estimated.
        chains: of AIS for each of them.
        temperatures: intermediate distributions of a chain.
        leapfrog_steps: of each of its moves.
        schedule: `sigmoid` or `linear`, of the temperatures.
    """

    steps: int
    test_points: int
    chains: int
    temperatures: int
    leapfrog_steps: int = 10
    schedule: str = "sigmoid"


SCALES: Mapping[str, Scale] = {
    "quick": Scale(1000, 100, 5, 200),
    "paper": Scale(0, 5000, 10, 1000),
}


class Plan(NamedTuple):
    """What all rows of a table have in common.

    Attributes:
        folder: of the run folders.
        dataset: mnist or digits.
        data_dir: of prepared TFDS data sets; empty: the TFDS default.
        binarization: dynamic or fixed.
        steps: of each training; 0: the run card's.
        seed: of all runs.
    """

    folder: pathlib.Path
    dataset: str = "mnist"
    data_dir: str = ""
    binarization: str = "dynamic"
    steps: int = 0
    seed: int = 0

    def compose(self, method: str) -> Any:
        """Returns the resolved config of a row, and raises a UserError where something is wrong."""
        overrides: dict[str, Any] = {"seed": self.seed}
        if self.data_dir:
            overrides["data_dir"] = self.data_dir
        card = self._card(method)
        steps = self.steps or config.compose(card=card)["steps"]
        overrides["steps"] = steps
        overrides["log_every_steps"] = max(10, steps // _RECORDS)
        overrides["sample_every_steps"] = max(1, steps // _PICTURES)
        overrides["checkpoint_every_steps"] = max(
            _LEAST_STEPS_BETWEEN_CHECKPOINTS,
            min(_MOST_STEPS_BETWEEN_CHECKPOINTS, steps // _CHECKPOINTS),
        )
        return config.compose(card=card, overrides=overrides)

    @property
    def printed(self) -> Mapping[str, float]:
        """What the paper prints of this data set, by row."""
        return PRINTED if self.dataset == "mnist" else {}

    def _card(self, method: str) -> str:
        return f"{CARD}:{method},{self.dataset},{self.binarization}"

    def command(self, method: str, steps: int) -> str:
        """Returns what goes on with a row alone."""
        words = ["python", "-m", "kgzoo.main", f"--config={self._card(method)}"]
        words += [f"--steps={steps}", f"--seed={self.seed}", f"--workdir={self.folder / method}"]
        words += [f"--data_dir={self.data_dir}"] if self.data_dir else []
        return shlex.join(words)


class Trained(NamedTuple):
    """A row after its training.

    Attributes:
        model: at its last step, or as it was built when it diverged before the first checkpoint.
        config: resolved.
        seconds_per_step: by the later half of its records; None where they are too few.
        diverged: what the loop said of weights or losses that are not finite; else empty.
    """

    model: Method
    config: Mapping[str, Any]
    seconds_per_step: float | None
    diverged: str

    @property
    def learning_rates(self) -> dict[str, float]:
        """Of each player, as the optimizer has it at the end."""
        return {
            player: float(f"{float(optimizer.learning_rate):.6g}")
            for player, optimizer in self.model.optimizers.items()
        }


def methods_of(arms: str) -> list[str]:
    """Returns the rows that `arms` names, separated by commas, in the table's order; empty: all.

    Raises:
        UserError: if one is not in the table.
    """
    wanted = [name for name in arms.split(",") if name] or list(PRINTED)
    for name in wanted:
        if name not in PRINTED:
            raise unknown_name("arm", name, PRINTED)
    return [name for name in PRINTED if name in wanted]


def train(method: str, plan: Plan, source: data.Source) -> Trained:
    """Trains a row from where its run folder stands up to the plan's steps.

    A run that has more steps already is taken as it is.

    Args:
        method: row of the table.
        plan: of all rows.
        source: the training split.

    Raises:
        UserError: if the folder holds another run, or a signal stopped the training, whose state
            is then saved.
    """
    resolved = plan.compose(method)
    workdir, command = plan.folder / method, plan.command(method, resolved["steps"])
    with run_folder.locked(workdir):
        resolved_runtime = runtime.prepare(resolved)
        run_folder.check_resume(workdir, resolved, source, resolved_runtime)
        strategy = runtime.get_strategy(resolved["strategy"])
        model = run_folder.build_model(resolved, source.kind, source.shape, strategy)
        saved = checkpoints.Checkpoints(workdir / "checkpoints", resolved["keep_checkpoints"])
        saved.restore(model)
        diverged = ""
        if model.steps_done < resolved["steps"]:
            _tell(method, model.steps_done, resolved["steps"])
            run_folder.write_config(workdir, resolved, source, resolved_runtime, command)
            try:
                loop.train(model, source, None, resolved, workdir, strategy, command)
            except loop.Stopped as error:
                raise UserError(
                    f"training of {method} was stopped by {error}, or the same command again for "
                    "all rows."
                ) from None
            except loop.Diverged as error:
                diverged = str(error)
                print(f"{method}: {diverged}", file=sys.stderr, flush=True)
        return Trained(model, resolved, _seconds_per_step(workdir, resolved), diverged)


def _tell(method: str, done: int, steps: int) -> None:
    begins = f"from step {done:,} " if done else ""
    print(f"{method}: trains {begins}to step {steps:,}", file=sys.stderr, flush=True)


def _seconds_per_step(workdir: pathlib.Path, resolved: Mapping[str, Any]) -> float | None:
    """Returns the median of the later half of the records: the first ones include compilation."""
    lines = json_lines.objects(workdir / "metrics.jsonl")
    speeds = [line.get("images_per_second") for line in lines]
    speeds = [speed for speed in speeds if speed]
    if not speeds:
        return None
    return resolved["batch_size"] / statistics.median(speeds[len(speeds) // 2 :])


def likelihood(
    method: str, trained: Trained, examples: np.ndarray, spent: Scale, plan: Plan
) -> tuple[dict[str, Any], np.ndarray]:
    """Estimates log p(x) of test images under the decoder as it samples.

    Args:
        method: row of the table.
        trained: the row.
        examples: uint8 `[n, h, w, c]`, 0 or 255.
        spent: what is spent on AIS.
        plan: of all rows.

    Returns:
        Numbers for the JSON file, and log p(x) `[n]`; None and nan where the row diverged.

    Raises:
        UserError: if the run folder holds AIS of another decoder at this step.
    """
    if trained.diverged:
        return {"nll": None, "standard_error": None}, np.full([len(examples)], np.nan)
    model, began = trained.model, time.monotonic()
    named = {"chains": spent.chains, "temperatures": spent.temperatures, "seed": plan.seed}
    settings = {**named, "leapfrog_steps": spent.leapfrog_steps, "schedule": spent.schedule}
    words = [f"step_{model.steps_done:08d}", f"points_{len(examples)}"]
    words += [f"{name}_{value}" for name, value in named.items()]
    usual = Scale._field_defaults
    words += [f"{name}_{settings[name]}" for name in usual if settings[name] != usual[name]]
    folder = plan.folder / method / "ais" / "_".join(words)
    found = ais.estimate(
        *(model.decoder_logits, (examples > 0).astype(np.float32), model.latent_dim),
        **settings,
        folder=folder,
        progress=_Line(f"{method}: AIS"),
    )
    noted = folder / "gap.json"
    if not noted.exists():
        points = min(_MOST_GAP_POINTS, max(2, round(_GAP_SHARE * len(examples))))
        gap = ais.bidirectional_gap(
            *(model.decoder_logits, model.latent_dim),
            **settings,
            points=points,
            step_size=found.step_size,
            progress=_Line(f"{method}: AIS backwards"),
        ).as_json()
        notes = {name: gap[name] for name in ("gap", "standard_error", "num_points")}
        # Of the last part only, where AIS was interrupted.
        notes["seconds"] = round(time.monotonic() - began, 1)
        files.replace_file(noted, (json.dumps(notes, indent=2) + "\n").encode())
    if not np.isfinite(found.log_likelihoods).all():
        return {"nll": None, "standard_error": None}, found.log_likelihoods
    notes = json.loads(noted.read_text(encoding="utf-8"))
    sizes = found.effective_sample_sizes
    row = {
        "nll": -found.mean,
        "standard_error": found.standard_error,
        "effective_sample_size": {"mean": float(sizes.mean()), "least": float(sizes.min())},
        "acceptance": found.acceptance,
        "acceptance_by_stage": found.acceptance_by_stage,
        "step_size": found.step_size,
        "ais_seconds": notes.pop("seconds"),
        "bidirectional_gap": notes,
        "ais": found.settings,
    }
    return row, found.log_likelihoods


class _Line:
    """Says now and then how far AIS is, on stderr."""

    def __init__(self, what: str):
        self._what, self._began, self._first = what, time.monotonic(), None
        self._said = self._began

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        self._first = done if self._first is None else self._first
        if now - self._said < _SECONDS_BETWEEN_LINES or done <= self._first:
            return
        self._said = now
        left = (total - done) * (now - self._began) / (done - self._first)
        said = f"{self._what} {done / total:.0%}, {duration(left)} left"
        print(said, file=sys.stderr, flush=True)


def load(plan: Plan, resolved: Mapping[str, Any]) -> tuple[data.Source, data.Source]:
    """Returns the training split, and the test split by one fixed draw.

    Raises:
        UserError: if the data set is not on disk.
    """
    where = {"data_dir": plan.data_dir or None, "image_size": resolved["image_size"] or None}
    source = data.load(plan.dataset, "train", **where, binarization=plan.binarization)
    return source, data.load(plan.dataset, "test", **where, binarization="fixed")


def chosen_points(count: int, wanted: int, seed: int) -> np.ndarray:
    """Returns which of `count` test images are taken: `wanted` at random, the same for all rows."""
    return np.random.RandomState([seed, 5000]).permutation(count)[:wanted]


def furthest(folder: pathlib.Path, methods: Sequence[str]) -> int:
    """Returns the most steps that a row in `folder` has a checkpoint of; 0: there is none."""
    steps = [checkpoints.Checkpoints(folder / method / "checkpoints").steps() for method in methods]
    return max((found[-1] for found in steps if found), default=0)
