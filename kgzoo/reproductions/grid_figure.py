"""The picture of a grid of trainings: a box plot of every score, a panel of every curve."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from kgzoo.reproductions import figure
from kgzoo.reproductions.grid_table import Score

__all__ = ["draw"]

# Beyond it an axis is logarithmic.
_LOG_RATIO = 30.0
_COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#8c564b", "#17becf", "#7f7f7f")


def draw(
    title: str,
    summaries: Mapping[str, Mapping[str, Any]],
    rows: Sequence[Mapping[str, Any]],
    scores: Sequence[Score],
) -> Any:
    """Draws the last scores of all arms and their curves; returns the figure.

    Args:
        title: above all.
        summaries: of the arms, see `grid_table.summary`, each with a `title`.
        rows: of the runs, see `grid_table.measure`, each with its `arm`.
        scores: the columns of the table.
    """
    scores = [
        score for score in scores if any(score.name in s["scores"] for s in summaries.values())
    ]
    curves = list(dict.fromkeys(name for row in rows for name in row["curves"]))
    panels = len(scores) + len(curves)
    columns = 2 if panels > 1 else 1
    height = max(2.6, 0.32 * len(summaries) + 0.8)
    count = max(1, -(-panels // columns))
    canvas, axes = figure.new_figure(count, columns, 6.0 * columns, 0.5 + height * count)
    canvas.suptitle(title)
    colours = {arm: _COLOURS[place % len(_COLOURS)] for place, arm in enumerate(summaries)}
    for axis, score in zip(axes.flat, scores, strict=False):
        _boxes(axis, score, summaries, colours)
    for axis, name in zip(axes.flat[len(scores) :], curves, strict=False):
        _lines(axis, name, rows, summaries, colours)
    for axis in axes.flat[panels:]:
        axis.axis("off")
    return canvas


def _boxes(
    axis: Any, score: Score, summaries: Mapping[str, Mapping[str, Any]], colours: Mapping[str, str]
) -> None:
    found = [of["scores"].get(score.name, {}).get("values", []) for of in summaries.values()]
    places = range(len(found), 0, -1)
    axis.boxplot(
        found,
        positions=list(places),
        orientation="horizontal",
        widths=0.6,
        showfliers=False,
        manage_ticks=False,
        medianprops={"color": "#333333"},
        boxprops={"color": "#888888"},
    )
    for place, values, colour in zip(places, found, colours.values(), strict=True):
        axis.plot(values, [place] * len(values), "o", color=colour, markersize=4, alpha=0.8)
    axis.set_yticks(list(places), [_label(of) for of in summaries.values()])
    axis.set_ylim(0.4, len(found) + 0.6)
    low, high = min(map(min, filter(None, found))), max(map(max, filter(None, found)))
    if low > 0 and high / low > _LOG_RATIO:
        axis.set_xscale("log")
    better = {True: " (lower is better)", False: " (higher is better)", None: ""}
    axis.set_title(score.title + better[score.lower_is_better])


def _label(of: Mapping[str, Any]) -> str:
    lost = [f"{of[how]} of {of['runs']} {how}" for how in ("diverged", "failed") if of[how]]
    return "\n".join([of["title"], *lost])


def _lines(
    axis: Any,
    name: str,
    rows: Sequence[Mapping[str, Any]],
    summaries: Mapping[str, Mapping[str, Any]],
    colours: Mapping[str, str],
) -> None:
    labelled, largest, least = set(), 0.0, math.inf
    for row in rows:
        if name in row["curves"]:
            steps, values = row["curves"][name]["steps"], row["curves"][name]["values"]
            label = None if row["arm"] in labelled else summaries[row["arm"]]["title"]
            labelled.add(row["arm"])
            marker = "." if len(steps) < 12 else None
            axis.plot(steps, values, color=colours[row["arm"]], lw=0.9, marker=marker, label=label)
            largest, least = max(largest, *values), min(least, *values)
    if least > 0 and largest / least > _LOG_RATIO:
        axis.set_yscale("log")
    axis.set(xlabel="step", title=name.replace("_", " "))
    if len(labelled) <= len(_COLOURS):
        axis.legend(frameon=False)
