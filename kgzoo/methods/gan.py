"""GANs with classical losses on a scalar score; Goodfellow et al. (2014) and successors.

critic and generator: the pair named by `objective` in `kgzoo.discrepancies.adversarial`.
Printed in the repulsive MMD-GAN paper (Wang, Sun and Halgamuge, 2019), appendix B.1.
"""

import keras
import tensorflow as tf

from kgzoo.discrepancies import adversarial
from kgzoo.errors import UserError, unknown_name
from kgzoo.methods.base import Batch, Losses, Method

__all__ = ["GAN"]


@keras.saving.register_keras_serializable("kgzoo")
class GAN(Method):
    """A generator against a critic with one output.

    Args:
        *args, **kwargs: as for `Method`.
        objective: name of a pair in `adversarial.LOSSES`.
    """

    config_fields = ("objective",)

    def __init__(self, *args, objective: str = "non_saturating", **kwargs):
        super().__init__(*args, **kwargs)
        if objective not in adversarial.LOSSES:
            raise unknown_name("objective", objective, adversarial.LOSSES)
        if self.critic is None or self.critic.output_shape[-1] != 1:
            raise UserError(
                f"objective={objective!r} needs a critic with one output; set output_dim=1."
            )
        self.objective = objective

    def losses(self, batch: Batch, players: tuple[str, ...]) -> Losses:
        critic_loss, generator_loss = adversarial.LOSSES[self.objective]
        count = tf.shape(batch.real)[0]
        fake = self.generate(batch, players)
        losses: Losses = {}
        if "generator" in players:
            losses["generator"] = (generator_loss(self.critic(fake, training=True)), {})
        if "critic" in players:
            both = tf.concat([batch.real, tf.stop_gradient(fake)], axis=0)
            scores = self.critic(both, training=True)
            real, fake = scores[:count], scores[count:]
            diagnostics = {"score_real": tf.reduce_mean(real), "score_fake": tf.reduce_mean(fake)}
            losses["critic"] = (critic_loss(real, fake), diagnostics)
        return losses
