"""The progress line: rewritten in place on a terminal, a plain line now and then elsewhere."""

import sys
import time
from collections import deque
from collections.abc import Callable, Mapping

__all__ = ["Progress", "duration"]

_PLAIN_SECONDS = 10.0
_TERMINAL_SECONDS = 0.2
# The rate is that of the latest updates: an average since the start forgets neither a slow
# beginning nor a pause for scores.
_RATE_UPDATES = 20


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
        extra_images: function of a step: what is read beyond that before it, over all earlier
            steps. An early critic schedule makes some steps a hundred times as long as others.
        silent: whether nothing is shown.
    """

    def __init__(
        self,
        first_step: int,
        last_step: int,
        images_per_step: int,
        extra_images: Callable[[int], int] = lambda step: 0,
        silent: bool = False,
    ):
        self.first_step, self.last_step = first_step, last_step
        self.images_per_step, self._extra_images = images_per_step, extra_images
        self.images_per_second = 0.0
        self._terminal, self._silent = sys.stdout.isatty(), silent
        self._recent: deque[tuple[int, float]] = deque(maxlen=_RATE_UPDATES)
        self._shown = 0.0
        self._width = 0

    def update(self, step: int, logs: Mapping[str, float]) -> None:
        """Takes note of a step and shows it when it is time."""
        now = time.monotonic()
        self._recent.append((step, now))
        (old_step, old), (new_step, new) = self._recent[0], self._recent[-1]
        if new > old:
            self.images_per_second = self._images(old_step, new_step) / (new - old)
        every = _TERMINAL_SECONDS if self._terminal else _PLAIN_SECONDS
        if now - self._shown < every and step < self.last_step:
            return
        self._shown = now
        self._show(step, logs)

    def extra(self, step: int, done: int, of: int) -> None:
        """Shows how far the extra updates before the next step are, when it is time."""
        now = time.monotonic()
        if now - self._shown < (_TERMINAL_SECONDS if self._terminal else _PLAIN_SECONDS):
            return
        self._shown = now
        self._print(f"step {step}/{self.last_step}  extra update {done}/{of}")

    def _images(self, start: int, end: int) -> int:
        extra = self._extra_images(end) - self._extra_images(start)
        return (end - start) * self.images_per_step + extra

    def steps_within(self, seconds: float) -> int:
        """Returns how many steps without extra images go into so many seconds, at least 1.

        It is 1 before the rate is known.
        """
        return max(1, int(seconds * self.images_per_second / self.images_per_step))

    def _show(self, step: int, logs: Mapping[str, float]) -> None:
        speed, left = "compiled", "?"
        if self.images_per_second:
            speed = f"{self.images_per_second:,.0f} images/s"
            left = duration(self._images(step, self.last_step) / self.images_per_second)
        losses = "  ".join(
            f"{name.removesuffix('_loss')} {value:+.4f}"
            for name, value in logs.items()
            if name.endswith("_loss")
        )
        self._print(f"step {step}/{self.last_step}  {speed}  {left} left  {losses}")

    def _print(self, line: str) -> None:
        if self._silent:
            return
        if self._terminal:
            print("\r" + line.ljust(self._width), end="", flush=True)
            self._width = len(line)
        else:
            print(line, flush=True)

    def say(self, text: str) -> None:
        """Prints a line of its own."""
        if self._silent:
            return
        if self._terminal and self._width:
            print("\r" + " " * self._width + "\r", end="")
            self._width = 0
        print(text, flush=True)
