"""Figure S1 of the repulsive MMD-GAN paper: streams and equilibria of a two-parameter GAN.

Wang, Sun & Halgamuge (2019), https://arxiv.org/abs/1812.09916, Appendix A.2. The GAN, its flow and
how the expectations are computed: `two_parameter_flow`. The paper does not say how its equilibria
were found; estimates from samples scatter, which exact expectations do not.
"""

import itertools
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from kgzoo.reproductions import figure
from kgzoo.reproductions.two_parameter_flow import (
    DATA,
    LOSSES,
    W1,
    W2,
    equilibria,
    equilibrium_from,
    flow_paths,
    jacobian,
    separatrix,
    trivial_above,
    velocity,
)

__all__ = ["PAPER", "run"]

# Fig. S1c and d; panels a and b have the line w1 = 1.
PAPER: Mapping[str, tuple[float, float]] = {"attractive": (1.55, 0.74), "repulsive": (1.55, 0.32)}

_NODES = {False: 128, True: 64}
# Points a side, and density of the streams.
_FIELD = {False: (41, 1.1), True: (13, 0.5)}
_STARTS = ((0.3, 0.4), (0.7, 1.8), (2.4, 1.2), (2.7, 0.25))
_FLOW_TIME = 400.0
_RATES = (1.0, 0.1)


def run(folder: pathlib.Path, quick: bool = False) -> dict[str, Any]:
    """Draws the four stream plots and finds the equilibria; writes two_parameter.png and .json.

    Args:
        folder: for the files.
        quick: coarser quadrature and field.

    Raises:
        UserError: if matplotlib is not installed.
    """
    num_nodes = _NODES[quick]
    drawing, axes = figure.new_figure(2, 2, 9.5, 7.0, sharex=True, sharey=True)
    normal = {loss: _normal_case(loss, num_nodes) for loss in LOSSES}
    uniform = {loss: _uniform_case(loss, num_nodes) for loss in LOSSES}
    edges = {data: {rate: separatrix(data, rate) for rate in _RATES} for data in DATA}
    shares = {data: {rate: _trivial_share(edges[data][rate]) for rate in _RATES} for data in DATA}
    crossings = {data: _crossing(edges[data]) for data in DATA}
    ends = {}
    for axis, letter, (data, loss) in zip(
        axes.flat, "abcd", itertools.product(DATA, LOSSES), strict=True
    ):
        paths = flow_paths(np.array(_STARTS), data, loss, _FLOW_TIME, num_nodes=64)
        ends[f"{data}, {loss}"] = [
            {"start": start, "end": end} for start, end in zip(_STARTS, paths[-1], strict=True)
        ]
        shades = _draw_field(axis, data, loss, *_FIELD[quick])
        _draw_paths(axis, paths)
        _mark(axis, data, loss, normal, edges[data])
        axis.set_title(f"({letter}) {loss} loss, {data} data")
    _decorate(drawing, axes, shades)
    result = {
        "settings": {
            "kernel": "Gaussian, bandwidth 0.5",
            "nodes_per_dimension": num_nodes,
            "chosen_by_us": "quadrature, range drawn, starts and times of the flow",
            "flow": "w1' = -dL_G/dw1, w2' = -dL_D/dw2, continuous time",
            "flow_time": _FLOW_TIME,
            "quick": quick,
        },
        "findings": _findings(normal, uniform, shares, crossings),
        "normal": normal,
        "uniform": uniform,
        "trivial_state": {
            "attracts_w2_to_0_above_w1": {data: trivial_above(data) for data in DATA},
            "loss": "repulsive; w2 = 0 repels for the attractive loss, except where E x^2 = E y^2",
            "lower_rate_of_G_shrinks_it_only_beyond_w1": crossings,
            "range_drawn": {"w1": W1, "w2": W2},
            "share_of_the_range_drawn_that_ends_there_by_rate_of_G": shares,
        },
        "flow_ends": ends,
    }
    return figure.write(folder, "two_parameter", drawing, result)


def _normal_case(loss: str, num_nodes: int) -> dict[str, Any]:
    """Returns the equilibrium, how well it is known, its eigenvalues, and the printed point's."""
    found = equilibria("normal", loss, num_nodes)
    point = found[0]
    finer = equilibrium_from(point, "normal", loss, 2 * num_nodes)
    eigenvalues = np.linalg.eigvals(jacobian(point, "normal", loss, num_nodes))
    speed = velocity(*PAPER[loss], "normal", loss, num_nodes)
    away = np.subtract(point, PAPER[loss])
    return {
        "equilibria": found,
        "change_with_twice_the_nodes": float(np.max(np.abs(np.subtract(finer, point)))),
        "eigenvalues_real": np.sort(eigenvalues.real),
        "eigenvalues_imaginary": np.sort(eigenvalues.imag),
        "stable": bool(np.all(eigenvalues.real < 0)),
        "paper": PAPER[loss],
        "velocity_at_the_papers_point": [float(part) for part in speed],
        "equilibrium_minus_paper": away,
        "papers_point_within_0.02": bool(np.max(np.abs(away)) < 0.02),
    }


def _uniform_case(loss: str, num_nodes: int) -> dict[str, Any]:
    """Returns the largest speed on w1 = 1, and the eigenvalues across and along that line."""
    w2 = np.linspace(0.1, W2[1], 20)
    speed = np.hypot(*velocity(np.ones_like(w2), w2, "uniform", loss, num_nodes))
    at = (0.0, 0.25, 0.5, 1.0, 2.0)
    eigenvalues = [
        np.sort(np.linalg.eigvals(jacobian((1.0, w), "uniform", loss, num_nodes)).real) for w in at
    ]
    return {
        "largest_speed_on_w1_1": float(speed.max()),
        "w2": at,
        "eigenvalue_across": [pair[0] for pair in eigenvalues],
        "eigenvalue_along": [pair[1] for pair in eigenvalues],
    }


def _trivial_share(curve: np.ndarray) -> float:
    """Returns the share of the range drawn that lies between a separatrix and w2 = 0."""
    w1, w2 = curve.T
    area = np.trapezoid(W1[1] - w1, w2)
    return float(area / ((W1[1] - W1[0]) * (W2[1] - W2[0])))


def _crossing(edges: Mapping[float, np.ndarray]) -> float:
    """Returns the w1 beyond which the separatrix of the lower rate lies below the other."""
    fast, slow = (edges[rate] for rate in _RATES)
    w1 = np.linspace(max(fast[1, 0], slow[1, 0]), W1[1], 1000)
    lower = np.interp(w1, *slow.T) < np.interp(w1, *fast.T)
    return float(w1[np.argmax(lower)]) if lower.any() else W1[1]


def _findings(
    normal: Mapping, uniform: Mapping, shares: Mapping, crossings: Mapping
) -> list[dict[str, str]]:
    rows = []
    for loss in LOSSES:
        case, line = normal[loss], uniform[loss]
        found = "({:.3f}, {:.3f})".format(*case["equilibria"][0])
        found += ", eigenvalues {:.3f}, {:.3f}".format(*case["eigenvalues_real"])
        printed = "({}, {})".format(*PAPER[loss])
        if not case["papers_point_within_0.02"]:
            printed += ": not where the exact flow ends"
        rows.append({"quantity": f"{loss}, normal data", "found": found, "paper": printed})
        across = max(line["eigenvalue_across"][1:])
        rows.append(
            {
                "quantity": f"{loss}, uniform data",
                "found": f"w1 = 1: speed <= {line['largest_speed_on_w1_1']:.0e}, eigenvalue across "
                f"<= {across:.3f} for w2 >= 0.25",
                "paper": "equilibria on the line w1 = 1, stable",
            }
        )
    for data in DATA:
        found = ", ".join(f"{100 * shares[data][r]:.1f} % at rate {r:g} of G" for r in _RATES)
        found += f"; shrinks only beyond w1 = {crossings[data]:.2f}"
        paper = "some (repulsive loss); the area shrinks with G's rate"
        rows.append({"quantity": f"starts to w2 = 0, {data}", "found": found, "paper": paper})
    return rows


def _draw_field(axis: Any, data: str, loss: str, num_points: int, density: float) -> Any:
    w1, w2 = np.meshgrid(np.linspace(*W1, num_points), np.linspace(*W2, num_points))
    right, up = velocity(w1, w2, data, loss, num_nodes=64)
    speed = np.hypot(right, up)
    shades = axis.contourf(
        *(w1, w2, np.log10(np.maximum(speed, 1e-4))),
        **{"levels": np.arange(-3, 1.1, 0.5), "cmap": "GnBu_r", "alpha": 0.75, "extend": "both"},
    )
    speed[speed == 0] = 1.0
    axis.streamplot(
        *(w1[0], w2[:, 0], right / speed, up / speed),
        **{"color": "#33415c", "density": density, "linewidth": 0.5, "arrowsize": 0.7, "zorder": 2},
    )
    return shades


def _draw_paths(axis: Any, paths: np.ndarray) -> None:
    for index in range(paths.shape[1]):
        w1, w2 = paths[:, index].T
        axis.plot(w1, w2, color="#1b7837", linewidth=2, zorder=4)
        axis.plot(w1[0], w2[0], "o", color="#1b7837", markeredgecolor="white", zorder=5)


def _mark(axis: Any, data: str, loss: str, normal: Mapping, edges: Mapping) -> None:
    """Marks equilibria: a line for uniform data, our point and the paper's for normal data."""
    if data == "uniform":
        axis.axvline(1, color="#d95f02", linewidth=1.5, label="equilibria: w₁ = 1", zorder=3)
    else:
        for point in normal[loss]["equilibria"]:
            label = "exact ({:.3f}, {:.3f})".format(*point)
            axis.plot(*point, "*", **_marker("#d95f02", 15), label=label)
        printed = "paper ({}, {})".format(*PAPER[loss])
        axis.plot(*PAPER[loss], "X", **_marker("#c51b7d", 8), label=printed)
    if loss == "repulsive":
        for curve, dashes in zip(edges.values(), ("-", "--"), strict=True):
            axis.plot(*curve.T, dashes, color="black", linewidth=1.5, zorder=3)
    axis.legend(loc="upper right", framealpha=0.95).set_zorder(7)


def _marker(colour: str, size: int) -> dict[str, Any]:
    return {"color": colour, "markersize": size, "markeredgecolor": "white", "zorder": 6}


def _decorate(drawing: Any, axes: Any, shades: Any) -> None:
    for axis in axes.flat:
        axis.set(xlim=W1, ylim=(-0.03, W2[1]))
    for axis in axes[-1]:
        axis.set_xlabel("w₁ (generator: G(z) = w₁ z)")
    for axis in axes[:, 0]:
        axis.set_ylabel("w₂ (critic: D(x) = w₂ x²)")
    bar = drawing.colorbar(
        shades, ax=axes, orientation="horizontal", shrink=0.6, pad=0.01, aspect=50
    )
    bar.set_label("log₁₀ speed")
    drawing.suptitle(
        "Two-parameter MMD-GAN (repulsive MMD-GAN paper, Fig. S1), exact expectations\n"
        f"Green: the flow for {_FLOW_TIME:g} time units from ●, starts of our choice.  "
        "Black: below it w₂ flows to 0 (dashed: G at rate 0.1)",
        fontsize=11,
    )
