"""Adversarial losses against the formulas of their papers, label smoothing included."""

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


# name -> what is averaged: over real and over fake scores by the critic, over fake ones by the
# generator. D = 1 / (1 + exp(-score)): -log D = softplus(-score), -log(1 - D) = softplus(score).
TERMS = {
    "minimax": (lambda r: _softplus(-r), _softplus, lambda f: -_softplus(f)),
    "non_saturating": (lambda r: _softplus(-r), _softplus, lambda f: _softplus(-f)),
    "hinge": (lambda r: _relu(1 - r), lambda f: _relu(1 + f), lambda f: -f),
    "wasserstein": (lambda r: -r, lambda f: f, lambda f: -f),
    # (log D - log(1 - D))^2 / 2, and log D - log(1 - D) is the score.
    "boundary_seeking": (
        lambda r: _softplus(-r),
        _softplus,
        lambda f: 0.5 * (_softplus(f) - _softplus(-f)) ** 2,
    ),
}
_each = parameterized.named_parameters([(name, name) for name in TERMS])


def _critic(name, real, fake, epsilon=0.0):
    """A real example is real with weight 1 - epsilon and generated with weight epsilon.

    Wasserstein critics have no labels: theirs is the mean under (Q + epsilon P) / (1 + epsilon).
    """
    on_real, on_fake, _ = TERMS[name]
    if name == "wasserstein":
        return (np.mean(fake) + epsilon * np.mean(real)) / (1 + epsilon) - np.mean(real)
    smoothed = (1 - epsilon) * np.mean(on_real(real)) + epsilon * np.mean(on_fake(real))
    return smoothed + np.mean(on_fake(fake))


def _generator(name, fake):
    return np.mean(TERMS[name][2](fake))


class AdversarialTest(parameterized.TestCase, tf.test.TestCase):
    def test_every_loss_has_an_oracle(self):
        self.assertCountEqual(adversarial.LOSSES, TERMS)

    def test_printed_values(self):
        zero = tf.zeros([3])
        for name, generator in (
            ("minimax", -np.log(2.0)),
            ("non_saturating", np.log(2.0)),
            ("boundary_seeking", 0.0),
        ):
            loss = adversarial.LOSSES[name]
            self.assertAllClose(loss.critic(zero, zero), 2 * np.log(2.0))
            self.assertAllClose(loss.generator(zero), generator)
        real, fake = tf.constant([2.0, 0.5]), tf.constant([-3.0, 0.25])
        hinge, wasserstein = (adversarial.LOSSES[name] for name in ("hinge", "wasserstein"))
        self.assertAllClose(hinge.critic(real, fake), 0.25 + 0.625)
        self.assertAllClose(wasserstein.critic(real, fake), -1.375 - 1.25)
        for loss in (hinge, wasserstein):
            self.assertAllClose(loss.generator(fake), 1.375)
        self.assertAllClose(adversarial.LOSSES["boundary_seeking"].generator(fake), 2.265625)

    @_each
    def test_against_the_formula(self, name):
        loss = adversarial.LOSSES[name]
        random = np.random.RandomState(0)
        for shape in ((7,), (7, 1)):
            real, fake = random.normal(0.5, 2.0, shape), random.normal(-0.5, 2.0, shape)
            for dtype, tolerance in ((tf.float64, 1e-12), (tf.float32, 1e-6)):
                value = loss.critic(tf.cast(real, dtype), tf.cast(fake, dtype))
                self.assertEqual((value.dtype, value.shape), (dtype, ()))
                self.assertAllClose(
                    value, _critic(name, real, fake), rtol=tolerance, atol=tolerance
                )
                value = loss.generator(tf.cast(fake, dtype))
                self.assertEqual((value.dtype, value.shape), (dtype, ()))
                self.assertAllClose(value, _generator(name, fake), rtol=tolerance, atol=tolerance)

    @_each
    def test_unequal_numbers_of_real_and_fake(self, name):
        real, fake = np.array([0.3, -2.0, 1.5]), np.array([0.7, -0.1])
        value = adversarial.LOSSES[name].critic(real, fake)
        self.assertAllClose(value, _critic(name, real, fake))

    @_each
    def test_label_smoothing(self, name):
        loss = adversarial.LOSSES[name]
        random = np.random.RandomState(2)
        real, fake = random.normal(0.5, 2.0, 5), random.normal(-0.5, 2.0, 4)
        for epsilon in (0.0, 0.1, 0.7):
            value = loss.critic(tf.constant(real), tf.constant(fake), label_smoothing=epsilon)
            self.assertAllClose(value, _critic(name, real, fake, epsilon), rtol=1e-12, atol=1e-12)

    def test_smoothed_logistic_critic_is_a_cross_entropy(self):
        # With labels 1 - epsilon and 0; its minimum over the score of a real example is where
        # D = 1 - epsilon, and nothing is gained beyond.
        epsilon, real, fake = 0.2, np.linspace(-4, 4, 9), np.linspace(-3, 1, 5)
        probability = 1 / (1 + np.exp(-real))
        entropy = -(1 - epsilon) * np.log(probability) - epsilon * np.log(1 - probability)
        expected = np.mean(entropy) - np.mean(np.log(1 - 1 / (1 + np.exp(-fake))))
        best = tf.constant([np.log((1 - epsilon) / epsilon)])
        for name in ("minimax", "non_saturating", "boundary_seeking"):
            loss = adversarial.LOSSES[name]
            value = loss.critic(tf.constant(real), tf.constant(fake), epsilon)
            self.assertAllClose(value, expected, rtol=1e-12)
            with tf.GradientTape() as tape:
                tape.watch(best)
                value = loss.critic(best, tf.constant(fake), epsilon)
            self.assertAllClose(tape.gradient(value, best), [0.0], atol=1e-12)

    @_each
    def test_bfloat16_scores_are_computed_in_float32(self, name):
        loss = adversarial.LOSSES[name]
        random = np.random.RandomState(1)
        real, fake = (tf.cast(random.normal(size=16), tf.bfloat16) for _ in range(2))
        value = loss.critic(real, fake)
        self.assertEqual(value.dtype, tf.float32)
        exact_real, exact_fake = (tf.cast(x, tf.float64).numpy() for x in (real, fake))
        self.assertAllClose(value, _critic(name, exact_real, exact_fake), rtol=1e-5)
        value = loss.generator(fake)
        self.assertEqual(value.dtype, tf.float32)
        self.assertAllClose(value, _generator(name, exact_fake), rtol=1e-5)

    @_each
    def test_extreme_scores_are_finite(self, name):
        loss = adversarial.LOSSES[name]
        for scale in (1e4, -1e4, 88.8, -88.8, 1e-30):
            scores = tf.constant([scale, 0.0, -scale, scale], tf.float32)
            other = -scores[::-1]
            with tf.GradientTape(persistent=True) as tape:
                tape.watch([scores, other])
                values = loss.critic(scores, other), loss.generator(other)
            exact = scores.numpy().astype(float), other.numpy().astype(float)
            self.assertAllClose(values[0], _critic(name, *exact), rtol=1e-5)
            self.assertAllClose(values[1], _generator(name, exact[1]), rtol=1e-5, atol=1e-30)
            for gradient in tape.gradient(values[0], [scores, other]):
                self.assertAllInRange(gradient, -0.5, 0.5)
            # The squared logit of boundary seeking is the one loss that is not Lipschitz.
            bound = abs(scale) if name == "boundary_seeking" else 0.5
            self.assertAllInRange(tape.gradient(values[1], other), -bound, bound)

    @_each
    def test_direction_of_the_gradients(self, name):
        # The critic wants real scores up and fake ones down; the generator wants fake ones up, or,
        # seeking the boundary, at 0.
        loss = adversarial.LOSSES[name]
        real, fake = tf.constant([0.2, -0.4]), tf.constant([0.3, -0.6])
        with tf.GradientTape(persistent=True) as tape:
            tape.watch([real, fake])
            critic_loss, generator_loss = loss.critic(real, fake), loss.generator(fake)
        self.assertAllLess(tape.gradient(critic_loss, real), 0.0)
        self.assertAllGreater(tape.gradient(critic_loss, fake), 0.0)
        gradient = tape.gradient(generator_loss, fake)
        if name == "boundary_seeking":
            self.assertAllClose(gradient, fake / 2)
        else:
            self.assertAllLess(gradient, 0.0)

    def test_minimax_saturates_where_its_other_form_does_not(self):
        # d/ds log(1 - D) = -D, d/ds -log D = -(1 - D): without progress (D = 0) the former is 0.
        score = tf.constant([-20.0])
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(score)
            values = [
                adversarial.LOSSES[name].generator(score) for name in ("minimax", "non_saturating")
            ]
        saturated, alive = (tape.gradient(value, score) for value in values)
        self.assertAllClose(saturated, [-np.exp(-20.0)], rtol=1e-5, atol=0)
        self.assertAllClose(alive, [-1.0], rtol=1e-5)

    @settings(max_examples=20, deadline=None, derandomize=True)
    @given(
        st.lists(st.floats(-1e4, 1e4), min_size=1, max_size=5),
        st.lists(st.floats(-1e4, 1e4), min_size=1, max_size=5),
    )
    def test_any_scores(self, real, fake):
        real, fake = np.array(real), np.array(fake)
        for name, loss in adversarial.LOSSES.items():
            self.assertAllClose(
                loss.critic(real, fake), _critic(name, real, fake), rtol=1e-9, atol=1e-12
            )
            self.assertAllClose(loss.generator(fake), _generator(name, fake), rtol=1e-9, atol=1e-12)
