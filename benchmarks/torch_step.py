"""Times a training step of kgzoo and of PyTorch side by side: same networks, losses and passes.

  python benchmarks/torch_step.py [--methods=hinge,mmd_rbf,smmd --rounds=7 --to=result.json]
                                  [--one_forward=field=value] [--quick]

SN-DCGAN at 32x32, batch 64, one critic and one generator update a step. Each side is a process of
its own, with the same number of threads, that waits for its turn; in each round every variant of
both sides takes one. `--quick` is a tiny run that shows the table and measures nothing.
First both sides compute losses, critic outputs and gradients from the same weights, of a narrow
network with and without spectral normalisation. The table of work has the convolutions that a step
runs, counted on either side: forward passes are the same, and what else differs is seen there. A
transposed convolution counts as the input gradient of a convolution, which it is.
"""

import argparse
import importlib.metadata
import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy as np
import stopwatch
import torch_sides

__all__ = ["Child", "GOALS", "METHODS", "main", "plan"]

# At how many times PyTorch's speed the step should run.
GOALS = {"float32": 1.1, "best": 1.2}
VARIANTS = ("float32", "bfloat16")
_ONE_FORWARD = "one forward"
# A side's threads go to sleep before the other's turn begins.
_PAUSE_SECONDS = 0.05
_QUICK = {"width": 4, "batch_size": 4, "rounds": 1, "steps": 1, "methods": "hinge"}
# Both sides are compared on networks of this width, for these methods.
_COMPARED = {"width": 8, "batch_size": 8}
METHODS = ("hinge", "mmd_rbf", "smmd")
SPECTRAL = ("pim", "none")


def plan(method: str, arguments: argparse.Namespace) -> dict:
    """Returns all that both sides need to know: sizes, rates, ranges, and kgzoo's fields."""
    from kgzoo import config, errors

    shared = {"spectral": arguments.spectral, "spectral_constant": 1.0, "critic_steps": 1}
    shared |= {"batch_size": arguments.batch_size, "latent_dim": arguments.latent_dim}
    fields = {**shared, "network": "sndcgan", "ema_half_life_images": 0.0}
    fields |= {"generator_width": arguments.width, "critic_width": arguments.width}
    fields |= {"threads": arguments.threads, **torch_sides.pairs(arguments.fields)}
    if method not in METHODS:
        raise errors.unknown_name("methods", method, METHODS)
    settings = config.compose(method, "cifar10", overrides=fields)
    if arguments.one_forward:  # refuses a field that is none
        config.compose(
            method, "cifar10", overrides=fields | torch_sides.pairs(arguments.one_forward)
        )
    names = ("image_range", "output_dim", "latent_distribution", "adam_beta1", "adam_beta2")
    rates = {f"{player}_learning_rate" for player in ("critic", "generator")}
    found = {name: settings[name] for name in (*names, *rates)}
    found |= {"method": method, "size": arguments.size, "channels": 3, "width": arguments.width}
    return {**found, **shared, "threads": arguments.threads, "fields": fields}


class Child:
    """One side's process."""

    def __init__(self, name: str, threads: int):
        # Both for PyTorch; TensorFlow's threads are set by kgzoo.
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "TF_CPP_MIN_LOG_LEVEL": "3"}
        command = [sys.executable, torch_sides.__file__, name]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.name, self.process = name, subprocess.Popen(command, env=environment, **pipes)

    def ask(self, verb: str, **request) -> dict:
        """Sends a request and waits for the answer."""
        self.process.stdin.write(json.dumps({"verb": verb, **request}) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"The {self.name} side ended; what it printed stands above.")
        return json.loads(line)

    def cpu_seconds(self) -> float:
        """Returns the processor time used so far; 0 where there is no /proc."""
        file = pathlib.Path(f"/proc/{self.process.pid}/stat")
        if not file.exists():
            return 0.0
        fields = file.read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def close(self) -> None:
        """Ends the process."""
        self.process.stdin.close()
        try:
            self.process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def _compare(children: list[Child], arguments: argparse.Namespace) -> dict[str, dict]:
    """Returns how far both sides are apart, by method and normalisation."""
    found = {}
    for case in arguments.compare.split(","):
        method, spectral = case.split()
        changed = {**vars(arguments), **_COMPARED, "spectral": spectral}
        settings = plan(method, argparse.Namespace(**changed))
        found[case] = _differences(children, settings)
    return found


def _differences(children: list[Child], settings: dict) -> dict[str, float]:
    """Returns the largest differences of losses, and relative ones of outputs and gradients."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "weights.npz")
        first, second = (child.ask("check", plan=settings, path=path) for child in children)
    found = {}
    for name, values in first.items():
        one, other = np.asarray(values), np.asarray(second[name])
        # Losses are differences of numbers of about 1.
        scale = 1.0 if name.endswith("loss") else np.max(np.abs(one))
        found[name] = float(np.max(np.abs(one - other)) / scale)
    return found


def _measure(children: list[Child], settings: dict, arguments: argparse.Namespace) -> dict:
    """Returns what one method gives: seconds by side and variant, work, differences."""
    found, turns, idle = {}, [], []
    variants = [*arguments.variants.split(","), *([_ONE_FORWARD] if arguments.one_forward else [])]
    for child in children:
        for variant in variants:
            extra = {"one_forward": arguments.one_forward} if variant == _ONE_FORWARD else {}
            about = child.ask("prepare", plan=settings, variant=variant, **extra)
            found.setdefault(child.name, {})[variant] = {**about, "seconds": [], "cpu_seconds": []}
    for variant in variants:
        turns += [(child, variant) for child in children]
    for child, variant in turns:
        child.ask("run", variant=variant, steps=1)
    for child, variant in stopwatch.in_turns(turns, arguments.rounds):
        time.sleep(_PAUSE_SECONDS)
        others = [other for other in children if other is not child]
        before = sum(other.cpu_seconds() for other in others)
        answer = child.ask("run", variant=variant, steps=arguments.steps)
        spent = sum(other.cpu_seconds() for other in others) - before
        idle.append(spent / (answer["seconds"] * arguments.steps))
        for name in ("seconds", "cpu_seconds"):
            found[child.name][variant][name].append(answer[name])
        found[child.name][variant]["loss"] = answer["loss"]
    for child in children:
        child.ask("forget")
        for about in found[child.name].values():
            about["median_seconds"] = stopwatch.median(about["seconds"])
    found["idle_side_cores"] = max(idle)
    return found | {"ratios": _ratios(found, bool(arguments.one_forward))}


def _ratios(found: dict, one_forward: bool) -> dict[str, float]:
    """Returns PyTorch's seconds over kgzoo's."""
    seconds = {
        side: {variant: about["median_seconds"] for variant, about in found[side].items()}
        for side in torch_sides.SIDES
    }
    variants = [variant for variant in VARIANTS if variant in seconds["kgzoo"]]
    best = {side: min(seconds[side][variant] for variant in variants) for side in torch_sides.SIDES}
    mine, theirs = seconds["kgzoo"], seconds["torch"]
    ratios = {variant: theirs[variant] / mine[variant] for variant in variants}
    ratios["best"] = best["torch"] / best["kgzoo"]
    if one_forward:
        ratios["one forward, torch two, float32"] = theirs["float32"] / mine[_ONE_FORWARD]
        ratios["one forward, torch one, float32"] = theirs[_ONE_FORWARD] / mine[_ONE_FORWARD]
    return ratios


def _print_method(method: str, found: dict, batch_size: int) -> None:
    for side in torch_sides.SIDES:
        for variant, about in found[side].items():
            seconds = about["median_seconds"]
            adam = f"  Adam {about['adam']}" if "adam" in about else ""
            print(
                f"{method:>8}  {side:>5}  {variant:>11}  {1e3 * seconds:9.1f} ms  "
                f"{batch_size / seconds:8.1f} images/s{adam}"
            )
    for name, ratio in found["ratios"].items():
        goal = GOALS.get(name)
        met = f"  goal {goal}: {'met' if ratio >= goal else 'missed'}" if goal else ""
        print(f"{method:>8}  kgzoo's speed over torch's, {name}: {ratio:.2f}{met}")
    print(f"{method:>8}  work of a step, GFLOP (convolutions that run):")
    for side in torch_sides.SIDES:
        for variant, about in found[side].items():
            if variant != "bfloat16":
                parts = [
                    f"{kind} {operations / 1e9:.2f} ({runs})"
                    for kind, (runs, operations) in about["work"].items()
                ]
                total = sum(operations for _, operations in about["work"].values()) / 1e9
                print(f"{side:>15}  {variant}: {', '.join(parts)}, in all {total:.2f}")
    print(f"{method:>8}  cores that the waiting side used, at most: {found['idle_side_cores']:.2f}")


def _print_differences(compared: dict[str, dict]) -> None:
    print("differences from the same weights (of outputs and gradients: relative)")
    for case, found in compared.items():
        print(f"{case:>14}  " + ", ".join(f"{name} {value:.0e}" for name, value in found.items()))


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--variants", default=",".join(VARIANTS))
    cases = [f"{method} {spectral}" for method in METHODS for spectral in SPECTRAL]
    parser.add_argument("--compare", default=",".join(cases), help="method spectral,...")
    parser.add_argument("--spectral", default="pim", choices=SPECTRAL)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--latent_dim", type=int, default=128)
    parser.add_argument("--batch_size", type=int, default=64)
    parser.add_argument("--threads", type=int, default=cores)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=2, help="steps of a turn")
    parser.add_argument("--fields", default="", help="name=value,... for kgzoo's config")
    parser.add_argument(
        "--one_forward", default="", help="field=value by which kgzoo makes both updates at once"
    )
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--to", type=pathlib.Path, default=None)
    if parser.parse_known_args(argv)[0].quick:
        parser.set_defaults(**_QUICK)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Runs the command line."""
    arguments = _arguments(argv)
    if importlib.util.find_spec("torch") is None:
        sys.exit("torch is not installed; pip install 'kgzoo[bench]' brings it.")
    from kgzoo.errors import UserError
    from kgzoo.reproductions import provenance

    facts = provenance.describe()
    facts["packages"]["torch"] = importlib.metadata.version("torch")
    versions = ", ".join(f"{name} {facts['packages'][name]}" for name in ("tensorflow", "torch"))
    print(f"{facts['cpu']}, {facts['cores']} cores, {arguments.threads} threads; {versions}")
    print(
        f"kgzoo {facts['packages']['kgzoo']} at {facts['commit']}; SN-DCGAN {arguments.size}x"
        f"{arguments.size}, width {arguments.width}, batch {arguments.batch_size}, spectral "
        f"{arguments.spectral}; medians of {arguments.rounds} rounds of {arguments.steps} steps"
    )
    children, results = [], {}
    try:
        plans = {method: plan(method, arguments) for method in arguments.methods.split(",")}
        children += [Child(name, arguments.threads) for name in torch_sides.SIDES]
        compared = _compare(children, arguments)
        _print_differences(compared)
        for method, settings in plans.items():
            results[method] = _measure(children, settings, arguments)
            _print_method(method, results[method], arguments.batch_size)
    except UserError as error:
        sys.exit(f"kgzoo: {error}")
    finally:
        for child in children:
            child.close()
    asked = {name: value for name, value in vars(arguments).items() if name != "to"}
    kept = {"goals": GOALS, "differences": compared, "results": results}
    stopwatch.keep(arguments.to, facts, asked, kept)


if __name__ == "__main__":
    main()
