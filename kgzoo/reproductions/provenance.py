"""Where numbers come from: commit, cores, processor, versions of packages, time."""

import datetime
import functools
import importlib.metadata
import os
import pathlib
import platform
import subprocess
from typing import Any

import kgzoo

__all__ = ["budget", "commit", "describe", "kept"]

_ROOT = pathlib.Path(__file__).resolve().parents[2]
_PACKAGES = ("tensorflow", "keras", "numpy", "scipy", "matplotlib")
_CODE = ("kgzoo", "configs")


def _git(*words: str) -> str | None:
    """Returns what git says in the clone that holds this package; None where there is none."""
    if not (_ROOT / ".git").exists() or not (_ROOT / "setup.py").is_file():
        return None
    try:
        command = ["git", "-C", str(_ROOT), *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def commit() -> str | None:
    """Returns the commit of the clone, `+` after it where its code has been changed since."""
    found = _git("rev-parse", "HEAD")
    return found and found + "+" * bool(_git("status", "--porcelain", "--", *_CODE))


def budget(name: str, changed: bool) -> str:
    """Returns what a result file calls its budget.

    Args:
        name: quick, cpu or paper.
        changed: whether options gave more or less than it has.
    """
    return f"{name}, changed" if changed else name


@functools.cache
def kept(folder: str) -> dict[str, tuple[str, str]]:
    """Returns commit and date of the last change of each file of a folder, by file name.

    Args:
        folder: relative to the clone.
    """
    found: dict[str, tuple[str, str]] = {}
    current = ("", "")
    for line in (_git("log", "--format=/%h %cs", "--name-only", "--", folder) or "").splitlines():
        if line.startswith("/"):
            name, date = line[1:].split(" ")
            current = (name, date)
        elif line:
            found.setdefault(pathlib.PurePosixPath(line).name, current)
    return found


def describe() -> dict[str, Any]:
    """Returns commit, date, cores, processor and versions; None for what cannot be found out."""
    return {
        "commit": commit(),
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "cores": _cores(),
        "cpu": _cpu(),
        "system": platform.system(),
        "python": platform.python_version(),
        "packages": {
            "kgzoo": kgzoo.__version__,
            **{name: _version(name) for name in _PACKAGES},
        },
    }


def _cores() -> int | None:
    # Those that this process may use, where the system tells.
    allowed = getattr(os, "sched_getaffinity", None)
    return len(allowed(0)) if allowed else os.cpu_count()


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _cpu() -> str | None:
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or None
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or None
