"""SMMD against a plain MMD-GAN, gradients clipped or not: is the scale what makes it stable?

Arbel et al. (2018), https://arxiv.org/abs/1805.11565: without the scale an MMD-GAN fails on
CIFAR-10 (Table 2, 5.5 / 73.9), and without spectral parametrisation the condition number of the
critic's weights grows (section 3.3, Figure 2 d). The authors' code clips each gradient to norm 1,
which the paper does not say. Here on MNIST: losses, scale, condition numbers and scores over steps.
"""

import functools
import math
import pathlib

from kgzoo.evaluation import json_lines
from kgzoo.reproductions import grid
from kgzoo.reproductions.grid import Arm, Budget, Claim
from kgzoo.reproductions.grid_table import Measured, Score

__all__ = ["measure", "run"]

_CLIPPED = {"clip_gradient_norm": 1.0}
_ARMS = {
    "smmd": Arm("smmd", "SMMD", printed={"fid": "31.5 (CIFAR-10)"}),
    "smmd_clipped": Arm("smmd", "SMMD, clipped", _CLIPPED, printed={"fid": "31.5 (CIFAR-10)"}),
    "mmd_opt": Arm("mmd_opt", "MMD", printed={"fid": "73.9 (CIFAR-10)"}),
    "mmd_opt_clipped": Arm("mmd_opt", "MMD, clipped", _CLIPPED, printed={"fid": "73.9 (CIFAR-10)"}),
}
_LOGGED = ("generator_loss", "critic_loss", "scale", "kid")


def measure(workdir: pathlib.Path) -> Measured:
    """Returns condition numbers of the critic's layers, from spectra.jsonl.

    The largest singular value over the smallest, of the kernel that acts reshaped to [-1, outputs]:
    of the first layer, which Figure 2 (d) shows, and the largest of all layers; a kernel with one
    output has 1. Where the smallest is 0 the point is left out.
    """
    names = ("condition_of_first_layer", "largest_condition")
    curves: dict[str, tuple[list[int], list[float]]] = {name: ([], []) for name in names}
    for line in json_lines.objects(workdir / "spectra.jsonl"):
        found = [layer["condition"] for layer in line["layers"].values()]
        largest = max((math.inf if value is None else value for value in found), default=math.inf)
        for name, value in zip(names, (found[0] if found else None, largest), strict=True):
            if value is not None and math.isfinite(value):
                curves[name][0].append(line["step"])
                curves[name][1].append(value)
    numbers = {name: values[-1] if values else None for name, (_, values) in curves.items()}
    metrics = json_lines.objects(workdir / "metrics.jsonl")
    scales = [line["scale"] for line in metrics if "scale" in line]
    return Measured({**numbers, "scale": scales[-1] if scales else None}, curves)


_BUDGETS = {
    "quick": Budget("digits", 300, seeds=1),
    # A quarter of the filters of the usual networks on MNIST.
    "cpu": Budget(
        *("mnist", 600),
        fields={"generator_width": 16, "critic_width": 16, "num_samples": 5000},
    ),
    "paper": Budget(
        *("mnist", 150_000),
        fields={
            **{"generator_width": 64, "critic_width": 64, "latent_dim": 128},
            **{"learning_rate_multiplier": 1.0, "ema_half_life_images": 50_000.0},
            "num_samples": 10_000,
        },
    ),
}

_CLAIM = Claim(
    name="stability",
    paper="arXiv:1805.11565, sections 3.3 and 4, Table 2, Figure 2",
    arms=_ARMS,
    budgets=_BUDGETS,
    scores=(
        *(grid.FID, grid.KID),
        Score("condition_of_first_layer", "condition number, first layer", None),
        Score("largest_condition", "largest condition number of a layer", None),
        Score("scale", "scale", lower_is_better=None),
    ),
    expects=(("smmd", "mmd_opt"), ("smmd_clipped", "mmd_opt_clipped")),
    curves=_LOGGED,
    measure=measure,
    differs="MNIST; the paper's figures are of CIFAR-10 and CelebA; clipping is of its code alone",
)
run = functools.partial(grid.run, _CLAIM)
