"""Methods that compare samples under fixed kernels: in data space or in an autoencoder's codes.

In code space the generator is a small network into the codes, followed by the decoder. The
autoencoder is trained first, by `extra_update`s before step 0 (Li et al., 2015; Kernel GAN paper,
section 3.1 and appendix A.3: cross-entropy, dropout in the encoder's layers), and stays as it is.
"""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kgzoo import networks
from kgzoo.errors import UserError, unknown_name
from kgzoo.kernels import bandwidths as widths
from kgzoo.methods.base import Batch, Method
from kgzoo.methods.dropout import outputs_under_dropout
from kgzoo.methods.noise import replica_count

__all__ = ["FixedKernelMethod"]

_SPACES = ("data", "code", "critic")
# Probabilities of pixels stay this far from 0 and 1 in the cross-entropy.
_SMALLEST = 1e-6


class FixedKernelMethod(Method):
    """A generator whose samples, or their codes, meet real ones under fixed kernels.

    A subclass gives `losses`, out of `compared` and `autoencoder_losses`.

    Args:
        generator: as for `Method`; in code space with layers `code_generator` and `decoder`.
        critic: features that a subclass learns; None in data and code space.
        encoder: from examples to codes `[n, output_dim]`, in code space.
        space: `data`, `code` or, where the subclass says so, `critic`.
        bandwidths: of the Gaussian kernels, in units of what they compare.
        bandwidth_rule: `fixed`, or `median`: times the median distance in the batch.
        autoencoder_steps: updates of the autoencoder before the first step.
        autoencoder_dropout: share of the inputs of each of the encoder's layers that is dropped.
        **kwargs: as for `Method`.
    """

    fixed_kernel_fields = (
        *("space", "bandwidths", "bandwidth_rule", "autoencoder_steps", "autoencoder_dropout"),
    )
    spaces: tuple[str, ...] = ("data", "code")
    has_kernel = True

    def __init__(
        self,
        generator: keras.Model,
        critic: keras.Model | None = None,
        encoder: keras.Model | None = None,
        *,
        space: str = "data",
        bandwidths: tuple[float, ...] = (1.0,),
        bandwidth_rule: str = "fixed",
        autoencoder_steps: int = 0,
        autoencoder_dropout: float = 0.0,
        **kwargs: Any,
    ):
        if space not in _SPACES:
            raise unknown_name("space", space, _SPACES)
        if space not in self.spaces:
            raise UserError(
                f"space={space!r} is not for {type(self).__name__}; choose one of {self.spaces}."
            )
        super().__init__(generator, critic if space == "critic" else None, **kwargs)
        self.space, self.bandwidth_rule = space, bandwidth_rule
        self.bandwidths = widths.as_bandwidths(bandwidths)
        self.autoencoder_steps = autoencoder_steps
        self.autoencoder_dropout = float(autoencoder_dropout)
        self._check_fixed_kernel(critic, encoder)
        self.encoder = encoder if space == "code" else None
        if space == "code":
            self.autoencoder_updates = self.add_weight(
                name="autoencoder_updates",
                shape=(),
                dtype="int64",
                initializer="zeros",
                trainable=False,
                aggregation="only_first_replica",
            )

    def _check_fixed_kernel(self, critic: keras.Model | None, encoder: keras.Model | None) -> None:
        if self.bandwidth_rule not in widths.RULES:
            raise unknown_name("bandwidth_rule", self.bandwidth_rule, widths.RULES)
        steps = self.autoencoder_steps
        if isinstance(steps, bool) or not isinstance(steps, int) or steps < 0:
            raise UserError(f"autoencoder_steps={steps} is out of range; give a whole number >= 0.")
        if not 0 <= self.autoencoder_dropout < 1:
            raise UserError(
                f"autoencoder_dropout={self.autoencoder_dropout} is out of range; give a share "
                "of at least 0 and below 1."
            )
        if self.space == "critic" and critic is None:
            raise UserError("space='critic' needs a critic network; give one or set space='data'.")
        if self.space == "code" and encoder is None:
            raise UserError("space='code' needs an encoder; give one or set space='data'.")
        if self.space != "critic" and self.early_critic_steps:
            raise UserError(
                f"early_critic_steps={self.early_critic_steps} needs a critic; set "
                "early_critic_steps=0."
            )
        if self.label_smoothing:
            raise UserError(
                f"label_smoothing={self.label_smoothing} needs a critic that tells classes apart; "
                "set label_smoothing=0."
            )
        if self.space == "code" and (self.instance_noise or self.augmentation != "none"):
            raise UserError(
                f"instance_noise={self.instance_noise} and augmentation={self.augmentation!r} are "
                "for inputs of a critic, not for codes; set instance_noise=0, augmentation='none'."
            )

    @classmethod
    def unused_fields(cls, config: Mapping[str, Any]) -> tuple[str, ...]:
        of_codes = ("autoencoder_steps", "autoencoder_dropout", "autoencoder_learning_rate")
        if config["space"] == "critic":
            return of_codes
        of_critic = ("critic_steps", "critic_learning_rate", "critic_batch_norm", "clip_weights")
        of_critic += ("spectral", "spectral_constant", "spectral_product", "autoencoder_weight")
        of_critic += ("joint_update",)
        return of_critic if config["space"] == "code" else (*of_critic, *of_codes, "output_dim")

    @classmethod
    def build_networks(cls, config: dict, builders: Any, **shapes: Any) -> dict[str, keras.Model]:
        """Builds no critic where none is used, and in code space an autoencoder instead."""
        if config["space"] == "critic":
            return super().build_networks(config, builders, **shapes)
        if config["space"] == "data":
            generator = builders.generator(
                latent_dim=config["latent_dim"],
                width=config["generator_width"],
                dtype=config["precision"],
                **shapes,
            )
            return {"generator": generator}
        encoder, decoder = builders.autoencoder(
            code_dim=config["output_dim"],
            width=config["critic_width"],
            dtype=config["precision"],
            **shapes,
        )
        into_codes = networks.autoencoder.code_generator(
            latent_dim=config["latent_dim"],
            code_dim=config["output_dim"],
            width=config["generator_width"],
            dtype=config["precision"],
        )
        latents = keras.Input([config["latent_dim"]], name="latents")
        generator = keras.Model(latents, decoder(into_codes(latents)), name="generator")
        return {"generator": generator, "encoder": encoder}

    def _networks(self) -> dict[str, keras.Model]:
        encoder = getattr(self, "encoder", None)
        return super()._networks() | ({"encoder": encoder} if encoder is not None else {})

    @property
    def players(self) -> dict[str, list[keras.Variable]]:
        if self.space != "code":
            return super().players
        autoencoder = (*self.encoder.trainable_variables, *self._decoder.trainable_variables)
        return {
            "generator": self._code_generator.trainable_variables,
            "autoencoder": list(autoencoder),
        }

    @property
    def schedule(self) -> tuple[tuple[str, ...], ...]:
        return super().schedule if self.space == "critic" else (("generator",),)

    @property
    def _code_generator(self) -> keras.Model:
        return self.generator.get_layer("code_generator")

    @property
    def _decoder(self) -> keras.Model:
        return self.generator.get_layer("decoder")

    def generate(self, batch: Batch, players: tuple[str, ...]) -> tf.Tensor:
        """Returns generated examples, in code space their codes."""
        if self.space != "code":
            return super().generate(batch, players)
        count = tf.shape(batch.real)[0]
        latents = batch.noise.latents(count, self.latent_dim, self.latent_distribution)
        return tf.cast(self._code_generator(latents, training=True), tf.float32)

    def compared(
        self, batch: Batch, made: tf.Tensor, players: tuple[str, ...]
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns what the kernels see of this replica's real examples and of `made`, `[n, d]`."""
        if self.space == "code":
            return tf.cast(self.encoder(batch.real, training=False), tf.float32), made
        if self.space == "critic":
            return self.outputs_on_both(batch, made, players)
        size = int(np.prod(self.sample_shape))
        return tf.reshape(batch.real, [-1, size]), tf.reshape(made, [-1, size])

    def bandwidth_factor(self, batch: Batch, real: tf.Tensor, fake: tf.Tensor) -> tf.Tensor | float:
        """Returns the update's factor on all bandwidths."""
        return self.bandwidth(batch) * widths.unit(self.bandwidth_rule, real, fake)

    # The autoencoder.

    @property
    def extra_players(self) -> tuple[str, ...]:
        return ("autoencoder",) if self.space == "code" else super().extra_players

    def extra_updates(self, step: int) -> int:
        if self.space != "code":
            return super().extra_updates(step)
        return self.autoencoder_steps if step == 0 else 0

    def extra_updates_before(self, step: int) -> int:
        if self.space != "code":
            return super().extra_updates_before(step)
        return self.autoencoder_steps if step > 0 else 0

    def extra_update(self, examples: tf.Tensor, index: tf.Tensor) -> dict[str, tf.Tensor]:
        logs = super().extra_update(examples, index)
        if self.space == "code":
            # The average follows the generator from step 0 on: it must begin with this decoder.
            self.average.reset(self.generator)
            self.autoencoder_updates.assign_add(1)
        return logs

    def autoencoder_losses(self, batch: Batch) -> dict:
        """Returns the autoencoder's loss: cross-entropy of pixels, squared error of vectors."""
        codes = outputs_under_dropout(
            self.encoder, batch.real, batch.noise, self.autoencoder_dropout
        )
        decoded = self._decoder(codes, training=True)
        if self.kind == "vector":
            loss = tf.reduce_mean(tf.square(tf.cast(decoded, tf.float32) - batch.real))
            return {"autoencoder": (loss, {})}
        low, high = self.image_range
        real, made = ((tf.cast(x, tf.float32) - low) / (high - low) for x in (batch.real, decoded))
        made = tf.clip_by_value(made, _SMALLEST, 1 - _SMALLEST)
        entropy = -real * tf.math.log(made) - (1 - real) * tf.math.log(1 - made)
        return {"autoencoder": (tf.reduce_mean(entropy), {})}

    def fit(self, x: Any = None, *args: Any, **kwargs: Any) -> keras.callbacks.History:
        """Trains as `Method.fit` does, after what is left of the autoencoder's own updates."""
        # What `fit` would refuse is refused before the wait.
        self._check_examples(x)
        if self.space == "code" and self.steps_done == 0 and self.compiled:
            verbose = kwargs.get("verbose", "auto") not in (0, 2)
            self.pretrain(x, kwargs.get("batch_size") or self.batch_size, verbose)
        return super().fit(x, *args, **kwargs)

    def pretrain(self, x: Any, batch_size: int = 64, verbose: bool = True) -> None:
        """Trains the autoencoder until it has had `autoencoder_steps` updates.

        Args:
            x: examples `[n, ...]`, or a `tf.data.Dataset` of batches as `train_step` takes them.
            batch_size: of arrays.
            verbose: whether progress is shown.

        Raises:
            UserError: under a strategy of several replicas, where the training loop does it.
        """
        if replica_count() > 1:
            raise UserError(
                f"autoencoder_steps={self.autoencoder_steps}: fit trains the autoencoder on one "
                "replica only; use the training loop, or call pretrain outside the strategy."
            )
        if not isinstance(x, tf.data.Dataset):
            x = tf.data.Dataset.from_tensor_slices(np.asarray(x))
            x = x.shuffle(10_000, seed=self.seed).batch(batch_size, drop_remainder=False)
        done = int(tf.convert_to_tensor(self.autoencoder_updates.value))
        update = tf.function(self.extra_update, autograph=False, reduce_retracing=True)
        progress = keras.utils.Progbar(self.autoencoder_steps, verbose=int(verbose))
        for index, examples in zip(range(done, self.autoencoder_steps), x.repeat(), strict=False):
            examples, _, _ = keras.utils.unpack_x_y_sample_weight(examples)
            logs = update(next(self._batches(examples)), tf.constant(index))
            progress.update(index + 1, list(logs.items()))

    def export_signatures(self) -> dict:
        """Returns `encode` and `reconstruct` in code space."""
        if self.space != "code":
            return {}
        key = "images" if self.kind == "image" else "samples"
        spec = tf.TensorSpec([None, *self.sample_shape], tf.float32, key)

        def encode(examples: tf.Tensor) -> dict[str, tf.Tensor]:
            code = self.encoder(self.to_model_range(examples), training=False)
            return {"codes": tf.cast(code, tf.float32)}

        def reconstruct(examples: tf.Tensor) -> dict[str, tf.Tensor]:
            made = self._decoder(encode(examples)["codes"], training=False)
            return {key: self.to_unit_range(made)}

        return {"encode": (encode, [spec]), "reconstruct": (reconstruct, [spec])}
