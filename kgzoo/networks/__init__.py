"""Functional Keras models by name: pairs of builders for a generator and a critic.

A builder takes keyword arguments only and returns an unbuilt-optimizer `keras.Model` from latents
`[n, latent_dim]` to examples `[n, *sample_shape]`, or from examples to features `[n, output_dim]`.
Outputs are float32 under every policy.
"""

from collections.abc import Callable
from dataclasses import dataclass

import keras

from kgzoo.errors import unknown_name
from kgzoo.networks import dcgan, mlp, resnet

__all__ = ["Builders", "get", "names"]


@dataclass(frozen=True)
class Builders:
    """The two builders of a network name.

    generator(latent_dim, sample_shape, width, output_activation, dtype) -> keras.Model
    critic(sample_shape, output_dim, width, spectral, spectral_constant, dtype,
           critic_batch_norm=False) -> keras.Model

    critic_batch_norm: batch normalisation over the global batch after every hidden convolution or
        dense layer but the first (the DCGAN's rule; Li et al., 2017, and WGAN have it in their
        critics). In training mode an example's features then depend on the whole batch: what
        takes one gradient per example (scaled losses, gradient penalties) needs a critic without.
    """

    generator: Callable[..., keras.Model]
    critic: Callable[..., keras.Model]


_NETWORKS = {
    "mlp": Builders(mlp.generator, mlp.critic),
    "dcgan_small": Builders(dcgan.small_generator, dcgan.small_critic),
    "sndcgan": Builders(dcgan.sndcgan_generator, dcgan.sndcgan_critic),
    "dcgan64": Builders(dcgan.dcgan64_generator, dcgan.dcgan64_critic),
    "dcgan_resnet": Builders(resnet.celeba_generator, dcgan.five_layer_critic),
    "resnet": Builders(resnet.generator, resnet.critic),
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
