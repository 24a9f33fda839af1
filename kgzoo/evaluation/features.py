"""Feature extractors by name: what scores are computed on.

`cifar10`, `digits` and `mnist` are small classifiers trained by this project on those data sets
(features and logits), `random_conv` a convolutional network with fixed random weights for images of
any size (features only), `identity` the coordinates of vector data themselves. `inception:<path>`
is a user's own network, see `kgzoo.evaluation.inception`. A score is comparable only with scores of
the same extractor, so each carries its name.
"""

from collections.abc import Callable

import numpy as np

from kgzoo.data.source import at_least
from kgzoo.errors import UserError, unknown_name
from kgzoo.evaluation import arrays, classifiers, inception, random_conv

__all__ = ["Extractor", "default_name", "get", "names"]


class Extractor:
    """Maps examples to features, and to logits where there is a classifier.

    Attributes:
        name: of the extractor; a part of every score.
        image_shape: of one example, (height, width, channels) or (d,).
        dim: number of features.
        has_logits: whether `extract` returns logits.
        class_frequencies: [k] float64, shares of the classes in the training split of a classifier;
            None without one.
        fingerprint: text that changes with the weights, so that features may be kept on disk; None
            where they are not worth it or not known.
    """

    def __init__(
        self,
        name: str,
        image_shape: tuple[int, ...],
        dim: int,
        has_logits: bool,
        apply: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray | None]],
        facts: dict,
        class_frequencies: np.ndarray | None = None,
        fingerprint: str | None = None,
    ):
        """Wraps `apply`, a function of one float32 batch; `get` is the way to make one.

        Args:
            name: of the extractor.
            image_shape: of one example.
            dim: number of features.
            has_logits: whether `apply` returns logits.
            apply: batch [b, *image_shape] float32 -> (features [b, dim], logits [b, k] or None).
            facts: what `describe` adds to name, shape and dimension.
            class_frequencies: [k], where there is a classifier.
            fingerprint: of the weights, for example their SHA-256.
        """
        self.name = name
        self.image_shape = tuple(image_shape)
        self.dim = dim
        self.has_logits = has_logits
        self.class_frequencies = class_frequencies
        self.fingerprint = fingerprint
        self._apply = apply
        self._facts = dict(facts)

    def extract(
        self, images: np.ndarray, batch_size: int = 256
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Returns features [n, dim] float32 and logits [n, k] float32 (None without a classifier).

        Args:
            images: [n, h, w, c], uint8 or float in [0, 1]; for `identity` vectors [n, d].
            batch_size: examples held by the network at once; the result does not depend on it.

        Raises:
            UserError: examples of another shape, of another range, NaN, or batch_size < 1.
        """
        images = arrays.as_array(images, "images")
        self.check(images)
        batch_size = at_least("batch_size", batch_size, 1)
        parts = [
            self._apply(_as_float(images[start : start + batch_size]))
            for start in range(0, len(images), batch_size)
        ]
        features = np.concatenate([part[0] for part in parts])
        logits = np.concatenate([part[1] for part in parts]) if self.has_logits else None
        return features, logits

    def describe(self) -> dict:
        """Returns facts for scores.json, plain JSON values."""
        return {
            "name": self.name,
            "image_shape": list(self.image_shape),
            "dim": self.dim,
            "has_logits": self.has_logits,
            **self._facts,
        }

    def check(self, images: np.ndarray) -> None:
        """Raises the `UserError` that `extract` would raise for these examples."""
        if images.ndim < 1 or len(images) < 1 or images.shape[1:] != self.image_shape:
            raise UserError(
                f"Extractor {self.name!r} takes examples of shape {list(self.image_shape)}, got "
                f"an array {list(images.shape)}; resize them, or use extractor "
                f"{'identity' if images.ndim == 2 else 'random_conv'!r}."
            )
        if images.dtype == np.uint8:
            return
        if not np.issubdtype(images.dtype, np.floating):
            raise UserError(f"Images have dtype {images.dtype}; give uint8 or floats in [0, 1].")
        if not np.isfinite(images).all():
            raise UserError("Samples hold NaN or infinity; score a model that has not diverged.")
        # The margin forgives rounding in a resize or in (x + 1) / 2, not another range.
        if len(self.image_shape) == 3 and (images.min() < -1e-3 or images.max() > 1 + 1e-3):
            raise UserError(
                f"Images span [{images.min():.4g}, {images.max():.4g}]; scale floats to [0, 1]."
            )


def names() -> list[str]:
    """Returns the names `get` knows, beside `inception:<path>`."""
    return sorted([*classifiers.IMAGE_SHAPES, "identity", "random_conv"])


def default_name(dataset_name: str, kind: str, image_shape: tuple[int, ...] | None = None) -> str:
    """Returns the extractor to use for a data set when the user names none.

    Args:
        dataset_name: as in `Source.name`, with or without a version ("mnist:3.0.1").
        kind: "image" or "vector".
        image_shape: when given, a classifier for another shape is not chosen.

    Returns:
        The classifier of that data set if its weights are in the package, else `random_conv`;
        `identity` for vectors.
    """
    if kind == "vector":
        return "identity"
    dataset_name = dataset_name.partition(":")[0]
    shape = classifiers.IMAGE_SHAPES.get(dataset_name)
    if shape is None or (image_shape is not None and tuple(image_shape) != shape):
        return "random_conv"
    return dataset_name if classifiers.is_trained(dataset_name) else "random_conv"


def get(name: str, image_shape: tuple[int, ...] | None = None) -> Extractor:
    """Returns the extractor of that name.

    Args:
        name: one of `names()`, or `inception:<path>`.
        image_shape: of one example; needed by all but the classifiers.

    Raises:
        UserError: unknown name, weights that are not there, or a shape this extractor cannot take.
    """
    is_inception = name.startswith(inception.PREFIX)
    if name not in names() and not is_inception:
        raise unknown_name("extractor", name, names())
    if name in classifiers.IMAGE_SHAPES:
        return _classifier(name, image_shape)
    if image_shape is None:
        raise UserError(f"Extractor {name!r} needs image_shape, the shape of one example.")
    image_shape = tuple(int(side) for side in image_shape)
    if is_inception:
        return _inception(name, image_shape)
    return _random_conv(image_shape) if name == "random_conv" else _identity(image_shape)


def _as_float(batch: np.ndarray) -> np.ndarray:
    if batch.dtype == np.uint8:
        return batch.astype(np.float32) / np.float32(255.0)
    return batch.astype(np.float32)


def _classifier(name: str, image_shape: tuple[int, ...] | None) -> Extractor:
    import tensorflow as tf

    expected = classifiers.IMAGE_SHAPES[name]
    if image_shape is not None and tuple(image_shape) != expected:
        raise UserError(
            f"Extractor {name!r} takes images {list(expected)}, got {list(image_shape)}; use "
            "extractor 'random_conv' for these, or images of that size."
        )
    model, facts = classifiers.load(name)

    @tf.function(input_signature=[tf.TensorSpec((None, *expected), tf.float32)])
    def forward(images):
        return model(images, training=False)

    def apply(batch):
        features, logits = forward(batch)
        return features.numpy(), logits.numpy()

    dim = model.output[0].shape[-1]
    recorded = ("trained_on", "accuracy_held_out", "num_held_out", "seed", "sha256")
    described = {key: facts[key] for key in (*recorded, "class_frequencies")}
    frequencies = np.asarray(facts["class_frequencies"], np.float64)
    fingerprint = facts["sha256"]
    return Extractor(name, expected, dim, True, apply, described, frequencies, fingerprint)


def _identity(shape: tuple[int, ...]) -> Extractor:
    if len(shape) != 1:
        raise UserError(
            f"Extractor 'identity' is for vector data, got examples {list(shape)}; use "
            "'random_conv' for images."
        )
    return Extractor("identity", shape, shape[0], False, lambda batch: (batch, None), {})


def _inception(name: str, shape: tuple[int, ...]) -> Extractor:
    apply, dim, has_logits, facts = inception.load(name, shape)
    # Nobody recorded how often its classes were seen in training.
    return Extractor(name, shape, dim, has_logits, apply, facts, None, facts["sha256"])


def _random_conv(shape: tuple[int, ...]) -> Extractor:
    import tensorflow as tf

    network = random_conv.network(shape)
    forward = tf.function(network, input_signature=[tf.TensorSpec((None, *shape), tf.float32)])
    facts = {"seed": random_conv.SEED, "trained": False}
    return Extractor(
        "random_conv",
        shape,
        random_conv.DIM,
        False,
        lambda batch: (forward(batch).numpy(), None),
        facts,
        fingerprint=f"seed {random_conv.SEED}",
    )
