"""Decoders as annealed importance sampling sees them: functions log p(x|z)."""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from kgzoo.errors import UserError

__all__ = ["Bernoulli", "Likelihood", "as_likelihood"]


class Likelihood:
    """A decoder given by its log-likelihood.

    Args:
        log_likelihood: TensorFlow function of latents [m, latent_dim] and examples [m, ...],
            float32, to log p(x|z), [m]; differentiable in the latents.
        simulate: latents [m, latent_dim] and a stateless seed [2] to examples x ~ p(x|z);
            `bidirectional_gap` alone needs it.
    """

    def __init__(
        self,
        log_likelihood: Callable[[tf.Tensor, tf.Tensor], tf.Tensor],
        simulate: Callable[[tf.Tensor, tf.Tensor], tf.Tensor] | None = None,
    ):
        self.log_likelihood, self.simulate = log_likelihood, simulate

    def check(self, examples: np.ndarray, latent_dim: int):
        """Raises a `UserError` unless examples, latents and decoder fit each other."""
        latents = tf.zeros([len(examples[:2]), latent_dim])
        try:
            value = self.log_likelihood(latents, tf.constant(examples[:2]))
        except (ValueError, tf.errors.InvalidArgumentError) as error:
            first = str(error).strip().splitlines()[0]
            raise UserError(
                f"latent_dim={latent_dim} and examples of shape {list(examples.shape)} do not fit "
                f"the decoder; give its own: {first}"
            ) from error
        if value.shape != latents.shape[:1]:
            raise UserError(
                f"log_likelihood gave shape {value.shape.as_list()} for {len(latents)} latents; "
                "return one number for each, [m]."
            )
        if not np.isfinite(value).all():
            raise UserError(
                "log_likelihood is not finite at latents 0; give a decoder that has not diverged."
            )


class Bernoulli(Likelihood):
    """A decoder whose outputs are logits of independent pixels in {0, 1}.

    log p(x|z) = sum_i x_i l_i(z) - log(1 + exp(l_i(z))).

    Args:
        logits: a Keras model, or another TensorFlow function, of latents [m, latent_dim] to logits
            [m, ...] of as many pixels as an example has.
    """

    def __init__(self, logits: Callable[[tf.Tensor], tf.Tensor]):
        super().__init__(self._log_likelihood, self._simulate)
        self._logits = logits

    def _log_likelihood(self, latents: tf.Tensor, examples: tf.Tensor) -> tf.Tensor:
        logits = tf.cast(self._logits(latents), tf.float32)
        logits = tf.reshape(logits, [-1, int(np.prod(logits.shape[1:]))])
        examples = tf.reshape(examples, tf.shape(logits))
        return tf.reduce_sum(examples * logits - tf.nn.softplus(logits), axis=1)

    def _simulate(self, latents: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        probabilities = tf.sigmoid(tf.cast(self._logits(latents), tf.float32))
        uniforms = tf.random.stateless_uniform(tf.shape(probabilities), seed)
        return tf.cast(uniforms < probabilities, tf.float32)

    def check(self, examples: np.ndarray, latent_dim: int):
        if not np.isin(examples, (0.0, 1.0)).all():
            raise UserError(
                f"examples reach from {examples.min():g} to {examples.max():g}; a Bernoulli "
                "decoder takes values in {0, 1}: binarize them."
            )
        super().check(examples, latent_dim)


def as_likelihood(decoder: Any) -> Likelihood:
    """Returns a `Likelihood` as it is, anything else as the logits of a `Bernoulli`."""
    return decoder if isinstance(decoder, Likelihood) else Bernoulli(decoder)
