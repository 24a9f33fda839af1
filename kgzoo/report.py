"""Make one HTML page about one or several runs, or about the exports of a folder.

  python -m kgzoo.report runs/smmd_digits
  python -m kgzoo.report runs/* --to=report.html --title="Kernels compared"
  python -m kgzoo.report --gallery export --to=gallery.html
  python -m kgzoo.report --gallery export --markdown --to=export/README.md

The page holds everything itself, needs no network, and reads well on a phone and on paper. Runs
that are not finished, and exports, are shown with what they have. The gallery has a card for each
<name>/<version>/ of the folder, with the lines that load it, serve it and train it again;
--markdown puts its table into a file that has the place for it.
"""

import shlex
from pathlib import Path

from absl import flags

from kgzoo import cli
from kgzoo.errors import UserError

__all__ = ["main"]

_EXPORTS = "export"


def _flags() -> flags.FlagValues:
    values = flags.FlagValues()
    flags.DEFINE_string(
        "to", None, "file for the page [report.html, gallery.html]", flag_values=values
    )
    flags.DEFINE_string("title", None, "heading of the page [the runs]", flag_values=values)
    flags.DEFINE_bool("gallery", False, "of a folder of exports [export]", flag_values=values)
    flags.DEFINE_bool(
        "markdown", False, "the gallery as a table, put into --to or printed", flag_values=values
    )
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
    gallery, markdown = values["gallery"].value, values["markdown"].value
    if markdown and not gallery:
        raise UserError("--markdown is the table of a gallery; give --gallery too.")
    if gallery and len(folders) > 1:
        raise UserError(f"{len(folders)} folders are given; give one folder of exports.")
    if not folders and not gallery:
        raise UserError("No run is given; give one or several run folders.")
    for flag in ("to", "title"):
        if values[flag].value == "":
            raise UserError(f"--{flag} is empty; give a value or leave the flag out.")
    to = values["to"].value or ("gallery.html" if gallery else "report.html")
    path = Path(to).expanduser()
    if path.is_dir():
        raise UserError(f"--to={path} is a folder; give a file.")
    if markdown:
        return _table(folders[0] if folders else _EXPORTS, path if values["to"].value else None)
    from kgzoo.reporting import gallery as models
    from kgzoo.reporting import markup, page

    title = values["title"].value
    if gallery:
        size = models.write(folders[0] if folders else _EXPORTS, path, title)
    else:
        size = page.write(folders, path, title)
    print(f"wrote {shlex.quote(str(path))} ({markup.size_text(size)})")
    return 0


def _table(root: str, path: Path | None) -> int:
    from kgzoo.reporting import gallery_table

    if path is None:
        print(gallery_table.markdown(root))
    else:
        gallery_table.renew(path, root)
        print(f"wrote {shlex.quote(str(path))}")
    return 0


if __name__ == "__main__":
    cli.run(main)
