"""Distances of known distributions against numerical integration and the paper's dense systems."""

import importlib.util
import json
import pathlib
import tempfile
import unittest
from unittest import mock

import numpy as np
import tensorflow as tf
import threadpoolctl
from absl.testing import parameterized

from kgzoo import kernels
from kgzoo.discrepancies.gradient_constrained import gcmmd2
from kgzoo.reproductions import distances, gaussians
from kgzoo.reproductions.gaussians import Gaussian

POINT = Gaussian(0.0, 0.0)


def _kernel(x, y, psi):
    return np.exp(-(psi**2) * (x - y) ** 2 / 2)


def _samples(measure, count=1201):
    """Equidistant points and weights of a Gaussian, far finer than anything the module uses."""
    if measure.std == 0:
        return np.array([measure.mean]), np.ones(1)
    points = measure.mean + measure.std * np.linspace(-9, 9, count)
    weights = np.exp(-(((points - measure.mean) / measure.std) ** 2) / 2)
    return points, weights / weights.sum()


def _integral(p, q, psi):
    (x, a), (y, b) = _samples(p), _samples(q)
    return a @ _kernel(x[:, None], y[None, :], psi) @ b


def _prop3(points, eta, slope, mmd2, psi, regularization):
    """GCMMD^2 as Prop. 3 prints it, mu the mean of the points, loop by loop."""
    count = len(points)
    system = np.zeros([2 * count, 2 * count])
    for i, x in enumerate(points):
        for j, y in enumerate(points):
            k = _kernel(x, y, psi)
            system[i, j] = k
            system[count + i, j] = -(psi**2) * (x - y) * k
            system[i, count + j] = psi**2 * (x - y) * k
            system[count + i, count + j] = (psi**2 - psi**4 * (x - y) ** 2) * k
    v = np.concatenate([eta, slope])
    penalty = v @ np.linalg.solve(system + count * regularization * np.eye(2 * count), v)
    return (mmd2 - penalty) / regularization


class GaussiansTest(parameterized.TestCase):
    def setUp(self):
        super().setUp()
        self.enterContext(threadpoolctl.threadpool_limits(1))

    @parameterized.parameters(
        (POINT, Gaussian(1.3, 0.0), 0.7),
        (POINT, Gaussian(0.4, 0.5), 2.0),
        (Gaussian(0.0, 0.1), Gaussian(-0.3, 1.0), 0.1),
        (Gaussian(0.2, 0.3), Gaussian(-0.5, 0.6), 3.0),
    )
    def test_mmd_and_witness_equal_numerical_integration(self, p, q, psi):
        expected = _integral(p, p, psi) + _integral(q, q, psi) - 2 * _integral(p, q, psi)
        np.testing.assert_allclose(gaussians.mmd(psi, p, q) ** 2, expected, rtol=1e-8)
        t = np.linspace(-2, 2, 9)
        value, slope = gaussians.witness(psi, p, q, t)
        (x, a), (y, b) = _samples(p), _samples(q)

        def eta(at):
            return _kernel(at[:, None], x, psi) @ a - _kernel(at[:, None], y, psi) @ b

        np.testing.assert_allclose(value, eta(t), atol=1e-12)
        np.testing.assert_allclose(slope, (eta(t + 1e-5) - eta(t - 1e-5)) / 2e-5, atol=1e-8)

    def test_mmd_of_two_points_is_the_papers_formula(self):
        theta = np.array([0.1, 1.0, 20.0])
        found = gaussians.mmd(0.5, POINT, Gaussian(theta, 0.0)) ** 2
        np.testing.assert_allclose(found, 2 * (1 - np.exp(-(0.5**2) * theta**2 / 2)), rtol=1e-12)

    @parameterized.product(psi=(0.2, 1.0, 6.0), regularization=(0.3, 1.0))
    def test_gcmmd_with_mu_at_p_is_prop3_with_one_point(self, psi, regularization):
        theta = 1.7
        u = psi**2 * theta**2 / 2
        eta, slope = 1 - np.exp(-u), -(psi**2) * theta * np.exp(-u)
        expected = _prop3(np.zeros(1), [eta], [slope], 2 * (1 - np.exp(-u)), psi, regularization)
        found = gaussians.gcmmd(psi, POINT, Gaussian(theta, 0.0), POINT, regularization)
        np.testing.assert_allclose(found**2, expected, rtol=1e-12)

    def test_weights_are_repeated_points_of_the_printed_form(self):
        # mu = (3 delta_a + 1 delta_b + 2 delta_c) / 6 is the mean of six points.
        points, counts = np.array([-0.4, 0.3, 1.0]), np.array([3, 1, 2])
        psi, regularization, p, q = 1.3, 0.4, POINT, Gaussian(0.8, 0.3)
        repeated = np.repeat(points, counts)
        eta, slope = gaussians.witness(psi, p, q, repeated)
        mmd2 = gaussians.mmd(psi, p, q) ** 2
        expected = _prop3(repeated, eta, slope, mmd2, psi, regularization)
        with mock.patch.object(gaussians, "nodes", return_value=(points, counts / 6)):
            found = gaussians.gcmmd(psi, p, q, POINT, regularization)
        np.testing.assert_allclose(found**2, expected, rtol=1e-11)

    def test_gcmmd_equals_the_packages_discrepancy(self):
        psi, theta, points = 1.4, 0.9, np.linspace(-1, 2, 6)
        features = [tf.constant(psi * np.reshape(x, [-1, 1])) for x in ([0.0], [theta], points)]
        gram = tf.fill([6, 1, 1], tf.constant(psi**2, tf.float64))
        expected, _ = gcmmd2(kernels.Gaussian(1.0), *features, gram, regularization=0.5)
        with mock.patch.object(gaussians, "nodes", return_value=(points, np.full(6, 1 / 6))):
            found = gaussians.gcmmd(psi, POINT, Gaussian(theta, 0.0), POINT, 0.5)
        np.testing.assert_allclose(found**2, expected.numpy(), rtol=1e-10)

    @parameterized.parameters(
        (Gaussian(0.0, 0.1), Gaussian(0.7, 0.2), Gaussian(0.0, 0.1), 3.0),
        (POINT, Gaussian(2.0, 0.0), Gaussian(0.3, 1.5), 0.8),
    )
    def test_quadrature_has_converged_and_equals_gauss_hermite(self, p, q, mu, psi):
        found = gaussians.gcmmd(psi, p, q, mu, 1.0)
        np.testing.assert_allclose(found, gaussians.gcmmd(psi, p, q, mu, 1.0, 5.0), rtol=1e-7)
        values = []
        for count in (40, 80):
            roots, weights = np.polynomial.hermite_e.hermegauss(count)
            points, weights = mu.mean + mu.std * roots, weights / weights.sum()
            eta, slope = gaussians.witness(psi, p, q, points)
            offset = points[:, None] - points[None, :]
            k = _kernel(offset, 0.0, psi)
            mixed = -(psi**2) * offset * k
            system = np.block([[k, mixed.T], [mixed, (psi**2 - psi**4 * offset**2) * k]])
            root = np.sqrt(np.tile(weights, 2))
            v = root * np.concatenate([eta, slope])
            inner = root[:, None] * system * root[None, :] + np.eye(2 * count)
            values.append(gaussians.mmd(psi, p, q) ** 2 - v @ np.linalg.solve(inner, v))
        np.testing.assert_allclose(values[0], values[1], rtol=1e-6)
        np.testing.assert_allclose(found**2, values[1], rtol=1e-7)

    def test_critic_attains_the_distance(self):
        p, q, mu = Gaussian(0.0, 0.1), Gaussian(0.6, 0.4), Gaussian(0.0, 10.0)
        (x, a), (y, b) = _samples(p, 401), _samples(q, 401)
        critic = gaussians.gcmmd_critic(1.2, p, q, mu, 0.7, np.concatenate([x, y]))
        found = a @ critic[: len(x)] - b @ critic[len(x) :]
        np.testing.assert_allclose(found, gaussians.gcmmd(1.2, p, q, mu, 0.7), rtol=1e-8)

    def test_smmd_is_never_above_gcmmd(self):
        fakes = Gaussian(*np.meshgrid(np.linspace(0, 3, 5), [0.0, 0.05, 1.0]))
        for psi in (0.1, 1.0, 8.0):
            for mu in (Gaussian(0.0, 0.1), Gaussian(0.0, 10.0), POINT):
                for regularization in (0.1, 1.0):
                    p = Gaussian(0.0, 0.1)
                    smmd = gaussians.smmd(psi, p, fakes, regularization)
                    gcmmd = gaussians.gcmmd(psi, p, fakes, mu, regularization)
                    self.assertTrue(np.all(smmd <= gcmmd * (1 + 1e-9)), (psi, mu))
                    self.assertTrue(
                        np.all(
                            gcmmd <= gaussians.mmd(psi, p, fakes) / regularization**0.5 * 1.000001
                        )
                    )

    def test_lipmmd_with_the_steepest_place_in_the_middle_is_a_closed_form(self):
        theta, psi, regularization = 1.0, 0.8, 0.6
        found = gaussians.lipmmd(psi, POINT, Gaussian(theta, 0.0), regularization)
        mmd2 = 2 * (1 - np.exp(-(psi**2) * theta**2 / 2))
        slope = -(psi**2) * theta * np.exp(-(psi**2) * theta**2 / 8)
        expected = (mmd2 - slope**2 / (regularization + psi**2)) / regularization
        np.testing.assert_allclose(found.value**2, expected, rtol=1e-6)
        np.testing.assert_allclose(found.lower, found.value, rtol=1e-5)

    @parameterized.parameters((0.3, 0.1), (2.0, 1.0), (2.0, 0.01), (5.0, 0.3))
    def test_lipmmd_critic_is_feasible_and_attains_it(self, theta, regularization):
        found = gaussians.lipmmd(1.5, POINT, Gaussian(theta, 0.0), regularization)
        x = np.linspace(-5.0, 5.0 + theta, 4001)
        values = found.critic(np.array([0.0, theta]))
        np.testing.assert_allclose(values[0] - values[1], found.lower, rtol=1e-7)
        steepest = np.max(np.abs(np.diff(found.critic(x)))) / (x[1] - x[0])
        self.assertLess(steepest, 1.0)
        self.assertLess(found.value, min(theta, np.sqrt(2 / regularization)))
        # The critic of the SMMD, scaled to the constraint, is feasible too.
        eta, slope = gaussians.witness(1.5, POINT, Gaussian(theta, 0.0), x)
        norm2 = gaussians.mmd(1.5, POINT, Gaussian(theta, 0.0)) ** 2
        rival = norm2 / np.sqrt(np.max(slope**2) + regularization * norm2)
        self.assertGreaterEqual(found.value, rival * (1 - 1e-6))

    @unittest.skipUnless(
        all(importlib.util.find_spec(name) for name in ("cvxpy", "clarabel")),
        "cvxpy and clarabel are not installed",
    )
    def test_lipmmd_equals_the_packages_discrepancy(self):
        from kgzoo.discrepancies.lipschitz import lipmmd

        psi, theta = 1.2, 2.5
        points = np.linspace(-2, theta + 2, 60)
        features = [tf.constant(psi * np.reshape(x, [-1, 1])) for x in ([0.0], [theta], points)]
        gram = tf.fill([60, 1, 1], tf.constant(psi**2, tf.float64))
        other = lipmmd(kernels.Gaussian(1.0), *features, gram, regularization=0.5)
        found = gaussians.lipmmd(psi, POINT, Gaussian(theta, 0.0), 0.5)
        # Sixty points miss the steepest places by a little.
        np.testing.assert_allclose(found.value, other.numpy(), rtol=2e-3)
        self.assertLess(found.value, other.numpy() * (1 + 1e-6))


class DistancesTest(parameterized.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.enterClassContext(threadpoolctl.threadpool_limits(1))
        cls.thetas = np.array([0.05, 0.5, 3.0, 20.0])
        cls.found = distances.dirac_distances(cls.thetas, 16)

    def test_optimised_mmd_is_sqrt_2(self):
        np.testing.assert_allclose(self.found["mmd"]["distance"], np.sqrt(2), rtol=1e-6)

    def test_optimised_smmd_is_the_formulas_maximum(self):
        psi2 = np.geomspace(1e-6, 1e6, 200_001)[:, None]
        squared = 2 * (1 - np.exp(-psi2 * self.thetas**2 / 2)) / (2 + psi2)
        expected = np.sqrt(squared.max(axis=0))
        np.testing.assert_allclose(self.found["smmd"]["distance"], expected, rtol=1e-5)

    def test_smmd_and_lipmmd_are_continuous_and_below_wasserstein(self):
        for name in ("smmd", "lipmmd"):
            found = self.found[name]["distance"]
            self.assertTrue(np.all(found <= self.thetas), name)
            self.assertGreater(found[0], 0.9 * self.thetas[0], name)
            self.assertTrue(np.all(np.diff(found) > 0), name)

    def test_gcmmd_jumps_when_mu_is_p_and_not_when_mu_has_a_density(self):
        # psi -> infinity: (2 - 1 / (1 + lambda)) / lambda, whatever theta is.
        np.testing.assert_allclose(self.found["gcmmd_p"]["distance"], np.sqrt(1.5), rtol=1e-5)
        wide = self.found["gcmmd_wide"]["distance"]
        self.assertTrue(np.all(np.diff(wide) > 0))
        self.assertLess(wide[0], 0.8)
        # At every psi it is above the SMMD, so its optimum is.
        self.assertTrue(np.all(wide >= self.found["smmd"]["distance"]))

    def test_optimise_finds_the_top_between_grid_points(self):
        def distance(psi, q):
            return np.exp(-((np.log(psi) - np.asarray(q.mean)) ** 2))

        means = np.array([[-1.03, 0.41], [1.77, 5.0]])
        values, psis = distances.optimise(distance, Gaussian(means, means), 0.1, 10.0, 7)
        np.testing.assert_allclose(np.log(psis)[0], means[0], atol=0.02)
        np.testing.assert_allclose(values.ravel()[:3], 1.0, atol=1e-3)
        np.testing.assert_allclose(psis[1, 1], 10.0, rtol=0.02)  # the end of the range

    def test_maps_are_the_closed_forms(self):
        means, stds = np.array([0.0, 1.0]), np.array([0.02, 2.0])
        maps = distances.gaussian_maps(means, stds, 8)
        self.assertEqual(maps["gcmmd_optimised"].shape, (2, 2))
        p, q = Gaussian(0.0, 0.1), Gaussian(1.0, 2.0)
        expected = np.sqrt(
            _integral(p, p, 10.0) + _integral(q, q, 10.0) - 2 * _integral(p, q, 10.0)
        )
        np.testing.assert_allclose(maps["mmd_0.1"][1, 1], expected, rtol=1e-6)
        self.assertTrue(np.all(maps["smmd_optimised"] <= maps["gcmmd_optimised"] * (1 + 1e-6)))
        self.assertTrue(np.all(maps["gcmmd_10"] <= maps["gcmmd_optimised"] * (1 + 1e-6)))

    @unittest.skipUnless(importlib.util.find_spec("matplotlib"), "matplotlib is not installed")
    def test_run_writes_picture_and_numbers(self):
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name) / "new"
            result = distances.run(folder, quick=True)
            self.assertEqual(json.loads((folder / "distances.json").read_text()), result)
            self.assertLess((folder / "distances.png").stat().st_size, 500_000)
        for row in result["findings"]:
            self.assertEqual(set(row), {"quantity", "found", "paper"})
        self.assertEqual(np.shape(result["maps"]["mmd_10"]), (8, 8))


if __name__ == "__main__":
    tf.test.main()
