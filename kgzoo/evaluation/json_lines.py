"""Records of a run: files of JSON objects, one a line, each with its step.

Read as they are found: a run may be writing its last line, may have been killed in the middle of
one, or have gone on from a checkpoint. The standard library alone is used.
"""

import json
import math
import os
from typing import Any, NamedTuple

__all__ = ["Record", "number", "objects", "read"]

_LAST_STEP = 1e15


class Record(NamedTuple):
    """What metrics.jsonl or spectra.jsonl says.

    Attributes:
        lines: (step, object) pairs, steps strictly ascending; lines of one step are one object.
        resumes: steps from which the record starts again; what it held of later ones is gone.
        damaged: how many lines are no object with a step; empty ones are not counted.
        torn: whether the last line is one of these, and without its end.
    """

    lines: list[tuple[float, dict[str, Any]]]
    resumes: list[float]
    damaged: int
    torn: bool


def number(value: Any) -> float | None:
    """Returns a JSON number as a float, maybe NaN or infinite; None for everything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def read(path: str | os.PathLike) -> Record:
    """Reads a record; what is no object with a step is left out and counted.

    Raises:
        OSError: if the file is missing or cannot be read.
    """
    lines: list[tuple[float, dict[str, Any]]] = []
    resumes, damaged, torn = [], 0, False
    with open(path, encoding="utf-8", errors="replace") as file:
        for line in file:
            content = _object(line)
            step = number(content.get("step"))
            if step is None or not 0 <= step < _LAST_STEP:
                bad = bool(line.strip())
                damaged, torn = damaged + bad, bad and not line.endswith("\n")
                continue
            if lines and step < lines[-1][0]:
                resumes.append(step)
                while lines and lines[-1][0] >= step:
                    lines.pop()
            # The scores of a step come on a line of their own.
            if lines and lines[-1][0] == step:
                content = {**lines.pop()[1], **content}
            lines.append((step, content))
    return Record(lines, resumes, damaged, torn)


def objects(path: str | os.PathLike) -> list[dict[str, Any]]:
    """Returns the objects of a record, steps ascending; none where it cannot be read."""
    try:
        return [content for _, content in read(path).lines]
    except OSError:
        return []


def _object(line: str) -> dict[str, Any]:
    try:
        content = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}
