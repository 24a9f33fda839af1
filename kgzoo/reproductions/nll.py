"""Log-likelihoods of nine autoencoders on binarised MNIST: the KernelNet paper's Tables 3 and 5.

Zhou et al. (2019), arXiv:1912.00979, section 4.2, appendix G.2. Trains each row of the table in a
run folder of its own, `<folder>/<method>/`, and estimates log p(x) of test images, binarised by one
fixed draw, by annealed importance sampling; draws the table, reconstructions and generations
(Figure 6). Typed again it goes on where it stopped, and with more steps it trains further. Scale
`quick` takes minutes, `paper` is the run card's training and the paper's AIS.

The decoder is that of samples: its weights are the averaged ones where the config has an average,
which the run card has not. All rows see the same test images, so that the difference of two rows
is known better than either: that from `vae` is given too.
"""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kgzoo import data
from kgzoo.errors import UserError, unknown_name
from kgzoo.evaluation import ais_chains, pictures
from kgzoo.reproductions import figure, nll_runs, provenance
from kgzoo.reproductions.nll_runs import SCALES, Plan, Scale, Trained

__all__ = ["run"]

_BASELINE = "vae"
# Those whose pictures are drawn, where they are among the rows.
_SHOWN = ("vae", "info_ivae_rbf", "info_ivae_dk")
_NOT_GIVEN = "not given"
_PAIRS, _COLUMNS = 32, 8
_SAMPLED = 64
_OWN_FIELDS = (
    *("objective", "kernel", "bandwidth_rule", "score_eigenfunctions", "ridge", "score_bandwidth"),
    *("aggregate_weight", "aggregate_divergence", "aggregate_samples", "information_weight"),
    *("information", "latent_samples", "encoder_dropout", "momentum", "batch_size"),
)


def run(
    folder: pathlib.Path,
    quick: bool = False,
    scale: str = "",
    arms: str = "",
    steps: int = 0,
    test_points: int = 0,
    chains: int = 0,
    temperatures: int = 0,
    leapfrog_steps: int = 0,
    schedule: str = "sigmoid",
    data_dir: str = "",
    dataset: str = "mnist",
    binarization: str = "dynamic",
    seed: int = 0,
) -> dict[str, Any]:
    """Trains what is not yet trained; writes nll.png and nll.json.

    Args:
        folder: of the two files and of the run folders.
        quick: the same as `scale="quick"`, which is the default.
        scale: `quick` or `paper`, see `nll_runs.SCALES`.
        arms: some of the table's rows, by commas; empty: all.
        steps: of each training; 0: the scale's.
        test_points: test images whose likelihood is estimated; 0: the scale's.
        chains: of AIS for each of them; 0: the scale's.
        temperatures: of each chain; 0: the scale's.
        leapfrog_steps: of each move; 0: 10.
        schedule: of the temperatures, `sigmoid` or `linear`.
        data_dir: of prepared TFDS data sets; empty: the TFDS default.
        dataset: mnist, or digits, which needs nothing on disk.
        binarization: of the training images, `dynamic` or `fixed`.
        seed: of trainings, chosen test images and chains.

    Returns:
        What the JSON file holds: settings, findings, rows, and the order of the rows.

    Raises:
        UserError: if an option is wrong, the data set is not on disk, matplotlib is not
            installed, or a signal stopped a training, whose state is then saved.
    """
    if schedule not in ais_chains.SCHEDULES:
        raise unknown_name("schedule", schedule, ais_chains.SCHEDULES)
    numbers = {"steps": steps, "test_points": test_points, "chains": chains}
    numbers |= {"temperatures": temperatures, "leapfrog_steps": leapfrog_steps}
    spent = scale_of(quick, scale, **numbers)._replace(schedule=schedule)
    methods = nll_runs.methods_of(arms)
    plan = Plan(folder, dataset, data_dir, binarization, spent.steps, seed)
    # Before the runs: nobody should wait for them to be told of a mistake.
    configs = {method: plan.compose(method) for method in methods}
    data.check(dataset, data_dir or None)
    canvas, _ = figure.new_figure(1, 1, 14.0, 6.4)
    source, test = nll_runs.load(plan, configs[methods[0]])
    points = nll_runs.chosen_points(test.num_examples, spent.test_points, seed)
    pictured = test.examples[nll_runs.chosen_points(test.num_examples, _PAIRS, seed)]
    rows, values, shown = {}, {}, {}
    for method in methods:
        trained = nll_runs.train(method, plan, source)
        rows[method], values[method] = _row(method, trained, test.examples[points], spent, plan)
        if method in (set(_SHOWN) & set(methods) or methods[:1]) and not trained.diverged:
            shown[method] = _images(trained, pictured)
        # Nine models with their graphs need not be held at once.
        del trained
    _compare(rows, values)
    _draw(canvas, rows, shown)
    usual = Plan(folder, steps=spent.steps, seed=seed, data_dir=data_dir)
    changed = (spent, plan, len(methods)) != (SCALES[scale or "quick"], usual, len(usual.printed))
    result = {
        "settings": {
            "paper": "arXiv:1912.00979, section 4.2, appendix G.2, Tables 3 and 5, Figure 6",
            "dataset": dataset,
            "binarization": f"training images {binarization}, test images by one fixed draw",
            "scale": scale or "quick",
            "budget": provenance.budget(scale or "quick", changed),
            **spent._asdict(),
            "steps": configs[methods[0]]["steps"],
            "test_points": len(points),
            "seed": seed,
            "run_card": nll_runs.CARD,
            "weights": "of the decoder as it samples: averaged if ema_half_life_images is not 0",
            "not_comparable": _not_comparable(spent, configs[methods[0]], len(points)),
            "chosen_by_us": "lambda, alpha, ridge, bandwidths (rows), AIS schedule and moves",
            "quick": scale in ("", "quick"),
        },
        "findings": _findings(rows),
        "order": _order(rows),
        "rows": rows,
    }
    return figure.write(folder, "nll", canvas, result)


def scale_of(quick: bool, scale: str, **numbers: int) -> Scale:
    """Returns the named scale with the numbers that are given, where 0 leaves the scale's.

    Raises:
        UserError: on an unknown name, a negative number, or `quick` beside another scale.
    """
    if scale and scale not in SCALES:
        raise unknown_name("scale", scale, SCALES)
    if quick and scale not in ("", "quick"):
        raise UserError(f"quick contradicts scale={scale}; leave one of the two out.")
    for name, number in numbers.items():
        if isinstance(number, bool) or not isinstance(number, int) or number < 0:
            raise UserError(
                f"{name}={number!r} is out of range; give a whole number of at least 1."
            )
    given = {name: number for name, number in numbers.items() if number}
    return SCALES[scale or "quick"]._replace(**given)


def _not_comparable(spent: Scale, config: Mapping[str, Any], points: int) -> str:
    """Says why the numbers are not to be held against the printed ones."""
    paper, reasons = SCALES["paper"], ["the paper prints neither binarisation nor lambda and alpha"]
    if config["dataset"] != "mnist":
        reasons.append(f"{config['dataset']} instead of MNIST")
    if config["binarization"] == "fixed":
        reasons.append("one fixed draw of the training images")
    if config["dataset"] == "mnist" and config["steps"] < nll_runs.PAPER_STEPS:
        reasons.append(f"{config['steps']:,} of {nll_runs.PAPER_STEPS:,} updates")
    ours = {"test_points": points, "chains": spent.chains, "temperatures": spent.temperatures}
    for name, found in ours.items():
        asked = getattr(paper, name)
        if found < asked:
            reasons.append(f"{found} of {asked} {name.replace('_', ' ')}")
    return "; ".join(reasons)


def _row(
    method: str, trained: Trained, examples: np.ndarray, spent: Scale, plan: Plan
) -> tuple[dict[str, Any], np.ndarray]:
    """Returns what the JSON file is told of a row, and log p(x) of each test image."""
    step = trained.model.steps_done
    found, values = nll_runs.likelihood(method, trained, examples, spent, plan)
    per_step = trained.seconds_per_step
    row = {
        "printed": plan.printed.get(method),
        "minus_vae": None,
        **found,
        "steps": step,
        "seconds_per_step": per_step,
        "training_seconds": None if per_step is None else round(per_step * step, 1),
        "learning_rates": trained.learning_rates,
        "binarization": trained.config["binarization"],
        "diverged": trained.diverged,
        "fields": {name: trained.config[name] for name in _OWN_FIELDS},
    }
    return row, values


def _compare(rows: Mapping[str, dict[str, Any]], values: Mapping[str, np.ndarray]) -> None:
    """Notes in each row how it differs from the baseline on the same test images."""
    for method, row in rows.items():
        if method == _BASELINE or _BASELINE not in rows:
            continue
        difference = values[_BASELINE] - values[method]
        if np.isfinite(difference).all():
            printed = (row["printed"], rows[_BASELINE]["printed"])
            row["minus_vae"] = {
                "mean": float(difference.mean()),
                "standard_error": _standard_error(difference),
                "printed": None if None in printed else round(printed[0] - printed[1], 2),
            }


def _standard_error(values: np.ndarray) -> float | None:
    return float(values.std(ddof=1) / len(values) ** 0.5) if len(values) > 1 else None


def _order(rows: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Returns the rows from the best, ours and the paper's, and how many pairs agree."""
    found = {method: row["nll"] for method, row in rows.items() if row["nll"] is not None}
    printed = {method: rows[method]["printed"] for method in found}
    printed = {} if None in printed.values() else printed
    names = list(printed)
    pairs = [(a, b) for place, a in enumerate(names) for b in names[place + 1 :]]
    agree = [(found[a] < found[b]) == (printed[a] < printed[b]) for a, b in pairs]
    return {
        "found": sorted(found, key=found.get),
        "printed": sorted(printed, key=printed.get),
        "pairs": len(pairs),
        "pairs_as_printed": sum(agree),
    }


def _findings(rows: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    findings = []
    for method, row in rows.items():
        quantity, printed = f"{method}: -log p(x), nats", row["printed"]
        paper = _NOT_GIVEN if printed is None else f"{printed:.2f}"
        if row["minus_vae"]:
            printed = row["minus_vae"]["printed"]
            paper += "" if printed is None else f" ({printed:+.2f})"
            quantity += " (minus vae's)"
        findings.append((quantity, _said(row), paper))
    order = _order(rows)
    if len(order["found"]) > 1:
        paper = ", ".join(order["printed"]) or _NOT_GIVEN
        findings.append(("best first", ", ".join(order["found"]), paper))
    if order["pairs"]:
        agree = f"{order['pairs_as_printed']} of {order['pairs']}"
        findings.append(("pairs of rows in the printed order", agree, f"{order['pairs']}"))
    findings += [("AIS, " + name, found, _NOT_GIVEN) for name, found in _quality(rows)]
    return [
        {"quantity": quantity, "found": found, "paper": paper}
        for quantity, found, paper in findings
    ]


def _quality(rows: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Says how good the estimates are, over all rows."""
    own = [row for row in rows.values() if row["nll"] is not None]
    if not own:
        return []
    sizes = [row["effective_sample_size"]["mean"] for row in own]
    rates = [row["acceptance"] for row in own]
    gaps = [row["bidirectional_gap"]["gap"] for row in own]
    chains = own[0]["ais"]["chains"]
    return [
        ("effective sample size, mean of a row", f"{_range(sizes, '.2f')} of {chains}"),
        ("acceptance", _range(rates, ".3f")),
        ("gap between bounds on simulated images, nats", _range(gaps, ".2f")),
    ]


def _range(values: Sequence[float], form: str) -> str:
    return f"{min(values):{form}} to {max(values):{form}}"


def _said(row: Mapping[str, Any]) -> str:
    if row["nll"] is None:
        return f"not finite; {row['diverged']}" if row["diverged"] else "not finite"
    said = f"{row['nll']:.2f}{_plus_minus(row['standard_error'])}"
    if row["minus_vae"]:
        difference = row["minus_vae"]
        said += f" ({difference['mean']:+.2f}{_plus_minus(difference['standard_error'])})"
    return said


def _plus_minus(error: float | None) -> str:
    return "" if error is None else f" +- {error:.2f}"


def _draw(
    canvas: Any,
    rows: Mapping[str, Mapping[str, Any]],
    shown: Mapping[str, tuple[np.ndarray, np.ndarray]],
) -> None:
    canvas.clear()
    if not shown:
        _draw_table(canvas.subplots(), rows)
        return
    left, right = canvas.subfigures(1, 2, width_ratios=(1.0, 0.42 * len(shown)))
    _draw_table(left.subplots(), rows)
    axes = right.subplots(2, len(shown), squeeze=False)
    for (method, images), column in zip(shown.items(), axes.T, strict=True):
        words = ("test images above reconstructions", "samples")
        for axis, picture, word in zip(column, images, words, strict=True):
            axis.imshow(picture)
            axis.set_title(f"{method}\n{word}", fontsize=8)
            axis.set_axis_off()


def _draw_table(axis: Any, rows: Mapping[str, Mapping[str, Any]]) -> None:
    """Draws a line for each row: the estimate with two standard errors, and any printed value."""
    names, left = list(rows), axis.get_yaxis_transform()
    printed, found = "printed (Table 3)", "found, +- 2 standard errors"
    for place, row in enumerate(rows.values()):
        if row["printed"] is not None:
            style = {"color": "#888888", "fillstyle": "none", "label": printed}
            axis.plot(row["printed"], place, "D", **style)
            printed = None
        if row["nll"] is None:
            axis.text(0.02, place, "not finite", va="center", fontsize=8, transform=left)
            continue
        error = 2 * (row["standard_error"] or 0.0)
        style = {"color": "#2471a3", "capsize": 3, "markersize": 5, "label": found}
        axis.errorbar(row["nll"], place, xerr=error, fmt="o", **style)
        found = None
        axis.annotate(
            f"{row['nll']:.2f}",
            (row["nll"], place),
            (0, 6),
            textcoords="offset points",
            ha="center",
            fontsize=7,
        )
    steps = sorted({row["steps"] for row in rows.values()})
    after = f"{steps[0]:,}" if len(steps) == 1 else f"{steps[0]:,} to {steps[-1]:,}"
    axis.set_yticks(range(len(names)), names)
    axis.set_ylim(len(names) - 0.4, -0.7)
    axis.set(xlabel="-log p(x) in nats, lower is better", title=f"After {after} updates")
    axis.grid(axis="x", alpha=0.25)
    if axis.get_legend_handles_labels()[0]:
        axis.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.1), ncols=2)


def _images(trained: Trained, examples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns two grids: rows of test images above rows of reconstructions, and samples."""
    real = examples.astype(np.float32) / 255.0
    made = trained.model.reconstruct(real).numpy()
    rows = [part.reshape([-1, _COLUMNS, *part.shape[1:]]) for part in (real, made)]
    pairs = np.stack(rows, axis=1).reshape([-1, *real.shape[1:]])
    samples = trained.model.sample(_SAMPLED, seed=trained.config["seed"])
    return pictures.grid(pairs, _COLUMNS, 2), pictures.grid(samples, _COLUMNS, 2)
