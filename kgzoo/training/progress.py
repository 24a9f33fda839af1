"""The progress line: rewritten in place on a terminal, a plain line now and then elsewhere."""

import sys
import time
from collections.abc import Mapping

__all__ = ["Progress", "duration"]

_PLAIN_SECONDS = 10.0
_TERMINAL_SECONDS = 0.2


def duration(seconds: float) -> str:
    """Returns seconds as `1h02m`, `3m20s` or `12s`."""
    seconds = int(round(seconds))
    if seconds >= 3600:
        return f"{seconds // 3600}h{seconds % 3600 // 60:02d}m"
    return f"{seconds // 60}m{seconds % 60:02d}s" if seconds >= 60 else f"{seconds}s"


class Progress:
    """Shows step, images/s, time left and losses.

    Args:
        first_step, last_step: of this process's part of the run.
        images_per_step: real examples that one step reads, over all replicas.
    """

    def __init__(self, first_step: int, last_step: int, images_per_step: int):
        self.first_step, self.last_step = first_step, last_step
        self.images_per_step = images_per_step
        self.images_per_second = 0.0
        self._terminal = sys.stdout.isatty()
        self._start: tuple[int, float] | None = None
        self._shown = 0.0
        self._width = 0

    def update(self, step: int, logs: Mapping[str, float]) -> None:
        """Takes note of a step and shows it when it is time."""
        now = time.monotonic()
        if self._start is None:
            # The first graph call traces and compiles: the clock starts after it.
            self._start = (step, now)
        elif now > self._start[1]:
            steps_per_second = (step - self._start[0]) / (now - self._start[1])
            self.images_per_second = steps_per_second * self.images_per_step
        every = _TERMINAL_SECONDS if self._terminal else _PLAIN_SECONDS
        if now - self._shown < every and step < self.last_step:
            return
        self._shown = now
        self._show(step, logs)

    def _show(self, step: int, logs: Mapping[str, float]) -> None:
        left = "?"
        if self.images_per_second:
            steps_left = self.last_step - step
            left = duration(steps_left * self.images_per_step / self.images_per_second)
        losses = "  ".join(
            f"{name.removesuffix('_loss')} {value:+.4f}"
            for name, value in logs.items()
            if name.endswith("_loss")
        )
        line = (
            f"step {step}/{self.last_step}  {self.images_per_second:,.0f} images/s  "
            f"{left} left  {losses}"
        )
        if self._terminal:
            print("\r" + line.ljust(self._width), end="", flush=True)
            self._width = len(line)
        else:
            print(line, flush=True)

    def say(self, text: str) -> None:
        """Prints a line of its own."""
        if self._terminal and self._width:
            print("\r" + " " * self._width + "\r", end="")
            self._width = 0
        print(text, flush=True)
