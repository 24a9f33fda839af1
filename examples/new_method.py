"""A method of your own in one file: a class, a row, and it is in the zoo.

  KGZOO_METHODS=examples/new_method.py python -m kgzoo.main --list_methods
  KGZOO_METHODS=examples/new_method.py python -m kgzoo.main --method=energy_gan --dataset=ring2d
  KGZOO_METHODS=examples/new_method.py KGZOO_CONTRACT_NAMES=energy_gan \
    python -m pytest tests/contract_test.py -k energy_gan
  python examples/new_method.py --quick            the second line, in seconds

You see: `energy_gan` at the end of the list; a run folder with samples, scores and an export as for
every other method; and the tests that each name of the zoo must pass, run on this one. A package
that is installed needs no variable: it names its rows by an entry point,

  [project.entry-points."kgzoo.methods"]
  energy = "my_package.rows:ROWS"

The method: the energy distance between a critic's features of real and of generated examples.

  D(P, Q) = 2 E|h(x) - h(y)| - E|h(x) - h(x')| - E|h(y) - h(y')|          x, x' ~ P and y, y' ~ Q

(Szekely and Rizzo, 2013; on critics: Bellemare et al., 2017, arXiv 1705.10743). It is twice the
squared MMD of the kernel (|u| + |v| - |u - v|) / 2 (Sejdinovic et al., 2013).

  generator: D
  critic:    -D + lambda mean (|grad f(z)| - 1)^2 at z between real and generated examples, with
             f(z) = E|h(z) - h(y)| - E|h(z) - h(x)|

The means leave out the pairs of an example with itself, so D is unbiased and may be negative.
Differs from Bellemare et al., whose critic maximises a surrogate of D from one real example: that
one is biased (Binkowski et al., 2018), D is not.
"""

import os
import sys
from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from kgzoo import regularizers
from kgzoo.catalog import Row
from kgzoo.errors import UserError
from kgzoo.methods.base import Batch, Losses, Method

__all__ = ["ROWS", "EnergyGAN", "energy_distance"]

ROWS = [
    Row(
        name="energy_gan",
        summary="energy distance on a critic's features, with a gradient penalty",
        target=f"{__name__}:EnergyGAN",
        paper="Bellemare et al. 2017, The Cramer distance as a solution to biased Wasserstein "
        "gradients",
        section="on the multivariate case",
        equation="energy distance of the critic's outputs",
        output_dim=16,
        penalty_weight=1.0,
        critic_steps=5,
    )
]


def distances(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    """Returns |x_i - y_j| of points `[n, d]` and `[m, d]` as `[n, m]`."""
    squared = tf.reduce_sum(tf.square(x[:, None, :] - y[None, :, :]), axis=-1)
    # The root's gradient at 0, on the diagonal, would be infinite.
    return tf.where(squared > 0, tf.sqrt(tf.where(squared > 0, squared, 1.0)), 0.0)


def energy_distance(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    """Returns the unbiased energy distance of points `[n, d]` and `[m, d]`, n and m >= 2."""

    def between_others(points: tf.Tensor) -> tf.Tensor:
        n = tf.cast(tf.shape(points)[0], points.dtype)
        return tf.reduce_sum(distances(points, points)) / tf.maximum(n * (n - 1), 1)

    between = tf.reduce_mean(distances(x, y))
    return 2 * between - between_others(x) - between_others(y)


@keras.saving.register_keras_serializable("energy_gan")
class EnergyGAN(Method):
    """A generator against a critic's features under the energy distance.

    Args:
        *args, **kwargs: as for `Method`.
        penalty_weight: lambda of the gradient penalty.
    """

    config_fields = ("penalty_weight",)

    def __init__(self, *args, penalty_weight: float = 1.0, **kwargs):
        super().__init__(*args, **kwargs)
        if not 0 <= penalty_weight < float("inf"):
            raise UserError(f"penalty_weight={penalty_weight} is out of range; give a number >= 0.")
        self._needs_gradients_by_example("penalty_weight", penalty_weight)
        self.penalty_weight = float(penalty_weight)

    @classmethod
    def unused_fields(cls, config: Mapping[str, Any]) -> tuple[str, ...]:
        return ("label_smoothing",)

    def losses(self, batch: Batch, players: tuple[str, ...]) -> Losses:
        fake = self.generate(batch, players)
        # Of the batches of all replicas: a distance of samples is no mean over examples.
        x, y = (self.gather(h) for h in self.outputs_on_both(batch, fake, players))
        distance = energy_distance(x, y)
        losses: Losses = {}
        if "generator" in players:
            losses["generator"] = (distance, {"energy_distance": distance})
        if "critic" in players:
            penalty = self._penalty(batch, tf.stop_gradient(fake), x, y)
            logs = {"energy_distance": distance, "gradient_penalty": penalty}
            losses["critic"] = (self.penalty_weight * penalty - distance, logs)
        return losses

    def _penalty(self, batch: Batch, fake: tf.Tensor, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        def witness(points: tf.Tensor) -> tf.Tensor:
            h = self.critic_outputs(points)
            return tf.reduce_mean(distances(h, y), axis=1) - tf.reduce_mean(distances(h, x), axis=1)

        unit = batch.noise.unit("interpolation", [tf.shape(fake)[0]])
        points = regularizers.interpolate(batch.real, fake, unit)
        return regularizers.gradient_penalty(regularizers.gradient_norms_squared(witness, points))


if __name__ == "__main__":
    # What a shell would do: the zoo reads this file by its name.
    os.environ["KGZOO_METHODS"] = os.path.abspath(__file__)
    from kgzoo import cli, config, main

    arguments = sys.argv[1:]
    line = ["--method=energy_gan", "--dataset=ring2d"]
    if "--quick" in arguments:
        arguments.remove("--quick")
        line += [f"--config.{field}={value}" for field, value in config.QUICK.items()]
        line.append("--workdir=runs/energy_gan_ring2d_quick")
    cli.run(main.main, ["kgzoo", *line, *arguments])
