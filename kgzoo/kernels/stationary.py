"""Stationary kernels over `tfp.math.psd_kernels`: functions of the squared distance alone."""

from collections.abc import Iterable
from typing import Any

import keras
import tensorflow as tf

from kgzoo.errors import UserError, shown
from kgzoo.kernels.arguments import as_points, as_width, refuse_overflow
from kgzoo.kernels.base import Derivatives, Kernel, Sum

__all__ = [
    "Gaussian",
    "RationalQuadratic",
    "gaussian_mixture",
    "rational_quadratic_mixture",
]


# Up to so many features the squared distances are computed from differences, n m d numbers; then up
# to so many from the expansion in float64, which is several times as fast and whose cancellation
# does not matter; beyond, from the expansion in the type of the points.
_DIRECT_FEATURES, _FLOAT64_FEATURES = 4, 32


def _psd_kernels() -> Any:
    # Its import takes two seconds, which a start-up should not wait for.
    from tensorflow_probability.python.math import psd_kernels

    return psd_kernels


class _Stationary(Kernel):
    """Hands pairs of points to the TFP kernel that a subclass builds.

    Where distances overflow the kernel is 0, its limit. From the expansion in float32 they would be
    NaN: eager calls refuse points for which that can be, see `refuse_overflow`.

    A subclass also gives the derivatives of its profile f, k(x, y) = f(|x - y|^2).
    """

    def _tfp(self, dtype: tf.DType) -> Any:
        raise TypeError(f"{type(self).__name__} must define `_tfp`.")

    def _profile(self, value: tf.Tensor, squared: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns f' and f'' at squared distances, where f is `value`."""
        raise TypeError(f"{type(self).__name__} must define `_profile`.")

    def matrix(self, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        x, y = as_points(x, y)
        kernel = self._tfp(x.dtype)
        features = x.shape[1]
        if features is not None and features <= _DIRECT_FEATURES:
            # |x|^2 + |y|^2 - 2xy cancels to noise in float32 when a critic's outputs are large
            # beside the bandwidth.
            return kernel.apply(x[:, None, :], y[None, :, :])
        if x.dtype == tf.float32 and features is not None and features <= _FLOAT64_FEATURES:
            return tf.cast(self.matrix(tf.cast(x, tf.float64), tf.cast(y, tf.float64)), x.dtype)
        refuse_overflow(type(self).__name__, x=x, y=y)
        # After a shift that changes neither value nor gradient.
        centre = tf.stop_gradient(tf.reduce_mean(y, axis=0, keepdims=True))
        return kernel.matrix(x - centre, y - centre)

    def matrices(self, groups: tf.Tensor) -> tf.Tensor:
        features = groups.shape[-1]
        if features is not None and features <= _DIRECT_FEATURES:
            return self._tfp(groups.dtype).apply(groups[:, :, None, :], groups[:, None, :, :])
        if groups.dtype == tf.float32 and features is not None and features <= _FLOAT64_FEATURES:
            return tf.cast(self.matrices(tf.cast(groups, tf.float64)), groups.dtype)
        groups -= tf.stop_gradient(tf.reduce_mean(groups, axis=1, keepdims=True))
        return self._tfp(groups.dtype).matrix(groups, groups)

    def derivatives(self, x: tf.Tensor, y: tf.Tensor) -> Derivatives:
        # With t = x - y: d/dx_a = 2 f' t_a = -d/dy_a, d2/dx_a dy_b = -2 f' [a = b] - 4 f'' t_a t_b.
        x, y = as_points(x, y)
        difference = x[:, None, :] - y[None, :, :]
        value = self._tfp(x.dtype).apply(x[:, None, :], y[None, :, :])
        first, second = self._profile(value, tf.reduce_sum(tf.square(difference), axis=-1))
        left = 2 * first[..., None] * difference
        outer = (-4 * second[..., None] * difference)[..., :, None] * difference[..., None, :]
        identity = tf.eye(tf.shape(x)[1], dtype=x.dtype)
        both = outer - 2 * first[..., None, None] * identity
        return Derivatives(value, left, -left, both)


@keras.saving.register_keras_serializable("kgzoo")
class Gaussian(_Stationary):
    """exp(-|x - y|^2 / (2 bandwidth^2)); the SMMD paper's kernel at bandwidth 1."""

    def __init__(self, bandwidth: float = 1.0):
        self.bandwidth = as_width("Gaussian", "bandwidth", bandwidth)

    def _tfp(self, dtype: tf.DType) -> Any:
        return _psd_kernels().ExponentiatedQuadratic(
            length_scale=tf.constant(self.bandwidth, dtype)
        )

    def _profile(self, value: tf.Tensor, squared: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        rate = 0.5 / self.bandwidth**2
        return -rate * value, rate**2 * value

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
        self.rate = as_width("RationalQuadratic", "rate", rate)

    def _tfp(self, dtype: tf.DType) -> Any:
        return _psd_kernels().RationalQuadratic(scale_mixture_rate=tf.constant(self.rate, dtype))

    def _profile(self, value: tf.Tensor, squared: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        first = -0.5 * value / (1 + squared / (2 * self.rate))
        return first, -0.5 * (1 + 1 / self.rate) * first / (1 + squared / (2 * self.rate))

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
    return Sum([Gaussian(bandwidth) for bandwidth in _several("bandwidths", bandwidths)])


def rational_quadratic_mixture(rates: tuple[float, ...] = (0.2, 0.5, 1.0, 2.0, 5.0)) -> Kernel:
    """Sum of rational quadratic kernels; the default is MMD-rq of the same paper, sec. 5.1."""
    return Sum([RationalQuadratic(rate) for rate in _several("rates", rates)])


def _several(name: str, values: Any) -> tuple:
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise UserError(f"{name}={shown(values)} are no numbers; give several, as in (1.0, 2.0).")
    return tuple(values)
