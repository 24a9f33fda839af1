"""The register of claims: complete, light, and true to the result files."""

import inspect
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

from kgzoo import reproductions
from kgzoo.errors import UserError
from kgzoo.reproductions import claims, grid, provenance

ROOT = pathlib.Path(__file__).resolve().parent.parent
GRIDS = {
    *("kernel_gan_table", "stability", "repulsion", "kernelnet", "lambda_sweep", "pico_sweep"),
    "gram_sensitivity",
}


class RegisterTest(unittest.TestCase):
    def test_every_reproduction_is_a_claim_with_budgets(self):
        self.assertEqual(set(claims.CLAIMS), {*reproductions.NAMES, *GRIDS})
        for name, entry in claims.CLAIMS.items():
            with self.subTest(name):
                self.assertIn("quick", entry.budgets)
                self.assertLessEqual(set(entry.budgets), set(grid.BUDGETS))
                self.assertRegex(entry.paper, r"\(arXiv:\d{4}\.\d{5}\)$")
                self.assertTrue(entry.claim.endswith("."))
                self.assertTrue(entry.printed and entry.where and entry.headline)
                self.assertLessEqual(set(entry.options), set(entry.budgets))
                if name in GRIDS:
                    self.assertEqual(tuple(entry.budgets), grid.BUDGETS)

    def test_it_imports_nothing_heavy(self):
        script = (
            "import sys; from kgzoo.reproductions import claims; claims.listing();"
            "print(sorted({'numpy', 'matplotlib', 'scipy', 'tensorflow'} & set(sys.modules)))"
        )
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-c", script]
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        self.assertEqual(done.stdout.strip(), "[]", done.stderr)

    def test_budgets_of_reproductions_that_have_no_word_for_them(self):
        self.assertEqual(claims.options_of("ring", "quick"), {"quick": True})
        self.assertEqual(claims.options_of("ring", "cpu"), {})
        self.assertEqual(claims.options_of("nll", "paper"), {"scale": "paper"})
        with self.assertRaisesRegex(UserError, "budget='paper' is not known.*quick, cpu"):
            claims.options_of("ring", "paper")

    def test_headlines_are_in_the_kept_files(self):
        folder = ROOT / claims.RESULTS
        for path in folder.glob("*.json"):
            with self.subTest(path.stem):
                found = claims.measured(path.stem).found
                self.assertEqual(len(found), len(claims.CLAIMS[path.stem].headline))


class ListingTest(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))

    def write(self, name, settings, findings, **more):
        result = {"settings": settings, "findings": findings, **more}
        (self.folder / f"{name}.json").write_text(json.dumps(result))

    def test_says_what_was_measured_when_and_with_what(self):
        machine = {"commit": "0123456789abcdef+", "date": "2026-01-02 03:04 UTC"}
        rows = [
            {"quantity": "MMD-rep-b: FID", "found": "9.5", "paper": ""},
            {"quantity": "hinge: FID", "found": "1|2", "paper": ""},
            {"quantity": "hinge: KID", "found": "3", "paper": ""},
        ]
        self.write("repulsion", {"budget": "cpu"}, rows, machine=machine)
        self.write("dirac", {"quick": True}, [{"quantity": "SMMD: theta, 1", "found": "A"}])
        (self.folder / "ring.json").write_text('{"settings": {}, "fin')
        text = claims.listing(self.folder)
        said = " ".join(text.split())
        # The headline asks for MMD-rep, which here only begins the name of another arm.
        self.assertIn("measured hinge: FID: 1|2; MMD-rep-b: FID: 9.5 [budget cpu,", said)
        self.assertIn("2026-01-02, commit 0123456+]", said)
        self.assertIn("SMMD: theta, 1: A [budget quick]", said)
        self.assertIn("printed 12 of 12 settings; MMD net blurred; GAN none", said)
        self.assertEqual(said.count("measured not yet"), len(claims.CLAIMS) - 2)
        self.assertLessEqual(max(map(len, text.splitlines())), 100)

    def test_table_has_a_row_for_each_claim(self):
        self.write("repulsion", {"budget": "cpu"}, [{"quantity": "hinge: FID", "found": "1|2"}])
        lines = claims.markdown(self.folder).splitlines()
        self.assertEqual(len(lines), 2 + len(claims.CLAIMS))
        for line in lines:
            self.assertEqual(line.replace("\\|", "").count("|"), 7, line)
        row = next(line for line in lines if line.startswith("| `repulsion`"))
        self.assertIn("hinge: FID: 1\\|2", row)

    def test_provenance(self):
        facts = provenance.describe()
        self.assertRegex(facts["date"], r"^\d{4}-\d\d-\d\d \d\d:\d\d UTC$")
        if facts["commit"]:
            self.assertRegex(facts["commit"], r"^[0-9a-f]{40}\+?$")
        self.assertIsNone(provenance._version("no-such-package-here"))

    def test_grids_take_the_verbs_options(self):
        options = list(inspect.signature(grid.run).parameters)[1:]
        self.assertEqual(
            options,
            ["folder", "quick", "budget", "seeds", "arms", "steps", "data_dir", "grid"],
        )


if __name__ == "__main__":
    unittest.main()
