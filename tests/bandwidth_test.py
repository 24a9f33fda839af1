"""Figure 9 of the Kernel GAN paper: its curves against the plain formula, its files, its claims."""

import importlib.util
import json
import pathlib
import tempfile
import unittest
from unittest import mock

import numpy as np

import datadir
from kgzoo import data
from kgzoo.errors import UserError
from kgzoo.reproductions import bandwidth

DRAWS = unittest.skipUnless(importlib.util.find_spec("matplotlib"), "matplotlib is not installed")


def _plain(real, fake, sigma):
    """Both terms of eq. 12 with phi = 0, and their sum."""

    def density(at, points):
        squared = np.sum((at[:, None] - points[None]) ** 2, axis=-1)
        return np.exp(-squared / (2 * sigma**2)).mean(axis=1)

    p, q = density(real, real), density(real, fake)
    first = np.mean(np.log(p / (p + q)))
    p, q = density(fake, real), density(fake, fake)
    second = np.mean(np.log(q / (p + q)))
    return first + second, first, second


class CurvesTest(unittest.TestCase):
    def test_equal_the_plain_formula(self):
        random = np.random.RandomState(0)
        for d in (3, 50):
            real, other = random.uniform(size=(2, 8, d))
            mean = np.tile(real.mean(axis=0), (8, 1))
            bandwidths = np.array([0.4, 1.0, 30.0])
            found = bandwidth.curves(real, other, bandwidths)
            for generator, fake in (("ideal", other), ("mean image", mean)):
                expected = np.array([_plain(real, fake, sigma) for sigma in bandwidths])
                for part, values in zip(bandwidth.PARTS, expected.T, strict=True):
                    np.testing.assert_allclose(
                        found[generator][part], values, rtol=1e-9, atol=1e-12
                    )

    def test_selections_are_disjoint_training_images_in_the_unit_interval(self):
        images = np.arange(300, dtype=np.uint16)[:, None, None].repeat(2, axis=1)
        seen = set()
        for index in range(3):
            real, other = bandwidth._select(images, 0, index)
            self.assertEqual((real.shape, other.shape), ((100, 2), (100, 2)))
            self.assertEqual(real.dtype, np.float64)
            self.assertFalse(set(real[:, 0]) & set(other[:, 0]))
            seen.add(tuple(real[:, 0]))
        self.assertEqual(len(seen), 3)
        again, _ = bandwidth._select(images, 0, 1)
        self.assertIn(tuple(again[:, 0]), seen)
        white = np.full([300, 2, 2, 1], 255, np.uint8)
        self.assertEqual(bandwidth._select(white, 0, 0)[0].max(), 1.0)

    def test_crossings_are_interpolated_and_rounding_is_none(self):
        sigma = np.geomspace(0.1, 10.0, 5)
        difference = np.array([1e-15, -1e-15, 1.0, -3.0, -1.0])
        (place,) = bandwidth._roots(sigma, difference)
        expected = np.exp(np.log(sigma[2]) + 0.25 * np.log(sigma[3] / sigma[2]))
        self.assertAlmostEqual(place, expected)
        self.assertEqual(bandwidth._crossings(sigma, np.ones(5)), "nowhere")


@DRAWS
class RunTest(unittest.TestCase):
    def setUp(self):
        super().setUp()
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))

    def _check_files(self, result):
        self.assertEqual(result, json.loads((self.folder / "bandwidth.json").read_text()))
        picture = (self.folder / "bandwidth.png").read_bytes()
        self.assertEqual(picture[:8], b"\x89PNG\r\n\x1a\n")
        self.assertLess(len(picture), 200_000)
        self.assertLess((self.folder / "bandwidth.json").stat().st_size, 200_000)
        for row in result["findings"]:
            self.assertEqual(set(row), {"quantity", "found", "paper"})

    def test_averages_over_selections_and_writes_both_files(self):
        with mock.patch.dict(bandwidth._POINTS, {True: 6}):
            result = bandwidth.run(self.folder, quick=True, dataset="digits", seed=4)
        self._check_files(result)
        self.assertEqual(result["settings"]["selections"], 5)
        self.assertEqual(result["settings"]["dataset"], "digits")
        images = data.load("digits", "train").examples
        values = []
        for index in range(5):
            real, other = bandwidth._select(images, 4, index)
            values.append(_plain(real, other, result["bandwidths"][4]))
        for part, expected in zip(bandwidth.PARTS, np.mean(values, axis=0), strict=True):
            np.testing.assert_allclose(result["curves"]["ideal"][part][4], expected, rtol=1e-6)

    def test_paper_s_claims_on_mnist(self):
        data_dir, reason = datadir.data_dir("mnist")
        if data_dir is None:
            self.skipTest(reason)
        with (
            mock.patch.dict(bandwidth._SELECTIONS, {True: 2}),
            mock.patch.dict(bandwidth._POINTS, {True: 14}),
        ):
            result = bandwidth.run(self.folder, quick=True, data_dir=data_dir)
        self._check_files(result)
        sigma = np.array(result["bandwidths"])
        ideal, mean = (
            {part: np.array(values) for part, values in result["curves"][name].items()}
            for name in bandwidth.GENERATORS
        )
        large, small = sigma > 2.5, (sigma > 0.7) & (sigma < 1.5)
        self.assertTrue((mean["total"][large] < ideal["total"][large]).all())
        self.assertTrue((mean["total"][small] > ideal["total"][small]).all())
        self.assertLess(mean["total"].min(), -np.log(4) - 0.1)
        # The imbalance: the first half far below -log 2, the second one far above.
        at = mean["total"].argmin()
        self.assertLess(mean["first"][at], -np.log(2) - 0.3)
        self.assertGreater(mean["second"][at], -np.log(2) + 0.2)
        self.assertLess(np.abs(ideal["first"] - ideal["second"]).max(), 0.15)

    def test_a_data_set_that_is_not_there_is_refused_before_anything_is_written(self):
        with self.assertRaisesRegex(UserError, "mnist"):
            bandwidth.run(self.folder, data_dir=str(self.folder))
        self.assertEqual(list(self.folder.iterdir()), [])


if __name__ == "__main__":
    unittest.main()
