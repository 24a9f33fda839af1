"""MMD nets: a generator alone, against fixed kernels.

generator: MMD^2 = mean k(x, x') - 2 mean k(x, y) + mean k(y, y'), or its root, k = sum of Gaussians
(Li, Swersky and Zemel, 2015; Dziugaite, Roy and Ghahramani, 2015; GRAM paper, eq. 2), between
examples, or between codes of an autoencoder that was trained before (GMMN-AE).
"""

from typing import Any

import keras

from kgzoo import kernels, regularizers
from kgzoo.discrepancies import mmd
from kgzoo.errors import UserError, unknown_name
from kgzoo.methods.base import Batch, Losses
from kgzoo.methods.fixed_kernel import FixedKernelMethod

__all__ = ["MMDNet"]

_OBJECTIVES = ("mmd", "mmd2")


@keras.saving.register_keras_serializable("kgzoo")
class MMDNet(FixedKernelMethod):
    """A generator that minimises the MMD to the data, in data or in code space.

    Args:
        *args, **kwargs: as for `FixedKernelMethod`.
        objective: `mmd`, the square root (Li et al.'s), or `mmd2`.
        estimator: `biased` (the papers'), and for `mmd2` `unbiased` or `u_statistic`.
    """

    config_fields = (*FixedKernelMethod.fixed_kernel_fields, "objective", "estimator")

    def __init__(
        self, *args: Any, objective: str = "mmd", estimator: str = "biased", **kwargs: Any
    ):
        super().__init__(*args, **kwargs)
        if objective not in _OBJECTIVES:
            raise unknown_name("objective", objective, _OBJECTIVES)
        if estimator not in mmd.ESTIMATORS:
            raise unknown_name("estimator", estimator, mmd.ESTIMATORS)
        if objective == "mmd" and estimator != "biased":
            raise UserError(
                f"estimator={estimator!r} is often negative and has no root then; set "
                "estimator='biased' or objective='mmd2'."
            )
        self.objective, self.estimator = objective, estimator
        self._untracked.kernel = kernels.gaussian_mixture(self.bandwidths)

    def losses(self, batch: Batch, players: tuple[str, ...]) -> Losses:
        if "autoencoder" in players:
            return self.autoencoder_losses(batch)
        made = self.generate(batch, players)
        real, fake = map(self.gather, self.compared(batch, made, players))
        width = self.bandwidth_factor(batch, real, fake)
        value, diagnostics = mmd.mmd2(
            self._untracked.kernel, real / width, fake / width, self.estimator
        )
        diagnostics = {"mmd2": value, **diagnostics}
        if self.objective == "mmd":
            value = regularizers.safe_sqrt(value)
        return {"generator": (value, diagnostics)}
