"""Latent tools: paths, truncation and the nearest latent, in Python and as signatures."""

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized
from scipy import stats

from kgzoo.errors import UserError
from kgzoo.methods.base import Method
from kgzoo.methods.nearest import support
from kgzoo.methods.smmd import SMMD
from kgzoo.serving import signatures

_LATENT_DIM, _SHAPE = 6, (5, 4, 1)


def image_model(distribution="normal", latent_dim=_LATENT_DIM):
    """A method whose generator is far from linear, so that some latents are much nearer."""
    keras.utils.set_random_seed(0)
    scale = keras.initializers.RandomNormal(stddev=0.5)
    generator = keras.Sequential(
        [
            keras.Input([latent_dim]),
            keras.layers.Dense(16, activation="tanh", kernel_initializer=scale),
            keras.layers.Dense(20, activation="tanh", kernel_initializer=scale),
            keras.layers.Reshape(_SHAPE),
        ]
    )
    critic = keras.Sequential(
        [keras.Input(_SHAPE), keras.layers.Flatten(), keras.layers.Dense(3, activation="tanh")]
    )
    return SMMD(
        generator, critic, latent_distribution=distribution, image_range=(-1.0, 1.0), seed=1
    )


def identity_model(distribution, latent_dim=2):
    """Samples are latents: what is nearest is known."""
    generator = keras.Sequential(
        [
            keras.Input([latent_dim]),
            keras.layers.Dense(latent_dim, use_bias=False, kernel_initializer="identity"),
        ]
    )
    return Method(generator, kind="vector", latent_distribution=distribution)


def slerp(start, end, t):
    """White (2016), in float64."""
    start, end = start.astype(np.float64), end.astype(np.float64)
    angle = np.arccos(np.dot(start, end) / np.linalg.norm(start) / np.linalg.norm(end))
    return (np.sin((1 - t) * angle) * start + np.sin(t * angle) * end) / np.sin(angle)


def lerp(start, end, t):
    return (1 - t) * start.astype(np.float64) + t * end.astype(np.float64)


class ToolsTestCase(parameterized.TestCase, tf.test.TestCase):
    def refused(self, words, call, *args, **kwargs):
        with self.assertRaisesRegex(UserError, words) as caught:
            call(*args, **kwargs)
        self.assertNotIn("\n", str(caught.exception))


class PathTest(ToolsTestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.models = {name: image_model(name) for name in ("normal", "uniform")}

    def test_latents_are_those_of_samples(self):
        for model in self.models.values():
            latents = model.latents(5, seed=3)
            self.assertEqual(latents.shape, (5, _LATENT_DIM))
            self.assertAllClose(model.decode(latents), model.sample(5, seed=3), atol=1e-6)
            self.assertAllEqual(model.latents(2, seed=3), latents[:2])
            self.assertNotAllClose(model.latents(5, seed=4), latents)
        self.refused("n=0", model.latents, 0)

    @parameterized.parameters(
        ("normal", "auto", slerp),
        ("normal", "linear", lerp),
        ("uniform", "auto", lerp),
        ("uniform", "spherical", slerp),
    )
    def test_every_pair_at_every_fraction(self, distribution, path, oracle):
        model = self.models[distribution]
        start, end = model.latents(3, seed=0), model.latents(3, seed=1)
        fractions = [0.0, 0.2, 0.7, 1.0]
        found = model.interpolate(start, end, fractions, path=path)
        self.assertEqual(found.shape, (3, 4, *_SHAPE))
        expected = np.array(
            [[oracle(a, b, t) for t in fractions] for a, b in zip(start, end, strict=False)]
        )
        decoded = model.decode(expected.reshape(-1, _LATENT_DIM).astype(np.float32))
        self.assertAllClose(found.reshape(-1, *_SHAPE), decoded, atol=1e-5)
        one = model.interpolate(start[1], end[1], fractions, path, batch_size=3)
        self.assertAllClose(one, found[1], atol=1e-6)

    def test_refuses(self):
        model, latents = self.models["normal"], self.models["normal"].latents(2)
        self.refused(
            "path='sphericl'.*'spherical'", model.interpolate, latents, latents, [0], "sphericl"
        )
        self.refused(r"start has shape \(2, 6\)", model.interpolate, latents, latents[:1], [0.5])
        self.refused(
            r"give both as \[n, 6\]", model.interpolate, latents[:, :2], latents[:, :2], [0]
        )
        self.refused(r"fractions has shape \(\)", model.interpolate, latents, latents, 0.5)


class TruncationTest(ToolsTestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.normal, cls.uniform = identity_model("normal", 8), identity_model("uniform", 8)

    def test_normal_values_beyond_are_drawn_again(self):
        whole = self.normal.latents(1500, seed=2)
        for threshold in (0.4, 1.0, 2.0):
            found = self.normal.latents(1500, seed=2, truncation=threshold)
            within = np.abs(whole) <= threshold
            self.assertAllEqual(found[within], whole[within])
            self.assertLessEqual(np.abs(found).max(), threshold)
            law = stats.truncnorm(-threshold, threshold)
            for values in (found.ravel(), found[~within]):
                self.assertGreater(stats.kstest(values, law.cdf).pvalue, 1e-3)
            self.assertNear(found.var(), law.var(), 0.06 * law.var())
            # What is drawn again is not what it replaces, nor one number for all.
            kept = np.corrcoef(found[~within], whole[~within])[0, 1]
            self.assertLess(abs(kept), 0.1)
            self.assertGreater(len(np.unique(found[~within])), 0.99 * np.sum(~within))

    def test_uniform_range_is_scaled(self):
        whole = self.uniform.latents(20)
        self.assertAllClose(self.uniform.latents(20, truncation=0.3), 0.3 * whole)
        self.refused("truncation=1.5; uniform", self.uniform.latents, 2, truncation=1.5)

    def test_limits(self):
        for model, most in ((self.normal, 30.0), (self.uniform, 1.0)):
            self.assertAllEqual(model.latents(9, truncation=most), model.latents(9))
            self.assertAllEqual(model.latents(9, truncation=0.0), np.zeros([9, 8]))
            for wrong in (-1.0, np.nan, "much"):
                self.refused("truncation=.*give", model.sample, 2, truncation=wrong)

    def test_samples_are_those_of_the_latents(self):
        model = image_model()
        latents = model.latents(7, seed=5, truncation=0.5)
        found = model.sample(7, seed=5, truncation=0.5, batch_size=3)
        self.assertAllClose(found, model.decode(latents), atol=1e-6)
        self.assertNotAllClose(found, model.sample(7, seed=5), atol=1e-2)

    def test_a_batch_is_all_that_is_drawn_at_once(self):
        model, sizes = image_model(), []
        expected, draw = model.sample(7, seed=5, truncation=0.5), model.truncated_latents

        def counted(seeds, truncation):
            tf.py_function(lambda n: sizes.append(int(n)), [tf.shape(seeds)[0]], [])
            return draw(seeds, truncation)

        again = image_model()
        again.truncated_latents = counted
        for batch_size in (3, 1, 256):
            sizes.clear()
            found = again.sample(7, seed=5, truncation=0.5, batch_size=batch_size)
            self.assertAllClose(found, expected, atol=1e-6)
            self.assertEqual(sizes, {3: [3, 3, 1], 1: 7 * [1], 256: [7]}[batch_size])

    def test_rows_are_their_own(self):
        seeds = tf.constant([[1, 2], [3, 4], [1, 2], [-5, 7]])
        bounds = tf.constant([0.5, 1.0, 2.0, np.nan])
        together = self.normal.truncated_latents(seeds, bounds).numpy()
        for row in range(3):
            alone = self.normal.truncated_latents(seeds[row : row + 1], bounds[row : row + 1])
            self.assertAllEqual(alone[0], together[row])
        self.assertNotAllClose(together[0], together[2])
        self.assertTrue(np.isnan(together[3]).all())


class NearestTest(ToolsTestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.model = image_model()
        cls.targets = cls.model.sample(4, seed=11)
        cls.calls = []
        cls.found = cls.model.nearest_latent(
            cls.targets, 150, batch_size=3, progress=lambda *done: cls.calls.append(done)
        )

    def test_better_than_any_of_a_hundred(self):
        random = self.model.sample(100, seed=12)
        far = np.mean((self.targets[:, None] - random[None]) ** 2, axis=(2, 3, 4))
        self.assertAllLess(self.found.distances / far.min(axis=1), 0.1)
        self.assertAllLess(self.found.distances, 1e-4)

    def test_distances_are_those_of_the_latents(self):
        made = self.model.decode(self.found.latents).numpy().astype(np.float64)
        expected = np.mean((made - self.targets) ** 2, axis=(1, 2, 3))
        self.assertAllClose(self.found.distances, expected, rtol=1e-2, atol=1e-7)
        self.assertEqual(self.calls, [(3, 4), (4, 4)])

    def test_no_steps_take_the_nearest_candidate(self):
        found = self.model.nearest_latent(self.targets, 0, candidates=50, starts=3, seed=4)
        drawn = self.model.latents(50, seed=4)
        far = np.mean((self.targets[:, None] - self.model.decode(drawn)) ** 2, axis=(2, 3, 4))
        self.assertAllEqual(found.latents, drawn[far.argmin(axis=1)])

    def test_one_graph_for_all_sizes(self):
        search = self.model._search("pixels")
        bytes_ = np.round(255 * self.targets).astype(np.uint8)
        few = self.model.nearest_latent(bytes_[:1], 3, starts=2, candidates=10, learning_rate=0.2)
        self.assertEqual(few.latents.shape, (1, _LATENT_DIM))
        self.assertEqual(search.experimental_get_tracing_count(), 1)

    def test_rows_are_their_own(self):
        spoiled = self.targets[:3].copy()
        spoiled[1, 0, 0, 0] = np.nan
        found = self.model.nearest_latent(spoiled, 20)
        self.assertTrue(np.isnan(found.latents[1]).all() and np.isnan(found.distances[1]))
        alone = self.model.nearest_latent(spoiled[2:], 20)
        self.assertAllClose(found.latents[2:], alone.latents, atol=1e-3)
        self.assertAllClose(found.distances[2:], alone.distances, rtol=1e-2)

    def test_critic_features(self):
        found = self.model.nearest_latent(self.targets[:2], 100, space="features")
        made = self.model.critic_features(self.model.decode(found.latents))
        expected = self.model.critic_features(self.targets[:2])
        self.assertAllClose(made, expected, atol=0.02)
        # Three features leave pixels open.
        self.assertAllGreater(
            np.mean((self.model.decode(found.latents) - self.targets[:2]) ** 2, axis=(1, 2, 3)),
            1e-3,
        )

    def test_latents_stay_in_their_support(self):
        uniform = identity_model("uniform")
        found = uniform.nearest_latent(np.float32([[3.0, 0.2], [-0.5, -9.0]]))
        self.assertAllClose(found.latents, [[1.0, 0.2], [-0.5, -1.0]], atol=5e-3)
        self.assertAllClose(found.distances, [2.0, 32.0], atol=1e-2)
        normal = identity_model("normal")
        found = normal.nearest_latent(np.float32([[30.0, 40.0], [0.3, 0.1]]))
        radius = np.sqrt(stats.chi2.ppf(0.999, 2))
        self.assertAllClose(found.latents, [[0.6 * radius, 0.8 * radius], [0.3, 0.1]], atol=1e-2)
        self.assertAllClose(support(2, "normal")(tf.zeros([1, 2])), [[0.0, 0.0]])

    def test_refuses(self):
        for words, options in (
            ("steps=-1", {"steps": -1}),
            ("starts=9; .* at most 5", {"starts": 9, "candidates": 5}),
            ("space='pixel' .*'pixels'", {"space": "pixel"}),
            ("learning_rate=0", {"learning_rate": 0}),
            ("batch_size=0", {"batch_size": 0}),
        ):
            self.refused(words, self.model.nearest_latent, self.targets, **options)
        self.refused(
            r"samples has shape \(4, 5, 4\)", self.model.nearest_latent, self.targets[..., 0]
        )
        self.refused("samples span", self.model.nearest_latent, self.targets - 1.0)
        self.refused(
            "needs a critic",
            identity_model("normal").nearest_latent,
            [[0.0, 1.0]],
            space="features",
        )


class SignaturesTest(ToolsTestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.model = image_model("uniform")
        cls.traced = signatures.trace(signatures.signatures(cls.model))

    def test_seeds_and_truncation(self):
        seed = tf.constant([[7, 0], [7, 1], [-3, 9]])
        latents = self.traced["latents"](seed=seed)["latents"]
        self.assertAllEqual(latents[:2], self.model.latents(2, seed=7))
        # Out of range counts as the nearest bound.
        bounds = tf.constant([0.5, 7.0, -1.0])
        answer = self.traced["sample_truncated"](seed=seed, truncation=bounds)
        expected = latents.numpy() * np.float32([[0.5], [1.0], [0.0]])
        self.assertAllClose(answer["latents"], expected)
        self.assertAllClose(answer["images"], self.model.decode(expected), atol=1e-6)

    def test_both_paths_and_the_automatic_one(self):
        start, end = self.model.latents(3, seed=0), self.model.latents(3, seed=1)
        fraction = np.float32([0.1, 0.5, 0.8])
        answers = {}
        for name, oracle in (("linear", lerp), ("spherical", slerp)):
            expected = np.array(
                [oracle(a, b, t) for a, b, t in zip(start, end, fraction, strict=False)]
            )
            signature = self.traced[f"interpolate_{name}"]
            answers[name] = signature(
                start=tf.constant(start), end=tf.constant(end), fraction=tf.constant(fraction)
            )["images"]
            decoded = self.model.decode(expected.astype(np.float32))
            self.assertAllClose(answers[name], decoded, atol=1e-5)
        auto = self.traced["interpolate"](
            start=tf.constant(start), end=tf.constant(end), fraction=tf.constant(fraction)
        )["images"]
        self.assertAllClose(auto, answers["linear"], atol=1e-6)
        self.assertNotAllClose(auto, answers["spherical"], atol=1e-3)

    def test_nearest_latent(self):
        images = self.model.sample(3, seed=11)
        ask = self.traced["nearest_latent"]
        answer = ask(images=tf.constant(images), steps=tf.constant([100, -2, 100]))
        self.assertAllInRange(answer["latents"], -1.0, 1.0)
        random = self.model.sample(100, seed=12)
        least = np.mean((images[:, None] - random[None]) ** 2, axis=(2, 3, 4)).min(axis=1)
        distances = answer["distances"].numpy()
        self.assertAllLess((distances / least)[[0, 2]], 0.1)
        # Row 1 asks for the nearest candidate, and gets it whatever the others ask for.
        drawn = self.model.latents(64, seed=0)
        far = np.mean((images[1] - self.model.decode(drawn)) ** 2, axis=(1, 2, 3))
        self.assertAllClose(answer["latents"][1], drawn[far.argmin()])
        again = ask(images=tf.constant(images), steps=tf.constant([100, -2, 100]))
        self.assertAllClose(again["latents"], answer["latents"])
        alone = ask(images=tf.constant(images[2:]), steps=tf.constant([100]))
        self.assertAllClose(alone["latents"], answer["latents"][2:], atol=1e-3)

    def test_the_graph_is_a_loop(self):
        def nodes(name):
            functions = self.traced[name].graph.as_graph_def().library.function
            return sum(len(function.node_def) for function in functions)

        self.assertLess(nodes("nearest_latent"), nodes("serving_default") + 1000)


if __name__ == "__main__":
    tf.test.main()
