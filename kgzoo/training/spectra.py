"""Singular values of a critic's layers while it trains (SMMD paper, Figure 2 b and d).

The kernel looked at is the one that acts: where a layer is spectrally normalised, the normalised
kernel. It is reshaped to [-1, outputs], whatever norm the layer divides by.
"""

from typing import NamedTuple

import keras
import numpy as np

from kgzoo import layers

__all__ = ["Spectrum", "critic_spectra", "spectrum"]

_CONVOLUTIONS = (
    *(keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D),
    *(keras.layers.Conv1DTranspose, keras.layers.Conv2DTranspose, keras.layers.Conv3DTranspose),
)
_TRANSPOSED = _CONVOLUTIONS[3:]


class Spectrum(NamedTuple):
    """Singular values of one layer.

    Attributes:
        sigma: the largest singular value of the kernel that acts, reshaped to [-1, outputs].
        condition: sigma over the smallest one; None when that is 0.
        singular_values: all of them, descending, float64.
        layer_sigma: what a spectrally normalised layer divides its weight by, None for others: the
            norm of the reshaped weight, or (PICO) of the convolution as an operator.
    """

    sigma: float
    condition: float | None
    singular_values: np.ndarray
    layer_sigma: float | None = None


def spectrum(kernel: np.ndarray, layer_sigma: float | None = None) -> Spectrum:
    """Returns the spectrum of a kernel `[..., outputs]`, by a singular value decomposition.

    Raises:
        numpy.linalg.LinAlgError: if the kernel is not finite.
    """
    matrix = np.asarray(kernel, np.float64).reshape(-1, kernel.shape[-1])
    values = np.linalg.svd(matrix, compute_uv=False)
    condition = float(values[0] / values[-1]) if values[-1] > 0 else None
    return Spectrum(float(values[0]), condition, values, layer_sigma)


def critic_spectra(critic: keras.Model) -> dict[str, Spectrum]:
    """Returns the spectra of all dense and convolution layers, in order, nested models included.

    The keys are the layers' places and kinds, `1_conv2d`, `2_dense`: Keras' own names depend on
    what else the process has built.
    """
    found = {}
    for number, layer in enumerate(_linear_layers(critic), start=1):
        kind = "dense" if isinstance(layer, keras.layers.Dense) else _kind(layer)
        if isinstance(layer, (layers.SpectralDense, layers.SpectralConv2D)):
            found[f"{number}_{kind}"] = spectrum(
                keras.ops.convert_to_numpy(layer.normalized_kernel()), float(layer.sigma())
            )
        else:
            kernel = keras.ops.convert_to_numpy(layer.kernel)
            if isinstance(layer, _TRANSPOSED):
                # Keras keeps the outputs of a transposed convolution last but one.
                kernel = kernel.swapaxes(-1, -2)
            found[f"{number}_{kind}"] = spectrum(kernel)
    return found


def _kind(layer: keras.layers.Layer) -> str:
    return next(kind.__name__.lower() for kind in _CONVOLUTIONS if isinstance(layer, kind))


def _linear_layers(model: keras.Model) -> list[keras.layers.Layer]:
    found = []
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            found += _linear_layers(layer)
        elif isinstance(layer, (keras.layers.Dense, *_CONVOLUTIONS)):
            found.append(layer)
    return found
