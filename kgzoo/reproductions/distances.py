"""The distances of the SMMD paper's section 3 in exact form: its Figures 1(c), 1(d) and 7.

Arbel, Sutherland, Binkowski and Gretton (2018), arXiv:1805.11565. The kernel is that of Example 1,
k(x, y) = exp(-psi^2 (x - y)^2 / 2), and the optimised distances are the largest over psi.

Figure 1: P = delta_0, Q = delta_theta. Figure 5 takes mu = N(0, 10^2) for the Gradient-Constrained
MMD, the experiments mu = P; here are both, because they differ in kind: with mu = P = delta_0 no
narrow kernel is ever penalised at theta, and the optimised distance jumps like the MMD's.
Figure 7: P = N(0, 0.1^2) and Q = N(mean, std^2), mu = P. "Bandwidth psi" is read as the width of
the kernel, 1/psi above; the other reading exchanges the two panels.

No samples are drawn: closed forms, the trapezoid rule for mu and a convex dual (`gaussians`).
"""

import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np

from kgzoo.reproductions import figure, gaussians
from kgzoo.reproductions.gaussians import Gaussian

__all__ = ["dirac_distances", "gaussian_maps", "optimise", "run"]

_LAMBDA = 1.0
_POINT = Gaussian(0.0, 0.0)
_WIDE = Gaussian(0.0, 10.0)
_TARGET = Gaussian(0.0, 0.1)
_CRITIC_THETA = 20.0
_BANDWIDTHS = (0.1, 10.0)

Distance = Callable[[float, Gaussian], np.ndarray]


def optimise(
    distance: Distance, fakes: Gaussian, low: float, high: float, grid: int = 24
) -> tuple[np.ndarray, np.ndarray]:
    """Maximises a distance over psi for each of several Gaussians.

    Args:
        distance: maps psi and Gaussians to distances of their shape.
        fakes: Gaussians Q with arrays of one shape.
        low, high: the range of psi.
        grid: points of a first search, equidistant in log psi; then a bounded search between the
            neighbours of the best.

    Returns:
        The largest distances and where they are attained, of the fakes' shape.
    """
    import scipy.optimize

    logs = np.linspace(np.log(low), np.log(high), grid)
    table = np.stack([distance(float(np.exp(log)), fakes) for log in logs])
    best = np.argmax(table, axis=0)
    values, where = np.max(table, axis=0), logs[best]
    for index in np.ndindex(best.shape):
        fake = Gaussian(fakes.mean[index], fakes.std[index])
        found = scipy.optimize.minimize_scalar(
            lambda log, fake=fake: -float(distance(float(np.exp(log)), fake)),
            bounds=(logs[max(best[index] - 1, 0)], logs[min(best[index] + 1, grid - 1)]),
            method="bounded",
            options={"xatol": 1e-2},
        )
        if -found.fun > values[index]:
            values[index], where[index] = -found.fun, found.x
    return values, np.exp(where)


def _mmd(p: Gaussian) -> Distance:
    return lambda psi, q: gaussians.mmd(psi, p, q)


def _smmd(p: Gaussian) -> Distance:
    return lambda psi, q: gaussians.smmd(psi, p, q, _LAMBDA)


def _gcmmd(p: Gaussian, mu: Gaussian) -> Distance:
    return lambda psi, q: gaussians.gcmmd(psi, p, q, mu, _LAMBDA)


def _lipmmd(p: Gaussian) -> Distance:
    def distance(psi: float, q: Gaussian) -> np.ndarray:
        # From below: a feasible critic exists with this value.
        means, stds = np.broadcast_arrays(*q)
        lower = [
            gaussians.lipmmd(psi, p, Gaussian(float(mean), float(std)), _LAMBDA).lower
            for mean, std in zip(means.flat, stds.flat, strict=True)
        ]
        return np.reshape(lower, means.shape)

    return distance


def dirac_distances(thetas: np.ndarray, grid: int = 24) -> dict[str, dict[str, np.ndarray]]:
    """Returns each optimised distance between delta_0 and delta_theta, and the psi it has it at.

    Args:
        thetas: positive [n].
        grid: of the search over psi.

    Returns:
        name -> {"distance": [n], "psi": [n]}; for `mmd` and `gcmmd_p` psi is the largest tried,
        their suprema being limits.
    """
    results = {}
    fakes = Gaussian(thetas, np.zeros_like(thetas))
    shared = {
        "mmd": (_mmd(_POINT), 1e-3, 1e4),
        "smmd": (_smmd(_POINT), 1e-3, 1e3),
        "gcmmd_p": (_gcmmd(_POINT, _POINT), 1e-3, 1e4),
        "gcmmd_wide": (_gcmmd(_POINT, _WIDE), 1e-2, 3.0 / thetas.min()),
    }
    for name, (distance, low, high) in shared.items():
        values, psis = optimise(distance, fakes, low, high, grid)
        results[name] = {"distance": values, "psi": psis}
    found = []
    for theta in thetas:
        fake = Gaussian(np.array([theta]), np.zeros(1))
        low, high = 0.2 / theta**0.5, min(8.0 / theta, 12.0 / theta**0.5)
        found.append(optimise(_lipmmd(_POINT), fake, low, high, max(6, grid // 4)))
    values, psis = np.concatenate(found, axis=1)
    results["lipmmd"] = {"distance": values, "psi": psis}
    return results


def dirac_critics(points: np.ndarray) -> dict[str, np.ndarray]:
    """Returns critics between delta_0 and delta_20 at `points` [t], by the label of their curve."""
    theta = np.array([_CRITIC_THETA])
    fake = Gaussian(_CRITIC_THETA, 0.0)
    critics = {}
    for psi in (0.05, 1.0, 10.0):
        unit = gaussians.witness(psi, _POINT, fake, points)[0] / gaussians.mmd(psi, _POINT, fake)
        critics[rf"MMD, $\psi$ = {psi:g}"] = unit
    best = {name: float(row["psi"][0]) for name, row in dirac_distances(theta).items()}
    psi = best["smmd"]
    unit = gaussians.witness(psi, _POINT, fake, points)[0] / gaussians.mmd(psi, _POINT, fake)
    critics[rf"SMMD, $\psi$ = {psi:.2g}"] = unit / np.sqrt(_LAMBDA + 1 + psi**2)
    psi = best["gcmmd_wide"]
    critics[rf"GCMMD, $\psi$ = {psi:.2g}"] = gaussians.gcmmd_critic(
        psi, _POINT, fake, _WIDE, _LAMBDA, points
    )
    psi = best["lipmmd"]
    lipschitz = gaussians.lipmmd(psi, _POINT, fake, _LAMBDA)
    critics[rf"LipMMD, $\psi$ = {psi:.2g}"] = lipschitz.critic(points)
    return critics


def gaussian_maps(means: np.ndarray, stds: np.ndarray, grid: int = 24) -> dict[str, np.ndarray]:
    """Returns the distances of Figure 7 between N(0, 0.1^2) and N(mean, std^2), [stds, means] each.

    Args:
        means: [a].
        stds: positive [b].
        grid: of the search over psi in the optimised distances.
    """
    fakes = Gaussian(*np.meshgrid(means, stds))
    maps = {}
    for bandwidth in _BANDWIDTHS:
        maps[f"mmd_{bandwidth:g}"] = _mmd(_TARGET)(1 / bandwidth, fakes)
        maps[f"gcmmd_{bandwidth:g}"] = _gcmmd(_TARGET, _TARGET)(1 / bandwidth, fakes)
    searches = {
        "smmd": (_smmd(_TARGET), 1e-2, 200.0),
        "gcmmd": (_gcmmd(_TARGET, _TARGET), 1e-2, 200.0),
        "mmd": (_mmd(_TARGET), 1e-2, 1e4),
    }
    for name, (distance, low, high) in searches.items():
        maps[f"{name}_optimised"], maps[f"{name}_psi"] = optimise(distance, fakes, low, high, grid)
    return maps


def run(folder: pathlib.Path, quick: bool = False) -> dict[str, Any]:
    """Writes distances.png and distances.json.

    Args:
        folder: made when missing.
        quick: fewer thetas and coarser maps; seconds instead of about two minutes.

    Returns:
        What the JSON file holds: settings, findings, and the numbers behind every panel.

    Raises:
        UserError: if matplotlib is not installed.
    """
    import threadpoolctl

    canvas, axes = figure.new_figure(3, 3, 12.0, 10.5)
    points = np.linspace(-10.0, 30.0, 801)
    thetas = np.geomspace(0.02, 20.0, 7 if quick else 31)
    means = np.linspace(0.0, 4.0, 8 if quick else 33)
    stds = np.geomspace(0.01, 10.0, 8 if quick else 30)
    # Thousands of small systems: threads would cost more than they bring.
    with threadpoolctl.threadpool_limits(1):
        critics = dirac_critics(points)
        diracs = dirac_distances(thetas, 16 if quick else 24)
        maps = gaussian_maps(means, stds, 12 if quick else 24)
    _draw_critics(axes[0, 0], points, critics)
    _draw_distances(axes[0, 1], axes[0, 2], thetas, diracs)
    _draw_maps(canvas, axes[1:], means, stds, maps)
    result = {
        "settings": {
            "paper": "arXiv:1805.11565, Figures 1(c), 1(d), 7",
            "kernel": "exp(-psi^2 (x - y)^2 / 2)",
            "lambda": _LAMBDA,
            "mu": "SMMD: any (sigma^-2 = lambda + 1 + psi^2); gcmmd_p: P; gcmmd_wide: N(0, 10^2); "
            "Figure 7: P",
            "P of Figure 7": list(_TARGET),
            "quadrature of mu": "trapezoid, 2 nodes to a standard deviation and to 1/psi",
        },
        "findings": [*_dirac_findings(thetas, diracs), *_map_findings(maps)],
        "theta": _digits(thetas),
        "optimised": {name: _rounded(row) for name, row in diracs.items()},
        "maps": _rounded({"mean": means, "std": stds, **maps}),
    }
    return figure.write(folder, "distances", canvas, result)


def _digits(values: np.ndarray) -> Any:
    """Returns nested lists of numbers with six digits: what a search to 1e-6 is good for."""
    rounded = [float(f"{value:.6g}") for value in np.ravel(values)]
    return np.reshape(rounded, np.shape(values)).tolist()


def _rounded(arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    return {name: _digits(values) for name, values in arrays.items()}


def _row(quantity: str, found: float, paper: str) -> dict[str, Any]:
    return {"quantity": quantity, "found": float(f"{found:.5g}"), "paper": paper}


def _dirac_findings(thetas: np.ndarray, diracs: dict) -> list[dict[str, Any]]:
    at = {name: row["distance"] for name, row in diracs.items()}
    least = f"{thetas[0]:g}"
    # D ~ theta^power at 0, from the two smallest thetas.
    power = {
        name: float(np.log(d[1] / d[0]) / np.log(thetas[1] / thetas[0])) for name, d in at.items()
    }
    excess = float(np.max(at["lipmmd"] / thetas))
    continuous = "continuous at 0 (Fig. 1d)"
    return [
        _row(f"D_MMD at theta = {least}", at["mmd"][0], "sqrt 2 = 1.4142 for theta != 0"),
        _row(f"D_SMMD at theta = {least}", at["smmd"][0], continuous),
        _row("power of theta in D_SMMD near 0", power["smmd"], "Theorem 1: at most 1 times W"),
        _row(f"D_LipMMD at theta = {least}", at["lipmmd"][0], continuous),
        _row("largest D_LipMMD / W", excess, "at most 1 (section 3.1)"),
        _row(f"D_GCMMD, mu = N(0, 10^2), at theta = {least}", at["gcmmd_wide"][0], continuous),
        _row("power of theta in D_GCMMD, mu = N(0, 10^2)", power["gcmmd_wide"], "not given"),
        _row(f"D_GCMMD, mu = P, at theta = {least}", at["gcmmd_p"][0], continuous),
        _row("least D_GCMMD, mu = P, of all theta", at["gcmmd_p"].min(), continuous),
    ]


def _map_findings(maps: dict[str, np.ndarray]) -> list[dict[str, Any]]:
    rows = []
    for bandwidth in _BANDWIDTHS:
        correlation, spread = _compare(maps[f"gcmmd_{bandwidth:g}"], maps[f"mmd_{bandwidth:g}"])
        pair = f"GCMMD and MMD, bandwidth {bandwidth:g}"
        rows.append(_row(f"correlation of log {pair}", correlation, "behave similarly"))
        rows.append(_row(f"largest / least ratio of {pair}", spread, "MMD = const * SMMD: 1"))
    correlation, spread = _compare(maps["gcmmd_optimised"], maps["smmd_optimised"])
    pair = "optimised GCMMD and SMMD"
    rows.append(_row(f"correlation of log {pair}", correlation, "similar"))
    rows.append(_row(f"largest / least ratio of {pair}", spread, "similar"))
    low, high = np.min(maps["mmd_optimised"]), np.max(maps["mmd_optimised"])
    rows.append(_row("optimised MMD, from", low, "essentially constant"))
    rows.append(_row("optimised MMD, to", high, "essentially constant"))
    return rows


def _compare(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    logs = np.log(a).ravel(), np.log(b).ravel()
    return float(np.corrcoef(*logs)[0, 1]), float(np.exp(np.ptp(logs[0] - logs[1])))


_CURVES = {
    "mmd": ("MMD", "#c0392b", "-"),
    "gcmmd_p": (r"GCMMD, $\mu = P$", "#2471a3", "--"),
    "gcmmd_wide": (r"GCMMD, $\mu = N(0, 10^2)$", "#2471a3", "-"),
    "lipmmd": ("LipMMD", "#7d3c98", "-"),
    "smmd": ("SMMD", "#1e8449", "-"),
}


def _draw_critics(axis: Any, points: np.ndarray, critics: dict[str, np.ndarray]) -> None:
    colours = ("#e6a23c", "#5dade2", "#c0392b", "#1e8449", "#2471a3", "#7d3c98")
    for colour, (label, values) in zip(colours, critics.items(), strict=True):
        axis.plot(points, values, color=colour, label=label, linewidth=1.2)
    title = rf"Fig. 1(c): critics, $\theta$ = {_CRITIC_THETA:g}"
    axis.set(title=title, xlabel="x", ylabel="f(x)", ylim=(-0.8, 1.35))
    close = {"fontsize": 7, "handlelength": 1.2, "handletextpad": 0.5, "columnspacing": 1.0}
    axis.legend(loc="upper right", frameon=False, ncols=2, **close)


def _draw_distances(linear: Any, near: Any, thetas: np.ndarray, diracs: dict) -> None:
    for name, (label, colour, style) in _CURVES.items():
        values = diracs[name]["distance"]
        mirrored = np.concatenate([values[::-1], [np.nan], values])
        both = np.concatenate([-thetas[::-1], [0.0], thetas])
        if name not in ("mmd", "gcmmd_p"):
            mirrored[len(values)] = 0.0
        line = {"color": colour, "linestyle": style, "label": label, "linewidth": 1.3}
        linear.plot(both, mirrored, **line)
        near.loglog(thetas, values, **line)
    linear.plot([-2, 0, 2], [2, 0, 2], color="0.6", linestyle=":", label="Wasserstein")
    near.loglog(thetas, thetas, color="0.6", linestyle=":", label="Wasserstein")
    linear.plot([0], [0], ".", color="k", markersize=5)
    linear.set(title=r"Fig. 1(d): largest over $\psi$", xlabel=r"$\theta$", ylim=(-0.05, 1.6))
    near.set(title=r"the same near $\theta$ = 0", xlabel=r"$\theta$", ylim=(thetas[0] / 2, 3))
    near.legend(loc="lower right", frameon=False)


def _draw_maps(canvas: Any, axes: Any, means: np.ndarray, stds: np.ndarray, maps: dict) -> None:
    panels = (
        *(("mmd_0.1", "MMD, bandwidth 0.1"), ("gcmmd_0.1", "GCMMD, bandwidth 0.1")),
        *(("smmd_optimised", "optimised SMMD"), ("mmd_10", "MMD, bandwidth 10")),
        *(("gcmmd_10", "GCMMD, bandwidth 10"), ("gcmmd_optimised", "optimised GCMMD")),
    )
    for axis, (name, title) in zip(axes.flat, panels, strict=True):
        both = np.concatenate([maps[name][:, :0:-1], maps[name]], axis=1)
        where = np.concatenate([-means[:0:-1], means])
        shown = axis.contourf(where, stds, np.log(both), levels=24)
        axis.set(yscale="log", title=f"Fig. 7: {title}", xlabel="mean of Q")
        canvas.colorbar(shown, ax=axis, label="log D").ax.tick_params(labelsize=8)
    for axis in axes[:, 0]:
        axis.set_ylabel("standard deviation of Q")
