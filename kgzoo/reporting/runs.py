"""Reads run folders and exports for the report; a damaged file costs a sentence, not the page."""

import dataclasses
import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kgzoo.errors import UserError
from kgzoo.evaluation import json_lines
from kgzoo.evaluation.json_lines import Record, number

__all__ = ["Run", "read_all"]

_CARD = "MODEL_CARD.md"
_STEP = re.compile(r"step_(\d{1,15})\.png")
_SAVED = re.compile(r"step_(\d{1,15})")


@dataclasses.dataclass
class Run:
    """What one folder says of itself.

    Attributes:
        path: the folder as it was given.
        label: what the page calls it: as many last parts of the path as tell it from the others.
        config, data, runtime: parts of config.json; empty where they cannot be read.
        version: of kgzoo.
        command: what trained it; may be empty.
        series: (step, value) pairs by metric, steps ascending; a value may be NaN or infinite.
        last_step: of metrics.jsonl, of the scores or of a checkpoint, whichever is the highest.
        resumes: steps from which the record starts again.
        scores: contents of scores.json, or None.
        result: contents of result.json, which is written when all is done; empty before.
        pictures: (step, file), steps ascending; an export's step is None.
        card: an export's model card; empty for runs.
        problems: one sentence for each thing that could not be read.
    """

    path: Path
    label: str = ""
    config: dict[str, Any] = dataclasses.field(default_factory=dict)
    data: dict[str, Any] = dataclasses.field(default_factory=dict)
    runtime: dict[str, Any] = dataclasses.field(default_factory=dict)
    version: str = ""
    command: str = ""
    series: dict[str, list[tuple[float, float]]] = dataclasses.field(default_factory=dict)
    last_step: float | None = None
    resumes: list[float] = dataclasses.field(default_factory=list)
    scores: dict[str, Any] | None = None
    result: dict[str, Any] = dataclasses.field(default_factory=dict)
    pictures: list[tuple[int | None, Path]] = dataclasses.field(default_factory=list)
    card: str = ""
    problems: list[str] = dataclasses.field(default_factory=list)

    @property
    def is_export(self) -> bool:
        """Whether the folder is an export: a model without a record of its training."""
        return bool(self.card)

    @property
    def finished(self) -> bool:
        """Whether the run was scored and exported."""
        return "step" in self.result


def read_all(folders: Sequence[str]) -> list[Run]:
    """Reads all folders, in the order given.

    Raises:
        UserError: a folder is missing, given twice, or neither a run nor an export.
    """
    paths, seen = [Path(folder).expanduser() for folder in folders], set()
    for path in paths:
        if not path.is_dir():
            raise UserError(f"{path} is not a folder; give the folder of a run.")
        if path.resolve() in seen:
            raise UserError(f"{path} is given twice; give each run once.")
        seen.add(path.resolve())
    found = [_read(path) for path in paths]
    for run, label in zip(found, _labels(found), strict=True):
        run.label = label
    return found


def _read(path: Path) -> Run:
    run = Run(path)
    has_config, has_metrics = ((path / n).exists() for n in ("config.json", "metrics.jsonl"))
    if has_config or has_metrics:
        _read_run(run, has_config)
    elif (path / "saved_model.pb").is_file():
        _read_export(run)
    else:
        raise UserError(f"{path} holds neither a run nor an export; give the folder of a run.")
    return run


def _labels(found: Sequence[Run]) -> list[str]:
    """Returns the shortest ends of the paths that differ from each other."""
    parts = [run.path.resolve().parts for run in found]
    for count in range(1, max(len(p) for p in parts) + 1):
        # An export's last part is its version alone.
        labels = ["/".join(p[-count - r.is_export :]) for p, r in zip(parts, found, strict=True)]
        if len(set(labels)) == len(labels):
            break
    return labels


def _read_run(run: Run, has_config: bool) -> None:
    content = _object(run, "config.json") if has_config else None
    if content is None and not has_config:
        run.problems.append(f"{run.path / 'config.json'} is missing.")
    for name in ("config", "data", "runtime"):
        part = (content or {}).get(name)
        if isinstance(part, dict):
            setattr(run, name, part)
        elif content is not None:
            run.problems.append(f"{run.path / 'config.json'} lacks a record of {name}.")
    run.version, run.command = (str((content or {}).get(n) or "") for n in ("version", "command"))
    _read_metrics(run)
    _read_spectra(run)
    run.scores = _object(run, "scores.json")
    run.result = _object(run, "result.json") or {}
    scored = number((run.scores or {}).get("step"))
    saved = [_SAVED.fullmatch(path.name) for path in (run.path / "checkpoints").glob("step_*")]
    reached: list[float] = [int(match[1]) for match in saved if match]
    reached += [step for step in (run.last_step, scored) if step is not None]
    run.last_step = max((step for step in reached if math.isfinite(step)), default=None)
    found = [(_STEP.fullmatch(path.name), path) for path in (run.path / "samples").glob("*.png")]
    run.pictures = sorted((int(match[1]), path) for match, path in found if match)


def _read_export(run: Run) -> None:
    try:
        run.card = (run.path / _CARD).read_text(encoding="utf-8", errors="replace")
    except OSError:
        run.problems.append(f"{run.path / _CARD} cannot be read.")
    run.card = run.card.strip() or "No model card."
    picture = run.path / "samples.png"
    run.pictures = [(None, picture)] if picture.is_file() else []


def _object(run: Run, name: str) -> dict[str, Any] | None:
    """Returns a JSON object of the folder; None when the file is absent or damaged."""
    path = run.path / name
    if not path.exists():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        run.problems.append(f"{path} is damaged and left out.")
        return None
    return content


def _record(run: Run, name: str) -> Record:
    """Reads a record, and notes what of it is no line with a step."""
    path = run.path / name
    try:
        record = json_lines.read(path)
    except OSError:
        if path.exists():
            run.problems.append(f"{path} cannot be read.")
        return Record([], [], 0, False)
    if record.torn:
        run.problems.append(f"The last line of {path} is cut short and left out.")
    if bad := record.damaged - record.torn:
        lines = "1 line" if bad == 1 else f"{bad} lines"
        run.problems.append(f"{lines} of {path} cannot be read; left out.")
    return record


def _read_metrics(run: Run) -> None:
    record = _record(run, "metrics.jsonl")
    run.resumes = record.resumes
    run.last_step = record.lines[-1][0] if record.lines else None
    for step, content in record.lines:
        for name, value in content.items():
            if name != "step" and (found := number(value)) is not None:
                run.series.setdefault(str(name), []).append((step, found))


def _read_spectra(run: Run) -> None:
    """Adds the condition and largest singular value of each critic layer to the series."""
    for step, content in _record(run, "spectra.jsonl").lines:
        layers = content.get("layers")
        for layer, facts in layers.items() if isinstance(layers, dict) else ():
            for key in ("sigma", "condition"):
                value = number(facts.get(key)) if isinstance(facts, dict) else None
                if value is not None:
                    run.series.setdefault(f"spectra/{layer}/{key}", []).append((step, value))
