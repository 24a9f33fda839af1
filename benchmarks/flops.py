"""Times every layer of the SN-DCGAN against this processor's own matrix product.

  python benchmarks/flops.py [--precisions=float32,bfloat16 --batch_size=64 --rounds=7]
                             [--to=result.json] [--quick]

For each convolution, transposed convolution and dense layer of generator (batch 64) and critic
(batch 128: real and generated images together) the forward pass, the gradient by the input and the
gradient by the kernel, as ops of their own inside a `tf.function`. Operations are counted on paper:
2 x kernel x positions x examples, as if borders were not padded. The peak is the best of several
square matrix products, by TensorFlow, and in float32 by NumPy too. All take turns, round by round.
Summaries divide a kind's operations by its time. `--quick` is a tiny run that measures nothing.
"""

import argparse
import collections
import pathlib
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import stopwatch

from kgzoo import cli

__all__ = [
    "Layer",
    "PASSES",
    "evaluation",
    "layers",
    "main",
    "measure",
    "peak_evaluations",
    "summarise",
]

# A turn lasts this long or one evaluation: what is fast is not timed once, on cold caches.
_TURN_SECONDS = 0.1
_PEAK_SIZES = (512, 1024, 2048, 4096)
_QUICK = {"width": 4, "batch_size": 2, "rounds": 1, "peak_sizes": "64,128", "turn_seconds": 0.0}
PASSES = ("forward", "input gradient", "kernel gradient")


class Layer(NamedTuple):
    """One layer: `kind` such as `conv 3x3 stride 1`, shapes as TensorFlow has them."""

    name: str
    kind: str
    inputs: tuple[int, ...]
    kernel: tuple[int, ...]
    outputs: tuple[int, ...]
    stride: int

    @property
    def operations(self) -> int:
        """Multiplications and additions of one pass, whichever of the three."""
        if len(self.kernel) == 2:
            return 2 * self.inputs[0] * int(np.prod(self.kernel))
        # Each kernel application stands at a position of the smaller of the two maps.
        small = self.inputs if self.kind.startswith("transposed") else self.outputs
        return 2 * int(np.prod(self.kernel)) * int(np.prod(small[:3]))


def layers(width: int, size: int, batch_size: int) -> list[Layer]:
    """Returns the layers with kernels of generator and critic, at the batches that they see."""
    from kgzoo import networks

    builders = networks.get("sndcgan")
    shape = (size, size, 3)
    common = {"sample_shape": shape, "width": width, "dtype": "float32"}
    generator = builders.generator(latent_dim=128, output_activation="tanh", **common)
    critic = builders.critic(output_dim=1, spectral="none", spectral_constant=1.0, **common)
    found = []
    for network, examples in ((generator, batch_size), (critic, 2 * batch_size)):
        for layer in network.layers:
            if hasattr(layer, "kernel"):
                found.append(_described(network.name, layer, examples))
    return found


def _described(network: str, layer, examples: int) -> Layer:
    inputs = (examples, *layer.input.shape[1:])
    outputs = (examples, *layer.output.shape[1:])
    kernel = tuple(layer.kernel.shape)
    sizes = "x".join(map(str, inputs[1:])) + " -> " + "x".join(map(str, outputs[1:]))
    if len(kernel) == 2:
        return Layer(f"{network} {sizes}", "dense", inputs, kernel, outputs, 1)
    stride = layer.strides[0]
    transposed = "transposed " if "Transpose" in type(layer).__name__ else ""
    kind = f"{transposed}conv {kernel[0]}x{kernel[1]} stride {stride}"
    return Layer(f"{network} {sizes}", kind, inputs, kernel, outputs, stride)


def evaluation(layer: Layer, which: str, precision: str) -> Callable[[], object]:
    """Returns a function that runs one pass of a layer on noise."""
    import tensorflow as tf

    random = np.random.RandomState(0)

    def noise(shape: tuple[int, ...]) -> tf.Tensor:
        return tf.constant(random.normal(size=shape).astype(np.float32), precision)

    tensors = {name: noise(getattr(layer, name)) for name in ("inputs", "kernel", "outputs")}
    read = {
        "forward": ("inputs", "kernel"),
        "input gradient": ("outputs", "kernel"),
        "kernel gradient": ("inputs", "outputs"),
    }[which]
    function = _dense(which) if len(layer.kernel) == 2 else _convolution(layer, which)
    first, second = (tensors[name] for name in read)
    compiled = tf.function(function, autograph=False).get_concrete_function(first, second)
    return lambda: compiled(first, second)


def _dense(which: str) -> Callable:
    import tensorflow as tf

    transposed = {"input gradient": {"transpose_b": True}, "kernel gradient": {"transpose_a": True}}
    return lambda first, second: tf.matmul(first, second, **transposed.get(which, {}))


def _convolution(layer: Layer, which: str) -> Callable:
    """A transposed convolution is the input gradient of a convolution, and the other way round."""
    import tensorflow as tf

    common = {"strides": [1, layer.stride, layer.stride, 1], "padding": "SAME"}
    transposed = layer.kind.startswith("transposed")
    if which == "kernel gradient":

        def by_kernel(inputs, outputs):
            large, small = (outputs, inputs) if transposed else (inputs, outputs)
            return tf.raw_ops.Conv2DBackpropFilter(
                input=large, filter_sizes=layer.kernel, out_backprop=small, **common
            )

        return by_kernel
    if (which == "forward") != transposed:
        return lambda inputs, kernel: tf.raw_ops.Conv2D(input=inputs, filter=kernel, **common)
    shape = layer.outputs if transposed else layer.inputs
    return lambda above, kernel: tf.raw_ops.Conv2DBackpropInput(
        input_sizes=shape, filter=kernel, out_backprop=above, **common
    )


def peak_evaluations(precision: str, sizes: list[int]) -> dict[str, tuple[Callable, int]]:
    """Returns matrix products by name, each with its operations."""
    import tensorflow as tf

    found = {}
    for size in sizes:
        left, right = np.random.RandomState(0).normal(size=(2, size, size)).astype(np.float32)
        first, second = tf.constant(left, precision), tf.constant(right, precision)
        product = tf.function(lambda a, b: tf.matmul(a, b)).get_concrete_function(first, second)

        def by_tensorflow(product=product, first=first, second=second):
            return product(first, second)

        found[f"tensorflow {size}"] = by_tensorflow, 2 * size**3
        if precision == "float32":

            def by_numpy(left=left, right=right):
                return left @ right

            found[f"numpy {size}"] = by_numpy, 2 * size**3
    return found


def measure(
    functions: dict[tuple, tuple[Callable, int]], rounds: int, turn_seconds: float
) -> dict[tuple, dict]:
    """Returns operations, median seconds and GFLOP/s of each function; they take turns."""
    seconds = collections.defaultdict(list)
    for function, _ in functions.values():
        function()
    for _ in range(rounds):
        for name, (function, _) in functions.items():
            start, count = time.perf_counter(), 0
            while not count or time.perf_counter() - start < turn_seconds:
                function()
                count += 1
            seconds[name].append((time.perf_counter() - start) / count)
    found = {}
    for name, (_, operations) in functions.items():
        median = float(np.median(seconds[name]))
        rate = operations / median / 1e9
        found[name] = {"operations": operations, "seconds": median, "gflop_per_second": rate}
    return found


def summarise(found: dict[tuple, dict], every: list[Layer], peaks: dict) -> dict[str, dict]:
    """Returns GFLOP/s and share of peak by precision, and there by kind and pass."""
    summary = {precision: {} for precision in peaks}
    for precision, peak in peaks.items():
        kinds = dict.fromkeys(layer.kind for layer in every)
        for kind in kinds:
            for which in PASSES:
                members = [
                    found[precision, layer.name, which] for layer in every if layer.kind == kind
                ]
                operations = sum(member["operations"] for member in members)
                rate = operations / sum(member["seconds"] for member in members) / 1e9
                line = {"gflop_per_second": rate, "share_of_peak": rate / peak}
                summary[precision].setdefault(kind, {})[which] = line
    return summary


def _print(found: dict, every: list[Layer], peaks: dict, best: dict, summary: dict) -> None:
    for precision, peak in peaks.items():
        print(f"\n{precision}: peak {peak:.0f} GFLOP/s ({best[precision]}), GFLOP/s and its share")
        print(f"{'layer':>46}  {'GFLOP':>7}" + "".join(f"  {which:>17}" for which in PASSES))
        for layer in every:
            cells = ""
            for which in PASSES:
                rate = found[precision, layer.name, which]["gflop_per_second"]
                cells += f"  {rate:10.1f} {100 * rate / peak:4.0f} %"
            print(f"{layer.name:>46}  {layer.operations / 1e9:7.3f}{cells}")
        for kind, passes in summary[precision].items():
            cells = "".join(
                f"  {line['gflop_per_second']:10.1f} {100 * line['share_of_peak']:4.0f} %"
                for line in passes.values()
            )
            print(f"{'all ' + kind:>46}  {'':7}{cells}")


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--precisions", default="float32,bfloat16")
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--batch_size", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--peak_sizes", default=",".join(map(str, _PEAK_SIZES)))
    parser.add_argument("--turn_seconds", type=float, default=_TURN_SECONDS)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--to", type=pathlib.Path, default=None)
    if parser.parse_known_args(argv)[0].quick:
        parser.set_defaults(**_QUICK)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Runs the command line."""
    arguments = _arguments(argv)
    cli.quiet_tensorflow()
    from kgzoo.reproductions import provenance

    facts = provenance.describe()
    print(
        f"{facts['cpu']}, {facts['cores']} cores; tensorflow {facts['packages']['tensorflow']}, "
        f"kgzoo {facts['packages']['kgzoo']} at {facts['commit']}; SN-DCGAN {arguments.size}x"
        f"{arguments.size}, width {arguments.width}, batch {arguments.batch_size}; "
        f"medians of {arguments.rounds} rounds"
    )
    every = layers(arguments.width, arguments.size, arguments.batch_size)
    sizes = [int(size) for size in arguments.peak_sizes.split(",")]
    functions, precisions = {}, arguments.precisions.split(",")
    for precision in precisions:
        for name, pair in peak_evaluations(precision, sizes).items():
            functions[precision, "peak", name] = pair
        for layer in every:
            for which in PASSES:
                run = evaluation(layer, which, precision)
                functions[precision, layer.name, which] = run, layer.operations
    found = measure(functions, arguments.rounds, arguments.turn_seconds)
    peaks, best = {}, {}
    for precision in precisions:
        rates = {
            name[2]: line["gflop_per_second"]
            for name, line in found.items()
            if name[:2] == (precision, "peak")
        }
        best[precision] = max(rates, key=rates.get)
        peaks[precision] = rates[best[precision]]
    summary = summarise(found, every, peaks)
    _print(found, every, peaks, best, summary)
    kept = {"peak_gflop_per_second": peaks, "peak_by": best, "summary": summary}
    kept["layers"] = {layer.name: layer._asdict() for layer in every}
    kept["measured"] = [
        dict(zip(("precision", "layer", "pass"), name, strict=True)) | line
        for name, line in found.items()
    ]
    stopwatch.keep(arguments.to, facts, vars(arguments) | {"to": None}, kept)


if __name__ == "__main__":
    main()
