"""Figure 1 of the Kernel GAN paper at a few steps."""

import contextlib
import importlib.util
import io
import json
import pathlib
import tempfile
import unittest

from kgzoo.errors import UserError
from kgzoo.reproductions import annealing

DRAWS = unittest.skipUnless(importlib.util.find_spec("matplotlib"), "matplotlib is not installed")


class AnnealingTest(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))

    @DRAWS
    def test_one_phase_for_each_bandwidth(self):
        with contextlib.redirect_stderr(io.StringIO()) as told:
            result = annealing.run(self.folder, quick=True, steps=3)
        self.assertEqual(json.loads((self.folder / "annealing.json").read_text()), result)
        picture = (self.folder / "annealing.png").read_bytes()
        self.assertEqual(picture[:8], b"\x89PNG\r\n\x1a\n")
        phases = result["phases"]
        self.assertEqual([phase["step"] for phase in phases], [0, 3, 6, 9, 12, 15, 18])
        self.assertIsNone(phases[0]["bandwidth"])
        for phase, printed in zip(phases[1:], (0.8, 0.4, 0.2, 0.1, 0.05, 0.025), strict=True):
            self.assertEqual(phase["bandwidth"], printed)
            self.assertAlmostEqual(phase["bandwidth_of_last_step"], printed, places=6)
            self.assertTrue(0 <= phase["share_4_sd"] <= phase["share_near"] <= 1)
        self.assertEqual(len(told.getvalue().splitlines()), 6)
        self.assertEqual(result["settings"]["fields"]["latent_dim"], 100)
        self.assertEqual(result["findings"][-2]["paper"], "concentrated around the modes")
        for row in result["findings"]:
            self.assertEqual(set(row), {"quantity", "found", "paper"})

    def test_wrong_options_are_refused(self):
        for steps in (-1, 2.5, True):
            with self.assertRaisesRegex(UserError, f"steps={steps}"):
                annealing.run(self.folder, steps=steps)


if __name__ == "__main__":
    unittest.main()
