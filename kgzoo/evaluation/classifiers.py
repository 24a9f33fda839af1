"""The project's own image classifiers: architecture, training, and the weights that ship with it.

A classifier gives scores their features (its penultimate activations) and logits. Weights are
plain arrays in `weights/<name>.npz`, beside a `weights/<name>.json` that says how they were made
and how good they are. Published Inception-v3 scores are on another scale: a score carries the name
of its extractor.

`mnist` is the LeNet of the Kernel GAN paper's appendix A.3 (its dropout rates are not printed):
conv 32 3x3, max-pool 2, conv 64 3x3, max-pool 2, dense 128, 10 logits. `digits` is smaller.
"""

import dataclasses
import hashlib
import io
import json
import os
import pathlib
from collections.abc import Callable

import keras
import numpy as np

from kgzoo import data
from kgzoo.data.source import at_least
from kgzoo.errors import UserError, unknown_name
from kgzoo.evaluation import files

__all__ = ["IMAGE_SHAPES", "NUM_CLASSES", "load", "train_extractor"]


@dataclasses.dataclass(frozen=True)
class _Recipe:
    """A classifier: relu convolutions 3x3, a dense relu layer (the features), logits.

    Attributes:
        image_shape: of one image, (height, width, channels).
        num_classes: number of logits.
        convolutions: (filters, strides) of each.
        padding: of the convolutions.
        max_pool: whether a 2x2 max-pool follows each convolution.
        num_features: units of the dense layer.
        dropout: rates before and after the dense layer.
        epochs: of training.
        batch_size: of training.
        stored_as: dtype of the weights in the file.
    """

    image_shape: tuple[int, int, int]
    num_classes: int
    convolutions: tuple[tuple[int, int], ...]
    padding: str
    max_pool: bool
    num_features: int
    dropout: tuple[float, float]
    epochs: int
    batch_size: int
    stored_as: str


_RECIPES = {
    "digits": _Recipe(
        image_shape=(16, 16, 1),
        num_classes=10,
        convolutions=((16, 1), (24, 2), (32, 2)),
        padding="same",
        max_pool=False,
        num_features=64,
        dropout=(0.3, 0.3),
        epochs=60,
        batch_size=64,
        stored_as="float32",
    ),
    "mnist": _Recipe(
        image_shape=(28, 28, 1),
        num_classes=10,
        convolutions=((32, 1), (64, 1)),
        padding="valid",
        max_pool=True,
        num_features=128,
        dropout=(0.25, 0.5),
        epochs=8,
        batch_size=128,
        stored_as="float16",
    ),
}
IMAGE_SHAPES = {name: recipe.image_shape for name, recipe in _RECIPES.items()}
NUM_CLASSES = {name: recipe.num_classes for name, recipe in _RECIPES.items()}
_FOLDER = pathlib.Path(__file__).parent / "weights"


def load(name: str, folder: str | os.PathLike | None = None) -> tuple[keras.Model, dict]:
    """Returns a trained classifier and the facts recorded beside its weights.

    Args:
        name: of the classifier, a key of `IMAGE_SHAPES`.
        folder: with the two files of `train_extractor`; the shipped ones when None.

    Returns:
        A model from images [n, h, w, c] float32 in [0, 1] to (features [n, d], logits
        [n, classes]), and a dict; its `class_frequencies` are those of the training split.

    Raises:
        UserError: unknown name, files missing, or weights that are not those of the facts.
    """
    model = _architecture(name)
    folder = _FOLDER if folder is None else pathlib.Path(folder)
    remedy = f"train them again: {_command(name)}."
    try:
        facts = json.loads((folder / f"{name}.json").read_text())
        content = (folder / f"{name}.npz").read_bytes()
    except FileNotFoundError as error:
        raise UserError(f"Weights of extractor {name!r} are missing ({error}); {remedy}") from error
    if hashlib.sha256(content).hexdigest() != facts["sha256"]:
        raise UserError(f"{folder / name}.npz is not the file {name}.json describes; {remedy}")
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        stored = [arrays[str(index)] for index in range(len(arrays.files))]
    model.set_weights([array.astype(np.float32) for array in stored])
    if "class_frequencies" not in facts:
        # The weights of digits are older than this fact, and their data set ships with them.
        facts["class_frequencies"] = _class_frequencies(name, data.load(name).labels)
    return model, facts


def train_extractor(
    name: str,
    folder: str | os.PathLike | None = None,
    seed: int = 0,
    epochs: int | None = None,
    batch_size: int | None = None,
    report: Callable[[str], None] = print,
    data_dir: str | None = None,
) -> dict:
    """Trains a classifier on the training split only and writes its weights and facts.

    Adam with a cosine learning rate; each image is moved by up to one pixel in both directions.
    Features end with a mean square of 1 over the training images, so that the kernel of the kernel
    distance works at its intended scale. Deterministic given `seed` on one machine and version.

    Args:
        name: of the classifier and of its data set, a key of `IMAGE_SHAPES`.
        folder: to write `<name>.npz` and `<name>.json` to; the package's own when None.
        seed: of initial weights, order, shifts and dropout.
        epochs: passes over the training split; the classifier's own number when None.
        batch_size: examples of one step; the classifier's own number when None.
        report: called with a line of progress about six times.
        data_dir: where TensorFlow Datasets prepared the data set, as for `data.load`.

    Returns:
        The facts that were written: architecture, accuracy on the held-out split, sha256, versions.

    Raises:
        UserError: unknown name, or its data set is not on disk.
    """
    model = _architecture(name, seed)
    recipe = _RECIPES[name]
    epochs = recipe.epochs if epochs is None else at_least("epochs", epochs, 1)
    if batch_size is None:
        batch_size = recipe.batch_size
    batch_size = at_least("batch_size", batch_size, 1)
    train, test = (data.load(name, split, data_dir) for split in ("train", "test"))
    images = train.examples.astype(np.float32) / 255.0
    _fit(model, images, train.labels, seed, epochs, batch_size, report)
    _normalise_features(model, images)
    stored = [weight.astype(recipe.stored_as) for weight in model.get_weights()]
    # What is measured is what ships.
    model.set_weights([weight.astype(np.float32) for weight in stored])
    held_out = test.examples.astype(np.float32) / 255.0
    logits = model.predict(held_out, verbose=0)[1]
    right = int(np.sum(logits.argmax(axis=1) == test.labels))
    content = _npz(stored)
    facts = {
        "name": name,
        "architecture": [layer.name for layer in model.layers[1:]],
        "num_parameters": model.count_params(),
        "feature_layer": "features",
        "feature_scale": "mean square 1 over the training images",
        "trained_on": train.describe(),
        "class_frequencies": _class_frequencies(name, train.labels),
        "num_held_out": len(held_out),
        "num_held_out_right": right,
        "accuracy_held_out": right / len(held_out),
        "seed": seed,
        "epochs": epochs,
        "batch_size": batch_size,
        "stored_as": recipe.stored_as,
        "command": _command(name),
        "versions": _versions(),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    folder = _FOLDER if folder is None else pathlib.Path(folder)
    files.replace_file(folder / f"{name}.npz", content)
    files.replace_file(folder / f"{name}.json", (json.dumps(facts, indent=2) + "\n").encode())
    report(f"{name}: {right} of {len(held_out)} held-out images right; weights in {folder}")
    return facts


def _command(name: str) -> str:
    where = "" if name in data.names() else " --data_dir=~/tensorflow_datasets"
    return f"python -m kgzoo.evaluate --train_extractor={name}{where}"


def _architecture(name: str, seed: int = 0) -> keras.Model:
    """Returns an untrained classifier: images [n, h, w, c] in [0, 1] -> (features, logits)."""
    if name not in _RECIPES:
        raise unknown_name("extractor", name, _RECIPES)
    recipe = _RECIPES[name]
    seeds = iter(np.random.SeedSequence(seed).generate_state(8).tolist())

    def conv(filters: int, strides: int) -> keras.layers.Layer:
        return keras.layers.Conv2D(
            filters,
            3,
            strides=strides,
            padding=recipe.padding,
            activation="relu",
            kernel_initializer=keras.initializers.HeNormal(next(seeds)),
            name=f"conv3x3_{filters}_stride{strides}",
        )

    def dense(units: int, activation: str | None, name: str) -> keras.layers.Layer:
        initializer = keras.initializers.HeNormal(next(seeds))
        return keras.layers.Dense(
            units, activation=activation, kernel_initializer=initializer, name=name
        )

    def dropout(rate: float, name: str) -> keras.layers.Layer:
        return keras.layers.Dropout(rate, seed=next(seeds), name=f"{name}_{rate:g}")

    images = keras.Input(recipe.image_shape, name="images")
    h = images
    for index, (filters, strides) in enumerate(recipe.convolutions, 1):
        h = conv(filters, strides)(h)
        if recipe.max_pool:
            h = keras.layers.MaxPooling2D(2, name=f"max_pool2x2_{index}")(h)
    h = dropout(recipe.dropout[0], "dropout")(keras.layers.Flatten(name="flatten")(h))
    features = dense(recipe.num_features, "relu", "features")(h)
    h = dropout(recipe.dropout[1], "dropout_features")(features)
    logits = dense(recipe.num_classes, None, "logits")(h)
    return keras.Model(images, (features, logits), name=f"{name}_classifier")


def _fit(
    model: keras.Model,
    images: np.ndarray,
    labels: np.ndarray,
    seed: int,
    epochs: int,
    batch_size: int,
    report: Callable[[str], None],
) -> None:
    """Trains in place on float32 images; the arguments are those of `train_extractor`."""
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
            trainer.train_on_batch(_shifted(images[chosen], random), labels[chosen])
            for chosen in order.reshape(steps, batch_size)
        ]
        if (epoch + 1) % max(1, epochs // 6) == 0:
            report(f"epoch {epoch + 1}/{epochs}: loss {np.mean(losses):.4f}")


def _class_frequencies(name: str, labels: np.ndarray) -> list[float]:
    counts = np.bincount(labels, minlength=NUM_CLASSES[name])
    return (counts / len(labels)).tolist()


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
