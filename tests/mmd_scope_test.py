"""benchmarks/mmd_scope.py: its closed form against all draws there are, and what it writes."""

import contextlib
import io
import itertools
import json
import pathlib
import sys
import tempfile
import unittest

import numpy as np
import tensorflow as tf

from kgzoo import kernels
from kgzoo.discrepancies import mmd

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "benchmarks"))

import mmd_scope  # noqa: E402


class ClosedFormTest(unittest.TestCase):
    """Populations so small that every sample can be looked at, in float64."""

    def setUp(self):
        random = np.random.RandomState(0)
        self.x, self.y = random.randn(3, 2), random.randn(2, 2) + 0.5
        self.kernel = kernels.get("rational_quadratic_mixture")
        pairs = ((self.x, self.x), (self.x, self.y), (self.y, self.y))
        self.estimate = tf.function(lambda x, y: mmd.mmd2(self.kernel, x, y)[0], autograph=False)
        self.grams = tuple(self.kernel.matrix(a, b).numpy() for a, b in pairs)
        self.moments = mmd_scope.moments(*self.grams)

    def all_estimates(self, examples):
        """Returns the estimate on every sample of so many examples, all equally likely."""
        rows = [
            list(itertools.product(range(len(points)), repeat=examples))
            for points in (self.x, self.y)
        ]
        return np.array(
            [
                self.estimate(tf.constant(self.x[list(i)]), tf.constant(self.y[list(j)]))
                for i, j in itertools.product(*rows)
            ]
        )

    def test_variance_is_that_of_all_samples(self):
        for examples in (2, 3):
            found = self.all_estimates(examples)
            self.assertEqual(found.dtype, np.float64)
            wanted = mmd_scope.variance(self.moments, examples)
            np.testing.assert_allclose(np.var(found), wanted, rtol=1e-12)

    def test_blocks_have_the_variance_of_one_over_their_number(self):
        block = self.all_estimates(2)
        pairs = (block[:, None] + block[None, :]) / 2
        wanted = mmd_scope.block_variance(self.moments, 4, 2)
        np.testing.assert_allclose(np.var(pairs), wanted, rtol=1e-12)
        np.testing.assert_allclose(np.var(block) / 2, wanted, rtol=1e-12)
        self.assertGreater(wanted, mmd_scope.variance(self.moments, 4))

    def test_block_estimates_are_those_that_training_uses(self):
        rows = [np.random.RandomState(i).randint(2 + i, size=(3, 6)) for i in (1, 0)]
        for replicas in (1, 2, 3):
            blocks = [
                np.mean(
                    [
                        self.estimate(tf.constant(self.x[i]), tf.constant(self.y[j]))
                        for i, j in zip(np.split(a, replicas), np.split(b, replicas), strict=True)
                    ]
                )
                for a, b in zip(*rows, strict=True)
            ]
            found = mmd_scope.block_estimates(self.grams, *rows, replicas)
            np.testing.assert_allclose(found, blocks, rtol=1e-12)

    def test_far_apart_blocks_cost_nothing_and_where_both_are_one_they_cost_their_number(self):
        for of, ratio in (((1.0, 0.0, 0.0), 1.0), ((0.0, 1.0, 1.0), 8.0)):
            block, whole = (mmd_scope.block_variance(of, 8000, replicas) for replicas in (8, 1))
            self.assertAlmostEqual(block / whole, ratio, places=2)


class ProgramTest(unittest.TestCase):
    def test_measures_what_the_closed_form_says_and_writes_it(self):
        with (
            tempfile.TemporaryDirectory() as folder,
            contextlib.redirect_stdout(io.StringIO()) as out,
        ):
            to = pathlib.Path(folder) / "found.json"
            code = mmd_scope.main(["", f"--to={to}", "--trials=420", "--batch_sizes=16"])
            result = json.loads(to.read_text())
            self.assertTrue(to.with_suffix(".png").read_bytes().startswith(b"\x89PNG"))
        self.assertEqual(code, 0)
        self.assertEqual(out.getvalue().count("\n"), 2 + 3 * 4)
        for case in mmd_scope.CASES:
            rows = result[case]
            self.assertEqual([row["replicas"] for row in rows], [1, 2, 4, 8])
            for row in rows:
                # 420 trials: the deviation of such a variance is 7 % for a normal estimate.
                np.testing.assert_allclose(row["variance"], row["closed_form"], rtol=0.4)
                error = 5 * np.sqrt(row["closed_form"] / 420)
                np.testing.assert_allclose(row["mean"], row["mmd2"], atol=error)
            ratios = [row["over_global"] for row in rows]
            self.assertEqual(ratios, sorted(ratios))


if __name__ == "__main__":
    unittest.main()
