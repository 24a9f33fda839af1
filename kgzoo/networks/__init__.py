"""Functional Keras models by name: pairs of builders for a generator and a critic.

A builder takes keyword arguments only and returns an unbuilt-optimizer `keras.Model` from latents
`[n, latent_dim]` to examples `[n, *sample_shape]`, or from examples to features `[n, output_dim]`.
Outputs are float32 under every policy.
"""

from collections.abc import Callable
from dataclasses import dataclass

import keras

from kgzoo.errors import unknown_name
from kgzoo.networks import dcgan, mlp

__all__ = ["Builders", "get", "names"]


@dataclass(frozen=True)
class Builders:
    """The two builders of a network name.

    generator(latent_dim, sample_shape, width, output_activation, dtype) -> keras.Model
    critic(sample_shape, output_dim, width, spectral, spectral_constant, dtype) -> keras.Model
    """

    generator: Callable[..., keras.Model]
    critic: Callable[..., keras.Model]


_NETWORKS = {
    "mlp": Builders(mlp.generator, mlp.critic),
    "dcgan_small": Builders(dcgan.small_generator, dcgan.small_critic),
    "sndcgan": Builders(dcgan.sndcgan_generator, dcgan.sndcgan_critic),
}


def names() -> list[str]:
    """Returns the names that `get` accepts."""
    return list(_NETWORKS)


def get(name: str) -> Builders:
    """Returns the builders named `name`.

    Raises:
        UserError: if the name is not known.
    """
    if name not in _NETWORKS:
        raise unknown_name("network", name, _NETWORKS)
    return _NETWORKS[name]
