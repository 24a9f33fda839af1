"""The scores of the Kernel GAN paper's Table 1 that are computed on pixels: ENN, JSD and MMD.

The other two, EE and LS, need the classifier: `kgzoo.evaluation.scores.classifier_scores`.

What the paper leaves open, and what is done here. ENN is defined as an expected distance (section
3.3), but what it prints for real digits is the mean squared distance: both are given. Neither the
bandwidths of JSD and MMD nor the form of the mixture are printed: the nine of its training on MNIST
(appendix A.3) in pixels in [0, 1], each kernel 1 at distance 0. With the 1 / sigma^d of eq. (10)
the smallest of them would be everything, and any two samples of images as far apart as can be. MMD
is the biased estimate, which is 0 for the test set against itself, as printed; squared and not.

The test set against itself gives -log 4 and 0 whatever the code does with bandwidths, so it tells
nothing about a generator; see real images that are not the test set for that.
"""

from collections.abc import Sequence

import numpy as np

from kgzoo.data.source import at_least
from kgzoo.errors import UserError
from kgzoo.evaluation import arrays
from kgzoo.evaluation.neighbours import nearest
from kgzoo.evaluation.similarity import as_floats, check_images
from kgzoo.kernels.bandwidths import as_bandwidths

__all__ = ["BANDWIDTHS", "lenet_scores", "pixel_divergences", "training_distances"]

# Kernel GAN paper, appendix A.3: the mixture of RBF kernels of its networks on MNIST.
BANDWIDTHS = (100.0, 50.0, 10.0, 5.0, 1.0, 0.5, 0.1, 0.05, 0.01)
# The paper's number of samples, and of test images.
LIMIT = 10_000
_ROWS = 256
_SPACE = "pixels in [0, 1]"
_ENN = "mean {}Euclidean distance of samples to their nearest training image, " + _SPACE
_KERNELS = "sum over {} of exp(-d^2 / (2 sigma^2)), d in " + _SPACE
_JSD = (
    "eq. 12 without offset: mean log p/(p+q) over test images (first) plus mean log q/(p+q) over "
    "samples (second), own point included, equal counts; densities: {}; -log 4 for equal samples"
)
_MMD = "biased MMD^2 (root: its square root) between test images and samples, equal counts; {}"


def lenet_scores(
    samples: np.ndarray,
    test: np.ndarray,
    train: np.ndarray,
    bandwidths: Sequence[float] = BANDWIDTHS,
    limit: int = LIMIT,
    seed: int = 0,
) -> dict[str, dict]:
    """Returns ENN twice, JSD and MMD as entries of a score card.

    Args:
        samples: [n, h, w, c] uint8 or float in [0, 1], n >= 2.
        test: [m, h, w, c] real images that JSD and MMD compare with.
        train: [l, h, w, c] training images, among which nearest neighbours are sought.
        bandwidths: sigma of the Gaussian kernels, in units of pixels in [0, 1].
        limit: JSD and MMD take the same number of images from both sides, at most so many.
        seed: of the random choice where a side has more than take part.

    Returns:
        `enn_squared`, `enn`, `jsd` (with `first` and `second`) and `mmd` (with `root`): each with
        `value`, `convention`, `num_samples`, `num_reference`, `extractor`, `seed`.

    Raises:
        UserError: images of another shape or range, too few, NaN, or bandwidths that are none.

    References:
        Sinn and Rawat (2018), Non-parametric estimation of Jensen-Shannon divergence in generative
        adversarial network training, https://arxiv.org/abs/1705.09199, section 3.3, Table 1.
    """
    return {
        **training_distances(samples, train),
        **pixel_divergences(samples, test, bandwidths, limit, seed),
    }


def training_distances(samples: np.ndarray, train: np.ndarray) -> dict[str, dict]:
    """Returns `enn_squared` and `enn`; arguments, entries and errors as for `lenet_scores`.

    On MNIST, 2,500 test images have 19.3 and 4.22; a sample of training images has 0 and 0.
    """
    samples, train = _pixels(samples, "samples"), _pixels(train, "train")
    _, distances = nearest(samples, train)
    common = _common(len(samples), len(train), None)
    return {
        "enn_squared": {
            "value": float(np.mean(np.square(distances))),
            "convention": _ENN.format("squared "),
            **common,
        },
        "enn": {"value": float(np.mean(distances)), "convention": _ENN.format(""), **common},
    }


def pixel_divergences(
    samples: np.ndarray,
    test: np.ndarray,
    bandwidths: Sequence[float] = BANDWIDTHS,
    limit: int = LIMIT,
    seed: int = 0,
) -> dict[str, dict]:
    """Returns `jsd` and `mmd`; arguments, entries and errors as for `lenet_scores`.

    The value of `kgzoo.discrepancies.jensen_shannon` with offset 0, in float64 and by rows, so that
    10,000 images a side need 300 MB; and the MMD, which is made of mean densities.
    """
    x, y = _pixels(test, "test"), _pixels(samples, "samples")
    if x.shape[1] != y.shape[1]:
        raise UserError(f"samples has {y.shape[1]} pixels and test {x.shape[1]}; resize them.")
    count = min(len(x), len(y), at_least("limit", limit, 2))
    if count < 2:
        raise UserError(f"samples and test share {count} image; JSD and MMD need at least 2 each.")
    bandwidths, seed = as_bandwidths(bandwidths), arrays.as_seed(seed)
    # Distances, divided by small sigma^2, need the digits.
    x, y = (_chosen(points, count, seed).astype(np.float64) for points in (x, y))
    p_of_x, q_of_x = _log_density(x, x, bandwidths), _log_density(x, y, bandwidths)
    p_of_y, q_of_y = _log_density(y, x, bandwidths), _log_density(y, y, bandwidths)
    first = -np.mean(np.logaddexp(0.0, q_of_x - p_of_x))
    second = -np.mean(np.logaddexp(0.0, p_of_y - q_of_y))
    within = np.mean(np.exp(p_of_x)) + np.mean(np.exp(q_of_y))
    squared = max(0.0, within - np.mean(np.exp(q_of_x)) - np.mean(np.exp(p_of_y)))
    common = {**_common(count, count, seed), "bandwidths": list(bandwidths)}
    kernels = _KERNELS.format(f"sigma {', '.join(f'{sigma:g}' for sigma in bandwidths)}")
    return {
        "jsd": {
            "value": float(first + second),
            "first": float(first),
            "second": float(second),
            "convention": _JSD.format(kernels),
            **common,
        },
        "mmd": {
            "value": float(squared),
            "root": float(np.sqrt(squared)),
            "convention": _MMD.format(kernels),
            **common,
        },
    }


def _log_density(
    points: np.ndarray, sample: np.ndarray, bandwidths: tuple[float, ...]
) -> np.ndarray:
    """Returns the log of the mean over a sample [m, d] of the kernels' sum, at points [n, d]."""
    from sklearn.metrics import pairwise

    rates = [0.5 / sigma**2 for sigma in bandwidths]
    parts = []
    for start in range(0, len(points), _ROWS):
        squared = pairwise.euclidean_distances(points[start : start + _ROWS], sample, squared=True)
        # The widest kernel at the nearest point is the largest term: with it taken out, one term
        # is 1, none is more, and the sum neither overflows nor vanishes.
        shift = min(rates) * squared.min(axis=1)
        total = np.zeros(len(squared))
        for rate in rates:
            total += np.sum(np.exp(shift[:, None] - rate * squared), axis=1)
        parts.append(np.log(total / len(sample)) - shift)
    return np.concatenate(parts)


def _chosen(points: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Chooses rows at random; sets of one size get the same rows, so that equal sets stay equal."""
    if len(points) == count:
        return points
    # A stream that NumPy's policy freezes.
    return points[np.sort(np.random.RandomState(seed).permutation(len(points))[:count])]


def _pixels(images: np.ndarray, name: str) -> np.ndarray:
    """Returns checked images as [n, d] float32 in [0, 1]."""
    images = check_images(images, name)
    return as_floats(images).reshape(len(images), -1)


def _common(num_samples: int, num_reference: int, seed: int | None) -> dict:
    return {
        "num_samples": num_samples,
        "num_reference": num_reference,
        "extractor": "pixels",
        "seed": seed,
    }
