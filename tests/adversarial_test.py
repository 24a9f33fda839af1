"""Adversarial losses against the formulas of the repulsive MMD-GAN paper, appendix B.1."""

import numpy as np
import tensorflow as tf
from absl.testing import parameterized
from hypothesis import given, settings
from hypothesis import strategies as st

from kgzoo.discrepancies import adversarial


def _softplus(x):
    return np.logaddexp(0.0, x)


def _relu(x):
    return np.maximum(x, 0.0)


# name -> (critic(real, fake), generator(fake))
ORACLES = {
    "non_saturating": (
        lambda real, fake: np.mean(_softplus(-real)) + np.mean(_softplus(fake)),
        lambda fake: np.mean(_softplus(-fake)),
    ),
    "hinge": (
        lambda real, fake: np.mean(_relu(1 - real)) + np.mean(_relu(1 + fake)),
        lambda fake: -np.mean(fake),
    ),
}
_each = parameterized.named_parameters([(name, name) for name in ORACLES])


class AdversarialTest(parameterized.TestCase, tf.test.TestCase):
    def test_every_loss_has_an_oracle(self):
        self.assertCountEqual(adversarial.LOSSES, ORACLES)

    def test_printed_values(self):
        critic, generator = adversarial.LOSSES["non_saturating"]
        zero = tf.zeros([3])
        self.assertAllClose(critic(zero, zero), 2 * np.log(2.0))
        self.assertAllClose(generator(zero), np.log(2.0))
        critic, generator = adversarial.LOSSES["hinge"]
        real, fake = tf.constant([2.0, 0.5]), tf.constant([-3.0, 0.25])
        self.assertAllClose(critic(real, fake), 0.25 + 0.625)
        self.assertAllClose(generator(fake), 1.375)

    @_each
    def test_against_the_formula(self, name):
        (critic, generator), (critic_oracle, generator_oracle) = (
            adversarial.LOSSES[name],
            ORACLES[name],
        )
        random = np.random.RandomState(0)
        for shape in ((7,), (7, 1)):
            real, fake = random.normal(0.5, 2.0, shape), random.normal(-0.5, 2.0, shape)
            for dtype, tolerance in ((tf.float64, 1e-12), (tf.float32, 1e-6)):
                value = critic(tf.cast(real, dtype), tf.cast(fake, dtype))
                self.assertEqual((value.dtype, value.shape), (dtype, ()))
                self.assertAllClose(
                    value, critic_oracle(real, fake), rtol=tolerance, atol=tolerance
                )
                value = generator(tf.cast(fake, dtype))
                self.assertEqual((value.dtype, value.shape), (dtype, ()))
                self.assertAllClose(value, generator_oracle(fake), rtol=tolerance, atol=tolerance)

    @_each
    def test_unequal_numbers_of_real_and_fake(self, name):
        real, fake = np.array([0.3, -2.0, 1.5]), np.array([0.7, -0.1])
        self.assertAllClose(adversarial.LOSSES[name][0](real, fake), ORACLES[name][0](real, fake))

    @_each
    def test_bfloat16_scores_are_computed_in_float32(self, name):
        critic, generator = adversarial.LOSSES[name]
        random = np.random.RandomState(1)
        real, fake = (tf.cast(random.normal(size=16), tf.bfloat16) for _ in range(2))
        value = critic(real, fake)
        self.assertEqual(value.dtype, tf.float32)
        real, fake = (tf.cast(scores, tf.float64).numpy() for scores in (real, fake))
        self.assertAllClose(value, ORACLES[name][0](real, fake), rtol=1e-5)
        value = generator(tf.cast(fake, tf.bfloat16))
        self.assertEqual(value.dtype, tf.float32)
        self.assertAllClose(value, ORACLES[name][1](fake), rtol=1e-5)

    @_each
    def test_extreme_scores_are_finite(self, name):
        critic, generator = adversarial.LOSSES[name]
        for scale in (1e4, -1e4, 88.8, -88.8, 1e-30):
            scores = tf.constant([scale, 0.0, -scale, scale], tf.float32)
            other = -scores[::-1]
            with tf.GradientTape(persistent=True) as tape:
                tape.watch([scores, other])
                values = critic(scores, other), generator(other)
            exact = scores.numpy().astype(float), other.numpy().astype(float)
            self.assertAllClose(values[0], ORACLES[name][0](*exact), rtol=1e-5)
            self.assertAllClose(values[1], ORACLES[name][1](exact[1]), rtol=1e-5, atol=1e-30)
            for gradient in (
                *tape.gradient(values[0], [scores, other]),
                tape.gradient(values[1], other),
            ):
                self.assertAllInRange(gradient, -0.5, 0.5)

    @_each
    def test_direction_of_the_gradients(self, name):
        # The critic wants real scores up and fake ones down; the generator wants fake ones up.
        critic, generator = adversarial.LOSSES[name]
        real, fake = tf.constant([0.2, -0.4]), tf.constant([0.3, -0.6])
        with tf.GradientTape(persistent=True) as tape:
            tape.watch([real, fake])
            critic_loss, generator_loss = critic(real, fake), generator(fake)
        self.assertAllLess(tape.gradient(critic_loss, real), 0.0)
        self.assertAllGreater(tape.gradient(critic_loss, fake), 0.0)
        self.assertAllLess(tape.gradient(generator_loss, fake), 0.0)

    @settings(max_examples=20, deadline=None, derandomize=True)
    @given(
        st.lists(st.floats(-1e4, 1e4), min_size=1, max_size=5),
        st.lists(st.floats(-1e4, 1e4), min_size=1, max_size=5),
    )
    def test_any_scores(self, real, fake):
        real, fake = np.array(real), np.array(fake)
        for name, (critic, generator) in adversarial.LOSSES.items():
            self.assertAllClose(
                critic(real, fake), ORACLES[name][0](real, fake), rtol=1e-9, atol=1e-12
            )
            self.assertAllClose(generator(fake), ORACLES[name][1](fake), rtol=1e-9, atol=1e-12)
