"""MMD-GAN: a kernel on learned features, MMD^2 maximised by the critic, minimised by the generator.

critic:    -MMD^2(phi(X), phi(G(Z)))      (attractive loss; repulsive MMD-GAN paper, eq. 3)
generator:  MMD^2(phi(X), phi(G(Z)))      (eq. 2)
The SMMD paper's plain MMD-GAN ("Optimized MMD", eq. 3) is the same with its own kernel and rates.
"""

import keras
import tensorflow as tf

from kgzoo import kernels
from kgzoo.discrepancies import mmd
from kgzoo.errors import UserError, unknown_name
from kgzoo.methods.base import Batch, Losses, Method

__all__ = ["MMDGAN"]


@keras.saving.register_keras_serializable("kgzoo")
class MMDGAN(Method):
    """A generator against a critic's features under a kernel.

    Args:
        *args, **kwargs: as for `Method`.
        kernel: a kernel or its name.
        estimator: `unbiased`, `biased` or `u_statistic`.
    """

    config_fields = ("kernel", "estimator")

    def __init__(
        self,
        *args,
        kernel: kernels.Kernel | str = "gaussian",
        estimator: str = "unbiased",
        **kwargs,
    ):
        super().__init__(*args, **kwargs)
        if self.critic is None:
            raise UserError(f"critic=None: {type(self).__name__} needs a critic network.")
        if estimator not in mmd.ESTIMATORS:
            raise unknown_name("estimator", estimator, mmd.ESTIMATORS)
        self.kernel, self.estimator = kernels.get(kernel), estimator

    def losses(self, batch: Batch, players: tuple[str, ...]) -> Losses:
        count = tf.shape(batch.real)[0]
        fake = self.generate(batch, players)
        features = self.critic(tf.concat([batch.real, fake], axis=0), training=True)
        features = tf.cast(features, tf.float32)
        real, fake = self.gather(features[:count]), self.gather(features[count:])
        value, diagnostics = mmd.mmd2(self.kernel, real, fake, self.estimator)
        diagnostics = {"mmd2": value, **diagnostics}
        signs = {"critic": -1.0, "generator": 1.0}
        return {player: (signs[player] * value, diagnostics) for player in players}
