"""The linear kernel, whose MMD is the distance of means (SWGAN; SMMD paper, appendix E)."""

import keras
import tensorflow as tf

from kgzoo.kernels.arguments import as_points, refuse_overflow
from kgzoo.kernels.base import Derivatives, Kernel

__all__ = ["Linear"]


@keras.saving.register_keras_serializable("kgzoo")
class Linear(Kernel):
    """x . y"""

    def matrix(self, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        x, y = as_points(x, y)
        refuse_overflow("Linear", x=x, y=y)
        return tf.matmul(x, y, transpose_b=True)

    def derivatives(self, x: tf.Tensor, y: tf.Tensor) -> Derivatives:
        x, y = as_points(x, y)
        n, m, s = tf.shape(x)[0], tf.shape(y)[0], tf.shape(x)[1]
        return Derivatives(
            value=tf.matmul(x, y, transpose_b=True),
            left=tf.broadcast_to(y[None, :, :], [n, m, s]),
            right=tf.broadcast_to(x[:, None, :], [n, m, s]),
            both=tf.broadcast_to(tf.eye(s, dtype=x.dtype), [n, m, s, s]),
        )
