"""Matrices computed in blocks of rows, or group by group."""

from collections.abc import Callable

import tensorflow as tf

__all__ = ["by_groups", "by_rows"]


def by_rows(
    function: Callable[..., tf.Tensor], x: tf.Tensor, rest: tuple[tf.Tensor, ...], rows: int
) -> tf.Tensor:
    """Returns function(x, *rest) `[n, m]`, computed in blocks of that many rows of x `[n, d]`.

    Gradients compute a block again, so that they too hold one block at a time.
    """
    n, d = tf.shape(x)[0], x.shape[1]
    blocks = (n + rows - 1) // rows
    padded = tf.pad(x, [[0, blocks * rows - n], [0, 0]])
    again = tf.recompute_grad(function)
    matrices = tf.map_fn(
        lambda block: again(block, *rest),
        tf.reshape(padded, [blocks, rows, d]),
        parallel_iterations=1,
        fn_output_signature=x.dtype,
    )
    return tf.reshape(matrices, [blocks * rows, -1])[:n]


def by_groups(matrix: Callable[[tf.Tensor, tf.Tensor], tf.Tensor], groups: tf.Tensor) -> tf.Tensor:
    """Returns matrix(x, x) `[b, n, n]` of each group x of `[b, n, d]`.

    Not by `tf.vectorized_map`, which loses gradients that are written by hand.
    """
    signature = tf.TensorSpec([groups.shape[1], groups.shape[1]], groups.dtype)
    return tf.map_fn(lambda x: matrix(x, x), groups, fn_output_signature=signature)
