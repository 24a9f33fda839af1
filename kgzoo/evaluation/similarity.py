"""Multi-scale structural similarity of random pairs of images: how alike a model's samples are.

SSIM compares two images window by window: means, spreads and covariance. MS-SSIM does so on the
image and on copies halved again and again, and multiplies powers of the results. The mean over
random pairs of a model's samples is high where they resemble one another. It has no best value: it
is read against that of as many real images.
"""

import numpy as np

from kgzoo.data.source import at_least
from kgzoo.errors import UserError
from kgzoo.evaluation import arrays

__all__ = ["SMALLEST_SIDE", "as_floats", "check_images", "ms_ssim", "scales_for"]

SMALLEST_SIDE = 8
# Wang et al. (2003): of the five scales, the finest first. They sum to 1.
_POWERS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
_FILTER_SIZE, _FILTER_SIGMA = 11, 1.5
_FEWEST_SCALES = 2
_BATCH_SIZE = 64
_CONVENTION = (
    "mean MS-SSIM (tf.image.ssim_multiscale, mean over channels, k1 0.01, k2 0.03) of {}, images "
    "in [0, 1]; {} of the five scales with powers renormalised to sum 1, Gaussian window "
    "{}x{} of sigma {}"
)


def ms_ssim(
    images: np.ndarray, num_pairs: int = 1000, seed: int = 0
) -> dict[str, float | int | str | list | None]:
    """Returns the mean MS-SSIM of random pairs of different images.

    Five scales and a window of 11 pixels need a side of 176. Smaller images get the largest number
    of scales whose coarsest is still 11 pixels wide, but at least two, and below 21 pixels a window
    that fits the coarsest: values of different sizes are not comparable. `scales_for` has the rule.

    Args:
        images: [n, h, w, c] uint8 or float in [0, 1]; n >= 2, sides of at least 8.
        num_pairs: pairs drawn with replacement; all pairs, each once, where that is not more.
        seed: of the pairs.

    Returns:
        `value` in [0, 1], `std_across_pairs` with ddof 1 (None for one pair; the pairs share
        images, so it is no standard error), `num_pairs`, `scales`, `power_factors`, `filter_size`,
        `filter_sigma`, `seed`, `convention`.

    Raises:
        UserError: fewer than two images, too small ones, another range, NaN, or num_pairs < 1.

    References:
        Wang, Simoncelli and Bovik (2003), Multi-scale structural similarity for image quality
        assessment; as a measure of diversity Odena et al. (2017),
        https://arxiv.org/abs/1610.09585, section 4.2.
    """
    import tensorflow as tf

    images = check_images(images, "images")
    num_pairs, seed = at_least("num_pairs", num_pairs, 1), arrays.as_seed(seed)
    if len(images) < 2:
        raise UserError("images has 1 image; pairs of different images need at least 2.")
    powers, filter_size = scales_for(*images.shape[1:3])
    first, second, drawn = _pairs(len(images), num_pairs, seed)
    values = []
    for start in range(0, len(first), _BATCH_SIZE):
        rows = slice(start, start + _BATCH_SIZE)
        pair = (tf.constant(as_floats(images[side[rows]])) for side in (first, second))
        similarity = tf.image.ssim_multiscale(
            *pair,
            max_val=1.0,
            power_factors=powers,
            filter_size=filter_size,
            filter_sigma=_FILTER_SIGMA,
        )
        values.append(similarity.numpy())
    return _result(np.concatenate(values).astype(np.float64), powers, filter_size, drawn, seed)


def scales_for(height: int, width: int) -> tuple[tuple[float, ...], int]:
    """Returns the powers of the scales, which sum to 1, and the side of the window.

    Raises:
        UserError: a side below 8.
    """
    side = min(height, width)
    if side < SMALLEST_SIDE:
        raise UserError(
            f"images of {height}x{width} pixels are too small for MS-SSIM; give sides of at least "
            f"{SMALLEST_SIDE}."
        )
    count = len(_POWERS)
    while count > _FEWEST_SCALES and _coarsest(side, count) < _FILTER_SIZE:
        count -= 1
    fitting = min(_FILTER_SIZE, _coarsest(side, count))
    total = sum(_POWERS[:count])
    # An odd window has a middle.
    return tuple(power / total for power in _POWERS[:count]), fitting - 1 + fitting % 2


def check_images(images: np.ndarray, name: str) -> np.ndarray:
    """Returns images as an array, unchanged.

    Raises:
        UserError: not [n, h, w, c] with n >= 1, neither uint8 nor float in [0, 1], or NaN.
    """
    images = arrays.as_array(images, name)
    if images.ndim != 4 or 0 in images.shape:
        raise UserError(
            f"{name} has shape {list(images.shape)}; give [n, height, width, channels] with at "
            "least one image."
        )
    if images.dtype == np.uint8:
        return images
    if not np.issubdtype(images.dtype, np.floating):
        raise UserError(f"{name} has dtype {images.dtype}; give uint8 or floats in [0, 1].")
    if not np.isfinite(images).all():
        raise UserError(f"{name} holds NaN or infinity; score a model that has not diverged.")
    low, high = float(images.min()), float(images.max())
    # The margin forgives rounding in a resize or in (x + 1) / 2, not another range.
    if low < -1e-3 or high > 1 + 1e-3:
        raise UserError(f"{name} spans [{low:.4g}, {high:.4g}]; scale floats to [0, 1].")
    return images


def as_floats(images: np.ndarray) -> np.ndarray:
    """Returns images of `check_images` as float32 in [0, 1]."""
    if images.dtype == np.uint8:
        return images.astype(np.float32) / np.float32(255.0)
    return images.astype(np.float32)


def _coarsest(side: int, count: int) -> int:
    """Side of the last of so many scales; odd sides are padded before they are halved."""
    return -(-side // 2 ** (count - 1))


def _pairs(size: int, count: int, seed: int) -> tuple[np.ndarray, np.ndarray, str]:
    """Returns the indices of both images of every pair, and how the pairs came about."""
    if size * (size - 1) // 2 <= count:
        return *np.triu_indices(size, 1), "all pairs of different images"
    random = np.random.RandomState(seed)  # a stream that NumPy's policy freezes
    first = random.randint(size, size=count)
    return first, (first + random.randint(1, size, size=count)) % size, "random pairs"


def _result(
    values: np.ndarray, powers: tuple[float, ...], filter_size: int, drawn: str, seed: int
) -> dict:
    window = (filter_size, filter_size, _FILTER_SIGMA)
    return {
        "value": float(values.mean()),
        "std_across_pairs": float(values.std(ddof=1)) if len(values) > 1 else None,
        "num_pairs": len(values),
        "scales": len(powers),
        "power_factors": list(powers),
        "filter_size": filter_size,
        "filter_sigma": _FILTER_SIGMA,
        "seed": seed,
        "convention": _CONVENTION.format(drawn, len(powers), *window),
    }
