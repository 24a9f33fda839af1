"""The catalogue: complete rows, light to import, and the README's table made from it."""

import pathlib
import re
import subprocess
import sys

import tensorflow as tf

from kgzoo import catalog, config, methods

ROOT = pathlib.Path(__file__).resolve().parent.parent
FIRST_ROWS = "gan hinge mmd_rbf mmd_rq mmd_opt smmd sn_smmd swgan sn_swgan".split()


class CatalogTest(tf.test.TestCase):
    def test_names(self):
        self.assertContainsSubset(FIRST_ROWS, catalog.names())

    def test_rows_are_complete_and_their_settings_are_fields(self):
        for name, row in catalog.ROWS.items():
            self.assertEqual(row.name, name)
            for field in ("summary", "target", "paper", "section", "equation", "bibtex"):
                self.assertNotEmpty(getattr(row, field), f"{name}.{field}")
            self.assertContainsSubset(row.settings(), config.FIELDS)
            self.assertTrue(issubclass(methods.method_class(name), methods.Method))

    def test_settings_of_the_papers(self):
        """Read in the papers: SMMD section 4, repulsive MMD-GAN section 5.1 and Table S1."""
        smmd, repulsive = catalog.row("smmd"), catalog.row("mmd_rbf")
        self.assertEqual((smmd.critic_steps, smmd.output_dim, smmd.scale_weight), (5, 1, 10.0))
        self.assertEqual((smmd.image_range, smmd.estimator), ((0.0, 1.0), "unbiased"))
        self.assertEqual((smmd.adam_beta1, smmd.adam_beta2), (0.5, 0.9))
        self.assertEqual((repulsive.critic_steps, repulsive.output_dim), (1, 16))
        self.assertEqual((repulsive.adam_beta1, repulsive.adam_beta2), (0.5, 0.999))
        self.assertEqual((repulsive.spectral, repulsive.image_range), ("pico", (-1.0, 1.0)))
        self.assertAllClose(repulsive.spectral_constant, 1 / 0.55)
        for name in ("sn_smmd", "sn_swgan"):
            self.assertEqual(catalog.row(name).spectral, "gain")

    def test_readme_table_is_the_catalogue(self):
        self.assertIn(catalog.markdown(), (ROOT / "README.md").read_text(encoding="utf-8"))

    def test_references_hold_every_key(self):
        text = (ROOT / "references.bib").read_text(encoding="utf-8")
        keys = set(re.findall(r"^@\w+{(\w+),", text, re.MULTILINE))
        self.assertEqual(keys, {row.bibtex for row in catalog.ROWS.values()})

    def test_readme_names_only_fields_that_exist(self):
        words = (ROOT / "README.md").read_text(encoding="utf-8").replace("`", " ").split()
        named = [word.split("=")[0] for word in words if word.startswith("--config.")]
        for flag in named:
            field = flag.removeprefix("--config.")
            self.assertTrue(field in config.FIELDS or not field.isidentifier(), flag)

    def test_import_is_light(self):
        code = (
            "import sys, kgzoo.catalog, kgzoo.config, kgzoo.main; "
            "print([m for m in ('tensorflow', 'numpy', 'keras', 'sklearn') if m in sys.modules])"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
        )
        self.assertEqual(done.stdout.strip(), "[]")


if __name__ == "__main__":
    tf.test.main()
