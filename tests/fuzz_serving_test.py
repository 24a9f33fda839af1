"""Fuzzing of what exports are asked: signatures, samples, and the path between two latents."""

import functools
import pathlib
import tempfile

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized
from hypothesis import strategies as st

import fuzzing
from kgzoo import serving
from kgzoo.methods import latent_paths
from kgzoo.methods.smmd import SMMD
from kgzoo.serving import signatures

_LATENT_DIM, _SHAPE, _OUTPUT_DIM = 3, (8, 8, 1), 2
_ROWS = st.sampled_from((0, 1, 2, 3, 2, 3))
_FOLDER = tempfile.TemporaryDirectory()


def _mostly(good, bad):
    """Arguments that fit eight times as often as others: of several, all should, now and then."""
    return st.sampled_from((*good * (8 * len(bad) // len(good) + 1), *bad))


@functools.cache
def _model():
    keras.utils.set_random_seed(0)
    generator = keras.Sequential(
        [
            keras.Input([_LATENT_DIM]),
            keras.layers.Dense(16),
            keras.layers.Reshape([4, 4, 1]),
            keras.layers.Conv2DTranspose(_SHAPE[-1], 4, 2, "same", activation="sigmoid"),
        ]
    )
    # Takes images of any size, as nothing after it counts pixels.
    critic = keras.Sequential(
        [
            keras.Input(_SHAPE),
            keras.layers.Conv2D(4, 3, 2, "same", activation="tanh"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(_OUTPUT_DIM),
        ]
    )
    return SMMD(generator, critic, latent_distribution="normal")


@functools.cache
def _traced():
    return signatures.trace(signatures.signatures(_model()))


@functools.cache
def _exported():
    """An export as a server and a C program ask it: by fed tensors, without Python's checks."""
    card = serving.ModelCard(
        method="gan", summary="s", paper="p", data={"name": "d"}, steps=1, seed=0
    )
    path = serving.export_model(_model(), pathlib.Path(_FOLDER.name), "gan", card)
    return path, tf.saved_model.load(str(path)).signatures


_PAIR = {"start": (_LATENT_DIM,), "end": (_LATENT_DIM,), "fraction": ()}
_KEYS = {
    "serving_default": {"latents": (_LATENT_DIM,)},
    "sample": {"seed": (2,)},
    "sample_png": {"seed": (2,)},
    "latents": {"seed": (2,)},
    "sample_truncated": {"seed": (2,), "truncation": ()},
    "interpolate": _PAIR,
    "interpolate_linear": _PAIR,
    "interpolate_spherical": _PAIR,
    "nearest_latent": {"images": _SHAPE, "steps": ()},
    "critic_features": {"images": _SHAPE},
}


@st.composite
def _requests(draw, of_fit):
    """A signature's name and its request: of rows that fit, or of another shape."""
    name = draw(st.sampled_from(list(_KEYS)))
    n, request = draw(_ROWS), {}
    for key, shape in _KEYS[name].items():
        rows, row = n, shape
        if not of_fit:
            how = draw(_mostly(("fit",), ("rows", "width", "rank", "flat")))
            rows = n + 1 if how == "rows" else n
            row = {"width": (*shape[:-1], 5), "rank": (*shape, 2), "flat": ()}.get(how, shape)
        if key == "seed":
            ends = draw(st.sampled_from(((-(2**31), 2**31), (0, 3), (2**31 - 2, 2**31))))
            random = np.random.RandomState(draw(st.integers(0, 99)))
            request[key] = random.randint(*ends, size=(rows, *row)).astype(np.int32)
        elif key == "steps":
            request[key] = np.full((rows, *row), draw(st.sampled_from((0, 3, -1))), np.int32)
        else:
            request[key] = draw(fuzzing.arrays(st.just((rows, *row)), dtypes=("float32",)))
    return name, request


_ANSWERS = {
    "images": _SHAPE,
    "image_bytes": (),
    "features": (_OUTPUT_DIM,),
    "latents": (_LATENT_DIM,),
    "distances": (),
}


def _complaint(name, request, answer):
    """Shapes, and rows: one that is finite has an answer that is."""
    n = len(next(iter(request.values())))
    finite = np.ones(n, bool)
    for values in request.values():
        finite &= np.isfinite(values).reshape(n, int(np.prod(values.shape[1:]))).all(axis=1)
    for key, values in answer.items():
        values = values.numpy()
        if values.shape != (n, *_ANSWERS[key]):
            return f"{key} of shape {values.shape} for {n} rows"
        if key == "image_bytes":
            if not all(png.startswith(b"\x89PNG") for png in values):
                return "no PNG"
        # Weights times 1e30 and more may be infinite, as they are in truth beyond float32.
        elif (
            not np.isfinite(values[finite]).all()
            and max(np.abs(v).max(initial=0) for v in request.values()) < 1e9
        ):
            return f"{key} of finite rows is not finite"
    return None


def _check_request(case):
    name, request = case
    tensors = {key: tf.constant(values) for key, values in request.items()}
    signature = _traced()[name]
    return fuzzing.verdict(
        lambda: signature(**tensors), functools.partial(_complaint, name, request)
    )


def _check_misfit(case):
    """A request of another shape: TensorFlow's InvalidArgumentError, with a sentence in it."""
    name, request = case
    rows = {len(values) for values in request.values()}
    fits = len(rows) == 1 and all(
        values.shape[1:] == _KEYS[name][key] for key, values in request.items()
    )
    tensors = {key: tf.constant(values) for key, values in request.items()}
    signature = _exported()[1][name]
    try:
        answer = signature(**tensors)
    except tf.errors.InvalidArgumentError as error:
        if fits:
            raise fuzzing.Defect(f"refused what fits: {error}") from error
        said = " ".join(str(error).split())
        wanted = ("is not compatible with expected shape", "give the same number of each.")
        if not any(words in said for words in wanted):
            raise fuzzing.Defect(f"no sentence: {said}") from error
        if not any(key in said for key in request):
            raise fuzzing.Defect(f"no name of {list(request)}: {said}") from error
        return fuzzing.REFUSED
    except Exception as error:
        raise fuzzing.Defect(f"{type(error).__name__}: {error}") from error
    if not fits:
        raise fuzzing.Defect(f"{name} took { ({k: v.shape for k, v in request.items()}) }")
    complaint = _complaint(name, request, answer)
    if complaint:
        raise fuzzing.Defect(complaint)
    return fuzzing.WORKED


def _check_samples(case):
    n, seed, batch_size, of_model = case
    model, (path, _) = _model(), _exported()

    def call():
        if of_model:
            return model.sample(n, seed, batch_size)
        return serving.sample_export(path, n, seed, batch_size)

    def right(answer):
        fits = answer.shape == (n, *_SHAPE) and answer.dtype == np.float32
        return None if fits and np.isfinite(answer).all() else f"{answer.shape} {answer.dtype}"

    return fuzzing.verdict(call, right)


_SAMPLE_CASES = st.tuples(
    _mostly((1, 2, 5), (0, -1, 10**13, 2.5, "x", None, np.nan)),
    _mostly((0, 7, -1, 2**31 - 1, -(2**31)), (2**31, -(2**31) - 1, 10**30, 0.5, "x", None)),
    _mostly((256, 1, 2), (0, -1, 2.5, None)),
    st.booleans(),
)


def _check_path(case):
    name, start, end, fraction = case
    n = min(map(len, (start, end, fraction)))
    start, end, fraction = start[:n], end[:n], fraction[:n]
    path = latent_paths.path_of(name)

    def right(answer):
        values = answer.numpy()
        if values.shape != (n, _LATENT_DIM):
            return f"shape {values.shape}"
        finite = np.isfinite(start).all(1) & np.isfinite(end).all(1) & np.isfinite(fraction)
        if not np.isfinite(values[finite]).all():
            return "a finite pair gives a point that is not"
        # Either end is itself.
        for at, ends in ((0.0, start), (1.0, end)):
            there = finite & (np.clip(fraction, 0, 1) == at)
            scale = 1e-4 * (np.abs(start[there]) + np.abs(end[there]) + 1e-30)
            if not (np.abs(values[there] - ends[there]) <= scale.max(initial=0)).all():
                return f"fraction {at} is not the end"
        return None

    return fuzzing.verdict(lambda: path(*map(tf.constant, (start, end, fraction))), right)


_POINTS = fuzzing.arrays(st.tuples(_ROWS, st.just(_LATENT_DIM)), dtypes=("float32",))
_FRACTIONS = st.lists(st.sampled_from((0.0, 1.0, 0.5, -3.0, 1e30, np.nan, np.inf)), max_size=3).map(
    lambda values: np.array(values, np.float32)
)
_PATH_CASES = st.tuples(st.sampled_from(("normal", "uniform")), _POINTS, _POINTS, _FRACTIONS)

TARGETS = (
    fuzzing.Target("requests that fit", _requests(True), _check_request),
    fuzzing.Target("requests to an export", _requests(False), _check_misfit, 2.0),
    fuzzing.Target("numbers of samples and seeds", _SAMPLE_CASES, _check_samples, 0.5),
    fuzzing.Target("paths between latents", _PATH_CASES, _check_path),
)


class FuzzTest(parameterized.TestCase, tf.test.TestCase):
    @parameterized.named_parameters((target.name.replace(" ", "_"), target) for target in TARGETS)
    def test_works_or_refuses(self, target):
        counts = fuzzing.run(target, fuzzing.examples())
        self.assertGreater(counts.worked, 0)
        if target.name in ("requests to an export", "numbers of samples and seeds"):
            self.assertGreater(counts.refused, 0)

    def test_a_row_that_is_not_finite_harms_no_other(self):
        whole = np.ones((3, _LATENT_DIM), np.float32)
        broken = whole.copy()
        broken[1] = np.nan
        found, expected = (
            _traced()["serving_default"](latents=tf.constant(latents))["images"].numpy()
            for latents in (broken, whole)
        )
        self.assertAllClose(found[[0, 2]], expected[[0, 2]])
        self.assertTrue(np.isnan(found[1]).all())

    def test_every_signature_is_asked(self):
        self.assertEqual(set(_traced()), set(_KEYS))

    def test_there_is_a_path_for_two_distributions(self):
        for name in ("gaussian", None, 3, ()):
            with self.assertRaisesRegex(ValueError, "choose one of: uniform, normal"):
                latent_paths.path_of(name)


if __name__ == "__main__":
    tf.test.main()
