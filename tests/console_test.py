"""The console script, and what a command line is told before anything is trained."""

import contextlib
import io
import pathlib
import sys
import tempfile
import unittest
from unittest import mock

from absl import flags

from kgzoo import cli, config, main
from kgzoo.errors import UserError


def console(*arguments):
    """Types `kgzoo ...`; returns exit code, output and errors."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        with mock.patch.object(sys, "argv", ["kgzoo", *arguments]):
            try:
                cli.main()
                code = 0
            except SystemExit as end:
                code = end.code
    return code, out.getvalue(), err.getvalue()


class ConsoleTest(unittest.TestCase):
    def test_without_a_verb_it_lists_them_and_trains_nothing(self):
        with mock.patch.object(main, "main", side_effect=AssertionError):
            for arguments in ((), ("--help",), ("-h",), ("help",)):
                code, out, err = console(*arguments)
                self.assertEqual((code, err), (0, ""))
                for verb in ("train", "evaluate", "export", "reproduce", "report"):
                    self.assertRegex(out, rf"(?m)^  kgzoo {verb} +\w")
                self.assertLess(len(out.splitlines()), 10)

    def test_wrong_verbs_are_one_sentence(self):
        for arguments, words in (
            (("trian",), "trian is not a verb; did you mean 'train'?"),
            (("x",), "x is not a verb; choose train, evaluate"),
            (("--steps=5",), "no verb before --steps=5; choose train, evaluate"),
        ):
            code, out, err = console(*arguments)
            self.assertEqual((code, out), (2, ""))
            self.assertIn(words, err)
            self.assertEqual(len(err.splitlines()), 1)

    def test_verbs_get_their_arguments(self):
        code, out, _ = console("train", "--list_methods")
        self.assertEqual(code, 0)
        self.assertIn("sn_smmd", out)
        self.assertIn("--gallery", console("evaluate", "--help")[1])


class ValuesTest(unittest.TestCase):
    def test_values_that_do_not_fit_are_named_with_the_remedy(self):
        values = flags.FlagValues()
        flags.DEFINE_integer("steps", None, "", flag_values=values)
        flags.DEFINE_integer("seeds", None, "", 1, flag_values=values)
        flags.DEFINE_integer("chains", None, "", 1, 9, flag_values=values)
        flags.DEFINE_bool("quick", False, "", flag_values=values)
        for argument, remedy in (
            ("--steps=abc", "a whole number"),
            ("--steps=", "a whole number"),
            ("--seeds=0", "a positive whole number"),
            ("--chains=10", "a whole number in the range [1, 9]"),
            ("--quick=maybe", "true or false"),
        ):
            with self.assertRaises(UserError) as caught:
                cli.parse(["x", argument], values)
            self.assertEqual(str(caught.exception), f"{argument} does not fit; give {remedy}.")


class TrainTest(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))

    def test_without_a_solver_no_run_folder_is_made(self):
        workdir = self.folder / "run"
        arguments = ["train", "--dataset=ring2d", f"--workdir={workdir}"]
        for package in ("cvxpy", "clarabel"):
            with mock.patch.dict(sys.modules, {package: None}):
                for method in ("--method=lipmmd", "--method=gcmmd --config.objective=lipmmd2"):
                    code, _, err = console(*arguments, *method.split())
                    self.assertEqual(code, 2)
                    self.assertIn("objective=lipmmd2 needs cvxpy and clarabel", err)
                    self.assertIn("type pip install cvxpy clarabel.", err)
                self.assertFalse(workdir.exists())
                main._check_extras("gcmmd2")

    def test_fewer_steps_than_a_finished_run_has_are_told(self):
        from kgzoo import results
        from kgzoo.training import run_folder, runtime

        runtime_of = {"precision": "float32"}
        self.enterContext(mock.patch.object(runtime, "prepare", return_value=runtime_of))
        self.enterContext(mock.patch.object(run_folder, "check_resume"))
        self.enterContext(mock.patch.object(results, "finished_step", return_value=1000))
        self.enterContext(mock.patch.object(results, "summary", return_value="the results"))
        for steps, said in (
            (1000, []),
            (5, ["has 1000 steps, 5 were asked for: nothing to train"]),
        ):
            resolved = config.compose("gan", "ring2d", overrides={"steps": steps})
            with contextlib.redirect_stdout(io.StringIO()) as out:
                code = main._locked_train(resolved, self.folder, "x", "x")
            *lines, last = out.getvalue().splitlines()
            self.assertEqual((code, last, len(lines)), (0, "the results", len(said)))
            for line, words in zip(lines, said, strict=True):
                self.assertIn(words, line)


if __name__ == "__main__":
    unittest.main()
