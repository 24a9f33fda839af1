"""Eq. 12 of the Kernel GAN paper against its plain formula, integrals, and what the errata prove.

No test asserts a value >= -log 4: eq. 12 has no such bound on finite samples.
"""

import itertools

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized
from hypothesis import given, settings
from hypothesis import strategies as st

from kgzoo.discrepancies.jensen_shannon import CORRECTIONS, LOG4, MIXTURES, jensen_shannon
from kgzoo.errors import UserError

_FEW = settings(max_examples=15, deadline=None, derandomize=True)
_NINE = (100.0, 50.0, 10.0, 5.0, 1.0, 0.5, 0.1, 0.05, 0.01)


def _density(at, points, bandwidths, mixture, normalized):
    """The kernel density estimate of eq. 10 at `at` [v, d]: no logarithm, no trick."""
    total = np.zeros(len(at))
    for sigma in bandwidths:
        squared = np.sum((at[:, None, :] - points[None, :, :]) ** 2, axis=-1)
        kernel = np.exp(-squared / (2 * sigma**2))
        if normalized:
            kernel = kernel / (sigma * np.sqrt(2 * np.pi)) ** at.shape[1]
        total += kernel.mean(axis=1)
    return total / len(bandwidths) if mixture == "mean" else total


def _halves(real, fake, bandwidths, mixture="sum", normalized=False, phi=0.0):
    """Both terms of eq. 12, and the function x -> (p^, q^)."""

    def densities(at):
        return [_density(at, points, bandwidths, mixture, normalized) for points in (real, fake)]

    p, q = densities(real)
    first = np.mean(np.log((p + phi) / (p + q + 2 * phi)))
    p, q = densities(fake)
    second = np.mean(np.log((q + phi) / (p + q + 2 * phi)))
    return first, second, densities


def _samples(n, m, d, seed=0, shift=0.6):
    random = np.random.RandomState(seed)
    return random.normal(size=(n, d)), random.normal(shift, 1.3, size=(m, d))


def _value(real, fake, bandwidths, **options):
    return jensen_shannon(tf.constant(real), tf.constant(fake), bandwidths, **options)[0].numpy()


def _gradients(real, fake, bandwidths, **options):
    real, fake = tf.constant(real), tf.constant(fake)
    with tf.GradientTape() as tape:
        tape.watch([real, fake])
        value, diagnostics = jensen_shannon(real, fake, bandwidths, **options)
    return value, diagnostics, tape.gradient(value, [real, fake])


class ObjectiveTest(parameterized.TestCase, tf.test.TestCase):
    @parameterized.parameters(
        itertools.product(MIXTURES, (False, True), (0.0, 1e-3, 0.7), ((0.8,), (0.3, 1.0, 4.0)))
    )
    def test_is_the_plain_formula(self, mixture, normalized, phi, bandwidths):
        for n, m, d in ((6, 6, 2), (9, 4, 3), (1, 5, 1), (3, 1, 1), (7, 5, 40)):
            real, fake = _samples(n, m, d, seed=n)
            if d == 40:
                # Closer, so that the plain formula does not underflow; the expansion's branch.
                real, fake = 0.05 * real + 3.0, 0.05 * fake + 3.0
            first, second, _ = _halves(real, fake, bandwidths, mixture, normalized, phi)
            options = {"mixture": mixture, "normalized": normalized, "offset": phi}
            value, diagnostics = jensen_shannon(real, fake, bandwidths, **options)
            self.assertEqual((value.dtype, value.shape), (tf.float64, ()))
            self.assertAllClose(value, first + second, rtol=1e-11, atol=1e-12)
            self.assertEqual(set(diagnostics), {"jsd_first", "jsd_second"})
            self.assertAllClose(diagnostics["jsd_first"], first, rtol=1e-11, atol=1e-12)
            self.assertAllClose(diagnostics["jsd_second"], second, rtol=1e-11, atol=1e-12)

    def test_defaults_are_bare_sums_without_offset_or_correction(self):
        real, fake = _samples(5, 4, 2)
        plain = {"mixture": "sum", "normalized": False, "offset": 0.0, "correction": "none"}
        bandwidths = (0.2, 1.0)
        self.assertEqual(_value(real, fake, bandwidths), _value(real, fake, bandwidths, **plain))

    @parameterized.parameters(itertools.product((2, 40), (0.0, 1e-4, 3.0), ((0.1,), (0.01, 2.0))))
    def test_coinciding_samples_give_minus_log_4(self, d, phi, bandwidths):
        real, _ = _samples(8, 1, d)
        for normalized in (False, True):
            options = {"offset": phi, "normalized": normalized}
            self.assertAllClose(_value(real, real, bandwidths, **options), -LOG4, atol=1e-12)
            # In another order, and each point as often as the others.
            again = np.tile(real[::-1], (2, 1))
            tolerance = 1e-12 if d == 2 or min(bandwidths) >= 0.1 else 1e-9
            found = _value(real, again, bandwidths, **options)
            self.assertAllClose(found, -LOG4, rtol=0, atol=tolerance)

    def test_what_changes_nothing_without_offset(self):
        real, fake = _samples(6, 4, 3)
        one = _value(real, fake, (0.7,))
        self.assertAllClose(_value(real, fake, (0.7,), normalized=True), one, rtol=1e-14)
        several = _value(real, fake, (0.2, 1.0))
        self.assertAllClose(_value(real, fake, (0.2, 1.0), mixture="mean"), several, rtol=1e-14)
        # Each of the two matters as soon as the other condition fails.
        self.assertNotAllClose(_value(real, fake, (0.2, 1.0), normalized=True), several, atol=1e-2)
        sums = [_value(real, fake, (0.2, 1.0), mixture=name, offset=0.1) for name in MIXTURES]
        self.assertGreater(abs(sums[0] - sums[1]), 1e-3)
        halved = _value(real, fake, (0.2, 1.0), mixture="mean", offset=0.05)
        self.assertAllClose(halved, sums[0], rtol=1e-14)

    def test_mixes_inside_the_density(self):
        real, fake = _samples(20, 20, 2)
        apart = np.mean([_value(real, fake, (sigma,)) for sigma in (0.1, 0.5, 1.0)])
        self.assertGreater(abs(_value(real, fake, (0.1, 0.5, 1.0)) - apart), 0.05)

    def test_falls_below_minus_log_4_on_some_finite_samples(self):
        # 100 + 100 points on a line, found by minimising over both samples.
        real = {-3.41: 1, -1.29: 14, -0.22: 60, 1.11: 22, 2.87: 3}
        fake = {-2.66: 3, -0.57: 53, 0.5: 34, 1.84: 9, 3.49: 1}
        real, fake = (
            np.repeat(list(sample), list(sample.values()))[:, None] for sample in (real, fake)
        )
        first, second, _ = _halves(real, fake, (1.0,))
        self.assertLess(first + second, -LOG4 - 1.9e-4)
        self.assertAllClose(_value(real, fake, (1.0,)), first + second, rtol=1e-13)

    def test_a_half_may_fall_below_minus_log_2(self):
        # Figure 9's mean image: all generated points in the middle of the real ones.
        real, _ = _samples(50, 1, 5)
        fake = np.repeat(real.mean(axis=0, keepdims=True), 50, axis=0)
        _, diagnostics = jensen_shannon(real, fake, (1.0,))
        self.assertLess(float(diagnostics["jsd_first"]), -LOG4 / 2 - 0.1)
        self.assertGreater(float(diagnostics["jsd_second"]), -LOG4 / 2 + 0.1)


class GradientTest(parameterized.TestCase, tf.test.TestCase):
    @parameterized.parameters(
        itertools.product((2, 40), (False, True), (0.0, 0.2), ("none", "corrected"))
    )
    def test_equals_finite_differences(self, d, normalized, phi, correction):
        scale = 1.0 if d == 2 else 0.2
        real, fake = (scale * sample for sample in _samples(4, 3, d, seed=2))
        uniform = scale * _samples(5, 1, d, seed=9)[0]
        options = {"normalized": normalized, "offset": phi}
        if correction != "none":
            options |= {"correction": correction, "uniform": uniform, "volume": 2.0}
        bandwidths = (0.5, 1.5)
        _, _, gradients = _gradients(real, fake, bandwidths, **options)
        random, step = np.random.RandomState(0), 1e-5
        for index, gradient in enumerate(gradients):
            direction = random.normal(size=gradient.shape)
            values = []
            for sign in (1, -1):
                moved = [real, fake]
                moved[index] = moved[index] + sign * step * direction
                values.append(_value(*moved, bandwidths, **options))
            difference = (values[0] - values[1]) / (2 * step)
            found = np.sum(gradient.numpy() * direction)
            self.assertAllClose(found, difference, rtol=1e-6, atol=1e-8)
            if d == 2:
                self.assertGreater(abs(difference), 1e-4)

    def test_bandwidths_may_be_a_tensor_that_changes(self):
        real, fake = (tf.constant(sample) for sample in _samples(5, 4, 2))
        for make in (tf.Variable, tf.constant, lambda v: keras.Variable(v, dtype="float64")):
            sigma = make(np.array([0.5, 2.0]))
            with tf.GradientTape() as tape:
                tape.watch(tf.convert_to_tensor(sigma) if make is keras.Variable else [])
                value, _ = jensen_shannon(real, fake, sigma, normalized=True, offset=0.1)
            expected = _value(real, fake, (0.5, 2.0), normalized=True, offset=0.1)
            self.assertAllClose(value, expected, rtol=1e-14)
        variable = tf.Variable(1.0)
        step = tf.function(lambda: jensen_shannon(real, fake, variable)[0])
        before = step().numpy()
        variable.assign(0.3)
        self.assertAllClose(step(), _value(real, fake, (0.3,)), rtol=1e-7)
        self.assertGreater(abs(before - step().numpy()), 0.1)


class RobustnessTest(parameterized.TestCase, tf.test.TestCase):
    @parameterized.parameters(
        itertools.product((2, 784), (False, True), (0.0, 1e-6, 5.0), ((1e-3,), (1e-3, 1e3), _NINE))
    )
    def test_value_and_gradients_stay_finite(self, d, normalized, phi, bandwidths):
        random = np.random.RandomState(0)
        for (n, m), far in itertools.product(((1, 1), (1, 4), (6, 3)), (0.0, 1e6)):
            real = random.normal(size=(n, d)).astype(np.float32)
            fake = random.normal(size=(m, d)).astype(np.float32)
            # Duplicates within and across the samples.
            real[-1], fake[0] = real[0], real[0]
            fake[1:2] = fake[0]
            options = {"normalized": normalized, "offset": phi}
            found = _gradients(real, fake + np.float32(far), bandwidths, **options)
            for tensor in tf.nest.flatten(found):
                self.assertTrue(np.isfinite(tensor.numpy()).all(), f"{n} {m} {far}")

    def test_bandwidth_to_zero_gives_zero_value_and_gradient(self):
        for d in (2, 784):
            for dtype in (np.float32, np.float64):
                real, fake = (sample.astype(dtype) for sample in _samples(6, 5, d))
                value, _, gradients = _gradients(real, fake, (1e-3,))
                self.assertAllEqual(value, 0.0)
                for gradient in gradients:
                    self.assertAllEqual(gradient, np.zeros(gradient.shape))

    def test_keeps_the_digits_that_the_densities_themselves_have_lost(self):
        # p^ = exp(-800) underflows, the ratio is a plain number: two points as far from each other.
        real, fake = np.array([[0.0]]), np.array([[40.0]])
        third = np.array([[0.0], [80.0]])
        value, diagnostics = jensen_shannon(third, fake, (1.0,))
        # p^(40) = exp(-800) in both terms; q^(0) = exp(-800), p^(0) = 1/2.
        self.assertAllClose(diagnostics["jsd_first"], -2 * np.exp(-800.0), atol=1e-300)
        self.assertAllClose(value, 0.0, atol=1e-300)
        # With a normalized kernel in 784 dimensions log p^ is -5,000, and phi far above p^.
        wide = np.zeros([1, 784], np.float32)
        value = _value(wide, wide + np.float32(0.1), (100.0,), normalized=True, offset=1.0)
        self.assertAllClose(value, -LOG4, atol=1e-6)
        value = _value(real, fake, (1e-3,), normalized=True, offset=1e-3)
        top = 1 / (1e-3 * np.sqrt(2 * np.pi))
        expected = 2 * np.log((top + 1e-3) / (top + 2e-3))
        self.assertAllClose(value, expected, rtol=1e-9)

    def test_one_bandwidth_at_normalized_weights_keeps_float32_digits_in_784_dimensions(self):
        # d log sigma is -3,600 here: in float32 its ulp alone would be 2e-4.
        real, fake = (0.0005 * sample for sample in _samples(6, 5, 784))
        expected = _value(real, fake, (0.01, 0.05), normalized=True)
        real, fake = real.astype(np.float32), fake.astype(np.float32)
        found = _value(real, fake, (0.01, 0.05), normalized=True)
        self.assertEqual(found.dtype, np.float32)
        self.assertBetween(expected, -1.3, -0.1)
        self.assertAllClose(found, expected, rtol=0, atol=1e-5)

    def test_own_points_count_in_full_after_the_expansion(self):
        # Far from the origin and spread out, rounding of |x|^2 - 2xx + |x|^2 exceeds sigma^2.
        random = np.random.RandomState(0)
        real = random.uniform(size=(50, 784)).astype(np.float32) + 100.0
        fake = random.uniform(size=(50, 784)).astype(np.float32) + 100.0
        self.assertAllEqual(_value(real, fake, (1e-3,), offset=1e-3).round(2), np.float32(-0.09))

    def test_rounding_never_makes_a_kernel_exceed_1(self):
        # Of coinciding samples, far apart: each kernel across is at most the own one.
        real = np.random.RandomState(0).uniform(size=(50, 784)).astype(np.float32)
        self.assertGreater(_value(real, real[::-1].copy(), (1e-3,)), -LOG4 - 1e-6)

    @parameterized.parameters(tf.float16, tf.bfloat16)
    def test_low_precision_is_computed_in_float32(self, dtype):
        real, fake = (tf.cast(sample, dtype) for sample in _samples(6, 5, 2))
        value, diagnostics = jensen_shannon(real, fake, (0.5, 1.0), offset=0.01)
        self.assertEqual({v.dtype for v in (value, *diagnostics.values())}, {tf.float32})
        expected = _value(tf.cast(real, tf.float64), tf.cast(fake, tf.float64), (0.5, 1.0))
        self.assertAllClose(jensen_shannon(real, fake, (0.5, 1.0))[0], expected, rtol=1e-5)

    def test_graph_with_unknown_sizes(self):
        for d, correction in ((2, "none"), (40, "corrected")):
            spec = tf.TensorSpec([None, d], tf.float64)
            uniform = np.random.RandomState(5).uniform(size=(7, d))
            options = {"normalized": True, "offset": 0.1, "correction": correction}
            options |= {"uniform": uniform}

            @tf.function(input_signature=[spec, spec])
            def value(real, fake, options=options):
                return jensen_shannon(real, fake, (0.5, 3.0), **options)[0]

            for n, m in ((5, 3), (1, 4)):
                real, fake = (0.3 * sample for sample in _samples(n, m, d))
                expected = _value(real, fake, (0.5, 3.0), **options)
                self.assertAllClose(value(real, fake), expected, rtol=1e-12)


class PropertyTest(tf.test.TestCase):
    @_FEW
    @given(
        seed=st.integers(0, 1000),
        n=st.integers(1, 7),
        m=st.integers(1, 7),
        log_sigma=st.floats(-2.0, 2.0),
        phi=st.sampled_from([0.0, 0.05, 2.0]),
    )
    def test_order_does_not_matter_and_a_swap_exchanges_the_halves(
        self, seed, n, m, log_sigma, phi
    ):
        real, fake = _samples(n, m, 2, seed)
        bandwidths, random = (10.0**log_sigma, 1.0), np.random.RandomState(seed)
        value, halves = jensen_shannon(real, fake, bandwidths, offset=phi, normalized=True)
        shuffled = random.permutation(real), random.permutation(fake)
        again, _ = jensen_shannon(*shuffled, bandwidths[::-1], offset=phi, normalized=True)
        self.assertAllClose(again, value, rtol=1e-11, atol=1e-13)
        swapped, others = jensen_shannon(fake, real, bandwidths, offset=phi, normalized=True)
        self.assertAllClose(swapped, value, rtol=1e-11, atol=1e-13)
        self.assertAllClose(others["jsd_first"], halves["jsd_second"], rtol=1e-11, atol=1e-13)
        self.assertAllClose(others["jsd_second"], halves["jsd_first"], rtol=1e-11, atol=1e-13)


def _grid(low, high, count):
    """Midpoints [count, 1] of an interval and the width of a cell."""
    width = (high - low) / count
    return low + width * (np.arange(count)[:, None] + 0.5), width


class CorrectionTest(parameterized.TestCase, tf.test.TestCase):
    @parameterized.parameters(itertools.product((0.05, 1.0), MIXTURES))
    def test_corrected_terms_are_the_integrals_of_a2_and_printed_ones_lack_phi(self, phi, mixture):
        low, high, bandwidths = -3.0, 5.0, (0.3, 0.9)
        real, fake = _samples(12, 9, 1)
        first, second, densities = _halves(real, fake, bandwidths, mixture, True, phi)
        grid, width = _grid(low, high, 100_000)
        p, q = densities(grid)
        integrals = [
            np.sum(phi * np.log((density + phi) / (p + q + 2 * phi))) * width for density in (p, q)
        ]
        options = {"mixture": mixture, "normalized": True, "offset": phi, "volume": high - low}
        # Evenly spread points stand for the uniform sample: what its mean converges to.
        uniform, _ = _grid(low, high, 2000)
        found = {}
        for correction in CORRECTIONS:
            value, diagnostics = jensen_shannon(
                real, fake, bandwidths, correction=correction, uniform=uniform, **options
            )
            found[correction] = diagnostics.get("jsd_correction", tf.zeros([], tf.float64))
            self.assertAllClose(value, first + second + found[correction], rtol=1e-11)
        self.assertEqual(float(found["none"]), 0.0)
        self.assertAllClose(found["corrected"], sum(integrals), rtol=1e-5)
        self.assertAllClose(found["printed"], sum(integrals) / phi, rtol=1e-5)

    def test_random_uniform_points_agree_within_their_standard_error(self):
        real, fake = _samples(12, 9, 1)
        phi, volume = 0.2, 8.0
        _, _, densities = _halves(real, fake, (0.9,), "sum", True, phi)
        uniform = np.random.RandomState(3).uniform(-3.0, 5.0, size=(4000, 1))
        p, q = densities(uniform)
        logs = np.log((p + phi) * (q + phi) / (p + q + 2 * phi) ** 2)
        grid, width = _grid(-3.0, 5.0, 50_000)
        p, q = densities(grid)
        integral = np.sum(phi * np.log((p + phi) * (q + phi) / (p + q + 2 * phi) ** 2)) * width
        options = {"normalized": True, "offset": phi, "volume": volume, "uniform": uniform}
        _, diagnostics = jensen_shannon(real, fake, (0.9,), correction="corrected", **options)
        error = phi * volume * logs.std() / len(logs) ** 0.5
        self.assertLess(abs(float(diagnostics["jsd_correction"]) - integral), 4 * error)

    def test_limit_with_the_corrected_terms_is_a_shifted_jensen_shannon_divergence(self):
        # A.2: K = 2 (1 + phi mu) JSD(p~, q~) - (1 + phi mu) log 4, of which it omits the constant.
        grid, width = _grid(0.0, 1.0, 4000)
        p = np.exp(-((grid - 0.3) ** 2) / 0.02)
        q = np.exp(-((grid - 0.6) ** 2) / 0.1)
        p, q = p / (p.sum() * width), q / (q.sum() * width)
        phi = 0.4
        total = p + q + 2 * phi
        k = np.sum((p + phi) * np.log((p + phi) / total) + (q + phi) * np.log((q + phi) / total))
        p_shifted, q_shifted = (p + phi) / (1 + phi), (q + phi) / (1 + phi)
        middle = (p_shifted + q_shifted) / 2
        divergence = np.sum(
            p_shifted * np.log(p_shifted / middle) + q_shifted * np.log(q_shifted / middle)
        )
        expected = (1 + phi) * (0.5 * divergence * 2 * width - LOG4)
        self.assertAllClose(k * width, expected, rtol=1e-10)

    def test_equation_13_is_least_where_the_densities_agree(self):
        # The paper's "may converge to smaller values" is false, so A.2 is an option, not a need.
        random = np.random.RandomState(0)
        grid, width = _grid(-6.0, 6.0, 1200)
        lowest = np.inf
        for _ in range(300):
            densities = []
            for _ in range(2):
                means, sds = random.uniform(-3, 3, size=3), random.uniform(0.2, 1.5, size=3)
                bumps = np.exp(-((grid - means) ** 2) / (2 * sds**2)) / sds
                density = bumps @ random.dirichlet(np.ones(3))
                densities.append(density / (density.sum() * width))
            p, q = densities
            for phi in (0.0, *np.exp(random.uniform(-4, 4, size=2))):
                total = p + q + 2 * phi
                terms = p * np.log((p + phi) / total) + q * np.log((q + phi) / total)
                lowest = min(lowest, np.sum(terms) * width + LOG4)
        self.assertGreater(lowest, 0.0)
        self.assertLess(lowest, 0.05)


class MistakesTest(parameterized.TestCase, tf.test.TestCase):
    @parameterized.parameters(
        ({"mixture": "median"}, "mixture='median'|mixture.*median"),
        ({"correction": "yes"}, "yes"),
        ({"offset": -0.1}, "offset=-0.1"),
        ({"offset": float("nan")}, "offset=nan"),
        ({"correction": "printed"}, "uniform"),
        ({"correction": "corrected", "uniform": np.zeros([2, 2]), "volume": 0.0}, "volume=0"),
        ({"correction": "corrected", "uniform": np.zeros([2, 3])}, "3 features"),
        ({"correction": "corrected", "uniform": np.zeros([0, 2])}, "uniform has no points"),
    )
    def test_options(self, options, words):
        with self.assertRaisesRegex(UserError, words):
            jensen_shannon(np.zeros([3, 2]), np.ones([3, 2]), (1.0,), **options)

    @parameterized.parameters(
        ((), "bandwidths="),
        ((1.0, -2.0), "bandwidths=.*-2"),
        ((0.0,), "bandwidths="),
        ((float("inf"),), "bandwidths=.*inf"),
        (("wide",), "bandwidths=.*wide"),
    )
    def test_bandwidths(self, bandwidths, words):
        with self.assertRaisesRegex(UserError, words):
            jensen_shannon(np.zeros([3, 2]), np.ones([3, 2]), bandwidths)

    def test_shapes(self):
        with self.assertRaisesRegex(UserError, "shape"):
            jensen_shannon(np.zeros([3]), np.ones([3]), (1.0,))
        with self.assertRaisesRegex(UserError, "features"):
            jensen_shannon(np.zeros([3, 2]), np.ones([3, 4]), (1.0,))


if __name__ == "__main__":
    tf.test.main()
