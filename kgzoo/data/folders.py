"""Folders of png and jpg files."""

import hashlib
import os
import pathlib
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from kgzoo.data import images, listing
from kgzoo.data.records import RecordStream
from kgzoo.data.source import FOLDER_PREFIX, Source
from kgzoo.errors import UserError

__all__ = ["load"]

_DEFAULT_SIZE = 32
_TEST_EVERY = 10
_READ_AT_ONCE = 256


def load(name: str, split: str, image_size: int | None, memory_limit_bytes: int) -> Source:
    """Reads the pictures below a folder, in the order of their sorted relative paths.

    Every tenth file is for testing, the rest for training; of fewer than ten the last one is for
    testing. All files of the split are decoded here: a damaged one is found before training.

    Args:
        name: "image_folder:<directory>".
        split: "train", "test" or "all".
        image_size: side of the images; None means 32.
        memory_limit_bytes: a split larger than this, counted as RGB, is streamed.

    Returns:
        An image `Source`: one channel when all files of the folder have one, else RGB.

    Raises:
        UserError: no folder, no pictures, or a file that cannot be decoded.
    """
    root, everything = listing.image_files(name.removeprefix(FOLDER_PREFIX))
    relative, others = _parts(everything, split)
    paths = [os.fspath(root / path) for path in relative]
    size = image_size or _DEFAULT_SIZE
    streamed = len(paths) * size * size * 3 > memory_limit_bytes
    examples, grey = _read(paths, size, keep=not streamed)
    if grey and others:
        # Both splits must have one shape, so grey is up to the other one as well.
        _, grey = _read([os.fspath(root / path) for path in others], 1, keep=False)
    channels = 1 if grey else 3
    facts = {
        "preprocessing": images.preprocessing((None, None), size),
        "split_rule": f"every {_TEST_EVERY}th file in sorted order is for testing",
        "fingerprint": _fingerprint(root, relative),
    }
    whole = {"kind": "image", "shape": (size, size, channels), "num_examples": len(paths)}
    if not streamed:
        examples = np.ascontiguousarray(examples[..., :channels])
        return Source(name, **whole, examples=examples, split=split, facts=facts)

    def decode(path):
        return _decode(path, size)[0][..., :channels]

    stream = RecordStream(tuple(paths), decode)
    return Source(name, **whole, stream=stream, split=split, facts=facts)


def _parts(files: Sequence[str], split: str) -> tuple[list[str], list[str]]:
    """Returns the files of `split` and those of the other one."""
    if split == "all":
        return list(files), []
    test = set(files[_TEST_EVERY - 1 :: _TEST_EVERY] or files[-1:])
    train = [file for file in files if file not in test]
    return (train, sorted(test)) if split == "train" else (sorted(test), train)


def _fingerprint(root: pathlib.Path, files: Sequence[str]) -> str:
    """Returns a digest of names and sizes: a resumed run notices that its folder has changed."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file}\0{(root / file).stat().st_size}\n".encode())
    return digest.hexdigest()[:16]


def _decode(path: tf.Tensor, size: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns uint8 [size, size, 3] and whether the file has a single channel (alpha apart)."""
    image = tf.io.decode_image(tf.io.read_file(path), channels=0, expand_animations=False)
    image = tf.ensure_shape(image, (None, None, None))
    grey = tf.shape(image)[-1] < 3
    colours = tf.cond(
        grey, lambda: tf.image.grayscale_to_rgb(image[..., :1]), lambda: image[..., :3]
    )
    return tf.ensure_shape(images.crop_and_resize(colours, size), (size, size, 3)), grey


def _read(paths: Sequence[str], size: int, keep: bool) -> tuple[np.ndarray | None, bool]:
    """Decodes every file; returns uint8 [n, size, size, 3] or None, and whether all are grey."""
    examples = np.empty((len(paths), size, size, 3), np.uint8) if keep else None
    decoded = tf.data.Dataset.from_tensor_slices(list(paths)).map(
        lambda path: _decode(path, size), num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
    )
    all_grey, done = True, 0
    try:
        for batch, grey in decoded.batch(_READ_AT_ONCE).prefetch(1).as_numpy_iterator():
            if keep:
                examples[done : done + len(batch)] = batch
            all_grey = all_grey and grey.all()
            done += len(batch)
    except tf.errors.OpError as error:
        # tf.data does not say which file it was.
        culprit = next((path for path in paths[done:] if not _readable(path)), None)
        if culprit is None:
            raise
        raise UserError(
            f"'{culprit}' cannot be decoded as a png or jpg; repair or remove that file."
        ) from error
    return examples, bool(all_grey)


def _readable(path: str) -> bool:
    try:
        _decode(tf.constant(path), 1)
    except tf.errors.OpError:
        return False
    return True
