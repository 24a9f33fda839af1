"""The latent whose sample is nearest to a given one, by optimisation; one graph for all sizes.

Of many candidates the nearest few are refined by Adam (Kingma and Ba, 2015) at a rate that falls to
0 along a cosine, and the nearest point on the way of any of them is the answer. Latents are kept
where a generator was trained: uniform ones in the cube, normal ones in the ball that holds all but
one draw in a thousand.
"""

import math
from collections.abc import Callable

import tensorflow as tf
from scipy import stats

__all__ = ["nearest", "support"]

_FIRST_DECAY, _SECOND_DECAY, _EPSILON = 0.9, 0.999, 1e-8
_OUTSIDE_THE_BALL = 1e-3


def support(latent_dim: int, distribution: str) -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns the projection of latents [n, latent_dim] to where draws of a distribution lie."""
    if distribution == "uniform":
        return lambda latents: tf.clip_by_value(latents, -1.0, 1.0)
    radius = math.sqrt(stats.chi2.isf(_OUTSIDE_THE_BALL, latent_dim))
    return lambda latents: tf.clip_by_norm(latents, radius, axes=[-1])


def nearest(
    targets: tf.Tensor,
    candidates: tf.Tensor,
    *,
    embed: Callable[[tf.Tensor], tf.Tensor],
    project: Callable[[tf.Tensor], tf.Tensor],
    steps: tf.Tensor,
    starts: tf.Tensor | int,
    learning_rate: tf.Tensor | float,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns latents whose embedding is near the targets, and the mean squared differences.

    Row i depends on row i of the targets alone, up to float32 rounding, which the optimisation may
    magnify. A target that is not finite gets a latent that is not.

    Args:
        targets: [n, f] float32, embeddings of what is looked for.
        candidates: [m, latent_dim], m >= starts, the same for every row.
        embed: latents [k, latent_dim] -> embeddings [k, f], differentiable, row by row.
        project: as `support` returns.
        steps: [n] int32, of Adam, for each row; below 0 counts as 0, the nearest candidate.
        starts: how many of the candidates are refined for each row.
        learning_rate: at the first step, in units of the latents.

    Returns:
        [n, latent_dim] and [n], float32.
    """
    latent_dim = candidates.shape[-1]
    far = _squared_distances(targets, embed(candidates))
    # An order needs numbers.
    far = tf.where(tf.math.is_finite(far), far, far.dtype.max)
    chosen = tf.math.top_k(-far, starts).indices
    latents = tf.reshape(tf.gather(candidates, chosen), [-1, latent_dim])
    every, steps = tf.repeat(targets, starts, axis=0), tf.repeat(steps, starts)
    latents, distances = _refine(latents, every, embed, project, steps, learning_rate)
    latents = tf.reshape(latents, [-1, starts, latent_dim])
    distances = tf.reshape(distances, [-1, starts])
    best = tf.argmin(distances, axis=1)
    # NaN where a target has a number that is not finite, else 0.
    spoiled = tf.reduce_sum(0.0 * targets, axis=-1)
    latents = tf.gather(latents, best, batch_dims=1) + spoiled[:, tf.newaxis]
    return (
        tf.ensure_shape(latents, [None, latent_dim]),
        tf.gather(distances, best, batch_dims=1) + spoiled,
    )


def _refine(
    latents: tf.Tensor, targets: tf.Tensor, embed, project, steps, learning_rate
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns for each row the nearest latent that Adam met, and its distance."""
    steps = tf.cast(steps, tf.float32)
    most = tf.reduce_max(tf.maximum(steps, 0.0))

    def move(step, latents, first, second, best, least):
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(latents)
            distances = tf.reduce_mean((embed(latents) - targets) ** 2, axis=-1)
        gradients = tape.gradient(distances, latents)
        is_nearer = distances < least
        best = tf.where(is_nearer[:, tf.newaxis], latents, best)
        least = tf.where(is_nearer, distances, least)
        first += (1.0 - _FIRST_DECAY) * (gradients - first)
        second += (1.0 - _SECOND_DECAY) * (gradients**2 - second)
        rate = learning_rate * 0.5 * (1.0 + tf.cos(math.pi * step / tf.maximum(steps, 1.0)))
        # A row that has done its steps waits for the others.
        rate = tf.where(step < steps, rate, 0.0)[:, tf.newaxis]
        step += 1.0
        change = first / (1.0 - tf.pow(_FIRST_DECAY, step))
        change /= tf.sqrt(second / (1.0 - tf.pow(_SECOND_DECAY, step))) + _EPSILON
        return step, project(latents - rate * change), first, second, best, least

    zeros = tf.zeros_like(latents)
    least = tf.fill(tf.shape(latents)[:1], math.inf)
    # The last round measures where the last step has led; its own step leads nowhere.
    state = tf.while_loop(
        lambda step, *_: step <= most,
        move,
        (tf.constant(0.0), latents, zeros, zeros, latents, least),
        parallel_iterations=1,
    )
    return state[4], state[5]


def _squared_distances(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    """Returns [n, m] squared distances up to what x alone adds: enough to order the columns."""
    # Of candidates that lie close together, far from 0, the products differ by roundings alone.
    centre = tf.reduce_mean(y, axis=0)
    x, y = x - centre, y - centre
    return tf.reduce_sum(y**2, axis=-1) - 2.0 * tf.matmul(x, y, transpose_b=True)
