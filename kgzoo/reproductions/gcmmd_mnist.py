"""Gradient-Constrained MMD GANs on MNIST: the SMMD paper's Figure 8, at a scale of minutes.

Arbel, Sutherland, Binkowski and Gretton (2018), arXiv:1805.11565, appendix F.2. Trains `gcmmd` and
`sn_gcmmd` (with `smmd=True` also `smmd` and `sn_smmd`, the figure's context) by
`python -m kgzoo.main`, each in a folder of its own, and draws their samples, generator losses and
KID. Typed again it goes on where it stopped; with more steps it trains further. The paper's scale
is that of the run card configs/smmd_figure8.py.

Differs from the paper in: the data set's own narrow networks, five times the printed rates, the
system of Prop. 3 solved exactly instead of by an incomplete Cholesky factor, KID on the zoo's
features, fewer steps; and, unless asked for, the MMD^2 is the unbiased one: of the biased one a
critic that tells every example from every other gets 2/n for nothing, which is where it ends.
"""

import json
import os
import pathlib
import signal
import statistics
import subprocess
import sys
import threading
from typing import Any

from kgzoo import config
from kgzoo.errors import UserError
from kgzoo.evaluation import json_lines
from kgzoo.reproductions import figure, provenance

__all__ = ["run"]

_METHODS = ("gcmmd", "sn_gcmmd")
_CONTEXT = ("smmd", "sn_smmd")
_COLOURS = {"gcmmd": "#2471a3", "sn_gcmmd": "#c0392b", "smmd": "#5dade2", "sn_smmd": "#e59866"}
_PAPER_STEPS = 32_000
_RATE_MULTIPLIER = 5.0
# Both runs together: under half an hour on two cores.
_STEPS = 600
# Widths, batch and samples of a run of seconds.
_QUICK = ("generator_width", "critic_width", "batch_size", "num_samples")
_QUICK_STEPS = 8
_SCORES_IN_A_RUN = 10


def run(
    folder: pathlib.Path,
    quick: bool = False,
    data_dir: str = "",
    steps: int = 0,
    smmd: bool = False,
    dataset: str = "mnist",
    estimator: str = "unbiased",
    seed: int = 0,
) -> dict[str, Any]:
    """Trains the methods and writes gcmmd_mnist.png and gcmmd_mnist.json.

    Args:
        folder: of the two files and, in folders named after method and data set, of the runs.
        quick: narrow networks, a few steps.
        data_dir: of prepared TFDS data sets; empty: the TFDS default.
        steps: generator updates of each run; 0: 600, or 8 when quick.
        smmd: whether `smmd` and `sn_smmd` are trained beside them.
        dataset: another set of images than mnist.
        estimator: of the MMD^2 in GCMMD^2; the paper's is `biased`.
        seed: of all runs.

    Returns:
        What the JSON file holds: settings, findings, and each run's curves and scores.

    Raises:
        UserError: if an option is wrong, a run fails, or matplotlib is not installed.
    """
    usual = _QUICK_STEPS if quick else _STEPS
    changed = (steps or usual, smmd, dataset, estimator) != (usual, False, "mnist", "unbiased")
    steps = steps or usual
    if steps < 1:
        raise UserError(f"steps={steps} is too small; give 1 or more.")
    # Before the runs: without matplotlib nobody should wait for them.
    canvas, axes = figure.new_figure(2, 2, 10.5, 10.0)
    methods = [*_METHODS, *(_CONTEXT if smmd else ())]
    runs, workdirs = {}, {}
    for method in methods:
        fields = {"score_every_steps": max(1, steps // _SCORES_IN_A_RUN)}
        fields |= {"sample_every_steps": max(1, steps // _SCORES_IN_A_RUN)}
        fields |= {"log_every_steps": max(1, steps // 100), "estimator": estimator}
        fields |= {"learning_rate_multiplier": _RATE_MULTIPLIER}
        fields |= {name: config.QUICK[name] for name in _QUICK} if quick else {}
        options = {"dataset": dataset, "steps": steps, "seed": seed, "data_dir": data_dir}
        workdirs[method] = folder / f"{method}_{dataset}{'_quick' if quick else ''}"
        _train(method, workdirs[method], options, fields)
        runs[method] = _read(workdirs[method])
    for axis, method in zip(axes[0], _METHODS, strict=True):
        _draw_samples(axis, workdirs[method], method, runs[method]["step"])
    _draw_curves(axes[1, 0], axes[1, 1], runs)
    result = {
        "settings": {
            "paper": "arXiv:1805.11565, appendix F.2, Figure 8",
            "dataset": dataset,
            "steps": steps,
            "estimator": estimator,
            "learning_rate_multiplier": _RATE_MULTIPLIER,
            "seed": seed,
            "networks": "the data set's own, see config.json of the runs",
            "kid": "features of scores.json, not the paper's convnet trained on MNIST",
            "budget": provenance.budget("quick" if quick else "cpu", changed),
            "quick": quick,
        },
        "findings": [row for method in methods for row in _findings(method, runs[method])],
        "runs": runs,
    }
    return figure.write(folder, "gcmmd_mnist", canvas, result)


def _train(method: str, workdir: pathlib.Path, options: dict, fields: dict) -> None:
    """Runs the ordinary verb in a process of its own; its output passes through.

    A signal goes to the run, which saves before it leaves.
    """
    command = [sys.executable, "-m", "kgzoo.main", f"--method={method}", f"--workdir={workdir}"]
    command += [f"--{name}={value}" for name, value in options.items() if value != ""]
    command += [f"--config.{name}={value}" for name, value in fields.items()]
    package = pathlib.Path(__file__).resolve().parents[2]
    path = os.pathsep.join(filter(None, [str(package), os.environ.get("PYTHONPATH")]))
    child = subprocess.Popen(command, env=os.environ | {"PYTHONPATH": path})
    main_thread = threading.current_thread() is threading.main_thread()
    before = None
    if main_thread:
        before = signal.signal(signal.SIGTERM, lambda *_: child.terminate())
    try:
        code = child.wait()
    except KeyboardInterrupt:
        # The terminal has told the child too, which is saving.
        child.wait()
        raise
    finally:
        if main_thread:
            signal.signal(signal.SIGTERM, before)
    if code:
        raise UserError(
            f"the run of {method} in {workdir} ended with exit code {code}; see what it says "
            "above, and type the same command to go on with it."
        )


def _read(workdir: pathlib.Path) -> dict[str, Any]:
    """Returns a finished run's curves, scores and speed."""
    lines = json_lines.objects(workdir / "metrics.jsonl")
    scores = json.loads((workdir / "scores.json").read_text())
    settings = json.loads((workdir / "config.json").read_text())["config"]
    kid = [(line["step"], line["kid"]) for line in lines if "kid" in line]
    if "untrained" in scores:
        kid.insert(0, (0, scores["untrained"]["kid"]["value"]))
    losses = [(line["step"], line["generator_loss"]) for line in lines if "generator_loss" in line]
    # The first lines include compilation.
    speeds = [line["images_per_second"] for line in lines if line.get("images_per_second")]
    speed = statistics.median(speeds[len(speeds) // 2 :]) if speeds else None
    images = settings["batch_size"] * (1 + settings["critic_steps"])
    return {
        "step": scores["step"],
        "generator_loss": losses,
        "kid": kid,
        "final_kid": scores["kid"]["value"],
        "final_fid": scores["fid"]["value"],
        "extractor": scores["kid"]["extractor"],
        "seconds_per_step": images / speed if speed else None,
    }


def _findings(method: str, of: dict[str, Any]) -> list[dict[str, Any]]:
    rows = [("KID", of["final_kid"], "curve only (Fig. 8d)")]
    rows.append(("FID", of["final_fid"], "not given"))
    if of["kid"] and of["kid"][0][0] == 0:
        rows.append(("KID untrained", of["kid"][0][1], "not given"))
    if of["generator_loss"]:
        rows.append(("generator loss", of["generator_loss"][-1][1], "curve only (Fig. 8c)"))
    if of["seconds_per_step"]:
        hours = of["seconds_per_step"] * _PAPER_STEPS / 3600
        told = "days on powerful workstations" if method in _METHODS else "not given"
        rows.append((f"hours for {_PAPER_STEPS:,} steps at this rate", hours, told))
    return [
        {
            "quantity": f"{method}, step {of['step']}: {name}",
            "found": float(f"{found:.5g}"),
            "paper": paper,
        }
        for name, found, paper in rows
    ]


def _draw_samples(axis: Any, workdir: pathlib.Path, method: str, step: int) -> None:
    from matplotlib import image

    axis.imshow(image.imread(sorted((workdir / "samples").glob("step_*.png"))[-1]))
    axis.set_title(f"{method}, step {step}")
    axis.set_axis_off()


def _draw_curves(losses: Any, kids: Any, runs: dict[str, dict[str, Any]]) -> None:
    for method, of in runs.items():
        style = {"color": _COLOURS[method], "label": method}
        style["linestyle"] = "-" if method in _METHODS else "--"
        losses.plot(*zip(*of["generator_loss"], strict=True), linewidth=1.0, **style)
        # An unbiased estimate may be negative, which a logarithmic axis leaves out.
        kids.plot(*zip(*of["kid"], strict=True), marker=".", linewidth=1.2, **style)
    losses.set(title="Fig. 8(c): generator loss (squared distance)", xlabel="step")
    losses.set_ylim(bottom=0.0)
    kids.set(title="Fig. 8(d): KID", xlabel="step", yscale="log")
    for axis in (losses, kids):
        axis.grid(alpha=0.25)
        axis.legend(frameon=False)
