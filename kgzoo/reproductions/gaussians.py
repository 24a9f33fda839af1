"""Distances of the SMMD paper's section 3 between Gaussians on the line, without samples.

Arbel, Sutherland, Binkowski and Gretton (2018), arXiv:1805.11565. The kernel is that of Example 1,
k(x, y) = exp(-psi^2 (x - y)^2 / 2); a point mass is a Gaussian of standard deviation 0. The MMD and
the witness eta are closed forms. In the Gradient-Constrained MMD the measure mu becomes weights w_m
at equidistant nodes X_m (the trapezoid rule, whose error for such integrands falls faster than any
power of the spacing), and Proposition 3 for weighted points reads, from D = T* W T + lambda I with
T f = [f(X_m); f'(X_m)] and W = diag(w_m, w_m):

    GCMMD^2 = (MMD^2 - u^T (W^(1/2) T T* W^(1/2) + lambda I)^-1 u) / lambda,   u = W^(1/2) T eta

w_m = 1/M is the printed form. Values and derivatives of a node stand together, so that the system
is banded: narrow kernels cost no more than wide ones.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

__all__ = [
    "Gaussian",
    "Lipschitz",
    "gcmmd",
    "gcmmd_critic",
    "lipmmd",
    "mmd",
    "nodes",
    "smmd",
    "witness",
]

_REACH = 8.5  # the kernel at so many of its widths is 2e-16
_TAIL = 8.0  # standard deviations of mu that the nodes cover


class Gaussian(NamedTuple):
    """N(mean, std^2) on the line; arrays broadcast, std = 0 is a point mass."""

    mean: np.ndarray | float
    std: np.ndarray | float


def _overlap(psi: float, p: Gaussian, q: Gaussian) -> np.ndarray:
    """Returns E k(X, Y) of independent X ~ P, Y ~ Q."""
    width2 = 1.0 + psi**2 * (np.square(p.std) + np.square(q.std))
    return np.exp(-(psi**2) * np.square(np.subtract(p.mean, q.mean)) / (2 * width2)) / width2**0.5


def _mmd2(psi: float, p: Gaussian, q: Gaussian) -> np.ndarray:
    # The mean of Q against itself is 0 whatever it is: only its spread counts.
    within = _overlap(psi, Gaussian(0.0, p.std), Gaussian(0.0, p.std))
    within = within + _overlap(psi, Gaussian(0.0, q.std), Gaussian(0.0, q.std))
    return np.maximum(within - 2.0 * _overlap(psi, p, q), 0.0)


def mmd(psi: float, p: Gaussian, q: Gaussian) -> np.ndarray:
    """Returns MMD(P, Q) (eq. 1), not squared, of the broadcast shape of P and Q."""
    return np.sqrt(_mmd2(psi, p, q))


def smmd(psi: float, p: Gaussian, q: Gaussian, regularization: float) -> np.ndarray:
    """Returns the Scaled MMD (eq. 7), not squared; sigma^-2 = lambda + 1 + psi^2 for every mu."""
    return mmd(psi, p, q) / np.sqrt(regularization + 1.0 + psi**2)


def witness(
    psi: float, p: Gaussian, q: Gaussian, points: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns eta = E_P k(X, .) - E_Q k(Y, .) and its derivative at `points`, broadcast."""
    value, slope = 0.0, 0.0
    for sign, measure in ((1.0, p), (-1.0, q)):
        width2 = 1.0 + psi**2 * np.square(measure.std)
        offset = np.subtract(points, measure.mean)
        bump = sign * np.exp(-(psi**2) * offset**2 / (2 * width2)) / np.sqrt(width2)
        value, slope = value + bump, slope - psi**2 * offset / width2 * bump
    return value, slope


def nodes(psi: float, mu: Gaussian, resolution: float) -> tuple[np.ndarray, np.ndarray]:
    """Returns equidistant points [M] and weights [M] of sum 1 that stand for a Gaussian mu.

    Args:
        psi: the kernel's; nodes are at most 1 / (resolution psi) apart.
        mu: the measure; a point mass is one node.
        resolution: nodes to a standard deviation of mu, and to a kernel width 1/psi, at least.
    """
    if mu.std == 0:
        return np.array([float(mu.mean)]), np.ones(1)
    spacing = min(mu.std, 1.0 / psi) / resolution
    count = int(np.ceil(_TAIL * mu.std / spacing))
    offsets = spacing * np.arange(-count, count + 1)
    weights = np.exp(-((offsets / mu.std) ** 2) / 2)
    return mu.mean + offsets, weights / weights.sum()


def _solve(
    psi: float, points: np.ndarray, weights: np.ndarray, values: np.ndarray, regularization: float
) -> np.ndarray:
    """Returns W^(1/2) (W^(1/2) T T* W^(1/2) + lambda I)^-1 W^(1/2) v for v = `values` [2M, q]."""
    import scipy.linalg

    count = len(points)
    spacing = points[1] - points[0] if count > 1 else 1.0
    reach = min(count - 1, int(_REACH / (psi * spacing)))
    root = np.sqrt(weights)
    # Row i of `bands` is the i-th diagonal below the main one; node m has rows 2m and 2m + 1.
    bands = np.zeros([2 * reach + 2, 2 * count])
    for step in range(reach + 1):
        offset = step * spacing
        k = np.exp(-((psi * offset) ** 2) / 2)
        pair = root[step:] * root[: count - step]
        columns = 2 * np.arange(count - step)
        bands[2 * step, columns] = pair * k
        bands[2 * step, columns + 1] = pair * (psi**2 - psi**4 * offset**2) * k
        bands[2 * step + 1, columns] = -pair * psi**2 * offset * k
        if step:
            bands[2 * step - 1, columns + 1] = pair * psi**2 * offset * k
    bands[0] += regularization
    scale = np.repeat(root, 2)[:, None]
    return scale * scipy.linalg.solveh_banded(bands, scale * values, lower=True)


def _stack(values: np.ndarray, slopes: np.ndarray) -> np.ndarray:
    """Returns [M, q] values and slopes interleaved: [2M, q]."""
    return np.stack([values, slopes], axis=1).reshape(-1, values.shape[1])


def gcmmd(
    psi: float,
    p: Gaussian,
    q: Gaussian,
    mu: Gaussian,
    regularization: float,
    resolution: float = 2.0,
) -> np.ndarray:
    """Returns the Gradient-Constrained MMD (eq. 5), not squared.

    Args:
        psi: the kernel's.
        p: one Gaussian.
        q: one Gaussian or arrays of them.
        mu: where the critic and its slope are bounded: one Gaussian.
        regularization: lambda.
        resolution: of the nodes; at 2 the distance is exact to about eight digits.

    Returns:
        The distance, of q's shape.
    """
    shape = np.broadcast_shapes(np.shape(q.mean), np.shape(q.std))
    flat = Gaussian(*(np.broadcast_to(part, shape).reshape(1, -1) for part in q))
    points, weights = nodes(psi, mu, resolution)
    values = _stack(*witness(psi, p, flat, points[:, None]))
    explained = np.sum(values * _solve(psi, points, weights, values, regularization), axis=0)
    squared = (_mmd2(psi, p, flat)[0] - explained) / regularization
    return np.sqrt(np.maximum(squared, 0.0)).reshape(shape)


def gcmmd_critic(
    psi: float,
    p: Gaussian,
    q: Gaussian,
    mu: Gaussian,
    regularization: float,
    points: np.ndarray,
    resolution: float = 2.0,
) -> np.ndarray:
    """Returns the critic that attains `gcmmd` at `points` [t]: the g of Prop. 3's proof / GCMMD."""
    where, weights = nodes(psi, mu, resolution)
    values = _stack(*witness(psi, p, q, where[:, None]))
    terms = _solve(psi, where, weights, values, regularization)[:, 0]
    offset = points[:, None] - where[None, :]
    k = np.exp(-((psi * offset) ** 2) / 2)
    # T* c = sum_m c_m k(X_m, .) + c'_m d/dX_m k(X_m, .)
    spread = k @ terms[0::2] + (psi**2 * offset * k) @ terms[1::2]
    g = (witness(psi, p, q, points)[0] - spread) / regularization
    return g / gcmmd(psi, p, q, mu, regularization, resolution)


class Lipschitz(NamedTuple):
    """The solution of `lipmmd`: the distance, a bound from below, and the critic on the line."""

    value: float
    lower: float
    critic: Callable[[np.ndarray], np.ndarray]


def lipmmd(
    psi: float, p: Gaussian, q: Gaussian, regularization: float, tolerance: float = 1e-5
) -> Lipschitz:
    """Returns the Lipschitz MMD (eq. 4), not squared, between two Gaussians of the line.

    1 / LipMMD^2 is the least L^2 + lambda ||f||^2 over L and f with <f, eta> >= 1, |f'(z)| <= L: a
    least-distance problem, which non-negative least squares solve (Lawson and Hanson 1974, ch. 23).
    Peaks of the slope join the points z until the bound from below (the critic made feasible on the
    line) meets the one from above (bounded at the points alone).

    Args:
        psi: the kernel's.
        p, q: Gaussians of scalars.
        regularization: lambda.
        tolerance: relative difference of the two bounds at which the search ends.
    """
    import scipy.signal

    around = 4.0 / psi + 2.0 * max(p.std, q.std)
    low, high = min(p.mean, q.mean) - around, max(p.mean, q.mean) + around
    # An odd number of points: the middle of the two means, where wide kernels are steepest.
    line = np.linspace(low, high, 2 * int(np.ceil(20 * psi * (high - low))) + 1)
    slopes = witness(psi, p, q, line)[1]
    chosen = np.arange(0, len(line), 8)
    for _ in range(20):
        points = line[chosen]
        share, terms, squared = _least_distance(
            psi, points, slopes[chosen], mmd(psi, p, q), regularization
        )
        upper = squared**-0.5
        away = line[:, None] - points[None, :]
        k = np.exp(-((psi * away) ** 2) / 2)
        steep = np.abs(share * slopes - ((psi**2 - psi**4 * away**2) * k) @ terms)
        bound = np.max(steep[chosen])
        norm2 = squared - bound**2 + np.max(steep) ** 2
        if norm2**-0.5 >= upper * (1 - tolerance):
            break
        peaks, _ = scipy.signal.find_peaks(steep, bound)
        chosen = np.union1d(chosen, peaks)

    def critic(x: np.ndarray) -> np.ndarray:
        away = x[:, None] - points[None, :]
        spread = (psi**2 * away * np.exp(-((psi * away) ** 2) / 2)) @ terms
        return (share * witness(psi, p, q, x)[0] - spread) / norm2**0.5

    return Lipschitz(float(upper), float(norm2**-0.5), critic)


def _least_distance(
    psi: float, points: np.ndarray, slopes: np.ndarray, norm: float, regularization: float
) -> tuple[float, np.ndarray, float]:
    """Returns a, b and the least L^2 + lambda ||f||^2 with <f, eta> = 1, attained by
    f = a eta - sum_j b_j d/dz_j k(z_j, .); `slopes` are eta' there, `norm` is ||eta||.
    """
    import scipy.optimize

    offset = points[:, None] - points[None, :]
    gram = np.empty([len(points) + 1] * 2)
    # In units in which every row has norm 1: eta / ||eta|| and d_j / psi.
    gram[1:, 1:] = (1 - (psi * offset) ** 2) * np.exp(-((psi * offset) ** 2) / 2)
    gram[0, 1:] = gram[1:, 0] = slopes / (psi * norm)
    gram[0, 0] = 1.0
    size, vectors = np.linalg.eigh(gram)
    kept = size > 1e-14 * size[-1]
    rows = vectors[:, kept] * np.sqrt(size[kept])
    # x = (sqrt(lambda) f, L): rows of G x >= h, h = (1, 0, ..., 0).
    weight = psi / regularization**0.5
    slack = np.ones([2 * len(points), 1])
    below = np.concatenate([-weight * rows[1:], weight * rows[1:]])
    matrix = np.vstack([np.append(rows[0] / regularization**0.5, 0.0), np.hstack([below, slack])])
    target = np.zeros(matrix.shape[1] + 1)
    target[-1] = 1.0
    dual, _ = scipy.optimize.nnls(np.vstack([matrix.T, np.eye(1, len(matrix))]), target)
    # x = G^T u / (1 - h u), and <f, eta> = ||eta|| before it is scaled to 1.
    scale = 1.0 / (1.0 - dual[0])
    x = matrix.T @ dual * scale
    signed = dual[1 : 1 + len(points)] - dual[1 + len(points) :]
    factor = scale / (regularization * norm)
    return factor * dual[0] / norm, factor * signed, float(x @ x) / norm**2
