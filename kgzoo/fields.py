"""Every field of a config: default, help, choices and range; and what data sets settle of them.

Strings and numbers only, no heavy import. `kgzoo.config` composes a config from them.
"""

import math
from collections.abc import Mapping
from typing import Any

from kgzoo.errors import UserError, shown, suggest

__all__ = ["CHOICES", "DATASET_SETTINGS", "FIELDS", "FREE_ON_RESUME", "check"]

# name -> (default, help). The default's type is the field's type. What a catalogue row or a data
# set decides has the base's neutral value here.
FIELDS: dict[str, tuple[Any, str]] = {
    "method": ("smmd", "name of a catalogue row"),
    "dataset": (
        "digits",
        "digits, a TFDS image set, image_folder:<dir>, ring2d, mog, gaussian, ..",
    ),
    "data_dir": ("", "folder of prepared TFDS data sets; empty: the TFDS default"),
    "init_from": ("", "name or path of a trained model whose networks the run begins with"),
    "image_size": (0, "height and width in pixels; 0: the data set's own"),
    "steps": (100_000, "generator updates"),
    "seed": (0, "seed of weights, noise and data order"),
    "strategy": ("auto", "auto, one, mirrored or multi_worker (processes of TF_CONFIG)"),
    "batch_size": (64, "real examples per update, over all replicas"),
    "precision": (
        "float32",
        "of networks: float32, mixed_bfloat16 or auto (mixed where it is fast); kernels, norms, "
        "penalties and solves are float32",
    ),
    "threads": (0, "CPU threads of one op; 0: all cores"),
    "deterministic": (True, "whether only deterministic TensorFlow ops may run"),
    "network": ("dcgan_small", "pair of architectures: dcgan_small, sndcgan, mlp, gmmn, .."),
    "generator_width": (64, "filters of the generator's widest-image layer, or hidden units"),
    "critic_width": (64, "filters of the critic's first layer, or hidden units"),
    "latent_dim": (128, "dimension of the latents"),
    "latent_distribution": ("uniform", "uniform on [-1, 1] or standard normal"),
    "image_range": ((0.0, 1.0), "(0, 1) or (-1, 1), the range of images inside the model"),
    "output_dim": (1, "outputs of the critic"),
    "spectral": ("none", "normalisation of the critic: none, pim, pico or gain"),
    "spectral_constant": (1.0, "factor C after every normalised layer"),
    "spectral_product": (0.0, "C^K of all K normalised layers, in place of C; 0: C as given"),
    "critic_batch_norm": (False, "batch normalisation in the critic"),
    "clip_weights": (0.0, "bound of the critic's weights after each of its updates; 0: none"),
    "objective": ("", "loss within the method's family"),
    "space": ("data", "where fixed kernels compare: data, code (of an autoencoder) or critic"),
    "kernel": ("gaussian", "kernel on the critic's outputs; ikl, dk, dk2 and dk_pd are trained"),
    "kernel_expectation": ("closed_form", "of a trained kernel: closed_form or monte_carlo"),
    "kernel_samples": (1024, "spectral samples of a trained kernel per update"),
    "kernel_chunk_rows": (8, "rows of a monte_carlo kernel matrix at a time; 0: all at once"),
    "kernel_width": (0, "hidden units of a kernel network; 0: 16 for one feature, 64 for 16"),
    "kernel_penalty_weight": (0.0, "alpha_2: Omega in the loss of critic and kernel network"),
    "kernel_penalty_generator_weight": (0.0, "alpha_1: Omega in the generator's loss"),
    "kernel_penalty_norm": ("frobenius", "of Omega's Jacobian term: frobenius or squared"),
    "kernel_penalty_pairs": ("cross", "of Omega: cross (real, generated), or real"),
    "kernel_learning_rate_ratio": (0.5, "rate of the kernel network over the generator's"),
    "estimator": ("unbiased", "of the MMD: unbiased, biased or u_statistic"),
    "mmd_scope": ("global", "global: R replicas equal one big batch; replica: block estimator"),
    "repulsion": (-1.0, "lambda of the critic's loss: -1 attractive, 1 repulsive"),
    "bounding": ("none", "bounds on the critic's kernel: none, paper or sign"),
    "regularization": (1.0, "lambda of the RKHS norm in a gradient-constrained or Lipschitz MMD"),
    "ridge": (0.0, "added to the diagonal of the system that a loss solves"),
    "bandwidths": ((), "of Gaussian kernels, several being mixed, in units of what they compare"),
    "bandwidth_rule": ("fixed", "fixed, or median: times the median distance in the batch"),
    "bandwidth_schedule": (
        "constant",
        "constant: all at once; staircase, geometric or plateau: one after the other",
    ),
    "bandwidth_every_steps": (
        10_000,
        "steps of a staircase's tread; without progress, on a plateau",
    ),
    "mixture": ("sum", "of a density's kernels: sum or mean"),
    "density_kernels": ("bare", "bare, or normalized: each over its integral"),
    "density_offset": (0.0, "phi, added to both densities"),
    "bounded_correction": ("none", "of phi on bounded data: none, printed or corrected"),
    "positivity": ("penalty", "of ratios: penalty, clip or none"),
    "positivity_weight": (1.0, "weight of the ratios' sum in the critic's objective"),
    "positivity_reduction": ("sum", "of that penalty over the batch: sum or mean"),
    "autoencoder_steps": (2000, "updates of the autoencoder before the first step"),
    "autoencoder_learning_rate": (1e-3, "rate of the autoencoder, before the multiplier"),
    "autoencoder_dropout": (0.2, "share of an encoder layer's inputs that are dropped"),
    "encoder_learning_rate": (1e-4, "rate of a variational encoder, before the multiplier"),
    "encoder_dropout": (0.3, "share of a variational encoder layer's inputs that are dropped"),
    "binarization": ("none", "of images: none, dynamic (drawn anew each time) or fixed"),
    "latent_samples": (1, "codes drawn for each example in an update"),
    "aggregate_samples": (1, "of these, how many stand for q(z), the mixture of all examples'"),
    "aggregate_weight": (1.0, "lambda of an Info-VAE, of the divergence of q(z) from p(z)"),
    "aggregate_divergence": ("kl", "of q(z) from p(z): kl or mmd"),
    "information_weight": (0.0, "alpha of an Info-VAE: how much codes should tell of examples"),
    "information": ("mmd", "what alpha weighs: mmd of q(z|x) and q(z), or kl, their information"),
    "score_bandwidth": (1.0, "of a score estimate's kernel, times the median distance"),
    "score_eigenfunctions": (6, "of a spectral score estimate"),
    "penalty": ("none", "on the critic: none, gradient, sobolev or consistency"),
    "penalty_weight": (10.0, "weight of the penalty; rho of the Sobolev one"),
    "normalize_witness": (False, "whether the penalised witness function has unit RKHS norm"),
    "activation_weight": (0.0, "weight of the mean squares of the critic's layers"),
    "autoencoder_weight": (0.0, "weight of the decoder's error on real and on generated examples"),
    "feasible_set_weight": (0.0, "weight of the feasible set reduction"),
    "scale_weight": (10.0, "weight of the squared critic gradient in a scaled loss"),
    "scale_generator_loss": (True, "whether the generator's loss is scaled too"),
    "scale_form": ("exact", "of a trained kernel: exact, proposition_6, equation_11 or authors"),
    "critic_steps": (1, "critic updates per generator update"),
    "early_critic_steps": (0, "critic updates before each early step; 0: no early schedule"),
    "early_steps": (25, "first steps that are early ones"),
    "early_every_steps": (500, "later steps that are: multiples of this; 0: none"),
    "joint_update": (False, "whether both players learn from one forward pass; 1 critic step"),
    "instance_noise": (0.0, "deviation of the noise on all that the critic sees"),
    "instance_noise_steps": (0, "steps over which that noise falls to 0; 0: it stays"),
    "label_smoothing": (0.0, "weight of real examples in the critic's generated class"),
    "random_bandwidth": (0.0, "r: each update's bandwidth times a factor in [1/(1+r), 1+r]"),
    "augmentation": ("none", "of all that the critic sees: none or diffaugment"),
    "optimizer": ("adam", "adam, rmsprop or sgd"),
    "critic_learning_rate": (1e-4, "rate of the critic, before the multiplier"),
    "generator_learning_rate": (1e-4, "rate of the generator, before the multiplier"),
    "learning_rate_multiplier": (1.0, "factor on all rates; small networks bear more"),
    "adam_beta1": (0.5, "Adam's first decay"),
    "adam_beta2": (0.9, "Adam's second decay"),
    "rmsprop_decay": (0.99, "RMSprop's decay"),
    "momentum": (0.9, "of sgd"),
    "clip_gradient_norm": (0.0, "norm to which each variable's gradient is clipped; 0: never"),
    "learning_rate_schedule": ("constant", "constant or relative_kid"),
    "relative_kid_every_steps": (2000, "steps between relative KID tests"),
    "relative_kid_lag": (10, "tests between the two generators that are compared"),
    "relative_kid_samples": (2048, "samples of each generator in a test"),
    "relative_kid_p_value": (0.1, "above it a test shows no improvement"),
    "relative_kid_patience": (3, "tests in a row without improvement before the rates fall"),
    "relative_kid_decay": (0.8, "factor on all rates"),
    "learning_rate_floor": (1e-6, "lowest rate that the schedule sets"),
    "ema_half_life_images": (
        50_000.0,
        "half-life of the generator's average, in generated images (batch_size a step); 0: none",
    ),
    "steps_per_execution": (10, "steps per graph call (one on several replicas)"),
    "log_every_steps": (50, "steps between lines of metrics.jsonl"),
    "sample_every_steps": (500, "steps between grids of fixed latents; 0: never"),
    "checkpoint_every_steps": (1000, "steps between checkpoints"),
    "score_every_steps": (
        0,
        "steps between KIDs that pick the best checkpoint; 0: never",
    ),
    "keep_checkpoints": (3, "newest checkpoints kept, beside the best"),
    "num_samples": (2000, "samples that are scored"),
    "extractor": ("", "features of the scores; empty: the data set's default"),
}

# A finished or interrupted run may go on with other values of these.
FREE_ON_RESUME = frozenset(
    {
        *(
            "steps",
            "data_dir",
            "threads",
            "log_every_steps",
            "sample_every_steps",
            "score_every_steps",
        ),
        *("checkpoint_every_steps", "keep_checkpoints"),
    }
)

_TOY = {
    "network": "mlp",
    "generator_width": 128,
    "critic_width": 128,
    "latent_dim": 16,
    "batch_size": 128,
    "steps": 5000,
    "learning_rate_multiplier": 5.0,
    "ema_half_life_images": 10_000.0,
    "sample_every_steps": 1000,
}

DATASET_SETTINGS: dict[str, dict[str, Any]] = {
    "digits": {
        "generator_width": 32,
        "critic_width": 32,
        "latent_dim": 32,
        "steps": 1000,
        "learning_rate_multiplier": 5.0,
        "ema_half_life_images": 5000.0,
        "sample_every_steps": 200,
        "checkpoint_every_steps": 250,
        "score_every_steps": 250,
    },
    "mnist": {
        "generator_width": 32,
        "critic_width": 32,
        "latent_dim": 64,
        "steps": 20_000,
        "learning_rate_multiplier": 2.0,
        "ema_half_life_images": 20_000.0,
        "sample_every_steps": 250,
        "checkpoint_every_steps": 500,
    },
    "cifar10": {"network": "sndcgan"},
    "stl10": {"network": "sndcgan", "image_size": 48},
    "celeb_a": {"network": "dcgan64", "image_size": 64},
    "lsun": {"network": "dcgan64", "image_size": 64},
    "imagenet_resized": {"network": "resnet"},
    **dict.fromkeys(("ring2d", "ring2d_wide", "ring3d", "mog", "gaussian"), _TOY),
    **dict.fromkeys(("laplace1d", "mixture1d"), _TOY),
}
DATASET_SETTINGS["fashion_mnist"] = DATASET_SETTINGS["mnist"]

_AT_LEAST = {
    **dict.fromkeys(("steps", "seed", "threads", "image_size"), 0),
    **dict.fromkeys(("sample_every_steps", "score_every_steps"), 0),
    **dict.fromkeys(("batch_size", "generator_width", "critic_width", "latent_dim"), 1),
    **dict.fromkeys(("output_dim", "critic_steps", "log_every_steps", "keep_checkpoints"), 1),
    **dict.fromkeys(("checkpoint_every_steps", "steps_per_execution"), 1),
    **dict.fromkeys(("scale_weight", "clip_gradient_norm", "ema_half_life_images"), 0),
    **dict.fromkeys(("penalty_weight", "activation_weight", "autoencoder_weight"), 0),
    **dict.fromkeys(("feasible_set_weight", "clip_weights", "ridge", "spectral_product"), 0),
    **dict.fromkeys(("early_critic_steps", "early_steps", "early_every_steps"), 0),
    **dict.fromkeys(("instance_noise", "instance_noise_steps", "random_bandwidth"), 0),
    **dict.fromkeys(("relative_kid_every_steps", "relative_kid_lag"), 1),
    **dict.fromkeys(("relative_kid_patience", "label_smoothing", "rmsprop_decay"), 0),
    **dict.fromkeys(("relative_kid_p_value", "relative_kid_decay", "learning_rate_floor"), 0),
    **dict.fromkeys(("kernel_width", "kernel_chunk_rows", "autoencoder_steps"), 0),
    "autoencoder_dropout": 0,
    **dict.fromkeys(("kernel_penalty_weight", "kernel_penalty_generator_weight"), 0),
    **dict.fromkeys(("density_offset", "positivity_weight"), 0),
    **dict.fromkeys(("kernel_samples", "bandwidth_every_steps"), 1),
    **dict.fromkeys(("aggregate_weight", "information_weight", "encoder_dropout"), 0),
    **dict.fromkeys(("latent_samples", "aggregate_samples", "score_eigenfunctions"), 1),
    "relative_kid_samples": 4,
    "num_samples": 2,
}
_ABOVE_ZERO = (
    *("critic_learning_rate", "generator_learning_rate", "learning_rate_multiplier"),
    *("spectral_constant", "regularization", "relative_kid_patience", "relative_kid_decay"),
    *("kernel_learning_rate_ratio", "autoencoder_learning_rate", "encoder_learning_rate"),
    "score_bandwidth",
)
_SHARES = ("autoencoder_dropout", "encoder_dropout", "momentum")
_LARGEST_SEED = 2**31 - 1
# Trainings count in int64 and compute in float32, whose largest number is 3e38; a bandwidth's
# square and its inverse must be normal numbers too.
_LARGEST_COUNT, _LARGEST_NUMBER, _SMALLEST_NUMBER = 2**62, 1e30, 1e-30
_LEAST_BANDWIDTH, _MOST_BANDWIDTH, _MOST_BANDWIDTHS = 1e-18, 1e18, 100
_AT_MOST = {
    "threads": 1024,
    "image_size": 4096,
    **dict.fromkeys(("generator_width", "critic_width", "output_dim", "critic_steps"), 10_000),
    **dict.fromkeys(("batch_size", "latent_dim", "steps_per_execution"), 100_000),
    **dict.fromkeys(("early_critic_steps", "relative_kid_lag", "kernel_width"), 10_000),
    **dict.fromkeys(("kernel_samples", "kernel_chunk_rows"), 1_000_000),
    "autoencoder_steps": 10**9,
    **dict.fromkeys(("latent_samples", "aggregate_samples", "score_eigenfunctions"), 10_000),
    **dict.fromkeys(("relative_kid_p_value", "relative_kid_decay"), 1),
    **dict.fromkeys(("num_samples", "keep_checkpoints"), 10_000_000),
    # A test holds a square matrix of them.
    "relative_kid_samples": 20_000,
    "steps": 2**62,
}

# Refused before TensorFlow is imported; a test holds them equal to what the packages accept.
CHOICES: dict[str, tuple[Any, ...]] = {
    "strategy": ("auto", "one", "mirrored", "multi_worker"),
    "precision": ("float32", "mixed_bfloat16", "auto"),
    "network": (
        *("mlp", "mlp_two", "mlp_tanh", "mlp_vae", "gmmn", "dcgan_small", "sndcgan", "dcgan64"),
        *("dcgan_resnet", "resnet", "gram_mnist", "gram_dcgan", "gram_dcgan_weak", "li_dcgan"),
    ),
    "latent_distribution": ("uniform", "normal"),
    "image_range": ((0.0, 1.0), (-1.0, 1.0)),
    "spectral": ("none", "pim", "pico", "gain"),
    "kernel": (
        *("gaussian", "gaussian_mixture", "gaussian_mixture_wide"),
        *("rational_quadratic_mixture", "rational_quadratic_mixture_dot", "linear"),
        *("ikl", "dk", "dk2", "dk_pd"),
    ),
    "kernel_expectation": ("closed_form", "monte_carlo"),
    "kernel_penalty_norm": ("frobenius", "squared"),
    "kernel_penalty_pairs": ("cross", "real"),
    "scale_form": ("exact", "proposition_6", "equation_11", "authors"),
    "bandwidth_rule": ("fixed", "median"),
    "bandwidth_schedule": ("constant", "staircase", "geometric", "plateau"),
    "mixture": ("sum", "mean"),
    "density_kernels": ("bare", "normalized"),
    "bounded_correction": ("none", "printed", "corrected"),
    "positivity": ("penalty", "clip", "none"),
    "positivity_reduction": ("sum", "mean"),
    "objective": (
        *("", "minimax", "non_saturating", "hinge", "wasserstein", "boundary_seeking"),
        *("mmd2", "mmd", "scaled_mmd2", "scaled_mean_difference", "scaled_repulsive"),
        *("gcmmd2", "lipmmd2"),
        *("gaussian_kl", "stein", "spectral", "semi_implicit", "svgd"),
    ),
    "binarization": ("none", "dynamic", "fixed"),
    "aggregate_divergence": ("kl", "mmd"),
    "information": ("mmd", "kl"),
    "space": ("data", "code", "critic"),
    "penalty": ("none", "gradient", "sobolev", "consistency"),
    "bounding": ("none", "paper", "sign"),
    "augmentation": ("none", "diffaugment"),
    "optimizer": ("adam", "rmsprop", "sgd"),
    "learning_rate_schedule": ("constant", "relative_kid"),
    "estimator": ("unbiased", "biased", "u_statistic"),
    "mmd_scope": ("global", "replica"),
    "extractor": ("", "cifar10", "digits", "mnist", "random_conv", "identity"),
}


def check(values: Mapping[str, Any]) -> None:
    """Raises a UserError when a field is no known choice or out of its range."""
    for name, known in CHOICES.items():
        if name == "extractor" and str(values[name]).startswith("inception:"):
            continue
        if values[name] not in known:
            listed = ", ".join(repr(item) for item in known)
            hint = (
                suggest(values[name], filter(None, known)) if isinstance(values[name], str) else ""
            )
            hint = hint or f"; choose one of {listed}."
            raise UserError(f"{name}={shown(values[name])} is not known{hint}")
    for name, least in _AT_LEAST.items():
        if values[name] < least:
            value = shown(values[name])
            raise UserError(f"--config.{name}={value} is too small; give {least} or more.")
    for name, most in _AT_MOST.items():
        if values[name] > most:
            value = shown(values[name])
            raise UserError(f"--config.{name}={value} is too large; give at most {most}.")
    for name in _ABOVE_ZERO:
        if not values[name] > 0:
            raise UserError(
                f"--config.{name}={values[name]} must be above 0; give a positive number."
            )
        if values[name] < _SMALLEST_NUMBER:
            raise UserError(
                f"--config.{name}={values[name]} is too small; give {_SMALLEST_NUMBER} or more."
            )
    for name in ("adam_beta1", "adam_beta2", "rmsprop_decay", "label_smoothing", *_SHARES):
        if not 0 <= values[name] < 1:
            raise UserError(
                f"--config.{name}={values[name]} is out of range; give a number in [0, 1)."
            )
    _check_bandwidths(values["bandwidths"])
    for name, (default, _) in FIELDS.items():
        most = {int: _LARGEST_COUNT, float: _LARGEST_NUMBER}.get(type(default), math.inf)
        if type(default) in (int, float) and abs(values[name]) > most:
            raise UserError(
                f"--config.{name}={shown(values[name])} is too large; give at most {most}."
            )
    if values["seed"] > _LARGEST_SEED:
        raise UserError(
            f"--config.seed={shown(values['seed'])} is too large; give at most {_LARGEST_SEED}."
        )


def _check_bandwidths(bandwidths: tuple[float, ...]) -> None:
    if not all(bandwidth > 0 for bandwidth in bandwidths):
        raise UserError(
            f"--config.bandwidths={shown(bandwidths)} must be above 0; give positive numbers."
        )
    if not all(_LEAST_BANDWIDTH <= bandwidth <= _MOST_BANDWIDTH for bandwidth in bandwidths):
        raise UserError(
            f"--config.bandwidths={shown(bandwidths)} are out of range; give numbers from "
            f"{_LEAST_BANDWIDTH} to {_MOST_BANDWIDTH}."
        )
    if len(bandwidths) > _MOST_BANDWIDTHS:
        raise UserError(
            f"--config.bandwidths={shown(bandwidths)} are {len(bandwidths)} numbers; give at most "
            f"{_MOST_BANDWIDTHS}."
        )
