"""Spectral normalisation: W / sigma(W) inside the graph, with the gradient flowing through sigma.

`norm="matrix"` is the largest singular value of the kernel reshaped to `[-1, outputs]` (PIM; Miyato
et al., 2018); `norm="operator"` that of the convolution itself on its input size (PICO; repulsive
MMD-GAN paper, appendix C). Both are found by power iteration whose left vector u is state.

Keras' own `SpectralNormalization` assigns the normalised kernel back into the weight, so the
optimizer acts on a projected weight and no gradient passes sigma: another method.
"""

import math

import keras
import tensorflow as tf

from kgzoo.errors import UserError

__all__ = ["SpectralConv2D", "SpectralDense", "power_iterate", "set_product", "spectral_layers"]

_NORMS = ("matrix", "operator")
# Keeps norms and their gradients finite at 0: a zero kernel gives a zero output and not NaN.
_TINY = 1e-24


def _norm(vector: tf.Tensor) -> tf.Tensor:
    return tf.sqrt(tf.reduce_sum(tf.square(vector)) + _TINY)


class _Spectral:
    """What the two layers share: state, power iteration, sigma and the normalised kernel.

    The mixin stands before a Keras layer that owns `kernel`. A subclass gives the linear operator
    by `_forward(kernel, v)` (W v) and `_backward(kernel, u)` (W'u) and the shapes of v and u.
    """

    def __init__(
        self,
        *args,
        norm: str = "matrix",
        learned_gain: bool = False,
        constant: float = 1.0,
        update_on_call: bool = True,
        **kwargs,
    ):
        super().__init__(*args, **kwargs)
        if norm not in _NORMS:
            raise UserError(f"norm={norm!r} is not known; choose 'matrix' or 'operator'.")
        self.norm, self.learned_gain = norm, bool(learned_gain)
        self.constant, self.update_on_call = float(constant), bool(update_on_call)

    def add_weight(self, *args, **kwargs):
        # Singular values of bfloat16 kernels have two digits: keep every weight float32 in `call`.
        kwargs.setdefault("autocast", False)
        return super().add_weight(*args, **kwargs)

    def build(self, input_shape):
        super().build(input_shape)
        self._v_shape, u_shape = self._vector_shapes(input_shape)
        self.spectral_u = self.add_weight(
            name="spectral_u",
            shape=u_shape,
            initializer=keras.initializers.RandomNormal(seed=sum(u_shape)),
            trainable=False,
            aggregation="only_first_replica",
        )
        self.gain = None
        if self.learned_gain:
            self.gain = self.add_weight(name="gain", shape=(), initializer="ones")

    def power_iterate(self, iterations: int = 1) -> None:
        """Runs power iterations u <- W W'u / |W W'u| from the stored u and stores the last."""
        kernel = tf.stop_gradient(tf.convert_to_tensor(self.kernel))
        start = u = tf.convert_to_tensor(self.spectral_u)
        for _ in range(iterations):
            v = self._backward(kernel, u)
            u = self._forward(kernel, v / _norm(v))
            u = u / _norm(u)
        # A zero kernel has no singular vector: keep the old one, or u would stay zero for good.
        self.spectral_u.assign(tf.where(tf.reduce_any(u != 0), u, start))

    def sigma(self) -> tf.Tensor:
        """The largest singular value, |W'u|, a scalar; 1-homogeneous in W as u is a constant."""
        u = tf.stop_gradient(tf.convert_to_tensor(self.spectral_u))
        return _norm(self._backward(tf.convert_to_tensor(self.kernel), u / _norm(u)))

    def normalized_kernel(self) -> tf.Tensor:
        """constant * gain * W / sigma(W), float32."""
        kernel = self.constant * tf.convert_to_tensor(self.kernel) / self.sigma()
        return kernel if self.gain is None else kernel * tf.convert_to_tensor(self.gain)

    def call(self, inputs, training=False):
        if training and self.update_on_call:
            self.power_iterate()
        outputs = self._apply(inputs, tf.cast(self.normalized_kernel(), inputs.dtype))
        if self.bias is not None:
            bias = tf.cast(tf.convert_to_tensor(self.bias), outputs.dtype)
            outputs = tf.nn.bias_add(outputs, bias)
        return outputs if self.activation is None else self.activation(outputs)

    def save_own_variables(self, store):
        # Keras' layers name the kernel and the bias alone; u and the gain are state too.
        keras.layers.Layer.save_own_variables(self, store)

    def load_own_variables(self, store):
        keras.layers.Layer.load_own_variables(self, store)

    def get_config(self):
        config = super().get_config()
        own = ("norm", "learned_gain", "constant", "update_on_call")
        return {**config, **{name: getattr(self, name) for name in own}}


@keras.saving.register_keras_serializable("kgzoo")
class SpectralDense(_Spectral, keras.layers.Dense):
    """Dense layer with a spectrally normalised kernel (`matrix` and `operator` coincide).

    Args:
        units, activation, ...: as for `keras.layers.Dense`.
        norm: `matrix` or `operator`.
        learned_gain: whether a trainable scalar gamma, 1 at first, multiplies the kernel.
        constant: the factor C after normalisation (repulsive MMD-GAN paper, appendix C.1).
        update_on_call: whether a call in training mode runs one power iteration. kgzoo's networks
            say no: their methods iterate once per update, so that all passes of one update see the
            same sigma.
    """

    def _vector_shapes(self, input_shape):
        return (1, input_shape[-1]), (1, self.units)

    def _forward(self, kernel, v):
        return tf.matmul(v, kernel)

    def _backward(self, kernel, u):
        return tf.matmul(u, kernel, transpose_b=True)

    def _apply(self, inputs, kernel):
        return keras.ops.matmul(inputs, kernel)


@keras.saving.register_keras_serializable("kgzoo")
class SpectralConv2D(_Spectral, keras.layers.Conv2D):
    """Convolution with a spectrally normalised kernel; arguments as for `SpectralDense`.

    `norm="operator"` needs a fixed input height and width, no dilation and one group.
    """

    def _vector_shapes(self, input_shape):
        if self.data_format != "channels_last" or self.groups != 1 or max(self.dilation_rate) > 1:
            raise UserError(
                f"{self.name}: spectral normalisation needs data_format='channels_last', groups=1 "
                "and dilation_rate=1; change the layer's arguments."
            )
        if self.norm == "matrix":
            patch = self.kernel_size[0] * self.kernel_size[1] * input_shape[-1]
            return (1, patch), (1, self.filters)
        if None in input_shape[1:]:
            raise UserError(
                f"{self.name}: norm='operator' needs a fixed image size, got {input_shape}; "
                "give the network's input a height and a width."
            )
        v_shape = (1, *input_shape[1:])
        return v_shape, (1, *self.compute_output_shape(v_shape)[1:])

    def _forward(self, kernel, v):
        if self.norm == "matrix":
            return tf.matmul(v, tf.reshape(kernel, [-1, self.filters]))
        return tf.nn.conv2d(v, kernel, self.strides, self.padding.upper())

    def _backward(self, kernel, u):
        if self.norm == "matrix":
            return tf.matmul(u, tf.reshape(kernel, [-1, self.filters]), transpose_b=True)
        padding = self.padding.upper()
        return tf.nn.conv2d_transpose(u, kernel, self._v_shape, self.strides, padding)

    def _apply(self, inputs, kernel):
        return tf.nn.conv2d(inputs, kernel, self.strides, self.padding.upper())


def spectral_layers(model: keras.Model) -> list[keras.layers.Layer]:
    """Returns the spectrally normalised layers of a model, in order, nested models included."""
    found = []
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            found += spectral_layers(layer)
        elif isinstance(layer, _Spectral):
            found.append(layer)
    return found


def power_iterate(model: keras.Model, iterations: int = 1) -> None:
    """Runs power iterations in every spectrally normalised layer of a model."""
    for layer in spectral_layers(model):
        layer.power_iterate(iterations)


def set_product(model: keras.Model, product: float) -> float:
    """Gives all K spectral layers of a model the constant C with C^K = product.

    The repulsive MMD-GAN paper tunes the product over the layers (appendix C.3, Table S3): 64 for
    its own losses, hence C = 1.682 for K = 8 and 1.516 for K = 10.

    To be called before the model is traced: a graph holds the constant it was traced with.

    Args:
        model: any model; layers of nested models and shortcuts count like all others.
        product: C^K, above 0.

    Returns:
        C, the `constant` of every layer.

    Raises:
        UserError: the model has no spectral layer, or the product is not a positive number.
    """
    if not 0 < product < math.inf:
        raise UserError(f"spectral_product={product!r} does not fit; give a number above 0.")
    found = spectral_layers(model)
    if not found:
        raise UserError(
            f"spectral_product={product} needs a model with spectrally normalised layers, and "
            f"{model.name!r} has none; set --config.spectral to pim, pico or gain."
        )
    constant = float(product) ** (1.0 / len(found))
    for layer in found:
        layer.constant = constant
    return constant
