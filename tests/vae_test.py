"""Variational autoencoders: every term of eq. (14) against NumPy, identities, what is accepted."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from absl.testing import parameterized
from scipy import integrate, special, stats
from scipy.spatial import distance

import contract
from kgzoo import kernels, networks
from kgzoo.discrepancies import score_estimators, variational
from kgzoo.errors import UserError
from kgzoo.methods.base import Batch
from kgzoo.methods.dropout import outputs_under_dropout
from kgzoo.methods.latent_objective import LatentObjective
from kgzoo.methods.noise import Noise
from kgzoo.methods.vae import VAE

_SHAPE, _D = (3, 2, 1), 2
_PLAYERS = ("generator", "encoder")


def _model(seed=0, **fields):
    """A VAE of 6 pixels and 2 latents."""
    keras.utils.set_random_seed(seed)
    variances = LatentObjective(objective=fields.get("objective", "gaussian_kl")).has_variances
    encoder, decoder = networks.get("mlp_vae").variational(
        sample_shape=_SHAPE,
        outputs=_D * (1 + variances),
        latent_dim=_D,
        encoder_width=8,
        decoder_width=8,
        dtype="float32",
    )
    latents = keras.Input([_D])
    pixels = keras.layers.Activation("sigmoid")(decoder(latents))
    fields = {"latent_samples": 5, "seed": 4, "batch_size": 4, **fields}
    return VAE(keras.Model(latents, pixels), encoder, **fields)


def _images(n=4):
    return (np.random.RandomState(1).uniform(size=(n, *_SHAPE)) < 0.4).astype(np.float32)


def _batch(step=3, n=4):
    return Batch(tf.constant(_images(n)), Noise(4, tf.constant(step, tf.int64), 0))


def _loss(method, players=_PLAYERS):
    loss, logs = method.losses(_batch(), players)[players[0]]
    return float(loss), {key: float(value) for key, value in logs.items()}


def _codes(method):
    """Returns codes, means, log-variances of the update that `_batch` makes, float64."""
    batch = _batch()
    found = method._codes(batch.real, batch.noise, method.latent_samples)
    return [None if part is None else part.numpy().astype(np.float64) for part in found]


def _cross_entropy(method, codes):
    """-E log p(x|z) by SciPy's Bernoulli."""
    probabilities = np.stack(
        [method.generator(codes[:, s].astype(np.float32)).numpy() for s in range(codes.shape[1])],
        axis=1,
    ).astype(np.float64)
    logs = stats.bernoulli.logpmf(_images()[:, None].astype(int), probabilities)
    return -logs.reshape(*codes.shape[:2], -1).sum(-1).mean()


def _gradients(loss, variables):
    with tf.GradientTape() as tape:
        value = loss()
    return tape.gradient(value, variables)


class TermsTest(tf.test.TestCase):
    def test_likelihood(self):
        random = np.random.RandomState(0)
        logits = random.normal(scale=3.0, size=(4, 5, 6))
        x = (random.uniform(size=(4, 6)) < 0.5).astype(np.float64)
        found = variational.bernoulli_log_likelihood(tf.constant(x), tf.constant(logits))
        expected = stats.bernoulli.logpmf(x[:, None].astype(int), special.expit(logits)).sum(-1)
        self.assertAllClose(found, expected, rtol=1e-10)
        far = variational.bernoulli_log_likelihood(
            tf.ones([1, 1]), tf.constant([[[-200.0], [200.0]]])
        )
        self.assertAllClose(far, [[-200.0, 0.0]])

    def test_gaussian_kl_is_the_integral(self):
        for mean, log_variance in ((0.0, 0.0), (1.5, -1.0), (-0.3, 0.8)):
            own = stats.norm(mean, np.exp(log_variance / 2))
            expected, _ = integrate.quad(
                lambda z, own=own: own.pdf(z) * (own.logpdf(z) - stats.norm.logpdf(z)), -12, 12
            )
            found = variational.gaussian_kl(
                tf.constant([mean], tf.float64), tf.constant([log_variance], tf.float64)
            )
            self.assertAllClose(found, expected, rtol=1e-7, atol=1e-9)

    def test_known_by_gradient(self):
        z = tf.Variable(np.random.RandomState(0).normal(size=(3, 4, 2)))
        slope = tf.constant(np.random.RandomState(1).normal(size=(3, 4, 2)))
        with tf.GradientTape() as tape:
            value = variational.known_by_gradient(z, slope)
        self.assertEqual(float(value), 0.0)
        self.assertAllClose(tape.gradient(value, z), slope / 12)

    def test_kl_by_its_gradient(self):
        """dz/dphi . (grad log q - grad log p), with the true score, is the gradient of the KL."""
        mean, log_deviation = (
            tf.Variable(0.7, dtype=tf.float64),
            tf.Variable(-0.4, dtype=tf.float64),
        )
        noise = tf.constant(np.random.RandomState(0).normal(size=(200_000, 1)))

        def by_samples():
            z = mean + tf.exp(log_deviation) * noise
            score = -(z - mean) / tf.exp(2 * log_deviation)
            return variational.known_by_gradient(z, score + z)

        def closed():
            return variational.gaussian_kl(mean[None], 2 * log_deviation[None])

        weights = [mean, log_deviation]
        self.assertAllClose(_gradients(by_samples, weights), _gradients(closed, weights), atol=0.01)

    def test_conditional_mmd(self):
        random = np.random.RandomState(0)
        codes, marginal = random.normal(size=(3, 5, 2)), random.normal(size=(7, 2)) + 0.5

        def gram(x, y):
            return np.exp(-distance.cdist(x, y, "sqeuclidean") / 2)

        expected = np.mean(
            [
                np.sqrt(
                    gram(z, z).mean()
                    + gram(marginal, marginal).mean()
                    - 2 * gram(z, marginal).mean()
                )
                for z in codes
            ]
        )
        found = variational.conditional_mmd(
            kernels.get("gaussian"), tf.constant(codes), tf.constant(marginal)
        )
        self.assertAllClose(found, expected, rtol=1e-6)
        same = tf.constant(codes[:1])
        equal = variational.conditional_mmd(kernels.get("gaussian"), same, same[0])
        self.assertAllClose(equal, 0.0, atol=2e-4)


class DropoutTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        keras.utils.set_random_seed(0)
        layers = [keras.layers.Dense(6), keras.layers.Activation("linear"), keras.layers.Dense(3)]
        inputs = keras.Input([4])
        x = inputs
        for layer in layers:
            x = layer(x)
        self.network, self.x = keras.Model(inputs, x), tf.random.stateless_normal([2, 4], [0, 0])

    def test_the_mean_is_the_output_without(self):
        # A linear network: the mean of its outputs is the output of the means.
        made = outputs_under_dropout(self.network, self.x, Noise(0, 0, 0), 0.3, 20_000)
        made = tf.reshape(made, [2, 20_000, 3])
        self.assertAllClose(tf.reduce_mean(made, 1), self.network(self.x), atol=0.03)
        self.assertGreater(float(tf.reduce_min(tf.math.reduce_std(made, 1))), 0.1)

    def test_layers_and_inputs_are_dropped_on_their_own(self):
        matrix, bias = self.network.layers[1].weights
        last, _ = self.network.layers[-1].weights
        matrix.assign(tf.ones_like(matrix))
        bias.assign(tf.zeros_like(bias))
        last.assign(tf.ones_like(last))
        made = outputs_under_dropout(self.network, tf.ones([1, 4]), Noise(0, 0, 0), 0.5, 4000)
        # (kept inputs / 0.5) x (kept units / 0.5): products of two binomials.
        kept = np.round(made[:, 0].numpy() / 4).astype(int)
        expected = np.outer(stats.binom.pmf(range(5), 4, 0.5), stats.binom.pmf(range(7), 6, 0.5))
        zero = expected[0].sum() + expected[:, 0].sum() - expected[0, 0]
        self.assertAllClose(np.mean(kept == 0), zero, atol=0.03)
        self.assertAllClose(np.mean(kept), 6.0, atol=0.3)

    def test_no_rate_repeats(self):
        made = outputs_under_dropout(self.network, self.x, Noise(0, 0, 0), 0.0, 3)
        self.assertAllClose(made, tf.repeat(self.network(self.x), 3, axis=0))


class ObjectiveTest(tf.test.TestCase, parameterized.TestCase):
    def test_lambda_one_alpha_zero_is_the_vae(self):
        method = _model()
        codes, means, log_variances = _codes(method)
        kl = 0.5 * (means**2 + np.exp(log_variances) - log_variances - 1).sum(-1).mean()
        elbo = -_cross_entropy(method, codes) - kl
        loss, logs = _loss(method)
        self.assertAllClose(loss, -elbo, rtol=1e-5)
        self.assertAllClose(logs["kl"], kl, rtol=1e-5)
        for information, divergence in itertools.product(("mmd", "kl"), repeat=2):
            other = _model(
                information=information,
                aggregate_divergence=divergence,
                aggregate_weight=1.0,
                information_weight=0.0,
            )
            self.assertEqual(_loss(other)[0], loss)

    @parameterized.parameters(("stein",), ("spectral",))
    def test_lambda_one_alpha_zero_of_an_implicit_encoder(self, objective):
        """The value is the likelihood's; the gradient that of the ELBO by the estimated score."""
        method = _model(objective=objective, ridge=0.2, score_eigenfunctions=2)
        codes = _codes(method)[0]
        loss, _ = _loss(method)
        self.assertAllClose(loss, _cross_entropy(method, codes), rtol=1e-5)
        batch = _batch()

        def by_hand():
            z = method._codes(batch.real, batch.noise, 5)[0]
            scores = (
                score_estimators.stein_scores(z, 0.2)
                if objective == "stein"
                else score_estimators.spectral_scores(z, 2)
            )
            likelihood = method._log_likelihood(batch.real, z)
            # The prior's log-density by its own gradient, the posterior's by the estimate.
            prior = variational.normal_log_density(z)
            entropy = tf.reduce_sum(z * tf.stop_gradient(scores), -1)
            return tf.reduce_mean(-likelihood - prior + entropy)

        variables = method.encoder.trainable_variables + method.generator.trainable_variables
        found = _gradients(lambda: method.losses(_batch(), _PLAYERS)["encoder"][0], variables)
        for one, other in zip(found, _gradients(by_hand, variables), strict=True):
            self.assertAllClose(one, other, rtol=1e-4, atol=1e-5)

    def test_weights_of_the_three_terms(self):
        for fields, expected in (
            ({}, (1, 0, 0)),
            ({"aggregate_weight": 3.0}, (1, 2, 0)),
            ({"information_weight": 0.5}, (1, 0, 0.5)),
            # Eq. (1): (1 - alpha) E KL[q(z|x) || p] + (lambda + alpha - 1) KL[q(z) || p].
            ({"information_weight": 0.5, "information": "kl"}, (0.5, 0.5, 0)),
            (
                {"information_weight": 0.5, "information": "kl", "aggregate_weight": 0.5},
                (0.5, 0, 0),
            ),
        ):
            self.assertAllClose(LatentObjective(**fields).weights, expected)

    def test_info_vae(self):
        """Eq. (1) with the MMD of q(z) from p(z), term by term."""
        method = _model(
            aggregate_divergence="mmd",
            aggregate_weight=3.0,
            aggregate_samples=2,
            information="kl",
            information_weight=0.25,
        )
        codes, means, log_variances = _codes(method)
        kl = 0.5 * (means**2 + np.exp(log_variances) - log_variances - 1).sum(-1).mean()
        y = codes[:, :2].reshape(-1, _D)
        prior = _batch().noise.normal("interpolation", [8, _D]).numpy().astype(np.float64)

        def gram(a, b):
            return np.exp(-distance.cdist(a, b, "sqeuclidean") / 2)

        def pairs(a):
            return (gram(a, a).sum() - len(a)) / (len(a) * (len(a) - 1))

        mmd2 = pairs(y) + pairs(prior) - 2 * gram(y, prior).mean()
        expected = _cross_entropy(method, codes) + 0.75 * kl + 2.25 * mmd2
        self.assertAllClose(_loss(method)[0], expected, rtol=1e-5)

    def test_equation_14_with_a_fixed_kernel(self):
        method = _model(
            objective="stein", information_weight=2.0, aggregate_samples=2, bandwidth_rule="median"
        )
        codes = _codes(method)[0]
        y = codes[:, :2].reshape(-1, _D)
        unit = np.median(distance.pdist(y))

        def gram(a, b):
            return np.exp(-distance.cdist(a, b, "sqeuclidean") / (2 * unit**2))

        squared = [gram(z, z).mean() + gram(y, y).mean() - 2 * gram(z, y).mean() for z in codes]
        loss, logs = _loss(method)
        self.assertAllClose(logs["information_mmd"], np.sqrt(squared).mean(), rtol=1e-3)
        expected = _cross_entropy(method, codes) - 2.0 * np.sqrt(squared).mean()
        self.assertAllClose(loss, expected, rtol=1e-4)

    def test_a_trained_kernel_maximises_the_mmd(self):
        method = _model(
            objective="stein",
            information_weight=2.0,
            kernel=kernels.KernelNet("dk", num_samples=64, width=8),
        )
        method.compile(
            {p: keras.optimizers.SGD(0.0) for p in _PLAYERS}
            | {"kernel": keras.optimizers.SGD(0.05)}
        )
        self.assertEqual(method.schedule, (("generator", "encoder", "kernel"),))
        values = []
        for _ in range(30):
            method.step.assign(0)
            values.append(float(method.train_step(tf.constant(_images()))["information_mmd"]))
        self.assertGreater(values[-1], 1.05 * values[0])

    def test_lambda_moves_the_aggregate_towards_the_prior(self):
        """(lambda - 1) KL[q(z) || p(z)] by the Stein estimate: codes far out come nearer."""
        method = _model(objective="stein", aggregate_weight=50.0, aggregate_samples=5)
        method.encoder.layers[-1].bias.assign([3.0, -3.0])
        method.compile({p: keras.optimizers.SGD(2e-3) for p in _PLAYERS})
        before = np.linalg.norm(_codes(method)[0].mean((0, 1)))
        for _ in range(20):
            method.train_step(tf.constant(_images()))
        self.assertLess(np.linalg.norm(_codes(method)[0].mean((0, 1))), 0.7 * before)

    def test_semi_implicit_bound(self):
        """Yin and Zhou's: E log of the mean density, z's own among them, over the prior."""
        method = _model(objective="semi_implicit", latent_samples=6)
        codes, means, log_variances = _codes(method)
        density = np.zeros(codes.shape[:2])
        for i, s in np.ndindex(density.shape):
            each = stats.norm.logpdf(codes[i, s], means[i], np.exp(log_variances[i] / 2)).sum(-1)
            density[i, s] = special.logsumexp(each) - np.log(6)
        expected = (density - stats.norm.logpdf(codes).sum(-1)).mean()
        loss, logs = _loss(method)
        self.assertAllClose(logs["kl_bound"], expected, rtol=1e-4)
        self.assertAllClose(loss, _cross_entropy(method, codes) + expected, rtol=1e-5)

    def test_amortised_svgd(self):
        """Encoder: -z . phi; decoder: the likelihood alone."""
        method = _model(objective="svgd")
        batch = _batch()
        codes = method._codes(batch.real, batch.noise, 5)[0]
        with tf.GradientTape() as tape:
            tape.watch(codes)
            joint = method._log_likelihood(batch.real, codes)
            joint -= 0.5 * tf.reduce_sum(tf.square(codes), -1)
        scores = tape.gradient(joint, codes)
        direction = score_estimators.svgd_direction(codes, scores)
        encoder = method.encoder.trainable_variables
        found = _gradients(lambda: method.losses(_batch(), _PLAYERS)["encoder"][0], encoder)

        def by_hand():
            z = method._codes(batch.real, batch.noise, 5)[0]
            return -tf.reduce_mean(tf.reduce_sum(z * direction, -1))

        for one, other in zip(found, _gradients(by_hand, encoder), strict=True):
            self.assertAllClose(one, other, rtol=1e-4, atol=1e-6)
        decoder = method.generator.trainable_variables
        found = _gradients(lambda: method.losses(_batch(), _PLAYERS)["generator"][0], decoder)
        expected = _gradients(
            lambda: -tf.reduce_mean(method._log_likelihood(batch.real, codes)), decoder
        )
        for one, other in zip(found, expected, strict=True):
            self.assertAllClose(one, other, rtol=1e-4, atol=1e-6)


class TrainedKernelTest(tf.test.TestCase):
    KINDS = ("none", "dk", "dk_pd")

    def test_monte_carlo_kernels_train(self):
        """In chunks, as they do by default: inside a graph, gradients compute groups again."""
        self.check(self.KINDS[contract.day_of_year() % 3 :][:1])

    @pytest.mark.slow
    def test_all_of_them_train(self):
        self.check(self.KINDS)

    def check(self, kinds):
        for dependence in kinds:
            kernel = kernels.KernelNet(
                dependence, expectation="monte_carlo", num_samples=16, width=4, chunk_rows=2
            )
            method = _model(objective="stein", information_weight=1.0, kernel=kernel)
            method.compile({p: keras.optimizers.SGD(0.01) for p in (*_PLAYERS, "kernel")})
            before = [variable.numpy() for variable in kernel.trainable_variables]
            logs = tf.function(method.train_step)(tf.constant(_images()))
            self.assertTrue(np.isfinite(float(logs["kernel_loss"])))
            moved = [
                np.any(variable.numpy() != old)
                for variable, old in zip(kernel.trainable_variables, before, strict=True)
            ]
            self.assertTrue(any(moved), dependence)


class InferenceTest(tf.test.TestCase):
    def test_codes_and_reconstructions(self):
        for objective in ("gaussian_kl", "semi_implicit", "stein"):
            method = _model(objective=objective)
            x = _images()
            codes = method.encode(x)
            self.assertEqual(codes.shape, (4, _D))
            outputs = method.encoder(x)
            self.assertAllClose(codes, outputs[:, :_D])
            self.assertAllClose(method.reconstruct(x), method.generator(codes), atol=1e-6)
            self.assertAllClose(
                tf.sigmoid(method.decoder_logits(codes)), method.decode(codes), atol=1e-6
            )
            samples = method.encode_samples(x, 7, seed=2)
            self.assertEqual(samples.shape, (4, 7, _D))
            self.assertAllEqual(samples, method.encode_samples(x, 7, seed=2))
            self.assertNotAllEqual(samples, method.encode_samples(x, 7, seed=3))
            bytes_ = method.encode((255 * x).astype(np.uint8))
            self.assertAllClose(bytes_, codes, atol=1e-6)

    def test_signatures(self):
        method = _model(objective="stein")
        signatures = method.export_signatures()
        x = tf.constant(_images())
        for name, key, expected in (
            ("encode", "codes", method.encode(x)),
            ("reconstruct", "images", method.reconstruct(x)),
        ):
            function, specs = signatures[name]
            answer = tf.function(function, input_signature=specs)(x)
            self.assertAllClose(answer[key], expected, atol=1e-6)

    def test_training_raises_the_likelihood(self):
        for objective in ("stein", "svgd"):
            method = _model(objective=objective)
            method.compile({p: keras.optimizers.SGD(0.02, 0.9) for p in _PLAYERS})
            step = tf.function(method.train_step)
            logs = [step(tf.constant(_images())) for _ in range(150)]
            first, last = (float(log["reconstruction"]) for log in (logs[0], logs[-1]))
            self.assertLess(last, 0.8 * first, objective)


class RefusalsTest(tf.test.TestCase):
    def test_fields_that_do_not_fit(self):
        for fields, word in (
            ({"image_range": (-1.0, 1.0)}, "image_range"),
            ({"kind": "vector"}, "kind"),
            ({"objective": "stein", "latent_samples": 1}, "latent_samples"),
            ({"aggregate_samples": 9}, "aggregate_samples"),
            ({"objective": "spectral", "score_eigenfunctions": 6}, "score_eigenfunctions"),
            ({"objective": "stein", "encoder_dropout": 0.0}, "encoder_dropout"),
            ({"encoder_dropout": 1.0}, "encoder_dropout"),
            ({"score_bandwidth": 0.0}, "score_bandwidth"),
            ({"objective": "svgd", "information_weight": 1.0}, "information_weight"),
            ({"kernel": "dk"}, "information_weight"),
            ({"latent_distribution": "uniform"}, "latent_distribution"),
            ({"objective": "stein", "ridge": 0.0}, "ridge"),
            ({"aggregate_weight": 2.0, "ridge": 0.0}, "ridge"),
            ({"latent_samples": 1, "information_weight": 1.0}, "latent_samples"),
            (
                {
                    "objective": "stein",
                    "kernel": "dk",
                    "information_weight": 1.0,
                    "aggregate_weight": 2.0,
                    "aggregate_divergence": "mmd",
                },
                "aggregate_divergence",
            ),
            ({"instance_noise": 0.1}, "instance_noise"),
            ({"label_smoothing": 0.1}, "label_smoothing"),
            ({"early_critic_steps": 5}, "early_critic_steps"),
            ({"augmentation": "diffaugment"}, "augmentation"),
        ):
            with self.subTest(word), self.assertRaises(UserError) as caught:
                _model(**fields)
            self.assertIn(word, str(caught.exception))
            self.assertNotIn("\n", str(caught.exception))

    def test_networks_that_do_not_fit(self):
        method = _model()
        latents = keras.Input([_D])
        bare = keras.Model(latents, keras.layers.Reshape(_SHAPE)(keras.layers.Dense(6)(latents)))
        with self.assertRaisesRegex(UserError, "decoder_logits"):
            VAE(bare, method.encoder, latent_samples=2)
        x = keras.Input(_SHAPE)
        flat = keras.layers.Flatten()(x)
        hidden = keras.layers.Dense(6)(flat)
        forked = keras.Model(x, keras.layers.Dense(4)(keras.layers.Add()([hidden, flat])))
        with self.assertRaisesRegex(UserError, "chain"):
            VAE(method.generator, forked, latent_samples=2)
        stacked = keras.Sequential(
            [keras.Input(_SHAPE), keras.layers.Flatten(), keras.layers.Dense(_D)]
        )
        VAE(method.generator, stacked, objective="stein", latent_samples=2).encode(_images())

    def test_an_encoder_of_another_size(self):
        method = _model(objective="stein")
        with self.assertRaisesRegex(UserError, "encoder makes"):
            VAE(method.generator, method.encoder, objective="gaussian_kl")

    def test_fields_without_effect(self):
        for name, field, value in (
            ("vae", "ridge", 0.5),
            ("vae", "encoder_dropout", 0.5),
            ("stein_vae", "kernel", "linear"),
            ("sivi", "score_eigenfunctions", 4),
            ("info_ivae_rbf", "critic_steps", 2),
            ("info_ivae_rbf", "aggregate_divergence", "mmd"),
        ):
            with self.subTest(f"{name} {field}"), self.assertRaisesRegex(UserError, field):
                contract.model(name, **{field: value})


if __name__ == "__main__":
    tf.test.main()
