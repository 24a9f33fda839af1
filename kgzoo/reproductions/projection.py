"""What a critic of two outputs makes of a ring: Figures 1, 6 and 9 of the GRAM paper.

Srivastava, Xu, Gutmann and Sutton (2020), https://arxiv.org/abs/1806.00101, sections 3.4, B.2, C.1:
data and samples, and the critic's two outputs on both, at a few steps; traces of D* and of the MMD.
As the paper has it, GRAM's critic separates them early and no longer can at the end, where that of
Li's MMD-GAN still does until training diverges.

The probe is one for both methods: 500 test points and 500 samples of their own, the biased MMD
(eq. 10) and the Pearson divergence (eq. 7, ridge 1e-3; D* of eq. 5 is its negative up to a
constant) between their projections under a Gaussian kernel of bandwidth 1. The scale of a
projection is free, so that a third number is shown: how many of the 1000 projected points have
their nearest neighbour in their own class, 1/2 where the samples are the data's law.
"""

import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kgzoo.errors import UserError
from kgzoo.reproductions import figure, ring

__all__ = ["nearest_in_own_class", "run", "shown_steps"]

_DATASETS = {"ring2d": "2-D ring", "ring3d": "3-D ring"}
_METHODS = ("gram", "mmd_gan")
_STEPS, _QUICK_STEPS = 10_000, 40
# Of the noise: the paper leaves it open.
_LATENT_DIM = 4
_PROBED = 500
_RIDGE = 1e-3
_NUM_SAMPLES = 10_000
_TRACE_POINTS = 120
_TITLES = {"gram": "Fig. 1, 6", "mmd_gan": "Fig. 9"}
# What the paper says of the projection, and of the samples at the end.
_PAPER = {
    "gram": ("separates, then overlaps", "all modes"),
    "mmd_gan": ("stays separated", "diverges"),
}
_LINES = {"mmd": ("#ff7f0e", "L (MMD)"), "pearson_divergence": ("#1f77b4", "-D* (Pearson div.)")}


def shown_steps(dataset: str, steps: int) -> list[int]:
    """Returns the four steps whose panels are drawn; at 10,000 those of the paper.

    The paper shows the beginning of the 3-D ring, and of the 2-D ring its tenth step.
    """
    first = 0 if dataset == "ring3d" else steps // 1000
    return [first, max(1, steps // 100), max(1, steps // 10), steps]


def run(folder: pathlib.Path, quick: bool = False, steps: int = 0, seed: int = 0) -> dict[str, Any]:
    """Trains both methods on both rings; writes projection.png and projection.json.

    Args:
        folder: for the files.
        quick: 40 steps.
        steps: generator updates; 0: 10,000, or 40 when quick.
        seed: of all runs.

    Returns:
        What the JSON file holds: settings, findings, and of each run the traces, the probes of the
        drawn steps and the scores of its samples.

    Raises:
        UserError: if an option is wrong, or matplotlib is not installed.
    """
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 0:
        raise UserError(f"steps={steps!r} is out of range; give a whole number of at least 1.")
    steps = steps or (_QUICK_STEPS if quick else _STEPS)
    canvas, axes = figure.new_figure(8, 5, 12.0, 18.0)
    runs = {}
    pairs = [(method, dataset) for method in _METHODS for dataset in _DATASETS]
    for number, (method, dataset) in enumerate(pairs):
        print(f"projection: {method} on {dataset}", file=sys.stderr, flush=True)
        found, panels = _train(method, dataset, steps, seed)
        rows = axes[2 * number : 2 * number + 2]
        _draw_panels(rows, panels, f"{ring.ARMS[method].title}, {_DATASETS[dataset]}")
        _draw_traces(rows[:, 4], found["traces"], _TITLES[method])
        runs[f"{method}_{dataset}"] = found
    canvas.suptitle("Data blue, samples orange; above in their space, below as the critic sees it")
    result = {
        "settings": {
            "paper": "arXiv:1806.00101, sections 3.4, B.2 and C.1, Figures 1, 6 and 9",
            "steps": steps,
            "seed": seed,
            "fields": {method: _fields(method, seed) for method in _METHODS},
            "probe": f"{_PROBED} test points, {_PROBED} samples, bandwidth 1, ridge {_RIDGE:g}",
            "drawn_3d": "along the two directions that span the ring",
            "quick": quick,
        },
        "findings": [
            row for pair in pairs for row in _findings(*pair, runs["{}_{}".format(*pair)])
        ],
        "runs": runs,
    }
    return figure.write(folder, "projection", canvas, result)


def _fields(method: str, seed: int) -> dict[str, Any]:
    """Section 3.4: those of the comparison at width 100, with a projection onto two dimensions."""
    fields = ring.Run(method, _LATENT_DIM, 100, seed).fields
    return {**fields, "output_dim": 2, "seed": seed}


def _train(method: str, dataset: str, steps: int, seed: int) -> tuple[dict[str, Any], list]:
    """Trains and probes; returns what the JSON file is told, and what the panels show."""
    from kgzoo import data
    from kgzoo.reproductions import toy_runs

    compiled = ring.ARMS[method].compiled and steps > _QUICK_STEPS
    model = toy_runs.ToyRun(method, dataset, _fields(method, seed), compiled)
    facts = model.source.describe()["modes"]
    real = data.load(dataset, "test").examples[: 2 * _PROBED]
    shown = shown_steps(dataset, steps)
    spread = np.geomspace(1, steps, _TRACE_POINTS).round().astype(int).tolist()
    traces: dict[str, list] = {"step": [], **{name: [] for name in _LINES}}
    probes, panels = {}, []
    for step in sorted({0, *shown, *spread}):
        if step > model.step:
            model.advance(step - model.step)
        # A diverged model stands where it fell; what it would show is no number.
        if model.step < step or not model.finite:
            break
        fake = model.samples(_PROBED, seed=step)
        on_real, on_fake = model.features(real[:_PROBED]), model.features(fake)
        found = _probe(on_real, on_fake)
        if step:
            for name in traces:
                traces[name].append({"step": step, **found}[name])
        if step in shown:
            own = {"nearest_in_own_class": nearest_in_own_class(on_real, on_fake)}
            probes[str(step)] = {**found, **own}
            axes = np.asarray(facts.get("axes", np.eye(real.shape[1])))[:2]
            panels.append((step, real[:_PROBED] @ axes.T, fake @ axes.T, on_real, on_fake))
    floor = _probe(*(model.features(half) for half in np.split(real, 2)))
    scores = toy_runs.score(model.samples(_NUM_SAMPLES), facts)
    found = {"steps_done": model.step, "scores": scores, "probes": probes}
    return {**found, "mmd_of_data_with_itself": floor["mmd"], "traces": traces}, panels


def _probe(on_real: np.ndarray, on_fake: np.ndarray) -> dict[str, float | None]:
    """Returns the MMD and the Pearson divergence between projections [n, 2]; None: no number."""
    import tensorflow as tf

    from kgzoo import kernels
    from kgzoo.discrepancies import mmd, ratio_matching

    kernel = kernels.Gaussian(1.0)
    x, y = (tf.constant(features, tf.float64) for features in (on_real, on_fake))
    squared = float(mmd.mmd2(kernel, x, y, "biased")[0])
    ratios = ratio_matching.ratios([kernel], x, y, _RIDGE)
    divergence = float(ratio_matching.pearson_divergence(ratios))
    values = {"mmd": max(squared, 0.0) ** 0.5, "pearson_divergence": divergence}
    return {name: value if np.isfinite(value) else None for name, value in values.items()}


def nearest_in_own_class(first: np.ndarray, second: np.ndarray) -> float:
    """Returns the share of both samples' points whose nearest neighbour is of their own sample.

    Args:
        first, second: [n, d] each; about 1/2 for one law, 1 for laws that lie apart.
    """
    from scipy import spatial

    points = np.concatenate([first, second]).astype(np.float64)
    labels = np.repeat([0, 1], [len(first), len(second)])
    # Of two, the first is the point itself, unless it has a double: then either will do.
    found = spatial.cKDTree(points).query(points, k=2)[1]
    other = np.where(found[:, 0] == np.arange(len(points)), found[:, 1], found[:, 0])
    return float(np.mean(labels == labels[other]))


def _findings(method: str, dataset: str, of: Mapping[str, Any]) -> list[dict[str, Any]]:
    on_projection, at_end = _PAPER[method]
    probes = of["probes"].items()
    shares = ", ".join(f"{probe['nearest_in_own_class']:.0%} ({at})" for at, probe in probes)
    sizes = ", ".join(f"{probe['mmd']:.3g} ({at})" for at, probe in probes if probe["mmd"])
    scores = of["scores"]
    state = "diverged" if scores["diverged"] else "did not diverge"
    rows = (
        ("own-class neighbours in projection (step)", shares, on_projection),
        ("MMD in projection (step)", f"{sizes}; data {of['mmd_of_data_with_itself']:.3g}", ""),
        (
            "samples at the end",
            f"{scores['modes']} of 8 modes, {scores['share_wide']:.1%} within 30 sd, {state}",
            at_end,
        ),
    )
    name = f"{ring.ARMS[method].title}, {_DATASETS[dataset]}"
    return [{"quantity": f"{name}: {text}", "found": f, "paper": p} for text, f, p in rows]


def _draw_panels(rows: Any, panels: Sequence[tuple], title: str) -> None:
    for column in range(4):
        top, bottom = rows[0, column], rows[1, column]
        for axis in (top, bottom):
            axis.set(xticks=[], yticks=[])
        if column >= len(panels):
            top.set_title("diverged", fontsize=9)
            continue
        step, real, fake, on_real, on_fake = panels[column]
        for axis, blue, orange in ((top, real, fake), (bottom, on_real, on_fake)):
            axis.plot(*blue.T, "o", color="#1f77b4", markersize=3, markeredgewidth=0)
            axis.plot(*orange.T, "o", color="#ff7f0e", markersize=1.8, markeredgewidth=0)
        top.set(xlim=(-3, 3), ylim=(-3, 3))
        top.set_title(f"{title}\nstep {step:,}" if column == 0 else f"step {step:,}", fontsize=9)
    rows[0, 0].set_ylabel("data space")
    rows[1, 0].set_ylabel("projection")


def _draw_traces(axes: Any, traces: Mapping[str, list], title: str) -> None:
    for axis, (name, (colour, label)) in zip(axes, _LINES.items(), strict=True):
        axis.set_title(label)
        # A logarithmic axis has no place for what is not above 0, and none for nothing.
        pairs = zip(traces["step"], traces[name], strict=True)
        points = [(step, value) for step, value in pairs if value is not None and value > 0]
        if not points:
            continue
        axis.plot(*zip(*points, strict=True), color=colour, linewidth=1.2)
        axis.set(xscale="log", yscale="log")
        axis.grid(alpha=0.25)
    axes[1].set_xlabel(f"step ({title})")
