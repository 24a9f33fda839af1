"""Annealed importance sampling against models whose likelihood is known.

A linear-Gaussian decoder has a Gaussian p(x) (SciPy's); a Bernoulli decoder of one or two latents
is integrated on a grid. The estimate of p(x) is unbiased with any number of temperatures, which a
move that leaves another density invariant breaks at once where temperatures are few.
"""

import json
import pathlib
import tempfile

import numpy as np
import pytest
import tensorflow as tf
from scipy import special, stats

from kgzoo.errors import UserError
from kgzoo.evaluation import ais, ais_chains, ais_moves

LATENT_DIM, WIDTH, NOISE = 32, 50, 0.5


class LinearGaussian:
    """x = z W + b + NOISE e; p(x) = N(b, W'W + NOISE^2 I)."""

    def __init__(self, latent_dim: int = LATENT_DIM, width: int = WIDTH, seed: int = 0):
        rng = np.random.default_rng(seed)
        self.weights = 0.3 * rng.standard_normal((latent_dim, width))
        self.bias = rng.standard_normal(width)
        latents = rng.standard_normal((10, latent_dim))
        noise = NOISE * rng.standard_normal((10, width))
        self.examples = (latents @ self.weights + self.bias + noise).astype(np.float32)
        self.simulated = None

    def decode(self, latents):
        return tf.matmul(latents, tf.constant(self.weights, tf.float32)) + self.bias

    def log_likelihood(self, latents, examples):
        residuals = (examples - self.decode(latents)) / NOISE
        constant = residuals.shape[1] * np.log(NOISE * np.sqrt(2.0 * np.pi))
        return -0.5 * tf.reduce_sum(residuals**2, axis=1) - constant

    def simulate(self, latents, seed):
        noise = tf.random.stateless_normal([len(latents), len(self.bias)], seed)
        self.simulated = (self.decode(latents) + NOISE * noise).numpy()
        return self.simulated

    def exact(self, examples):
        covariance = self.weights.T @ self.weights + NOISE**2 * np.eye(len(self.bias))
        law = stats.multivariate_normal(self.bias, covariance)
        return np.atleast_1d(law.logpdf(np.asarray(examples, np.float64)))

    def likelihood(self):
        return ais.Likelihood(self.log_likelihood, self.simulate)


def logits_of(latents):
    """Returns logits [m, 3, 2, 1] of one or two latents: a small nonlinear decoder."""
    rng = np.random.default_rng(3)
    first = tf.constant(1.5 * rng.standard_normal((latents.shape[1], 8)), tf.float32)
    second = tf.constant(1.5 * rng.standard_normal((8, 6)), tf.float32)
    return tf.reshape(tf.matmul(tf.tanh(tf.matmul(latents, first)), second), [-1, 3, 2, 1])


def by_quadrature(examples, latent_dim):
    """Returns log p(x), [n], by a sum over a grid of the latents in float64."""
    axis = np.linspace(-7.0, 7.0, 281)
    grid = np.stack(np.meshgrid(*[axis] * latent_dim), axis=-1).reshape(-1, latent_dim)
    rng = np.random.default_rng(3)
    first = 1.5 * rng.standard_normal((latent_dim, 8))
    logits = np.tanh(grid @ first) @ (1.5 * rng.standard_normal((8, 6)))
    flat = examples.reshape(len(examples), -1).astype(np.float64)
    log_joint = -(flat @ np.logaddexp(0.0, -logits).T) - (1 - flat) @ np.logaddexp(0.0, logits).T
    log_joint = log_joint + stats.norm.logpdf(grid).sum(axis=1)
    return special.logsumexp(log_joint, axis=1) + latent_dim * np.log(axis[1] - axis[0])


def binary_examples():
    return (np.random.default_rng(5).random((6, 3, 2, 1)) < 0.5).astype(np.float32)


class Interrupted(Exception):
    pass


class ExactTest(tf.test.TestCase):
    def test_few_temperatures_are_unbiased(self):
        # 40,000 chains of ten moves: the error of log p(x) is 0.01, against 0.1 to 0.2 for moves
        # that keep the density and gradient of the temperature before, as TFP's longer chains do.
        model = LinearGaussian(1, 1)
        model.weights, model.bias = np.array([[2.0]]), np.zeros(1)
        examples = np.array([[1.0], [2.5], [-3.0]], np.float32)
        found = ais.estimate(
            model.likelihood(),
            examples,
            1,
            chains=40_000,
            temperatures=10,
            leapfrog_steps=3,
            schedule="linear",
            step_size=0.3,
            jit=False,
        )
        self.assertAllClose(found.log_likelihoods, model.exact(examples), atol=0.04)

    def test_linear_gaussian(self):
        model = LinearGaussian()
        settings = dict(chains=10, temperatures=300)
        found = ais.estimate(model.likelihood(), model.examples, LATENT_DIM, **settings)
        bias = found.mean - model.exact(model.examples).mean()
        self.assertBetween(bias, -1.0, 0.1)
        self.assertBetween(found.acceptance, 0.6, 0.85)
        self.assertLen(found.step_size, ais_chains.STAGES)
        self.assertGreater(found.step_size[0], 2.0 * found.step_size[-1])
        self.assertAllInRange(found.effective_sample_sizes, 1.0, 10.0)
        spread = found.log_likelihoods.std(ddof=1) / np.sqrt(10)
        self.assertAllClose(found.standard_error, spread)
        report = json.loads(json.dumps(found.as_json(), allow_nan=False))
        self.assertEqual(report["num_points"], 10)
        self.assertEqual(report["settings"]["temperatures"], 300)

    def test_gap_brackets_the_truth(self):
        model = LinearGaussian(4, 10)
        told = []
        gap = ais.bidirectional_gap(
            model.likelihood(),
            4,
            points=40,
            chains=2,
            temperatures=20,
            progress=lambda *place: told.append(place),
            jit=False,
        )
        truth = model.exact(model.simulated).mean()
        self.assertLess(gap.lower, truth)
        self.assertGreater(gap.upper, truth)
        self.assertAllClose(gap.gap, gap.upper - gap.lower)
        self.assertBetween(gap.gap, 0.1, 4.0)
        self.assertEqual(told[-1], (2 * 40 * 20, 2 * 40 * 20))
        json.dumps(gap.as_json(), allow_nan=False)

    def test_bernoulli_against_quadrature(self):
        for latent_dim in (1, 2):
            examples = binary_examples()
            found = ais.estimate(
                logits_of, examples, latent_dim, chains=1000, temperatures=60, jit=False
            )
            exact = by_quadrature(examples, latent_dim)
            self.assertAllClose(found.log_likelihoods, exact, atol=0.1)
            self.assertNear(found.mean, exact.mean(), 0.04)

    @pytest.mark.slow
    def test_default_setting_is_within_a_quarter_nat(self):
        model = LinearGaussian()
        found = ais.estimate(model.likelihood(), model.examples, LATENT_DIM)
        self.assertNear(found.mean, model.exact(model.examples).mean(), 0.25)
        gap = ais.bidirectional_gap(model.likelihood(), LATENT_DIM)
        self.assertBetween(gap.gap, 0.0, 0.5)
        truth = model.exact(model.simulated).mean()
        self.assertBetween(truth, gap.lower - 0.05, gap.upper + 0.05)


class MoveTest(tf.test.TestCase):
    def test_a_move_leaves_its_density_invariant(self):
        # Steps so large that a third of the moves is rejected: without acceptance, or with a kick
        # of another length, the variance of N(0, 1) would not stay.
        def log_prob(state):
            return -0.5 * tf.reduce_sum(state**2, axis=1)

        state, rates = tf.random.stateless_normal([100_000, 3], [0, 1]), []
        for index in range(5):
            momentum = tf.random.stateless_normal(state.shape, [index, 2])
            uniforms = tf.math.log(tf.random.stateless_uniform(state.shape[:1], [index, 3]))
            move = ais_moves.Hamiltonian(log_prob, tf.constant(1.5), 3, momentum, uniforms)
            state, results = move.one_step(state, move.bootstrap_results(state))
            rates.append(results.acceptance.numpy().mean())
            self.assertAllClose(results.target_log_prob, log_prob(state), atol=1e-5)
            self.assertAllClose(results.gradient, -state, atol=1e-5)
        self.assertBetween(np.mean(rates), 0.3, 0.95)
        self.assertAllClose(np.mean(state**2, axis=0), np.ones(3), atol=0.025)
        self.assertAllClose(np.mean(state, axis=0), np.zeros(3), atol=0.015)


class ScheduleTest(tf.test.TestCase):
    def test_ends_and_shape(self):
        for name, schedule in ais_chains.SCHEDULES.items():
            betas = schedule(100)
            self.assertLen(betas, 101, name)
            self.assertEqual((betas[0], betas[-1]), (0.0, 1.0), name)
            self.assertTrue((np.diff(betas) > 0.0).all(), name)
        self.assertAllClose(ais_chains.SCHEDULES["linear"](4), [0.0, 0.25, 0.5, 0.75, 1.0])

        def sigmoid(place):
            return 1.0 / (1.0 + np.exp(-place))

        low, high = sigmoid(-4.0), sigmoid(4.0)
        betas = ais_chains.SCHEDULES["sigmoid"](8)
        for place, beta in enumerate(betas):
            self.assertAllClose(beta, (sigmoid(place - 4.0) - low) / (high - low))


class ResumeTest(tf.test.TestCase):
    SETTINGS = dict(chains=3, temperatures=60, leapfrog_steps=3, jit=False)

    def run_with(self, **changes):
        arguments = {**self.SETTINGS, "batch_size": 2, **changes}
        examples = arguments.pop("examples", binary_examples())
        return ais.estimate(arguments.pop("decoder", logits_of), examples, 2, **arguments)

    def test_batches_do_not_matter(self):
        # A Gaussian posterior: chains of one noise draw nearer, and do not amplify rounding.
        model = LinearGaussian(4, 10)
        settings = dict(chains=3, temperatures=60, leapfrog_steps=3, jit=False)

        def run(**changes):
            return ais.estimate(model.likelihood(), model.examples, 4, **{**settings, **changes})

        one, other = run(), run(batch_size=4, jit=True, workers=2)
        self.assertAllClose(one.step_size, other.step_size)
        self.assertAllClose(one.log_likelihoods, other.log_likelihoods, atol=2e-3)
        self.assertAllClose(one.effective_sample_sizes, other.effective_sample_sizes, atol=2e-2)
        another = run(seed=1, step_size=one.step_size)
        self.assertGreater(np.abs(one.log_likelihoods - another.log_likelihoods).min(), 1e-4)

    def test_noise_belongs_to_a_point(self):
        shape = dict(latent_dim=2, chains=3, temperatures=9, leapfrog_steps=1, schedule="linear")
        momenta = {}
        for batch_size in (2, 4):
            chains = ais_chains.Chains(
                LinearGaussian(2, 2).log_likelihood,
                [2],
                **shape,
                seed=0,
                batch_size=batch_size,
                jit=False,
            )
            for block in (0, 1):
                noise = chains._noise_of(np.arange(batch_size) + 5, 1, block)[0]
                momenta[batch_size, block] = np.reshape(noise, [50, batch_size, 3, 2])
        self.assertAllEqual(momenta[2, 1], momenta[4, 1][:, :2])
        # No two points, blocks, temperatures or chains share a number.
        numbers = np.concatenate([momenta[4, 0].ravel(), momenta[4, 1].ravel()])
        self.assertGreater(len(np.unique(numbers)), 0.99 * len(numbers))
        self.assertAllClose([numbers.mean(), numbers.std()], [0.0, 1.0], atol=0.08)

    def test_an_interrupted_run_goes_on(self):
        folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory())) / "ais"
        whole = self.run_with()

        def interrupt(done, total):
            if done > total // 2:
                raise Interrupted

        with self.assertRaises(Interrupted):
            self.run_with(folder=folder, progress=interrupt)
        self.assertLen(list(folder.glob("points-*.npz")), 1)
        # What a process that was killed while writing leaves behind.
        (folder / ".points-000002.npz.1.tmp").write_bytes(b"half")
        told = []
        resumed = self.run_with(folder=folder, progress=lambda *place: told.append(place))
        self.assertEqual(told[0], (2 * 60 + 2 * 50, 6 * 60))
        self.assertEqual(told[-1], (6 * 60, 6 * 60))
        self.assertAllClose(resumed.log_likelihoods, whole.log_likelihoods, atol=1e-3)
        self.assertAllClose(resumed.acceptance, whole.acceptance, atol=1e-3)
        # Finished: nothing runs, whatever the batches.
        again = self.run_with(folder=folder, batch_size=5, progress=lambda *_: self.fail("ran"))
        self.assertAllEqual(again.log_likelihoods, resumed.log_likelihoods)
        for changes, words in (
            (dict(temperatures=61), "temperatures=60 instead of 61"),
            (dict(seed=1), "seed=0 instead of 1"),
            (dict(step_size=0.1), "step_size=None instead of 0.1"),
            (dict(examples=1.0 - binary_examples()), "other examples"),
            (dict(decoder=lambda latents: 1.001 * logits_of(latents)), "another decoder"),
        ):
            with self.assertRaisesRegex(UserError, f"{words}; give another folder"):
                self.run_with(folder=folder, **changes)


class RefusalTest(tf.test.TestCase):
    def test_wrong_arguments(self):
        for changes, words in (
            (dict(chains=0), "chains=0 must be a whole number of at least 1"),
            (dict(temperatures=1), "temperatures=1 must be a whole number of at least 2"),
            (dict(leapfrog_steps=0), "leapfrog_steps=0"),
            (dict(latent_dim=0), "latent_dim=0"),
            (dict(batch_size=2.5), "batch_size=2.5"),
            (dict(workers=0), "workers=0"),
            (dict(seed=-1), "seed=-1"),
            (dict(schedule="sigmoidal"), "schedule='sigmoidal'.*did you mean 'sigmoid'"),
            (dict(step_size=0.0), "step_size=0.0 must be a number above 0"),
            (dict(step_size=[0.1, 0.2]), "or 10 of them"),
            (dict(examples=0.5 * binary_examples()), r"\{0, 1\}: binarize them"),
            (dict(examples=np.zeros([0, 3, 2, 1])), r"shape \[0, 3, 2, 1\]"),
            (dict(examples=np.ones([4])), r"shape \[4\]"),
            (dict(examples=np.ones([4, 7])), "do not fit the decoder"),
            (dict(decoder=lambda latents: logits_of(latents) * np.nan), "not finite"),
            (dict(decoder=ais.Likelihood(lambda z, x: z)), r"one number for each, \[m\]"),
        ):
            arguments = dict(decoder=logits_of, examples=binary_examples(), latent_dim=2)
            with self.subTest(words=words), self.assertRaisesRegex(UserError, words):
                ais.estimate(**{**arguments, **changes})

    def test_gap_needs_a_simulator(self):
        with self.assertRaisesRegex(UserError, "simulate"):
            ais.bidirectional_gap(ais.Likelihood(lambda z, x: z[:, 0]), 2)


if __name__ == "__main__":
    tf.test.main()
