"""Measures what `mmd_scope=replica` costs: the variance of MMD^2 against the number of replicas.

  python benchmarks/mmd_scope.py [--to=mmd_scope.json] [--trials=2000 --batch_sizes=64,256]

With `mmd_scope=global`, R replicas estimate MMD^2 from one batch of B examples; with `replica` each
does from its own B / R, and the mean is the block estimator that the SMMD paper trained with. Both
are unbiased. Real digits are compared with noise, with digits moved by a pixel, and with other
digits, as a generator's samples might look early, later, and at the end.

The kernel is the rational quadratic mixture, on pixels, in float64. Lines of the figure are the
closed form (see `variance`), points what so many trials gave.
"""

import argparse
import pathlib
import sys
from typing import Any

import numpy as np

from kgzoo import cli

__all__ = ["block_estimates", "block_variance", "main", "measure", "moments", "variance"]

REPLICAS = (1, 2, 4, 8)
CASES = ("noise", "digits moved by a pixel", "other digits")
_TRIALS_AT_ONCE = 50


def moments(kxx: np.ndarray, kxy: np.ndarray, kyy: np.ndarray) -> tuple[float, float, float]:
    """Returns what the variance of the unbiased MMD^2 of two populations depends on.

    Args:
        kxx, kxy, kyy: the kernel between all members, `[N, N]`, `[N, M]`, `[M, M]`, float64; a
            sample is drawn from them with replacement.

    Returns:
        Var f(X) + Var f(Y), f(z) = E k(z, X) - E k(z, Y) the witness function; then
        E c(X, X')^2 + E c(Y, Y')^2 and E c(X, Y)^2, c the kernel centred in both arguments.
    """
    witness_x = kxx.mean(axis=1) - kxy.mean(axis=1)
    witness_y = kxy.mean(axis=0) - kyy.mean(axis=1)
    squares = [
        np.mean((k - k.mean(axis=0) - k.mean(axis=1)[:, None] + k.mean()) ** 2)
        for k in (kxx, kyy, kxy)
    ]
    first = float(np.var(witness_x) + np.var(witness_y))
    return first, float(squares[0] + squares[1]), float(squares[2])


def variance(of: tuple[float, float, float], examples: int) -> float:
    """Returns the variance of the unbiased MMD^2 of two samples of so many examples each.

    The Hoeffding decomposition: 4 / n of the first moment, 2 / (n (n - 1)) of the second and
    4 / n^2 of the third. All terms are uncorrelated.

    Args:
        of: the three `moments`.
        examples: n, at least 2.
    """
    first, within, across = of
    n = examples
    return 4 / n * first + 2 / (n * (n - 1)) * within + 4 / n**2 * across


def block_variance(of: tuple[float, float, float], batch_size: int, replicas: int) -> float:
    """Returns the variance of the mean of independent block estimates, one for each replica."""
    return variance(of, batch_size // replicas) / replicas


def _populations() -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Returns real examples, and by case what they are compared with, `[N, 64]` in [0, 1]."""
    from kgzoo import data

    images = data.load("digits", "train", image_size=8).examples[..., 0] / 255.0
    real, other = images[0::2], images[1::2]
    noise = np.random.RandomState(0).uniform(size=other.shape)
    samples = dict(zip(CASES, (noise, np.roll(other, 1, axis=2), other), strict=True))
    flat = {name: part.reshape(len(part), -1) for name, part in samples.items()}
    return real.reshape(len(real), -1), flat


def block_estimates(
    grams: tuple[np.ndarray, np.ndarray, np.ndarray],
    rows_x: np.ndarray,
    rows_y: np.ndarray,
    replicas: int,
) -> np.ndarray:
    """Returns the mean of the blocks' unbiased MMD^2 for each trial, `[trials]`.

    Args:
        grams: kernel matrices of the populations, as for `moments`.
        rows_x, rows_y: which members a trial's batch has, int `[trials, batch_size]`.
        replicas: how many consecutive blocks a batch is cut into.
    """
    kxx, kxy, kyy = grams
    i, j = (rows.reshape(len(rows), replicas, -1) for rows in (rows_x, rows_y))
    n = i.shape[-1]

    def mean_of_pairs(gram: np.ndarray, rows: np.ndarray) -> np.ndarray:
        pairs = gram[rows[..., :, None], rows[..., None, :]].sum(axis=(-2, -1))
        return (pairs - gram[rows, rows].sum(axis=-1)) / (n * (n - 1))

    across = kxy[i[..., :, None], j[..., None, :]].mean(axis=(-2, -1))
    return (mean_of_pairs(kxx, i) + mean_of_pairs(kyy, j) - 2 * across).mean(axis=-1)


def measure(
    x: np.ndarray, y: np.ndarray, batch_size: int, trials: int, seed: int = 0
) -> list[dict[str, Any]]:
    """Returns a row for every number of replicas; all share the batches.

    Args:
        x, y: the populations, `[N, d]` and `[M, d]`.
        batch_size: global, of each sample.
        trials: how many batches are drawn.
        seed: of them.
    """
    from kgzoo import kernels

    kernel = kernels.get("rational_quadratic_mixture")
    grams = tuple(kernel.matrix(a, b).numpy() for a, b in ((x, x), (x, y), (y, y)))
    of, truth = moments(*grams), grams[0].mean() + grams[2].mean() - 2 * grams[1].mean()
    random, parts = np.random.RandomState(seed), []
    while trials > len(parts) * _TRIALS_AT_ONCE:
        count = min(_TRIALS_AT_ONCE, trials - len(parts) * _TRIALS_AT_ONCE)
        rows = [random.randint(len(points), size=(count, batch_size)) for points in (x, y)]
        parts.append([block_estimates(grams, *rows, replicas) for replicas in REPLICAS])
    values = np.concatenate(parts, axis=1)
    return [
        {
            "replicas": replicas,
            "batch_size": batch_size,
            "mmd2": float(truth),
            "mean": float(found.mean()),
            "variance": float(found.var(ddof=1)),
            "closed_form": block_variance(of, batch_size, replicas),
            "over_global": block_variance(of, batch_size, replicas) / variance(of, batch_size),
        }
        for replicas, found in zip(REPLICAS, values, strict=True)
    ]


def _draw(result: dict[str, Any]) -> Any:
    from kgzoo.reproductions import figure

    drawing, axes = figure.new_figure(1, len(CASES), 9.0, 3.2, sharey=True)
    for axis, case in zip(axes[0], CASES, strict=True):
        sizes = sorted({row["batch_size"] for row in result[case]})
        for number, size in enumerate(sizes):
            rows = [row for row in result[case] if row["batch_size"] == size]
            replicas, colour = [row["replicas"] for row in rows], f"C{number}"
            axis.plot(replicas, [row["closed_form"] for row in rows], color=colour)
            axis.plot(
                replicas,
                [row["variance"] for row in rows],
                "o",
                color=colour,
                label=f"batch of {size}",
            )
        axis.set_xscale("log", base=2)
        axis.set_yscale("log")
        axis.set_xticks(REPLICAS, [str(replicas) for replicas in REPLICAS])
        axis.set_title(f"against {case}")
        axis.set_xlabel("replicas with a block each")
    axes[0][0].set_ylabel("variance of the estimate of MMD$^2$")
    axes[0][-1].legend()
    return drawing


def _table(result: dict[str, Any]) -> str:
    lines = [f"{'against':<24}{'batch':>6}{'R':>4}{'variance':>11}{'closed form':>13}{'ratio':>7}"]
    for case in CASES:
        for row in result[case]:
            lines.append(
                f"{case:<24}{row['batch_size']:>6}{row['replicas']:>4}{row['variance']:>11.3e}"
                f"{row['closed_form']:>13.3e}{row['over_global']:>7.2f}"
            )
    return "\n".join([*lines, "ratio: closed form over that of one batch of all examples."])


def main(argv: list[str]) -> int:
    """Prints the table and writes JSON and figure; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--to", type=pathlib.Path, help="JSON file; the figure goes beside it")
    parser.add_argument("--trials", type=int, default=2000, help="batches drawn for each point")
    parser.add_argument("--batch_sizes", default="64,256", help="global, separated by commas")
    typed = parser.parse_args(argv[1:])
    sizes = [int(size) for size in typed.batch_sizes.split(",")]
    if typed.trials < 2 or any(size < 16 or size % 8 for size in sizes):
        parser.error("give 2 trials or more, and batch sizes that are multiples of 8 from 16 on")
    cli.quiet_tensorflow()
    real, samples = _populations()
    result: dict[str, Any] = {"kernel": "rational_quadratic_mixture", "trials": typed.trials}
    for case in CASES:
        rows = [measure(real, samples[case], size, typed.trials) for size in sizes]
        result[case] = [row for group in rows for row in group]
    print(_table(result))
    if typed.to:
        from kgzoo.reproductions import figure

        figure.write(typed.to.parent, typed.to.stem, _draw(result), result)
    return 0


if __name__ == "__main__":
    cli.run(main, sys.argv)
