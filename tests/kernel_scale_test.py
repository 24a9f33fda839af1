"""The scale of SMMD-DK: each form by NumPy from weights, and the exact one by differentiation."""

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from kgzoo.discrepancies import kernel_scale as scales
from kgzoo.discrepancies.scaled import features_and_jacobian_gram
from kgzoo.errors import UserError
from kgzoo.kernels import KernelNet

_ALL = ("none", "dk", "dk2", "dk_pd")


def _drawn(dependence, d):
    keras.utils.set_random_seed(0)
    kernel = KernelNet(dependence, num_samples=40)
    kernel.build((None, d))
    return kernel.draw((0, 1))


def _critic(d):
    """A smooth critic of R^5 with d outputs."""
    random = np.random.RandomState(1)
    first, second = (tf.constant(random.normal(size=shape)) for shape in ((5, 7), (7, d)))
    return lambda v: tf.matmul(tf.tanh(tf.matmul(v, first)), second)


def _example(dependence, d):
    points = tf.constant(np.random.RandomState(2).normal(size=(4, 5)))
    critic = _critic(d)
    features, gram = features_and_jacobian_gram(critic, points)
    return _drawn(dependence, d), critic, points, features, gram


def _differentiated_trace(drawn, critic, points):
    """mean sum_i d2 kappa(h(y), h(z)) / dy_i dz_i at y = z, by automatic differentiation."""
    copies = tf.identity(points)
    with tf.GradientTape(persistent=True) as outer:
        outer.watch(copies)
        with tf.GradientTape() as inner:
            inner.watch(points)
            values = tf.linalg.diag_part(drawn.matrix(critic(points), critic(copies)))
        slopes = inner.gradient(values, points)
    mixed = outer.batch_jacobian(slopes, copies, experimental_use_pfor=False)
    return float(tf.reduce_mean(tf.linalg.trace(mixed)))


class KernelScaleTest(parameterized.TestCase, tf.test.TestCase):
    @parameterized.product(dependence=_ALL, d=(1, 3))
    def test_exact_is_the_mixed_derivative_of_the_kernel(self, dependence, d):
        drawn, critic, points, features, gram = _example(dependence, d)
        trace = _differentiated_trace(drawn, critic, points)
        self.assertGreater(trace, 0.1)
        found = scales.kernel_scale(drawn, features, gram, "exact", 2.5, 7.0)
        self.assertAllClose(found, 1 / (1 + 2.5 * trace), rtol=1e-8)
        diagonal = np.diag(drawn.matrix(features, features)).mean()
        found = scales.sigma2(drawn, features, gram, 0.3)
        self.assertAllClose(found, 1 / (0.3 + diagonal + trace), rtol=1e-8)

    @parameterized.product(dependence=_ALL, d=(1, 3))
    def test_printed_forms(self, dependence, d):
        drawn, _, _, features, gram = _example(dependence, d)
        first, second = (value.numpy() for value in drawn.squared_norms(features))
        squared = np.array([np.trace(matrix) for matrix in gram.numpy()])
        norm = np.sqrt(squared)
        expected = {
            "proposition_6": 0.7 + 1 + np.mean(second * norm) + np.mean(first * norm),
            "equation_11": 1 + 5 * np.mean(second * norm) + np.mean(first * norm),
            "authors": 1 + 5 * np.mean(squared * (second + first)),
        }
        self.assertCountEqual(scales.FORMS, ["exact", *expected])
        for form, value in expected.items():
            found = scales.kernel_scale(drawn, features, gram, form, 5.0, 0.7)
            self.assertAllClose(found, 1 / value, rtol=1e-6, msg=form)

    def test_one_output_makes_authors_and_exact_agree(self):
        # With one output the trace is E|omega|^2 ||J||^2: what the authors compute. Prop. 6 lacks
        # the square, and is something else.
        drawn, _, _, features, gram = _example("dk", 1)
        exact, authors, printed = (
            float(scales.kernel_scale(drawn, features, gram, form, 1.0, 0.0))
            for form in ("exact", "authors", "proposition_6")
        )
        self.assertAllClose(exact, authors, rtol=1e-6)
        self.assertGreater(abs(exact / printed - 1), 0.1)

    @parameterized.product(dependence=_ALL, form=scales.FORMS)
    def test_gradients_are_finite_without_a_jacobian(self, dependence, form):
        drawn = _drawn(dependence, 3)
        features = tf.zeros([4, 3])
        gram = tf.zeros([4, 3, 3])
        with tf.GradientTape() as tape:
            tape.watch([features, gram])
            value = scales.kernel_scale(drawn, features, gram, form)
        self.assertEqual(value.dtype, tf.float32)
        for gradient in tape.gradient(value, [features, gram], unconnected_gradients="zero"):
            self.assertAllInRange(gradient, -1e5, 1e5)

    def test_an_unknown_form(self):
        drawn = _drawn("dk", 2)
        with self.assertRaisesRegex(UserError, "scale_form='exakt' .*did you mean 'exact'"):
            scales.kernel_scale(drawn, tf.zeros([2, 2]), tf.zeros([2, 2, 2]), "exakt")
