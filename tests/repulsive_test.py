"""The loss L_{D,lambda} and the bounded kernel against the repulsive MMD-GAN paper, eq. 2 to 7."""

import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from kgzoo import kernels
from kgzoo.discrepancies import mmd, repulsive
from kgzoo.errors import UserError

_LAMBDAS = (-1.0, -0.5, 0.0, 0.5, 1.0, 2.0)
_ESTIMATORS = ("unbiased", "biased", "u_statistic")
_LOW, _HIGH = 0.25, 4.0


def _squared(a, b):
    return np.sum((a[:, None] - b[None]) ** 2, axis=-1)


def _pull(distance):
    """Lower bound: points nearer than the bound are drawn together no further."""
    return np.maximum(distance, _LOW)


def _push(distance):
    return np.minimum(distance, _HIGH)


def _bounds(repulsion, bounding):
    """Returns what eq. 6 or 7 does to the squared distances of the pairs xx, xy and yy."""
    if bounding == "none":
        return (lambda d: d,) * 3
    if bounding == "paper":
        # Footnote 5: eq. 6 for lambda < 0, so eq. 7 for the others; it leaves out mixed pairs.
        return (_pull, _push, _pull) if repulsion < 0 else (_push, lambda d: d, _pull)
    # Minimising w k(d) pushes apart when w > 0 and pulls together when w < 0.
    weights = (repulsion, 1 - repulsion, -1)
    return [_push if w > 0 else _pull if w < 0 else (lambda d: d) for w in weights]


def _weigh(matrix, leave_out):
    """Returns the mean over all pairs, or over those with different indices."""
    weights = np.ones_like(matrix)
    if leave_out:
        np.fill_diagonal(weights, 0)
    return np.sum(weights * matrix) / np.sum(weights)


def _means(x, y, estimator, profile, clamps=(lambda d: d,) * 3):
    pairs = ((x, x), (x, y), (y, y))
    matrices = (profile(clamp(_squared(*pair))) for clamp, pair in zip(clamps, pairs, strict=True))
    leave_out = (estimator != "biased", estimator == "u_statistic", estimator != "biased")
    return tuple(_weigh(matrix, out) for matrix, out in zip(matrices, leave_out, strict=True))


def _rbf(*bandwidths):
    return lambda d: sum(np.exp(-d / (2 * bandwidth**2)) for bandwidth in bandwidths)


def _rq(*rates):
    return lambda d: sum((1 + d / (2 * rate)) ** -rate for rate in rates)


def _loss(x, y, repulsion, estimator, profile, bounding="none"):
    """Eq. 5."""
    xx, xy, yy = _means(x, y, estimator, profile, _bounds(repulsion, bounding))
    return repulsion * xx - (repulsion - 1) * xy - yy


def _samples(n=7, m=None, s=2, seed=0):
    """Features with squared distances below 0.25, between the bounds and above 4."""
    random = np.random.RandomState(seed)
    x, y = random.normal(size=(n, s)), random.normal(0.8, 1.2, size=(m or n, s))
    x[1], y[1] = x[0] + 0.1, y[0] - 0.1
    y[2] = x[2] + 0.1
    return x, y


def _sizes(estimator):
    return ((7, 7),) if estimator == "u_statistic" else ((7, 7), (5, 8))


class LossTest(parameterized.TestCase, tf.test.TestCase):
    def test_the_samples_cross_both_bounds(self):
        x, y = _samples()
        for a, b in ((x, x), (x, y), (y, y)):
            distance = _squared(a, b)
            self.assertTrue(np.any((0 < distance) & (distance < _LOW)))
            self.assertTrue(np.any((_LOW < distance) & (distance < _HIGH)))
            self.assertTrue(np.any(distance > _HIGH))

    @parameterized.product(repulsion=_LAMBDAS, bounding=("none", "paper", "sign"))
    def test_against_the_formula(self, repulsion, bounding):
        for estimator in _ESTIMATORS:
            for n, m in _sizes(estimator):
                x, y = _samples(n, m)
                value, diagnostics = repulsive.critic_loss(
                    kernels.Gaussian(),
                    tf.constant(x),
                    tf.constant(y),
                    repulsion,
                    bounding,
                    estimator,
                )
                self.assertEqual((value.dtype, value.shape), (tf.float64, ()))
                expected = _loss(x, y, repulsion, estimator, _rbf(1.0), bounding)
                self.assertAllClose(value, expected, rtol=1e-10, atol=1e-12)
                means = _means(x, y, estimator, _rbf(1.0), _bounds(repulsion, bounding))
                self.assertAllClose(
                    diagnostics,
                    dict(zip(("kernel_xx", "kernel_xy", "kernel_yy"), means, strict=True)),
                    rtol=1e-10,
                    atol=1e-12,
                )

    def test_defaults_are_the_repulsive_loss_of_the_paper(self):
        # Eq. 4 with the estimator of eq. S4.
        x, y = _samples()
        value, _ = repulsive.critic_loss(kernels.Gaussian(), tf.constant(x), tf.constant(y))
        xx, _, yy = _means(x, y, "u_statistic", _rbf(1.0))
        self.assertAllClose(value, xx - yy, rtol=1e-10)

    @parameterized.parameters(*_ESTIMATORS)
    def test_attraction_is_minus_mmd2(self, estimator):
        # Eq. 3, and at every lambda the weights sum to 0 (footnote 2): equal samples give no loss.
        x, y = map(tf.constant, _samples())
        kernel = kernels.gaussian_mixture()
        value, _ = repulsive.critic_loss(kernel, x, y, -1.0, "none", estimator)
        self.assertAllClose(value, -mmd.mmd2(kernel, x, y, estimator)[0], rtol=1e-10, atol=1e-12)
        for repulsion in _LAMBDAS:
            self.assertAllClose(sum(repulsive.weights(repulsion)), 0.0, atol=1e-12)
            if estimator != "unbiased":
                value, _ = repulsive.critic_loss(kernel, x, x, repulsion, "none", estimator)
                self.assertAllClose(value, 0.0, atol=1e-12)

    @parameterized.parameters("none", "paper")
    def test_float32_and_bfloat16_features(self, bounding):
        x, y = _samples()
        for dtype, tolerance in ((tf.float32, 1e-5), (tf.bfloat16, 1e-5)):
            a, b = tf.cast(x, dtype), tf.cast(y, dtype)
            value, _ = repulsive.critic_loss(kernels.Gaussian(), a, b, 1.0, bounding)
            self.assertEqual(value.dtype, tf.float32)
            a, b = (tf.cast(v, tf.float64).numpy() for v in (a, b))
            expected = _loss(a, b, 1.0, "u_statistic", _rbf(1.0), bounding)
            self.assertAllClose(value, expected, rtol=tolerance, atol=1e-6)

    @parameterized.parameters(*((r, b) for r in (-1.0, 0.5, 2.0) for b in ("none", "paper")))
    def test_gradient_against_finite_differences(self, repulsion, bounding):
        x, y = _samples(seed=1)
        with tf.GradientTape() as tape:
            tensors = [tf.constant(x), tf.constant(y)]
            tape.watch(tensors)
            value, _ = repulsive.critic_loss(kernels.Gaussian(), *tensors, repulsion, bounding)
        gradients = tape.gradient(value, tensors)
        random = np.random.RandomState(2)
        for _ in range(3):
            dx, dy = random.normal(size=(2, *x.shape))
            ends = [
                _loss(x + h * dx, y + h * dy, repulsion, "u_statistic", _rbf(1.0), bounding)
                for h in (1e-6, -1e-6)
            ]
            slope = np.sum(gradients[0].numpy() * dx) + np.sum(gradients[1].numpy() * dy)
            self.assertGreater(abs(slope), 1e-3)
            self.assertAllClose(slope, (ends[0] - ends[1]) / 2e-6, rtol=1e-6, atol=1e-8)

    def test_inside_a_graph(self):
        x, y = map(tf.constant, _samples())

        @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float64)] * 2)
        def loss(x, y):
            return repulsive.critic_loss(kernels.Gaussian(), x, y, 1.0, "paper")[0]

        expected = _loss(x.numpy(), y.numpy(), 1.0, "u_statistic", _rbf(1.0), "paper")
        self.assertAllClose(loss(x, y), expected, rtol=1e-10)
        # A last batch of one example has no pairs: it moves nothing.
        self.assertAllEqual(loss(x[:1], y[:1]), 0.0)


class BoundTest(parameterized.TestCase, tf.test.TestCase):
    @parameterized.named_parameters(
        ("gaussian", kernels.Gaussian(), _rbf(1.0)),
        ("other_bandwidth", kernels.Gaussian(1.7), _rbf(1.7)),
        ("mixture", kernels.gaussian_mixture(), _rbf(1.0, 2**0.5, 2.0, 8**0.5, 4.0)),
        ("rq", kernels.rational_quadratic_mixture(), _rq(0.2, 0.5, 1.0, 2.0, 5.0)),
    )
    def test_kernels_clamp_the_distance_in_every_term(self, kernel, profile):
        # Clamping the squared distance inside every kernel of a sum is clamping the sum's value.
        x, y = _samples(seed=3)
        for repulsion, bounding in ((-1.0, "paper"), (1.0, "paper"), (2.0, "sign")):
            value, _ = repulsive.critic_loss(
                kernel, tf.constant(x), tf.constant(y), repulsion, bounding
            )
            expected = _loss(x, y, repulsion, "u_statistic", profile, bounding)
            self.assertAllClose(value, expected, rtol=1e-9, atol=1e-12)

    def test_the_variants_agree_where_the_paper_defines_them(self):
        x, y = map(tf.constant, _samples())
        values = {}
        for repulsion in _LAMBDAS:
            values[repulsion] = [
                float(repulsive.critic_loss(kernels.Gaussian(), x, y, repulsion, bounding)[0])
                for bounding in ("paper", "sign")
            ]
        for repulsion in (-1.0, -0.5, 1.0):
            self.assertAllClose(*values[repulsion], rtol=1e-12)
        # At 0 < lambda < 1 mixed pairs have a positive weight and no bound in eq. 7; above 1 a
        # negative one.
        for repulsion in (0.5, 2.0):
            self.assertGreater(abs(values[repulsion][0] - values[repulsion][1]), 1e-5)

    @parameterized.product(repulsion=(-1.0, 0.5, 1.0, 2.0), bounding=("paper", "sign"))
    def test_no_gradient_beyond_the_bounds(self, repulsion, bounding):
        # One pair at a time: two points of one class or of both, the others of no influence.
        clamps = dict(zip(("xx", "xy", "yy"), _bounds(repulsion, bounding), strict=True))
        bound = repulsive.bounded(kernels.Gaussian(), repulsion, bounding)
        for name, clamp in clamps.items():
            for distance in (0.01, 0.24, 0.26, 1.0, 3.9, 4.1, 30.0):
                point, origin = tf.constant([[distance**0.5]], tf.float64), tf.zeros([1, 1])
                with tf.GradientTape() as tape:
                    tape.watch(point)
                    matrix = bound(kernels.Gaussian().matrix(point, origin), name)
                gradient = tape.gradient(matrix, point)[0, 0]
                self.assertAllClose(matrix, [[np.exp(-clamp(distance) / 2)]], rtol=1e-10)
                inside = float(clamp(distance) == distance)
                expected = -inside * distance**0.5 * np.exp(-distance / 2)
                self.assertAllClose(gradient, expected, rtol=1e-9, atol=1e-15)

    def test_coinciding_features_get_no_gradient_but_those_of_the_unbounded_pairs(self):
        # The trivial state: all kernels 1, all bounded; no gradient at all.
        points = tf.zeros([4, 3])
        with tf.GradientTape() as tape:
            tape.watch(points)
            value, means = repulsive.critic_loss(kernels.Gaussian(), points, points, 1.0, "paper")
        self.assertAllClose(tape.gradient(value, points), tf.zeros([4, 3]))
        self.assertAllClose(means["kernel_xx"], 1.0)
        self.assertAllClose(means["kernel_yy"], np.exp(-_LOW / 2))

    def test_printed_bounds(self):
        self.assertEqual((repulsive.LOWER_BOUND, repulsive.UPPER_BOUND), (0.25, 4.0))

    def test_wrong_arguments(self):
        with self.assertRaisesRegex(UserError, "bounding='papr' .*did you mean 'paper'"):
            repulsive.bounded(kernels.Gaussian(), 1.0, "papr")
        for kernel in (kernels.Linear(), kernels.get("rational_quadratic_mixture_dot")):
            with self.assertRaisesRegex(UserError, "bounding='paper' needs a stationary kernel"):
                repulsive.bounded(kernel, 1.0, "paper")
            # Without bounds any kernel will do.
            self.assertAllEqual(repulsive.bounded(kernel, 1.0, "none")(tf.ones([2]), "xx"), [1, 1])


class LabelSmoothingTest(parameterized.TestCase, tf.test.TestCase):
    @parameterized.product(repulsion=(-1.0, 0.5, 1.0), epsilon=(0.1, 0.9))
    def test_biased_is_the_mixture_of_samples(self, repulsion, epsilon):
        # The generated class is (Q + epsilon P) / (1 + epsilon): the V-statistic over weighted
        # points, real ones among the generated with weight epsilon.
        x, y = _samples(5, 8)
        points = np.concatenate([y, x])
        weights = np.concatenate([np.full(8, 1 / 8), np.full(5, epsilon / 5)]) / (1 + epsilon)
        even, kernel = np.full(5, 1 / 5), _rbf(1.0)
        xx = even @ kernel(_squared(x, x)) @ even
        xy = even @ kernel(_squared(x, points)) @ weights
        yy = weights @ kernel(_squared(points, points)) @ weights
        expected = repulsion * xx - (repulsion - 1) * xy - yy
        value, diagnostics = repulsive.critic_loss(
            kernels.Gaussian(),
            tf.constant(x),
            tf.constant(y),
            repulsion,
            estimator="biased",
            label_smoothing=epsilon,
        )
        self.assertAllClose(value, expected, rtol=1e-10, atol=1e-12)
        means = _means(x, y, "biased", kernel)
        self.assertAllClose(list(diagnostics.values()), means, rtol=1e-10)

    @parameterized.parameters(*_ESTIMATORS)
    def test_every_estimator_mixes_its_means(self, estimator):
        x, y = _samples()
        xx, xy, yy = _means(x, y, estimator, _rbf(1.0))
        for epsilon in (0.0, 0.3):
            total = 1 + epsilon
            mixed = (
                xx,
                (xy + epsilon * xx) / total,
                (yy + 2 * epsilon * xy + epsilon**2 * xx) / total**2,
            )
            found = mmd.smooth_labels(
                mmd.mean_kernels(kernels.Gaussian(), tf.constant(x), tf.constant(y), estimator),
                epsilon,
            )
            self.assertAllClose(tuple(found), mixed, rtol=1e-10, atol=1e-12)
            # MMD^2(P, (Q + e P) / (1 + e)) = MMD^2(P, Q) / (1 + e)^2.
            value, _ = repulsive.critic_loss(
                kernels.Gaussian(),
                tf.constant(x),
                tf.constant(y),
                -1.0,
                estimator=estimator,
                label_smoothing=epsilon,
            )
            self.assertAllClose(value, -(xx + yy - 2 * xy) / total**2, rtol=1e-9, atol=1e-12)


if __name__ == "__main__":
    tf.test.main()
