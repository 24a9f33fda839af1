"""A convolutional network with fixed random weights, for scores where no trained one is at hand.

Random features see edges, texture and layout but no meaning: their scores order models of one
data set, and compare with nothing else.
"""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from kgzoo.errors import UserError

__all__ = ["DIM", "SEED", "network"]

# Pinned, as are the widths: other values would make scores incomparable with those reported.
SEED = 20190
_FIRST_CHANNELS, _LAST_CHANNELS = 32, 48
_SMALLEST_SIDE = 8
DIM = _FIRST_CHANNELS + 4 * _LAST_CHANNELS


def network(image_shape: tuple[int, int, int]) -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns the network for images of one shape.

    3x3 convolutions with leaky ReLU, each after the first with stride 2, go on until the smaller
    side is 4 or less, so that a quadrant of the last layer sees a quadrant of the image, whatever
    its size. Features: the image means of the first layer's channels (contrast and texture), then
    the means of the last layer's channels over each quadrant (layout).

    Args:
        image_shape: (height, width, channels), sides of at least 8, 1 or 3 channels.

    Returns:
        A function from images [n, h, w, c] float32 in [0, 1] to features [n, DIM] float32.

    Raises:
        UserError: another shape.
    """
    if (
        len(image_shape) != 3
        or image_shape[-1] not in (1, 3)
        or min(image_shape[:2]) < _SMALLEST_SIDE
    ):
        raise UserError(
            f"Extractor 'random_conv' takes images of at least {_SMALLEST_SIDE}x{_SMALLEST_SIDE} "
            f"pixels with 1 or 3 channels, got {list(image_shape)}; resize or convert them."
        )
    layers = [_layer(0, image_shape[-1], _FIRST_CHANNELS)]
    side, width = min(image_shape[:2]), _FIRST_CHANNELS
    while side > 4:
        layers.append(_layer(len(layers), width, _LAST_CHANNELS))
        side, width = (side + 1) // 2, _LAST_CHANNELS

    def forward(images: tf.Tensor) -> tf.Tensor:
        h = _convolve(2.0 * images - 1.0, layers[0], strides=1)
        means = [tf.reduce_mean(h, axis=(1, 2))]
        for layer in layers[1:]:
            h = _convolve(h, layer, strides=2)
        middle_y, middle_x = h.shape[1] // 2, h.shape[2] // 2
        for rows in (h[:, :middle_y], h[:, middle_y:]):
            means.append(tf.reduce_mean(rows[:, :, :middle_x], axis=(1, 2)))
            means.append(tf.reduce_mean(rows[:, :, middle_x:], axis=(1, 2)))
        return tf.concat(means, axis=1)

    return forward


def _convolve(h: tf.Tensor, layer: tuple[np.ndarray, np.ndarray], strides: int) -> tf.Tensor:
    kernel, bias = layer
    return tf.nn.leaky_relu(tf.nn.conv2d(h, kernel, strides, padding="SAME") + bias, 0.2)


def _layer(index: int, inputs: int, outputs: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns a kernel [3, 3, inputs, outputs] and a bias [outputs], the same on every machine.

    Uniform numbers of a named counter-based generator are bit-exact everywhere; normal ones pass
    through logarithms that differ between devices. The limit keeps the variance through layers
    (He et al. 2015).
    """

    def uniform(shape, limit, purpose):
        seed = (SEED, 2 * index + purpose)
        values = tf.random.stateless_uniform(shape, seed, -1.0, 1.0, alg="philox").numpy()
        return values * np.float32(limit)

    kernel = uniform((3, 3, inputs, outputs), (6.0 / (9 * inputs)) ** 0.5, 0)
    return kernel, uniform((outputs,), 0.5, 1)
