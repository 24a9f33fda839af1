"""What `precision=auto` stands for on a machine: bfloat16 networks where they are the faster ones.

Weights are float32 under every precision, and so are kernels, norms, penalties and solves, which
take what the networks give in float32 and say so themselves.
"""

import pathlib
from collections.abc import Collection, Iterable
from typing import NamedTuple

import tensorflow as tf

__all__ = ["PRECISIONS", "Accelerator", "present", "resolve", "supports_fast_bfloat16"]

PRECISIONS = ("float32", "mixed_bfloat16", "auto")
# AMX, and AVX-512's own instructions, with which a step takes two thirds of its time in float32 and
# scores stay within the noise of seeds (benchmarks/README.md, "Precision").
_FAST_CPU_FLAGS = frozenset({"amx_bf16", "avx512_bf16"})
# NVIDIA's Ampere, the first with bfloat16 in its matrix units.
_LEAST_CAPABILITY = (8, 0)
_CPUINFO = pathlib.Path("/proc/cpuinfo")


class Accelerator(NamedTuple):
    """A device beside the CPU.

    Attributes:
        kind: `GPU` or `TPU`.
        capability: of an NVIDIA GPU, major and minor; None of others.
    """

    kind: str
    capability: tuple[int, int] | None = None


def supports_fast_bfloat16(cpu_flags: Collection[str], devices: Iterable[Accelerator]) -> bool:
    """Whether convolutions of bfloat16 are faster than those of float32.

    Args:
        cpu_flags: instruction sets of the CPU as Linux names them, such as `amx_bf16`.
        devices: on which a run would train; none: on the CPU. Replicas wait for the slowest: one
            without is enough to say no.
    """
    devices = list(devices)
    if not devices:
        return not _FAST_CPU_FLAGS.isdisjoint(cpu_flags)
    return all(
        device.kind == "TPU" or (device.capability or (0, 0)) >= _LEAST_CAPABILITY
        for device in devices
    )


def present() -> tuple[frozenset[str], list[Accelerator]]:
    """Returns the CPU's flags (none where the system is not Linux) and the visible accelerators."""
    devices = []
    for kind in ("GPU", "TPU"):
        for device in tf.config.get_visible_devices(kind):
            details = tf.config.experimental.get_device_details(device) if kind == "GPU" else {}
            devices.append(Accelerator(kind, details.get("compute_capability")))
    return _cpu_flags(), devices


def _cpu_flags() -> frozenset[str]:
    try:
        lines = _CPUINFO.read_text(encoding="utf-8").splitlines()
    except OSError:
        return frozenset()
    return frozenset(next((line.split()[2:] for line in lines if line.startswith("flags")), ()))


def resolve(precision: str) -> str:
    """Returns the dtype policy of the networks: what `auto` is here, any other name as it is."""
    if precision != "auto":
        return precision
    return "mixed_bfloat16" if supports_fast_bfloat16(*present()) else "float32"
