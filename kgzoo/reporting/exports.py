"""Reads a folder of exports for the gallery; what is damaged costs a sentence, not the page."""

import contextlib
import dataclasses
import json
import math
import os
import re
from pathlib import Path
from typing import Any, NamedTuple

from kgzoo import catalog, presets
from kgzoo.errors import UserError
from kgzoo.evaluation import files
from kgzoo.evaluation.json_lines import number

__all__ = ["Export", "Exports", "read_all"]

_CARD, _PICTURE, _PRESET = "MODEL_CARD.md", "samples.png", "preset.json"
_LARGEST = 2_000_000  # bytes of a card or of a preset's record
# A line of the card's first table, and the first command below it.
_FACT = re.compile(r"^\| (.+?) \| (.*) \|$", re.MULTILINE)
_COMMAND = re.compile(r"^```sh\n(.*?)\n```$", re.MULTILINE | re.DOTALL)


@dataclasses.dataclass
class Export:
    """What one version of an exported model says of itself; texts may be anything.

    Attributes:
        path: its folder, `<root>/<name>/<version>`.
        name, version: of the folder.
        newest: whether it is the version that is loaded and served by the name alone.
        method, paper, dataset, command, card: empty where they are not told.
        kind, shape: `image` or `vector`, and the shape of one sample.
        steps, seed: None where they are not told.
        begun: the trained model that it was fine-tuned from; empty where there was none.
        scores: entries as in scores.json; empty when it was not scored.
        size: of all its files, in bytes.
        pictures: the sample picture as (None, path), or nothing; as of a run.
        problems: one sentence for each thing that could not be read.
    """

    path: Path
    name: str
    version: int
    newest: bool = True
    method: str = ""
    paper: str = ""
    dataset: str = ""
    command: str = ""
    card: str = ""
    kind: str = ""
    shape: list[int] = dataclasses.field(default_factory=list)
    steps: float | None = None
    seed: float | None = None
    begun: str = ""
    scores: dict[str, Any] = dataclasses.field(default_factory=dict)
    size: int = 0
    pictures: list[tuple[None, Path]] = dataclasses.field(default_factory=list)
    problems: list[str] = dataclasses.field(default_factory=list)

    @property
    def label(self) -> str:
        """The name, with the version where a newer one exists."""
        return self.name if self.newest else f"{self.name}, version {self.version}"


class Exports(NamedTuple):
    """What `read_all` found.

    Attributes:
        found: by data set, name, and version from the newest down; those whose data set is not told
            come last.
        problems: one sentence for each folder that could not be read.
    """

    found: list[Export]
    problems: list[str]


def read_all(root: str | os.PathLike) -> Exports:
    """Reads every `<root>/<name>/<version>/` that holds a SavedModel.

    Raises:
        UserError: if `root` is no folder, or cannot be read.
    """
    root = Path(root).expanduser()
    try:
        if not root.is_dir():
            raise UserError(f"{root} is not a folder; give a folder of exports, such as export.")
        folders = sorted(root.iterdir())
    except OSError as error:
        raise UserError(
            f"{root} cannot be read ({files.reason(error)}); give a folder that you may read."
        ) from None
    found, problems = [], []
    for folder in folders:
        try:
            versions = _versions(folder, problems)
        except OSError as error:
            problems.append(f"{folder} cannot be read ({files.reason(error)}).")
            continue
        found += [_read(p, version, version == max(versions)) for version, p in versions.items()]
    found.sort(key=lambda e: (not e.dataset, e.dataset, e.name, -e.version))
    return Exports(found, problems)


def _versions(folder: Path, problems: list[str]) -> dict[int, Path]:
    """Returns the folders of a model's versions that hold an export."""
    paths: dict[int, Path] = {}
    for version, candidates in presets.version_folders(folder).items():
        for path in candidates:
            try:
                is_export = (path / "saved_model.pb").is_file()
            except OSError as error:
                problems.append(f"{path} cannot be read ({files.reason(error)}).")
                continue
            if is_export and (other := paths.setdefault(version, path)) is not path:
                problems.append(f"{path} is the same version as {other} and left out.")
    return paths


def _read(path: Path, version: int, newest: bool) -> Export:
    export = Export(path, path.parent.name, version, newest, size=_size(path))
    export.card = _text(export, _CARD).strip()
    if not export.card and not export.problems:
        export.problems.append(f"{path / _CARD} has nothing to read.")
    _from_card(export)
    _from_preset(export)
    row = catalog.ROWS.get(export.method)
    export.paper = export.paper or (row.source if row else "")
    picture = path / _PICTURE
    # One that cannot be read is complained of where it is drawn.
    export.pictures = [(None, picture)] if os.path.lexists(picture) else []
    return export


def _size(path: Path) -> int:
    """Returns the bytes of what can be seen below a folder."""
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            # A folder may be listed and its files be out of reach, or gone.
            with contextlib.suppress(OSError):
                total += (Path(folder) / name).lstat().st_size
    return total


def _text(export: Export, name: str) -> str:
    """Returns a file's text; empty, with a sentence if need be, when it cannot be had."""
    path = export.path / name
    try:
        if path.stat().st_size > _LARGEST:
            export.problems.append(f"{path} is larger than {_LARGEST:,} bytes and left out.")
            return ""
        return path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return ""
    except OSError:
        export.problems.append(f"{path} cannot be read.")
        return ""


def _from_card(export: Export) -> None:
    """Takes from the card what it tells in tables."""
    before = export.card.partition("\n## Networks")[0]
    facts = {key.strip(): value.replace("\\|", "|").strip() for key, value in _FACT.findall(before)}
    export.method, export.paper = facts.get("method", "").strip("`"), facts.get("paper", "")
    export.dataset = facts.get("data: name", "")
    export.steps, export.seed = (
        _count(facts.get(key, "")) for key in ("steps (generator updates)", "seed")
    )
    export.begun = facts.get("fine-tuned from", "").replace("`", "")
    command = _COMMAND.search(before)
    export.command = command[1] if command else ""


def _count(text: str) -> float | None:
    plain = text.replace(",", "")
    return float(plain) if re.fullmatch(r"-?[0-9]{1,15}", plain) else None


def _from_preset(export: Export) -> None:
    """Takes from preset.json what has the type that it should have; it knows better than a card."""
    text = _text(export, _PRESET)
    if not text:
        return
    try:
        record = json.loads(text)
    except (ValueError, RecursionError):
        record = None
    if not isinstance(record, dict):
        export.problems.append(f"{export.path / _PRESET} is damaged and left out.")
        return
    for field in ("method", "dataset", "command", "kind"):
        value = record.get(field)
        if isinstance(value, str) and value:
            setattr(export, field, value)
    for field in ("steps", "seed"):
        value = number(record.get(field))
        if value is not None and math.isfinite(value):
            setattr(export, field, value)
    shape, scores = record.get("sample_shape"), record.get("scores")
    if isinstance(shape, list) and all(isinstance(side, int) for side in shape):
        export.shape = shape
    export.scores = scores if isinstance(scores, dict) else {}
