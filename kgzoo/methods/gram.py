"""Generative ratio matching (GRAM): a critic that keeps density ratios, a generator by its MMD.

critic:    L_theta = mean (r - 1)^2 + lambda sum r, maximised; r the closed-form density ratio of
           the features, r = (M / N) (K_qq + ridge I)^-1 K_qp 1, the mean over the kernels
generator: L_gamma = MMD^2 of the features, biased, under the sum of the kernels, minimised
(GRAM paper: Srivastava et al., 2020, https://arxiv.org/abs/1806.00101, eq. 9, 8 and 10). Its
algorithm 1 updates both at once, each by the gradient of its own loss at the same weights; one pass
through the networks and one set of Gram matrices serve both.

Beyond the paper: the factor M / N of eq. 8; the ridge and the square root of MMD^2, both from the
public code; lambda times the mean in place of the sum, and clipping (footnote 3), as options.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from kgzoo import kernels, regularizers
from kgzoo.discrepancies import mmd, ratio_matching
from kgzoo.errors import UserError, unknown_name
from kgzoo.kernels import bandwidths as widths
from kgzoo.methods.base import Batch, Losses, Method

__all__ = ["GRAM"]

_OBJECTIVES = ("mmd2", "mmd")
# Mean kernels below this share of k(x, x), or above the rest, leave next to no gradient.
_SATURATED = 1e-3


@keras.saving.register_keras_serializable("kgzoo")
class GRAM(Method):
    """A generator by the MMD of a critic's features, whose critic matches density ratios.

    Args:
        *args, **kwargs: as for `Method`; `critic_steps` stays 1. An early critic schedule updates
            the critic by itself before the joint steps.
        objective: of the generator, `mmd2` (eq. 10), or `mmd` for its square root.
        bandwidths: of Gaussian kernels, in units of the features.
        bandwidth_rule: `fixed`, or `median`: times the median distance of the batch's features.
        ridge: added to the diagonal of K_qq; >= 0.
        positivity: `penalty`, `clip` or `none`, as in `ratio_matching.critic_loss`.
        positivity_weight: lambda.
        positivity_reduction: `sum` or `mean`.
    """

    config_fields = (
        *("objective", "bandwidths", "bandwidth_rule", "ridge"),
        *("positivity", "positivity_weight", "positivity_reduction"),
    )
    has_kernel = True

    def __init__(
        self,
        *args,
        objective: str = "mmd",
        bandwidths: Sequence[float] = (1.0,),
        bandwidth_rule: str = "fixed",
        ridge: float = 1e-3,
        positivity: str = "penalty",
        positivity_weight: float = 1.0,
        positivity_reduction: str = "sum",
        **kwargs,
    ):
        super().__init__(*args, **kwargs)
        self.objective, self.bandwidth_rule = objective, bandwidth_rule
        self.bandwidths, self.ridge = widths.as_bandwidths(bandwidths), ridge
        self.positivity, self.positivity_weight = positivity, positivity_weight
        self.positivity_reduction = positivity_reduction
        self._check_fields()

    def _check_fields(self) -> None:
        if self.critic is None:
            raise UserError(f"critic=None: {type(self).__name__} needs a critic; give a network.")
        if self.critic_steps != 1:
            raise UserError(
                f"critic_steps={self.critic_steps} does not fit the joint step, in which critic "
                "and generator move once each; set critic_steps=1."
            )
        if self.label_smoothing:
            raise UserError(
                f"label_smoothing={self.label_smoothing} has no labels to smooth in a density "
                "ratio; set label_smoothing=0."
            )
        for field, known in (("objective", _OBJECTIVES), ("bandwidth_rule", widths.RULES)):
            if getattr(self, field) not in known:
                raise unknown_name(field, getattr(self, field), known)
        names = ("ridge", "positivity", "positivity_weight", "positivity_reduction")
        ratio_matching.check_fields(**{name: getattr(self, name) for name in names})

    @classmethod
    def unused_fields(cls, config: Mapping[str, Any]) -> tuple[str, ...]:
        return ("joint_update",)

    @property
    def schedule(self) -> tuple[tuple[str, ...], ...]:
        """One joint update a step."""
        return (("critic", "generator"),)

    def losses(self, batch: Batch, players: tuple[str, ...]) -> Losses:
        fake = self.generate(batch, players)
        x, y = (self.gather(features) for features in self.outputs_on_both(batch, fake, players))
        width = self.bandwidth(batch) * widths.unit(self.bandwidth_rule, x, y)
        # In float64, as the ratios need it, so that one set of Gram matrices serves both losses.
        x, y = (tf.cast(features / width, tf.float64) for features in (x, y))
        mixture = kernels.gaussian_mixture(self.bandwidths)
        value, diagnostics = mmd.mmd2(mixture, x, y, "biased")
        diagnostics = {"mmd2": value, **diagnostics}
        losses: Losses = {}
        if "critic" in players:
            ratio = ratio_matching.ratios(mixture.kernels, x, y, self.ridge)
            loss, more = ratio_matching.critic_loss(
                ratio, self.positivity, self.positivity_weight, self.positivity_reduction
            )
            losses["critic"] = _single(loss, {**diagnostics, **more})
        if "generator" in players:
            loss = regularizers.safe_sqrt(value) if self.objective == "mmd" else value
            losses["generator"] = _single(loss, diagnostics)
        return losses

    def complaint(self, logs: Mapping[str, float]) -> str:
        """Says when features are out of the kernels' reach, or coincide: nothing is learned then.

        Apart, each example meets itself alone in the biased means of k(x, x') and k(y, y'), and
        the ratios are 0.
        """
        names = ("kernel_xx", "kernel_xy", "kernel_yy")
        means = [logs[name] / len(self.bandwidths) for name in names]
        if means[1] < _SATURATED and abs(logs.get("mean_ratio", 0.0)) < _SATURATED:
            return (
                "the critic's features of real and generated examples are out of reach of every "
                "kernel (mean kernel and mean ratio are near 0); give a larger one among "
                "--config.bandwidths or lower --config.learning_rate_multiplier."
            )
        if min(means) > 1 - _SATURATED:
            return (
                "the critic's features coincide for every kernel (all mean kernels are near their "
                "largest value); give a smaller one among --config.bandwidths or raise "
                "--config.learning_rate_multiplier."
            )
        return ""


def _single(loss: tf.Tensor, diagnostics: dict[str, tf.Tensor]) -> tuple:
    """Returns both as float32, the type of every method's losses and logs."""
    return tf.cast(loss, tf.float32), {
        name: tf.cast(value, tf.float32) for name, value in diagnostics.items()
    }
