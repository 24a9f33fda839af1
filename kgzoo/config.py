"""One resolved config: base < data set < catalogue row < run card < --config.*; then locked.

A run card is a Python file with `get_config(arg)` that returns a dict (or ConfigDict) of fields; it
may name the method and the data set. Nothing here imports TensorFlow.
"""

import ast
import difflib
import importlib.util
import math
import numbers
import os
import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ml_collections

from kgzoo import catalog
from kgzoo.errors import UserError, shown, suggest, unknown_name
from kgzoo.fields import CHOICES, DATASET_SETTINGS, FIELDS, FREE_ON_RESUME, check

__all__ = [
    "CHOICES",
    "DATASET_SETTINGS",
    "FIELDS",
    "FREE_ON_RESUME",
    "QUICK",
    "cards_folder",
    "compose",
    "describe_fields",
    "load_card",
    "parse_card_argument",
    "parse_value",
]

# What makes the quick form of a run card: the same networks, but narrow, for a few steps of which
# each is two updates (the graph of six takes long to build).
QUICK: dict[str, Any] = {
    "generator_width": 4,
    "critic_width": 4,
    "steps": 4,
    "batch_size": 8,
    "critic_steps": 1,
    "early_critic_steps": 0,
    "relative_kid_every_steps": 1,
    "relative_kid_lag": 2,
    "relative_kid_samples": 16,
    "num_samples": 64,
    "sample_every_steps": 4,
    "checkpoint_every_steps": 4,
    "score_every_steps": 0,
}


def compose(
    method: str | None = None,
    dataset: str | None = None,
    card: str | None = None,
    overrides: Sequence[tuple[str, str]] | Mapping[str, Any] = (),
) -> ml_collections.ConfigDict:
    """Returns the resolved, locked config.

    Args:
        method, dataset: explicit choices, or None for the card's or the default.
        card: path of a run card with an optional argument after a colon, or None.
        overrides: fields with their values, strings being parsed to the field's type.

    Raises:
        UserError: on an unknown name or field, a wrong value, or a choice that contradicts the
            card.
    """
    from_card = load_card(card) if card else {}
    choice = {"method": method, "dataset": dataset}
    for field, explicit in choice.items():
        if not isinstance(explicit, (str, type(None))):
            raise UserError(f"{field}={shown(explicit)} is not a name; give one in quotes.")
        if explicit is not None and from_card.get(field, explicit) != explicit:
            raise UserError(
                f"--{field}={explicit} contradicts {field}={from_card[field]} of the run card "
                f"{card}; drop one of the two."
            )
        choice[field] = explicit or str(from_card.get(field) or FIELDS[field][0])
    row = catalog.row(choice["method"])
    values = {name: default for name, (default, _) in FIELDS.items()}
    # `lsun/bedroom` and `celeb_a:2.1.0` have the settings of `lsun` and `celeb_a`.
    family = re.split("[/:]", choice["dataset"])[0]
    settings = DATASET_SETTINGS.get(family, {})
    chosen = dict(overrides)
    for layer in (settings, row.settings(), from_card, choice, chosen):
        for name, value in layer.items():
            if name not in FIELDS:
                raise UserError(f"--config.{_plain(name)} is not a field{_near(name)}")
            values[name] = parse_value(name, value)
    if values["method"] != choice["method"] or values["dataset"] != choice["dataset"]:
        raise UserError(
            "--config.method and --config.dataset are not overrides; use --method and --dataset."
        )
    check(values)
    return ml_collections.ConfigDict(values).lock()


def _near(name: str) -> str:
    return suggest(name, FIELDS) or "; --help lists them."


def parse_value(name: str, value: Any) -> Any:
    """Returns `value` as the type of field `name`; strings are parsed.

    Raises:
        UserError: if it does not fit.
    """
    default = FIELDS[name][0]
    kind = type(default)
    try:
        if kind is str:
            return _text(value)
        if kind is bool and isinstance(value, str):
            return {"true": True, "1": True, "false": False, "0": False}[value.lower()]
        parsed = _literal(value) if isinstance(value, str) else value
        if kind is tuple:
            return _floats(parsed, len(default))
        if kind is bool:
            if not isinstance(parsed, bool):
                raise ValueError
            return parsed
        return _number(parsed, kind)
    # What Python finds wrong with a literal, its depth and its length included.
    except (
        *(ValueError, TypeError, KeyError, SyntaxError),
        *(OverflowError, MemoryError, RecursionError),
    ):
        words = {bool: "true or false", int: "a whole number", float: "a finite number"}
        words[str] = "text"
        wanted = words.get(kind, f"a tuple like {default or (1.0, 0.5)}")
        raise UserError(f"--config.{name}={_plain(value)} does not fit; give {wanted}.") from None


def _plain(value: Any) -> str:
    """Returns a value as it is typed, on one line."""
    return shown(value).strip("'\"") if isinstance(value, str) else shown(value)


def _text(value: Any) -> str:
    value = os.fspath(value)
    # No file system takes the null character.
    if not isinstance(value, str) or "\0" in value:
        raise ValueError
    return value


def _literal(text: str) -> Any:
    with warnings.catch_warnings():
        # Python warns of odd literals in lines of its own.
        warnings.simplefilter("ignore")
        return ast.literal_eval(text.replace("_", ""))


def _number(value: Any, kind: type) -> int | float:
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise ValueError
    if not math.isfinite(value) or (kind is int and int(value) != value):
        raise ValueError
    return kind(value)


def _floats(values: Any, length: int) -> tuple[float, ...]:
    """Returns a tuple of so many floats; of any number of them for 0."""
    if not isinstance(values, (list, tuple)) or (length and len(values) != length):
        raise ValueError
    return tuple(_number(value, float) for value in values)


def cards_folder() -> Path:
    """Returns the folder of run cards: `configs/` of a clone, or the installed copy."""
    package = Path(__file__).resolve().parent
    clone = package.parent / "configs"
    is_clone = clone.is_dir() and (package.parent / "setup.py").is_file()
    return clone if is_clone else package / "configs"


def load_card(card: str) -> dict[str, Any]:
    """Runs the run card `path[:argument]` and returns its fields.

    Args:
        card: a path as typed, or one of the shipped cards as `configs/<name>.py`.

    Raises:
        UserError: if there is no such card or it has no `get_config`.
    """
    name, _, argument = card.partition(":")
    path = Path(name)
    if not _is_file(path):
        path = cards_folder() / path.name
    if not _is_file(path):
        known = sorted(path.name for path in cards_folder().glob("*.py"))
        near = difflib.get_close_matches(path.name, known, 1)
        hint = (
            f"did you mean configs/{near[0]}?"
            if near
            else f"choose a shipped card: {', '.join(known)}."
        )
        raise UserError(f"--config={_plain(name)} is not a file; {hint}")
    spec = importlib.util.spec_from_file_location(f"kgzoo_card_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise UserError(f"--config={name} is not a Python file; give a run card like configs/x.py.")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        fields = dict(module.get_config(argument or None))
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        # A card is a program of the user's: whatever goes wrong in it is told in one sentence.
        what = f"{type(error).__name__}: {error}".splitlines()[0][:200]
        raise UserError(
            f"--config={name} is no run card ({what}); it needs get_config(arg) that returns a "
            "dict of fields."
        ) from None
    for field in fields:
        if field not in FIELDS:
            raise UserError(
                f"the run card {name} sets {_plain(field)}, which is not a field{_near(field)}"
            )
    return fields


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # A name longer than any file's.
        return False


def parse_card_argument(
    argument: str | None,
    methods: Sequence[str],
    datasets: Sequence[str],
    *choices: Sequence[str],
) -> tuple[Any, ...]:
    """Returns method, data set, whether `quick` was asked for, and one word of each choice.

    Args:
        argument: words separated by commas in any order.
        methods, datasets: what the card knows; the first where none is given.
        *choices: further words of which the card takes one each, disjoint from all others; the
            first where none is given.

    Raises:
        UserError: on a word that the card does not know, or on two where it takes one.
    """
    axes = (methods, datasets, *choices, ("quick",))
    words = list(dict.fromkeys(word for word in (argument or "").split(",") if word))
    for word in words:
        if not any(word in axis for axis in axes):
            raise unknown_name("run card argument", word, [word for axis in axes for word in axis])
    chosen = [[word for word in words if word in axis] for axis in axes[:-1]]
    for several in chosen:
        if len(several) > 1:
            raise UserError(
                f"run card argument {argument!r} has both {several[0]!r} and {several[1]!r}; "
                "keep one of the two."
            )
    first = [found[0] if found else axis[0] for found, axis in zip(chosen, axes, strict=False)]
    return (first[0], first[1], "quick" in words, *first[2:])


def describe_fields(config: Mapping[str, Any]) -> str:
    """Returns one line per field: name, value, help."""
    width = max(len(name) for name in FIELDS) + len("--config.")
    return "\n".join(
        f"  {'--config.' + name:<{width}}  {text} [{config[name]}]"
        for name, (_, text) in FIELDS.items()
        if name not in ("method", "dataset")
    )
