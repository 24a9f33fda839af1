"""The gradient-constrained MMD in closed form, at the price of a scaled MMD (SMMD paper, sec. 3.2).

The paper's system has M (1 + d) unknowns, M points of mu in d dimensions. With k = K o phi and the
Jacobians J_m of the s features, all its rows factor through phi: T = diag(I, J) T_phi, so that

    u'(A + M lambda I)^-1 u = v'S (B S + M lambda I)^-1 v,    S = diag(I, J_m J_m'),

where v = [eta; grad_phi eta] and B are what u and A become when the features are the inputs.
That leaves M (1 + s) unknowns and needs the s x s matrices J_m J_m' alone.
"""

import tensorflow as tf

from kgzoo.discrepancies import mmd
from kgzoo.errors import UserError
from kgzoo.kernels import Derivatives, Kernel
from kgzoo.kernels.arguments import as_numbers, non_negative, positive

__all__ = ["gcmmd2"]


def gcmmd2(
    kernel: Kernel,
    real: tf.Tensor,
    fake: tf.Tensor,
    points: tf.Tensor,
    jacobian_gram: tf.Tensor,
    regularization: float = 1.0,
    ridge: float = 0.0,
) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
    """Squared gradient-constrained MMD of K o phi, mu the empirical measure of M points.

    GCMMD^2 = (MMD^2 - penalty) / lambda = <eta, (D_mu + lambda)^-1 eta>, never negative; the MMD is
    the biased one, as eta is the difference of empirical means. mu is (1/M) sum delta: with the sum
    that Prop. 3 prints, its system would have to hold lambda instead of M lambda.

    Computed in float64 and returned in the inputs' type: the value is a difference, and all but a
    few digits of float32 cancel when the critic is steep. Exact first derivatives at any Jacobian,
    a singular or zero one too; differentiate once only (the solution of the system is held fixed).

    Args:
        kernel: a kernel on the features that has `derivatives`.
        real: features of the real sample, `[n, s]`.
        fake: features of the generated sample, `[m, s]`.
        points: features of the points of mu, `[M, s]`. Passing the same tensor as `real` (mu = P)
            saves one of three evaluations of the kernel with derivatives.
        jacobian_gram: J_m J_m' at these points, `[M, s, s]`, from `features_and_jacobian_gram`.
        regularization: lambda, above 0.
        ridge: added to M lambda in the system, in the same units. 0 by default: M lambda bounds the
            system from below already. What is left is the rounding of float32 Gram matrices that
            are singular: for s > 1 it costs about 1e-11 trace / lambda of the value (measured).
            Where the trace exceeds 1e8 lambda, a ridge of 1e-7 M trace restores four digits.

    Returns:
        The scalar, and diagnostics: `mmd2`, `penalty` (the part of it that the constraint takes
        away) and `critic_gradient_squared`, the mean squared Jacobian norm.

    Raises:
        UserError: if a number is out of range, shapes do not fit, or the kernel has no derivatives.

    References:
        Arbel et al. (2018), Prop. 3 and 5.
    """
    regularization = positive("gcmmd2", "regularization", regularization)
    non_negative("gcmmd2", "ridge", ridge)
    shared = points is real
    given = {"real": real, "fake": fake, "points": points, "jacobian_gram": jacobian_gram}
    inputs = [as_numbers(name, values) for name, values in given.items()]
    dtype = tf.float64 if any(t.dtype == tf.float64 for t in inputs) else tf.float32
    real, fake, points, gram = (tf.cast(t, tf.float64) for t in inputs)
    _check(points, gram)
    mmd2, _ = mmd.mmd2(kernel, real, fake, "biased")
    own = kernel.derivatives(points, points)
    from_real = own if shared else kernel.derivatives(real, points)
    witness = _witness(from_real, kernel.derivatives(fake, points))
    count = tf.cast(tf.shape(points)[0], tf.float64)
    penalty = _quadratic_form(_system(own), witness, gram, count * regularization + ridge)
    diagnostics = {
        "mmd2": mmd2,
        "penalty": penalty,
        "critic_gradient_squared": tf.reduce_mean(tf.linalg.trace(gram)),
    }
    diagnostics = {name: tf.cast(value, dtype) for name, value in diagnostics.items()}
    return tf.cast((mmd2 - penalty) / regularization, dtype), diagnostics


def _witness(real: Derivatives, fake: Derivatives) -> tf.Tensor:
    """Returns v `[M, 1 + s]`: eta and its gradient by the features, at the points."""
    value = tf.reduce_mean(real.value, axis=0) - tf.reduce_mean(fake.value, axis=0)
    gradient = tf.reduce_mean(real.right, axis=0) - tf.reduce_mean(fake.right, axis=0)
    return tf.concat([value[:, None], gradient], axis=1)


def _system(own: Derivatives) -> tf.Tensor:
    """Returns B `[M, 1 + s, M, 1 + s]`, inner products of k(z_m, .) and d_a k(z_m, .)."""
    first = tf.concat([own.value[..., None], own.right], axis=2)
    others = tf.concat([own.left[..., None], own.both], axis=3)
    return tf.transpose(tf.concat([first[:, :, None, :], others], axis=2), [0, 2, 1, 3])


def _scale(gram: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
    """Returns S times `rows` `[..., M, 1 + s]`: values stay, gradients meet J_m J_m'."""
    return tf.concat([rows[..., :1], tf.einsum("...mb,mbc->...mc", rows[..., 1:], gram)], axis=-1)


def _quadratic_form(
    system: tf.Tensor, witness: tf.Tensor, gram: tf.Tensor, shift: tf.Tensor
) -> tf.Tensor:
    """Returns v'S (B S + shift I)^-1 v as the maximum over u of 2 v'S u - u'S (B S + shift I) u.

    At the maximum an error of u enters squared, and the derivatives are those at fixed u: one
    solve serves both passes, and none has to divide by S.
    """
    size = tf.size(witness)
    scaled = tf.reshape(_scale(gram, system), [size, size])
    scaled = tf.linalg.set_diag(scaled, tf.linalg.diag_part(scaled) + shift)
    try:
        solution = tf.linalg.solve(scaled, tf.reshape(witness, [size, 1]))
    except tf.errors.InvalidArgumentError as error:
        # In an eager call; a graph raises TensorFlow's own.
        raise UserError(
            f"gcmmd2 got M lambda + ridge = {float(shift):.3g}, which is lost beside jacobian_gram "
            "so that its system is singular; raise ridge."
        ) from error
    solution = tf.stop_gradient(tf.reshape(solution, tf.shape(witness)))
    weights = _scale(gram, solution)
    flat = tf.reshape(weights, [size, 1])
    quadratic = tf.reduce_sum(flat * tf.matmul(tf.reshape(system, [size, size]), flat))
    linear = tf.reduce_sum((2 * witness - shift * solution) * weights)
    return linear - quadratic


def _check(points: tf.Tensor, gram: tf.Tensor) -> None:
    fits = points.shape.rank == 2 and gram.shape.rank == 3 and points.shape[0] != 0
    if fits:
        m, s = points.shape
        fits = gram.shape.is_compatible_with([m, s, s])
    if not fits:
        raise UserError(
            f"points have shape {points.shape} and jacobian_gram {gram.shape}; "
            "gcmmd2 needs [M, s] and [M, s, s] with M > 0, from one call of "
            "features_and_jacobian_gram."
        )
