"""Scaled MMD-GAN and SWGAN; Arbel, Sutherland, Binkowski and Gretton (2018), arXiv:1805.11565.

scale:      1 / (1 + 10 mean ||grad phi(X)||_F^2) on real images X            (section 4, Prop. 4)
SMMD:       critic -scale MMD^2(phi(X), phi(G(Z))),  generator +scale MMD^2
SWGAN:      critic -sqrt(scale') (mean phi(X) - mean phi(G(Z))),  generator the opposite,
            scale' = 1 / (1 + 10 (mean |phi(X)|^2 + mean ||grad phi(X)||_F^2))
Differs from the authors' code in: gradients are clipped only when the optimizer says so (the code
clips every variable's to norm 1, the paper does not mention it).
"""

import keras
import tensorflow as tf

from kgzoo import kernels
from kgzoo.discrepancies import mmd, scaled
from kgzoo.errors import UserError, unknown_name
from kgzoo.methods.base import Batch, Losses, Method

__all__ = ["SMMD"]

_OBJECTIVES = ("scaled_mmd2", "scaled_mean_difference")


@keras.saving.register_keras_serializable("kgzoo")
class SMMD(Method):
    """MMD-GAN whose loss is divided by the critic's mean squared gradient on real images.

    Args:
        *args, **kwargs: as for `Method`.
        objective: `scaled_mmd2` (SMMD) or `scaled_mean_difference` (SWGAN; one critic output).
        kernel: a stationary kernel or its name; SWGAN has the linear one.
        estimator: `unbiased`, `biased` or `u_statistic`.
        scale_weight: the constant 10 of the paper, meant for images in [0, 1].
        scale_generator_loss: whether the generator's loss carries the scale too, as printed. The
            scale does not depend on the generator: it changes the size of its gradient alone.
    """

    config_fields = ("objective", "kernel", "estimator", "scale_weight", "scale_generator_loss")

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
        kernel = kernels.get(kernel)
        if (objective == "scaled_mean_difference") != isinstance(kernel, kernels.Linear):
            raise UserError(
                f"kernel={kernel!r} does not go with objective={objective!r}; the linear kernel "
                "goes with scaled_mean_difference, stationary ones with scaled_mmd2."
            )
        self.objective, self.kernel, self.estimator = objective, kernel, estimator
        self.scale_weight, self.scale_generator_loss = float(scale_weight), scale_generator_loss

    def losses(self, batch: Batch, players: tuple[str, ...]) -> Losses:
        fake = self.generate(batch, players)

        def network(x: tf.Tensor) -> tf.Tensor:
            return self.critic(x, training=True)

        if "critic" in players or self.scale_generator_loss:
            real, jacobian = scaled.features_and_jacobian(network, batch.real)
            jacobian = self.gather(jacobian)
        else:
            real, jacobian = tf.cast(network(batch.real), tf.float32), None
        real = self.gather(real)
        fake = self.gather(tf.cast(network(fake), tf.float32))
        value, diagnostics = self._value_and_scale(real, fake, jacobian)
        losses: Losses = {}
        for player in players:
            scale = 1.0
            if jacobian is not None and (player == "critic" or self.scale_generator_loss):
                scale = diagnostics["scale"]
            sign = -1.0 if player == "critic" else 1.0
            losses[player] = (sign * scale * value, diagnostics)
        return losses

    def _value_and_scale(
        self, real: tf.Tensor, fake: tf.Tensor, jacobian: tf.Tensor | None
    ) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """Returns the discrepancy and diagnostics, `scale` among them when there is a Jacobian."""
        if self.objective == "scaled_mmd2":
            value, diagnostics = mmd.mmd2(self.kernel, real, fake, self.estimator)
            diagnostics = {"mmd2": value, **diagnostics}
        else:
            value = tf.reduce_mean(real) - tf.reduce_mean(fake)
            diagnostics = {"mean_difference": value}
        if jacobian is None:
            return value, diagnostics
        if self.objective == "scaled_mmd2":
            scale = scaled.smmd_scale(self.kernel, jacobian, self.scale_weight)
        else:
            scale = tf.sqrt(scaled.linear_scale(real, jacobian, self.scale_weight))
        squared = tf.reduce_mean(jacobian)
        return value, {**diagnostics, "scale": scale, "critic_gradient_squared": squared}
