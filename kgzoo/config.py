"""One resolved config: base < data set < catalogue row < run card < --config.*; then locked.

A run card is a Python file with `get_config(arg)` that returns a dict (or ConfigDict) of fields; it
may name the method and the data set. Nothing here imports TensorFlow.
"""

import ast
import difflib
import importlib.util
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ml_collections

from kgzoo import catalog
from kgzoo.errors import UserError, suggest, unknown_name

__all__ = [
    "CHOICES",
    "DATASET_SETTINGS",
    "FIELDS",
    "FREE_ON_RESUME",
    "cards_folder",
    "compose",
    "describe_fields",
    "load_card",
    "parse_card_argument",
    "parse_value",
]

# name -> (default, help). The default's type is the field's type. What a catalogue row or a data
# set decides has the base's neutral value here.
FIELDS: dict[str, tuple[Any, str]] = {
    "method": ("smmd", "name of a catalogue row"),
    "dataset": ("digits", "digits, a TFDS image set, image_folder:<dir>, ring2d, mog, gaussian"),
    "data_dir": ("", "folder of prepared TFDS data sets; empty: the TFDS default"),
    "image_size": (0, "height and width in pixels; 0: the data set's own"),
    "steps": (100_000, "generator updates"),
    "seed": (0, "seed of weights, noise and data order"),
    "strategy": ("auto", "auto, one or mirrored"),
    "batch_size": (64, "real examples per update, over all replicas"),
    "precision": ("float32", "float32 or mixed_bfloat16 (kernels and norms stay float32)"),
    "threads": (0, "CPU threads of one op; 0: all cores"),
    "deterministic": (True, "whether only deterministic TensorFlow ops may run"),
    "network": ("dcgan_small", "mlp, dcgan_small or sndcgan"),
    "generator_width": (64, "filters of the generator's widest-image layer, or hidden units"),
    "critic_width": (64, "filters of the critic's first layer, or hidden units"),
    "latent_dim": (128, "dimension of the latents"),
    "latent_distribution": ("uniform", "uniform on [-1, 1] or standard normal"),
    "image_range": ((0.0, 1.0), "(0, 1) or (-1, 1), the range of images inside the model"),
    "output_dim": (1, "outputs of the critic"),
    "spectral": ("none", "normalisation of the critic: none, pim, pico or gain"),
    "spectral_constant": (1.0, "factor C after every normalised layer"),
    "objective": ("", "loss within the method's family"),
    "kernel": ("gaussian", "kernel on the critic's outputs"),
    "estimator": ("unbiased", "of the MMD: unbiased, biased or u_statistic"),
    "mmd_scope": ("global", "global: R replicas equal one big batch; replica: block estimator"),
    "scale_weight": (10.0, "weight of the squared critic gradient in a scaled loss"),
    "scale_generator_loss": (True, "whether the generator's loss is scaled too"),
    "critic_steps": (1, "critic updates per generator update"),
    "critic_learning_rate": (1e-4, "Adam's rate of the critic, before the multiplier"),
    "generator_learning_rate": (1e-4, "Adam's rate of the generator, before the multiplier"),
    "learning_rate_multiplier": (1.0, "factor on all rates; small networks bear more"),
    "adam_beta1": (0.5, "Adam's first decay"),
    "adam_beta2": (0.9, "Adam's second decay"),
    "clip_gradient_norm": (0.0, "norm to which each variable's gradient is clipped; 0: never"),
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
    "ring2d": _TOY,
    "mog": _TOY,
    "gaussian": _TOY,
}
DATASET_SETTINGS["fashion_mnist"] = DATASET_SETTINGS["mnist"]

_AT_LEAST = {
    **dict.fromkeys(("steps", "seed", "threads", "image_size"), 0),
    **dict.fromkeys(("sample_every_steps", "score_every_steps"), 0),
    **dict.fromkeys(("batch_size", "generator_width", "critic_width", "latent_dim"), 1),
    **dict.fromkeys(("output_dim", "critic_steps", "log_every_steps", "keep_checkpoints"), 1),
    **dict.fromkeys(("checkpoint_every_steps", "steps_per_execution"), 1),
    **dict.fromkeys(("scale_weight", "clip_gradient_norm", "ema_half_life_images"), 0),
    "num_samples": 2,
}
_ABOVE_ZERO = (
    *("critic_learning_rate", "generator_learning_rate", "learning_rate_multiplier"),
    "spectral_constant",
)
_LARGEST_SEED = 2**31 - 1
_AT_MOST = {
    "threads": 1024,
    "image_size": 4096,
    **dict.fromkeys(("generator_width", "critic_width", "output_dim", "critic_steps"), 10_000),
    **dict.fromkeys(("batch_size", "latent_dim", "steps_per_execution"), 100_000),
    **dict.fromkeys(("num_samples", "keep_checkpoints"), 10_000_000),
    "steps": 2**62,
}

# Refused before TensorFlow is imported; a test holds them equal to what the packages accept.
CHOICES: dict[str, tuple[Any, ...]] = {
    "strategy": ("auto", "one", "mirrored"),
    "precision": ("float32", "mixed_bfloat16"),
    "network": ("mlp", "dcgan_small", "sndcgan"),
    "latent_distribution": ("uniform", "normal"),
    "image_range": ((0.0, 1.0), (-1.0, 1.0)),
    "spectral": ("none", "pim", "pico", "gain"),
    "kernel": ("gaussian", "gaussian_mixture", "rational_quadratic_mixture", "linear"),
    "objective": ("", "non_saturating", "hinge", "scaled_mmd2", "scaled_mean_difference"),
    "estimator": ("unbiased", "biased", "u_statistic"),
    "mmd_scope": ("global", "replica"),
    "extractor": ("", "digits", "random_conv", "identity"),
}


def compose(
    method: str | None = None,
    dataset: str | None = None,
    card: str | None = None,
    overrides: Sequence[tuple[str, str]] | Mapping[str, Any] = (),
) -> ml_collections.ConfigDict:
    """Returns the resolved, locked config.

    Args:
        method, dataset: explicit choices, or None for the card's or the default.
        card: path of a run card with an optional argument after a colon, or None.
        overrides: fields with their values, strings being parsed to the field's type.

    Raises:
        UserError: on an unknown name or field, a wrong value, or a choice that contradicts the
            card.
    """
    from_card = load_card(card) if card else {}
    choice = {"method": method, "dataset": dataset}
    for field, explicit in choice.items():
        if explicit is not None and from_card.get(field, explicit) != explicit:
            raise UserError(
                f"--{field}={explicit} contradicts {field}={from_card[field]} of the run card "
                f"{card}; drop one of the two."
            )
        choice[field] = explicit or str(from_card.get(field) or FIELDS[field][0])
    row = catalog.row(choice["method"])
    values = {name: default for name, (default, _) in FIELDS.items()}
    settings = DATASET_SETTINGS.get(choice["dataset"], {})
    chosen = dict(overrides)
    for layer in (settings, row.settings(), from_card, choice, chosen):
        for name, value in layer.items():
            if name not in FIELDS:
                raise UserError(f"--config.{name} is not a field{_near(name)}")
            values[name] = parse_value(name, value)
    if values["method"] != choice["method"] or values["dataset"] != choice["dataset"]:
        raise UserError(
            "--config.method and --config.dataset are not overrides; use --method and --dataset."
        )
    _check(values)
    return ml_collections.ConfigDict(values).lock()


def _near(name: str) -> str:
    return suggest(name, FIELDS) or "; --help lists them."


def parse_value(name: str, value: Any) -> Any:
    """Returns `value` as the type of field `name`; strings are parsed.

    Raises:
        UserError: if it does not fit.
    """
    default = FIELDS[name][0]
    kind = type(default)
    try:
        if kind is str:
            return str(value)
        if kind is bool and isinstance(value, str):
            return {"true": True, "1": True, "false": False, "0": False}[value.lower()]
        parsed = ast.literal_eval(value.replace("_", "")) if isinstance(value, str) else value
        if kind is tuple:
            parsed = tuple(float(item) for item in parsed)
            if len(parsed) != len(default):
                raise ValueError
            return parsed
        if kind is bool:
            if not isinstance(parsed, bool):
                raise ValueError
            return parsed
        if isinstance(parsed, bool) or not isinstance(parsed, (int, float)):
            raise ValueError
        if not math.isfinite(parsed) or kind(parsed) != parsed:
            raise ValueError
        return kind(parsed)
    except (ValueError, TypeError, KeyError, SyntaxError, OverflowError, MemoryError):
        words = {bool: "true or false", int: "a whole number", float: "a finite number"}
        wanted = words.get(kind, f"a tuple like {default}")
        raise UserError(f"--config.{name}={value} does not fit; give {wanted}.") from None


def _check(values: dict[str, Any]) -> None:
    for name, known in CHOICES.items():
        if values[name] not in known:
            listed = ", ".join(repr(item) for item in known)
            hint = (
                suggest(values[name], filter(None, known)) if isinstance(values[name], str) else ""
            )
            hint = hint or f"; choose one of {listed}."
            raise UserError(f"{name}={values[name]!r} is not known{hint}")
    for name, least in _AT_LEAST.items():
        if values[name] < least:
            raise UserError(f"--config.{name}={values[name]} is too small; give {least} or more.")
    for name, most in _AT_MOST.items():
        if values[name] > most:
            raise UserError(f"--config.{name}={values[name]} is too large; give at most {most}.")
    for name in _ABOVE_ZERO:
        if not values[name] > 0:
            raise UserError(
                f"--config.{name}={values[name]} must be above 0; give a positive number."
            )
    for name in ("adam_beta1", "adam_beta2"):
        if not 0 <= values[name] < 1:
            raise UserError(f"--config.{name}={values[name]} must lie in [0, 1).")
    if values["seed"] > _LARGEST_SEED:
        raise UserError(
            f"--config.seed={values['seed']} is too large; give at most {_LARGEST_SEED}."
        )


def cards_folder() -> Path:
    """Returns the folder of run cards: `configs/` of a clone, or the installed copy."""
    package = Path(__file__).resolve().parent
    clone = package.parent / "configs"
    is_clone = clone.is_dir() and (package.parent / "setup.py").is_file()
    return clone if is_clone else package / "configs"


def load_card(card: str) -> dict[str, Any]:
    """Runs the run card `path[:argument]` and returns its fields.

    Args:
        card: a path as typed, or one of the shipped cards as `configs/<name>.py`.

    Raises:
        UserError: if there is no such card or it has no `get_config`.
    """
    name, _, argument = card.partition(":")
    path = Path(name)
    if not path.is_file():
        path = cards_folder() / path.name
    if not path.is_file():
        known = sorted(path.name for path in cards_folder().glob("*.py"))
        near = difflib.get_close_matches(path.name, known, 1)
        hint = f"did you mean configs/{near[0]}?" if near else f"shipped cards: {', '.join(known)}."
        raise UserError(f"--config={name} is not a file; {hint}")
    spec = importlib.util.spec_from_file_location(f"kgzoo_card_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise UserError(f"--config={name} is not a Python file; give a run card like configs/x.py.")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        fields = dict(module.get_config(argument or None))
    except UserError:
        raise
    except Exception as error:
        # A card is a program of the user's: whatever goes wrong in it is told in one sentence.
        what = f"{type(error).__name__}: {error}".splitlines()[0]
        raise UserError(
            f"--config={name} is no run card ({what}); it needs get_config(arg) that returns a "
            "dict of fields."
        ) from None
    for field in fields:
        if field not in FIELDS:
            raise UserError(f"the run card {name} sets {field}, which is not a field{_near(field)}")
    return fields


def parse_card_argument(
    argument: str | None, methods: Sequence[str], datasets: Sequence[str]
) -> tuple[str, str, bool]:
    """Returns method, data set and whether `quick` was asked for, of a run card's argument.

    Args:
        argument: words separated by commas in any order; the first of `methods` and of `datasets`
            where none is given.
        methods, datasets: what the card knows.

    Raises:
        UserError: on a word that the card does not know.
    """
    words = [word for word in (argument or "").split(",") if word]
    for word in words:
        if word not in (*methods, *datasets, "quick"):
            raise unknown_name("run card argument", word, (*methods, *datasets, "quick"))
    method = next((word for word in words if word in methods), methods[0])
    dataset = next((word for word in words if word in datasets), datasets[0])
    return method, dataset, "quick" in words


def describe_fields(config: Mapping[str, Any]) -> str:
    """Returns one line per field: name, value, help."""
    width = max(len(name) for name in FIELDS) + len("--config.")
    return "\n".join(
        f"  {'--config.' + name:<{width}}  {text} [{config[name]}]"
        for name, (_, text) in FIELDS.items()
        if name not in ("method", "dataset")
    )
