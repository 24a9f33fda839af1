"""Kernel GANs: Jensen-Shannon divergence of two kernel density estimates (Sinn and Rawat, 2017).

K_n = mean log (p(x) + phi) / (p(x) + q(x) + 2 phi)
    + mean log (q(y) + phi) / (p(y) + q(y) + 2 phi)
generator: +K_n;  a learned encoder: -K_n + autoencoder_weight (error on real + error on generated)
(eq. 12; section 3.2), p and q the estimates from the batch itself, between examples, between codes
of an autoencoder that was trained before, or between features learned against the generator. The
kernel may shrink as training goes on (section 3.1, Figure 1).
"""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kgzoo import regularizers
from kgzoo.discrepancies import jensen_shannon
from kgzoo.errors import UserError, unknown_name
from kgzoo.methods.base import Batch, Losses
from kgzoo.methods.fixed_kernel import FixedKernelMethod

__all__ = ["KernelGAN"]

_SCHEDULES = ("constant", "staircase", "geometric", "plateau")
_DENSITY_KERNELS = ("bare", "normalized")
# On a plateau: the loss is averaged over about 100 updates, and a fall by less is no progress.
_PLATEAU_MOMENTUM, _PLATEAU_PROGRESS = 0.99, 1e-3
# Above it (0 is what disjoint samples give, -log 4 coincident ones) next to no gradient is left.
_SATURATED = -1e-3


@keras.saving.register_keras_serializable("kgzoo")
class KernelGAN(FixedKernelMethod):
    """A generator against the optimal discriminator of two kernel density estimates.

    Args:
        *args, **kwargs: as for `FixedKernelMethod`; `space` may be `critic` here.
        decoder: from features to examples, or None; part of the player `critic`.
        mixture: of several bandwidths within a density: `sum` or `mean` (they differ by the factor
            1/K, which cancels unless phi > 0).
        density_kernels: `bare`, or `normalized`: each kernel over its integral, with 1/sigma^d.
        density_offset: phi.
        bounded_correction: `none`, or the terms of appendix A.2 for data in [0, 1]: `printed`, or
            `corrected` by the factor phi that they lack.
        bandwidth_schedule: `constant`: all bandwidths at once; else one at a time, in their order:
            `staircase` (each for `bandwidth_every_steps`), `geometric` (from the first to the last
            over so many steps) or `plateau` (the next when so many steps brought no progress).
        bandwidth_every_steps: see there.
        autoencoder_weight: weight of the decoder's mean squared error, on real and on generated.
    """

    config_fields = (
        *FixedKernelMethod.fixed_kernel_fields,
        *("mixture", "density_kernels", "density_offset", "bounded_correction"),
        *("bandwidth_schedule", "bandwidth_every_steps", "autoencoder_weight"),
    )
    spaces = ("data", "code", "critic")

    def __init__(
        self,
        *args: Any,
        decoder: keras.Model | None = None,
        mixture: str = "sum",
        density_kernels: str = "bare",
        density_offset: float = 0.0,
        bounded_correction: str = "none",
        bandwidth_schedule: str = "constant",
        bandwidth_every_steps: int = 10_000,
        autoencoder_weight: float = 0.0,
        **kwargs: Any,
    ):
        super().__init__(*args, **kwargs)
        self.decoder = decoder
        self.mixture, self.density_kernels = mixture, density_kernels
        self.density_offset, self.bounded_correction = float(density_offset), bounded_correction
        self.bandwidth_schedule = bandwidth_schedule
        self.bandwidth_every_steps = bandwidth_every_steps
        self.autoencoder_weight = float(autoencoder_weight)
        self._check_fields()
        if bandwidth_schedule == "plateau":
            self._plateau = {
                name: self.add_weight(
                    name=f"plateau_{name}",
                    shape=(),
                    dtype="float32",
                    initializer="zeros",
                    trainable=False,
                    autocast=False,
                    aggregation="only_first_replica",
                )
                for name in ("index", "updates", "mean", "best", "since")
            }

    def _check_fields(self) -> None:
        for field, known in (
            ("mixture", jensen_shannon.MIXTURES),
            ("density_kernels", _DENSITY_KERNELS),
            ("bounded_correction", jensen_shannon.CORRECTIONS),
            ("bandwidth_schedule", _SCHEDULES),
        ):
            if getattr(self, field) not in known:
                raise unknown_name(field, getattr(self, field), known)
        for field in ("density_offset", "autoencoder_weight"):
            if not 0 <= getattr(self, field) < float("inf"):
                raise UserError(
                    f"{field}={getattr(self, field)} is out of range; give a number >= 0."
                )
        if not 1 <= self.bandwidth_every_steps < float("inf"):
            raise UserError(
                f"bandwidth_every_steps={self.bandwidth_every_steps} is out of range; give a whole "
                "number of at least 1."
            )
        if self.autoencoder_weight and self.decoder is None:
            raise UserError(
                f"autoencoder_weight={self.autoencoder_weight} needs a decoder, which space="
                "'critic' has; set autoencoder_weight=0."
            )
        if self.bandwidth_schedule != "constant" and len(self.bandwidths) < 2:
            raise UserError(
                f"bandwidth_schedule={self.bandwidth_schedule!r} needs two bandwidths or more, not "
                f"{self.bandwidths}; give them, or set bandwidth_schedule='constant'."
            )
        if self.bounded_correction != "none" and not self.density_offset:
            raise UserError(
                f"bounded_correction={self.bounded_correction!r} corrects for density_offset, "
                "which is 0; set bounded_correction='none'."
            )
        unit = self.kind == "image" and self.image_range == (0.0, 1.0)
        bounded = self.space == "code" or (self.space == "data" and unit)
        if self.bounded_correction != "none" and not bounded:
            raise UserError(
                f"bounded_correction={self.bounded_correction!r} needs data in [0, 1], images in "
                "that image_range or codes; set bounded_correction='none'."
            )

    @classmethod
    def build_networks(cls, config: dict, builders: Any, **shapes: Any) -> dict[str, keras.Model]:
        """Adds the decoder, of the generator's architecture, for learned features."""
        found = super().build_networks(config, builders, **shapes)
        if config["autoencoder_weight"] and config["space"] == "critic":
            found["decoder"] = cls.build_decoder(config, builders, **shapes)
        return found

    def _networks(self) -> dict[str, keras.Model]:
        decoder = getattr(self, "decoder", None)
        return super()._networks() | ({"decoder": decoder} if decoder is not None else {})

    @property
    def players(self) -> dict[str, list[keras.Variable]]:
        players = super().players
        decoder = players.pop("decoder", [])
        return {**players, "critic": players["critic"] + decoder} if decoder else players

    def losses(self, batch: Batch, players: tuple[str, ...]) -> Losses:
        if "autoencoder" in players:
            return self.autoencoder_losses(batch)
        made = self.generate(batch, players)
        on_real, on_made = self.compared(batch, made, players)
        real, fake = self.gather(on_real), self.gather(on_made)
        bandwidths = self._bandwidths(batch) * self.bandwidth_factor(batch, real, fake)
        value, diagnostics = jensen_shannon.jensen_shannon(
            real,
            fake,
            bandwidths,
            mixture=self.mixture,
            normalized=self.density_kernels == "normalized",
            offset=self.density_offset,
            correction=self.bounded_correction,
            uniform=self._uniform(batch, on_real),
        )
        diagnostics = {"jensen_shannon": value, **diagnostics}
        if self.bandwidth_schedule != "constant":
            diagnostics["bandwidth"] = bandwidths[0]
        losses: Losses = {}
        if "generator" in players:
            losses["generator"] = (value, diagnostics)
        if "critic" in players:
            error, errors = self._reconstruction(batch.real, made, on_real, on_made)
            losses["critic"] = (self.autoencoder_weight * error - value, {**diagnostics, **errors})
        return losses

    def _reconstruction(
        self, real: tf.Tensor, fake: tf.Tensor, on_real: tf.Tensor, on_fake: tf.Tensor
    ) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """Returns the decoder's error on both samples, and each by itself."""
        if self.decoder is None:
            return tf.zeros([]), {}
        errors = {
            f"reconstruction_{name}": regularizers.reconstruction(
                examples, self.decoder(features, training=True)
            )
            for name, examples, features in (("real", real, on_real), ("fake", fake, on_fake))
        }
        return tf.add_n(list(errors.values())), errors

    def complaint(self, logs: Mapping[str, float]) -> str:
        """Says when the two estimates do not overlap: there is no gradient then."""
        if logs.get("jensen_shannon", -1.0) > _SATURATED:
            return (
                "real and generated samples are too far apart for the kernel (the divergence is "
                "at its largest); add a larger one to --config.bandwidths, or set "
                "--config.bandwidth_rule=median."
            )
        return ""

    def _uniform(self, batch: Batch, like: tf.Tensor) -> tf.Tensor | None:
        """Points of the unit cube for appendix A.2, as many as there are real examples."""
        if self.bounded_correction == "none":
            return None
        size = like.shape[1] or int(np.prod(self.sample_shape))
        return self.gather(batch.noise.unit("interpolation", [tf.shape(like)[0], size]))

    def _bandwidths(self, batch: Batch) -> tf.Tensor:
        """Returns the bandwidths of this step."""
        everything = tf.constant(self.bandwidths)
        if self.bandwidth_schedule == "constant":
            return everything
        last = len(self.bandwidths) - 1
        done = tf.cast(batch.noise.step, tf.float32) / self.bandwidth_every_steps
        if self.bandwidth_schedule == "geometric":
            share = tf.minimum(done, 1.0)
            ratio = self.bandwidths[-1] / self.bandwidths[0]
            return everything[:1] * tf.pow(ratio, share)
        if self.bandwidth_schedule == "plateau":
            done = tf.convert_to_tensor(self._plateau["index"])
        return tf.gather(everything, [tf.minimum(tf.cast(done, tf.int32), last)])

    def _after_update(self, players: tuple[str, ...], logs: dict[str, tf.Tensor]) -> None:
        super()._after_update(players, logs)
        if self.bandwidth_schedule != "plateau" or "generator" not in players:
            return
        state = {name: tf.convert_to_tensor(value) for name, value in self._plateau.items()}
        first = state["updates"] == 0.0
        loss = logs["jensen_shannon"]
        mean = tf.where(first, loss, loss + _PLATEAU_MOMENTUM * (state["mean"] - loss))
        better = first | (mean < state["best"] - _PLATEAU_PROGRESS)
        since = tf.where(better, 0.0, state["since"] + 1.0)
        due = since >= float(self.bandwidth_every_steps)
        self._plateau["best"].assign(tf.where(better, mean, state["best"]))
        self._plateau["mean"].assign(mean)
        self._plateau["since"].assign(since)
        # The next bandwidth begins with a record of its own.
        self._plateau["updates"].assign(tf.where(due, 0.0, state["updates"] + 1.0))
        self._plateau["index"].assign(state["index"] + tf.cast(due, tf.float32))
