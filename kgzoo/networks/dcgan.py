"""DCGANs: a small one, the repulsive MMD-GAN paper's (Tables S1 and S2), SMMD's CelebA critic.

Table S2's last row prints 4x4x512: its last convolution has 1024 filters, so 4x4x1024 is meant.
"""

from collections.abc import Sequence

import keras

from kgzoo.networks.blocks import SpectralOption, as_output, base_size, batch_norm

__all__ = [
    "DCGAN_LEAK",
    "convolutional_critic",
    "dcgan64_critic",
    "dcgan64_generator",
    "five_layer_critic",
    "normal",
    "small_critic",
    "small_generator",
    "sndcgan_critic",
    "sndcgan_generator",
    "up_convolution",
]

# The public repulsive MMD-GAN code's slope; the paper does not print one.
_LEAK = 0.1
# Of the original DCGAN (Radford et al., 2016), and of the SMMD paper's public code.
DCGAN_LEAK = 0.2


def normal() -> keras.initializers.Initializer:
    """Returns the DCGAN's initialiser, N(0, 0.02^2)."""
    return keras.initializers.RandomNormal(stddev=0.02)


def up_convolution(x: keras.KerasTensor, filters: int, dtype: str) -> keras.KerasTensor:
    """Applies a 4x4 stride 2 transposed convolution, batch normalisation and ReLU."""
    x = keras.layers.Conv2DTranspose(
        filters, 4, 2, "same", use_bias=False, kernel_initializer=normal(), dtype=dtype
    )(x)
    x = batch_norm(dtype)(x)
    return keras.layers.ReLU(dtype=dtype)(x)


def _generator(latent_dim, sample_shape, base, widths, batch_norm_first, activation, dtype):
    """Dense to `base` x widths[0], an `up_convolution` a further width, 3x3 convolution."""
    inputs = keras.Input([latent_dim], name="latents")
    x = keras.layers.Dense(base[0] * base[1] * widths[0], kernel_initializer=normal(), dtype=dtype)(
        inputs
    )
    x = keras.layers.Reshape([*base, widths[0]], dtype=dtype)(x)
    if batch_norm_first:
        x = keras.layers.ReLU(dtype=dtype)(batch_norm(dtype)(x))
    for filters in widths[1:]:
        x = up_convolution(x, filters, dtype)
    x = keras.layers.Conv2D(
        sample_shape[-1], 3, padding="same", kernel_initializer=normal(), dtype=dtype
    )(x)
    return keras.Model(inputs, as_output(x, activation, "images"), name="generator")


def convolutional_critic(
    sample_shape: tuple[int, ...],
    output_dim: int,
    convolutions: Sequence[tuple[int, int, int]],
    option: SpectralOption,
    normalise: bool,
    leak: float = _LEAK,
) -> keras.Model:
    """Returns a critic of convolutions with leaky ReLU and a dense layer.

    Args:
        sample_shape: shape of one image.
        output_dim: features.
        convolutions: filters, kernel size and stride of every convolution.
        option: makes the layers.
        normalise: whether batch normalisation follows every convolution but the first.
        leak: slope of the leaky ReLU below 0.
    """
    inputs = x = keras.Input(sample_shape, name="images")
    for place, (filters, kernel_size, strides) in enumerate(convolutions):
        # Batch normalisation would take the bias away again; the first layer never has it.
        normalised = normalise and place > 0
        x = option.conv(filters, kernel_size, strides, use_bias=not normalised)(x)
        if normalised:
            x = batch_norm(option.dtype)(x)
        x = keras.layers.LeakyReLU(leak, dtype=option.dtype)(x)
    x = keras.layers.Flatten(dtype=option.dtype)(x)
    return keras.Model(inputs, option.dense(output_dim, dtype="float32")(x), name="critic")


def _table_critic(sample_shape, output_dim, width, stages, option, normalise):
    """The critics of Tables S1(b) and S2(b): a 3x3, then a 4x4 stride 2 and a 3x3 per stage."""
    convolutions = [(width, 3, 1)]
    for stage in range(1, stages + 1):
        filters = 2**stage * width
        convolutions += [(filters, 4, 2), (filters, 3, 1)]
    return convolutional_critic(sample_shape, output_dim, convolutions, option, normalise)


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
    critic_batch_norm: bool = False,
) -> keras.Model:
    """Returns a DCGAN critic of three convolutions, two of them with stride 2."""
    base_size(sample_shape, 4, "dcgan_small")
    option = SpectralOption(spectral, spectral_constant, dtype)
    convolutions = ((width, 3, 1), (2 * width, 4, 2), (4 * width, 4, 2))
    return convolutional_critic(sample_shape, output_dim, convolutions, option, critic_batch_norm)


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
    critic_batch_norm: bool = False,
) -> keras.Model:
    """Returns the critic of Table S1(b) at width 64: seven convolutions and a dense layer."""
    base_size(sample_shape, 8, "sndcgan")
    option = SpectralOption(spectral, spectral_constant, dtype)
    return _table_critic(sample_shape, output_dim, width, 3, option, critic_batch_norm)


def dcgan64_generator(
    *,
    latent_dim: int,
    sample_shape: tuple[int, ...],
    width: int,
    output_activation: str,
    dtype: str,
) -> keras.Model:
    """Returns the generator of Table S2(a) at width 64; sizes are multiples of 16 (64)."""
    base = base_size(sample_shape, 16, "dcgan64")
    widths = (16 * width, 8 * width, 4 * width, 2 * width, width)
    return _generator(latent_dim, sample_shape, base, widths, False, output_activation, dtype)


def dcgan64_critic(
    *,
    sample_shape: tuple[int, ...],
    output_dim: int,
    width: int,
    spectral: str,
    spectral_constant: float,
    dtype: str,
    critic_batch_norm: bool = False,
) -> keras.Model:
    """Returns the critic of Table S2(b) at width 64: nine convolutions and a dense layer."""
    base_size(sample_shape, 16, "dcgan64")
    option = SpectralOption(spectral, spectral_constant, dtype)
    return _table_critic(sample_shape, output_dim, width, 4, option, critic_batch_norm)


def five_layer_critic(
    *,
    sample_shape: tuple[int, ...],
    output_dim: int,
    width: int,
    spectral: str,
    spectral_constant: float,
    dtype: str,
    critic_batch_norm: bool = False,
) -> keras.Model:
    """Returns the critic of `dcgan_resnet`, the SMMD paper's "5-layer DCGAN discriminator".

    Five 5x5 convolutions with stride 2, of 64, 128, 256, 512 and 1024 filters at width 64, and a
    dense layer. The paper counts convolutions, as in its "7-layer critic" for CIFAR-10, and its
    authors' public code has these five; the original DCGAN (Radford et al., 2016) has four.
    """
    base_size(sample_shape, 32, "dcgan_resnet")
    option = SpectralOption(spectral, spectral_constant, dtype)
    convolutions = [(scale * width, 5, 2) for scale in (1, 2, 4, 8, 16)]
    return convolutional_critic(
        sample_shape, output_dim, convolutions, option, critic_batch_norm, leak=DCGAN_LEAK
    )
