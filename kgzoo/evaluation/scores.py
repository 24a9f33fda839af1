"""Scores of samples: Frechet and kernel distance of features, and three scores of logits.

Each score has conventions that change the number; they are written beside it, in the constants
below or under the key "convention". All functions take arrays and return plain floats, never NaN:
what a sample is too small for is None.
"""

import math

import numpy as np
from scipy import special

from kgzoo.data.source import at_least
from kgzoo.errors import UserError, shown
from kgzoo.evaluation import arrays, tfgan

__all__ = [
    "CLASSIFIER_CONVENTION",
    "ENTROPY_CONVENTION",
    "FRECHET_CONVENTION",
    "INCEPTION_CONVENTION",
    "KERNEL_CONVENTION",
    "classifier_scores",
    "frechet_distance",
    "inception_score",
    "kernel_distance",
]

FRECHET_CONVENTION = (
    "|mean difference|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)), covariances with ddof 1, float64"
)
KERNEL_CONVENTION = (
    "unbiased MMD^2 with kernel (x.y/d + 1)^3, mean over disjoint blocks of shuffled features, "
    "std across blocks with ddof 1 (None for one block), standard_error = std / sqrt(blocks)"
)
INCEPTION_CONVENTION = (
    "exp(mean KL(p(y|x) || p(y))) with p = softmax(logits), mean over splits of shuffled samples, "
    "std across splits with ddof 0 (None for one split)"
)

ENTROPY_CONVENTION = "mean entropy of p = softmax(logits) in nats (lower is better), float64"
CLASSIFIER_CONVENTION = (
    "exp(mean KL(p(y|x) || class frequencies of the classifier's training split)) with "
    "p = softmax(logits), all samples at once, float64; does not punish a collapse to few classes"
)

# exp(-600) counts as nothing beside 1 but is a float64 above 0, so its logarithm is finite.
_LARGEST_LOGIT_GAP = 600.0
# The kernel distance cubes inner products, and its spread squares the cubes.
_LARGEST = 1e20


def frechet_distance(x: np.ndarray, y: np.ndarray) -> float:
    """Returns the squared Frechet distance between Gaussians fitted to two sets of features.

    With C1 = R R^T, the matrix C1 C2 has the eigenvalues of the symmetric R^T C2 R, so the trace of
    the square root needs eigenvalues of symmetric matrices only: no complex numbers and no failure
    when there are fewer examples than features or when samples have collapsed to one point.

    Args:
        x: [n, d] features, n >= 2.
        y: [m, d] features, m >= 2.

    Returns:
        The distance, >= 0 (`FRECHET_CONVENTION`). It is biased upwards for few examples: compare
        values of equal counts only.

    Raises:
        UserError: fewer than two examples, unequal d, or values that are not finite.

    References:
        Heusel et al. (2017), https://arxiv.org/abs/1706.08500, eq. (6).
    """
    x, y = _checked_pair(x, y)
    mean_x, covariance_x = _moments(x)
    mean_y, covariance_y = _moments(y)
    values, vectors = np.linalg.eigh(covariance_x)
    root = vectors * np.sqrt(np.clip(values, 0.0, None))
    product = root.T @ covariance_y @ root
    # Eigenvalues of a covariance are >= 0; rounding alone makes some of them slightly negative.
    shared = np.clip(np.linalg.eigvalsh((product + product.T) / 2), 0.0, None)
    trace = np.trace(covariance_x) + np.trace(covariance_y) - 2.0 * np.sqrt(shared).sum()
    return max(0.0, float(np.sum((mean_x - mean_y) ** 2) + trace))


def kernel_distance(
    x: np.ndarray, y: np.ndarray, block_size: int = 1000, seed: int = 0
) -> dict[str, float | int | str | None]:
    """Returns the kernel distance (KID) between two sets of features, computed by TF-GAN.

    Both sets are cut into the same number of disjoint blocks, ceil(max(n, m) / block_size), or
    fewer where the smaller set would not leave two examples to each block. TF-GAN cuts them as
    stored, so they are shuffled first, each by its own permutation drawn from `seed`.

    Args:
        x: [n, d] features, n >= 2.
        y: [m, d] features, m >= 2; n and m may differ.
        block_size: largest number of examples of one set in a block, >= 2.
        seed: of the two permutations.

    Returns:
        `mean` (may be negative: the estimator is unbiased), `std` across blocks and
        `standard_error` of the mean (both None for one block), `blocks`, `block_size` (the number
        of examples in the largest block), `seed`, `convention`.

    Raises:
        UserError: fewer than two examples, unequal d, values not finite, or block_size < 2.

    References:
        Binkowski et al. (2018), https://arxiv.org/abs/1801.01401, section 4; blocks after
        Zaremba et al. (2013), https://arxiv.org/abs/1307.1954.
    """
    import tensorflow as tf

    x, y = _checked_pair(x, y)
    if at_least("block_size", block_size, 1) < 2:
        raise UserError(f"block_size={block_size} leaves no pairs in a block; give at least 2.")
    smaller, larger = sorted((len(x), len(y)))
    blocks = min(math.ceil(larger / block_size), smaller // 2)
    largest_block = math.ceil(larger / blocks)
    blocks = math.ceil(larger / largest_block)  # TF-GAN's own rule, given that block size
    random = np.random.RandomState(arrays.as_seed(seed))  # a stream that NumPy's policy freezes
    x, y = x[random.permutation(len(x))], y[random.permutation(len(y))]
    score = tfgan.classifier_metrics().kernel_classifier_distance_and_std_from_activations
    with tfgan.quiet():
        mean, standard_error = score(tf.constant(x), tf.constant(y), max_block_size=largest_block)
    standard_error = float(standard_error) if blocks > 1 else None
    return {
        "mean": float(mean),
        "std": None if standard_error is None else standard_error * math.sqrt(blocks),
        "standard_error": standard_error,
        "blocks": blocks,
        "block_size": largest_block,
        "seed": seed,
        "convention": KERNEL_CONVENTION,
    }


def inception_score(
    logits: np.ndarray, splits: int = 10, seed: int = 0
) -> dict[str, float | int | str | None]:
    """Returns the inception score of a classifier's logits, computed by TF-GAN.

    Args:
        logits: [n, classes] unnormalised log probabilities, n >= 2.
        splits: parts of almost equal size on which the score is computed; fewer where a part would
            have less than two examples.
        seed: of the shuffle before splitting, so that samples sorted by class do no harm.

    Returns:
        `mean` in [1, classes], `std` across splits (None for one split), `splits`, `seed`,
        `convention`.

    Raises:
        UserError: fewer than two examples, values that are not finite, or splits < 1.

    References:
        Salimans et al. (2016), https://arxiv.org/abs/1606.03498, section 4.
    """
    import tensorflow as tf

    logits = _checked(logits, "logits")
    splits = min(at_least("splits", splits, 1), len(logits) // 2)
    random = np.random.RandomState(arrays.as_seed(seed))
    # A class of probability exactly 0 would make TF-GAN's p (log p - log q) a 0 * inf.
    logits = np.maximum(logits - logits.max(axis=1, keepdims=True), -_LARGEST_LOGIT_GAP)
    logits = logits[random.permutation(len(logits))]
    score = tfgan.classifier_metrics().classifier_score_from_logits
    values = [float(score(tf.constant(part))) for part in np.array_split(logits, splits)]
    return {
        "mean": float(np.mean(values)),
        "std": float(np.std(values)) if splits > 1 else None,
        "splits": splits,
        "seed": seed,
        "convention": INCEPTION_CONVENTION,
    }


def classifier_scores(logits: np.ndarray, class_frequencies: np.ndarray) -> dict[str, float]:
    """Returns the expected entropy (EE) and the classifier score of a classifier's logits.

    With a LeNet of MNIST the second is the LeNet score (LS). Samples that cover the classes like
    the training split, each recognised beyond doubt, have an EE of 0 and a score of exp(entropy of
    `class_frequencies`), about the number of classes. The comparison is with these frequencies and
    not, as in the inception score, with the samples' own: a collapse to one class is not punished,
    so read the shares of the classes beside it.

    Args:
        logits: [n, classes] unnormalised log probabilities, n >= 2.
        class_frequencies: [classes] shares of the classes in the training split, all above 0.

    Returns:
        `expected_entropy` in nats, in [0, log classes] (`ENTROPY_CONVENTION`), and
        `classifier_score` in [1, 1 / smallest frequency] (`CLASSIFIER_CONVENTION`).

    Raises:
        UserError: fewer than two examples, logits that are not finite, or frequencies that are not
            positive shares of these classes.

    References:
        Sinn and Rawat (2017), Non-parametric estimation of Jensen-Shannon divergence in generative
        adversarial network training, https://arxiv.org/abs/1705.09199, section 3.3.
    """
    logits = _checked(logits, "logits")
    try:
        frequencies = arrays.as_array(class_frequencies, "class_frequencies").astype(np.float64)
    except UserError:
        frequencies = np.empty(0)
    whole = frequencies.shape == logits.shape[1:] and abs(frequencies.sum() - 1.0) < 1e-6
    if not whole or not (frequencies > 0).all():
        raise UserError(
            f"class_frequencies={shown(class_frequencies)} are not the positive shares of "
            f"{logits.shape[1]} classes; give those of the classifier's training split."
        )
    log_p = special.log_softmax(logits, axis=1)
    # A probability that underflows to 0 has a finite logarithm here, so its product is 0.
    p = np.exp(log_p)
    divergence = np.sum(p * (log_p - np.log(frequencies)), axis=1)
    return {
        "expected_entropy": float(-np.mean(np.sum(p * log_p, axis=1))),
        "classifier_score": float(np.exp(np.mean(divergence))),
    }


def _moments(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the mean [d] and the covariance [d, d] (ddof 1) of [n, d]."""
    mean = x.mean(axis=0)
    centred = x - mean
    return mean, centred.T @ centred / (len(x) - 1)


def _checked_pair(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    x, y = _checked(x, "x"), _checked(y, "y")
    if x.shape[1] != y.shape[1]:
        raise UserError(
            f"x has {x.shape[1]} features and y has {y.shape[1]}; extract both with one extractor."
        )
    return x, y


def _checked(values: np.ndarray, name: str) -> np.ndarray:
    """Returns `values` as float64 [n, d] with n >= 2, d >= 1, all finite, or raises `UserError`."""
    values = arrays.as_array(values, name).astype(np.float64)
    if values.ndim != 2 or values.shape[1] < 1:
        raise UserError(f"{name} has shape {values.shape}; give a matrix [examples, features].")
    if len(values) < 2:
        raise UserError(f"{name} has {len(values)} example(s); a score needs at least 2.")
    if not np.isfinite(values).all():
        rows = int((~np.isfinite(values)).any(axis=1).sum())
        raise UserError(
            f"{name} holds NaN or infinity in {rows} of {len(values)} rows; score samples of a "
            "model that has not diverged."
        )
    arrays.refuse_beyond(values, name, _LARGEST)
    return values
