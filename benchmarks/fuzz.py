"""Draws bad and good input for every function that users reach, and counts what became of it.

  python benchmarks/fuzz.py --examples=2000 --to=benchmarks/results/fuzz.json [--seed=1]
                            [--only=kernel,scores]

The cases and checks are those of the tests (tests/fuzz_*_test.py), in other numbers: a case works,
is refused with one sentence, or is a defect. Prints a row for each target; ends with code 1 when
there is a defect.
"""

import argparse
import importlib
import json
import os
import pathlib
import sys
import time

_TESTS = pathlib.Path(__file__).resolve().parent.parent / "tests"
_MODULES = ("fuzz_config_test", "fuzz_kernels_test", "fuzz_scores_test", "fuzz_serving_test")


def main() -> int:
    """Runs the targets; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--examples", type=int, default=2000, help="cases of a target")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="targets whose names hold one of these words")
    parser.add_argument("--to", type=pathlib.Path, help="JSON file for the counts")
    arguments = parser.parse_args()
    sys.path[:0] = [str(_TESTS), str(_TESTS.parent)]
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import fuzzing
    from kgzoo.evaluation import files

    words = [word for word in arguments.only.split(",") if word]
    rows = []
    print(f"{'target':<32} {'cases':>7} {'worked':>7} {'refused':>7} {'defects':>7} {'s':>6}")
    for module in map(importlib.import_module, _MODULES):
        for target in module.TARGETS:
            if words and not any(word in target.name for word in words):
                continue
            began = time.monotonic()
            counts = fuzzing.run(target, arguments.examples, arguments.seed)
            seconds = time.monotonic() - began
            row = {
                "target": target.name,
                "cases": counts.cases,
                "worked": counts.worked,
                "refused": counts.refused,
                "defects": dict(counts.defects),
                "seconds": round(seconds, 1),
            }
            rows.append(row)
            _print(row)
    total = {key: sum(row[key] for row in rows) for key in ("cases", "worked", "refused")}
    total = {"target": "all", **total, "defects": {}, "seconds": sum(r["seconds"] for r in rows)}
    for row in rows:
        for kind, count in row["defects"].items():
            total["defects"][f"{row['target']}: {kind}"] = count
    _print(total)
    for kind, count in total["defects"].items():
        print(f"{count:>5} x {kind}")
    if arguments.to:
        record = {"examples": arguments.examples, "seed": arguments.seed, "targets": rows}
        files.replace_file(arguments.to, (json.dumps(record, indent=2) + "\n").encode())
    return 1 if total["defects"] else 0


def _print(row: dict) -> None:
    counts = (row["cases"], row["worked"], row["refused"], sum(row["defects"].values()))
    numbers = " ".join(f"{count:>7}" for count in counts)
    print(f"{row['target']:<32} {numbers} {row['seconds']:>6.1f}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
