"""Image ranges, and how a method is sampled: its averaged generator, in inference mode."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from kgzoo.errors import UserError
from kgzoo.kernels.arguments import whole
from kgzoo.methods.latent_tools import LatentTools, row_seeds
from kgzoo.methods.noise import latents_from_seeds

__all__ = ["Sampling"]

_MOST_SAMPLES = 10_000_000


class Sampling(LatentTools):
    """The part of `Method` that maps to and from [0, 1] and turns latents or seeds into samples."""

    def to_model_range(self, examples: tf.Tensor) -> tf.Tensor:
        """Maps uint8 or [0, 1] images to the model's range; vectors become float32."""
        scale = 255.0 if tf.convert_to_tensor(examples).dtype == tf.uint8 else 1.0
        values = tf.cast(examples, tf.float32)
        if self.kind == "vector":
            return values
        low, high = self.image_range
        return low + (high - low) / scale * values

    def to_unit_range(self, examples: tf.Tensor) -> tf.Tensor:
        """Maps the model's images to [0, 1] float32; vectors stay."""
        values = tf.cast(examples, tf.float32)
        if self.kind == "vector":
            return values
        low, high = self.image_range
        return tf.clip_by_value((values - low) / (high - low), 0.0, 1.0)

    def decode(self, latents: tf.Tensor) -> tf.Tensor:
        """Returns samples in [0, 1] (vectors: raw) of latents `[n, latent_dim]`.

        Uses the moving average of the generator in inference mode.
        """
        return self.to_unit_range(self.average.run(self.generator, latents))

    def call(self, latents: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Same as `decode`."""
        return self.decode(latents)

    def sample_from_seeds(self, seeds: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns samples and latents for seeds `[n, 2]` int32; row i depends on row i alone."""
        latents = latents_from_seeds(seeds, self.latent_dim, self.latent_distribution)
        return self.decode(latents), latents

    def sample(
        self, n: int, seed: int = 0, batch_size: int = 256, truncation: float | None = None
    ) -> np.ndarray:
        """Returns `n` samples `[n, ...]`, images in [0, 1]; sample i has seed (seed, i).

        Args:
            n: how many.
            seed: of 32 bits.
            batch_size: samples made at once; the result does not depend on it.
            truncation: as for `latents`; None: none.

        Raises:
            UserError: on a number out of range.
        """
        n = whole("sample", "n", n, 1, _MOST_SAMPLES)
        batch_size = whole("sample", "batch_size", batch_size, 1, _MOST_SAMPLES)
        seed = whole("sample", "seed", seed, -(2**31), 2**31 - 1)
        rows = [row_seeds(n, seed)]
        if truncation is not None:
            rows.append(self._truncation("sample", truncation, n))
        draw = self._sampler(truncated=truncation is not None)
        parts = [
            draw(*(values[i : i + batch_size] for values in rows)) for i in range(0, n, batch_size)
        ]
        return np.concatenate([part.numpy() for part in parts])

    def _sampler(self, truncated: bool) -> Callable[..., tf.Tensor]:
        """Returns the graph from seeds, and thresholds if `truncated`, to samples; made once."""
        seeds = tf.TensorSpec([None, 2], tf.int32)
        if not truncated:
            return self._traced("sample", lambda seeds: self.sample_from_seeds(seeds)[0], seeds)
        return self._traced(
            "sample_truncated",
            lambda seeds, truncation: self.decode(self.truncated_latents(seeds, truncation)),
            *(seeds, tf.TensorSpec([None], tf.float32)),
        )

    def critic_features(self, samples: tf.Tensor) -> tf.Tensor:
        """Returns the critic's features `[n, output_dim]`, float32, of samples in [0, 1]."""
        if self.critic is None:
            raise UserError(f"{self.name} has no critic; critic_features needs one.")
        return tf.cast(self.critic(self.to_model_range(samples), training=False), tf.float32)
