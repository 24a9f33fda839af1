"""From a trained method to a folder that others serve: signatures, warm-up, versions, card."""

from kgzoo.serving.export import export_model, sample_export, serving_command, signature_names
from kgzoo.serving.model_card import ModelCard

__all__ = ["ModelCard", "export_model", "sample_export", "serving_command", "signature_names"]
