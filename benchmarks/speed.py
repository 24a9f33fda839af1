"""Times training, prints tables beside the goals, and writes JSON.

  python benchmarks/speed.py [--parts=methods,pipeline,scaling --to=runs/speed --quick]

methods   images per second on SN-DCGAN 32x32, batch 64, and the cost of a step against `hinge` at
          the same number of critic steps, in float32 and in mixed_bfloat16
pipeline  steps per execution, the input's share of a step, start-up to the first step, --help
scaling   cost against batch size, critic dimension, resolution and replicas, exponents fitted

Medians of `--rounds`; within a round all take one turn. About 25 minutes on two idle cores (methods
11, pipeline 4, scaling 10); `--quick` shows all tables in a few minutes, with numbers that mean
nothing. Two methods alone, on other networks:

  python benchmarks/speed.py --parts=methods --methods=smmd,gcmmd --precisions=float32 \\
      --network=dcgan_small --width=32 --size=28 --channels=1 --critic_steps=0
"""

import argparse
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import speed_pipeline
import speed_scaling
import stopwatch

from kgzoo import cli
from kgzoo.errors import UserError

_PRECISIONS = ("float32", "mixed_bfloat16")
_BASELINE = "hinge"
_METHODS = (
    *("hinge", "mmd_rep", "mmd_rep_b", "mmd_rbf", "mmd_rq", "rep_dk", "smmd", "sn_smmd", "gcmmd"),
    "wgan_gp",
)
_QUICK = {"width": 4, "batch_size": 8, "rounds": 2, "methods": "hinge,mmd_rep,smmd"}
PARTS = ("methods", "pipeline", "scaling")


class Goal(NamedTuple):
    """A step of `method` costs at most `limit` steps of `of`, in one precision or in all."""

    method: str
    of: str
    limit: float
    precision: str = ""


GOALS = (
    *(Goal(name, "hinge", 1.03) for name in ("mmd_rep", "mmd_rep_b", "mmd_rbf", "mmd_rq")),
    Goal("smmd", "hinge", 1.6, "mixed_bfloat16"),
    Goal("smmd", "hinge", 2.0, "float32"),
    Goal("gcmmd", "smmd", 1.25),
    Goal("rep_dk", "mmd_rep", 1.15),
)


def ratio(first: Sequence[float], second: Sequence[float]) -> float:
    """Returns the median over rounds of the first's seconds over the second's."""
    return stopwatch.median([a / b for a, b in zip(first, second, strict=True)])


def check_goals(seconds: Mapping[tuple[str, str], Sequence[float]]) -> list[dict[str, Any]]:
    """Returns the goals that were measured: what was wanted, found, and whether it was met.

    Args:
        seconds: of rounds, by method and precision.
    """
    rows = []
    precisions = dict.fromkeys(precision for _, precision in seconds)
    for goal in GOALS:
        for precision in [goal.precision] if goal.precision else precisions:
            pair = [seconds.get((name, precision)) for name in (goal.method, goal.of)]
            if None in pair:
                continue
            found = ratio(*pair)
            rows.append(
                {
                    "goal": f"{goal.method} <= {goal.limit} x {goal.of} in {precision}",
                    "found": found,
                    "met": found <= goal.limit,
                }
            )
    return rows


def methods_part(arguments: argparse.Namespace) -> dict[str, Any]:
    """Times a step of each method in each precision; returns the table and the goals."""
    names = arguments.methods.split(",")
    fields = {
        "network": arguments.network,
        "generator_width": arguments.width,
        "critic_width": arguments.width,
        "batch_size": arguments.batch_size,
    }
    shape = (arguments.size, arguments.size, arguments.channels)
    turns, updates = {}, {}
    for precision in arguments.precisions.split(","):
        for name in names:
            key = (name, precision)
            turns[key], updates[key] = stopwatch.make_step(
                name, shape, {**fields, "precision": precision}, arguments.critic_steps
            )
            print(f"  {name} in {precision}: ready to be timed", file=sys.stderr, flush=True)
    seconds = stopwatch.interleaved(turns, arguments.rounds)
    baseline = _BASELINE if _BASELINE in names else names[0]
    rows = [
        {
            "method": name,
            "precision": precision,
            "updates": updates[name, precision],
            "seconds": stopwatch.median(rounds),
            # Real examples that updates see, as metrics.jsonl counts them.
            "images_per_second": updates[name, precision]
            * arguments.batch_size
            / stopwatch.median(rounds),
            "of_baseline": ratio(rounds, seconds[baseline, precision]),
            "of_float32": ratio(rounds, seconds[name, "float32"])
            if (name, "float32") in seconds
            else None,
            "rounds": rounds,
        }
        for (name, precision), rounds in seconds.items()
    ]
    return {"baseline": baseline, "rows": rows, "goals": check_goals(seconds)}


def _say_methods(found: Mapping[str, Any]) -> None:
    head = f"x {found['baseline']}"
    print(f"{'method':<12}{'precision':<16}{'ms/step':>9}{'images/s':>10}{head:>9}{'x f32':>7}")
    for row in found["rows"]:
        of_float32 = "" if row["of_float32"] is None else f"{row['of_float32']:.2f}"
        print(
            f"{row['method']:<12}{row['precision']:<16}{1e3 * row['seconds']:>9.1f}"
            f"{row['images_per_second']:>10.1f}{row['of_baseline']:>9.3f}{of_float32:>7}"
        )
    say_goals(found["goals"])


def say_goals(goals: Sequence[Mapping[str, Any]]) -> None:
    """Prints whether each goal was met."""
    for row in goals:
        verdict = "met" if row["met"] else "MISSED"
        print(f"{verdict:>8}  {row['goal']}: {row['found']:.3g}")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    arguments = _parse(argv)
    cli.quiet_tensorflow()
    from kgzoo import config
    from kgzoo.reproductions import provenance
    from kgzoo.training import runtime

    # As a run has it: all cores, deterministic ops.
    settings = {name: value for name, value in vars(arguments).items() if name != "to"}
    settings |= {"runtime": runtime.prepare(config.compose())}
    machine = provenance.describe()
    print(
        f"{machine['cores']} cores of {machine['cpu']}, TensorFlow "
        f"{machine['packages']['tensorflow']}, Keras {machine['packages']['keras']}, commit "
        f"{machine['commit']}; medians of {arguments.rounds} rounds in turn"
    )
    try:
        for part in arguments.parts.split(","):
            print(f"\n{part}")
            if part == "methods":
                found = methods_part(arguments)
                _say_methods(found)
            elif part == "pipeline":
                found = speed_pipeline.measure(arguments)
                speed_pipeline.say(found)
                say_goals(found["goals"])
            else:
                found = speed_scaling.measure(arguments)
                speed_scaling.say(found)
                speed_scaling.draw(arguments.to, found)
            print(stopwatch.record(arguments.to, f"speed_{part}", settings, found))
    except UserError as error:
        print(f"kgzoo: {error}", file=sys.stderr)
        return 2
    return 0


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--to", type=pathlib.Path, default=pathlib.Path("runs/speed"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="tiny: shows the tables alone")
    parser.add_argument("--methods", default=",".join(_METHODS))
    parser.add_argument("--precisions", default=",".join(_PRECISIONS))
    parser.add_argument("--network", default="sndcgan")
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--size", type=int, default=32, help="height and width of the images")
    parser.add_argument("--channels", type=int, default=3)
    parser.add_argument("--batch_size", type=int, default=64)
    parser.add_argument("--critic_steps", type=int, default=1, help="0: each row's own")
    parser.add_argument("--starts", type=int, default=5, help="times a run is started; 0: not")
    parser.add_argument("--scaling_width", type=int, default=16, help="of the scaling part")
    parser.add_argument("--axes", default=",".join(speed_scaling.AXES))
    arguments = parser.parse_args(argv)
    if arguments.quick:
        tiny = {**_QUICK, "starts": 1, "scaling_width": 2}
        for name, value in tiny.items():
            if getattr(arguments, name) == parser.get_default(name):
                setattr(arguments, name, value)
    wrong = set(arguments.parts.split(",")) - set(PARTS)
    wrong |= set(arguments.axes.split(",")) - set(speed_scaling.AXES)
    if wrong or arguments.rounds < 1:
        known = f"{', '.join(PARTS)}; axes {', '.join(speed_scaling.AXES)}; rounds from 1 on"
        parser.error(f"{', '.join(sorted(wrong)) or '--rounds'} does not fit; choose parts {known}")
    return arguments


if __name__ == "__main__":
    sys.exit(main())
