"""Residual networks of the SMMD paper (section 4, Architecture), blocks of Gulrajani et al. (2017).

The paper gives ten layers, 64 filters in the smallest and twice as many at each further one. Ten
weight layers lie on the main path, shortcuts not counted:

    resnet        generator  dense to 4x4x1024, 4 x 2 convolutions, 3x3 convolution
                  critic     3x3 convolution, 4 x 2 convolutions, dense
    dcgan_resnet  generator  dense to 5x5x1024, 4 x 2 convolutions, 5x5 stride 2 deconvolution

What the paper leaves open follows its authors' public code: no batch normalisation in the blocks of
`dcgan_resnet`, only before its last layer; the last feature maps of the critic are summed over
positions, as in Miyato et al. (2018); Glorot's initialisation of convolutions, N(0, 0.01^2) of
dense layers.

References:
    Gulrajani et al. (2017), Improved Training of Wasserstein GANs, appendix.
    Arbel et al. (2018), On gradient regularizers for MMD GANs, section 4.
"""

import keras

from kgzoo.networks.blocks import SpectralOption, as_output, base_size, batch_norm

__all__ = ["celeba_generator", "critic", "generator"]

_WIDTHS = (16, 8, 4, 2, 1)


def _dense_normal():
    return keras.initializers.RandomNormal(stddev=0.01)


def _activate(x, normalise: bool, dtype: str):
    if normalise:
        x = batch_norm(dtype)(x)
    return keras.layers.ReLU(dtype=dtype)(x)


def _up_block(x, filters: int, normalise: bool, dtype: str):
    """Pre-activation block that doubles the size by nearest neighbours."""

    def conv(x, size, use_bias=True):
        return keras.layers.Conv2D(filters, size, padding="same", use_bias=use_bias, dtype=dtype)(x)

    def twice(x):
        return keras.layers.UpSampling2D(2, interpolation="nearest", dtype=dtype)(x)

    # A 1x1 convolution commutes with copying pixels and costs a quarter of the work before it.
    shortcut = twice(conv(x, 1))
    # The normalisation after it would take the first convolution's bias away again.
    x = conv(twice(_activate(x, normalise, dtype)), 3, use_bias=not normalise)
    x = conv(_activate(x, normalise, dtype), 3)
    return keras.layers.Add(dtype=dtype)([shortcut, x])


def _generator_body(latent_dim, base, width, normalise_blocks, dtype):
    """Returns latents and what the last layer sees: dense to `base`, four blocks, BN, ReLU."""
    inputs = keras.Input([latent_dim], name="latents")
    x = keras.layers.Dense(
        base[0] * base[1] * _WIDTHS[0] * width, kernel_initializer=_dense_normal(), dtype=dtype
    )(inputs)
    x = keras.layers.Reshape([*base, _WIDTHS[0] * width], dtype=dtype)(x)
    for scale in _WIDTHS[1:]:
        x = _up_block(x, scale * width, normalise_blocks, dtype)
    return inputs, _activate(x, True, dtype)


def generator(
    *,
    latent_dim: int,
    sample_shape: tuple[int, ...],
    width: int,
    output_activation: str,
    dtype: str,
) -> keras.Model:
    """Returns the generator of `resnet`; sizes are multiples of 16 (64 in the paper)."""
    base = base_size(sample_shape, 16, "resnet")
    inputs, x = _generator_body(latent_dim, base, width, True, dtype)
    x = keras.layers.Conv2D(sample_shape[-1], 3, padding="same", dtype=dtype)(x)
    return keras.Model(inputs, as_output(x, output_activation, "images"), name="generator")


def celeba_generator(
    *,
    latent_dim: int,
    sample_shape: tuple[int, ...],
    width: int,
    output_activation: str,
    dtype: str,
) -> keras.Model:
    """Returns the generator of `dcgan_resnet`; sizes are multiples of 32 (160 in the paper)."""
    base = base_size(sample_shape, 32, "dcgan_resnet")
    inputs, x = _generator_body(latent_dim, base, width, False, dtype)
    x = keras.layers.Conv2DTranspose(
        sample_shape[-1],
        5,
        2,
        "same",
        kernel_initializer=keras.initializers.RandomNormal(stddev=0.02),
        dtype=dtype,
    )(x)
    return keras.Model(inputs, as_output(x, output_activation, "images"), name="generator")


def _down_block(x, filters: int, normalise: bool, option: SpectralOption):
    """Pre-activation block that halves the size by means; its shortcut is normalised like it."""
    channels = x.shape[-1]

    def conv(x, filters, size, normalise):
        x = option.conv(
            filters, size, 1, use_bias=not normalise, kernel_initializer="glorot_uniform"
        )(x)
        return batch_norm(option.dtype)(x) if normalise else x

    def half(x):
        return keras.layers.AveragePooling2D(2, dtype=option.dtype)(x)

    shortcut = conv(half(x), filters, 1, False)
    x = conv(_activate(x, False, option.dtype), channels, 3, normalise)
    x = conv(_activate(x, False, option.dtype), filters, 3, normalise)
    return keras.layers.Add(dtype=option.dtype)([shortcut, half(x)])


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
    """Returns the critic of `resnet`: 14 normalised layers, the four shortcuts among them.

    Batch normalisation, where it is wanted, follows the convolutions of the blocks and not the
    shortcuts.
    """
    base_size(sample_shape, 16, "resnet")
    option = SpectralOption(spectral, spectral_constant, dtype)
    inputs = keras.Input(sample_shape, name="images")
    x = option.conv(width, 3, 1, kernel_initializer="glorot_uniform")(inputs)
    for scale in _WIDTHS[-2::-1]:
        x = _down_block(x, scale * width, critic_batch_norm, option)
    # In float32: bfloat16 has eight bits, too few for a sum over all positions.
    x = keras.layers.ReLU(dtype="float32")(x)
    x = keras.ops.sum(x, axis=(1, 2))
    x = option.dense(output_dim, dtype="float32", kernel_initializer=_dense_normal())(x)
    return keras.Model(inputs, x, name="critic")
