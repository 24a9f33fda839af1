"""DCGANs: a small one for small images, and SN-DCGAN (repulsive MMD-GAN paper, Table S1)."""

import keras

from kgzoo.networks.blocks import SpectralOption, as_output, base_size, batch_norm

__all__ = ["small_critic", "small_generator", "sndcgan_critic", "sndcgan_generator"]

# The public repulsive MMD-GAN code's slope; the paper does not print one.
_LEAK = 0.1


def _normal():
    return keras.initializers.RandomNormal(stddev=0.02)


def _up(x, filters: int, dtype: str):
    """4x4 stride 2 transposed convolution, batch normalisation, ReLU."""
    x = keras.layers.Conv2DTranspose(
        filters, 4, 2, "same", use_bias=False, kernel_initializer=_normal(), dtype=dtype
    )(x)
    x = batch_norm(dtype)(x)
    return keras.layers.ReLU(dtype=dtype)(x)


def _generator(latent_dim, sample_shape, base, widths, batch_norm_first, activation, dtype):
    """Dense to `base` x widths[0], one `_up` for every further width, 3x3 convolution to image."""
    inputs = keras.Input([latent_dim], name="latents")
    x = keras.layers.Dense(
        base[0] * base[1] * widths[0], kernel_initializer=_normal(), dtype=dtype
    )(inputs)
    x = keras.layers.Reshape([*base, widths[0]], dtype=dtype)(x)
    if batch_norm_first:
        x = keras.layers.ReLU(dtype=dtype)(batch_norm(dtype)(x))
    for filters in widths[1:]:
        x = _up(x, filters, dtype)
    x = keras.layers.Conv2D(
        sample_shape[-1], 3, padding="same", kernel_initializer=_normal(), dtype=dtype
    )(x)
    return keras.Model(inputs, as_output(x, activation, "images"), name="generator")


def _critic(sample_shape, output_dim, convolutions, option):
    """Convolutions (filters, kernel size, stride) with leaky ReLU, then a dense layer."""
    inputs = x = keras.Input(sample_shape, name="images")
    for filters, kernel_size, strides in convolutions:
        x = option.conv(filters, kernel_size, strides)(x)
        x = keras.layers.LeakyReLU(_LEAK, dtype=option.dtype)(x)
    x = keras.layers.Flatten(dtype=option.dtype)(x)
    return keras.Model(inputs, option.dense(output_dim, dtype="float32")(x), name="critic")


def small_generator(
    *,
    latent_dim: int,
    sample_shape: tuple[int, ...],
    width: int,
    output_activation: str,
    dtype: str,
) -> keras.Model:
    """Returns a two-stage DCGAN generator for images whose size is a multiple of 4."""
    base = base_size(sample_shape, 4, "dcgan_small")
    widths = (4 * width, 2 * width, width)
    return _generator(latent_dim, sample_shape, base, widths, True, output_activation, dtype)


def small_critic(
    *,
    sample_shape: tuple[int, ...],
    output_dim: int,
    width: int,
    spectral: str,
    spectral_constant: float,
    dtype: str,
) -> keras.Model:
    """Returns a DCGAN critic of three convolutions, two of them with stride 2."""
    base_size(sample_shape, 4, "dcgan_small")
    option = SpectralOption(spectral, spectral_constant, dtype)
    convolutions = ((width, 3, 1), (2 * width, 4, 2), (4 * width, 4, 2))
    return _critic(sample_shape, output_dim, convolutions, option)


def sndcgan_generator(
    *,
    latent_dim: int,
    sample_shape: tuple[int, ...],
    width: int,
    output_activation: str,
    dtype: str,
) -> keras.Model:
    """Returns the generator of Table S1(a) at width 64; sizes are multiples of 8 (32, 48)."""
    base = base_size(sample_shape, 8, "sndcgan")
    widths = (8 * width, 4 * width, 2 * width, width)
    return _generator(latent_dim, sample_shape, base, widths, False, output_activation, dtype)


def sndcgan_critic(
    *,
    sample_shape: tuple[int, ...],
    output_dim: int,
    width: int,
    spectral: str,
    spectral_constant: float,
    dtype: str,
) -> keras.Model:
    """Returns the critic of Table S1(b) at width 64: seven convolutions and a dense layer."""
    base_size(sample_shape, 8, "sndcgan")
    option = SpectralOption(spectral, spectral_constant, dtype)
    convolutions = [(width, 3, 1)]
    for scale in (2, 4, 8):
        convolutions += [(scale * width, 4, 2), (scale * width, 3, 1)]
    return _critic(sample_shape, output_dim, convolutions, option)
