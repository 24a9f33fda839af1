"""How a method is written down, read back and trained on: arguments, networks and optimizers."""

import copy
import functools
import os

import keras

from kgzoo.errors import UserError
from kgzoo.kernels.arguments import whole

__all__ = ["Persistence"]


class Persistence:
    """The part of `Method` that Keras calls to save and load it, and what fine-tuning needs."""

    def save_preset(self, path: str | os.PathLike) -> None:
        """Saves a `.keras` file with the optimizers' settings but without their slots.

        Slots are most of a trained model's file (Adam has two numbers a weight) and of no use where
        other data come. What loads the file has optimizers of the same settings with fresh slots.

        Args:
            path: ends in `.keras`; a file there is replaced.
        """
        # Keras saves the state of all that it finds among the attributes.
        self._untracked.optimizers, self.optimizers = self.optimizers, {}
        try:
            self.save(path)
        finally:
            self.optimizers = self._untracked.__dict__.pop("optimizers")

    def get_compile_config(self) -> dict:
        """Returns what `compile_from_config` needs to restore every optimizer."""
        optimizers = getattr(self._untracked, "optimizers", self.optimizers)
        return {
            "optimizers": {
                name: keras.saving.serialize_keras_object(optimizer)
                for name, optimizer in optimizers.items()
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
        for optimizer in self.optimizers.values():
            optimizer.load_own_variables = functools.partial(_load_slots, optimizer)

    def fresh_optimizer(self, player: str) -> keras.optimizers.Optimizer:
        """Returns a new optimizer with the settings of the player's present one.

        Without one Adam(1e-4, beta_1=0.5, beta_2=0.9), the SMMD paper's.
        """
        present = self.optimizers.get(player)
        if present is None:
            return keras.optimizers.Adam(1e-4, 0.5, 0.9)
        return type(present).from_config(present.get_config())

    def freeze_critic(self, count: int) -> list[str]:
        """Freezes the critic's first `count` layers with weights, next to the images; no others.

        Their weights then stay bit for bit. Batch normalisation among them uses its moving
        statistics. A spectral layer's power iteration goes on: it only makes sigma of the weights
        that stay more exact. Call `compile()` afterwards.

        Args:
            count: 0 frees all.

        Returns:
            The names of the frozen layers.

        Raises:
            UserError: there is no critic, or it has fewer layers.
        """
        if self.critic is None:
            raise UserError(f"{self.name} has no critic; freeze_critic needs one.")
        layers = [layer for layer in self.critic.layers if layer.weights]
        count = whole("freeze_critic", "count", count, 0, len(layers))
        for index, layer in enumerate(layers):
            layer.trainable = index >= count
        return [layer.name for layer in layers[:count]]

    def make_train_function(self, force: bool = False):
        """As Keras does before `fit`, and checks that the optimizers are those of the weights.

        Raises:
            UserError: layers were frozen or freed after `compile`.
        """
        for player, variables in self.players.items():
            if self._untracked.compiled[player] != [id(variable) for variable in variables]:
                raise UserError(
                    f"layers of the {player} were frozen or freed after compile(), which gave its "
                    "optimizer other variables; call compile() again before fit()."
                )
        return super().make_train_function(force)

    def get_config(self) -> dict:
        """Returns the constructor's arguments, networks and kernels serialised."""
        config = {
            name: keras.saving.serialize_keras_object(network)
            for name, network in self._networks().items()
        }
        config["name"] = self.name
        config.update({field: getattr(self, field) for field in self.base_fields})
        for field in self.config_fields:
            value = getattr(self, field)
            plain = isinstance(value, (str, int, float, bool, type(None)))
            config[field] = value if plain else keras.saving.serialize_keras_object(value)
        return config

    @classmethod
    def from_config(cls, config: dict, custom_objects: dict | None = None) -> "Persistence":
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


def _load_slots(optimizer: keras.optimizers.Optimizer, store: dict) -> None:
    # A preset has none, of which Keras would warn.
    if store.keys():
        type(optimizer).load_own_variables(optimizer, store)
