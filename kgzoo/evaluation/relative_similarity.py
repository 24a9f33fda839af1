"""The three-sample test: is one model's sample nearer to real data than another model's?

Bounliphone et al. (2016), "A test of relative similarity for model selection in generative models",
https://arxiv.org/abs/1511.04581. With features X of real data, Y of a model now and Z of a model
then, and KID's kernel k(x, y) = (x.y/d + 1)^3,

    statistic = (MMD_u^2(X, Y) - MMD_u^2(X, Z)) / sqrt(variance),    p_value = Phi(statistic).

The null hypothesis is that Y is no nearer to X than Z; a small p value says that Y is nearer. The
two MMDs share X: the variance is that of their difference, and the mean of k(x, x') cancels.

Hoeffding's decomposition gives that variance exactly, for m, n and l examples:

    4 zeta_x/m + 4 zeta_y/n + 4 zeta_z/l + 2 tau_yy/(n(n-1)) + 2 tau_zz/(l(l-1))
        + 4 tau_xy/(mn) + 4 tau_xz/(ml),

    zeta_x = Var_x[E k(x, Y) - E k(x, Z)],    zeta_y = Var_y[E k(y, Y') - E k(X, y)],    same for z,
    tau = variance of k beyond its two main effects.

Each zeta and tau is estimated without bias, as in an analysis of variance, and so is the sum. The
authors' plug-in squares estimated means instead and is low, or negative, for small samples. Ours
can come out too low by chance: it is kept above a quarter of what the zetas' uncorrected estimates
give (the jackknife), of which the truth is never less than about half.
"""

import math
from typing import NamedTuple

import numpy as np

from kgzoo.errors import UserError
from kgzoo.evaluation import arrays

__all__ = ["Closeness", "RelativeTest", "closeness", "compare", "relative_test"]

_FEWEST = 4
# A difference that rounding of the sums could make is none.
_ROUNDING = 1e-13
# The kernel cubes inner products, and the variance squares the cubes.
_LARGEST = 1e20


class Closeness(NamedTuple):
    """What the test needs to know of one sample of n and of the real one of m; float64.

    It takes the place of the features: m + n + 3 numbers, and no kernel matrix a second time.

    Attributes:
        value: mean k(y, y') - 2 mean k(x, y), MMD_u^2 without the term of the real data alone.
        per_real: [m], mean over y of k(x, y) for every x.
        per_sample: [n], estimates of E k(y, Y') - E k(X, y) for every y, up to a constant.
        within: tau_yy.
        across: tau_xy.
    """

    value: float
    per_real: np.ndarray
    per_sample: np.ndarray
    within: float
    across: float


class RelativeTest(NamedTuple):
    """Result of the test; `difference` is MMD_u^2(X, now) - MMD_u^2(X, then)."""

    statistic: float
    p_value: float
    difference: float
    variance: float


def relative_test(real: np.ndarray, now: np.ndarray, then: np.ndarray) -> RelativeTest:
    """Tests whether `now` is nearer to `real` than `then`.

    Args:
        real: [m, d] features.
        now: [n, d] features, drawn independently of the other two.
        then: [l, d] features, likewise.

    Returns:
        The test; its p value is small when `now` is nearer.

    Raises:
        UserError: fewer than four examples, unequal d, or values that are not finite.
    """
    return compare(closeness(real, now), closeness(real, then))


def closeness(real: np.ndarray, samples: np.ndarray) -> Closeness:
    """Returns one side of the test; arguments and errors as for `relative_test`."""
    x, y = _checked(real, "real"), _checked(samples, "samples")
    if x.shape[1] != y.shape[1]:
        raise UserError(
            f"real has {x.shape[1]} features and samples {y.shape[1]}; extract both with one "
            "extractor."
        )
    across, n = _kernel(x, y), len(y)
    per_real, per_sample = across.mean(axis=1), across.mean(axis=0)
    mean_across = per_real.mean()
    across -= per_real[:, None] + per_sample - mean_across
    tau_across = np.sum(across**2) / ((len(x) - 1) * (n - 1))
    within = _kernel(y, y)
    np.fill_diagonal(within, 0.0)
    mean_within = within.sum() / (n * (n - 1))
    # Row means hold the other examples' effects too: n - 2 instead of n - 1 takes them out.
    effects = (within.sum(axis=1) - (n - 1) * mean_within) / (n - 2)
    within -= effects[:, None] + effects + mean_within
    np.fill_diagonal(within, 0.0)
    return Closeness(
        value=float(mean_within - 2 * mean_across),
        per_real=per_real,
        per_sample=effects - per_sample,
        within=float(np.sum(within**2) / (n * (n - 3))),
        across=float(tau_across),
    )


def compare(now: Closeness, then: Closeness) -> RelativeTest:
    """Tests whether `now` is nearer than `then` to the real sample that both were held against."""
    if len(now.per_real) != len(then.per_real):
        raise UserError(
            f"now was held against {len(now.per_real)} real examples and then against "
            f"{len(then.per_real)}; use the same ones."
        )
    difference = now.value - then.value
    variance = max(_variance(now, then), (_ROUNDING * _scale(now, then)) ** 2)
    statistic = difference / math.sqrt(variance)
    p_value = 0.5 * math.erfc(-statistic / math.sqrt(2))
    return RelativeTest(statistic, p_value, difference, variance)


def _variance(now: Closeness, then: Closeness) -> float:
    m = len(now.per_real)
    jackknife = np.var(now.per_real - then.per_real, ddof=1) / m
    excess = 0.0
    for side in (now, then):
        n = len(side.per_sample)
        jackknife += np.var(side.per_sample, ddof=1) / n
        # The noise that the zetas' estimates hold, less the terms of second order.
        excess += side.within * (4 / (n * (n - 2)) - 2 / (n * (n - 1))) + 4 * side.across / (m * n)
    jackknife *= 4
    return float(max(jackknife - excess, jackknife / 4))


def _scale(now: Closeness, then: Closeness) -> float:
    """Size of what was summed; above 0, so that equal constant samples give 0 and not 0/0."""
    return max(1.0, *(float(np.max(np.abs(side.per_real))) for side in (now, then)))


def _kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (x @ y.T / x.shape[1] + 1.0) ** 3


def _checked(values: np.ndarray, name: str) -> np.ndarray:
    values = arrays.as_array(values, name).astype(np.float64)
    if values.ndim != 2 or len(values) < _FEWEST or values.shape[1] < 1:
        raise UserError(
            f"{name} has shape {list(values.shape)}; the test needs [examples, features] with at "
            f"least {_FEWEST} examples."
        )
    if not np.isfinite(values).all():
        raise UserError(f"{name} holds NaN or infinity; test a model that has not diverged.")
    arrays.refuse_beyond(values, name, _LARGEST)
    return values
