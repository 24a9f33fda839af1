"""Scaled MMD-GAN and SWGAN; Arbel, Sutherland, Binkowski and Gretton (2018), arXiv:1805.11565.

scale:      1 / (1 + 10 mean ||grad phi(X)||_F^2) on real images X            (section 4, Prop. 4)
SMMD:       critic -scale MMD^2(phi(X), phi(G(Z))),  generator +scale MMD^2
SWGAN:      critic -sqrt(scale') (mean phi(X) - mean phi(G(Z))),  generator the opposite,
            scale' = 1 / (1 + 10 (mean |phi(X)|^2 + mean ||grad phi(X)||_F^2))
repulsive:  critic scale'' (E k(x, x') - E k(y, y') - 1),  generator MMD^2, scale'' with 0.1 for 10
            (Wang, Sun and Halgamuge, 2019, eq. S8; 1 is k(x, x), so that the bracket is never > 0)
SMMD-DK:    as SMMD, under a trained kernel, whose slope at a point is E w w^T: see `kernel_scale`
            (KernelNet paper: Zhou, Chen and Xu, 2019, Prop. 6, eq. 11)
Differs from the authors' code in: gradients are clipped only when the optimizer says so (the code
clips every variable's to norm 1, the paper does not mention it).
"""

from collections.abc import Callable

import keras
import tensorflow as tf

from kgzoo import kernels
from kgzoo.discrepancies import kernel_scale, mmd, repulsive, scaled
from kgzoo.errors import UserError, unknown_name
from kgzoo.methods.base import Batch, Losses
from kgzoo.methods.trained_kernel import KernelMethod

__all__ = ["SMMD"]

_OBJECTIVES = ("scaled_mmd2", "scaled_mean_difference", "scaled_repulsive")


@keras.saving.register_keras_serializable("kgzoo")
class SMMD(KernelMethod):
    """MMD-GAN whose loss is divided by the critic's mean squared gradient on real images.

    Args:
        *args, **kwargs: as for `KernelMethod`; scaled_mmd2 has a stationary or trained kernel,
            scaled_repulsive a stationary one, SWGAN the linear one.
        objective: `scaled_mmd2` (SMMD), `scaled_mean_difference` (SWGAN; one critic output) or
            `scaled_repulsive`.
        estimator: `unbiased`, `biased` or `u_statistic`.
        scale_weight: the constant 10 of the paper, meant for images in [0, 1].
        scale_form: the scale under a trained kernel: `exact`, or as printed `proposition_6` and
            `equation_11`, or the `authors`' code.
        regularization: lambda of `proposition_6`.
        scale_generator_loss: whether the generator's loss carries the scale too, as printed. The
            scale does not depend on the generator: it changes the size of its gradient alone.
    """

    config_fields = (
        *KernelMethod.kernel_fields,
        *("objective", "estimator", "scale_weight", "scale_generator_loss", "scale_form"),
        "regularization",
    )

    def __init__(
        self,
        *args,
        objective: str = "scaled_mmd2",
        estimator: str = "unbiased",
        scale_weight: float = 10.0,
        scale_generator_loss: bool = True,
        scale_form: str = "exact",
        regularization: float = 1.0,
        **kwargs,
    ):
        super().__init__(*args, **kwargs)
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
        if scale_form not in kernel_scale.FORMS:
            raise unknown_name("scale_form", scale_form, kernel_scale.FORMS)
        if not 0 < regularization < float("inf"):
            raise UserError(
                f"regularization={regularization} is out of range; give a number above 0."
            )
        for field, value, used, default in (
            ("scale_form", scale_form, self.trains_kernel, "exact"),
            ("regularization", regularization, scale_form == "proposition_6", 1.0),
        ):
            if not used and value != default:
                raise UserError(
                    f"{field}={value!r} has no effect here; set {field}={default}, or kernel=dk "
                    "and scale_form=proposition_6."
                )
        self._needs_gradients_by_example("objective", objective)
        kinds = {
            "scaled_mean_difference": isinstance(self.kernel, kernels.Linear),
            "scaled_repulsive": kernels.is_stationary(self.kernel),
            "scaled_mmd2": kernels.is_stationary(self.kernel) or self.trains_kernel,
        }
        if not kinds[objective]:
            raise UserError(
                f"kernel={self.kernel!r} does not go with objective={objective!r}; the linear "
                "kernel goes with scaled_mean_difference, stationary ones with the others, trained "
                "ones with scaled_mmd2: choose another."
            )
        self.objective, self.estimator, self.scale_form = objective, estimator, scale_form
        self.scale_weight, self.scale_generator_loss = float(scale_weight), scale_generator_loss
        self.regularization = float(regularization)

    def losses(self, batch: Batch, players: tuple[str, ...]) -> Losses:
        fake = self.generate(batch, players)

        def network(x: tf.Tensor) -> tf.Tensor:
            return self.critic_outputs(x) / self.bandwidth(batch)

        needs_scale = "critic" in players or self.scale_generator_loss
        real, jacobian = self._on_real(network, batch.real) if needs_scale else (None, None)
        real = network(batch.real) if real is None else real
        real, fake = self.gather(real), self.gather(network(fake))
        kernel = self.kernel_of(batch)
        value, diagnostics = self._value(kernel, real, fake)
        scale = tf.ones([])
        if jacobian is not None:
            jacobian = self.gather(jacobian)
            scale = self._scale(kernel, real, jacobian)
            squared = tf.linalg.trace(jacobian) if self.trains_kernel else jacobian
            squared = tf.reduce_mean(squared)
            diagnostics = {**diagnostics, "scale": scale, "critic_gradient_squared": squared}
        losses: Losses = {}
        if "generator" in players:
            factor = scale if self.scale_generator_loss else 1.0
            losses["generator"] = (factor * value, diagnostics)
        if "critic" in players:
            losses["critic"] = (scale * self._critic_value(value, real, fake), diagnostics)
        return self.with_kernel_penalty(losses, kernel, real, fake)

    def _on_real(self, network: Callable, real: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns features, and of their Jacobians what the scale needs: Gram matrices or norms."""
        if self.trains_kernel:
            return scaled.features_and_jacobian_gram(network, real)
        return scaled.features_and_jacobian(network, real)

    def _value(
        self, kernel: kernels.Kernel, real: tf.Tensor, fake: tf.Tensor
    ) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """Returns the discrepancy that the generator minimises, before the scale."""
        if self.objective == "scaled_mean_difference":
            value = tf.reduce_mean(real) - tf.reduce_mean(fake)
            return value, {"mean_difference": value}
        value, diagnostics = mmd.mmd2(kernel, real, fake, self.estimator)
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

    def _scale(self, kernel: kernels.Kernel, real: tf.Tensor, jacobian: tf.Tensor) -> tf.Tensor:
        if self.objective == "scaled_mean_difference":
            return tf.sqrt(scaled.linear_scale(real, jacobian, self.scale_weight))
        if self.trains_kernel:
            form, weight = self.scale_form, self.scale_weight
            return kernel_scale.kernel_scale(
                kernel, real, jacobian, form, weight, self.regularization
            )
        return scaled.smmd_scale(self.kernel, jacobian, self.scale_weight)
