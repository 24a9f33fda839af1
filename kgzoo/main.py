"""Train one method of the zoo on one data set, score it and export it.

  python -m kgzoo.main                                     smmd on the embedded digits
  python -m kgzoo.main --method=sn_smmd --dataset=mnist --data_dir=~/tensorflow_datasets
  python -m kgzoo.main --config=configs/smmd_table1a.py:sn_smmd,cifar10
  python -m kgzoo.main --list_methods

The same command again resumes an interrupted run exactly; on a finished run it prints the results.
"""

import contextlib
import hashlib
import importlib.util
import os
import re
import shlex
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from absl import flags

import kgzoo
from kgzoo import catalog, cli, config, presets
from kgzoo.errors import UserError, suggest

__all__ = ["main"]

# Packages that an objective needs and kgzoo does not install.
_EXTRAS = {"lipmmd2": ("cvxpy", "clarabel")}
# What may differ between the machines of one run.
_OF_A_MACHINE = ("data_dir", "threads", "python", "machine")


def _flags() -> flags.FlagValues:
    values = flags.FlagValues()

    def string(name: str, text: str) -> None:
        flags.DEFINE_string(name, None, text, flag_values=values)

    string("method", "a name of --list_methods [smmd]")
    string("dataset", config.FIELDS["dataset"][1] + " [digits]")
    string("data_dir", config.FIELDS["data_dir"][1])
    string("workdir", "run folder [runs/<method>_<dataset>]")
    string("init_from", config.FIELDS["init_from"][1])
    string("strategy", config.FIELDS["strategy"][1] + " [auto]")
    flags.DEFINE_integer("steps", None, "generator updates", flag_values=values)
    flags.DEFINE_integer("seed", None, "of weights, noise and data order [0]", flag_values=values)
    flags.DEFINE_bool("list_methods", False, "print the zoo and leave", flag_values=values)
    flags.DEFINE_bool("help", False, "print this and leave", short_name="h", flag_values=values)
    return values


def _help(values: flags.FlagValues) -> str:
    lines = [
        cli.help_text(__doc__, values),
        "  --config        a run card, configs/<card>.py[:argument]",
        "",
        "Fields of the config, as they are for smmd on digits:",
        config.describe_fields(config.compose()),
    ]
    return "\n".join(lines)


def main(argv: list[str]) -> int:
    """Runs the verb; returns the exit code.

    Raises:
        UserError: on a mistake in the command line, or one that shows later.
    """
    values = _flags()
    positional, card, overrides = cli.parse(argv, values, allow_config=True)
    if values["help"].value:
        print(_help(values))
        return 0
    if values["list_methods"].value:
        print(catalog.table())
        return 0
    if positional:
        hint = suggest(positional[0], [f"--{name}" for name in values])
        raise UserError(f"{positional[0]!r} is not understood{hint or '; flags begin with --.'}")
    for field in ("method", "dataset", "workdir", "strategy", "init_from"):
        if values[field].value == "":
            raise UserError(f"--{field} is empty; give a value or leave the flag out.")
    explicit = [
        (name, str(values[name].value))
        for name in ("data_dir", "steps", "seed", "strategy", "init_from")
        if values[name].value is not None
    ]
    resolved = config.compose(
        values["method"].value, values["dataset"].value, card, [*overrides, *explicit]
    )
    _check_data(resolved)
    _check_extras(resolved.objective)
    name = _run_name(resolved.method, resolved.dataset)
    workdir = Path(values["workdir"].value or Path("runs") / name).expanduser()
    command = "python -m kgzoo.main " + " ".join(shlex.quote(arg) for arg in argv[1:])
    return _train(resolved, workdir, name, command.strip())


def _run_name(method: str, dataset: str) -> str:
    """Returns a name good for folders and served models; what is lost of the name is hashed."""
    plain = re.sub(r"[:/\\ ~]", "_", f"{method}_{dataset}")
    name = re.sub(r"[^A-Za-z0-9_.-]", "_", plain)
    lost = hashlib.sha256(dataset.encode()).hexdigest()[:6] if name != plain else ""
    return f"{name}_{lost}" if lost else name


def _check_data(resolved: Any) -> None:
    from kgzoo import data

    data.check(resolved.dataset, _data_dir(resolved))


def _check_extras(objective: str) -> None:
    """Refuses what needs packages that are not there, before a run folder is made."""
    needed = _EXTRAS.get(objective, ())
    if any(importlib.util.find_spec(package) is None for package in needed):
        raise UserError(
            f"objective={objective} needs {' and '.join(needed)}, which are not installed; type "
            f"pip install {' '.join(needed)}."
        )


def _data_dir(resolved: Any) -> str | None:
    return os.path.expanduser(resolved.data_dir) or None


def _train(resolved: Any, workdir: Path, name: str, command: str) -> int:
    print(
        f"kgzoo {kgzoo.__version__}: {resolved.method} on {resolved.dataset}, "
        f"{resolved.steps} steps, in {workdir} (starting TensorFlow ...)",
        flush=True,
    )
    from kgzoo.training import cluster

    member = cluster.from_environment(resolved.strategy)
    if resolved.init_from and member.is_chief and not (workdir / "checkpoints").exists():
        # A mistyped name is told before TensorFlow is imported; a resume loads nothing.
        presets.find(resolved.init_from)
    cli.quiet_tensorflow()
    from kgzoo.training import loop, run_folder, workers

    if len(member.addresses) > 1:
        print(
            f"This is {member.name(member.rank)}, the first of {len(member.addresses)} being the "
            f"chief; it waits at most {workers.START_SECONDS} s for the others.",
            flush=True,
        )

    def leave(number: int, frame: Any) -> None:
        raise loop.Stopped(f"SIGTERM: nothing is lost; to go on type {command}", number)

    with run_folder.locked(workdir) if member.is_chief else contextlib.nullcontext():
        try:
            with _terminated_by(leave):
                return _locked_train(resolved, workdir, name, command)
        except (loop.Diverged, workers.Lost) as error:
            print(f"kgzoo: {error}", file=sys.stderr)
            return 1
        except loop.Stopped as error:
            print(f"\nkgzoo: {error}", file=sys.stderr)
            return 128 + error.signal_number


@contextlib.contextmanager
def _terminated_by(handler: Callable) -> Iterator[None]:
    """Has SIGTERM end the process with a sentence outside the loop, which saves its state."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGTERM, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _locked_train(resolved: Any, workdir: Path, name: str, command: str) -> int:
    from kgzoo.training import runtime, workers

    resolved_runtime = runtime.prepare(resolved)
    # What `auto` stands for here: the run keeps it wherever it goes on or is read.
    resolved.precision = resolved_runtime["precision"]
    strategy = runtime.get_strategy(resolved.strategy)
    if resolved.mmd_scope == "replica":
        resolved_runtime["blocks"] = strategy.num_replicas_in_sync
    team = workers.Workers(strategy)
    facts = {**resolved, **resolved_runtime, "version": kgzoo.__version__}
    with team.joined(lambda: _kept(workdir, team)):
        team.check_same({key: facts[key] for key in facts if key not in _OF_A_MACHINE})
        return _joined_train(resolved, workdir, name, command, resolved_runtime, team)


def _kept(workdir: Path, team: Any) -> str:
    from kgzoo.training import checkpoints

    if not team.is_chief:
        return "the chief keeps its newest checkpoint"
    saved = checkpoints.Checkpoints(workdir / "checkpoints").steps()
    return f"the checkpoint of step {saved[-1]} is kept" if saved else "nothing was saved yet"


def _joined_train(
    resolved: Any, workdir: Path, name: str, command: str, resolved_runtime: Any, team: Any
) -> int:
    from kgzoo import data, results
    from kgzoo.training import loop, run_folder

    def check(source: Any) -> None:
        run_folder.check_resume(workdir, resolved, source, resolved_runtime)

    done = team.from_chief(lambda: results.finished_step(workdir))
    if done is not None and done >= resolved.steps:
        team.from_chief(lambda: check(None))
        if team.is_chief and done > resolved.steps:
            print(f"This run has {done} steps, {resolved.steps} were asked for: nothing to train.")
        return _conclude(workdir, command, team)
    source = team.on_all(
        lambda: data.load(
            *(resolved.dataset, "train"), binarization=resolved.binarization, **_of_data(resolved)
        )
    )
    team.check_same(source.describe())
    team.from_chief(lambda: check(source))
    model = run_folder.build_model(resolved, source.kind, source.shape, team.strategy)
    # The chief's alone: what `from_chief` hands on to all goes through JSON.
    reference = None

    def begin() -> None:
        nonlocal reference
        run_folder.write_config(workdir, resolved, source, resolved_runtime, command)
        reference = _begin(model, resolved, workdir)

    team.from_chief(begin)
    team.share(model)
    if team.is_chief:
        where = f"{team.strategy.num_replicas_in_sync} x {resolved_runtime['device']}"
        print(f"Training on {where}.", flush=True)
    start = time.monotonic()
    loop.train(model, source, reference, resolved, workdir, team.strategy, command)
    told = (source, resolved, workdir, name, command, time.monotonic() - start)
    team.from_chief(lambda: results.finish(model, reference, *told))
    return _conclude(workdir, command, team)


def _of_data(resolved: Any) -> dict[str, Any]:
    return {"data_dir": _data_dir(resolved), "image_size": resolved.image_size or None}


def _begin(model: Any, resolved: Any, workdir: Path) -> Any:
    """Restores what there is, scores what is untrained; returns the reference of the scores."""
    from kgzoo import data, results
    from kgzoo.evaluation import score_card
    from kgzoo.training import checkpoints

    saved = checkpoints.Checkpoints(workdir / "checkpoints", resolved.keep_checkpoints)
    if saved.restore(model) is not None:
        print(f"Resumed at step {model.steps_done}.", flush=True)
    elif resolved.init_from:
        _initialize(model, resolved.init_from, workdir)
    # As it is, also beside binarised training: samples are probabilities, expected intensities.
    test = data.load(resolved.dataset, "test", **_of_data(resolved))
    reference = score_card.prepare(test, resolved.extractor or None, resolved.seed)
    results.score_untrained(model, reference, resolved, workdir)
    return reference


def _initialize(model: Any, init_from: str, workdir: Path) -> None:
    """Begins with the networks of a trained model; init_from.json keeps whose they are."""
    from kgzoo import zoo
    from kgzoo.training import run_folder

    record = zoo.initialize(model, init_from)
    run_folder.write_json(workdir / run_folder.INIT_FROM, record)
    taken = ", ".join(f"{name} {count}" for name, count in record["networks"].items())
    print(f"Begins with {record['path']}, step {record['step']}: {taken}.", flush=True)


def _conclude(workdir: Path, command: str, team: Any) -> int:
    from kgzoo import results

    if team.is_chief:
        print(results.summary(workdir, command))
    else:
        print("Done: the chief has scores and export.")
    return 0


if __name__ == "__main__":
    cli.run(main)
