"""The fully convolutional pair that Li et al. (2017) train; the GRAM paper's Table 2 has it too.

The DCGAN in its all-convolutional form, 64 filters beside the image at width 64:

    critic     4x4 stride 2 convolutions to 4x4 pixels, filters doubled each time; a 4x4
               convolution without padding to the features
    generator  its mirror: a 4x4 transposed convolution from latents seen as a 1x1 image, 4x4
               stride 2 ones, filters halved each time, the last one to the image

For 32 pixels that is 64, 128, 256 filters, for 64 pixels 512 more. Layers have a bias unless batch
normalisation follows, as in the other networks here.

References:
    Radford et al. (2016), Unsupervised representation learning with deep convolutional GANs.
    Li et al. (2017), MMD GAN: towards deeper understanding of moment matching network, section 5.
"""

import keras

from kgzoo.errors import UserError
from kgzoo.networks.blocks import SpectralOption, as_output, batch_norm
from kgzoo.networks.dcgan import DCGAN_LEAK, normal, up_convolution

__all__ = ["critic", "generator"]

_BASE = 4
_LEAST_SIZE = 16


def _scales(sample_shape: tuple[int, ...]) -> list[int]:
    """Returns filters over width, from the image inwards: 1, 2, 4 for 32 pixels.

    Raises:
        UserError: if the examples are not square images whose side is a power of two, or small.
    """
    side = sample_shape[0]
    square = len(sample_shape) == 3 and side == sample_shape[1]
    if not square or side < _LEAST_SIZE or side & (side - 1):
        raise UserError(
            "network='li_dcgan' makes square images whose side is a power of two, "
            f"{_LEAST_SIZE} or more, not {tuple(sample_shape)}; "
            "set --config.image_size or another --config.network."
        )
    halvings = (side // _BASE).bit_length() - 1
    return [2**place for place in range(halvings)]


def generator(
    *,
    latent_dim: int,
    sample_shape: tuple[int, ...],
    width: int,
    output_activation: str,
    dtype: str,
) -> keras.Model:
    """Returns the generator; sizes are powers of two (32 and 64 in the papers)."""
    *inner, first = (scale * width for scale in _scales(sample_shape))
    inputs = keras.Input([latent_dim], name="latents")
    x = keras.layers.Reshape([1, 1, latent_dim], dtype=dtype)(inputs)
    x = keras.layers.Conv2DTranspose(
        first, _BASE, 1, "valid", use_bias=False, kernel_initializer=normal(), dtype=dtype
    )(x)
    x = keras.layers.ReLU(dtype=dtype)(batch_norm(dtype)(x))
    for filters in reversed(inner):
        x = up_convolution(x, filters, dtype)
    x = keras.layers.Conv2DTranspose(
        sample_shape[-1], 4, 2, "same", kernel_initializer=normal(), dtype=dtype
    )(x)
    return keras.Model(inputs, as_output(x, output_activation, "images"), name="generator")


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
    """Returns the critic, Li et al.'s encoder when `critic_batch_norm` is on."""
    option = SpectralOption(spectral, spectral_constant, dtype)
    inputs = x = keras.Input(sample_shape, name="images")
    for place, scale in enumerate(_scales(sample_shape)):
        # Batch normalisation would take the bias away again; the first layer never has it.
        normalised = critic_batch_norm and place > 0
        x = option.conv(scale * width, 4, 2, use_bias=not normalised)(x)
        if normalised:
            x = batch_norm(dtype)(x)
        x = keras.layers.LeakyReLU(DCGAN_LEAK, dtype=dtype)(x)
    x = option.conv(output_dim, _BASE, 1, padding="valid", dtype="float32")(x)
    x = keras.layers.Flatten(dtype="float32")(x)
    return keras.Model(inputs, x, name="critic")
