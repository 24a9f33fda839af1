"""Stationary kernels over `tfp.math.psd_kernels`: functions of the squared distance alone."""

import keras
import tensorflow as tf
from tensorflow_probability.python.math import psd_kernels

from kgzoo.errors import UserError
from kgzoo.kernels.base import Kernel, Sum, as_points

__all__ = [
    "Gaussian",
    "RationalQuadratic",
    "gaussian_mixture",
    "rational_quadratic_mixture",
]


class _Stationary(Kernel):
    """Centres the points, then hands them to the TFP kernel that a subclass builds."""

    def _tfp(self, dtype: tf.DType) -> psd_kernels.PositiveSemidefiniteKernel:
        raise TypeError(f"{type(self).__name__} must define `_tfp`.")

    def matrix(self, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        x, y = as_points(x, "x"), as_points(y, "y")
        # |x - y|^2 is computed as |x|^2 + |y|^2 - 2xy, which cancels badly far from the origin.
        # Shifting both sides changes neither the value nor the gradient.
        centre = tf.stop_gradient(tf.reduce_mean(y, axis=0, keepdims=True))
        return self._tfp(x.dtype).matrix(x - centre, y - centre)


@keras.saving.register_keras_serializable("kgzoo")
class Gaussian(_Stationary):
    """exp(-|x - y|^2 / (2 bandwidth^2)); the SMMD paper's kernel at bandwidth 1."""

    def __init__(self, bandwidth: float = 1.0):
        self.bandwidth = float(bandwidth)
        if not self.bandwidth > 0:
            raise UserError(f"Gaussian got bandwidth={bandwidth}; give a number above 0.")

    def _tfp(self, dtype: tf.DType) -> psd_kernels.PositiveSemidefiniteKernel:
        return psd_kernels.ExponentiatedQuadratic(length_scale=tf.constant(self.bandwidth, dtype))

    @property
    def at_zero(self) -> float:
        return 1.0

    @property
    def slope(self) -> float:
        return 1.0 / self.bandwidth**2

    def get_config(self) -> dict:
        return {"bandwidth": self.bandwidth}


@keras.saving.register_keras_serializable("kgzoo")
class RationalQuadratic(_Stationary):
    """(1 + |x - y|^2 / (2 rate))^-rate."""

    def __init__(self, rate: float = 1.0):
        self.rate = float(rate)
        if not self.rate > 0:
            raise UserError(f"RationalQuadratic got rate={rate}; give a number above 0.")

    def _tfp(self, dtype: tf.DType) -> psd_kernels.PositiveSemidefiniteKernel:
        return psd_kernels.RationalQuadratic(scale_mixture_rate=tf.constant(self.rate, dtype))

    @property
    def at_zero(self) -> float:
        return 1.0

    @property
    def slope(self) -> float:
        return 1.0

    def get_config(self) -> dict:
        return {"rate": self.rate}


def gaussian_mixture(
    bandwidths: tuple[float, ...] = (1.0, 2.0**0.5, 2.0, 8.0**0.5, 4.0),
) -> Kernel:
    """Sum of Gaussian kernels; the default is MMD-rbf of the repulsive MMD-GAN paper, sec. 5.1."""
    return Sum([Gaussian(bandwidth) for bandwidth in bandwidths])


def rational_quadratic_mixture(rates: tuple[float, ...] = (0.2, 0.5, 1.0, 2.0, 5.0)) -> Kernel:
    """Sum of rational quadratic kernels; the default is MMD-rq of the same paper, sec. 5.1."""
    return Sum([RationalQuadratic(rate) for rate in rates])
