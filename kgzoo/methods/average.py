"""The moving average of a generator's weights, moving statistics included."""

from collections.abc import Mapping, MutableMapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

__all__ = ["MovingAverage"]

# Beside the weights in a file, where the average was restarted.
_FIRST_STEP = "first_step"


class MovingAverage(keras.layers.Layer):
    """Holds a second set of a network's weights and runs the network with them.

    The network itself is an argument of every method and not a part of this layer.

    Args:
        network: the network to follow; its weights are copied.
        batch_size: generated examples per generator update, over all replicas.
        half_life_images: generated examples after which a weight counts half; 0 follows at once.
    """

    def __init__(self, network: keras.Model, batch_size: int, half_life_images: float, **kwargs):
        super().__init__(trainable=False, dtype="float32", **kwargs)
        self.momentum = 0.5 ** (batch_size / half_life_images) if half_life_images else 0.0
        self.first_step = 0
        self.values = [
            self.add_weight(
                name=f"value_{index}",
                shape=weight.shape,
                dtype=weight.dtype,
                initializer="zeros",
                trainable=False,
                autocast=False,
                aggregation="only_first_replica",
            )
            for index, weight in enumerate(network.weights)
        ]
        self.built = True
        self.reset(network)

    def reset(self, network: keras.Model) -> None:
        """Sets the average to the network's present weights."""
        for value, weight in zip(self.values, network.weights, strict=True):
            value.assign(weight.value)

    def restart(self, step: int) -> None:
        """Has the average begin as fast again as at first: from `step` on it is another training.

        Else hundreds of steps on other data would hardly show beside the many before. Call it
        before a training step is traced; `.keras` and `.weights.h5` files keep it.
        """
        self.first_step = step

    def save_own_variables(self, store: MutableMapping[str, Any]) -> None:
        """Saves the average for Keras and, after a `restart`, where its pace counts from."""
        super().save_own_variables(store)
        if self.first_step:
            store[_FIRST_STEP] = np.int64(self.first_step)

    def load_own_variables(self, store: Mapping[str, Any]) -> None:
        """Reads what `save_own_variables` wrote; before a training step is traced."""
        values = {key: store[key] for key in store.keys()}
        self.first_step = int(np.asarray(values.pop(_FIRST_STEP, 0)))
        super().load_own_variables(values)

    def update(self, network: keras.Model, step: tf.Tensor) -> None:
        """Moves the average towards the network's weights; `step` counts from 0.

        It starts fast, at a momentum of at most (1 + step) / (10 + step), so that the initial
        weights leave no trace; steps count from `restart`.
        """
        step = tf.cast(step - self.first_step, tf.float32)
        momentum = tf.minimum(self.momentum, (1.0 + step) / (10.0 + step))
        for value, weight in zip(self.values, network.weights, strict=True):
            new = tf.convert_to_tensor(weight.value)
            if new.dtype.is_floating and self.momentum:
                new = new + momentum * (tf.convert_to_tensor(value.value) - new)
            value.assign(new)

    def run(self, network: keras.Model, inputs: tf.Tensor) -> tf.Tensor:
        """Returns the network's outputs under the averaged weights, in inference mode."""
        by_id = {id(w): v.value for w, v in zip(network.weights, self.values, strict=True)}
        trainable = [by_id[id(weight)] for weight in network.trainable_variables]
        others = [by_id[id(weight)] for weight in network.non_trainable_variables]
        return network.stateless_call(trainable, others, inputs, training=False)[0]
