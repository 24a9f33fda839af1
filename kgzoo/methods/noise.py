"""Stateless noise: a function of (seed, step, update, purpose, global example index) alone."""

from dataclasses import dataclass

import tensorflow as tf

__all__ = ["PURPOSES", "Noise", "latent_from_seed", "latents_from_seeds", "replica_count"]

# Positions are part of the random stream: append, never reorder.
PURPOSES = ("latents", "interpolation", "dropout", "instance_noise", "augmentation", "bandwidth")


def replica_count() -> int:
    """Returns the number of replicas that train in sync here (1 outside a strategy)."""
    return tf.distribute.get_strategy().num_replicas_in_sync


def _replica_index() -> tf.Tensor | int:
    context = tf.distribute.get_replica_context()
    return 0 if context is None else context.replica_id_in_sync_group


@dataclass(frozen=True)
class Noise:
    """The random streams of one update.

    Every draw makes the noise of the whole global batch and returns this replica's slice, so that R
    replicas see exactly the noise that one replica would.

    Attributes:
        seed: the run's seed.
        step: the training step, an int64 scalar.
        update: the index of the update within the step, or a tensor of it.
    """

    seed: int
    step: tf.Tensor
    update: int | tf.Tensor

    def shared_seed(self, purpose: str, slot: int = 0) -> tf.Tensor:
        """A seed `[2]` int32, the same on all replicas; `slot` tells several draws apart."""
        stream = PURPOSES.index(purpose) + len(PURPOSES) * self.update
        seed = tf.stack([tf.constant(self.seed, tf.int32), tf.cast(stream, tf.int32)])
        seed = tf.random.fold_in(seed, tf.cast(self.step, tf.int32))
        return tf.random.fold_in(seed, slot) if slot else seed

    def _draw(self, purpose: str, shape: list, distribution: str, slot: int = 0) -> tf.Tensor:
        local = shape[0]
        everything = [local * replica_count(), *shape[1:]]
        seed = self.shared_seed(purpose, slot)
        if distribution == "normal":
            values = tf.random.stateless_normal(everything, seed)
        else:
            lowest = -1.0 if distribution == "uniform" else 0.0
            values = tf.random.stateless_uniform(everything, seed, lowest, 1.0)
        start = _replica_index() * local
        return values[start : start + local]

    def latents(self, batch: tf.Tensor | int, latent_dim: int, distribution: str) -> tf.Tensor:
        """Latents `[batch, latent_dim]`, `uniform` on [-1, 1] or standard `normal`."""
        return self._draw("latents", [batch, latent_dim], distribution)

    def normal(self, purpose: str, shape: list) -> tf.Tensor:
        """Standard normal noise of a shape whose first axis is the local batch."""
        return self._draw(purpose, shape, "normal")

    def unit(self, purpose: str, shape: list, slot: int = 0) -> tf.Tensor:
        """Uniform noise on [0, 1) of a shape whose first axis is the local batch."""
        return self._draw(purpose, shape, "unit", slot)

    def shared_unit(self, purpose: str) -> tf.Tensor:
        """A number uniform on [0, 1), the same on all replicas."""
        return tf.random.stateless_uniform([], self.shared_seed(purpose))


def latent_from_seed(seed: tf.Tensor, latent_dim: int, distribution: str) -> tf.Tensor:
    """Returns the latent `[latent_dim]` of one seed (int32 `[2]`)."""
    if distribution == "normal":
        return tf.random.stateless_normal([latent_dim], seed)
    return tf.random.stateless_uniform([latent_dim], seed, -1.0, 1.0)


def latents_from_seeds(seeds: tf.Tensor, latent_dim: int, distribution: str) -> tf.Tensor:
    """Returns latents `[n, latent_dim]`, row i a function of `seeds[i]` (int32 `[n, 2]`) alone."""
    signature = tf.TensorSpec([latent_dim], tf.float32)
    return tf.map_fn(
        lambda seed: latent_from_seed(seed, latent_dim, distribution),
        seeds,
        fn_output_signature=signature,
    )
