"""benchmarks/torch_step.py: both sides compute the same and do the same work."""

import importlib.util
import json
import os
import pathlib
import sys
import tempfile
import unittest
from unittest import mock

import pytest

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "benchmarks"
PLAYERS = ("critic", "generator")
CASES = ("hinge pim", "mmd_rbf none", "smmd none", "smmd pim")

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None,
    reason="torch is not installed; pip install 'kgzoo[bench]' brings it",
)


class TorchStepTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        with mock.patch.object(sys, "path", [str(FOLDER), *sys.path]):
            cls.program = importlib.import_module("torch_step")
        # The sides are processes of their own and find kgzoo as this one does.
        path = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        with tempfile.TemporaryDirectory() as folder, mock.patch.dict(os.environ, path):
            kept = pathlib.Path(folder) / "result.json"
            some = [
                "--quick",
                "--size=16",
                "--threads=1",
                "--variants=float32",
                f"--compare={','.join(CASES)}",
            ]
            cls.program.main([*some, f"--to={kept}"])
            cls.found = json.loads(kept.read_text())

    def test_same_numbers_from_the_same_weights(self):
        compared = self.found["differences"]
        self.assertEqual(tuple(compared), CASES)
        names = {f"{player} {what}" for player in PLAYERS for what in ("loss", "gradient")}
        for case, differences in compared.items():
            self.assertEqual(set(differences), {"outputs", *names})
            for name, difference in differences.items():
                with self.subTest(case, name=name):
                    self.assertLess(difference, 1e-4)

    def test_same_work(self):
        hinge = self.found["results"]["hinge"]
        work = {side: hinge[side]["float32"]["work"] for side in ("kgzoo", "torch")}
        self.assertEqual(work["kgzoo"], work["torch"])
        # Forward: the critic's seven and the generator's last, of two updates. Backward by input:
        # three transposed convolutions forward twice, the critic's but the first, and all for the
        # generator. Backward by input of the transposed ones: three convolutions.
        runs = {kind: count for kind, (count, _) in work["torch"].items()}
        self.assertEqual(runs["convolution"], 2 * 8 + 3)
        self.assertEqual(runs["input gradient"], 2 * 3 + 6 + 7 + 1)
        self.assertEqual(runs["filter gradient"], 7 + 4)

    def test_what_is_kept(self):
        self.assertIn("torch", self.found["provenance"]["packages"])
        self.assertLessEqual({"commit", "cores", "cpu"}, set(self.found["provenance"]))
        hinge = self.found["results"]["hinge"]
        seconds = {side: hinge[side]["float32"]["median_seconds"] for side in ("kgzoo", "torch")}
        for ratio in ("float32", "best"):
            expected = seconds["torch"] / seconds["kgzoo"]
            self.assertAlmostEqual(hinge["ratios"][ratio], expected)


if __name__ == "__main__":
    unittest.main()
