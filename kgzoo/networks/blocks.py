"""Layers that networks share, each a function of the critic's spectral option or the image size."""

import keras

from kgzoo.errors import UserError, unknown_name
from kgzoo.layers import SpectralConv2D, SpectralDense

__all__ = ["SPECTRAL", "SpectralOption", "as_output", "base_size", "batch_norm"]

SPECTRAL = ("none", "pim", "pico", "gain")
_STDDEV = 0.02


class SpectralOption:
    """Makes a critic's dense and convolution layers under one spectral option.

    Args:
        spectral: `none`; `pim` and `pico`, sigma of the reshaped kernel and of the convolution;
            `gain`, the SMMD paper's spectral parametrisation gamma W / sigma with gamma learned.
        constant: the factor C on every normalised layer (repulsive MMD-GAN paper, appendix C.1).
        dtype: the Keras dtype policy.
    """

    def __init__(self, spectral: str, constant: float, dtype: str):
        if spectral not in SPECTRAL:
            raise unknown_name("spectral", spectral, SPECTRAL)
        self.dtype, self.plain = dtype, spectral == "none"
        self.arguments = {
            "norm": "operator" if spectral == "pico" else "matrix",
            "learned_gain": spectral == "gain",
            "constant": constant,
            "update_on_call": False,
        }

    def _make(self, plain: type, spectral: type, *args, dtype: str | None = None, **kwargs):
        kwargs["dtype"] = dtype or self.dtype
        kwargs.setdefault("kernel_initializer", keras.initializers.RandomNormal(stddev=_STDDEV))
        return plain(*args, **kwargs) if self.plain else spectral(*args, **kwargs, **self.arguments)

    def conv(self, filters: int, kernel_size: int, strides: int, **kwargs) -> keras.layers.Layer:
        """Returns a `same`-padded convolution."""
        kwargs = {"strides": strides, "padding": "same", **kwargs}
        return self._make(keras.layers.Conv2D, SpectralConv2D, filters, kernel_size, **kwargs)

    def dense(self, units: int, **kwargs) -> keras.layers.Layer:
        """Returns a dense layer."""
        return self._make(keras.layers.Dense, SpectralDense, units, **kwargs)


def batch_norm(dtype: str) -> keras.layers.Layer:
    """Batch normalisation over the global batch, whatever the number of replicas."""
    return keras.layers.BatchNormalization(
        momentum=0.9, epsilon=1e-5, synchronized=True, dtype=dtype
    )


def base_size(sample_shape: tuple[int, ...], factor: int, network: str) -> tuple[int, int]:
    """Returns height and width divided by `factor`.

    Raises:
        UserError: if the examples are not images, or their size is not a multiple of `factor`.
    """
    if len(sample_shape) != 3 or sample_shape[0] % factor or sample_shape[1] % factor:
        raise UserError(
            f"network={network!r} makes images whose height and width are multiples of {factor}, "
            f"not {tuple(sample_shape)}; set --config.image_size or another --config.network."
        )
    return sample_shape[0] // factor, sample_shape[1] // factor


def as_output(x, activation: str, name: str):
    """Applies the output activation in float32: bfloat16 has fewer levels than an 8-bit image."""
    return keras.layers.Activation(activation, dtype="float32", name=name)(x)
