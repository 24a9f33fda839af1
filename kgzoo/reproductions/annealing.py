"""A Kernel GAN whose bandwidth shrinks in steps: Figure 1 of the Kernel GAN paper.

Sinn and Rawat (2017), https://arxiv.org/abs/1705.09199, section 3.1: a mixture of eight Gaussians,
noise N(0, I) of 100 dimensions, a perceptron of three layers of 128 units (ReLU, ReLU, tanh), eq.
12 with one Gaussian kernel, 10,000 steps at each of six bandwidths. As it falls the samples
draw together around the modes. Batch, optimizer and rate are not printed for it: those of the
paper's other experiments in data space are taken.
"""

import pathlib
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from kgzoo.errors import UserError
from kgzoo.reproductions import figure

__all__ = ["BANDWIDTHS", "run"]

BANDWIDTHS = (0.8, 0.4, 0.2, 0.1, 0.05, 0.025)
_DATASET = "mog"
_STEPS, _QUICK_STEPS = 10_000, 50
_NUM_SAMPLES = 10_000
_NUM_DRAWN = 1000
# XLA takes a while to compile the steps: fewer do not pay.
_LEAST_COMPILED = 2000
_FIELDS = {
    "network": "mlp_tanh",
    "generator_width": 128,
    "latent_dim": 100,
    "latent_distribution": "normal",
    "batch_size": 200,
    "learning_rate_multiplier": 1.0,
    "ema_half_life_images": 0.0,
    "bandwidths": BANDWIDTHS,
    "bandwidth_schedule": "staircase",
}


def run(folder: pathlib.Path, quick: bool = False, steps: int = 0, seed: int = 0) -> dict[str, Any]:
    """Trains through all bandwidths; writes annealing.png and annealing.json.

    Args:
        folder: for the files.
        quick: 50 steps at each bandwidth.
        steps: generator updates at each bandwidth; 0: 10,000, or 50 when quick.
        seed: of weights, noise and batches.

    Returns:
        What the JSON file holds: settings, findings, and the scores after each phase.

    Raises:
        UserError: if an option is wrong, or matplotlib is not installed.
    """
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 0:
        raise UserError(f"steps={steps!r} is out of range; give a whole number of at least 1.")
    steps = steps or (_QUICK_STEPS if quick else _STEPS)
    canvas, axes = figure.new_figure(1, len(BANDWIDTHS) + 1, 15.0, 2.8, sharex=True, sharey=True)
    fields = {**_FIELDS, "bandwidth_every_steps": steps, "seed": seed}
    phases, pictures, real = _train(fields, steps)
    _draw(axes[0], real, pictures, phases)
    canvas.suptitle(f"Kernel GAN, {steps:,} steps at each bandwidth: data blue, samples green")
    result = {
        "settings": {
            "paper": "arXiv:1705.09199, section 3.1, Figure 1",
            "method": "kernel_gan",
            "dataset": _DATASET,
            "steps_at_each_bandwidth": steps,
            "fields": fields,
            "optimizer": "the row's, RMSprop at 1e-3 (the paper's for MNIST)",
            "samples": _NUM_SAMPLES,
            "quick": quick,
        },
        "findings": _findings(phases),
        "phases": phases,
    }
    return figure.write(folder, "annealing", canvas, result)


def _train(fields: dict[str, Any], steps: int) -> tuple[list[dict], list[np.ndarray], np.ndarray]:
    """Returns scores and samples [n, 2] at the beginning and after each phase, and some data."""
    from kgzoo.reproductions import toy_runs

    model = toy_runs.ToyRun("kernel_gan", _DATASET, fields, steps >= _LEAST_COMPILED)
    facts = model.source.describe()["modes"]
    phases, pictures = [], []
    for bandwidth in (None, *BANDWIDTHS):
        logs = model.advance(steps) if bandwidth else {}
        samples = model.samples(_NUM_SAMPLES)
        scores = toy_runs.score(samples, facts)
        own = {"bandwidth": bandwidth, "bandwidth_of_last_step": logs.get("bandwidth")}
        own |= {"step": model.step, "value": logs.get("jensen_shannon")}
        phases.append({**own, **scores})
        pictures.append(samples[:_NUM_DRAWN])
        if bandwidth:
            print(
                f"annealing: bandwidth {bandwidth:g} done, {scores['modes']} modes",
                file=sys.stderr,
                flush=True,
            )
    return phases, pictures, model.source.examples[:_NUM_DRAWN]


def _findings(phases: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    rows = []
    for phase in phases:
        name = "initial" if phase["bandwidth"] is None else f"after bandwidth {phase['bandwidth']}"
        found = (
            f"{phase['share_4_sd']:.1%} within 4 sd, {phase['share_near']:.1%} within 10 sd, "
            f"{phase['modes']} of 8 modes"
        )
        paper = "" if rows else "dispersed randomly"
        rows.append({"quantity": name, "found": found, "paper": paper})
    rows[-1]["paper"] = "concentrated around the modes"
    best = max(phases, key=lambda phase: phase["share_4_sd"])
    found = f"{best['bandwidth'] or 'initial'}"
    return [*rows, {"quantity": "most within 4 sd: bandwidth", "found": found, "paper": ""}]


def _draw(
    axes: Sequence[Any], real: np.ndarray, pictures: Sequence[np.ndarray], phases: Sequence[dict]
) -> None:
    for axis, samples, phase in zip(axes, pictures, phases, strict=True):
        axis.plot(*real.T, "o", color="#1f77b4", markersize=3, markeredgewidth=0)
        axis.plot(*samples.T, "o", color="#2ca02c", markersize=1.5, markeredgewidth=0, alpha=0.7)
        bandwidth = phase["bandwidth"]
        name = "initial" if bandwidth is None else f"σ = {bandwidth:g}"
        axis.set_title(f"{name}\n{phase['share_4_sd']:.0%} within 4 sd", fontsize=9)
        axis.set(xlim=(-3, 3), ylim=(-3, 3), xticks=[], yticks=[], aspect="equal")
