"""The Lipschitz MMD, whose critic is no steeper than 1 anywhere (SMMD paper, sec. 3.1, app. D).

The estimator maximises <g, f>, g = mean k(X, .) - mean k(Y, .), over the f in H with
|grad f(Z_m)|^2 + lambda |f|^2 <= 1 at each of M points. With k = K o phi, grad f(Z_m) = J_m' h_m,
h_m the gradient of f by the s features; so the critic enters by J_m J_m' = R_m R_m' alone. Its dual

    value^2 = min over p of |g - sum_m (R_m p_m) . dK(Z_m)|^2 / lambda + (sum_m |p_m|)^2

is a least-squares problem with a group norm, over M s numbers whatever the sample sizes, and needs
no factor of the nearly singular Gram matrix of the n + n' + M s functions that span f. The norms
|p_m|, scaled to sum to 1, are the multipliers w of the constraints.
"""

import warnings
from types import ModuleType

import numpy as np
import tensorflow as tf

from kgzoo.discrepancies import mmd
from kgzoo.errors import UserError
from kgzoo.kernels import Kernel
from kgzoo.kernels.arguments import as_numbers, positive

__all__ = ["SolverFailed", "lipmmd", "require_solver"]

# The solver's tolerances in turn, for numbers scaled to |g| = lambda = 1. The first serves nearly
# always; a small lambda may need the second, and where the solver stops early the third.
_TOLERANCES = (1e-11, 1e-13, 1e-9)
# How far, relative to the value, a feasible critic may stay below the bound that is returned. The
# bound's own error is the square of the weights', so far smaller.
_LARGEST_GAP = 1e-3
# A squared MMD of so many roundings of its terms is 0.
_ROUNDINGS = 8


class SolverFailed(UserError, RuntimeError):
    """The samples, at this regularization, are beyond the solver."""


def lipmmd(
    kernel: Kernel,
    real: tf.Tensor,
    fake: tf.Tensor,
    points: tf.Tensor,
    jacobian_gram: tf.Tensor,
    regularization: float = 1.0,
) -> tf.Tensor:
    """Lipschitz MMD of K o phi, its constraint enforced at M points; not squared.

    At most MMD / sqrt(lambda); with points that cover both samples densely, at most Wasserstein-1
    too, which it approaches from below as lambda -> 0 (in one dimension, with a universal kernel).
    For low-dimensional data and few features: the work grows as (M s)^3. For one replica.

    The objective is the mean of f over X minus the mean over Y, [1/n .. -1/n' .. 0] [K B'] delta
    in the terms of app. D, which prints it without [K B'].

    The derivative is that of the envelope theorem, critic and multipliers held fixed in the
    Lagrangian: differentiate once only. Where the samples coincide, value and derivatives are 0.
    Computed in float64 and returned in the inputs' type; good for lambda down to about
    1e-6, below which the solver may fail. An input that is not finite gives NaN.

    Args:
        kernel: a kernel on the features that has `derivatives`.
        real: features of the real sample, `[n, s]`.
        fake: features of the generated sample, `[n', s]`.
        points: features of the points Z, `[M, s]`; they should cover the region of both samples.
        jacobian_gram: J_m J_m' at these points, `[M, s, s]`, from `features_and_jacobian_gram`.
        regularization: lambda, above 0.

    Returns:
        The scalar, differentiable by the four tensors and by what the kernel is made of.

    Raises:
        UserError: if lambda is out of range, shapes do not fit, the kernel has no derivatives, or
            cvxpy is not installed.
        SolverFailed: if the solver fails; inside a graph TensorFlow raises its own error around it.

    References:
        Arbel et al. (2018), eq. (4), eq. (29) and appendix D.
    """
    regularization = positive("lipmmd", "regularization", regularization)
    require_solver()
    given = {"real": real, "fake": fake, "points": points, "jacobian_gram": jacobian_gram}
    inputs = [as_numbers(name, values) for name, values in given.items()]
    dtype = tf.float64 if any(t.dtype == tf.float64 for t in inputs) else tf.float32
    real, fake, points, gram = (tf.cast(t, tf.float64) for t in inputs)
    _check(points, gram)
    mmd2, means = mmd.mmd2(kernel, real, fake, "biased")
    floor = _ROUNDINGS * np.finfo(np.float64).eps * (means["kernel_xx"] + means["kernel_yy"])
    witness = tf.reduce_mean(kernel.derivatives(points, real).left, axis=1)
    witness -= tf.reduce_mean(kernel.derivatives(points, fake).left, axis=1)
    inner = tf.transpose(kernel.derivatives(points, points).both, [0, 2, 1, 3])
    value, coefficients, weights = _solution(mmd2, floor, witness, inner, gram, regularization)

    # The Lagrangian at f = g / lambda - sum_m coefficients_m . dK(Z_m), equal to value^2.
    curved = tf.einsum("manb,nb->ma", inner, coefficients)
    gradient = witness / regularization - curved
    steepness = tf.einsum("m,ma,mab,mb->", weights, gradient, gram, gradient)
    square = mmd2 / regularization - regularization * tf.reduce_sum(coefficients * curved)
    square -= steepness
    return tf.cast(
        value + tf.math.divide_no_nan(square - tf.stop_gradient(square), 2 * value), dtype
    )


def _check(points: tf.Tensor, gram: tf.Tensor) -> None:
    fits = points.shape.rank == 2 and gram.shape.rank == 3 and points.shape[0] != 0
    if fits:
        m, s = points.shape
        fits = gram.shape.is_compatible_with([m, s, s])
    if not fits:
        raise UserError(
            f"points have shape {points.shape} and jacobian_gram {gram.shape}; "
            "lipmmd needs [M, s] and [M, s, s] with M > 0, from one call of "
            "features_and_jacobian_gram."
        )


def require_solver() -> ModuleType:
    """Returns cvxpy; a UserError when it or Clarabel is not installed."""
    try:
        import clarabel  # noqa: F401  (the solver that cvxpy is told to use)
        import cvxpy
    except ImportError as error:
        raise UserError(
            "the Lipschitz MMD needs cvxpy and clarabel, which are not installed; "
            "type pip install cvxpy clarabel."
        ) from error
    return cvxpy


def _solution(
    mmd2: tf.Tensor,
    floor: tf.Tensor,
    witness: tf.Tensor,
    inner: tf.Tensor,
    gram: tf.Tensor,
    regularization: float,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Returns `_solve` of the tensors as constants: value [], coefficients [M, s], weights [M]."""
    value, coefficients, weights = tf.numpy_function(
        _solve,
        [mmd2, floor, witness, inner, gram, tf.constant(regularization, tf.float64)],
        [tf.float64, tf.float64, tf.float64],
        stateful=False,
    )
    value, coefficients, weights = map(tf.stop_gradient, (value, coefficients, weights))
    return (
        tf.ensure_shape(value, []),
        tf.ensure_shape(coefficients, witness.shape),
        tf.ensure_shape(weights, witness.shape[:1]),
    )


def _solve(
    mmd2: np.ndarray,
    floor: np.ndarray,
    witness: np.ndarray,
    inner: np.ndarray,
    gram: np.ndarray,
    regularization: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Solves the dual.

    Args:
        mmd2: |g|^2.
        floor: the squared MMD from which on the samples differ.
        witness: derivatives of g at the points, `[M, s]`.
        inner: inner products of the functions dK(Z_m), `[M, s, M, s]`.
        gram: J_m J_m', `[M, s, s]`.
        regularization: lambda.

    Returns:
        The value, the coefficients `[M, s]` of -dK(Z_m) in the f at which <g, f> is the value
        squared, and the multipliers `[M]` scaled to sum to 1.
    """
    count, size = witness.shape
    weights = np.zeros(count)
    if not all(np.isfinite(array).all() for array in (mmd2, witness, inner, gram)):
        return np.float64("nan"), np.full_like(witness, np.nan), weights
    if mmd2 <= floor:
        return np.float64(0), np.zeros_like(witness), weights
    # Divided by |g| and lambda every quantity is a pure number, and value^2 lies in (0, 1].
    eigenvalues, vectors = np.linalg.eigh(gram / regularization)
    roots = vectors * np.sqrt(np.maximum(eigenvalues, 0))[:, None, :]
    slopes = np.einsum("ma,mac->mc", witness, roots).ravel() / np.sqrt(mmd2)
    inner = np.einsum("mac,manb,nbd->mcnd", roots, inner, roots, optimize=True)
    inner = inner.reshape(count * size, count * size)
    weights, (square, solution) = _best_weights(slopes, inner, size, float(regularization))
    solution = np.einsum("mac,mc->ma", roots, solution.reshape(count, size))
    return (
        np.sqrt(mmd2 * square / regularization),
        np.sqrt(mmd2) / regularization * solution,
        weights,
    )


def _best_weights(
    slopes: np.ndarray, inner: np.ndarray, size: int, regularization: float
) -> tuple[np.ndarray, tuple[float, np.ndarray]]:
    """Returns weights whose critic is near enough to optimal, and `_critic` of them.

    Raises:
        SolverFailed: if the solver finds none.
    """
    reason = ""
    for tolerance in _TOLERANCES:
        weights, status = _minimise(slopes, inner, size, tolerance)
        if weights is None:
            reason = f"status {status}"
            continue
        square, solution, gap = _critic(weights, slopes, inner)
        if gap <= _LARGEST_GAP:
            return weights, (square, solution)
        reason = f"status {status} and a relative duality gap of {gap:.1e}"
    raise SolverFailed(
        f"the solver of the Lipschitz MMD ended with {reason} at {len(slopes)} unknowns and "
        f"regularization={regularization:g}; use a larger regularization."
    )


def _minimise(
    slopes: np.ndarray, inner: np.ndarray, size: int, tolerance: float
) -> tuple[np.ndarray | None, str]:
    """Returns the weights [M] of the p that minimises the dual, and the solver's status."""
    cp = require_solver()
    p = cp.Variable((len(slopes) // size, size))
    flat = cp.vec(p, order="C")
    distance = cp.quad_form(flat, cp.psd_wrap(inner)) - 2 * (slopes @ flat)
    problem = cp.Problem(cp.Minimize(distance + cp.square(cp.mixed_norm(p, 2, 1))))
    options = dict.fromkeys(("tol_gap_abs", "tol_gap_rel", "tol_feas"), tolerance)
    try:
        with warnings.catch_warnings():
            # An inaccurate solution is judged by its duality gap, not by a warning.
            warnings.simplefilter("ignore")
            problem.solve(solver=cp.CLARABEL, **options)
    except cp.error.SolverError as error:
        return None, str(error)
    if p.value is None or not np.isfinite(p.value).all():
        return None, problem.status
    norms = np.linalg.norm(p.value, axis=1)
    # Where no gradient counts, any weights on the constraints will do.
    uniform = np.full(len(norms), 1 / len(norms))
    return (norms / norms.sum() if norms.sum() > 0 else uniform), problem.status


def _critic(
    weights: np.ndarray, slopes: np.ndarray, inner: np.ndarray
) -> tuple[float, np.ndarray, float]:
    """Solves for the critic of given weights, exactly.

    Returns:
        V(w) = g'(I + sum_m w_m G_m'G_m)^-1 g, at least the squared value for any weights; the
        coefficients of -G' in f = (I + ..)^-1 g; and by what part of sqrt(V) the objective falls
        when f is scaled to meet all constraints, which bounds the error whatever the solver did.
    """
    size = len(slopes) // len(weights)
    scale = np.repeat(np.sqrt(weights), size)
    system = np.eye(len(slopes)) + scale[:, None] * inner * scale
    scaled_gradient = np.linalg.solve(system, scale * slopes)
    solution = scale * scaled_gradient
    gradient = slopes - inner @ solution
    # f's own norm is a difference; the other term, which rules when lambda is small, is not.
    norm = max(1 - 2 * slopes @ solution + solution @ inner @ solution, 0.0)
    square = norm + scaled_gradient @ scaled_gradient
    steepest = np.max(np.sum(gradient.reshape(-1, size) ** 2, axis=1))
    return square, solution, 1 - np.sqrt(square / (norm + steepest))
