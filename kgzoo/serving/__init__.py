"""From a trained method to a folder that others serve: signatures, warm-up, versions, card."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kgzoo.serving.export import export_model, sample_export, serving_command, signature_names
    from kgzoo.serving.model_card import ModelCard

__all__ = ["ModelCard", "export_model", "sample_export", "serving_command", "signature_names"]

_LAZY = {
    "ModelCard": "kgzoo.serving.model_card",
    "export_model": "kgzoo.serving.export",
    "sample_export": "kgzoo.serving.export",
    "serving_command": "kgzoo.serving.export",
    "signature_names": "kgzoo.serving.export",
}


def __getattr__(name: str) -> Any:
    # `python -m kgzoo.serving.repository` does without TensorFlow, which takes seconds to import.
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
