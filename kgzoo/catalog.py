"""The zoo at a glance: one complete row per method name. Strings and numbers only, no heavy import.

A row's `target` is the class that trains it; its other fields are what `kgzoo.config` puts into the
config under the same names. What differs from another row by a kernel, an objective or a weight
normalisation is a row and not a class.
"""

from dataclasses import dataclass, fields

from kgzoo.errors import unknown_name

__all__ = ["ROWS", "Row", "markdown", "names", "row", "table"]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One method: what it is, where it is printed, and its settings.

    Attributes:
        name: what `--method` takes.
        summary: one line.
        target: `module:Class`.
        paper, section, equation: the source.
        bibtex: key in CITATION.cff.
        contract_data: the small data set on which the contract tests train it.
    """

    name: str
    summary: str
    target: str
    paper: str
    section: str
    equation: str
    bibtex: str
    contract_data: str = "digits"
    # Settings: fields of the config.
    objective: str = ""
    kernel: str = "gaussian"
    estimator: str = "unbiased"
    output_dim: int = 1
    spectral: str = "none"
    spectral_constant: float = 1.0
    scale_weight: float = 10.0
    scale_generator_loss: bool = True
    critic_steps: int = 1
    critic_learning_rate: float = 1e-4
    generator_learning_rate: float = 1e-4
    adam_beta1: float = 0.5
    adam_beta2: float = 0.9
    clip_gradient_norm: float = 0.0
    image_range: tuple[float, float] = (0.0, 1.0)
    latent_distribution: str = "uniform"

    def settings(self) -> dict:
        """Returns the fields that belong to the config."""
        described = {"name", "summary", "target", "paper", "section", "equation", "bibtex"}
        skip = described | {"contract_data"}
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name not in skip}


_GAN = "kgzoo.methods.gan:GAN"
_MMD_GAN = "kgzoo.methods.mmd_gan:MMDGAN"
_SMMD = "kgzoo.methods.smmd:SMMD"

_SMMD_PAPER = "Arbel et al. 2018, On gradient regularizers for MMD GANs"
_REPULSIVE_PAPER = "Wang et al. 2019, Improving MMD-GAN training with repulsive loss function"
_GAN_PAPER = "Goodfellow et al. 2014, Generative adversarial nets"

# The SMMD paper's training (section 4): images in [0, 1], 5 critic steps, Adam(0.5, 0.9).
_SMMD_TRAINING = {"paper": _SMMD_PAPER, "bibtex": "arbel2018smmd", "critic_steps": 5}
# The repulsive MMD-GAN paper's (section 5.1): images in [-1, 1], PICO with C = 1/0.55 on each layer
# (appendix C.1; its released scripts have 64^(1/8) = 1.682), Adam(0.5, 0.999), one critic step, the
# two rates of its CIFAR-10 scripts.
_REPULSIVE_TRAINING = {
    "paper": _REPULSIVE_PAPER,
    "bibtex": "wang2019repulsive",
    "image_range": (-1.0, 1.0),
    "latent_distribution": "normal",
    "spectral": "pico",
    "spectral_constant": 1 / 0.55,
    "adam_beta2": 0.999,
    "critic_learning_rate": 5e-4,
    "generator_learning_rate": 2e-4,
}

_ROWS = (
    Row(
        name="gan",
        summary="non-saturating GAN without normalisation or penalty",
        target=_GAN,
        objective="non_saturating",
        paper=_GAN_PAPER,
        bibtex="goodfellow2014gan",
        section="3",
        equation="1 (non-saturating form)",
        image_range=(-1.0, 1.0),
        latent_distribution="normal",
        adam_beta2=0.999,
        critic_learning_rate=2e-4,
        generator_learning_rate=2e-4,
    ),
    Row(
        name="hinge",
        summary="hinge loss under convolution-operator spectral normalisation",
        target=_GAN,
        objective="hinge",
        section="B.1",
        equation="unnumbered (hinge loss)",
        **_REPULSIVE_TRAINING,
    ),
    Row(
        name="mmd_rbf",
        summary="attractive MMD-GAN, sum of five Gaussian kernels, 16 outputs",
        target=_MMD_GAN,
        kernel="gaussian_mixture",
        estimator="u_statistic",
        output_dim=16,
        section="5.1",
        equation="2, 3",
        **_REPULSIVE_TRAINING,
    ),
    Row(
        name="mmd_rq",
        summary="attractive MMD-GAN, sum of five rational quadratic kernels, 16 outputs",
        target=_MMD_GAN,
        kernel="rational_quadratic_mixture",
        estimator="u_statistic",
        output_dim=16,
        section="5.1",
        equation="2, 3",
        **_REPULSIVE_TRAINING,
    ),
    Row(
        name="mmd_opt",
        summary="plain MMD-GAN: Gaussian kernel, one output, nothing else",
        target=_MMD_GAN,
        section="2",
        equation="3",
        **_SMMD_TRAINING,
    ),
    Row(
        name="smmd",
        summary="scaled MMD-GAN: MMD^2 / (1 + 10 mean squared critic gradient)",
        target=_SMMD,
        objective="scaled_mmd2",
        section="3.3",
        equation="7",
        **_SMMD_TRAINING,
    ),
    Row(
        name="sn_smmd",
        summary="smmd with spectral parametrisation and learned gain",
        target=_SMMD,
        objective="scaled_mmd2",
        spectral="gain",
        section="3.3",
        equation="7",
        **_SMMD_TRAINING,
    ),
    Row(
        name="swgan",
        summary="smmd with a linear kernel: a scaled Wasserstein GAN",
        target=_SMMD,
        objective="scaled_mean_difference",
        kernel="linear",
        section="4",
        equation="unnumbered (SWGAN)",
        **_SMMD_TRAINING,
    ),
    Row(
        name="sn_swgan",
        summary="swgan with spectral parametrisation and learned gain",
        target=_SMMD,
        objective="scaled_mean_difference",
        kernel="linear",
        spectral="gain",
        section="4",
        equation="unnumbered (SWGAN)",
        **_SMMD_TRAINING,
    ),
)

ROWS: dict[str, Row] = {entry.name: entry for entry in _ROWS}


def names() -> list[str]:
    """Returns every method name, in the order of the table."""
    return list(ROWS)


def row(name: str) -> Row:
    """Returns the row named `name`.

    Raises:
        UserError: if there is none.
    """
    if name not in ROWS:
        raise unknown_name("method", name, ROWS)
    return ROWS[name]


def table() -> str:
    """Returns the zoo as lines of text: name, summary, source."""
    width = max(len(name) for name in ROWS)
    lines = []
    for entry in ROWS.values():
        lines.append(f"{entry.name:<{width}}  {entry.summary}")
        lines.append(f"{'':<{width}}  {entry.paper}, section {entry.section}, eq. {entry.equation}")
    return "\n".join(lines)


def markdown() -> str:
    """Returns the zoo as the table of the README."""
    lines = ["| `--method` | what it is | source |", "|---|---|---|"]
    for entry in ROWS.values():
        source = f"{entry.paper}, section {entry.section}, eq. {entry.equation}"
        lines.append(f"| `{entry.name}` | {entry.summary} | {source} (`{entry.bibtex}`) |")
    return "\n".join(lines)
