"""The squared maximum mean discrepancy and its estimators (Gretton et al., 2012)."""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from kgzoo.errors import UserError, unknown_name
from kgzoo.kernels import Kernel
from kgzoo.kernels.arguments import as_points, non_negative

__all__ = [
    "ESTIMATORS",
    "MeanKernels",
    "combine",
    "diagnostics",
    "mean_kernels",
    "mmd2",
    "smooth_labels",
]

ESTIMATORS = ("unbiased", "biased", "u_statistic")


class MeanKernels(NamedTuple):
    """Estimates of E k(x, x'), E k(x, y) and E k(y, y'); of all three, the scalars."""

    xx: tf.Tensor
    xy: tf.Tensor
    yy: tf.Tensor


def _off_diagonal_mean(matrix: tf.Tensor) -> tf.Tensor:
    """Mean of the off-diagonal entries of a square matrix `[n, n]`; 0 when there are none.

    A last batch of one example, of a size known only to the graph, has no pairs; it must not turn
    the weights into NaN.
    """
    n = tf.cast(tf.shape(matrix)[0], matrix.dtype)
    return (tf.reduce_sum(matrix) - tf.linalg.trace(matrix)) / tf.maximum(n * (n - 1), 1)


def mean_kernels(
    kernel: Kernel,
    x: tf.Tensor,
    y: tf.Tensor,
    estimator: str = "unbiased",
    bound: Callable[[tf.Tensor, str], tf.Tensor] | None = None,
) -> MeanKernels:
    """Returns estimates of E k(x, x'), E k(x, y) and E k(y, y').

    Args:
        kernel: the kernel.
        x: features of the first sample, `[n, d]`.
        y: features of the second sample, `[m, d]`.
        estimator: `unbiased` leaves the diagonal out of the xx and yy means, `biased` keeps it (a
            V-statistic, never negative for a positive definite kernel), `u_statistic` leaves it out
            of all three (repulsive MMD-GAN paper, eq. S4; needs n = m).
        bound: what is done to each kernel matrix, named `xx`, `xy` or `yy`, before its mean.

    Raises:
        UserError: if a sample is too small, the samples do not fit, or the estimator is unknown.
    """
    if estimator not in ESTIMATORS:
        raise unknown_name("estimator", estimator, ESTIMATORS)
    x, y = as_points(x, y)
    _check(x, y, estimator)
    kxx, kxy, kyy = kernel.matrix(x, x), kernel.matrix(x, y), kernel.matrix(y, y)
    if bound is not None:
        kxx, kxy, kyy = bound(kxx, "xx"), bound(kxy, "xy"), bound(kyy, "yy")
    if estimator == "biased":
        return MeanKernels(tf.reduce_mean(kxx), tf.reduce_mean(kxy), tf.reduce_mean(kyy))
    cross = _off_diagonal_mean(kxy) if estimator == "u_statistic" else tf.reduce_mean(kxy)
    return MeanKernels(_off_diagonal_mean(kxx), cross, _off_diagonal_mean(kyy))


def smooth_labels(means: MeanKernels, epsilon: float) -> MeanKernels:
    """The mean kernels when real examples count in the generated class with weight epsilon.

    The generated class becomes (Q + epsilon P) / (1 + epsilon): what one-sided label smoothing is
    for losses with labels. MMD^2 shrinks by (1 + epsilon)^2; other sums of the three change shape.
    """
    non_negative("smooth_labels", "epsilon", epsilon, below=1.0)
    if not epsilon:
        return means
    xx, xy, yy = means
    total = 1.0 + epsilon
    mixed = (yy + 2.0 * epsilon * xy + epsilon**2 * xx) / total**2
    return MeanKernels(xx, (xy + epsilon * xx) / total, mixed)


def combine(
    means: MeanKernels,
    weights: tuple[float, float, float],
    x: tf.Tensor,
    y: tf.Tensor,
    estimator: str,
) -> tf.Tensor:
    """Returns the weighted sum of the three means; 0 when an unbiased one has no pairs.

    A last batch of one example has none, so no unbiased value: it moves nothing.
    """
    value = tf.add_n([weight * mean for weight, mean in zip(weights, means, strict=True)])
    if estimator == "biased":
        return value
    pairs = tf.minimum(tf.shape(x)[0], tf.shape(y)[0]) > 1
    return tf.where(pairs, value, tf.zeros_like(value))


def mmd2(
    kernel: Kernel, x: tf.Tensor, y: tf.Tensor, estimator: str = "unbiased"
) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
    """Squared MMD between two samples; negative values are normal for the unbiased estimators.

    Args: as for `mean_kernels`.

    Returns:
        The scalar, and the three mean kernels as diagnostics. A critic whose mean kernels all sit
        at 1 (outputs coincide) or at 0 (saturated) gives no gradient: that is why they are logged.

    References:
        Gretton et al. (2012), Lemma 6 and eq. (5).
    """
    means = mean_kernels(kernel, x, y, estimator)
    return combine(means, (1.0, -2.0, 1.0), x, y, estimator), diagnostics(means)


def diagnostics(means: MeanKernels) -> dict[str, tf.Tensor]:
    """Returns the three means under the names that are logged."""
    return {f"kernel_{name}": mean for name, mean in means._asdict().items()}


def _check(x: tf.Tensor, y: tf.Tensor, estimator: str) -> None:
    n, m = x.shape[0], y.shape[0]
    least = 1 if estimator == "biased" else 2
    for name, size in (("x", n), ("y", m)):
        if size is not None and size < least:
            raise UserError(
                f"{name} has {size} rows; the {estimator} MMD needs at least {least}: "
                "raise --config.batch_size."
            )
    if estimator == "u_statistic" and None not in (n, m) and n != m:
        raise UserError(
            f"x has {n} rows and y has {m}; estimator='u_statistic' needs equal samples: "
            "use estimator='unbiased'."
        )
