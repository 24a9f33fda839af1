"""The small ReLU networks of trainable kernels as pure functions of their weights, with Jacobians.

A network is a list of (matrix `[in, out]`, bias `[out]`), one pair for each layer. Weights follow
the dtype of the points, so that float64 points are mapped in float64. Jacobians are carried forward
beside the values (tangents): a Jacobian per example costs matmuls, no loop of backward passes, and
is differentiable by the weights.
"""

import keras
import tensorflow as tf

__all__ = [
    "LAYERS",
    "Network",
    "apply",
    "apply_with_tangents",
    "hidden_width",
    "initializers",
    "layer_sizes",
]

Network = list[tuple[tf.Tensor, tf.Tensor]]
# Three hidden ReLU layers and a linear one.
LAYERS = 4


def hidden_width(dimension: int, width: int = 0) -> int:
    """Returns the units of a hidden layer; 0 stands for max(4, int(16 / d)) d.

    That is 16 for d = 1 and 64 for d = 16, the two widths of the KernelNet paper, appendix F; in
    between it is the rule of the authors' code.
    """
    return width or max(4, int(16 / dimension)) * dimension


def layer_sizes(inputs: int, width: int, outputs: int) -> list[tuple[int, int]]:
    """Returns (inputs, outputs) of the three hidden layers and the last one."""
    units = [inputs, *[width] * (LAYERS - 1), outputs]
    return list(zip(units[:-1], units[1:], strict=True))


def initializers(
    sizes: list[tuple[int, int]], input_square: float, output_square: float
) -> list[keras.initializers.Initializer]:
    """Returns one initializer a layer: Glorot's, but for the last one's scale.

    The last layer is scaled so that an output's expected square is `output_square` when the squares
    of the inputs have the mean `input_square`; biases of 0 are assumed.
    """
    square = input_square
    for fan_in, fan_out in sizes[:-1]:
        # Glorot: variance 2 / (in + out), summed over the inputs; ReLU keeps half of the square.
        square *= fan_in / (fan_in + fan_out)
    last = keras.initializers.VarianceScaling(output_square / square, "fan_in", "uniform")
    return [*(keras.initializers.GlorotUniform() for _ in sizes[:-1]), last]


def _dense(inputs: tf.Tensor, matrix: tf.Tensor) -> tf.Tensor:
    # A matmul of rank 3 and more would go through the slower batched kernel.
    matrix = tf.cast(matrix, inputs.dtype)
    return tf.matmul(inputs, matrix) if inputs.shape.rank == 2 else tf.tensordot(inputs, matrix, 1)


def apply(network: Network, first: tf.Tensor) -> tf.Tensor:
    """Returns the outputs `[..., out]` from the first layer's products with its inputs.

    Args:
        network: the weights.
        first: inputs times the first matrix, `[..., width]`, before its bias.
    """
    hidden = tf.nn.relu(first + tf.cast(network[0][1], first.dtype))
    for matrix, bias in network[1:-1]:
        hidden = tf.nn.relu(_dense(hidden, matrix) + tf.cast(bias, first.dtype))
    matrix, bias = network[-1]
    return _dense(hidden, matrix) + tf.cast(bias, first.dtype)


def apply_with_tangents(
    network: Network, first: tf.Tensor, directions: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the outputs `[..., out]` and their derivatives `[..., r, out]` along r directions.

    Args:
        network: the weights.
        first: inputs times the first matrix, `[..., width]`, before its bias.
        directions: the directions times the first matrix, `[r, width]`.
    """
    before = first + tf.cast(network[0][1], first.dtype)
    tangents = directions
    for matrix, bias in network[1:]:
        passes = tf.cast(before > 0, before.dtype)
        hidden, tangents = tf.nn.relu(before), tangents * passes[..., None, :]
        before = _dense(hidden, matrix) + tf.cast(bias, before.dtype)
        tangents = _dense(tangents, matrix)
    return before, tangents
