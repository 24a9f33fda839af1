"""The examples, run as a reader would in a folder of their own; methods from outside kgzoo.

The first is a process of its own; the others, which would import TensorFlow again, share one.
"""

import contextlib
import importlib.util
import io
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest
from unittest import mock

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from kgzoo import catalog, main, outside
from kgzoo.errors import UserError

ROOT = pathlib.Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples"
ROW = (
    "from kgzoo.catalog import Row\n"
    'ROWS = [Row(name="{name}", summary="s", target=__name__ + ":X", paper="p", section="1", '
    'equation="2")]\n'
)
# Runs scripts of [[folder, path, words ...], ...] one after the other, each as `__main__`.
SEVERAL = """
import contextlib, io, json, os, runpy, sys
printed = []
for folder, *sys.argv in json.loads(sys.argv[1]):
    os.chdir(folder)
    with contextlib.redirect_stdout(io.StringIO()) as out:
        try:
            runpy.run_path(sys.argv[0], run_name="__main__")
        except SystemExit as end:
            if end.code:
                raise
    printed.append(out.getvalue())
print(json.dumps(printed))
"""


def run(folder, *words, **variables):
    """Runs Python in `folder` with this clone's kgzoo; returns what it printed."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3", **variables}
    done = subprocess.run(
        [sys.executable, *map(str, words)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise AssertionError(f"{' '.join(map(str, words))}:\n{done.stdout}{done.stderr[-4000:]}")
    return done.stdout


def load(name):
    """Imports an example as a module."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class ScriptsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.folder = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        script = EXAMPLES / "train_on_folder.py"
        cls.printed = {"train_on_folder": run(cls.folder, script, "--demo", "--quick")}
        (cls.export,) = (cls.folder / "runs/folder_discs_quick/export").glob("*/1")
        # A method that is named in the environment is looked for once: it comes first.
        words = {"new_method": "--quick", "new_kernel": "--quick", "serve": str(cls.export)}
        lines = [[str(cls.folder), str(EXAMPLES / f"{name}.py"), words[name]] for name in words]
        out = run(cls.folder, "-c", SEVERAL, json.dumps(lines)).splitlines()[-1]
        cls.printed |= zip(words, json.loads(out), strict=True)

    def test_each_says_how_to_run_it(self):
        for path in EXAMPLES.glob("*.py"):
            # What this example takes instead of --quick, its own test says.
            if path.name == "finetune_digit_class.py":
                continue
            text = path.read_text(encoding="utf-8")
            self.assertIn(f"python examples/{path.name}", text, path.name)
            self.assertIn("--quick", text, path.name)
            self.assertIn("You see", text, path.name)

    def test_train_on_folder_and_serve_what_it_exported(self):
        self.assertIn("smmd on image_folder:discs: 4 steps", self.printed["train_on_folder"])
        self.assertTrue(
            (self.folder / "runs/folder_discs_quick/samples/step_00000004.png").is_file()
        )
        self.assertEqual(len(list((self.folder / "discs").glob("*.png"))), 200)
        self.check_served(self.printed["serve"], self.folder, self.export.parent.name, 3)

    def test_flags_on_either_side_of_the_folder(self):
        example, lines = load("train_on_folder"), []
        flags = ["--dataset=image_folder:a/photos", "--workdir=runs/folder_photos"]
        with mock.patch.object(example.main, "main", lambda argv: lines.append(argv[1:]) or 0):
            for words, more in (
                (["a/photos", "--steps=3"], ["--steps=3"]),
                (["--steps=3", "a/photos"], ["--steps=3"]),
                (["--steps", "3", "a/photos", "--seed=1"], ["--steps", "3", "--seed=1"]),
            ):
                self.assertEqual(example.train(["x", *words]), 0)
                self.assertEqual(lines.pop(), [*flags, *more])
            for words in ([], ["--steps=3"], ["--help"]):
                with contextlib.redirect_stdout(io.StringIO()) as out:
                    self.assertEqual(example.train(["x", *words]), 0)
                self.assertIn("python examples/train_on_folder.py photos", out.getvalue())
        self.assertEqual(lines, [])

    @pytest.mark.slow
    def test_serve_trains_where_no_export_is_given(self):
        folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        out = run(folder, EXAMPLES / "serve.py", "--quick")
        self.check_served(out, folder, "smmd_digits", 1)

    def check_served(self, out, folder, name, channels):
        for text in (
            f"  -> images [3, 16, 16, {channels}] float32\n",
            "sample: seed [3, 2] int32\n",
            "a row alone is answered as in a batch, to ",
            f"tensorflow_model_server --rest_api_port=8501 --model_name={name}",
        ):
            self.assertIn(text, out)
        self.assertTrue((folder / "sample.png").read_bytes().startswith(b"\x89PNG"))

    def test_new_kernel(self):
        out = self.printed["new_kernel"]
        self.assertIn("after 3 steps: ", out)
        self.assertIn("loaded again with Matern(scale=1.0)", out)

    def test_new_method(self):
        self.assertIn("energy_gan on ring2d: 4 steps", self.printed["new_method"])
        self.assertTrue((self.folder / "runs/energy_gan_ring2d_quick/export").is_dir())

    def test_the_new_method_is_in_the_list(self):
        def listed(file):
            with (
                mock.patch.dict(os.environ, KGZOO_METHODS=file),
                mock.patch.object(outside, "_found", None),
                contextlib.redirect_stdout(io.StringIO()) as out,
            ):
                self.assertFalse(main.main(["kgzoo", "--list_methods"]))
            return out.getvalue()

        last = listed(str(EXAMPLES / "new_method.py")).splitlines()[-2:]
        self.assertTrue(last[0].startswith("energy_gan "), last)
        self.assertIn("Bellemare et al. 2017", last[1])
        self.assertNotIn("energy_gan", listed(""))

    @pytest.mark.slow
    def test_the_contract_holds_for_the_new_method(self):
        variables = {"KGZOO_METHODS": "examples/new_method.py"}
        variables |= {"KGZOO_CONTRACT_NAMES": "energy_gan"}
        words = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/contract_test.py")
        out = run(ROOT, *words, "-k", "Contract_energy_gan", **variables)
        self.assertRegex(out, r"\n9 passed")


class KernelTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        self.example = load("new_kernel")
        self.kernel = self.example.Matern(0.7)

    def test_it_is_the_formula_and_the_checks_hold(self):
        random = np.random.default_rng(0)
        x, y = random.normal(size=(30, 3)), random.normal(size=(5, 3))
        r = np.sqrt(np.sum((x[:, None] - y[None]) ** 2, axis=-1))
        expected = (1 + np.sqrt(3) * r / 0.7) * np.exp(-np.sqrt(3) * r / 0.7)
        self.assertAllClose(
            self.kernel.matrix(tf.constant(x), tf.constant(y)), expected, rtol=1e-12
        )
        self.assertGreater(self.example.smallest_eigenvalue(self.kernel, x), 0)
        self.assertLess(self.example.gradient_error(self.kernel, x, [*y, x[0]]), 1e-8)

    def test_slope_is_the_curvature_at_zero(self):
        step = 1e-4
        points = tf.constant([[0.0], [step]], tf.float64)
        fall = 1 - float(self.kernel.matrix(points[:1], points[1:])[0, 0])
        self.assertAllClose(self.kernel.slope, 2 * fall / step**2, rtol=1e-3)


class EnergyDistanceTest(tf.test.TestCase):
    """On the line SciPy has it, the V-statistic's root; elsewhere it is twice an MMD^2."""

    def setUp(self):
        super().setUp()
        self.example = load("new_method")
        self.random = np.random.default_rng(1)

    def test_on_the_line(self):
        x, y = self.random.normal(size=40), 0.5 + self.random.normal(size=30)

        def inner(points):
            return np.mean(np.abs(points[:, None] - points[None]))

        found = self.example.energy_distance(tf.constant(x[:, None]), tf.constant(y[:, None]))
        # The means that leave the diagonal out are larger by n / (n - 1).
        biased = float(found) + inner(x) / 39 + inner(y) / 29
        self.assertAllClose(biased, stats.energy_distance(x, y) ** 2, rtol=1e-12)

    def test_it_is_twice_the_squared_mmd_of_its_kernel(self):
        x, y = self.random.normal(size=(20, 3)), self.random.normal(size=(25, 3)) + 0.3

        def kernel(u, v):
            def norm(points):
                return np.linalg.norm(points, axis=-1)

            return 0.5 * (norm(u)[:, None] + norm(v)[None] - norm(u[:, None] - v[None]))

        def others(matrix):
            n = len(matrix)
            return (matrix.sum() - np.trace(matrix)) / (n * (n - 1))

        mmd2 = others(kernel(x, x)) + others(kernel(y, y)) - 2 * kernel(x, y).mean()
        found = self.example.energy_distance(tf.constant(x), tf.constant(y))
        self.assertAllClose(found, 2 * mmd2, rtol=1e-10)

    def test_points_that_coincide_have_a_finite_gradient(self):
        x = tf.constant([[1.0, 2.0], [1.0, 2.0], [0.0, 0.0]])
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = self.example.energy_distance(x, 2.0 * x)
        self.assertAllInRange(tape.gradient(value, x), -10, 10)


class OutsideTest(unittest.TestCase):
    """Rows from files and entry points; the catalogue's memory is put back afterwards."""

    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.enterContext(mock.patch.object(outside, "_found", None))

    def given(self, *texts):
        """Writes files and names them in KGZOO_METHODS; returns the names that are new."""
        paths = []
        for index, text in enumerate(texts):
            paths.append(self.folder / f"random{index}.py")
            paths[-1].write_text(text)
        variable = {"KGZOO_METHODS": os.pathsep.join(map(str, paths))}
        with mock.patch.dict(os.environ, variable), mock.patch.object(outside, "_found", None):
            listed = catalog.names()
            for name in listed:
                self.assertEqual(catalog.row(name).name, name)
            self.assertIn(listed[-1], catalog.table())
        self.assertEqual(listed[: len(catalog.ROWS)], list(catalog.ROWS))
        return listed[len(catalog.ROWS) :]

    def test_files(self):
        found = self.given(ROW.format(name="one"), ROW.format(name="two") + "ROWS = tuple(ROWS)")
        self.assertEqual(found, ["one", "two"])
        self.assertNotIn("`one`", catalog.markdown())

    def test_a_file_may_ask_the_catalogue(self):
        text = "from kgzoo import catalog, methods\nassert 'gan' in catalog.names()\n"
        self.assertEqual(self.given(text + ROW.format(name="one")), ["one"])

    def test_mistakes(self):
        for text, sentence in (
            ("1 / 0", "gives no methods .ZeroDivisionError"),
            ("raise SystemExit(3)", "gives no methods .SystemExit: 3"),
            ("syntax error", "gives no methods .SyntaxError"),
            ("x = 1", "gives no methods .AttributeError.*needs ROWS"),
            ("ROWS = [1]", r"gives \[1\]; it needs a list of kgzoo.catalog.Row"),
            ("ROWS = 7", "gives 7; it needs a list"),
            (ROW.format(name="gan"), "'gan', which is taken"),
            (ROW.format(name="a b"), "'a b', which is taken or has other signs"),
            (ROW.format(name="a").replace(":X", ""), "has target=.*give module:Class"),
        ):
            with self.subTest(text), self.assertRaisesRegex(UserError, sentence) as caught:
                self.given(text)
            self.assertNotIn("\n", str(caught.exception))
        with self.assertRaisesRegex(UserError, "'one', which is taken"):
            self.given(ROW.format(name="one"), ROW.format(name="one"))
        with mock.patch.dict(os.environ, KGZOO_METHODS="none.py"):
            with self.assertRaisesRegex(UserError, "KGZOO_METHODS=none.py is no file; name"):
                catalog.names()
            # Nothing of it is remembered, and known names need no others.
            with self.assertRaises(UserError):
                catalog.names()

    def test_entry_points(self):
        site = self.folder / "site"
        (site / "some_package-1.dist-info").mkdir(parents=True)
        (site / "some_package-1.dist-info/METADATA").write_text("Name: some-package\nVersion: 1\n")
        (site / "some_package-1.dist-info/entry_points.txt").write_text(
            "[kgzoo.methods]\nsome = some_package:ROWS\n"
        )
        (site / "some_package.py").write_text(ROW.format(name="packaged"))
        with mock.patch.object(sys, "path", [str(site), *sys.path]):
            self.assertEqual(catalog.names()[-1], "packaged")
            self.assertEqual(catalog.row("packaged").target, "some_package:X")
        sys.modules.pop("some_package")


if __name__ == "__main__":
    tf.test.main()
