"""The sections of the page, each a function of the runs that returns HTML; empty when idle."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from kgzoo.config import FIELDS
from kgzoo.evaluation.json_lines import number
from kgzoo.reporting import charts, markup
from kgzoo.reporting.markup import cell, count, escape, fold, plain, run_name
from kgzoo.reporting.pictures import Picture
from kgzoo.reporting.runs import Run

__all__ = ["commands", "curves", "data_and_machines", "overview", "samples", "settings"]

_SPEED = "images_per_second"
# Metrics that are scores, whatever family logs them, come first; then losses.
_SCORES = ("fid", "kid", "inception_score", "expected_entropy", "classifier_score")
# What the scores of a training depend on.
_MEASURED_BY = ("dataset", "extractor", "num_samples", "image_size")
_MISSING = "\u2013"


def overview(runs: Sequence[Run]) -> str:
    """Returns the table of runs: method, data, how far they came, time and speed."""
    rows = []
    for index, run in enumerate(runs):
        speeds = [v for _, v in run.series.get(_SPEED, ()) if 0 < v < 1e12]
        seconds = number(run.result.get("training_seconds"))
        tds = [
            cell(escape(_of(run, "method")), classes="wrap"),
            cell(escape(_of(run, "dataset")), classes="wrap"),
            cell(escape(_steps(run)), numeric=True),
            cell(escape(_state(run))),
            cell(_duration(seconds), numeric=True),
            cell(count(statistics.median(speeds)) if speeds else _MISSING, numeric=True),
        ]
        rows.append((run_name(index, run.label, link=True), tds))
    heads = ["Run", "Method", "Data", "Steps", "State", "Time of the last part", "Examples / s"]
    right = [False, False, True, False, True, True]
    return markup.table("What was trained, and how far", heads, rows, right)


def _of(run: Run, name: str) -> str:
    return plain(run.config.get(name, run.result.get(name)))


def _steps(run: Run) -> str:
    asked = number(run.config.get("steps"))
    done = number(run.result.get("step", run.last_step))
    if done is None and asked is None:
        return _MISSING
    return f"{count(done or 0)} of {count(asked)}" if asked not in (None, done) else count(done)


def _state(run: Run) -> str:
    if run.is_export:
        return "export"
    state = "finished" if run.finished else "unfinished"
    times = len(run.resumes)
    return state + (f", resumed {times} times" if times > 1 else ", resumed once" if times else "")


def _duration(seconds: float | None) -> str:
    return markup.duration(seconds) if seconds is not None and 0 <= seconds < 1e10 else _MISSING


def samples(runs: Sequence[Run], chosen: Sequence[Sequence[Picture]]) -> str:
    """Returns a card for each run: its last picture, and a strip of earlier ones."""
    cards = []
    for index, (run, shown) in enumerate(zip(runs, chosen, strict=True)):
        wide = ' class="wide"' if shown and shown[-1].width > 1.5 * shown[-1].height else ""
        parts = [f'<article{wide} id="run-{index + 1}">', f"<h3>{run_name(index, run.label)}</h3>"]
        if shown:
            method = "" if run.is_export else f"{_of(run, 'method')}, "
            parts.append(_picture(run, shown[-1], method + _when(shown[-1])))
        else:
            parts.append('<p class="none">No samples drawn</p>')
        if len(shown) > 1:
            strip = "".join(_picture(run, picture, _when(picture)) for picture in shown[:-1])
            name = escape(f"Earlier samples of {run.label}")
            parts.append(
                f'<div class="strip" role="group" aria-label="{name}" tabindex="0">{strip}</div>'
            )
        if run.card:
            parts.append(fold("Model card", f'<pre class="card">{escape(run.card)}</pre>'))
        cards.append("\n".join([*parts, "</article>"]))
    return f'<div class="cards">\n{"".join(cards)}\n</div>\n'


def _when(picture: Picture) -> str:
    return "exported" if picture.step is None else f"step {count(picture.step)}"


def _picture(run: Run, picture: Picture, caption: str) -> str:
    alt = escape(f"Samples of {run.label}, {_when(picture)}")
    size = f'width="{picture.width}" height="{picture.height}"'
    return (
        f'<figure><img src="{picture.url}" alt="{alt}" {size}>'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def curves(runs: Sequence[Run]) -> str:
    """Returns the charts: scores and losses open, everything else folded."""
    names = sorted({name for run in runs for name in run.series})
    if not names:
        return ""
    scores = [n for n in names if n in _SCORES]
    losses = [n for n in names if n.endswith("_loss")]
    spectra = [n for n in names if n.startswith("spectra/")]
    others = [n for n in names if n not in {*scores, *losses, *spectra}]
    drawn = [index for index, run in enumerate(runs) if run.series]
    keys = "".join(
        f"<span>{charts.swatch(index)}{run_name(index, runs[index].label)}</span>"
        for index in drawn
    )
    parts = [f'<p class="legend">{keys}</p>\n']
    scores.sort(key=_SCORES.index)
    open_ones = [("Scores", scores), ("Losses", losses)]
    if not scores and not losses:
        open_ones, others = [("All metrics", others)], []
    for title, group in open_ones:
        if group:
            note = _caution(runs, group) if group is scores else ""
            parts.append(f'<h3 class="apart">{title}</h3>\n{note}{_charts(runs, group)}')
    for title, group in (("Other metrics", others), ("Singular values of the critic", spectra)):
        if group:
            parts.append(fold(f"{title} ({len(group)})", _charts(runs, group)))
    return "".join(parts)


def _caution(runs: Sequence[Run], names: Sequence[str]) -> str:
    """Returns a sentence where curves of scores were not measured alike."""
    scored = [run.config for run in runs if any(name in run.series for name in names)]
    if len({str([c.get(field) for field in _MEASURED_BY]) for c in scored}) < 2:
        return ""
    return (
        '<p class="quiet">Some of these runs were scored on other data, features or counts; only '
        "curves of equal ones can be compared.</p>\n"
    )


def _charts(runs: Sequence[Run], names: Sequence[str]) -> str:
    figures = []
    for name in names:
        found = [
            charts.Curve(index, run.series[name])
            for index, run in enumerate(runs)
            if run.series.get(name)
        ]
        svg, notes = charts.chart(name, found)
        svg = svg or '<p class="none">No finite value</p>'
        note = f"<figcaption>{escape('; '.join(notes))}</figcaption>" if notes else ""
        figures.append(f"<figure><h3>{markup.breakable(name)}</h3>{svg}{note}</figure>")
    return f'<div class="charts">\n{"".join(figures)}\n</div>\n'


def settings(runs: Sequence[Run]) -> str:
    """Returns the fields of the configs that differ, and, folded, those that are the same."""
    shown = [(index, run) for index, run in enumerate(runs) if run.config]
    if not shown:
        return ""
    names = sorted({name for _, run in shown for name in run.config})
    differ, same, partial = [], [], []
    for name in names:
        values = [run.config[name] for _, run in shown if name in run.config]
        kinds = len(markup.grouped((value, 0) for value in values))
        # An older version knew fewer fields; that alone is no difference in what was asked for.
        (differ if kinds > 1 else same if len(values) == len(shown) else partial).append(name)
    parts = []
    if differ:
        rows = [(_field(n), [_setting(run.config, n) for _, run in shown]) for n in differ]
        heads = ["Field", *(run_name(index, run.label) for index, run in shown)]
        parts.append(markup.table("Fields that differ", heads, rows, [True] * len(shown)))
    elif len(shown) > 1:
        parts.append("<p>These runs have the same settings.</p>\n")
    everyone = "All fields" if len(shown) == 1 else "Fields that are the same in all runs"
    for title, group in ((everyone, same), ("Fields that only some runs record", partial)):
        if group:
            parts.append(fold(f"{title} ({len(group)})", _values(title, group, shown)))
    return "".join(parts)


def _values(title: str, names: Sequence[str], shown: Sequence[tuple[int, Run]]) -> str:
    """Returns a table of fields that have one value."""
    rows = []
    for name in names:
        config = next(run.config for _, run in shown if name in run.config)
        rows.append((_field(name), [cell(escape(plain(config[name])), classes="wrap")]))
    return markup.table(title, ["Field", "Value"], rows)


def _field(name: str) -> str:
    _, meaning = FIELDS.get(name, (None, ""))
    below = f'<br><span class="quiet">{escape(meaning)}</span>' if meaning else ""
    return f"<code>{markup.breakable(name)}</code>{below}"


def _setting(config: Mapping[str, Any], name: str) -> str:
    if name not in config:
        return cell(f'<span class="quiet">{_MISSING}</span>', numeric=True)
    value = config[name]
    text = escape(plain(value))
    return cell(text, numeric=True, classes="wrap" if len(text) > 24 else "")


def data_and_machines(runs: Sequence[Run]) -> str:
    """Returns the facts of each data set and of each machine, with the runs they belong to."""
    parts = []
    for title, facts in (
        ("Data", lambda run: run.data),
        ("Machine and versions", lambda run: {**_version(run), **run.runtime}),
    ):
        groups = markup.grouped((facts(run), i) for i, run in enumerate(runs) if facts(run))
        for content, members in groups:
            which = "" if len(groups) == 1 else f" of {_which(members)}"
            parts.append(f'<h3 class="apart">{title}{which}</h3>\n{_facts(content)}')
    return "".join(parts)


def _version(run: Run) -> dict[str, Any]:
    return {"kgzoo": run.version} if run.version else {}


def _which(members: Sequence[int]) -> str:
    numbers = ", ".join(str(index + 1) for index in members)
    return f"run {numbers}" if len(members) == 1 else f"runs {numbers}"


def _facts(facts: Mapping[str, Any]) -> str:
    rows = []
    for name, value in facts.items():
        text = plain(value)
        if name == "shape" and isinstance(value, list):
            text = " \u00d7 ".join(plain(size) for size in value)
        rows.append(f"<dt>{escape(name.replace('_', ' '))}</dt><dd>{escape(text)}</dd>")
    return f'<dl class="facts">{"".join(rows)}</dl>\n'


def commands(runs: Sequence[Run]) -> str:
    """Returns, for each run, what to type to resume it, or to train a finished one on."""
    parts = []
    for index, run in enumerate(runs):
        if not run.command:
            continue
        command, what = run.command, "goes on where it stopped"
        step = number(run.result.get("step"))
        if step is not None and 0 < step < 1e15:
            command, what = _longer(command, int(2 * step)), "trains on to twice the steps"
        parts.append(
            f'<h3>{run_name(index, run.label)} <span class="quiet">{what}</span></h3>\n'
            f'<pre tabindex="0"><code>{escape(command)}</code></pre>\n'
        )
    return "".join(parts)


def _longer(command: str, steps: int) -> str:
    words = [word for word in command.split(" ") if not word.startswith("--steps=")]
    return " ".join([*words, f"--steps={steps}"])
