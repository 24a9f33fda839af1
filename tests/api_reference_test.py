"""docs/API.md: what the sources say today, made by reading them alone."""

import ast
import collections
import importlib.util
import pathlib
import re
import subprocess
import sys
import unittest
from unittest import mock

ROOT = pathlib.Path(__file__).resolve().parent.parent


def load_build():
    spec = importlib.util.spec_from_file_location("docs_build", ROOT / "docs" / "build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


build = load_build()


class ReferenceTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.page = build.render()

    def test_it_is_current(self):
        current = (ROOT / "docs" / "API.md").read_text(encoding="utf-8")
        # Not assertEqual, which would print both pages.
        self.assertTrue(current == self.page, "type python docs/build.py")

    def test_chapters_tell_in_full(self):
        for name in (
            *("kgzoo.load", "kgzoo.list_models", "kgzoo.catalog.Row", "kgzoo.methods.Method"),
            *("Method.sample", "Method.compile", "Method.fit", "Method.train_step"),
            *("kgzoo.kernels.Kernel", "kgzoo.kernels.KernelNet", "kgzoo.discrepancies.mmd.mmd2"),
            *("kgzoo.data.load", "kgzoo.evaluation.scores.frechet_distance"),
            *("kgzoo.evaluation.score_card.score_samples", "kgzoo.serving.export_model"),
        ):
            found = re.findall(rf"^####+ \[{name}\]\(.*\)\n```python\n", self.page, re.MULTILINE)
            self.assertEqual(len(found), 1, name)
        self.assertRegex(self.page, r"mmd2\(\s*kernel: Kernel,")
        # Of another part of the class, in a file of its own.
        self.assertIn("**`freeze_critic(count: int) -> list[str]`**", self.page)

    def test_every_public_name_has_an_entry(self):
        """Of its own: a name that two modules define stands there twice."""
        defined = collections.Counter()
        for path in sorted((ROOT / "kgzoo").rglob("*.py")):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            public = set(build.public(tree))
            module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            self.assertTrue(public or len(tree.body) == 1 or path.stem == "__main__", module)
            for node in tree.body:
                if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                    defined.update({node.name} & public)
                elif isinstance(node, (ast.Assign, ast.AnnAssign)):
                    targets = getattr(node, "targets", None) or [node.target]
                    names = {getattr(n, "id", "") for t in targets for n in getattr(t, "elts", [t])}
                    defined.update(names & public)
        self.assertGreater(len(defined), 500)
        for name, count in defined.items():
            in_full = rf"^#### \[kgzoo[\w.]*\.{name}\]\("
            in_a_line = rf"^ *- (?:class )?`{name}[(`]|^ *- .*`{name}(?: = |: )"
            found = re.findall(f"{in_full}|{in_a_line}", self.page, re.MULTILINE)
            self.assertGreaterEqual(len(found), count, name)

    def test_the_contents_lead_to_every_heading(self):
        """Anchors by GitHub's rule: lower case, no points, equal ones numbered."""
        headings = re.findall(r"^##+ (.*)$", self.page, re.MULTILINE)
        texts = [re.sub(r"^\[(.*)\]\(.*\)$", r"\1", heading) for heading in headings]
        self.assertEqual(len(texts), len(set(texts)))
        anchors, met = [], collections.Counter()
        for text in texts:
            slug = re.sub(r"[^a-z0-9_ -]", "", text.lower()).replace(" ", "-")
            anchors.append(slug + f"-{met[slug]}" * (met[slug] > 0))
            met[slug] += 1
        contents = self.page[: self.page.index("\n## ")]
        self.assertEqual(re.findall(r"\]\(#([^)]+)\)", contents), anchors)
        for label, target in re.findall(r"\[([^\]]+)\]\(#([^)]+)\)", contents):
            self.assertTrue(texts[anchors.index(target)].endswith(label), label)

    def test_links_lead_somewhere(self):
        for target in set(re.findall(r"\]\(([^#)][^)]*)\)", self.page)):
            self.assertTrue((ROOT / "docs" / target).is_file(), target)

    def test_fences_are_closed(self):
        self.assertEqual(len(re.findall(r"^```", self.page, re.MULTILINE)) % 2, 0)

    def test_nothing_is_imported(self):
        script = (
            "import runpy, sys; module = runpy.run_path('docs/build.py'); module['render']();"
            "print(sorted({'numpy', 'keras', 'tensorflow', 'kgzoo'} & set(sys.modules)))"
        )
        done = subprocess.run(
            [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True
        )
        self.assertEqual(done.stdout.strip(), "[]", done.stderr)


class DocstringTest(unittest.TestCase):
    def test_sections(self):
        text = build._text(
            "Says a_b *c* and `d_e` of $HOME.\n\nMore\nof it.\n\n    x = y   z\n\n"
            "Args:\n    one, two: first\n        on two lines.\n    *rest: all [n, d].\n\n"
            "Returns:\n    A number.\n\nRaises:\n    UserError: if not."
        )
        self.assertEqual(
            text,
            "Says a_b \\*c\\* and `d_e` of `$HOME`.\n\nMore of it.\n\n```text\n    x = y   z\n```\n"
            "- `one`, `two`: first on two lines.\n- `*rest`: all \\[n, d\\].\n"
            "- **Returns** A number.\n- **Raises** `UserError`: if not.",
        )

    def test_signatures(self):
        node = ast.parse("def f(a, b: int=1, *c, d=None, **e) -> str: pass").body[0]
        shown = build._signature("f", node.args, node.returns)
        self.assertEqual(shown, "f(a, b: int = 1, *c, d=None, **e) -> str")
        brief = build._signature("f", node.args, node.returns, brief=True)
        self.assertEqual(brief, "f(a, b=1, *c, d=None, **e) -> str")

    def test_long_signatures_go_on_several_lines_and_back(self):
        arguments = [f"argument{index}: dict[str, int] = {{}}" for index in range(7)]
        shown = build._call("f", arguments, " -> int")
        self.assertGreater(len(shown.splitlines()), 3)
        self.assertLess(max(map(len, shown.splitlines())), 100)
        self.assertEqual(build._on_one_line(shown), f"f({', '.join(arguments)}) -> int")

    def test_first_sentences(self):
        for text, first in (
            ("Draws. Then stops.", "Draws."),
            ("Eq. (5) of it. And more.", "Eq. (5) of it."),
            ("By Li et al. (2017), e.g. `x`; is 1.5 or 2. It ends", None),
            ("No end", "No end"),
        ):
            node = ast.parse(f'"""{text}\n\nMore. Still more."""')
            expected = first or "By Li et al. (2017), e.g. `x`; is 1.5 or 2."
            self.assertEqual(build._first_sentence(node), expected)

    def test_a_public_name_that_is_nowhere(self):
        with mock.patch.object(build, "public", lambda tree: ["no_such_name"]):
            with self.assertRaisesRegex(LookupError, "names no_such_name, which no source"):
                build.render()


if __name__ == "__main__":
    unittest.main()
