"""MMD-GANs: a kernel on learned features, and what keeps the critic in bounds.

critic:    L_{D,lambda} = lambda E k(x, x') - (lambda - 1) E k(x, y) - E k(y, y')
generator: MMD^2 = E k(x, x') - 2 E k(x, y) + E k(y, y')
(repulsive MMD-GAN paper: Wang, Sun and Halgamuge, 2019, eq. 5 and 2; lambda = -1 is the attractive
loss -MMD^2 and the SMMD paper's "Optimized MMD", eq. 3), with k bounded for the critic alone (eq. 6
and 7). Terms that a row may add to the critic's loss:
  gradient penalty on the witness function, L2 penalty on the layers' outputs (Binkowski et al.,
  2018), and, from Li et al. (2017), a decoder that makes the critic invertible, the feasible set
  E f(x) >= E f(y), which the generator sees too, and sqrt(MMD^2) in place of MMD^2.
"""

from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from kgzoo import kernels, regularizers
from kgzoo.discrepancies import mmd, repulsive
from kgzoo.errors import UserError, unknown_name
from kgzoo.methods.base import Batch, Losses
from kgzoo.methods.trained_kernel import KernelMethod

__all__ = ["MMDGAN"]

_OBJECTIVES = ("mmd2", "mmd")
_PENALTIES = ("none", "gradient")
# Mean kernels below this share of k(x, x), or above the rest, leave next to no gradient.
_SATURATED = 1e-3


@keras.saving.register_keras_serializable("kgzoo")
class MMDGAN(KernelMethod):
    """A generator against a critic's features under a kernel.

    Args:
        *args, **kwargs: as for `KernelMethod`.
        decoder: model from features to examples, or None; it is part of the player `critic`.
        objective: `mmd2`, or `mmd` for the square root (attractive loss alone).
        estimator: `unbiased`, `biased` or `u_statistic`.
        repulsion: lambda of L_{D,lambda}.
        bounding: `none`, `paper` or `sign`, as in `discrepancies.repulsive.bounded`.
        penalty: `none`, or `gradient` for (|grad f| - 1)^2 of the witness function at interpolates.
        penalty_weight: its weight.
        normalize_witness: whether the witness is divided by its norm in the RKHS.
        activation_weight: weight of the mean squares of all layers' outputs.
        autoencoder_weight: weight of the decoder's mean squared error, on real and on generated.
        feasible_set_weight: weight of the feasible set reduction.
    """

    config_fields = (
        *KernelMethod.kernel_fields,
        *("objective", "estimator", "repulsion", "bounding", "penalty"),
        *("penalty_weight", "normalize_witness", "activation_weight", "autoencoder_weight"),
        "feasible_set_weight",
    )

    def __init__(
        self,
        *args,
        decoder: keras.Model | None = None,
        objective: str = "mmd2",
        estimator: str = "unbiased",
        repulsion: float = -1.0,
        bounding: str = "none",
        penalty: str = "none",
        penalty_weight: float = 1.0,
        normalize_witness: bool = False,
        activation_weight: float = 0.0,
        autoencoder_weight: float = 0.0,
        feasible_set_weight: float = 0.0,
        **kwargs,
    ):
        super().__init__(*args, **kwargs)
        self.decoder = decoder
        self.objective, self.estimator = objective, estimator
        self.repulsion, self.bounding = float(repulsion), bounding
        self.penalty, self.normalize_witness = penalty, bool(normalize_witness)
        self.penalty_weight = float(penalty_weight)
        self.activation_weight = float(activation_weight)
        self.autoencoder_weight = float(autoencoder_weight)
        self.feasible_set_weight = float(feasible_set_weight)
        self._check_fields()
        # With the layers' outputs; a tracked model would be saved a second time.
        self._untracked.layers = self._layers_model() if activation_weight else None

    def _check_fields(self) -> None:
        for field, known in (
            ("objective", _OBJECTIVES),
            ("estimator", mmd.ESTIMATORS),
            ("penalty", _PENALTIES),
        ):
            if getattr(self, field) not in known:
                raise unknown_name(field, getattr(self, field), known)
        if self.penalty != "none":
            self._needs_gradients_by_example("penalty", self.penalty)
        repulsive.bounded(self.kernel, self.repulsion, self.bounding)
        if not abs(self.repulsion) < float("inf"):
            raise UserError(f"repulsion={self.repulsion} is out of range; give a finite number.")
        for field in ("penalty", "activation", "autoencoder", "feasible_set"):
            weight = getattr(self, f"{field}_weight")
            if not 0 <= weight < float("inf"):
                raise UserError(f"{field}_weight={weight} is out of range; give a number >= 0.")
        if self.objective == "mmd" and (self.repulsion != -1 or self.bounding != "none"):
            raise UserError(
                f"objective='mmd' does not go with repulsion={self.repulsion} and "
                f"bounding={self.bounding!r}; set objective=mmd2, or repulsion=-1, bounding=none."
            )
        if self.autoencoder_weight and self.decoder is None:
            raise UserError(
                f"autoencoder_weight={self.autoencoder_weight} needs a decoder; give one or set 0."
            )

    @classmethod
    def build_networks(cls, config: dict, builders: Any, **shapes: Any) -> dict[str, keras.Model]:
        """Adds the decoder, of the generator's architecture, when the autoencoder is on."""
        found = super().build_networks(config, builders, **shapes)
        if config["autoencoder_weight"]:
            found["decoder"] = cls.build_decoder(config, builders, **shapes)
        return found

    def _networks(self) -> dict[str, keras.Model]:
        decoder = getattr(self, "decoder", None)
        return super()._networks() | ({"decoder": decoder} if decoder is not None else {})

    @property
    def players(self) -> dict[str, list[keras.Variable]]:
        players = super().players
        decoder = players.pop("decoder", [])
        return {**players, "critic": players["critic"] + decoder}

    def _layers_model(self) -> keras.Model:
        outputs = [
            layer.output
            for layer in self.critic.layers
            if isinstance(layer, (keras.layers.ReLU, keras.layers.LeakyReLU))
            or getattr(layer, "activation", keras.activations.linear) != keras.activations.linear
        ]
        return keras.Model(self.critic.inputs, [*outputs, *self.critic.outputs])

    def _outputs(self, examples: tf.Tensor) -> list[tf.Tensor]:
        """Returns the critic's features last, before them what `activation_penalty` sees."""
        if self._untracked.layers is None:
            return [self.critic_outputs(examples)]
        *hidden, features = self._untracked.layers(examples, training=True)
        return [*hidden, tf.cast(features, tf.float32)]

    def losses(self, batch: Batch, players: tuple[str, ...]) -> Losses:
        fake = self.generate(batch, players)
        of_real, of_fake = self.on_both(self._outputs, batch, fake, players)
        every_real, every_fake = self.gather(of_real[-1]), self.gather(of_fake[-1])
        width = self.bandwidth(batch)
        x, y = every_real / width, every_fake / width
        kernel = self.kernel_of(batch)
        value, diagnostics = mmd.mmd2(kernel, x, y, self.estimator)
        diagnostics = {"mmd2": value, **diagnostics}
        feasible = tf.zeros_like(value)
        if self.feasible_set_weight:
            feasible = regularizers.feasible_set(every_real, every_fake)
            diagnostics["feasible_set"] = feasible
        losses: Losses = {}
        if "generator" in players:
            value = regularizers.safe_sqrt(value) if self.objective == "mmd" else value
            losses["generator"] = (value + self.feasible_set_weight * feasible, diagnostics)
        if "critic" in players:
            loss, more = self._critic_loss(kernel, x, y)
            penalty, terms = self._penalties(batch, kernel, fake, of_real, of_fake, x, y)
            loss += penalty - self.feasible_set_weight * feasible
            losses["critic"] = (loss, {**diagnostics, **more, **terms})
        return self.with_kernel_penalty(losses, kernel, x, y)

    def complaint(self, logs: Mapping[str, float]) -> str:
        """Says when each of the three mean kernels sits at 0 or at k(x, x): none has a gradient."""
        if not kernels.is_stationary(self.kernel):
            return ""
        means = [logs[f"kernel_{name}"] / self.kernel.at_zero for name in ("xx", "xy", "yy")]
        if any(_SATURATED <= mean <= 1 - _SATURATED for mean in means):
            return ""
        if means[1] < _SATURATED:
            return (
                "the critic's outputs are too far apart for the kernel (the mean of real with "
                "generated ones is near 0, the others at 0 or at their largest value); lower "
                "--config.spectral_constant or --config.learning_rate_multiplier."
            )
        if min(means) > 1 - _SATURATED:
            return (
                "the critic's outputs coincide for the kernel (all mean kernels are near their "
                "largest value); raise --config.spectral_constant or the rates."
            )
        return ""

    def _critic_loss(
        self, kernel: kernels.Kernel, x: tf.Tensor, y: tf.Tensor
    ) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        loss, bounded = repulsive.critic_loss(
            kernel,
            x,
            y,
            self.repulsion,
            self.bounding,
            self.estimator,
            self.label_smoothing,
        )
        if self.objective == "mmd":
            loss = -regularizers.safe_sqrt(-loss)
        if self.bounding == "none":
            return loss, {}
        return loss, {f"bounded_{name}": mean for name, mean in bounded.items()}

    def _penalties(
        self,
        batch: Batch,
        kernel: kernels.Kernel,
        fake: tf.Tensor,
        of_real: list[tf.Tensor],
        of_fake: list[tf.Tensor],
        x: tf.Tensor,
        y: tf.Tensor,
    ) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """Returns the sum of the weighted terms, all means over examples, and each by itself.

        Args:
            kernel: of this update.
            batch, fake: real and generated examples of this replica, `[n, ...]`.
            of_real, of_fake: their `_outputs`.
            x, y: the features of all replicas, as the kernel sees them.
        """
        terms: dict[str, tuple[float, tf.Tensor]] = {}
        if self.penalty == "gradient":

            def function(points: tf.Tensor) -> tf.Tensor:
                features = self.critic_outputs(points) / self.bandwidth(batch)
                return regularizers.witness(kernel, features, x, y, self.normalize_witness)

            unit = batch.noise.unit("interpolation", [tf.shape(fake)[0]])
            points = regularizers.interpolate(batch.real, fake, unit)
            squared = regularizers.gradient_norms_squared(function, points)
            value = regularizers.gradient_penalty(squared)
            terms["gradient_penalty"] = (self.penalty_weight, value)
        if self._untracked.layers is not None:
            values = [regularizers.activation_penalty(outputs) for outputs in (of_real, of_fake)]
            terms["activation_penalty"] = (self.activation_weight, tf.add_n(values))
        if self.autoencoder_weight:
            for name, examples, code in (("real", batch.real, of_real), ("fake", fake, of_fake)):
                value = regularizers.reconstruction(examples, self.decoder(code[-1], training=True))
                terms[f"reconstruction_{name}"] = (self.autoencoder_weight, value)
        total = tf.zeros([])
        for weight, value in terms.values():
            total += weight * value
        return total, {name: value for name, (_, value) in terms.items()}
