"""What a grid of trainings comes to: scores of run folders, and their table over seeds."""

import json
import math
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from kgzoo.evaluation import json_lines
from kgzoo.reproductions.grid_runs import Run

__all__ = [
    "RULE",
    "Measured",
    "Score",
    "findings",
    "measure",
    "present",
    "summarize",
    "summary",
]

RULE = "an arm is better when its worst run is better than the other's best one, of two or more"
_POINTS = 40  # of a curve in the JSON file
# Entries of scores.json that say nothing of the samples.
_OF_DATA = ("_of_reference", "fid_between_real_halves")
# Halves of a sum, and the square root of a value.
_BESIDE = ("first", "second", "root")
_PLAYERS = ("generator", "critic", "encoder")


class Score(NamedTuple):
    """A column of the table.

    Attributes:
        name: in scores.json, or of what a claim measures itself.
        title: in words.
        lower_is_better: or higher; None: neither.
    """

    name: str
    title: str
    lower_is_better: bool | None = True

    @property
    def sign(self) -> int:
        """1 or -1: times a value, the lower is the better."""
        return -1 if self.lower_is_better is False else 1


class Measured(NamedTuple):
    """What a claim reads in a run folder beside its scores.

    Attributes:
        numbers: further scores by name, None where there is none.
        curves: steps and values by name.
    """

    numbers: Mapping[str, float | None]
    curves: Mapping[str, tuple[Sequence[int], Sequence[float]]]


def measure(
    run: Run,
    record: Mapping[str, Any],
    curves: Sequence[str] = (),
    further: Callable[[pathlib.Path], Measured] | None = None,
) -> dict[str, Any]:
    """Returns what the JSON file is told of one training.

    Args:
        run: which.
        record: how it ended, see `grid_runs.train`.
        curves: values of metrics.jsonl to keep over the steps.
        further: reads more in the run folder.
    """
    metrics = json_lines.objects(run.workdir / "metrics.jsonl")
    ended = record["outcome"] == "finished"
    card = json.loads((run.workdir / "scores.json").read_text(encoding="utf-8")) if ended else {}
    measured = further(run.workdir) if further else Measured({}, {})
    found = {name: _series(metrics, name) for name in curves} | dict(measured.curves)
    numbers = {name: _finite(value) for name, value in measured.numbers.items()} if ended else {}
    return {
        "run": run.name,
        "seed": run.seed,
        "outcome": record["outcome"],
        "diverged_at": record.get("diverged_at"),
        "said": record["said"],
        "step": card.get("step"),
        "scores": {**_scores(card), **numbers},
        "extractor": card["fid"]["extractor"] if ended else None,
        "learning_rates": _learning_rates(run.config, metrics),
        "seconds": record["seconds"],
        "attempts": record["attempts"],
        "commit": record["commit"],
        "command": f"python -m kgzoo.main {record['command']}",
        "curves": {name: _thinned(*points) for name, points in found.items() if points[0]},
    }


def _scores(card: Mapping[str, Any]) -> dict[str, float | None]:
    """Returns every entry of scores.json whose value is one number, and what such have beside."""
    entries = {name: entry for name, entry in card.items() if _has_number(name, entry)}
    values = {name: entry["value"] for name, entry in entries.items()}
    for beside in _BESIDE:
        values |= {f"{name}_{beside}": of[beside] for name, of in entries.items() if beside in of}
    return {name: _finite(value) for name, value in values.items()}


def _has_number(name: str, entry: Any) -> bool:
    value = entry.get("value") if isinstance(entry, dict) else None
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and not name.endswith(_OF_DATA)


def _finite(value: Any) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None


def _series(metrics: Sequence[Mapping[str, Any]], name: str) -> tuple[list[int], list[float]]:
    points = [(line["step"], line[name]) for line in metrics if _finite(line.get(name)) is not None]
    return [step for step, _ in points], [value for _, value in points]


def _thinned(steps: Sequence[int], values: Sequence[float]) -> dict[str, list]:
    """Returns a curve of few points, the last one among them."""
    kept = sorted(set(np.linspace(0, len(steps) - 1, min(len(steps), _POINTS)).astype(int)))
    return {
        "steps": [int(steps[place]) for place in kept],
        "values": [float(f"{values[place]:.5g}") for place in kept],
    }


def _learning_rates(
    config: Mapping[str, Any], metrics: Sequence[Mapping[str, Any]]
) -> dict[str, float]:
    """Returns the rate of every player that the record knows, as the optimizer begins and ends."""
    players = [name for name in _PLAYERS if any(f"{name}_loss" in line for line in metrics)]
    factor, found = config["learning_rate_multiplier"], {}
    for player in players or ("generator",):
        found[player] = float(f"{factor * config[f'{player}_learning_rate']:.6g}")
        later = _series(metrics, f"{player}_learning_rate")[1]
        if later and later[-1] < 0.999 * found[player]:
            found[f"{player}_at_end"] = float(f"{later[-1]:.6g}")
    if config["space"] == "code":
        found["autoencoder"] = float(f"{factor * config['autoencoder_learning_rate']:.6g}")
    return found


def summarize(values: Sequence[float]) -> dict[str, Any]:
    """Returns mean, deviation (with n - 1; None of one), least, largest, count and values."""
    array = np.asarray(values, np.float64)
    return {
        "mean": float(array.mean()),
        "std": float(array.std(ddof=1)) if len(array) > 1 else None,
        "min": float(array.min()),
        "max": float(array.max()),
        "runs": len(array),
        "values": array.tolist(),
    }


def summary(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Returns how many runs of an arm ended how, and its scores over those that finished."""
    names = dict.fromkeys(name for row in rows for name in row["scores"])
    scores = {}
    for name in names:
        values = [row["scores"].get(name) for row in rows]
        values = [value for value in values if value is not None]
        if values:
            scores[name] = summarize(values)
    rates = list(
        {json.dumps(row["learning_rates"]): row["learning_rates"] for row in rows}.values()
    )
    count = [row["outcome"] for row in rows].count
    return {
        "runs": len(rows),
        **{outcome: count(outcome) for outcome in ("finished", "diverged", "failed")},
        "learning_rates": rates[0] if len(rates) == 1 else rates,
        "scores": scores,
        "seconds": round(sum(row["seconds"] for row in rows), 2),
    }


def present(scores: Sequence[Score], rows: Sequence[Mapping[str, Any]]) -> list[Score]:
    """Returns the columns that some run has; the first stays in any case."""
    return [
        score
        for place, score in enumerate(scores)
        if not place or any(row["scores"].get(score.name) is not None for row in rows)
    ]


def findings(
    summaries: Mapping[str, Mapping[str, Any]],
    scores: Sequence[Score],
    expects: Sequence[tuple[str, str]] = (),
) -> list[dict[str, Any]]:
    """Returns rows of `quantity`, `found`, `paper`: scores, rates, and what the paper found better.

    Args:
        summaries: of the arms, by name.
        scores: columns; the first decides what is better.
        expects: pairs of arms, the first being better in the paper.
    """
    rows = []
    for score in scores:
        for of in summaries.values():
            rows.append(
                (f"{of['title']}: {score.title}", _said(of, score), of["printed"].get(score.name))
            )
    for of in summaries.values():
        rows.append((f"{of['title']}: learning rates", _rates(of["learning_rates"]), None))
    for better, worse in expects:
        if better in summaries and worse in summaries:
            pair = summaries[better], summaries[worse]
            quantity = f"{pair[0]['title']} better than {pair[1]['title']}, by {scores[0].title}"
            rows.append((quantity, _verdict(*pair, scores[0]), "yes"))
    return [
        {
            "quantity": quantity,
            "found": found,
            "paper": "not given" if paper is None else f"{paper}",
        }
        for quantity, found, paper in rows
    ]


def _said(of: Mapping[str, Any], score: Score) -> str:
    found = of["scores"].get(score.name)
    parts = [f"{of[how]} of {of['runs']} {how}" for how in ("diverged", "failed") if of[how]]
    if found is None:
        return "; ".join(["no score", *parts])
    said = f"{found['mean']:.4g}"
    if found["runs"] > 1:
        said += f" +- {found['std']:.2g} ({found['min']:.4g} to {found['max']:.4g})"
    return "; ".join([f"{said}, {found['runs']} run{'s' * (found['runs'] > 1)}", *parts])


def _rates(rates: Any) -> str:
    if isinstance(rates, list):
        return f"{len(rates)} sets, see runs"
    return ", ".join(f"{player} {rate:g}" for player, rate in rates.items())


def _verdict(better: Mapping[str, Any], worse: Mapping[str, Any], score: Score) -> str:
    """Says whether the paper's order is seen, or that this budget does not tell."""
    pair = [of["scores"].get(score.name) for of in (better, worse)]
    if None in pair:
        return "no conclusion: an arm has no score"
    ranges = " against ".join(f"{found['min']:.4g} to {found['max']:.4g}" for found in pair)
    if min(found["runs"] for found in pair) < 2:
        values = " against ".join(f"{found['mean']:.4g}" for found in pair)
        return f"no conclusion at this budget: one run ({values})"
    first, second = (sorted(score.sign * np.array(found["values"])) for found in pair)
    lost = [of["diverged"] + of["failed"] for of in (better, worse)]
    told = f"; without {lost[0]} and {lost[1]} runs that did not finish" if any(lost) else ""
    if first[-1] < second[0]:
        return f"yes ({ranges}{told})"
    if second[-1] < first[0]:
        return f"no, the other way round ({ranges}{told})"
    return f"no conclusion at this budget: ranges overlap ({ranges}{told})"
