"""What one does with the latents of a trained method: draw, truncate, go between, look for.

All of it is repeatable: randomness comes from seeds, and row i of an answer from row i of what was
asked, in batches of any size.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from kgzoo.errors import UserError, shown, unknown_name
from kgzoo.kernels.arguments import as_numbers, non_negative, positive, whole
from kgzoo.methods.latent_paths import PATHS, path_name
from kgzoo.methods.nearest import nearest, support
from kgzoo.methods.noise import latents_from_seeds
from kgzoo.methods.truncation import truncated_latents

__all__ = ["LatentTools", "NearestLatents", "row_seeds"]

_MOST = 10_000_000
_SPACES = ("pixels", "features")


class NearestLatents(NamedTuple):
    """What `nearest_latent` found.

    Attributes:
        latents: [n, latent_dim] float32.
        distances: [n] float32, mean squared difference between the samples of `latents` and what
            was looked for, over pixels or features.
    """

    latents: np.ndarray
    distances: np.ndarray


def row_seeds(n: int, seed: int) -> np.ndarray:
    """Returns the seeds [n, 2] int32 of samples 0 .. n - 1: row i is (seed, i)."""
    index = np.arange(n, dtype=np.int32)
    return np.stack([np.full_like(index, seed), index], axis=1)


class LatentTools:
    """The part of `Method` that works on latents; its samples are those of `decode`."""

    def truncated_latents(self, seeds: tf.Tensor, truncation: tf.Tensor) -> tf.Tensor:
        """Returns the latents of seeds `[n, 2]` int32, row i truncated at `truncation[i]`."""
        return truncated_latents(seeds, truncation, self.latent_dim, self.latent_distribution)

    def latents(self, n: int, seed: int = 0, truncation: float | None = None) -> np.ndarray:
        """Returns the latents `[n, latent_dim]` of `sample(n, seed, truncation=truncation)`.

        Args:
            n: how many.
            seed: latent i has seed (seed, i).
            truncation: normal latents: values beyond so many standard deviations are drawn again
                (Brock et al., 2019); uniform ones: factor of the range, at most 1. None: none.

        Raises:
            UserError: on a number out of range.
        """
        seeds = self._row_seeds("latents", n, seed)
        if truncation is None:
            return self._traced("latents", self._draw, _rows(tf.int32, 2))(seeds).numpy()
        truncation = self._truncation("latents", truncation, n)
        draw = self._traced(
            "truncated", self.truncated_latents, _rows(tf.int32, 2), _rows(tf.float32)
        )
        return draw(seeds, truncation).numpy()

    def interpolate(
        self,
        start: np.ndarray,
        end: np.ndarray,
        fractions: np.ndarray | list[float],
        path: str = "auto",
        batch_size: int = 256,
    ) -> np.ndarray:
        """Returns samples on the way from one latent to another.

        Args:
            start: latents `[n, latent_dim]`, or one, `[latent_dim]`.
            end: of the same shape.
            fractions: `[m]` of the way, 0 is `start`, 1 is `end`; clipped to [0, 1].
            path: `linear`, `spherical`, or `auto`: linear for uniform latents, spherical for normal
                ones (White, 2016).
            batch_size: samples made at once; the result does not depend on it.

        Returns:
            `[n, m, ...]`, images in [0, 1]; `[m, ...]` for one pair.

        Raises:
            UserError: if the path is not known or the shapes do not fit.
        """
        if path not in ("auto", *PATHS):
            raise unknown_name("path", path, ("auto", *PATHS))
        batch_size = whole("interpolate", "batch_size", batch_size, 1, _MOST)
        name = path_name(self.latent_distribution) if path == "auto" else path
        start, end, fractions = (
            np.asarray(as_numbers(name, values), np.float32)
            for name, values in (("start", start), ("end", end), ("fractions", fractions))
        )
        if start.shape != end.shape or start.shape[-1:] != (self.latent_dim,) or start.ndim > 2:
            raise UserError(
                f"start has shape {start.shape} and end {end.shape}; give both as "
                f"[n, {self.latent_dim}] or [{self.latent_dim}]."
            )
        if fractions.ndim != 1:
            raise UserError(f"fractions has shape {fractions.shape}; give a list of numbers, [m].")
        pairs = start.reshape(-1, self.latent_dim), end.reshape(-1, self.latent_dim)
        rows, m = len(pairs[0]), len(fractions)
        latents = PATHS[name](
            *(np.repeat(ends, m, axis=0) for ends in pairs), np.tile(fractions, rows)
        )
        samples = self._decoded(latents.numpy(), batch_size)
        return samples.reshape(*start.shape[:-1], m, *self.sample_shape)

    def nearest_latent(
        self,
        samples: np.ndarray,
        steps: int = 200,
        *,
        starts: int = 4,
        candidates: int = 256,
        space: str = "pixels",
        learning_rate: float = 0.1,
        seed: int = 0,
        batch_size: int = 32,
        progress: Callable[[int, int], Any] | None = None,
    ) -> NearestLatents:
        """Returns the latents whose samples are nearest to given ones, by Adam on the latents.

        Latents stay where the generator was trained: uniform ones in [-1, 1], normal ones in the
        ball that holds all but one draw in a thousand.

        Args:
            samples: `[n, ...]`, images uint8 or in [0, 1].
            steps: of Adam; 0 takes the nearest candidate.
            starts: of the candidates, how many are refined for each sample.
            candidates: latents drawn to start from, the same for all samples.
            space: `pixels`, or `features` of the critic; what is compared, by squared distance.
            learning_rate: of the first step; it falls to 0 along a cosine.
            seed: of the candidates.
            batch_size: samples looked for at once.
            progress: called as `progress(done, n)` after every batch.

        Returns:
            `latents` and `distances`; a sample that is not finite gets a latent that is not.

        Raises:
            UserError: on a number out of range, a wrong shape, or features without a critic.
        """
        owner = "nearest_latent"
        if space not in _SPACES:
            raise unknown_name("space", space, _SPACES)
        if space == "features" and not self.has_critic:
            raise UserError(f"space='features' needs a critic, {self.name} has none; use 'pixels'.")
        steps = whole(owner, "steps", steps, 0, _MOST)
        candidates = whole(owner, "candidates", candidates, 1, _MOST)
        starts = whole(owner, "starts", starts, 1, candidates)
        batch_size = whole(owner, "batch_size", batch_size, 1, _MOST)
        learning_rate = positive(owner, "learning_rate", learning_rate)
        samples = self._unit_samples(samples)
        drawn, search = self.latents(candidates, seed), self._search(space)
        latents, distances, n = [], [], len(samples)
        for first in range(0, n, batch_size):
            part = samples[first : first + batch_size]
            found = search(part, drawn, np.full(len(part), steps), starts, learning_rate)
            latents.append(found[0].numpy())
            distances.append(found[1].numpy())
            if progress is not None:
                progress(first + len(part), n)
        return NearestLatents(np.concatenate(latents), np.concatenate(distances))

    def nearest_in_graph(
        self, samples: tf.Tensor, candidates: tf.Tensor, space: str = "pixels", **settings: Any
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns latents and distances of `nearest` for samples `[n, ...]` in [0, 1], in a graph.

        Args:
            samples: float32.
            candidates: latents `[m, latent_dim]`.
            space: as for `nearest_latent`.
            **settings: `steps`, `starts` and `learning_rate`.
        """

        def compared(values):
            values = self.critic_features(values) if space == "features" else values
            return tf.reshape(values, [-1, int(np.prod(values.shape[1:]))])

        return nearest(
            compared(samples),
            candidates,
            embed=lambda latents: compared(self.decode(latents)),
            project=support(self.latent_dim, self.latent_distribution),
            **settings,
        )

    def _search(self, space: str) -> Callable[..., tuple[tf.Tensor, tf.Tensor]]:
        """Returns `nearest_in_graph`, traced once for all sizes and settings."""

        def search(samples, candidates, steps, starts, learning_rate):
            return self.nearest_in_graph(
                samples,
                candidates,
                space=space,
                steps=steps,
                starts=starts,
                learning_rate=learning_rate,
            )

        return self._traced(
            f"nearest in {space}",
            search,
            _rows(tf.float32, *self.sample_shape),
            _rows(tf.float32, self.latent_dim),
            _rows(tf.int32),
            tf.TensorSpec([], tf.int32),
            tf.TensorSpec([], tf.float32),
        )

    def _decoded(self, latents: np.ndarray, batch_size: int) -> np.ndarray:
        """Returns the samples of latents, made `batch_size` at a time."""
        decode = self._traced("decode", self.decode, _rows(tf.float32, self.latent_dim))
        parts = [
            decode(latents[i : i + batch_size]).numpy() for i in range(0, len(latents), batch_size)
        ]
        return np.concatenate(parts) if parts else np.zeros([0, *self.sample_shape], np.float32)

    def _draw(self, seeds: tf.Tensor) -> tf.Tensor:
        return latents_from_seeds(seeds, self.latent_dim, self.latent_distribution)

    def _traced(self, name: str, function: Callable, *specs: tf.TensorSpec) -> Callable:
        """Returns the function as one graph for these tensors, made once."""
        traced = self._untracked.__dict__.setdefault("latent_tools", {})
        if name not in traced:
            traced[name] = tf.function(function, input_signature=specs, autograph=False)
        return traced[name]

    def _row_seeds(self, owner: str, n: int, seed: int) -> np.ndarray:
        n = whole(owner, "n", n, 1, _MOST)
        return row_seeds(n, whole(owner, "seed", seed, -(2**31), 2**31 - 1))

    def _truncation(self, owner: str, truncation: float, n: int) -> np.ndarray:
        non_negative(owner, "truncation", truncation)
        if self.latent_distribution == "uniform" and truncation > 1:
            raise UserError(
                f"{owner} got truncation={shown(truncation)}; uniform latents have nothing beyond "
                "their range: give a number from 0 to 1."
            )
        return np.full([n], truncation, np.float32)

    def _unit_samples(self, samples: np.ndarray) -> np.ndarray:
        """Returns samples as float32, images in [0, 1]."""
        is_bytes = getattr(samples, "dtype", None) in (np.uint8, tf.uint8)
        values = np.asarray(as_numbers("samples", samples), np.float32)
        if values.shape[1:] != self.sample_shape or not len(values):
            raise UserError(
                f"samples has shape {values.shape}; give [n, *{self.sample_shape}], n at least 1."
            )
        if self.kind == "vector":
            return values
        values = values / 255.0 if is_bytes else values
        if np.nanmin(values) < 0 or np.nanmax(values) > 1:
            raise UserError(
                f"samples span [{np.nanmin(values):.4g}, {np.nanmax(values):.4g}]; give images as "
                "uint8, or floats in [0, 1]."
            )
        return values


def _rows(dtype: tf.DType, *shape: int) -> tf.TensorSpec:
    """Returns the spec of [n, *shape] for any n."""
    return tf.TensorSpec([None, *shape], dtype)
