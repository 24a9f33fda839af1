"""Galleries: the pictures by which a trained model is looked at.

Interpolations between latents, samples beside their nearest training images, entropy carpets,
samples by class and entropy, t-SNE of the critic's outputs, curves of the run. All of them take
arrays and functions, and return [height, width, 3] uint8; `write_gallery` writes what there is.
"""

import json
import os
import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from kgzoo.data.source import at_least
from kgzoo.errors import UserError
from kgzoo.evaluation import carpets, curves, embeddings, files, neighbours, pictures

__all__ = ["Neighbours", "interpolation_grid", "neighbour_columns", "write_gallery"]

_SIDE = 640  # pixels that a picture's height aims at
_GAP = 8  # white pixels between the parts of a picture
_PART = 10_000  # training images compared at once
_MOST_CELLS = 10_000
_BATCH = 125  # examples that the critic sees at once
_SAMPLES, _PAIRS, _ROWS, _POINTS = 64, 8, 8, 500  # of the pictures of `write_gallery`


class Neighbours(NamedTuple):
    """Samples beside their nearest training images.

    Attributes:
        picture: [height, width, 3] uint8.
        indices: [n, k] int64 into the training images, nearest first, by the pixels.
        distances: [n, k] float64, Euclidean, of pixels in [0, 1].
        feature_indices: the same by features, None without.
        feature_distances: the same by features, None without.
    """

    picture: np.ndarray
    indices: np.ndarray
    distances: np.ndarray
    feature_indices: np.ndarray | None = None
    feature_distances: np.ndarray | None = None


def interpolation_grid(
    decode: Callable[[np.ndarray], np.ndarray],
    starts: np.ndarray,
    ends: np.ndarray,
    path: carpets.Path,
    columns: int = 10,
) -> np.ndarray:
    """Draws the images along paths between pairs of latents, one pair a row.

    Args:
        decode: latents [n, latent_dim] float32 -> images [n, h, w, 1 or 3] in [0, 1].
        starts: [rows, latent_dim], the left column.
        ends: [rows, latent_dim], the right column.
        path: (start [n, d], end [n, d], fraction [n]) -> [n, d]: straight for uniform latents,
            along the sphere for normal ones, as `kgzoo.methods.latent_paths.path_of` returns it.
        columns: steps of the path, the ends included. The ends stand apart by a white line.

    Returns:
        [height, width, 3] uint8.

    Raises:
        UserError: unequal shapes, fewer than 3 columns, or more than 10,000 images.
    """
    starts, ends = np.asarray(starts, np.float32), np.asarray(ends, np.float32)
    columns = at_least("columns", columns, 3)
    if starts.ndim != 2 or starts.shape != ends.shape or 0 in starts.shape:
        raise UserError(
            f"starts {list(starts.shape)} and ends {list(ends.shape)} are no pairs; give two "
            "arrays [rows, latent_dim]."
        )
    rows = len(starts)
    _check_cells(rows, columns)
    fraction = np.tile(np.linspace(0.0, 1.0, columns, dtype=np.float32), rows)
    latents = path(starts.repeat(columns, 0), ends.repeat(columns, 0), fraction)
    images = carpets.decoded(decode, np.asarray(latents))
    images = images.reshape(rows, columns, *images.shape[1:])
    return _beside([images[:, :1], images[:, 1:-1], images[:, -1:]])


def neighbour_columns(
    samples: np.ndarray,
    train: np.ndarray,
    k: int = 5,
    features: tuple[np.ndarray, np.ndarray] | None = None,
) -> Neighbours:
    """Draws samples, one a row, beside their k nearest training images.

    First the sample, then its neighbours by the pixels, then those by features where there are
    some. A model that has learnt its data by heart shows the same image twice.

    Args:
        samples: [n, h, w, 1 or 3] uint8, or float in [0, 1].
        train: [m, h, w, c] the same, m >= k.
        k: neighbours.
        features: of the samples [n, d] and of the training images [m, d].

    Raises:
        UserError: unequal shapes, fewer than k training images, values not finite, or more than
            10,000 images.
    """
    samples, train = _as_float(samples), np.asarray(train)
    if train.ndim != 4 or samples.shape[1:] != train.shape[1:]:
        raise UserError(
            f"samples {list(samples.shape)} and training images {list(train.shape)} do not fit; "
            "give images of one size, [n, height, width, channels]."
        )
    k = at_least("k", k, 1)
    _check_cells(len(samples), 1 + k)
    found = [_nearest(samples.reshape(len(samples), -1), train, k)]
    if features is not None:
        of_samples, of_train = (np.asarray(values) for values in features)
        if len(of_samples) != len(samples) or len(of_train) != len(train):
            raise UserError(
                f"features of {len(of_samples)} samples and {len(of_train)} training images do "
                f"not fit {len(samples)} and {len(train)}; extract them of the same images."
            )
        found.append(neighbours.nearest(of_samples, of_train, k))
    parts = [samples[:, None], *(_as_float(train[indices]) for indices, _ in found)]
    return Neighbours(_beside(parts), *(array for pair in found for array in pair))


def write_gallery(
    folder: str | os.PathLike,
    samples: np.ndarray,
    *,
    kind: str = "image",
    latents: np.ndarray | None = None,
    decode: Callable[[np.ndarray], np.ndarray] | None = None,
    path: carpets.Path | None = None,
    train: np.ndarray | None = None,
    extract: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray | None]] | None = None,
    real: np.ndarray | None = None,
    labels: np.ndarray | None = None,
    critic_features: Callable[[np.ndarray], np.ndarray] | None = None,
    run: str | os.PathLike | None = None,
    seed: int = 0,
) -> list[pathlib.Path]:
    """Writes the pictures that the arguments allow, and gallery.json with the numbers in them.

    Nothing is picked: the pictures show the first samples and latents, and a draw of the real
    examples, which a data set may store class by class.

    Args:
        folder: made when missing; files of the same names are replaced, each whole.
        samples: [n, h, w, c] in [0, 1], or vectors [n, d]: samples.png.
        kind: "image" or "vector".
        latents: [at least 4, latent_dim]; with `decode` and `path`, of images: interpolation.png.
        decode: latents -> images.
        path: between latents, see `interpolation_grid`.
        train: training images [m, h, w, c]: neighbours.png.
        extract: images -> (features, logits or None). With logits: classes.png, carpet.png, and
            columns of neighbours by features.
        real: examples of the split to compare with, uint8 or float in [0, 1].
        labels: [len(real)] integers, their classes, where known.
        critic_features: examples in [0, 1] -> the critic's outputs [n, d]; with `real`: critic.png.
        run: folder with metrics.jsonl (curves.png) and spectra.jsonl (singular_values.png).
        seed: of t-SNE and of the draw of real examples.

    Returns:
        The files, gallery.json last.

    Raises:
        UserError: an argument that does not fit, or matplotlib is missing where it is needed.
    """
    folder, samples = pathlib.Path(folder), np.asarray(samples)
    record = pathlib.Path(run) if run is not None else None
    if record is not None or critic_features is not None:
        curves.blank_figure(1, 1, 1.0, 1.0)  # matplotlib is missed before the work, not after it
    drawn: dict[str, np.ndarray] = {"samples": pictures.picture(samples[:_SAMPLES], kind)}
    facts: dict[str, Any] = {"num_samples": len(samples), "seed": seed}
    is_image = kind == "image"
    has_path = is_image and latents is not None and decode is not None and path is not None
    classify = _classifier(extract, samples) if is_image else None
    if has_path:
        pairs = np.asarray(latents)[: 2 * _PAIRS]
        if len(pairs) < 4:
            raise UserError(f"{len(pairs)} latents are too few for a gallery; give at least 4.")
        pairs = pairs[: len(pairs) // 2 * 2]
        drawn["interpolation"] = interpolation_grid(decode, pairs[0::2], pairs[1::2], path)
    if is_image and train is not None:
        drawn["neighbours"], facts["neighbours"] = _neighbours(samples, train, extract, classify)
    if classify is not None:
        sheet = carpets.entropy_sheet(samples, classify(samples))
        drawn["classes"], facts["classes"] = sheet.picture, _sheet_facts(sheet)
    if has_path and classify is not None:
        carpet = carpets.entropy_carpet(decode, classify, latents[:4], path)
        drawn["carpet"] = carpet.picture
        facts["carpet"] = {
            "mean_entropy": float(carpet.entropies.mean()),
            "brightest_entropy": carpet.most,
        }
    if critic_features is not None and real is not None:
        drawn["critic"] = _critic(samples, real, labels, critic_features, classify, seed)
    if record is not None and curves.read_series(record / "metrics.jsonl"):
        drawn["curves"] = curves.training_curves(record / "metrics.jsonl")
    if record is not None and curves.read_spectra(record / "spectra.jsonl"):
        drawn["singular_values"] = curves.singular_values(record / "spectra.jsonl")
    written = [pictures.save_png(folder / f"{name}.png", array) for name, array in drawn.items()]
    text = json.dumps(facts, indent=2, allow_nan=False) + "\n"
    return [*written, files.replace_file(folder / "gallery.json", text.encode())]


def _classifier(extract: Any, samples: np.ndarray) -> Callable[[np.ndarray], np.ndarray] | None:
    """Returns the function to logits, or None where the extractor is no classifier."""
    if extract is None or extract(samples[:1])[1] is None:
        return None
    return lambda images: extract(images)[1]


def _neighbours(
    samples: np.ndarray, train: np.ndarray, extract: Any, classify: Any
) -> tuple[np.ndarray, dict[str, Any]]:
    """Returns the picture and what gallery.json says of it."""
    shown, both = samples[:_ROWS], None
    if classify is not None:
        both = extract(shown)[0], extract(train)[0]
    found = neighbour_columns(shown, train, min(5, len(train)), both)
    facts = {name: value.tolist() for name, value in found._asdict().items() if value is not None}
    del facts["picture"]
    return found.picture, {"num_train": len(train), **facts}


def _sheet_facts(sheet: carpets.Sheet) -> dict[str, Any]:
    counts = np.bincount(sheet.classes, minlength=len(sheet.indices))
    return {
        "counts": counts.tolist(),
        "mean_entropy": float(sheet.entropies.mean()),
        "shown": sheet.indices.tolist(),
    }


def _critic(
    samples: np.ndarray, real: np.ndarray, labels: Any, features: Any, classify: Any, seed: int
) -> np.ndarray:
    samples, real = samples[:_POINTS], np.asarray(real)
    if labels is not None and len(labels) != len(real):
        raise UserError(f"{len(labels)} labels do not fit {len(real)} real examples; give both.")
    drawn = np.sort(np.random.RandomState(seed).permutation(len(real))[:_POINTS])
    real = real[drawn]
    real = _as_float(real) if real.ndim == 4 else real.astype(np.float32)
    outputs = []
    for examples in (real, samples):
        starts = range(0, len(examples), _BATCH)
        values = np.concatenate([features(examples[i : i + _BATCH]) for i in starts])
        outputs.append(values.reshape(len(examples), -1))
    labels = None if labels is None else np.asarray(labels)[drawn]
    classes = None if classify is None else np.argmax(classify(samples), axis=1)
    # Colours of guessed classes beside one colour of unknown ones would compare nothing.
    classes = None if labels is None else classes
    return embeddings.critic_map(outputs[0], labels, outputs[1], classes, seed=seed).picture


def _nearest(queries: np.ndarray, train: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the k nearest of all training images, part by part: floats are four times bytes."""
    if k > len(train):
        raise UserError(f"k={k} exceeds the {len(train)} training images; give at most that.")
    indices, distances = [], []
    for start in range(0, len(train), _PART):
        part = _as_float(train[start : start + _PART])
        found = neighbours.nearest(queries, part.reshape(len(part), -1), min(k, len(part)))
        indices.append(found[0] + start)
        distances.append(found[1])
    indices, distances = np.concatenate(indices, axis=1), np.concatenate(distances, axis=1)
    order = np.lexsort((indices, distances), axis=-1)[:, :k]
    return np.take_along_axis(indices, order, 1), np.take_along_axis(distances, order, 1)


def _as_float(images: np.ndarray) -> np.ndarray:
    """Returns images as float32 in [0, 1]."""
    images = np.asarray(images)
    scale = np.float32(255.0 if images.dtype == np.uint8 else 1.0)
    return images.astype(np.float32) / scale


def _beside(parts: list[np.ndarray]) -> np.ndarray:
    """Draws grids [rows, columns, h, w, c] of one number of rows with a white gap between them."""
    rows, height = parts[0].shape[0], parts[0].shape[2]
    width = sum(part.shape[1] for part in parts) * parts[0].shape[3]
    scale = max(1, min(_SIDE // (rows * height), 2 * _SIDE // width))
    panels = []
    for part in parts:
        grid = pictures.grid(part.reshape(-1, *part.shape[2:]), part.shape[1], scale)
        panels += [grid, np.full((len(grid), _GAP, 3), 255, np.uint8)]
    return np.concatenate(panels[:-1], axis=1)


def _check_cells(rows: int, columns: int) -> None:
    if rows * columns > _MOST_CELLS:
        raise UserError(
            f"{rows} rows of {columns} images exceed {_MOST_CELLS:,}; draw fewer of them."
        )
