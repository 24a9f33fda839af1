"""GRAM's joint step against the paper's algorithm 1, by hand, and what it accepts."""

import json

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized
from scipy.spatial import distance

from kgzoo import data
from kgzoo.errors import UserError
from kgzoo.methods.base import Batch
from kgzoo.methods.gram import GRAM
from kgzoo.methods.noise import Noise

_RATE = 0.05
_BOTH = ("critic", "generator")


def _network(inputs, outputs, width, name, dtype="float32"):
    hidden = keras.layers.Dense(width, "relu", kernel_initializer="he_normal", dtype=dtype)
    last = keras.layers.Dense(outputs, dtype="float32")
    return keras.Sequential([keras.Input([inputs]), hidden, last], name=name)


def _model(seed=0, width=16, dtype="float32", **fields):
    keras.utils.set_random_seed(seed)
    generator = _network(3, 2, width, "generator", dtype)
    critic = _network(2, 4, width, "critic", dtype)
    return GRAM(generator, critic, kind="vector", batch_size=8, seed=4, **fields)


def _real(n=8):
    return np.random.RandomState(5).normal(0.5, 1.0, size=(n, 2)).astype(np.float32)


def _features(method, n=8, step=0):
    """Returns the features of `_real` and of what the method generates in a step, float64."""
    noise = Noise(4, tf.constant(step, tf.int64), 0)
    fake = method.generator(noise.latents(n, 3, "uniform"))
    return [method.critic(part).numpy().astype(np.float64) for part in (_real(n), fake)]


def _gram(x, y, bandwidth):
    return np.exp(-distance.cdist(x, y, "sqeuclidean") / (2 * bandwidth**2))


def _expected(x, y, bandwidths, ridge, weight):
    """Eq. 10 under the sum of the kernels and eq. 9 of the ratio's mean over them, in NumPy."""
    mmd2 = sum(
        _gram(x, x, b).mean() + _gram(y, y, b).mean() - 2 * _gram(x, y, b).mean()
        for b in bandwidths
    )
    ratio = np.mean(
        [
            np.linalg.solve(_gram(y, y, b) + ridge * np.eye(len(y)), _gram(y, x, b).sum(axis=1))
            for b in bandwidths
        ],
        axis=0,
    )
    return mmd2, np.mean((ratio - 1) ** 2) + weight * np.sum(ratio)


class LossesTest(tf.test.TestCase, parameterized.TestCase):
    def _losses(self, method, players=_BOTH):
        return method.losses(Batch(tf.constant(_real()), Noise(4, tf.constant(0), 0)), players)

    @parameterized.parameters(
        ("mmd2", (1.0,), "fixed"), ("mmd", (0.5, 2.0), "fixed"), ("mmd", (1.0, 0.3), "median")
    )
    def test_are_eq_9_and_eq_10(self, objective, bandwidths, rule):
        method = _model(
            objective=objective,
            bandwidths=bandwidths,
            bandwidth_rule=rule,
            ridge=0.01,
            positivity_weight=0.3,
        )
        x, y = _features(method)
        if rule == "median":
            unit = np.median(distance.pdist(np.concatenate([x, y])))
            x, y = x / unit, y / unit
        mmd2, matching = _expected(x, y, bandwidths, 0.01, 0.3)
        losses = self._losses(method)
        value = np.sqrt(mmd2 + 1e-8) if objective == "mmd" else mmd2
        self.assertAllClose(losses["generator"][0], value, rtol=1e-4)
        self.assertAllClose(losses["critic"][0], -matching, rtol=1e-4)
        for player in _BOTH:
            self.assertAllClose(losses[player][1]["mmd2"], mmd2, rtol=1e-4)
            self.assertEqual(losses[player][0].dtype, tf.float32)
            for value in losses[player][1].values():
                self.assertEqual(value.dtype, tf.float32)

    def test_a_player_alone(self):
        method = _model()
        both = self._losses(method)
        for player in _BOTH:
            alone = self._losses(method, (player,))
            self.assertEqual(list(alone), [player])
            self.assertAllClose(alone[player][0], both[player][0], rtol=1e-6)

    def test_positivity_reaches_the_loss(self):
        values = {
            (positivity, reduction): float(
                self._losses(
                    _model(positivity=positivity, positivity_reduction=reduction, ridge=0.01)
                )["critic"][0]
            )
            for positivity, reduction in (("penalty", "sum"), ("penalty", "mean"), ("none", "sum"))
        }
        share = -(values["penalty", "sum"] - values["none", "sum"])
        self.assertGreater(abs(share), 1.0)
        self.assertAllClose(values["none", "sum"] - values["penalty", "mean"], share / 8, rtol=1e-4)

    def test_a_random_bandwidth_divides_the_features(self):
        method = _model(random_bandwidth=2.0, ridge=0.01)
        batch = Batch(tf.constant(_real()), Noise(4, tf.constant(0), 0))
        width = float(method.bandwidth(batch))
        self.assertGreater(abs(np.log(width)), 0.05)
        x, y = _features(method)
        mmd2, matching = _expected(x / width, y / width, (1.0,), 0.01, 1.0)
        losses = method.losses(batch, _BOTH)
        self.assertAllClose(losses["critic"][0], -matching, rtol=1e-4)
        self.assertAllClose(losses["generator"][1]["mmd2"], mmd2, rtol=1e-4)


class StepTest(tf.test.TestCase, parameterized.TestCase):
    def _by_hand(self, method):
        """Returns the weights after one joint step of gradient descent, in the order of players."""
        noise = Noise(4, tf.constant(0, tf.int64), 0)
        players = (method.critic.trainable_variables, method.generator.trainable_variables)
        with tf.GradientTape(persistent=True) as tape:
            fake = method.generator(noise.latents(8, 3, "uniform"))
            x, y = (tf.cast(method.critic(part), tf.float64) for part in (_real(), fake))

            def gram(a, b):
                return tf.exp(-tf.reduce_sum((a[:, None] - b[None]) ** 2, axis=2) / 2)

            ratio = tf.linalg.solve(
                gram(y, y) + 0.01 * tf.eye(8, dtype=tf.float64),
                tf.reduce_sum(gram(y, x), axis=1, keepdims=True),
            )
            matching = -tf.reduce_mean((ratio - 1) ** 2) - tf.reduce_sum(ratio)
            means = [tf.reduce_mean(gram(*pair)) for pair in ((x, x), (y, y), (x, y))]
            mmd = tf.sqrt(means[0] + means[1] - 2 * means[2])
        moved = []
        for loss, player in zip((matching, mmd), players, strict=True):
            values = [variable.value for variable in player]
            gradients = tape.gradient(loss, values, unconnected_gradients="zero")
            moved.append([v - _RATE * g for v, g in zip(values, gradients, strict=True)])
        return moved

    @parameterized.parameters(False, True)
    def test_moves_both_at_the_same_weights(self, graph):
        method = _model(ridge=0.01)
        self.assertEqual(method.schedule, (_BOTH,))
        expected = self._by_hand(method)
        method.compile({player: keras.optimizers.SGD(_RATE) for player in method.players})
        step = tf.function(method.train_step) if graph else method.train_step
        logs = step(_real())
        for player, weights in zip(_BOTH, expected, strict=True):
            self.assertIn(f"{player}_loss", logs)
            self.assertAllClose(method.players[player], weights, rtol=1e-4, atol=1e-6)
        self.assertIn("pearson_divergence", logs)
        self.assertEqual(method.steps_done, 1)

    def test_an_early_critic_step_moves_the_critic_alone(self):
        method = _model(early_critic_steps=3)
        self.assertEqual(method.extra_updates(0), 2)
        method.compile()
        before = [
            [w.numpy() for w in ws] for ws in (method.generator.weights, method.critic.weights)
        ]
        method.extra_update(_real(), tf.constant(0))
        self.assertAllClose(method.generator.weights, before[0], rtol=0, atol=0)
        self.assertNotAllClose(method.critic.weights, before[1], rtol=0, atol=0)

    def test_mixed_bfloat16_and_the_median(self):
        method = _model(dtype="mixed_bfloat16", bandwidths=(0.5, 1.0), bandwidth_rule="median")
        method.compile()
        step = tf.function(method.train_step)
        for _ in range(2):
            logs = step(_real())
            for name, value in logs.items():
                self.assertEqual(value.dtype, tf.float32, name)
                self.assertTrue(np.isfinite(value), name)

    def test_learns_the_ring(self):
        examples = data.load("ring2d").examples
        method = _model(width=64)
        method.compile({player: keras.optimizers.Adam(2e-3, 0.5, 0.999) for player in _BOTH})

        def mmd2():
            x, y = examples[:500].astype(np.float64), method.sample(500).astype(np.float64)
            return _gram(x, x, 0.5).mean() + _gram(y, y, 0.5).mean() - 2 * _gram(x, y, 0.5).mean()

        before = mmd2()
        step = tf.function(method.train_step)
        for index in range(300):
            step(examples[64 * index : 64 * (index + 1)])
        self.assertLess(mmd2(), 0.5 * before)


class ArgumentsTest(tf.test.TestCase, parameterized.TestCase):
    def test_config_round_trip(self):
        method = _model(bandwidths=[1, 2], ridge=0.1, positivity="clip", objective="mmd2")
        self.assertEqual(method.bandwidths, (1.0, 2.0))
        text = json.dumps(method.get_config())
        for stored in (method.get_config(), json.loads(text)):
            again = GRAM.from_config(stored)
            self.assertEqual(json.dumps(again.get_config()), text)
            self.assertEqual(again.bandwidths, (1.0, 2.0))
        # As a configuration file holds them.
        stored = {**method.get_config(), "bandwidths": [1, 2]}
        self.assertEqual(json.dumps(GRAM.from_config(stored).get_config()), text)

    @parameterized.parameters(
        ("critic_steps", 5),
        ("label_smoothing", 0.1),
        ("objective", "nonsense"),
        ("bandwidths", "nonsense"),
        ("bandwidths", ()),
        ("bandwidths", (1.0, float("nan"))),
        ("bandwidth_rule", "nonsense"),
        ("ridge", -1.0),
        ("ridge", float("nan")),
        ("ridge", "nonsense"),
        ("positivity", "nonsense"),
        ("positivity_weight", float("nan")),
        ("positivity_reduction", "nonsense"),
    )
    def test_refuses(self, field, value):
        with self.assertRaises(UserError) as caught:
            _model(**{field: value})
        message = str(caught.exception)
        self.assertIn(field, message)
        self.assertIn(str(value), message)
        self.assertRegex(message, "choose|give|set|use|did you mean")
        self.assertNotIn("\n", message)

    def test_refuses_no_critic(self):
        with self.assertRaisesRegex(UserError, "critic=None.*give"):
            GRAM(_network(3, 2, 4, "generator"), kind="vector")

    @parameterized.parameters((40.0, "out of reach"), (1e-5, "coincide"), (1.0, ""))
    def test_complains_when_nothing_can_be_learned(self, scale, sentence):
        method = _model(bandwidths=(1.0, 0.5))
        last = method.critic.layers[-1]
        last.kernel.assign(scale * last.kernel)
        if scale > 1:
            # Real and generated examples apart, and the generated ones from each other.
            last.bias.assign(tf.zeros_like(last.bias))
        batch = Batch(tf.constant(_real() + 20), Noise(4, tf.constant(0), 0))
        if scale <= 1:
            batch = Batch(tf.constant(_real()), batch.noise)
        _, logs = method.losses(batch, _BOTH)["critic"]
        complaint = method.complaint({name: float(value) for name, value in logs.items()})
        self.assertEqual(bool(complaint), bool(sentence))
        self.assertIn(sentence, complaint)
