"""The critic's loss of repulsive MMD-GAN, attractive to repulsive, with the bounded kernel.

L_{D,lambda} = lambda E k(x, x') - (lambda - 1) E k(x, y) - E k(y, y')
(Wang, Sun and Halgamuge, 2019, eq. 5): -MMD^2 at lambda = -1, the repulsive loss at lambda = 1.
"""

import math
import numbers
from collections.abc import Callable

import tensorflow as tf

from kgzoo.discrepancies import mmd
from kgzoo.errors import UserError, shown, unknown_name
from kgzoo.kernels import Kernel, is_stationary

__all__ = ["BOUNDINGS", "LOWER_BOUND", "UPPER_BOUND", "bounded", "critic_loss", "weights"]

BOUNDINGS = ("none", "paper", "sign")
# On squared distances, for a Gaussian kernel of bandwidth 1 (section 4.1).
LOWER_BOUND, UPPER_BOUND = 0.25, 4.0


def weights(repulsion: float) -> tuple[float, float, float]:
    """Returns the weights of E k(x, x'), E k(x, y), E k(y, y') in L_{D,lambda}; they sum to 0."""
    if not isinstance(repulsion, numbers.Real) or not math.isfinite(repulsion):
        raise UserError(f"repulsion={shown(repulsion)} is out of range; give a finite number.")
    return repulsion, 1.0 - repulsion, -1.0


def bounded(
    kernel: Kernel, repulsion: float, bounding: str = "paper"
) -> Callable[[tf.Tensor, str], tf.Tensor]:
    """Returns what bounds the three kernel matrices of the critic's loss, for `mmd.mean_kernels`.

    A term that pushes points apart sees squared distances of at most 4, one that pulls them
    together at least 0.25; beyond, its gradient is 0. As the kernel falls with the distance, that
    is a bound on its values. Distances are of the features that the kernel gets: under a random
    bandwidth, of features divided by it.

    Args:
        kernel: a stationary kernel that falls with the distance.
        repulsion: lambda.
        bounding: `paper` is eq. 6 for lambda < 0 and eq. 7 for lambda >= 0 (footnote 5), where
            pairs of a real and a generated point have no bound; `sign` bounds every term by the
            sign of its weight: the same at lambda = -1 and 1. `none` bounds nothing.

    Raises:
        UserError: if `bounding` is unknown or the kernel not stationary.
    """
    if bounding not in BOUNDINGS:
        raise unknown_name("bounding", bounding, BOUNDINGS)
    of_terms = weights(repulsion)
    if bounding == "none":
        return lambda matrix, name: matrix
    if not is_stationary(kernel):
        raise UserError(
            f"bounding={bounding!r} needs a stationary kernel, not {kernel!r}; set kernel=gaussian "
            "or bounding=none."
        )
    if bounding == "sign":
        by_term = of_terms
    else:
        by_term = (-1.0, 1.0, -1.0) if repulsion < 0 else (1.0, 0.0, -1.0)
    signs = dict(zip(("xx", "xy", "yy"), by_term, strict=True))

    def bound(matrix: tf.Tensor, name: str) -> tf.Tensor:
        if signs[name] > 0:
            return tf.maximum(matrix, _value_at(kernel, UPPER_BOUND, matrix.dtype))
        if signs[name] < 0:
            return tf.minimum(matrix, _value_at(kernel, LOWER_BOUND, matrix.dtype))
        return matrix

    return bound


def _value_at(kernel: Kernel, squared_distance: float, dtype: tf.DType) -> tf.Tensor:
    points = tf.constant([[0.0]], dtype), tf.constant([[squared_distance**0.5]], dtype)
    return kernel.matrix(*points)[0, 0]


def critic_loss(
    kernel: Kernel,
    real: tf.Tensor,
    fake: tf.Tensor,
    repulsion: float = 1.0,
    bounding: str = "none",
    estimator: str = "u_statistic",
    label_smoothing: float = 0.0,
) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
    """L_{D,lambda}, to be minimised by the critic; eq. 5, with the kernel of eq. 6 and 7.

    Args:
        kernel: on features.
        real, fake: features `[n, s]` and `[m, s]`.
        repulsion: lambda; -1 is attractive (eq. 3), 1 repulsive (eq. 4).
        bounding: as for `bounded`.
        estimator: as for `mmd.mean_kernels`; the paper's is `u_statistic` (eq. S4).
        label_smoothing: as for `mmd.smooth_labels`.

    Returns:
        The scalar, and the three mean kernels (bounded, not smoothed) as diagnostics.
    """
    bound = None if bounding == "none" else bounded(kernel, repulsion, bounding)
    means = mmd.mean_kernels(kernel, real, fake, estimator, bound)
    smoothed = mmd.smooth_labels(means, label_smoothing)
    value = mmd.combine(smoothed, weights(repulsion), real, fake, estimator)
    return value, mmd.diagnostics(means)
