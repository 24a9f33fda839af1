"""Files that are whole or absent: written under a temporary name, then renamed."""

import os
import pathlib

__all__ = ["replace_file"]


def replace_file(path: str | os.PathLike, content: bytes) -> pathlib.Path:
    """Writes `content` to `path`, making its folder; a reader never sees half a file.

    Args:
        path: the file to write or to replace.
        content: all its bytes.

    Returns:
        The path.
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
    finally:
        temporary.unlink(missing_ok=True)
    return path
