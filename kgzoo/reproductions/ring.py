"""GRAM against MMD nets, GANs and MMD-GANs on a ring: Figures 2 and 7 of the GRAM paper.

Srivastava, Xu, Gutmann and Sutton (2020), https://arxiv.org/abs/1806.00101, section 3.4, B.1 and
B.3: eight Gaussians of deviation 0.01 on a circle; four dimensions of the noise, three widths of
the generator, nothing else changed. The figures show one run per setting and no number. Here: how
many of eight modes each run covers, with several seeds. GRAM runs as printed, and with averaged
weights and five times the rate for generators of 20 units, which are too slow otherwise. The GAN
runs at its printed rate, a tenth of GRAM's, and at GRAM's own.

Every finished run stays in `runs/<steps>_steps/`; the same command goes on where it stopped, and
several may fill one folder, each with `arms` of its own, the last to end drawing all.
"""

import io
import itertools
import json
import pathlib
import sys
import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from kgzoo.errors import UserError, unknown_name
from kgzoo.evaluation import files
from kgzoo.reproductions import figure, provenance

__all__ = ["ARMS", "LATENT_DIMS", "WIDTHS", "Arm", "Run", "run"]

LATENT_DIMS = (2, 4, 8, 16)
WIDTHS = (20, 100, 200)
_DATASET = "ring2d"
_NUM_SAMPLES = 10_000
_NUM_DRAWN = 1000
_STEPS, _QUICK_STEPS = 10_000, 300
_WIDE_SHARE = 0.8
_MODES = 8
_PRINTED_WIDTH = 100
# XLA takes a while to compile the steps: fewer do not pay.
_LEAST_COMPILED = 2000
# Of a run, in the JSON file.
_NOT_TOLD = ("samples", "convention")
# Appendix B.1; the toy data sets' factor on all rates is put aside.
_COMMON = {
    "network": "mlp_two",
    "critic_width": 100,
    "batch_size": 200,
    "latent_distribution": "normal",
    "critic_batch_norm": False,
    "learning_rate_multiplier": 1.0,
    "adam_beta1": 0.5,
    "adam_beta2": 0.999,
    "ema_half_life_images": 0.0,
}


class Arm(NamedTuple):
    """One column of the comparison: a row of the catalogue and its fields.

    Attributes:
        method: row of the catalogue.
        title: above its pictures.
        paper: what the paper says of it.
        fields: beside those that all arms share.
        compiled: whether XLA makes its steps faster.
        seeds: runs of each setting unless the user asks for another number.
        rate_by_width: whether generators narrower than 100 units have a rate that is higher in
            proportion: one of Adam's steps moves them less.
    """

    method: str
    title: str
    paper: str
    fields: Mapping[str, Any]
    compiled: bool
    seeds: int = 3
    rate_by_width: bool = False


def _rates(rate: float) -> dict[str, float]:
    return {"critic_learning_rate": rate, "generator_learning_rate": rate}


_GRAM = {"output_dim": 10, "bandwidths": (1.0,)}
_GRAM_CONVERGED = "converged in all 12 settings (Fig. 2b)"
_GAN_FAILED = "failed in every case, half of them diverged (Fig. 2a)"
ARMS: Mapping[str, Arm] = {
    # At width 100 what the card configs/toys.py has.
    "gram": Arm(
        "gram",
        "GRAM",
        _GRAM_CONVERGED,
        {**_GRAM, **_rates(1e-3), "ema_half_life_images": 20_000.0},
        compiled=False,
        rate_by_width=True,
    ),
    "gram_printed": Arm(
        "gram",
        "GRAM as printed",
        _GRAM_CONVERGED,
        {**_GRAM, **_rates(1e-3)},
        compiled=False,
        seeds=1,
    ),
    "mmd_net": Arm(
        "mmd_net",
        "MMD net",
        "all modes, less sharp than GRAM (Fig. 7a)",
        {"bandwidths": (1.0,), "optimizer": "rmsprop", "generator_learning_rate": 1e-3},
        compiled=True,
    ),
    "gan": Arm("gan", "GAN, rate 1e-4", _GAN_FAILED, _rates(1e-4), compiled=False),
    "gan_fast": Arm("gan", "GAN, GRAM's rate 1e-3", "not given", _rates(1e-3), compiled=False),
    "mmd_gan": Arm(
        "mmd_gan",
        "MMD-GAN",
        "too concentrated around the modes, worse than GRAM (Fig. 7b)",
        # Footnote 6: Li's penalties, weights clipped to 0.1, all else as in GRAM.
        {
            **{"output_dim": 10, "kernel": "gaussian", "optimizer": "adam", "clip_weights": 0.1},
            **{"critic_steps": 5, "early_critic_steps": 0},
            **_rates(5e-5),
        },
        compiled=True,
        # Five critic updates with a decoder: the time of all other arms together.
        seeds=1,
    ),
}


class Run(NamedTuple):
    """One training."""

    arm: str
    latent_dim: int
    width: int
    seed: int

    @property
    def name(self) -> str:
        """Of its file, without the ending."""
        return f"{self.arm}_{self.latent_dim}_{self.width}_{self.seed}"

    @property
    def fields(self) -> dict[str, Any]:
        """Its config beside data set, method and seed."""
        own = {"latent_dim": self.latent_dim, "generator_width": self.width}
        fields = {**_COMMON, **own, **ARMS[self.arm].fields}
        if ARMS[self.arm].rate_by_width:
            fields["generator_learning_rate"] *= max(1.0, _PRINTED_WIDTH / self.width)
        return fields


def run(
    folder: pathlib.Path, quick: bool = False, steps: int = 0, seeds: int = 0, arms: str = ""
) -> dict[str, Any]:
    """Trains what is not yet trained, and writes ring.png and ring.json.

    Args:
        folder: of the two files and of `runs/`.
        quick: two dimensions, two widths, one seed and 300 steps.
        steps: generator updates of each run; 0: 10,000, or 300 when quick.
        seeds: runs of each setting, seeds 0, 1 and so on; 0: as many as the arm says, or 1 when
            quick.
        arms: some of `ARMS`, by commas; empty: all.

    Returns:
        What the JSON file holds: settings, findings, a summary of each arm, and every run.

    Raises:
        UserError: if an option is wrong, or matplotlib is not installed.
    """
    changed = bool(steps or seeds or arms)
    steps = _whole("steps", steps) or (_QUICK_STEPS if quick else _STEPS)
    seeds = _whole("seeds", seeds) or int(quick)
    names = [name for name in arms.split(",") if name] or list(ARMS)
    for name in names:
        if name not in ARMS:
            raise unknown_name("arm", name, ARMS)
    # Before the runs: without matplotlib nobody should wait for them.
    canvas, _ = figure.new_figure(1, 1, 11.0, 4.4 * ((len(names) + 1) // 2))
    latent_dims, widths = (LATENT_DIMS[:2], WIDTHS[:2]) if quick else (LATENT_DIMS, WIDTHS)
    # Arms innermost but for seeds: the time that is left can be told early.
    of_arm = {name: seeds or ARMS[name].seeds for name in names}
    todo = [
        Run(arm, latent_dim, width, seed)
        for width, latent_dim, arm in itertools.product(widths, latent_dims, of_arm)
        for seed in range(of_arm[arm])
    ]
    store = folder / "runs" / f"{steps}_steps"
    found = dict(_finished(todo, store, steps))
    summary = {name: _summary(name, found) for name in dict.fromkeys(names)}
    _draw(canvas, found, list(summary), latent_dims, widths, steps)
    result = {
        "settings": {
            "paper": "arXiv:1806.00101, section 3.4, appendices B.1 and B.3, Figures 2 and 7",
            "steps": steps,
            "seeds": of_arm,
            "latent_dims": latent_dims,
            "widths": widths,
            "samples": _NUM_SAMPLES,
            "criterion": next(iter(found.values()))["convention"],
            "common": _COMMON,
            "arms": {
                name: {
                    **{"method": ARMS[name].method, **ARMS[name].fields},
                    "rate_by_width": ARMS[name].rate_by_width,
                }
                for name in summary
            },
            "differs": "ring of 50,000 points; a GAN's critic has 1 output, not 10",
            "budget": provenance.budget("quick" if quick else "cpu", changed),
            "quick": quick,
        },
        "findings": [row for name, of in summary.items() for row in _findings(name, of)],
        "arms": summary,
        "runs": [
            {
                **one._asdict(),
                **{key: of[key] for key in of if key not in ("samples", "convention")},
            }
            for one, of in found.items()
        ],
    }
    return figure.write(folder, "ring", canvas, result)


def _whole(option: str, value: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise UserError(f"{option}={value!r} is out of range; give a whole number of at least 1.")
    return value


def _finished(
    todo: Sequence[Run], store: pathlib.Path, steps: int
) -> Iterator[tuple[Run, dict[str, Any]]]:
    """Gives every run with samples, scores and seconds; trains those that `store` lacks."""
    from kgzoo import data
    from kgzoo.reproductions import toy_runs

    facts = data.load(_DATASET).describe()["modes"]
    missing = [one for one in todo if _read(one, store, steps) is None]
    spent: list[float] = []
    model, built = None, None
    for one in todo:
        kept = _read(one, store, steps)
        if kept is None:
            began = time.monotonic()
            # One graph serves all seeds of a setting.
            fresh = built != one[:3]
            if fresh:
                arm, built = ARMS[one.arm], one[:3]
                compiled = arm.compiled and steps >= _LEAST_COMPILED
                model = toy_runs.ToyRun(arm.method, _DATASET, one.fields, compiled)
            if one.seed or not fresh:
                model.reset(one.seed)
            model.advance(steps)
            samples, done = model.samples(_NUM_SAMPLES), model.step
            kept = {"samples": samples, "steps_done": done, "seconds": time.monotonic() - began}
            _write(one, store, steps, kept)
            spent.append(kept["seconds"])
        scores = toy_runs.score(kept["samples"], facts)
        if spent and one in missing:
            _tell(one, scores, spent, len(missing), len(todo))
        yield one, {**kept, **scores}


def _identity(one: Run, steps: int) -> str:
    return json.dumps({**one._asdict(), "steps": steps, "fields": one.fields}, sort_keys=True)


def _read(one: Run, store: pathlib.Path, steps: int) -> dict[str, Any] | None:
    """Returns what the run's file holds, or None: no file, another one's, or other settings."""
    try:
        with np.load(store / f"{one.name}.npz", allow_pickle=False) as kept:
            if str(kept["identity"]) != _identity(one, steps):
                return None
            done, seconds = int(kept["steps_done"]), float(kept["seconds"])
            return {"samples": kept["samples"], "steps_done": done, "seconds": seconds}
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return None


def _write(one: Run, store: pathlib.Path, steps: int, kept: Mapping[str, Any]) -> None:
    content = io.BytesIO()
    np.savez_compressed(content, identity=_identity(one, steps), **kept)
    files.replace_file(store / f"{one.name}.npz", content.getvalue())


def _tell(
    one: Run, scores: Mapping[str, Any], spent: Sequence[float], missing: int, total: int
) -> None:
    left = (missing - len(spent)) * sum(spent) / len(spent)
    print(
        f"ring: run {total - missing + len(spent)} of {total}, {one.name}: {scores['modes']} "
        f"modes, {scores['share_wide']:.0%} within 0.3; {spent[-1]:.0f} s, {left / 60:.0f} min "
        "left",
        file=sys.stderr,
        flush=True,
    )


def _summary(name: str, found: Mapping[Run, Mapping[str, Any]]) -> dict[str, Any]:
    """Returns counts over settings and runs of one arm, and its mean and worst shares."""
    own = {one: of for one, of in found.items() if one.arm == name}
    by_setting: dict[tuple, list[bool]] = {}
    for one, of in own.items():
        by_setting.setdefault(one[:3], []).append(of["modes"] == _MODES)
    wide = [of["share_wide"] for of in own.values()]
    return {
        "settings": len(by_setting),
        "settings_covered_by_all_seeds": sum(all(covered) for covered in by_setting.values()),
        "settings_covered_by_first_seed": sum(covered[0] for covered in by_setting.values()),
        "runs": len(own),
        "runs_covered": sum(of["modes"] == _MODES for of in own.values()),
        "runs_good": sum(
            of["modes"] == _MODES and of["share_wide"] >= _WIDE_SHARE for of in own.values()
        ),
        "runs_diverged": sum(of["diverged"] for of in own.values()),
        "mean_modes": float(np.mean([of["modes"] for of in own.values()])),
        "mean_share_wide": float(np.mean(wide)),
        "smallest_share_wide": float(np.min(wide)),
        "mean_share_near": float(np.mean([of["share_near"] for of in own.values()])),
        "mean_share_4_sd": float(np.mean([of["share_4_sd"] for of in own.values()])),
        "mean_seconds": float(np.mean([of["seconds"] for of in own.values()])),
    }


def _findings(name: str, of: Mapping[str, Any]) -> list[dict[str, Any]]:
    title, paper = ARMS[name].title, ARMS[name].paper
    covered = (
        f"{of['settings_covered_by_all_seeds']} of {of['settings']} settings by all seeds, "
        f"{of['runs_covered']} of {of['runs']} runs"
    )
    shares = (
        f"{of['mean_share_wide']:.1%} within 0.3 (worst run {of['smallest_share_wide']:.1%}), "
        f"{of['mean_share_near']:.1%} within 0.1, {of['mean_share_4_sd']:.1%} within 0.04"
    )
    diverged = (
        f"{of['runs_diverged']} of {of['runs']} runs; {of['mean_modes']:.2f} modes on average"
    )
    return [
        {"quantity": f"{title}: 8 of 8 modes", "found": covered, "paper": paper},
        {"quantity": f"{title}: samples near a mode", "found": shares, "paper": "not given"},
        {"quantity": f"{title}: diverged", "found": diverged, "paper": "not given"},
    ]


def _draw(
    canvas: Any,
    found: Mapping[Run, Mapping[str, Any]],
    names: Sequence[str],
    latent_dims: Sequence[int],
    widths: Sequence[int],
    steps: int,
) -> None:
    """Draws a block of panels for every arm: rows are widths, columns dimensions of the noise."""
    from kgzoo import data

    real = data.load(_DATASET).examples[:_NUM_DRAWN]
    canvas.clear()
    canvas.suptitle(
        f"Seed 0 after {steps:,} steps: data blue, samples orange; in the corner how many "
        "modes hold 5 % of 10,000 samples within 0.1"
    )
    columns = min(2, len(names))
    blocks = canvas.subfigures(-(-len(names) // columns), columns, squeeze=False)
    for name, block in zip(names, blocks.flat, strict=False):
        block.suptitle(ARMS[name].title, fontsize=11, fontweight="bold")
        axes = block.subplots(len(widths), len(latent_dims), squeeze=False)
        for (row, width), (column, latent_dim) in itertools.product(
            enumerate(widths), enumerate(latent_dims)
        ):
            axis, of = axes[row, column], found[Run(name, latent_dim, width, 0)]
            _draw_samples(axis, real, of["samples"][:_NUM_DRAWN])
            word = "diverged" if of["diverged"] else f"{of['modes']} of 8"
            place = {"transform": axis.transAxes, "va": "top", "fontsize": 7}
            axis.text(0.03, 0.97, word, bbox={"color": "white", "pad": 0.5}, **place)
            if row == 0:
                axis.set_title(f"noise {latent_dim}", fontsize=8)
            if column == 0:
                axis.set_ylabel(f"width {width}", fontsize=8)


def _draw_samples(axis: Any, real: np.ndarray, samples: np.ndarray) -> None:
    axis.plot(*real.T, "o", color="#1f77b4", markersize=2.5, markeredgewidth=0)
    axis.plot(*samples.T, "o", color="#ff7f0e", markersize=1.2, markeredgewidth=0, alpha=0.6)
    axis.set(xlim=(-3, 3), ylim=(-3, 3), xticks=[], yticks=[], aspect="equal")
    for spine in axis.spines.values():
        spine.set(color="#bbbbbb", linewidth=0.6)
