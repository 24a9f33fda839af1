"""Autoencoders of the methods that work in a code space, and the generator of codes.

Codes lie in [0, 1]: the encoders end in a sigmoid, and so does the generator. The encoders are
chains, each layer's input being the output of the one before, so that a method can put dropout
between the layers.

The Kernel GAN paper prints its autoencoder as
784-1024-sigmoid-32-sigmoid-32-sigmoid-1024-sigmoid-784. Read like its generators beside it, the
first number is the input and every further one a layer: the first 32 makes the code, the second is
the decoder's first hidden layer.

References:
    Kernel GANs, appendix A.3 (autoencoder, FC-FS), after Li et al. (2015), Generative moment
    matching networks.
"""

from collections.abc import Callable

import keras

from kgzoo.networks.blocks import as_output
from kgzoo.networks.mlp import perceptron

__all__ = ["code_generator", "convolutional", "dense"]


def code_generator(*, latent_dim: int, code_dim: int, width: int, dtype: str) -> keras.Model:
    """Returns the generator of codes: latents `[n, latent_dim]` to `[n, code_dim]` in [0, 1].

    Three ReLU layers of width, 4 width and 4 width units and a sigmoid; the paper's FC-FS,
    10-64-256-256-32, at width 64.
    """
    return perceptron(
        latent_dim=latent_dim,
        sample_shape=(code_dim,),
        hidden=[(width, "relu"), (4 * width, "relu"), (4 * width, "relu")],
        output_activation="sigmoid",
        dtype=dtype,
        name="code_generator",
    )


def dense(
    *,
    sample_shape: tuple[int, ...],
    code_dim: int,
    width: int,
    output_activation: str,
    dtype: str,
) -> tuple[keras.Model, keras.Model]:
    """Returns the encoder and the decoder of sigmoid layers; the paper's at width 64, code 32.

    Args:
        sample_shape: shape of one example, of any rank.
        code_dim: dimension of the codes.
        width: a sixteenth of the units of the large hidden layers.
        output_activation: of the decoder.
        dtype: the Keras dtype policy; codes and examples are float32 under all.

    Returns:
        encoder: examples `[n, *sample_shape]` to codes `[n, code_dim]`.
        decoder: codes to examples, by hidden layers of code_dim and 16 width units.
    """
    inputs = keras.Input(sample_shape, name="samples")
    x = keras.layers.Flatten(dtype=dtype)(inputs)
    x = keras.layers.Dense(16 * width, "sigmoid", dtype=dtype)(x)
    x = keras.layers.Dense(code_dim, dtype="float32")(x)
    encoder = keras.Model(inputs, as_output(x, "sigmoid", "codes"), name="encoder")
    decoder = perceptron(
        latent_dim=code_dim,
        sample_shape=sample_shape,
        hidden=[(code_dim, "sigmoid"), (16 * width, "sigmoid")],
        output_activation=output_activation,
        dtype=dtype,
        name="decoder",
    )
    return encoder, decoder


def convolutional(
    *,
    critic: Callable[..., keras.Model],
    generator: Callable[..., keras.Model],
    sample_shape: tuple[int, ...],
    code_dim: int,
    width: int,
    output_activation: str,
    dtype: str,
) -> tuple[keras.Model, keras.Model]:
    """Returns an encoder made of a critic and a sigmoid, and a decoder made of a generator.

    The critic has neither spectral nor batch normalisation.

    Args:
        critic: builder of the encoder, a chain of layers; see `kgzoo.networks.Builders`.
        generator: builder of the decoder.
        sample_shape: shape of one example.
        code_dim: dimension of the codes.
        width: of critic and generator.
        output_activation: of the decoder.
        dtype: the Keras dtype policy; codes and examples are float32 under all.

    Returns:
        encoder: examples `[n, *sample_shape]` to codes `[n, code_dim]`.
        decoder: codes to examples.

    Raises:
        UserError: the size of the examples does not fit the networks.
    """
    # Where the two are of different names, the complaint about a size names the generator's.
    made = generator(
        latent_dim=code_dim,
        sample_shape=sample_shape,
        width=width,
        output_activation=output_activation,
        dtype=dtype,
    )
    features = critic(
        sample_shape=sample_shape,
        output_dim=code_dim,
        width=width,
        spectral="none",
        spectral_constant=1.0,
        dtype=dtype,
    )
    codes = as_output(features.output, "sigmoid", "codes")
    encoder = keras.Model(features.input, codes, name="encoder")
    return encoder, keras.Model(made.input, made.output, name="decoder")
