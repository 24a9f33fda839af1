"""Two-dimensional toy distributions: equal mixtures of isotropic Gaussians.

The samples are drawn once, from NumPy's legacy generator: its stream is frozen by NumPy's
compatibility policy, so the numbers are the same in every version.

References:
    ring2d: eight modes, radius 2, sd 0.01 (GRAM, Srivastava et al., 2020, section 3.4).
    mog: eight modes, radius 2, sd 0.02, the mixture of Metz et al. (2016), Unrolled GANs, that
        the Kernel GAN paper uses in section 3.1.
    gaussian: one standard normal with mean (1, 1).
"""

import dataclasses

import numpy as np

from kgzoo.data.source import Source

__all__ = ["NUM_TEST", "NUM_TRAIN", "load"]

NUM_TRAIN = 50_000
NUM_TEST = 10_000


@dataclasses.dataclass(frozen=True)
class _Mixture:
    """Equal weights; centres [m, 2]; `sd` of every mode, in units of the plane."""

    centres: np.ndarray
    sd: float
    seed: int


def _circle(num_modes: int, radius: float) -> np.ndarray:
    angle = 2.0 * np.pi * np.arange(num_modes) / num_modes
    return radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)


_MIXTURES = {
    "ring2d": _Mixture(_circle(8, 2.0), sd=0.01, seed=1),
    "mog": _Mixture(_circle(8, 2.0), sd=0.02, seed=2),
    "gaussian": _Mixture(np.array([[1.0, 1.0]]), sd=1.0, seed=3),
}


def load(name: str, split: str) -> Source:
    """Returns 50,000 training or 10,000 test draws, labelled by mode.

    Args:
        name: "ring2d", "mog" or "gaussian".
        split: "train" or "test": two stretches of one stream of draws.

    Returns:
        A vector `Source`, examples float32 [n, 2]; `describe()["modes"]` has centres and sd.
    """
    mixture = _MIXTURES[name]
    random = np.random.RandomState(mixture.seed)
    total = NUM_TRAIN + NUM_TEST
    labels = random.randint(len(mixture.centres), size=total)
    points = mixture.centres[labels] + mixture.sd * random.standard_normal((total, 2))
    part = slice(NUM_TRAIN) if split == "train" else slice(NUM_TRAIN, None)
    examples = points[part].astype(np.float32)
    facts = {
        "modes": {"centres": mixture.centres.tolist(), "sd": mixture.sd},
        "preprocessing": "none",
    }
    return Source(
        name, "vector", (2,), len(examples), examples, labels[part], split=split, facts=facts
    )
