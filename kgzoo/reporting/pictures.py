"""Which PNG files of the runs go into the page, so that it stays small enough to send."""

import base64
import dataclasses
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

__all__ = ["Pictured", "Picture", "choose"]

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_END = b"IEND\xaeB`\x82"
_LARGEST = 1_500_000  # bytes of one file
_BUDGET = 1_700_000  # bytes of all files; their base64 is a third longer
_MOST_EARLIER = 6  # of one run


class Pictured(Protocol):
    """What has pictures and notes what of them cannot be read: a run, or an export."""

    pictures: list[tuple[int | None, Path]]
    problems: list[str]


@dataclasses.dataclass(frozen=True)
class Picture:
    """A PNG file as it is.

    Attributes:
        step: after which it was drawn; None for an export's.
        width, height: pixels.
        content: the file's bytes.
    """

    step: int | None
    width: int
    height: int
    content: bytes

    @property
    def url(self) -> str:
        """The picture as a data: URL."""
        return "data:image/png;base64," + base64.b64encode(self.content).decode()


def choose(runs: Sequence[Pictured]) -> list[list[Picture]]:
    """Reads the last picture of each run, and as many earlier ones as there is room for.

    The runs get one earlier picture after the other in turn, spread evenly over each run. A file
    that is no PNG is left out with a sentence in the run's `problems`; then the one before it is
    the last.

    Returns:
        Pictures of each run, steps ascending; empty where there are none.
    """
    last = [_last(run) for run in runs]
    room = _BUDGET - sum(len(picture.content) for picture, _ in last if picture)
    spread: list[list[tuple[int | None, Path]]] = [[] for _ in runs]
    for number in range(1, _MOST_EARLIER + 1):
        for index, (_, earlier) in enumerate(last):
            if number <= len(earlier):
                wanted = _spread(earlier, number)
                more = _size(wanted) - _size(spread[index])
                if more <= room:
                    spread[index], room = wanted, room - more
    chosen = []
    for run, (picture, _), files in zip(runs, last, spread, strict=True):
        before = [found for file in files if (found := _read(run, *file))]
        chosen.append([*before, picture] if picture else [])
    return chosen


def _last(run: Pictured) -> tuple[Picture | None, list[tuple[int | None, Path]]]:
    files = list(run.pictures)
    while files:
        picture = _read(run, *files.pop())
        if picture:
            return picture, files
    return None, []


def _spread(files: Sequence[Any], number: int) -> list[Any]:
    return [files[(2 * index + 1) * len(files) // (2 * number)] for index in range(number)]


def _size(files: Sequence[tuple[int | None, Path]]) -> int:
    return sum(path.stat().st_size for _, path in files if path.is_file())


def _read(run: Pictured, step: int | None, path: Path) -> Picture | None:
    """Reads a picture, or notes why not."""
    try:
        if path.stat().st_size > _LARGEST:
            run.problems.append(f"{path} is larger than {_LARGEST:,} bytes and left out.")
            return None
        content = path.read_bytes()
    except OSError:
        run.problems.append(f"{path} cannot be read.")
        return None
    whole = content.startswith(_SIGNATURE) and content[12:16] == b"IHDR" and content.endswith(_END)
    width, height = struct.unpack(">II", content[16:24]) if whole else (0, 0)
    if not width or not height:
        run.problems.append(f"{path} is no whole PNG file and left out.")
        return None
    return Picture(step, width, height, content)
