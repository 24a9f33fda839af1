"""Fuzzing of kernels, discrepancies and regularizers: they work, or refuse with one sentence."""

import functools

import hypothesis
import numpy as np
import tensorflow as tf
from absl.testing import parameterized
from hypothesis import strategies as st

import fuzzing
from kgzoo import kernels, regularizers
from kgzoo.discrepancies import (
    adversarial,
    gradient_constrained,
    jensen_shannon,
    kernel_scale,
    lipschitz,
    mmd,
    ratio_matching,
    repulsive,
    scaled,
    score_estimators,
    variational,
)
from kgzoo.errors import UserError
from kgzoo.kernels import bandwidths

_FEATURES = (1, 2, 3, 5, 8, 33, 40)


def _mostly(good, bad):
    """Arguments that fit eight times as often as others: of several, all should, now and then."""
    return st.sampled_from((*good * (8 * len(bad) // len(good) + 1), *bad))


_ROWS = _mostly((2, 3, 5), (0, 1))
_NUMBERS = _mostly(
    (0.1, 1.0, 1, 2.5, 10.0, 1e-3, 1e3),
    (0, 0.0, -1.0, 1e-300, 1e300, np.nan, np.inf, -np.inf, 10**400, "1", "x", None, (), [1.0]),
)


_NAMED = (
    *("gaussian", "gaussian_mixture", "rational_quadratic_mixture", "linear"),
    *("rational_quadratic_mixture_dot", "ikl", "dk", "dk2", "dk_pd"),
)


@st.composite
def _samples(draw, count=2, rows=_ROWS, least_features=1):
    """Several samples, mostly of one number of features; now and then of none, or of another."""
    d = draw(st.sampled_from([0, *_FEATURES][least_features:]))
    found = []
    for _ in range(count):
        how = draw(st.sampled_from(("fit",) * 24 + ("other_d", "rank", "odd")))
        if how == "odd":
            found.append(draw(fuzzing.odd()))
            continue
        n, width = draw(rows), d + (how == "other_d")
        ranks = ((), (n,), (n, width, 2), (n, width, 1, 1))
        shape = draw(st.sampled_from(ranks)) if how == "rank" else (n, width)
        found.append(draw(fuzzing.arrays(st.just(shape))))
    return found


def _is_matrix(values):
    return isinstance(values, np.ndarray) and values.ndim == 2


def _is_finite(*values):
    return all(np.isfinite(np.asarray(value, np.float64)).all() for value in values)


def _largest(*values):
    sizes = [np.abs(np.asarray(value, np.float64)).max(initial=0.0) for value in values]
    return max(sizes)


def _wrong_type(answer, inputs):
    wanted = "float64" if any(np.asarray(v).dtype == np.float64 for v in inputs) else "float32"
    return None if answer.dtype.name == wanted else f"{answer.dtype.name} instead of {wanted}"


def _is_scalar(answer, inputs, ordinary=1e5):
    """What is wrong with a discrepancy: NaN never of finite numbers, infinity of huge ones only."""
    value = answer.numpy()
    if value.shape:
        return f"shape {value.shape} of a scalar"
    if np.isnan(value) and _is_finite(*inputs):
        return "NaN of finite numbers"
    if np.isinf(value) and _largest(*inputs) <= ordinary:
        return "infinity of ordinary numbers"
    return _wrong_type(answer, inputs)


@functools.cache
def _trained(name, features):
    kernel = kernels.get(name)
    kernel.build((None, features))
    return kernel


def _kernel(name, features):
    return _trained(name, features) if name in ("ikl", "dk", "dk2", "dk_pd") else kernels.get(name)


# --- kernels


def _profile(name):
    """The kernel as a function of the squared distance, where it is one."""
    gaussians = {"gaussian": (1.0,), "gaussian_mixture": 2.0 ** np.arange(0, 2.5, 0.5)}
    if name in gaussians:
        return lambda squared: sum(np.exp(-squared / (2 * s * s)) for s in gaussians[name])
    if name == "rational_quadratic_mixture":
        rates = (0.2, 0.5, 1.0, 2.0, 5.0)
        return lambda squared: sum((1 + squared / (2 * a)) ** -a for a in rates)
    return None


def _kernel_complaint(name, x, y, answer):
    """Compares with the definition in float64; distances have roundings of the coordinates."""
    y = x if y is None else y
    if answer.shape != (len(x), len(y)):
        return f"shape {answer.shape}"
    value = answer.numpy()
    if not _is_finite(x, y) or not value.size:
        return None
    if np.isnan(value).any():
        return "NaN of finite points"
    profile = _profile(name)
    if profile is None:
        most = 2.1 if name in ("ikl", "dk", "dk2", "dk_pd") else np.inf
        return None if (np.abs(value) <= most).all() else f"{np.abs(value).max()} is too large"
    complaint = _wrong_type(answer, (x, y))
    x, y = (np.asarray(points, value.dtype).astype(np.float64) for points in (x, y))
    with np.errstate(all="ignore"):
        squared = np.sum((x[:, None] - y[None]) ** 2, axis=-1)
        centre = y.mean(axis=0)
        norms = np.sum((x - centre) ** 2, -1)[:, None] + np.sum((y - centre) ** 2, -1)
        wide = value.dtype == np.float32 and not 4 < x.shape[1] <= 32
        rounding = 64 * np.finfo(np.float32 if wide else np.float64).eps * norms
        if x.shape[1] <= 4:
            rounding = 16 * np.finfo(value.dtype).eps * squared
        rounding += 1e-30
        highest = profile(np.maximum(squared - rounding, 0.0)) * (1 + 1e-4) + 1e-6
        lowest = profile(squared + rounding) * (1 - 1e-4) - 1e-6
    if not ((value <= highest) & (value >= lowest)).all():
        return f"{value} is not within {lowest} and {highest}"
    return complaint


def _check_matrix(case):
    name, (x, y) = case
    d = x.shape[1] if _is_matrix(x) and x.shape[1] else 2
    return fuzzing.verdict(
        lambda: _kernel(name, d).matrix(x, y),
        lambda answer: _kernel_complaint(name, x, y, answer),
    )


_MATRIX_CASES = st.tuples(st.sampled_from(_NAMED), _samples(least_features=0))


@functools.cache
def _traced(name, features):
    """For any number of rows, as a training step's graph has it."""
    kernel = _kernel(name, features)
    spec = tf.TensorSpec([None, features], tf.float32)
    value = tf.function(kernel.matrix, input_signature=[spec, spec])
    return value.get_concrete_function()


def _check_graph(case):
    name, d, x, y = case
    return fuzzing.verdict(
        lambda: _traced(name, d)(tf.constant(x), tf.constant(y)),
        lambda answer: _kernel_complaint(name, x, y, answer),
    )


@st.composite
def _graph_cases(draw):
    # Beyond 32 features, and where frequencies meet points, a graph gives NaN for 1e30.
    graphs = (("gaussian", 2), ("gaussian", 8), ("gaussian", 40), ("linear", 40), ("dk", 2))
    name, d = draw(st.sampled_from(graphs))
    far = d <= 32 and name == "gaussian"
    fills = ("normal", "zeros", "duplicates", "large", "small", *(("1e30",) if far else ()))
    shape = st.tuples(_ROWS, st.just(d))
    points = fuzzing.arrays(shape, fills, ("float32",))
    return name, d, draw(points), draw(points)


def _check_made(case):
    make, value = case
    return fuzzing.verdict(
        lambda: make(value).matrix(np.eye(2, 3), np.zeros((2, 3))),
        lambda answer: None if _is_finite(answer) else f"{answer}",
    )


def _kernel_net(value):
    kernel = kernels.KernelNet("dk", num_samples=value, width=2)
    kernel.build((None, 3))
    return kernel


def _kernel_net_of(value):
    kernel = kernels.KernelNet("dk", num_samples=4, width=2)
    kernel.build(value)
    return kernel


def _drawn(value):
    return _trained("dk", 3).draw(value)


_SHAPES = ((None, 3), (3,), 3, None, (None, 0), (None, -1), (None, 10**12), (None, "3"), "ab")
_SEEDS = ((0, 0), (1, -1), (2**31, 0), (0,), 3, None, "ab", (0.5, 1), np.zeros((2, 2), int))
_MADE_CASES = st.one_of(
    st.tuples(
        st.sampled_from(
            (
                kernels.Gaussian,
                kernels.RationalQuadratic,
                kernels.gaussian_mixture,
                kernels.get,
                lambda value: kernels.gaussian_mixture((value, 1.0)),
                lambda value: kernels.Sum([kernels.Gaussian()], [value]),
                lambda value: kernels.Gaussian() * value,
                lambda value: kernels.Gaussian() + value,
                lambda value: kernels.Product(value),
                _kernel_net,
            )
        ),
        _NUMBERS,
    ),
    st.tuples(st.just(_kernel_net_of), st.sampled_from(_SHAPES)),
    st.tuples(st.just(_drawn), st.sampled_from(_SEEDS)),
)


def _check_median(case):
    x, y = case

    def right(answer):
        value = answer.numpy()
        if not _is_finite(x, y):
            return None
        return None if value > 0 and np.isfinite(value) else f"median distance {value}"

    return fuzzing.verdict(lambda: bandwidths.median_distance(x, y), right)


# --- discrepancies


def _check_mmd(case):
    (x, y), name, estimator, repulsion, bounding, smoothing = case
    kernel = kernels.get(name)

    def call():
        if repulsion is None:
            return mmd.mmd2(kernel, x, y, estimator)[0]
        return repulsive.critic_loss(kernel, x, y, repulsion, bounding, estimator, smoothing)[0]

    return fuzzing.verdict(call, lambda answer: _is_scalar(answer, (x, y)))


_MMD_CASES = st.tuples(
    _samples(),
    st.sampled_from(_NAMED[:5]),
    _mostly(("unbiased", "biased"), ("u_statistic", "unbiasd", None)),
    _mostly((None, -1.0, 0.0, 1.0), (np.nan, "1")),
    _mostly(("none",), (*repulsive.BOUNDINGS, "papr")),
    _mostly((0.0, 0.1), (1.0, -0.1, np.nan, "x")),
)


def _check_jensen_shannon(case):
    (x, y, uniform), numbers = case

    def call():
        return jensen_shannon.jensen_shannon(x, y, uniform=uniform, **numbers)[0]

    inputs = (x, y) if numbers["correction"] == "none" else (x, y, uniform)

    def right(answer):
        if not _is_finite(*inputs):
            return _wrong_type(answer, (x, y))
        return _is_scalar(answer, (x, y), 0.0 if len(inputs) > 2 else 1e5)

    return fuzzing.verdict(call, right)


_JENSEN_SHANNON_CASES = st.tuples(
    _samples(3),
    st.fixed_dictionaries(
        {
            "bandwidths": st.one_of(
                _mostly(((1.0,), 2.0, (0.1, 1.0, 10.0)), ((), "x", None, [[1.0], [2.0, 3]])),
                st.tuples(_NUMBERS),
            ),
            "mixture": _mostly(("sum", "mean"), ("mode",)),
            "normalized": st.booleans(),
            "offset": st.one_of(st.just(0.0), st.just(0.0), _NUMBERS),
            "correction": _mostly(("none",), ("corrected", "printed", "wrong")),
            "volume": st.one_of(st.just(1.0), st.just(1.0), _NUMBERS),
        }
    ),
)


def _sum_of_losses(name, real, fake, smoothing):
    loss = adversarial.LOSSES[name]
    parts = loss.critic(real, fake, smoothing), loss.generator(fake)
    return tf.add_n([tf.cast(part, tf.float64) for part in parts])


def _check_adversarial_losses(case):
    _, real, fake, _ = case
    inputs = (np.zeros(1), real, fake)
    return fuzzing.verdict(lambda: _sum_of_losses(*case), lambda answer: _is_scalar(answer, inputs))


@st.composite
def _scores(draw):
    if draw(st.integers(0, 9)) == 0:
        return draw(fuzzing.odd())
    n = draw(_ROWS)
    return draw(fuzzing.arrays(_mostly(((n,), (n, 1)), ((), (n, 1, 1)))))


_ADVERSARIAL_CASES = st.tuples(
    st.sampled_from(list(adversarial.LOSSES)),
    _scores(),
    _scores(),
    _mostly((0.0, 0.1, 0.9), (1.0, -1.0, np.nan, None)),
)


@st.composite
def _gram(draw, rows):
    """J J^T of so many points of s features: positive semidefinite, zero or huge; or of no fit."""
    s = draw(st.sampled_from((1, 2, 3)))
    n = draw(rows)
    random = np.random.RandomState(draw(st.integers(0, 99)))
    scale = draw(st.sampled_from((0.0, 1.0, 1.0, 30.0, 1e15)))
    jacobian = scale * random.standard_normal((n, s, 4))
    gram = jacobian @ jacobian.transpose(0, 2, 1)
    if draw(st.integers(0, 9)) == 0:
        gram = draw(st.sampled_from((gram[:, :1], gram[:0], None, "x", np.zeros(()))))
    fills = ("normal", "normal", "duplicates", "zeros", "large", "1e8", "nan")
    points = [
        draw(fuzzing.arrays(st.just((k, s)), fills, ("float32", "float64")))
        for k in (n, draw(rows), draw(rows))
    ]
    return gram, points


def _check_constrained(case, value):
    (gram, (points, real, fake)), name, regularization, ridge = case
    kernel = kernels.get(name)
    inputs = (points, real, fake, gram)

    def call():
        if value == "gcmmd2":
            return gradient_constrained.gcmmd2(
                kernel, real, fake, points, gram, regularization, ridge
            )[0]
        return lipschitz.lipmmd(kernel, real, fake, points, gram, regularization)

    return fuzzing.verdict(call, lambda answer: _is_scalar(answer, inputs))


_CONSTRAINED_CASES = st.tuples(
    _gram(_ROWS),
    st.sampled_from(_NAMED[:4]),
    st.one_of(st.sampled_from((1.0, 0.1)), _NUMBERS),
    st.one_of(st.just(0.0), _NUMBERS),
)


def _check_scales(case):
    (gram, (features, _, _)), form, weight, regularization = case

    def call():
        if form == "linear":
            squared = np.trace(gram, axis1=1, axis2=2) if np.ndim(gram) == 3 else gram
            return scaled.linear_scale(features, squared, weight)
        if form in ("smmd", "sigma2"):
            squared = np.trace(gram, axis1=1, axis2=2) if np.ndim(gram) == 3 else gram
            if form == "smmd":
                return scaled.smmd_scale(kernels.get("gaussian"), squared, weight)
            return scaled.sigma2(kernels.get("gaussian"), squared, regularization)
        drawn = _trained("dk", features.shape[1]).draw((0, 1))
        return kernel_scale.kernel_scale(drawn, features, gram, form, weight, regularization)

    def right(answer):
        value = answer.numpy()
        if not _is_finite(features, gram):
            return None
        return None if value.shape == () and 0 <= value <= 1e20 else f"scale {value}"

    return fuzzing.verdict(call, right)


_SCALE_CASES = st.tuples(
    _gram(_ROWS),
    _mostly((*kernel_scale.FORMS, "smmd", "sigma2", "linear"), ("exat",)),
    _NUMBERS,
    _NUMBERS,
)


def _check_ratios(case):
    (real, fake), name, ridge, positivity, weight = case

    def call():
        values = ratio_matching.ratios([kernels.get(name)], real, fake, ridge)
        return ratio_matching.critic_loss(values, positivity, weight)[0]

    def right(answer):
        # Without a ridge that counts beside the kernel, singular systems are the caller's wish.
        linear = "linear" in name or "dot" in name
        if np.isnan(answer) and (float(ridge) < 1e-6 or (linear and _largest(fake) > 1e2)):
            return None
        return _is_scalar(answer, (real, fake), 1e2 if linear else 1e5)

    return fuzzing.verdict(call, right)


_RATIO_CASES = st.tuples(
    _samples(),
    st.sampled_from(_NAMED[:5]),
    _mostly((1e-3, 1.0), (0, -1.0, np.nan, 1e-300, "x", None)),
    _mostly(ratio_matching.POSITIVITIES, ("penality",)),
    _mostly((1.0, 0.0), (-1.0, np.inf, None)),
)


def _check_estimators(case):
    (samples, scores), name, number, bandwidth = case

    def call():
        if name == "stein":
            return score_estimators.stein_scores(samples, number, bandwidth)
        if name == "spectral":
            return score_estimators.spectral_scores(samples, number, bandwidth)
        return score_estimators.svgd_direction(samples, scores, bandwidth)

    def right(answer):
        inputs = (samples, scores) if name == "svgd" else (samples,)
        if answer.shape != samples.shape:
            return f"shape {answer.shape}"
        tiny = name == "stein" and float(number) < 1e-9  # a singular system by wish
        if _is_finite(*inputs) and not tiny and not _is_finite(answer):
            return None if _largest(*inputs) > 1e20 and not np.isnan(answer).any() else "not finite"
        return _wrong_type(answer, inputs)

    return fuzzing.verdict(call, right)


_ESTIMATOR_CASES = st.tuples(
    _samples(),
    st.sampled_from(("stein", "spectral", "svgd")),
    st.one_of(st.just(1), st.just(2), _NUMBERS),
    st.one_of(st.just(1.0), st.just(1.0), _NUMBERS),
)


def _check_variational(case):
    (x, y), name = case

    def call():
        if name == "likelihood":
            logits = y[:, None] if _is_matrix(y) else y
            return variational.bernoulli_log_likelihood(x, logits)
        if name == "kl":
            return variational.gaussian_kl(x, y)
        if name == "normal":
            return variational.normal_log_density(x)
        if name == "gradient":
            return variational.known_by_gradient(x, y)
        if name == "semi_implicit":
            variances = np.zeros_like(y) if isinstance(y, np.ndarray) else y
            return score_estimators.semi_implicit_log_density(x, y, variances)
        codes = x[:, None] if _is_matrix(x) else x
        return variational.conditional_mmd(kernels.get("gaussian"), codes, y)

    def right(answer):
        inputs = (x,) if name == "normal" else (x, y)
        if np.isnan(answer).any() and _is_finite(*inputs) and 0 not in np.shape(x):
            return "NaN of finite numbers"
        return None

    return fuzzing.verdict(call, right)


_VARIATIONAL_CASES = st.tuples(
    _samples(),
    st.sampled_from(("likelihood", "kl", "normal", "gradient", "semi_implicit", "conditional")),
)


def _check_regularizers(case):
    (x, y), name, number = case
    kernel = kernels.get("gaussian")
    rows = x.shape[:1] if isinstance(x, np.ndarray) else 2
    calls = {
        "interpolate": lambda: regularizers.interpolate(x, y, np.full(rows, 0.25)),
        "unit": lambda: regularizers.interpolate(x, x, y),
        "norms": lambda: regularizers.gradient_norms_squared(lambda t: tf.reduce_sum(t**2), x),
        "witness": lambda: regularizers.witness(kernel, x, y, y, normalize=True),
        "activations": lambda: regularizers.activation_penalty([x, y]),
        "no_activations": lambda: regularizers.activation_penalty([]),
        "feasible": lambda: regularizers.feasible_set(x, y),
        "reconstruction": lambda: regularizers.reconstruction(x, y),
        "consistency": lambda: regularizers.consistency(x, y),
        "clip": lambda: regularizers.clip_weights([], number) or tf.zeros([]),
    }
    empty = any(0 in np.shape(each) for each in (x, y) if isinstance(each, np.ndarray))

    def right(answer):
        inputs = {"clip": (), "norms": (x,)}.get(name, (x, y))
        if np.isnan(answer).any() and _is_finite(*inputs) and not empty:
            return "NaN of finite numbers"
        return None

    return fuzzing.verdict(calls[name], right)


_REGULARIZERS = (
    *("interpolate", "unit", "norms", "witness", "activations", "no_activations", "feasible"),
    *("reconstruction", "consistency", "clip"),
)
_REGULARIZER_CASES = st.tuples(_samples(), st.sampled_from(_REGULARIZERS), _NUMBERS)

TARGETS = (
    fuzzing.Target("kernel matrices", _MATRIX_CASES, _check_matrix, 3.0),
    fuzzing.Target("kernel matrices in graphs", _graph_cases(), _check_graph),
    fuzzing.Target("kernels' own arguments", _MADE_CASES, _check_made, 2.0),
    fuzzing.Target("median distance", _samples(), _check_median),
    fuzzing.Target("MMD and repulsive losses", _MMD_CASES, _check_mmd, 2.0),
    fuzzing.Target("Jensen-Shannon", _JENSEN_SHANNON_CASES, _check_jensen_shannon, 2.0),
    fuzzing.Target("adversarial losses", _ADVERSARIAL_CASES, _check_adversarial_losses),
    fuzzing.Target(
        "gradient-constrained MMD",
        _CONSTRAINED_CASES,
        functools.partial(_check_constrained, value="gcmmd2"),
    ),
    fuzzing.Target(
        "Lipschitz MMD",
        _CONSTRAINED_CASES,
        functools.partial(_check_constrained, value="lipmmd"),
        0.5,
    ),
    fuzzing.Target("scales", _SCALE_CASES, _check_scales),
    fuzzing.Target("density ratios", _RATIO_CASES, _check_ratios),
    fuzzing.Target("score estimates", _ESTIMATOR_CASES, _check_estimators),
    fuzzing.Target("variational terms", _VARIATIONAL_CASES, _check_variational),
    fuzzing.Target("regularizers", _REGULARIZER_CASES, _check_regularizers),
)


class FuzzTest(parameterized.TestCase, tf.test.TestCase):
    @parameterized.named_parameters(
        (target.name.replace(" ", "_").replace("'", ""), target) for target in TARGETS
    )
    def test_works_or_refuses(self, target):
        counts = fuzzing.run(target, fuzzing.examples())
        # Cases that all fail, or all fit, would test half of it.
        self.assertGreater(counts.worked, 0)
        if target.name != "kernel matrices in graphs":
            self.assertGreater(counts.refused, 0)


class HarnessTest(tf.test.TestCase):
    """A harness that finds nothing must be one that could."""

    def _run(self, check, seed=None):
        return fuzzing.run(fuzzing.Target("planted", st.integers(0, 9), check), 20, seed)

    def test_defects_are_found(self):
        def raising(error):
            def call():
                raise error

            return lambda case: fuzzing.verdict(call, lambda answer: None)

        for error in (KeyError("x"), ValueError("bad"), UserError("n=1 is bad"), UserError("a\nb")):
            with self.assertRaises(fuzzing.Defect):
                self._run(raising(error))
        counts = self._run(raising(UserError("n=1 is too small; give 2 or more.")))
        self.assertEqual((counts.worked, counts.refused > 0), (0, True))

    def test_wrong_answers_are_found(self):
        def wrong(case):
            return fuzzing.verdict(lambda: case, lambda answer: "odd" if answer > 4 else None)

        with self.assertRaises((fuzzing.Defect, hypothesis.errors.Flaky)):
            self._run(wrong)
        counts = self._run(wrong, seed=1)
        self.assertEqual(list(counts.defects), ["odd"])
        self.assertEqual(counts.cases, counts.worked + counts.defects["odd"])

    def test_a_wrong_kernel_is_found(self):
        x = np.array([[0.0, 0.0], [1.0, 0.0]], np.float32)
        right = kernels.get("gaussian").matrix(x, x)
        self.assertIsNone(_kernel_complaint("gaussian", x, x, right))
        for wrong in (right * 1.01, right[:1], right * np.nan):
            self.assertIsNotNone(_kernel_complaint("gaussian", x, x, wrong))


if __name__ == "__main__":
    tf.test.main()
