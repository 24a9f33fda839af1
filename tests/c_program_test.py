"""The C program of export/: the loader of TensorFlow Serving, without Python in the way."""

import io
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from c_loader import LIBRARY
from kgzoo import serving
from kgzoo.methods.gan import GAN

SOURCES = pathlib.Path(__file__).resolve().parent.parent / "export"
COMPILER = shutil.which(os.environ.get("CC", "cc"))
CARD = serving.ModelCard(method="gan", paper="a paper", data={"name": "noise"}, steps=1, seed=0)

pytestmark = [
    pytest.mark.skipif(COMPILER is None, reason="there is no C compiler (cc, or CC) to build with"),
    pytest.mark.skipif(not LIBRARY.is_file(), reason=f"this TensorFlow has no {LIBRARY.name}"),
]


def method(kind, sample_shape):
    """A GAN of one dense layer on each side."""
    keras.utils.set_random_seed(0)
    units = int(np.prod(sample_shape))
    generator = keras.Sequential(
        [
            keras.Input([3]),
            keras.layers.Dense(units, activation="sigmoid"),
            keras.layers.Reshape(sample_shape),
        ]
    )
    critic = keras.Sequential(
        [keras.Input(sample_shape), keras.layers.Flatten(), keras.layers.Dense(1)]
    )
    return GAN(generator, critic, kind=kind)


class CProgramTest(tf.test.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        temporary = tempfile.TemporaryDirectory()
        cls.addClassCleanup(temporary.cleanup)
        cls.folder = pathlib.Path(temporary.name)
        cls.program = cls.folder / "sample_png"
        subprocess.run(
            ["sh", SOURCES / "build.sh", cls.program],
            check=True,
            env={**os.environ, "PYTHON": sys.executable, "CFLAGS": "-Werror"},
        )
        cls.models = {
            "gray": method("image", (5, 4, 1)),
            "color": method("image", (5, 4, 3)),
        }
        cls.exports = {
            name: serving.export_model(model, cls.folder / "export", name, CARD)
            for name, model in cls.models.items()
        }

    def run_program(self, *arguments):
        return subprocess.run([self.program, *arguments], capture_output=True, text=True)

    def assert_refused(self, code, sentence, *arguments):
        """One sentence is the last line; TensorFlow's own log may stand before it."""
        done = self.run_program(*arguments)
        self.assertEqual(done.returncode, code, done.stderr)
        self.assertEqual(done.stdout, "")
        self.assertRegex(done.stderr.splitlines()[-1], sentence)

    def test_draws_what_python_draws(self):
        for name in ("gray", "color"):
            loaded = tf.saved_model.load(str(self.exports[name]))
            for seed in (7, -1) if name == "gray" else (7,):
                out = self.folder / f"{name}.png"
                done = self.run_program(self.exports[name], str(seed), out)
                self.assertEqual(done.returncode, 0, done.stderr)
                pixels = np.asarray(Image.open(out))
                answer = loaded.signatures["sample_png"](seed=tf.constant([[seed, 0]]))
                png = io.BytesIO(answer["image_bytes"].numpy()[0])
                self.assertAllEqual(pixels, np.asarray(Image.open(png)))
                images, _ = self.models[name].sample_from_seeds(tf.constant([[seed, 0]]))
                expected = 255.0 * np.squeeze(images.numpy()[0])
                self.assertAllClose(pixels, expected, rtol=0, atol=0.502)
        self.assertFalse(list(self.folder.glob("*.tmp")))

    def test_lists_the_signatures(self):
        done = self.run_program("--signatures", self.exports["gray"])
        self.assertEqual(done.returncode, 0, done.stderr)
        listed = dict(line.split(": ") for line in done.stdout.splitlines())
        self.assertCountEqual(listed, serving.signature_names(self.exports["gray"]))
        self.assertEqual(listed["sample_png"], "seed [n, 2] int32 -> image_bytes [n] string")
        request, response = listed["sample"].split(" -> ")
        self.assertEqual(request, "seed [n, 2] int32")
        self.assertIn("images [n, 5, 4, 1] float32", response)
        self.assertIn("latents [n, 3] float32", response)
        self.assertIn("fraction [n] float32", listed["interpolate"])

    def test_refuses_in_one_sentence(self):
        export, out = self.exports["gray"], self.folder / "none.png"
        self.assert_refused(2, "^usage: ")
        self.assert_refused(2, "SEED is not a 32-bit integer: '7x'", export, "7x", out)
        self.assert_refused(2, "SEED is not a 32-bit integer", export, "2147483648", out)
        self.assert_refused(2, "no saved_model.pb in '.*gray'; give", export.parent, "7", out)
        other = self.folder / "other"
        double = tf.function(lambda x: {"y": 2.0 * x}, [tf.TensorSpec([], tf.float32)])
        tf.saved_model.save(tf.Module(), str(other), signatures={"double": double})
        self.assert_refused(2, "the export has no signature 'sample_png'", other, "7", out)
        lost = self.folder / "missing" / "out.png"
        self.assert_refused(1, "cannot write '.*out.png': No such file", export, "7", lost)
        broken = self.folder / "broken"
        broken.mkdir()
        (broken / "saved_model.pb").write_bytes(b"not a message")
        self.assert_refused(1, "cannot load the export", broken, "7", out)
        self.assertFalse(out.exists())


if __name__ == "__main__":
    tf.test.main()
