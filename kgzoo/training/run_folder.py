"""Run folders: config.json, the lock, what may change on a resume, and models built from them."""

import json
import math
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import tensorflow as tf

import kgzoo
from kgzoo import data, locks, methods
from kgzoo.config import FIELDS, FREE_ON_RESUME, compose
from kgzoo.errors import UserError
from kgzoo.evaluation import files
from kgzoo.training.checkpoints import Checkpoints
from kgzoo.training.runtime import check_same_runtime

__all__ = [
    "INIT_FROM",
    "UNTRAINED",
    "build_model",
    "check_resume",
    "load_run",
    "locked",
    "read_config",
    "read_init_from",
    "write_config",
    "write_json",
]

_CONFIG = "config.json"
_LARGEST_EXAMPLE = 2**28  # numbers
# Scores of the generator at step 0.
UNTRAINED = "untrained.json"
# Whose networks the run began with, for the export's card.
INIT_FROM = "init_from.json"
_INIT_FROM_TYPES = {"init_from": str, "method": str, "step": int, "networks": dict}


def write_json(path: Path, content: Any) -> None:
    """Writes a JSON file, whole or not at all."""
    files.replace_file(path, (json.dumps(content, indent=2) + "\n").encode())


def locked(workdir: Path) -> AbstractContextManager[None]:
    """Holds the run folder for one process; see `locks.held`."""
    return locks.held(workdir, "--workdir", "run")


def read_config(workdir: Path) -> dict[str, Any] | None:
    """Returns the contents of config.json, or None when the folder holds no run.

    Raises:
        UserError: if the file cannot be read.
    """
    path = Path(workdir) / _CONFIG
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        # JSON has lists alone.
        for name, (default, _) in FIELDS.items():
            if isinstance(default, tuple) and name in content["config"]:
                content["config"][name] = tuple(content["config"][name])
        _check_record(content)
        return content
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        raise UserError(f"{path} is not a run's config.json; choose another folder.") from None


def _check_record(content: Mapping[str, Any]) -> None:
    """Raises one of the errors of `read_config` for what no run has written.

    Such a file would fail later in its own way, or have networks built for images of a gigabyte.
    """
    chosen, facts = dict(content["config"]), dict(content["data"])
    sides = facts["shape"]
    sizes_fit = 1 <= len(sides) <= 3 and all(type(side) is int and side > 0 for side in sides)
    if not sizes_fit or math.prod(sides) > _LARGEST_EXAMPLE:
        raise ValueError
    if facts["kind"] not in ("image", "vector") or (facts["kind"] == "image") != (len(sides) == 3):
        raise ValueError
    if not all(isinstance(chosen[name], str) for name in ("method", "dataset")):
        raise ValueError
    dict(content["runtime"])


def read_init_from(workdir: Path) -> dict[str, Any] | None:
    """Returns what `zoo.initialize` told of the model that the run began with.

    None where it began with none, or the record is damaged: a card without it is no lie.
    """
    try:
        content = json.loads((Path(workdir) / INIT_FROM).read_text(encoding="utf-8"))
        fits = all(isinstance(content[key], kind) for key, kind in _INIT_FROM_TYPES.items())
        return content if fits else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def check_resume(
    workdir: Path,
    config: Mapping[str, Any],
    source: data.Source | None,
    runtime: Mapping[str, Any],
) -> None:
    """Checks that the folder is new, or that its run is the one asked for.

    A run that never came to a checkpoint binds nobody: a corrected command starts it anew.

    Raises:
        UserError: naming the first field that differs, with both values.
    """
    recorded = read_config(workdir)
    if recorded is not None and not Checkpoints(workdir / "checkpoints").steps():
        for name in (UNTRAINED, INIT_FROM):
            (workdir / name).unlink(missing_ok=True)
    elif recorded is not None:
        _check_same_config(workdir, recorded["config"], config)
        check_same_runtime(recorded["runtime"], runtime)
        if source is not None:
            _check_same_data(workdir, recorded["data"], source)
    elif any(not path.name.startswith(".") for path in workdir.iterdir()):
        raise UserError(
            f"--workdir={workdir} holds files but no run; choose an empty or a new folder."
        )


def write_config(
    workdir: Path,
    config: Mapping[str, Any],
    source: data.Source,
    runtime: Mapping[str, Any],
    command: str,
) -> None:
    """Writes config.json: all fields, the data, what the machine resolved, version and command."""
    content = {
        "config": dict(config),
        "data": source.describe(),
        "runtime": dict(runtime),
        "version": kgzoo.__version__,
        "command": command,
    }
    write_json(workdir / _CONFIG, content)


def _check_same_config(workdir: Path, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    free = set(FREE_ON_RESUME)
    if new["mmd_scope"] == "global":
        # Replicas then change no number, only where the work is done.
        free.add("strategy")
    for field in FIELDS:
        if field not in free and field in old and old[field] != new[field]:
            raise UserError(
                f"{workdir} holds a run with {field}={old[field]}, asked for is {new[field]}; "
                "restore the field or choose a new --workdir."
            )


def _check_same_data(workdir: Path, old: Mapping[str, Any], source: data.Source) -> None:
    new = json.loads(json.dumps(source.describe()))
    for fact in {**old, **new}:
        if old.get(fact) != new.get(fact):
            raise UserError(
                f"{workdir} was trained on {source.name} with {fact}={old.get(fact)}, now it is "
                f"{new.get(fact)}; restore the data or choose a new --workdir."
            )


def build_model(
    config: Mapping[str, Any], kind: str, shape: tuple[int, ...], strategy: tf.distribute.Strategy
) -> methods.Method:
    """Builds and compiles the model of a config under a strategy."""
    replicas = strategy.num_replicas_in_sync
    if config["batch_size"] % replicas:
        raise UserError(
            f"--config.batch_size={config['batch_size']} is not a multiple of the {replicas} "
            "replicas; change it or --strategy."
        )
    with strategy.scope():
        model = methods.build(config, kind, shape)
        model.compile(methods.build_optimizers(config, model.players))
    return model


def load_run(workdir: Path, which: str = "newest") -> tuple[methods.Method, dict[str, Any], int]:
    """Rebuilds the model of a run folder from a checkpoint.

    Args:
        workdir: the run folder.
        which: `newest` or `best` (lowest KID).

    Returns:
        The model, the contents of config.json, and the step.

    Raises:
        UserError: if the folder holds no run, or no such checkpoint.
    """
    recorded = read_config(workdir)
    if recorded is None:
        raise UserError(f"{workdir} holds no config.json; give the folder of a run.")
    stored = {k: v for k, v in recorded["config"].items() if k in FIELDS}
    choice = {"method": stored.pop("method"), "dataset": stored.pop("dataset")}
    config = compose(**choice, overrides=stored)
    facts = recorded["data"]
    model = build_model(config, facts["kind"], tuple(facts["shape"]), tf.distribute.get_strategy())
    checkpoints = Checkpoints(Path(workdir) / "checkpoints", config["keep_checkpoints"])
    step = checkpoints.best() if which == "best" else None
    if which == "best" and step is None:
        raise UserError(f"{workdir} has no scored checkpoint; use --checkpoint=newest.")
    about = checkpoints.restore(model, step)
    if about is None:
        raise UserError(f"{workdir} has no checkpoint yet; train it first.")
    return model, {**recorded, "config": config}, about["step"]
