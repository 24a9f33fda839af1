"""Gradients of two critics between two Gaussians of the plane: the SMMD paper's Figure 6.

Arbel, Sutherland, Binkowski and Gretton (2018), arXiv:1805.11565, appendix C; mu = (P + Q)/2.

Gradient-Constrained MMD critic (proof of Prop. 3, weights w_m instead of 1/M): P, Q and mu are
Gauss-Hermite nodes X_m, and with T f = [f(X_m); grad f(X_m)], e the weights of P minus those of Q,

    f = T* (e - c) / lambda,   c = W^(1/2) (W^(1/2) T T* W^(1/2) + lambda I)^-1 W^(1/2) T T* e

Sobolev IPM critic: div(mu grad f) = Q - P, by finite differences on a square with f = 0 on its
boundary, which Sobolev GAN assumes. Each is scaled to its own constraint: ||f||_S(mu) = 1 and
E_mu ||grad f||^2 = 1. The paper states neither its Gaussians, nor kernel, lambda and domain; ours
are options and settings.
"""

import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from kgzoo import kernels
from kgzoo.errors import UserError
from kgzoo.reproductions import figure

__all__ = ["Gaussian", "gcmmd_critic", "run", "sobolev_critic"]

_LEVEL = 0.1  # high density: at least this share of the largest density of mu


class Gaussian(NamedTuple):
    """N(mean, std^2 I) of the plane."""

    mean: tuple[float, float]
    std: float

    def density(self, points: np.ndarray) -> np.ndarray:
        """Returns the density at points [..., 2]."""
        squared = np.sum(np.square(points - np.asarray(self.mean)), axis=-1) / self.std**2
        return np.exp(-squared / 2) / (2 * np.pi * self.std**2)

    def nodes(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns count^2 Gauss-Hermite points [n, 2] and weights [n] of sum 1."""
        roots, weights = np.polynomial.hermite_e.hermegauss(count)
        weights = weights / weights.sum()
        grid = np.stack(np.meshgrid(roots, roots, indexing="ij"), axis=-1).reshape(-1, 2)
        return np.asarray(self.mean) + self.std * grid, np.outer(weights, weights).ravel()


P = Gaussian((-1.0, 0.0), 0.5)
Q = Gaussian((1.0, 0.5), 0.4)


def gcmmd_critic(
    p: Gaussian, q: Gaussian, bandwidth: float, regularization: float, nodes: int = 12
) -> tuple[float, Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]]:
    """Returns the Gradient-Constrained MMD under a Gaussian kernel, and the critic that attains it.

    Args:
        p, q: the distributions; mu is their mean.
        bandwidth: the kernel's.
        regularization: lambda.
        nodes: of the quadrature of P and of Q, to a dimension.

    Returns:
        The distance, and a function from points [n, 2] to the critic [n] and its gradient [n, 2].
    """
    kernel = kernels.Gaussian(bandwidth)
    (p_points, p_weights), (q_points, q_weights) = p.nodes(nodes), q.nodes(nodes)
    points = np.concatenate([p_points, q_points])
    mixed = np.concatenate([p_weights, q_weights]) / 2
    count = len(points)
    own = _blocks(kernel, points, points)
    system = own.reshape(3 * count, 3 * count)
    difference = np.zeros([count, 3])
    difference[:, 0] = np.concatenate([p_weights, -q_weights])
    difference = difference.ravel()
    root = np.sqrt(np.repeat(mixed, 3))
    witness = system @ difference
    scaled = root[:, None] * system * root[None, :] + regularization * np.eye(3 * count)
    coefficients = root * np.linalg.solve(scaled, root * witness)
    coefficients = (difference - coefficients) / regularization
    distance = float(np.sqrt(witness @ coefficients))

    def critic(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        parts = []
        for some in np.array_split(x, max(1, len(x) // 256)):
            parts.append(_blocks(kernel, some, points).reshape(3 * len(some), -1) @ coefficients)
        values = np.concatenate(parts).reshape(-1, 3) / distance
        return values[:, 0], values[:, 1:]

    return distance, critic


def _blocks(kernel: kernels.Kernel, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Returns inner products [n, 3, m, 3] of k(x, .), d_1 k(x, .), d_2 k(x, .) with those at y."""
    import tensorflow as tf

    value, left, right, both = (
        part.numpy() for part in kernel.derivatives(tf.constant(x), tf.constant(y))
    )
    blocks = np.empty([len(x), 3, len(y), 3])
    blocks[:, 0, :, 0] = value
    blocks[:, 1:, :, 0] = np.moveaxis(left, 2, 1)
    blocks[:, 0, :, 1:] = right
    blocks[:, 1:, :, 1:] = np.moveaxis(both, 2, 1)
    return blocks


def sobolev_critic(
    density: Callable[[np.ndarray], np.ndarray],
    source: Callable[[np.ndarray], np.ndarray],
    axis: np.ndarray,
) -> np.ndarray:
    """Solves div(density grad f) = source on a square, f = 0 on its boundary; error of order h^2.

    Args:
        density, source: map points [..., 2] to numbers [...].
        axis: the n equidistant coordinates of the square's grid, the boundary included.

    Returns:
        f on the grid, [n, n], first index the first coordinate.
    """
    import scipy.sparse
    import scipy.sparse.linalg

    count, spacing = len(axis), axis[1] - axis[0]
    inner = count - 2
    half = axis[:-1] + spacing / 2
    # Fluxes through the sides of a cell, with the density in the middle of each side.
    across = density(np.stack(np.meshgrid(half, axis[1:-1], indexing="ij"), axis=-1))
    along = density(np.stack(np.meshgrid(axis[1:-1], half, indexing="ij"), axis=-1))
    diagonal = -(across[:-1] + across[1:] + along[:, :-1] + along[:, 1:])
    to_next = along[:, 1:].copy()
    to_next[:, -1] = 0.0  # the last of a row has the boundary for a neighbour
    bands = [diagonal.ravel(), to_next.ravel()[:-1], across[1:-1].ravel()]
    matrix = scipy.sparse.diags(
        [bands[0], bands[1], bands[1], bands[2], bands[2]], [0, 1, -1, inner, -inner], format="csc"
    )
    grid = np.stack(np.meshgrid(axis[1:-1], axis[1:-1], indexing="ij"), axis=-1)
    right = source(grid).ravel() * spacing**2
    # The density spans many orders of magnitude: rows and columns are scaled to a diagonal of -1.
    scale = 1.0 / np.sqrt(-bands[0])
    scaled = scipy.sparse.diags(scale) @ matrix @ scipy.sparse.diags(scale)
    solution = scale * scipy.sparse.linalg.spsolve(scaled.tocsc(), scale * right)
    return np.pad(solution.reshape(inner, inner), 1)


def run(
    folder: pathlib.Path,
    quick: bool = False,
    bandwidth: float = 1.0,
    regularization: float = 0.1,
    half_width: float = 3.0,
) -> dict[str, Any]:
    """Writes critic_fields.png and critic_fields.json.

    Args:
        folder: made when missing.
        quick: a coarser grid.
        bandwidth: of the Gaussian kernel.
        regularization: lambda of the Gradient-Constrained MMD.
        half_width: of the square [-half_width, half_width]^2 with f = 0 on its boundary.

    Returns:
        What the JSON file holds: settings, and findings on both fields.

    Raises:
        UserError: if an option is out of range, or matplotlib is not installed.
    """
    if not bandwidth > 0 or not regularization > 0:
        raise UserError("bandwidth and regularization must be positive; give numbers above 0.")
    if not half_width >= 2.0:
        raise UserError(f"half_width={half_width} cuts the Gaussians; give at least 2.")
    canvas, axes = figure.new_figure(1, 2, 11.0, 5.4, sharex=True, sharey=True)
    axis = np.linspace(-half_width, half_width, 81 if quick else 321)
    grid = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1)

    def density(x: np.ndarray) -> np.ndarray:
        return (P.density(x) + Q.density(x)) / 2

    critic = sobolev_critic(density, lambda x: Q.density(x) - P.density(x), axis)
    sobolev = np.stack(np.gradient(critic, axis, axis, edge_order=2), axis=-1)
    cell = (axis[1] - axis[0]) ** 2
    norm = np.sqrt(np.sum(density(grid) * np.sum(sobolev**2, axis=-1)) * cell)
    sobolev = sobolev / norm
    distance, constrained = gcmmd_critic(P, Q, bandwidth, regularization, 8 if quick else 12)
    every = 1 if quick else 4
    coarse = grid[::every, ::every]
    _, gradient = constrained(coarse.reshape(-1, 2))
    fields = {"gcmmd": gradient.reshape(coarse.shape), "sobolev": sobolev[::every, ::every]}
    measured = {name: _measure(field, coarse, density(coarse)) for name, field in fields.items()}
    titles = {"gcmmd": "Gradient-Constrained MMD critic", "sobolev": "Sobolev IPM critic"}
    for panel, name in zip(axes[0], fields, strict=True):
        _draw(panel, coarse, fields[name], density(coarse), titles[name])
    result = {
        "settings": {
            "paper": "arXiv:1805.11565, appendix C, Figure 6",
            "P": P._asdict(),
            "Q": Q._asdict(),
            "mu": "(P + Q) / 2",
            "kernel": f"Gaussian, bandwidth {bandwidth:g}",
            "lambda": regularization,
            "domain": [-half_width, half_width],
            "grid": len(axis),
            "high density": f"mu at least {_LEVEL:g} of its largest value",
            "far side": "three standard deviations of Q and more to the right of its mean",
        },
        "findings": _findings(measured, distance, float(norm)),
        "fields": measured,
    }
    return figure.write(folder, "critic_fields", canvas, result)


def _measure(field: np.ndarray, grid: np.ndarray, density: np.ndarray) -> dict[str, float]:
    size = np.linalg.norm(field, axis=-1)
    high = density >= _LEVEL * density.max()
    far = grid[..., 0] >= Q.mean[0] + 3 * Q.std
    towards = np.asarray(P.mean) - grid
    against = np.sum(field * towards, axis=-1) < 0
    return {
        "mean_under_mu": float(np.average(size, weights=density)),
        "largest_high_density": float(size[high].max()),
        "largest_far_side": float(size[far].max()),
        "far_side_against_target": float(np.mean(against[far])),
        "far_to_high": float(size[far].max() / size[high].max()),
        "far_to_mean": float(size[far].max() / np.average(size, weights=density)),
    }


def _findings(measured: dict, distance: float, norm: float) -> list[dict[str, Any]]:
    rows = []
    claims = {"gcmmd": "not the case", "sobolev": "orders of magnitude"}
    away = {"gcmmd": "not given", "sobolev": "opposite to the target at the boundary"}
    for name, label in (("gcmmd", "GCMMD"), ("sobolev", "Sobolev")):
        of = measured[name]
        for key, text, paper in (
            ("mean_under_mu", "mean gradient norm under mu", "not given"),
            ("largest_high_density", "largest gradient where density is high", "not given"),
            ("largest_far_side", "largest gradient on the far side of Q", "not given"),
            ("far_to_high", "largest far / largest high density", claims[name]),
            ("far_to_mean", "largest far / mean under mu", claims[name]),
            ("far_side_against_target", "share of the far side pointing away from P", away[name]),
        ):
            rows.append({"quantity": f"{label}: {text}", "found": of[key], "paper": paper})
    rows.append({"quantity": "GCMMD(P, Q)", "found": distance, "paper": "not given"})
    rows.append({"quantity": "Sobolev IPM(P, Q)", "found": norm, "paper": "not given"})
    return [{**row, "found": float(f"{row['found']:.5g}")} for row in rows]


def _draw(panel: Any, grid: np.ndarray, field: np.ndarray, density: np.ndarray, title: str) -> None:
    panel.contour(
        grid[..., 0], grid[..., 1], density, levels=6, colors="#5dade2", linewidths=0.8, alpha=0.9
    )
    every = max(1, len(grid) // 27)
    start = (len(grid) - 1) % every // 2
    where, arrows = grid[start::every, start::every], field[start::every, start::every]
    size = np.linalg.norm(arrows, axis=-1, keepdims=True)
    spacing = where[1, 0, 0] - where[0, 0, 0]
    options = {"angles": "xy", "scale_units": "xy", "pivot": "tail"}
    x, y = where[..., 0], where[..., 1]
    unit = arrows / np.maximum(size, 1e-300) * 0.8 * spacing
    panel.quiver(x, y, unit[..., 0], unit[..., 1], color="0.75", scale=1, width=0.0022, **options)
    # The largest arrow of the high density region is three spacings long.
    high = density[start::every, start::every] >= _LEVEL * density.max()
    black = arrows / np.max(size[..., 0][high]) * 3 * spacing
    panel.quiver(x, y, black[..., 0], black[..., 1], color="k", scale=1, width=0.0028, **options)
    for measure, label in ((P, "P"), (Q, "Q")):
        panel.text(
            *measure.mean, label, color="#1a5276", fontsize=12, weight="bold", ha="center",
            va="center", bbox={"boxstyle": "circle,pad=0.15", "fc": "white", "ec": "#5dade2"},
        )  # fmt: skip
    reach = grid.max() + 0.5
    panel.set(title=title, aspect="equal", xlim=(-reach, reach), ylim=(-reach, reach))
