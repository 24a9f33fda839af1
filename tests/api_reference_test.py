"""docs/API.md: what the sources say today, made by reading them alone."""

import importlib.util
import pathlib
import re
import subprocess
import sys
import unittest

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

    def test_it_has_what_people_call(self):
        for name in (
            *(
                "mmd2",
                "Gaussian",
                "KernelNet",
                "Method",
                "GAN",
                "MMDGAN",
                "SMMD",
                "gradient_penalty",
            ),
            *("frechet_distance", "kernel_distance", "export_model", "compose", "Row", "UserError"),
        ):
            self.assertEqual(self.page.count(f"\n#### {name}\n"), 1, name)
        for name in ("Method.compile", "Method.fit", "Sampling.sample", "Kernel.derivatives"):
            self.assertIn(f"**{name}**", self.page)
        self.assertIn(
            "mmd2(\n    kernel: Kernel,", self.page.replace("mmd2(kernel", "mmd2(\n    kernel")
        )

    def test_links_lead_somewhere(self):
        anchors = {
            re.sub(r"[^\w\- ]", "", head).lower().replace(" ", "-")
            for head in re.findall(r"^#+ (.*)$", self.page, re.MULTILINE)
        }
        for target in re.findall(r"\]\(#([^)]+)\)", self.page):
            self.assertIn(target, anchors)
        for target in set(re.findall(r"\]\((\.\./[^)]+)\)", self.page)):
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
            "Says a_b *c* and `d_e`.\n\nMore\nof it.\n\n    x = y   z\n\n"
            "Args:\n    one, two: first\n        on two lines.\n    *rest: all [n, d].\n\n"
            "Returns:\n    A number.\n\nRaises:\n    UserError: if not."
        )
        self.assertEqual(
            text,
            "Says a_b \\*c\\* and `d_e`.\n\nMore of it.\n\n```text\n    x = y   z\n```\n\n"
            "**Args**\n\n- `one`, `two`: first on two lines.\n- `*rest`: all \\[n, d\\].\n\n"
            "**Returns**\n\nA number.\n\n**Raises**\n\n- `UserError`: if not.",
        )

    def test_signatures(self):
        import ast

        node = ast.parse("def f(a, b: int=1, *c, d=None, **e) -> str: pass").body[0]
        shown = build._signature("f", node.args, node.returns)
        self.assertEqual(shown, "f(a, b: int = 1, *c, d=None, **e) -> str")


if __name__ == "__main__":
    unittest.main()
