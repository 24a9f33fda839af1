"""Figures 1, 6 and 9 of the GRAM paper at a few steps."""

import contextlib
import importlib.util
import io
import json
import pathlib
import tempfile
import unittest
from unittest import mock

import numpy as np
import pytest

from kgzoo.errors import UserError
from kgzoo.reproductions import projection

DRAWS = unittest.skipUnless(importlib.util.find_spec("matplotlib"), "matplotlib is not installed")


class ProjectionTest(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))

    def _run(self, **options):
        with contextlib.redirect_stderr(io.StringIO()):
            return projection.run(self.folder, **options)

    def _only(self, method, dataset, **options):
        with mock.patch.object(projection, "_METHODS", (method,)):
            with mock.patch.object(projection, "_DATASETS", {dataset: dataset}):
                return self._run(quick=True, **options)

    def test_panels_at_the_papers_steps(self):
        self.assertEqual(projection.shown_steps("ring2d", 10_000), [10, 100, 1000, 10_000])
        self.assertEqual(projection.shown_steps("ring3d", 10_000), [0, 100, 1000, 10_000])

    def test_own_class_neighbours_by_brute_force(self):
        random = np.random.default_rng(0)
        for shift in (0.0, 0.7, 20.0):
            first, second = random.normal(size=[40, 2]), random.normal(size=[60, 2]) + shift
            points = np.concatenate([first, second])
            own = 0
            for index, point in enumerate(points):
                distances = np.linalg.norm(points - point, axis=1)
                distances[index] = np.inf
                own += (np.argmin(distances) < 40) == (index < 40)
            found = projection.nearest_in_own_class(first, second)
            self.assertAlmostEqual(found, own / 100)
        self.assertEqual(found, 1.0)

    def test_probe_by_its_formulas(self):
        random = np.random.default_rng(1)
        x, y = random.normal(size=[30, 2]), random.normal(size=[20, 2]) + 0.5

        def gram(a, b):
            return np.exp(-np.square(a[:, None] - b[None]).sum(-1) / 2)

        squared = gram(x, x).mean() - 2 * gram(x, y).mean() + gram(y, y).mean()
        ratios = 20 / 30 * np.linalg.solve(gram(y, y) + 1e-3 * np.eye(20), gram(y, x).sum(1))
        found = projection._probe(x, y)
        self.assertAlmostEqual(found["mmd"], squared**0.5, places=10)
        divergence = np.square(ratios - 1).mean()
        self.assertAlmostEqual(found["pearson_divergence"] / divergence, 1.0, places=6)

    @DRAWS
    def test_writes_traces_and_panels(self):
        result = self._only("gram", "ring3d", steps=12)
        self.assertEqual(json.loads((self.folder / "projection.json").read_text()), result)
        picture = (self.folder / "projection.png").read_bytes()
        self.assertEqual(picture[:8], b"\x89PNG\r\n\x1a\n")
        of = result["runs"]["gram_ring3d"]
        self.assertEqual(of["steps_done"], 12)
        self.assertEqual(of["traces"]["step"], list(range(1, 13)))
        self.assertEqual(len(of["traces"]["mmd"]), 12)
        self.assertEqual(list(of["probes"]), ["0", "1", "12"])
        self.assertEqual(result["settings"]["fields"]["gram"]["output_dim"], 2)
        for row in result["findings"]:
            self.assertEqual(set(row), {"quantity", "found", "paper"})

    @DRAWS
    @pytest.mark.slow
    def test_both_methods(self):
        result = self._run(quick=True, steps=3)
        names = {"gram_ring2d", "gram_ring3d", "mmd_gan_ring2d", "mmd_gan_ring3d"}
        self.assertEqual(set(result["runs"]), names)

    @DRAWS
    def test_a_diverged_model_ends_its_traces(self):
        from kgzoo.reproductions import toy_runs

        def fails(model, steps):
            weight = model.model.generator.trainable_weights[0]
            weight.assign(np.full(weight.shape, np.nan))
            model.model.average.reset(model.model.generator)

        with mock.patch.object(toy_runs.ToyRun, "advance", fails):
            result = self._only("gram", "ring2d", steps=4)
        of = result["runs"]["gram_ring2d"]
        self.assertEqual((of["traces"]["step"], list(of["probes"])), ([], ["0"]))
        self.assertEqual((of["steps_done"], of["scores"]["diverged"]), (0, True))
        self.assertTrue((self.folder / "projection.png").exists())

    def test_wrong_options_are_refused(self):
        for steps in (-1, 1.5, True):
            with self.assertRaisesRegex(UserError, f"steps={steps}"):
                projection.run(self.folder, steps=steps)


if __name__ == "__main__":
    unittest.main()
