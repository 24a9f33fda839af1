"""The clients and settings of export/: against an export behind loopback servers, and the real one.

The servers of these tests speak TensorFlow Serving's REST and gRPC as documented and ask the
export's signatures; `ModelServerTest` runs TensorFlow Serving itself where it is installed.
"""

import base64
import concurrent.futures
import contextlib
import http.server
import importlib
import io
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import urllib.request
from unittest import mock

import grpc
import keras
import numpy as np
import tensorflow as tf
import yaml
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format
from PIL import Image
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc
from tensorflow_serving.config import model_server_config_pb2

from kgzoo import serving
from kgzoo.errors import UserError
from kgzoo.methods.gan import GAN
from kgzoo.serving import repository

EXPORT = pathlib.Path(__file__).resolve().parent.parent / "export"
NAME = "gan_test"
CARD = serving.ModelCard(method="gan", paper="a paper", data={"name": "noise"}, steps=1, seed=0)
MODEL_SERVER = shutil.which("tensorflow_model_server")


def client(name):
    """Imports a client as its command line would find it."""
    folder = str(EXPORT / "clients")
    if folder not in sys.path:
        sys.path.insert(0, folder)
    return importlib.import_module(name)


def make_model():
    keras.utils.set_random_seed(0)
    generator = keras.Sequential(
        [
            keras.Input([3]),
            keras.layers.Dense(60, activation="sigmoid"),
            keras.layers.Reshape([5, 4, 3]),
        ]
    )
    critic = keras.Sequential(
        [keras.Input([5, 4, 3]), keras.layers.Flatten(), keras.layers.Dense(1)]
    )
    return GAN(generator, critic)


def pixels(png):
    return np.asarray(Image.open(io.BytesIO(png)), np.float32)


class Server(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Answers REST and gRPC on loopback ports from the signatures of an export."""

    def __init__(self, signatures):
        self.signatures, self.requests = signatures, []
        handler = type("Handler", (_Handler,), {"owner": self})
        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=self.http.serve_forever, daemon=True).start()
        self.rest = f"http://127.0.0.1:{self.http.server_port}"
        self.rpc = grpc.server(concurrent.futures.ThreadPoolExecutor(2))
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(self, self.rpc)
        self.grpc = f"127.0.0.1:{self.rpc.add_insecure_port('127.0.0.1:0')}"
        self.rpc.start()

    def close(self):
        self.http.shutdown()
        self.http.server_close()
        self.rpc.stop(None).wait()

    def predict(self, signature, inputs):
        self.requests.append((signature, {key: value.shape for key, value in inputs.items()}))
        answer = self.signatures[signature](**{k: tf.constant(v) for k, v in inputs.items()})
        return {key: value.numpy() for key, value in answer.items()}

    def Predict(self, request, context):  # noqa: N802 - the service's name
        if request.model_spec.name != NAME:
            context.abort(grpc.StatusCode.NOT_FOUND, f"Servable {request.model_spec.name} unknown")
        inputs = {key: tf.make_ndarray(value) for key, value in request.inputs.items()}
        response = predict_pb2.PredictResponse(model_spec=request.model_spec)
        for key, value in self.predict(request.model_spec.signature_name, inputs).items():
            response.outputs[key].CopyFrom(tf.make_tensor_proto(value))
        return response


class _Handler(http.server.BaseHTTPRequestHandler):
    """The row format of TensorFlow Serving's REST interface, for requests of one int32 tensor."""

    owner = None

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path != f"/v1/models/{NAME}:predict":
            return self.answer(404, {"error": f"Servable not found for request: {self.path}"})
        seed = np.array([row["seed"] for row in asked["instances"]], np.int32)
        files = self.owner.predict(asked["signature_name"], {"seed": seed})["image_bytes"]
        rows = [{"b64": base64.b64encode(file).decode()} for file in files]
        return self.answer(200, {"predictions": rows})

    def answer(self, status, content):
        body = json.dumps(content, indent=4).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Exported:
    """An export, loaded."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        temporary = tempfile.TemporaryDirectory()
        cls.addClassCleanup(temporary.cleanup)
        cls.folder = pathlib.Path(temporary.name)
        cls.model = make_model()
        cls.path = serving.export_model(cls.model, cls.folder / "export", NAME, CARD)
        cls.loaded = tf.saved_model.load(str(cls.path))
        cls.images = cls.model.sample(5, seed=7)

    def assert_the_samples(self, files, images=None):
        """Half a level for rounding, a little for float32."""
        images = self.images if images is None else images
        self.assertEqual(len(files), len(images))
        for file, image in zip(files, images, strict=True):
            self.assertAllClose(pixels(file), 255.0 * image, rtol=0, atol=0.502)


class ClientsTest(Exported, tf.test.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.server = Server(cls.loaded.signatures)
        cls.addClassCleanup(cls.server.close)

    def run_main(self, module, *line):
        out, error = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
            try:
                code = module.main([str(word) for word in line])
            except SystemExit as exit_:
                code = exit_.code
        return code, out.getvalue(), error.getvalue()

    def test_requests_and_responses_without_a_server(self):
        grpc_client, seeds = client("grpc_client"), np.array([[7, 0], [7, 1]], np.int32)
        request = grpc_client.predict_request(NAME, "sample_png", seed=seeds)
        request = predict_pb2.PredictRequest.FromString(request.SerializeToString())
        self.assertEqual(request.model_spec.name, NAME)
        inputs = {k: tf.constant(tf.make_ndarray(v)) for k, v in request.inputs.items()}
        answer = self.loaded.signatures[request.model_spec.signature_name](**inputs)
        response = predict_pb2.PredictResponse()
        for key, value in answer.items():
            response.outputs[key].CopyFrom(tf.make_tensor_proto(value.numpy()))
        response = predict_pb2.PredictResponse.FromString(response.SerializeToString())
        self.assert_the_samples(grpc_client.response_pngs(response), self.images[:2])

    def test_every_signature_goes_through_a_request(self):
        grpc_client, image = client("grpc_client"), self.images[:1]
        latents = np.zeros([1, 3], np.float32)
        for name, inputs in (
            ("sample_truncated", {"seed": np.int32([[7, 0]]), "truncation": np.float32([0.5])}),
            ("nearest_latent", {"images": image, "steps": np.int32([2])}),
            (
                "interpolate_spherical",
                {"start": latents, "end": latents, "fraction": np.float32([0.5])},
            ),
        ):
            request = grpc_client.predict_request(NAME, name, **inputs)
            response = self.server.Predict(request, None)
            found = grpc_client.tensors(response)
            expected = self.loaded.signatures[name](
                **{k: tf.constant(v) for k, v in inputs.items()}
            )
            self.assertCountEqual(found, expected)
            for key, value in expected.items():
                self.assertAllClose(found[key], value)
        with self.assertRaisesRegex(client("rest").ClientError, "ask for sample_png"):
            grpc_client.response_pngs(response)

    def test_both_clients_write_the_samples(self):
        for name, server in (("rest", self.server.rest), ("grpc_client", self.server.grpc)):
            folder = self.folder / name
            self.server.requests.clear()
            line = [NAME, "--seed=7", "--count=5", f"--folder={folder}", f"--server={server}"]
            code, out, error = self.run_main(client(name), *line, "--batch_size=2")
            self.assertEqual((code, error), (0, ""))
            paths = [folder / f"{NAME}_7_{index}.png" for index in range(5)]
            self.assertEqual(out.split(), [str(path) for path in paths])
            self.assert_the_samples([path.read_bytes() for path in paths])
            self.assertEqual([shape["seed"][0] for _, shape in self.server.requests], [2, 2, 1])
            self.assertEqual(len(list(folder.iterdir())), 5)

    def test_both_clients_complain_in_one_sentence(self):
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            nobody = f"127.0.0.1:{unused.getsockname()[1]}"
            for name, server, words in (
                ("rest", self.server.rest, "refuses with status 404 .*not found"),
                ("grpc_client", self.server.grpc, "refuses with NOT_FOUND .*unknown"),
                ("rest", f"http://{nobody}", "gives no answer"),
                ("rest", "nowhere", "gives no answer"),
                ("grpc_client", nobody, "refuses with UNAVAILABLE"),
            ):
                code, out, error = self.run_main(client(name), "other", f"--server={server}")
                self.assertEqual((code, out), (1, ""))
                self.assertRegex(error, words)
                self.assertEqual(error.count("\n"), 1)
        for line in (["--seed=2147483648"], ["--count=0"], []):
            code, _, error = self.run_main(client("rest"), *line, *([NAME] if line else []))
            self.assertEqual(code, 2, error)
        (self.folder / "file").write_text("")
        line = [NAME, f"--server={self.server.rest}", f"--folder={self.folder / 'file'}"]
        code, _, error = self.run_main(client("rest"), *line)
        self.assertEqual(code, 1)
        self.assertIn("cannot be written (File exists)", error)

    def test_a_server_that_loses_or_adds_a_picture(self):
        right = self.server.predict
        for change, words in (
            (lambda files: files[:-1], "sent 1 pictures for 2 seeds"),
            (lambda files: np.concatenate([files, files]), "sent 4 pictures for 2 seeds"),
            (lambda files: np.array([b"GIF89a"] * len(files), object), "no PNG"),
        ):
            self.server.predict = lambda signature, inputs, change=change: {
                "image_bytes": change(right(signature, inputs)["image_bytes"])
            }
            try:
                for name, server in (("rest", self.server.rest), ("grpc_client", self.server.grpc)):
                    # Where two requests together are as many as the seeds, each is wrong still.
                    with self.assertRaisesRegex(client("rest").ClientError, words):
                        client(name).sample(server, NAME, 7, 4, batch_size=2)
            finally:
                self.server.predict = right

    def test_copies_work_without_kgzoo(self):
        """As a stranger has them: files in a folder, away from the project."""

        def run(*line):
            command = [sys.executable, *line]
            environment = {**os.environ, "PYTHONPATH": "", "TF_CPP_MIN_LOG_LEVEL": "3"}
            return subprocess.run(
                command, capture_output=True, text=True, cwd=folder, env=environment
            )

        folder = self.folder / "copies"
        folder.mkdir()
        alone = shutil.copy(EXPORT / "clients" / "grpc_client.py", folder)
        done = run(alone, NAME)
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertRegex(done.stderr, r"copy export/clients/rest\.py beside this file\.\n$")
        shutil.copy(EXPORT / "clients" / "rest.py", folder)
        for script, server in (("rest.py", self.server.rest), ("grpc_client.py", self.server.grpc)):
            out = folder / script[:-3]
            done = run(script, NAME, "--seed=7", f"--server={server}", f"--folder={out}")
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assert_the_samples([(out / f"{NAME}_7_0.png").read_bytes()], self.images[:1])

    def test_a_reply_of_another_kind(self):
        rest = client("rest")
        for reply in (b"<html>", b"{}", b'{"predictions": [[1, 2]]}', b'{"predictions": 3}'):
            with self.assertRaisesRegex(rest.ClientError, "holds no pictures"):
                rest.pngs(reply)
        with self.assertRaisesRegex(rest.ClientError, "no PNG"):
            rest.pngs(b'{"predictions": [{"b64": "AAAA"}]}')

    @unittest.skipUnless(shutil.which("curl"), "there is no curl on the PATH")
    def test_the_shell_client(self):
        def run(*line):
            script = ["sh", EXPORT / "clients" / "sample.sh"]
            return subprocess.run([*script, *line], capture_output=True, text=True)

        out = self.folder / "shell.png"
        done = run(NAME, "007", out, self.server.rest)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assert_the_samples([out.read_bytes()], self.images[:1])
        for code, words, line in (
            (2, "usage", ("one",)),
            (2, "SEED '7x' is not", (NAME, "7x", out)),
            (2, "SEED '2147483648' is not", (NAME, "2147483648", out)),
            (2, "SEED '99999999999' is not", (NAME, "99999999999", out)),
            (1, "refuses .*not found", ("other", "7", out, self.server.rest)),
            (1, "gives no answer", (NAME, "7", out, "http://127.0.0.1:1")),
            (1, "cannot be written", (NAME, "7", self.folder / "no" / "x.png", self.server.rest)),
        ):
            done = run(*line)
            self.assertEqual((done.returncode, done.stdout), (code, ""), done.stderr)
            self.assertRegex(done.stderr, words)
            self.assertEqual(done.stderr.count("\n"), 1)
        self.assertEqual(list(self.folder.glob("*.tmp")), [])

    def test_the_table_is_that_of_the_export(self):
        """Names and keys of export/README.md, as TensorFlow lists the signatures."""
        table = re.findall(
            r"^\| `(\w+)` \| (.*) \| (.*) \|$", (EXPORT / "README.md").read_text(), re.MULTILINE
        )
        stated = {
            name: (re.findall(r"`(\w+)`", request), re.findall(r"`(\w+)`", response))
            for name, request, response in table
        }
        self.assertCountEqual(stated, self.loaded.signatures)
        for name, signature in self.loaded.signatures.items():
            request, response = stated[name]
            self.assertCountEqual(request, signature.structured_input_signature[1], name)
            self.assertCountEqual(response, signature.structured_outputs, name)


@unittest.skipUnless(MODEL_SERVER, "there is no tensorflow_model_server on the PATH")
class ModelServerTest(Exported, tf.test.TestCase):
    """TensorFlow Serving itself, with the settings of export/, on loopback ports."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        with socket.socket() as one, socket.socket() as two:
            for each in (one, two):
                each.bind(("127.0.0.1", 0))
            rpc, rest = one.getsockname()[1], two.getsockname()[1]
        cls.rest, cls.grpc = f"http://127.0.0.1:{rest}", f"127.0.0.1:{rpc}"
        root = cls.folder / "export"
        config = repository.models_config(repository.model_names(root), str(root))
        (root / "models.config").write_text(config)
        log = cls.enterClassContext(open(cls.folder / "log", "w"))
        process = subprocess.Popen(
            [
                MODEL_SERVER,
                f"--port={rpc}",
                f"--rest_api_port={rest}",
                f"--model_config_file={root / 'models.config'}",
                "--enable_batching=true",
                f"--batching_parameters_file={EXPORT / 'batching.config'}",
                f"--monitoring_config_file={EXPORT / 'monitoring.config'}",
            ],
            stdout=log,
            stderr=log,
        )
        cls.addClassCleanup(process.wait)
        cls.addClassCleanup(process.terminate)
        for _ in range(120):
            with contextlib.suppress(OSError):
                with urllib.request.urlopen(f"{cls.rest}/v1/models/{NAME}", timeout=5) as answer:
                    if b'"AVAILABLE"' in answer.read():
                        return
            if process.poll() is not None:
                break
            time.sleep(1)
        raise AssertionError((cls.folder / "log").read_text()[-4000:])

    def test_rest_and_grpc(self):
        for name, server in (("rest", self.rest), ("grpc_client", self.grpc)):
            self.assert_the_samples(client(name).sample(server, NAME, 7, 5, batch_size=2))

    def test_monitoring(self):
        with urllib.request.urlopen(f"{self.rest}/monitoring/prometheus/metrics") as answer:
            self.assertIn(b"tensorflow", answer.read())


def settings_messages():
    """Messages of TensorFlow Serving that its Python package leaves out.

    Transcribed from tensorflow_serving/servables/tensorflow/session_bundle_config.proto and
    tensorflow_serving/config/monitoring_config.proto: name, number and type of the fields.
    """
    int64, text = ".google.protobuf.Int64Value", ".google.protobuf.StringValue"
    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name="kgzoo_tests/serving_settings.proto",
        package="kgzoo_tests",
        syntax="proto3",
        dependency=["google/protobuf/wrappers.proto"],
    )
    for message, fields in {
        "BatchingParameters": (
            *(("max_batch_size", 1, int64), ("batch_timeout_micros", 2, int64)),
            *(("max_enqueued_batches", 3, int64), ("num_batch_threads", 4, int64)),
            *(("thread_pool_name", 5, text), ("allowed_batch_sizes", 6, kinds.TYPE_INT64)),
            ("pad_variable_length_inputs", 7, kinds.TYPE_BOOL),
        ),
        "PrometheusConfig": (("enable", 1, kinds.TYPE_BOOL), ("path", 2, kinds.TYPE_STRING)),
        "MonitoringConfig": (("prometheus_config", 1, ".kgzoo_tests.PrometheusConfig"),),
    }.items():
        made = file.message_type.add(name=message)
        for name, number, kind in fields:
            field = made.field.add(name=name, number=number, label=kinds.LABEL_OPTIONAL)
            if isinstance(kind, str):
                field.type, field.type_name = kinds.TYPE_MESSAGE, kind
            else:
                field.type = kind
            if name == "allowed_batch_sizes":
                field.label = kinds.LABEL_REPEATED
    pool = descriptor_pool.Default()
    with contextlib.suppress(KeyError):
        pool.FindFileByName(file.name)
        return message_factory.GetMessages([file], pool)
    return message_factory.GetMessages([file], pool)


class SettingsTest(tf.test.TestCase):
    def parsed(self, file, message):
        text = (EXPORT / file).read_text(encoding="utf-8")
        return text_format.Parse(text, settings_messages()[f"kgzoo_tests.{message}"]())

    def test_batching(self):
        found = self.parsed("batching.config", "BatchingParameters")
        default = client("rest")._arguments("", "").parse_args(["x"]).batch_size
        # A larger request is refused by the server.
        self.assertLessEqual(default, found.max_batch_size.value)
        self.assertGreaterEqual(found.num_batch_threads.value, 1)
        self.assertGreater(found.batch_timeout_micros.value, 0)
        # Were sizes given, requests would be padded: nothing here needs it.
        self.assertEqual(list(found.allowed_batch_sizes), [])
        with self.assertRaises(text_format.ParseError):
            text_format.Parse("max_batch: 3", type(found)())

    def test_monitoring(self):
        found = self.parsed("monitoring.config", "MonitoringConfig").prometheus_config
        self.assertTrue(found.enable)
        self.assertEqual(found.path, "/monitoring/prometheus/metrics")

    def test_compose(self):
        found = yaml.safe_load((EXPORT / "compose.yaml").read_text(encoding="utf-8"))
        (service,) = found["services"].values()
        self.assertEqual(service["image"], "tensorflow/serving")
        # Nobody but this machine: the server asks for no password.
        self.assertEqual(service["ports"], ["127.0.0.1:8500:8500", "127.0.0.1:8501:8501"])
        self.assertEqual(service["volumes"], [".:/models:ro"])
        options = dict(option.removeprefix("--").split("=") for option in service["command"])
        files = [value for value in options.values() if value.startswith("/models/")]
        self.assertLen(files, 3)
        for file in files:
            self.assertTrue((EXPORT / pathlib.Path(file).name).is_file(), file)
        self.assertEqual(options["enable_batching"], "true")


class RepositoryTest(tf.test.TestCase):
    def test_models_config_lists_what_is_here(self):
        text = (EXPORT / "models.config").read_text(encoding="utf-8")
        config = text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
        entries = config.model_config_list.config
        names = [entry.name for entry in entries]
        self.assertEqual(text, repository.models_config(names))
        self.assertGreaterEqual(len(names), 16)
        # There may be others of one's own beside them.
        self.assertLessEqual(set(names), set(repository.model_names(EXPORT)))
        # The server refuses relative paths.
        self.assertEqual([entry.base_path for entry in entries], [f"/models/{n}" for n in names])
        self.assertEqual({entry.model_platform for entry in entries}, {"tensorflow"})

    def test_a_model_is_a_folder_with_a_version(self):
        folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        with self.assertRaisesRegex(UserError, "holds no export"):
            repository.write_models_config(folder)
        with self.assertRaisesRegex(UserError, "none is not a folder; give"):
            repository.write_models_config(folder / "none")
        denied = PermissionError(13, "Permission denied", "here/it")
        with mock.patch.object(pathlib.Path, "iterdir", side_effect=denied):
            with self.assertRaisesRegex(UserError, r"here/it cannot be read \(Permission denied\)"):
                repository.write_models_config(folder)
        for file in ("b/12/saved_model.pb", "a/1/saved_model.pb", "c/x/saved_model.pb", "d/1/x"):
            (folder / file).parent.mkdir(parents=True)
            (folder / file).touch()
        (folder / "e").touch()
        self.assertEqual(repository.model_names(folder), ["a", "b"])
        # As a server reads it, version 7.
        (folder / "c" / "007").mkdir()
        (folder / "c" / "007" / "saved_model.pb").touch()
        self.assertEqual(repository.model_names(folder), ["a", "b", "c"])
        shutil.rmtree(folder / "c" / "007")
        self.assertEqual(repository.model_names(folder / "none"), [])
        path = repository.write_models_config(folder, mount=os.fspath(folder))
        config = model_server_config_pb2.ModelServerConfig()
        text_format.Parse(path.read_text(), config)
        paths = [entry.base_path for entry in config.model_config_list.config]
        self.assertEqual(paths, [f"{folder}/a", f"{folder}/b"])

    def test_the_command(self):
        def run(*line):
            # A TensorFlow that fails stands before the real one.
            (folder / "tensorflow.py").write_text("raise SystemExit(9)")
            paths = {"PYTHONPATH": os.pathsep.join([str(folder), str(EXPORT.parent)])}
            return subprocess.run(
                [sys.executable, "-m", "kgzoo.serving.repository", *line],
                **{"capture_output": True, "text": True, "cwd": folder},
                env={**os.environ, **paths},
            )

        folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        done = run("--help")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn("usage: python -m kgzoo.serving.repository", done.stdout)
        self.assertIn("models.config", done.stdout)
        for line, words in (([], "export is not a folder"), (["."], ". holds no export; make")):
            done = run(*line)
            self.assertEqual((done.returncode, done.stdout), (2, ""))
            self.assertStartsWith(done.stderr, f"repository: {words}")
            self.assertEqual(done.stderr.count("\n"), 1)
        (folder / "a" / "1").mkdir(parents=True)
        (folder / "a" / "1" / "saved_model.pb").touch()
        self.assertEqual(run(".").stdout, "models.config\n")
        self.assertIn('"/models/a"', (folder / "models.config").read_text())


if __name__ == "__main__":
    tf.test.main()
