"""Kernels that are trained: a third player beside critic and generator (KernelNet paper).

The kernel network minimises the critic's loss, together with the critic, by an optimizer of its
own. Omega of eq. 9 joins the losses of all three, with weights alpha_1 and alpha_2.
"""

from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from kgzoo import kernels
from kgzoo.errors import UserError, unknown_name
from kgzoo.kernels import spectral
from kgzoo.methods.base import Batch, Method

__all__ = ["KernelMethod"]

_NORMS = spectral.PENALTY_NORMS
_PAIRS = ("cross", "real")


class KernelMethod(Method):
    """A method with a critic under a kernel, which may be trained.

    Args:
        *args, **kwargs: as for `Method`.
        kernel: a kernel or its name.
        kernel_penalty_weight: alpha_2, of Omega in the loss of critic and kernel network.
        kernel_penalty_generator_weight: alpha_1, of Omega in the generator's loss.
        kernel_penalty_norm: of Omega's Jacobian term: `frobenius`, as printed, or `squared`.
        kernel_penalty_pairs: over which Omega is averaged: `cross` (real and generated points, so
            that it depends on the generator, as eq. 9 says) or `real` (the authors' code).
    """

    kernel_fields = (
        *("kernel", "kernel_penalty_weight", "kernel_penalty_generator_weight"),
        *("kernel_penalty_norm", "kernel_penalty_pairs"),
    )
    has_kernel = True

    def __init__(
        self,
        *args: Any,
        kernel: kernels.Kernel | str = "gaussian",
        kernel_penalty_weight: float = 0.0,
        kernel_penalty_generator_weight: float = 0.0,
        kernel_penalty_norm: str = "frobenius",
        kernel_penalty_pairs: str = "cross",
        **kwargs: Any,
    ):
        super().__init__(*args, **kwargs)
        if self.critic is None:
            raise UserError(f"critic=None: {type(self).__name__} needs a critic network.")
        self.kernel = self._own_kernel(kernel)
        self.kernel_penalty_norm, self.kernel_penalty_pairs = (
            kernel_penalty_norm,
            kernel_penalty_pairs,
        )
        self.kernel_penalty_weight = float(kernel_penalty_weight)
        self.kernel_penalty_generator_weight = float(kernel_penalty_generator_weight)
        for field, known in (("kernel_penalty_norm", _NORMS), ("kernel_penalty_pairs", _PAIRS)):
            if getattr(self, field) not in known:
                raise unknown_name(field, getattr(self, field), known)
        for field in ("kernel_penalty_weight", "kernel_penalty_generator_weight"):
            weight = getattr(self, field)
            if not 0 <= weight < float("inf"):
                raise UserError(f"{field}={weight} is out of range; give a number >= 0.")
            if weight and not self.trains_kernel:
                raise UserError(
                    f"{field}={weight} needs a trained kernel, not {self.kernel!r}; set kernel=dk, "
                    "or kernel_penalty_weight=0 and kernel_penalty_generator_weight=0."
                )
        if self.trains_kernel and not self.kernel.built:
            self.kernel.build((None, self.critic.output_shape[-1]))

    @classmethod
    def unused_fields(cls, config: Mapping[str, Any]) -> tuple[str, ...]:
        trained = isinstance(kernels.get(config["kernel"]), kernels.KernelNet)
        return () if trained else ("kernel_learning_rate_ratio",)

    @property
    def trains_kernel(self) -> bool:
        """Whether the kernel is a player."""
        return isinstance(self.kernel, kernels.KernelNet)

    @property
    def players(self) -> dict[str, list[keras.Variable]]:
        players = super().players
        # Asked for by the base's constructor before there is a kernel.
        if isinstance(getattr(self, "kernel", None), kernels.KernelNet):
            players["kernel"] = self.kernel.trainable_variables
        return players

    @property
    def extra_players(self) -> tuple[str, ...]:
        return ("critic", "kernel") if self.trains_kernel else ("critic",)

    def kernel_of(self, batch: Batch) -> kernels.Kernel:
        """Returns the kernel of this update: a trained one with its spectral samples drawn."""
        if not self.trains_kernel:
            return self.kernel
        return self.kernel.draw(batch.noise.shared_seed("bandwidth", slot=1))

    def with_kernel_penalty(
        self, losses: dict, kernel: kernels.Kernel, real: tf.Tensor, fake: tf.Tensor
    ) -> dict:
        """Returns the losses with Omega added and logged, and the kernel's own loss: the critic's.

        Args:
            losses: of generator or critic, as `Method.losses` returns them.
            kernel: what `kernel_of` returned.
            real, fake: all features `[n, s]` of the update.
        """
        if not self.trains_kernel:
            return losses
        weights = {
            "generator": self.kernel_penalty_generator_weight,
            "critic": self.kernel_penalty_weight,
        }
        more = {"kernel_smallest_eigenvalue": _smallest_eigenvalue(kernel.matrix(real, real))}
        penalty = tf.zeros([])
        if any(weights[player] for player in losses):
            pairs = (real, fake) if self.kernel_penalty_pairs == "cross" else (real, real)
            penalty = more["kernel_penalty"] = kernel.penalty(*pairs, self.kernel_penalty_norm)
        found = {
            player: (loss + weights[player] * penalty, {**logs, **more})
            for player, (loss, logs) in losses.items()
        }
        if "critic" in found:
            found["kernel"] = found["critic"]
        return found


def _smallest_eigenvalue(matrix: tf.Tensor) -> tf.Tensor:
    """Returns the smallest eigenvalue, without a gradient; NaN where the matrix is not finite."""
    matrix = tf.stop_gradient(matrix)
    finite = tf.reduce_all(tf.math.is_finite(matrix))
    # The decomposition itself would raise, before the loss can say which step diverged.
    value = tf.linalg.eigvalsh(tf.where(finite, matrix, tf.zeros_like(matrix)))[0]
    return tf.where(finite, value, tf.constant(float("nan"), matrix.dtype))
