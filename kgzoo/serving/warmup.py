"""Requests that TensorFlow Serving plays to a fresh model before it answers anybody else.

Without them the first caller waits for kernels and buffers to be set up. The server reads a
TFRecord of `PredictionLog` messages (at most 1000); a record that fails stops the model from
loading.
"""

import pathlib
from collections.abc import Mapping

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from kgzoo.serving.signatures import Signature

__all__ = ["WARMUP_BATCH_SIZES", "WARMUP_FILE", "prediction_logs", "write_warmup"]

WARMUP_FILE = "assets.extra/tf_serving_warmup_requests"
WARMUP_BATCH_SIZES = (1, 2)


def prediction_logs(
    model_name: str, signature_set: Mapping[str, Signature]
) -> list[prediction_log_pb2.PredictionLog]:
    """Returns one record per signature and batch size.

    Args:
        model_name: The name under which the model will be served.
        signature_set: What `kgzoo.serving.signatures.signatures` returns.
    """
    logs = []
    for name, signature in signature_set.items():
        for batch_size in WARMUP_BATCH_SIZES:
            request = predict_pb2.PredictRequest()
            request.model_spec.name = model_name
            request.model_spec.signature_name = name
            for spec in signature.inputs:
                proto = tf.make_tensor_proto(_example(spec, batch_size))
                request.inputs[spec.name].CopyFrom(proto)
            predict_log = prediction_log_pb2.PredictLog(request=request)
            logs.append(prediction_log_pb2.PredictionLog(predict_log=predict_log))
    return logs


def write_warmup(
    folder: pathlib.Path, model_name: str, signature_set: Mapping[str, Signature]
) -> pathlib.Path:
    """Writes the warm-up records below an export's folder and returns their file."""
    path = folder / WARMUP_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for log in prediction_logs(model_name, signature_set):
            writer.write(log.SerializeToString())
    return path


def _example(spec: tf.TensorSpec, batch_size: int) -> np.ndarray:
    """Returns values that are legal for every signature: floats in [0, 1), integers 0, 1, 2 ..."""
    shape = [batch_size, *spec.shape[1:]]
    if spec.dtype.is_floating:
        return np.random.default_rng(0).random(shape).astype(spec.dtype.as_numpy_dtype)
    return np.arange(np.prod(shape)).reshape(shape).astype(spec.dtype.as_numpy_dtype)
