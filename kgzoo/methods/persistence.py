"""How a method is written down and read back: constructor arguments, networks and optimizers."""

import copy

import keras

__all__ = ["Persistence"]


class Persistence:
    """The part of `Method` that Keras calls to save and load it."""

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
