"""Compares bfloat16 networks with float32 ones at equal steps, over seeds, on MNIST.

  python benchmarks/precision.py --data_dir=~/tensorflow_datasets --to=runs/precision
                                 [--steps=600 --seeds=3 --quick]

`smmd` and `mmd_rep` on narrow networks, each seed trained by `python -m kgzoo.main` in float32 and
in mixed_bfloat16, one run at a time. Typed again it goes on where it stopped; runs that are done
are kept. Writes precision.json and precision.png to the folder. A difference is within the noise of
seeds when Welch's test of the two means, two-sided, does not reject equality at 5 %.
"""

import argparse
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from kgzoo.errors import UserError

_METHODS = {"smmd": "SMMD", "mmd_rep": "repulsive MMD"}
_PRECISIONS = ("float32", "mixed_bfloat16")
_LEVEL = 0.05
_SCORES = {"fid": "FID", "kid": "KID"}
_NARROW = {"generator_width": 16, "critic_width": 16, "num_samples": 5000, "extractor": "mnist"}
_QUICK = {"generator_width": 4, "critic_width": 4, "num_samples": 64, "batch_size": 8}


def compare(
    first: Sequence[float], second: Sequence[float], level: float = _LEVEL
) -> dict[str, Any]:
    """Returns the difference of two means, its standard error, and what Welch's test says of it.

    Args:
        first, second: a score of runs that differ in their seeds.
        level: of the test.

    Returns:
        `difference` of the second mean from the first, `standard_error`, `p_value` and
        `within_noise`; None for all but the difference where a side has fewer than two runs.
    """
    import numpy as np
    from scipy import stats

    first, second = (np.asarray(values, np.float64) for values in (first, second))
    found = {"difference": float(second.mean() - first.mean())}
    if min(len(first), len(second)) < 2:
        return {**found, "standard_error": None, "p_value": None, "within_noise": None}
    variances = [values.var(ddof=1) / len(values) for values in (first, second)]
    error = float(np.sqrt(sum(variances)))
    # Runs that all score the same have no noise to be within.
    p_value = float(found["difference"] == 0)
    if error:
        p_value = float(stats.ttest_ind(first, second, equal_var=False).pvalue)
    return {
        **found,
        "standard_error": error,
        "p_value": p_value,
        "within_noise": bool(p_value >= level),
    }


def conclude(summaries: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Returns a finding for each method and score: whether precision makes a difference.

    Args:
        summaries: of the arms, `<method>_<precision>`, with their `scores`.
    """
    rows = []
    for method, title in _METHODS.items():
        arms = [summaries.get(f"{method}_{precision}") for precision in _PRECISIONS]
        for score, name in _SCORES.items():
            values = [(arm or {"scores": {}})["scores"].get(score) for arm in arms]
            quantity = f"{title}: {name} in bfloat16 minus float32"
            if None in values:
                rows.append({"quantity": quantity, "found": "no conclusion: a side has no score"})
                continue
            found = compare(*(value["values"] for value in values))
            rows.append({"quantity": quantity, "found": _sentence(found), **found})
    return [{**row, "paper": "not given"} for row in rows]


def _sentence(found: Mapping[str, Any]) -> str:
    if found["within_noise"] is None:
        return f"{found['difference']:+.3g}; no conclusion from one run"
    verdict = "within" if found["within_noise"] else "beyond"
    return (
        f"{found['difference']:+.3g} +- {found['standard_error']:.2g}, p = {found['p_value']:.2g}: "
        f"{verdict} the noise of seeds"
    )


def _claim() -> Any:
    from kgzoo.reproductions import grid

    arms = {
        f"{method}_{precision}": grid.Arm(
            method, f"{title}, {precision.removeprefix('mixed_')}", {"precision": precision}
        )
        for method, title in _METHODS.items()
        for precision in _PRECISIONS
    }
    return grid.Claim(
        name="precision",
        paper="none",
        arms=arms,
        budgets={
            "quick": grid.Budget("digits", 2, _QUICK, seeds=2),
            "cpu": grid.Budget("mnist", 600, _NARROW, seeds=3),
        },
        conclude=conclude,
        differs="two precisions of the same methods are compared, at equal steps and seeds",
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--to", type=pathlib.Path, default=pathlib.Path("runs/precision"))
    parser.add_argument("--data_dir", default="", help="of prepared TFDS data sets")
    parser.add_argument("--steps", type=int, default=0, help="of each training [600]")
    parser.add_argument("--seeds", type=int, default=0, help="of each arm [3]")
    parser.add_argument("--arms", default="", help="some of <method>_<precision>, by commas")
    parser.add_argument("--quick", action="store_true", help="digits, two steps, two seeds")
    arguments = parser.parse_args(argv)
    from kgzoo.reproductions import grid

    try:
        result = grid.run(
            _claim(),
            arguments.to,
            budget="quick" if arguments.quick else "cpu",
            seeds=arguments.seeds,
            arms=arguments.arms,
            steps=arguments.steps,
            data_dir=str(pathlib.Path(arguments.data_dir).expanduser()) * bool(arguments.data_dir),
        )
    except UserError as error:
        print(f"kgzoo: {error}", file=sys.stderr)
        return 2
    for row in result["findings"]:
        print(f"{row['quantity']:<48}  {row['found']}")
    for arm, of in result["arms"].items():
        print(f"{arm}: {of['seconds']:.0f} s for {of['runs']} runs")
    return 0


if __name__ == "__main__":
    sys.exit(main())
