"""The networks of the GRAM paper's image experiments.

    gram_mnist       perceptron 100-600-600-800-784 and Table 3: three 3x3 convolutions, pooled
    gram_dcgan       Tables 5 and 6, of 32 filters beside the image
    gram_dcgan_weak  Table 5, and Table 7: the critic with half as many filters after the first

Table 3 prints a batch normalisation after each of its convolutions, the first included;
`critic_batch_norm` decides about all three. Its "pooling 2" is read as the maximum of 2x2 pixels;
28 pixels become 14, 7 and 3. For the two DCGANs the paper says that both networks have batch
normalisation, not where: generators have it before every ReLU, critics as the DCGAN does, after
every convolution but the first. The slope of their leaky ReLU, not printed either, is the DCGAN's.

References:
    Srivastava et al. (2020), Generative ratio matching networks, appendices B.4 and D.
"""

import keras

from kgzoo.errors import UserError
from kgzoo.networks.blocks import SpectralOption, as_output, base_size, batch_norm
from kgzoo.networks.dcgan import DCGAN_LEAK, convolutional_critic, normal, up_convolution
from kgzoo.networks.mlp import perceptron

__all__ = [
    "dcgan_critic",
    "dcgan_generator",
    "mnist_critic",
    "mnist_generator",
    "weak_critic",
    "weak_generator",
]

# Three times pooled, 8 pixels leave one.
_LEAST_SIZE = 8


def _check_size(sample_shape: tuple[int, ...]) -> None:
    if len(sample_shape) != 3 or min(sample_shape[:2]) < _LEAST_SIZE:
        raise UserError(
            f"network='gram_mnist' takes images of at least {_LEAST_SIZE} x {_LEAST_SIZE} pixels, "
            f"not {tuple(sample_shape)}; set --config.image_size or another --config.network."
        )


def mnist_generator(
    *,
    latent_dim: int,
    sample_shape: tuple[int, ...],
    width: int,
    output_activation: str,
    dtype: str,
) -> keras.Model:
    """Returns the perceptron of appendix B.4 at width 600; its third layer is a third wider."""
    _check_size(sample_shape)
    return perceptron(
        latent_dim=latent_dim,
        sample_shape=sample_shape,
        hidden=[(width, "relu"), (width, "relu"), (round(4 * width / 3), "relu")],
        output_activation=output_activation,
        dtype=dtype,
    )


def mnist_critic(
    *,
    sample_shape: tuple[int, ...],
    output_dim: int,
    width: int,
    spectral: str,
    spectral_constant: float,
    dtype: str,
    critic_batch_norm: bool = False,
) -> keras.Model:
    """Returns the critic of Table 3 at width 16, when `critic_batch_norm` is on."""
    _check_size(sample_shape)
    option = SpectralOption(spectral, spectral_constant, dtype)
    inputs = x = keras.Input(sample_shape, name="images")
    for filters in (width, 2 * width, 2 * width):
        # Batch normalisation would take the bias away again. He's initialisation: with the small
        # one of the DCGANs, features without normalisation would hardly differ.
        x = option.conv(
            filters, 3, 1, use_bias=not critic_batch_norm, kernel_initializer="he_normal"
        )(x)
        if critic_batch_norm:
            x = batch_norm(dtype)(x)
        x = keras.layers.ReLU(dtype=dtype)(x)
        x = keras.layers.MaxPooling2D(2, dtype=dtype)(x)
    x = keras.layers.Flatten(dtype=dtype)(x)
    x = option.dense(output_dim, dtype="float32", kernel_initializer="glorot_normal")(x)
    return keras.Model(inputs, x, name="critic")


def _generator(network, latent_dim, sample_shape, width, output_activation, dtype):
    """Table 5: linear, then transposed convolutions alone, the last one to the image."""
    base = base_size(sample_shape, 8, network)
    inputs = keras.Input([latent_dim], name="latents")
    x = keras.layers.Dense(base[0] * base[1] * 4 * width, kernel_initializer=normal(), dtype=dtype)(
        inputs
    )
    x = keras.layers.Reshape([*base, 4 * width], dtype=dtype)(x)
    x = keras.layers.ReLU(dtype=dtype)(batch_norm(dtype)(x))
    x = up_convolution(x, 2 * width, dtype)
    x = up_convolution(x, width, dtype)
    x = keras.layers.Conv2DTranspose(
        sample_shape[-1], 4, 2, "same", kernel_initializer=normal(), dtype=dtype
    )(x)
    return keras.Model(inputs, as_output(x, output_activation, "images"), name="generator")


def dcgan_generator(
    *,
    latent_dim: int,
    sample_shape: tuple[int, ...],
    width: int,
    output_activation: str,
    dtype: str,
) -> keras.Model:
    """Returns the generator of Table 5 at width 32; sizes are multiples of 8 (32)."""
    return _generator("gram_dcgan", latent_dim, sample_shape, width, output_activation, dtype)


def weak_generator(
    *,
    latent_dim: int,
    sample_shape: tuple[int, ...],
    width: int,
    output_activation: str,
    dtype: str,
) -> keras.Model:
    """Returns the generator of `gram_dcgan_weak`, which is that of `gram_dcgan`."""
    return _generator("gram_dcgan_weak", latent_dim, sample_shape, width, output_activation, dtype)


def _critic(network, sample_shape, output_dim, filters, option, normalise):
    base_size(sample_shape, 8, network)
    convolutions = [(count, 4, 2) for count in filters]
    return convolutional_critic(
        sample_shape, output_dim, convolutions, option, normalise, leak=DCGAN_LEAK
    )


def dcgan_critic(
    *,
    sample_shape: tuple[int, ...],
    output_dim: int,
    width: int,
    spectral: str,
    spectral_constant: float,
    dtype: str,
    critic_batch_norm: bool = False,
) -> keras.Model:
    """Returns the critic of Table 6 at width 32, when `critic_batch_norm` is on."""
    option = SpectralOption(spectral, spectral_constant, dtype)
    filters = (width, 2 * width, 4 * width)
    return _critic("gram_dcgan", sample_shape, output_dim, filters, option, critic_batch_norm)


def weak_critic(
    *,
    sample_shape: tuple[int, ...],
    output_dim: int,
    width: int,
    spectral: str,
    spectral_constant: float,
    dtype: str,
    critic_batch_norm: bool = False,
) -> keras.Model:
    """Returns the critic of Table 7 at width 32, when `critic_batch_norm` is on."""
    option = SpectralOption(spectral, spectral_constant, dtype)
    filters = (width, width, 2 * width)
    return _critic("gram_dcgan_weak", sample_shape, output_dim, filters, option, critic_batch_norm)
