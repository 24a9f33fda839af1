"""Variational autoencoders with a Gaussian, a semi-implicit or an implicit encoder.

All maximise eq. (14) of the KernelNet paper (Zhou et al., 2019), q(z|x) being the encoder's:

  E log p(x|z) - E KL[q(z|x) || p(z)] - (lambda - 1) KL[q(z) || p(z)] + alpha I

where I measures how much codes depend on examples: E MMD[q(z|x), q(z)], or the mutual information
E KL[q(z|x) || p(z)] - KL[q(z) || p(z)] of eq. (1), Info-VAE. With lambda = 1 and alpha = 0 it is
the ELBO. Objectives differ in what they know of q:

  gaussian_kl    q(z|x) Gaussian, its KL in closed form (Kingma and Welling, 2014)
  stein          q(z|x) implicit, the score of samples by Stein's identity (Li and Turner, 2018)
  spectral       the same by eigenfunctions of a kernel (Shi et al., 2018)
  semi_implicit  a mixture of Gaussians that the noise picks from; a bound (Yin and Zhou, 2018)
  svgd           q(z|x) implicit, moved as Stein variational gradient descent would move its samples
                 (Feng et al., 2017)

An implicit encoder has Bernoulli noise before each of its layers, the input included (section 3.3).
A divergence of which the gradient alone is estimated counts 0 in the value of the loss.
"""

from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from kgzoo import kernels
from kgzoo.discrepancies import mmd, score_estimators, variational
from kgzoo.errors import UserError
from kgzoo.kernels import bandwidths as widths
from kgzoo.methods.base import Batch, Losses, Method
from kgzoo.methods.dropout import check_chain, outputs_under_dropout
from kgzoo.methods.latent_objective import LatentObjective
from kgzoo.methods.noise import Noise

__all__ = ["VAE"]

# Fields of every method that act on a critic or its inputs, and their neutral values.
_OF_CRITICS = {
    **dict.fromkeys(("instance_noise", "label_smoothing", "random_bandwidth", "clip_weights"), 0.0),
    "augmentation": "none",
    "early_critic_steps": 0,
    "joint_update": False,
}
# Log-variances stay within +-10: beyond, float32 overflows in the first steps at a high rate.
_LARGEST_LOG_VARIANCE = 10.0


@keras.saving.register_keras_serializable("kgzoo")
class VAE(Method):
    """An encoder and a Bernoulli decoder, updated together.

    Examples are pixels in [0, 1], of which values between 0 and 1 count as probabilities. `fit`
    takes them as they are; black and white draws are `kgzoo.data.binarize`'s and the pipeline's.

    Args:
        generator: the decoder, from latents to probabilities of pixels; its layer `decoder_logits`
            gives their logits.
        encoder: a chain of layers from examples to codes `[n, latent_dim]`, or to means and
            log-variances `[n, 2 latent_dim]`.
        kernel: of the MMDs, a kernel or its name; a trained one is a third player, which maximises
            E MMD[q(z|x), q(z)].
        **kwargs: the fields of `LatentObjective`, and as for `Method`.
    """

    config_fields = ("kernel", *LatentObjective.names())

    def __init__(
        self,
        generator: keras.Model,
        encoder: keras.Model,
        *,
        kernel: kernels.Kernel | str = "gaussian",
        **kwargs: Any,
    ):
        names = LatentObjective.names()
        kwargs.setdefault("latent_distribution", "normal")
        objective = LatentObjective(**{n: kwargs.pop(n) for n in names if n in kwargs})
        super().__init__(generator, None, **kwargs)
        for name in names:
            setattr(self, name, getattr(objective, name))
        self._latent_objective = objective
        self.encoder, self.kernel = encoder, kernels.get(kernel)
        objective.check(self.trains_kernel)
        self._check_fields()
        if self.trains_kernel and not self.kernel.built:
            self.kernel.build((None, self.latent_dim))

    def _check_fields(self) -> None:
        if self.kind != "image":
            raise UserError(
                f"kind={self.kind!r} has no pixels, whose probabilities the decoder makes; choose "
                "an image data set."
            )
        if self.image_range != (0.0, 1.0):
            raise UserError(
                f"image_range={self.image_range} is not that of probabilities; set "
                "image_range=(0.0, 1.0)."
            )
        if self.latent_distribution != "normal":
            raise UserError(
                f"latent_distribution={self.latent_distribution!r} is not the prior of the "
                "objective; set latent_distribution=normal."
            )
        for field, neutral in _OF_CRITICS.items():
            if getattr(self, field) != neutral:
                raise UserError(
                    f"{field}={getattr(self, field)!r} is for methods with a critic; set "
                    f"{field}={neutral!r}."
                )
        if "decoder_logits" not in (layer.name for layer in self.generator.layers):
            raise UserError(
                "generator has no layer decoder_logits; give one whose last layer is the sigmoid "
                "of a model of that name."
            )
        check_chain(self.encoder)
        outputs = (1 + self._latent_objective.has_variances) * self.latent_dim
        if self.encoder.output_shape != (None, outputs):
            raise UserError(
                f"encoder makes {self.encoder.output_shape} and objective={self.objective!r} needs "
                f"(None, {outputs}); build it with that many outputs."
            )

    @classmethod
    def unused_fields(cls, config: Mapping[str, Any]) -> tuple[str, ...]:
        of_critic = ("critic_steps", "critic_learning_rate", "critic_batch_norm", "output_dim")
        of_critic += ("spectral", "spectral_constant", "spectral_product", *_OF_CRITICS)
        return (*of_critic, *LatentObjective.unused_fields(config))

    @classmethod
    def build_networks(cls, config: dict, builders: Any, **shapes: Any) -> dict[str, keras.Model]:
        variances = LatentObjective(objective=config["objective"]).has_variances
        encoder, decoder = builders.variational(
            sample_shape=shapes["sample_shape"],
            outputs=config["latent_dim"] * (1 + variances),
            latent_dim=config["latent_dim"],
            encoder_width=config["critic_width"],
            decoder_width=config["generator_width"],
            dtype=config["precision"],
        )
        latents = keras.Input([config["latent_dim"]], name="latents")
        pixels = keras.layers.Activation("sigmoid", dtype="float32", name="pixels")
        generator = keras.Model(latents, pixels(decoder(latents)), name="generator")
        return {"generator": generator, "encoder": encoder}

    def _networks(self) -> dict[str, keras.Model]:
        encoder = getattr(self, "encoder", None)
        return super()._networks() | ({"encoder": encoder} if encoder is not None else {})

    @property
    def trains_kernel(self) -> bool:
        """Whether the kernel is a player."""
        return isinstance(getattr(self, "kernel", None), kernels.KernelNet)

    @property
    def players(self) -> dict[str, list[keras.Variable]]:
        players = super().players
        if self.trains_kernel:
            players["kernel"] = self.kernel.trainable_variables
        return players

    @property
    def schedule(self) -> tuple[tuple[str, ...], ...]:
        """One joint update a step."""
        return (tuple(self.players),)

    # The two networks.

    def _codes(
        self, examples: tf.Tensor, noise: Noise, count: int
    ) -> tuple[tf.Tensor, tf.Tensor | None, tf.Tensor | None]:
        """Returns samples of q(z|x) `[n, count, d]`, and their Gaussians' moments where there are.

        Means and log-variances are `[n, count, d]`, or `[n, 1, d]` of an encoder without noise.
        """
        implicit = self._latent_objective.is_implicit
        drawn, rate = (count, self.encoder_dropout) if implicit else (1, 0.0)
        outputs = outputs_under_dropout(self.encoder, examples, noise, rate, drawn)
        sizes = [tf.shape(examples)[0], drawn, outputs.shape[-1]]
        outputs = tf.reshape(tf.cast(outputs, tf.float32), sizes)
        if not self._latent_objective.has_variances:
            return outputs, None, None
        means, log_variances = tf.split(outputs, 2, axis=-1)
        log_variances = tf.clip_by_value(
            log_variances, -_LARGEST_LOG_VARIANCE, _LARGEST_LOG_VARIANCE
        )
        normal = noise.normal("latents", [tf.shape(examples)[0], count, self.latent_dim])
        return means + tf.exp(0.5 * log_variances) * normal, means, log_variances

    def _log_likelihood(self, examples: tf.Tensor, codes: tf.Tensor) -> tf.Tensor:
        """log p(x|z) of codes `[n, s, d]`, `[n, s]`."""
        flat = tf.reshape(codes, [-1, self.latent_dim])
        logits = self.generator.get_layer("decoder_logits")(flat, training=True)
        logits = tf.reshape(tf.cast(logits, tf.float32), [-1, codes.shape[1], self._size])
        return variational.bernoulli_log_likelihood(tf.reshape(examples, [-1, self._size]), logits)

    @property
    def _size(self) -> int:
        size = 1
        for side in self.sample_shape:
            size *= side
        return size

    # The objective.

    def losses(self, batch: Batch, players: tuple[str, ...]) -> Losses:
        codes, means, log_variances = self._codes(batch.real, batch.noise, self.latent_samples)
        if self.objective == "svgd":
            loss, logs = self._svgd_loss(batch, codes)
        else:
            loss = -tf.reduce_mean(self._log_likelihood(batch.real, codes))
            logs = {"reconstruction": loss}
            terms, more = self._regularizer(batch, codes, means, log_variances)
            loss, logs = loss + terms, logs | more
        return {player: (loss, logs if player == players[0] else {}) for player in players}

    def _svgd_loss(self, batch: Batch, codes: tf.Tensor) -> tuple[tf.Tensor, dict]:
        """The decoder maximises the likelihood; codes follow SVGD's direction towards p(z|x)."""
        fixed = tf.stop_gradient(codes)
        # Reaches z alone: the decoder's own gradient is that of the line after.
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(fixed)
            likelihood = self._log_likelihood(batch.real, fixed)
            joint = likelihood + variational.normal_log_density(fixed)
        scores = tape.gradient(joint, fixed)
        direction = score_estimators.svgd_direction(fixed, scores, self.score_bandwidth)
        reconstruction = -tf.reduce_mean(likelihood)
        loss = reconstruction + variational.known_by_gradient(codes, -direction)
        return loss, {"reconstruction": reconstruction}

    def _regularizer(
        self,
        batch: Batch,
        codes: tf.Tensor,
        means: tf.Tensor | None,
        log_variances: tf.Tensor | None,
    ) -> tuple[tf.Tensor, dict]:
        """Returns all terms but the likelihood's, and what is known of their values."""
        of_posterior, of_aggregate, of_mmd = self._latent_objective.weights
        divergence, logs = self._posterior_divergence(codes, means, log_variances)
        total = of_posterior * divergence
        if not of_aggregate and not of_mmd:
            return total, logs
        aggregate = tf.reshape(codes[:, : self.aggregate_samples], [-1, self.latent_dim])
        aggregate = self.gather(aggregate)
        unit = 1.0
        if self.bandwidth_rule == "median":
            unit = widths.median_distance(aggregate)
        kernel = self.kernel
        if self.trains_kernel:
            kernel = kernel.draw(batch.noise.shared_seed("bandwidth", slot=1))
        if of_aggregate and self.aggregate_divergence == "kl":
            score = score_estimators.stein_scores(aggregate, self.ridge, self.score_bandwidth)
            total += of_aggregate * variational.known_by_gradient(aggregate, score + aggregate)
        elif of_aggregate:
            prior = self.gather(
                batch.noise.normal(
                    "interpolation", [self.aggregate_samples * tf.shape(codes)[0], self.latent_dim]
                )
            )
            logs["aggregate_mmd2"] = mmd.mmd2(kernel, aggregate / unit, prior / unit)[0]
            total += of_aggregate * logs["aggregate_mmd2"]
        if of_mmd:
            found = variational.conditional_mmd(kernel, codes / unit, aggregate / unit)
            logs["information_mmd"] = found
            total -= of_mmd * found
        return total, logs

    def _posterior_divergence(
        self, codes: tf.Tensor, means: tf.Tensor | None, log_variances: tf.Tensor | None
    ) -> tuple[tf.Tensor, dict]:
        """E KL[q(z|x) || p(z)]: its value, a bound, or a zero with its gradient."""
        if self.objective == "gaussian_kl":
            value = tf.reduce_mean(variational.gaussian_kl(means, log_variances))
            return value, {"kl": value}
        if self.objective == "semi_implicit":
            density = score_estimators.semi_implicit_log_density(codes, means, log_variances)
            value = tf.reduce_mean(density - variational.normal_log_density(codes))
            return value, {"kl_bound": value}
        if self.objective == "stein":
            score = score_estimators.stein_scores(codes, self.ridge, self.score_bandwidth)
        else:
            score = score_estimators.spectral_scores(
                codes, self.score_eigenfunctions, self.score_bandwidth
            )
        # The score of p(z) is -z.
        return variational.known_by_gradient(codes, score + codes), {}

    # Inference.

    def decoder_logits(self, latents: tf.Tensor) -> tf.Tensor:
        """Returns logits of pixels `[n, ...]` of latents `[n, d]` by the averaged decoder."""
        decoder = self.generator.get_layer("decoder_logits")
        return tf.cast(self.average.run(decoder, latents), tf.float32)

    def encode(self, examples: tf.Tensor) -> tf.Tensor:
        """Returns codes `[n, latent_dim]` of examples in [0, 1] or uint8: means, without noise."""
        outputs = self.encoder(self.to_model_range(examples), training=False)
        return tf.cast(outputs, tf.float32)[:, : self.latent_dim]

    def encode_samples(self, examples: tf.Tensor, count: int, seed: int = 0) -> tf.Tensor:
        """Returns `count` samples of q(z|x) of each example, `[n, count, latent_dim]`.

        Args:
            examples: in [0, 1] or uint8, `[n, ...]`.
            count: samples of each.
            seed: the same seed and examples give the same samples.
        """
        noise = Noise(seed, tf.constant(0, tf.int64), 0)
        return self._codes(self.to_model_range(examples), noise, count)[0]

    def reconstruct(self, examples: tf.Tensor) -> tf.Tensor:
        """Returns probabilities of pixels `[n, ...]` of the examples' codes."""
        return self.decode(self.encode(examples))

    def export_signatures(self) -> dict:
        """Returns `encode` and `reconstruct`."""
        spec = tf.TensorSpec([None, *self.sample_shape], tf.float32, "images")
        return {
            "encode": (lambda images: {"codes": self.encode(images)}, [spec]),
            "reconstruct": (lambda images: {"images": self.reconstruct(images)}, [spec]),
        }
