"""Scaled MMD-GAN and SWGAN; Arbel, Sutherland, Binkowski and Gretton (2018), arXiv:1805.11565.

scale:      1 / (1 + 10 mean ||grad phi(X)||_F^2) on real images X            (section 4, Prop. 4)
SMMD:       critic -scale MMD^2(phi(X), phi(G(Z))),  generator +scale MMD^2
SWGAN:      critic -sqrt(scale') (mean phi(X) - mean phi(G(Z))),  generator the opposite,
            scale' = 1 / (1 + 10 (mean |phi(X)|^2 + mean ||grad phi(X)||_F^2))
repulsive:  critic scale'' (E k(x, x') - E k(y, y') - 1),  generator MMD^2, scale'' with 0.1 for 10
            (Wang, Sun and Halgamuge, 2019, eq. S8; 1 is k(x, x), so that the bracket is never > 0)
Differs from the authors' code in: gradients are clipped only when the optimizer says so (the code
clips every variable's to norm 1, the paper does not mention it).
"""

import keras
import tensorflow as tf

from kgzoo import kernels
from kgzoo.discrepancies import mmd, repulsive, scaled
from kgzoo.errors import UserError, unknown_name
from kgzoo.methods.base import Batch, Losses, Method

__all__ = ["SMMD"]

_OBJECTIVES = ("scaled_mmd2", "scaled_mean_difference", "scaled_repulsive")


@keras.saving.register_keras_serializable("kgzoo")
class SMMD(Method):
    """MMD-GAN whose loss is divided by the critic's mean squared gradient on real images.

    Args:
        *args, **kwargs: as for `Method`.
        objective: `scaled_mmd2` (SMMD), `scaled_mean_difference` (SWGAN; one critic output) or
            `scaled_repulsive`.
        kernel: a stationary kernel or its name; SWGAN has the linear one.
        estimator: `unbiased`, `biased` or `u_statistic`.
        scale_weight: the constant 10 of the paper, meant for images in [0, 1].
        scale_generator_loss: whether the generator's loss carries the scale too, as printed. The
            scale does not depend on the generator: it changes the size of its gradient alone.
    """

    config_fields = ("objective", "kernel", "estimator", "scale_weight", "scale_generator_loss")
    has_kernel = True

    def __init__(
        self,
        *args,
        objective: str = "scaled_mmd2",
        kernel: kernels.Kernel | str = "gaussian",
        estimator: str = "unbiased",
        scale_weight: float = 10.0,
        scale_generator_loss: bool = True,
        **kwargs,
    ):
        super().__init__(*args, **kwargs)
        if self.critic is None:
            raise UserError(f"critic=None: {type(self).__name__} needs a critic network.")
        if objective not in _OBJECTIVES:
            raise unknown_name("objective", objective, _OBJECTIVES)
        if estimator not in mmd.ESTIMATORS:
            raise unknown_name("estimator", estimator, mmd.ESTIMATORS)
        if not 0 <= scale_weight < float("inf"):
            raise UserError(f"scale_weight={scale_weight} is out of range; give a number >= 0.")
        if objective == "scaled_mean_difference" and self.critic.output_shape[-1] != 1:
            raise UserError(
                f"objective={objective!r} needs a critic with one output; set output_dim=1."
            )
        self._needs_gradients_by_example("objective", objective)
        kernel = self._own_kernel(kernel)
        linear = objective == "scaled_mean_difference"
        if linear != isinstance(kernel, kernels.Linear) or linear == kernels.is_stationary(kernel):
            raise UserError(
                f"kernel={kernel!r} does not go with objective={objective!r}; the linear kernel "
                "goes with scaled_mean_difference, stationary ones with the others."
            )
        self.objective, self.kernel, self.estimator = objective, kernel, estimator
        self.scale_weight, self.scale_generator_loss = float(scale_weight), scale_generator_loss

    def losses(self, batch: Batch, players: tuple[str, ...]) -> Losses:
        fake = self.generate(batch, players)

        def network(x: tf.Tensor) -> tf.Tensor:
            return self.critic_outputs(x) / self.bandwidth(batch)

        if "critic" in players or self.scale_generator_loss:
            real, jacobian = scaled.features_and_jacobian(network, batch.real)
            jacobian = self.gather(jacobian)
        else:
            real, jacobian = network(batch.real), None
        real, fake = self.gather(real), self.gather(network(fake))
        value, diagnostics = self._value(real, fake)
        scale = tf.ones([])
        if jacobian is not None:
            scale = self._scale(real, jacobian)
            squared = tf.reduce_mean(jacobian)
            diagnostics = {**diagnostics, "scale": scale, "critic_gradient_squared": squared}
        losses: Losses = {}
        if "generator" in players:
            factor = scale if self.scale_generator_loss else 1.0
            losses["generator"] = (factor * value, diagnostics)
        if "critic" in players:
            losses["critic"] = (scale * self._critic_value(value, real, fake), diagnostics)
        return losses

    def _value(self, real: tf.Tensor, fake: tf.Tensor) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """Returns the discrepancy that the generator minimises, before the scale."""
        if self.objective == "scaled_mean_difference":
            value = tf.reduce_mean(real) - tf.reduce_mean(fake)
            return value, {"mean_difference": value}
        value, diagnostics = mmd.mmd2(self.kernel, real, fake, self.estimator)
        return value, {"mmd2": value, **diagnostics}

    def _critic_value(self, value: tf.Tensor, real: tf.Tensor, fake: tf.Tensor) -> tf.Tensor:
        """Returns what the critic minimises, before the scale."""
        smoothing = 1.0 + self.label_smoothing
        if self.objective == "scaled_mean_difference":
            return -value / smoothing
        if self.objective == "scaled_mmd2":
            return -value / smoothing**2
        loss, _ = repulsive.critic_loss(
            self.kernel, real, fake, 1.0, "none", self.estimator, self.label_smoothing
        )
        return loss - self.kernel.at_zero

    def _scale(self, real: tf.Tensor, jacobian: tf.Tensor) -> tf.Tensor:
        if self.objective == "scaled_mean_difference":
            return tf.sqrt(scaled.linear_scale(real, jacobian, self.scale_weight))
        return scaled.smmd_scale(self.kernel, jacobian, self.scale_weight)
