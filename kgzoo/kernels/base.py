"""The kernel contract, and sums and products of kernels."""

import math
from typing import NamedTuple

import keras
import tensorflow as tf

from kgzoo.errors import UserError, shown
from kgzoo.kernels.chunks import by_groups

__all__ = ["Derivatives", "Kernel", "Product", "Sum"]

_LARGEST_WEIGHT = 1e30


class Derivatives(NamedTuple):
    """A kernel and its derivatives on all pairs of points `x` `[n, s]` and `y` `[m, s]`.

    They are the inner products of k(x_i, .) and d_a k(x_i, .) with k(y_j, .) and d_b k(y_j, .): the
    blocks K, G and H of Prop. 3 of the SMMD paper.

    Attributes:
        value: k(x_i, y_j), `[n, m]`.
        left: d k(x_i, y_j) / d x_i^a, `[n, m, s]`.
        right: d k(x_i, y_j) / d y_j^b, `[n, m, s]`.
        both: d^2 k(x_i, y_j) / (d x_i^a d y_j^b), `[n, m, s, s]`.
    """

    value: tf.Tensor
    left: tf.Tensor
    right: tf.Tensor
    both: tf.Tensor


class _NotStationary(UserError, TypeError):
    def __init__(self, kernel: "Kernel", what: str):
        super().__init__(
            f"{type(kernel).__name__} is not stationary: it has no {what} at distance 0; use "
            "gaussian or rational quadratic kernels."
        )


class Kernel:
    """A symmetric function of two points, evaluated on all pairs by `matrix`.

    Subclasses define `matrix`, and what they can of `derivatives`, `at_zero` and `slope`; and
    `get_config` for Keras.
    """

    def matrix(self, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        """Returns the kernel matrix `[n, m]` of points `x` `[n, d]` and `y` `[m, d]`."""
        raise TypeError(f"{type(self).__name__} must define `matrix`.")

    def matrices(self, groups: tf.Tensor) -> tf.Tensor:
        """Returns the matrices `[b, n, n]` of groups of points `[b, n, d]`, of each its own."""
        return by_groups(self.matrix, groups)

    def derivatives(self, x: tf.Tensor, y: tf.Tensor) -> Derivatives:
        """Returns value and derivatives at points `x` `[n, s]` and `y` `[m, s]`, in closed form.

        Differentiable again. An outer `tf.function` drops the parts that nobody reads.

        Raises:
            UserError: if the kernel has none.
        """
        raise UserError(
            f"kernel={type(self).__name__} has no derivatives in closed form; use gaussian, "
            "rational_quadratic or linear kernels, their sums and products."
        )

    @property
    def at_zero(self) -> float:
        """g(0) of a stationary kernel g(-|x - y|^2): its value on coinciding points."""
        raise _NotStationary(self, "value")

    @property
    def slope(self) -> float:
        """2 |g'(0)| of a stationary kernel: what multiplies the squared Jacobian in Prop. 4."""
        raise _NotStationary(self, "slope")

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
        return Sum([self], weights=[other])

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
        several = isinstance(kernels, (list, tuple)) and kernels
        if not several or not all(isinstance(kernel, Kernel) for kernel in kernels):
            raise UserError(
                f"{type(self).__name__} got kernels={shown(kernels)}; give at least one Kernel, "
                "and nothing else."
            )
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
        try:
            self.weights = [1.0] * len(kernels) if weights is None else [float(w) for w in weights]
        except (TypeError, ValueError, OverflowError):
            self.weights = []
        fit = all(0 <= weight <= _LARGEST_WEIGHT for weight in self.weights)
        if len(self.weights) != len(self.kernels) or not fit:
            raise UserError(
                f"Sum got weights={shown(weights)} for {len(self.kernels)} kernels; "
                f"give one finite weight >= 0 per kernel, at most {_LARGEST_WEIGHT}."
            )

    def matrix(self, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        return tf.add_n(
            [w * k.matrix(x, y) for w, k in zip(self.weights, self.kernels, strict=True)]
        )

    def derivatives(self, x: tf.Tensor, y: tf.Tensor) -> Derivatives:
        parts = [kernel.derivatives(x, y) for kernel in self.kernels]
        return Derivatives(
            *(
                tf.add_n([w * term for w, term in zip(self.weights, terms, strict=True)])
                for terms in zip(*parts, strict=True)
            )
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

    def derivatives(self, x: tf.Tensor, y: tf.Tensor) -> Derivatives:
        product = self.kernels[0].derivatives(x, y)
        for kernel in self.kernels[1:]:
            product = _leibniz(product, kernel.derivatives(x, y))
        return product

    @property
    def at_zero(self) -> float:
        return math.prod(kernel.at_zero for kernel in self.kernels)

    @property
    def slope(self) -> float:
        # (g1 g2)'(0) = g1'(0) g2(0) + g1(0) g2'(0), and so on for more factors.
        total = 0.0
        for index, chosen in enumerate(self.kernels):
            others = self.kernels[:index] + self.kernels[index + 1 :]
            total += chosen.slope * math.prod(other.at_zero for other in others)
        return total


def _leibniz(f: Derivatives, g: Derivatives) -> Derivatives:
    """Returns the derivatives of the product f g."""
    f_value, g_value = f.value[..., None], g.value[..., None]
    return Derivatives(
        value=f.value * g.value,
        left=f.left * g_value + f_value * g.left,
        right=f.right * g_value + f_value * g.right,
        both=f.both * g_value[..., None]
        + f.left[..., :, None] * g.right[..., None, :]
        + g.left[..., :, None] * f.right[..., None, :]
        + f_value[..., None] * g.both,
    )
