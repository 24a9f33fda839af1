"""Truncated latents: samples nearer to what a generator saw most, at the price of variety.

Normal latents: values beyond the threshold are drawn again until they are within it (Brock et al.,
2019, "Large scale GAN training for high fidelity natural image synthesis",
https://arxiv.org/abs/1809.11096, section 3.1). What such a value becomes has the normal
distribution truncated at the threshold, from which one draw by the inverse of its distribution
function replaces the loop. Values within stay: truncation beyond all of them changes nothing.

Uniform latents have no tails: their range [-1, 1] is scaled to [-truncation, truncation].
"""

import math

import tensorflow as tf

from kgzoo.methods.noise import latent_from_seed, latents_from_seeds

__all__ = ["truncated_latents"]

# The draws that replace others are a random stream of their own.
_SECOND_STREAM = 1


def truncated_latents(
    seeds: tf.Tensor, truncation: tf.Tensor, latent_dim: int, distribution: str
) -> tf.Tensor:
    """Returns the latents of seeds, truncated; row i depends on row i of the arguments alone.

    Args:
        seeds: [n, 2] int32, as for `latents_from_seeds`.
        truncation: [n] float32; below 0 counts as 0, at which all latents are the mean, 0. Normal
            latents: the threshold in standard deviations. Uniform latents: the factor of the
            range; above 1 counts as 1, as there is nothing beyond the range.
        latent_dim: size of a latent.
        distribution: "uniform" or "normal".

    Returns:
        [n, latent_dim] float32.
    """
    bound = tf.maximum(truncation, 0.0)[:, tf.newaxis]
    if distribution == "uniform":
        latents = latents_from_seeds(seeds, latent_dim, distribution)
        return latents * tf.minimum(bound, 1.0)

    # One loop over the seeds: with one for each draw, drawing cost more than a small generator.
    def both(seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        other = tf.random.fold_in(seed, _SECOND_STREAM)
        first = latent_from_seed(seed, latent_dim, distribution)
        return first, latent_from_seed(other, latent_dim, "uniform")

    row = tf.TensorSpec([latent_dim], tf.float32)
    latents, unit = tf.map_fn(both, seeds, fn_output_signature=(row, row))
    within = math.sqrt(2.0) * tf.math.erfinv(unit * tf.math.erf(bound / math.sqrt(2.0)))
    # Far out in the tails float32 has no digits left between 1 and the distribution function.
    within = tf.clip_by_value(within, -bound, bound)
    return tf.where(tf.abs(latents) <= bound, latents, within)
