"""Score estimators against the formulas of their papers, and on Gaussians whose score is known."""

import numpy as np
import tensorflow as tf
from absl.testing import parameterized
from scipy import special, stats
from scipy.spatial import distance

from kgzoo.discrepancies import score_estimators
from kgzoo.errors import UserError


def _median(points):
    """The unit of bandwidths: it is searched among distances rounded to float32."""
    distances = distance.pdist(points).astype(np.float32).astype(np.float64)
    return np.median(distances) or np.mean(distances) or 1.0


def _kernel(x, y, width):
    return np.exp(-np.sum((x - y) ** 2) / (2 * width**2))


def _kernel_slope(x, y, width):
    """The gradient of k(x, y) by y."""
    return (x - y) / width**2 * _kernel(x, y, width)


def _stein(points, ridge, bandwidth=1.0):
    n, d = points.shape
    width = bandwidth * _median(points)
    gram, slopes = np.zeros((n, n)), np.zeros((n, d))
    for i in range(n):
        for j in range(n):
            gram[i, j] = _kernel(points[i], points[j], width)
            slopes[i] += _kernel_slope(points[i], points[j], width)
    return -np.linalg.solve(gram + ridge * np.eye(n), slopes)


def _spectral(points, eigenfunctions, bandwidth=1.0):
    n, d = points.shape
    width = bandwidth * _median(points)
    gram = np.array([[_kernel(x, y, width) for y in points] for x in points])
    values, vectors = np.linalg.eigh(gram)
    scores = np.zeros((n, d))
    for value, vector in list(zip(values, vectors.T, strict=True))[::-1][:eigenfunctions]:

        def psi(x, value=value, vector=vector):
            terms = [u * _kernel(x, y, width) for u, y in zip(vector, points, strict=True)]
            return np.sqrt(n) / value * sum(terms)

        def psi_slope(x, value=value, vector=vector):
            terms = [u * _kernel_slope(y, x, width) for u, y in zip(vector, points, strict=True)]
            return np.sqrt(n) / value * sum(terms)

        beta = -sum(psi_slope(x) for x in points) / n
        scores += np.array([psi(x) * beta for x in points])
    return scores


def _svgd(points, scores, bandwidth=1.0):
    n = len(points)
    h = (bandwidth * _median(points)) ** 2 / np.log(n)
    direction = np.zeros_like(points)
    for i in range(n):
        for j in range(n):
            difference = points[j] - points[i]
            kernel = np.exp(-np.sum(difference**2) / h)
            direction[i] += (kernel * scores[j] - 2 / h * difference * kernel) / n
    return direction


def _points(*shape, seed=0):
    return np.random.RandomState(seed).normal(size=shape)


def _lattice(count):
    """Quantiles of N(0, 1): a sample without noise."""
    return stats.norm.ppf((np.arange(count) + 0.5) / count)[:, None]


def _rms(values):
    return np.sqrt(np.mean(np.square(values)))


# Name, ours, the papers'.
ESTIMATORS = (
    ("stein", lambda x, **k: score_estimators.stein_scores(x, 0.1, **k), lambda x: _stein(x, 0.1)),
    (
        "spectral",
        lambda x, **k: score_estimators.spectral_scores(x, 4, **k),
        lambda x: _spectral(x, 4),
    ),
    (
        "svgd",
        lambda x, **k: score_estimators.svgd_direction(x, -x / 2, **k),
        lambda x: _svgd(x, -x / 2),
    ),
)
SCORES = ESTIMATORS[:2]


class EstimatorsTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.parameters(
        (2, 1, 1e-3, 1.0),
        (9, 1, 0.1, 0.3),
        (12, 2, 1e-2, 1.0),
        (7, 5, 1.0, 2.0),
        (20, 3, 10.0, 1.0),
    )
    def test_stein_equals_the_paper(self, n, d, ridge, bandwidth):
        points = 2 * _points(n, d) + 1
        found = score_estimators.stein_scores(points, ridge, bandwidth)
        self.assertEqual(found.dtype, tf.float64)
        self.assertAllClose(found, _stein(points, ridge, bandwidth), rtol=1e-8, atol=1e-8)

    @parameterized.parameters((2, 1, 1, 1.0), (9, 1, 4, 0.3), (12, 2, 12, 1.0), (7, 5, 3, 2.0))
    def test_spectral_equals_the_paper(self, n, d, eigenfunctions, bandwidth):
        points = 2 * _points(n, d) + 1
        found = score_estimators.spectral_scores(points, eigenfunctions, bandwidth)
        self.assertEqual(found.dtype, tf.float64)
        expected = _spectral(points, eigenfunctions, bandwidth)
        self.assertAllClose(found, expected, rtol=1e-8, atol=1e-8)

    @parameterized.parameters((2, 1, 1.0), (9, 2, 0.3), (15, 4, 2.0))
    def test_svgd_equals_the_paper(self, n, d, bandwidth):
        points, scores = _points(n, d), _points(n, d, seed=1)
        found = score_estimators.svgd_direction(points, scores, bandwidth)
        self.assertEqual(found.dtype, tf.float64)
        self.assertAllClose(found, _svgd(points, scores, bandwidth), rtol=1e-8, atol=1e-8)

    @parameterized.named_parameters(*ESTIMATORS)
    def test_batch_equals_one_by_one(self, ours, paper):
        points = _points(2, 3, 8, 2) * np.array([1.0, 5.0, 0.1])[:, None, None]
        found = ours(points)
        for index in np.ndindex(2, 3):
            self.assertAllClose(found[index], ours(points[index]), rtol=1e-9, atol=1e-9)
            self.assertAllClose(found[index], paper(points[index]), rtol=1e-8, atol=1e-8)

    @parameterized.named_parameters(*SCORES)
    def test_follow_shift_scale_rotation_and_order(self, ours, paper):
        del paper
        points = _points(11, 3)
        found = ours(points).numpy()
        # Powers of 2 keep the float32 digits of the median.
        self.assertAllClose(ours(points + 64.0), found, rtol=1e-6, atol=1e-6)
        self.assertAllClose(ours(points * 256.0), found / 256.0, rtol=1e-9)
        self.assertAllClose(ours(points / 256.0), found * 256.0, rtol=1e-9)
        self.assertAllClose(3e-7 * ours(points * 3e-7), found, rtol=1e-6, atol=1e-6)
        rotation = stats.ortho_group.rvs(3, random_state=0)
        self.assertAllClose(ours(points @ rotation), found @ rotation, rtol=1e-6, atol=1e-6)
        order = np.random.RandomState(1).permutation(11)
        self.assertAllClose(ours(points[order]), found[order], rtol=1e-9, atol=1e-9)

    def test_svgd_follows_shift_and_order(self):
        points, scores = _points(11, 3), _points(11, 3, seed=1)
        found = score_estimators.svgd_direction(points, scores).numpy()
        moved = score_estimators.svgd_direction(points + 64.0, scores)
        self.assertAllClose(moved, found, rtol=1e-6, atol=1e-6)
        order = np.random.RandomState(1).permutation(11)
        moved = score_estimators.svgd_direction(points[order], scores[order])
        self.assertAllClose(moved, found[order], rtol=1e-9, atol=1e-9)

    @parameterized.named_parameters(*ESTIMATORS)
    def test_no_gradient(self, ours, paper):
        del paper
        points = tf.constant(_points(6, 2))
        with tf.GradientTape() as tape:
            tape.watch(points)
            scores = ours(points)
            surrogate = tf.reduce_sum(points * scores)
        self.assertAllEqual(tape.gradient(surrogate, points), scores)
        with tf.GradientTape() as tape:
            tape.watch(points)
            scores = ours(points)
        self.assertIsNone(tape.gradient(scores, points))

    @parameterized.named_parameters(*ESTIMATORS)
    def test_narrow_types(self, ours, paper):
        for dtype in (tf.float32, tf.bfloat16):
            points = tf.cast(_points(2, 32, 32), dtype)
            found = ours(points)
            self.assertEqual(found.dtype, tf.float32)
            self.assertAllInRange(found, -30.0, 30.0)
            expected = paper(tf.cast(points, tf.float64)[1].numpy())
            # The scores handed to SVGD are rounded too.
            self.assertAllClose(
                found[1], expected, rtol=1e-2 if dtype == tf.bfloat16 else 1e-5, atol=1e-5
            )

    @parameterized.named_parameters(*ESTIMATORS)
    def test_duplicates_are_finite(self, ours, paper):
        # With many features the expansion of a distance 0 is not 0 but a rounding.
        points = _points(8, 40)
        some = np.concatenate([points[:4], points[:4]])
        # Most pairs coincide: the median is 0, and the mean distance the unit.
        most = np.concatenate([np.repeat(points[:1], 7, axis=0), points[1:2]])
        for sample in (some, most):
            found = ours(sample)
            self.assertAllClose(found[1:4], found[5:] if sample is some else found[3:6], rtol=1e-7)
            if paper is not ESTIMATORS[1][2] or sample is some:
                # Two places have two eigenvalues above 0, and the formula asks for four.
                self.assertAllClose(found, paper(sample), rtol=1e-7, atol=1e-7)
        for place in (0.0, 1e4 / 3):
            same = np.full([8, 40], place)
            self.assertAllInRange(ours(same), -1e5, 1e5)
            self.assertAllInRange(ours(same.astype(np.float32)), -1e5, 1e5)

    @parameterized.named_parameters(*SCORES)
    def test_coincident_points_have_no_score(self, ours, paper):
        del paper
        self.assertAllEqual(ours(np.full([8, 2], 1e4 / 3)), np.zeros([8, 2]))

    @parameterized.named_parameters(*ESTIMATORS)
    def test_what_is_not_finite_stays_in_its_element(self, ours, paper):
        del paper
        for bad in (np.nan, np.inf):
            points = _points(3, 6, 2)
            points[1, 2, 0] = bad
            for function in (ours, tf.function(ours)):
                found = function(points).numpy()
                self.assertTrue(np.all(np.isnan(found[1])))
                self.assertAllClose(found[::2], ours(points[::2]), rtol=1e-9)

    @parameterized.named_parameters(*ESTIMATORS)
    def test_graph_with_unknown_sizes(self, ours, paper):
        function = tf.function(ours, [tf.TensorSpec([None, None, 2], tf.float32)])
        for batch, n in ((2, 9), (3, 5)):
            points = _points(batch, n, 2, seed=n).astype(np.float32)
            expected = [paper(part) for part in points.astype(np.float64)]
            self.assertAllClose(function(points), expected, rtol=1e-5, atol=1e-5)

    def test_spectral_uses_no_more_than_there_are(self):
        points = _points(5, 2)
        function = tf.function(
            lambda x: score_estimators.spectral_scores(x, 9), [tf.TensorSpec([None, 2], tf.float64)]
        )
        self.assertAllClose(function(points), _spectral(points, 5), rtol=1e-8)
        # Of eight points that are four, half of the eigenvalues are 0.
        twice = np.concatenate([points[:4], points[:4]])
        found = score_estimators.spectral_scores(twice, 8)
        self.assertAllClose(found, _spectral(twice, 4), rtol=1e-7, atol=1e-7)

    def test_refuses(self):
        points = _points(4, 3)
        stein = score_estimators.stein_scores
        spectral = score_estimators.spectral_scores
        svgd = score_estimators.svgd_direction
        for ridge in (0, 0.0, -1.0, np.nan, np.inf, "nonsense"):
            with self.assertRaisesRegex(UserError, f"ridge={ridge!r}.*give"):
                stein(points, ridge)
        for count in (0, -1, 5, 2.0, "2", None):
            with self.assertRaisesRegex(UserError, f"eigenfunctions={count!r}.*give.*1 to 4"):
                spectral(points, count)
        for call in (
            lambda x, bandwidth=1.0: stein(x, 0.1, bandwidth),
            lambda x, bandwidth=1.0: spectral(x, 1, bandwidth),
            lambda x, bandwidth=1.0: svgd(x, x, bandwidth),
        ):
            for bandwidth in (0.0, -1.0, np.nan, "nonsense"):
                with self.assertRaisesRegex(UserError, f"bandwidth={bandwidth!r}.*give"):
                    call(points, bandwidth)
            for shape in ((3,), (), (1, 3), (2, 0, 3)):
                with self.assertRaisesRegex(UserError, "at least 2 points"):
                    call(np.zeros(shape))
        for shape in ((4, 2), (3, 3), (2, 4, 3)):
            with self.assertRaisesRegex(UserError, "one score for every sample"):
                svgd(points, np.zeros(shape))


class GaussianTest(tf.test.TestCase, parameterized.TestCase):
    """Where the score is known: -(x - mean) / variance."""

    @parameterized.parameters((1e-3, 0.2, 0.5), (0.1, 0.0, 0.06), (1.0, 0.1, 0.2))
    def test_stein_on_a_line(self, ridge, least, most):
        points = 3 * _lattice(100) - 2
        error = _rms(3 * (score_estimators.stein_scores(points, ridge) + (points + 2) / 9))
        self.assertBetween(error, least, most)

    @parameterized.parameters((3, 0.3, 0.6), (6, 0.0, 0.1), (10, 0.3, 0.8))
    def test_spectral_on_a_line(self, eigenfunctions, least, most):
        points = 3 * _lattice(100) - 2
        scores = score_estimators.spectral_scores(points, eigenfunctions)
        error = _rms(3 * (scores + (points + 2) / 9))
        self.assertBetween(error, least, most)

    def _correlated(self):
        covariance = np.array([[2.0, 0.8], [0.8, 0.5]])
        points = np.random.RandomState(0).multivariate_normal([1, -3], covariance, size=(4, 300))
        return points, -(points - [1, -3]) @ np.linalg.inv(covariance)

    @parameterized.named_parameters(
        ("stein", lambda x: score_estimators.stein_scores(x, 0.3)),
        ("spectral", lambda x: score_estimators.spectral_scores(x, 6)),
    )
    def test_correlated(self, estimate):
        points, scores = self._correlated()
        found = estimate(points).numpy()
        self.assertLess(_rms(found - scores), 0.4 * _rms(scores))
        self.assertAllClose(np.sum(found * scores) / np.sum(scores**2), 1.0, atol=0.15)

    @parameterized.named_parameters(
        ("stein", lambda x: score_estimators.stein_scores(x, 1.0)),
        ("spectral", lambda x: score_estimators.spectral_scores(x, 33)),
    )
    def test_in_32_dimensions(self, estimate):
        points = _points(400, 32)
        error = _rms(estimate(points) + points)
        self.assertLess(error, 0.4)

    def test_svgd_rests_at_the_target(self):
        points = _points(8, 400, 1)
        rest = score_estimators.svgd_direction(points, -points, 3.0)
        moved = score_estimators.svgd_direction(points, 1 - points, 3.0)
        self.assertLess(_rms(rest), 0.08)
        self.assertLess(_rms(rest), 0.2 * _rms(moved))
        # Without the noise of a sample.
        points = _lattice(400)
        self.assertLess(_rms(score_estimators.svgd_direction(points, -points, 3.0)), 1e-3)

    def test_svgd_transports_a_cloud(self):
        # From N(-4, 0.3^2) to N(1, 2^2).
        points = tf.constant(0.3 * _points(50, 1) - 4)

        @tf.function
        def move(points):
            return points + 0.5 * score_estimators.svgd_direction(points, (1 - points) / 4)

        self.assertGreater(np.min(move(points) - points), -0.5)
        for _ in range(300):
            points = move(points)
        self.assertAllClose(np.mean(points), 1.0, atol=0.1)
        self.assertAllClose(np.std(points), 2.0, atol=0.2)


class SemiImplicitTest(tf.test.TestCase, parameterized.TestCase):
    @staticmethod
    def _arguments(b=3, s=4, k=5, d=2, shift=0.0, log_variance=0.0):
        return (
            shift + _points(b, s, d),
            shift + _points(b, k, d, seed=1),
            log_variance + _points(b, k, d, seed=2),
        )

    @staticmethod
    def _density(samples, means, log_variances):
        """[b, s] from SciPy, one sample and component after the other."""
        found = np.zeros(samples.shape[:2])
        for b, s in np.ndindex(found.shape):
            logs = [
                np.sum(stats.norm.logpdf(samples[b, s], mean, np.exp(log_variance / 2)))
                for mean, log_variance in zip(means[b], log_variances[b], strict=True)
            ]
            found[b, s] = special.logsumexp(logs) - np.log(len(logs))
        return found

    @parameterized.parameters(
        {}, {"k": 1, "s": 1}, {"d": 32, "k": 32}, {"shift": 1e4}, {"log_variance": -12.0}
    )
    def test_equals_scipy(self, **settings):
        arguments = self._arguments(**settings)
        found = score_estimators.semi_implicit_log_density(*arguments)
        self.assertEqual(found.dtype, tf.float64)
        self.assertAllClose(found, self._density(*arguments), rtol=1e-8, atol=1e-8)

    def test_float32_keeps_its_digits(self):
        # Deviations of 0.1 % of the distances between components, each sample near one of them.
        _, means, _ = self._arguments(s=6, k=6, d=32)
        means = means.astype(np.float32)
        log_variances = np.full_like(means, np.log(1e-6))
        samples = (means + 1e-3 * _points(3, 6, 32, seed=3)).astype(np.float32)
        found = score_estimators.semi_implicit_log_density(samples, means, log_variances)
        self.assertEqual(found.dtype, tf.float32)
        wide = [part.astype(np.float64) for part in (samples, means, log_variances)]
        self.assertAllClose(found, self._density(*wide), rtol=1e-6)

    def test_far_samples_are_finite(self):
        samples, means, log_variances = (part.astype(np.float32) for part in self._arguments())
        found = score_estimators.semi_implicit_log_density(samples + 1e4, means, log_variances)
        self.assertAllInRange(found, -1e10, -1e6)

    def test_gradients_by_all_arguments(self):
        weights = _points(3, 4, seed=5)

        def value(*arguments):
            return tf.reduce_sum(weights * score_estimators.semi_implicit_log_density(*arguments))

        theoretical, numerical = tf.test.compute_gradient(value, self._arguments(), delta=1e-5)
        for ours, differences in zip(theoretical, numerical, strict=True):
            self.assertGreater(np.max(np.abs(differences)), 0.1)
            self.assertAllClose(ours, differences, rtol=1e-6, atol=1e-6)

    def test_more_leading_axes_and_unknown_sizes(self):
        arguments = [part[:, None] for part in self._arguments()]
        function = tf.function(
            score_estimators.semi_implicit_log_density,
            [tf.TensorSpec([None, 1, None, 2], tf.float64)] * 3,
        )
        expected = self._density(*self._arguments())[:, None]
        self.assertAllClose(function(*arguments), expected, rtol=1e-8)

    @parameterized.parameters(
        ((3, 4, 2), (3, 5, 3), (3, 5, 3)),
        ((3, 4, 2), (3, 5, 2), (3, 6, 2)),
        ((3, 4, 2), (2, 5, 2), (2, 5, 2)),
        ((3, 4, 2), (5, 2), (5, 2)),
        ((3, 4, 2), (3, 0, 2), (3, 0, 2)),
        ((2,), (2,), (2,)),
    )
    def test_refuses(self, *shapes):
        with self.assertRaisesRegex(UserError, r"shapes .*; give \[\.\.\., s, d\]"):
            score_estimators.semi_implicit_log_density(*(np.zeros(shape) for shape in shapes))
