"""The project's own image classifiers: architecture, training, and the weights that ship with it.

A classifier gives scores their features (its penultimate activations) and logits. Weights are
plain arrays in `weights/<name>.npz`, beside a `weights/<name>.json` that says how they were made
and how good they are. Published Inception-v3 scores are on another scale: a score carries the name
of its extractor.
"""

import hashlib
import io
import json
import os
import pathlib
from collections.abc import Callable

import keras
import numpy as np

from kgzoo.errors import UserError, unknown_name
from kgzoo.evaluation import files

__all__ = ["IMAGE_SHAPES", "load", "train_extractor"]

IMAGE_SHAPES = {"digits": (16, 16, 1)}
NUM_CLASSES = {"digits": 10}
_FOLDER = pathlib.Path(__file__).parent / "weights"


def load(name: str, folder: str | os.PathLike | None = None) -> tuple[keras.Model, dict]:
    """Returns a trained classifier and the facts recorded beside its weights.

    Args:
        name: of the classifier, a key of `IMAGE_SHAPES`.
        folder: with the two files of `train_extractor`; the shipped ones when None.

    Returns:
        A model from images [n, h, w, c] float32 in [0, 1] to (features [n, d], logits
        [n, classes]), and a dict.

    Raises:
        UserError: unknown name, files missing, or weights that are not those of the facts.
    """
    model = _architecture(name)
    folder = _FOLDER if folder is None else pathlib.Path(folder)
    remedy = f"train them again: python -m kgzoo.evaluate --train_extractor={name}."
    try:
        facts = json.loads((folder / f"{name}.json").read_text())
        content = (folder / f"{name}.npz").read_bytes()
    except FileNotFoundError as error:
        raise UserError(f"Weights of extractor {name!r} are missing ({error}); {remedy}") from error
    if hashlib.sha256(content).hexdigest() != facts["sha256"]:
        raise UserError(f"{folder / name}.npz is not the file {name}.json describes; {remedy}")
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        model.set_weights([arrays[str(index)] for index in range(len(arrays.files))])
    return model, facts


def train_extractor(
    name: str,
    folder: str | os.PathLike | None = None,
    seed: int = 0,
    epochs: int = 60,
    batch_size: int = 64,
    report: Callable[[str], None] = print,
) -> dict:
    """Trains a classifier on the training split only and writes its weights and facts.

    Adam with a cosine learning rate; each image is moved by up to one pixel in both directions.
    Features end with a mean square of 1 over the training images, so that the kernel of the kernel
    distance works at its intended scale. Deterministic given `seed` on one machine and version.

    Args:
        name: of the classifier and of its data set, a key of `IMAGE_SHAPES`.
        folder: to write `<name>.npz` and `<name>.json` to; the package's own when None.
        seed: of initial weights, order, shifts and dropout.
        epochs: passes over the training split.
        batch_size: examples of one step.
        report: called with a line of progress every ten epochs.

    Returns:
        The facts that were written: architecture, accuracy on the held-out split, sha256, versions.

    Raises:
        UserError: unknown name.
    """
    from kgzoo import data

    model = _architecture(name, seed)
    train, test = data.load(name, split="train"), data.load(name, split="test")
    images = train.examples.astype(np.float32) / 255.0
    held_out = test.examples.astype(np.float32) / 255.0
    steps = len(images) // batch_size
    trainer = keras.Model(model.input, model.output[1])
    trainer.compile(
        keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(2e-3, epochs * steps)),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    for epoch in range(epochs):
        random = np.random.default_rng([seed, epoch])
        order = random.permutation(len(images))[: steps * batch_size]
        losses = [
            trainer.train_on_batch(_shifted(images[chosen], random), train.labels[chosen])
            for chosen in order.reshape(steps, batch_size)
        ]
        if (epoch + 1) % 10 == 0:
            report(f"epoch {epoch + 1}/{epochs}: loss {np.mean(losses):.4f}")
    _normalise_features(model, images)
    right = int(np.sum(trainer.predict(held_out, verbose=0).argmax(axis=1) == test.labels))
    content = _npz(model.get_weights())
    facts = {
        "name": name,
        "architecture": [layer.name for layer in model.layers[1:]],
        "num_parameters": model.count_params(),
        "feature_layer": "features",
        "feature_scale": "mean square 1 over the training images",
        "trained_on": train.describe(),
        "num_held_out": len(held_out),
        "num_held_out_right": right,
        "accuracy_held_out": right / len(held_out),
        "seed": seed,
        "epochs": epochs,
        "batch_size": batch_size,
        "command": f"python -m kgzoo.evaluate --train_extractor={name}",
        "versions": _versions(),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    folder = _FOLDER if folder is None else pathlib.Path(folder)
    files.replace_file(folder / f"{name}.npz", content)
    files.replace_file(folder / f"{name}.json", (json.dumps(facts, indent=2) + "\n").encode())
    report(f"{name}: {right} of {len(held_out)} held-out images right; weights in {folder}")
    return facts


def _architecture(name: str, seed: int = 0) -> keras.Model:
    """Returns an untrained classifier: images [n, h, w, c] in [0, 1] -> (features, logits)."""
    if name not in IMAGE_SHAPES:
        raise unknown_name("extractor", name, IMAGE_SHAPES)
    seeds = iter(np.random.SeedSequence(seed).generate_state(8).tolist())

    def conv(filters: int, strides: int) -> keras.layers.Layer:
        return keras.layers.Conv2D(
            filters,
            3,
            strides=strides,
            padding="same",
            activation="relu",
            kernel_initializer=keras.initializers.HeNormal(next(seeds)),
            name=f"conv3x3_{filters}_stride{strides}",
        )

    def dense(units: int, activation: str | None, name: str) -> keras.layers.Layer:
        initializer = keras.initializers.HeNormal(next(seeds))
        return keras.layers.Dense(
            units, activation=activation, kernel_initializer=initializer, name=name
        )

    images = keras.Input(IMAGE_SHAPES[name], name="images")
    h = images
    for filters, strides in ((16, 1), (24, 2), (32, 2)):
        h = conv(filters, strides)(h)
    h = keras.layers.Flatten(name="flatten")(h)
    h = keras.layers.Dropout(0.3, seed=next(seeds), name="dropout_0.3")(h)
    features = dense(64, "relu", "features")(h)
    h = keras.layers.Dropout(0.3, seed=next(seeds), name="dropout_features_0.3")(features)
    logits = dense(NUM_CLASSES[name], None, "logits")(h)
    return keras.Model(images, (features, logits), name=f"{name}_classifier")


def _normalise_features(model: keras.Model, images: np.ndarray) -> None:
    """Divides features by their root mean square and multiplies logits' weights by it.

    A ReLU commutes with positive factors, so the logits stay what they were.
    """
    features = model.predict(images, verbose=0)[0]
    scale = float(np.sqrt(np.mean(np.square(features, dtype=np.float64))))
    before, after = model.get_layer("features"), model.get_layer("logits")
    before.set_weights([weight / scale for weight in before.get_weights()])
    kernel, bias = after.get_weights()
    after.set_weights([kernel * scale, bias])


def _shifted(images: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Moves each image [n, h, w, c] by -1, 0 or 1 pixel along both axes, filling with zeros."""
    height, width = images.shape[1:3]
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    tops, lefts = random.integers(0, 3, size=(2, len(images)))
    return np.stack(
        [
            image[top : top + height, left : left + width]
            for image, top, left in zip(padded, tops, lefts, strict=True)
        ]
    )


def _npz(arrays: list[np.ndarray]) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **{str(index): array for index, array in enumerate(arrays)})
    return buffer.getvalue()


def _versions() -> dict[str, str]:
    import tensorflow as tf

    return {"tensorflow": tf.__version__, "keras": keras.__version__, "numpy": np.__version__}
