"""Bernoulli noise between the layers of an encoder, drawn statelessly by the method."""

import keras
import tensorflow as tf

from kgzoo.methods.noise import Noise

__all__ = ["outputs_under_dropout"]


def outputs_under_dropout(
    network: keras.Model, examples: tf.Tensor, noise: Noise, rate: float, count: int = 1
) -> tf.Tensor:
    """Returns a network's outputs `[n * count, ...]`, the `count` of one example in sequence.

    Before each layer that has weights, inputs are dropped with probability `rate`, the rest being
    scaled so that the mean stays: independently for each output.

    Args:
        network: a chain of layers, each layer's input being the output of the one before.
        examples: `[n, ...]`.
        noise: of the update.
        rate: in [0, 1).
        count: outputs of each example.
    """
    batch, x = tf.shape(examples)[0], tf.convert_to_tensor(examples)
    if not rate:
        return tf.repeat(network(x, training=True), count, axis=0)
    x, copies = x[:, None], 1
    for slot, layer in enumerate(network.layers[1:]):
        sizes = x.shape[2:]
        if layer.trainable_variables:
            unit = noise.unit("dropout", [batch, count, *sizes], slot)
            x = x * tf.cast(unit >= rate, x.dtype) / (1 - rate)
            copies = count
        x = layer(tf.reshape(x, [-1, *sizes]), training=True)
        x = tf.reshape(x, [batch, copies, *x.shape[1:]])
    return tf.reshape(x, [batch * copies, *x.shape[2:]])
