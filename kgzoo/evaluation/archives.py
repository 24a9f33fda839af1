"""Arrays with a description in one file; who reads it must give the description again."""

import io
import math
import os
import struct
import zipfile
import zlib
from collections.abc import Mapping
from typing import IO

import numpy as np

from kgzoo.evaluation import files

__all__ = ["DAMAGES", "LIMIT_BYTES", "load", "read", "write"]

_DESCRIPTION = "description"
# What a file that is damaged, encrypted or made by a stranger can raise while it is read.
DAMAGES = (
    *(OSError, EOFError, ValueError, TypeError, LookupError, ArithmeticError),
    *(RuntimeError, MemoryError, SyntaxError),
    *(zipfile.BadZipFile, zlib.error, struct.error),
)
# Of all arrays of a file together: a few megabytes of zeros can claim to be a petabyte.
LIMIT_BYTES = 4 << 30


def load(
    file: str | os.PathLike | IO[bytes], limit_bytes: int = LIMIT_BYTES
) -> dict[str, np.ndarray]:
    """Returns the arrays of an .npz file by name; nothing is unpickled and nothing extracted.

    Sizes are looked at before anything is read: members' own, and those that their headers claim.

    Args:
        file: its path, or an open file.
        limit_bytes: all arrays together may have.

    Raises:
        ValueError: too large, or no arrays of numbers and text; or another of `DAMAGES`.
    """
    with zipfile.ZipFile(file) as archive:
        total = sum(member.file_size for member in archive.infolist())
        if total > limit_bytes:
            raise ValueError(f"{total} bytes of arrays are more than {limit_bytes}.")
        for member in archive.infolist():
            with archive.open(member) as stream:
                _check_header(stream, member)
    if hasattr(file, "seek"):
        file.seek(0)
    with np.load(file, allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}


def _check_header(stream: IO[bytes], member: zipfile.ZipInfo) -> None:
    """Refuses a member whose header claims more than the member holds."""
    readers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    try:
        shape, _, dtype = readers[np.lib.format.read_magic(stream)](stream)
    except Exception as error:
        # A header is a line of Python: what its parser can raise has no end.
        raise ValueError(f"{member.filename} has no header of an array.") from error
    claimed = math.prod(shape) * dtype.itemsize
    if dtype.hasobject or min(shape, default=0) < 0 or claimed > member.file_size:
        raise ValueError(f"{member.filename} claims {claimed} bytes and has {member.file_size}.")


def read(path: str | os.PathLike, described: str) -> dict[str, np.ndarray] | None:
    """Returns the arrays of a file of `write`, or None if it is absent, damaged or of another kind.

    Args:
        path: of the file.
        described: what must have been written with the arrays.
    """
    try:
        arrays = load(path)
        return arrays if str(arrays.pop(_DESCRIPTION)) == described else None
    except DAMAGES:
        return None


def write(path: str | os.PathLike, described: str, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes arrays and their description as one .npz file, whole or absent, without pickle.

    Args:
        path: of the file; its folder is made.
        described: any text that `read` has to be given again.
        arrays: by name.

    Raises:
        OSError: the file cannot be written.
    """
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **{_DESCRIPTION: np.array(described)}, **arrays)
    files.replace_file(path, buffer.getvalue())
