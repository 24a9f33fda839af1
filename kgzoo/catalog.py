"""The zoo at a glance: one complete row per method name. Strings and numbers only, no heavy import.

A row's `target` is the class that trains it; its other fields are what `kgzoo.config` puts into the
config under the same names. What differs from another row by a kernel, an objective, a penalty or a
weight normalisation is a row and not a class.
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
        run_card: file in `configs/` that has it.
        contract_data: the small data set on which the contract tests train it.
        one_replica: whether it trains on a single replica only.
    """

    name: str
    summary: str
    target: str
    paper: str
    section: str
    equation: str
    bibtex: str
    run_card: str
    contract_data: str = "digits"
    one_replica: bool = False
    # Settings: fields of the config.
    objective: str = ""
    kernel: str = "gaussian"
    estimator: str = "unbiased"
    output_dim: int = 1
    spectral: str = "none"
    spectral_constant: float = 1.0
    critic_batch_norm: bool = False
    clip_weights: float = 0.0
    repulsion: float = -1.0
    bounding: str = "none"
    penalty: str = "none"
    penalty_weight: float = 10.0
    activation_weight: float = 0.0
    autoencoder_weight: float = 0.0
    feasible_set_weight: float = 0.0
    regularization: float = 1.0
    scale_weight: float = 10.0
    scale_generator_loss: bool = True
    critic_steps: int = 1
    early_critic_steps: int = 0
    optimizer: str = "adam"
    critic_learning_rate: float = 1e-4
    generator_learning_rate: float = 1e-4
    adam_beta1: float = 0.5
    adam_beta2: float = 0.9
    clip_gradient_norm: float = 0.0
    batch_size: int | None = None  # the data set's
    image_range: tuple[float, float] = (0.0, 1.0)
    latent_distribution: str = "uniform"

    @property
    def source(self) -> str:
        """Paper, section and equation in words."""
        numbered = self.equation.lstrip("S")[0].isdigit()
        return f"{self.paper}, section {self.section}, {'eq. ' * numbered}{self.equation}"

    def settings(self) -> dict:
        """Returns the fields that belong to the config."""
        described = {"name", "summary", "target", "paper", "section", "equation", "bibtex"}
        skip = described | {"run_card", "contract_data", "one_replica"}
        found = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in skip}
        return {name: value for name, value in found.items() if value is not None}


_GAN = "kgzoo.methods.gan:GAN"
_MMD_GAN = "kgzoo.methods.mmd_gan:MMDGAN"
_SMMD = "kgzoo.methods.smmd:SMMD"
_CONSTRAINED = "kgzoo.methods.gradient_constrained:GradientConstrained"

_SMMD_PAPER = "Arbel et al. 2018, On gradient regularizers for MMD GANs"
_REPULSIVE_PAPER = "Wang et al. 2019, Improving MMD-GAN training with repulsive loss function"
_GAN_PAPER = "Goodfellow et al. 2014, Generative adversarial nets"
_LI_PAPER = "Li et al. 2017, MMD GAN: towards deeper understanding of moment matching network"
_BINKOWSKI_PAPER = "Binkowski et al. 2018, Demystifying MMD GANs"

# The SMMD paper's training (section 4): images in [0, 1], 5 critic steps, Adam(0.5, 0.9).
_SMMD_TRAINING = {"paper": _SMMD_PAPER, "bibtex": "arbel2018smmd", "critic_steps": 5}
# Its Table 2: rows under spectral normalisation, "gain" where the critic has a gradient control of
# its own, "pim" (gamma = 1) where not.
_TABLE_2 = {**_SMMD_TRAINING, "run_card": "smmd_table2.py", "section": "F.3"}
# The repulsive MMD-GAN paper's (section 5.1): images in [-1, 1], PICO with C = 1/0.55 on each layer
# (appendix C.1; its released scripts have 64^(1/8) = 1.682), Adam(0.5, 0.999), one critic step, the
# two rates of its CIFAR-10 scripts.
_REPULSIVE_TRAINING = {
    "paper": _REPULSIVE_PAPER,
    "bibtex": "wang2019repulsive",
    "run_card": "repulsive_table1.py",
    "image_range": (-1.0, 1.0),
    "latent_distribution": "normal",
    "spectral": "pico",
    "spectral_constant": 1 / 0.55,
    "adam_beta2": 0.999,
    "critic_learning_rate": 5e-4,
    "generator_learning_rate": 2e-4,
}
# Its MMD losses: 16 outputs and the estimator without diagonals (eq. S4).
_REPULSIVE_MMD = {
    **_REPULSIVE_TRAINING,
    "target": _MMD_GAN,
    "objective": "mmd2",
    "estimator": "u_statistic",
    "output_dim": 16,
}
# Goodfellow's losses as trained by Radford et al. (2016).
_GAN_TRAINING = {
    "target": _GAN,
    "image_range": (-1.0, 1.0),
    "latent_distribution": "normal",
    "adam_beta2": 0.999,
    "critic_learning_rate": 2e-4,
    "generator_learning_rate": 2e-4,
}
# Weight clipping (Arjovsky et al., 2017; Li et al., 2017): RMSprop at 5e-5, bound 0.01, and DCGAN's
# batch normalisation in the critic, without which clipped layers pass nothing on.
_CLIPPED_TRAINING = {
    "image_range": (-1.0, 1.0),
    "latent_distribution": "normal",
    "optimizer": "rmsprop",
    "critic_learning_rate": 5e-5,
    "generator_learning_rate": 5e-5,
    "critic_steps": 5,
    "clip_weights": 0.01,
    "critic_batch_norm": True,
}
# The critic of MMDGAN-GP (SMMD paper, section 4). No weight is printed; the public scripts of
# Binkowski et al. have 1 for both penalties.
_WITNESS_PENALTY = {
    "target": _MMD_GAN,
    "objective": "mmd2",
    "kernel": "rational_quadratic_mixture",
    "output_dim": 16,
    "penalty": "gradient",
    "penalty_weight": 1.0,
}

_ROWS = (
    Row(
        name="gan",
        summary="non-saturating GAN without normalisation or penalty",
        objective="non_saturating",
        paper=_GAN_PAPER,
        bibtex="goodfellow2014gan",
        section="3",
        equation="1 (non-saturating form)",
        run_card="baselines.py",
        **_GAN_TRAINING,
    ),
    Row(
        name="gan_minimax",
        summary="GAN whose generator minimises what the critic maximises",
        objective="minimax",
        paper=_GAN_PAPER,
        bibtex="goodfellow2014gan",
        section="3",
        equation="1",
        run_card="baselines.py",
        **_GAN_TRAINING,
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
        name="wgan",
        summary="Wasserstein GAN by weight clipping",
        target=_GAN,
        objective="wasserstein",
        paper="Arjovsky et al. 2017, Wasserstein generative adversarial networks",
        bibtex="arjovsky2017wgan",
        section="3",
        equation="algorithm 1",
        run_card="baselines.py",
        **_CLIPPED_TRAINING,
    ),
    Row(
        name="wgan_gp",
        summary="Wasserstein GAN with gradient penalty at interpolates",
        target=_GAN,
        objective="wasserstein",
        penalty="gradient",
        section="4",
        equation="3 of Gulrajani et al. 2017",
        run_card="smmd_table1a.py",
        **_SMMD_TRAINING,
    ),
    Row(
        name="sobolev_gan",
        summary="mean squared critic gradient under (P + Q) / 2 held at 1 by a multiplier",
        target=_GAN,
        objective="wasserstein",
        penalty="sobolev",
        penalty_weight=1e-2,
        section="4",
        equation="augmented Lagrangian of Mroueh et al. 2018",
        run_card="smmd_table1a.py",
        **_SMMD_TRAINING,
    ),
    Row(
        name="sn_gan",
        summary="non-saturating GAN under spectral normalisation",
        target=_GAN,
        objective="non_saturating",
        spectral="pim",
        section="4",
        equation="unnumbered (SN-GAN)",
        run_card="smmd_table1a.py",
        **_SMMD_TRAINING,
    ),
    Row(
        name="bgan",
        summary="boundary-seeking GAN: the generator minimises the squared logit",
        objective="boundary_seeking",
        paper="Hjelm et al. 2018, Boundary-seeking generative adversarial networks",
        bibtex="hjelm2018bgan",
        section="on continuous data",
        equation="generator loss",
        run_card="smmd_table1b.py",
        **_GAN_TRAINING,
    ),
    Row(
        name="cr_gan",
        summary="sn_gan whose critic must not notice shifts and flips of real images",
        objective="non_saturating",
        spectral="pim",
        penalty="consistency",
        paper="Zhang et al. 2020, Consistency regularization for generative adversarial networks",
        bibtex="zhang2020crgan",
        section="on consistency regularization for GANs",
        equation="regularizer of the discriminator",
        run_card="baselines.py",
        **_GAN_TRAINING,
    ),
    Row(
        name="mmd_gan",
        summary="Li's MMD-GAN: autoencoder, feasible set, weight clipping, sqrt(MMD^2)",
        target=_MMD_GAN,
        objective="mmd",
        kernel="gaussian_mixture_wide",
        estimator="biased",
        output_dim=16,
        autoencoder_weight=8.0,
        feasible_set_weight=16.0,
        early_critic_steps=100,
        paper=_LI_PAPER,
        bibtex="li2017mmdgan",
        section="on MMD GAN",
        equation="algorithm 1",
        run_card="gram_table4.py",
        **_CLIPPED_TRAINING,
    ),
    Row(
        name="mmd_rbf",
        summary="attractive MMD-GAN, sum of five Gaussian kernels, 16 outputs",
        kernel="gaussian_mixture",
        section="5.1",
        equation="2, 3",
        **_REPULSIVE_MMD,
    ),
    Row(
        name="mmd_rq",
        summary="attractive MMD-GAN, sum of five rational quadratic kernels, 16 outputs",
        kernel="rational_quadratic_mixture",
        section="5.1",
        equation="2, 3",
        **_REPULSIVE_MMD,
    ),
    Row(
        name="mmd_rbf_b",
        summary="attractive MMD-GAN with the bounded Gaussian kernel",
        bounding="paper",
        section="4.1",
        equation="2, 3, 6",
        **_REPULSIVE_MMD,
    ),
    Row(
        name="mmd_rep",
        summary="repulsive MMD-GAN: the critic spreads real features",
        repulsion=1.0,
        section="3",
        equation="2, 4",
        **_REPULSIVE_MMD,
    ),
    Row(
        name="mmd_rep_b",
        summary="repulsive MMD-GAN with the bounded Gaussian kernel",
        repulsion=1.0,
        bounding="paper",
        section="4.1",
        equation="2, 4, 7",
        **_REPULSIVE_MMD,
    ),
    Row(
        name="mmd_lambda",
        summary="between attraction and repulsion: the general loss at lambda = 0.5",
        repulsion=0.5,
        section="3",
        equation="2, 5",
        **_REPULSIVE_MMD | {"run_card": "repulsive_figure3.py"},
    ),
    Row(
        name="mmd_rep_gp",
        summary="repulsive loss divided by 1 + 0.1 mean squared critic gradient",
        target=_SMMD,
        objective="scaled_repulsive",
        estimator="u_statistic",
        scale_weight=0.1,
        scale_generator_loss=False,
        section="D.1",
        equation="S8",
        **_REPULSIVE_TRAINING
        | {"spectral": "none", "spectral_constant": 1.0, "run_card": "repulsive_table_s4.py"},
    ),
    Row(
        name="mmd_opt",
        summary="plain MMD-GAN: Gaussian kernel, one output, nothing else",
        target=_MMD_GAN,
        objective="mmd2",
        equation="3",
        **_TABLE_2 | {"section": "2"},
    ),
    Row(
        name="mmd_gan_gp",
        summary="MMD-GAN with a gradient penalty on the witness function",
        paper=_BINKOWSKI_PAPER,
        bibtex="binkowski2018demystifying",
        section="on gradient penalties",
        equation="penalty of the witness function",
        run_card="smmd_table1a.py",
        critic_steps=5,
        **_WITNESS_PENALTY,
    ),
    Row(
        name="mmd_gan_gp_l2",
        summary="mmd_gan_gp with a penalty on all activations of the critic",
        activation_weight=1.0,
        section="4",
        equation="unnumbered (MMDGAN-GP-L2)",
        run_card="smmd_table1a.py",
        **_SMMD_TRAINING,
        **_WITNESS_PENALTY,
    ),
    Row(
        name="sn_mmd",
        summary="mmd_opt under spectral normalisation",
        target=_MMD_GAN,
        objective="mmd2",
        spectral="pim",
        equation="Table 2 (SN-MMDGAN)",
        **_TABLE_2,
    ),
    Row(
        name="sn_mmd_l2",
        summary="sn_mmd with a penalty on all activations of the critic",
        target=_MMD_GAN,
        objective="mmd2",
        spectral="pim",
        activation_weight=1.0,
        equation="Table 2 (SN-MMDGAN-L2)",
        **_TABLE_2,
    ),
    Row(
        name="sn_mmd_gp",
        summary="mmd_gan_gp with spectral parametrisation and learned gain",
        spectral="gain",
        equation="Table 2 (SN-MMDGAN-GP)",
        **_TABLE_2,
        **_WITNESS_PENALTY,
    ),
    Row(
        name="sn_mmd_gp_l2",
        summary="mmd_gan_gp_l2 with spectral parametrisation and learned gain",
        spectral="gain",
        activation_weight=1.0,
        equation="Table 2 (SN-MMDGAN-GP-L2)",
        **_TABLE_2,
        **_WITNESS_PENALTY,
    ),
    Row(
        name="sn_wgan",
        summary="Wasserstein loss under spectral normalisation alone",
        target=_GAN,
        objective="wasserstein",
        spectral="pim",
        equation="Table 2 (SN-WGAN)",
        **_TABLE_2,
    ),
    Row(
        name="sn_wgan_gp",
        summary="wgan_gp with spectral parametrisation and learned gain",
        target=_GAN,
        objective="wasserstein",
        spectral="gain",
        penalty="gradient",
        equation="Table 2 (SN-WGAN-GP)",
        **_TABLE_2,
    ),
    Row(
        name="sn_sobolev_gan",
        summary="sobolev_gan with spectral parametrisation and learned gain",
        target=_GAN,
        objective="wasserstein",
        spectral="gain",
        penalty="sobolev",
        penalty_weight=1e-2,
        equation="Table 2 (SN-Sobolev-GAN)",
        **_TABLE_2,
    ),
    Row(
        name="smmd",
        summary="scaled MMD-GAN: MMD^2 / (1 + 10 mean squared critic gradient)",
        target=_SMMD,
        objective="scaled_mmd2",
        section="3.3",
        equation="7",
        run_card="smmd_table1a.py",
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
        run_card="smmd_table1a.py",
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
        run_card="smmd_table1a.py",
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
        run_card="smmd_table1a.py",
        **_SMMD_TRAINING,
    ),
    Row(
        name="gcmmd",
        summary="gradient-constrained MMD, solved exactly at the price of smmd",
        target=_CONSTRAINED,
        objective="gcmmd2",
        estimator="biased",
        scale_weight=1.0,
        section="3.2",
        equation="5, Prop. 3",
        run_card="smmd_figure8.py",
        **_SMMD_TRAINING,
    ),
    Row(
        name="sn_gcmmd",
        summary="gcmmd with spectral parametrisation and learned gain",
        target=_CONSTRAINED,
        objective="gcmmd2",
        estimator="biased",
        scale_weight=1.0,
        spectral="gain",
        section="3.2",
        equation="5, Prop. 3",
        run_card="smmd_figure8.py",
        **_SMMD_TRAINING,
    ),
    Row(
        name="lipmmd",
        summary="Lipschitz MMD by a convex programme, for data of up to three dimensions",
        target=_CONSTRAINED,
        objective="lipmmd2",
        batch_size=32,
        estimator="biased",
        scale_weight=1.0,
        contract_data="ring2d",
        one_replica=True,
        section="3.1",
        equation="4, 29",
        run_card="toys.py",
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
        lines.append(f"{'':<{width}}  {entry.source}")
    return "\n".join(lines)


def markdown() -> str:
    """Returns the zoo as the table of the README."""
    lines = ["| `--method` | what it is | source | run card | BibTeX |", "|---|---|---|---|---|"]
    for entry in ROWS.values():
        card = f"[{entry.run_card}](configs/{entry.run_card})"
        cells = (f"`{entry.name}`", entry.summary, entry.source, card, f"`{entry.bibtex}`")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
