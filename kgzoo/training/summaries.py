"""What a run writes while it goes: metrics.jsonl, TensorBoard events, pictures of fixed latents."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf

from kgzoo.evaluation import files, pictures

__all__ = ["Summaries"]


class Summaries:
    """The running record of a run.

    Args:
        workdir: the run folder.
        step: the step it starts from; later lines of an interrupted run are cut, so that a resumed
            run's record reads as if it had never stopped.
    """

    def __init__(self, workdir: Path, step: int):
        self.workdir = workdir
        self._path = workdir / "metrics.jsonl"
        self._cut(step)
        self._file = open(self._path, "a", encoding="utf-8")
        self._writer = tf.summary.create_file_writer(str(workdir / "events"))

    def _cut(self, step: int) -> None:
        if not self._path.exists():
            return
        kept = []
        for line in self._path.read_text(encoding="utf-8").splitlines():
            try:
                if json.loads(line)["step"] <= step:
                    kept.append(line + "\n")
            except (ValueError, KeyError, TypeError):
                continue  # The last line of a killed run may be torn.
        files.replace_file(self._path, "".join(kept).encode())

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Writes one line and one event per value."""
        self._file.write(json.dumps({"step": step, **values}) + "\n")
        self._file.flush()
        with self._writer.as_default():
            for name, value in values.items():
                tf.summary.scalar(name, value, step=step)
        self._writer.flush()

    def picture(self, step: int, samples: np.ndarray, kind: str, reference=None) -> Path:
        """Writes samples/step_*.png and an image event; returns the file."""
        image = pictures.picture(samples, kind, reference)
        path = self.workdir / "samples" / f"step_{step:08d}.png"
        os.makedirs(path.parent, exist_ok=True)
        pictures.save_png(path, image)
        with self._writer.as_default():
            tf.summary.image("samples", image[None], step=step)
        return path

    def close(self) -> None:
        """Flushes and closes both records."""
        self._file.close()
        self._writer.close()
