"""The gallery: one HTML page with a card for every exported model, and the lines to use it."""

import json
import os
import shlex
from collections.abc import Sequence
from pathlib import Path

from kgzoo.evaluation import files
from kgzoo.reporting import page, pictures, score_tables
from kgzoo.reporting.exports import Export, read_all
from kgzoo.reporting.markup import breakable, count, escape, fold, grouped, plain, size_text
from kgzoo.reporting.pictures import Picture

__all__ = ["load_line", "render", "serve_line", "write"]

_TITLE = "Models to load"
# Where `kgzoo.load` looks for names.
_HOME = "export"


def write(root: str | os.PathLike, path: Path, title: str | None = None) -> int:
    """Writes the page about a folder of exports; the file is whole or absent.

    Args:
        root: folder of `<name>/<version>/`.
        path: of the page.
        title: its heading.

    Returns:
        The size of the page in bytes.

    Raises:
        UserError: `root` is no folder, or cannot be read.
    """
    content = render(*read_all(root), title).encode()
    files.replace_file(path, content)
    return len(content)


def render(
    exports: Sequence[Export], problems: Sequence[str] = (), title: str | None = None
) -> str:
    """Returns the page; equal folders give equal pages.

    Args:
        exports: a card each.
        problems: what else could not be read, beside the problems of the exports.
        title: its heading.
    """
    chosen = pictures.choose(exports)
    shown = list(zip(exports, chosen, strict=True))
    groups = grouped((export.dataset, (export, drawn)) for export, drawn in shown)
    sections = []
    for index, (dataset, members) in enumerate(groups):
        cards = "\n".join(_card(export, drawn) for export, drawn in members)
        name = dataset or "Data not told"
        sections.append((name, f"data-{index + 1}", f'<div class="shelf">\n{cards}\n</div>\n'))
    told = [*problems, *(sentence for export in exports for sentence in export.problems)]
    if not exports:
        sections.append(("No model", "none", "<p>No export is in this folder yet.</p>\n"))
    return page.document(
        title or _TITLE,
        _summary(exports, len(groups)),
        sections,
        told,
        "Made by <code>python -m kgzoo.report --gallery</code> from the files of the exports.",
    )


def _summary(exports: Sequence[Export], datasets: int) -> str:
    models = f"{len(exports)} model{'s' * (len(exports) != 1)}"
    of = f"{datasets} data set{'s' * (datasets != 1)}"
    return f"{models} \u00b7 {of} \u00b7 {size_text(sum(e.size for e in exports))} in all"


def _card(export: Export, drawn: Sequence[Picture]) -> str:
    version = f'<span class="quiet">version {export.version}</span>'
    parts = [f"<article>\n<h3>{breakable(export.name)} {version}</h3>", _picture(export, drawn)]
    facts = [
        ("method", f"<code>{escape(export.method)}</code>" if export.method else ""),
        ("paper", escape(export.paper)),
        ("samples", escape(" \u00d7 ".join(plain(side) for side in export.shape))),
        ("steps", "" if export.steps is None else count(export.steps)),
        ("seed", "" if export.seed is None else plain(int(export.seed))),
        ("fine-tuned from", escape(export.begun)),
        ("size", size_text(export.size)),
    ]
    rows = "".join(f"<dt>{key}</dt><dd>{value}</dd>" for key, value in facts if value)
    parts.append(f'<dl class="facts">{rows}</dl>')
    parts.append(_scores(export))
    for what, line in (
        ("Load", load_line(export)),
        ("Serve", serve_line(export)),
        ("Train it again", export.command),
    ):
        if line:
            parts.append(
                f'<p class="what">{what}</p>\n'
                f'<pre class="copy" tabindex="0"><code>{escape(line)}</code></pre>'
            )
    if export.card:
        parts.append(fold("Model card", f'<pre class="card">{escape(export.card)}</pre>'))
    return "\n".join([*filter(None, parts), "</article>"])


def _picture(export: Export, drawn: Sequence[Picture]) -> str:
    if not drawn:
        return '<p class="none">No samples drawn</p>'
    last = drawn[-1]
    alt = escape(f"Samples of {export.label}")
    return f'<img src="{last.url}" alt="{alt}" width="{last.width}" height="{last.height}">'


def _scores(export: Export) -> str:
    """Returns the scores, and, folded, how each is computed."""
    found = score_tables.facts(export.scores)
    if not found:
        return '<p class="quiet">Not scored.</p>'
    rows, how = [], []
    for title, value, beside, convention in found:
        real = f' <span class="quiet">{escape(beside)}</span>' if beside else ""
        rows.append(f"<dt>{escape(title)}</dt><dd>{escape(value)}{real}</dd>")
        how.append(f"<dt>{escape(title)}</dt><dd>{escape(convention)}</dd>")
    table = f'<dl class="facts scores">{"".join(rows)}</dl>\n'
    return table + fold("How these scores are computed", f"<dl>{''.join(how)}</dl>\n")


def load_line(export: Export) -> str:
    """Returns the line of Python that samples the model."""
    root = export.path.parent.parent
    # A name finds versions as they are written by an export: 7, not 007.
    by_name = export.newest and export.path.name == str(export.version)
    by_name = by_name and root.name == _HOME and not (root.parent / "config.json").exists()
    what = json.dumps(export.name if by_name else str(export.path), ensure_ascii=False)
    return f"import kgzoo; kgzoo.load({what}).sample(64, seed=1)"


def serve_line(export: Export) -> str:
    """Returns the line of shell that serves the model; relative paths start where it is typed."""
    folder = str(export.path.parent)
    if shlex.quote(folder) != folder:
        folder = shlex.quote(str(export.path.parent.resolve()))
    elif not export.path.is_absolute():
        folder = f'"$PWD/{folder}"'
    return (
        f"tensorflow_model_server --rest_api_port=8501 --model_name={shlex.quote(export.name)} "
        f"--model_base_path={folder}"
    )
