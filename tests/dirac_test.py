"""Losses of two Diracs against matrices, quadrature, programmes and finite differences."""

import unittest
from unittest import mock

import numpy as np
from scipy import integrate, optimize

from kgzoo.reproductions import dirac, dirac_programs, two_diracs

POINTS = ((1.3, 0.8), (-2.0, 0.6), (0.4, 2.5), (3.0, 1.1))


def kernel(psi, x, y):
    return np.exp(-0.5 * psi**2 * (np.subtract.outer(x, y)) ** 2)


def witness_slope(theta, psi, x):
    """eta'(x) of eta = k(0, .) - k(theta, .)."""
    real = -(psi**2) * x * np.exp(-0.5 * (psi * x) ** 2)
    fake = -(psi**2) * (x - theta) * np.exp(-0.5 * (psi * (x - theta)) ** 2)
    return real - fake


def mmd2(theta, psi):
    both = np.array([0.0, theta])
    return np.array([1, -1]) @ kernel(psi, both, both) @ np.array([1, -1])


def gcmmd2_dense(theta, psi, points, regularization):
    """Prop. 3 with mu = mean of point masses: all M (1 + d) equations in the coordinate x."""
    num, difference = len(points), np.subtract.outer(points, points)
    k = kernel(psi, points, points)
    left = -(psi**2) * difference * k
    both = psi**2 * (1 - psi**2 * difference**2) * k
    eta = kernel(psi, points, np.array([0.0, theta])) @ np.array([1, -1])
    vector = np.concatenate([eta, witness_slope(theta, psi, points)])
    system = np.block([[k, left.T], [left, both]]) + num * regularization * np.eye(2 * num)
    return (mmd2(theta, psi) - vector @ np.linalg.solve(system, vector)) / regularization


def lipmmd2_dual(theta, psi, regularization, num_points):
    """min over probabilities w on Z of g^T (lam I + sum_j w_j G_j^T G_j)^-1 g (Woodbury)."""
    points = np.linspace(min(theta, 0) - 3 / psi, max(theta, 0) + 3 / psi, num_points)
    difference = np.subtract.outer(points, points)
    both = psi**2 * (1 - psi**2 * difference**2) * kernel(psi, points, points)
    slopes = witness_slope(theta, psi, points)

    def value(logits):
        root = np.exp((logits - logits.max()) / 2)
        root /= np.linalg.norm(root)
        system = root[:, None] * both * root + regularization * np.eye(num_points)
        solution = np.linalg.solve(system, root * slopes)
        fit = mmd2(theta, psi) - (root * slopes) @ solution
        # The derivative by w_j is -(f'(z_j))^2, f = (lam I + sum w G^T G)^-1 eta.
        critic = (slopes - both @ (root * solution)) / regularization
        weights = root**2
        by_weight = -(critic**2)
        return fit / regularization, weights * (by_weight - weights @ by_weight)

    start = np.zeros(num_points)
    options = {"maxiter": 20_000, "maxfun": 20_000, "ftol": 1e-15, "gtol": 1e-10}
    return optimize.minimize(value, start, jac=True, method="L-BFGS-B", options=options).fun


class LossesTest(unittest.TestCase):
    def test_velocities_are_minus_the_gradients(self):
        theta, psi = np.array(POINTS).T
        step = 1e-5
        for name in two_diracs.LOSSES:
            for normalize in (True, False):

                def losses(t, p, name=name, normalize=normalize):
                    return two_diracs.losses(name, t, p, 0.7, normalize)

                with self.subTest(name, normalize=normalize):
                    by_theta = losses(theta + step, psi)[0] - losses(theta - step, psi)[0]
                    by_psi = losses(theta, psi + step)[1] - losses(theta, psi - step)[1]
                    found = two_diracs.velocity(name, theta, psi, 0.7, normalize)
                    np.testing.assert_allclose(found[0], -by_theta / (2 * step), atol=1e-7)
                    np.testing.assert_allclose(found[1], -by_psi / (2 * step), atol=1e-6)

    def test_losses_are_eq_28(self):
        weight = 0.7
        for theta, psi in POINTS:
            for normalize in (True, False):
                scale = mmd2(theta, psi) ** 0.5 if normalize else 1.0

                def slope(x, theta=theta, psi=psi, scale=scale):
                    return abs(witness_slope(theta, psi, x)) / scale

                between = integrate.quad(lambda t, s=slope, a=theta: (s(t * a) - 1) ** 2, 0, 1)[0]
                mean = (slope(0.0) ** 2 + slope(theta) ** 2) / 2
                penalties = {
                    "mmd": 0.0,
                    "mmd_gp": (slope(0.0) - 1) ** 2,
                    "mmd_gp_unif": between,
                    "sobolev_mmd": (mean - 1) ** 2,
                    "centered_sobolev_mmd": mean**2,
                }
                for name, penalty in penalties.items():
                    with self.subTest(name, theta=theta, normalize=normalize):
                        found = two_diracs.losses(name, theta, psi, weight, normalize)
                        expected = (mmd2(theta, psi), -mmd2(theta, psi) + weight * penalty)
                        np.testing.assert_allclose(found, expected, rtol=1e-10)
            smmd2 = mmd2(theta, psi) / (weight + 1 + psi**2)
            found = two_diracs.losses("smmd", theta, psi, weight)
            np.testing.assert_allclose(found, (smmd2, -smmd2), rtol=1e-12)
            found = two_diracs.losses("sn_mmd", theta, psi, weight)
            np.testing.assert_allclose(found, np.array([2, -2]) * mmd2(theta, 1.0), rtol=1e-12)

    def test_smmd_has_one_scale_for_p_and_for_figure_1s_uniform(self):
        # E k(x, x) + E d2k/dxdy(x, x) under Uniform(0, theta), by finite differences.
        theta, psi, step = 1.7, 1.2, 1e-4
        x = np.linspace(0, theta, 5)
        mixed = [
            (kernel(psi, a + step, a + step) - kernel(psi, a + step, a - step)) / (2 * step**2)
            for a in x
        ]
        found = mmd2(theta, psi) / two_diracs.losses("smmd", theta, psi, 1.0)[0]
        np.testing.assert_allclose(1.0 + 1.0 + np.mean(mixed), found, rtol=1e-5)

    def test_nothing_is_singular_where_the_diracs_meet(self):
        for name in two_diracs.LOSSES:
            found = two_diracs.velocity(name, np.zeros(2), np.array([0.5, 2.0]))
            self.assertTrue(np.all(np.isfinite(found)), name)
            np.testing.assert_allclose(found[0], 0.0, atol=1e-10)


class ProgramsTest(unittest.TestCase):
    def test_gcmmd_is_prop_3_with_many_points_of_mu(self):
        # Midpoints of equal shares of N(0, 10^2): 1/M each, as the proposition has it.
        from scipy import stats

        points = 10 * stats.norm.ppf((np.arange(600) + 0.5) / 600)
        for theta, psi in ((4.0, 0.4), (-1.5, 0.9)):
            for regularization in (1.0, 0.1):
                found = dirac_programs.gcmmd2(np.array(theta), np.array(psi), regularization)[0]
                dense = gcmmd2_dense(theta, psi, points, regularization)
                np.testing.assert_allclose(found, dense, rtol=3e-3)
                self.assertLess(found, mmd2(theta, psi) / regularization)

    def test_gcmmd_has_converged_in_its_grid(self):
        theta, psi = np.array([0.3, 2.0, 5.0, 6.0]), np.array([2.5, 0.3, 1.0, 2.5])
        for regularization, tolerance in ((1.0, 1e-8), (0.1, 2e-5)):
            found = dirac_programs.gcmmd2(theta, psi, regularization)
            finer = dirac_programs.gcmmd2(theta, psi, regularization, spacing=0.2)
            np.testing.assert_allclose(found, finer, rtol=tolerance)
            with mock.patch.object(dirac_programs, "_MARGIN", 20.0):
                wider = dirac_programs.gcmmd2(theta, psi, regularization)
            np.testing.assert_allclose(found, wider, rtol=tolerance)

    def test_lipmmd_is_the_least_of_the_dual(self):
        for theta, psi, regularization in ((1.3, 0.8, 1.0), (-2.5, 1.1, 0.3)):
            found = dirac_programs.lipmmd2(np.array(theta), np.array(psi), regularization)[0]
            dual = lipmmd2_dual(theta, psi, regularization, num_points=61)
            np.testing.assert_allclose(found, dual, rtol=3e-3)

    def test_lipmmd_tends_to_wasserstein_from_below(self):
        theta = np.array([0.7, -2.0])
        values = [
            dirac_programs.lipmmd2(theta, np.array([1.5, 0.5]), regularization)[0]
            for regularization in (1e-1, 1e-2, 1e-4)
        ]
        for smaller, larger in zip(values, [*values[1:], theta**2], strict=True):
            self.assertTrue(np.all(smaller < larger))
        np.testing.assert_allclose(values[-1], theta**2, rtol=5e-3)

    def test_lipmmd_with_a_wide_kernel_bounds_the_slope_alone(self):
        # In the limit psi -> 0, eta is psi^2 theta x: |eta'| is everywhere the same.
        theta, psi, regularization = np.array(1.0), np.array(0.05), 1.0
        found = dirac_programs.lipmmd2(theta, psi, regularization)[0]
        expected = mmd2(1.0, 0.05) / (regularization + psi**2)
        np.testing.assert_allclose(found, expected, rtol=2e-3)


class PathTest(unittest.TestCase):
    def starts(self):
        return np.array([(theta, 1 / inverse) for theta, inverse in dirac.STARTS.values()])

    def test_steps_are_simultaneous(self):
        starts = self.starts()
        points = dirac.path("sobolev_mmd", starts, 0.1, 1, 0.5)
        moves = two_diracs.velocity("sobolev_mmd", *starts.T, 0.5)
        np.testing.assert_allclose(points[1], starts + 0.1 * np.stack(moves, axis=1))
        self.assertEqual(points.shape, (2, 3, 2))

    def test_the_flow_of_mmd_stays_on_circles(self):
        # dtheta / dpsi = -psi / theta.
        points = dirac.path("mmd", self.starts(), 1e-3, 2000)
        radius = np.sum(points**2, axis=2)
        np.testing.assert_allclose(radius[-1], radius[0], rtol=2e-3)
        self.assertLess(points[-1, 0, 0], 0.2)

    def test_smmd_frees_the_starts_where_mmd_is_stuck(self):
        stuck = dirac.path("mmd", self.starts(), 0.02, 2500)[-1, :, 0]
        freed = dirac.path("smmd", self.starts(), 0.02, 2500)[-1, :, 0]
        self.assertLess(abs(stuck[0]), 0.01)
        self.assertGreater(stuck[1], 3.5)
        self.assertEqual(stuck[2], 4.0)
        np.testing.assert_allclose(freed, 0.0, atol=0.01)


if __name__ == "__main__":
    unittest.main()
