"""Methods as `keras.Model` subclasses, one module per family; `build` makes one from a config."""

import importlib
from collections.abc import Mapping
from typing import Any

import keras

from kgzoo import catalog, networks
from kgzoo.errors import UserError
from kgzoo.methods.base import Batch, Losses, Method

# Keras finds a class in a `.keras` file only when its module was imported.
for _target in {entry.target for entry in catalog.ROWS.values()}:
    importlib.import_module(_target.partition(":")[0])

__all__ = ["Batch", "Losses", "Method", "build", "build_optimizers", "method_class"]

_POLICIES = ("float32", "mixed_bfloat16")


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
    # Initialisers without a seed of their own take Keras' global one.
    keras.utils.set_random_seed(config["seed"])
    cls = method_class(config["method"])
    builders = networks.get(config["network"])
    low = config["image_range"][0]
    image_activation = "tanh" if low < 0 else "sigmoid"
    generator = builders.generator(
        latent_dim=config["latent_dim"],
        sample_shape=tuple(sample_shape),
        width=config["generator_width"],
        output_activation=image_activation if kind == "image" else "linear",
        dtype=config["precision"],
    )
    critic = builders.critic(
        sample_shape=tuple(sample_shape),
        output_dim=config["output_dim"],
        width=config["critic_width"],
        spectral=config["spectral"],
        spectral_constant=config["spectral_constant"],
        dtype=config["precision"],
    )
    own = {field: config[field] for field in cls.config_fields}
    return cls(
        generator,
        critic,
        kind=kind,
        latent_distribution=config["latent_distribution"],
        image_range=tuple(config["image_range"]),
        critic_steps=config["critic_steps"],
        batch_size=config["batch_size"],
        ema_half_life_images=config["ema_half_life_images"],
        mmd_scope=config["mmd_scope"],
        seed=config["seed"],
        name=config["method"],
        **own,
    )


def build_optimizers(
    config: Mapping[str, Any], players: Mapping[str, list]
) -> dict[str, keras.optimizers.Optimizer]:
    """Returns one Adam per player, at `<player>_learning_rate` times the multiplier."""
    return {
        player: keras.optimizers.Adam(
            config[f"{player}_learning_rate"] * config["learning_rate_multiplier"],
            beta_1=config["adam_beta1"],
            beta_2=config["adam_beta2"],
            clipnorm=config["clip_gradient_norm"] or None,
        )
        for player in players
    }
