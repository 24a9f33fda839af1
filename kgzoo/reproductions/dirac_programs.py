"""GCMMD^2 and LipMMD^2 of two Diracs: the two distances that need a linear system or a programme.

The setting is that of `two_diracs`. In the scaled coordinate s = psi x the kernel is
exp(-(s - s')^2 / 2) whatever psi, the Diracs are at 0 and tau = psi theta, and f'(x) = psi f_s.
Both functions return the value and its derivatives by theta and psi, float64, of theta's shape.
"""

import functools

import numpy as np
from scipy import optimize

__all__ = ["gcmmd2", "lipmmd2"]

_MU_DEVIATION = 10.0
# How far beyond the Diracs the grid goes, in units of 1 / psi: the critic decays exponentially, the
# faster the larger lambda is beside mu's density. With spacing 0.5 the relative error, derivatives
# included, is below 1e-8 for lambda = 1, and below 2e-5 for lambda = 0.1, up to psi = 2.5.
_MARGIN = 12.0
_SPACING = 0.5
# Where LipMMD's slope is bounded, and the grid of the functions that stand for kernel sections.
_BOUND_SPACING = 0.02
_BOUND_MARGIN = 4.0
_FEATURE_SPACING = 0.4


def gcmmd2(
    theta: np.ndarray, psi: np.ndarray, regularization: float = 1.0, spacing: float = _SPACING
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """GCMMD^2 with mu = N(0, 10^2), by Prop. 3's system on an equidistant grid.

    The rule (weights mu(x_m) dx instead of 1/M) is exact to many digits: what it integrates, f^2 mu
    and f'^2 mu, is smooth at the scale of the kernel, and the grid is finer than that.

    Args:
        theta: where Q is.
        psi: not 0; of theta's shape.
        regularization: lambda > 0.
        spacing: of the grid, in units of the kernel's bandwidth 1 / psi.

    Returns:
        Value, derivative by theta, derivative by psi.
    """
    shape = np.shape(theta)
    theta, psi = np.ravel(theta), np.ravel(psi)
    width, tau = np.abs(psi), np.abs(psi * theta)
    s = np.arange(-_MARGIN, tau.max(initial=0.0) + _MARGIN + spacing, spacing)
    matrix = _kernel_and_derivatives(s)
    # sqrt of the weights of f(x_m)^2 and of psi^2 f_s(s_m)^2; d ln / d ln psi of both.
    x = s / width[:, None]
    density = np.exp(-0.5 * (x / _MU_DEVIATION) ** 2) / (_MU_DEVIATION * np.sqrt(2 * np.pi))
    root = np.sqrt(density * spacing / width[:, None])
    roots = np.concatenate([root, width[:, None] * root], axis=1)
    growth = 0.5 * ((x / _MU_DEVIATION) ** 2 - 1)
    growth = np.concatenate([growth, growth + 1], axis=1)
    witness, witness_by_tau = _witness(s, tau)
    system = roots[:, :, None] * matrix * roots[:, None, :]
    system += regularization * np.eye(2 * s.size)
    solution = np.linalg.solve(system, (roots * witness)[..., None])[..., 0]
    weighted = roots * solution
    value = -2 * np.expm1(-(tau**2) / 2) - np.sum(witness * weighted, axis=1)
    by_tau = 2 * tau * np.exp(-(tau**2) / 2) - 2 * np.sum(witness_by_tau * weighted, axis=1)
    by_log_psi = -2 * regularization * np.sum(growth * solution**2, axis=1)
    return tuple(
        part.reshape(shape)
        for part in _chain(value, by_tau, by_log_psi / width, theta, psi, regularization)
    )


def _chain(
    value: np.ndarray,
    by_tau: np.ndarray,
    by_width: np.ndarray,
    theta: np.ndarray,
    psi: np.ndarray,
    regularization: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Turns derivatives of lambda V(|psi theta|, |psi|) into those of V by theta and psi."""
    by_theta = np.sign(theta) * np.abs(psi) * by_tau
    by_psi = np.sign(psi) * (np.abs(theta) * by_tau + by_width)
    return value / regularization, by_theta / regularization, by_psi / regularization


def _kernel_and_derivatives(s: np.ndarray) -> np.ndarray:
    """Returns Prop. 3's [[K, G^T], [G, H]] [2 m, 2 m] of the points s [m]."""
    difference = s[:, None] - s[None, :]
    kernel = np.exp(-0.5 * difference**2)
    left = -difference * kernel
    return np.block([[kernel, left.T], [left, (1 - difference**2) * kernel]])


def _witness(s: np.ndarray, tau: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns [eta, eta_s] at s, and its derivative by tau; both [n, 2 m] for tau [n]."""
    beyond = s - tau[:, None]
    real, fake = np.exp(-0.5 * s**2), np.exp(-0.5 * beyond**2)
    witness = np.concatenate([real - fake, -s * real + beyond * fake], axis=1)
    by_tau = np.concatenate([-beyond * fake, (beyond**2 - 1) * fake], axis=1)
    return witness, by_tau


def lipmmd2(
    theta: np.ndarray,
    psi: np.ndarray,
    regularization: float = 1.0,
    spacing: float = _BOUND_SPACING,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """LipMMD^2, by the dual of its convex programme, a non-negative least squares problem.

    LipMMD^2 = max_f 2 <eta, f> - lambda |f|^2 - psi^2 max_z f_s(z)^2
             = min_a |eta - sum_j a_j g_j|^2 / lambda + |a|_1^2 / psi^2,
    where g_j is the section with <g_j, f> = f_s(z_j). With t bounding |f_s| on the grid z, the
    first line is quadratic with linear constraints; a are their multipliers. At the optimum
    f = (eta - sum_j a_j g_j) / lambda; the derivatives are those of the second line at fixed a.

    Args:
        theta: where Q is.
        psi: not 0; of theta's shape.
        regularization: lambda > 0.
        spacing: of the grid z, in units of 1 / psi. Leaves a relative error of about spacing^2 / 8.

    Returns:
        Value, derivative by theta, derivative by psi.
    """
    rows = [
        _lipmmd2(abs(t * p), abs(p), regularization, spacing)
        for t, p in zip(np.ravel(theta), np.ravel(psi), strict=True)
    ]
    value, by_tau, by_width = (
        np.reshape(part, np.shape(theta)) for part in zip(*rows, strict=True)
    )
    return _chain(value, by_tau, by_width, np.asarray(theta), np.asarray(psi), regularization)


def _lipmmd2(
    tau: float, width: float, regularization: float, spacing: float
) -> tuple[float, float, float]:
    """Returns lambda LipMMD^2 and its derivatives by tau and by |psi|."""
    # Rounded up, so that paths and fields share a few grids.
    r, columns = _bounded_slopes(np.ceil(tau), spacing)
    witness = _section(r, -tau / 2) - _section(r, tau / 2)
    price = 2 * np.sqrt(regularization) / width
    matrix = np.vstack([np.hstack([columns, -columns]), np.full((1, 2 * columns.shape[1]), price)])
    multipliers, _ = optimize.nnls(matrix, np.append(witness, 0.0))
    critic = witness - matrix[:-1] @ multipliers
    cost = price * np.sum(multipliers)
    # Both Diracs move by half of what tau grows; f_s is even, so both give the same.
    by_tau = -critic @ (_slope_section(r, tau / 2) + _slope_section(r, -tau / 2))
    return float(critic @ critic + cost**2), float(by_tau), float(-2 * cost**2 / width)


@functools.lru_cache(maxsize=64)
def _bounded_slopes(tau: float, spacing: float) -> tuple[np.ndarray, np.ndarray]:
    """Returns the grid r > 0 [k] and the sections of f_s(z) + f_s(-z), z >= 0, as columns [k, m].

    The coordinate has its origin midway between the Diracs: eta is odd there, and so is the best f.
    """
    z = np.arange(0.0, tau / 2 + _BOUND_MARGIN + spacing, spacing)
    r = np.arange(_FEATURE_SPACING / 2, z[-1] + 5.0, _FEATURE_SPACING)
    return r, _slope_section(r[:, None], z) + _slope_section(r[:, None], -z)


def _section(r: np.ndarray, centre: float) -> np.ndarray:
    """The kernel's section at `centre` as a function on r > 0 whose dot products are the RKHS's.

    (2/pi)^(1/2) int exp(-(r - c)^2 - (r - c')^2) dr = exp(-(c - c')^2 / 2), and for odd functions
    half the line is enough. On a grid this fine the sum equals the integral to nine digits.
    """
    return np.sqrt(2 * _FEATURE_SPACING) * (2 / np.pi) ** 0.25 * np.exp(-((r - centre) ** 2))


def _slope_section(r: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """The derivative of `_section` by `centre`: <., f> = f_s(centre)."""
    return 2 * (r - centre) * _section(r, centre)
