"""HTML from strings that nobody has checked: escaping, numbers, tables, folds."""

import html
import json
import math
import re
from collections.abc import Iterable, Sequence
from typing import Any

__all__ = [
    "breakable",
    "cell",
    "count",
    "duration",
    "escape",
    "fold",
    "grouped",
    "number_text",
    "plain",
    "run_name",
    "size_text",
    "table",
    "with_error",
]

# What HTML forbids in text; a lone surrogate cannot be written as UTF-8.
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_LONGEST_VALUE = 400
_MINUS = "\u2212"


def escape(value: Any) -> str:
    """Returns any value as text that is safe between tags and in quoted attributes."""
    return html.escape(_FORBIDDEN.sub("\ufffd", str(value)), quote=True)


def plain(value: Any) -> str:
    """Returns a JSON value as a reader would write it (not escaped)."""
    if value is None:
        return "\u2013"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return number_text(value, digits=6)
    if isinstance(value, int) and abs(value) < 1e15:
        return f"{value:,}".replace("-", _MINUS)
    if isinstance(value, str):
        text = value or "(empty)"
    else:
        text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _LONGEST_VALUE else text[:_LONGEST_VALUE] + " \u2026"


def number_text(value: float, digits: int = 4) -> str:
    """Returns a number with so many significant digits, and words for what is not finite."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "\u221e" if value > 0 else _MINUS + "\u221e"
    if value and not 1e-4 <= abs(value) < 10 ** max(6, digits):
        mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
        if "." in mantissa:
            mantissa = mantissa.rstrip("0").rstrip(".")
        return f"{mantissa}e{int(exponent)}".replace("-", _MINUS)
    places = digits - 1 - (math.floor(math.log10(abs(value))) if value else 0)
    text = f"{value:,.{max(0, places)}f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return text.replace("-", _MINUS)


def with_error(value: float, error: float | None) -> tuple[str, str]:
    """Returns value and error to the same place, the second one's second digit; error may be ''."""
    if error is None or not math.isfinite(error) or not math.isfinite(value):
        return number_text(value), ""
    places = 1 - math.floor(math.log10(error)) if error > 0 else 99
    if not 0 <= places <= 7:
        return number_text(value), number_text(error, digits=2)
    texts = [f"{number:,.{places}f}".replace("-", _MINUS) for number in (value, error)]
    return texts[0], texts[1]


def count(value: float | None) -> str:
    """Returns a count with separators of thousands."""
    if value is None or not math.isfinite(value):
        return "\u2013"
    return f"{int(value):,}"


def size_text(size: int) -> str:
    """Returns bytes as `1.2 MB` or `340 kB`."""
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.0f} kB"


def duration(seconds: float) -> str:
    """Returns seconds as `1 h 02 min`, `3 min 20 s` or `12 s`."""
    seconds = int(round(seconds))
    if seconds >= 3600:
        return f"{seconds // 3600:,} h {seconds % 3600 // 60:02d} min"
    return f"{seconds // 60} min {seconds % 60:02d} s" if seconds >= 60 else f"{seconds} s"


def grouped(items: Iterable[tuple[Any, Any]]) -> list[tuple[Any, list[Any]]]:
    """Groups (key, member) by equal JSON keys, in the order of their first members."""
    groups: dict[str, tuple[Any, list[Any]]] = {}
    for key, member in items:
        text = json.dumps(key, sort_keys=True, default=str)
        groups.setdefault(text, (key, []))[1].append(member)
    return list(groups.values())


def cell(content: str, numeric: bool = False, title: str = "", classes: str = "") -> str:
    """Returns a <td>; `content` is HTML, `title` is text."""
    names = " ".join(name for name in ("n" if numeric else "", classes) if name)
    attributes = f' class="{names}"' if names else ""
    attributes += f' title="{escape(title)}"' if title else ""
    return f"<td{attributes}>{content}</td>"


def table(
    caption: str,
    columns: Sequence[str],
    rows: Iterable[tuple[str, Sequence[str]]],
    numeric: Sequence[bool] = (),
) -> str:
    """Returns a table that scrolls inside its own box.

    Args:
        caption: text; also names the box for who cannot see it.
        columns: HTML of the column headings, that of the row headings first.
        rows: HTML of the row's heading, and its <td> elements.
        numeric: which columns hold numbers, the first one not counted.
    """
    numeric = [False, *numeric] + [False] * len(columns)
    heads = "".join(
        f'<th scope="col"{" class=n" if right else ""}>{name}</th>'
        for name, right in zip(columns, numeric, strict=False)
    )
    body = "\n".join(f'<tr><th scope="row">{head}</th>{"".join(tds)}</tr>' for head, tds in rows)
    label = escape(caption)
    # The caption stands outside the box, so that a narrow screen shows all of it.
    return (
        f'<figure class="table"><figcaption>{label}</figcaption>'
        f'<div class="scroll" role="region" aria-label="{label}" tabindex="0">'
        f'<table aria-label="{label}">\n<thead><tr>{heads}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody></table></div></figure>\n"
    )


def fold(summary: str, content: str) -> str:
    """Returns content that shows when its summary (text) is opened."""
    return f"<details><summary>{escape(summary)}</summary>\n{content}</details>\n"


def run_name(index: int, label: str, link: bool = False) -> str:
    """Returns the run's number on its colour, and its name."""
    name = f'<span class="name">{breakable(label)}</span>'
    if link:
        name = f'<a href="#run-{index + 1}">{name}</a>'
    return f'<span class="run"><span class="mark k{index % 8}">{index + 1}</span> {name}</span>'


def breakable(name: str) -> str:
    """Returns an escaped name that may be broken after its underscores and slashes."""
    return escape(name).replace("_", "_<wbr>").replace("/", "/<wbr>")
