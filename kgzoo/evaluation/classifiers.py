"""The project's own image classifiers: architecture, training, and the weights that ship with it.

A classifier gives scores their features (its penultimate activations) and logits. Weights are
plain arrays in `weights/<name>.npz`, beside a `weights/<name>.json` that says how they were made
and how good they are. Published Inception-v3 scores are on another scale: a score carries the name
of its extractor.

`mnist` is the LeNet of the Kernel GAN paper's appendix A.3 (its dropout rates are not printed):
conv 32 3x3, max-pool 2, conv 64 3x3, max-pool 2, dense 128, 10 logits. `digits` is smaller.
`cifar10` whitens patches of 2x2 pixels, then has three residual stages of two 3x3 convolutions and
the largest value of each of 144 channels; its batch normalisation is folded into what is stored.
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
from kgzoo.evaluation import archives, files

__all__ = ["IMAGE_SHAPES", "NUM_CLASSES", "is_trained", "load", "train_extractor"]


@dataclasses.dataclass(frozen=True)
class _Recipe:
    """A classifier: relu convolutions 3x3, a relu layer (the features), logits.

    Attributes:
        image_shape: of one image, (height, width, channels).
        convolutions: (filters, strides) of each; in a residual network, of each stage.
        padding: of the convolutions.
        max_pool: whether a 2x2 max-pool follows each convolution.
        num_features: units of the dense layer, or channels of the last stage.
        dropout: rates before and after the features.
        epochs: of training.
        batch_size: of training.
        stored_as: dtype of the weights in the file.
        num_classes: number of logits.
        residual: whether it is the residual network; that is trained by SGD, with softened labels
            and images that move by two pixels and may be mirrored.
    """

    image_shape: tuple[int, int, int]
    convolutions: tuple[tuple[int, int], ...]
    padding: str
    max_pool: bool
    num_features: int
    dropout: tuple[float, float]
    epochs: int
    batch_size: int
    stored_as: str
    num_classes: int = 10
    residual: bool = False


_RECIPES = {
    "digits": _Recipe(
        image_shape=(16, 16, 1),
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
        convolutions=((32, 1), (64, 1)),
        padding="valid",
        max_pool=True,
        num_features=128,
        dropout=(0.25, 0.5),
        epochs=8,
        batch_size=128,
        stored_as="float16",
    ),
    "cifar10": _Recipe(
        image_shape=(32, 32, 3),
        convolutions=((64, 1), (144, 1), (144, 1)),
        padding="same",
        max_pool=True,
        num_features=144,
        dropout=(0.0, 0.0),
        epochs=30,
        batch_size=128,
        stored_as="float16",
        residual=True,
    ),
}
IMAGE_SHAPES = {name: recipe.image_shape for name, recipe in _RECIPES.items()}
NUM_CLASSES = {name: recipe.num_classes for name, recipe in _RECIPES.items()}
_FOLDER = pathlib.Path(__file__).parent / "weights"
_EPSILON = 1e-5  # of batch normalisation


def is_trained(name: str) -> bool:
    """Returns whether the weights of this classifier are in the package."""
    return (_FOLDER / f"{name}.npz").is_file()


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
    remedy = f"train them: {_command(name)}"
    try:
        facts = json.loads((folder / f"{name}.json").read_text())
        content = (folder / f"{name}.npz").read_bytes()
    except FileNotFoundError as error:
        raise UserError(f"Weights of {name!r} are missing in {folder}; {remedy}") from error
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

    Features end with a mean square of 1 over the training images, so that the kernel of the kernel
    distance works at its intended scale. Deterministic given `seed` on one machine and version.
    After each epoch its state is kept in `.<name>.unfinished.npz`; the same call continues from
    there and removes it at the end.

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
    model = _architecture(name, seed, training=True)
    recipe = _RECIPES[name]
    folder = _FOLDER if folder is None else pathlib.Path(folder)
    epochs = recipe.epochs if epochs is None else at_least("epochs", epochs, 1)
    batch_size = recipe.batch_size if batch_size is None else at_least("batch_size", batch_size, 1)
    train, test = (data.load(name, split, data_dir) for split in ("train", "test"))
    unfinished = folder / f".{name}.unfinished.npz"
    _fit(model, recipe, train, seed, epochs, batch_size, report, unfinished)
    if recipe.residual:
        model = _folded(model, _architecture(name))
    _normalise_features(model, train.examples)
    stored = [weight.astype(recipe.stored_as) for weight in model.get_weights()]
    # What is measured is what ships.
    model.set_weights([weight.astype(np.float32) for weight in stored])
    right = int(np.sum(_outputs(model, test.examples)[1].argmax(axis=1) == test.labels))
    content = _npz(stored)
    facts = {
        "name": name,
        "architecture": [layer.name for layer in model.layers[1:]],
        "num_parameters": model.count_params(),
        "feature_layer": "features",
        "feature_scale": "mean square 1 over the training images",
        "trained_on": train.describe(),
        "class_frequencies": _class_frequencies(name, train.labels),
        "num_held_out": test.num_examples,
        "num_held_out_right": right,
        "accuracy_held_out": right / test.num_examples,
        "seed": seed,
        "epochs": epochs,
        "batch_size": batch_size,
        "stored_as": recipe.stored_as,
        "command": _command(name),
        "versions": _versions(),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    files.replace_file(folder / f"{name}.npz", content)
    files.replace_file(folder / f"{name}.json", (json.dumps(facts, indent=2) + "\n").encode())
    unfinished.unlink(missing_ok=True)
    report(f"{name}: {right} of {test.num_examples} held-out images right; weights in {folder}")
    return facts


def _command(name: str) -> str:
    where = "" if name in data.names() else " --data_dir=~/tensorflow_datasets"
    return f"python -m kgzoo.evaluate --train_extractor={name}{where}"


def _architecture(name: str, seed: int = 0, training: bool = False) -> keras.Model:
    """Returns an untrained classifier: images [n, h, w, c] in [0, 1] -> (features, logits)."""
    if name not in _RECIPES:
        raise unknown_name("extractor", name, _RECIPES)
    if (recipe := _RECIPES[name]).residual:
        return _residual_network(recipe, name, seed, training)
    seeds = iter(np.random.SeedSequence(seed).generate_state(8).tolist())

    def he_normal() -> dict:
        return {"kernel_initializer": keras.initializers.HeNormal(next(seeds))}

    def dropout(rate: float, name: str) -> keras.layers.Layer:
        return keras.layers.Dropout(rate, seed=next(seeds), name=f"{name}_{rate:g}")

    images = keras.Input(recipe.image_shape, name="images")
    h = images
    for index, (filters, strides) in enumerate(recipe.convolutions, 1):
        options = {"activation": "relu", "name": f"conv3x3_{filters}_stride{strides}"}
        h = keras.layers.Conv2D(filters, 3, strides, recipe.padding, **options, **he_normal())(h)
        if recipe.max_pool:
            h = keras.layers.MaxPooling2D(2, name=f"max_pool2x2_{index}")(h)
    h = dropout(recipe.dropout[0], "dropout")(keras.layers.Flatten(name="flatten")(h))
    features = keras.layers.Dense(recipe.num_features, "relu", name="features", **he_normal())(h)
    h = dropout(recipe.dropout[1], "dropout_features")(features)
    logits = keras.layers.Dense(recipe.num_classes, name="logits", **he_normal())(h)
    return keras.Model(images, (features, logits), name=f"{name}_classifier")


def _residual_network(recipe: _Recipe, name: str, seed: int, normed: bool) -> keras.Model:
    """Returns the network with batch normalisation, or that with biases in its place.

    The normalisation has no factor: what remains of it is positive and so commutes with max-pool.
    """
    seeds = iter(np.random.SeedSequence(seed).generate_state(8).tolist())

    def conv(h, filters: int, name: str, pool: bool):
        options = {"kernel_initializer": keras.initializers.HeNormal(next(seeds)), "name": name}
        h = keras.layers.Conv2D(filters, 3, padding="same", use_bias=not normed, **options)(h)
        if pool:
            h = keras.layers.MaxPooling2D(2, name=f"{name}_max_pool2x2")(h)
        if normed:
            options = {"scale": False, "epsilon": _EPSILON, "name": f"{name}_norm"}
            h = keras.layers.BatchNormalization(momentum=0.95, **options)(h)
        return keras.layers.ReLU(name=f"{name}_relu")(h)

    images = keras.Input(recipe.image_shape, name="images")
    whitened = keras.layers.Conv2D(8 * recipe.image_shape[-1], 2, trainable=False, name="whiten2x2")
    h = keras.layers.ReLU(name="whiten2x2_relu")(whitened(images))
    for stage, (filters, _) in enumerate(recipe.convolutions, 1):
        h = conv(h, filters, f"conv3x3_{filters}_stage{stage}", pool=True)
        last = stage == len(recipe.convolutions)
        name_of_second = "features" if last else f"residual3x3_{filters}_stage{stage}"
        second = conv(h, filters, name_of_second, pool=False)
        h = second if last else h + second
    features = keras.layers.GlobalMaxPooling2D(name="global_max_pool")(h)
    logits = keras.layers.Dense(recipe.num_classes, kernel_initializer="zeros", name="logits")
    return keras.Model(images, (features, logits(features)), name=f"{name}_classifier")


def _whitening(images: np.ndarray) -> list[np.ndarray]:
    """Returns kernel and bias that give 2x2 patches of uint8 images unit covariance, and minus it.

    Coates and Ng (2012), Learning feature representations with K-means.
    """
    patches = np.lib.stride_tricks.sliding_window_view(images, (2, 2), axis=(1, 2))
    patches = np.moveaxis(patches, 3, -1).reshape(-1, 4 * images.shape[-1]) / 255.0
    variances, directions = np.linalg.eigh(np.cov(patches, rowvar=False))
    kernel = directions / np.sqrt(variances + 5e-4 * variances.mean())
    kernel = np.concatenate([kernel, -kernel], axis=1)
    return [kernel.reshape(2, 2, images.shape[-1], -1), -patches.mean(axis=0) @ kernel]


def _folded(trained: keras.Model, model: keras.Model) -> keras.Model:
    """Moves trained weights into the network without batch normalisation and returns that."""
    names = {layer.name for layer in trained.layers}
    for layer in model.layers:
        weights = trained.get_layer(layer.name).get_weights()
        if f"{layer.name}_norm" in names:
            offset, mean, variance = trained.get_layer(f"{layer.name}_norm").get_weights()
            scale = 1.0 / np.sqrt(variance + _EPSILON)
            weights = [weights[0] * scale, offset - mean * scale]
        layer.set_weights(weights)
    return model


def _optimizer(recipe: _Recipe, steps: int) -> keras.optimizers.Optimizer:
    cosine = keras.optimizers.schedules.CosineDecay
    if not recipe.residual:
        return keras.optimizers.Adam(cosine(2e-3, steps))
    warm_up = max(1, steps // 5)
    rate = cosine(0.0, max(1, steps - warm_up), warmup_target=0.1, warmup_steps=warm_up)
    # Keras decays weights outside the momentum: this is 5e-4 in the usual convention.
    sgd = keras.optimizers.SGD(rate, momentum=0.9, nesterov=True, weight_decay=5e-3)
    sgd.exclude_from_weight_decay(var_names=["beta", "bias"])
    return sgd


def _fit(model, recipe, train, seed, epochs, batch_size, report, unfinished) -> None:
    """Trains in place from the last whole epoch on; see `train_extractor` for the arguments."""
    images = train.examples
    steps = len(images) // batch_size
    trainer = keras.Model(model.input, model.output[1])
    loss = keras.losses.CategoricalCrossentropy(True, 0.1 if recipe.residual else 0.0)
    # Not compiled by XLA, which halves the speed of convolutions on CPUs.
    trainer.compile(_optimizer(recipe, epochs * steps), loss, jit_compile=False)
    trainer.optimizer.build(trainer.trainable_variables)
    if recipe.residual:
        model.get_layer("whiten2x2").set_weights(_whitening(images[:1000]))
    targets = np.eye(recipe.num_classes, dtype=np.float32)[train.labels]
    variables = [*model.variables, *trainer.optimizer.variables]
    described = repr((recipe, seed, epochs, batch_size, train.describe(), _versions()))
    stored = archives.read(unfinished, described) or {"epochs": 0}
    for index, variable in enumerate(variables if stored["epochs"] else ()):
        variable.assign(stored[str(index)])
    for epoch in range(int(stored["epochs"]), epochs):
        random = np.random.default_rng([seed, epoch])
        order = random.permutation(len(images))[: steps * batch_size]
        losses = [
            trainer.train_on_batch(_changed(images[chosen], recipe, random), targets[chosen])
            for chosen in order.reshape(steps, batch_size)
        ]
        state = {str(index): variable.numpy() for index, variable in enumerate(variables)}
        archives.write(unfinished, described, {**state, "epochs": np.int64(epoch + 1)})
        if (epoch + 1) % max(1, epochs // 6) == 0:
            report(f"epoch {epoch + 1}/{epochs}: loss {np.mean(losses):.4f}")


def _class_frequencies(name: str, labels: np.ndarray) -> list[float]:
    return (np.bincount(labels, minlength=NUM_CLASSES[name]) / len(labels)).tolist()


def _normalise_features(model: keras.Model, images: np.ndarray) -> None:
    """Divides features by their root mean square and multiplies logits' weights by it.

    A ReLU commutes with positive factors, so the logits stay what they were.
    """
    features = _outputs(model, images)[0]
    scale = float(np.sqrt(np.mean(np.square(features, dtype=np.float64))))
    before, after = model.get_layer("features"), model.get_layer("logits")
    before.set_weights([weight / scale for weight in before.get_weights()])
    kernel, bias = after.get_weights()
    after.set_weights([kernel * scale, bias])


def _outputs(model: keras.Model, images: np.ndarray) -> list[np.ndarray]:
    """Returns features and logits of uint8 images, without XLA, which compiles for each shape."""
    batches = np.array_split(images, -(-len(images) // 1000))
    parts = [model(batch / np.float32(255.0), training=False) for batch in batches]
    return [np.concatenate(column) for column in zip(*parts, strict=True)]


def _changed(images: np.ndarray, recipe: _Recipe, random: np.random.Generator) -> np.ndarray:
    """Moves uint8 images [n, h, w, c], may mirror every other one; float32 in [0, 1]."""
    height, width = images.shape[1:3]
    shift, mode = (2, "reflect") if recipe.residual else (1, "constant")
    padded = np.pad(images, ((0, 0), (shift, shift), (shift, shift), (0, 0)), mode)
    tops, lefts = random.integers(0, 2 * shift + 1, size=(2, len(images)))
    moved = np.stack(
        [
            image[top : top + height, left : left + width]
            for image, top, left in zip(padded, tops, lefts, strict=True)
        ]
    )
    if recipe.residual:
        moved[::2] = moved[::2, :, ::-1]
    return moved.astype(np.float32) / np.float32(255.0)


def _npz(arrays: list[np.ndarray]) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **{str(index): array for index, array in enumerate(arrays)})
    return buffer.getvalue()


def _versions() -> dict[str, str]:
    import tensorflow as tf

    return {"tensorflow": tf.__version__, "keras": keras.__version__, "numpy": np.__version__}
