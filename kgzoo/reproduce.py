"""Compute a paper's figure or claim again, and show what came out beside what the paper says.

  python -m kgzoo.reproduce                                  lists what there is
  python -m kgzoo.reproduce --list                           with budgets, printed and measured
  python -m kgzoo.reproduce --list --markdown --to=README.md   as the table of the README
  python -m kgzoo.reproduce two_parameter
  python -m kgzoo.reproduce dirac --to=figures/ --quick
  python -m kgzoo.reproduce stability --budget=cpu --seeds=3 --data_dir=~/tensorflow_datasets

Writes <name>.png and <name>.json; needs matplotlib: pip install matplotlib pillow.
"""

import shlex
import sys
import textwrap
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import flags

from kgzoo import cli, config
from kgzoo.errors import UserError, unknown_name

__all__ = ["main"]

_COLUMNS = ("quantity", "found", "paper")
# What reproductions take beside `quick`; each refuses what it does not know.
_TEXTS = {
    "data_dir": config.FIELDS["data_dir"][1] + " (of those on MNIST and CIFAR-10)",
    "budget": "quick, cpu or paper: how much is spent; --list has the costs",
    "arms": "which of the compared methods, separated by commas (ring, sampler, nll, grids)",
    "scale": "quick, or paper: its whole budget (nll, latents)",
    "dataset": "mnist, or digits to try it without data (nll, latents)",
    "binarization": "dynamic or fixed (nll, latents)",
    "runs": "folder of nll's run folders (latents)",
    "schedule": "of annealed importance sampling: sigmoid or linear (nll)",
}
_NUMBERS = {
    "steps": "steps of each training, where there is one",
    "seeds": "trainings of each setting (ring, sampler, grids)",
    "test_points": "images whose likelihood is estimated (nll)",
    "chains": "of annealed importance sampling for each image (nll)",
    "temperatures": "of a chain (nll)",
    "leapfrog_steps": "of a move (nll)",
}
_WIDEST = 44  # characters of a column, then it is wrapped


def _flags() -> flags.FlagValues:
    values = flags.FlagValues()

    def string(name: str, text: str) -> None:
        flags.DEFINE_string(name, None, text, flag_values=values)

    string("to", "folder for the files [runs/reproduce/<name>]")
    for name, text in _TEXTS.items():
        string(name, text)
    for name, text in _NUMBERS.items():
        flags.DEFINE_integer(name, None, text, 1, flag_values=values)
    flags.DEFINE_bool(
        "search", False, "the search of its settings too (sampler)", flag_values=values
    )
    flags.DEFINE_bool("quick", False, "coarser, in seconds", flag_values=values)
    flags.DEFINE_bool(
        "grid", False, "with all learning rates that the paper tried (sweeps)", flag_values=values
    )
    flags.DEFINE_bool("list", False, "what is claimed, printed and measured", flag_values=values)
    flags.DEFINE_bool(
        "markdown", False, "that list as the README's table, put into --to", flag_values=values
    )
    flags.DEFINE_bool("help", False, "print this and leave", short_name="h", flag_values=values)
    return values


def main(argv: list[str]) -> int:
    """Runs the verb; returns the exit code.

    Raises:
        UserError: on a mistake in the command line, or one that shows later.
    """
    values = _flags()
    positional, _, _ = cli.parse(argv, values)
    if values["help"].value:
        print(cli.help_text(__doc__, values) + "\n\n" + _listing())
        return 0
    if values["list"].value or values["markdown"].value:
        return _list(values["markdown"].value, values["to"].value)
    if not positional:
        print(_listing())
        return 0
    if len(positional) > 1:
        raise UserError(f"{len(positional)} names are given; give one reproduction at a time.")
    for flag in ("to", *_TEXTS):
        if values[flag].value == "":
            raise UserError(f"--{flag} is empty; give a folder or leave the flag out.")
    return _reproduce(positional[0], {name: values[name].value for name in values})


def _list(markdown: bool, to: str | None) -> int:
    """Prints the claims, or writes their table into a file that has the place for it."""
    from kgzoo.reproductions import claims

    if markdown and to:
        claims.renew(Path(to).expanduser())
        print(f"wrote {shlex.quote(to)}")
    else:
        print(claims.markdown() if markdown else claims.listing())
    return 0


def _listing() -> str:
    from kgzoo import reproductions

    width = max(len(name) for name in reproductions.NAMES)
    lines = [f"  {name:<{width}}  {text}" for name, text in reproductions.NAMES.items()]
    return "\n".join(["Reproductions:", *lines, "Run one: python -m kgzoo.reproduce dirac"])


def _reproduce(name: str, options: Mapping[str, Any]) -> int:
    from kgzoo import reproductions

    if name not in reproductions.NAMES:
        raise unknown_name("reproduction", name, reproductions.NAMES)
    folder = Path(options["to"] or Path("runs") / "reproduce" / name).expanduser()
    if folder.exists() and not folder.is_dir():
        raise UserError(f"--to={folder} is a file; give a folder.")
    arguments: dict[str, Any] = {"quick": options["quick"]}
    if options["data_dir"] is not None:
        arguments["data_dir"] = str(Path(options["data_dir"]).expanduser())
    if options["grid"]:
        arguments["grid"] = True
    for option in (*_TEXTS, *_NUMBERS):
        if option != "data_dir" and options[option] is not None:
            arguments[option] = options[option]
    if options["search"]:
        arguments["search"] = True
    began = time.monotonic()
    print(f"{name}: {reproductions.NAMES[name]} ...", file=sys.stderr, flush=True)
    if name in reproductions.NEED_TENSORFLOW:
        cli.quiet_tensorflow()
    try:
        result = reproductions.run(name, folder, **arguments)
    except UserError as error:
        # A signal stopped a grid: like every other verb that it stops.
        number = getattr(error, "signal_number", None)
        if number is None:
            raise
        print(f"kgzoo: {error}", file=sys.stderr)
        return 128 + number
    print(_table(result["findings"]))
    for path in (folder / f"{name}.png", folder / f"{name}.json"):
        print(f"wrote {shlex.quote(str(path))}")
    print(f"took {time.monotonic() - began:.0f} s{' (quick)' if options['quick'] else ''}")
    return 0


def _table(findings: Sequence[Mapping[str, Any]]) -> str:
    """Lays the findings out in columns, long cells wrapped."""
    rows = [_COLUMNS, *([str(row.get(key, "")) for key in _COLUMNS] for row in findings)]
    cells = [[textwrap.wrap(cell, _WIDEST) or [""] for cell in row] for row in rows]
    widths = [max(len(line) for row in cells for line in row[i]) for i in range(len(_COLUMNS))]
    lines = []
    for row in cells:
        for index in range(max(map(len, row))):
            parts = [cell[index] if index < len(cell) else "" for cell in row]
            shown = "  ".join(f"{part:<{w}}" for part, w in zip(parts, widths, strict=True))
            lines.append(shown.rstrip())
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)


if __name__ == "__main__":
    cli.run(main)
