"""Figures of a run's record: its metrics over steps, and its critic's singular values.

Of metrics.jsonl and spectra.jsonl as they are found: a run may go on, or have diverged. Drawn by
matplotlib, off screen.
"""

import math
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from kgzoo.errors import UserError
from kgzoo.evaluation import json_lines

__all__ = [
    "blank_figure",
    "read_series",
    "read_spectra",
    "rgb",
    "singular_values",
    "training_curves",
]

_DOTS_PER_INCH = 110
# Of titles and labels, in points: matplotlib takes the others when a panel is made.
_TITLE, _LABEL = 9, 7
_STYLE = {
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.size": 8,
    "xtick.labelsize": _LABEL,
    "ytick.labelsize": _LABEL,
}
_NOT_DRAWN = ("step", "images_per_second")
_MOST_PANELS = 16
_MOST_STEPS = 8  # of spectra in one panel
_LOG_RATIO = 30.0  # a positive range wider than that is drawn on a log scale
_OUTLIERS = 10.0  # times the range of the middle 96 %: beyond that the view is cut
_LARGEST = 1e100


def blank_figure(rows: int, columns: int, width: float, height: float) -> tuple[Any, Any]:
    """Makes a figure that needs no screen.

    Args:
        rows: of panels.
        columns: of panels.
        width: of a panel, in inches.
        height: of a panel, in inches.

    Returns:
        The figure, and its axes as an array [rows, columns].

    Raises:
        UserError: matplotlib is not installed.
    """
    try:
        import matplotlib
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise UserError(
            "galleries draw with matplotlib, which is not installed; type pip install matplotlib "
            "pillow."
        ) from None
    with matplotlib.rc_context(_STYLE):
        size = (width * columns, height * rows)
        figure = Figure(figsize=size, dpi=_DOTS_PER_INCH, layout="constrained")
        FigureCanvasAgg(figure)
        return figure, figure.subplots(rows, columns, squeeze=False)


def rgb(figure: Any) -> np.ndarray:
    """Returns a figure of `blank_figure` as [height, width, 3] uint8."""
    figure.canvas.draw()
    return np.array(figure.canvas.buffer_rgba())[..., :3]


def read_series(path: str | os.PathLike) -> dict[str, list[tuple[float, float]]]:
    """Returns (step, value) pairs by metric, in the file's order; a value may be NaN or infinite.

    Raises:
        UserError: the file is there but cannot be read.
    """
    series: dict[str, list[tuple[float, float]]] = {}
    for step, content in _lines(path):
        for name, value in content.items():
            if name not in _NOT_DRAWN and (value := json_lines.number(value)) is not None:
                series.setdefault(name, []).append((step, value))
    return series


def read_spectra(path: str | os.PathLike) -> dict[str, list[tuple[float, np.ndarray]]]:
    """Returns (step, singular values) pairs by layer; values that are not finite are left out.

    Returns:
        Arrays of float64, descending; layers in the file's order.

    Raises:
        UserError: as `read_series`.
    """
    spectra: dict[str, list[tuple[float, np.ndarray]]] = {}
    for step, content in _lines(path):
        layers = content.get("layers")
        for name, facts in layers.items() if isinstance(layers, dict) else ():
            values = facts.get("singular_values") if isinstance(facts, dict) else None
            kept = (
                [json_lines.number(value) for value in values] if isinstance(values, list) else []
            )
            kept = [value for value in kept if value is not None and 0.0 <= value < math.inf]
            if kept:
                spectra.setdefault(name, []).append((step, np.sort(kept)[::-1]))
    return spectra


def training_curves(path: str | os.PathLike) -> np.ndarray:
    """Draws every metric of metrics.jsonl over steps, a panel each.

    Values that are not finite break the line, and a red cross at the top tells where they are. A
    positive metric of a wide range has a log scale; few values far away do not squeeze the others.
    At most 16 metrics are drawn, constant ones last.

    Args:
        path: of metrics.jsonl.

    Returns:
        [height, width, 3] uint8.

    Raises:
        UserError: no metric in it, or matplotlib is not installed.
    """
    series = read_series(path)
    if not series:
        raise UserError(f"{path} holds no metric; draw a run that has logged a line.")
    # Fixed learning rates and counts of what never happened are looked at last.
    names = sorted(series, key=lambda name: len(series[name]) > 1 and _is_constant(series[name]))
    names = names[:_MOST_PANELS]
    columns = min(4, len(names))
    figure, axes = blank_figure(-(-len(names) // columns), columns, 2.6, 1.9)
    for name, axis in zip(names, axes.flat, strict=False):
        _draw_curve(axis, name, np.array(series[name]))
    for axis in axes.flat[len(names) :]:
        axis.set_axis_off()
    for axis in axes.flat[max(0, len(names) - columns) : len(names)]:
        axis.set_xlabel("step", fontsize=_LABEL)
    if len(series) > len(names):
        figure.suptitle(f"{len(names)} of {len(series)} metrics")
    return rgb(figure)


def singular_values(path: str | os.PathLike) -> np.ndarray:
    """Draws the singular values of the critic's layers at some steps, and condition numbers.

    One panel a layer, at most 15 evenly chosen ones, values in descending order, at most 8 steps
    (dark first, bright last); the last panel shows the largest over the smallest value of each of
    these layers over steps (SMMD paper, Figure 2 b and d).

    Args:
        path: of spectra.jsonl.

    Returns:
        [height, width, 3] uint8.

    Raises:
        UserError: no layer in it, or matplotlib is not installed.
    """
    spectra = read_spectra(path)
    if not spectra:
        raise UserError(f"{path} holds no layer; draw a run whose method has a critic.")
    names = _evenly(list(spectra), _MOST_PANELS - 1)
    columns = min(4, len(names) + 1)
    figure, axes = blank_figure(-(-(len(names) + 1) // columns), columns, 2.6, 1.9)
    for name, axis in zip(names, axes.flat, strict=False):
        _draw_spectrum(axis, name, spectra[name])
    _draw_conditions(axes.flat[len(names)], {name: spectra[name] for name in names})
    for axis in axes.flat[len(names) + 1 :]:
        axis.set_axis_off()
    if len(spectra) > len(names):
        figure.suptitle(f"{len(names)} of {len(spectra)} layers")
    return rgb(figure)


def _lines(path: str | os.PathLike) -> list[tuple[float, dict[str, Any]]]:
    try:
        return json_lines.read(path).lines
    except FileNotFoundError:
        return []
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error}); name a run folder.") from None


def _evenly(items: Sequence[Any], most: int) -> list[Any]:
    """Returns at most so many of them, the first and the last included."""
    ranks = np.linspace(0, len(items) - 1, min(most, len(items)))
    return [items[round(rank)] for rank in ranks]


def _is_constant(points: list[tuple[float, float]]) -> bool:
    return all(value == points[0][1] for _, value in points)


def _draw_curve(axis: Any, name: str, points: np.ndarray) -> None:
    from matplotlib import ticker

    steps, values = points.T
    finite = np.isfinite(values)
    shown = np.where(finite, np.clip(values, -_LARGEST, _LARGEST), np.nan)
    axis.plot(steps, shown, color="C0", linewidth=1.0, marker="." if finite.sum() < 3 else None)
    axis.set_title(name, fontsize=_TITLE)
    axis.xaxis.set_major_locator(ticker.MaxNLocator(5, integer=True))
    if not finite.all():
        top = axis.get_xaxis_transform()
        axis.plot(steps[~finite], np.ones(np.sum(~finite)), "rx", transform=top, clip_on=False)
    if not finite.any():
        axis.set_yticks([])
        return
    seen = shown[finite]
    low, high = np.quantile(seen, (0.02, 0.98))
    if seen.min() > 0.0 and seen.max() / seen.min() >= _LOG_RATIO:
        _log_scale(axis)
    elif high > low and np.ptp(seen) > _OUTLIERS * (high - low):
        middle = high - low
        view = max(seen.min(), low - middle / 2), min(seen.max(), high + middle / 2)
        axis.set_ylim(*view)
        outside = np.sum((seen < view[0]) | (seen > view[1]))
        axis.set_title(f"{name} ({outside} outside)", fontsize=_TITLE)


def _draw_spectrum(axis: Any, name: str, spectrum: list[tuple[float, np.ndarray]]) -> None:
    import matplotlib
    from matplotlib import ticker

    if max(len(values) for _, values in spectrum) == 1:
        # One value has no order to be drawn in, but a history.
        points = np.array([(step, values[0]) for step, values in spectrum])
        axis.plot(*points.T, color="C0", linewidth=1.0, marker="." if len(points) < 3 else None)
        axis.set_title(f"{name} (its only one)", fontsize=_TITLE)
        axis.set_xlabel("step", fontsize=_LABEL)
        return
    chosen = _evenly(spectrum, _MOST_STEPS)
    # Beyond 0.9 viridis is too pale for lines on white.
    shades = matplotlib.colormaps["viridis"](np.linspace(0.0, 0.9, len(chosen)))
    for number, ((step, values), shade) in enumerate(zip(chosen, shades, strict=True)):
        ends = number in (0, len(chosen) - 1)
        axis.plot(
            np.arange(1, len(values) + 1),
            np.where(values > 0.0, values, np.nan),
            color=shade,
            linewidth=1.0,
            marker="." if len(values) < 3 else None,
            label=f"step {step:g}" if ends else None,
        )
    if any((values > 0.0).any() for _, values in chosen):
        _log_scale(axis)
    axis.set_title(name, fontsize=_TITLE)
    axis.set_xlabel("rank", fontsize=_LABEL)
    axis.xaxis.set_major_locator(ticker.MaxNLocator(5, integer=True))
    axis.legend(frameon=False, fontsize=_LABEL, loc="best", handlelength=1.0)


def _draw_conditions(axis: Any, spectra: dict[str, list[tuple[float, np.ndarray]]]) -> None:
    for number, (name, spectrum) in enumerate(spectra.items()):
        # A layer of one singular value has a condition number of 1, which says nothing.
        points = [(s, v[0] / v[-1]) for s, v in spectrum if len(v) > 1 and v[-1] > 0.0]
        if points:
            line = "-" if number < 10 else "--"
            marker = "." if len(points) < 3 else None
            axis.plot(*zip(*points, strict=True), line, marker=marker, linewidth=1.0, label=name)
    axis.set_title("condition number", fontsize=_TITLE)
    axis.set_xlabel("step", fontsize=_LABEL)
    if axis.lines:
        _log_scale(axis)
        columns = 1 + (len(axis.lines) > 6)
        axis.legend(frameon=False, fontsize=_LABEL, ncols=columns, handlelength=1.0)


def _log_scale(axis: Any) -> None:
    """Makes the vertical axis logarithmic, with plain numbers where few decades are seen."""
    from matplotlib import ticker

    axis.set_yscale("log")
    low, high = axis.get_ylim()
    if np.log10(high) - np.log10(low) > 2.5:
        return
    axis.yaxis.set_major_locator(ticker.LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.yaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:g}"))
    axis.yaxis.set_minor_formatter(ticker.NullFormatter())
