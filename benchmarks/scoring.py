"""Times scores of 10,000 samples, and how fast an export makes samples.

  python benchmarks/scoring.py [--examples=10000 --features=2048 --rounds=5 --to=result.json]
                               [--parts=scores,sampling] [--quick]

scores: FID, KID and the four scores of nearest neighbours (precision, recall, density, coverage) by
`kgzoo.evaluation`, and for reference FID with `scipy.linalg.sqrtm`, KID in plain NumPy, and the
neighbours' scores by scikit-learn with whole matrices of distances. In each round every way takes a
turn. Memory: one fresh process each, the highest resident size while it evaluates, over that just
before. `--quick` is a tiny run that shows the table and measures nothing.
sampling: see `sampling.py`.
"""

import argparse
import functools
import importlib.metadata
import json
import pathlib
import subprocess
import sys

import numpy as np
import sampling
import stopwatch

from kgzoo import cli

__all__ = ["WAYS", "main", "measure_scores", "show_scores"]

_QUICK = {"examples": 120, "features": 8, "rounds": 1, "memory": "fid kgzoo"}
_QUICK |= {"width": 4, "batch_size": 4, "batches": 2}
_KID_BLOCK = 1000
_K_PRECISION, _K_DENSITY = 3, 5


def _features(examples: int, features: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns two samples whose features differ in scale, one a little wider and shifted."""
    random = np.random.RandomState(0)
    scales = np.geomspace(1.0, 0.05, features, dtype=np.float32)
    x, y = (random.standard_normal((examples, features)).astype(np.float32) for _ in range(2))
    return x * scales, y * (1.05 * scales) + 0.02


def _fid_kgzoo(x: np.ndarray, y: np.ndarray) -> float:
    from kgzoo.evaluation import scores

    return scores.frechet_distance(x, y)


def _fid_sqrtm(x: np.ndarray, y: np.ndarray) -> float:
    import scipy.linalg

    x, y = x.astype(np.float64), y.astype(np.float64)
    c1, c2 = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    root = np.real(scipy.linalg.sqrtm(c1 @ c2))
    mean = np.sum((x.mean(axis=0) - y.mean(axis=0)) ** 2)
    return float(mean + np.trace(c1) + np.trace(c2) - 2 * np.trace(root))


def _kid_kgzoo(x: np.ndarray, y: np.ndarray) -> float:
    from kgzoo.evaluation import scores

    return scores.kernel_distance(x, y, _KID_BLOCK)["mean"]


def _kid_numpy(x: np.ndarray, y: np.ndarray) -> float:
    random = np.random.RandomState(0)
    x, y = (z[random.permutation(len(z))].astype(np.float64) for z in (x, y))
    blocks = -(-len(x) // _KID_BLOCK)
    pairs = zip(np.array_split(x, blocks), np.array_split(y, blocks), strict=True)
    return float(np.mean([_mmd2(*pair) for pair in pairs]))


def _mmd2(x: np.ndarray, y: np.ndarray) -> float:
    def kernel(a, b):
        return (a @ b.T / a.shape[1] + 1.0) ** 3

    def off_diagonal_mean(matrix):
        n = len(matrix)
        return (matrix.sum() - np.trace(matrix)) / (n * (n - 1))

    within = off_diagonal_mean(kernel(x, x)) + off_diagonal_mean(kernel(y, y))
    return within - 2 * kernel(x, y).mean()


def _neighbours_kgzoo(x: np.ndarray, y: np.ndarray) -> list[float]:
    from kgzoo.evaluation import neighbours

    found = neighbours.neighbour_scores(x, y, _K_PRECISION, _K_DENSITY)
    return [found[name]["value"] for name in ("precision", "recall", "density", "coverage")]


def _neighbours_sklearn(x: np.ndarray, y: np.ndarray) -> list[float]:
    from sklearn import metrics, neighbors

    def radii(points):
        search = neighbors.NearestNeighbors(n_neighbors=_K_DENSITY + 1, algorithm="brute")
        return search.fit(points).kneighbors(points)[0]

    radii_x, radii_y = radii(x), radii(y)
    distances = metrics.pairwise_distances(x, y)
    inside = distances <= radii_x[:, [_K_DENSITY]]
    return [
        float(np.mean((distances <= radii_x[:, [_K_PRECISION]]).any(axis=0))),
        float(np.mean((distances <= radii_y[:, _K_PRECISION]).any(axis=1))),
        float(inside.sum() / (_K_DENSITY * len(y))),
        float(np.mean(inside.any(axis=1))),
    ]


# Each kgzoo's way is followed by what it is compared with.
WAYS = {
    "fid kgzoo": _fid_kgzoo,
    "fid scipy sqrtm": _fid_sqrtm,
    "kid kgzoo": _kid_kgzoo,
    "kid numpy": _kid_numpy,
    "neighbours kgzoo": _neighbours_kgzoo,
    "neighbours scikit-learn": _neighbours_sklearn,
}
_BY_TENSORFLOW = {"kid kgzoo"}


def _resident(field: str) -> int:
    """Returns VmRSS or VmHWM of this process in bytes, from /proc."""
    for line in pathlib.Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return 1024 * int(line.split()[1])
    raise OSError(f"/proc/self/status has no {field}; this needs Linux.")


def _measure_memory(way: str, arguments: argparse.Namespace) -> dict[str, int]:
    """Returns resident bytes before, and at the highest during, one evaluation."""
    if way in _BY_TENSORFLOW:
        cli.quiet_tensorflow()
    # What imports and a first evaluation cost is no part of the score.
    WAYS[way](*_features(64, 8))
    x, y = _features(arguments.examples, arguments.features)
    # 5 makes the highest size so far the present one.
    pathlib.Path("/proc/self/clear_refs").write_text("5")
    before = _resident("VmRSS")
    WAYS[way](x, y)
    return {"before": before, "highest": max(_resident("VmHWM"), before)}


def _memory(way: str, arguments: argparse.Namespace) -> int:
    """Returns the rise of the resident size in bytes, in a fresh process."""
    sizes = [f"--examples={arguments.examples}", f"--features={arguments.features}"]
    command = [sys.executable, __file__, *sizes, f"--memory_of={way}"]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    found = json.loads(output.strip().splitlines()[-1])
    return found["highest"] - found["before"]


def measure_scores(arguments: argparse.Namespace) -> dict[str, dict]:
    """Returns seconds, rise of memory and value of each way."""
    x, y = _features(arguments.examples, arguments.features)
    values = {}

    def turn(way: str) -> None:
        values[way] = WAYS[way](x, y)

    for function in WAYS.values():
        function(x[:64], y[:64])
    turns = {way: functools.partial(turn, way) for way in WAYS}
    seconds = stopwatch.interleaved(turns, arguments.rounds, warm_up=0)
    found = {
        way: {
            "median_seconds": stopwatch.median(seconds[way]),
            "seconds": seconds[way],
            "value": values[way],
        }
        for way in WAYS
    }
    for way in [way for way in WAYS if arguments.memory in ("all", way)]:
        found[way]["rise_of_peak_bytes"] = _memory(way, arguments)
    return found


def show_scores(found: dict[str, dict]) -> None:
    """Prints the table."""
    print(f"\n{'score':>30}  {'seconds':>10}  {'rise MB':>9}  value")
    for way, line in found.items():
        rise = line.get("rise_of_peak_bytes")
        rise = "" if rise is None else f"{rise / 1e6:.0f}"
        value = ", ".join(f"{number:.6g}" for number in np.atleast_1d(line["value"]))
        print(f"{way:>30}  {line['median_seconds']:10.3f}  {rise:>9}  {value}")


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", default="scores,sampling")
    parser.add_argument("--examples", type=int, default=10_000)
    parser.add_argument("--features", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--memory", default="all", choices=["all", "none", *WAYS])
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--batch_size", type=int, default=64)
    parser.add_argument("--batches", type=int, default=10, help="batches of a turn of sampling")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--to", type=pathlib.Path, default=None)
    parser.add_argument("--memory_of", choices=list(WAYS), default=None, help=argparse.SUPPRESS)
    if parser.parse_known_args(argv)[0].quick:
        parser.set_defaults(**_QUICK)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Runs the command line."""
    arguments = _arguments(argv)
    if arguments.memory_of:
        print(json.dumps(_measure_memory(arguments.memory_of, arguments)))
        return
    cli.quiet_tensorflow()
    from kgzoo.reproductions import provenance

    facts = provenance.describe()
    facts["packages"]["scikit-learn"] = importlib.metadata.version("scikit-learn")
    packages = ", ".join(f"{name} {version}" for name, version in facts["packages"].items())
    print(f"{facts['cpu']}, {facts['cores']} cores; {packages}; commit {facts['commit']}")
    print(
        f"{arguments.examples} x {arguments.features} features on either side; SN-DCGAN "
        f"{arguments.size}x{arguments.size}, width {arguments.width}, batch "
        f"{arguments.batch_size}; medians of {arguments.rounds} rounds"
    )
    parts = {"scores": (measure_scores, show_scores), "sampling": (sampling.measure, sampling.show)}
    kept = {}
    for part in arguments.parts.split(","):
        measure, show = parts[part]
        kept[part] = measure(arguments)
        show(kept[part])
    stopwatch.keep(arguments.to, facts, vars(arguments) | {"to": None}, kept)


if __name__ == "__main__":
    main()
