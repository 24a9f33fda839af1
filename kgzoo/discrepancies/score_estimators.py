"""Scores, grad log q, of a distribution known by samples alone; and what implicit encoders need.

With the kernel k(x, y) = exp(-|x - y|^2 / (2 s^2)), its matrix K `[n, n]` on the samples and
B_i = sum_j grad_{x_j} k(x_i, x_j) `[n, d]`, Stein's identity says K G = -B for the scores G:

stein:     G = -(K + ridge I)^-1 B              Li and Turner (2018)
spectral:  G = -sum_j u_j u_j^T B / lambda_j    Shi, Sun and Zhu (2018), over the largest lambda_j
svgd:      phi = (K S + B) / n                  Liu and Wang (2016), S the scores of the target

At the samples themselves the first two differ in nothing but how they shun small eigenvalues: a
ridge damps them, a cut drops them.
Everything is batched over leading axes, and computed in float64, which on problems of this size is
as fast as float32; answers are float32, or float64 if an input is.
"""

import math
import operator

import numpy as np
import tensorflow as tf

from kgzoo.errors import UserError
from kgzoo.kernels import bandwidths
from kgzoo.kernels.arguments import as_numbers, as_width, positive, refuse_overflow

__all__ = ["semi_implicit_log_density", "spectral_scores", "stein_scores", "svgd_direction"]


def stein_scores(samples: tf.Tensor, ridge: float, bandwidth: float = 1.0) -> tf.Tensor:
    """Stein gradient estimates of the scores of a distribution at samples of it.

    No gradient flows through the answer: it is a constant in a surrogate loss such as
    sum(samples * scores), whose gradient by the samples is the scores.

    The ridge matters as much as the kernel: with little of it the estimates are noise, and with
    much they shrink to -B / ridge, so that their length is that of the ridge.

    Args:
        samples: `[..., n, d]`, n >= 2; every leading element is a distribution of its own.
        ridge: above 0, in units of the diagonal of K, which is 1.
        bandwidth: s in units of the median distance of each leading element's pairs i < j. Where
            the median is 0 the mean distance is the unit, where that is 0 too 1, and all scores
            are 0.

    Returns:
        `[..., n, d]`; NaN for leading elements that are not finite.

    Raises:
        UserError: if an argument is out of range.

    References:
        Li and Turner (2018), Gradient estimators for implicit models.
    """
    points, dtype = _points("stein_scores", samples)
    ridge = positive("stein_scores", "ridge", ridge)
    gram, slopes = _kernel(points, as_width("stein_scores", "bandwidth", bandwidth))
    factor = tf.linalg.cholesky(tf.linalg.set_diag(gram, tf.linalg.diag_part(gram) + ridge))
    return tf.cast(-tf.linalg.cholesky_solve(factor, slopes), dtype)


def spectral_scores(samples: tf.Tensor, eigenfunctions: int, bandwidth: float = 1.0) -> tf.Tensor:
    """Spectral Stein gradient estimates of the scores of a distribution at samples of it.

    The score is expanded in the first J eigenfunctions psi_j of the kernel under q. Nystrom's
    approximation, sqrt(n) / lambda_j sum_m u_jm k(x, x_m) from the eigenvectors u_j of K, is
    sqrt(n) u_ji at the i-th sample, and its coefficient, -mean grad psi_j, is
    -u_j^T B / (sqrt(n) lambda_j). No gradient flows through the answer: see `stein_scores`.

    Of a Gaussian in d dimensions the first eigenfunction is nearly constant and the next d carry
    the score: fewer than d + 1 leave directions out. Many more are noise.

    Eigenvalues of at most n roundings (float64) of the largest are indistinguishable from 0: their
    eigenfunctions are left out, so that fewer than J are used.

    Args:
        samples: `[..., n, d]`, n >= 2; every leading element is a distribution of its own.
        eigenfunctions: J, from 1 to n; an n that only the graph knows is the most that is used.
        bandwidth: as in `stein_scores`.

    Returns:
        `[..., n, d]`; NaN for leading elements that are not finite.

    Raises:
        UserError: if an argument is out of range.

    References:
        Shi, Sun and Zhu (2018), A spectral approach to gradient estimation for implicit
        distributions, section 3.
    """
    points, dtype = _points("spectral_scores", samples)
    count = _count(eigenfunctions, points.shape[-2])
    gram, slopes = _kernel(points, as_width("spectral_scores", "bandwidth", bandwidth))
    # The decomposition itself would raise, before the loss can say which step diverged.
    finite = tf.reduce_all(tf.math.is_finite(gram), axis=[-2, -1], keepdims=True)
    values, vectors = tf.linalg.eigh(tf.where(finite, gram, tf.zeros_like(gram)))
    values, vectors = values[..., -count:, None], vectors[..., -count:]
    size = tf.cast(tf.shape(points)[-2], values.dtype)
    kept = values > size * np.finfo(np.float64).eps * values[..., -1:, :]
    inverse = tf.where(kept, 1 / tf.where(kept, values, tf.ones_like(values)), 0)
    scores = -tf.matmul(vectors, inverse * tf.matmul(vectors, slopes, transpose_a=True))
    return tf.cast(tf.where(finite, scores, tf.constant(math.nan, scores.dtype)), dtype)


def svgd_direction(samples: tf.Tensor, scores: tf.Tensor, bandwidth: float = 1.0) -> tf.Tensor:
    """The direction in which Stein variational gradient descent moves samples towards a target.

    phi(z_i) = mean_j [k(z_j, z_i) scores_j + grad_{z_j} k(z_j, z_i)]: of all directions in the
    kernel's unit ball the one that lowers KL(q || target) the fastest. Amortised, what made
    the samples maximises sum(samples * phi). No gradient flows through phi.

    The kernel is that of the paper's experiments, exp(-|x - y|^2 / h) with h = median^2 / log n, so
    that n exp(-median^2 / h) = 1: here h = (bandwidth median)^2 / log n and s^2 = h / 2, with the
    median of `stein_scores`. At the same bandwidth this kernel is narrower than that of the score
    estimates, by a factor sqrt(2 log n).

    Args:
        samples: `[..., n, d]`, n >= 2; every leading element is a cloud of its own.
        scores: `[..., n, d]`, of the target at the samples.
        bandwidth: in units of the paper's rule.

    Returns:
        `[..., n, d]`.

    Raises:
        UserError: if an argument is out of range.

    References:
        Liu and Wang (2016), Stein variational gradient descent, Algorithm 1 and section 5;
        Feng, Wang and Liu (2017), Learning to draw samples with amortized SVGD.
    """
    points, dtype = _points("svgd_direction", samples)
    target, target_dtype = _points("svgd_direction", scores, "scores")
    if not points.shape.is_compatible_with(target.shape):
        raise UserError(
            f"svgd_direction got samples of shape {points.shape} and scores of shape "
            f"{target.shape}; give one score for every sample."
        )
    size = tf.cast(tf.shape(points)[-2], points.dtype)
    scale = as_width("svgd_direction", "bandwidth", bandwidth)
    gram, slopes = _kernel(points, scale / tf.sqrt(2 * tf.math.log(size)))
    direction = (tf.matmul(gram, target) + slopes) / size
    return tf.cast(direction, tf.float64 if tf.float64 in (dtype, target_dtype) else tf.float32)


def semi_implicit_log_density(
    samples: tf.Tensor, means: tf.Tensor, log_variances: tf.Tensor
) -> tf.Tensor:
    """log (1/k) sum_j N(samples; means_j, diag(exp(log_variances_j))), with its gradients.

    A lower bound in expectation on log q(z) of the mixture that draws means and variances at
    random, if the samples are independent of the k components; an upper bound on average if one of
    these made the sample. Differentiable in all arguments.

    Squared distances come from the expansion, by matrix products, in float64: no array
    `[..., s, k, d]`. Its error, about 1e-16 (spread of the means / standard deviation)^2 nats, is
    below the rounding of float32 inputs.

    Args:
        samples: `[..., s, d]`.
        means: `[..., k, d]`.
        log_variances: `[..., k, d]`.

    Returns:
        `[..., s]`, in nats.

    Raises:
        UserError: if shapes do not fit.

    References:
        Yin and Zhou (2018), Semi-implicit variational inference, section 3.
    """
    given = {"samples": samples, "means": means, "log_variances": log_variances}
    arguments = [as_numbers(name, values) for name, values in given.items()]
    shapes = [value.shape for value in arguments]
    fit = all(shape.rank is not None and 2 <= shape.rank == shapes[0].rank for shape in shapes)
    fit = fit and shapes[1].is_compatible_with(shapes[2]) and 0 != shapes[1][-2]
    if not fit or not _without(shapes[0]).is_compatible_with(_without(shapes[1])):
        raise UserError(
            "semi_implicit_log_density got samples, means and log_variances of shapes "
            f"{shapes[0]}, {shapes[1]} and {shapes[2]}; give [..., s, d], [..., k, d] and "
            "[..., k, d], k >= 1."
        )
    dtype = tf.float64 if tf.float64 in [value.dtype for value in arguments] else tf.float32
    points, means, log_variances = (tf.cast(value, tf.float64) for value in arguments)
    # A shift of both, which changes neither value nor gradient, keeps the products small.
    centre = tf.stop_gradient(tf.reduce_mean(means, axis=-2, keepdims=True))
    points, means = points - centre, means - centre
    precisions = tf.exp(-log_variances)
    constants = tf.square(means) * precisions + log_variances + math.log(2 * math.pi)
    exponents = (
        tf.matmul(tf.square(points), precisions, transpose_b=True)
        - 2 * tf.matmul(points, means * precisions, transpose_b=True)
        + tf.reduce_sum(constants, axis=-1)[..., None, :]
    )
    components = tf.cast(tf.shape(means)[-2], tf.float64)
    return tf.cast(tf.reduce_logsumexp(-0.5 * exponents, axis=-1) - tf.math.log(components), dtype)


def _without(shape: tf.TensorShape) -> tf.TensorShape:
    """Returns the shape of points without their number."""
    return shape[:-2].concatenate(shape[-1:])


def _points(owner: str, values: tf.Tensor, name: str = "samples") -> tuple[tf.Tensor, tf.DType]:
    """Returns points `[..., n, d]` in float64, without gradient, and the type of the answer."""
    values = as_numbers(name, values)
    if values.shape.rank is None or values.shape.rank < 2 or values.shape[-2] in (0, 1):
        raise UserError(
            f"{owner} got {name} of shape {values.shape}; give [..., n, d] with at least 2 points."
        )
    dtype = tf.float64 if values.dtype == tf.float64 else tf.float32
    points = tf.cast(tf.stop_gradient(values), tf.float64)
    refuse_overflow(owner, **{name: points})
    return points, dtype


def _count(eigenfunctions: int, size: int | None) -> int:
    """Returns the number of eigenfunctions; a UserError if it is none from 1 to `size`."""
    try:
        count = operator.index(eigenfunctions)
    except TypeError:
        count = 0
    if count < 1 or (size is not None and count > size):
        raise UserError(
            f"eigenfunctions={eigenfunctions!r} is out of range; give a whole number from 1 to "
            f"{size or 'the number of samples'}."
        )
    return count


def _kernel(points: tf.Tensor, bandwidth: float | tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns K `[..., n, n]` and B `[..., n, d]` for s in units of the median distance."""
    # The shift keeps the products small.
    points -= tf.reduce_mean(points, axis=-2, keepdims=True)
    squared = bandwidths.squared_distances(points)
    unit = bandwidths.median_of_pairs(tf.sqrt(squared))[..., None, None]
    variance = tf.square(bandwidth * unit)
    gram = tf.exp(-squared / (2 * variance))
    # grad_{x_j} k(x_i, x_j) = k(x_i, x_j) (x_i - x_j) / s^2.
    slopes = tf.reduce_sum(gram, axis=-1, keepdims=True) * points - tf.matmul(gram, points)
    return gram, slopes / variance
