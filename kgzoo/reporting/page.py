"""Puts the sections together into one HTML file."""

from collections.abc import Sequence
from pathlib import Path

from kgzoo.evaluation import files
from kgzoo.reporting import pictures, score_tables, sections
from kgzoo.reporting.markup import escape
from kgzoo.reporting.runs import Run, read_all
from kgzoo.reporting.style import CSS

__all__ = ["document", "render", "write"]

# Nothing is fetched and nothing runs, whatever a run's files may hold.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'"


def write(folders: Sequence[str], path: Path, title: str | None = None) -> int:
    """Writes the page about some folders; the file is whole or absent.

    Args:
        folders: of runs or exports, in the order in which they are to appear.
        path: of the page.
        title: its heading; says what it is about when None.

    Returns:
        The size of the page in bytes.

    Raises:
        UserError: a folder is missing, given twice, or neither a run nor an export.
    """
    content = render(read_all(folders), title).encode()
    files.replace_file(path, content)
    return len(content)


def render(runs: Sequence[Run], title: str | None = None) -> str:
    """Returns the page; equal folders give equal pages."""
    title = title or (f"Report: {runs[0].label}" if len(runs) == 1 else f"{len(runs)} runs")
    # First, because it may note files that cannot be read.
    chosen = pictures.choose(runs)
    parts = [
        ("Runs", sections.overview(runs)),
        ("Scores", score_tables.render(runs)),
        ("Samples", sections.samples(runs, chosen)),
        ("Curves", sections.curves(runs)),
        ("Settings", sections.settings(runs)),
        ("Data and machines", sections.data_and_machines(runs)),
        ("Commands", sections.commands(runs)),
    ]
    return document(
        title,
        _summary(runs),
        [(name, _anchor(name), html) for name, html in parts if html],
        [sentence for run in runs for sentence in run.problems],
        "Made by <code>python -m kgzoo.report</code> from the files of the run folders.",
    )


def document(
    title: str,
    summary: str,
    parts: Sequence[tuple[str, str, str]],
    problems: Sequence[str],
    footer: str,
) -> str:
    """Returns a whole page that fetches nothing and runs nothing.

    Args:
        title, summary: text.
        parts: heading (text), anchor and HTML of each section.
        problems: sentences on what could not be read.
        footer: HTML.
    """
    links = "".join(f'<a href="#{anchor}">{escape(name)}</a>' for name, anchor, _ in parts)
    body = "".join(
        f'<section id="{anchor}" aria-labelledby="{anchor}-h">'
        f'<h2 id="{anchor}-h">{escape(name)}</h2>\n{html}</section>\n'
        for name, anchor, html in parts
    )
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<title>{escape(title)}</title>\n<link rel="icon" href="data:,">\n'
        f"<style>\n{CSS}\n</style>\n</head>\n<body>\n"
        f'<header><h1>{escape(title)}</h1>\n<p class="quiet">{escape(summary)}</p>\n'
        f'<nav aria-label="Sections">{links}</nav></header>\n'
        f"<main>\n{_problems(problems)}{body}</main>\n"
        f"<footer>{footer}</footer>\n</body>\n</html>\n"
    )


def _anchor(name: str) -> str:
    return name.lower().replace(" ", "-")


def _summary(runs: Sequence[Run]) -> str:
    def several(key: str, word: str) -> str:
        names = list(dict.fromkeys(str(run.config[key]) for run in runs if key in run.config))
        return names[0] if len(names) == 1 else f"{len(names)} {word}" if names else ""

    finished = sum(run.finished for run in runs)
    ran = sum(not run.is_export for run in runs)
    state = f"{finished} of {ran} finished" if finished < ran else "finished" if ran else "export"
    parts = [several("method", "methods"), several("dataset", "data sets"), state]
    return " \u00b7 ".join(part for part in parts if part)


def _problems(sentences: Sequence[str]) -> str:
    if not sentences:
        return ""
    rows = "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences)
    return (
        '<aside class="problems" aria-labelledby="problems-h">'
        f'<h2 id="problems-h">What could not be read</h2><ul>{rows}</ul></aside>\n'
    )
