"""The contract of every method: players, an update schedule, losses, sampling, save and load.

A step is one generator update. `schedule` lists the updates of a step in order; each entry names
the players that are updated together from one graph. For a GAN with 5 critic steps it is five times
`("critic",)` and once `("generator",)`; a method with a joint update has `(("critic",
"generator"),)`.
"""

import types
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kgzoo import layers, regularizers
from kgzoo.errors import UserError
from kgzoo.methods.average import MovingAverage
from kgzoo.methods.critic_passes import Batch, CriticPasses
from kgzoo.methods.inputs import CriticInputs
from kgzoo.methods.noise import Noise, replica_count
from kgzoo.methods.persistence import Persistence
from kgzoo.methods.sampling import Sampling
from kgzoo.methods.schedule import UpdateSchedule

__all__ = ["Batch", "Losses", "Method"]

Losses = dict[str, tuple[tf.Tensor, dict[str, tf.Tensor]]]
_SCOPES = ("global", "replica")
_DISTRIBUTIONS = ("uniform", "normal")
_RANGES = ((0.0, 1.0), (-1.0, 1.0))
# Power iterations at construction, so that the first sigma is not an underestimate.
_FIRST_POWER_ITERATIONS = 10


class Method(CriticPasses, Sampling, Persistence, keras.Model):
    """Base of all methods: a generator, further players, and their custom `train_step`.

    A subclass gives `losses`, and extends `players`, `schedule` and `config_fields` as it needs.
    `CriticPasses`, `Sampling` and `Persistence` are parts of it with files of their own.

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
        clip_weights: bound to which the critic's weights are clipped after each of its updates
            (Arjovsky et al., 2017); 0: none.
        seed: seed of all noise.
        **kwargs: the fields of `CriticInputs` and of `UpdateSchedule`, and Keras' `name`.
    """

    # Configuration fields that a subclass's constructor takes beside those of this class.
    config_fields: tuple[str, ...] = ()
    # Whether a bandwidth exists that `random_bandwidth` may draw.
    has_kernel = False
    base_fields: tuple[str, ...] = (
        *("kind", "latent_distribution", "image_range", "critic_steps", "batch_size"),
        *("ema_half_life_images", "mmd_scope", "clip_weights", "seed"),
        *CriticInputs.names(),
        *UpdateSchedule.names(),
    )

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
        clip_weights: float = 0.0,
        seed: int = 0,
        **kwargs: Any,
    ):
        inputs, early = (
            part(**{name: kwargs.pop(name) for name in part.names() if name in kwargs})
            for part in (CriticInputs, UpdateSchedule)
        )
        super().__init__(**kwargs)
        for part in (inputs, early):
            for name in part.names():
                setattr(self, name, getattr(part, name))
        self.kind, self.latent_distribution = kind, latent_distribution
        self.image_range = tuple(float(bound) for bound in image_range)
        self.critic_steps, self.batch_size = critic_steps, batch_size
        self.ema_half_life_images, self.mmd_scope = float(ema_half_life_images), mmd_scope
        self.clip_weights, self.seed = float(clip_weights), seed
        self._check_arguments()
        inputs.check(kind, self.has_kernel)
        early.check(critic_steps)
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
        self._untracked = types.SimpleNamespace(inputs=inputs, early=early)
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
        numbers = {"critic_steps": 1, "batch_size": 1, "ema_half_life_images": 0, "clip_weights": 0}
        for field, least in numbers.items():
            value = getattr(self, field)
            if not isinstance(value, (int, float)) or not least <= value < float("inf"):
                raise UserError(f"{field}={value!r} is out of range; give a number >= {least}.")

    @classmethod
    def unused_fields(cls, config: Mapping[str, Any]) -> tuple[str, ...]:
        """Returns fields of every method that have no effect on one with this config."""
        return ()

    @classmethod
    def build_networks(cls, config: dict, builders: Any, **shapes: Any) -> dict[str, keras.Model]:
        """Returns the networks that the constructor takes, by argument: generator and critic.

        Args:
            config: the resolved config.
            builders: the `networks.Builders` of the config's network.
            **shapes: `sample_shape` and `output_activation` of the generator.
        """
        generator = builders.generator(
            latent_dim=config["latent_dim"],
            width=config["generator_width"],
            dtype=config["precision"],
            **shapes,
        )
        critic = builders.critic(
            sample_shape=shapes["sample_shape"],
            output_dim=config["output_dim"],
            width=config["critic_width"],
            spectral=config["spectral"],
            spectral_constant=config["spectral_constant"],
            critic_batch_norm=config["critic_batch_norm"],
            dtype=config["precision"],
        )
        if config["spectral_product"]:
            layers.set_product(critic, config["spectral_product"])
        return {"generator": generator, "critic": critic}

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
        if self.joint_update:
            return ((*self.extra_players, "generator"),)
        return (self.extra_players,) * self.critic_steps + (("generator",),)

    @property
    def extra_players(self) -> tuple[str, ...]:
        """The players of `extra_update`."""
        return ("critic",)

    def generate(self, batch: Batch, players: tuple[str, ...]) -> tf.Tensor:
        """Returns as many generated examples as real ones, for the losses of one update.

        The gradient reaches the generator only when it is among the players.
        """
        latents = batch.noise.latents(
            tf.shape(batch.real)[0], self.latent_dim, self.latent_distribution
        )
        fake = tf.cast(self.generator(latents, training=True), tf.float32)
        fake = fake if "generator" in players else tf.stop_gradient(fake)
        return self._untracked.inputs.apply(fake, batch.noise, "fake", self.image_range)

    def losses(self, batch: Batch, players: tuple[str, ...]) -> Losses:
        """Returns `{player: (scalar to minimise, {name: diagnostic})}` for the players named."""
        raise TypeError(f"{type(self).__name__} must define `losses`.")

    def complaint(self, logs: Mapping[str, float]) -> str:
        """Returns a sentence when the logs of a step show a model that cannot learn; else ''."""
        return ""

    @property
    def steps_done(self) -> int:
        """Generator updates so far."""
        return int(tf.convert_to_tensor(self.step.value))

    def compile(
        self, optimizers: dict[str, keras.optimizers.Optimizer] | None = None, **kwargs: Any
    ) -> None:
        """Sets one optimizer per player; call it in the scope of the strategy.

        Args:
            optimizers: by player name; a player left out gets `fresh_optimizer`, the settings it
                has. Clipping arguments act on gradients summed over all replicas.
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
            optimizer = optimizers.setdefault(name, self.fresh_optimizer(name))
            optimizer.build(variables)
            # `train_step` has already summed the gradients: Keras sums after clipping, which would
            # clip every replica's part by itself.
            optimizer._all_reduce_sum_gradients = lambda grads_and_vars: grads_and_vars
        self.optimizers = optimizers
        self._untracked.compiled = {p: [id(v) for v in vs] for p, vs in self.players.items()}

    def fit(self, x: Any = None, *args: Any, **kwargs: Any) -> keras.callbacks.History:
        """Trains as `keras.Model.fit` does; `x` as for `train_step`, arrays being checked first.

        Raises:
            UserError: if an array of images holds floats outside [0, 1].
        """
        self._check_examples(x)
        return super().fit(x, *args, **kwargs)

    def _check_examples(self, x: Any) -> None:
        if isinstance(x, np.ndarray) and self.kind == "image" and x.dtype != np.uint8:
            low, high = float(np.min(x)), float(np.max(x))
            if not (0 <= low and high <= 1):
                raise UserError(
                    f"x spans [{low:.4g}, {high:.4g}]; give uint8, or floats in [0, 1]."
                )

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
            logs.update(self._update(self._batch(real, update), players))
        self.average.update(self.generator, tf.convert_to_tensor(self.step))
        self.step.assign_add(1)
        return logs

    def _batch(self, examples: tf.Tensor, update: int | tf.Tensor) -> Batch:
        noise = Noise(self.seed, tf.convert_to_tensor(self.step), update)
        real = self.to_model_range(examples)
        real = self._untracked.inputs.apply(real, noise, "real", self.image_range)
        return Batch(real, noise)

    def extra_updates(self, step: int) -> int:
        """Returns how often `extra_update` is due before step `step`, beyond the schedule."""
        return self._untracked.early.extra(step, self.critic_steps)

    def extra_updates_before(self, step: int) -> int:
        """Returns the sum of `extra_updates` over the steps before `step`."""
        return self._untracked.early.extra_before(step, self.critic_steps)

    def extra_update(self, examples: tf.Tensor, index: tf.Tensor) -> dict[str, tf.Tensor]:
        """Runs one update of `extra_players` beyond the schedule; the step counter stays.

        The training loop calls it for the early schedule of a critic; `fit` does not.

        Args:
            examples: this replica's, `[n, ...]`, as for `train_step`.
            index: the number of the update within the step, from 0.
        """
        update = len(self.schedule) + tf.cast(index, tf.int32)
        batch = self._batch(tf.convert_to_tensor(examples), update)
        return self._update(batch, self.extra_players)

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
        gradients: dict[str, list] = {}
        for first in players:
            if first in gradients:
                continue
            # Players of one loss share the pass backwards.
            group = [player for player in players if losses[player][0] is losses[first][0]]
            values = {player: [v.value for v in variables[player]] for player in group}
            gradients |= tape.gradient(shares[first], values)
        for player in players:
            self._apply(player, gradients[player], variables[player])
            logs[f"{player}_loss"] = losses[player][0]
            logs.update(losses[player][1])
        self._after_update(players, logs)
        return logs

    def _before_update(self, players: tuple[str, ...]) -> None:
        # One power iteration per critic update: all passes of the update see the same sigma.
        if "critic" in players and self.critic is not None:
            layers.power_iterate(self.critic)

    def _after_update(self, players: tuple[str, ...], logs: dict[str, tf.Tensor]) -> None:
        if "critic" in players and self.clip_weights:
            regularizers.clip_weights(self.critic.trainable_variables, self.clip_weights)

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
        every = context.all_gather(values, axis=0)
        # In a graph nothing is known of its shape, which kernels choose their way by.
        every.set_shape([None, *values.shape[1:]])
        return every
