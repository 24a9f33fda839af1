"""Features of real data, kept on disk between processes.

A file holds the features of the first examples of one split by one extractor. Its name and the
description inside it come from everything that decides them: the facts of the data set (in memory,
its pixels too), split, size, count, the extractor with the checksum of its weights, and versions.
The folder is `~/.cache/kgzoo/features`, or `$KGZOO_CACHE`; with an empty `$KGZOO_CACHE` nothing is
kept. It may be deleted at any time, and a folder that cannot be written is no error: scores are the
same with or without it.
"""

import hashlib
import json
import os
import pathlib
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from kgzoo import __version__, data
from kgzoo.evaluation import archives

if TYPE_CHECKING:
    from kgzoo.evaluation.features import Extractor

__all__ = ["MAX_BYTES", "extract", "folder"]

MAX_BYTES = 500_000_000  # of one file; larger features are computed anew each time


def folder() -> pathlib.Path | None:
    """Returns where features are kept; None when `$KGZOO_CACHE` is empty."""
    stated = os.environ.get("KGZOO_CACHE", "~/.cache/kgzoo/features")
    return pathlib.Path(os.path.expanduser(stated)) if stated else None


def extract(
    extractor: "Extractor", source: data.Source, limit: int, batch_size: int = 256
) -> tuple[np.ndarray, np.ndarray | None]:
    """Returns features and logits of the first examples of a split, from the cache if it has them.

    Args:
        extractor: of features; one without a `fingerprint` is not cached.
        source: the split.
        limit: at most so many examples, in stored order.
        batch_size: examples taken at once, so that a streamed split never has to fit into memory.

    Returns:
        Features [n, dim] float32 and logits [n, classes] float32 (None without a classifier).

    Raises:
        UserError: as `Extractor.extract`. Never because of the cache.
    """
    path = described = None
    if extractor.fingerprint is not None and folder() is not None:
        described = _describe(extractor, source, limit)
        path = folder() / _file_name(extractor, source, described)
        arrays = archives.read(path, described)
        if arrays is not None and _fits(arrays, extractor, min(limit, source.num_examples)):
            return arrays["features"], arrays.get("logits")
    parts = [extractor.extract(batch) for batch in data.batches(source, batch_size, limit)]
    arrays = {"features": np.concatenate([part[0] for part in parts])}
    if extractor.has_logits:
        arrays["logits"] = np.concatenate([part[1] for part in parts])
    small = sum(array.nbytes for array in arrays.values()) <= MAX_BYTES
    # What would be refused on reading, such as features that are not finite, is not written either.
    if path is not None and small and _fits(arrays, extractor, len(arrays["features"])):
        try:
            archives.write(path, described, arrays)
        except OSError:
            pass  # A full disk or a folder of somebody else: the features are here all the same.
    return arrays["features"], arrays.get("logits")


def _describe(extractor: "Extractor", source: data.Source, limit: int) -> str:
    """Returns everything that decides the features, as JSON."""
    import keras
    import tensorflow as tf

    count = min(limit, source.num_examples)
    pixels = None
    if source.examples is not None:
        pixels = hashlib.sha256(np.ascontiguousarray(source.examples[:count])).hexdigest()
    facts = {
        "source": source.describe(),
        "pixels": pixels,
        "count": count,
        "extractor": extractor.describe(),
        "fingerprint": extractor.fingerprint,
        "precision": keras.config.dtype_policy().name,
        "versions": [__version__, tf.__version__, np.__version__],
    }
    return json.dumps(facts, sort_keys=True)


def _file_name(extractor: "Extractor", source: data.Source, described: str) -> str:
    """Returns a name to be recognised by a reader, and unique by its end."""
    parts = (source.name.rpartition("/")[2], source.split, extractor.name.rpartition("/")[2])
    readable = re.sub(r"[^\w.-]+", "_", "-".join(parts))[:80]
    return f"{readable}-{hashlib.sha256(described.encode()).hexdigest()[:16]}.npz"


def _fits(arrays: Mapping[str, np.ndarray], extractor: "Extractor", count: int) -> bool:
    """Returns whether these are features (and logits) of so many examples by this extractor."""
    if set(arrays) != {"features", *(["logits"] if extractor.has_logits else [])}:
        return False
    if arrays["features"].shape != (count, extractor.dim):
        return False
    return all(
        array.ndim == 2
        and len(array) == count
        and array.dtype == np.float32
        and np.isfinite(array).all()
        for array in arrays.values()
    )
