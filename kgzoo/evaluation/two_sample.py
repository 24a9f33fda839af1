"""The two-sample test: can these samples be told from real data by their mean in a kernel's space?

Gretton et al. (2012), "A kernel two-sample test", JMLR 13. The null hypothesis is that both samples
come from one distribution. Under it every way of dealing the pooled points to the two sides is
equally likely, so the p value needs no theory: it is the share of dealings whose statistic is at
least the observed one, the observed dealing counted among them. The level is then at most the
stated one for every sample size.
"""

import numpy as np
import tensorflow as tf

from kgzoo.data.source import at_least
from kgzoo.errors import UserError
from kgzoo.evaluation import arrays
from kgzoo.evaluation.neighbours import as_matrices
from kgzoo.kernels import bandwidths
from kgzoo.kernels.arguments import as_width

__all__ = ["LIMIT", "mmd_test"]

# Examples per side: the kernel matrix of the pooled points is 128 MB.
LIMIT = 2_000
_FEWEST = 2
# Dealings at once.
_BLOCK = 64
# The kernel is at most 1: what rounding can add to a mean of it.
_ROUNDING = 1e-12
_CONVENTION = (
    "unbiased MMD^2 (Lemma 6) with kernel exp(-|x - y|^2 / (2 bandwidth^2)), bandwidth = {}; "
    "p_value = (1 + permutations with at least the observed value) / (1 + permutations)"
)
_RULES = {True: "median distance of the pooled pairs", False: "as given"}


def mmd_test(
    real: np.ndarray,
    samples: np.ndarray,
    bandwidth: float | None = None,
    num_permutations: int = 1000,
    seed: int = 0,
    limit: int = LIMIT,
) -> dict[str, float | int | str]:
    """Tests whether two samples come from one distribution.

    One kernel matrix of all N = m + n points is made; with a the 0/1 vector of a dealing, its three
    sums are a'Ka, a'K1 - a'Ka and the rest, so a permutation costs a product with K.

    Args:
        real: [m, d] features, m >= 2, independent of the samples.
        samples: [n, d] features of generated examples, n >= 2.
        bandwidth: of the Gaussian kernel; when None the median distance of the pooled pairs, which
            no permutation changes (`kgzoo.kernels.bandwidths.median_distance`).
        num_permutations: random dealings; the smallest p value is 1 / (1 + num_permutations).
        seed: of the permutations and of the choice of examples above the limit.
        limit: at most so many examples of each side take part, chosen at random.

    Returns:
        `value`, the unbiased MMD^2 (may be negative), `p_value` in (0, 1], `bandwidth`,
        `num_permutations`, `num_samples` and `num_reference` that took part, `seed`, `convention`.

    Raises:
        UserError: fewer than two examples, unequal d, values not finite, or a number out of range.

    References:
        Gretton et al. (2012), A kernel two-sample test, JMLR 13:723-773, Lemma 6, section 8; the
        + 1 of p values: Phipson and Smyth (2010), https://arxiv.org/abs/1603.05766.
    """
    real, samples = as_matrices(real, samples, ("real", "samples"))
    num_permutations = at_least("num_permutations", num_permutations, 1)
    limit = at_least("limit", limit, _FEWEST)
    for name, points in (("real", real), ("samples", samples)):
        if len(points) < _FEWEST:
            raise UserError(f"{name} has {len(points)} example; the test needs at least {_FEWEST}.")
    random = np.random.RandomState(arrays.as_seed(seed))  # a stream that NumPy's policy freezes
    real, samples = (_chosen(points, limit, random) for points in (real, samples))
    pooled = np.concatenate([real, samples]).astype(np.float64)
    by_rule = bandwidth is None
    if by_rule:
        bandwidth = _median_distance(pooled)
    if not by_rule:
        bandwidth = as_width("mmd_test", "bandwidth", bandwidth)
    gram = _gram(pooled, bandwidth)
    size, total = len(real), len(pooled)
    observed = _statistics(gram, np.arange(total)[None] < size)[0]
    as_large = 0
    for start in range(0, num_permutations, _BLOCK):
        count = min(_BLOCK, num_permutations - start)
        dealings = np.stack([random.permutation(total) < size for _ in range(count)])
        as_large += int(np.sum(_statistics(gram, dealings) >= observed - _ROUNDING))
    return {
        "value": float(observed),
        "p_value": (1 + as_large) / (1 + num_permutations),
        "bandwidth": bandwidth,
        "num_permutations": num_permutations,
        "num_samples": len(samples),
        "num_reference": size,
        "seed": seed,
        "convention": _CONVENTION.format(_RULES[by_rule]),
    }


def _chosen(points: np.ndarray, limit: int, random: np.random.RandomState) -> np.ndarray:
    if len(points) <= limit:
        return points
    return points[np.sort(random.permutation(len(points))[:limit])]


def _median_distance(points: np.ndarray) -> float:
    return float(bandwidths.median_distance(tf.constant(points)))


def _gram(points: np.ndarray, bandwidth: float) -> np.ndarray:
    """Returns the kernel matrix [N, N] float64, 0 on the diagonal: no sum wants k(x, x)."""
    from sklearn.metrics import pairwise

    gram = pairwise.euclidean_distances(points - points.mean(axis=0), squared=True)
    gram *= -0.5 / bandwidth**2
    np.exp(gram, out=gram)
    np.fill_diagonal(gram, 0.0)
    return gram


def _statistics(gram: np.ndarray, dealings: np.ndarray) -> np.ndarray:
    """Returns the unbiased MMD^2 [b] of dealings [b, N], True on the first side."""
    first = dealings.astype(np.float64)
    n = int(dealings[0].sum())
    m = len(gram) - n
    row_sums = gram.sum(axis=1)
    within = np.sum((first @ gram) * first, axis=1)
    across = first @ row_sums - within
    other = row_sums.sum() - within - 2.0 * across
    return within / (n * (n - 1)) + other / (m * (m - 1)) - 2.0 * across / (n * m)
