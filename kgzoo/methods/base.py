"""The contract of every method: players, an update schedule, losses, sampling, save and load.

A step is one generator update. `schedule` lists the updates of a step in order; each entry names
the players that are updated together from one graph. For a GAN with 5 critic steps it is five times
`("critic",)` and once `("generator",)`; a method with a joint update has `(("critic",
"generator"),)`.
"""

import copy
import types
from collections.abc import Iterator
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from kgzoo import layers
from kgzoo.errors import UserError
from kgzoo.methods.average import MovingAverage
from kgzoo.methods.noise import Noise, latents_from_seeds, replica_count

__all__ = ["Batch", "Losses", "Method"]

Losses = dict[str, tuple[tf.Tensor, dict[str, tf.Tensor]]]
_SCOPES = ("global", "replica")
_DISTRIBUTIONS = ("uniform", "normal")
_RANGES = ((0.0, 1.0), (-1.0, 1.0))
# Power iterations at construction, so that the first sigma is not an underestimate.
_FIRST_POWER_ITERATIONS = 10


class Batch(NamedTuple):
    """What `losses` sees: this replica's real examples `[n, ...]` in model range, and the noise."""

    real: tf.Tensor
    noise: Noise


class Method(keras.Model):
    """Base of all methods: a generator, further players, and their custom `train_step`.

    A subclass gives `losses`, and extends `players`, `schedule` and `config_fields` as it needs.

    Args:
        generator: model from latents `[n, latent_dim]` to examples in `image_range`.
        critic: model from examples to features `[n, output_dim]`, or None.
        kind: `image` or `vector`.
        latent_distribution: `uniform` on [-1, 1] or standard `normal`.
        image_range: (0, 1) or (-1, 1), the range of images inside the model.
        critic_steps: critic updates per generator update.
        batch_size: real examples per update over all replicas; sets the pace of the average.
        ema_half_life_images: half-life of the generator's moving average in generated images, of
            which a step makes `batch_size`; 0: none.
        mmd_scope: `global` (R replicas equal one large batch) or `replica` (block estimator).
        seed: seed of all noise.
    """

    # Configuration fields that a subclass's constructor takes beside those of this class.
    config_fields: tuple[str, ...] = ()

    def __init__(
        self,
        generator: keras.Model,
        critic: keras.Model | None = None,
        *,
        kind: str = "image",
        latent_distribution: str = "uniform",
        image_range: tuple[float, float] = (0.0, 1.0),
        critic_steps: int = 1,
        batch_size: int = 64,
        ema_half_life_images: float = 0.0,
        mmd_scope: str = "global",
        seed: int = 0,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.kind, self.latent_distribution = kind, latent_distribution
        self.image_range = tuple(float(bound) for bound in image_range)
        self.critic_steps, self.batch_size = critic_steps, batch_size
        self.ema_half_life_images, self.mmd_scope = float(ema_half_life_images), mmd_scope
        self.seed = seed
        self._check_arguments()
        self.generator, self.critic = generator, critic
        self.latent_dim = generator.input_shape[-1]
        self.sample_shape = tuple(generator.output_shape[1:])
        if critic is not None and tuple(critic.input_shape[1:]) != self.sample_shape:
            raise UserError(
                f"critic takes {tuple(critic.input_shape[1:])} but the generator makes "
                f"{self.sample_shape}; build both for one sample_shape."
            )
        for network in self._networks().values():
            layers.power_iterate(network, _FIRST_POWER_ITERATIONS)
        self.step = self.add_weight(
            name="step",
            shape=(),
            dtype="int64",
            initializer="zeros",
            trainable=False,
            aggregation="only_first_replica",
        )
        self.average = MovingAverage(generator, batch_size, self.ema_half_life_images)
        # A tf.function set on the model itself would become part of its checkpoints.
        self._untracked = types.SimpleNamespace()
        self.optimizers: dict[str, keras.optimizers.Optimizer] = {}
        self.built = True

    def _check_arguments(self) -> None:
        for field, value, known in (
            ("mmd_scope", self.mmd_scope, _SCOPES),
            ("latent_distribution", self.latent_distribution, _DISTRIBUTIONS),
            ("image_range", self.image_range, _RANGES),
            ("kind", self.kind, ("image", "vector")),
        ):
            if value not in known:
                raise UserError(f"{field}={value!r} is not known; choose one of {known}.")
        for field, least in (("critic_steps", 1), ("batch_size", 1), ("ema_half_life_images", 0)):
            value = getattr(self, field)
            if not isinstance(value, (int, float)) or not least <= value < float("inf"):
                raise UserError(f"{field}={value!r} is out of range; give a number >= {least}.")

    @property
    def has_critic(self) -> bool:
        """Whether `critic_features` exists."""
        return self.critic is not None

    def _networks(self) -> dict[str, keras.Model]:
        networks = {"generator": self.generator, "critic": self.critic}
        return {name: network for name, network in networks.items() if network is not None}

    @property
    def players(self) -> dict[str, list[keras.Variable]]:
        """The named parts that have an optimizer each, with their trainable variables."""
        return {name: network.trainable_variables for name, network in self._networks().items()}

    @property
    def schedule(self) -> tuple[tuple[str, ...], ...]:
        """The updates of one step, in order: who is updated together."""
        return (("critic",),) * self.critic_steps + (("generator",),)

    def generate(self, batch: Batch, players: tuple[str, ...]) -> tf.Tensor:
        """Returns as many generated examples as real ones, for the losses of one update.

        The gradient reaches the generator only when it is among the players.
        """
        latents = batch.noise.latents(
            tf.shape(batch.real)[0], self.latent_dim, self.latent_distribution
        )
        fake = self.generator(latents, training=True)
        return fake if "generator" in players else tf.stop_gradient(fake)

    def losses(self, batch: Batch, players: tuple[str, ...]) -> Losses:
        """Returns `{player: (scalar to minimise, {name: diagnostic})}` for the players named."""
        raise TypeError(f"{type(self).__name__} must define `losses`.")

    @property
    def steps_done(self) -> int:
        """Generator updates so far."""
        return int(tf.convert_to_tensor(self.step.value))

    def compile(
        self, optimizers: dict[str, keras.optimizers.Optimizer] | None = None, **kwargs: Any
    ) -> None:
        """Sets one optimizer per player; call it in the scope of the strategy.

        Args:
            optimizers: by player name; a player left out gets Adam(1e-4, beta_1=0.5, beta_2=0.9),
                the SMMD paper's. Clipping arguments act on gradients summed over all replicas.
            **kwargs: `run_eagerly` and `steps_per_execution`, as in Keras.

        Raises:
            UserError: if a name is not a player of the method, or an optimizer serves two.
        """
        if not isinstance(optimizers, (dict, type(None))):
            raise UserError(
                f"optimizers={optimizers!r} serves no player; give a dict with one for each of "
                f"{list(self.players)}."
            )
        optimizers = dict(optimizers or {})
        for name in optimizers:
            if name not in self.players:
                raise UserError(
                    f"optimizers[{name!r}] has no player; choose from {set(self.players)}."
                )
        if len({id(optimizer) for optimizer in optimizers.values()}) < len(optimizers):
            raise UserError("optimizers hold one object twice; make one optimizer for each player.")
        super().compile(optimizer=None, jit_compile=False, **kwargs)
        for name, variables in self.players.items():
            optimizer = optimizers.setdefault(name, keras.optimizers.Adam(1e-4, 0.5, 0.9))
            optimizer.build(variables)
            # `train_step` has already summed the gradients: Keras sums after clipping, which would
            # clip every replica's part by itself.
            optimizer._all_reduce_sum_gradients = lambda grads_and_vars: grads_and_vars
        self.optimizers = optimizers

    def get_compile_config(self) -> dict:
        """Returns what `compile_from_config` needs to restore every optimizer."""
        return {
            "optimizers": {
                name: keras.saving.serialize_keras_object(optimizer)
                for name, optimizer in self.optimizers.items()
            }
        }

    def compile_from_config(self, config: dict) -> None:
        """Compiles with the optimizers of `get_compile_config`, ready to receive their slots."""
        self.compile(
            {
                name: keras.saving.deserialize_keras_object(optimizer)
                for name, optimizer in config["optimizers"].items()
            }
        )

    def fit(self, x: Any = None, *args: Any, **kwargs: Any) -> keras.callbacks.History:
        """Trains as `keras.Model.fit` does; `x` as for `train_step`, arrays being checked first.

        Raises:
            UserError: if an array of images holds floats outside [0, 1].
        """
        if isinstance(x, np.ndarray) and self.kind == "image" and x.dtype != np.uint8:
            low, high = float(np.min(x)), float(np.max(x))
            if not (0 <= low and high <= 1):
                raise UserError(
                    f"x spans [{low:.4g}, {high:.4g}]; give uint8, or floats in [0, 1]."
                )
        return super().fit(x, *args, **kwargs)

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        """Runs the updates of one step on this replica and returns `{name: scalar}`.

        Args:
            data: examples `[updates, n, ...]`, one batch for every update of the schedule, or
                `[n, ...]`, then every update sees this batch (with fresh noise). Images are uint8,
                or float in [0, 1].
        """
        examples, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        # A data set that ends inside a graph call must not leave half a step behind: everything
        # that changes state waits for the examples.
        with tf.control_dependencies([tf.convert_to_tensor(examples)]):
            return self._step(examples)

    def _step(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        logs: dict[str, tf.Tensor] = {}
        for update, (players, real) in enumerate(
            zip(self.schedule, self._batches(examples), strict=True)
        ):
            noise = Noise(self.seed, tf.convert_to_tensor(self.step), update)
            logs.update(self._update(Batch(self.to_model_range(real), noise), players))
        self.average.update(self.generator, tf.convert_to_tensor(self.step))
        self.step.assign_add(1)
        return logs

    def _batches(self, examples: tf.Tensor) -> Iterator[tf.Tensor]:
        examples = tf.convert_to_tensor(examples)
        shape = examples.shape
        updates = len(self.schedule)
        if tuple(shape[1:]) == self.sample_shape:
            return iter([examples] * updates)
        if tuple(shape[2:]) == self.sample_shape and shape[0] == updates:
            return iter(tf.unstack(examples, updates))
        raise UserError(
            f"examples have shape {shape}; this model trains on [n, *{self.sample_shape}] or "
            f"[{updates}, n, *{self.sample_shape}]: resize the data or rebuild the model."
        )

    def _update(self, batch: Batch, players: tuple[str, ...]) -> dict[str, tf.Tensor]:
        variables = {player: self.players[player] for player in players}
        self._before_update(players)
        with tf.GradientTape(persistent=len(players) > 1, watch_accessed_variables=False) as tape:
            for player in players:
                tape.watch([variable.value for variable in variables[player]])
            losses = self.losses(batch, players)
            # Gradients are summed over replicas, so each contributes its share of the mean.
            shares = {player: losses[player][0] / replica_count() for player in players}
        logs: dict[str, tf.Tensor] = {}
        gradients = {
            player: tape.gradient(shares[player], [v.value for v in variables[player]])
            for player in players
        }
        for player in players:
            self._apply(player, gradients[player], variables[player])
            logs[f"{player}_loss"] = losses[player][0]
            logs.update(losses[player][1])
        return logs

    def _before_update(self, players: tuple[str, ...]) -> None:
        # One power iteration per critic update: all passes of the update see the same sigma.
        if "critic" in players and self.critic is not None:
            layers.power_iterate(self.critic)

    def _apply(self, player: str, gradients: list, variables: list) -> None:
        gradients = [
            tf.zeros_like(variable.value) if gradient is None else gradient
            for gradient, variable in zip(gradients, variables, strict=True)
        ]
        context = tf.distribute.get_replica_context()
        if context is not None and replica_count() > 1:
            gradients = context.all_reduce(tf.distribute.ReduceOp.SUM, gradients)
        self.optimizers[player].apply(gradients, variables)

    def gather(self, values: tf.Tensor) -> tf.Tensor:
        """Returns `values` of all replicas along the first axis when `mmd_scope` is `global`.

        Losses that are not means over examples (an MMD, a scale) need the features of the global
        batch to be its loss. The gradient flows back to every replica.
        """
        context = tf.distribute.get_replica_context()
        if self.mmd_scope == "replica" or context is None or replica_count() == 1:
            return values
        return context.all_gather(values, axis=0)

    def to_model_range(self, examples: tf.Tensor) -> tf.Tensor:
        """Maps uint8 or [0, 1] images to the model's range; vectors become float32."""
        scale = 255.0 if tf.convert_to_tensor(examples).dtype == tf.uint8 else 1.0
        values = tf.cast(examples, tf.float32)
        if self.kind == "vector":
            return values
        low, high = self.image_range
        return low + (high - low) / scale * values

    def to_unit_range(self, examples: tf.Tensor) -> tf.Tensor:
        """Maps the model's images to [0, 1] float32; vectors stay."""
        values = tf.cast(examples, tf.float32)
        if self.kind == "vector":
            return values
        low, high = self.image_range
        return tf.clip_by_value((values - low) / (high - low), 0.0, 1.0)

    def decode(self, latents: tf.Tensor) -> tf.Tensor:
        """Returns samples in [0, 1] (vectors: raw) of latents `[n, latent_dim]`.

        Uses the moving average of the generator in inference mode.
        """
        return self.to_unit_range(self.average.run(self.generator, latents))

    def call(self, latents: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Same as `decode`."""
        return self.decode(latents)

    def sample_from_seeds(self, seeds: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns samples and latents for seeds `[n, 2]` int32; row i depends on row i alone."""
        latents = latents_from_seeds(seeds, self.latent_dim, self.latent_distribution)
        return self.decode(latents), latents

    def sample(self, n: int, seed: int = 0, batch_size: int = 256) -> np.ndarray:
        """Returns `n` samples `[n, ...]`, images in [0, 1]; sample i has seed (seed, i)."""
        if n < 1 or batch_size < 1:
            raise UserError(f"n={n}, batch_size={batch_size}: give numbers of at least 1.")
        if not -(2**31) <= seed < 2**31:
            raise UserError(f"seed={seed} does not fit into 32 bits; give a smaller one.")
        if not hasattr(self._untracked, "sampler"):
            self._untracked.sampler = tf.function(
                lambda seeds: self.sample_from_seeds(seeds)[0],
                input_signature=[tf.TensorSpec([None, 2], tf.int32)],
            )
        index = np.arange(n, dtype=np.int32)
        seeds = np.stack([np.full_like(index, seed), index], axis=1)
        parts = [
            self._untracked.sampler(seeds[i : i + batch_size]) for i in range(0, n, batch_size)
        ]
        return np.concatenate([part.numpy() for part in parts])

    def critic_features(self, samples: tf.Tensor) -> tf.Tensor:
        """Returns the critic's features `[n, output_dim]`, float32, of samples in [0, 1]."""
        if self.critic is None:
            raise UserError(f"{self.name} has no critic; critic_features needs one.")
        return tf.cast(self.critic(self.to_model_range(samples), training=False), tf.float32)

    def get_config(self) -> dict:
        """Returns the constructor's arguments, networks and kernels serialised."""
        config = {
            name: keras.saving.serialize_keras_object(network)
            for name, network in self._networks().items()
        }
        base = (
            *("name", "kind", "latent_distribution", "image_range", "critic_steps", "batch_size"),
            *("ema_half_life_images", "mmd_scope", "seed"),
        )
        config.update({field: getattr(self, field) for field in base})
        for field in self.config_fields:
            value = getattr(self, field)
            plain = isinstance(value, (str, int, float, bool, type(None)))
            config[field] = value if plain else keras.saving.serialize_keras_object(value)
        return config

    @classmethod
    def from_config(cls, config: dict, custom_objects: dict | None = None) -> "Method":
        """Builds the method from what `get_config` returned."""
        return cls(
            **{
                # Keras takes apart what it deserialises.
                field: keras.saving.deserialize_keras_object(copy.deepcopy(value), custom_objects)
                if isinstance(value, dict) and "class_name" in value
                else value
                for field, value in config.items()
            }
        )
