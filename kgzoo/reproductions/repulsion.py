"""Hinge loss, attractive and repulsive MMD-GANs on CIFAR-10 at equal steps.

Wang, Sun and Halgamuge (2019), https://arxiv.org/abs/1812.09916, Table 1. Each loss needs a factor
C of its own after every normalised layer (appendix C.3): the paper takes 1/0.55 for all and shows
in Table S3 that other ones suit other losses. Narrow networks need other factors than wide ones, so
every arm chooses among the same few, by short trainings with a seed that the table does not have.
"""

import functools

from kgzoo.reproductions import grid
from kgzoo.reproductions.grid import Arm, Budget, Claim

__all__ = ["run"]

_CARD = "configs/repulsive_table1.py"
# C of one layer; 1/0.55 is the paper's.
_CONSTANTS = {
    "hinge": (1.0, 1.2, 1.5, 1 / 0.55),
    "mmd_rbf": (1.0, 1.2, 1.5, 1 / 0.55),
    "mmd_rep": (1.0, 1.2, 1.5, 1 / 0.55),
    "mmd_rep_b": (1.0, 1.2, 1.5, 1 / 0.55),
}
_TITLES = {
    "hinge": ("hinge", 23.46),
    "mmd_rbf": ("MMD-rbf", 28.38),
    "mmd_rep": ("MMD-rep", 16.65),
    "mmd_rep_b": ("MMD-rep-b", 16.21),
}
_ARMS = {
    method: Arm(
        *(method, title),
        card=f"{_CARD}:{method},cifar10",
        printed={"fid": f"{fid} (Inception)"},
        choices={f"C={c:.3g}": {"spectral_constant": c} for c in _CONSTANTS[method]},
    )
    for method, (title, fid) in _TITLES.items()
}
_BUDGETS = {
    "quick": Budget("digits", 200, seeds=1),
    # A quarter of the paper's filters.
    "cpu": Budget(
        *("cifar10", 600),
        cards=True,
        fields={"generator_width": 16, "critic_width": 16, "num_samples": 5000},
        choice_steps=150,
    ),
    "paper": Budget("cifar10", 100_000, cards=True),
}

_CLAIM = Claim(
    name="repulsion",
    paper="arXiv:1812.09916, section 5, Table 1, appendix C.3",
    arms=_ARMS,
    budgets=_BUDGETS,
    expects=(("mmd_rep", "hinge"), ("mmd_rep", "mmd_rbf"), ("mmd_rep_b", "hinge")),
    curves=("kid", "generator_loss"),
    differs="features not Inception's; averaged generator; one pair of rates, not the best of 16",
)
run = functools.partial(grid.run, _CLAIM)
