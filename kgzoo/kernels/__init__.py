"""Kernels as values: `k.matrix(x, y)` maps `[n, d]` and `[m, d]` to `[n, m]`.

Kernels add and multiply. `get(name)` returns the one that a catalogue row names. They are
registered with Keras, so a method that holds one survives `.keras` save and load.
"""

from collections.abc import Callable

from kgzoo.errors import unknown_name
from kgzoo.kernels.base import Kernel, Product, Sum
from kgzoo.kernels.linear import Linear
from kgzoo.kernels.stationary import (
    Gaussian,
    RationalQuadratic,
    gaussian_mixture,
    rational_quadratic_mixture,
)

__all__ = [
    "Gaussian",
    "Kernel",
    "Linear",
    "Product",
    "RationalQuadratic",
    "Sum",
    "gaussian_mixture",
    "get",
    "names",
    "rational_quadratic_mixture",
]

_KERNELS: dict[str, Callable[[], Kernel]] = {
    "gaussian": Gaussian,
    "gaussian_mixture": gaussian_mixture,
    "rational_quadratic_mixture": rational_quadratic_mixture,
    "linear": Linear,
}


def names() -> list[str]:
    """Returns the names that `get` accepts."""
    return list(_KERNELS)


def get(kernel: "str | Kernel") -> Kernel:
    """Returns the kernel named `kernel`, or `kernel` itself when it already is one.

    Raises:
        UserError: if the name is not known.
    """
    if isinstance(kernel, Kernel):
        return kernel
    if kernel not in _KERNELS:
        raise unknown_name("kernel", kernel, _KERNELS)
    return _KERNELS[kernel]()
