"""What an export can be asked: request and response of every signature, as traced functions.

Every tensor has a leading batch axis of any size, TensorSpec names are the request keys, dict keys
the response keys. Images are float32 in [0, 1], whatever range the model works in.

    serving_default        latents [n, latent_dim]                   -> images [n, h, w, c]
    sample                 seed [n, 2] int32                         -> images, latents
    sample_png             seed [n, 2] int32                         -> image_bytes [n] string
    latents                seed [n, 2] int32                         -> latents [n, latent_dim]
    sample_truncated       seed [n, 2] int32, truncation [n]         -> images, latents
    interpolate            start, end [n, latent_dim], fraction [n]  -> images
    interpolate_linear     the same, on the straight path            -> images
    interpolate_spherical  the same, on the sphere                   -> images
    nearest_latent         images [n, h, w, c], steps [n] int32      -> latents, distances [n]
    critic_features        images [n, h, w, c]                       -> features [n, output_dim]

Vector data say `samples` [n, d] where image data say `images`. `sample_png` needs images of one or
three channels, `critic_features` a method with a critic. Row i of an answer depends on row i of the
request alone: a row that is not finite gives one that is not (a black picture as PNG), and harms no
other request that a server puts into the same batch. Any int32 is a seed, no rows give no rows. A
request of another shape is refused with an InvalidArgumentError that names it and what is expected.

`interpolate` takes the path that fits the latents. Truncation below 0 counts as 0, above 1 as 1 for
uniform latents. `nearest_latent` compares pixels, over as many steps as a row asks for, up to 1000.
"""

import dataclasses
import inspect
from collections.abc import Callable, Mapping

import tensorflow as tf

from kgzoo.methods.latent_paths import PATHS, path_of
from kgzoo.methods.latent_tools import row_seeds
from kgzoo.methods.noise import latents_from_seeds

__all__ = ["Signature", "inference_module", "samples_key", "signatures", "trace"]

# Of `nearest_latent`, in place of the arguments of `Method.nearest_latent`.
_NEAREST = {"starts": 4, "learning_rate": 0.1}
_NEAREST_CANDIDATES = 64
# A row with more steps would hold up the others of its batch.
_NEAREST_MOST_STEPS = 1000


@dataclasses.dataclass(frozen=True)
class Signature:
    """One entry of an export.

    Attributes:
        function: Takes the request's tensors in the order of `inputs`, returns {key: tensor}.
        inputs: Named specs with a leading axis of unknown size; the names are the request keys.
    """

    function: Callable[..., Mapping[str, tf.Tensor]]
    inputs: tuple[tf.TensorSpec, ...]


def samples_key(model) -> str:
    """Returns the key of the model's samples: "images" or, for vector data, "samples"."""
    return "images" if model.kind == "image" else "samples"


def signatures(model) -> dict[str, Signature]:
    """Returns the signatures of a method by name.

    A method adds its own by `export_signatures() -> {name: (function, [tf.TensorSpec, ...])}`, with
    the meaning of `Signature`'s fields.

    Args:
        model: A `kgzoo.methods` model.

    Raises:
        ValueError: The method adds a signature under a name that is taken.
    """
    key = samples_key(model)
    latents = _spec("latents", model.latent_dim)
    seed = _spec("seed", 2, dtype=tf.int32)
    examples = _spec(key, *model.sample_shape)
    # One function, which all signatures call: its graph is in the export once.
    generate = tf.function(
        lambda latents: tf.cast(model.decode(latents), tf.float32), input_signature=[latents]
    )
    found = {
        "serving_default": Signature(lambda latents: {key: generate(latents)}, (latents,)),
        **_seeded(model, key, generate, seed),
        **_between(model, key, generate),
        "nearest_latent": Signature(_nearest(model), (examples, _spec("steps", dtype=tf.int32))),
    }
    if model.has_critic:

        def critic_features(samples):
            return {"features": tf.cast(model.critic_features(samples), tf.float32)}

        found["critic_features"] = Signature(critic_features, (examples,))
    extra = model.export_signatures() if hasattr(model, "export_signatures") else {}
    for name, (function, inputs) in extra.items():
        if name in found:
            raise ValueError(f"export_signatures() declares {name!r}, a name every export has.")
        found[name] = Signature(function, tuple(inputs))
    return found


def _seeded(model, key: str, generate: Callable, seed: tf.TensorSpec) -> dict[str, Signature]:
    """Returns the signatures that begin with seeds."""

    def draw(seed):
        return latents_from_seeds(seed, model.latent_dim, model.latent_distribution)

    def sample(seed):
        latents = draw(seed)
        return {key: generate(latents), "latents": latents}

    def sample_png(seed):
        return {"image_bytes": _encode_png(generate(draw(seed)))}

    def sample_truncated(seed, truncation):
        latents = model.truncated_latents(seed, truncation)
        return {key: generate(latents), "latents": latents}

    found = {"sample": Signature(sample, (seed,))}
    if model.kind == "image" and model.sample_shape[-1] in (1, 3):
        found["sample_png"] = Signature(sample_png, (seed,))
    found["latents"] = Signature(lambda seed: {"latents": draw(seed)}, (seed,))
    found["sample_truncated"] = Signature(sample_truncated, (seed, _spec("truncation")))
    return found


def _between(model, key: str, generate: Callable) -> dict[str, Signature]:
    """Returns the signatures that go from one latent to another."""
    paths = {"interpolate": path_of(model.latent_distribution)}
    paths |= {f"interpolate_{name}": path for name, path in PATHS.items()}
    inputs = (_spec("start", model.latent_dim), _spec("end", model.latent_dim), _spec("fraction"))

    def through(path):
        return lambda start, end, fraction: {key: generate(path(start, end, fraction))}

    return {name: Signature(through(path), inputs) for name, path in paths.items()}


def _nearest(model) -> Callable[..., dict[str, tf.Tensor]]:
    """Returns the function of `nearest_latent`: its loop is in the graph."""

    def nearest_latent(samples, steps):
        seeds = tf.constant(row_seeds(_NEAREST_CANDIDATES, 0))
        candidates = latents_from_seeds(seeds, model.latent_dim, model.latent_distribution)
        steps = tf.clip_by_value(steps, 0, _NEAREST_MOST_STEPS)
        latents, distances = model.nearest_in_graph(samples, candidates, steps=steps, **_NEAREST)
        return {"latents": latents, "distances": distances}

    return nearest_latent


def trace(
    signature_set: Mapping[str, Signature],
) -> dict[str, tf.types.experimental.ConcreteFunction]:
    """Traces signatures for any batch size.

    Returns:
        Concrete functions by signature name, in the order given.

    Raises:
        ValueError: A tensor of a signature has no name or no free leading axis; server-side
            batching would refuse it.
    """
    traced = {}
    for name, signature in signature_set.items():
        function = tf.function(_checked(signature), input_signature=signature.inputs)
        concrete = function.get_concrete_function()
        tensors = {spec.name: spec for spec in signature.inputs} | dict(concrete.structured_outputs)
        for key, tensor in tensors.items():
            if not key or tensor.shape.rank in (None, 0) or tensor.shape[0] is not None:
                raise ValueError(
                    f"Signature {name!r}: tensor {key!r} has shape {tensor.shape}; every tensor "
                    "needs a name and a leading batch axis of unknown size."
                )
        traced[name] = concrete
    return traced


def _checked(signature: Signature) -> Callable[..., Mapping[str, tf.Tensor]]:
    """Returns the function for requests of any shape: wrong ones are refused, empty ones answered.

    Neither a server nor a C program looks at shapes, and some layers take any. Convolutions give an
    empty batch another shape than they declare, so that a row is made up for it.
    """
    names = [spec.name for spec in signature.inputs]
    if not all(names):
        # Which `trace` refuses.
        return signature.function
    sentence = f"{', '.join(names)} have {{}} rows; give the same number of each."

    def checked(*tensors):
        pairs = list(zip(tensors, signature.inputs, strict=True))
        tensors = [tf.ensure_shape(tensor, spec.shape) for tensor, spec in pairs]
        rows = tf.stack([tf.shape(tensor)[0] for tensor in tensors])
        checks = []
        if len(tensors) > 1:
            same = tf.reduce_all(tf.equal(rows, rows[0]))
            checks.append(tf.Assert(same, [tf.strings.format(sentence, rows)]))
        with tf.control_dependencies(checks):
            filled = [_one_at_least(tensor) for tensor in tensors]
        answer = signature.function(*filled)
        return {key: _first(values, rows[0]) for key, values in answer.items()}

    # Request keys of an export are the arguments' names.
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    checked.__signature__ = inspect.Signature([inspect.Parameter(name, kind) for name in names])
    return checked


def _one_at_least(tensor: tf.Tensor) -> tf.Tensor:
    """Returns the rows of a tensor, or one of zeros if there are none."""
    return tf.cond(
        tf.shape(tensor)[0] > 0,
        lambda: tf.identity(tensor),
        lambda: tf.zeros([1, *tensor.shape[1:]], tensor.dtype),
    )


def _first(values: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
    # `trace` refuses what has no free batch axis.
    is_batch = values.shape.rank and values.shape[0] is None
    return values[:rows] if is_batch else values


def inference_module(traced: Mapping[str, tf.types.experimental.ConcreteFunction]) -> tf.Module:
    """Returns a module that owns just the variables which the traced functions read.

    Saving this instead of the model leaves out optimizer slots and the networks of training.
    """
    variables = {id(v): v for concrete in traced.values() for v in concrete.graph.variables}
    module = tf.Module()
    module.inference_variables = list(variables.values())
    return module


def _spec(name: str, *shape: int, dtype=tf.float32) -> tf.TensorSpec:
    """Returns the spec of a request's tensor, [n, *shape]."""
    return tf.TensorSpec([None, *shape], dtype, name)


def _encode_png(images: tf.Tensor) -> tf.Tensor:
    """Turns [n, h, w, c] float32 in [0, 1] into [n] strings of PNG bytes."""
    pixels = tf.cast(tf.round(255.0 * tf.clip_by_value(images, 0.0, 1.0)), tf.uint8)
    return tf.io.encode_png(pixels)
