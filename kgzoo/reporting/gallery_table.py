"""The exports of a folder as the Markdown table of the README beside them."""

import os
import re
from pathlib import Path

from kgzoo.evaluation import files
from kgzoo.reporting import score_tables
from kgzoo.reporting.exports import Export, read_all
from kgzoo.reporting.markup import count, size_text

__all__ = ["MARKERS", "markdown", "renew"]

MARKERS = (
    "<!-- models: python -m kgzoo.report --gallery export --markdown --to=export/README.md -->\n\n",
    "\n\n<!-- end of models -->",
)
# As many scores as fit in a cell.
_SHOWN = ("FID", "KID", "Modes covered", "Expected entropy", "Classifier score")


def markdown(root: str | os.PathLike) -> str:
    """Returns the table of the exports below `root`; its links start there.

    Raises:
        UserError: `root` is no folder, or cannot be read.
    """
    exports = read_all(root).found
    if not exports:
        return "No export is in this folder yet."
    lines = [
        "| model | method | data | steps | scores | size | trained by |",
        "|---|---|---|---|---|---|---|",
    ]
    for export in exports:
        link = f"{export.name}/{export.path.name}/"
        cells = (
            f"[{_text(export.label)}](<{re.sub(r'[<>]', '', link)}>)",
            _code(export.method),
            _text(export.dataset),
            "" if export.steps is None else count(export.steps),
            _text(_scores(export)),
            size_text(export.size),
            _code(export.command),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _scores(export: Export) -> str:
    found = [fact for fact in score_tables.facts(export.scores) if fact[0] in _SHOWN]
    values = [" ".join(filter(None, fact[:3])) for fact in found]
    if not values:
        return "not scored"
    how = score_tables.setting(export.scores)
    return "; ".join(values) + (f" ({how})" if how else "")


def _text(text: str) -> str:
    """Returns text that stays what it is inside a cell."""
    plain = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|])", r"\\\1", plain)


def _code(text: str) -> str:
    plain = " ".join(text.split()).replace("`", "'").replace("|", "\\|")
    return f"`{plain}`" if plain else ""


def renew(path: Path, root: str | os.PathLike) -> None:
    """Writes the table into a Markdown file, between the `MARKERS`.

    Args:
        path: of the file.
        root: folder of exports.

    Raises:
        UserError: if the file cannot be read, or does not hold the markers once, in their order.
    """
    files.replace_table(path, MARKERS, markdown(root))
