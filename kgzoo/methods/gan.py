"""GANs with classical losses on a scalar score; Goodfellow et al. (2014) and successors.

critic and generator: the pair named by `objective` in `kgzoo.discrepancies.adversarial`, most of
them printed in the repulsive MMD-GAN paper (Wang, Sun and Halgamuge, 2019), appendix B.1.
penalty, added to the critic's loss:
  gradient       10 mean (|grad D(u x + (1 - u) y)| - 1)^2      WGAN-GP; Gulrajani et al. (2017)
  sobolev        -alpha (1 - Omega) + rho / 2 (1 - Omega)^2     Sobolev GAN; Mroueh et al. (2018)
                 with Omega the mean of |grad D|^2 under (P + Q) / 2, and after every update
                 alpha <- alpha + rho (Omega - 1)
  consistency    10 mean |D(x) - D(T(x))|^2                     CR-GAN; Zhang et al. (2020)
"""

import keras
import tensorflow as tf

from kgzoo import regularizers
from kgzoo.discrepancies import adversarial, scaled
from kgzoo.errors import UserError, unknown_name
from kgzoo.methods import augmentation
from kgzoo.methods.base import Batch, Losses, Method

__all__ = ["GAN"]

_PENALTIES = ("none", "gradient", "sobolev", "consistency")


@keras.saving.register_keras_serializable("kgzoo")
class GAN(Method):
    """A generator against a critic with one output.

    Args:
        *args, **kwargs: as for `Method`.
        objective: name of a pair in `adversarial.LOSSES`.
        penalty: `none`, `gradient`, `sobolev` or `consistency`.
        penalty_weight: lambda of the gradient and consistency penalties, rho of the Sobolev one.
    """

    config_fields = ("objective", "penalty", "penalty_weight")

    def __init__(
        self,
        *args,
        objective: str = "non_saturating",
        penalty: str = "none",
        penalty_weight: float = 10.0,
        **kwargs,
    ):
        super().__init__(*args, **kwargs)
        if objective not in adversarial.LOSSES:
            raise unknown_name("objective", objective, adversarial.LOSSES)
        if penalty not in _PENALTIES:
            raise unknown_name("penalty", penalty, _PENALTIES)
        if self.critic is None or self.critic.output_shape[-1] != 1:
            raise UserError(
                f"objective={objective!r} needs a critic with one output; set output_dim=1."
            )
        if not 0 <= penalty_weight < float("inf"):
            raise UserError(f"penalty_weight={penalty_weight} is out of range; give a number >= 0.")
        if penalty in ("gradient", "sobolev"):
            self._needs_gradients_by_example("penalty", penalty)
        if penalty == "consistency" and self.kind != "image":
            raise UserError(
                "penalty='consistency' shifts and flips images; set penalty='none' for vector data."
            )
        self.objective, self.penalty = objective, penalty
        self.penalty_weight = float(penalty_weight)
        self.multiplier = None
        if penalty == "sobolev":
            self.multiplier = self.add_weight(
                name="multiplier",
                shape=(),
                dtype="float32",
                initializer="zeros",
                trainable=False,
                aggregation="only_first_replica",
            )

    def losses(self, batch: Batch, players: tuple[str, ...]) -> Losses:
        loss = adversarial.LOSSES[self.objective]
        fake = self.generate(batch, players)
        losses: Losses = {}
        on_fake = None
        if "generator" in players:
            on_fake = self.critic_outputs(fake)
            losses["generator"] = (loss.generator(on_fake), {})
        if "critic" in players:
            fake = tf.stop_gradient(fake)
            on_real, on_fake, squared = self._scores(batch, fake, on_fake)
            value = loss.critic(on_real, on_fake, self.label_smoothing)
            diagnostics = {
                "score_real": tf.reduce_mean(on_real),
                "score_fake": tf.reduce_mean(on_fake),
            }
            if self.penalty != "none":
                penalty, more = self._penalty(batch, fake, on_real, squared)
                value, diagnostics = value + penalty, {**diagnostics, **more}
            losses["critic"] = (value, diagnostics)
        return losses

    def _scores(
        self, batch: Batch, fake: tf.Tensor, on_fake: tf.Tensor | None
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor | None]:
        """Returns scores of real and generated examples, and squared gradient norms of both.

        The norms are those of the Sobolev penalty, whose points are these examples: one pass gives
        all of it. None for the other penalties. `on_fake`: scores that the generator's loss has.
        """
        if self.penalty != "sobolev" and on_fake is not None:
            return self.critic_outputs(batch.real), on_fake, None
        if self.penalty != "sobolev":
            return *self.outputs_on_both(batch, fake), None
        both = tf.concat([batch.real, fake], axis=0)
        outputs, squared = scaled.features_and_jacobian(self.critic_outputs, both)
        count = tf.shape(batch.real)[0]
        return outputs[:count], outputs[count:], squared

    def _penalty(
        self, batch: Batch, fake: tf.Tensor, on_real: tf.Tensor, squared: tf.Tensor | None
    ) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """Returns the weighted penalty and what is logged of it."""
        if self.penalty == "consistency":
            moved = self.critic_outputs(augmentation.shift_and_flip(batch.real, batch.noise))
            value = regularizers.consistency(on_real, moved)
            return self.penalty_weight * value, {"consistency": value}
        if self.penalty == "gradient":
            unit = batch.noise.unit("interpolation", [tf.shape(fake)[0]])
            points = regularizers.interpolate(batch.real, fake, unit)
            squared = regularizers.gradient_norms_squared(self.critic_outputs, points)
            value = regularizers.gradient_penalty(squared)
            return self.penalty_weight * value, {"gradient_penalty": value}
        excess = tf.reduce_mean(self.gather(squared)) - 1.0
        multiplier = tf.convert_to_tensor(self.multiplier)
        value = multiplier * excess + 0.5 * self.penalty_weight * tf.square(excess)
        return value, {"sobolev_constraint": excess + 1.0, "multiplier": multiplier}

    def _after_update(self, players: tuple[str, ...], logs: dict[str, tf.Tensor]) -> None:
        super()._after_update(players, logs)
        if "critic" in players and self.multiplier is not None:
            # The constraint of the block estimator differs between replicas: the mean is taken.
            excess = logs["sobolev_constraint"] - 1.0
            context = tf.distribute.get_replica_context()
            if context is not None and context.num_replicas_in_sync > 1:
                excess = context.all_reduce(tf.distribute.ReduceOp.MEAN, excess)
            self.multiplier.assign_add(self.penalty_weight * excess)
