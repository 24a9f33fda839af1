"""The register of claims: what each reproduction is of, what it costs, what came out last.

Strings and numbers alone, and the small JSON files of benchmarks/results/reproduce: no import of
NumPy or TensorFlow. `listing` is what `python -m kgzoo.reproduce --list` prints, `markdown` the
table of the README.
"""

import json
import pathlib
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from kgzoo.errors import unknown_name
from kgzoo.reproductions import provenance

__all__ = ["CLAIMS", "Entry", "Measured", "listing", "markdown", "measured", "options_of"]

RESULTS = "benchmarks/results/reproduce"
_ROOT = pathlib.Path(__file__).resolve().parents[2]
_WIDTH = 96

_SMMD = "SMMD (arXiv:1805.11565)"
_REPULSIVE = "Repulsive MMD-GAN (arXiv:1812.09916)"
_KERNEL_GAN = "Kernel GAN (arXiv:1705.09199)"
_GRAM = "GRAM (arXiv:1806.00101)"
_KERNEL_NET = "KernelNet (arXiv:1912.00979)"


class Entry(NamedTuple):
    """One claim.

    Attributes:
        paper: short name and number.
        where: table, figure or section.
        claim: what the paper says, in one sentence.
        printed: its values, or that it prints none.
        budgets: rough cost on two cores by budget; `cpu` is the default of those with no --budget.
        headline: quantities among the findings that sum it up, in order; the first words suffice.
        options: of the reproduction, for budgets that it has no word for.
    """

    paper: str
    where: str
    claim: str
    printed: str
    budgets: Mapping[str, str]
    headline: Sequence[str]
    options: Mapping[str, Mapping[str, Any]] = {}


class Measured(NamedTuple):
    """What a result file says.

    Attributes:
        found: headlines and values.
        budget: quick, cpu or paper.
        date: of the run, or of the commit that keeps it; empty where unknown.
        commit: of the code, or the one that keeps the file; empty where unknown.
    """

    found: list[tuple[str, str]]
    budget: str
    date: str
    commit: str


CLAIMS: Mapping[str, Entry] = {
    "dirac": Entry(
        *(_SMMD, "Figures 1 and 5", "Gradient-constrained losses converge on two Diracs."),
        printed="LipMMD, GC-MMD and SMMD converge from all starts, MMD from one",
        budgets={"quick": "seconds", "cpu": "a minute"},
        headline=("MMD: theta", "SMMD: theta"),
    ),
    "distances": Entry(
        *(_SMMD, "Figures 1c, 1d and 7", "SMMD and LipMMD are continuous where MMD is not."),
        printed="sqrt 2 for MMD, 0 in the limit for the others",
        budgets={"quick": "seconds", "cpu": "minutes"},
        headline=("D_MMD at", "D_SMMD at", "D_GCMMD, mu = P, at"),
    ),
    "critic_fields": Entry(
        *(_SMMD, "Figure 6", "A Sobolev critic's gradients explode far from the data."),
        printed="orders of magnitude larger, not so for GCMMD",
        budgets={"quick": "seconds", "cpu": "a minute"},
        headline=("Sobolev: largest far / mean", "GCMMD: largest far / mean"),
    ),
    "gcmmd_mnist": Entry(
        *(_SMMD, "Figure 8", "Gradient-constrained MMD trains on MNIST, in days."),
        printed="curves only; days of CPU time",
        budgets={"quick": "a minute", "cpu": "20 minutes", "paper": "7 hours (--steps=32000)"},
        headline=("gcmmd, step", "gcmmd, step 600: FID"),
        options={"paper": {"steps": 32_000}},
    ),
    "two_parameter": Entry(
        *(_REPULSIVE, "Appendix A.2", "Either loss is stable for a GAN of two parameters."),
        printed="(1.55, 0.74) attractive, (1.55, 0.32) repulsive",
        budgets={"quick": "seconds", "cpu": "a minute"},
        headline=("attractive, normal", "repulsive, normal"),
    ),
    "saturation": Entry(
        *(_REPULSIVE, "Figure 2", "Single Gaussian kernels saturate; mixtures less so."),
        printed="curves only",
        budgets={"quick": "seconds", "cpu": "seconds"},
        headline=("gaussian, sigma 1", "gaussian, mean"),
    ),
    "ring": Entry(
        *(_GRAM, "Figures 2 and 7", "GRAM covers a ring of modes in every setting, a GAN in none."),
        printed="12 of 12 settings; MMD net blurred; GAN none",
        budgets={"quick": "a minute", "cpu": "90 minutes"},
        headline=("GRAM: 8 of 8", "MMD net: 8 of 8", "GAN, rate 1e-4: 8 of 8"),
    ),
    "projection": Entry(
        *(_GRAM, "Figures 1, 6 and 9", "Data and samples overlap in GRAM's projection."),
        printed="pictures only: overlap, not for MMD-GAN",
        budgets={"quick": "a minute", "cpu": "half an hour"},
        headline=("GRAM, 2-D ring: own", "MMD-GAN, 2-D ring: own"),
    ),
    "annealing": Entry(
        *(_KERNEL_GAN, "Figure 1", "Samples concentrate on the modes as the bandwidth falls."),
        printed="pictures only",
        budgets={"quick": "seconds", "cpu": "10 minutes"},
        headline=("after bandwidth 0.8", "after bandwidth 0.025"),
    ),
    "bandwidth": Entry(
        *(_KERNEL_GAN, "Figure 9", "Wide kernels prefer the mean image to ideal samples."),
        printed="curves only",
        budgets={"quick": "seconds", "cpu": "a minute"},
        headline=("sigma where they cross", "mean image, lowest"),
    ),
    "sampler": Entry(
        *(_KERNEL_NET, "Figure 5", "Estimated scores train an implicit sampler of two modes."),
        printed="pictures only",
        budgets={"quick": "a minute", "cpu": "10 minutes"},
        headline=("Stein gradient estimator: KS", "spectral estimator: KS"),
    ),
    "nll": Entry(
        *(_KERNEL_NET, "Tables 3 and 5", "Info-IVAE-DK has the best likelihood of nine VAEs."),
        printed="VAE 90.32, Info-IVAE-DK 88.16 nats",
        budgets={"quick": "an hour", "paper": "days (--scale=paper)"},
        headline=("vae:", "info_ivae_dk:", "pairs of rows"),
        options={"paper": {"scale": "paper"}},
    ),
    "latents": Entry(
        *(_KERNEL_NET, "Figures 7 and 8", "Codes of Info-IVAE-DK tell digits apart by few labels."),
        printed="curves only",
        budgets={"quick": "minutes after nll", "paper": "an hour after nll (--scale=paper)"},
        headline=("",),
        options={"paper": {"scale": "paper"}},
    ),
    "kernel_gan_table": Entry(
        *(_KERNEL_GAN, "Table 1", "DC Kernel GANs have the best entropy and LeNet score on MNIST."),
        printed="EE / LS: FC 0.408 / 6.60, DC 0.289 / 7.46, GMMN 0.293 / 7.41",
        budgets={"quick": "5 minutes (digits)", "cpu": "2 hours", "paper": "3 days"},
        headline=("Kernel GAN, FC: EE", "Kernel GAN, DC: EE", "GMMN: EE"),
    ),
    "stability": Entry(
        *(_SMMD, "Table 2, Figure 2", "The scale makes an MMD-GAN stable."),
        printed="CIFAR-10 FID: SMMD 31.5, plain MMD-GAN 73.9",
        budgets={"quick": "5 minutes (digits)", "cpu": "1.5 to 2 hours", "paper": "a month"},
        headline=("SMMD: FID", "MMD: FID", "SMMD better", "SMMD, clipped better"),
    ),
    "repulsion": Entry(
        *(_REPULSIVE, "Table 1", "The repulsive loss beats hinge and attractive MMD-GANs."),
        printed="CIFAR-10 FID: hinge 23.46, rbf 28.38, rep 16.65, rep-b 16.21",
        budgets={"quick": "4 minutes (digits)", "cpu": "1.5 hours", "paper": "2 weeks"},
        headline=("hinge", "MMD-rbf", "MMD-rep", "MMD-rep-b"),
    ),
    "kernelnet": Entry(
        *(_KERNEL_NET, "Tables 1 and 4", "A trained kernel improves a repulsive MMD-GAN."),
        printed="CIFAR-10 FID: rbf 16.7, IKL 16.3, DK 14.6, DK-II 15.2",
        budgets={"quick": "5 minutes (digits)", "cpu": "2 hours", "paper": "6 weeks"},
        headline=("rbf", "DK"),
    ),
    "lambda_sweep": Entry(
        *(_REPULSIVE, "Figure 3", "FID is best for lambda of 0.5 and 1."),
        printed="bars only",
        budgets={"quick": "12 minutes (digits)", "cpu": "2 hours", "paper": "2 weeks a seed"},
        headline=("lambda -1, rbf: FID", "lambda 0.5, rbf: FID", "lambda 1, rbf: FID"),
    ),
    "pico_sweep": Entry(
        *(_REPULSIVE, "Figure S2, Table S3", "C^K matters: 64 for rep, 128 and more for hinge."),
        printed="CIFAR-10 FID: hinge 22.89 at 128, rep 17.00 at 64; else box plots",
        budgets={"quick": "12 minutes (digits)", "cpu": "2 hours", "paper": "4 weeks a seed"},
        headline=("hinge, C^K = 128: FID", "MMD-rep, C^K = 64: FID"),
    ),
    "gram_sensitivity": Entry(
        *(_GRAM, "Figure 5", "GRAM is as robust to the rate as a GAN, and MMD-GAN is not."),
        printed="curves only",
        budgets={"quick": "15 minutes (digits)", "cpu": "2 hours", "paper": "weeks"},
        headline=("GRAM: mean FID", "GAN: mean FID", "MMD-GAN: mean FID"),
    ),
}


def measured(name: str, folder: pathlib.Path | None = None) -> Measured | None:
    """Returns what the result file of a claim says, or None where there is none.

    Args:
        name: one of `CLAIMS`.
        folder: of the result files; None: benchmarks/results/reproduce of the clone.
    """
    own = folder is None
    try:
        path = (_ROOT / RESULTS if own else folder) / f"{name}.json"
        result = json.loads(path.read_text(encoding="utf-8"))
        rows, settings = result["findings"], result["settings"]
        found = _headline(rows, CLAIMS[name].headline)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    machine = result.get("machine") or {}
    commit, date = machine.get("commit"), machine.get("date")
    if not date and own:
        commit, date = provenance.kept(RESULTS).get(path.name, ("", ""))
    budget = settings.get("budget") or settings.get("scale")
    budget = budget or ("quick" if settings.get("quick") else "cpu")
    return Measured(found, budget, (date or "")[:10], _short(commit or ""))


def _short(commit: str) -> str:
    return commit[:7] + "+" * commit.endswith("+")


def _headline(rows: Sequence[Mapping[str, Any]], wanted: Sequence[str]) -> list[tuple[str, str]]:
    """Returns the first finding that begins with each of the wanted words."""
    found = []
    for words in wanted:
        for row in rows:
            pair = (row["quantity"], str(row["found"]))
            if row["quantity"].startswith(words) and pair not in found:
                found.append(pair)
                break
    return found


def options_of(name: str, budget: str) -> dict[str, Any]:
    """Returns what a reproduction without an option `budget` takes in its place.

    Args:
        name: one of `CLAIMS`.
        budget: quick, cpu or paper.

    Raises:
        UserError: if the claim has no such budget.
    """
    entry = CLAIMS[name]
    if budget not in entry.budgets:
        raise unknown_name("budget", budget, entry.budgets)
    return {"quick": True} if budget == "quick" else dict(entry.options.get(budget, {}))


def listing(folder: pathlib.Path | None = None) -> str:
    """Returns a paragraph for each claim: paper, what it says, budgets, printed and measured.

    Args:
        folder: see `measured`.
    """
    lines = []
    for name, entry in CLAIMS.items():
        costs = ", ".join(f"{budget} {cost}" for budget, cost in entry.budgets.items())
        lines += [f"{name}: {entry.paper}, {entry.where}"]
        lines += _wrapped("claim", entry.claim) + _wrapped("printed", entry.printed)
        lines += _wrapped("budgets", costs)
        result = measured(name, folder)
        told = "not yet" if result is None else _told(result) + _when(result)
        lines += _wrapped("measured", told)
    return "\n".join(lines)


def _told(result: Measured) -> str:
    return "; ".join(f"{quantity}: {found}" for quantity, found in result.found)


def _when(result: Measured) -> str:
    facts = [f"budget {result.budget}", result.date, result.commit and f"commit {result.commit}"]
    return f" [{', '.join(filter(None, facts))}]"


def _wrapped(word: str, text: str) -> list[str]:
    return textwrap.wrap(
        text, _WIDTH, initial_indent=f"  {word:<9}", subsequent_indent=" " * 11
    ) or [f"  {word}"]


def markdown(folder: pathlib.Path | None = None) -> str:
    """Returns the table of claims for the README, from the result files.

    Args:
        folder: see `measured`.
    """
    lines = [
        "| name | paper | claim | printed | measured here | budget |",
        "|---|---|---|---|---|---|",
    ]
    for name, entry in CLAIMS.items():
        result = measured(name, folder)
        told = "not yet" if result is None else _told(result)
        when = "" if result is None else f"{result.budget}, {result.date}".rstrip(", ")
        paper = f"{entry.paper.partition(' (')[0]}, {entry.where}"
        cells = (f"`{name}`", paper, entry.claim, entry.printed, told, when)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)
