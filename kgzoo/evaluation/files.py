"""Files that are whole or absent: written under a temporary name, then renamed."""

import os
import pathlib
import re

__all__ = ["reason", "replace_file"]


def reason(error: Exception) -> str:
    """Returns in a few words why a file cannot be written, from an OSError or TensorFlow's own."""
    if getattr(error, "strerror", None):
        return error.strerror
    said = (str(error).strip() or type(error).__name__).splitlines()[0]
    # TensorFlow says "{{node}} file; File too large [Op:SaveV2]".
    return re.sub(r" \[Op:\w+\]$", "", said).rpartition("; ")[2]


def replace_file(path: str | os.PathLike, content: bytes) -> pathlib.Path:
    """Writes `content` to `path`, making its folder; a reader never sees half a file.

    Args:
        path: the file to write or to replace.
        content: all its bytes.

    Returns:
        The path.

    Raises:
        OSError: if the disk refuses; it names a file, and what was there before is left alone.
    """
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The same folder, because a rename is atomic only inside one file system.
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        # A full disk is found out by a write, which knows no name.
        error.filename = error.filename or os.fspath(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)
    return path
