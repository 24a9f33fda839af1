"""Ratio matching: the density ratio in closed form, and the critic's objective on it.

ratio:   r = (M / N) (K_qq + ridge I)^-1 K_qp 1        at the M generated examples     (eq. 8)
critic:  L = mean (r - 1)^2 + lambda sum r             maximised                       (eq. 9)
of the GRAM paper (Srivastava et al., 2020), p real and q generated. r estimates p / q, and the mean
of (r - 1)^2 under q the Pearson divergence (eq. 6 and 7).
"""

from collections.abc import Sequence

import tensorflow as tf

from kgzoo.errors import UserError, unknown_name
from kgzoo.kernels import Kernel
from kgzoo.kernels.arguments import as_numbers, as_points

__all__ = [
    "POSITIVITIES",
    "REDUCTIONS",
    "check_fields",
    "critic_loss",
    "pearson_divergence",
    "ratios",
]

POSITIVITIES = ("penalty", "clip", "none")
REDUCTIONS = ("sum", "mean")


def check_fields(
    *,
    ridge: float = 0.0,
    positivity: str = "none",
    positivity_weight: float = 0.0,
    positivity_reduction: str = "sum",
) -> None:
    """Raises a UserError when a number is out of range or a name unknown."""
    for field, number in (("ridge", ridge), ("positivity_weight", positivity_weight)):
        if not isinstance(number, (int, float)) or not 0 <= number < float("inf"):
            raise UserError(f"{field}={number!r} is out of range; give a finite number >= 0.")
    for field, value, known in (
        ("positivity", positivity, POSITIVITIES),
        ("positivity_reduction", positivity_reduction, REDUCTIONS),
    ):
        if value not in known:
            raise unknown_name(field, value, known)


def ratios(
    kernels: Sequence[Kernel], real: tf.Tensor, fake: tf.Tensor, ridge: float = 1e-3
) -> tf.Tensor:
    """Estimates of p / q at every generated example, averaged over the kernels.

    Eq. 8 as printed lacks the factor M / N of the two empirical means: without it the ratios
    average N / M instead of 1. The estimates may be negative: see `critic_loss`.

    Gram matrices of samples worth training on are singular to float64 (60 points on a line under a
    kernel of bandwidth 1: condition 3e18), and r is then rounding noise. The ridge, which the paper
    does not mention and its public code has, is in units of k(x, x) = 1, per kernel, and shrinks
    the ratios a little. 0 is allowed; where the factorisation fails, as on duplicates, the ratios
    are NaN, which the training loop reports.

    Computed in float64 whatever the inputs, by Cholesky. Exact first derivatives by both samples;
    differentiate once only (the solution of the system is held fixed).

    Args:
        kernels: one or more; each has a system of its own.
        real: features of the real sample, `[N, s]`.
        fake: features of the generated sample, `[M, s]`.
        ridge: added to the diagonal of K_qq.

    Returns:
        `[M]`, float32, or float64 if an input is.

    Raises:
        UserError: if the ridge is out of range, or kernels or examples are missing.

    References:
        Srivastava et al. (2020), eq. (8); Sugiyama et al. (2012).
    """
    check_fields(ridge=ridge)
    real, fake = as_points(real, fake)
    if not kernels or 0 in (real.shape[0], fake.shape[0]):
        raise UserError(
            f"ratios got {len(kernels)} kernels, {real.shape[0]} real and {fake.shape[0]} "
            "generated examples; give at least one of each."
        )
    x, y = tf.cast(real, tf.float64), tf.cast(fake, tf.float64)
    total = tf.add_n([_ratio(kernel, x, y, ridge) for kernel in kernels])
    return tf.cast(total / len(kernels), real.dtype)


def _ratio(kernel: Kernel, real: tf.Tensor, fake: tf.Tensor, ridge: float) -> tf.Tensor:
    """Returns the ratios `[M]` under one kernel, float64."""
    gram = kernel.matrix(fake, fake)
    gram = tf.linalg.set_diag(gram, tf.linalg.diag_part(gram) + ridge)
    count = tf.cast(tf.shape(fake)[0], tf.float64)
    # As K_pq, the matrix that the generator's MMD has too: in a graph both are one.
    towards = count * tf.reduce_mean(kernel.matrix(real, fake), axis=0)[:, None]
    factor = tf.linalg.cholesky(tf.stop_gradient(gram))
    held = tf.stop_gradient(tf.linalg.cholesky_solve(factor, towards))
    # One step of iterative refinement: it changes nothing but roundings, and its derivative is that
    # of the solution, A^-1 (db - dA r). Cheaper than to differentiate the factorisation.
    return (held + tf.linalg.cholesky_solve(factor, towards - tf.matmul(gram, held)))[:, 0]


def pearson_divergence(values: tf.Tensor) -> tf.Tensor:
    """mean (r - 1)^2 over ratios `[M]`, eq. (7); minus it is D* of eq. (5) up to a constant."""
    return tf.reduce_mean(tf.square(_as_ratios(values) - 1.0))


def _as_ratios(values: tf.Tensor) -> tf.Tensor:
    values = as_numbers("values", values)
    if values.shape.rank != 1 or values.shape[0] == 0:
        raise UserError(f"values have shape {values.shape}; give ratios [M], M >= 1.")
    return values


def critic_loss(
    values: tf.Tensor,
    positivity: str = "penalty",
    weight: float = 1.0,
    reduction: str = "sum",
) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
    """Minus eq. (9), to be minimised, and what is logged.

    Args:
        values: ratios `[M]`.
        positivity: `penalty` adds weight times the ratios' sum to what is maximised, as printed: no
            constraint on any sign, as the sum is near M wherever the kernels reach. `clip` takes
            max(r, 0) for r (footnote 3): negative ratios count as 0 and have no gradient. `none`
            takes the ratios as they are.
        weight: lambda, >= 0; of the penalty alone.
        reduction: `sum`, as printed, or `mean`: the same with lambda / M.

    Returns:
        The scalar, and the diagnostics `pearson_divergence` (eq. 7 of the ratios as they are used),
        and of the ratios as estimated `mean_ratio`, `smallest_ratio` and `negative_share`.

    Raises:
        UserError: if an argument is out of range or unknown.
    """
    check_fields(positivity=positivity, positivity_weight=weight, positivity_reduction=reduction)
    values = _as_ratios(values)
    diagnostics = {
        "mean_ratio": tf.reduce_mean(values),
        "smallest_ratio": tf.reduce_min(values),
        "negative_share": tf.reduce_mean(tf.cast(values < 0, values.dtype)),
    }
    divergence = pearson_divergence(tf.nn.relu(values) if positivity == "clip" else values)
    objective = divergence
    if positivity == "penalty":
        reduce = tf.reduce_sum if reduction == "sum" else tf.reduce_mean
        objective += weight * reduce(values)
    return -objective, {"pearson_divergence": divergence, **diagnostics}
