"""Version folders, `<root>/<name>/<integer>/`, that appear whole or not at all.

A version is written under a name that TensorFlow Serving skips (it looks at integers only), flushed
to disk and renamed. What a killed export leaves behind is removed by the next one.
"""

import contextlib
import fcntl
import os
import pathlib
import re
import shutil
from collections.abc import Iterator

from kgzoo.errors import UserError
from kgzoo.presets import version_folders

__all__ = ["NAME", "check_name", "new_version"]

_TEMPORARY_PREFIX = ".tmp-"

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")


def check_name(name: str) -> str:
    """Returns a model name that is good for a folder and an URL.

    Raises:
        UserError: It is not.
    """
    if not NAME.fullmatch(name):
        raise UserError(
            f"name={name!r} cannot name an export; use letters, digits, '_', '.' and '-', "
            "a letter first."
        )
    return name


@contextlib.contextmanager
def new_version(
    folder: str | os.PathLike, version: int | None = None
) -> Iterator[tuple[pathlib.Path, pathlib.Path]]:
    """Yields a temporary folder and the `<folder>/<version>` it becomes when the block succeeds.

    Args:
        folder: The model's folder, made when missing.
        version: A positive integer, or None for one above the highest there is.

    Yields:
        The temporary folder, empty, and the final path, which does not exist yet.

    Raises:
        UserError: The version exists, or is not a positive integer.
    """
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with _only_writer(folder):
        for leftover in folder.glob(f"{_TEMPORARY_PREFIX}*"):
            shutil.rmtree(leftover)
        taken = version_folders(folder)
        if version is None:
            version = max(taken, default=0) + 1
        if isinstance(version, bool) or not isinstance(version, int) or version < 1:
            raise UserError(
                f"version={version!r} is not a positive integer; leave it out for the next."
            )
        if version in taken:
            raise UserError(
                f"version={version} of {folder} exists and is not overwritten; "
                f"leave the version out for {max(taken) + 1}, or delete the folder first."
            )
        temporary, final = folder / f"{_TEMPORARY_PREFIX}{version}", folder / str(version)
        temporary.mkdir()
        try:
            yield temporary, final
            _flush_tree(temporary)
            temporary.rename(final)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        _flush(folder)


@contextlib.contextmanager
def _only_writer(folder: pathlib.Path) -> Iterator[None]:
    """Makes exports into one folder wait for each other, so that none takes a live one for dead.

    The lock is the folder's own and ends with the process, however that ends.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        # Some network file systems do not lock folders; renaming still never overwrites a version.
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _flush_tree(folder: pathlib.Path) -> None:
    """Waits until every file and folder below, and `folder` itself, is on disk."""
    for path in sorted(folder.rglob("*"), reverse=True):
        _flush(path)
    _flush(folder)


def _flush(path: pathlib.Path) -> None:
    """Waits until one file or folder is on disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
