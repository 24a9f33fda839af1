"""Asks a TensorFlow Serving process for samples over REST and writes them as PNG files.

  python export/clients/rest.py smmd_digits --seed=7 --count=4 --folder=samples

Needs nothing but Python's standard library, and no other file. Sample i of seed s has the seed
(s, i), as everywhere in kgzoo: the same pictures as `model.sample(4, seed=7)`. Exit code 0: done;
1: the server or the disk refused; 2: wrong arguments.
"""

import argparse
import base64
import binascii
import http.client
import json
import os
import pathlib
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable

__all__ = [
    "ClientError",
    "asked_in_batches",
    "check_pngs",
    "main",
    "pngs",
    "request_body",
    "request_url",
    "run",
    "sample",
    "write",
]

_PNG = b"\x89PNG\r\n\x1a\n"


class ClientError(Exception):
    """What went wrong, in one sentence."""


def request_url(server: str, model: str) -> str:
    """Returns the URL that predicts; `server` is such as http://localhost:8501."""
    return f"{server.rstrip('/')}/v1/models/{urllib.parse.quote(model, safe='')}:predict"


def request_body(seeds: list[tuple[int, int]]) -> bytes:
    """Returns the JSON that asks for the PNG of every seed."""
    instances = [{"seed": list(seed)} for seed in seeds]
    return json.dumps({"signature_name": "sample_png", "instances": instances}).encode()


def pngs(reply: bytes) -> list[bytes]:
    """Returns the PNG files in a reply, in the order of the request.

    Raises:
        ClientError: The reply holds none, or other files.
    """
    try:
        predictions = json.loads(reply)["predictions"]
        files = [base64.b64decode(row["b64"], validate=True) for row in predictions]
    except (ValueError, KeyError, TypeError, binascii.Error):
        raise ClientError(
            f"the reply {reply[:80]!r} holds no pictures; ask a model of kgzoo."
        ) from None
    check_pngs(files)
    return files


def check_pngs(files: list[bytes]) -> None:
    """Raises a ClientError unless all files are PNG."""
    if not all(isinstance(file, bytes) and file.startswith(_PNG) for file in files):
        raise ClientError("the reply holds files that are no PNG; ask a model of kgzoo.")


def asked_in_batches(
    ask: Callable[[list[tuple[int, int]]], list[bytes]], seed: int, count: int, batch_size: int
) -> list[bytes]:
    """Returns the files of the seeds (seed, 0) .. (seed, count - 1).

    Args:
        ask: sends one request, for the seeds that it is given, and returns a file for each.
        seed: of all samples.
        count: how many.
        batch_size: seeds in one request.

    Raises:
        ClientError: An answer has more or fewer files than the request has seeds.
    """
    files = []
    for first in range(0, count, batch_size):
        seeds = [(seed, index) for index in range(first, min(first + batch_size, count))]
        answer = ask(seeds)
        if len(answer) != len(seeds):
            raise ClientError(
                f"the server sent {len(answer)} pictures for {len(seeds)} seeds; ask again."
            )
        files += answer
    return files


def sample(
    server: str, model: str, seed: int, count: int, batch_size: int = 16, timeout: float = 60.0
) -> list[bytes]:
    """Returns the PNG files of `count` samples.

    Args:
        server: such as http://localhost:8501.
        model: the name under which the model is served.
        seed: sample i has the seed (seed, i).
        count: how many.
        batch_size: samples in one request; servers refuse more than their max_batch_size.
        timeout: seconds to wait for one answer.

    Raises:
        ClientError: The server cannot be reached, or refuses, or answers with something else.
    """
    url = request_url(server, model)

    def ask(seeds: list[tuple[int, int]]) -> list[bytes]:
        return pngs(_post(url, request_body(seeds), timeout))

    return asked_in_batches(ask, seed, count, batch_size)


def _post(url: str, body: bytes, timeout: float) -> bytes:
    try:
        request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return answer.read()
    except urllib.error.HTTPError as error:
        said = error.read()
        try:
            said = str(json.loads(said)["error"])
        except (ValueError, KeyError, TypeError):
            said = error.reason
        first = (said.strip() or "no reason given").splitlines()[0]
        raise ClientError(f"{url} refuses with status {error.code} ({first}).") from None
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise ClientError(f"{url} gives no answer ({reason}); is the server up?") from None


def write(files: list[bytes], folder: pathlib.Path, model: str, seed: int) -> list[pathlib.Path]:
    """Writes <folder>/<model>_<seed>_<index>.png, each whole or not at all, and returns the paths.

    Raises:
        ClientError: The disk refuses.
    """
    paths = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for index, content in enumerate(files):
            path = folder / f"{model}_{seed}_{index}.png"
            temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
            temporary.write_bytes(content)
            os.replace(temporary, path)
            paths.append(path)
    except OSError as error:
        raise ClientError(f"{folder} cannot be written ({error.strerror}).") from None
    return paths


def _arguments(description: str, server: str) -> argparse.ArgumentParser:
    """Returns the command line of a client whose server is at `server` by default."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("model", help="the name under which the model is served: smmd_digits")
    parser.add_argument("--seed", type=_int32, default=0, help="sample i has the seed (seed, i)")
    parser.add_argument("--count", type=_positive, default=1, help="how many samples")
    parser.add_argument("--folder", type=pathlib.Path, default=pathlib.Path("."))
    parser.add_argument("--server", default=server, help=f"default: {server}")
    parser.add_argument("--batch_size", type=_positive, default=16, help="samples in one request")
    return parser


def _int32(text: str) -> int:
    value = int(text)
    if not -(2**31) <= value < 2**31:
        raise argparse.ArgumentTypeError(f"{text} is no 32-bit integer; give one such as 7")
    return value


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is below 1; give a number such as 4")
    return value


def run(ask, argv: list[str] | None, description: str, server: str) -> int:
    """Runs a client: asks by `ask(server, model, seed, count, batch_size)`, writes, complains."""
    asked = _arguments(description, server).parse_args(argv)
    try:
        files = ask(asked.server, asked.model, asked.seed, asked.count, asked.batch_size)
        for path in write(files, asked.folder, asked.model, asked.seed):
            print(path)
    except ClientError as error:
        print(f"{pathlib.Path(sys.argv[0]).name}: {error}", file=sys.stderr)
        return 1
    return 0


def main(argv: list[str] | None = None) -> int:
    """Runs the command line and returns the exit code."""
    return run(sample, argv, "Samples over REST, as PNG files.", "http://localhost:8501")


if __name__ == "__main__":
    sys.exit(main())
