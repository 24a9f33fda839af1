"""Asks a TensorFlow Serving process for samples over gRPC and writes them as PNG files.

  python export/clients/grpc_client.py smmd_digits --seed=7 --count=4 --folder=samples

Needs tensorflow-serving-api, which kgzoo brings, and rest.py in the folder of this file: whoever
copies this file copies both. Sample i of seed s has the seed (s, i): the same pictures as
`model.sample(4, seed=7)`. Exit code 0: done; 1: the server or the disk refused; 2: wrong arguments.
"""

import sys

# Of this folder: the command line, the batches, the files and the errors are the same.
try:
    import rest
except ModuleNotFoundError:
    sys.exit("grpc_client.py: there is no rest.py; copy export/clients/rest.py beside this file.")

__all__ = ["main", "predict_request", "response_pngs", "sample", "tensors"]


def predict_request(model: str, signature: str, **inputs):
    """Returns a PredictRequest.

    Args:
        model: the name under which the model is served.
        signature: of the model: "sample_png".
        **inputs: arrays by request key; their types are those of the table in export/README.md.
    """
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2

    request = predict_pb2.PredictRequest()
    request.model_spec.name = model
    request.model_spec.signature_name = signature
    for key, values in inputs.items():
        request.inputs[key].CopyFrom(tf.make_tensor_proto(values))
    return request


def tensors(response) -> dict:
    """Returns the arrays of a PredictResponse by response key; strings are objects of bytes."""
    import tensorflow as tf

    return {key: tf.make_ndarray(value) for key, value in response.outputs.items()}


def response_pngs(response) -> list[bytes]:
    """Returns the PNG files in a response of `sample_png`, in the order of the request.

    Raises:
        rest.ClientError: The response holds none, or other files.
    """
    found = tensors(response)
    if "image_bytes" not in found:
        raise rest.ClientError(
            f"the response holds {sorted(found)} and no image_bytes; ask for sample_png."
        )
    files = found["image_bytes"].ravel().tolist()
    rest.check_pngs(files)
    return files


def sample(
    server: str, model: str, seed: int, count: int, batch_size: int = 16, timeout: float = 60.0
) -> list[bytes]:
    """Returns the PNG files of `count` samples.

    Args:
        server: host and port, such as localhost:8500.
        model: the name under which the model is served.
        seed: sample i has the seed (seed, i).
        count: how many.
        batch_size: samples in one request; servers refuse more than their max_batch_size.
        timeout: seconds to wait for one answer.

    Raises:
        rest.ClientError: The server cannot be reached, refuses, or answers with something else; or
            a library is missing.
    """
    try:
        import grpc
        import numpy as np
        from tensorflow_serving.apis import prediction_service_pb2_grpc
    except ImportError as error:
        raise rest.ClientError(
            f"there is no module {error.name}; pip install tensorflow-serving-api."
        ) from None
    try:
        with grpc.insecure_channel(server) as channel:
            service = prediction_service_pb2_grpc.PredictionServiceStub(channel)

            def ask(seeds: list[tuple[int, int]]) -> list[bytes]:
                request = predict_request(model, "sample_png", seed=np.array(seeds, np.int32))
                return response_pngs(service.Predict(request, timeout))

            return rest.asked_in_batches(ask, seed, count, batch_size)
    except grpc.RpcError as error:
        said = (error.details() or "no reason given").splitlines()[0]
        raise rest.ClientError(f"{server} refuses with {error.code().name} ({said}).") from None


def main(argv: list[str] | None = None) -> int:
    """Runs the command line and returns the exit code."""
    return rest.run(sample, argv, "Samples over gRPC, as PNG files.", "localhost:8500")


if __name__ == "__main__":
    sys.exit(main())
