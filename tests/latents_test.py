"""Codes of the KernelNet paper's Figures 7 and 8 on digits: measures, labels, files."""

import importlib.util
import json
import pathlib
import tempfile
import unittest
from unittest import mock

import numpy as np
from sklearn import svm

from kgzoo.errors import UserError
from kgzoo.reproductions import latents, nll_runs
from kgzoo.training import loop

DRAWS = unittest.skipUnless(importlib.util.find_spec("matplotlib"), "matplotlib is not installed")


def clusters(count, distance, seed=0):
    """Three clouds in the plane and their labels."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 3, count)
    return random.standard_normal([count, 2]) + distance * labels[:, None], labels


class MeasuresTest(unittest.TestCase):
    def test_neighbours_by_brute_force(self):
        for distance in (0.0, 1.5, 20.0):
            points, labels = clusters(60, distance)
            right = 0
            for index, point in enumerate(points):
                far = np.hypot(*(points - point).T)
                far[index] = np.inf
                votes = [int(labels[other]) for other in np.argsort(far)[:10]]
                right += (
                    max(range(3), key=lambda label: (votes.count(label), -label)) == (labels[index])
                )
            found = latents.neighbours_agree(points, labels)
            self.assertAlmostEqual(found, right / 60)
        self.assertEqual(found, 1.0)

    def test_labels_are_shared_by_the_classes(self):
        labels = np.repeat([0, 1, 2], [100, 50, 4])
        for count, shares in ((3, [1, 1, 1]), (10, None), (40, [18, 18, 4])):
            chosen = latents._labelled(labels, count, np.random.RandomState(0))
            self.assertEqual(len(set(chosen.tolist())), count)
            counts = np.bincount(labels[chosen], minlength=3)
            if shares:
                self.assertEqual(counts.tolist(), shares)
            self.assertLessEqual(np.ptp(counts), 1 if count < 40 else 14)
        other = latents._labelled(labels, 40, np.random.RandomState(1))
        self.assertNotEqual(set(chosen.tolist()), set(other.tolist()))

    def test_accuracy_is_that_of_a_machine_on_the_labelled(self):
        train, labels = clusters(90, 2.0)
        test, truth = clusters(50, 2.0, seed=1)
        found = latents.accuracies(train, labels, test, truth, 9, 4, 5)
        self.assertEqual(found.shape, (4,))
        chosen = latents._labelled(labels, 9, np.random.RandomState([5, 9, 2]))
        gamma = 1.0 / (2 * train[chosen].var())
        machine = svm.SVC(C=10.0, kernel="rbf", gamma=gamma).fit(train[chosen], labels[chosen])
        self.assertAlmostEqual(found[2], np.mean(machine.predict(test) == truth))
        more = latents.accuracies(train, labels, test, truth, 90, 1, 5)
        self.assertGreaterEqual(more[0], found.mean())


@DRAWS
class RunTest(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.enterContext(mock.patch.object(latents, "_METHODS", ("info_ivae_rbf", "vae")))
        self.enterContext(mock.patch.object(latents, "_PLANES", ("info_ivae_rbf", "vae")))
        self.enterContext(mock.patch.object(latents, "_POINTS", {True: 120}))
        self.enterContext(mock.patch.object(latents, "_LABELS", (10, 100, 3000)))

    def _run(self, **options):
        return latents.run(self.folder / "latents", quick=True, dataset="digits", **options)

    def test_trains_what_is_missing_and_takes_what_is_there(self):
        runs = self.folder / "nll"
        plan = nll_runs.Plan(runs, "digits", steps=12)
        nll_runs.train("vae", plan, nll_runs.load(plan, plan.compose("vae"))[0])
        with mock.patch.object(loop, "train", wraps=loop.train) as train:
            found = self._run()
        self.assertEqual(train.call_count, 1)
        # The row that was missing goes as far as the other.
        self.assertEqual(found["settings"]["steps"], {"info_ivae_rbf": 12, "vae": 12})
        self.assertEqual(found["settings"]["runs"], str(runs))
        stored = (self.folder / "latents" / "latents.json").read_text()
        self.assertEqual(json.loads(stored), found)
        self.assertGreater((self.folder / "latents" / "latents.png").stat().st_size, 10_000)
        curve = found["curves"]["pixels"]
        # No more labels than there are training images.
        self.assertEqual(curve["labels"], [10, 100])
        self.assertGreater(curve["accuracy"][1], 0.7)
        self.assertEqual(list(found["curves"]), ["info_ivae_rbf", "vae", "pixels"])
        for method in ("info_ivae_rbf", "vae"):
            self.assertGreater(found["curves"][method]["accuracy"][1], 0.2)
            for share in found["planes"][method].values():
                self.assertGreater(share, 0.1)
        with mock.patch.object(loop, "train", side_effect=AssertionError):
            again = self._run(runs=str(runs))
        self.assertEqual(again["curves"], found["curves"])

    def test_mistakes(self):
        for options, words in (
            ({"scale": "papr"}, "did you mean 'paper'"),
            ({"steps": -3}, "steps=-3"),
            ({"dataset": "mnist", "data_dir": str(self.folder)}, "holds no prepared 'mnist'"),
        ):
            with self.assertRaisesRegex(UserError, words):
                latents.run(self.folder / "latents", **({"dataset": "digits"} | options))
        self.assertEqual(list(self.folder.iterdir()), [])


if __name__ == "__main__":
    unittest.main()
