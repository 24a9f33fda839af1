"""Ask an export everything that it answers, and print how to serve it.

  python examples/serve.py runs/smmd_digits/export/smmd_digits/1      an export
  python examples/serve.py                     trains a model of the digits first, 200 steps
  python examples/serve.py --quick             of four steps, in seconds

You see: each signature with what it takes and gives; that one row asked alone is answered as it is
in a batch; `sample.png`, drawn by the export itself; the lines that serve it by TensorFlow Serving,
and the clients that ask such a server.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import tensorflow as tf

from kgzoo import config, main, serving

CLIENTS = Path(__file__).resolve().parent.parent / "export" / "clients"
ROWS = 3


def trained(quick: bool) -> Path:
    """Trains smmd on the digits, or finds it trained; returns its export."""
    workdir = Path("runs") / ("serve_quick" if quick else "serve")
    settings = config.QUICK if quick else {"steps": 200, "sample_every_steps": 200}
    line = [f"--config.{field}={value}" for field, value in settings.items()]
    code = main.main(["kgzoo", f"--workdir={workdir}", *line])
    if code:
        raise SystemExit(code)
    return workdir / json.loads((workdir / "result.json").read_text())["export"]


def requests(signatures) -> dict[str, dict[str, tf.Tensor]]:
    """Returns a request of `ROWS` rows for each signature, by name.

    What `sample` gives is what the others take: latents, and images or, for vector data, samples.
    """
    seeds = tf.constant([[7, row] for row in range(ROWS)])
    known = {"seed": seeds, **signatures["sample"](seed=seeds)}
    found = {}
    for name, signature in signatures.items():
        specs = signature.structured_input_signature[1]
        found[name] = {key: known.get(key, _filled(spec, known)) for key, spec in specs.items()}
    return found


def _filled(spec: tf.TensorSpec, known: dict[str, tf.Tensor]) -> tf.Tensor:
    """Returns latents where a tensor has their shape, else halves of 1 or of 20 steps."""
    shape = [ROWS, *spec.shape[1:]]
    if shape == known["latents"].shape.as_list() and spec.dtype == known["latents"].dtype:
        return tf.reverse(known["latents"], axis=[0])
    return tf.cast(tf.fill(shape, 10.0 if spec.dtype.is_integer else 0.5), spec.dtype)


def ask(signature, request: dict[str, tf.Tensor]) -> tuple[dict[str, tf.Tensor], float]:
    """Returns the answer, and how far its first row is from the answer to the first row alone."""
    answer = signature(**request)
    alone = signature(**{key: values[:1] for key, values in request.items()})
    numbers = [key for key in answer if answer[key].dtype.is_floating]
    gaps = [float(np.max(np.abs(alone[key] - answer[key][:1]))) for key in numbers]
    return answer, max(gaps, default=0.0)


def described(tensors: dict[str, tf.Tensor]) -> str:
    """Returns the keys with shapes and types."""
    parts = (
        f"{key} {values.shape.as_list()} {values.dtype.name}" for key, values in tensors.items()
    )
    return ", ".join(parts)


def example() -> None:
    """Runs the example."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("export", nargs="?", type=Path, help="<name>/<version> of an export")
    parser.add_argument("--quick", action="store_true", help="four steps of training")
    arguments = parser.parse_args()
    if arguments.export and not (arguments.export / "saved_model.pb").is_file():
        parser.error(f"{arguments.export} holds no saved_model.pb; give <name>/<version>.")
    path = arguments.export or trained(arguments.quick)
    # The signatures hold the model only as long as this variable does.
    loaded = tf.saved_model.load(str(path))
    for name, request in requests(loaded.signatures).items():
        answer, gap = ask(loaded.signatures[name], request)
        print(f"{name}: {described(request)}\n  -> {described(answer)}")
        print(f"  a row alone is answered as in a batch, to {gap:.1g}")
        if "image_bytes" in answer:
            Path("sample.png").write_bytes(answer["image_bytes"].numpy()[0])
            print("  wrote sample.png")
    print(f"To serve it:\n{serving.serving_command(path)}")
    clients = sorted(file.name for file in CLIENTS.glob("*") if file.suffix in (".py", ".sh"))
    if clients:
        print(f"Clients in {CLIENTS.name}/ beside it: {', '.join(clients)}")


if __name__ == "__main__":
    example()
