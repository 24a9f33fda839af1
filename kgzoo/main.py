"""Train one method of the zoo on one data set, score it and export it.

  python -m kgzoo.main                                     smmd on the embedded digits
  python -m kgzoo.main --method=sn_smmd --dataset=mnist --data_dir=~/tensorflow_datasets
  python -m kgzoo.main --config=configs/smmd_table1a.py:sn_smmd,cifar10
  python -m kgzoo.main --list_methods

The same command again resumes an interrupted run exactly; on a finished run it prints the results.
"""

import hashlib
import os
import re
import shlex
import sys
import time
from pathlib import Path
from typing import Any

from absl import flags

import kgzoo
from kgzoo import catalog, cli, config
from kgzoo.errors import UserError, suggest

__all__ = ["main"]


def _flags() -> flags.FlagValues:
    values = flags.FlagValues()

    def string(name: str, text: str) -> None:
        flags.DEFINE_string(name, None, text, flag_values=values)

    string("method", "a name of --list_methods [smmd]")
    string("dataset", config.FIELDS["dataset"][1] + " [digits]")
    string("data_dir", config.FIELDS["data_dir"][1])
    string("workdir", "run folder [runs/<method>_<dataset>]")
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
    for field in ("method", "dataset", "workdir", "strategy"):
        if values[field].value == "":
            raise UserError(f"--{field} is empty; give a value or leave the flag out.")
    explicit = [
        (name, str(values[name].value))
        for name in ("data_dir", "steps", "seed", "strategy")
        if values[name].value is not None
    ]
    resolved = config.compose(
        values["method"].value, values["dataset"].value, card, [*overrides, *explicit]
    )
    _check_data(resolved)
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


def _data_dir(resolved: Any) -> str | None:
    return os.path.expanduser(resolved.data_dir) or None


def _train(resolved: Any, workdir: Path, name: str, command: str) -> int:
    print(
        f"kgzoo {kgzoo.__version__}: {resolved.method} on {resolved.dataset}, "
        f"{resolved.steps} steps, in {workdir} (starting TensorFlow ...)",
        flush=True,
    )
    cli.quiet_tensorflow()
    from kgzoo.training import loop, run_folder

    with run_folder.locked(workdir):
        try:
            return _locked_train(resolved, workdir, name, command)
        except loop.Diverged as error:
            print(f"kgzoo: {error}", file=sys.stderr)
            return 1
        except loop.Stopped as error:
            print(f"\nkgzoo: {error}", file=sys.stderr)
            return 128 + error.signal_number


def _locked_train(resolved: Any, workdir: Path, name: str, command: str) -> int:
    from kgzoo import data, results
    from kgzoo.evaluation import score_card
    from kgzoo.training import checkpoints, loop, run_folder, runtime

    resolved_runtime = runtime.prepare(resolved)
    done = results.finished_step(workdir)
    if done is not None and done >= resolved.steps:
        run_folder.check_resume(workdir, resolved, None, resolved_runtime)
        print(results.summary(workdir, command))
        return 0
    arguments = {"data_dir": _data_dir(resolved), "image_size": resolved.image_size or None}
    source = data.load(resolved.dataset, "train", binarization=resolved.binarization, **arguments)
    run_folder.check_resume(workdir, resolved, source, resolved_runtime)
    strategy = runtime.get_strategy(resolved.strategy)
    model = run_folder.build_model(resolved, source.kind, source.shape, strategy)
    run_folder.write_config(workdir, resolved, source, resolved_runtime, command)
    saved = checkpoints.Checkpoints(workdir / "checkpoints", resolved.keep_checkpoints)
    if saved.restore(model) is not None:
        print(f"Resumed at step {model.steps_done}.", flush=True)
    # As it is, also beside binarised training: samples are probabilities, expected intensities.
    test = data.load(resolved.dataset, "test", **arguments)
    reference = score_card.prepare(test, resolved.extractor or None, resolved.seed)
    results.score_untrained(model, reference, resolved, workdir)
    print(
        f"Training on {strategy.num_replicas_in_sync} x {resolved_runtime['device']}.", flush=True
    )
    start = time.monotonic()
    loop.train(model, source, reference, resolved, workdir, strategy, command)
    results.finish(
        model, reference, source, resolved, workdir, name, command, time.monotonic() - start
    )
    print(results.summary(workdir, command))
    return 0


if __name__ == "__main__":
    cli.run(main)
