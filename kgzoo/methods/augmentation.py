"""Changes of a critic's images: DiffAugment, and the shifts and flips of CR-GAN.

Every operation is differentiable in the images, twice, and deterministic: shifts are products with
shift matrices and not gathers. Images are `[n, height, width, channels]` in the model's range.
"""

import tensorflow as tf

from kgzoo.methods.noise import Noise

__all__ = ["AUGMENTATIONS", "diffaugment", "shift_and_flip"]

AUGMENTATIONS = ("none", "diffaugment")
# One draw per update serves all: the slots keep real, generated and consistency apart.
_SLOTS = ("real", "fake", "consistency")
_NUMBERS = 8
# CR-GAN (Zhang et al., 2020): shifts by up to 4 of 32 pixels.
_CONSISTENCY_SHIFT = 1 / 8


def _numbers(noise: Noise, count: tf.Tensor, slot: str) -> tf.Tensor:
    """Returns `[n, 8]` uniform numbers on [0, 1) of each example."""
    everything = noise.unit("augmentation", [count, len(_SLOTS), _NUMBERS])
    return everything[:, _SLOTS.index(slot)]


def _whole(unit: tf.Tensor, low: int, high: int) -> tf.Tensor:
    """Maps uniform numbers on [0, 1) to whole ones from `low` to `high`, both included."""
    return low + tf.cast(tf.floor(unit * (high - low + 1)), tf.int32)


def _shift(images: tf.Tensor, rows: tf.Tensor, columns: tf.Tensor) -> tf.Tensor:
    """Moves every image down by `rows[i]` and right by `columns[i]`; what comes in is 0."""
    height, width = images.shape[1], images.shape[2]

    def matrices(size: int, offsets: tf.Tensor) -> tf.Tensor:
        return tf.one_hot(tf.range(size) - offsets[:, None], size, dtype=images.dtype)

    images = tf.einsum("nij,njwc->niwc", matrices(height, rows), images)
    return tf.einsum("nij,nhjc->nhic", matrices(width, columns), images)


def _color(images: tf.Tensor, unit: tf.Tensor, span: float) -> tf.Tensor:
    """Brightness by up to a quarter of the range, saturation by 0 to 2, contrast by 0.5 to 1.5."""
    brightness, saturation, contrast = (unit[:, i, None, None, None] for i in range(3))
    images = images + (brightness - 0.5) * span / 2
    grey = tf.reduce_mean(images, axis=3, keepdims=True)
    images = grey + (images - grey) * 2 * saturation
    mean = tf.reduce_mean(images, axis=[1, 2, 3], keepdims=True)
    return mean + (images - mean) * (contrast + 0.5)


def _cutout(images: tf.Tensor, unit: tf.Tensor) -> tf.Tensor:
    """Sets a square of half the side to 0, its centre anywhere in the image."""

    def inside(size: int, position: tf.Tensor) -> tf.Tensor:
        start = _whole(position, 0, size)[:, None] - size // 4
        index = tf.range(size)[None]
        return tf.cast((index >= start) & (index < start + size // 2), images.dtype)

    rows, columns = inside(images.shape[1], unit[:, 0]), inside(images.shape[2], unit[:, 1])
    return images * (1 - rows[:, :, None, None] * columns[:, None, :, None])


def diffaugment(
    images: tf.Tensor, noise: Noise, slot: str, image_range: tuple[float, float]
) -> tf.Tensor:
    """Color, translation by up to 1/8 of the side and cutout; Zhao et al. (2020).

    Args:
        images: `[n, height, width, channels]` in `image_range`.
        noise: the update's noise.
        slot: `real` or `fake`, which are augmented independently.
        image_range: (0, 1) or (-1, 1). What moves in from outside is mid-grey in the latter, as in
            the paper, and so it is here in the former.
    """
    low, high = image_range
    middle = (low + high) / 2
    unit = _numbers(noise, tf.shape(images)[0], slot)
    images = _color(images, unit, high - low) - middle
    height, width = images.shape[1], images.shape[2]
    rows = _whole(unit[:, 3], -(height // 8), height // 8)
    columns = _whole(unit[:, 4], -(width // 8), width // 8)
    return _cutout(_shift(images, rows, columns), unit[:, 5:7]) + middle


def shift_and_flip(images: tf.Tensor, noise: Noise) -> tf.Tensor:
    """Mirrors half of the images and shifts each by up to 1/8 of its side; Zhang et al. (2020).

    What moves in from outside repeats the border, so that a shift does not paint a frame.
    """
    unit = _numbers(noise, tf.shape(images)[0], "consistency")
    mirrored = tf.reverse(images, axis=[2])
    images = tf.where(unit[:, 0, None, None, None] < 0.5, mirrored, images)
    height, width = images.shape[1], images.shape[2]
    most = [max(1, int(size * _CONSISTENCY_SHIFT)) for size in (height, width)]
    margins = [[0, 0], [most[0]] * 2, [most[1]] * 2, [0, 0]]
    # SYMMETRIC repeats the outermost pixels first; a shift of up to an eighth sees little more.
    padded = tf.pad(images, margins, mode="SYMMETRIC")
    rows = _whole(unit[:, 1], -most[0], most[0])
    columns = _whole(unit[:, 2], -most[1], most[1])
    moved = _shift(padded, rows, columns)
    return moved[:, most[0] : most[0] + height, most[1] : most[1] + width]
