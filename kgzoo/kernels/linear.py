"""The linear kernel, whose MMD is the distance of means (SWGAN; SMMD paper, appendix E)."""

import keras
import tensorflow as tf

from kgzoo.kernels.base import Kernel, as_points

__all__ = ["Linear"]


@keras.saving.register_keras_serializable("kgzoo")
class Linear(Kernel):
    """x . y"""

    def matrix(self, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        x, y = as_points(x, y)
        return tf.matmul(x, y, transpose_b=True)
