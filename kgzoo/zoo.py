"""Trained models as Keras models: loaded by name or path, or as the start of another run."""

import os
import re
from pathlib import Path
from typing import Any

import keras

from kgzoo import layers, presets
from kgzoo.errors import UserError
from kgzoo.methods import Method
from kgzoo.training import run_folder

__all__ = ["initialize", "load"]

_CHECKPOINTS = ("newest", "best")
# What Keras says of a class that it does not know.
_UNKNOWN_CLASS = re.compile(r"Could not locate class '(\w+)'")
# After the weights of a critic were set; as many as a new one gets.
_POWER_ITERATIONS = 10


def load(name_or_path: str | os.PathLike, checkpoint: str = "newest") -> Method:
    """Returns a trained method, ready to `sample` and, compiled as it was trained, to `fit`.

    Optimizers have the recorded settings; those of a preset start with fresh slots. `compile()`
    gives all of them fresh slots, `compile({player: optimizer})` sets others. The moving average
    first forgets fast, as in a run that begins, so that samples after a short `fit` show what was
    learned; later at the half-life it was trained with. A model that was loaded, trained on and
    saved by `save` goes on where it was, with slots and average.

    Args:
        name_or_path: a name of `list_models()`, with "/<version>" behind it or for the highest one,
            or a path: of a `.keras` file, of an export, of a run folder. Names are looked for in
            $KGZOO_HOME, in the clone's `export/`, then as a path.
        checkpoint: of a run folder: `newest` or `best`.

    Raises:
        UserError: there is no such model, or its files are damaged.
    """
    if checkpoint not in _CHECKPOINTS:
        raise UserError(f"checkpoint={checkpoint!r} is not known; choose newest or best.")
    found = presets.find(name_or_path)
    if found.is_dir():
        model = run_folder.load_run(found, checkpoint)[0]
    else:
        model = _load_file(found)
        if model.average.first_step and _has_slots(model):
            return model
    model.average.restart(model.steps_done)
    return model


def _has_slots(model: Method) -> bool:
    """Whether the optimizers are those of a training that goes on; a preset's are fresh."""
    return any(int(optimizer.iterations) for optimizer in model.optimizers.values())


def _load_file(path: Path) -> Method:
    presets.check_whole(path)
    try:
        model = keras.saving.load_model(path, safe_mode=True)
    except UserError:
        raise
    except Exception as error:
        if foreign := _UNKNOWN_CLASS.search(str(error)):
            raise UserError(
                f"{path} holds a {foreign[1]}, which kgzoo does not have; set KGZOO_METHODS to the "
                "file that defines it, or install its package."
            ) from error
        # Of a file that is torn or not ours anything may go wrong; it is told in one sentence.
        said = (str(error).strip() or "unreadable").splitlines()[0][:160]
        raise UserError(
            f"{path} cannot be loaded ({type(error).__name__}: {said}); it is damaged or no method "
            "of this version of kgzoo: export the run again."
        ) from error
    if not isinstance(model, Method):
        raise UserError(
            f"{path} holds a {type(model).__name__}, not a method of kgzoo; give an export's file."
        )
    return model


def initialize(model: Method, name_or_path: str | os.PathLike) -> dict[str, Any]:
    """Gives a model that has not been trained the networks of a trained one.

    The generator's weights and their average are taken whole. Of the other networks (critic,
    encoder, decoder) those layers are, counted from the input, whose weights have the same shapes.

    Args:
        model: built, at step 0.
        name_or_path: as for `load`.

    Returns:
        What was taken from where, for the run's record; JSON can hold it.

    Raises:
        UserError: there is no such model, or its generator does not fit.
    """
    found = presets.find(name_or_path)
    source = load(name_or_path)
    _check_fits(model, source, str(name_or_path))
    theirs, taken = source._networks(), {}
    for name, network in model._networks().items():
        if name in theirs:
            count, total = _copy_layers(network, theirs[name])
            layers.power_iterate(network, _POWER_ITERATIONS)
            taken[name] = f"{count} of {total} layers"
    for value, other in zip(model.average.values, source.average.values, strict=True):
        value.assign(other.value)
    is_file = found.is_file()
    return {
        "init_from": os.fspath(name_or_path),
        "path": str(found),
        "sha256": presets.sha256(found) if is_file else None,
        "method": source.name,
        "step": source.steps_done,
        "networks": taken,
    }


def _check_fits(model: Method, source: Method, name: str) -> None:
    for field, remedy in (
        ("sample_shape", "choose data of that shape"),
        ("latent_dim", "set --config.latent_dim"),
        ("latent_distribution", "set --config.latent_distribution"),
        ("image_range", "set --config.image_range"),
    ):
        own, other = getattr(model, field), getattr(source, field)
        if own != other:
            raise UserError(
                f"init_from={name} has {field}={other} and this run {own}; {remedy}, or start "
                "without init_from."
            )
    own, other = ([tuple(w.shape) for w in m.generator.weights] for m in (model, source))
    if own != other:
        counts = [m.generator.count_params() for m in (source, model)]
        raise UserError(
            f"init_from={name} has another generator ({counts[0]:,} parameters) than this run "
            f"({counts[1]:,}); set {_networks_of(presets.find(name))}."
        )


def _networks_of(found: Path) -> str:
    """Returns the fields that made the generator of a trained model, as one would type them."""
    if found.is_dir():
        record = (run_folder.read_config(found) or {}).get("config")
    else:
        record = presets.facts(found).get("config")
    fields = ("network", "generator_width")
    if not isinstance(record, dict) or not set(fields) <= set(record):
        return " and ".join(f"--config.{field}" for field in fields) + " as there"
    return " and ".join(f"--config.{field}={record[field]}" for field in fields)


def _copy_layers(target: keras.Model, source: keras.Model) -> tuple[int, int]:
    """Returns how many layers were copied, and how many there are, of those with weights."""
    for layer in source.layers:
        # Of a frozen layer all weights count as state.
        layer.trainable = True
    own, other = ([each for each in m.layers if each.weights] for m in (target, source))
    copied = 0
    for layer, donor in zip(own, other, strict=False):
        pairs = [(layer.trainable_weights, donor.trainable_weights)]
        # State fits apart: a spectral layer's vectors are found anew where there were none.
        pairs.append((layer.non_trainable_weights, donor.non_trainable_weights))
        fits = [[tuple(w.shape) for w in a] == [tuple(w.shape) for w in b] for a, b in pairs]
        if not fits[0]:
            continue
        copied += 1
        for (weights, values), fit in zip(pairs, fits, strict=True):
            for weight, value in zip(weights, values, strict=False) if fit else ():
                weight.assign(value.value)
    return copied, len(own)
