"""Scores of samples of a mixture: which modes they cover, how many of them lie near one.

All distances are counted in standard deviations: a sample's offset from a centre is measured along
the axes of the mode, each in units of the standard deviation there. For isotropic modes that is the
Euclidean distance divided by `sd`; where a mode is thicker in one direction than in another, a
sample may stray further that way.
"""

import math
import numbers
from collections.abc import Sequence

import numpy as np
from scipy import spatial, special

from kgzoo.errors import UserError, shown
from kgzoo.evaluation.arrays import as_array

__all__ = ["mode_scores"]

_CLOSE_SDS = 4.0


def mode_scores(
    samples: np.ndarray,
    centres: np.ndarray,
    sd: float | Sequence[float],
    weights: Sequence[float] | None = None,
    axes: np.ndarray | None = None,
    *,
    least_share: float = 0.4,
    near_sds: float = 10.0,
    wide_sds: float = 30.0,
) -> dict:
    """Counts the modes of a mixture of Gaussians that samples cover.

    A sample belongs to the nearest mode and is near it when it lies within a radius: `near_sds`,
    but at most a quarter of the smallest distance between two centres, so that what lies between
    two modes is near neither. A mode is covered when at least `least_share` of the samples that
    the mixture itself would put there (its weight times a Gaussian's mass within the radius) are
    near it. Where modes are as sharp as in ring2d that mass is 1, and the criterion reads: at least
    5 % of all samples within 0.1, a mode's own share being an eighth.

    Args:
        samples: [n, d]; one that is not finite is near no mode.
        centres: [m, d].
        sd: of every mode: one number, or one per axis.
        weights: of the modes, [m], summing to 1; equal when None.
        axes: [d, d], orthonormal rows, along which `sd` holds; the coordinate axes when None.
        least_share: of a mode's own share that covers it.
        near_sds: the radius of "near", in standard deviations.
        wide_sds: a wider radius, which shows samples that blur around the modes without being lost
            between them; at most half the smallest distance between two centres.

    Returns:
        `value` (the number of modes covered), `num_modes`, `counts` (of samples near each mode),
        `share_near_a_mode`, `share_within_wide_radius`, `share_within_4_sd` (of all samples),
        `share_near_a_mode_of_target` (what the first of them is for the modes themselves),
        `radius`, `wide_radius` (in units of the space; None where `sd` differs between axes),
        `radius_sds`, `wide_radius_sds` (in standard deviations) and `convention`.

    Raises:
        UserError: shapes that do not fit, no samples, an `sd`, radius or `least_share` that is not
            above 0, `weights` that are no shares, `axes` that are not orthonormal, or two centres
            in one place.

    References:
        Srivastava et al. (2020), GRAM, show coverage in pictures (Figures 2 and 7) and state no
        rule; this one is the project's.
    """
    samples, centres, sds = (
        as_array(values, name).astype(np.float64)
        for name, values in (("samples", samples), ("centres", centres), ("sd", sd))
    )
    axes = None if axes is None else as_array(axes, "axes").astype(np.float64)
    _check_shapes(samples, centres, sds, axes)
    count, dim = centres.shape
    shares = _shares(weights, count)
    for name, value in (
        ("least_share", least_share),
        ("near_sds", near_sds),
        ("wide_sds", wide_sds),
    ):
        if not (isinstance(value, numbers.Real) and value > 0.0):
            raise UserError(f"{name}={shown(value)} is out of range; give a number above 0.")
    with np.errstate(over="ignore", invalid="ignore"):  # a diverged model's samples
        samples, centres = _in_sds(samples, sds, axes), _in_sds(centres, sds, axes)
        distances = spatial.distance.cdist(samples, centres)
    distances = np.where(np.isfinite(distances), distances, np.inf)
    nearest, distance = distances.argmin(axis=1), distances.min(axis=1)
    if not np.isfinite(centres).all():
        raise UserError("centres are infinite in units of sd; give a larger sd, or nearer centres.")
    gap = spatial.distance.pdist(centres).min() if count > 1 else math.inf
    if gap == 0.0:
        raise UserError("centres hold one point twice; give every mode once, with its weight.")
    radius, wide_radius = float(min(near_sds, gap / 4.0)), float(min(wide_sds, gap / 2.0))
    counts = np.bincount(nearest[distance <= radius], minlength=count)
    # A Gaussian's mass within so many standard deviations: a chi-squared law's, of dim degrees.
    mass = float(special.gammainc(dim / 2.0, radius**2 / 2.0))
    least = least_share * shares * mass
    unit = float(sds) if sds.ndim == 0 else None
    return {
        # A count that equals the bound must not fail by rounding.
        "value": int(np.sum(counts >= least * len(samples) - 1e-9)),
        "num_modes": count,
        "counts": counts.tolist(),
        "share_near_a_mode": float(np.mean(distance <= radius)),
        "share_near_a_mode_of_target": mass,
        "share_within_wide_radius": float(np.mean(distance <= wide_radius)),
        "share_within_4_sd": float(np.mean(distance <= _CLOSE_SDS)),
        "radius": None if unit is None else radius * unit,
        "wide_radius": None if unit is None else wide_radius * unit,
        "radius_sds": radius,
        "wide_radius_sds": wide_radius,
        "convention": _convention(radius, wide_radius, unit, least_share, least),
    }


def _shares(weights: Sequence[float] | None, count: int) -> np.ndarray:
    if weights is None:
        return np.full(count, 1.0 / count)
    shares = as_array(weights, "weights").astype(np.float64)
    if shares.shape != (count,) or (shares <= 0.0).any() or not math.isclose(shares.sum(), 1.0):
        raise UserError(
            f"weights={shown(shares.tolist())} are no shares; give {count} numbers above 0 of sum "
            "1."
        )
    return shares


def _in_sds(points: np.ndarray, sds: np.ndarray, axes: np.ndarray | None) -> np.ndarray:
    return (points if axes is None else points @ axes.T) / sds


def _convention(
    radius: float, wide_radius: float, unit: float | None, least_share: float, least: np.ndarray
) -> str:
    def shown(sds):
        return f"{sds:.3g} sd" + (" of each axis" if unit is None else f" ({sds * unit:.3g})")

    bounds = " or ".join(f"{100 * share:.3g} %" for share in sorted(set(np.round(least, 9))))
    return (
        f"modes covered, near = within {shown(radius)} of the nearest mode; a mode is covered when "
        f"at least {bounds} of all samples are near it, {100 * least_share:g} % of what the target "
        f"itself has there; wide radius {shown(wide_radius)}"
    )


def _check_shapes(
    samples: np.ndarray, centres: np.ndarray, sds: np.ndarray, axes: np.ndarray | None
):
    if samples.ndim != 2 or not samples.size:
        raise UserError(f"samples have shape {list(samples.shape)}; give [n, d] with n, d >= 1.")
    dim = samples.shape[1]
    if centres.ndim != 2 or centres.shape[1] != dim or not len(centres):
        raise UserError(f"centres have shape {list(centres.shape)}; give [m, {dim}] with m >= 1.")
    if not np.isfinite(centres).all():
        raise UserError("centres hold NaN or infinity; give finite points.")
    if sds.shape not in ((), (dim,)) or not ((sds > 0.0) & np.isfinite(sds)).all():
        raise UserError(
            f"sd={shown(sds.tolist())} is no spread; give one number above 0, or {dim} of them."
        )
    if axes is not None and (
        axes.shape != (dim, dim) or not np.allclose(axes @ axes.T, np.eye(dim), atol=1e-6)
    ):
        raise UserError(
            f"axes have shape {list(axes.shape)}; give {dim} orthonormal rows of length {dim}."
        )
