"""Score cards: every score of one set of samples, with what is needed to read it.

A card is a plain dict for scores.json. Each entry has its `value`, `convention`, `num_samples`,
`num_reference` (None where no reference takes part), `extractor` and `seed`; what cannot be
computed is None, never NaN.
"""

import dataclasses
import json
import math
import os
import pathlib

import numpy as np

from kgzoo import data
from kgzoo.errors import UserError
from kgzoo.evaluation import (
    arrays,
    feature_cache,
    features,
    files,
    lenet_scores,
    modes,
    neighbours,
    scores,
    similarity,
    two_sample,
)

__all__ = ["Reference", "prepare", "score_samples", "write"]

NUM_REFERENCE = 10_000
_BATCH_SIZE = 256
# Neighbours and permutations of so many examples a side take a second or two.
_NUM_COMPARED = 2_000
# Two halves of a smaller split would say little, so both splits of an embedded set are halved.
_SMALL_SPLIT = 2_000
_STORED_AS = {"image": "samples rounded to 8 bits like stored images", "vector": "samples as given"}


@dataclasses.dataclass(frozen=True, eq=False)
class Reference:
    """The real side of a score card; made once by `prepare`, used for any number of cards.

    Attributes:
        source: the split.
        extractor: of features.
        features: [m, d] float32.
        logits: [m, classes] float32, or None.
        fid_between_real_halves: an entry of the card, see `score_samples`.
        train: the images of the training split, or None.
    """

    source: data.Source
    extractor: features.Extractor
    features: np.ndarray
    logits: np.ndarray | None
    fid_between_real_halves: dict
    train: np.ndarray | None = None

    @property
    def class_frequencies(self) -> np.ndarray | None:
        """[classes] float64 of the classifier's training split; None without a classifier."""
        return self.extractor.class_frequencies


def prepare(
    source: data.Source,
    extractor_name: str | None = None,
    seed: int = 0,
    num_reference: int = NUM_REFERENCE,
    train: np.ndarray | None = None,
) -> Reference:
    """Extracts features of the first `num_reference` examples of a split.

    Args:
        source: usually the test split.
        extractor_name: see `features.names`; the data set's own when None.
        seed: of the two random halves.
        num_reference: at most so many examples, in stored order.
        train: images of the training split; with them a card has the scores of `lenet_scores`.

    Returns:
        What `score_samples` compares samples with.

    Raises:
        UserError: unknown extractor, or one that does not take these examples.
    """
    seed = arrays.as_seed(seed)
    if extractor_name is None:
        extractor_name = features.default_name(source.name, source.kind, source.shape)
    extractor = features.get(extractor_name, source.shape)
    x, logits = _extract(extractor, source, num_reference)
    halves = _between_halves(source, extractor, x, seed)
    return Reference(source, extractor, x, logits, halves, train)


def score_samples(
    samples: np.ndarray,
    source: data.Source | Reference,
    extractor_name: str | None = None,
    seed: int = 0,
    kid_block_size: int | None = None,
    complete: bool = False,
) -> dict:
    """Scores samples against a split of real data.

    Entries: `fid`; `kid` (with std, standard_error, blocks, block_size); with a classifier
    `inception_score`, `inception_score_of_reference`, `class_shares` (share of samples per
    predicted class), `lowest_class_share`, `expected_entropy`, `classifier_score` (the LeNet score
    of MNIST) and the same two `_of_reference`; for mixtures `mode_coverage`; and, so that `fid` can
    be read against something, `fid_between_real_halves`. If complete, also `precision`, `recall`,
    `density`, `coverage` and `mmd_test` (with p_value) of equal counts; for images `ms_ssim` and
    `ms_ssim_of_reference`; with training images `enn_squared`, `enn`, `jsd` and `mmd` (see
    `lenet_scores`).
    FID falls with the number of examples on either side, so compare it at equal counts; KID has no
    such bias.

    Args:
        samples: [n, h, w, c] uint8 or float in [0, 1], or vectors [n, d]; n >= 2.
        source: the real split, or what `prepare` made of it (which is faster the second time).
        extractor_name: as for `prepare`; only with a `Source`.
        seed: of shuffles and halves.
        kid_block_size: see `scores.kernel_distance`; when None 1000, or less so that there are
            five blocks and a standard deviation.
        complete: whether to compute what takes seconds: neighbours, permutations, pixels.

    Returns:
        Entries by name, `extractor` and `reference`, all JSON values.

    Raises:
        UserError: samples of another shape or range, fewer than two, NaN, or an extractor that
            does not fit.
    """
    if not isinstance(source, Reference):
        source = prepare(source, extractor_name, seed)
    elif extractor_name not in (None, source.extractor.name):
        raise UserError(
            f"extractor={extractor_name!r} contradicts the prepared reference, which uses "
            f"{source.extractor.name!r}; leave it out or prepare again."
        )
    reference, extractor = source, source.extractor
    samples = _as_stored(arrays.as_array(samples, "samples"), reference)
    seed = arrays.as_seed(seed)
    x, logits = extractor.extract(samples, _BATCH_SIZE)
    alone = {
        "num_samples": len(x),
        "num_reference": None,
        "extractor": extractor.name,
        "seed": seed,
    }
    compared = {**alone, "num_reference": len(reference.features)}
    card = {"fid": _fid(x, reference.features, compared, reference.source.kind)}
    if kid_block_size is None:
        kid_block_size = min(1000, max(2, math.ceil(max(len(x), len(reference.features)) / 5)))
    kid = scores.kernel_distance(x, reference.features, kid_block_size, seed)
    card["kid"] = _named_value(kid, compared)
    if logits is not None:
        card.update(_classifier_entries(logits, reference, alone))
    if complete:
        card.update(_sample_entries(x, reference, compared))
        source = reference.source
        if source.kind == "image" and min(source.shape[:2]) >= similarity.SMALLEST_SIDE:
            card.update(_pixel_entries(samples, reference, seed))
    mixture = reference.source.describe().get("modes")
    if mixture:
        card["mode_coverage"] = {**modes.mode_scores(samples, **mixture), **alone}
    card["fid_between_real_halves"] = reference.fid_between_real_halves
    card["extractor"] = extractor.describe()
    card["reference"] = reference.source.describe()
    return card


def write(path: str | os.PathLike, card: dict) -> pathlib.Path:
    """Writes a card as JSON; the file is whole or absent.

    Args:
        path: of the file, usually `<run>/scores.json`.
        card: from `score_samples`, or any dict of JSON values.

    Returns:
        The path.

    Raises:
        ValueError: a value is NaN or infinite.
    """
    return files.replace_file(path, (json.dumps(card, indent=2, allow_nan=False) + "\n").encode())


def _as_stored(samples: np.ndarray, reference: Reference) -> np.ndarray:
    """Checks samples, and rounds images to 8 bits: a score in memory is that of the saved files."""
    reference.extractor.check(samples)
    if reference.source.kind == "image" and samples.dtype != np.uint8:
        return np.rint(255.0 * np.clip(samples, 0.0, 1.0)).astype(np.uint8)
    return samples


def _extract(
    extractor: features.Extractor, source: data.Source, limit: int
) -> tuple[np.ndarray, np.ndarray | None]:
    """Extracts batch by batch, or takes what an earlier process kept; see `feature_cache`."""
    return feature_cache.extract(extractor, source, limit, _BATCH_SIZE)


def _between_halves(
    source: data.Source, extractor: features.Extractor, x: np.ndarray, seed: int
) -> dict:
    whole = f"{source.split} split"
    if source.num_examples < _SMALL_SPLIT and source.name in data.names():
        other = "train" if source.split == "test" else "test"
        size = source.shape[0] if source.kind == "image" else None
        rest = data.load(source.name, split=other, image_size=size)
        x = np.concatenate([x, _extract(extractor, rest, NUM_REFERENCE)[0]])
        whole = "train and test splits together"
    x = x[np.random.RandomState(seed).permutation(len(x))]
    half = len(x) // 2
    return {
        "value": scores.frechet_distance(x[:half], x[half:]) if half >= 2 else None,
        "convention": f"{scores.FRECHET_CONVENTION}; two random halves of the {whole}",
        "num_samples": half,
        "num_reference": len(x) - half,
        "extractor": extractor.name,
        "seed": seed,
    }


def _fid(x: np.ndarray, y: np.ndarray, common: dict, kind: str) -> dict:
    convention = f"{scores.FRECHET_CONVENTION}; {_STORED_AS[kind]}"
    return {"value": scores.frechet_distance(x, y), "convention": convention, **common}


def _named_value(score: dict, common: dict) -> dict:
    """Turns the `mean` of a score into the `value` of an entry."""
    rest = {key: value for key, value in score.items() if key != "mean"}
    return {"value": score["mean"], **rest, **common}


def _classifier_entries(logits: np.ndarray, reference: Reference, common: dict) -> dict:
    shares = np.bincount(logits.argmax(axis=1), minlength=logits.shape[1]) / len(logits)
    convention = "share of samples per class of largest logit"
    real_logits, seed = reference.logits, common["seed"]
    real = {**common, "num_samples": len(real_logits)}
    return {
        "inception_score": _named_value(scores.inception_score(logits, seed=seed), common),
        "inception_score_of_reference": _named_value(
            scores.inception_score(real_logits, seed=seed), real
        ),
        "class_shares": {"value": shares.tolist(), "convention": convention, **common},
        "lowest_class_share": {
            "value": float(shares.min()),
            "convention": f"smallest {convention}",
            **common,
        },
        **_confidence_entries(logits, reference, "", common),
        **_confidence_entries(real_logits, reference, "_of_reference", real),
    }


def _confidence_entries(
    logits: np.ndarray, reference: Reference, suffix: str, common: dict
) -> dict:
    """Returns the two entries of `scores.classifier_scores`, `suffix` after their names.

    None for a classifier whose training data are not known, as the user's Inception.
    """
    if reference.class_frequencies is None:
        return {}
    conventions = {
        "expected_entropy": scores.ENTROPY_CONVENTION,
        "classifier_score": scores.CLASSIFIER_CONVENTION,
    }
    values = scores.classifier_scores(logits, reference.class_frequencies)
    return {
        f"{name}{suffix}": {"value": value, "convention": conventions[name], **common}
        for name, value in values.items()
    }


def _sample_entries(x: np.ndarray, reference: Reference, common: dict) -> dict:
    """Returns the scores of neighbours and the two-sample test, of as many real examples."""
    seed, real = common["seed"], reference.features
    count = min(len(x), len(real), _NUM_COMPARED)
    # Stored order may be sorted by class.
    x, real = (
        points[np.random.RandomState(seed).permutation(len(points))[:count]] for points in (x, real)
    )
    counts = {"num_samples": count, "num_reference": count}
    entries = {}
    if count > max(neighbours.NUM_NEIGHBOURS):
        for name, entry in neighbours.neighbour_scores(real, x).items():
            entries[name] = {**entry, **common, **counts}
    return {**entries, "mmd_test": {**common, **two_sample.mmd_test(real, x, seed=seed)}}


def _pixel_entries(samples: np.ndarray, reference: Reference, seed: int) -> dict:
    limit = _NUM_COMPARED if reference.train is None else len(reference.features)
    images = np.concatenate(list(data.batches(reference.source, _BATCH_SIZE, limit)))
    entries = {}
    if min(len(samples), len(images)) > 1:
        entries["ms_ssim"] = _ms_ssim_entry(samples, seed)
        entries["ms_ssim_of_reference"] = _ms_ssim_entry(images, seed)
    if reference.train is not None:
        found = lenet_scores.lenet_scores(samples, images, reference.train, seed=seed)
        entries.update(found)
    return entries


def _ms_ssim_entry(images: np.ndarray, seed: int) -> dict:
    common = {"num_samples": len(images), "num_reference": None, "extractor": "pixels"}
    return {**similarity.ms_ssim(images, seed=seed), **common}
