"""Toy distributions in one, two and three dimensions: mixtures of Gaussians and a Laplace law.

The samples are drawn once, from NumPy's legacy generator: its stream is frozen by NumPy's
compatibility policy, so the numbers are the same in every version.

References:
    ring2d: eight modes, radius 2, sd 0.01 (GRAM, Srivastava et al., 2020, section 3.4).
    ring2d_wide: eight modes, radius 2, variance 0.2, the figures that GRAM's public code names.
        (It hands its "variance" to a constructor that takes a standard deviation, so what that
        code draws is narrower: sd 0.2 instead of 0.447.)
    ring3d: ring2d with a third coordinate N(0, 0.1^2), turned by 60 degrees about the second axis
        (GRAM, appendix B.2). The sense, which the paper leaves open, is that of its code: by the
        right-hand rule, the third axis towards the first, (x, y, z) -> (x cos + z sin, y,
        z cos - x sin).
    mog: eight modes, radius 2, sd 0.02, the mixture of Metz et al. (2016), Unrolled GANs, that
        the Kernel GAN paper uses in section 3.1.
    gaussian: one standard normal with mean (1, 1).
    laplace1d: Laplace(0, 2), 2 being the scale (KernelNet, Zhou et al., appendix G.2, Figure 5).
    mixture1d: 0.3 N(-2, 1) + 0.7 N(2, 1) (the same).
"""

import dataclasses
import math
from typing import Any

import numpy as np

from kgzoo.data.source import Source

__all__ = ["NUM_TEST", "NUM_TRAIN", "load"]

NUM_TRAIN = 50_000
NUM_TEST = 10_000


@dataclasses.dataclass(frozen=True)
class _Mixture:
    """A mixture of Gaussians of one shape.

    Attributes:
        centres: [m, d].
        sd: of every mode in units of the space: one number, or one per axis.
        seed: of the draws.
        weights: of the modes, [m]; equal when None.
        axes: [d, d], unit vectors in rows, along which `sd` holds; the coordinate axes when None.
    """

    centres: np.ndarray
    sd: float | tuple[float, ...]
    seed: int
    weights: tuple[float, ...] | None = None
    axes: np.ndarray | None = None

    def draw(self, random: np.random.RandomState, total: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns float64 [total, d] and the number of each one's mode, [total]."""
        modes, dim = self.centres.shape
        if self.weights is None:
            labels = random.randint(modes, size=total)
        else:
            labels = random.choice(modes, size=total, p=self.weights)
        noise = np.asarray(self.sd) * random.standard_normal((total, dim))
        return self.centres[labels] + (noise if self.axes is None else noise @ self.axes), labels

    def facts(self) -> dict[str, Any]:
        """Returns what `kgzoo.evaluation.modes.mode_scores` needs, and in 1-D the density."""
        modes = {"centres": self.centres.tolist(), "sd": self.sd}
        if self.weights is not None:
            modes["weights"] = list(self.weights)
        if self.axes is not None:
            modes["sd"], modes["axes"] = list(self.sd), self.axes.tolist()
        if self.centres.shape[1] > 1:
            return {"modes": modes}
        density = {
            "family": "gaussian_mixture",
            "means": self.centres[:, 0].tolist(),
            "sds": [self.sd] * len(self.centres),
            "weights": list(self.weights or [1.0 / len(self.centres)] * len(self.centres)),
        }
        return {"modes": modes, "density": density}


@dataclasses.dataclass(frozen=True)
class _Laplace:
    """The density exp(-|x - location| / scale) / (2 scale) on the line."""

    location: float
    scale: float
    seed: int

    def draw(self, random: np.random.RandomState, total: int) -> tuple[np.ndarray, None]:
        """Returns float64 [total, 1]; there are no modes to tell apart."""
        return random.laplace(self.location, self.scale, size=(total, 1)), None

    def facts(self) -> dict[str, Any]:
        """Returns the density."""
        return {"density": {"family": "laplace", "location": self.location, "scale": self.scale}}


def _circle(num_modes: int, radius: float) -> np.ndarray:
    angle = 2.0 * np.pi * np.arange(num_modes) / num_modes
    return radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)


def _ring_in_space(plane: np.ndarray, degrees: float, seed: int) -> _Mixture:
    """Puts a ring of sd 0.01 and thickness 0.1 into space, turned about the second axis."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    # Where the turn takes the three axes: the first two span the ring, the third is its noise.
    axes = np.array([[cos, 0.0, -sin], [0.0, 1.0, 0.0], [sin, 0.0, cos]])
    return _Mixture(plane @ axes[:2], sd=(0.01, 0.01, 0.1), seed=seed, axes=axes)


_TARGETS = {
    "ring2d": _Mixture(_circle(8, 2.0), sd=0.01, seed=1),
    "ring2d_wide": _Mixture(_circle(8, 2.0), sd=math.sqrt(0.2), seed=4),
    "ring3d": _ring_in_space(_circle(8, 2.0), degrees=60.0, seed=5),
    "mog": _Mixture(_circle(8, 2.0), sd=0.02, seed=2),
    "gaussian": _Mixture(np.array([[1.0, 1.0]]), sd=1.0, seed=3),
    "laplace1d": _Laplace(0.0, 2.0, seed=6),
    "mixture1d": _Mixture(np.array([[-2.0], [2.0]]), sd=1.0, seed=7, weights=(0.3, 0.7)),
}


def load(name: str, split: str) -> Source:
    """Returns 50,000 training or 10,000 test draws, labelled by mode where there are modes.

    Args:
        name: "ring2d", "ring2d_wide", "ring3d", "mog", "gaussian", "laplace1d" or "mixture1d".
        split: "train" or "test": two stretches of one stream of draws.

    Returns:
        A vector `Source`, examples float32 [n, d]. For mixtures `describe()["modes"]` has centres
        and sd, weights where they are unequal, and axes where the sd differs between directions;
        for targets on the line `describe()["density"]` has the family and its parameters.
    """
    target = _TARGETS[name]
    points, labels = target.draw(np.random.RandomState(target.seed), NUM_TRAIN + NUM_TEST)
    part = slice(NUM_TRAIN) if split == "train" else slice(NUM_TRAIN, None)
    examples = points[part].astype(np.float32)
    return Source(
        name,
        "vector",
        examples.shape[1:],
        len(examples),
        examples,
        None if labels is None else labels[part],
        split=split,
        facts={**target.facts(), "preprocessing": "none"},
    )
