"""The register of claims: complete, light, and true to the result files."""

import contextlib
import importlib
import inspect
import io
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

from kgzoo import reproduce, reproductions
from kgzoo.errors import UserError
from kgzoo.reproductions import claims, grid, grid_table, provenance

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
        self.assertIn("measured hinge: FID: 1|2 [budget cpu,", said)
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
        cost = claims.CLAIMS["repulsion"].budgets["cpu"]
        self.assertIn(f"| FID: hinge 1\\|2 | cpu: {cost} |", row)
        row = next(line for line in lines if line.startswith("| `kernelnet`"))
        self.assertTrue(row.endswith("| not measured |  |"), row)

    def test_values_are_short(self):
        for found, part, short in (
            *((95.509, "", "95.5"), ("1.0049", "", "1"), (7.4e-5, "", "7.4e-05")),
            (
                "31.53 +- 0.52 (31 to 32.1), 3 runs; 1 of 4 diverged",
                "",
                "31.53 +- 0.52; 1 of 4 diverged",
            ),
            ("no score; 3 of 3 diverged", "", "no score; 3 of 3 diverged"),
            ("1.5, 1 run", "", "1.5"),
            ("A reaches 0 in 3, B ends at 4, C reaches 0 in 9", r"([ABC]) reaches", "A, C"),
            ("nothing of it", r"\d", "nothing of it"),
        ):
            self.assertEqual(claims._short(str(found), part), short)
        self.assertEqual(claims._typeset("-2.1 +- 0.3; 1e-05, 2-D"), "−2.1 ± 0.3, 1e-05, 2-D")

    def test_budgets_that_options_changed_have_no_cost(self):
        self.write("nll", {"budget": "quick, changed", "scale": "quick"}, [])
        row = next(line for line in claims.markdown(self.folder).splitlines() if "`nll`" in line)
        self.assertTrue(row.endswith("| quick, changed |"), row)


class ReadmeTest(unittest.TestCase):
    def setUp(self):
        self.path = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory())) / "README.md"

    def test_its_table_is_that_of_the_result_files(self):
        text = (ROOT / "README.md").read_text(encoding="utf-8")
        begin, end = claims.MARKERS
        self.assertEqual(text.count(begin), 1)
        table = text.partition(begin)[2].partition(end)[0]
        command = begin.split(": ")[1].split(" -->")[0]
        self.assertEqual(table, claims.markdown(), f"type {command}")
        self.assertEqual(text.count(f"`{command}`"), 1)
        for row in table.splitlines()[2:]:
            for cell in row.split(" | "):
                self.assertLessEqual(len(cell), 110, cell)

    def test_the_command_renews_it(self):
        begin, end = claims.MARKERS
        self.path.write_text(f"é before\n{begin}old\n{end}\nafter\n", encoding="utf-8")
        with contextlib.redirect_stdout(io.StringIO()) as out:
            reproduce.main(["reproduce", "--list", "--markdown", f"--to={self.path}"])
            reproduce.main(["reproduce", "--list", "--markdown"])
        text = self.path.read_text(encoding="utf-8")
        self.assertEqual(text, f"é before\n{begin}{claims.markdown()}{end}\nafter\n")
        self.assertEqual(out.getvalue(), f"wrote {self.path}\n{claims.markdown()}\n")

    def test_refuses_files_without_its_place(self):
        for text in ("", claims.MARKERS[0], "".join(reversed(claims.MARKERS))):
            self.path.write_text(text)
            with self.assertRaisesRegex(UserError, "one table, between .* give the README"):
                claims.renew(self.path)
            self.assertEqual(self.path.read_text(), text)
        with self.assertRaisesRegex(UserError, "cannot be read"):
            claims.renew(self.path.parent)


class GridHeadlinesTest(unittest.TestCase):
    """The findings of the seven tables, made by the code that makes them after a training."""

    def findings(self, claim, arms):
        summaries = {}
        for place, arm in enumerate(arms):
            own = {score.name: [place + 1.0, place + 1.5, place + 1.2] for score in claim.scores}
            choices = claim.arms[arm].choices
            summaries[arm] = {
                "title": claim.arms[arm].title + (f", {list(choices)[-1]}" if choices else ""),
                "printed": {},
                "learning_rates": {},
                **{"runs": 3, "diverged": 0, "failed": 0},
                "scores": {name: grid_table.summarize(values) for name, values in own.items()},
            }
        rows = grid_table.findings(summaries, claim.scores, claim.expects)
        return rows + (claim.conclude(summaries) if claim.conclude else [])

    def test_each_headline_picks_its_finding(self):
        for name in sorted(GRIDS):
            claim = importlib.import_module(f"kgzoo.reproductions.{name}").run.args[0]
            for budget in claim.budgets.values():
                arms = budget.arms or tuple(claim.arms)
                rows = self.findings(claim, arms)
                # In the reverse order a title that begins another one would be met too late.
                for given in (rows, rows[::-1]):
                    found = claims._headline(given, claims.CLAIMS[name].headline)
                    labels = [of.label for of in found]
                    self.assertEqual(
                        labels, [value.label for value in claims.CLAIMS[name].headline]
                    )
                    quantities = [of.quantity for of in found]
                    self.assertEqual(len(set(quantities)), len(quantities), quantities)
                    for of in found:
                        self.assertLessEqual(len(of.short), 20, of)
                        asks = of.label.endswith("?")
                        self.assertRegex(of.short, "^(yes|no)" if asks else r"^\d")
                        self.assertEqual(asks, " better than " in of.quantity, of)

    def test_values_are_those_of_their_arms(self):
        repulsion = importlib.import_module("kgzoo.reproductions.repulsion").run.args[0]
        rows = self.findings(repulsion, ("mmd_rep_b", "mmd_rep", "hinge"))
        found = claims._headline(rows, claims.CLAIMS["repulsion"].headline)
        shorts = {of.label: of.short for of in found}
        self.assertEqual(shorts["rep"], "2.233 +- 0.25")
        self.assertEqual(shorts["FID: hinge"], "3.233 +- 0.25")
        self.assertEqual(shorts["rep better than hinge?"], "yes")
        self.assertNotIn("rbf", shorts)
        rows = self.findings(repulsion, ("mmd_rep_b",))
        self.assertEqual(claims._headline(rows, claims.CLAIMS["repulsion"].headline), [])


class BudgetTest(unittest.TestCase):
    def test_what_options_changed_is_said(self):
        claim = importlib.import_module("kgzoo.reproductions.pico_sweep").run.args[0]

        def said(spent=None, arms=None, varied=False):
            usual = claim.budgets["cpu"]
            plan = grid._Plan(claim, ROOT, "cpu", spent or usual, arms or usual.arms, "")
            return grid._settings(plan, [], varied)["budget"]

        self.assertEqual(said(), "cpu")
        self.assertEqual(said(arms=claim.budgets["cpu"].arms[::-1]), "cpu")
        for changed in (
            said(arms=claim.budgets["cpu"].arms[:2]),
            said(spent=claim.budgets["cpu"]._replace(seeds=5)),
            said(varied=True),
        ):
            self.assertEqual(changed, "cpu, changed")


class MachineTest(unittest.TestCase):
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
