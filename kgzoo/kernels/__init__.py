"""Kernels as values: `k.matrix(x, y)` maps `[n, d]` and `[m, d]` to `[n, m]`.

`k.derivatives(x, y)` adds the derivatives by either point, where they have a closed form.

Kernels add and multiply. `get(name)` returns the one that a catalogue row names. They are
registered with Keras, so a method that holds one survives `.keras` save and load. `KernelNet` has
weights: it is a Keras layer, built for d features, and equal to itself alone.
"""

import functools
from collections.abc import Callable

from kgzoo.errors import UserError, unknown_name
from kgzoo.kernels.base import Derivatives, Kernel, Product, Sum
from kgzoo.kernels.linear import Linear
from kgzoo.kernels.spectral import Drawn, KernelNet
from kgzoo.kernels.stationary import (
    Gaussian,
    RationalQuadratic,
    gaussian_mixture,
    rational_quadratic_mixture,
)

__all__ = [
    "Derivatives",
    "Drawn",
    "Gaussian",
    "Kernel",
    "KernelNet",
    "Linear",
    "Product",
    "RationalQuadratic",
    "Sum",
    "gaussian_mixture",
    "get",
    "is_stationary",
    "names",
    "rational_quadratic_mixture",
]


def _wide_gaussian_mixture() -> Kernel:
    """Li et al. (2017): bandwidths 1, 2, 4, 8 and 16."""
    return gaussian_mixture((1.0, 2.0, 4.0, 8.0, 16.0))


def _rational_quadratic_mixture_dot() -> Kernel:
    """k^{rq*} of Binkowski et al. (2018): the mixture plus the dot product."""
    return rational_quadratic_mixture() + Linear()


_KERNELS: dict[str, Callable[[], Kernel]] = {
    "gaussian": Gaussian,
    "gaussian_mixture": gaussian_mixture,
    "gaussian_mixture_wide": _wide_gaussian_mixture,
    "rational_quadratic_mixture": rational_quadratic_mixture,
    "rational_quadratic_mixture_dot": _rational_quadratic_mixture_dot,
    "linear": Linear,
    "ikl": functools.partial(KernelNet, dependence="none"),
    "dk": functools.partial(KernelNet, dependence="dk"),
    "dk2": functools.partial(KernelNet, dependence="dk2"),
    "dk_pd": functools.partial(KernelNet, dependence="dk_pd"),
}


def names() -> list[str]:
    """Returns the names that `get` accepts."""
    return list(_KERNELS)


def is_stationary(kernel: Kernel) -> bool:
    """Whether the kernel is a function of the distance alone, so that `at_zero` exists."""
    try:
        return kernel.at_zero >= 0
    except UserError:
        return False


def get(kernel: "str | Kernel") -> Kernel:
    """Returns the kernel named `kernel`, or `kernel` itself when it already is one.

    Raises:
        UserError: if the name is not known.
    """
    if isinstance(kernel, Kernel):
        return kernel
    if not isinstance(kernel, str) or kernel not in _KERNELS:
        raise unknown_name("kernel", kernel, _KERNELS)
    return _KERNELS[kernel]()
