"""What each reproduction is of, what it costs, what came out last.

The register, and the small JSON files of benchmarks/results/reproduce: no import of NumPy or
TensorFlow. `listing` is what `python -m kgzoo.reproduce --list` prints, `markdown` the table of
the README, which `renew` puts there.
"""

import json
import pathlib
import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from kgzoo.errors import unknown_name
from kgzoo.evaluation import files
from kgzoo.reproductions import provenance
from kgzoo.reproductions.register import CLAIMS, Entry, Value

__all__ = [
    "CLAIMS",
    "MARKERS",
    "RESULTS",
    "Entry",
    "Found",
    "Measured",
    "Value",
    "listing",
    "markdown",
    "measured",
    "options_of",
    "renew",
]

RESULTS = "benchmarks/results/reproduce"
# Around the table of the README.
MARKERS = (
    "<!-- claims: python -m kgzoo.reproduce --list --markdown --to=README.md -->\n\n",
    "\n\n<!-- end of claims -->",
)
_ROOT = pathlib.Path(__file__).resolve().parents[2]
_WIDTH = 96


class Found(NamedTuple):
    """What came out of one quantity.

    Attributes:
        label: of the register.
        quantity: of the result file.
        found: whole.
        short: the part of it that the register asks for.
    """

    label: str
    quantity: str
    found: str
    short: str


class Measured(NamedTuple):
    """What a result file says.

    Attributes:
        found: headlines and values.
        budget: quick, cpu or paper, and whether options changed it.
        date: of the run, or of the commit that keeps it; empty where unknown.
        commit: of the code, or the one that keeps the file; empty where unknown.
    """

    found: list[Found]
    budget: str
    date: str
    commit: str


def measured(name: str, folder: pathlib.Path | None = None) -> Measured | None:
    """Returns what the result file of a claim says, or None where there is none.

    Args:
        name: one of `CLAIMS`.
        folder: of the result files; None: benchmarks/results/reproduce of the clone.
    """
    own = folder is None
    try:
        path = (_ROOT / RESULTS if own else folder) / f"{name}.json"
        result = json.loads(path.read_text(encoding="utf-8"))
        rows, settings = result["findings"], result["settings"]
        found = _headline(rows, CLAIMS[name].headline)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    machine = result.get("machine") or {}
    commit, date = machine.get("commit"), machine.get("date")
    if not date and own:
        commit, date = provenance.kept(RESULTS).get(path.name, ("", ""))
    budget = settings.get("budget") or settings.get("scale")
    budget = budget or ("quick" if settings.get("quick") else "cpu")
    return Measured(found, budget, (date or "")[:10], _short_commit(commit or ""))


def _short_commit(commit: str) -> str:
    return commit[:7] + "+" * commit.endswith("+")


def _headline(rows: Sequence[Mapping[str, Any]], wanted: Sequence[Value]) -> list[Found]:
    """Returns the first finding that begins as each of the wanted ones."""
    found = []
    for value in wanted:
        for row in rows:
            if re.match(value.quantity, row["quantity"]):
                text = str(row["found"])
                found.append(Found(value.label, row["quantity"], text, _short(text, value.part)))
                break
    return found


def _short(text: str, part: str) -> str:
    """Returns the parts of a finding, or a number in three digits, or all but ranges and counts."""
    if part:
        return ", ".join(re.findall(part, text)) or text
    try:
        return f"{float(text):.3g}"
    except ValueError:
        return re.sub(r" \([^)]*\)|, \d+ runs?\b", "", text)


def options_of(name: str, budget: str) -> dict[str, Any]:
    """Returns what a reproduction without an option `budget` takes in its place.

    Args:
        name: one of `CLAIMS`.
        budget: quick, cpu or paper.

    Raises:
        UserError: if the claim has no such budget.
    """
    entry = CLAIMS[name]
    if budget not in entry.budgets:
        raise unknown_name("budget", budget, entry.budgets)
    return {"quick": True} if budget == "quick" else dict(entry.options.get(budget, {}))


def listing(folder: pathlib.Path | None = None) -> str:
    """Returns a paragraph for each claim: paper, what it says, budgets, printed and measured.

    Args:
        folder: see `measured`.
    """
    lines = []
    for name, entry in CLAIMS.items():
        costs = ", ".join(f"{budget} {cost}" for budget, cost in entry.budgets.items())
        lines += [f"{name}: {entry.paper}, {entry.where}"]
        lines += _wrapped("claim", entry.claim) + _wrapped("printed", entry.printed)
        lines += _wrapped("budgets", costs)
        result = measured(name, folder)
        told = "not yet" if result is None else _told(result) + _when(result)
        lines += _wrapped("measured", told)
    return "\n".join(lines)


def _told(result: Measured) -> str:
    told = (f"{found.quantity}: {found.found}" for found in result.found)
    return "; ".join(dict.fromkeys(told))


def _when(result: Measured) -> str:
    facts = [f"budget {result.budget}", result.date, result.commit and f"commit {result.commit}"]
    return f" [{', '.join(filter(None, facts))}]"


def _wrapped(word: str, text: str) -> list[str]:
    return textwrap.wrap(
        text, _WIDTH, initial_indent=f"  {word:<9}", subsequent_indent=" " * 11
    ) or [f"  {word}"]


def markdown(folder: pathlib.Path | None = None) -> str:
    """Returns the table of claims for the README, from the result files alone.

    Args:
        folder: see `measured`.
    """
    lines = [
        "| name | paper | claim | printed | measured here | budget |",
        "|---|---|---|---|---|---|",
    ]
    for name, entry in CLAIMS.items():
        result = measured(name, folder)
        told, budget = "not measured", ""
        if result is not None:
            told = "; ".join(f"{of.label} {_typeset(of.short)}" for of in result.found)
            cost = entry.budgets.get(result.budget)
            budget = f"{result.budget}: {cost}" if cost else result.budget
        paper = f"{entry.paper.partition(' (')[0]}, {entry.where}"
        cells = (f"`{name}`", paper, entry.claim, entry.printed, told, budget)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)


def _typeset(text: str) -> str:
    return re.sub(r"(?<![\w.])-(?=\d)", "−", text.replace("+-", "±").replace("; ", ", "))


def renew(path: pathlib.Path, folder: pathlib.Path | None = None) -> None:
    """Writes the table of claims into a Markdown file, between the `MARKERS`.

    Args:
        path: of the file.
        folder: see `measured`.

    Raises:
        UserError: if the file cannot be read, or does not hold the markers once, in their order.
    """
    files.replace_table(path, MARKERS, markdown(folder))
