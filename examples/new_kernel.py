"""A kernel of your own: a class of a few lines, the checks that it owes, a model trained with it.

  python examples/new_kernel.py              a minute: 1,564 steps on a ring of eight modes
  python examples/new_kernel.py --quick      seconds

You see: the smallest eigenvalue of a kernel matrix (a kernel is positive semi-definite), the
largest error of its gradient against differences, and how many modes of the ring a generator covers
that was trained by MMD-GAN under the kernel, before and after.

The kernel: Matern of order 3/2 (Rasmussen and Williams, 2006, eq. 4.17),

  k(x, y) = (1 + sqrt(3) r / l) exp(-sqrt(3) r / l)     with r = |x - y|

To have it by name, as `--config.kernel=matern`, add it to `_KERNELS` in `kgzoo/kernels/__init__.py`
and to the choices of `kernel` in `kgzoo/fields.py`.
"""

import argparse
import math
import tempfile
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from kgzoo import config, data, methods
from kgzoo.errors import UserError
from kgzoo.evaluation import modes
from kgzoo.kernels import Kernel


@keras.saving.register_keras_serializable("new_kernel")
class Matern(Kernel):
    """(1 + sqrt(3) r / scale) exp(-sqrt(3) r / scale) of the distance r."""

    def __init__(self, scale: float = 1.0):
        if not 0 < scale < math.inf:
            raise UserError(f"scale={scale} is out of range; give a number > 0.")
        self.scale = float(scale)

    def matrix(self, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        squared = tf.reduce_sum(tf.square(x[:, None, :] - y[None, :, :]), axis=-1)
        # The root has no gradient at 0, where the kernel's own is 0.
        apart = squared > 0
        scaled = math.sqrt(3) / self.scale * tf.sqrt(tf.where(apart, squared, 1.0))
        return tf.where(apart, (1 + scaled) * tf.exp(-scaled), 1.0)

    @property
    def at_zero(self) -> float:
        return 1.0

    @property
    def slope(self) -> float:
        # 2 |g'(0)| with g(-r^2): to second order k is 1 - 3 r^2 / (2 scale^2).
        return 3.0 / self.scale**2

    def get_config(self) -> dict:
        return {"scale": self.scale}


def smallest_eigenvalue(kernel: Kernel, points: np.ndarray) -> float:
    """Returns that of the kernel matrix of points `[n, d]`."""
    points = tf.constant(points, tf.float64)
    return float(np.linalg.eigvalsh(kernel.matrix(points, points).numpy())[0])


def gradient_error(kernel: Kernel, x: np.ndarray, y: np.ndarray) -> float:
    """Returns the largest difference of a gradient to central differences, by x `[n, d]`."""
    x, y = tf.constant(x, tf.float64), tf.constant(y, tf.float64)

    def total(points: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(kernel.matrix(points, y))

    theory, numeric = tf.test.compute_gradient(total, [x], delta=1e-5)
    return float(np.max(np.abs(theory[0] - numeric[0])))


def train(kernel: Kernel, epochs: int, examples: int) -> tuple[keras.Model, dict, dict]:
    """Trains `mmd_rbf` with the kernel instead of its own; returns it, and scores before and after.

    The attractive MMD-GAN asks a kernel for `matrix`, and for `at_zero` to notice saturation; a
    scaled one asks for `slope` too.
    """
    ring = data.load("ring2d_wide")
    changed = {"learning_rate_multiplier": 4.0, "ema_half_life_images": 2000.0}
    settings = dict(config.compose("mmd_rbf", "ring2d_wide", overrides=changed))
    # A config holds names; a kernel without one goes in here.
    model = methods.build({**settings, "kernel": kernel}, ring.kind, ring.shape)
    model.compile(methods.build_optimizers(settings, model.players))

    def scores() -> dict:
        return modes.mode_scores(model.sample(2000, seed=1), **ring.describe()["modes"])

    before = scores()
    model.fit(ring.examples[:examples], batch_size=settings["batch_size"], epochs=epochs, verbose=0)
    return model, before, scores()


def main() -> None:
    """Checks the kernel, trains with it, and keeps the model in a file."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="three steps")
    epochs, examples = (1, 384) if parser.parse_args().quick else (4, 50_000)
    kernel, random = Matern(scale=1.0), np.random.default_rng(0)
    x, y = random.normal(size=(40, 2)), random.normal(size=(5, 2))
    print(f"smallest eigenvalue of 40 points' matrix: {smallest_eigenvalue(kernel, x):.3g}")
    # The first point among the others too: there r = 0.
    print(f"largest error of the gradient: {gradient_error(kernel, x[:4], [*y, x[0]]):.1e}")
    model, before, after = train(kernel, epochs, examples)
    for when, card in (("untrained", before), (f"after {model.steps_done} steps", after)):
        print(
            f"{when}: {card['value']} of {card['num_modes']} modes covered, "
            f"{card['share_near_a_mode']:.0%} of samples near one"
        )
    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder) / "model.keras")
        loaded = keras.saving.load_model(Path(folder) / "model.keras")
    print(f"loaded again with {loaded.kernel!r}")


if __name__ == "__main__":
    main()
