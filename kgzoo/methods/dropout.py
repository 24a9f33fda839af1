"""Bernoulli noise between the layers of an encoder, drawn statelessly by the method."""

import keras
import numpy as np
import tensorflow as tf

from kgzoo.errors import UserError
from kgzoo.methods.noise import Noise

__all__ = ["check_chain", "outputs_under_dropout"]


def check_chain(network: keras.Model) -> None:
    """Raises a UserError unless the network's layers, one after the other, are the network."""
    probe = tf.random.stateless_uniform([1, *network.input_shape[1:]], [0, 0])
    x = probe
    try:
        for layer in _layers(network):
            x = layer(x, training=False)
        expected = network(probe, training=False)
        chained = x.shape == expected.shape and np.allclose(x, expected, rtol=1e-3, atol=1e-5)
    except (ValueError, TypeError, tf.errors.InvalidArgumentError):
        chained = False
    if not chained:
        raise UserError(
            f"{network.name} is no chain of layers, between which noise could be put; give one "
            "whose layers follow each other."
        )


def _layers(network: keras.Model) -> list[keras.layers.Layer]:
    return [x for x in network.layers if not isinstance(x, keras.layers.InputLayer)]


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
    for slot, layer in enumerate(_layers(network)):
        sizes = x.shape[2:]
        if layer.trainable_variables:
            unit = noise.unit("dropout", [batch, count, *sizes], slot)
            # In float32: 1 / (1 - rate) as a bfloat16 is off by up to 0.4 %, for all inputs alike.
            x = tf.cast(x, unit.dtype) * (tf.cast(unit >= rate, unit.dtype) / (1 - rate))
            copies = count
        x = layer(tf.reshape(x, [-1, *sizes]), training=True)
        x = tf.reshape(x, [batch, copies, *x.shape[1:]])
    return tf.reshape(x, [batch * copies, *x.shape[2:]])
