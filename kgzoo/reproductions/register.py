"""The register: what each reproduction is of, what the paper prints, what it costs.

Strings alone: `kgzoo.reproductions.claims` puts what was measured beside them.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

__all__ = ["CLAIMS", "Entry", "Value"]

_SMMD = "SMMD (arXiv:1805.11565)"
_REPULSIVE = "Repulsive MMD-GAN (arXiv:1812.09916)"
_KERNEL_GAN = "Kernel GAN (arXiv:1705.09199)"
_GRAM = "GRAM (arXiv:1806.00101)"
_KERNEL_NET = "KernelNet (arXiv:1912.00979)"

# Parts of what findings say; of those without one, the number and its deviation.
_VERDICT = r"^(?:yes|no conclusion|no)"
_NUMBER = r"^[\d.]+"
_RANGE = r"from ([\d.]+ to [\d.]+)"
_TIMES = r"^largest ([\d.e+]+)"
_RUNS = r"\d+ of \d+ runs"
_SHARE = r"^[\d.]+%"
_LAST_SHARE = r"(\d+%) \(\d+\)$"
_OF_300_LABELS = r"\b300: ([\d.]+%)"
# Of the title of an arm that chose.
_CHOSEN = r"(?:, C=[\d.]+)?"


class Value(NamedTuple):
    """A finding that sums a claim up.

    Attributes:
        label: in the table of the README, before the value.
        quantity: how the finding's quantity begins, a regular expression.
        part: of what was found that the table shows, a regular expression; empty: all but ranges
            and counts.
    """

    label: str
    quantity: str
    part: str = ""


class Entry(NamedTuple):
    """One claim.

    Attributes:
        paper: short name and number.
        where: table, figure or section.
        claim: what the paper says, in one sentence.
        printed: its values, or that it prints none.
        budgets: rough cost on two cores by budget; `cpu` is the default of those with no --budget.
        headline: what sums it up, in order.
        options: of the reproduction, for budgets that it has no word for.
    """

    paper: str
    where: str
    claim: str
    printed: str
    budgets: Mapping[str, str]
    headline: Sequence[Value]
    options: Mapping[str, Mapping[str, Any]] = {}


CLAIMS: Mapping[str, Entry] = {
    "dirac": Entry(
        *(_SMMD, "Figures 1 and 5", "Gradient-constrained losses converge on two Diracs."),
        printed="SMMD from starts A, B and C, MMD from A",
        budgets={"quick": "seconds", "cpu": "a minute"},
        headline=(
            Value("MMD converges from", "MMD: theta", r"([ABC]) reaches"),
            Value("SMMD from", "SMMD: theta", r"([ABC]) reaches"),
        ),
    ),
    "distances": Entry(
        *(_SMMD, "Figures 1c, 1d and 7", "SMMD and LipMMD are continuous where MMD is not."),
        printed="√2 for MMD, 0 in the limit for the others",
        budgets={"quick": "seconds", "cpu": "minutes"},
        headline=(
            Value("at a distance of 0.02: MMD", "D_MMD at"),
            Value("SMMD", "D_SMMD at"),
            Value("GCMMD (μ = P)", "D_GCMMD, mu = P, at"),
        ),
    ),
    "critic_fields": Entry(
        *(_SMMD, "Figure 6", "A Sobolev critic's gradients explode far from the data."),
        printed="orders of magnitude, not so for GCMMD",
        budgets={"quick": "seconds", "cpu": "a minute"},
        headline=(
            Value("largest far gradient over the mean: Sobolev", "Sobolev: largest far / mean"),
            Value("GCMMD", "GCMMD: largest far / mean"),
        ),
    ),
    "gcmmd_mnist": Entry(
        *(_SMMD, "Figure 8", "Gradient-constrained MMD trains on MNIST, in days."),
        printed="curves only; days of CPU time",
        budgets={"quick": "a minute", "cpu": "20 minutes", "paper": "7 hours (--steps=32000)"},
        headline=(
            Value("FID", r"gcmmd, step \d+: FID"),
            Value("hours at the paper's steps", r"gcmmd, step \d+: hours"),
        ),
        options={"paper": {"steps": 32_000}},
    ),
    "two_parameter": Entry(
        *(_REPULSIVE, "Appendix A.2", "Either loss is stable for a GAN of two parameters."),
        printed="attractive (1.55, 0.74), repulsive (1.55, 0.32)",
        budgets={"quick": "seconds", "cpu": "a minute"},
        headline=(
            Value("attractive", "attractive, normal", r"^\([^)]*\)"),
            Value("repulsive", "repulsive, normal", r"^\([^)]*\)"),
        ),
    ),
    "saturation": Entry(
        *(_REPULSIVE, "Figure 2", "Single Gaussian kernels saturate; mixtures less so."),
        printed="curves only",
        budgets={"quick": "seconds", "cpu": "seconds"},
        headline=(
            Value(
                "distances that move the kernel: σ = 1,",
                "gaussian, sigma 1$",
                r"from ([\d.]+ to [\d.]+)",
            ),
            Value("mean of five,", "gaussian, mean", _RANGE),
        ),
    ),
    "ring": Entry(
        *(_GRAM, "Figures 2 and 7", "GRAM covers a ring of modes in every setting, a GAN in none."),
        printed="12 of 12 settings; MMD net blurred; GAN none",
        budgets={"quick": "a minute", "cpu": "90 minutes"},
        headline=(
            Value("all modes: GRAM", "GRAM: 8 of 8", _RUNS),
            Value("MMD net", "MMD net: 8 of 8", _RUNS),
            Value("GAN", "GAN, rate 1e-4: 8 of 8", _RUNS),
        ),
    ),
    "projection": Entry(
        *(_GRAM, "Figures 1, 6 and 9", "Data and samples overlap in GRAM's projection."),
        printed="pictures only: overlap, not for MMD-GAN",
        budgets={"quick": "a minute", "cpu": "half an hour"},
        headline=(
            Value("neighbours of one kind: GRAM", "GRAM, 2-D ring: own", _LAST_SHARE),
            Value("MMD-GAN", "MMD-GAN, 2-D ring: own", _LAST_SHARE),
        ),
    ),
    "annealing": Entry(
        *(_KERNEL_GAN, "Figure 1", "Samples concentrate on the modes as the bandwidth falls."),
        printed="pictures only",
        budgets={"quick": "seconds", "cpu": "10 minutes"},
        headline=(
            Value("samples near a mode: at σ = 0.8,", r"after bandwidth 0\.8", _SHARE),
            Value("at 0.2,", r"after bandwidth 0\.2$", _SHARE),
            Value("at 0.025,", r"after bandwidth 0\.025", _SHARE),
        ),
    ),
    "bandwidth": Entry(
        *(_KERNEL_GAN, "Figure 9", "Wide kernels prefer the mean image to ideal samples."),
        printed="curves only",
        budgets={"quick": "seconds", "cpu": "a minute"},
        headline=(
            Value("curves cross at σ =", "sigma where they cross"),
            Value("the mean image's lowest value + log 4:", "mean image, lowest", r"^-[\d.]+"),
        ),
    ),
    "sampler": Entry(
        *(_KERNEL_NET, "Figure 5", "Estimated scores train an implicit sampler of two modes."),
        printed="pictures only",
        budgets={"quick": "a minute", "cpu": "10 minutes"},
        headline=(
            Value("KS distance: Stein", "Stein gradient estimator: KS", _NUMBER),
            Value("spectral", "spectral estimator: KS", _NUMBER),
            Value("exact samples", "spectral estimator: KS", r"exact samples ([\d.]+)"),
        ),
    ),
    "nll": Entry(
        *(_KERNEL_NET, "Tables 3 and 5", "Info-IVAE-DK has the best likelihood of nine VAEs."),
        printed="VAE 90.32 nats, Info-IVAE-DK 88.16 (−2.16)",
        # The sum of the seconds of the kept result.
        budgets={"quick": "6 minutes and compilation", "paper": "days (--scale=paper)"},
        headline=(
            Value("VAE, nats", "vae:", _NUMBER),
            Value("Info-IVAE-DK minus VAE", "info_ivae_dk:", r"\(([^)]*)\)"),
            Value("pairs in the printed order", "pairs of rows"),
        ),
        options={"paper": {"scale": "paper"}},
    ),
    "latents": Entry(
        *(_KERNEL_NET, "Figures 7 and 8", "Codes of Info-IVAE-DK tell digits apart by few labels."),
        printed="curves only",
        budgets={"quick": "minutes after nll", "paper": "an hour after nll (--scale=paper)"},
        headline=(
            Value("300 labels: Info-IVAE-DK", "info_ivae_dk: accuracy", _OF_300_LABELS),
            Value("VAE", "vae: accuracy", _OF_300_LABELS),
            Value("pixels", "pixels: accuracy", _OF_300_LABELS),
        ),
        options={"paper": {"scale": "paper"}},
    ),
    "kernel_gan_table": Entry(
        *(_KERNEL_GAN, "Table 1", "DC Kernel GANs have the best entropy and LeNet score on MNIST."),
        printed="entropy: FC 0.408, DC 0.289, GMMN 0.293",
        budgets={"quick": "5 minutes (digits)", "cpu": "55 minutes", "paper": "3 days"},
        headline=(
            Value("entropy: FC", "Kernel GAN, FC: EE"),
            Value("DC", "Kernel GAN, DC: EE"),
            Value("GMMN", "GMMN: EE"),
            Value("DC better than FC?", "Kernel GAN, DC better than Kernel GAN, FC,", _VERDICT),
        ),
    ),
    "stability": Entry(
        *(_SMMD, "Table 2, Figure 2", "The scale makes an MMD-GAN stable."),
        printed="CIFAR-10 FID: SMMD 31.5, MMD-GAN 73.9",
        budgets={"quick": "5 minutes (digits)", "cpu": "50 minutes", "paper": "a month"},
        headline=(
            Value("FID: SMMD", "SMMD: FID"),
            Value("MMD-GAN", "MMD: FID"),
            Value("SMMD better?", "SMMD better than MMD,", _VERDICT),
            Value("both clipped?", "SMMD, clipped better than MMD, clipped,", _VERDICT),
        ),
    ),
    "repulsion": Entry(
        *(_REPULSIVE, "Table 1", "The repulsive loss beats hinge and attractive MMD-GANs."),
        printed="CIFAR-10 FID: hinge 23.46, rbf 28.38, rep 16.65",
        budgets={"quick": "4 minutes (digits)", "cpu": "45 minutes", "paper": "2 weeks"},
        headline=(
            Value("FID: hinge", f"hinge{_CHOSEN}: FID"),
            Value("rbf", f"MMD-rbf{_CHOSEN}: FID"),
            Value("rep", f"MMD-rep{_CHOSEN}: FID"),
            Value("rep better than hinge?", f"MMD-rep{_CHOSEN} better than hinge", _VERDICT),
        ),
    ),
    "kernelnet": Entry(
        *(_KERNEL_NET, "Tables 1 and 4", "A trained kernel improves a repulsive MMD-GAN."),
        printed="CIFAR-10 FID: rbf 16.7, IKL 16.3, DK 14.6",
        budgets={"quick": "3 minutes (digits)", "cpu": "2 hours", "paper": "6 weeks"},
        headline=(
            Value("FID: rbf", f"rbf{_CHOSEN}: FID"),
            Value("IKL", f"IKL{_CHOSEN}: FID"),
            Value("DK", f"DK{_CHOSEN}: FID"),
            Value("DK better than rbf?", f"DK{_CHOSEN} better than rbf", _VERDICT),
        ),
    ),
    "lambda_sweep": Entry(
        *(_REPULSIVE, "Figure 3", "FID is best for lambda of 0.5 and 1."),
        printed="bars only",
        budgets={"quick": "6 minutes (digits)", "cpu": "2 hours", "paper": "2 weeks a seed"},
        headline=(
            Value("FID: λ = −1", "lambda -1, rbf: FID"),
            Value("0.5", r"lambda 0\.5, rbf: FID"),
            Value("1", "lambda 1, rbf: FID"),
            Value("2", "lambda 2, rbf: FID"),
        ),
    ),
    "pico_sweep": Entry(
        *(_REPULSIVE, "Figure S2, Table S3", "C^K matters: 64 for rep, 128 and more for hinge."),
        printed="CIFAR-10 FID: hinge 22.89 at 128, rep 17.00 at 64",
        budgets={"quick": "6 minutes (digits)", "cpu": "2 hours", "paper": "4 weeks a seed"},
        headline=(
            Value("FID: hinge at 128", r"hinge, C\^K = 128: FID"),
            Value("rep at 64", r"MMD-rep, C\^K = 64: FID"),
            Value("rep better than at 16?", r"MMD-rep, C\^K = 64 better than .* = 16,", _VERDICT),
        ),
    ),
    "gram_sensitivity": Entry(
        *(_GRAM, "Figure 5", "GRAM is as robust to the rate as a GAN, and MMD-GAN is not."),
        printed="curves only",
        budgets={"quick": "13 minutes (digits)", "cpu": "2 hours", "paper": "weeks"},
        headline=(
            Value(
                "worst rate over best: GRAM", "GRAM: mean FID .* of rate", r"^largest ([\d.e+]+)"
            ),
            Value("GAN", "GAN: mean FID .* of rate", _TIMES),
            Value("MMD-GAN", "MMD-GAN: mean FID .* of rate", _TIMES),
        ),
    ),
}
