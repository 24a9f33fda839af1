"""Times KernelNet's kernel matrix in closed form and by Monte Carlo, and measures their memory.

  python benchmarks/kernel_net.py [--dependence=dk --batch_size=64 --features=16 --samples=1024]
                                  [--chunk_rows=8 --rounds=10 --part=kernel --to=result.json]

Three ways to the same matrix [n, n]: `closed_form`, `monte_carlo` (all rows at once) and
`monte_carlo_chunked`; and `factored`, an estimate rearranged so that frequencies [n, n, samples, d]
are never held (this file's own, to show what is due to the closed form and what to the
arrangement). Times: one process, the ways take turns; medians over rounds of the mean in a turn.
Memory: one fresh process each, the highest resident size while it evaluates, over that of the same
process just before. Every evaluation is a `tf.function` of the points. `--part=kappa_2` leaves out
kappa_1, whose 1,024 random features no way does without, and the drawing of all samples.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import time

import numpy as np

from kgzoo import cli

# A turn lasts this long or one evaluation: what is fast is not timed once, on cold caches.
_TURN_SECONDS = 0.2
WAYS = ("closed_form", "monte_carlo", "monte_carlo_chunked", "factored")


def _points(arguments: argparse.Namespace) -> list[np.ndarray]:
    shape = (arguments.batch_size, arguments.features)
    return [np.random.RandomState(seed).normal(size=shape).astype(np.float32) for seed in (0, 1)]


def _function(way: str, arguments: argparse.Namespace):
    """Returns a compiled function of two sets of points; weights and draws are the same in all."""
    import keras
    import tensorflow as tf

    from kgzoo.kernels import KernelNet

    keras.utils.set_random_seed(0)
    kernel = KernelNet(
        arguments.dependence,
        expectation="closed_form" if way == "closed_form" else "monte_carlo",
        num_samples=arguments.samples,
        chunk_rows=arguments.chunk_rows if way == "monte_carlo_chunked" else 0,
    )
    kernel.build((None, arguments.features))
    matrix = _factored(kernel) if way == "factored" else kernel.matrix
    if arguments.part == "kappa_2":
        matrix = _kappa_2(kernel, way)
    spec = tf.TensorSpec([arguments.batch_size, arguments.features], tf.float32)
    return tf.function(matrix, input_signature=[spec, spec], autograph=False)


def _kappa_2(kernel, way: str):
    """The data-dependent part alone; samples are drawn once, before."""
    drawn = kernel.draw((0, 0))
    if way == "closed_form":
        return drawn.dependence.matrix
    noise, phases = drawn.noise_and_phases(drawn.frequencies.dtype)
    return lambda x, y: drawn.dependence.sampled(x, y, noise, phases)


def _factored(kernel):
    """The estimate of eq. (6) without frequencies: omega . x = mu . x + (sigma x) . eps."""
    import tensorflow as tf

    def matrix(x, y):
        drawn = kernel.draw((0, 0))
        noise, phases = drawn.noise_and_phases(x.dtype)
        left, right = (tf.matmul(p, drawn.frequencies, transpose_b=True) + phases for p in (x, y))
        first = 2.0 / kernel.num_samples * tf.matmul(tf.cos(left), tf.cos(right), transpose_b=True)
        mean, scale = drawn.dependence.pairs(x, y)
        turns = []
        for points in (x[:, None, :], y[None, :, :]):
            fixed = tf.reduce_sum(mean * points, axis=-1)
            turns.append(fixed[..., None] + tf.tensordot(scale * points, noise, [[2], [1]]))
        products = tf.cos(turns[0] + phases) * tf.cos(turns[1] + phases)
        return first + 2.0 * tf.reduce_mean(products, axis=-1)

    return matrix


def _resident(field: str) -> int:
    """Returns VmRSS or VmHWM of this process in bytes, from /proc."""
    for line in pathlib.Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return 1024 * int(line.split()[1])
    raise OSError(f"/proc/self/status has no {field}; this needs Linux.")


def _measure_memory(way: str, arguments: argparse.Namespace) -> dict[str, int]:
    """Returns resident bytes before, and at the highest during, five evaluations."""
    import tensorflow as tf

    x, y = (tf.constant(points) for points in _points(arguments))
    function = _function(way, arguments).get_concrete_function()
    # What the first op and a traced function cost is no part of the method.
    tf.function(lambda a, b: tf.matmul(a, b, transpose_b=True))(x, y).numpy()
    before = _resident("VmRSS")
    for _ in range(5):
        function(x, y).numpy()
    return {"before": before, "highest": max(_resident("VmHWM"), before)}


def _memory(way: str, parser_arguments: list[str]) -> dict[str, int]:
    command = [sys.executable, __file__, *parser_arguments, f"--memory_of={way}"]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return json.loads(output.strip().splitlines()[-1])


def _times(arguments: argparse.Namespace) -> tuple[dict[str, list[float]], dict[str, float]]:
    """Returns seconds of each way by round, and the largest differences to the closed form."""
    import tensorflow as tf

    x, y = (tf.constant(points) for points in _points(arguments))
    ways = [way for way in WAYS if way != "factored" or arguments.dependence in ("dk", "dk2")]
    if arguments.part == "kappa_2":
        ways = ["closed_form", "monte_carlo"]
    functions = {way: _function(way, arguments) for way in ways}
    values = {way: function(x, y).numpy() for way, function in functions.items()}
    seconds = {way: [] for way in ways}
    for _ in range(arguments.rounds):
        for way, function in functions.items():
            start, count = time.perf_counter(), 0
            while time.perf_counter() - start < _TURN_SECONDS or not count:
                function(x, y).numpy()
                count += 1
            seconds[way].append((time.perf_counter() - start) / count)
    closed = values["closed_form"]
    return seconds, {way: float(np.abs(value - closed).max()) for way, value in values.items()}


def main() -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dependence", default="dk", choices=["dk", "dk2", "dk_pd"])
    parser.add_argument("--batch_size", type=int, default=64)
    parser.add_argument("--features", type=int, default=16)
    parser.add_argument("--samples", type=int, default=1024)
    parser.add_argument("--chunk_rows", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--part", default="kernel", choices=["kernel", "kappa_2"])
    parser.add_argument("--to", type=pathlib.Path, default=None)
    parser.add_argument("--memory_of", choices=WAYS, default=None, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    cli.quiet_tensorflow()
    if arguments.memory_of:
        print(json.dumps(_measure_memory(arguments.memory_of, arguments)))
        return
    passed = [value for value in sys.argv[1:] if not value.startswith("--to")]
    seconds, differences = _times(arguments)
    memory = {way: _memory(way, passed) for way in seconds}
    rises = {way: found["highest"] - found["before"] for way, found in memory.items()}
    medians = {way: float(np.median(values)) for way, values in seconds.items()}
    print(f"{'':>20}  {'ms':>9}  {'x closed':>8}  {'rise MB':>8}  {'x closed':>8}  difference")
    for way, median in medians.items():
        print(
            f"{way:>20}  {1e3 * median:9.2f}  {median / medians['closed_form']:8.1f}  "
            f"{rises[way] / 1e6:8.1f}  {rises[way] / max(rises['closed_form'], 1):8.1f}  "
            f"{differences[way]:10.3f}"
        )
    if arguments.to:
        facts = {key: value for key, value in vars(arguments).items() if key not in ("to",)}
        facts.pop("memory_of")
        facts |= {
            "median_seconds": medians,
            "fastest_seconds": {way: min(values) for way, values in seconds.items()},
            "rise_of_peak_bytes": rises,
            "largest_difference": differences,
            "times_closed_form": {
                way: median / medians["closed_form"] for way, median in medians.items()
            },
        }
        arguments.to.write_text(json.dumps(facts, indent=2) + "\n")


if __name__ == "__main__":
    main()
