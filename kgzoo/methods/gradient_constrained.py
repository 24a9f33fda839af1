"""Gradient-constrained and Lipschitz MMD-GANs; Arbel, Sutherland, Binkowski and Gretton (2018).

arXiv:1805.11565, sections 3.1 and 3.2, appendix F.2. Both discrepancies are the supremum of
E f(X) - E f(G(Z)) over critics f in the RKHS of K o phi with lambda |f|^2 + constraint <= 1:

GCMMD:      mean f^2 + mean |grad f|^2 on real images (mu = P)        (eq. 5, Prop. 3)
LipMMD:     the largest |grad f|^2                                    (eq. 4)

critic -value, generator +value, the squares of both. Differs from the authors' experiment in: the
system is solved exactly, M (1 + s) unknowns instead of an incomplete Cholesky factor of M (1 + d).
"""

from collections.abc import Callable

import keras
import tensorflow as tf

from kgzoo import kernels, regularizers
from kgzoo.discrepancies import mmd
from kgzoo.discrepancies.gradient_constrained import gcmmd2
from kgzoo.discrepancies.lipschitz import lipmmd, require_solver
from kgzoo.discrepancies.scaled import features_and_jacobian_gram
from kgzoo.errors import UserError, unknown_name
from kgzoo.kernels.arguments import positive
from kgzoo.methods.base import Batch, Losses, Method
from kgzoo.methods.noise import replica_count

__all__ = ["GradientConstrained"]

_OBJECTIVES = ("gcmmd2", "lipmmd2")
# Points see the steepest place of a critic only where they are dense.
_MOST_LIPMMD_DIMENSIONS = 3
# Below, the duality gap of the convex programme no longer closes in float64.
_LEAST_LIPMMD_LAMBDA = 1e-6


@keras.saving.register_keras_serializable("kgzoo")
class GradientConstrained(Method):
    """MMD-GAN whose witness function, not its kernel alone, has a bounded gradient.

    The Lipschitz constant is bounded at the real and generated examples of the batch and at one
    random point between each pair, where WGAN-GP looks (the supremum over all points is larger, so
    the value is never below LipMMD's). The points are held fixed for the generator: the constraint
    says what a critic is, and is not the generator's to loosen.

    Args:
        *args, **kwargs: as for `Method`.
        objective: `gcmmd2` or `lipmmd2` (vectors of at most 3 dimensions, one replica).
        kernel: a kernel with derivatives, or its name.
        estimator: of the MMD^2 in GCMMD^2. `biased` is the paper's, the exact value for the two
            empirical measures; a critic that tells apart all examples then gets 1/n + 1/m of it for
            nothing, which the other two take away. `biased` alone for `lipmmd2`.
        regularization: lambda.
        scale_weight: weight of |grad f|^2 in both constraints: the square of the length that counts
            as 1 in the data. The SMMD paper's constant 10 is the same weight on the same images.
        ridge: as for `discrepancies.gradient_constrained.gcmmd2`; 0 for `lipmmd2`.
    """

    config_fields = ("objective", "kernel", "estimator", "regularization", "scale_weight", "ridge")
    has_kernel = True

    def __init__(
        self,
        *args,
        objective: str = "gcmmd2",
        kernel: kernels.Kernel | str = "gaussian",
        estimator: str = "biased",
        regularization: float = 1.0,
        scale_weight: float = 1.0,
        ridge: float = 0.0,
        **kwargs,
    ):
        super().__init__(*args, **kwargs)
        if self.critic is None:
            raise UserError(f"critic=None: {type(self).__name__} needs a critic network.")
        if objective not in _OBJECTIVES:
            raise unknown_name("objective", objective, _OBJECTIVES)
        self._needs_gradients_by_example("objective", objective)
        if estimator not in mmd.ESTIMATORS:
            raise unknown_name("estimator", estimator, mmd.ESTIMATORS)
        self.objective, self.estimator = objective, estimator
        self.kernel = self._own_kernel(kernel)
        if isinstance(self.kernel, kernels.KernelNet):
            raise UserError(
                f"kernel={self.kernel!r} is trained, which {type(self).__name__} does not do; use "
                "kernel=gaussian."
            )
        self.regularization = positive(type(self).__name__, "regularization", regularization)
        self.scale_weight = positive(type(self).__name__, "scale_weight", scale_weight)
        if not 0 <= ridge < float("inf"):
            raise UserError(f"ridge={ridge!r} is out of range; give a number >= 0.")
        self.ridge = float(ridge)
        if objective == "lipmmd2":
            self._check_lipmmd()

    def _check_lipmmd(self) -> None:
        dimensions = self.sample_shape[-1]
        if self.kind != "vector" or dimensions > _MOST_LIPMMD_DIMENSIONS:
            what = "images" if self.kind != "vector" else f"vectors of {dimensions} dimensions"
            raise UserError(
                f"objective='lipmmd2' is for vectors of at most {_MOST_LIPMMD_DIMENSIONS} "
                f"dimensions, not for {what}; set objective='gcmmd2'."
            )
        if self.ridge:
            raise UserError(
                f"ridge={self.ridge} belongs to objective='gcmmd2'; set ridge=0 for lipmmd2."
            )
        if self.estimator != "biased":
            raise UserError(
                f"estimator={self.estimator!r} belongs to objective='gcmmd2'; set "
                "estimator=biased for lipmmd2."
            )
        if self.regularization < _LEAST_LIPMMD_LAMBDA:
            raise UserError(
                f"regularization={self.regularization} is too small for the solver of lipmmd2; "
                f"give {_LEAST_LIPMMD_LAMBDA} or more."
            )
        require_solver()
        if replica_count() > 1:
            raise UserError(
                f"objective='lipmmd2' runs on one replica, not on {replica_count()}; "
                "use --strategy=one."
            )

    def losses(self, batch: Batch, players: tuple[str, ...]) -> Losses:
        fake = self.generate(batch, players)
        discrepancy = self._gcmmd2 if self.objective == "gcmmd2" else self._lipmmd2
        value, diagnostics = discrepancy(batch, fake)
        # Real examples that count in the generated class with weight epsilon shrink the difference
        # of the two means, of which both values are a square.
        smoothing = (1.0 + self.label_smoothing) ** 2
        losses = {"critic": -value / smoothing, "generator": value}
        return {player: (losses[player], diagnostics) for player in players}

    def _network(self, batch: Batch) -> Callable[[tf.Tensor], tf.Tensor]:
        return lambda examples: self.critic_outputs(examples) / self.bandwidth(batch)

    def _gcmmd2(self, batch: Batch, fake: tf.Tensor) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        network = self._network(batch)
        real, gram = features_and_jacobian_gram(network, batch.real)
        real, gram = self.gather(real), self.scale_weight * self.gather(gram)
        fake = self.gather(network(fake))
        value, diagnostics = gcmmd2(
            self.kernel, real, fake, real, gram, self.regularization, self.ridge
        )
        if self.estimator != "biased":
            other, _ = mmd.mmd2(self.kernel, real, fake, self.estimator)
            value += (other - diagnostics["mmd2"]) / self.regularization
            diagnostics["mmd2"] = other
        diagnostics["critic_gradient_squared"] /= self.scale_weight
        return value, {"gcmmd2": value, **diagnostics}

    def _lipmmd2(self, batch: Batch, fake: tf.Tensor) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        # The model may have been built outside the strategy's scope.
        self._check_lipmmd()
        count = tf.shape(fake)[0]
        unit = batch.noise.unit("interpolation", [count])
        between = regularizers.interpolate(batch.real, fake, unit)
        places = tf.stop_gradient(tf.concat([batch.real, fake, between], axis=0))
        network = self._network(batch)
        points, gram = features_and_jacobian_gram(network, places)
        fake = network(fake)
        weighted = self.scale_weight * gram
        value = lipmmd(self.kernel, points[:count], fake, points, weighted, self.regularization)
        squared = tf.reduce_mean(tf.linalg.trace(gram))
        return tf.square(value), {"lipmmd": value, "critic_gradient_squared": squared}
