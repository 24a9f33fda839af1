"""Folders that one process at a time may write; nothing here imports TensorFlow."""

import fcntl
import pathlib
from collections.abc import Iterator
from contextlib import contextmanager

from kgzoo.errors import UserError

__all__ = ["held"]


@contextmanager
def held(folder: pathlib.Path, flag: str, holder: str) -> Iterator[None]:
    """Holds a folder for one process; the lock goes with the process, however it ends.

    Args:
        folder: made when missing.
        flag: by which the user gave it, for the messages: "--workdir".
        holder: what holds such a folder: "run".

    Raises:
        UserError: if another process holds it, or the folder cannot be written or locked.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = open(folder / ".lock", "w")
    except OSError as error:
        raise UserError(
            f"{flag}={folder} cannot be written ({error.strerror}); choose another folder."
        ) from None
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"{flag}={folder} is in use by another {holder}; wait for it or choose another."
            ) from None
        except OSError as error:
            raise UserError(
                f"{flag}={folder} cannot be locked ({error.strerror}); choose a folder on "
                "another file system."
            ) from None
        yield
