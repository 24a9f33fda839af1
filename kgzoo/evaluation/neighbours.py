"""Nearest neighbours of features, and four scores made of them.

The manifold of a sample is guessed as the union of balls around its points, each as wide as the
distance to the k-th other point. Precision is the share of generated points inside the real
manifold, recall the share of real points inside the generated one. Density counts for a generated
point all the real balls that hold it, and coverage is the share of real balls that hold a generated
point: one outlier's wide ball does not decide either.
"""

import numpy as np

from kgzoo.data.source import at_least
from kgzoo.errors import UserError
from kgzoo.evaluation import arrays

__all__ = ["NUM_NEIGHBOURS", "as_matrices", "nearest", "neighbour_scores"]

# Of precision and recall as published, and of density and coverage as published.
NUM_NEIGHBOURS = (3, 5)
# So many more candidates than wanted are compared by exact distances.
_SPARE = 8
# Of the points' squared norms: a difference that rounding could make is a tie.
_ROUNDING = 1e-13
# Squares of larger ones want float64, and none can be held beyond the second bound.
_LARGEST_FLOAT32, _LARGEST = 1e15, 1e100
_BALLS = "closed balls, radius: Euclidean distance to the k-th other point of the ball's own set"
_CONVENTIONS = {
    "precision": "share of samples inside any ball of a real point; {}",
    "recall": "share of real points inside any ball of a sample; {}",
    "density": "number of real balls that hold a sample, mean over samples, over k; {}",
    "coverage": "share of real balls that hold any sample; {}",
}


def nearest(
    queries: np.ndarray, references: np.ndarray, k: int = 1, block: int = 256
) -> tuple[np.ndarray, np.ndarray]:
    """Finds the k nearest references of every query, exactly and in bounded memory.

    scikit-learn finds a few more candidates than wanted, by chunks of distances. Theirs are then
    computed from differences in float64: those of equal points are 0, and rounding orders nothing.

    Args:
        queries: [n, d], n >= 1.
        references: [m, d], m >= k.
        k: neighbours per query.
        block: queries whose differences are held at once; the result does not depend on it.

    Returns:
        Indices [n, k] into the references, and Euclidean distances [n, k] float64, ascending; of
        equal distances the lower index first (among the first k + 8 where yet more are equal).

    Raises:
        UserError: fewer than k references, unequal d, values not finite, or a number below 1.
    """
    queries, references = as_matrices(queries, references, ("queries", "references"))
    k, block = at_least("k", k, 1), at_least("block", block, 1)
    if k > len(references):
        raise UserError(f"k={k} exceeds the {len(references)} references; give k at most that.")
    from sklearn import neighbors

    # The search squares coordinates, so they should be small; distances ignore a shift.
    centre = references.mean(axis=0)
    search = neighbors.NearestNeighbors(algorithm="brute").fit(references - centre)
    count = min(k + _SPARE, len(references))
    candidates = search.kneighbors(queries - centre, count, return_distance=False)
    indices = np.empty((len(queries), k), np.int64)
    distances = np.empty((len(queries), k))
    for start in range(0, len(queries), block):
        rows = slice(start, start + block)
        differences = references[candidates[rows]].astype(np.float64)
        differences -= queries[rows, None]
        exact = np.sqrt(np.sum(np.square(differences, out=differences), axis=-1))
        order = np.lexsort((candidates[rows], exact), axis=-1)[:, :k]
        indices[rows] = np.take_along_axis(candidates[rows], order, axis=1)
        distances[rows] = np.take_along_axis(exact, order, axis=1)
    return indices, distances


def neighbour_scores(
    real: np.ndarray,
    samples: np.ndarray,
    k_precision: int = NUM_NEIGHBOURS[0],
    k_density: int = NUM_NEIGHBOURS[1],
    block: int = 256,
) -> dict[str, dict]:
    """Returns precision, recall, density and coverage.

    Balls are closed, as Kynkaanniemi et al. print them (Naeem et al. leave it open), and a tie that
    rounding would decide is inside: a sample against itself has a density of (k + 1) / k and 1 for
    the other three. All four depend on the number of points on either side: compare at equal
    counts.

    Args:
        real: [m, d] features.
        samples: [n, d] features of generated examples.
        k_precision: of the balls of precision and recall, 3 as in the publication.
        k_density: of the balls of density and coverage, 5 as in the publication.
        block: samples at once; the result does not depend on it. Memory: both sets in float64, and
            a few times block (m + 14 d) numbers.

    Returns:
        By the four names `value`, `k` and `convention`. Precision, recall and coverage are in
        [0, 1], density is >= 0 and may exceed 1.

    Raises:
        UserError: no more examples than neighbours on either side, unequal d, or values that are
            not finite.

    References:
        Kynkaanniemi et al. (2019), Improved precision and recall metric for assessing generative
        models, https://arxiv.org/abs/1904.06991, eq. (1)-(2); Naeem et al. (2020), Reliable
        fidelity and diversity metrics for generative models, https://arxiv.org/abs/2002.09797,
        section 3.
    """
    real, samples = as_matrices(real, samples, ("real", "samples"))
    wanted = [at_least("k_precision", k_precision, 1), at_least("k_density", k_density, 1)]
    for name, points in (("real", real), ("samples", samples)):
        if len(points) <= max(wanted):
            raise UserError(
                f"{name} has {len(points)} example(s), no more than k={max(wanted)} neighbours; "
                "give more examples or a smaller k."
            )
    values = _shares(real, samples, wanted, block)
    k = {"precision": wanted[0], "recall": wanted[0], "density": wanted[1], "coverage": wanted[1]}
    return {
        name: {"value": value, "k": k[name], "convention": _CONVENTIONS[name].format(_BALLS)}
        for name, value in values.items()
    }


def as_matrices(
    first: np.ndarray, second: np.ndarray, names: tuple[str, str]
) -> tuple[np.ndarray, np.ndarray]:
    """Returns two sets of features, each [n, d] float32, or float64 if it needs the digits.

    Args:
        first: [n, d], n >= 1.
        second: [m, d], m >= 1.
        names: of the two in messages.

    Raises:
        UserError: no matrix, empty, values not finite, or unequal d.
    """
    first, second = _as_matrix(first, names[0]), _as_matrix(second, names[1])
    if first.shape[1] != second.shape[1]:
        raise UserError(
            f"{names[0]} has {first.shape[1]} features and {names[1]} {second.shape[1]}; extract "
            "both with one extractor."
        )
    dtype = np.result_type(first, second)
    return first.astype(dtype, copy=False), second.astype(dtype, copy=False)


def _as_matrix(values: np.ndarray, name: str) -> np.ndarray:
    values = arrays.as_array(values, name)
    if values.ndim != 2 or 0 in values.shape:
        raise UserError(
            f"{name} has shape {list(values.shape)}; give [examples, features] with at least one "
            "of each."
        )
    is_exact = values.dtype in (np.float16, np.float32, np.uint8)
    values = values.astype(np.float32 if is_exact else np.float64, copy=False)
    if not np.isfinite(values).all():
        raise UserError(f"{name} holds NaN or infinity; score a model that has not diverged.")
    arrays.refuse_beyond(values, name, _LARGEST)
    if is_exact and np.abs(values).max() > _LARGEST_FLOAT32:
        values = values.astype(np.float64)
    return values


def _shares(
    real: np.ndarray, samples: np.ndarray, wanted: list[int], block: int
) -> dict[str, float]:
    radii_real = _squared_radii(real, wanted, block)
    radii_samples = _squared_radii(samples, wanted[:1], block)[0]
    centre = real.mean(axis=0, dtype=np.float64)
    x, y = real - centre, samples - centre
    norms_x, norms_y = (np.sum(np.square(points), axis=1) for points in (x, y))
    recalled, covered = np.zeros(len(x), bool), np.zeros(len(x), bool)
    precise = held = 0
    for start in range(0, len(y), block):
        rows = slice(start, start + block)
        sums = norms_y[rows, None] + norms_x
        squared = y[rows] @ x.T
        squared *= -2.0
        squared += (1.0 - _ROUNDING) * sums
        precise += int(np.sum(np.any(squared <= radii_real[0], axis=1)))
        recalled |= np.any(squared <= radii_samples[rows, None], axis=0)
        inside = squared <= radii_real[1]
        held += int(np.sum(inside))
        covered |= np.any(inside, axis=0)
    return {
        "precision": precise / len(y),
        "recall": float(recalled.mean()),
        "density": held / (wanted[1] * len(y)),
        "coverage": float(covered.mean()),
    }


def _squared_radii(points: np.ndarray, wanted: list[int], block: int) -> np.ndarray:
    """Returns [len(wanted), n] squared distances to the k-th other point."""
    # The nearest point of each is itself, at 0, or one that coincides with it.
    distances = nearest(points, points, max(wanted) + 1, block)[1]
    return np.square(distances[:, wanted].T)
