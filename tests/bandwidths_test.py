"""The median heuristic against SciPy, and what `bandwidths` accepts."""

import numpy as np
import tensorflow as tf
from absl.testing import parameterized
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import distance

from kgzoo.errors import UserError
from kgzoo.kernels import bandwidths


def _points(n, d, seed=0, scale=1.0, shift=0.0):
    return shift + scale * np.random.RandomState(seed).normal(size=(n, d))


class MedianDistanceTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.parameters((2, 0), (3, 0), (1, 1), (2, 3), (7, 4), (10, 11), (30, 30))
    def test_equals_scipy(self, n, m):
        x, y = _points(n, 3, 1), _points(m, 3, 2, scale=2.0)
        expected = np.median(distance.pdist(np.concatenate([x, y])))
        found = bandwidths.median_distance(x, y if m else None)
        self.assertEqual(found.dtype, tf.float64)
        self.assertAllClose(found, expected, rtol=1e-6)

    @settings(max_examples=30, deadline=None, derandomize=True)
    @given(st.integers(2, 9), st.integers(0, 2**16))
    def test_ties(self, n, seed):
        points = np.random.RandomState(seed).randint(0, 3, size=(n, 2)).astype(float)
        distances = distance.pdist(points)
        expected = np.median(distances) or np.mean(distances) or 1.0
        self.assertAllClose(bandwidths.median_distance(points), expected, rtol=1e-6)

    def test_zero_self_distances_do_not_count(self):
        # As counted by the authors of GRAM, the median of these nine numbers would be 1.
        points = np.array([[0.0], [1.0], [11.0]])
        self.assertEqual(np.median(distance.cdist(points, points)), 1.0)
        self.assertAllClose(bandwidths.median_distance(points), 10.0)

    @parameterized.parameters(2, 784)
    def test_far_from_the_origin(self, d):
        x, y = _points(20, d, 1, 1e-3, 50.0), _points(20, d, 2, 1e-3, 50.0)
        x, y = x.astype(np.float32), y.astype(np.float32)
        pooled = np.concatenate([x, y]).astype(np.float64)
        found = bandwidths.median_distance(x, y)
        self.assertEqual(found.dtype, tf.float32)
        self.assertAllClose(found, np.median(distance.pdist(pooled)), rtol=1e-5)

    def test_bfloat16_gives_float32(self):
        x = tf.cast(_points(9, 2), tf.bfloat16)
        found = bandwidths.median_distance(x, x[:4] + 1)
        self.assertEqual(found.dtype, tf.float32)
        pooled = np.concatenate([tf.cast(part, tf.float64) for part in (x, x[:4] + 1)])
        self.assertAllClose(found, np.median(distance.pdist(pooled)), rtol=1e-5)

    @parameterized.parameters(1.0, 1e4 / 3)
    def test_coincident_points(self, place):
        same = np.full([6, 40], place, np.float32)
        self.assertEqual(float(bandwidths.median_distance(same)), 1.0)
        self.assertEqual(float(bandwidths.median_distance(same[:1])), 1.0)
        # Six of ten pairs have distance 0, the others 2 sqrt(40).
        other = np.concatenate([same[:4], same[:1] + 2])
        expected = 0.4 * 2 * np.sqrt(40)
        self.assertAllClose(bandwidths.median_distance(other), expected, rtol=1e-3)

    def test_every_leading_element_is_a_sample_of_its_own(self):
        x, y = np.random.RandomState(3).normal(size=(2, 3, 2, 9, 4))
        y = y[..., :5, :]
        x[0, 0], y[0, 0] = 1.0, 1.0  # all coincide
        x[1, 0, 2, 1] = np.nan
        x[2] *= 1e-4
        y[2] *= 1e-4
        found = bandwidths.median_distance(x, y)
        self.assertEqual(found.shape, (3, 2))
        pooled = np.concatenate([x, y], axis=-2)
        expected = [[np.median(distance.pdist(one)) or 1.0 for one in row] for row in pooled]
        self.assertAllClose(found, expected, rtol=1e-6)
        self.assertAllClose(bandwidths.median_distance(pooled), expected, rtol=1e-6)
        signature = [tf.TensorSpec([None, None, 2], tf.float32)]
        compiled = tf.function(bandwidths.median_distance, signature, jit_compile=True)
        points = _points(12, 2).astype(np.float32).reshape([3, 4, 2])
        expected = [np.median(distance.pdist(one)) for one in points]
        self.assertAllClose(compiled(points), expected, rtol=1e-5)

    def test_no_gradient(self):
        x = tf.constant(_points(5, 2))
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = bandwidths.median_distance(x, x + 1.0)
        self.assertIsNone(tape.gradient(value, x))

    @parameterized.parameters(False, True)
    def test_graph_with_unknown_sizes(self, jit_compile):
        signature = [tf.TensorSpec([None, 2], tf.float32)] * 2
        function = tf.function(bandwidths.median_distance, signature, jit_compile=jit_compile)
        for n, m in ((4, 3), (1, 5), (6, 6)):
            x, y = _points(n, 2, n).astype(np.float32), _points(m, 2, m + 1).astype(np.float32)
            expected = np.median(distance.pdist(np.concatenate([x, y]).astype(np.float64)))
            self.assertAllClose(function(x, y), expected, rtol=1e-5)

    def test_points_that_are_not_finite(self):
        for bad in (np.nan, np.inf):
            points = _points(5, 2)
            points[1, 0] = bad
            self.assertTrue(np.isnan(bandwidths.median_distance(points)))

    def test_refuses_shapes(self):
        with self.assertRaisesRegex(UserError, r"shape \(3,\)"):
            bandwidths.median_distance(np.zeros(3))
        with self.assertRaisesRegex(UserError, "2 features and y has 3"):
            bandwidths.median_distance(np.zeros([4, 2]), np.zeros([4, 3]))
        with self.assertRaisesRegex(UserError, "same leading dimensions"):
            bandwidths.median_distance(np.zeros([2, 4, 2]), np.zeros([3, 4, 2]))


class FieldsTest(tf.test.TestCase, parameterized.TestCase):
    @parameterized.parameters([(1, 2.5)], [[1, 2.5]], [np.array([1.0, 2.5])])
    def test_a_tuple_of_floats(self, value):
        self.assertEqual(bandwidths.as_bandwidths(value), (1.0, 2.5))

    @parameterized.parameters(
        "nonsense", "12", 1.0, None, [()], [(1.0, 0.0)], [(1.0, float("nan"))], [(float("inf"),)]
    )
    def test_refuses(self, value):
        with self.assertRaises(UserError) as caught:
            bandwidths.as_bandwidths(value)
        self.assertIn(f"bandwidths={value!r}", str(caught.exception))
        self.assertRegex(str(caught.exception), "give")

    def test_unit(self):
        x, y = _points(4, 2), _points(5, 2, 1)
        self.assertEqual(bandwidths.unit("fixed", x, y), 1.0)
        self.assertAllEqual(bandwidths.unit("median", x, y), bandwidths.median_distance(x, y))
        with self.assertRaisesRegex(UserError, "bandwidth_rule='largest'.*choose one of"):
            bandwidths.unit("largest", x, y)
