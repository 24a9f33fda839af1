"""The flow of the repulsive MMD-GAN paper's two-parameter GAN (Appendix A.2), exactly.

Wang, Sun & Halgamuge (2019), https://arxiv.org/abs/1812.09916. z ~ U[-1, 1], G(z) = w1 z,
D(x) = w2 x^2, Gaussian kernel of bandwidth 0.5, data U[-1, 1] or N(0, 1). The flow is
w1' = -dL_G/dw1, w2' = -dL_D/dw2 with L_G = MMD^2 (S1a) and L_D = -MMD^2 (attractive, S1b) or
E k(x, x') - E k(y, y') (repulsive, S1c); the names are those of the loss, not of the equilibrium.

Expectations are Gauss-Legendre sums, not samples: with n nodes on [0, 1] for |z| and on [0, 7],
weighted by the density, for |x| of normal data (2.6e-12 of the mass is left out). Gauss-Hermite
nodes lie too far apart for k, which is narrow in x where x is large.
"""

import functools
import itertools
from typing import NamedTuple

import numpy as np

__all__ = [
    "DATA",
    "LOSSES",
    "W1",
    "W2",
    "equilibria",
    "equilibrium_from",
    "flow_paths",
    "jacobian",
    "separatrix",
    "trivial_above",
    "velocity",
]

LOSSES = ("attractive", "repulsive")
DATA = ("uniform", "normal")
# The range that is searched and drawn.
W1, W2 = (0.0, 3.0), (0.0, 2.6)

_INVERSE_SCALE = 1 / (2 * 0.5**2)
_FARTHEST = 7.0
_CHUNK = 32
# Of x^2 and its mean.
_VARIANCE = {"uniform": 4 / 45, "normal": 2.0}
_SECOND_MOMENT = {"uniform": 1 / 3, "normal": 1.0}


class Rule(NamedTuple):
    """Nodes and weights [n] for |x| and for |z|; all moments used are of even functions."""

    x: np.ndarray
    x_weights: np.ndarray
    z: np.ndarray
    z_weights: np.ndarray


@functools.cache
def _rule(data: str, num_nodes: int) -> Rule:
    nodes, weights = np.polynomial.legendre.leggauss(num_nodes)
    z, z_weights = (nodes + 1) / 2, weights / 2
    if data == "uniform":
        return Rule(z, z_weights, z, z_weights)
    x = _FARTHEST * z
    density = np.sqrt(2 / np.pi) * np.exp(-(x**2) / 2)
    return Rule(x, _FARTHEST * z_weights * density, z, z_weights)


def velocity(
    w1: np.ndarray, w2: np.ndarray, data: str, loss: str, num_nodes: int = 128
) -> tuple[np.ndarray, np.ndarray]:
    """Returns (w1', w2') of the flow; analytic, so it also takes complex steps.

    Args:
        w1: the generator's parameter.
        w2: the critic's, of w1's shape.
        data: uniform or normal.
        loss: attractive or repulsive.
        num_nodes: of each one-dimensional rule.
    """
    w1, w2 = np.broadcast_arrays(w1, w2)
    shape, flat1, flat2 = w1.shape, w1.ravel(), w2.ravel()
    parts = [
        _velocity(flat1[i : i + _CHUNK], flat2[i : i + _CHUNK], _rule(data, num_nodes), loss)
        for i in range(0, flat1.size, _CHUNK)
    ]
    first, second = (np.concatenate(part).reshape(shape) for part in zip(*parts, strict=True))
    return first, second


def _velocity(
    w1: np.ndarray, w2: np.ndarray, rule: Rule, loss: str
) -> tuple[np.ndarray, np.ndarray]:
    """The same for w1, w2 [p]: k = exp(-c w2^2 q^2), q a difference of squares of x or w1 z."""
    w1, w2 = w1[:, None, None], w2[:, None, None]
    real, latent = rule.x**2, rule.z**2
    c = _INVERSE_SCALE
    q_xx = real[:, None] - real
    q_xy = real[:, None] - w1**2 * latent
    q_yy = w1**2 * (latent[:, None] - latent)
    k_xx, k_xy, k_yy = (np.exp(-c * (w2 * q) ** 2) for q in (q_xx, q_xy, q_yy))

    def mean(values: np.ndarray, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        return (values @ right) @ left

    x, z = rule.x_weights, rule.z_weights
    xy_by_w1 = mean(4 * c * w2**2 * w1 * q_xy * latent * k_xy, x, z)
    # q_yy^2 / w1 without the division.
    yy_by_w1 = mean(-4 * c * w2**2 * w1**3 * (latent[:, None] - latent) ** 2 * k_yy, z, z)
    xx_by_w2 = mean(-2 * c * w2 * q_xx**2 * k_xx, x, x)
    xy_by_w2 = mean(-2 * c * w2 * q_xy**2 * k_xy, x, z)
    yy_by_w2 = mean(-2 * c * w2 * q_yy**2 * k_yy, z, z)
    critic = {
        "attractive": -(xx_by_w2 - 2 * xy_by_w2 + yy_by_w2),
        "repulsive": xx_by_w2 - yy_by_w2,
    }[loss]
    return 2 * xy_by_w1 - yy_by_w1, -critic


def jacobian(point: tuple[float, float], data: str, loss: str, num_nodes: int = 128) -> np.ndarray:
    """Returns the flow's Jacobian [2, 2] at (w1, w2), by complex steps: exact to rounding."""
    step = 1e-30
    columns = []
    for direction in np.eye(2):
        w1, w2 = (np.array([w]) for w in np.asarray(point) + 1j * step * direction)
        columns.append([part[0].imag / step for part in velocity(w1, w2, data, loss, num_nodes)])
    return np.array(columns).T


def equilibrium_from(
    start: tuple[float, float], data: str, loss: str, num_nodes: int = 128
) -> tuple[float, float] | None:
    """Returns the zero of the flow that Powell's method finds from `start`, or None.

    Signs are dropped: the flow has the symmetries w1 -> -w1 and w2 -> -w2.
    """
    from scipy import optimize

    answer = optimize.root(
        lambda point: [float(part) for part in velocity(*point, data, loss, num_nodes)],
        start,
        jac=lambda point: jacobian(point, data, loss, num_nodes),
        options={"xtol": 1e-13, "maxfev": 60},
    )
    if np.max(np.abs(answer.fun)) > 1e-11:
        return None
    return float(abs(answer.x[0])), float(abs(answer.x[1]))


def equilibria(
    data: str, loss: str, num_nodes: int = 128, starts_per_side: int = 5
) -> list[tuple[float, float]]:
    """Finds the flow's zeros with 0.2 < w1 < 3 and 0.05 < w2 < 2.6.

    Args:
        data: normal, or uniform, where the zeros found are some of the line w1 = 1.
        loss: attractive or repulsive.
        num_nodes: of each one-dimensional rule.
        starts_per_side: of a grid of starting points.
    """
    found: list[tuple[float, float]] = []
    box = (np.linspace(0.4, 2.8, starts_per_side), np.linspace(0.15, 1.8, starts_per_side))
    for start in itertools.product(*box):
        point = equilibrium_from(start, data, loss, num_nodes)
        if point is None or not (0.2 < point[0] < W1[1] and 0.05 < point[1] < W2[1]):
            continue
        if all(np.hypot(point[0] - a, point[1] - b) > 1e-6 for a, b in found):
            found.append(point)
    return sorted(found)


def trivial_above(data: str) -> float:
    """Returns the w1 above which the repulsive loss draws small w2 to 0.

    For small w2, L_D = 2c w2^2 (Var y^2 - Var x^2), with Var y^2 = 4 w1^4 / 45.
    """
    return (_VARIANCE[data] * 45 / 4) ** 0.25


def separatrix(data: str, generator_rate: float = 1.0, num_nodes: int = 64) -> np.ndarray:
    """Returns the edge of the region from which the repulsive flow ends at w2 = 0.

    It is the path that ends at (`trivial_above`, 0), followed backwards in time. There, for small
    w2, w1' = -8c/3 w2^2 w1 (w1^2/3 - E x^2) and w2' = -4c w2 (Var y^2 - Var x^2), which gives its
    first point.

    Args:
        data: uniform or normal.
        generator_rate: factor of w1', a learning rate relative to the critic's.
        num_nodes: of each one-dimensional rule.

    Returns:
        Points (w1, w2) [n, 2] from the bottom to the edge of the range drawn.
    """
    from scipy import integrate

    w1, w2 = trivial_above(data), 0.02
    excess = w1**2 / 3 - _SECOND_MOMENT[data]
    if excess > 1e-9:
        offset = w2 * np.sqrt(generator_rate * 15 / 8 * excess) / w1
    else:
        offset = 5 / 8 * generator_rate * w2**2

    def backwards(_: float, point: np.ndarray) -> np.ndarray:
        first, second = velocity(*point, data, "repulsive", num_nodes)
        move = -np.array([generator_rate * float(first), float(second)])
        return move / np.hypot(*move)

    def outside(_: float, point: np.ndarray) -> float:
        return min(W1[1] - point[0], W2[1] - point[1])

    outside.terminal = True
    start = [w1 + offset, w2]
    answer = integrate.solve_ivp(
        backwards, (0, 10.0), start, events=outside, rtol=1e-6, atol=1e-9, max_step=0.05
    )
    return np.vstack([[w1, 0.0], answer.y.T])


def flow_paths(
    starts: np.ndarray,
    data: str,
    loss: str,
    time: float,
    num_nodes: int = 64,
) -> np.ndarray:
    """Follows the flow from several points at once (LSODA).

    Args:
        starts: (w1, w2) [n, 2].
        data: uniform or normal.
        loss: attractive or repulsive.
        time: to follow it.
        num_nodes: of each one-dimensional rule.

    Returns:
        Paths (w1, w2) [times, n, 2]; the last entry is where they end.
    """
    from scipy import integrate

    def right(_: float, state: np.ndarray) -> np.ndarray:
        first, second = velocity(*state.reshape(-1, 2).T, data, loss, num_nodes)
        return np.stack([first, second], axis=-1).ravel()

    answer = integrate.solve_ivp(
        right, (0, time), np.ravel(starts), method="LSODA", rtol=1e-6, atol=1e-9
    )
    return answer.y.T.reshape(-1, len(starts), 2)
