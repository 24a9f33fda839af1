"""The path between two latents: straight for uniform latents, along the sphere for normal ones.

Draws from a high-dimensional normal distribution lie near a sphere. The straight path between two
of them leaves it for lengths that the generator hardly saw in training, the arc does not (White,
2016, "Sampling generative networks", https://arxiv.org/abs/1609.04468). A cube is convex: uniform
latents have no such problem.
"""

from collections.abc import Callable

import tensorflow as tf

__all__ = ["Path", "PATHS", "linear", "path_name", "path_of", "spherical"]

Path = Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor]
# Below this sine of the angle the arc is a straight line to float32 precision (they differ by an
# eighth of the squared angle); near half a turn it is not determined, and its weights overflow.
_SMALLEST_SINE = 1e-3


def linear(start: tf.Tensor, end: tf.Tensor, fraction: tf.Tensor) -> tf.Tensor:
    """Returns `(1 - fraction) start + fraction end`, row by row.

    Args:
        start: [n, latent_dim] float32.
        end: [n, latent_dim] float32.
        fraction: [n] float32 in [0, 1]; values outside are clipped.

    Returns:
        [n, latent_dim] float32.
    """
    fraction = tf.clip_by_value(fraction, 0.0, 1.0)[:, tf.newaxis]
    return (1.0 - fraction) * start + fraction * end


def spherical(start: tf.Tensor, end: tf.Tensor, fraction: tf.Tensor) -> tf.Tensor:
    """Returns `(sin((1 - t) w) start + sin(t w) end) / sin(w)`, w the angle between the vectors.

    Rows where that is 0 / 0 or undetermined, parallel and opposite vectors, take the straight
    path; a zero vector counts as orthogonal to everything.

    Args:
        start: [n, latent_dim] float32.
        end: [n, latent_dim] float32.
        fraction: [n] float32 in [0, 1]; values outside are clipped.

    Returns:
        [n, latent_dim] float32; `start` at fraction 0, `end` at fraction 1.
    """
    from_start, from_end = tf.math.l2_normalize(start, -1), tf.math.l2_normalize(end, -1)
    # Exact for small angles too, where an arc cosine loses half of the digits.
    angle = 2.0 * tf.atan2(
        tf.norm(from_start - from_end, axis=-1), tf.norm(from_start + from_end, axis=-1)
    )
    sine = tf.sin(angle)
    clipped = tf.clip_by_value(fraction, 0.0, 1.0)
    start_weight = tf.sin((1.0 - clipped) * angle) / sine
    end_weight = tf.sin(clipped * angle) / sine
    arc = start_weight[:, tf.newaxis] * start + end_weight[:, tf.newaxis] * end
    return tf.where(sine[:, tf.newaxis] > _SMALLEST_SINE, arc, linear(start, end, fraction))


PATHS: dict[str, Path] = {"linear": linear, "spherical": spherical}
_OF_DISTRIBUTION = {"uniform": "linear", "normal": "spherical"}


def path_name(latent_distribution: str) -> str:
    """Returns the path that belongs to a latent distribution: "linear" or "spherical".

    Args:
        latent_distribution: "uniform" or "normal".

    Raises:
        ValueError: The distribution has no path here.
    """
    if latent_distribution not in _OF_DISTRIBUTION:
        raise ValueError(
            f"latent_distribution={latent_distribution!r} has no interpolation path; "
            f"choose one of: {', '.join(_OF_DISTRIBUTION)}."
        )
    return _OF_DISTRIBUTION[latent_distribution]


def path_of(latent_distribution: str) -> Path:
    """Returns the path that belongs to a latent distribution; see `path_name`."""
    return PATHS[path_name(latent_distribution)]
