"""What an export can be asked: request and response of every signature, as traced functions.

Every tensor has a leading batch axis of any size, TensorSpec names are the request keys, dict keys
the response keys. Images are float32 in [0, 1], whatever range the model works in.

    serving_default  latents [n, latent_dim]                   -> images [n, h, w, c]
    sample           seed [n, 2] int32                         -> images, latents
    sample_png       seed [n, 2] int32                         -> image_bytes [n] string
    interpolate      start, end [n, latent_dim], fraction [n]  -> images
    critic_features  images [n, h, w, c]                       -> features [n, output_dim]

Vector data say `samples` [n, d] where image data say `images`. `sample_png` needs images of one or
three channels, `critic_features` a method with a critic. Row i of an answer depends on row i of the
request alone.
"""

import dataclasses
from collections.abc import Callable, Mapping

import tensorflow as tf

from kgzoo.serving import interpolation

__all__ = ["Signature", "inference_module", "samples_key", "signatures", "trace"]


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
    path = interpolation.path_of(model.latent_distribution)

    def decode(latents):
        return {key: tf.cast(model.decode(latents), tf.float32)}

    def sample(seed):
        samples, latents = model.sample_from_seeds(seed)
        return {key: tf.cast(samples, tf.float32), "latents": tf.cast(latents, tf.float32)}

    def sample_png(seed):
        return {"image_bytes": _encode_png(sample(seed)[key])}

    def interpolate(start, end, fraction):
        return decode(path(start, end, fraction))

    def critic_features(samples):
        return {"features": tf.cast(model.critic_features(samples), tf.float32)}

    found = {
        "serving_default": Signature(decode, (latents,)),
        "sample": Signature(sample, (seed,)),
    }
    if model.kind == "image" and model.sample_shape[-1] in (1, 3):
        found["sample_png"] = Signature(sample_png, (seed,))
    ends = (_spec("start", model.latent_dim), _spec("end", model.latent_dim))
    found["interpolate"] = Signature(interpolate, (*ends, _spec("fraction")))
    if model.has_critic:
        found["critic_features"] = Signature(critic_features, (_spec(key, *model.sample_shape),))
    extra = model.export_signatures() if hasattr(model, "export_signatures") else {}
    for name, (function, inputs) in extra.items():
        if name in found:
            raise ValueError(f"export_signatures() declares {name!r}, a name every export has.")
        found[name] = Signature(function, tuple(inputs))
    return found


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
        function = tf.function(signature.function, input_signature=signature.inputs)
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
