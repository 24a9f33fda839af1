"""What is added to a critic's loss, or done to its weights, to keep it in bounds.

Pure functions of outputs and of the function that makes them; examples are `[n, ...]`, outputs
`[n, s]`. Norms run over every pixel and channel of one example and are float32 or float64.
"""

from collections.abc import Callable, Iterable

import keras
import tensorflow as tf

from kgzoo.errors import UserError
from kgzoo.kernels import Kernel
from kgzoo.kernels.arguments import as_numbers, of_one_type, positive, same_shape

__all__ = [
    "activation_penalty",
    "clip_weights",
    "consistency",
    "feasible_set",
    "gradient_norms_squared",
    "gradient_penalty",
    "interpolate",
    "reconstruction",
    "safe_sqrt",
    "witness",
]

# Gradients of roots stay below 1 / (2 sqrt(tiny)) at 0, where the root itself has none.
_TINY = 1e-8


def safe_sqrt(x: tf.Tensor) -> tf.Tensor:
    """sqrt(max(x, 0) + 1e-8): finite with a finite gradient at 0, and below."""
    return tf.sqrt(tf.nn.relu(x) + _TINY)


def interpolate(real: tf.Tensor, fake: tf.Tensor, unit: tf.Tensor) -> tf.Tensor:
    """u x + (1 - u) y with one u for each pair of examples.

    Args:
        real, fake: examples `[n, ...]`.
        unit: numbers in [0, 1), `[n]`.
    """
    real, fake = same_shape("interpolate", real=real, fake=fake)
    unit = tf.cast(as_numbers("unit", unit), real.dtype)
    if unit.shape.rank != 1 or not unit.shape.is_compatible_with(real.shape[:1]):
        raise UserError(
            f"interpolate got unit of shape {unit.shape} for real of shape {real.shape}; give one "
            "number for each example, [n]."
        )
    unit = tf.reshape(unit, [-1, *[1] * (real.shape.rank - 1)])
    return unit * real + (1.0 - unit) * fake


def gradient_norms_squared(
    function: Callable[[tf.Tensor], tf.Tensor], points: tf.Tensor
) -> tf.Tensor:
    """Squared norms `[n]` of the gradients of a scalar function at each of `points` `[n, ...]`.

    Differentiable again, by an outer tape. Row i of the function's value `[n]` or `[n, 1]` must
    depend on example i alone.
    """
    points = as_numbers("points", points)
    if points.shape.rank == 0:
        raise UserError(f"points have shape {points.shape}; give examples [n, ...].")
    with tf.GradientTape() as tape:
        tape.watch(points)
        total = tf.reduce_sum(function(points))
    gradient = tape.gradient(total, points, unconnected_gradients="zero")
    gradient = tf.reshape(tf.cast(gradient, total.dtype), [tf.shape(points)[0], -1])
    return tf.reduce_sum(tf.square(gradient), axis=1)


def gradient_penalty(norms_squared: tf.Tensor) -> tf.Tensor:
    """mean (|grad f| - 1)^2; Gulrajani et al. (2017), eq. 3, on squared norms `[n]`."""
    return tf.reduce_mean(tf.square(safe_sqrt(norms_squared) - 1.0))


def witness(
    kernel: Kernel, features: tf.Tensor, real: tf.Tensor, fake: tf.Tensor, normalize: bool = False
) -> tf.Tensor:
    """The MMD's critic eta(t) = mean k(t, x) - mean k(t, y) at features `[m, s]`, as `[m]`.

    Args:
        kernel: on features.
        features, real, fake: `[m, s]`, `[n, s]` and `[n', s]`.
        normalize: whether to divide by |eta|_H, the biased MMD (SMMD paper, eq. 28 and Prop. 2);
            Binkowski et al. (2018) do not (the same paper, appendix E).
    """
    features, real, fake = of_one_type(features=features, real=real, fake=fake)
    to_real = tf.reduce_mean(kernel.matrix(features, real), axis=1)
    to_fake = tf.reduce_mean(kernel.matrix(features, fake), axis=1)
    values = to_real - to_fake
    if not normalize:
        return values
    squared = tf.reduce_mean(kernel.matrix(real, real)) + tf.reduce_mean(kernel.matrix(fake, fake))
    squared -= 2 * tf.reduce_mean(kernel.matrix(real, fake))
    return values / safe_sqrt(squared)


def activation_penalty(activations: Iterable[tf.Tensor]) -> tf.Tensor:
    """Sum over layers of the mean square of their outputs; Binkowski et al. (2018), footnote 19.

    Args:
        activations: one tensor `[n, ...]` for each layer.
    """
    squares = [
        tf.reduce_mean(tf.square(tf.cast(as_numbers("activations", layer), tf.float32)))
        for layer in activations
    ]
    if not squares:
        raise UserError("activations=[] has no layer; give at least one tensor [n, ...].")
    return tf.add_n(squares)


def feasible_set(real: tf.Tensor, fake: tf.Tensor) -> tf.Tensor:
    """-mean_k max(0, mean f_k(y) - mean f_k(x)): 0 when no output ranks Y above X on average.

    The critic adds it to what it maximises; Li et al. (2017), feasible set reduction: E f(x) >= E
    f(y), element by element.

    Args:
        real, fake: features `[n, s]` of all examples of the update.
    """
    real, fake = of_one_type(real=real, fake=fake)
    if real.shape.rank != 2 or not real.shape[1:].is_compatible_with(fake.shape[1:]):
        raise UserError(
            f"feasible_set got real of shape {real.shape} and fake of shape {fake.shape}; give "
            "features [n, s] and [m, s]."
        )
    difference = tf.reduce_mean(real, axis=0) - tf.reduce_mean(fake, axis=0)
    return -tf.reduce_mean(tf.nn.relu(-difference))


def reconstruction(examples: tf.Tensor, decoded: tf.Tensor) -> tf.Tensor:
    """Mean squared error over every number of every example."""
    examples, decoded = same_shape("reconstruction", examples=examples, decoded=decoded)
    return tf.reduce_mean(tf.square(tf.cast(examples, tf.float32) - tf.cast(decoded, tf.float32)))


def consistency(outputs: tf.Tensor, of_transformed: tf.Tensor) -> tf.Tensor:
    """mean |D(x) - D(T(x))|^2 over examples; Zhang et al. (2020), at the last layer."""
    outputs, of_transformed = same_shape(
        "consistency", outputs=outputs, of_transformed=of_transformed
    )
    if outputs.shape.rank != 2:
        raise UserError(f"outputs have shape {outputs.shape}; consistency needs [n, s].")
    return tf.reduce_mean(tf.reduce_sum(tf.square(outputs - of_transformed), axis=1))


def clip_weights(variables: Iterable[keras.Variable], bound: float) -> None:
    """Clips every variable to [-bound, bound]; Arjovsky et al. (2017), algorithm 1."""
    bound = positive("clip_weights", "bound", bound)
    for variable in variables:
        variable.assign(tf.clip_by_value(tf.convert_to_tensor(variable.value), -bound, bound))
