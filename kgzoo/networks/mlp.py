"""Multi-layer perceptrons: names that differ in their hidden layers alone.

    mlp       width, width, width, all ReLU
    mlp_two   width, width, both ReLU: the GRAM paper's rings, section 3.4 and appendix B.1
    mlp_tanh  width, width ReLU, width tanh: the Kernel GAN paper's mixtures of Gaussians
    gmmn      width, 4 width, 4 width, 16 width ReLU: the Kernel GAN paper's generator for MNIST

Critics are made of ReLU layers: those of `mlp_two` are two, all others three, of `width` units;
the one of `gmmn`, of which no paper speaks, has 4 width units in each.

References:
    Srivastava et al. (2020), Generative ratio matching networks, appendix B.1: widths 20, 100 and
        200, the critic 2-100-100-10.
    Kernel GANs, section 3.1 (128-relu-128-relu-128-tanh, followed here by a linear layer to the
        two coordinates) and appendix A.3 (FC, 10-64-256-256-1024-784, after Li et al., 2015).
"""

from collections.abc import Sequence

import keras

from kgzoo.networks.blocks import SpectralOption, as_output, batch_norm

__all__ = [
    "critic",
    "generator",
    "gmmn_critic",
    "gmmn_generator",
    "perceptron",
    "perceptron_critic",
    "tanh_generator",
    "two_critic",
    "two_generator",
]

# GRAM on its ring learns more slowly from it at first, and closer in the end, than from He's rule.
_TWO_INITIALIZER = "glorot_uniform"


def perceptron(
    *,
    latent_dim: int,
    sample_shape: tuple[int, ...],
    hidden: Sequence[tuple[int, str]],
    output_activation: str,
    dtype: str,
    name: str = "generator",
    relu_initializer: str = "he_normal",
) -> keras.Model:
    """Returns a perceptron from latents `[n, latent_dim]` to examples `[n, *sample_shape]`.

    Args:
        latent_dim: inputs.
        sample_shape: shape of one output.
        hidden: units and activation of every hidden layer.
        output_activation: of the outputs, applied in float32.
        dtype: the Keras dtype policy.
        name: of the model.
        relu_initializer: of the kernels before a ReLU.
    """
    inputs = x = keras.Input([latent_dim], name="latents")
    for units, activation in hidden:
        # He's variance makes up for the half that a ReLU cuts off; sigmoid and tanh cut nothing.
        initializer = relu_initializer if activation == "relu" else "glorot_uniform"
        x = keras.layers.Dense(units, activation, kernel_initializer=initializer, dtype=dtype)(x)
    size = 1
    for length in sample_shape:
        size *= length
    x = keras.layers.Dense(size, dtype=dtype)(x)
    x = keras.layers.Reshape(sample_shape, dtype=dtype)(x)
    return keras.Model(inputs, as_output(x, output_activation, "samples"), name=name)


def perceptron_critic(
    *,
    sample_shape: tuple[int, ...],
    output_dim: int,
    hidden: Sequence[int],
    spectral: str,
    spectral_constant: float,
    dtype: str,
    critic_batch_norm: bool = False,
    relu_initializer: str = "he_normal",
) -> keras.Model:
    """Returns a critic of ReLU layers: examples `[n, *sample_shape]` to `[n, output_dim]`.

    Args:
        sample_shape: shape of one example.
        output_dim: features.
        hidden: units of every hidden layer.
        spectral: see `SpectralOption`.
        spectral_constant: see `SpectralOption`.
        dtype: the Keras dtype policy; the features are float32 under all.
        critic_batch_norm: see `kgzoo.networks.Builders`.
        relu_initializer: of the hidden layers' kernels.
    """
    option = SpectralOption(spectral, spectral_constant, dtype)
    inputs = keras.Input(sample_shape, name="samples")
    x = keras.layers.Flatten(dtype=dtype)(inputs)
    for place, units in enumerate(hidden):
        # Batch normalisation would take the bias away again; the first layer never has it.
        normalised = critic_batch_norm and place > 0
        activation = None if normalised else "relu"
        x = option.dense(
            units,
            activation=activation,
            use_bias=not normalised,
            kernel_initializer=relu_initializer,
        )(x)
        if normalised:
            x = keras.layers.ReLU(dtype=dtype)(batch_norm(dtype)(x))
    x = option.dense(output_dim, dtype="float32", kernel_initializer="glorot_normal")(x)
    return keras.Model(inputs, x, name="critic")


def generator(*, width: int, **arguments) -> keras.Model:
    """Returns the generator of `mlp`; arguments as in `kgzoo.networks.Builders`."""
    return perceptron(hidden=3 * [(width, "relu")], **arguments)


def critic(*, width: int, **arguments) -> keras.Model:
    """Returns the critic of `mlp` and `mlp_tanh`."""
    return perceptron_critic(hidden=3 * [width], **arguments)


def two_generator(*, width: int, **arguments) -> keras.Model:
    """Returns the generator of `mlp_two`."""
    hidden = 2 * [(width, "relu")]
    return perceptron(hidden=hidden, relu_initializer=_TWO_INITIALIZER, **arguments)


def two_critic(*, width: int, **arguments) -> keras.Model:
    """Returns the critic of `mlp_two`: 2-100-100-10 at width 100 for ten outputs on a plane."""
    return perceptron_critic(hidden=2 * [width], relu_initializer=_TWO_INITIALIZER, **arguments)


def tanh_generator(*, width: int, **arguments) -> keras.Model:
    """Returns the generator of `mlp_tanh`, the Kernel GAN paper's at width 128."""
    return perceptron(hidden=[(width, "relu"), (width, "relu"), (width, "tanh")], **arguments)


def gmmn_generator(*, width: int, **arguments) -> keras.Model:
    """Returns the generator of `gmmn`, the paper's FC at width 64."""
    units = (width, 4 * width, 4 * width, 16 * width)
    return perceptron(hidden=[(count, "relu") for count in units], **arguments)


def gmmn_critic(*, width: int, **arguments) -> keras.Model:
    """Returns the critic of `gmmn`: three hidden layers of 4 width units, 256 at width 64."""
    return perceptron_critic(hidden=3 * [4 * width], **arguments)
