"""Kernels that are trained, under one repulsive loss at equal steps: rbf, IKL, DK, DK-II, DK-PD.

Zhou et al. (2019), https://arxiv.org/abs/1912.00979, Tables 1 and 4. The paper cites the row of the
fixed kernel from elsewhere; here, but for budget `paper`, all five have one loss, one normalisation
and the same choice of the factor C after each normalised layer, and differ by the kernel alone.
`rep_dk_pd` is not the paper's: DK made positive definite.
"""

import functools

from kgzoo.reproductions import grid
from kgzoo.reproductions.grid import Arm, Budget, Claim

__all__ = ["run"]

_TABLE_1, _TABLE_4 = "configs/kernelnet_table1.py", "configs/kernelnet_table4.py"
# The rep_* rows': of mmd_rep too.
_COMMON = {"repulsion": 0.5, "spectral": "pim", "spectral_constant": 2.0}
_CHOICES = {f"C={c:g}": {"spectral_constant": c} for c in (1.2, 1.6, 2.0)}
_ROWS = {
    "mmd_rep": ("rbf", f"{_TABLE_1}:mmd_rep", 16.7),
    "rep_ikl": ("IKL", f"{_TABLE_1}:rep_ikl", 16.3),
    "rep_dk": ("DK", f"{_TABLE_1}:rep_dk", 14.6),
    "rep_dk2": ("DK-II", f"{_TABLE_4}:rep_dk2,cifar10", 15.2),
    "rep_dk_pd": ("DK-PD", f"{_TABLE_1}:rep_dk_pd", None),
}
_ARMS = {
    method: Arm(
        *(method, title),
        card=card,
        printed={"fid": f"{fid} (Inception)"} if fid else {},
        choices=_CHOICES,
    )
    for method, (title, card, fid) in _ROWS.items()
}
_BUDGETS = {
    "quick": Budget("digits", 200, fields=_COMMON, seeds=1),
    # A quarter of the paper's filters.
    "cpu": Budget(
        *("cifar10", 600),
        fields={
            **_COMMON,
            **{"network": "sndcgan", "generator_width": 16, "critic_width": 16},
            **{"latent_dim": 128, "latent_distribution": "uniform", "num_samples": 5000},
            **{"critic_learning_rate": 2e-4, "generator_learning_rate": 2e-4},
        },
        choice_steps=150,
    ),
    "paper": Budget("cifar10", 200_000, cards=True),
}

_CLAIM = Claim(
    name="kernelnet",
    paper="arXiv:1912.00979, section 4.1, Tables 1 and 4",
    arms=_ARMS,
    budgets=_BUDGETS,
    expects=(("rep_dk", "mmd_rep"), ("rep_dk", "rep_ikl"), ("rep_dk", "rep_dk2")),
    curves=("kid", "generator_loss", "kernel_smallest_eigenvalue"),
    differs=(
        "kernels in closed form, features not Inception's, averaged generator; below budget paper "
        "constant rates and one loss for all arms"
    ),
)
run = functools.partial(grid.run, _CLAIM)
