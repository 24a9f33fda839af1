"""A user's own Inception network: a frozen graph (.pb) or a SavedModel of TensorFlow Hub.

The project ships none and downloads none. A network is named by its path, as in
`inception:/data/inceptionv1.pb`; where its tensors have other names, they follow as in
`inception:/data/graph.pb,input=images:0,features=pool:0,logits=none`. The defaults are those of
the networks TF-GAN scores with: `Mul:0`, `pool_3:0` and `logits:0` in a frozen graph, the outputs
`pool_3` and `logits` in a SavedModel. Only protocol buffers and TensorFlow's own checkpoints are
read. A graph may still do all that TensorFlow operations do, such as reading files: load one only
from a source you trust.
"""

import hashlib
import os
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from kgzoo.errors import UserError, suggest, unknown_name

__all__ = ["PREFIX", "checksum", "load", "parse"]

PREFIX = "inception:"
_SIZE = 299
# At 299x299 pixels a batch of these needs about a gigabyte.
_BATCH_SIZE = 32
_OPTIONS = ("input", "features", "logits")
_GRAPH_NAMES = {"input": "Mul:0", "features": "pool_3:0", "logits": "logits:0"}
_OUTPUT_NAMES = {"features": "pool_3", "logits": "logits"}
_CONVENTION = {
    "resize": f"bilinear to {_SIZE}x{_SIZE}, half-pixel centres, no antialiasing",
    "input_range": [-1.0, 1.0],
    "channels": "grey repeated three times",
}


def parse(name: str) -> tuple[pathlib.Path, dict[str, str]]:
    """Splits `inception:<path>[,input=..][,features=..][,logits=..]`.

    Returns:
        The path with `~` expanded, and the names that were given.

    Raises:
        UserError: no path, or an option that is not known.
    """
    path, *rest = name.removeprefix(PREFIX).split(",")
    if not path:
        raise UserError(f"extractor={name!r} has no path; write inception:/path/to/graph.pb.")
    names = {}
    for item in rest:
        key, _, value = item.partition("=")
        if key not in _OPTIONS or not value:
            raise unknown_name("inception option", item, [f"{option}=" for option in _OPTIONS])
        names[key] = value
    return pathlib.Path(os.path.expanduser(path)), names


def checksum(path: pathlib.Path) -> str:
    """Returns the SHA-256 of a file, or of the sorted names and contents of a folder's files."""
    if path.is_file():
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    total = hashlib.sha256()
    for file in sorted(item for item in path.rglob("*") if item.is_file()):
        total.update(f"{checksum(file)}  {file.relative_to(path).as_posix()}\n".encode())
    return total.hexdigest()


def load(
    name: str, image_shape: tuple[int, ...]
) -> tuple[Callable[[np.ndarray], tuple[np.ndarray, np.ndarray | None]], int, bool, dict]:
    """Loads the network that `name` points to; what it needs to be an `features.Extractor`.

    Args:
        name: see `parse`.
        image_shape: (height, width, 1 or 3) of the images, which are resized.

    Returns:
        A function from a batch [b, h, w, c] float32 in [0, 1] to (features [b, d] float32, logits
        [b, k] float32 or None); d; whether there are logits; and facts for scores.json.

    Raises:
        UserError: images without 1 or 3 channels, no such file, a file of another kind, or
            tensors of other names or shapes.
    """
    if len(image_shape) != 3 or image_shape[-1] not in (1, 3):
        raise UserError(
            f"Extractor {name!r} takes images with 1 or 3 channels, got examples "
            f"{list(image_shape)}; use 'identity' for vectors."
        )
    path, names = parse(name)
    if path.name == "saved_model.pb":
        path = path.parent
    if path.is_dir() and (path / "saved_model.pb").is_file():
        network, used = _saved_model(path, names)
    elif path.is_file() and path.suffix == ".pb":
        network, used = _frozen_graph(path, names)
    else:
        raise UserError(
            f"extractor={name!r}: {path} is neither a frozen graph (.pb) nor a folder with "
            "saved_model.pb; give the path of one."
        )
    apply = _batched(network, image_shape, name)
    features, logits = apply(np.zeros((1, *image_shape), np.float32))
    facts = {
        "file": path.name,
        "sha256": checksum(path),
        "tensors": used,
        **_CONVENTION,
    }
    return apply, features.shape[1], logits is not None, facts


def _batched(network: Callable, image_shape: tuple[int, ...], name: str) -> Callable:
    """Returns a function of NumPy batches of any length, which resizes them and checks results."""

    @tf.function(input_signature=[tf.TensorSpec((None, *image_shape), tf.float32)])
    def prepared(images):
        images = 2.0 * tf.image.resize(images, (_SIZE, _SIZE)) - 1.0
        return images if image_shape[-1] == 3 else tf.image.grayscale_to_rgb(images)

    def apply(batch):
        parts = [
            _matrices(network(prepared(batch[start : start + _BATCH_SIZE])), name)
            for start in range(0, len(batch), _BATCH_SIZE)
        ]
        columns = zip(*parts, strict=True)
        return tuple(None if part[0] is None else np.concatenate(part) for part in columns)

    return apply


def _matrices(outputs: tuple[Any, Any], name: str) -> list[np.ndarray | None]:
    """Flattens outputs [b, 1, 1, d] or [b, d] to [b, d] float32."""
    found = []
    for output in outputs:
        if output is None:
            found.append(None)
            continue
        if output.shape.rank is None or output.shape.rank < 2:
            raise UserError(
                f"extractor={name!r} gives an output of shape {output.shape}, not one vector an "
                "image; name other tensors with ,features= and ,logits=."
            )
        found.append(output.numpy().reshape(len(output), -1).astype(np.float32))
    return found


def _frozen_graph(path: pathlib.Path, names: dict[str, str]) -> tuple[Callable, dict]:
    graph_def = tf.compat.v1.GraphDef()
    try:
        graph_def.ParseFromString(path.read_bytes())
        wrapped = tf.compat.v1.wrap_function(
            lambda: tf.graph_util.import_graph_def(graph_def, name=""), []
        )
    except Exception as error:  # Whatever the protocol buffer or the importer finds wrong.
        reason = str(error).partition("\n")[0][:200]
        raise UserError(f"{path} is not a frozen graph ({reason}); give another file.") from error
    operations = {operation.name: operation for operation in wrapped.graph.get_operations()}
    chosen = {
        option: _tensor_name(path, option, names.get(option), operations) for option in _OPTIONS
    }
    tensors = {
        option: wrapped.graph.as_graph_element(name) for option, name in chosen.items() if name
    }
    outputs = [tensors[option] for option in ("features", "logits") if option in tensors]
    pruned = wrapped.prune(tensors["input"], outputs)
    size = tensors["input"].shape[0] if tensors["input"].shape.rank else None

    def network(images):
        # Old graphs take exactly one image, or another fixed number.
        found = [pruned(part) for part in _split(images, size)]
        columns = [tf.concat(column, 0)[: len(images)] for column in zip(*found, strict=True)]
        return columns[0], columns[1] if len(columns) > 1 else None

    return network, chosen


def _split(images: tf.Tensor, size: int | None) -> list[tf.Tensor]:
    """Cuts images into batches of `size`, the last one filled up with zeros; one batch if None."""
    if size is None:
        return [images]
    images = tf.pad(images, [(0, -len(images) % size), (0, 0), (0, 0), (0, 0)])
    return tf.split(images, len(images) // size)


def _tensor_name(
    path: pathlib.Path, option: str, given: str | None, operations: dict[str, Any]
) -> str | None:
    """Returns the tensor for one option, or None for logits that are not there."""
    if option == "logits" and given == "none":
        return None
    name = given or _GRAPH_NAMES[option]
    name = name if ":" in name else f"{name}:0"
    operation, _, index = name.partition(":")
    if operation in operations and index.isdigit():
        if int(index) < len(operations[operation].outputs):
            return name
    if option == "logits" and given is None:
        return None
    inputs = [key for key, value in operations.items() if value.type == "Placeholder"]
    if option == "input" and given is None and len(inputs) == 1:
        return f"{inputs[0]}:0"
    hint = suggest(operation, operations) or "."
    raise UserError(f"{path} has no tensor {name!r}; name one by ,{option}=NAME:0{hint}")


def _saved_model(path: pathlib.Path, names: dict[str, str]) -> tuple[Callable, dict]:
    try:
        loaded = tf.saved_model.load(os.fspath(path))
    except Exception as error:  # Whatever TensorFlow finds wrong with the files.
        reason = str(error).partition("\n")[0][:200]
        raise UserError(f"{path} cannot be loaded ({reason}); give another folder.") from error
    signature = loaded.signatures.get("serving_default") if hasattr(loaded, "signatures") else None
    if signature is None and not callable(loaded):
        raise UserError(f"{path} has neither a serving_default signature nor a call; export one.")
    chosen = {option: names.get(option, _OUTPUT_NAMES[option]) for option in _OUTPUT_NAMES}
    if signature is not None:
        inputs = list(signature.structured_input_signature[1])
        chosen = {"input": names.get("input", inputs[0]), **chosen}
        if chosen["input"] not in inputs:
            raise unknown_name("inception input", chosen["input"], inputs)
    if chosen["logits"] == "none":
        chosen["logits"] = None

    def network(images):
        found = loaded(images) if signature is None else signature(**{chosen["input"]: images})
        if not isinstance(found, dict):
            raise UserError(f"{path} gives {type(found).__name__}, not outputs by name.")
        if chosen["features"] not in found:
            raise unknown_name("inception features", chosen["features"], found)
        if chosen["logits"] not in found and "logits" in names and chosen["logits"] is not None:
            raise unknown_name("inception logits", chosen["logits"], found)
        return found[chosen["features"]], found.get(chosen["logits"])

    return network, chosen
