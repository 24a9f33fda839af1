"""The nine losses of the SMMD paper's eq. 28, on two Diracs, with their gradients.

Arbel, Sutherland, Binkowski & Gretton (2018), https://arxiv.org/abs/1805.11565, Example 1:
P = delta_0, Q = delta_theta, phi_psi(x) = psi x, K a Gaussian of bandwidth 1, so that
k(x, y) = exp(-psi^2 (x - y)^2 / 2), eta(x) = k(0, x) - k(theta, x) and, with u = psi^2 theta^2 / 2,
MMD^2 = 2 (1 - exp(-u)). The generator descends the squared distance in theta, the critic descends
eq. 28 in psi. Everything is float64 and broadcasts over arrays of theta and psi.

What the paper leaves open: one number `regularization` is every lambda of eq. 28, penalties too;
the f of the penalties is eta / |eta| (`normalize_witness`), or eta as in earlier work (App. E).
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from kgzoo.reproductions import dirac_programs

__all__ = ["LOSSES", "Loss", "losses", "velocity"]

_NODES = 64


class Term(NamedTuple):
    """A function of theta and psi with its gradient; arrays of one shape."""

    value: np.ndarray
    by_theta: np.ndarray
    by_psi: np.ndarray


class Loss(NamedTuple):
    """A row of eq. 28: critic's loss = -distance2 + regularization * penalty; equation in TeX."""

    title: str
    equation: str
    distance2: Callable[[np.ndarray, np.ndarray, float], Term]
    penalty: Callable[[np.ndarray, np.ndarray, bool], Term] | None = None


def losses(
    name: str,
    theta: np.ndarray,
    psi: np.ndarray,
    regularization: float = 1.0,
    normalize_witness: bool = True,
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the generator's and the critic's loss; arguments as for `velocity`."""
    distance2, penalty = _terms(name, theta, psi, regularization, normalize_witness)
    return distance2.value, -distance2.value + regularization * penalty.value


def velocity(
    name: str,
    theta: np.ndarray,
    psi: np.ndarray,
    regularization: float = 1.0,
    normalize_witness: bool = True,
) -> tuple[np.ndarray, np.ndarray]:
    """Returns minus the gradients: of the generator's loss in theta, of the critic's in psi.

    Args:
        name: a key of `LOSSES`.
        theta: where Q is.
        psi: the critic's parameter, of theta's shape.
        regularization: lambda > 0.
        normalize_witness: whether the f of the penalties is eta / |eta|, or else eta.
    """
    distance2, penalty = _terms(name, theta, psi, regularization, normalize_witness)
    return -distance2.by_theta, distance2.by_psi - regularization * penalty.by_psi


def _terms(
    name: str,
    theta: np.ndarray,
    psi: np.ndarray,
    regularization: float,
    normalize_witness: bool,
) -> tuple[Term, Term]:
    theta, psi = np.broadcast_arrays(np.asarray(theta, float), np.asarray(psi, float))
    loss = LOSSES[name]
    distance2 = loss.distance2(theta, psi, regularization)
    if loss.penalty is None:
        nothing = np.zeros_like(theta)
        return distance2, Term(nothing, nothing, nothing)
    return distance2, loss.penalty(theta, psi, normalize_witness)


def _mmd2(theta: np.ndarray, psi: np.ndarray, regularization: float = 0.0) -> Term:
    u = (psi * theta) ** 2 / 2
    near = 2 * np.exp(-u)
    return Term(-2 * np.expm1(-u), psi**2 * theta * near, psi * theta**2 * near)


def _spectrally_normalized(theta: np.ndarray, psi: np.ndarray, regularization: float) -> Term:
    # psi / |psi| is what the critic multiplies with: 1, whatever psi.
    mmd2 = _mmd2(theta, np.ones_like(psi))
    return Term(2 * mmd2.value, 2 * mmd2.by_theta, np.zeros_like(psi))


def _smmd2(theta: np.ndarray, psi: np.ndarray, regularization: float) -> Term:
    # sigma^-2 = lambda + k(x, x) + d2k/dxdy(x, x), the same for every mu.
    mmd2, inverse = _mmd2(theta, psi), 1 / (regularization + 1 + psi**2)
    return Term(
        inverse * mmd2.value,
        inverse * mmd2.by_theta,
        inverse * mmd2.by_psi - 2 * psi * inverse**2 * mmd2.value,
    )


def _gcmmd2(theta: np.ndarray, psi: np.ndarray, regularization: float) -> Term:
    return Term(*dirac_programs.gcmmd2(theta, psi, regularization))


def _lipmmd2(theta: np.ndarray, psi: np.ndarray, regularization: float) -> Term:
    return Term(*dirac_programs.lipmmd2(theta, psi, regularization))


class _Slope(NamedTuple):
    """|f'| is `scale` times a function of u; `growth` = d ln scale / d ln psi."""

    scale: np.ndarray
    over_psi: np.ndarray
    growth: np.ndarray


def _slope(theta: np.ndarray, psi: np.ndarray, normalize_witness: bool) -> _Slope:
    """|eta'(0)| = |eta'(theta)| = psi^2 |theta| exp(-u); divided by |eta| it is finite at 0."""
    if not normalize_witness:
        return _Slope(psi**2 * np.abs(theta), psi * np.abs(theta), np.full_like(psi, 2.0))
    u = (psi * theta) ** 2 / 2
    some = np.where(u > 0, u, 1.0)
    # sqrt(u / (1 - e^-u)) and u / (e^u - 1), both 1 at u = 0.
    root = np.where(u > 0, np.sqrt(some / -np.expm1(-some)), 1.0)
    ratio = np.where(u > 0, some * np.exp(-some) / -np.expm1(-some), 1.0)
    return _Slope(np.abs(psi) * root, np.sign(psi) * root, 2 - ratio)


def _slope_at_points(
    theta: np.ndarray, psi: np.ndarray, normalize_witness: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Returns |f'| at 0, which is also that at theta, and its derivative by psi."""
    u = (psi * theta) ** 2 / 2
    slope = _slope(theta, psi, normalize_witness)
    near = np.exp(-u)
    return slope.scale * near, slope.over_psi * near * (slope.growth - 2 * u)


def _penalty_at_real(theta: np.ndarray, psi: np.ndarray, normalize_witness: bool) -> Term:
    steepness, by_psi = _slope_at_points(theta, psi, normalize_witness)
    return Term((steepness - 1) ** 2, np.zeros_like(psi), 2 * (steepness - 1) * by_psi)


@functools.cache
def _half_interval() -> tuple[np.ndarray, np.ndarray]:
    """Returns Gauss-Legendre nodes on [0, 1/2] and weights that sum to 1."""
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    return (nodes + 1) / 4, weights / 2


def _penalty_between(theta: np.ndarray, psi: np.ndarray, normalize_witness: bool) -> Term:
    """E (|f'(t theta)| - 1)^2 over t ~ U[0, 1] by Gauss-Legendre; the same for t and 1 - t."""
    t, weights = _half_interval()
    u = ((psi * theta) ** 2 / 2)[..., None]
    slope = _Slope(*(part[..., None] for part in _slope(theta, psi, normalize_witness)))
    left, right = np.exp(-u * t**2), np.exp(-u * (1 - t) ** 2)
    shape = t * left + (1 - t) * right
    by_log_psi = slope.growth * shape - 2 * u * (t**3 * left + (1 - t) ** 3 * right)
    excess = slope.scale * shape - 1
    return Term(
        excess**2 @ weights,
        np.zeros_like(psi),
        (2 * excess * slope.over_psi * by_log_psi) @ weights,
    )


def _sobolev_penalty(target: float) -> Callable[[np.ndarray, np.ndarray, bool], Term]:
    def penalty(theta: np.ndarray, psi: np.ndarray, normalize_witness: bool) -> Term:
        steepness, by_psi = _slope_at_points(theta, psi, normalize_witness)
        excess = steepness**2 - target
        return Term(excess**2, np.zeros_like(psi), 4 * excess * steepness * by_psi)

    return penalty


LOSSES: dict[str, Loss] = {
    "mmd": Loss("MMD", r"$-\mathrm{MMD}^2$", _mmd2),
    "mmd_gp": Loss(
        "MMD-GP", r"$-\mathrm{MMD}^2 + \lambda E_P(|f'| - 1)^2$", _mmd2, _penalty_at_real
    ),
    "mmd_gp_unif": Loss(
        "MMD-GP-Unif",
        r"$-\mathrm{MMD}^2 + \lambda E_{\mu^*}(|f'| - 1)^2$",
        _mmd2,
        _penalty_between,
    ),
    "sn_mmd": Loss("SN-MMD", r"$-2\,\mathrm{MMD}^2$ at $\psi = 1$", _spectrally_normalized),
    "sobolev_mmd": Loss(
        "Sobolev-MMD",
        r"$-\mathrm{MMD}^2 + \lambda (E_{(P+Q)/2} f'^2 - 1)^2$",
        _mmd2,
        _sobolev_penalty(1.0),
    ),
    "centered_sobolev_mmd": Loss(
        "CenteredSobolev-MMD",
        r"$-\mathrm{MMD}^2 + \lambda (E_{(P+Q)/2} f'^2)^2$",
        _mmd2,
        _sobolev_penalty(0.0),
    ),
    "lipmmd": Loss("LipMMD", r"$-\mathrm{LipMMD}^2$", _lipmmd2),
    "gcmmd": Loss("GC-MMD", r"$-\mathrm{GCMMD}^2$, $\mu = N(0, 10^2)$", _gcmmd2),
    "smmd": Loss("SMMD", r"$-\mathrm{SMMD}^2$, $\mu = P$", _smmd2),
}
