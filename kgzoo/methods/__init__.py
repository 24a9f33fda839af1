"""Methods as `keras.Model` subclasses, one module per family; `build` makes one from a config."""

import importlib
from collections.abc import Mapping
from typing import Any

import keras

from kgzoo import catalog, layers, networks
from kgzoo.errors import UserError, unknown_name
from kgzoo.fields import FIELDS
from kgzoo.methods.base import Batch, Losses, Method

# Keras finds a class in a `.keras` file only when its module was imported.
for _target in {entry.target for entry in catalog.ROWS.values()}:
    importlib.import_module(_target.partition(":")[0])

__all__ = ["Batch", "Losses", "Method", "build", "build_optimizers", "method_class"]

_POLICIES = ("float32", "mixed_bfloat16")
_OPTIMIZERS = ("adam", "rmsprop")


def method_class(name: str) -> type[Method]:
    """Returns the class of the catalogue row named `name`."""
    module, _, attribute = catalog.row(name).target.partition(":")
    return getattr(importlib.import_module(module), attribute)


def build(config: Mapping[str, Any], kind: str, sample_shape: tuple[int, ...]) -> Method:
    """Builds the method of a resolved config, networks included, not yet compiled.

    Sets the global random seed of Python, NumPy and TensorFlow to the config's.

    Args:
        config: a resolved config (`kgzoo.config.compose`).
        kind: `image` or `vector`.
        sample_shape: shape of one example.

    Raises:
        UserError: if a field does not fit.
    """
    if config["precision"] not in _POLICIES:
        raise UserError(f"precision={config['precision']!r} is not known; choose from {_POLICIES}.")
    cls = method_class(config["method"])
    _refuse_unused(cls, config)
    # Initialisers without a seed of their own take Keras' global one.
    keras.utils.set_random_seed(config["seed"])
    builders = networks.get(config["network"])
    low = config["image_range"][0]
    image_activation = "tanh" if low < 0 else "sigmoid"
    shapes = {
        "sample_shape": tuple(sample_shape),
        "output_activation": image_activation if kind == "image" else "linear",
    }
    generator = builders.generator(
        latent_dim=config["latent_dim"],
        width=config["generator_width"],
        dtype=config["precision"],
        **shapes,
    )
    critic = builders.critic(
        sample_shape=tuple(sample_shape),
        output_dim=config["output_dim"],
        width=config["critic_width"],
        spectral=config["spectral"],
        spectral_constant=config["spectral_constant"],
        critic_batch_norm=config["critic_batch_norm"],
        dtype=config["precision"],
    )
    if config["spectral_product"]:
        layers.set_product(critic, config["spectral_product"])
    fields = (*cls.base_fields, *cls.config_fields)
    own = {field: config[field] for field in fields if field != "kind"}
    return cls(
        generator,
        critic,
        **cls.extra_networks(config, builders, **shapes),
        kind=kind,
        name=config["method"],
        **own,
    )


def _refuse_unused(cls: type[Method], config: Mapping[str, Any]) -> None:
    """Raises a UserError when a field was set that other families have and this one has not."""
    families = {method_class(name) for name in catalog.names()}
    row = catalog.row(config["method"]).settings()
    for field in sorted({field for family in families for field in family.config_fields}):
        if field in cls.config_fields or config[field] == row.get(field, FIELDS[field][0]):
            continue
        rows = [name for name in catalog.names() if field in method_class(name).config_fields]
        raise UserError(
            f"{field}={config[field]!r} is not used by {config['method']}; leave it out, or choose "
            f"a method that has it, such as {rows[0]}."
        )


def build_optimizers(
    config: Mapping[str, Any], players: Mapping[str, list]
) -> dict[str, keras.optimizers.Optimizer]:
    """Returns one optimizer per player, at `<player>_learning_rate` times the multiplier."""

    def make(rate: float) -> keras.optimizers.Optimizer:
        clipnorm = config["clip_gradient_norm"] or None
        if config["optimizer"] not in _OPTIMIZERS:
            raise unknown_name("optimizer", config["optimizer"], _OPTIMIZERS)
        if config["optimizer"] == "rmsprop":
            # Keras adds epsilon under the root: 1e-16 there is the usual 1e-8 beside it.
            decay = config["rmsprop_decay"]
            return keras.optimizers.RMSprop(rate, decay, epsilon=1e-16, clipnorm=clipnorm)
        beta_1, beta_2 = config["adam_beta1"], config["adam_beta2"]
        return keras.optimizers.Adam(rate, beta_1=beta_1, beta_2=beta_2, clipnorm=clipnorm)

    multiplier = config["learning_rate_multiplier"]
    return {player: make(config[f"{player}_learning_rate"] * multiplier) for player in players}
