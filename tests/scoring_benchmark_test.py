"""The programs of benchmarks/ that time layers, scores and sampling: they run, and count right."""

import importlib
import json
import os
import pathlib
import shutil
import sys
import tempfile
from unittest import mock

import numpy as np
import tensorflow as tf

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "benchmarks"
PROVENANCE = {"commit", "cores", "cpu", "packages"}


def program(name):
    """Imports a program of benchmarks/, which lie beside each other and are no package."""
    if not FOLDER.is_dir():
        raise RuntimeError(f"{FOLDER} is missing; these tests run in a clone.")
    with mock.patch.object(sys, "path", [str(FOLDER), *sys.path]):
        return importlib.import_module(name)


def run(name, *arguments):
    """Runs a program in its tiny form and returns what it writes."""
    # Its processes find kgzoo as this one does.
    environment = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with tempfile.TemporaryDirectory() as folder, mock.patch.dict(os.environ, environment):
        path = pathlib.Path(folder) / "result.json"
        program(name).main(["--quick", f"--to={path}", *arguments])
        return json.loads(path.read_text())


class FlopsTest(tf.test.TestCase):
    def test_layers_are_those_of_the_paper(self):
        layers = program("flops").layers(width=64, size=32, batch_size=64)
        kinds = [layer.kind for layer in layers]
        self.assertEqual(len(layers), 13)
        self.assertEqual(kinds.count("transposed conv 4x4 stride 2"), 3)
        self.assertEqual(kinds.count("conv 4x4 stride 2"), 3)
        self.assertEqual(kinds.count("conv 3x3 stride 1"), 5)
        self.assertEqual(kinds.count("dense"), 2)

    def test_operations(self):
        layers = program("flops").layers(width=64, size=32, batch_size=64)
        operations = {layer.name: layer.operations for layer in layers}
        # Two for each number of the kernel at each place where it is applied.
        self.assertEqual(operations["generator 128 -> 8192"], 2 * 64 * 128 * 8192)
        first = 2 * (4 * 4 * 512 * 256) * (64 * 4 * 4)
        self.assertEqual(operations["generator 4x4x512 -> 8x8x256"], first)
        down = 2 * (4 * 4 * 64 * 128) * (128 * 16 * 16)
        self.assertEqual(operations["critic 32x32x64 -> 16x16x128"], down)
        last = 2 * (3 * 3 * 512 * 512) * (128 * 4 * 4)
        self.assertEqual(operations["critic 4x4x512 -> 4x4x512"], last)

    def test_passes_are_a_layer_and_its_gradients(self):
        flops = program("flops")
        shapes = {
            "dense": ((2, 5), (5, 3), (2, 3)),
            "conv 3x3 stride 1": ((2, 6, 6, 3), (3, 3, 3, 2), (2, 6, 6, 2)),
            "conv 4x4 stride 2": ((2, 6, 6, 3), (4, 4, 3, 2), (2, 3, 3, 2)),
            "transposed conv 4x4 stride 2": ((2, 3, 3, 2), (4, 4, 3, 2), (2, 6, 6, 3)),
        }
        for kind, (inputs, kernel, outputs) in shapes.items():
            stride = 2 if "stride 2" in kind else 1
            layer = flops.Layer(kind, kind, inputs, kernel, outputs, stride)
            # An evaluation draws its noise in this order, from this seed.
            random = np.random.RandomState(0)
            x, w, above = (
                tf.constant(random.normal(size=shape).astype(np.float32))
                for shape in (inputs, kernel, outputs)
            )
            with tf.GradientTape() as tape:
                tape.watch([x, w])
                value = self.forward(kind, x, w, outputs, stride)
            gradients = tape.gradient(value, [x, w], output_gradients=above)
            for which, expected in zip(flops.PASSES, [value, *gradients], strict=True):
                with self.subTest(kind, which=which):
                    found = flops.evaluation(layer, which, "float32")()
                    self.assertAllClose(found, expected, rtol=1e-4, atol=1e-4)

    @staticmethod
    def forward(kind, x, w, outputs, stride):
        if kind == "dense":
            return x @ w
        if kind.startswith("transposed"):
            return tf.nn.conv2d_transpose(x, w, outputs, stride)
        return tf.nn.conv2d(x, w, stride, "SAME")

    def test_program(self):
        found = run("flops", "--precisions=bfloat16", "--size=8", "--peak_sizes=8,16")
        self.assertLessEqual(PROVENANCE, set(found["provenance"]))
        rates = {
            line["pass"]: line["gflop_per_second"]
            for line in found["measured"]
            if line["layer"] == "peak"
        }
        self.assertEqual(found["peak_gflop_per_second"]["bfloat16"], max(rates.values()))
        self.assertEqual(len(found["measured"]), len(rates) + 3 * len(found["layers"]))
        kinds = {layer["kind"] for layer in found["layers"].values()}
        self.assertEqual(set(found["summary"]["bfloat16"]), kinds)
        for passes in found["summary"]["bfloat16"].values():
            self.assertEqual(list(passes), list(program("flops").PASSES))
            for line in passes.values():
                self.assertGreater(line["share_of_peak"], 0)


class ScoringTest(tf.test.TestCase):
    def test_scores(self):
        found = run("scoring", "--parts=scores")
        self.assertLessEqual(PROVENANCE, set(found["provenance"]))
        ways = found["scores"]
        names = list(ways)
        # Each of kgzoo's ways agrees with the one that follows, for reference.
        for mine, reference in zip(names[::2], names[1::2], strict=True):
            self.assertIn("kgzoo", mine)
            self.assertAllClose(ways[mine]["value"], ways[reference]["value"], rtol=1e-4)
        for way in ways.values():
            self.assertGreater(way["median_seconds"], 0)
        self.assertGreaterEqual(ways["fid kgzoo"]["rise_of_peak_bytes"], 0)

    def test_sampling(self):
        found = run("scoring", "--parts=sampling", "--size=8")["sampling"]
        has_compiler = shutil.which(os.environ.get("CC", "cc")) is not None
        library = pathlib.Path(tf.__file__).parent / "libtensorflow_cc.so.2"
        self.assertEqual("C API, serving_default" in found, has_compiler and library.is_file())
        means = {way: line["mean_of_images"] for way, line in found.items()}
        first = means.pop("Python, serving_default")
        self.assertGreater(abs(first - 0.5), 1e-3)  # of images that say something
        for way, mean in means.items():
            self.assertAllClose(mean, first, atol=1e-5, msg=way)
        for line in found.values():
            self.assertAllClose(line["images_per_second"] * line["median_seconds"], 4.0)


if __name__ == "__main__":
    tf.test.main()
