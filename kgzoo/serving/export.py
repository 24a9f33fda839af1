"""Writes a method as a folder that TensorFlow Serving, Python and C programs load as it stands.

<root>/<name>/<version>/
    saved_model.pb, variables/                   signatures and the variables they read
    assets.extra/tf_serving_warmup_requests      played by the server before the first answer
    MODEL_CARD.md, samples.png                   what it is, how good it is
    model.keras, preset.json                     the whole method to train on, and its facts
"""

import os
import pathlib
import shlex

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from kgzoo.errors import UserError
from kgzoo.evaluation import files, pictures
from kgzoo.kernels.arguments import whole
from kgzoo.serving import facts, model_card, versions, warmup
from kgzoo.serving.signatures import inference_module, signatures, trace

__all__ = ["export_model", "sample_export", "serving_command", "signature_names"]

_NUM_PICTURED_IMAGES = 64
_NUM_PICTURED_POINTS = 1000
_MOST_SAMPLES = 10_000_000


def export_model(
    model,
    root: str | os.PathLike,
    name: str,
    card: model_card.ModelCard,
    version: int | None = None,
) -> pathlib.Path:
    """Exports a method; the folder appears complete or not at all.

    Args:
        model: A `kgzoo.methods` model, built.
        root: Folder of exports, made when missing.
        name: Folder below `root` and the name under which the model is served.
        card: What the run knows about the model.
        version: A positive integer, or None for one above the highest there is.

    Returns:
        The version's folder, `<root>/<name>/<version>`.

    Raises:
        UserError: The name cannot be one, the version exists, or the disk refuses.
    """
    folder = pathlib.Path(root) / versions.check_name(name)
    # Before the disk is asked: what goes wrong here is not its fault.
    signature_set = signatures(model)
    traced = trace(signature_set)
    pixels = _pixels(model)
    try:
        with versions.new_version(folder, version) as (temporary, final):
            tf.saved_model.save(inference_module(traced), str(temporary), signatures=traced)
            warmup.write_warmup(temporary, folder.name, signature_set)
            number, has_picture = int(final.name), pixels is not None
            facts.save_preset(model, temporary, folder.name, number, card)
            if has_picture:
                pictures.save_png(temporary / model_card.PICTURE_FILE, pixels)
            text = model_card.render(card, folder.name, number, model, traced, has_picture)
            (temporary / model_card.CARD_FILE).write_text(text, encoding="utf-8")
        return final
    except (OSError, tf.errors.OpError) as error:
        raise UserError(
            f"the export cannot be written to {folder} ({files.reason(error)}); make room or "
            "choose another folder and type the same command: earlier versions are whole."
        ) from error


def sample_export(
    path: str | os.PathLike, n: int, seed: int = 0, batch_size: int = 256
) -> np.ndarray:
    """Returns `n` samples of an export, as `Method.sample` would draw them.

    Args:
        path: What `export_model` returned.
        n: How many, at least 1.
        seed: Sample i has the seed (seed, i).
        batch_size: Samples held by the model at once; the result does not depend on it.

    Returns:
        Images [n, h, w, c] float32 in [0, 1], or vectors [n, d].

    Raises:
        UserError: There is no export, or it cannot sample.
    """
    n = whole("sample_export", "n", n, 1, _MOST_SAMPLES)
    batch_size = whole("sample_export", "batch_size", batch_size, 1, _MOST_SAMPLES)
    seed = whole("sample_export", "seed", seed, -(2**31), 2**31 - 1)
    if "sample" not in signature_names(path):
        raise UserError(f"{path} has no signature named sample; give an export of this project.")
    loaded = tf.saved_model.load(os.fspath(path))
    index = np.arange(n, dtype=np.int32)
    seeds = np.stack([np.full_like(index, seed), index], axis=1)
    parts = []
    for start in range(0, n, batch_size):
        reply = loaded.signatures["sample"](seed=tf.constant(seeds[start : start + batch_size]))
        parts.append(reply.get("images", reply.get("samples")).numpy())
    return np.concatenate(parts)


def signature_names(path: str | os.PathLike) -> list[str]:
    """Returns the names of an export's signatures, without loading it.

    Raises:
        UserError: There is no SavedModel.
    """
    file = pathlib.Path(path) / "saved_model.pb"
    if not file.is_file():
        raise UserError(
            f"{path} holds no saved_model.pb; give an export's version folder, "
            "<root>/<name>/<integer>."
        )
    try:
        saved_model = saved_model_pb2.SavedModel.FromString(file.read_bytes())
        names = saved_model.meta_graphs[0].signature_def
    except Exception as error:  # Whatever the protocol buffer finds wrong.
        raise UserError(f"{file} is damaged ({error}); export the run again.") from error
    # Names with this prefix are TensorFlow's own.
    return sorted(name for name in names if not name.startswith("__saved_model"))


def serving_command(path: str | os.PathLike) -> str:
    """Returns the lines that serve an export and ask it for a sample.

    Args:
        path: What `export_model` returned.

    Raises:
        UserError: There is no export.
    """
    path = pathlib.Path(path).resolve()
    name = path.parent.name
    has_png = "sample_png" in signature_names(path)
    signature = "sample_png" if has_png else "sample"
    request = f'{{"signature_name": "{signature}", "instances": [{{"seed": [7, 0]}}]}}'
    lines = [
        f"tensorflow_model_server --rest_api_port=8501 --model_name={name} "
        f"--model_base_path={shlex.quote(str(path.parent))}",
        f"curl -s http://localhost:8501/v1/models/{name}:predict -d '{request}'",
    ]
    if has_png:
        lines.append(
            f"sh export/build.sh && export/sample_png {shlex.quote(str(path))} 7 sample.png"
        )
    return "\n".join(lines)


def _pixels(model) -> np.ndarray | None:
    """Returns a picture of samples; None for images of other than 1 or 3 channels."""
    is_image = model.kind == "image"
    if is_image and model.sample_shape[-1] not in (1, 3):
        return None
    samples = model.sample(_NUM_PICTURED_IMAGES if is_image else _NUM_PICTURED_POINTS, seed=0)
    return pictures.picture(samples, model.kind)
