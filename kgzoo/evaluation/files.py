"""Files that are whole or absent: written under a temporary name, then renamed."""

import os
import pathlib
import re

from kgzoo.errors import UserError

__all__ = ["reason", "replace_file", "replace_table"]


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


def replace_table(path: str | os.PathLike, markers: tuple[str, str], table: str) -> pathlib.Path:
    """Writes a table into a Markdown file, between two lines that stay; see `replace_file`.

    Args:
        path: of the file.
        markers: the comments before and after it, with the white space to the table.
        table: Markdown.

    Returns:
        The path.

    Raises:
        UserError: if the file cannot be read, or does not hold the markers once, in their order.
        OSError: if the disk refuses.
    """
    path = pathlib.Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise UserError(
            f"--to={path} cannot be read ({reason(error)}); give the README, or another Markdown "
            "file with such a table."
        ) from None
    marks = [marker.strip() for marker in markers]
    before, _, rest = text.partition(marks[0])
    _, last, after = rest.partition(marks[1])
    if not last or any(text.count(mark) != 1 for mark in marks):
        raise UserError(
            f"--to={path} must hold one table, between {marks[0]} and {marks[1]}; give the README, "
            "or another Markdown file that does."
        )
    begin, end = markers
    return replace_file(path, (before + begin + table + end + after).encode())
