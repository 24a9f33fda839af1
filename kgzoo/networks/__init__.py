"""Functional Keras models by name: a generator, a critic, an autoencoder, a variational pair.

A builder takes keyword arguments only and returns an unbuilt-optimizer `keras.Model` from latents
`[n, latent_dim]` to examples `[n, *sample_shape]`, or from examples to features `[n, output_dim]`.
Outputs are float32 under every policy. The generator of codes, which goes with every autoencoder,
is `autoencoder.code_generator`.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass

import keras

from kgzoo.errors import unknown_name
from kgzoo.networks import autoencoder, dcgan, gram, li_dcgan, mlp, resnet, variational

__all__ = ["Builders", "get", "names"]


@dataclass(frozen=True)
class Builders:
    """The builders of a network name.

    generator(latent_dim, sample_shape, width, output_activation, dtype) -> keras.Model
    critic(sample_shape, output_dim, width, spectral, spectral_constant, dtype,
           critic_batch_norm=False) -> keras.Model
    autoencoder(sample_shape, code_dim, width, output_activation, dtype) -> (encoder, decoder),
        from examples to codes `[n, code_dim]` in [0, 1] and back; the encoder is a chain of layers
    variational(sample_shape, outputs, latent_dim, encoder_width, decoder_width, dtype)
        -> (encoder, decoder), from examples to linear outputs `[n, outputs]`, again a chain, and
        from latents `[n, latent_dim]` to Bernoulli logits `[n, *sample_shape]`

    critic_batch_norm: batch normalisation over the global batch after every hidden convolution or
        dense layer but the first (the DCGAN's rule; Li et al., 2017, and WGAN have it in their
        critics), in `gram_mnist` after the first too, as printed. In training mode an example's
        features then depend on the whole batch: what takes one gradient per example (scaled
        losses, gradient penalties) needs a critic without.
    """

    generator: Callable[..., keras.Model]
    critic: Callable[..., keras.Model]
    autoencoder: Callable[..., tuple[keras.Model, keras.Model]]
    variational: Callable[..., tuple[keras.Model, keras.Model]]


def _dense(generator, critic) -> Builders:
    return Builders(generator, critic, autoencoder.dense, variational.dense)


def _convolutional(generator, critic, encoder=None) -> Builders:
    """Its pairs are made of the two; another critic encodes where its own is no chain."""
    parts = {"critic": encoder or critic, "generator": generator}
    return Builders(
        generator,
        critic,
        functools.partial(autoencoder.convolutional, **parts),
        functools.partial(variational.convolutional, **parts),
    )


_NETWORKS = {
    "mlp": _dense(mlp.generator, mlp.critic),
    "mlp_two": _dense(mlp.two_generator, mlp.two_critic),
    "mlp_tanh": _dense(mlp.tanh_generator, mlp.critic),
    "mlp_vae": _dense(variational.generator, variational.critic),
    "gmmn": _dense(mlp.gmmn_generator, mlp.gmmn_critic),
    "gram_mnist": _dense(gram.mnist_generator, gram.mnist_critic),
    "gram_dcgan": _convolutional(gram.dcgan_generator, gram.dcgan_critic),
    "gram_dcgan_weak": _convolutional(gram.weak_generator, gram.weak_critic),
    "li_dcgan": _convolutional(li_dcgan.generator, li_dcgan.critic),
    "dcgan_small": _convolutional(dcgan.small_generator, dcgan.small_critic),
    "sndcgan": _convolutional(dcgan.sndcgan_generator, dcgan.sndcgan_critic),
    "dcgan64": _convolutional(dcgan.dcgan64_generator, dcgan.dcgan64_critic),
    "dcgan_resnet": _convolutional(resnet.celeba_generator, dcgan.five_layer_critic),
    # Shortcuts go round the layers of its own critic; dcgan64's takes the same sizes.
    "resnet": _convolutional(resnet.generator, resnet.critic, encoder=dcgan.dcgan64_critic),
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
