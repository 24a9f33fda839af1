"""From attraction to repulsion: the lambda of the critic's loss, Figure 3 of the repulsive paper.

Wang, Sun and Halgamuge (2019), https://arxiv.org/abs/1812.09916, section 5.2: lambda from -1
(attractive) to 2, under a Gaussian kernel and its bounded form, each with 16 pairs of rates
(`--grid`). The figure has bars and no numbers.
"""

import functools
import itertools

from kgzoo.reproductions import grid
from kgzoo.reproductions.grid import Arm, Budget, Claim

__all__ = ["RATES", "run"]

# Of either player.
RATES = tuple(itertools.product((1e-4, 2e-4, 5e-4, 1e-3), repeat=2))
_CARD = "configs/repulsive_figure3.py"
_KERNELS = {"rbf": "none", "rbf_b": "paper"}
_ARMS = {
    f"{kernel}_{value:g}": Arm(
        *("mmd_lambda", f"lambda {value:g}, {kernel.replace('_', '-')}"),
        {"repulsion": value, "bounding": bounding},
        card=f"{_CARD}:lambda{value:g},{kernel}",
        printed={"fid": "bars only"},
    )
    for kernel, bounding in _KERNELS.items()
    for value in (-1.0, -0.5, 0.0, 0.5, 1.0, 2.0)
}
_BUDGETS = {
    "quick": Budget("digits", 200, seeds=1),
    # A quarter of the paper's filters, and a factor C that suits them.
    "cpu": Budget(
        *("cifar10", 1500),
        cards=True,
        fields={
            **{"generator_width": 16, "critic_width": 16, "num_samples": 5000},
            "spectral_constant": 1.2,
        },
        seeds=2,
    ),
    "paper": Budget("cifar10", 100_000, cards=True, seeds=1),
}

_CLAIM = Claim(
    name="lambda_sweep",
    paper="arXiv:1812.09916, section 5.2, Figure 3",
    arms=_ARMS,
    budgets=_BUDGETS,
    expects=(
        *(("rbf_-0.5", "rbf_-1"), ("rbf_0.5", "rbf_-0.5"), ("rbf_1", "rbf_-0.5")),
        *(("rbf_0.5", "rbf_2"), ("rbf_1", "rbf_2")),
    ),
    rates=RATES,
    differs="features not Inception's; averaged generator; for lambda >= 0 the bounds of eq. 7",
)
run = functools.partial(grid.run, _CLAIM)
