"""Methods as `keras.Model` subclasses, one module per family; `build` makes one from a config."""

import contextlib
import importlib
from collections.abc import Mapping
from typing import Any

import keras

from kgzoo import catalog, kernels, networks
from kgzoo.errors import UserError, unknown_name
from kgzoo.fields import FIELDS
from kgzoo.methods import precision
from kgzoo.methods.base import Batch, Losses, Method

__all__ = ["Batch", "Losses", "Method", "build", "build_optimizers", "method_class"]

_OPTIMIZERS = ("adam", "rmsprop", "sgd")


def method_class(name: str) -> type[Method]:
    """Returns the class of the catalogue row named `name`.

    Raises:
        UserError: if there is no such row, or its target is none.
    """
    target = catalog.row(name).target
    module, _, attribute = target.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise UserError(
            f"method={name!r} has target={target!r}, which cannot be had ({error}); mend the row."
        ) from error


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
    if config["precision"] not in precision.PRECISIONS:
        raise unknown_name("precision", config["precision"], precision.PRECISIONS)
    cls = method_class(config["method"])
    _refuse_unused(cls, config)
    config = {**config, "precision": precision.resolve(config["precision"])}
    # Initialisers without a seed of their own take Keras' global one.
    keras.utils.set_random_seed(config["seed"])
    builders = networks.get(config["network"])
    low = config["image_range"][0]
    image_activation = "tanh" if low < 0 else "sigmoid"
    shapes = {
        "sample_shape": tuple(sample_shape),
        "output_activation": image_activation if kind == "image" else "linear",
    }
    fields = (*cls.base_fields, *cls.config_fields)
    own = {field: config[field] for field in fields if field != "kind"}
    if "kernel" in own:
        own["kernel"] = _kernel(config)
    networks_ = cls.build_networks(config, builders, **shapes)
    return cls(**networks_, kind=kind, name=config["method"], **own)


def _kernel(config: Mapping[str, Any]) -> kernels.Kernel:
    """Returns the config's kernel; a UserError when fields of a trained one belong to none."""
    kernel = kernels.get(config["kernel"])
    if isinstance(kernel, kernels.KernelNet):
        return kernels.KernelNet(
            kernel.dependence,
            expectation=config["kernel_expectation"],
            num_samples=config["kernel_samples"],
            width=config["kernel_width"],
            chunk_rows=config["kernel_chunk_rows"],
        )
    for field in ("kernel_expectation", "kernel_samples", "kernel_width", "kernel_chunk_rows"):
        if config[field] != FIELDS[field][0]:
            raise UserError(
                f"{field}={config[field]!r} is for trained kernels, not kernel="
                f"{config['kernel']!r}; leave it out, or set kernel=dk."
            )
    return kernel


def _refuse_unused(cls: type[Method], config: Mapping[str, Any]) -> None:
    """Raises a UserError when a field was set that other families have and this one has not."""
    families = {method_class(name) for name in catalog.names()}
    row = catalog.row(config["method"]).settings()
    for field in cls.unused_fields(config):
        if config[field] != row.get(field, FIELDS[field][0]):
            raise UserError(
                f"{field}={config[field]!r} has no effect on {config['method']} with these fields; "
                "leave it out."
            )
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
    """Returns one optimizer per player, at `<player>_learning_rate` times the multiplier.

    A kernel network's rate is `kernel_learning_rate_ratio` times the generator's. An autoencoder,
    which is trained by itself, always has Adam with Keras' decays (Kernel GAN paper, appendix A.3).
    """

    def make(player: str) -> keras.optimizers.Optimizer:
        if player == "kernel":
            rate = config["kernel_learning_rate_ratio"] * config["generator_learning_rate"]
        else:
            rate = config[f"{player}_learning_rate"]
        rate *= config["learning_rate_multiplier"]
        clipnorm = config["clip_gradient_norm"] or None
        if config["optimizer"] not in _OPTIMIZERS:
            raise unknown_name("optimizer", config["optimizer"], _OPTIMIZERS)
        if player == "autoencoder":
            return keras.optimizers.Adam(rate, clipnorm=clipnorm)
        if config["optimizer"] == "rmsprop":
            # Keras adds epsilon under the root: 1e-16 there is the usual 1e-8 beside it.
            decay = config["rmsprop_decay"]
            return keras.optimizers.RMSprop(rate, decay, epsilon=1e-16, clipnorm=clipnorm)
        if config["optimizer"] == "sgd":
            return keras.optimizers.SGD(rate, config["momentum"], clipnorm=clipnorm)
        beta_1, beta_2 = config["adam_beta1"], config["adam_beta2"]
        return keras.optimizers.Adam(rate, beta_1=beta_1, beta_2=beta_2, clipnorm=clipnorm)

    return {player: make(player) for player in players}


# Keras finds a class in a `.keras` file only when its module was imported. Last, because methods
# from outside the package import from this one.
for _name in catalog.names():
    if _name in catalog.ROWS:
        method_class(_name)
    else:
        # A bad row of somebody else's is told when its method is asked for.
        with contextlib.suppress(UserError):
            method_class(_name)
