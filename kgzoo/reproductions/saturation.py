"""Figure 2 of the repulsive MMD-GAN paper: kernels and their derivatives over the distance.

Wang, Sun & Halgamuge (2019), https://arxiv.org/abs/1812.09916, section 4.1: a kernel is saturated
where its derivative is small, for distances e = |a - b| well below or above its scale; a mean of
five alleviates that and does not eradicate it. The last row is ours: the paper's bounded kernel
(eqs. 6 and 7), whose derivative is exactly 0 where the bound holds, on purpose.
"""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kgzoo.discrepancies.repulsive import LOWER_BOUND, UPPER_BOUND
from kgzoo.reproductions import figure

__all__ = ["curves", "run"]

_BANDWIDTHS = (1.0, 2**0.5, 2.0, 8**0.5, 4.0)
_RATES = (0.2, 0.5, 1.0, 2.0, 5.0)
_FARTHEST = 10.0
_POINTS = {False: 10_001, True: 1001}
# Where the derivative is below this share of its largest size the kernel counts as saturated.
_SATURATED = 0.1
_MEAN = "mean"


def curves(
    distances: np.ndarray,
) -> dict[str, dict[str, tuple[np.ndarray, np.ndarray]]]:
    """Returns k(e) and dk/de of each kernel of each group, computed by `kgzoo.kernels`.

    Args:
        distances: e >= 0, [n], float64.

    Returns:
        Group (gaussian, rational_quadratic, bounded) -> curve -> (values [n], derivatives [n]).
    """
    from kgzoo import kernels

    gaussians = [kernels.Gaussian(bandwidth) for bandwidth in _BANDWIDTHS]
    quadratics = [kernels.RationalQuadratic(rate) for rate in _RATES]
    groups = {
        "gaussian": _with_mean([f"sigma {b:.3g}" for b in _BANDWIDTHS], gaussians),
        "rational_quadratic": _with_mean([f"alpha {rate:g}" for rate in _RATES], quadratics),
    }
    found = {
        group: {label: _evaluate(kernel, distances) for label, kernel in members.items()}
        for group, members in groups.items()
    }
    unit = kernels.Gaussian(1.0)
    found["bounded"] = {
        "sigma 1, not bounded": _evaluate(unit, distances),
        "e^2 held above 1/4": _evaluate(unit, distances, low=LOWER_BOUND),
        "e^2 held below 4": _evaluate(unit, distances, high=UPPER_BOUND),
    }
    return found


def _with_mean(labels: Sequence[str], kernels: Sequence[Any]) -> dict[str, Any]:
    mean = sum(kernels[1:], kernels[0]) * (1 / len(kernels))
    return {**dict(zip(labels, kernels, strict=True)), _MEAN: mean}


def _evaluate(
    kernel: Any, distances: np.ndarray, low: float = 0.0, high: float = np.inf
) -> tuple[np.ndarray, np.ndarray]:
    """Returns k and dk/de at points `distances` from the origin, e^2 kept in [low, high]."""
    import tensorflow as tf

    points = tf.constant(distances[:, None], tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(points)
        held = tf.clip_by_value(points, low**0.5, high**0.5)
        values = kernel.matrix(held, tf.zeros([1, 1], tf.float64))
    return values.numpy()[:, 0], tape.gradient(values, points).numpy()[:, 0]


def run(folder: pathlib.Path, quick: bool = False) -> dict[str, Any]:
    """Draws the curves and finds where each derivative peaks; writes saturation.png and .json.

    Args:
        folder: for the files.
        quick: a coarser grid of distances.

    Raises:
        UserError: if matplotlib is not installed.
    """
    drawing, axes = figure.new_figure(3, 2, 9.5, 9.0, sharex=True)
    distances = np.linspace(0.0, _FARTHEST, _POINTS[quick])
    groups = curves(distances)
    facts = {
        group: {label: _facts(distances, *curve) for label, curve in members.items()}
        for group, members in groups.items()
    }
    for (group, members), row in zip(groups.items(), axes, strict=True):
        _draw(row, group, distances, members)
    _decorate(drawing, axes)
    result = {
        "settings": {
            "distances": [0.0, _FARTHEST, _POINTS[quick]],
            "saturated": f"|dk/de| below {_SATURATED} of its largest size",
            "bounds_on_squared_distance": [LOWER_BOUND, UPPER_BOUND],
            "chosen_by_us": "the grid, the threshold of saturation, the row of bounded kernels",
            "quick": quick,
        },
        "findings": _findings(facts),
        "curves": facts,
    }
    return figure.write(folder, "saturation", drawing, result)


def _facts(distances: np.ndarray, values: np.ndarray, derivatives: np.ndarray) -> dict[str, Any]:
    """Returns the peak of |dk/de|, and where |dk/de| is at least `_SATURATED` of it."""
    size = np.abs(derivatives)
    peak = int(np.argmax(size))
    alive = np.flatnonzero(size >= _SATURATED * size[peak])
    beyond = int(alive[-1]) == len(distances) - 1
    return {
        "largest_derivative_at_e": distances[peak],
        "largest_derivative": derivatives[peak],
        "not_saturated_from_e": distances[alive[0]],
        "not_saturated_to_e": None if beyond else distances[alive[-1]],
        "value_at_e_4": float(np.interp(4.0, distances, values)),
        "derivative_at_e_4": float(np.interp(4.0, distances, derivatives)),
    }


def _findings(facts: Mapping[str, Mapping[str, Any]]) -> list[dict[str, str]]:
    rows = []
    for group, members in facts.items():
        for label, fact in members.items():
            upper = fact["not_saturated_to_e"]
            upper = f"{_FARTHEST:g} and on" if upper is None else f"{upper:.2f}"
            peak, lower = fact["largest_derivative_at_e"], fact["not_saturated_from_e"]
            found = f"|k'| largest at e = {peak:.2f}, over 10 % of that from {lower:.2f} to {upper}"
            quantity = f"{group.replace('_', ' ')}, {label}"
            rows.append({"quantity": quantity, "found": found, "paper": _paper(group, label)})
    return rows


def _paper(group: str, label: str) -> str:
    if group == "bounded":
        return ""
    return "less saturated, not free of it" if label == _MEAN else "saturated for small and large e"


def _draw(row: Any, group: str, distances: np.ndarray, members: Mapping[str, Any]) -> None:
    import matplotlib

    shades = matplotlib.colormaps["viridis"](np.linspace(0.0, 0.85, 5))
    styles = [{"color": shade, "linewidth": 1.4} for shade in shades]
    if group == "bounded":
        styles = [
            {"color": "black", "linewidth": 1.2, "linestyle": ":", "zorder": 5},
            {"color": "#c51b7d", "linewidth": 2.0},
            {"color": "#1b7837", "linewidth": 2.0},
        ]
    mean = {"color": "#d95f02", "linewidth": 2.4, "linestyle": "--"}
    for (label, curve), style in zip(members.items(), [*styles, mean], strict=False):
        for axis, values in zip(row, curve, strict=True):
            axis.plot(distances, values, label=_shown(label), **style)


def _shown(label: str) -> str:
    return label.replace("sigma ", "σ = ").replace("alpha ", "α = ").replace("e^2", "e²")


def _decorate(drawing: Any, axes: Any) -> None:
    titles = (
        "Gaussian kernels",
        "rational quadratic kernels",
        "bounded Gaussian kernel (eqs. 6, 7; our panel)",
    )
    for index, (row, title) in enumerate(zip(axes, titles, strict=True)):
        first, second = "abcdef"[2 * index], "abcdef"[2 * index + 1]
        row[0].set(title=f"({first}) {title}", ylabel="k(e)", ylim=(-0.03, 1.05))
        row[1].set(title=f"({second}) derivatives", ylabel="dk/de")
        row[0].legend(loc="upper right", ncols=2 if index < 2 else 1)
        for axis in row:
            axis.grid(color="#e4e4e4", linewidth=0.6)
            axis.set_xlim(0, _FARTHEST)
    for axis in axes[-1]:
        axis.set_xlabel("distance e = |a - b|")
    drawing.suptitle(
        "Kernels and their derivatives over the distance (repulsive MMD-GAN paper, Fig. 2)"
    )
