"""The verb reproduce, its figures, and the reproduction that needs kgzoo's kernels."""

import contextlib
import functools
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

from kgzoo import cli, reproduce, reproductions
from kgzoo.errors import UserError
from kgzoo.reproductions import dirac, figure, saturation, two_parameter
from kgzoo.reproductions import two_parameter_flow as flow

ROOT = pathlib.Path(__file__).resolve().parent.parent
PNG = b"\x89PNG\r\n\x1a\n"


def verb(*arguments):
    """Runs the verb in this process; returns exit code, output and errors."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            cli.run(reproduce.main, ["reproduce", *map(str, arguments)])
        except SystemExit as end:
            return end.code, out.getvalue(), err.getvalue()


class VerbTest(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))

    def test_lists_names_without_one(self):
        code, out, _ = verb()
        self.assertEqual(code, 0)
        for name in reproductions.NAMES:
            self.assertIn(name, out)

    def test_help_loads_nothing_heavy(self):
        script = (
            "import sys; from kgzoo import reproduce; reproduce.main(['x', '--help']);"
            "print(sorted({'numpy', 'matplotlib', 'scipy', 'tensorflow'} & set(sys.modules)))"
        )
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-c", script]
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stdout.splitlines()[-1], "[]")
        self.assertIn("--quick", done.stdout)

    def test_mistakes_are_one_sentence(self):
        file = self.folder / "file"
        file.write_text("")
        for arguments, word in (
            (["dirak"], "'dirac'"),
            (["dirac", "saturation"], "one reproduction"),
            (["dirac", "--to="], "--to"),
            (["dirac", f"--to={file}"], "is a file"),
            (["dirac", "--quik"], "quick"),
            (["two_parameter", "--data_dir=x", f"--to={self.folder}"], "data_dir"),
        ):
            with self.subTest(arguments):
                code, out, err = verb(*arguments)
                self.assertEqual(code, 2)
                self.assertIn(word, err)
                self.assertIn("kgzoo: ", err.splitlines()[-1])
                self.assertNotIn("Traceback", err)
                self.assertEqual(out, "")
        self.assertEqual([path.name for path in self.folder.iterdir()], ["file"])

    def test_writes_picture_and_numbers_and_prints_them_beside_the_papers(self):
        # What the quick form computes for its picture alone is made coarser still.
        for module, name, value in (
            (two_parameter, "_FIELD", {True: (7, 0.3)}),
            (two_parameter, "_FLOW_TIME", 50.0),
            (two_parameter, "equilibria", functools.partial(flow.equilibria, starts_per_side=3)),
            (dirac, "_FIELD", {True: (7, 0.3)}),
            *((dirac, "_STEPS", {True: 250}), (dirac, "_STEP_SIZE", 0.04)),
        ):
            self.enterContext(mock.patch.object(module, name, value))
        for name, words in (
            ("saturation", ("sigma 1", "rational quadratic, mean")),
            ("two_parameter", ("(1.554, 0.307)", "(1.55, 0.74)", "not where")),
            ("dirac", ("SMMD", "LipMMD", "B moves the wrong way")),
        ):
            with self.subTest(name):
                code, out, err = verb(name, "--quick", f"--to={self.folder}")
                self.assertEqual(code, 0, err)
                for word in (*words, "quantity", "found", "paper", "took", f"{name}.png"):
                    self.assertIn(word, out)
                picture = (self.folder / f"{name}.png").read_bytes()
                self.assertEqual(picture[:8], PNG)
                self.assertLess(len(picture), 500_000)
                result = json.loads((self.folder / f"{name}.json").read_text())
                self.assertTrue(result["settings"]["quick"])
                for row in result["findings"]:
                    self.assertEqual(set(row), {"quantity", "found", "paper"})
        facts = json.loads((self.folder / "dirac.json").read_text())
        self.assertEqual(len(facts["losses"]), 9)
        self.assertTrue(facts["losses"]["mmd"]["paths"]["A"]["converged"])
        self.assertFalse(facts["losses"]["mmd"]["paths"]["C"]["converged"])
        self.assertIn("paths_with_f_eta", facts["losses"]["sobolev_mmd"])

    def test_table_wraps_and_keeps_columns(self):
        rows = [{"quantity": "a", "found": "word " * 30, "paper": "p"}]
        lines = reproduce._table(rows).splitlines()
        self.assertLess(max(map(len, lines)), 100)
        self.assertEqual(" ".join(lines[2:]).count("word"), 30)
        self.assertEqual(lines[2].rstrip()[-1], "p")


class ReproductionsTest(unittest.TestCase):
    def test_wrong_names_and_options_are_refused(self):
        with self.assertRaisesRegex(UserError, "did you mean 'saturation'"):
            reproductions.run("saturations", pathlib.Path("nowhere"))
        with self.assertRaisesRegex(UserError, "no option regularisation; it takes regular"):
            reproductions.run("dirac", pathlib.Path("nowhere"), regularisation=1.0)
        with self.assertRaisesRegex(UserError, "regularization=0"):
            reproductions.run("dirac", pathlib.Path("nowhere"), regularization=0)

    def test_a_missing_module_is_an_error_only_when_asked_for(self):
        with mock.patch.dict(reproductions.NAMES, {"absent": "not there"}):
            with self.assertRaisesRegex(UserError, "absent is not part of this installation"):
                reproductions.run("absent", pathlib.Path("nowhere"))


class FigureTest(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory())) / "new"

    def test_without_matplotlib_the_command_to_install_it_is_given(self):
        with mock.patch.dict(sys.modules, {"matplotlib": None}):
            with self.assertRaisesRegex(UserError, r"pip install matplotlib"):
                figure.new_figure(1, 1, 2.0, 2.0)

    def test_writes_both_files_and_turns_numpy_into_json(self):
        result = {"a": np.float32(0.5), "b": np.arange(3), "c": np.bool_(True)}
        for name in ("x", "y"):
            drawing, axes = figure.new_figure(1, 2, 4.0, 2.0)
            self.assertEqual(axes.shape, (1, 2))
            axes[0, 0].plot([0, 1], [0, 1], color="#c51b7d")
            found = figure.write(self.folder, name, drawing, result)
        self.assertEqual(found, {"a": 0.5, "b": [0, 1, 2], "c": True})
        self.assertEqual(json.loads((self.folder / "x.json").read_text()), found)
        pictures = [(self.folder / f"{name}.png").read_bytes() for name in ("x", "y")]
        self.assertEqual(*pictures)
        self.assertEqual(len(list(self.folder.iterdir())), 4)

    def test_a_number_that_json_does_not_know_leaves_no_files(self):
        drawing, _ = figure.new_figure(1, 1, 2.0, 2.0)
        for bad in (float("nan"), np.array([np.inf])):
            with self.assertRaises(ValueError):
                figure.write(self.folder, "x", drawing, {"a": bad})
        self.assertFalse(self.folder.exists())


class SaturationTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.e = np.linspace(0, 10, 2001)
        cls.curves = saturation.curves(cls.e)

    def test_kernels_and_derivatives(self):
        e = self.e
        for sigma, name in ((1, "sigma 1"), (2, "sigma 2"), (4, "sigma 4")):
            values, slopes = self.curves["gaussian"][name]
            np.testing.assert_allclose(values, np.exp(-(e**2) / (2 * sigma**2)), atol=1e-14)
            np.testing.assert_allclose(slopes, -e / sigma**2 * values, atol=1e-14)
        for alpha in (0.2, 0.5, 1.0, 2.0, 5.0):
            values, slopes = self.curves["rational_quadratic"][f"alpha {alpha:g}"]
            base = 1 + e**2 / (2 * alpha)
            np.testing.assert_allclose(values, base**-alpha, atol=1e-14)
            np.testing.assert_allclose(slopes, -e * base ** (-alpha - 1), atol=1e-14)
            peak = e[np.argmin(slopes)]
            self.assertAlmostEqual(peak, (2 * alpha / (2 * alpha + 1)) ** 0.5, delta=5e-3)

    def test_the_mean_is_the_mean(self):
        for group in ("gaussian", "rational_quadratic"):
            members = list(self.curves[group].values())
            self.assertEqual(len(members), 6)
            np.testing.assert_allclose(members[-1], np.mean(members[:-1], axis=0), atol=1e-14)

    def test_bounds_hold_on_the_squared_distance(self):
        e, (plain, low, high) = self.e, self.curves["bounded"].values()
        np.testing.assert_allclose(low[0], np.exp(-np.maximum(e**2, 0.25) / 2), atol=1e-14)
        np.testing.assert_allclose(high[0], np.exp(-np.minimum(e**2, 4.0) / 2), atol=1e-14)
        np.testing.assert_array_equal(low[1][e < 0.5], 0.0)
        np.testing.assert_array_equal(high[1][e > 2], 0.0)
        np.testing.assert_array_equal(low[1][e > 0.5], plain[1][e > 0.5])


if __name__ == "__main__":
    unittest.main()
