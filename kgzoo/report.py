"""Make one HTML page about one or several runs: scores, samples, curves, settings.

  python -m kgzoo.report runs/smmd_digits
  python -m kgzoo.report runs/* --to=report.html --title="Kernels compared"

The page holds everything itself, needs no network, and reads well on a phone and on paper. Runs
that are not finished, and exports, are shown with what they have.
"""

import shlex
from pathlib import Path

from absl import flags

from kgzoo import cli
from kgzoo.errors import UserError

__all__ = ["main"]


def _flags() -> flags.FlagValues:
    values = flags.FlagValues()
    flags.DEFINE_string("to", "report.html", "file for the page", flag_values=values)
    flags.DEFINE_string("title", None, "heading of the page [the runs]", flag_values=values)
    flags.DEFINE_bool("help", False, "print this and leave", short_name="h", flag_values=values)
    return values


def main(argv: list[str]) -> int:
    """Runs the verb; returns the exit code.

    Raises:
        UserError: on a mistake in the command line, or one that shows later.
    """
    values = _flags()
    folders, _, _ = cli.parse(argv, values)
    if values["help"].value:
        print(cli.help_text(__doc__, values))
        return 0
    if not folders:
        raise UserError("No run is given; give one or several run folders.")
    for flag in ("to", "title"):
        if values[flag].value == "":
            raise UserError(f"--{flag} is empty; give a value or leave the flag out.")
    path = Path(values["to"].value).expanduser()
    if path.is_dir():
        raise UserError(f"--to={path} is a folder; give a file.")
    from kgzoo.reporting import page

    size = page.write(folders, path, values["title"].value)
    print(f"wrote {shlex.quote(str(path))} ({_size(size)})")
    return 0


def _size(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.0f} kB"


if __name__ == "__main__":
    cli.run(main)
