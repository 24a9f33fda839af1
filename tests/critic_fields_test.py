"""Critics in the plane: a manufactured solution of the PDE, and Proposition 3 written out."""

import importlib.util
import json
import pathlib
import tempfile
import unittest

import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from kgzoo.errors import UserError
from kgzoo.reproductions import critic_fields
from kgzoo.reproductions.critic_fields import P, Q


def _sobolev(count):
    """Returns the critic between P and Q on [-3, 3]^2 and E_P f - E_Q f, its squared norm."""
    axis = np.linspace(-3, 3, count)
    grid = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1)
    f = critic_fields.sobolev_critic(
        lambda x: (P.density(x) + Q.density(x)) / 2, lambda x: Q.density(x) - P.density(x), axis
    )
    return f, np.sum((P.density(grid) - Q.density(grid)) * f) * (axis[1] - axis[0]) ** 2


class SobolevTest(parameterized.TestCase):
    def test_manufactured_solution_to_second_order(self):
        # f = sin(pi x) sin(2 pi y) on the unit square, density 1 + x + y^2.
        def solution(x):
            return np.sin(np.pi * x[..., 0]) * np.sin(2 * np.pi * x[..., 1])

        def density(x):
            return 1 + x[..., 0] + x[..., 1] ** 2

        def source(x):
            a, b = np.pi * x[..., 0], 2 * np.pi * x[..., 1]
            by_x, by_y = np.pi * np.cos(a) * np.sin(b), 2 * np.pi * np.sin(a) * np.cos(b)
            return by_x + 2 * x[..., 1] * by_y - 5 * np.pi**2 * density(x) * solution(x)

        errors = []
        for count in (21, 41, 81):
            axis = np.linspace(0, 1, count)
            grid = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1)
            found = critic_fields.sobolev_critic(density, source, axis)
            errors.append(np.max(np.abs(found - solution(grid))))
        self.assertLess(errors[0], 0.05)
        np.testing.assert_allclose(errors[0] / errors[1], 4.0, rtol=0.1)
        np.testing.assert_allclose(errors[1] / errors[2], 4.0, rtol=0.1)

    def test_critic_is_larger_on_p_and_its_value_is_its_norm(self):
        axis = np.linspace(-3, 3, 121)
        grid = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1)
        cell = (axis[1] - axis[0]) ** 2
        p, q = P.density(grid), Q.density(grid)
        f, value = _sobolev(121)
        self.assertGreater(value, 0)
        # Integration by parts: E_P f - E_Q f = E_mu |grad f|^2.
        squared = sum(g**2 for g in np.gradient(f, axis, axis))
        np.testing.assert_allclose(np.sum((p + q) / 2 * squared) * cell, value, rtol=0.01)
        self.assertEqual(np.max(np.abs(f[[0, -1]])), 0)
        self.assertEqual(np.max(np.abs(f[:, [0, -1]])), 0)


def _prop3(points, p_weights, q_weights, mu_weights, bandwidth, regularization):
    """GCMMD^2 of discrete P, Q and mu in the plane: its weighted system, entry by entry."""
    count = len(points)
    system = np.zeros([3 * count, 3 * count])
    for i, x in enumerate(points):
        for j, y in enumerate(points):
            t = (x - y) / bandwidth**2
            k = np.exp(-np.sum((x - y) ** 2) / (2 * bandwidth**2))
            system[i, j] = k
            for a in range(2):
                system[count + 2 * i + a, j] = -t[a] * k
                system[i, count + 2 * j + a] = t[a] * k
                for b in range(2):
                    system[count + 2 * i + a, count + 2 * j + b] = k * (
                        (a == b) / bandwidth**2 - t[a] * t[b]
                    )
    difference = np.concatenate([p_weights - q_weights, np.zeros(2 * count)])
    weights = np.diag(np.concatenate([mu_weights, np.repeat(mu_weights, 2)]))
    # <eta, D^-1 eta> with D = lambda + T* W T: by Woodbury without any square root.
    u = system @ difference
    inner = regularization * np.eye(3 * count) + weights @ system
    return (difference @ u - u @ np.linalg.solve(inner, weights @ u)) / regularization


class ConstrainedTest(parameterized.TestCase):
    @parameterized.parameters((1.0, 0.1), (0.6, 1.0))
    def test_distance_is_proposition_3(self, bandwidth, regularization):
        distance, _ = critic_fields.gcmmd_critic(P, Q, bandwidth, regularization, nodes=4)
        (x, a), (y, b) = P.nodes(4), Q.nodes(4)
        none_x, none_y = np.zeros(len(a)), np.zeros(len(b))
        expected = _prop3(
            np.concatenate([x, y]),
            np.concatenate([a, none_y]),
            np.concatenate([none_x, b]),
            np.concatenate([a, b]) / 2,
            bandwidth,
            regularization,
        )
        np.testing.assert_allclose(distance**2, expected, rtol=1e-9)

    def test_critic_attains_the_distance_and_has_this_gradient(self):
        distance, critic = critic_fields.gcmmd_critic(P, Q, 0.8, 0.3)
        (x, a), (y, b) = P.nodes(20), Q.nodes(20)
        values, gradients = critic(np.concatenate([x, y]))
        f_p, f_q = values[: len(x)], values[len(x) :]
        np.testing.assert_allclose(a @ f_p - b @ f_q, distance, rtol=1e-5)
        # Its norm is 1, of which lambda ||f||^2 is what mu leaves.
        squared = values**2 + np.sum(gradients**2, axis=1)
        constrained = (a @ squared[: len(x)] + b @ squared[len(x) :]) / 2
        self.assertLess(constrained, 1)
        self.assertGreater(constrained, 0.1)
        at = np.array([[0.3, -0.2], [1.5, 1.0]])
        _, gradient = critic(at)
        for index in range(2):
            step = 1e-5 * np.eye(2)[index]
            slope = (critic(at + step)[0] - critic(at - step)[0]) / 2e-5
            np.testing.assert_allclose(gradient[:, index], slope, atol=1e-8)

    def test_quadrature_has_converged(self):
        coarse, _ = critic_fields.gcmmd_critic(P, Q, 1.0, 0.1, nodes=9)
        fine, _ = critic_fields.gcmmd_critic(P, Q, 1.0, 0.1, nodes=13)
        np.testing.assert_allclose(coarse, fine, rtol=1e-4)

    def test_nodes_integrate_polynomials(self):
        points, weights = Q.nodes(5)
        np.testing.assert_allclose(weights @ points, Q.mean, rtol=1e-12)
        centred = points - np.asarray(Q.mean)
        second = (centred * weights[:, None]).T @ centred
        np.testing.assert_allclose(second, Q.std**2 * np.eye(2), atol=1e-12)
        np.testing.assert_allclose(weights @ centred[:, 0] ** 4, 3 * Q.std**4, rtol=1e-12)


class RunTest(unittest.TestCase):
    @unittest.skipUnless(importlib.util.find_spec("matplotlib"), "matplotlib is not installed")
    def test_run_writes_picture_and_the_papers_claim(self):
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            result = critic_fields.run(folder, quick=True)
            self.assertEqual(json.loads((folder / "critic_fields.json").read_text()), result)
            self.assertLess((folder / "critic_fields.png").stat().st_size, 500_000)
        fields = result["fields"]
        self.assertGreater(fields["sobolev"]["far_to_high"], 10)
        self.assertGreater(fields["sobolev"]["far_to_mean"], 50)
        self.assertLess(fields["gcmmd"]["far_to_high"], 1)
        found = {row["quantity"]: row["found"] for row in result["findings"]}
        expected = _sobolev(81)[1] ** 0.5
        np.testing.assert_allclose(found["Sobolev IPM(P, Q)"], expected, rtol=0.01)

    def test_wrong_options_are_refused(self):
        for options in ({"bandwidth": 0.0}, {"regularization": -1.0}, {"half_width": 1.0}):
            with self.assertRaises(UserError):
                critic_fields.run(pathlib.Path("unused"), **options)


if __name__ == "__main__":
    tf.test.main()
