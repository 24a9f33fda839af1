"""Fuzzing of scores, pictures and data: finite answers, or one sentence."""

import math
import pathlib
import tempfile

import numpy as np
import tensorflow as tf
from absl.testing import parameterized
from hypothesis import strategies as st

import fuzzing
from kgzoo import data
from kgzoo.evaluation import (
    ais,
    features,
    lenet_scores,
    modes,
    neighbours,
    pictures,
    relative_similarity,
    score_card,
    scores,
    similarity,
    two_sample,
)


def _mostly(good, bad):
    """Arguments that fit eight times as often as others: of several, all should, now and then."""
    return st.sampled_from((*good * (8 * len(bad) // len(good) + 1), *bad))


_COUNTS = _mostly((1, 2, 3, 10), (0, -1, 2.5, np.nan, "x", None, 10**30, True))
_SEEDS = _mostly((0, 1, 2**32 - 1), (-1, 2**32, 10**30, 0.5, "x", None, np.nan))
_ROWS = _mostly((4, 6, 9), (0, 1, 2, 3))


@st.composite
def _features(draw, count=2, widths=(1, 2, 3, 7)):
    """Sets of features, mostly of one d."""
    d = draw(st.sampled_from(widths))
    found = []
    for _ in range(count):
        how = draw(_mostly(("fit",), ("other_d", "rank", "odd")))
        if how == "odd":
            found.append(draw(fuzzing.odd()))
            continue
        n, width = draw(_ROWS), d + (how == "other_d")
        shape = (
            draw(st.sampled_from(((), (n,), (n, 2, 2), (n, 0)))) if how == "rank" else (n, width)
        )
        found.append(draw(fuzzing.arrays(st.just(shape))))
    return found


@st.composite
def _images(draw, count=1, sides=(8, 11), colours=(1, 3)):
    """Sets of images, mostly of one size, uint8 or in [0, 1]."""
    side, channels = draw(st.sampled_from(sides)), draw(_mostly(colours, (0, 2, 4)))
    found = []
    for _ in range(count):
        how = draw(_mostly(("fit", "fit", "wide"), ("size", "rank", "odd", "range", "zero", "int")))
        if how == "odd":
            found.append(draw(fuzzing.odd()))
            continue
        sizes = {"size": side + 1, "zero": 0}
        n, size = draw(_ROWS), sizes.get(how, side)
        shape = (n, size) if how == "rank" else (n, size, size + (how == "wide"), channels)
        random = np.random.RandomState(draw(st.integers(0, 99)))
        values = random.uniform(size=shape)
        if how == "range":
            values = values * draw(st.sampled_from((255.0, -1.0, 1e30, np.nan)))
        if how == "int":
            found.append((255 * values).astype(draw(st.sampled_from(("int32", "int64", "uint16")))))
            continue
        kind = draw(st.sampled_from(("float32", "float64", "float16", "uint8", "bool")))
        with np.errstate(all="ignore"):
            found.append((255 * values).astype("uint8") if kind == "uint8" else values.astype(kind))
    return found


def _numbers(answer):
    """All numbers in a nest of dicts, lists and tuples."""
    if isinstance(answer, dict):
        answer = list(answer.values())
    if isinstance(answer, (list, tuple)):
        return [number for item in answer for number in _numbers(item)]
    if isinstance(answer, np.ndarray):
        return answer.ravel().tolist()
    return [answer] if isinstance(answer, (int, float, np.number)) else []


def _finite(answer):
    numbers = _numbers(answer)
    if not numbers:
        return f"no number in {answer!r}"
    return None if all(map(math.isfinite, numbers)) else f"not finite: {str(answer)[:200]}"


def _check_distances(case):
    (x, y), name, number, seed = case
    calls = {
        "frechet": lambda: scores.frechet_distance(x, y),
        "kernel": lambda: scores.kernel_distance(x, y, number, seed),
        "inception": lambda: scores.inception_score(x, number, seed),
        "classifier": lambda: scores.classifier_scores(x, y),
        "classes": lambda: scores.classifier_scores(x, np.full(2, 0.5)),
        "neighbours": lambda: neighbours.neighbour_scores(x, y, number, 2),
        "nearest": lambda: neighbours.nearest(x, y, number),
        "relative": lambda: relative_similarity.relative_test(x, y, y),
    }

    def right(answer):
        complaint = _finite(answer)
        # The unbiased ones may be negative, no other.
        if not complaint and name in ("frechet", "inception") and _numbers(answer)[0] < 0:
            return f"{name} of {answer}"
        return complaint

    return fuzzing.verdict(calls[name], right)


_DISTANCES = ("frechet", "kernel", "inception", "classifier", "classes", "neighbours", "nearest")
_DISTANCE_CASES = st.tuples(
    _features(), st.sampled_from((*_DISTANCES, "relative")), _COUNTS, _SEEDS
)


def _check_two_samples(case):
    (x, y), bandwidth, permutations, seed = case
    return fuzzing.verdict(
        lambda: two_sample.mmd_test(x, y, bandwidth, permutations, seed), _finite
    )


_TWO_SAMPLE_CASES = st.tuples(
    _features(),
    _mostly((None, 1.0, 0.1), (0.0, -1.0, 1e-300, 1e300, np.nan, "x")),
    _mostly((1, 10, 20), (0, 2.5, "x", None)),
    _SEEDS,
)


def _check_modes(case):
    (samples, centres), sd, weights, axes, numbers = case

    def right(answer):
        radii = ("radius", "wide_radius", "radius_sds", "wide_radius_sds")
        rest = {key: value for key, value in answer.items() if key not in radii}
        nan = any(math.isnan(number) for number in _numbers(answer))
        return "NaN" if nan else _finite(rest)

    return fuzzing.verdict(
        lambda: modes.mode_scores(samples, centres, sd, weights, axes, **numbers), right
    )


_MODE_CASES = st.tuples(
    _features(),
    _mostly((0.1, 1.0, 3), (0, -1.0, np.nan, np.inf, 1e-300, 1e300, "x", None, [1.0, 2.0])),
    _mostly((None,), ([0.5, 0.5], [np.nan], "x", [1.0, 0.0])),
    _mostly((None,), (np.eye(2), np.ones((2, 2)), np.full((3, 3), np.nan), "x")),
    st.fixed_dictionaries(
        {},
        optional={
            name: _mostly((0.4, 3.0), (0.0, -1.0, np.nan, np.inf, "x", None))
            for name in ("least_share", "near_sds", "wide_sds")
        },
    ),
)


def _check_pixels(case):
    (images, others), name, number, seed = case
    calls = {
        "ms_ssim": lambda: similarity.ms_ssim(images, number, seed),
        "distances": lambda: lenet_scores.training_distances(images, others),
        "divergences": lambda: lenet_scores.pixel_divergences(images, others, seed=seed),
        "bandwidths": lambda: lenet_scores.pixel_divergences(images, others, (number,)),
    }
    return fuzzing.verdict(calls[name], _finite)


_PIXEL_CASES = st.tuples(
    _images(2),
    st.sampled_from(("ms_ssim", "distances", "divergences", "bandwidths")),
    _COUNTS,
    _SEEDS,
)


def _check_pictures(case):
    (images,), (points, reference), name, number = case
    calls = {
        "grid": lambda: pictures.grid(images, number),
        "scale": lambda: pictures.grid(images, None, number),
        "scatter": lambda: pictures.scatter(points, reference, 64),
        "alone": lambda: pictures.scatter(points, None, 64),
        "histogram": lambda: pictures.histogram(points, reference, 64, 8),
        "views": lambda: pictures.views(points, reference, 64),
        "picture": lambda: pictures.picture(points, "vector", reference),
        "kind": lambda: pictures.picture(images, number),
        "png": lambda: _saved(images),
    }

    def right(answer):
        fits = answer.dtype == np.uint8 and answer.ndim == 3 and answer.shape[-1] == 3
        return None if fits else f"{answer.dtype} {answer.shape}"

    return fuzzing.verdict(calls[name], right)


def _saved(images):
    with tempfile.TemporaryDirectory() as folder:
        pictures.save_png(pathlib.Path(folder, "x.png"), images[0] if len(images) else images)
    return np.zeros((1, 1, 3), np.uint8)


_PICTURES = ("grid", "scale", "scatter", "alone", "histogram", "views", "picture", "kind", "png")
_PICTURE_CASES = st.tuples(
    _images().filter(lambda found: hasattr(found[0], "shape") and found[0].ndim),
    _features(),
    st.sampled_from(_PICTURES),
    _mostly((None, 1, 2, 3), (0, -1, 2.5, "x", np.nan)),
)


def _reference(kind):
    if kind not in _REFERENCES:
        random = np.random.RandomState(0)
        if kind == "vector":
            shape, examples = (2,), random.standard_normal((12, 2)).astype(np.float32)
        else:
            shape = (8, 8, 1)
            examples = random.randint(0, 256, (12, *shape)).astype(np.uint8)
        source = data.Source("mine", kind, shape, len(examples), examples, split="test")
        _REFERENCES[kind] = score_card.prepare(source)
    return _REFERENCES[kind]


_REFERENCES = {}


def _check_cards(case):
    kind, (points, _), (images,), seed = case
    samples = points if kind == "vector" else images

    def right(answer):
        return _finite({name: entry["value"] for name, entry in answer.items() if "value" in entry})

    return fuzzing.verdict(
        lambda: score_card.score_samples(samples, _reference(kind), seed=seed), right
    )


_CARD_CASES = st.tuples(
    st.sampled_from(("vector", "image")), _features(2, (2,)), _images(1, (8,), (1,)), _SEEDS
)


def _check_sources(case):
    kind, (points,), (images,), shape, number = case
    examples = points if kind == "vector" else images

    def call():
        shown = examples.shape[1:] if shape is None else shape
        count = (*examples.shape, 0)[0] if number is None else number
        source = data.Source("mine", kind, shown, count, examples)
        extractor = features.get("identity" if kind == "vector" else "random_conv", source.shape)
        return extractor.extract(source.examples)[0]

    def right(answer):
        if not np.isfinite(np.asarray(examples, np.float64)).all():
            return None
        return _finite(answer)

    if isinstance(examples, np.ndarray) and kind == "vector":
        examples = examples.astype(np.float32) if examples.dtype == np.float64 else examples
    return fuzzing.verdict(call, right)


_SOURCE_CASES = st.tuples(
    _mostly(("vector", "image"), ("sound", None)),
    _features(1),
    _images().filter(lambda found: hasattr(found[0], "shape")),
    _mostly((None,), ((2,), (8, 8, 1), 3, "x", ())),
    _mostly((None,), (0, -1, 3, 2.5, "x")),
).filter(lambda case: hasattr(case[1][0], "shape"))


def _check_ais(case):
    examples, latent_dim, settings = case
    return fuzzing.verdict(
        lambda: ais.estimate(lambda z: z, examples, latent_dim, jit=False, **settings),
        # Only what is refused is drawn here: an estimate takes too long.
        lambda answer: "an estimate from wrong arguments",
    )


_WRONG_WHOLE = st.sampled_from((0, -1, 1.5, np.nan, "x", None, True))
_AIS_CASES = st.one_of(
    st.tuples(
        st.just(np.zeros((2, 3), np.float32)),
        st.just(3),
        st.dictionaries(
            st.sampled_from(("chains", "temperatures", "leapfrog_steps", "batch_size")),
            _WRONG_WHOLE,
            min_size=1,
        ),
    ),
    st.tuples(st.just(np.zeros((2, 3), np.float32)), _WRONG_WHOLE, st.just({})),
    st.tuples(
        st.one_of(fuzzing.odd(), st.sampled_from((np.zeros(0), np.zeros((0, 3)), 3))),
        st.just(3),
        st.just({}),
    ),
    st.tuples(
        st.just(np.zeros((2, 3), np.float32)),
        st.just(3),
        st.sampled_from(
            (
                *({"step_size": size} for size in (0.0, -1.0, np.nan, np.inf, "x", [1.0, 2.0])),
                *({"schedule": name} for name in ("sigmoidal", None, 3)),
                {"seed": -1},
            )
        ),
    ),
)

TARGETS = (
    fuzzing.Target("scores of features", _DISTANCE_CASES, _check_distances, 4.0),
    fuzzing.Target("two-sample test", _TWO_SAMPLE_CASES, _check_two_samples),
    fuzzing.Target("modes", _MODE_CASES, _check_modes, 2.0),
    fuzzing.Target("scores of pixels", _PIXEL_CASES, _check_pixels),
    fuzzing.Target("pictures", _PICTURE_CASES, _check_pictures, 2.0),
    fuzzing.Target("score cards", _CARD_CASES, _check_cards),
    fuzzing.Target("data and extractors", _SOURCE_CASES, _check_sources),
    fuzzing.Target("arguments of AIS", _AIS_CASES, _check_ais),
)


class FuzzTest(parameterized.TestCase, tf.test.TestCase):
    @parameterized.named_parameters((target.name.replace(" ", "_"), target) for target in TARGETS)
    def test_works_or_refuses(self, target):
        counts = fuzzing.run(target, fuzzing.examples())
        self.assertGreater(counts.refused, 0)
        if target.name != "arguments of AIS":
            self.assertGreater(counts.worked, 0)


if __name__ == "__main__":
    tf.test.main()
