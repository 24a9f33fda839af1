"""Models by name: the presets beside exports, run folders, and where they are looked for.

A preset is the `model.keras` of an export, `<folder>/<name>/<version>/`, with its facts in
`preset.json`. Names are looked up in $KGZOO_HOME, a folder of exports, then in `export/` of the
clone. Nothing here loads TensorFlow.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from kgzoo.errors import UserError, shown, suggest

__all__ = ["FACTS_FILE", "HOME", "PRESET_FILE", "Model", "check_whole", "facts", "find"]
__all__ += ["list_models", "sha256", "version_folders"]

PRESET_FILE = "model.keras"
FACTS_FILE = "preset.json"
# The environment variable.
HOME = "KGZOO_HOME"
_NAME = re.compile(r"([A-Za-z][A-Za-z0-9_.-]*)(?:/0*([0-9]{1,15}))?")
_VERSION = re.compile(r"[0-9]{1,15}")


class Model(NamedTuple):
    """What `list_models` tells of one preset.

    Attributes:
        name: of the export, "smmd_mnist".
        version: of the export; `name` alone means the highest.
        method: name in the catalogue; None where the preset has no facts.
        dataset: what it was trained on; None likewise.
        path: of the `.keras` file.
    """

    name: str
    version: int
    method: str | None
    dataset: str | None
    path: Path


def list_models() -> list[Model]:
    """Returns what `kgzoo.load` finds by name, sorted by name and version.

    Raises:
        UserError: $KGZOO_HOME is not a folder.
    """
    found: dict[tuple[str, int], Model] = {}
    for folder in _folders():
        for name in sorted(path.name for path in folder.iterdir() if _NAME.fullmatch(path.name)):
            for version, path in _presets(folder / name).items():
                about = facts(path)
                told = (about.get("method"), about.get("dataset"))
                # An earlier folder's goes before.
                found.setdefault((name, version), Model(name, version, *told, path))
    return [found[key] for key in sorted(found)]


def find(name_or_path: str | os.PathLike) -> Path:
    """Returns the `.keras` file or the run folder that is meant.

    Args:
        name_or_path: "smmd_mnist" for the highest version of that name, "smmd_mnist/3", or a path:
            of a `.keras` file, of an export with or without its version, of a run folder. What may
            be a name is looked for in $KGZOO_HOME, in the clone's `export/`, then as a path.

    Raises:
        UserError: there is no such model.
    """
    is_path = isinstance(name_or_path, (str, os.PathLike))
    text = os.fspath(name_or_path) if is_path else None
    if not isinstance(text, str) or not text or "\0" in text:
        raise UserError(f"{shown(name_or_path)} is no model; give a name or a path.")
    named = _NAME.fullmatch(text)
    if isinstance(name_or_path, os.PathLike) or text.endswith(".keras"):
        named = None
    name, version = named.groups() if named else (text, None)
    folders = list(_folders()) if named else []
    known = [_presets(folder / name) for folder in folders]
    for versions in known:
        if versions and (version is None or int(version) in versions):
            return versions[int(version or max(versions))]
    path = _expanded(text)
    if _is(Path.exists, path):
        return _at(path)
    every = sorted({each for versions in known for each in versions})
    if every:
        raise UserError(
            f"{name} has no version {version}; choose {', '.join(map(str, every))}, or leave the "
            "version out for the highest."
        )
    raise UserError(_nowhere(text, folders, bool(named)))


def _nowhere(text: str, folders: list[Path], is_name: bool) -> str:
    if not is_name:
        return (
            f"{shown(text)} does not exist; give a run folder, an export's folder or a .keras file."
        )
    hint = suggest(text.partition("/")[0], {model.name for model in list_models()})
    looked = " and ".join(map(str, folders)) or f"nothing, as {HOME} is not set and no clone is by"
    hint = hint.rstrip("?") or (
        f"; kgzoo.list_models() has the names, {HOME} names a further folder of exports, and a "
        "path may be a run folder, an export or a .keras file"
    )
    end = "?" if "did you mean" in hint else "."
    return f"model={shown(text)} is not known in {looked}, nor is it a path{hint}{end}"


def _at(path: Path) -> Path:
    """Returns the preset or the run of a path that exists."""
    if _is(Path.is_file, path):
        if path.suffix == ".keras":
            return path
        raise UserError(f"{path} is no .keras file; give one, a run folder or an export's folder.")
    if _is(Path.is_file, path / PRESET_FILE):
        return path / PRESET_FILE
    if _is(Path.is_file, path / "config.json"):
        return path
    if versions := _presets(path):
        return versions[max(versions)]
    raise UserError(
        f"{path} holds no {PRESET_FILE} and no run; give a run folder, an export's folder or a "
        ".keras file."
    )


def facts(preset: Path) -> dict[str, Any]:
    """Returns what `preset.json` beside a `.keras` file of an export tells; {} without one."""
    if preset.name != PRESET_FILE:
        return {}
    try:
        about = json.loads((preset.parent / FACTS_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return about if isinstance(about, dict) else {}


def sha256(path: Path) -> str:
    """Returns the SHA-256 of a file in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_whole(preset: Path) -> None:
    """Raises a UserError when a preset is not the file that its facts were written for."""
    stated = facts(preset).get("sha256")
    if stated and stated != sha256(preset):
        raise UserError(
            f"{preset} is not the file that {FACTS_FILE} beside it describes; restore it or export "
            "the run again, or load a file that you saved yourself from another folder."
        )


def _folders() -> Iterator[Path]:
    """Yields the folders of exports, in the order in which they are searched."""
    if stated := os.environ.get(HOME):
        home = _expanded(stated)
        if not _is(Path.is_dir, home):
            raise UserError(
                f"{HOME}={stated} is not a folder; set it to a folder of exports or unset it."
            )
        yield home
    root = Path(__file__).resolve().parent.parent
    if (root / "export").is_dir() and (root / "setup.py").is_file():
        yield root / "export"


def version_folders(folder: str | os.PathLike) -> dict[int, list[Path]]:
    """Returns the folders of a model's versions, as a server reads their names, ascending.

    007 is 7: of folders that mean one version the one with the shortest name is first.
    None when there is no such folder.

    Raises:
        OSError: the folder cannot be read.
    """
    folder = Path(folder)
    children = folder.iterdir() if folder.is_dir() else ()
    numbered = [path for path in children if _VERSION.fullmatch(path.name)]
    found: dict[int, list[Path]] = {}
    for path in sorted(numbered, key=lambda each: (int(each.name), len(each.name))):
        found.setdefault(int(path.name), []).append(path)
    return found


def _presets(folder: Path) -> dict[int, Path]:
    """Returns the presets in a model's folder by their version, ascending."""
    if not _is(Path.is_dir, folder):
        return {}
    whole = {
        version: [path / PRESET_FILE for path in paths if (path / PRESET_FILE).is_file()]
        for version, paths in version_folders(folder).items()
    }
    return {version: presets[0] for version, presets in whole.items() if presets}


def _expanded(text: str) -> Path:
    try:
        return Path(text).expanduser()
    except RuntimeError as error:  # A user whom nobody knows.
        raise UserError(f"{shown(text)}: {error}; write the path without ~.") from None


def _is(test: Any, path: Path) -> bool:
    try:
        return test(path)
    except OSError:  # A name longer than any file's.
        return False
