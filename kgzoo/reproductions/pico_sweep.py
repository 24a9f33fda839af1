"""How much a critic may stretch: C^K of all K normalised layers, Figure S2 of the repulsive paper.

Wang, Sun and Halgamuge (2019), https://arxiv.org/abs/1812.09916, appendix C.3: four losses under
PICO with C^K = 16 to 256 and under PIM, each with 16 pairs of rates (`--grid`); the box plots have
no numbers, Table S3 the best ones at one C^K of each loss.
"""

import functools

from kgzoo.reproductions import grid
from kgzoo.reproductions.grid import Arm, Budget, Claim
from kgzoo.reproductions.lambda_sweep import RATES

__all__ = ["run"]

_CARD = "configs/repulsive_table_s3.py"
_POWERS = (16, 32, 64, 128, 256)
_TITLES = {
    "hinge": "hinge",
    "mmd_rbf": "MMD-rbf",
    "mmd_rep": "MMD-rep",
    "mmd_rep_b": "MMD-rep-b",
}
# Table S3, CIFAR-10: the best of 16 pairs of rates.
_PRINTED = {
    **{"hinge_128": 22.89, "mmd_rbf_128": 26.50, "mmd_rep_64": 17.00, "mmd_rep_b_64": 16.65},
    **{"hinge_pim": 23.60, "mmd_rbf_pim": 26.56, "mmd_rep_pim": 19.98, "mmd_rep_b_pim": 18.24},
}


def _arm(method: str, name: str, words: str, fields: dict, iteration: str) -> Arm:
    best = _PRINTED.get(f"{method}_{name}")
    return Arm(
        *(method, f"{_TITLES[method]}, {words}"),
        {"spectral_constant": 1.0, **fields},
        card=f"{_CARD}:{method},cifar10,{iteration}",
        printed={"fid": f"{best} (Inception, best of 16)" if best else "box plot only"},
    )


_ARMS = {
    f"{method}_{name}": _arm(method, name, words, fields, iteration)
    for method in _TITLES
    for name, words, fields, iteration in (
        *(
            (f"{c}", f"C^K = {c}", {"spectral": "pico", "spectral_product": float(c)}, "pico")
            for c in _POWERS
        ),
        ("pim", "PIM", {"spectral": "pim", "spectral_product": 0.0}, "pim"),
    )
}
_TWO_LOSSES = tuple(name for name in _ARMS if name.startswith(("hinge_", "mmd_rep_")))
_TWO_LOSSES = tuple(name for name in _TWO_LOSSES if not name.startswith("mmd_rep_b_"))
_BUDGETS = {
    "quick": Budget("digits", 200, seeds=1, arms=_TWO_LOSSES),
    # A quarter of the paper's filters.
    "cpu": Budget(
        *("cifar10", 1500),
        cards=True,
        fields={"generator_width": 16, "critic_width": 16, "num_samples": 5000},
        seeds=2,
        arms=_TWO_LOSSES,
    ),
    "paper": Budget("cifar10", 100_000, cards=True, seeds=1),
}

_CLAIM = Claim(
    name="pico_sweep",
    paper="arXiv:1812.09916, appendix C.3, Figure S2, Table S3",
    arms=_ARMS,
    budgets=_BUDGETS,
    expects=(
        *(("mmd_rep_64", "mmd_rep_16"), ("mmd_rep_64", "mmd_rep_pim")),
        *(("hinge_128", "hinge_16"), ("hinge_128", "hinge_pim")),
    ),
    rates=RATES,
    differs="features are not Inception's; averaged generator; no factor under PIM",
)
run = functools.partial(grid.run, _CLAIM)
