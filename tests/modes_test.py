"""Modes covered and shares of samples near one, against counting by hand and plain geometry."""

import json
import math

import numpy as np
import tensorflow as tf
from scipy import stats
from scipy.spatial import transform

from kgzoo import data
from kgzoo.errors import UserError
from kgzoo.evaluation import modes, score_card


def ring(num_modes=8, radius=2.0):
    angle = 2.0 * math.pi * np.arange(num_modes) / num_modes
    return radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)


def counted(samples, centres, radius):
    """Samples within a radius of their nearest centre, one by one; and how many belong to each."""
    counts = [0] * len(centres)
    for sample in samples:
        distances = [math.dist(sample, centre) for centre in centres]
        if min(distances) <= radius:
            counts[distances.index(min(distances))] += 1
    return counts


class RingTest(tf.test.TestCase):
    """ring2d: covered = at least 5 % within 0.1; shares within 0.3 and within 4 sd."""

    def test_counts_are_those_of_a_plain_count(self):
        random = np.random.RandomState(0)
        centres = ring()
        labels = random.choice(8, size=2000, p=[0.3, 0.3, 0.2, 0.1, 0.04, 0.03, 0.02, 0.01])
        # Blurs of all sizes around the radii in question.
        samples = centres[labels] + random.normal(size=(2000, 2)) * random.choice(
            [0.01, 0.06, 0.2, 1.0], size=(2000, 1)
        )
        result = modes.mode_scores(samples, centres, 0.01)
        near = counted(samples, centres, 0.1)
        self.assertEqual(result["counts"], near)
        self.assertEqual(result["value"], sum(count >= 0.05 * 2000 for count in near))
        self.assertBetween(result["value"], 2, 4)
        for key, radius in (
            ("share_near_a_mode", 0.1),
            ("share_within_wide_radius", 0.3),
            ("share_within_4_sd", 0.04),
        ):
            share = sum(counted(samples, centres, radius)) / 2000
            self.assertBetween(share, 0.2, 0.9)
            self.assertAllClose(result[key], share, rtol=1e-12, msg=key)
        self.assertAllClose([result["radius"], result["wide_radius"]], [0.1, 0.3], rtol=1e-12)
        self.assertAllClose([result["radius_sds"], result["wide_radius_sds"]], [10.0, 30.0])
        self.assertIn("within 10 sd (0.1)", result["convention"])
        self.assertIn("at least 5 % of all samples", result["convention"])
        json.dumps(result, allow_nan=False)

    def test_exactly_five_per_cent_is_covered_and_one_sample_less_is_not(self):
        for total in (100, 340, 10_000):
            least = total // 20
            for count, covered in ((least, 1), (least - 1, 0)):
                samples = np.full((total, 2), 50.0)
                samples[:count] = ring()[3]
                self.assertEqual(modes.mode_scores(samples, ring(), 0.01)["value"], covered)

    def test_the_radii_are_the_stated_ones(self):
        for offset, near, wide in ((0.0999, 1, 1), (0.1001, 0, 1), (0.2999, 0, 1), (0.3001, 0, 0)):
            sample = ring()[2:3] + np.array([0.6, -0.8]) * offset
            result = modes.mode_scores(sample, ring(), 0.01)
            shares = (result["share_near_a_mode"], result["share_within_wide_radius"])
            self.assertEqual(shares, (near, wide), offset)

    def test_the_targets_own_samples_cover_everything(self):
        for name in ("ring2d", "ring2d_wide", "ring3d", "mog", "gaussian", "mixture1d"):
            source = data.load(name, "test")
            facts = source.describe()["modes"]
            result = modes.mode_scores(source.examples, **facts)
            self.assertEqual(result["value"], len(facts["centres"]), name)
            ideal = result["share_near_a_mode_of_target"]
            self.assertAllClose(result["share_near_a_mode"], ideal, atol=0.02, msg=name)
            dim = source.shape[0]
            # Neighbours of overlapping modes help, so the mass of one of them is a lower bound.
            self.assertGreater(result["share_within_4_sd"], stats.chi2.cdf(16.0, dim) - 0.003, name)

    def test_the_score_card_has_them(self):
        train, test = data.load("ring3d"), data.load("ring3d", "test")
        samples = np.concatenate([train.examples[train.labels < 6][:600], np.zeros((200, 3))])
        card = score_card.score_samples(
            samples.astype(np.float32), score_card.prepare(test, num_reference=1000)
        )
        coverage = card["mode_coverage"]
        self.assertEqual((coverage["value"], coverage["num_modes"]), (6, 8))
        self.assertEqual(coverage["share_near_a_mode"], 0.75)
        self.assertEqual((coverage["num_samples"], coverage["num_reference"]), (800, None))
        line = score_card.score_samples(test.examples[:50, :1], data.load("laplace1d", "test"))
        self.assertNotIn("mode_coverage", line)
        json.dumps([card, line], allow_nan=False)

    def test_samples_that_are_not_finite_are_near_nothing(self):
        samples = np.repeat(ring()[:1], 8, axis=0)
        samples[1:4] = [[np.nan, 0.0], [np.inf, 0.0], [1e300, -1e300]]
        result = modes.mode_scores(samples.astype(np.float64), ring(), 0.01)
        self.assertEqual(result["counts"], [5, 0, 0, 0, 0, 0, 0, 0])
        self.assertEqual(result["share_within_wide_radius"], 5 / 8)
        broken = modes.mode_scores(np.full((4, 2), np.nan), ring(), 0.01)
        self.assertEqual((broken["value"], broken["share_near_a_mode"]), (0, 0.0))


class ConventionTest(tf.test.TestCase):
    def test_a_wide_ring_has_radii_between_its_modes(self):
        sd, gap = math.sqrt(0.2), 4.0 * math.sin(math.pi / 8)
        samples = np.random.RandomState(1).normal(size=(500, 2))
        result = modes.mode_scores(samples, ring(), sd)
        self.assertAllClose([result["radius"], result["wide_radius"]], [gap / 4, gap / 2])
        self.assertEqual(result["counts"], counted(samples, ring(), gap / 4))
        mass = 1.0 - math.exp(-((gap / 4 / sd) ** 2) / 2.0)  # of a Gaussian in the plane
        self.assertAllClose(result["share_near_a_mode_of_target"], mass, rtol=1e-12)
        least = math.ceil(0.4 / 8 * mass * 500)
        for count, covered in ((least, 1), (least - 1, 0)):
            points = np.full((500, 2), 50.0)
            points[:count] = ring()[5]
            self.assertEqual(modes.mode_scores(points, ring(), sd)["value"], covered)

    def test_rare_modes_need_fewer_samples(self):
        centres, weights = np.array([[-2.0], [2.0]]), (0.3, 0.7)
        inside = math.erf(1.0 / math.sqrt(2.0))  # within a quarter of the gap, which is one sd
        for mode, weight in enumerate(weights):
            least = math.ceil(0.4 * weight * inside * 1000)
            for count, covered in ((least, 1), (least - 1, 0)):
                samples = np.full((1000, 1), 30.0)
                samples[:count] = centres[mode]
                result = modes.mode_scores(samples, centres, 1.0, weights)
                self.assertEqual(result["value"], covered)
        self.assertAllClose([result["radius"], result["wide_radius"]], [1.0, 2.0])

    def test_parameters_of_the_rule(self):
        samples = np.concatenate([np.repeat(ring()[:2], [30, 70], axis=0), [[2.0, 0.15]]])
        for share, value in ((0.4, 2), (2.0, 2), (2.5, 1), (5.7, 0)):
            result = modes.mode_scores(samples, ring(), 0.01, least_share=share)
            self.assertEqual(result["value"], value, share)
        result = modes.mode_scores(samples, ring(), 0.01, near_sds=20.0, wide_sds=14.0)
        self.assertEqual(result["share_near_a_mode"], 1.0)
        self.assertAllClose(result["share_within_wide_radius"], 100 / 101)

    def test_thick_directions_allow_more(self):
        turn = transform.Rotation.from_euler("y", 60.0, degrees=True)
        centres = turn.apply(np.pad(ring(), ((0, 0), (0, 1))))
        axes = turn.as_matrix().T  # rows: where the coordinate axes are taken
        sd = (0.01, 0.01, 0.1)
        covariance = turn.as_matrix() @ np.diag(np.square(sd)) @ turn.as_matrix().T
        random = np.random.RandomState(2)
        labels = random.randint(8, size=1500)
        noise = random.normal(size=(1500, 3)) * [0.05, 0.05, 0.5]
        samples = centres[labels] + turn.apply(noise)
        result = modes.mode_scores(samples, centres, sd, axes=axes)
        offsets = samples[:, None] - centres
        squared = np.einsum("nmi,ij,nmj->nm", offsets, np.linalg.inv(covariance), offsets)
        distances = np.sqrt(squared.min(axis=1))
        near = distances <= 10.0
        self.assertBetween(near.mean(), 0.5, 0.99)
        self.assertAllClose(result["share_near_a_mode"], near.mean(), rtol=1e-12)
        self.assertAllClose(result["share_within_4_sd"], np.mean(distances <= 4.0), rtol=1e-12)
        self.assertEqual(
            result["counts"], np.bincount(squared.argmin(axis=1)[near], minlength=8).tolist()
        )
        self.assertIsNone(result["radius"])
        # In the ring's plane it is the rule of the plane.
        flat = turn.apply(np.pad(ring()[:1] + [[0.0, 0.0999]], ((0, 0), (0, 1))))
        self.assertEqual(modes.mode_scores(flat, centres, sd, axes=axes)["share_near_a_mode"], 1.0)
        flat = turn.apply(np.pad(ring()[:1] + [[0.0, 0.1001]], ((0, 0), (0, 1))))
        self.assertEqual(modes.mode_scores(flat, centres, sd, axes=axes)["share_near_a_mode"], 0.0)

    def test_mistakes_name_field_and_remedy(self):
        samples = np.zeros((5, 2))
        for arguments, words in (
            ({"samples": np.zeros((5, 3))}, r"centres have shape \[8, 2\]; give \[m, 3\]"),
            ({"samples": np.zeros((0, 2))}, "samples have shape"),
            ({"samples": np.zeros(5)}, r"give \[n, d\]"),
            ({"sd": 0.0}, "sd=0.0"),
            ({"sd": (0.1, 0.1, 0.1)}, "2 of them"),
            ({"weights": (0.5, 0.5)}, "8 numbers"),
            ({"weights": np.full(8, 0.2)}, "of sum 1"),
            ({"axes": np.ones((2, 2))}, "orthonormal"),
            ({"centres": ring()[[0, 1, 0]]}, "one point twice"),
            ({"least_share": 0.0}, "least_share=0.0"),
            ({"near_sds": -1.0}, "near_sds=-1.0"),
        ):
            arguments = {"samples": samples, "centres": ring(), "sd": 0.01, **arguments}
            with self.assertRaisesRegex(UserError, words):
                modes.mode_scores(**arguments)


if __name__ == "__main__":
    tf.test.main()
