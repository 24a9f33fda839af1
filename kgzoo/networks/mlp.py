"""Multi-layer perceptrons for vector data: three hidden layers of ReLU units."""

import keras

from kgzoo.networks.blocks import SpectralOption, as_output, batch_norm

__all__ = ["critic", "generator"]

_HIDDEN_LAYERS = 3


def generator(
    *,
    latent_dim: int,
    sample_shape: tuple[int, ...],
    width: int,
    output_activation: str,
    dtype: str,
) -> keras.Model:
    """Returns the generator: latents `[n, latent_dim]` to examples `[n, *sample_shape]`."""
    inputs = x = keras.Input([latent_dim], name="latents")
    for _ in range(_HIDDEN_LAYERS):
        x = keras.layers.Dense(width, "relu", kernel_initializer="he_normal", dtype=dtype)(x)
    size = 1
    for length in sample_shape:
        size *= length
    x = keras.layers.Dense(size, dtype=dtype)(x)
    x = keras.layers.Reshape(sample_shape, dtype=dtype)(x)
    return keras.Model(inputs, as_output(x, output_activation, "samples"), name="generator")


def critic(
    *,
    sample_shape: tuple[int, ...],
    output_dim: int,
    width: int,
    spectral: str,
    spectral_constant: float,
    dtype: str,
    critic_batch_norm: bool = False,
) -> keras.Model:
    """Returns the critic: examples `[n, *sample_shape]` to features `[n, output_dim]`."""
    option = SpectralOption(spectral, spectral_constant, dtype)
    inputs = keras.Input(sample_shape, name="samples")
    x = keras.layers.Flatten(dtype=dtype)(inputs)
    for place in range(_HIDDEN_LAYERS):
        # Batch normalisation would take the bias away again; the first layer never has it.
        normalised = critic_batch_norm and place > 0
        activation = None if normalised else "relu"
        x = option.dense(
            width,
            activation=activation,
            use_bias=not normalised,
            kernel_initializer="he_normal",
        )(x)
        if normalised:
            x = keras.layers.ReLU(dtype=dtype)(batch_norm(dtype)(x))
    x = option.dense(output_dim, dtype="float32", kernel_initializer="glorot_normal")(x)
    return keras.Model(inputs, x, name="critic")
