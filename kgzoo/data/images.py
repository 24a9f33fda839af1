"""Square images of one size, and the handwritten digits that scikit-learn carries."""

import functools
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from kgzoo.data.source import Source

__all__ = ["crop_and_resize", "load_digits", "preprocessing"]

_DIGITS_SIZE = 16
_DIGITS_TEST = 450
_SPLIT_SEED = 0


def crop_and_resize(image: tf.Tensor, size: int) -> tf.Tensor:
    """Cuts the largest centred square and brings it to `size`.

    Shrinking averages over areas, which keeps fine texture from aliasing; enlarging is bicubic,
    which leaves no blocks. A square that already has the size comes back untouched.

    Args:
        image: [height, width, channels], any number type with values in [0, 255].
        size: side of the result.

    Returns:
        uint8 [size, size, channels].
    """
    if image.shape[:2] == (size, size) and image.dtype == tf.uint8:
        return image
    height, width = tf.unstack(tf.shape(image)[:2])
    side = tf.minimum(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    image = image[top : top + side, left : left + side]
    resized = tf.cond(
        side >= size,
        lambda: tf.cast(tf.image.resize(image, [size, size], method="area"), tf.float32),
        lambda: tf.cast(tf.image.resize(image, [size, size], method="bicubic"), tf.float32),
    )
    # The bicubic kernel overshoots at edges.
    return tf.cast(tf.clip_by_value(tf.round(resized), 0.0, 255.0), tf.uint8)


def preprocessing(stored: tuple[int | None, ...], size: int) -> str:
    """Returns in words what `crop_and_resize` does to images [height, width, ...] as stored."""
    if tuple(stored[:2]) == (size, size):
        return "none"
    crop = "" if stored[0] is not None and stored[0] == stored[1] else "centre crop to a square, "
    return f"{crop}resize to {size}x{size} (area average to shrink, bicubic to enlarge)"


@functools.cache
def _enlarger(size: int) -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns `crop_and_resize` for any number of scans at once: one by one they take seconds."""

    @tf.function(input_signature=[tf.TensorSpec([None, 8, 8, 1], tf.float32)])
    def enlarge(scans: tf.Tensor) -> tf.Tensor:
        return tf.map_fn(
            lambda scan: crop_and_resize(scan, size), scans, fn_output_signature=tf.uint8
        )

    return enlarge


def load_digits(split: str, image_size: int | None = None) -> Source:
    """Returns scikit-learn's 1,797 handwritten digits, 1,347 to train and 450 to test.

    They are 8x8 scans with values 0..16 (the test part of the UCI set "Optical Recognition of
    Handwritten Digits"). Values become 255/16 times as large; then `crop_and_resize` enlarges
    them. The split is drawn once, the same share of every digit.

    Args:
        split: "train" or "test".
        image_size: side of the images; None means 16.

    Returns:
        An image `Source`, examples uint8 [n, image_size, image_size, 1], labels 0..9.
    """
    # Its import takes a second, which nobody else should wait for.
    from sklearn import datasets

    size = image_size or _DIGITS_SIZE
    scans = datasets.load_digits()
    part = _digits_part(scans.target, split)
    values = scans.images[part, :, :, np.newaxis].astype(np.float32) * (255.0 / 16.0)
    with tf.device("CPU:0"):
        examples = _enlarger(size)(tf.constant(values)).numpy()
    facts = {
        "preprocessing": f"values 0..16 times 255/16, {preprocessing((8, 8), size)}",
        "split_rule": f"{_DIGITS_TEST} test examples, stratified, seed {_SPLIT_SEED}",
    }
    shape = (size, size, 1)
    labels = scans.target[part]
    return Source("digits", "image", shape, len(part), examples, labels, split=split, facts=facts)


def _digits_part(labels: np.ndarray, split: str) -> np.ndarray:
    """Returns the stored positions of one split, in stored order."""
    random = np.random.RandomState(_SPLIT_SEED)
    classes, counts = np.unique(labels, return_counts=True)
    # Largest remainders: every class gives its share, and the shares add up exactly.
    share = counts * (_DIGITS_TEST / len(labels))
    wanted = np.floor(share).astype(int)
    order = np.argsort(wanted - share, kind="stable")
    wanted[order[: _DIGITS_TEST - wanted.sum()]] += 1
    test = [
        random.permutation(np.flatnonzero(labels == label))[:number]
        for label, number in zip(classes, wanted, strict=True)
    ]
    is_test = np.isin(np.arange(len(labels)), np.concatenate(test))
    return np.flatnonzero(is_test == (split == "test"))
