"""Image sets that TensorFlow Datasets has prepared, read from their folders."""

import dataclasses
import os
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from kgzoo.data import images, listing
from kgzoo.data.records import RecordStream, block_length
from kgzoo.data.source import Source
from kgzoo.errors import UserError

__all__ = ["load"]

_FALLBACK_SIZE = 64
_READ_AT_ONCE = 1024


@dataclasses.dataclass(frozen=True)
class _Split:
    """What the folder says about one split."""

    full_name: str
    stored_as: str
    files: tuple[str, ...]
    num_examples: int
    num_bytes: int
    lengths: tuple[int, ...]
    features: Any
    image: str
    label: str | None


def load(
    name: str,
    split: str,
    data_dir: str | None,
    image_size: int | None,
    memory_limit_bytes: int,
) -> Source:
    """Reads one split of a prepared image set; arguments, result and errors as in `data.load`."""
    found = _open(name, split, listing.prepared_dir(name, data_dir))
    stored = found.features[found.image].shape
    size = image_size or listing.rules(name).image_size or _own_size(stored)
    shape = (size, size, stored[-1])
    parse = _parser(found, size)
    facts = {
        "prepared_as": found.full_name,
        "prepared_split": found.stored_as,
        "preprocessing": images.preprocessing(stored, size),
    }
    whole = {"name": name, "kind": "image", "shape": shape, "num_examples": found.num_examples}
    if found.num_examples * int(np.prod(shape)) <= memory_limit_bytes:
        examples, labels = _read(found, parse, shape)
        return Source(**whole, examples=examples, labels=labels, split=split, facts=facts)
    stream = _stream(found, parse)
    facts["shuffle_block_records"] = stream.block_records
    return Source(**whole, stream=stream, split=split, facts=facts)


def _stream(found: _Split, parse: Callable) -> RecordStream:
    block = block_length(found.num_examples, found.num_bytes)
    return RecordStream(found.files, lambda record: parse(record)[0], block, found.lengths)


def _own_size(stored: tuple[int | None, ...]) -> int:
    """Returns the stored side of square images of one size, else 64."""
    height, width = stored[:2]
    return height if height is not None and height == width else _FALLBACK_SIZE


def _open(name: str, split: str, folder: pathlib.Path) -> _Split:
    """Looks a split up in the folder's json files and checks that all of it is there."""
    # Takes a second and is needed here only.
    import tensorflow_datasets as tfds

    try:
        return _described(name, split, folder, tfds)
    except (UserError, ImportError, PermissionError):
        raise
    except Exception as error:
        # A changed byte in one of the two files can end in any exception: they name classes.
        raise UserError(
            f"dataset={name!r} is damaged: dataset_info.json or features.json in '{folder}' cannot "
            f"be read ({type(error).__name__}); prepare it again."
        ) from error


def _described(name: str, split: str, folder: pathlib.Path, tfds: Any) -> _Split:
    info = tfds.builder_from_directory(os.fspath(folder)).info
    rule = listing.rules(name)
    wanted = (rule.train,) if split == "train" else rule.test
    stored_as = next((option for option in wanted if option in info.splits), None)
    if stored_as is None:
        raise UserError(
            f"dataset={name!r} in '{folder}' has no split {' or '.join(map(repr, wanted))}, only "
            f"{', '.join(map(repr, info.splits))}; prepare a version that has it."
        )
    if info.file_format.value != "tfrecord":
        raise UserError(
            f"dataset={name!r} in '{folder}' is stored as {info.file_format.value}; prepare it "
            "with file_format='tfrecord'."
        )
    stored = info.splits[stored_as]
    files = tuple(os.fspath(path) for path in stored.filepaths)
    lost = next((path for path in files if not os.path.isfile(path)), None)
    if lost:
        raise UserError(f"dataset={name!r} lacks its file '{lost}'; prepare it again.")
    image, label = _columns(name, info.features, tfds.features)
    columns = {column: True for column in (image, label) if column}
    features = tfds.decode.PartialDecoding(columns).extract_features(info.features)
    return _Split(
        full_name=info.full_name,
        stored_as=stored_as,
        files=files,
        num_examples=stored.num_examples,
        num_bytes=stored.num_bytes,
        lengths=tuple(stored.shard_lengths),
        features=features,
        image=image,
        label=label,
    )


def _columns(name: str, features: Any, kinds: Any) -> tuple[str, str | None]:
    """Returns which features hold the image and, where there is one, the class label."""
    pictures = [key for key, kind in features.items() if type(kind) is kinds.Image]
    if "image" not in pictures and len(pictures) != 1:
        raise UserError(
            f"dataset={name!r} has neither a single image feature nor one called 'image'; use a "
            "data set with one image in each example."
        )
    image = "image" if "image" in pictures else pictures[0]
    if features[image].dtype != np.uint8 or features[image].shape[-1] not in (1, 3):
        raise UserError(
            f"dataset={name!r} holds images {tf.as_dtype(features[image].dtype).name} "
            f"{list(features[image].shape)}; use one of 8-bit grey or RGB images."
        )
    classes = "label" in features and isinstance(features["label"], kinds.ClassLabel)
    return image, "label" if classes else None


def _parser(found: _Split, size: int) -> Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]:
    """Returns the map from a record to (uint8 [size, size, channels], int64 label or -1)."""

    def parse(record):
        example = found.features.deserialize_example(record)
        image = images.crop_and_resize(example[found.image], size)
        image = tf.ensure_shape(image, (size, size, found.features[found.image].shape[-1]))
        label = example[found.label] if found.label else tf.constant(-1, tf.int64)
        return image, tf.cast(label, tf.int64)

    return parse


def _read(found: _Split, parse: Callable, shape: tuple[int, ...]):
    """Decodes the whole split; labels are None where any is unknown (-1 in TFDS)."""
    examples = np.empty((found.num_examples, *shape), np.uint8)
    labels = np.empty(found.num_examples, np.int64)
    records = tf.data.TFRecordDataset(found.files)
    parsed = records.map(parse, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    # One more than there should be, so that too many are noticed like too few.
    parsed = parsed.take(found.num_examples + 1).batch(_READ_AT_ONCE).prefetch(1)
    done = 0
    try:
        for batch, classes in parsed.as_numpy_iterator():
            kept = min(len(batch), found.num_examples - done)
            examples[done : done + kept], labels[done : done + kept] = batch[:kept], classes[:kept]
            done += len(batch)
    except tf.errors.OpError as error:
        raise _damaged(found, parse) from error
    if done != found.num_examples:
        raise _damaged(found, parse)
    return examples, None if (labels < 0).any() else labels


def _damaged(found: _Split, parse: Callable) -> UserError:
    folder = os.path.dirname(found.files[0])
    culprit = _stream(found, parse).damaged_file()
    where = f"'{culprit}' is not as it was written; " if culprit else ""
    return UserError(
        f"dataset {found.full_name!r} is damaged: the {found.num_examples} examples of its split "
        f"{found.stored_as!r} cannot be read; {where}delete '{folder}' and prepare it again."
    )
