"""How fast an export makes images: through the C API, a signature in Python, Keras' `predict`.

Part of `scoring.py`. All ways turn the same latents into float32 images that lie in memory.
"""

import argparse
import importlib.util
import os
import pathlib
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable

import numpy as np
import stopwatch

__all__ = ["measure", "show"]

_SOURCE = pathlib.Path(__file__).resolve().parent / "time_export.c"
_LIVELY = 5.0
_LIBRARIES = ("libtensorflow_cc.so.2", "libtensorflow_framework.so.2")


def measure(arguments: argparse.Namespace) -> dict[str, dict]:
    """Returns seconds of a batch, images a second and the images' mean, by way.

    Args:
        arguments: `width`, `size`, `batch_size`, `batches` of a turn, `rounds`.
    """
    with tempfile.TemporaryDirectory() as folder:
        model, path = _export(arguments, pathlib.Path(folder))
        random = np.random.RandomState(0)
        shape = (arguments.batch_size, model.latent_dim)
        latents = random.uniform(-1, 1, shape).astype(np.float32)
        program = _Program(path, pathlib.Path(folder), latents)
        ways = {"C API, serving_default": program.run} if program.path else {}
        try:
            ways |= _python_ways(model, path, latents)
            return _take_turns(ways, arguments)
        finally:
            program.close()


def _export(arguments: argparse.Namespace, folder: pathlib.Path) -> tuple:
    """Returns an untrained SMMD-GAN and the folder that it is exported to."""
    from kgzoo import config, methods, serving

    fields = {"network": "sndcgan", "generator_width": arguments.width}
    fields |= {"critic_width": arguments.width, "batch_size": arguments.batch_size}
    settings = config.compose("smmd", "cifar10", overrides=fields)
    model = methods.build(settings, "image", (arguments.size, arguments.size, 3))
    model.compile(methods.build_optimizers(settings, model.players))
    # As initialised its images are all but equal: the ways' means would agree whatever they did.
    for variable in model.generator.trainable_variables:
        variable.assign(_LIVELY * variable.value)
    model.average.reset(model.generator)
    about = {"paper": "see the catalogue", "data": {"name": "none"}, "steps": 0, "seed": 0}
    card = serving.ModelCard(method="smmd", **about)
    return model, serving.export_model(model, folder, "untrained", card)


class _Program:
    """`time_export.c`, built and waiting; `path` is None without a compiler or its library."""

    def __init__(self, export: pathlib.Path, folder: pathlib.Path, latents: np.ndarray):
        self.path, self.process = None, None
        compiler = shutil.which(os.environ.get("CC", "cc"))
        tensorflow = pathlib.Path(importlib.util.find_spec("tensorflow").origin).parent
        libraries = [tensorflow / name for name in _LIBRARIES]
        if not compiler or not all(library.is_file() for library in libraries):
            return
        self.path = folder / "time_export"
        build = [
            compiler,
            "-std=c99",
            "-O2",
            "-Wall",
            "-Wextra",
            "-isystem",
            tensorflow / "include",
        ]
        build += [_SOURCE, "-o", self.path, *libraries, f"-Wl,-rpath,{tensorflow}"]
        subprocess.run(list(map(str, build)), check=True)
        file = folder / "latents.bin"
        file.write_bytes(latents.tobytes())
        command = [self.path, export, *_tensor_names(export), file, *latents.shape]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
        self.process = subprocess.Popen(list(map(str, command)), env=environment, **pipes)

    def run(self, batches: int) -> tuple[float, float]:
        """Returns seconds of so many batches, and the mean of the last one's numbers."""
        self.process.stdin.write(f"{batches}\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError("time_export ended; what it printed stands above.")
        seconds, mean = map(float, line.split())
        return seconds, mean

    def close(self) -> None:
        """Ends the process."""
        if self.process:
            self.process.stdin.close()
            self.process.wait(timeout=60)
            self.process.stdout.close()


def _tensor_names(export: pathlib.Path) -> tuple[str, str]:
    """Returns the tensors behind latents and images of the signature that is served."""
    from tensorflow.core.protobuf import saved_model_pb2

    message = saved_model_pb2.SavedModel.FromString((export / "saved_model.pb").read_bytes())
    signature = message.meta_graphs[0].signature_def["serving_default"]
    return signature.inputs["latents"].name, signature.outputs["images"].name


def _python_ways(model, export: pathlib.Path, latents: np.ndarray) -> dict[str, Callable]:
    import tensorflow as tf

    loaded = tf.saved_model.load(str(export))
    signature = loaded.signatures["serving_default"]

    def by_signature() -> np.ndarray:
        # The signature holds its variables by `loaded`, which must live as long.
        assert loaded is not None
        return signature(latents=tf.constant(latents))["images"].numpy()

    def by_predict() -> np.ndarray:
        return model.predict(latents, batch_size=len(latents), verbose=0)

    def by_long_predict(batches: int) -> tuple[float, float]:
        many = np.concatenate([latents] * batches)
        start = time.perf_counter()
        images = model.predict(many, batch_size=len(latents), verbose=0)
        return time.perf_counter() - start, float(images[-len(latents) :].mean(dtype=np.float64))

    return {
        "Python, serving_default": lambda batches: _timed(by_signature, batches),
        "Keras predict, a batch a call": lambda batches: _timed(by_predict, batches),
        "Keras predict, one call": by_long_predict,
    }


def _timed(function: Callable[[], np.ndarray], batches: int) -> tuple[float, float]:
    start = time.perf_counter()
    for _ in range(batches):
        images = function()
    return time.perf_counter() - start, float(images.mean(dtype=np.float64))


def _take_turns(ways: dict[str, Callable], arguments: argparse.Namespace) -> dict[str, dict]:
    seconds = {way: [] for way in ways}
    means = {way: run(2)[1] for way, run in ways.items()}
    for way in stopwatch.in_turns(ways, arguments.rounds):
        seconds[way].append(ways[way](arguments.batches)[0] / arguments.batches)
    found = {}
    for way, values in seconds.items():
        median = stopwatch.median(values)
        rate = arguments.batch_size / median
        found[way] = {"median_seconds": median, "images_per_second": rate}
        found[way] |= {"seconds": values, "mean_of_images": means[way]}
    return found


def show(found: dict[str, dict]) -> None:
    """Prints the table."""
    slowest = max(line["median_seconds"] for line in found.values())
    print(f"\n{'sampling':>30}  {'ms a batch':>10}  {'images/s':>9}  {'x slowest':>9}  mean")
    for way, line in found.items():
        print(
            f"{way:>30}  {1e3 * line['median_seconds']:10.2f}  {line['images_per_second']:9.1f}  "
            f"{slowest / line['median_seconds']:9.2f}  {line['mean_of_images']:.6f}"
        )
    if not any(way.startswith("C API") for way in found):
        print("no C compiler (cc, or CC), or no TensorFlow library to link: the C API is left out")
