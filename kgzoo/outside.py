"""Methods from outside: rows that installed packages and Python files add to the catalogue.

A package names its rows by an entry point of the group `kgzoo.methods`, whose value is a list of
`kgzoo.catalog.Row`. A file has them as a list `ROWS` and is named in the environment variable
`KGZOO_METHODS` (several: as in PATH). Both run when the catalogue first asks, and again when the
variable says something else.
"""

import importlib.util
import os
import re
import sys
import zlib
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from kgzoo.errors import UserError, shown

__all__ = ["files", "rows"]

_GROUP = "kgzoo.methods"
_VARIABLE = "KGZOO_METHODS"
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_TARGET = re.compile(r"[\w.]+:\w+")
_Row = TypeVar("_Row")

# The rows by name, None before they were read, and what the variable was when they were.
_found: dict[str, Any] | None = None
_asked = ""


def files() -> list[str]:
    """Returns the paths that the variable names.

    Raises:
        UserError: one is no file.
    """
    paths = list(filter(None, os.environ.get(_VARIABLE, "").split(os.pathsep)))
    for path in paths:
        if not Path(path).expanduser().is_file():
            raise UserError(
                f"{_VARIABLE}={path} is no file; name a Python file that has ROWS, a list of "
                "kgzoo.catalog.Row."
            )
    return paths


def rows(kind: type[_Row], taken: Collection[str]) -> dict[str, _Row]:
    """Returns the rows from outside by their names, those of packages first.

    Args:
        kind: the class that every row must have: `kgzoo.catalog.Row`, which imports this module.
        taken: names that no row may have.

    Raises:
        UserError: a package or a file gives no rows, or rows that the catalogue cannot take.
    """
    global _found, _asked
    if _found is None or _asked != os.environ.get(_VARIABLE, ""):
        _asked = os.environ.get(_VARIABLE, "")
        # A file that is being read imports kgzoo, which may ask for names: for now, its own.
        _found = {}
        try:
            _found = _read(kind, taken)
        except BaseException:
            _found = None
            raise
    return _found


def _read(kind: type[_Row], taken: Collection[str]) -> dict[str, _Row]:
    # Takes longer than all the rest of `--help`.
    from importlib import metadata

    sources: list[tuple[str, Callable[[], Any]]] = []
    for point in metadata.entry_points(group=_GROUP):
        where = f"the entry point {point.name} = {point.value} of {_GROUP}"
        sources.append((where, point.load))
    for path in files():
        sources.append((f"{_VARIABLE}={path}", lambda path=path: _run(Path(path)).ROWS))
    found: dict[str, _Row] = {}
    for where, load in sources:
        for entry in _loaded(where, load, kind):
            _check(where, entry, [*taken, *found])
            found[entry.name] = entry
    return found


def _loaded(where: str, load: Callable[[], Any], kind: type[_Row]) -> list[_Row]:
    """Returns the rows that `load` returns; whatever goes wrong is told in one sentence."""
    try:
        given = load()
        given = list(given) if isinstance(given, Iterable) else given
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        # A program of the user's.
        what = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise UserError(
            f"{where} gives no methods ({what}); it needs ROWS, a list of kgzoo.catalog.Row."
        ) from error
    if not isinstance(given, list) or not all(isinstance(entry, kind) for entry in given):
        raise UserError(f"{where} gives {shown(given)}; it needs a list of kgzoo.catalog.Row.")
    return given


def _check(where: str, entry: Any, taken: Collection[str]) -> None:
    """Raises a UserError when the catalogue cannot take this row."""
    for field in ("name", "summary", "target", "paper", "section", "equation"):
        if not isinstance(getattr(entry, field), str):
            raise UserError(f"{where} has a Row whose {field} is no text; give a string.")
    if not _TARGET.fullmatch(entry.target):
        raise UserError(
            f"{where} has target={shown(entry.target)}; give module:Class, in a file of its "
            'own f"{__name__}:Class".'
        )
    if not _NAME.fullmatch(entry.name) or entry.name in taken:
        raise UserError(
            f"{where} names a method {shown(entry.name)}, which is taken or has other signs "
            "than a-z, 0-9 and _; choose another name."
        )


def _run(path: Path) -> ModuleType:
    """Imports a Python file that lies anywhere, under a name that no other module has."""
    path = path.expanduser().resolve()
    stem = re.sub(r"\W", "_", path.stem)
    # Two files of one stem are two modules.
    name = f"kgzoo_methods_{stem}_{zlib.crc32(os.fsencode(path)):08x}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    # Before it runs, as `import` does: its rows' targets are looked up by this name.
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
