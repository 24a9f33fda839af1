"""Arrays with a description in one file; who reads it must give the description again."""

import io
import os
import zipfile
import zlib
from collections.abc import Mapping

import numpy as np

from kgzoo.evaluation import files

__all__ = ["read", "write"]

_DESCRIPTION = "description"


def read(path: str | os.PathLike, described: str) -> dict[str, np.ndarray] | None:
    """Returns the arrays of a file of `write`, or None if it is absent, damaged or of another kind.

    Args:
        path: of the file.
        described: what must have been written with the arrays.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            if str(stored[_DESCRIPTION]) != described:
                return None
            return {name: stored[name] for name in stored.files if name != _DESCRIPTION}
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error):
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
