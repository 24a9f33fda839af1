"""What FID owes to rate, batch and critic outputs: Figure 5 of the GRAM paper.

Srivastava, Xu, Gutmann and Sutton (2020), https://arxiv.org/abs/1806.00101, section 4.2. The
figure has curves and no numbers; the text says that GRAM is about as robust to the rate as a GAN,
that MMD-GAN is not, that smaller batches are better for all three, and that FID improves with the
outputs K of the critic up to 1,000.
"""

import functools
from collections.abc import Mapping
from typing import Any

from kgzoo.reproductions import grid
from kgzoo.reproductions.grid import Arm, Budget, Claim

__all__ = ["conclude", "run"]

_CARD = "configs/gram_figure5.py"
_METHODS = {"gram": "GRAM", "gan": "GAN", "mmd_gan": "MMD-GAN"}
# A GAN's critic has one output, and the paper shows the sweep of K for gram only.
_WITH_OUTPUTS = ("gram",)
_RATES = {"1e-5": 1e-5, "5e-5": 5e-5, "1e-4": 1e-4, "5e-4": 5e-4, "1e-3": 1e-3}
_BATCHES = (32, 64, 128, 256, 512)
_OUTPUTS = (16, 32, 64, 128, 256, 512, 1000, 2000)
_PAPER = {
    "rate": {
        **dict.fromkeys(("gram", "gan"), "much less sensitive than MMD-GAN"),
        "mmd_gan": "especially sensitive",
    },
    "batch": dict.fromkeys(_METHODS, "slightly sensitive, smaller is better"),
    "dim": {"gram": "better up to 1,000, then sharply worse"},
}


def _rate(value: float) -> dict[str, float]:
    return {"critic_learning_rate": value, "generator_learning_rate": value}


_POINTS: dict[str, tuple[str, dict[str, Any]]] = {
    **{f"rate{word}": (f"rate {word}", _rate(value)) for word, value in _RATES.items()},
    **{f"batch{size}": (f"batch {size}", {"batch_size": size}) for size in _BATCHES},
    **{f"dim{k}": (f"K = {k}", {"output_dim": k}) for k in _OUTPUTS},
}
_ARMS = {
    f"{method}_{point}": Arm(
        *(method, f"{title}, {words}", fields),
        card=f"{_CARD}:{method},{point}",
        printed={"fid": "curve only"},
    )
    for method, title in _METHODS.items()
    for point, (words, fields) in _POINTS.items()
    if method in _WITH_OUTPUTS or not point.startswith("dim")
}


def conclude(summaries: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Returns for each method and sweep how far the mean FIDs lie apart, and the best point."""
    findings = []
    for sweep, told in _PAPER.items():
        for method, paper in told.items():
            own = {
                name: of["scores"]["fid"]["mean"]
                for name, of in summaries.items()
                if name.startswith(f"{method}_{sweep}") and "fid" in of["scores"]
            }
            if len(own) > 1:
                ratio = max(own.values()) / max(min(own.values()), 1e-9)
                best = min(own, key=own.get).removeprefix(f"{method}_{sweep}")
                found = f"largest {ratio:.3g} times the least, which is at {best}"
                quantity = f"{_METHODS[method]}: mean FID over {len(own)} points of {sweep}"
                findings.append({"quantity": quantity, "found": found, "paper": paper})
    return findings


_FEW = tuple(
    name
    for name in _ARMS
    if name.endswith(("rate1e-5", "rate1e-4", "rate1e-3", "batch32", "batch128", "dim16", "dim256"))
)
# Li et al.'s hundred critic updates before each early step would be all that short runs do.
_NO_EARLY_STEPS = {name: {"early_critic_steps": 0} for name in _ARMS if name.startswith("mmd_gan_")}
_BUDGETS = {
    "quick": Budget(
        *("digits", 200),
        fields={
            **{"learning_rate_multiplier": 1.0, "batch_size": 64},
            **{"critic_batch_norm": True, **_rate(1e-4)},
        },
        seeds=1,
        arms=_FEW,
        own=_NO_EARLY_STEPS,
    ),
    # Half the filters of the card's DCGAN.
    "cpu": Budget(
        *("cifar10", 1500),
        cards=True,
        fields={"generator_width": 16, "critic_width": 16, "num_samples": 5000, **_rate(1e-4)},
        seeds=2,
        arms=_FEW,
        own=_NO_EARLY_STEPS,
    ),
    "paper": Budget("cifar10", 100_000, cards=True, seeds=1),
}

_CLAIM = Claim(
    name="gram_sensitivity",
    paper="arXiv:1806.00101, section 4.2, Figure 5",
    arms=_ARMS,
    budgets=_BUDGETS,
    conclude=conclude,
    differs="the axes' points but K = 1,000 are ours; features not Inception's; averaged generator",
)
run = functools.partial(grid.run, _CLAIM)
