"""Figures 1(a, b) and 5 of the SMMD paper: two Diracs, nine losses, three starts.

Arbel, Sutherland, Binkowski & Gretton (2018), https://arxiv.org/abs/1805.11565, Example 1 and
Appendix B; the losses are those of `two_diracs`. A path is made of simultaneous gradient steps in
(theta, psi); it is drawn over theta and 1/psi, the figure's axes, and so is the field, by the chain
rule. The paper gives neither lambda nor starts nor steps: those below are ours.
"""

import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from kgzoo.errors import UserError
from kgzoo.reproductions import figure, two_diracs

__all__ = ["STARTS", "path", "run"]

# (theta, 1/psi). The paper marks three points by letters and does not say where they are.
STARTS: Mapping[str, tuple[float, float]] = {"A": (1.5, 1.5), "B": (4.0, 2.5), "C": (4.0, 0.4)}
_CONVERGED = 0.01
_STEP_SIZE = 0.02
_STEPS = {False: 20_000, True: 500}
_THETA = (0.0, 6.0)
_INVERSE_PSI = (0.1, 3.2)
# Points a side, and density of the streams.
_FIELD = {False: (41, 1.0), True: (13, 0.5)}
_COLOURS = {"A": "#1b7837", "B": "#c51b7d", "C": "#d95f02"}
_LEVELS = (-6.0, 1.0)

_PAPER = {
    "mmd": "A converges, B moves the wrong way, C is stuck (Fig. 1a)",
    "mmd_gp": "a penalty does not substantially change MMD's field (sec. 2)",
    "mmd_gp_unif": "the same sentence",
    "sn_mmd": "poor gradients when theta is far from 0 (sec. 3.3)",
    "sobolev_mmd": "the same sentence",
    "centered_sobolev_mmd": "the same sentence",
    "lipmmd": "excellent (sec. 3.1)",
    "gcmmd": "a strong gradient towards 0 (sec. 3.3)",
    "smmd": "C now converges very quickly (sec. 3.3)",
}


def path(
    name: str,
    starts: np.ndarray,
    step_size: float,
    steps: int,
    regularization: float = 1.0,
    normalize_witness: bool = True,
) -> np.ndarray:
    """Takes simultaneous gradient steps: theta and psi move by the velocity at the old point.

    Args:
        name: a key of `two_diracs.LOSSES`.
        starts: (theta, psi) [n, 2].
        step_size: of both.
        steps: at most; fewer once every theta is below 1e-6.
        regularization: lambda.
        normalize_witness: see `two_diracs`.

    Returns:
        Points (theta, psi), [steps taken + 1, n, 2].
    """
    points = [np.array(starts, float)]
    while len(points) <= steps and np.any(np.abs(points[-1][:, 0]) > 1e-6):
        theta, psi = points[-1].T
        moves = two_diracs.velocity(name, theta, psi, regularization, normalize_witness)
        points.append(points[-1] + step_size * np.stack(moves, axis=-1))
    return np.stack(points)


def run(
    folder: pathlib.Path,
    quick: bool = False,
    regularization: float = 1.0,
    normalize_witness: bool = True,
) -> dict[str, Any]:
    """Draws the nine fields and 27 paths; writes dirac.png and dirac.json.

    Args:
        folder: for the files.
        quick: 500 steps of 0.02 and a coarse field instead of 20 000.
        regularization: every lambda of eq. 28.
        normalize_witness: f = eta / |eta| in the picture; the file has end points for both.

    Raises:
        UserError: if regularization is not above 0, or matplotlib is not installed.
    """
    if not 0 < regularization < np.inf:
        raise UserError(f"regularization={regularization} is not above 0; give a positive number.")
    drawing, axes = figure.new_figure(3, 3, 10.5, 10.5, sharex=True, sharey=True)
    starts = np.array([(theta, 1 / inverse) for theta, inverse in STARTS.values()])
    panels, findings = {}, []
    for name, axis in zip(two_diracs.LOSSES, axes.flat, strict=True):
        arguments = (name, starts, _STEP_SIZE, _STEPS[quick], regularization)
        points = path(*arguments, normalize_witness)
        panels[name] = _facts(name, points)
        if two_diracs.LOSSES[name].penalty:
            key = "paths_with_f_eta" if normalize_witness else "paths_with_f_normalized"
            panels[name][key] = _ends(path(*arguments, not normalize_witness))
        shades = _draw_field(axis, name, _FIELD[quick], regularization, normalize_witness)
        _draw_paths(axis, points)
        loss = two_diracs.LOSSES[name]
        axis.set_title(f"{loss.title}:  {loss.equation}", fontsize=9)
        axis.text(
            *(0.97, 0.95, _verdict(panels[name]["paths"])),
            **{"transform": axis.transAxes, "ha": "right", "va": "top", "zorder": 6},
            bbox={"facecolor": "white", "edgecolor": "#888888", "boxstyle": "round"},
        )
        findings.append(_finding(name, panels[name]["paths"], _STEPS[quick]))
    _decorate(drawing, axes, shades, regularization, normalize_witness, _STEPS[quick])
    settings = {
        "regularization": regularization,
        "normalize_witness": normalize_witness,
        "step_size": _STEP_SIZE,
        "steps": _STEPS[quick],
        "starts": {
            label: dict(zip(("theta", "1/psi"), start, strict=True))
            for label, start in STARTS.items()
        },
        "chosen_by_us": "regularization (every lambda of eq. 28), starts, step size, steps",
        "generator_descends": "the squared distance in theta; penalties are the critic's alone",
        "critic_descends": "eq. 28 in psi",
        "smmd_measure": "P; Figure 1's Uniform(0, theta) gives the same lambda + 1 + psi^2",
        "integrator": "simultaneous gradient steps (plain Euler) in (theta, psi)",
        "converged": f"|theta| < {_CONVERGED} at the end",
        "quick": quick,
    }
    result = {"settings": settings, "findings": findings, "losses": panels}
    return figure.write(folder, "dirac", drawing, result)


def _facts(name: str, points: np.ndarray) -> dict[str, Any]:
    loss = two_diracs.LOSSES[name]
    return {"title": loss.title, "critic_loss": loss.equation, "paths": _ends(points)}


def _ends(points: np.ndarray) -> dict[str, Any]:
    """Returns where each path ends, and after how many steps theta came, and stayed, near 0."""
    ends = {}
    for index, label in enumerate(STARTS):
        theta, psi = points[-1, index]
        far = np.flatnonzero(np.abs(points[:, index, 0]) >= _CONVERGED)
        converged = bool(abs(theta) < _CONVERGED)
        ends[label] = {
            "theta": theta,
            "psi": psi,
            "1/psi": 1 / psi,
            "converged": converged,
            "steps_to_converge": int(far[-1]) + 1 if converged else None,
        }
    return ends


def _finding(name: str, ends: Mapping[str, Any], steps: int) -> dict[str, str]:
    found = [
        f"{label} {'reaches 0' if end['converged'] else 'ends at'} "
        + (f"in {end['steps_to_converge']}" if end["converged"] else f"{end['theta']:.2f}")
        for label, end in ends.items()
    ]
    title = two_diracs.LOSSES[name].title
    return {
        "quantity": f"{title}: theta, {steps} steps",
        "found": ", ".join(found),
        "paper": _PAPER[name],
    }


def _verdict(ends: Mapping[str, Any]) -> str:
    arrived = [label for label, end in ends.items() if end["converged"]]
    if not arrived:
        return "none reaches θ = 0"
    return f"{', '.join(arrived)} reach{'es' if len(arrived) == 1 else ''} θ = 0"


def _draw_field(
    axis: Any,
    name: str,
    size: tuple[int, float],
    regularization: float,
    normalize_witness: bool,
) -> Any:
    """Draws directions as streams, and the speed in (theta, psi) as the background."""
    num_points, density = size
    side = np.linspace(*_INVERSE_PSI, num_points)
    theta, inverse = np.meshgrid(np.linspace(*_THETA, num_points), side)
    by_theta, by_psi = two_diracs.velocity(
        name, theta, 1 / inverse, regularization, normalize_witness
    )
    # From psi to 1/psi: d(1/psi) = -dpsi / psi^2.
    upwards = -by_psi * inverse**2
    length = np.hypot(by_theta, upwards)
    length[length == 0] = 1.0
    speed = np.log10(np.maximum(np.hypot(by_theta, by_psi), 1e-7))
    shades = axis.contourf(
        theta,
        inverse,
        speed,
        levels=np.arange(_LEVELS[0], _LEVELS[1] + 1),
        cmap="GnBu_r",
        alpha=0.75,
        extend="both",
    )
    axis.streamplot(
        theta[0],
        side,
        by_theta / length,
        upwards / length,
        color="#33415c",
        density=density,
        linewidth=0.5,
        arrowsize=0.7,
        zorder=2,
    )
    return shades


def _draw_paths(axis: Any, points: np.ndarray) -> None:
    for index, (label, start) in enumerate(STARTS.items()):
        theta, psi = points[:, index].T
        style = {"color": _COLOURS[label], "zorder": 4, "clip_on": True}
        axis.plot(theta, 1 / psi, linewidth=2.2, **style)
        axis.plot(*start, "o", markersize=6, markeredgecolor="white", **style)
        axis.plot(theta[-1], 1 / psi[-1], "X", markersize=8, markeredgecolor="white", **style)
        axis.annotate(
            label,
            start,
            (6, 5),
            textcoords="offset points",
            weight="bold",
            color=_COLOURS[label],
            zorder=5,
        )


def _decorate(
    drawing: Any,
    axes: Any,
    shades: Any,
    regularization: float,
    normalize_witness: bool,
    steps: int,
) -> None:
    for axis in axes.flat:
        axis.set(xlim=(-0.12, _THETA[1]), ylim=(0, _INVERSE_PSI[1]))
        axis.axvline(0, color="black", linewidth=0.8, zorder=3)
    for axis in axes[-1]:
        axis.set_xlabel("θ")
    for axis in axes[:, 0]:
        axis.set_ylabel("1/ψ")
    bar = drawing.colorbar(
        shades, ax=axes, orientation="horizontal", shrink=0.6, pad=0.01, aspect=50
    )
    bar.set_label("log₁₀ speed in (θ, ψ)")
    f = r"\eta/\Vert\eta\Vert" if normalize_witness else r"\eta"
    drawing.suptitle(
        r"Two Diracs: $P = \delta_0$, $Q = \delta_\theta$, "
        r"$k(x, y) = \exp(-\psi^2(x - y)^2/2)$, and the critic's losses of eq. 28 (SMMD paper)"
        f"\n$\\lambda = {regularization:g}$, $f = {f}$; {steps} simultaneous gradient steps of "
        rf"{_STEP_SIZE} in $(\theta, \psi)$, from ● to ✖. $\lambda$, starts, steps: our choice.",
        fontsize=11,
    )
