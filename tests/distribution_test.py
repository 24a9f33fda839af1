"""Two replicas with half the batch each do what one replica does with the whole."""

import functools
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import pytest
import tensorflow as tf

import contract
import replicas
from kgzoo import catalog


def on_several(names):
    """Returns the names that train on several replicas, each once."""
    return tuple(n for n in dict.fromkeys(names) if not catalog.row(n).one_replica)


RUNNER = pathlib.Path(replicas.__file__)
# One with every kind of state: averages, moving statistics, a learned gain, sigma's vectors, and
# losses of all kinds: a mean over examples, an MMD, a scale, a trained kernel.
ALWAYS = ("smmd", "sn_smmd", "hinge", "rep_dk")


@functools.cache
def results(names):
    """Runs the program once for all names; returns its arrays."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "results.npz"
        root = str(RUNNER.parent.parent)
        done = subprocess.run(
            [sys.executable, RUNNER, path, *names],
            env={**os.environ, "PYTHONPATH": root},
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise AssertionError(f"{RUNNER.name} failed:\n{done.stderr[-4000:]}")
        with np.load(path) as arrays:
            return dict(arrays)


class TwoReplicas:
    """The checks; a subclass says for which names."""

    names = ()
    # Names trained in graph mode, as in a run. Tracing two replicas takes ten seconds.
    traced = ()

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        modes = ("" if name in cls.traced else ":eager" for name in cls.names)
        cls.results = results(tuple(map("".join, zip(cls.names, modes, strict=True))))

    def both(self, prefix):
        """Yields (key, one replica's array, two replicas' array)."""
        start = prefix.replace("*", "one")
        found = [key for key in self.results if key.startswith(start)]
        self.assertNotEmpty(found, prefix)
        for key in found:
            other = prefix.replace("*", "two") + key.removeprefix(start)
            yield key.removeprefix(start), self.results[key], self.results[other]

    def test_losses_are_those_of_the_global_batch(self):
        for name in self.names:
            for key, one, two in self.both(f"{name}/*/losses/"):
                self.assertAllClose(one, two, rtol=1e-4, atol=1e-6, msg=f"{name} {key}")

    def test_summed_gradients_are_equal(self):
        for name in self.names:
            largest = {}
            for key, one, _ in self.both(f"{name}/*/gradients/"):
                player = key.split("/")[0]
                largest[player] = max(largest.get(player, 0.0), np.max(np.abs(one)))
            self.assertGreater(min(largest.values()), 1e-4, name)
            for key, one, two in self.both(f"{name}/*/gradients/"):
                # A solve with a ridge of 1e-3 enlarges roundings.
                atol = (1e-4 if catalog.row(name).ridge else 1e-5) * largest[key.split("/")[0]]
                self.assertAllClose(one, two, rtol=0, atol=atol, msg=f"{name} {key}")
                # Each replica has the whole sum.
                both = self.results[f"{name}/two/gradients/{key.removesuffix('0')}1"]
                self.assertAllEqual(two, both)

    def test_every_update_is_counted_once(self):
        for name in self.names:
            paths = self.results[f"{name}/two/paths"]
            counts = {
                path.split("/")[0]: int(self.results[f"{name}/two/state/{i}"])
                for i, path in enumerate(paths)
                if path.endswith("/iteration")
            }
            # An autoencoder has its updates before the first step.
            self.assertEqual(counts.pop("autoencoder", 0), 0)
            self.assertIn("generator", counts)
            self.assertEqual(set(counts.values()), {replicas.STEPS}, name)

    def test_clipping_acts_on_the_sum(self):
        # The weights below would agree without this, were nothing clipped.
        for name in self.names:
            norms = [np.linalg.norm(one) for _, one, _ in self.both(f"{name}/*/gradients/")]
            self.assertGreater(np.mean(np.array(norms) > 1.5 * replicas.CLIP_NORM), 0.2, name)

    def test_weights_averages_and_statistics_are_equal(self):
        for name in self.names:
            paths = self.results[f"{name}/one/paths"]
            for key, one, two in self.both(f"{name}/*/state/"):
                path = paths[int(key)]
                # Updates have a length of 0.02. The gradient of a bias under a stationary kernel is
                # rounding alone, times the rate of 4.
                self.assertAllClose(one, two, rtol=0, atol=1e-5, msg=f"{name} {path}")


class DistributionTest(TwoReplicas, tf.test.TestCase):
    names = on_several((*ALWAYS, *contract.names_in_full()))
    # Another one every day; under `-m slow` all are.
    traced = (ALWAYS[contract.day_of_year() % len(ALWAYS)],)

    def test_covers_every_kind_of_state(self):
        paths = " ".join(" ".join(self.results[f"{name}/one/paths"]) for name in ALWAYS)
        for kind in ("moving_variance", "moving_average", "spectral_u", "gain", "iteration"):
            self.assertIn(kind, paths)

    def test_replicas_together_draw_the_noise_of_one(self):
        for key, one, two in self.both("noise/*/"):
            self.assertAllEqual(one, two, msg=key)
            # Nor is a replica's share that of the other.
            self.assertNotAllEqual(two[:3], two[3:])
        everything = [two.reshape(6, -1)[0, 0] for _, _, two in self.both("noise/*/")]
        self.assertLen(set(map(float, everything)), len(everything))

    def test_block_estimator_is_another(self):
        differences = [np.abs(one - two) for _, one, two in self.both("block/*/block_losses/")]
        # Between one big batch and one replica there is none: 1e-6 at most, see above.
        self.assertGreater(max(differences), 1e-3)

    def test_the_loop_goes_on_under_another_strategy(self):
        (_, one, two), *rest = self.both("loop/*/critic_losses")
        self.assertEmpty(rest)
        self.assertLen(one, 5)
        self.assertAllClose(one, two, rtol=1e-4, atol=1e-5)
        # One critic update too many on every replica is what Keras does when the optimizers are
        # built outside the strategy.
        for label in ("one", "two"):
            counts = {
                path.split("/")[0]: int(self.results[f"loop/{label}/state/{i}"])
                for i, path in enumerate(self.results[f"loop/{label}/paths"])
                if path.endswith("/iteration")
            }
            self.assertEqual(counts, {"critic": 10, "generator": 5}, label)


@pytest.mark.slow
class AllMethodsDistributionTest(TwoReplicas, tf.test.TestCase):
    names = traced = on_several(catalog.names())


if __name__ == "__main__":
    tf.test.main()
