"""Runs x scores, ranked only where the numbers mean the same.

Scores of one extractor, reference and counts share a table. Inside it a column whose entries still
differ in convention, counts or blocks is split by letters; only runs of one letter are compared.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kgzoo.evaluation.json_lines import number
from kgzoo.reporting import markup
from kgzoo.reporting.markup import cell, count, escape, number_text, plain, with_error
from kgzoo.reporting.runs import Run

__all__ = ["facts", "render", "setting"]

_TITLES = {
    "fid": "FID",
    "fid_between_real_halves": "FID between halves of the real data",
    "kid": "KID",
    "inception_score": "Inception score",
    "expected_entropy": "Expected entropy",
    "classifier_score": "Classifier score",
    "lowest_class_share": "Lowest class share",
    "mode_coverage": "Modes covered",
    "ms_ssim": "MS-SSIM",
    "enn": "ENN",
    "enn_squared": "ENN, squared",
    "jsd": "JSD",
    "mmd": "MMD",
    "mmd2": "MMD\u00b2",
}
# Where more or less is better. Every other score is shown and not ranked.
_BETTER = {
    **dict.fromkeys(("fid", "kid", "expected_entropy", "jsd", "mmd", "mmd2"), -1),
    "negative_log_likelihood": -1,
    **dict.fromkeys(("inception_score", "classifier_score", "mode_coverage"), 1),
    **dict.fromkeys(("lowest_class_share", "precision", "recall", "density", "coverage"), 1),
}
_ARROWS = {-1: ("\u2193", "lower is better"), 1: ("\u2191", "higher is better"), 0: ("", "")}
# Entries about the real data, in a row of their own: the score they stand beside, and the row.
_REAL = "_of_reference"
_HALVES = "fid_between_real_halves"
# Facts of an entry that must agree before two values are compared.
_COMPARED = ("extractor", "num_samples", "num_reference", "convention", "blocks", "block_size")
_COMPARED += ("splits", "num_modes", "k", "num_pairs", "scales", "bandwidths", "num_permutations")
_COMPARED += ("resize", "checksum")
_LEVEL_ERRORS = 2.0  # standard errors of a difference within which two runs count as level
_LEGEND = (
    '<p class="legend"><span><b class="best">1.23 \u25cf</b> best of the runs that can be '
    'compared</span> <span><span class="level">1.25 \u25cb</span> level with it: the difference '
    "is within two standard errors</span></p>\n"
)


@dataclasses.dataclass(frozen=True)
class _Scored:
    index: int
    run: Run
    entries: Mapping[str, Mapping[str, Any]]

    def value(self, name: str) -> float | None:
        return number(self.entries.get(name, {}).get("value"))


def render(runs: Sequence[Run]) -> str:
    """Returns one table for each group of runs whose scores can be compared, and its notes."""
    scored = []
    for index, run in enumerate(runs):
        if entries := _entries(run.scores):
            scored.append((_setting(run.scores or {}, entries), _Scored(index, run, entries)))
    groups = markup.grouped(scored)
    parts = [_group(setting, members, len(groups)) for setting, members in groups]
    if any("\u25cf" in part for part in parts):
        parts.append(_LEGEND)
    without = [markup.run_name(i, run.label) for i, run in enumerate(runs) if not _has(run, scored)]
    if without:
        parts.append(f'<p class="quiet">Not scored yet: {", ".join(without)}.</p>\n')
    return "".join(parts)


def _entries(scores: Mapping[str, Any] | None) -> dict[str, Mapping[str, Any]]:
    return {
        name: entry
        for name, entry in (scores or {}).items()
        if isinstance(entry, dict) and "value" in entry
    }


def facts(scores: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """Returns (title, value, what stands beside it, how it is computed) of each number; text.

    Args:
        scores: contents of scores.json, of which anything may be missing or foreign.
    """
    entries = _entries(scores)
    member = _Scored(0, Run(Path()), entries)
    found = []
    for name, entry in entries.items():
        value = member.value(name)
        if value is None or name.endswith(_REAL) or name == _HALVES:
            continue
        shown, error = with_error(value, _error(entry)[0])
        shown += f" \u00b1 {error}" if error else ""
        if (modes := number(entry.get("num_modes"))) is not None:
            shown += f" of {count(modes)}"
            if (near := number(entry.get("share_near_a_mode"))) is not None:
                shown += f", {100 * near:.0f} % of samples near one"
        real = _real(name, [member])
        beside = f"(real {'halves' if name == 'fid' else 'data'} {real})" if real else ""
        how = [
            f"{key.replace('_', ' ')}: {plain(of)}"
            for key, of in _kind(entry).items()
            if of is not None and key != "convention"
        ]
        convention = "; ".join([plain(entry.get("convention")), *how])
        found.append((_title(name), shown, beside, convention))
    return found


def setting(scores: Mapping[str, Any]) -> str:
    """Returns what scores were made with, as text; empty where there are none."""
    entries = _entries(scores)
    if not entries:
        return ""
    found = _setting(scores, entries)
    extractor = found["extractor"]
    name = extractor.get("name") if isinstance(extractor, dict) else extractor
    samples = number(found["num_samples"])
    parts = [f"{count(samples)} samples" if samples is not None else ""]
    parts.append(f"features: {plain(name)}" if name else "")
    return ", ".join(filter(None, parts))


def _has(run: Run, scored: Sequence[tuple[Any, _Scored]]) -> bool:
    return any(member.run is run for _, member in scored)


def _setting(scores: Mapping[str, Any], entries: Mapping[str, Mapping[str, Any]]) -> dict:
    """Returns what a card was made with: features, counts, and the real data."""
    compared = [e for e in entries.values() if number(e.get("num_reference")) is not None]
    main = entries.get("fid") or entries.get("kid") or (compared or list(entries.values()))[0]
    extractor, reference = (scores.get(name) for name in ("extractor", "reference"))
    return {
        "extractor": extractor if isinstance(extractor, dict) else main.get("extractor"),
        "reference": reference if isinstance(reference, dict) else None,
        "num_samples": main.get("num_samples"),
        "num_reference": main.get("num_reference"),
    }


def _caption(setting: Mapping[str, Any]) -> str:
    extractor, reference = setting["extractor"], setting["reference"] or {}
    name = extractor.get("name") if isinstance(extractor, dict) else extractor
    counts = [number(setting[n]) for n in ("num_samples", "num_reference")]
    examples = "" if counts[1] is None else f"{count(counts[1])} examples of "
    where = " ".join(plain(reference[n]) for n in ("name", "split") if n in reference)
    against = f" against {examples}{where or 'the real data'}" if examples or where else ""
    return f"{count(counts[0])} samples{against}, features: {plain(name)}"


def _group(setting: Mapping[str, Any], members: Sequence[_Scored], groups: int) -> str:
    names = [name for name in _names(members) if any(m.value(name) is not None for m in members)]
    names = [n for n in names if not n.endswith(_REAL) and n != _HALVES]
    columns = {name: _column(name, members) for name in names}
    rows = []
    for position, member in enumerate(members):
        step = number((member.run.scores or {}).get("step"))
        tds = [cell(count(step), numeric=True), *(columns[name][position] for name in names)]
        rows.append((markup.run_name(member.index, member.run.label, link=True), tds))
    real = [_real(name, members) for name in names]
    if any(real):
        tds = [cell("", numeric=True), *(cell(escape(value), numeric=True) for value in real)]
        halves = " (FID: between halves)" if _HALVES in _names(members) else ""
        rows.append((f'<span class="quiet">real data{halves}</span>', tds))
    heads = ["Run", "Step", *(_heading(name, members) for name in names)]
    caption = _caption(setting)
    html = markup.table(caption, heads, rows, [True] * (len(names) + 1))
    return html + markup.fold("How these scores are computed", _conventions(members))


def _names(members: Sequence[_Scored]) -> list[str]:
    return list(dict.fromkeys(name for member in members for name in member.entries))


def _title(name: str) -> str:
    return _TITLES.get(name) or name.replace("_", " ").capitalize()


def _heading(name: str, members: Sequence[_Scored]) -> str:
    arrow, meaning = _ARROWS[_BETTER.get(name, 0)]
    entry = next(m.entries[name] for m in members if m.value(name) is not None)
    words = f'<span class="unseen"> ({meaning})</span>' if meaning else ""
    error = _error(entry)[1]
    below = f'<br><span class="quiet">\u00b1 {error}</span>' if error else ""
    title = escape(plain(entry.get("convention")))
    return (
        f'<span title="{title}">{escape(_title(name))} <span aria-hidden="true">{arrow}</span>'
        f"</span>{words}{below}"
    )


def _error(entry: Mapping[str, Any]) -> tuple[float | None, str]:
    """Returns the uncertainty of an entry and what it is."""
    for key, meaning in (("standard_error", "standard error"), ("std", "std")):
        value = number(entry.get(key))
        if value is not None and value >= 0:
            return value, meaning
    return None, ""


def _kind(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {key: entry.get(key) for key in _COMPARED}


def _column(name: str, members: Sequence[_Scored]) -> list[str]:
    """Returns the cells of a score, the best of each comparable group marked."""
    present = [(p, m) for p, m in enumerate(members) if m.value(name) is not None]
    groups = markup.grouped((_kind(m.entries[name]), (p, m)) for p, m in present)
    cells = [cell('<span class="quiet">\u2013</span>', numeric=True)] * len(members)
    for letter, (_, group) in enumerate(groups):
        mark = chr(ord("a") + letter % 26) if len(groups) > 1 else ""
        best, level = _ranked(name, group)
        for position, member in group:
            rank = "best" if position in best else "level" if position in level else ""
            cells[position] = _score_cell(member.entries[name], rank, mark)
    return cells


def _ranked(name: str, group: Sequence[tuple[int, _Scored]]) -> tuple[set[int], set[int]]:
    """Returns the positions of the best, and of those level with it."""
    sign = _BETTER.get(name, 0)
    finite = [(p, m) for p, m in group if math.isfinite(m.value(name))]
    if not sign or len(finite) < 2:
        return set(), set()
    top = max(sign * m.value(name) for _, m in finite)
    best = {p for p, m in finite if sign * m.value(name) == top}
    if len(best) == len(finite):
        return set(), set()
    errors = {p: number(m.entries[name].get("standard_error")) for p, m in finite}
    smallest = max((errors[p] or 0.0) for p in best)
    level = set()
    for position, member in finite:
        error = errors[position]
        if position not in best and error is not None and smallest:
            gap = abs(member.value(name) - sign * top)
            if gap <= _LEVEL_ERRORS * math.hypot(error, smallest):
                level.add(position)
    return best, level


def _score_cell(entry: Mapping[str, Any], rank: str, letter: str) -> str:
    value, error = number(entry["value"]), _error(entry)[0]
    shown, beside = with_error(value, error)
    text = escape(shown)
    if number(entry.get("num_modes")) is not None:
        text += f' <span class="quiet">of {count(number(entry["num_modes"]))}</span>'
    if beside:
        text += f' <span class="quiet">\u00b1 {escape(beside)}</span>'
    if (p_value := number(entry.get("p_value"))) is not None:
        text += f' <span class="quiet">p = {number_text(p_value, digits=2)}</span>'
    if letter:
        text += f"<sup>{letter}</sup>"
    dot = {"best": "\u25cf", "level": "\u25cb"}.get(rank, "")
    words = {"best": "best", "level": "level with the best"}.get(rank, "")
    unseen = f'<span class="unseen"> ({words})</span>' if words else ""
    content = f'{text}<span class="dot" aria-hidden="true">{dot}</span>{unseen}'
    facts = [f"{number_text(value, digits=7)}"]
    for key in ("std", "standard_error", "blocks", "block_size", "splits", *_COMPARED[:3], "seed"):
        if entry.get(key) is not None:
            facts.append(f"{key.replace('_', ' ')} {plain(entry[key])}")
    return cell(content, numeric=True, title=", ".join(facts), classes=rank)


def _real(name: str, members: Sequence[_Scored]) -> str:
    """Returns the score of the real data themselves; a range where seeds make it differ."""
    other = _HALVES if name == "fid" else name + _REAL
    values = [m.value(other) for m in members]
    values = sorted({number_text(v, digits=3): v for v in values if v is not None}.items())
    if not values:
        return ""
    ordered = sorted(values, key=lambda item: item[1])
    return ordered[0][0] if len(ordered) == 1 else f"{ordered[0][0]}\u2013{ordered[-1][0]}"


def _conventions(members: Sequence[_Scored]) -> str:
    """Returns a list of each score's conventions and counts, by letter where they differ."""
    parts = []
    for name in _names(members):
        present = [m for m in members if name in m.entries]
        groups = markup.grouped((_kind(m.entries[name]), m) for m in present)
        for letter, (kind, group) in enumerate(groups):
            mark = f"<sup>{chr(ord('a') + letter % 26)}</sup>" if len(groups) > 1 else ""
            facts = [
                f"{key.replace('_', ' ')}: {plain(value)}"
                for key, value in kind.items()
                if value is not None and key != "convention"
            ]
            if len(groups) > 1:
                facts.append("of runs " + ", ".join(str(m.index + 1) for m in group))
            text = "; ".join([plain(kind["convention"]), *facts])
            parts.append(f"<dt>{escape(_title(name))}{mark}</dt><dd>{escape(text)}</dd>")
            if isinstance(group[0].entries[name]["value"], list):
                parts += [_values(member, name) for member in group]
    return f"<dl>{''.join(parts)}</dl>\n"


def _values(member: _Scored, name: str) -> str:
    values = [number(value) for value in member.entries[name]["value"]]
    shown = " ".join("\u2013" if v is None else number_text(v, digits=3) for v in values[:100])
    return f'<dd class="quiet">Run {member.index + 1}: {escape(shown)}</dd>'
