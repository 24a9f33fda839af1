"""Faults to inject: a disk that is full or may only be read, damaged bytes, a wrong clock."""

import builtins
import contextlib
import errno
import io
import itertools
import os
import pathlib
import resource
import time
from collections.abc import Iterator
from unittest import mock

__all__ = ["clock_running_back", "flip_bit", "full_disk", "read_only", "truncate"]

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


@contextlib.contextmanager
def full_disk(num_bytes: int = 0) -> Iterator[None]:
    """Lets no file of this process grow beyond `num_bytes`: the kernel refuses, to C++ as well."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextlib.contextmanager
def read_only(folder: pathlib.Path) -> Iterator[None]:
    """Answers EROFS when Python wants to change anything below a folder."""
    root = os.path.realpath(folder)

    def inside(path, dir_fd=None) -> bool:
        if dir_fd is not None:
            return True  # shutil.rmtree, which is called for nothing else meanwhile.
        if not isinstance(path, (str, os.PathLike)):
            return False
        return os.path.commonpath([root, os.path.realpath(os.fspath(path))]) == root

    def refuse(path):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), os.fspath(path))

    def changing(real):
        def call(path, *args, **kwargs):
            refused = inside(path, kwargs.get("dir_fd"))
            return refuse(path) if refused else real(path, *args, **kwargs)

        return call

    def opening(path, mode="r", *args, **kwargs):
        writes = set(mode) & set("wax+")
        return refuse(path) if writes and inside(path) else real_open(path, mode, *args, **kwargs)

    def low_opening(path, flags, *args, **kwargs):
        refused = flags & _WRITING and inside(path)
        return refuse(path) if refused else real_low(path, flags, *args, **kwargs)

    real_open, real_low = builtins.open, os.open
    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.object(builtins, "open", opening))
        stack.enter_context(mock.patch.object(io, "open", opening))
        stack.enter_context(mock.patch.object(os, "open", low_opening))
        for name in ("mkdir", "rename", "replace", "unlink", "rmdir", "remove", "truncate"):
            stack.enter_context(mock.patch.object(os, name, changing(getattr(os, name))))
        yield


@contextlib.contextmanager
def clock_running_back(seconds: float = 3600.0) -> Iterator[None]:
    """Sets the clock back by so much whenever somebody looks."""
    clock = itertools.count(time.time(), -seconds)
    with mock.patch.object(time, "time", lambda: next(clock)):
        yield


def truncate(path: pathlib.Path, size: int | None = None) -> None:
    """Cuts a file, to half when no size is given."""
    os.truncate(path, path.stat().st_size // 2 if size is None else size)


def flip_bit(path: pathlib.Path, place: int, bit: int = 3) -> None:
    """Flips one bit of the byte at a place, which may count from the end."""
    content = bytearray(path.read_bytes())
    content[place] ^= 1 << bit
    path.write_bytes(content)
