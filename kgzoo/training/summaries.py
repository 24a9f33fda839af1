"""What a run writes while it goes: lines of JSON, TensorBoard events, pictures of fixed latents.

A resumed run's record reads as if it had never stopped: what an interrupted run wrote after the
checkpoint it is resumed from is cut.
"""

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf

from kgzoo.errors import UserError
from kgzoo.evaluation import files, pictures
from kgzoo.training.spectra import Spectrum

__all__ = ["NoSummaries", "Summaries"]

_REFUSED = (OSError, tf.errors.OpError)


class Summaries:
    """The running record of a run: metrics.jsonl, spectra.jsonl, events/ and samples/.

    Args:
        workdir: the run folder.
        step: the step it starts from; what is there of later steps is cut, and everything when it
            starts from 0.

    Raises:
        UserError: here and from every method, if the disk refuses.
    """

    def __init__(self, workdir: Path, step: int):
        self.workdir = workdir
        with self._writing():
            self._metrics = _Lines(workdir / "metrics.jsonl", step)
            self._spectra = _Lines(workdir / "spectra.jsonl", step)
            # The record of a run that has not come to its first line is empty, not absent.
            (workdir / "metrics.jsonl").touch()
            _cut_events(workdir / "events", step)
            self._writer = tf.summary.create_file_writer(str(workdir / "events"))

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Flushes the events that are made inside; a disk that refuses ends in one sentence."""
        try:
            yield
            if hasattr(self, "_writer"):
                self._writer.flush()
        except _REFUSED as error:
            raise UserError(
                f"the record of the run cannot be written to {self.workdir} "
                f"({files.reason(error)}); make room or mend the folder and type the same command: "
                "it goes on from the last checkpoint."
            ) from error

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Writes one line and one event per value."""
        with self._writing():
            self._metrics.write({"step": step, **values})
            with self._writer.as_default():
                for name, value in values.items():
                    tf.summary.scalar(name, value, step=step)

    def picture(self, step: int, samples: np.ndarray, kind: str, reference=None) -> Path:
        """Writes samples/step_*.png and an image event; returns the file."""
        image = pictures.picture(samples, kind, reference)
        path = self.workdir / "samples" / f"step_{step:08d}.png"
        with self._writing():
            pictures.save_png(path, image)
            with self._writer.as_default():
                tf.summary.image("samples", image[None], step=step)
        return path

    def spectra(self, step: int, spectra: Mapping[str, Spectrum]) -> None:
        """Writes a line of spectra.jsonl, and per layer scalars and a histogram of all values."""
        lines = {}
        with self._writing(), self._writer.as_default():
            for name, spectrum in spectra.items():
                scalars = spectrum._asdict()
                values = scalars.pop("singular_values")
                # Six digits: a kernel is float32.
                lines[name] = {**scalars, "singular_values": [float(f"{v:.6g}") for v in values]}
                for key, value in scalars.items():
                    if value is not None:
                        tf.summary.scalar(f"spectra/{name}/{key}", value, step=step)
                tf.summary.histogram(f"spectra/{name}/singular_values", values, step=step)
            self._spectra.write({"step": step, "layers": lines})

    def close(self) -> None:
        """Closes all records; what could not be written has been told."""
        for record in (self._metrics, self._spectra, self._writer):
            with contextlib.suppress(*_REFUSED):
                record.close()


class NoSummaries:
    """Writes nothing: what a process has that is not the chief."""

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Does nothing."""

    def close(self) -> None:
        """Does nothing."""


class _Lines:
    """A file of JSON objects, one a line, each with its step; made by the first of them."""

    def __init__(self, path: Path, start: int):
        self._path, self._file = path, None
        if path.exists():
            self._cut(start)

    def _cut(self, start: int) -> None:
        kept = []
        text = self._path.read_text(encoding="utf-8", errors="replace")
        for line in text.splitlines() if start else ():
            try:
                if json.loads(line)["step"] <= start:
                    kept.append(line + "\n")
            except (ValueError, KeyError, TypeError):
                continue  # The last line of a killed run may be torn.
        files.replace_file(self._path, "".join(kept).encode())

    def write(self, content: Mapping) -> None:
        if self._file is None:
            self._file = open(self._path, "a", encoding="utf-8")
        self._file.write(json.dumps(content) + "\n")
        self._file.flush()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


def _cut_events(folder: Path, start: int) -> None:
    for path in sorted(folder.glob("*tfevents*")):
        kept, whole = [], True
        try:
            for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
                if tf.compat.v1.Event.FromString(record).step <= start:
                    kept.append(record)
                else:
                    whole = False
        except tf.errors.DataLossError:
            whole = False  # The last record of a killed run may be torn.
        if start == 0:
            path.unlink()
        elif not whole:
            temporary = folder / f".{os.getpid()}.tmp"
            with tf.io.TFRecordWriter(str(temporary)) as writer:
                for record in kept:
                    writer.write(record)
            os.replace(temporary, path)
