"""The preset of an export, to train on from, and the facts of it that programs read."""

import json
import pathlib
from typing import Any

import keras
import tensorflow as tf

import kgzoo
from kgzoo import presets
from kgzoo.serving import model_card

__all__ = ["save_preset"]


def save_preset(
    model, folder: pathlib.Path, name: str, version: int, card: model_card.ModelCard
) -> None:
    """Writes `model.keras`, without optimizer slots, and `preset.json` into an export's folder.

    Args:
        model: A `kgzoo.methods` model.
        folder: Of the version, not yet in its place.
        name: Under which the model is exported.
        version: Of the export.
        card: What the run knows.
    """
    path = folder / presets.PRESET_FILE
    model.save_preset(path)
    content: dict[str, Any] = {
        "name": name,
        "version": version,
        "method": card.method,
        "dataset": card.data.get("name"),
        "kind": model.kind,
        "sample_shape": list(model.sample_shape),
        "latent_dim": model.latent_dim,
        "latent_distribution": model.latent_distribution,
        "parameters": {key: net.count_params() for key, net in model._networks().items()},
        "steps": card.steps,
        "seed": card.seed,
        "command": card.command,
        "summary": card.summary,
        "paper": card.paper,
        "data": dict(card.data),
        # Where it lay on the machine that trained is nobody's business.
        "begun": card.begun and {key: v for key, v in card.begun.items() if key != "path"},
        "config": None if card.config is None else dict(card.config),
        "scores": card.scores,
        "sha256": presets.sha256(path),
        "versions": {
            "kgzoo": kgzoo.__version__,
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
        },
    }
    text = json.dumps(content, indent=2) + "\n"
    (folder / presets.FACTS_FILE).write_text(text, encoding="utf-8")
