"""Encoders and Bernoulli decoders of the variational methods, and the networks of `mlp_vae`.

Dense networks of every name share one pair: a hidden layer of ReLU on either side, the KernelNet
paper's at 400 units each. The pair of a convolutional network is made of its critic and generator.

Decoders end in logits: the Bernoulli log-likelihood of saturated pixels is finite in them, and not
in probabilities. Encoders are chains, each layer's input being the output of the one before, so
that a method can put noise before the layers.

References:
    Zhou et al., KernelNet, section 4.2 and appendix G.2 (1 hidden layer of 400 units for both).
"""

from collections.abc import Callable

import keras

from kgzoo.networks.mlp import perceptron, perceptron_critic

__all__ = ["convolutional", "critic", "dense", "generator"]


def generator(*, width: int, **arguments) -> keras.Model:
    """Returns the generator of `mlp_vae`; arguments as in `kgzoo.networks.Builders`."""
    return perceptron(hidden=[(width, "relu")], **arguments)


def critic(*, width: int, **arguments) -> keras.Model:
    """Returns the critic of `mlp_vae`; arguments as in `kgzoo.networks.Builders`."""
    return perceptron_critic(hidden=[width], **arguments)


def dense(**arguments) -> tuple[keras.Model, keras.Model]:
    """Returns an encoder and a decoder with one hidden layer of ReLU each.

    Args:
        **arguments: as for `convolutional`, but for the two builders; the examples are of any
            shape, and the widths are numbers of hidden units.

    Returns:
        encoder: examples `[n, *sample_shape]` to outputs `[n, outputs]`, float32.
        decoder: latents `[n, latent_dim]` to logits `[n, *sample_shape]`, float32.
    """
    return convolutional(critic=critic, generator=generator, **arguments)


def convolutional(
    *,
    critic: Callable[..., keras.Model],
    generator: Callable[..., keras.Model],
    sample_shape: tuple[int, ...],
    outputs: int,
    latent_dim: int,
    encoder_width: int,
    decoder_width: int,
    dtype: str,
) -> tuple[keras.Model, keras.Model]:
    """Returns an encoder made of a critic and a decoder made of a generator.

    The critic has neither spectral nor batch normalisation; the generator keeps its own.

    Args:
        critic: builder of the encoder, a chain of layers; see `kgzoo.networks.Builders`.
        generator: builder of the decoder.
        sample_shape: shape of one example.
        outputs: of the encoder, linear: latent_dim codes, or as many means and log-variances.
        latent_dim: dimension of the latents.
        encoder_width: of the critic.
        decoder_width: of the generator.
        dtype: the Keras dtype policy; outputs and logits are float32 under all.

    Returns:
        encoder: examples `[n, *sample_shape]` to outputs `[n, outputs]`, float32; named "encoder".
        decoder: latents `[n, latent_dim]` to logits `[n, *sample_shape]`, float32; named
            "decoder_logits".

    Raises:
        UserError: the size of the examples does not fit the networks.
    """
    # Where the two are of different names, the complaint about a size names the generator's.
    made = generator(
        latent_dim=latent_dim,
        sample_shape=sample_shape,
        width=decoder_width,
        output_activation="linear",
        dtype=dtype,
    )
    features = critic(
        sample_shape=sample_shape,
        output_dim=outputs,
        width=encoder_width,
        spectral="none",
        spectral_constant=1.0,
        dtype=dtype,
    )
    encoder = keras.Model(features.input, features.output, name="encoder")
    return encoder, keras.Model(made.input, made.output, name="decoder_logits")
