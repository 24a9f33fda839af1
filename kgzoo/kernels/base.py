"""The kernel contract, and sums and products of kernels."""

import keras
import tensorflow as tf

from kgzoo.errors import UserError

__all__ = ["Kernel", "Product", "Sum", "as_points"]


def as_points(x: tf.Tensor, name: str) -> tf.Tensor:
    """Returns `x` as float32 (float64 stays) points `[n, d]`.

    Kernels compute in at least float32 whatever the policy outside: bfloat16 squared distances
    have two digits.

    Raises:
        UserError: if `x` is not a matrix.
    """
    x = tf.convert_to_tensor(x)
    if x.dtype != tf.float64:
        x = tf.cast(x, tf.float32)
    if x.shape.rank != 2:
        raise UserError(f"{name} has shape {x.shape}; a kernel needs points of shape [n, d].")
    return x


class Kernel:
    """A symmetric function of two points, evaluated on all pairs by `matrix`.

    Subclasses define `matrix`, `at_zero` and `slope`, and `get_config` for Keras.
    """

    def matrix(self, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        """Returns the kernel matrix `[n, m]` of points `x` `[n, d]` and `y` `[m, d]`."""
        raise TypeError(f"{type(self).__name__} must define `matrix`.")

    @property
    def at_zero(self) -> float:
        """g(0) of a stationary kernel g(-|x - y|^2): its value on coinciding points."""
        raise TypeError(f"{type(self).__name__} is not stationary: it has no value at distance 0.")

    @property
    def slope(self) -> float:
        """2 |g'(0)| of a stationary kernel: what multiplies the squared Jacobian in Prop. 4."""
        raise TypeError(f"{type(self).__name__} is not stationary: it has no slope at distance 0.")

    def get_config(self) -> dict:
        """Returns the constructor's arguments."""
        return {}

    @classmethod
    def from_config(cls, config: dict) -> "Kernel":
        """Builds the kernel from what `get_config` returned."""
        return cls(**config)

    def __add__(self, other: "Kernel") -> "Kernel":
        return Sum([self, other])

    def __mul__(self, other: "Kernel | float") -> "Kernel":
        if isinstance(other, Kernel):
            return Product([self, other])
        return Sum([self], weights=[float(other)])

    __rmul__ = __mul__

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.get_config() == other.get_config()

    def __hash__(self) -> int:
        return hash((type(self).__name__, repr(self.get_config())))

    def __repr__(self) -> str:
        arguments = ", ".join(f"{key}={value!r}" for key, value in self.get_config().items())
        return f"{type(self).__name__}({arguments})"


class _Composite(Kernel):
    """Shared by sums and products: a list of kernels that Keras can serialise."""

    def __init__(self, kernels: list[Kernel]):
        if not kernels:
            raise UserError(f"{type(self).__name__} got kernels=[]; give at least one kernel.")
        self.kernels = list(kernels)

    def get_config(self) -> dict:
        return {"kernels": [keras.saving.serialize_keras_object(k) for k in self.kernels]}

    @classmethod
    def from_config(cls, config: dict) -> Kernel:
        kernels = [keras.saving.deserialize_keras_object(k) for k in config["kernels"]]
        return cls(**{**config, "kernels": kernels})

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.kernels!r})"


@keras.saving.register_keras_serializable("kgzoo")
class Sum(_Composite):
    """The weighted sum of kernels; all weights are 1 unless given."""

    def __init__(self, kernels: list[Kernel], weights: list[float] | None = None):
        super().__init__(kernels)
        self.weights = [1.0] * len(self.kernels) if weights is None else [float(w) for w in weights]
        if len(self.weights) != len(self.kernels) or min(self.weights) < 0:
            raise UserError(
                f"Sum got weights={weights} for {len(self.kernels)} kernels; "
                "give one weight >= 0 per kernel."
            )

    def matrix(self, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        return tf.add_n(
            [w * k.matrix(x, y) for w, k in zip(self.weights, self.kernels, strict=True)]
        )

    @property
    def at_zero(self) -> float:
        return sum(w * k.at_zero for w, k in zip(self.weights, self.kernels, strict=True))

    @property
    def slope(self) -> float:
        return sum(w * k.slope for w, k in zip(self.weights, self.kernels, strict=True))

    def get_config(self) -> dict:
        return {**super().get_config(), "weights": self.weights}


@keras.saving.register_keras_serializable("kgzoo")
class Product(_Composite):
    """The product of kernels."""

    def matrix(self, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        product = self.kernels[0].matrix(x, y)
        for kernel in self.kernels[1:]:
            product = product * kernel.matrix(x, y)
        return product

    @property
    def at_zero(self) -> float:
        product = 1.0
        for kernel in self.kernels:
            product *= kernel.at_zero
        return product

    @property
    def slope(self) -> float:
        # (g1 g2)'(0) = g1'(0) g2(0) + g1(0) g2'(0), and so on for more factors.
        total = 0.0
        for chosen in self.kernels:
            term = chosen.slope
            for other in self.kernels:
                term *= 1.0 if other is chosen else other.at_zero
            total += term
        return total
