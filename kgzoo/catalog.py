"""The zoo at a glance: one complete row per method name. Strings and numbers only, no heavy import.

A row's `target` is the class that trains it; its other fields are what `kgzoo.config` puts into the
config under the same names. What differs from another row by a kernel, an objective, a penalty or a
weight normalisation is a row and not a class.

Packages and files may add rows of their own (`kgzoo.outside`); `ROWS` are those of the project.
"""

from dataclasses import dataclass, fields

from kgzoo import outside
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
        bibtex: key in references.bib; may be empty for rows from outside, as may the next.
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
    bibtex: str = ""
    run_card: str = ""
    contract_data: str = "digits"
    one_replica: bool = False
    # Settings: fields of the config.
    objective: str = ""
    space: str = "data"
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
    image_range: tuple[float, float] = (0.0, 1.0)
    latent_distribution: str = "uniform"
    # None: the data set's, or the default.
    batch_size: int | None = None
    learning_rate_multiplier: float | None = None
    ridge: float | None = None
    bandwidths: tuple[float, ...] | None = None
    bandwidth_rule: str | None = None
    network: str | None = None
    generator_width: int | None = None
    critic_width: int | None = None
    latent_dim: int | None = None
    binarization: str | None = None
    encoder_learning_rate: float | None = None
    latent_samples: int | None = None
    aggregate_samples: int | None = None
    aggregate_weight: float | None = None
    aggregate_divergence: str | None = None
    information_weight: float | None = None
    information: str | None = None
    score_eigenfunctions: int | None = None
    kernel_samples: int | None = None
    kernel_width: int | None = None
    kernel_learning_rate_ratio: float | None = None
    kernel_penalty_weight: float | None = None
    kernel_penalty_generator_weight: float | None = None

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
_MMD_NET = "kgzoo.methods.mmd_net:MMDNet"
_KERNEL_GAN = "kgzoo.methods.kernel_gan:KernelGAN"
_GRAM = "kgzoo.methods.gram:GRAM"
_VAE = "kgzoo.methods.vae:VAE"

_SMMD_PAPER = "Arbel et al. 2018, On gradient regularizers for MMD GANs"
_REPULSIVE_PAPER = "Wang et al. 2019, Improving MMD-GAN training with repulsive loss function"
_GAN_PAPER = "Goodfellow et al. 2014, Generative adversarial nets"
_LI_PAPER = "Li et al. 2017, MMD GAN: towards deeper understanding of moment matching network"
_BINKOWSKI_PAPER = "Binkowski et al. 2018, Demystifying MMD GANs"
_GMMN_PAPER = "Li et al. 2015, Generative moment matching networks"
_KERNEL_GAN_PAPER = (
    "Sinn and Rawat 2017, Non-parametric estimation of Jensen-Shannon divergence in generative "
    "adversarial network training"
)
_GRAM_PAPER = "Srivastava et al. 2020, Generative ratio matching networks"
_KERNEL_NET_PAPER = (
    "Zhou et al. 2019, KernelNet: a data-dependent kernel parameterization for deep generative "
    "modeling"
)

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

# Fixed kernels between batches (Kernel GAN paper, appendix A.3): RMSprop at 1e-3 whatever the data
# set, large batches, and bandwidths for pixels or for codes in [0, 1].
_FIXED_KERNEL = {
    "optimizer": "rmsprop",
    "generator_learning_rate": 1e-3,
    "learning_rate_multiplier": 1.0,
    "batch_size": 200,
}
_IN_PIXELS = {
    **_FIXED_KERNEL,
    "bandwidths": (100.0, 50.0, 10.0, 5.0, 1.0, 0.5, 0.1, 0.05, 0.01),
}
_IN_CODES = {
    **_FIXED_KERNEL,
    "space": "code",
    "bandwidths": (1.0, 0.5, 0.1, 0.05, 0.01),
    "output_dim": 32,
}
_GMMN = {
    "target": _MMD_NET,
    "objective": "mmd",
    "estimator": "biased",
    "paper": _GMMN_PAPER,
    "bibtex": "li2015gmmn",
    "equation": "2 of Srivastava et al. 2020",
    "run_card": "kernel_gan_table1.py",
}
_JENSEN_SHANNON = {
    "target": _KERNEL_GAN,
    "paper": _KERNEL_GAN_PAPER,
    "bibtex": "sinn2018kernelgan",
}
# Variational autoencoders as the KernelNet paper trains them (appendix G.2): one hidden layer of
# 400 units on each side, 32 codes for each of 32 examples, SGD with momentum at 0.002.
_VARIATIONAL = {
    "target": _VAE,
    "paper": _KERNEL_NET_PAPER,
    "run_card": "kernelnet_table3.py",
    "network": "mlp_vae",
    "generator_width": 400,
    "critic_width": 400,
    "latent_dim": 32,
    "latent_distribution": "normal",
    "binarization": "dynamic",
    "latent_samples": 32,
    "batch_size": 32,
    "optimizer": "sgd",
    "generator_learning_rate": 2e-3,
    "encoder_learning_rate": 2e-3,
    "learning_rate_multiplier": 1.0,
}
# Its own: eq. (14) by Stein's estimate. Neither lambda nor alpha nor the ridge is printed; those
# here were searched for (benchmarks/vae_search.py).
_INFO_IVAE = {
    **_VARIATIONAL,
    "objective": "stein",
    "ridge": 0.1,
    "section": "3.3",
    "bibtex": "zhou2019kernelnet",
}
_BY_MMD = {
    **_INFO_IVAE,
    "equation": "14",
    "information": "mmd",
    "information_weight": 1.0,
}
# Its kernel networks have 32 hidden units and 512 spectral samples.
_TRAINED_IN_CODES = {**_BY_MMD, "kernel_samples": 512, "kernel_width": 32}
# KernelNet (section 3.2, appendix F) in the rows whose kernel it replaces: Omega with weights
# alpha_1 and alpha_2, the kernel network's rate over the generator's.
_KERNEL_NET = {
    "paper": _KERNEL_NET_PAPER,
    "bibtex": "zhou2019kernelnet",
    "run_card": "kernelnet_table1.py",
    "section": "3.2",
    "kernel_penalty_weight": 0.1,
}
_SN_KERNEL_NET = {
    **_KERNEL_NET,
    "critic_steps": 5,
    "kernel_learning_rate_ratio": 0.01,
    "kernel_penalty_generator_weight": 0.0,
}
_SN_MMD_KERNEL_NET = {
    **_SN_KERNEL_NET,
    "target": _MMD_GAN,
    "objective": "mmd2",
    "spectral": "pim",
    "equation": "8, 9",
}
_SN_SMMD_KERNEL_NET = {
    **_SN_KERNEL_NET,
    "target": _SMMD,
    "objective": "scaled_mmd2",
    "spectral": "gain",
    "scale_weight": 1.0,
    "equation": "10, 11",
}
# The repulsive rows' estimator, outputs and rates; lambda = 0.5 is the public code's choice among
# the paper's 0, 0.5 and 1. Spectral normalisation of the reshaped kernel, times a constant.
_REP_KERNEL_NET = {
    **_REPULSIVE_MMD,
    **_KERNEL_NET,
    "repulsion": 0.5,
    "spectral": "pim",
    "spectral_constant": 2.0,
    "kernel_learning_rate_ratio": 0.5,
    "kernel_penalty_generator_weight": 0.1,
    "equation": "12, 13",
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
    Row(
        name="mmd_net",
        summary="moment matching network: MMD under fixed kernels, in data space",
        section="on data space networks",
        **_IN_PIXELS,
        **_GMMN,
    ),
    Row(
        name="mmd_net_ae",
        summary="mmd_net in the code space of a pre-trained autoencoder",
        section="on autoencoder code space networks",
        **_IN_CODES,
        **_GMMN,
    ),
    Row(
        name="kernel_gan",
        summary="Jensen-Shannon divergence of kernel density estimates, in data space",
        section="2.5",
        equation="12",
        run_card="kernel_gan_table1.py",
        **_IN_PIXELS,
        **_JENSEN_SHANNON,
    ),
    Row(
        name="kernel_gan_ae",
        summary="kernel_gan in the code space of a pre-trained autoencoder",
        section="3.1",
        equation="12",
        run_card="kernel_gan_table1.py",
        **_IN_CODES,
        **_JENSEN_SHANNON,
    ),
    Row(
        name="kernel_gan_critic",
        summary="kernel_gan on features learned against the generator, by Li's MMD-GAN's rules",
        section="3.2",
        equation="12, 14, 15",
        run_card="kernel_gan_images.py",
        space="critic",
        bandwidths=(1.0, 2.0, 4.0, 8.0, 16.0),
        output_dim=100,
        autoencoder_weight=100.0,
        early_critic_steps=100,
        **_CLIPPED_TRAINING,
        **_JENSEN_SHANNON,
    ),
    Row(
        name="gram",
        summary="density ratios in the critic's space: it maximises their Pearson divergence",
        target=_GRAM,
        objective="mmd",
        estimator="biased",
        bandwidths=(0.1, 1.0, 10.0, 100.0),
        ridge=1e-3,
        output_dim=100,
        critic_batch_norm=True,
        adam_beta2=0.999,
        critic_learning_rate=1e-3,
        generator_learning_rate=1e-3,
        learning_rate_multiplier=1.0,
        batch_size=200,
        paper=_GRAM_PAPER,
        bibtex="srivastava2020gram",
        section="3",
        equation="7-10, algorithm 1",
        run_card="gram_table1.py",
    ),
    Row(
        name="sn_mmd_ikl",
        summary="sn_mmd whose kernel has a learned spectral distribution (IKL)",
        kernel="ikl",
        **_SN_MMD_KERNEL_NET,
    ),
    Row(
        name="sn_mmd_dk",
        summary="sn_mmd whose kernel has a learned, data-dependent spectral distribution",
        kernel="dk",
        **_SN_MMD_KERNEL_NET,
    ),
    Row(
        name="sn_smmd_ikl",
        summary="sn_smmd with the kernel of sn_mmd_ikl",
        kernel="ikl",
        **_SN_SMMD_KERNEL_NET,
    ),
    Row(
        name="sn_smmd_dk",
        summary="sn_smmd with the kernel of sn_mmd_dk, scaled exactly",
        kernel="dk",
        **_SN_SMMD_KERNEL_NET,
    ),
    Row(
        name="rep_ikl",
        summary="repulsive MMD-GAN with the kernel of sn_mmd_ikl",
        kernel="ikl",
        **_REP_KERNEL_NET,
    ),
    Row(
        name="rep_dk",
        summary="repulsive MMD-GAN with the kernel of sn_mmd_dk",
        kernel="dk",
        **_REP_KERNEL_NET,
    ),
    Row(
        name="rep_dk2",
        summary="rep_dk whose spectral distribution sees both points at once (DK-II)",
        kernel="dk2",
        **{
            **_REP_KERNEL_NET,
            "section": "G.1",
            "equation": "22",
            "run_card": "kernelnet_table4.py",
        },
    ),
    Row(
        name="rep_dk_pd",
        summary="rep_dk with a spectral sample of its own for each point: positive definite",
        kernel="dk_pd",
        **{**_REP_KERNEL_NET, "section": "3.1", "equation": "5, applied to each point by itself"},
    ),
    Row(
        name="vae",
        summary="variational autoencoder with a Gaussian encoder",
        objective="gaussian_kl",
        section="2.2",
        equation="the ELBO of Kingma and Welling 2014",
        bibtex="kingma2014vae",
        **_VARIATIONAL,
    ),
    Row(
        name="info_vae",
        summary="vae with weights on the information in codes and on q(z) against p(z), by an MMD",
        objective="gaussian_kl",
        aggregate_divergence="mmd",
        aggregate_samples=4,
        aggregate_weight=10.0,
        information="kl",
        information_weight=0.1,
        bandwidth_rule="median",
        section="2.2",
        equation="1",
        bibtex="zhao2019infovae",
        **_VARIATIONAL,
    ),
    Row(
        name="info_ivae",
        summary="info_vae with an implicit encoder; both KL gradients by Stein's estimate",
        equation="1",
        information="kl",
        information_weight=0.1,
        aggregate_samples=4,
        **_INFO_IVAE,
    ),
    Row(
        name="info_ivae_rbf",
        summary="implicit encoder; the MMD of one example's codes from all codes is rewarded",
        bandwidth_rule="median",
        **_BY_MMD,
    ),
    Row(
        name="info_ivae_ikl",
        summary="info_ivae_rbf with a learned spectral distribution (IKL)",
        kernel="ikl",
        **_TRAINED_IN_CODES,
    ),
    Row(
        name="info_ivae_dk",
        summary="info_ivae_rbf with a learned, data-dependent spectral distribution",
        kernel="dk",
        **_TRAINED_IN_CODES,
    ),
    Row(
        name="stein_vae",
        summary="implicit encoder that learns to move codes as Stein variational gradients would",
        objective="svgd",
        section="4.2",
        equation="amortised SVGD of Feng et al. 2017",
        bibtex="feng2017svgd",
        **_VARIATIONAL,
    ),
    Row(
        name="spectral_vae",
        summary="implicit encoder, the score of its codes by a spectral estimate",
        objective="spectral",
        # Of 32 codes; a Gaussian's score in 32 dimensions takes 33 eigenfunctions.
        score_eigenfunctions=20,
        section="4.2",
        equation="the estimator of Shi et al. 2018",
        bibtex="shi2018spectral",
        **_VARIATIONAL,
    ),
    Row(
        name="sivi",
        summary="semi-implicit encoder, a Gaussian whose moments depend on noise, by a bound",
        objective="semi_implicit",
        section="4.2",
        equation="the bound of Yin and Zhou 2018",
        bibtex="yin2018sivi",
        **_VARIATIONAL,
    ),
)

# The project's own; `names`, `row` and `table` add those from outside.
ROWS: dict[str, Row] = {entry.name: entry for entry in _ROWS}


def names() -> list[str]:
    """Returns every method name, in the order of the table; those from outside come last.

    Raises:
        UserError: if rows from outside cannot be had; so do `row` and `table`.
    """
    return list(_all())


def row(name: str) -> Row:
    """Returns the row named `name`.

    Raises:
        UserError: if there is none.
    """
    if name in ROWS:
        return ROWS[name]
    if name not in _all():
        raise unknown_name("method", name, _all())
    return _all()[name]


def table() -> str:
    """Returns the zoo as lines of text: name, summary, source."""
    width = max(len(name) for name in _all())
    lines = []
    for entry in _all().values():
        lines.append(f"{entry.name:<{width}}  {entry.summary}")
        lines.append(f"{'':<{width}}  {entry.source}")
    return "\n".join(lines)


def markdown() -> str:
    """Returns the project's own rows as the table of the README."""
    lines = ["| `--method` | what it is | source | run card | BibTeX |", "|---|---|---|---|---|"]
    for entry in ROWS.values():
        card = f"[{entry.run_card}](configs/{entry.run_card})"
        # Titles stand in references.bib.
        source = entry.source.replace(entry.paper, entry.paper.partition(",")[0])
        cells = (f"`{entry.name}`", entry.summary, source, card, f"`{entry.bibtex}`")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _all() -> dict[str, Row]:
    return ROWS | outside.rows(Row, taken=ROWS)
