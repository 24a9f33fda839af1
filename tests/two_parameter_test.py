"""The two-parameter GAN's flow against losses on dense grids, limits and its own symmetries."""

import unittest

import numpy as np

from kgzoo.reproductions import two_parameter
from kgzoo.reproductions import two_parameter_flow as flow

CASES = [(data, loss) for data in flow.DATA for loss in flow.LOSSES]


def mean_kernel(a, p, b, q):
    """E exp(-(a - b)^2 / (2 * 0.5^2)) of values a, b with probabilities p, q."""
    return p @ np.exp(-2 * np.subtract.outer(a, b) ** 2) @ q


def points(data):
    """Other rules than the module's: the trapezoid rule for the normal, Simpson's for the rest."""
    if data == "normal":
        x = np.linspace(-8, 8, 1201)
        weights = np.exp(-(x**2) / 2)
    else:
        x = np.linspace(-1, 1, 401)
        weights = np.array([1, *[4, 2] * 199, 4, 1], float)
    return x, weights / weights.sum()


def losses(w1, w2, data, loss):
    """(S1a) and (S1b) or (S1c), word for word."""
    x, p = points(data)
    z, q = points("uniform")
    real, fake = w2 * x**2, w2 * (w1 * z) ** 2
    k_xx, k_xy = mean_kernel(real, p, real, p), mean_kernel(real, p, fake, q)
    k_yy = mean_kernel(fake, q, fake, q)
    mmd2 = k_xx - 2 * k_xy + k_yy
    return mmd2, {"attractive": -mmd2, "repulsive": k_xx - k_yy}[loss]


def descent(w1, w2, data, loss, step=1e-4):
    """Minus the derivatives of both losses by central differences."""
    by_w1 = losses(w1 + step, w2, data, loss)[0] - losses(w1 - step, w2, data, loss)[0]
    by_w2 = losses(w1, w2 + step, data, loss)[1] - losses(w1, w2 - step, data, loss)[1]
    return -by_w1 / (2 * step), -by_w2 / (2 * step)


class FlowTest(unittest.TestCase):
    def test_velocity_is_minus_the_gradient(self):
        for data, loss in CASES:
            with self.subTest(data=data, loss=loss):
                found = flow.velocity(1.3, 0.7, data, loss)
                np.testing.assert_allclose(found, descent(1.3, 0.7, data, loss), atol=1e-7)

    def test_quadrature_has_converged(self):
        w1 = np.linspace(0.1, 3, 4)
        for w2, tolerance in ((0.3, 1e-9), (0.8, 1e-7), (2.0, 1e-4)):
            for data, loss in CASES:
                found = flow.velocity(w1, w2, data, loss, 128)
                finer = flow.velocity(w1, w2, data, loss, 200)
                np.testing.assert_allclose(found, finer, atol=tolerance)

    def test_symmetries(self):
        for data, loss in CASES:
            first, second = flow.velocity(1.3, 0.7, data, loss, 32)
            np.testing.assert_allclose(flow.velocity(-1.3, 0.7, data, loss, 32), (-first, second))
            np.testing.assert_allclose(flow.velocity(1.3, -0.7, data, loss, 32), (first, -second))

    def test_small_critics(self):
        # L_G = 2c w2^2 (E x^2 - E y^2)^2, L_rep = 2c w2^2 (Var y^2 - Var x^2), c = 2.
        w2 = 1e-3
        for data, moment, variance in (("normal", 1.0, 2.0), ("uniform", 1 / 3, 4 / 45)):
            for w1 in (0.5, 2.0, 2.6):
                gap = w1**2 / 3 - moment
                first = -(w2**2) * 4 * 2 * gap * 2 * w1 / 3
                attractive = 8 * w2 * gap**2
                repulsive = -8 * w2 * (w1**4 * 4 / 45 - variance)
                for loss, second in (("attractive", attractive), ("repulsive", repulsive)):
                    found = flow.velocity(w1, w2, data, loss)
                    np.testing.assert_allclose(found, (first, second), rtol=1e-3)
            edge = flow.trivial_above(data)
            below, above = flow.velocity(np.array([0.99, 1.01]) * edge, w2, data, "repulsive")[1]
            self.assertGreater(below, 0)
            self.assertLess(above, 0)

    def test_jacobian(self):
        step = 1e-5
        for data, loss in CASES:
            found = flow.jacobian((1.3, 0.7), data, loss, 48)
            columns = [
                np.subtract(
                    flow.velocity(1.3 + a, 0.7 + b, data, loss, 48),
                    flow.velocity(1.3 - a, 0.7 - b, data, loss, 48),
                )
                / (2 * step)
                for a, b in ((step, 0), (0, step))
            ]
            np.testing.assert_allclose(found, np.transpose(columns), atol=1e-6)


class EquilibriaTest(unittest.TestCase):
    def test_normal_data(self):
        # Printed: (1.55, 0.74) and (1.55, 0.32). The first is not where the flow stands still.
        expected = {"attractive": (1.484, 0.796), "repulsive": (1.554, 0.307)}
        for loss, point in expected.items():
            with self.subTest(loss):
                (found,) = flow.equilibria("normal", loss, 64, starts_per_side=3)
                np.testing.assert_allclose(found, point, atol=5e-4)
                np.testing.assert_allclose(descent(*found, "normal", loss), 0.0, atol=1e-6)
                eigenvalues = np.linalg.eigvals(flow.jacobian(found, "normal", loss, 64))
                self.assertTrue(np.all(eigenvalues.real < -0.02))
        attractive = descent(*two_parameter.PAPER["attractive"], "normal", "attractive")
        self.assertGreater(np.max(np.abs(attractive)), 1e-2)

    def test_flow_ends_at_the_equilibrium(self):
        for loss in flow.LOSSES:
            point = flow.equilibrium_from((1.5, 0.5), "normal", loss, 64)
            end = flow.flow_paths(np.array([[1.2, 0.5]]), "normal", loss, 300.0)[-1]
            np.testing.assert_allclose(end, [point], atol=1e-3)

    def test_uniform_data_has_a_line(self):
        w2 = np.array([0.3, 1.0, 2.0])
        for loss in flow.LOSSES:
            found = flow.velocity(np.ones(3), w2, "uniform", loss)
            np.testing.assert_allclose(found, 0.0, atol=1e-14)
            for w in w2:
                along = np.sort(np.linalg.eigvals(flow.jacobian((1.0, w), "uniform", loss)).real)
                self.assertLess(along[0], -0.1)
                np.testing.assert_allclose(along[1], 0.0, atol=1e-12)

    def test_separatrix_parts_the_trivial_state_from_the_rest(self):
        for data in flow.DATA:
            curve = flow.separatrix(data, num_nodes=48)
            chosen = curve[[np.argmax(curve[:, 1] > 0.08), len(curve) // 2]]
            away = np.array([0.004, 0.0])
            starts = np.concatenate([chosen - away, chosen + away])
            end = flow.flow_paths(starts, data, "repulsive", 200.0, num_nodes=48)[-1]
            self.assertGreater(end[:2, 1].min(), 0.05)
            self.assertLess(np.abs(end[2:, 1]).max(), 0.02)
            self.assertGreater(end[2:, 0].min(), flow.trivial_above(data))


if __name__ == "__main__":
    unittest.main()
