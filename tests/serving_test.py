"""Exports: signatures equal Python, versions are whole, warm-up replays, the card is true."""

import dataclasses
import io
import json
import os
import pathlib
import shlex
import tempfile
import threading
from unittest import mock

import keras
import numpy as np
import tensorflow as tf
from PIL import Image
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import prediction_log_pb2

from kgzoo import serving
from kgzoo.errors import UserError
from kgzoo.methods import latent_paths
from kgzoo.methods.gan import GAN
from kgzoo.methods.smmd import SMMD
from kgzoo.serving import export, signatures, versions, warmup

LATENT_DIM, IMAGE_SHAPE, OUTPUT_DIM = 5, (6, 4, 3), 2
CARD = serving.ModelCard(
    method="smmd",
    paper="A. Author (2018), [a paper](https://example.org/paper)",
    data={"name": "noise", "split": "train", "modes": list(range(100)), "made": {"by": "a test"}},
    steps=1234,
    seed=3,
    summary="A model made for a test.",
    scores={
        "kid": {
            "value": 0.25,
            "std": 0.0012345678,
            "convention": "unbiased",
            "num_samples": 64,
            "extractor": "random_conv",
        },
        "class_shares": {"value": [0.5, 0.25, 0.25], "num_samples": 64},
        "untrained": {"kid": {"value": None}},
        "extractor": {"name": "random_conv"},
    },
    command="python -m kgzoo.main --method=smmd",
)


def image_model(cls=SMMD):
    """A method with moving statistics, an average apart from its generator, and optimizer slots."""
    keras.utils.set_random_seed(0)
    generator = keras.Sequential(
        [
            keras.Input([LATENT_DIM]),
            keras.layers.Dense(3 * 2 * 4),
            keras.layers.BatchNormalization(),
            keras.layers.Reshape([3, 2, 4]),
            keras.layers.Conv2DTranspose(IMAGE_SHAPE[-1], 4, 2, "same", activation="tanh"),
        ],
        name="generator",
    )
    critic = keras.Sequential(
        [
            keras.Input(IMAGE_SHAPE),
            keras.layers.Conv2D(4, 3, 2, "same", activation="tanh"),
            keras.layers.Flatten(),
            keras.layers.Dense(OUTPUT_DIM),
        ],
        name="critic",
    )
    model = cls(
        generator, critic, image_range=(-1.0, 1.0), ema_half_life_images=100.0, batch_size=8
    )
    model.compile()
    real = np.random.default_rng(1).random([8, *IMAGE_SHAPE]).astype(np.float32)
    for _ in range(2):
        model.train_step(real)
    return model


def vector_model():
    keras.utils.set_random_seed(0)
    generator = keras.Sequential([keras.Input([LATENT_DIM]), keras.layers.Dense(2)])
    critic = keras.Sequential([keras.Input([2]), keras.layers.Dense(1)])
    return GAN(generator, critic, kind="vector", latent_distribution="normal")


def requests(n):
    """Legal requests of n rows for every signature of `image_model`."""
    random = np.random.default_rng(n)

    def uniform(*shape):
        return tf.constant(random.uniform(0, 1, [n, *shape]), tf.float32)

    seed = tf.constant(random.integers(-(2**31), 2**31, [n, 2]), tf.int32)
    images = uniform(*IMAGE_SHAPE)
    ends = {"start": uniform(LATENT_DIM), "end": uniform(LATENT_DIM), "fraction": uniform()}
    return {
        "serving_default": {"latents": 2.0 * uniform(LATENT_DIM) - 1.0},
        "sample": {"seed": seed},
        "sample_png": {"seed": seed},
        "interpolate": ends,
        "latents": {"seed": seed},
        "sample_truncated": {"seed": seed, "truncation": uniform()},
        "interpolate_linear": ends,
        "interpolate_spherical": ends,
        "nearest_latent": {"images": images, "steps": tf.range(n)},
        "critic_features": {"images": images},
    }


def decode_png(image_bytes):
    return np.stack([np.asarray(Image.open(io.BytesIO(png))) for png in image_bytes.numpy()])


class ExportTest(tf.test.TestCase):
    """One export of an image model, looked at from all sides."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        temporary = tempfile.TemporaryDirectory()
        cls.addClassCleanup(temporary.cleanup)
        cls.root = pathlib.Path(temporary.name)
        cls.model = image_model()
        cls.path = serving.export_model(cls.model, cls.root, "smmd_test", CARD)
        cls.loaded = tf.saved_model.load(str(cls.path))

    def ask(self, name, **request):
        return self.loaded.signatures[name](**request)

    def test_holds_the_files(self):
        self.assertEqual(self.path, self.root / "smmd_test" / "1")
        for name in (
            *("saved_model.pb", "variables/variables.index", "MODEL_CARD.md", "samples.png"),
            *("model.keras", "assets.extra/tf_serving_warmup_requests"),
        ):
            self.assertTrue((self.path / name).is_file(), name)

    def test_names_every_request_and_response(self):
        keys = {
            name: (set(f.structured_input_signature[1]), set(f.structured_outputs))
            for name, f in self.loaded.signatures.items()
        }
        self.assertEqual(
            keys,
            {
                "serving_default": ({"latents"}, {"images"}),
                "sample": ({"seed"}, {"images", "latents"}),
                "sample_png": ({"seed"}, {"image_bytes"}),
                "latents": ({"seed"}, {"latents"}),
                "sample_truncated": ({"seed", "truncation"}, {"images", "latents"}),
                "interpolate": ({"start", "end", "fraction"}, {"images"}),
                "interpolate_linear": ({"start", "end", "fraction"}, {"images"}),
                "interpolate_spherical": ({"start", "end", "fraction"}, {"images"}),
                "nearest_latent": ({"images", "steps"}, {"latents", "distances"}),
                "critic_features": ({"images"}, {"features"}),
            },
        )
        self.assertEqual(export.signature_names(self.path), sorted(keys))

    def test_every_tensor_has_a_free_leading_axis(self):
        saved_model = saved_model_pb2.SavedModel.FromString(
            (self.path / "saved_model.pb").read_bytes()
        )
        definitions = saved_model.meta_graphs[0].signature_def
        for name in self.loaded.signatures:
            tensors = [*definitions[name].inputs.values(), *definitions[name].outputs.values()]
            for tensor in tensors:
                sizes = [dim.size for dim in tensor.tensor_shape.dim]
                self.assertEqual(sizes[0], -1, name)
                self.assertNotIn(-1, sizes[1:], name)

    def test_equals_python_at_any_batch_size(self):
        for n in (1, 2, 7):
            request = requests(n)
            samples, latents = self.model.sample_from_seeds(request["sample"]["seed"])
            start, end = request["interpolate"]["start"], request["interpolate"]["end"]
            fraction = request["interpolate"]["fraction"][:, None]
            expected = {
                "serving_default": {
                    "images": self.model.decode(request["serving_default"]["latents"])
                },
                "sample": {"images": samples, "latents": latents},
                "interpolate": {
                    "images": self.model.decode((1 - fraction) * start + fraction * end)
                },
                "critic_features": {
                    "features": self.model.critic_features(request["critic_features"]["images"])
                },
            }
            for name, values in expected.items():
                answer = self.ask(name, **request[name])
                for key, value in values.items():
                    self.assertEqual(answer[key].dtype, tf.float32)
                    self.assertEqual(answer[key].shape[0], n)
                    self.assertAllClose(answer[key], value, rtol=0, atol=1e-5)
            pixels = decode_png(self.ask("sample_png", **request["sample_png"])["image_bytes"])
            self.assertEqual(pixels.shape, (n, *IMAGE_SHAPE))
            # Half a level for rounding, a little for float32.
            self.assertAllClose(pixels / 255.0, samples, rtol=0, atol=0.502 / 255)

    def test_answers_an_empty_batch(self):
        for name, request in requests(0).items():
            for value in self.ask(name, **request).values():
                self.assertEqual(value.shape[0], 0, name)

    def test_images_are_in_the_unit_range(self):
        images = self.ask("sample", **requests(7)["sample"])["images"]
        self.assertAllInRange(images, 0.0, 1.0)
        self.assertGreater(np.ptp(images.numpy()), 0.1)

    def test_a_row_depends_on_its_seed_alone(self):
        seed = requests(7)["sample"]["seed"]
        together = self.ask("sample", seed=seed)
        for row in range(7):
            alone = self.ask("sample", seed=seed[row : row + 1])
            self.assertAllEqual(alone["latents"][0], together["latents"][row])
            self.assertAllClose(alone["images"][0], together["images"][row], rtol=0, atol=1e-6)
        backwards = self.ask("sample", seed=seed[::-1])
        self.assertAllEqual(backwards["latents"][::-1], together["latents"])
        changed = self.ask("sample", seed=seed + tf.constant([0, 1]))
        self.assertNotAllClose(changed["latents"], together["latents"])

    def test_saves_what_inference_reads_and_nothing_else(self):
        listed = tf.train.list_variables(str(self.path / "variables" / "variables"))
        saved = [shape for name, shape in listed if name.endswith("/.ATTRIBUTES/VARIABLE_VALUE")]
        networks = self.model.generator.weights + self.model.critic.weights
        self.assertCountEqual(
            [tuple(shape) for shape in saved], [tuple(weight.shape) for weight in networks]
        )

    def test_warm_up_replays(self):
        records = tf.data.TFRecordDataset(str(self.path / warmup.WARMUP_FILE))
        seen = []
        for record in records.as_numpy_iterator():
            request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
            self.assertEqual(request.model_spec.name, "smmd_test")
            tensors = {
                key: tf.constant(tf.make_ndarray(value)) for key, value in request.inputs.items()
            }
            name = request.model_spec.signature_name
            for value in self.ask(name, **tensors).values():
                seen.append((name, int(value.shape[0])))
                if value.dtype == tf.float32:
                    self.assertAllInSet(tf.math.is_finite(value), [True])
        self.assertEqual(set(seen), {(name, n) for name in self.loaded.signatures for n in (1, 2)})

    def test_the_preset_goes_on_training(self):
        model = keras.saving.load_model(self.path / "model.keras")
        self.assertAllClose(model.sample(3, seed=5), self.model.sample(3, seed=5))
        optimizer, trained = (m.optimizers["generator"] for m in (model, self.model))
        self.assertEqual(optimizer.get_config(), trained.get_config())
        # The settings, not the slots, which would make it three times as large.
        self.assertEqual((int(optimizer.iterations), int(trained.iterations)), (0, 2))

    def test_the_card_tells_what_the_run_knows(self):
        text = (self.path / "MODEL_CARD.md").read_text(encoding="utf-8")
        for words in (
            *("# smmd_test, version 1", CARD.summary, CARD.paper, CARD.command, "samples.png"),
            *("1,234", "| seed | 3 |", "| data: split | train |", "| data: made.by | a test |"),
            "| kid | 0.25 (std 0.0012346) | 64 |  | random_conv | unbiased |",
            "| class_shares | 0.5, 0.25, 0.25 | 64 |  |  |  |",
            *("| untrained.kid | none |", "| extractor.name | random_conv |"),
            *(
                "| data: modes | 100 values |",
                "| sample_png | `seed` [n, 2] int32 | `image_bytes` [n] string |",
            ),
            *("kgzoo.load(", "`interpolate` is linear"),
            f"| generator | {self.model.generator.count_params()} |",
            f"| critic | {self.model.critic.count_params()} |",
        ):
            self.assertIn(words, text)
        self.assertNotIn(str(self.root), text)

    def test_the_picture_shows_samples(self):
        pixels = np.asarray(Image.open(self.path / "samples.png"))
        self.assertGreater(np.ptp(pixels), 25)

    def test_the_serving_lines_fit_the_export(self):
        serve, ask, c_program = serving.serving_command(self.path).splitlines()
        self.assertIn(f"--model_base_path={self.path.parent.resolve()}", shlex.split(serve))
        self.assertIn("--model_name=smmd_test", shlex.split(serve))
        request = json.loads(shlex.split(ask)[-1])
        self.assertEqual(request["signature_name"], "sample_png")
        seed = tf.constant([row["seed"] for row in request["instances"]])
        self.assertEqual(self.ask("sample_png", seed=seed)["image_bytes"].shape, [1])
        self.assertIn(str(self.path.resolve()), shlex.split(c_program))

    def test_no_export_no_serving_lines(self):
        with self.assertRaisesRegex(UserError, "holds no saved_model.pb"):
            serving.serving_command(self.root)


class FailingExportTest(tf.test.TestCase):
    def test_a_second_export_is_version_2_and_none_is_overwritten(self):
        root, model = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory())), vector_model()
        card = dataclasses.replace(CARD, scores=None)
        self.assertEqual(serving.export_model(model, root, "v", card).name, "1")
        self.assertEqual(serving.export_model(model, root, "v", card).name, "2")
        before = (root / "v" / "1" / "saved_model.pb").stat().st_mtime_ns
        with self.assertRaisesRegex(UserError, "version=1 of .* exists"):
            serving.export_model(model, root, "v", card, version=1)
        self.assertEqual((root / "v" / "1" / "saved_model.pb").stat().st_mtime_ns, before)
        self.assertIn("Not scored.", (root / "v" / "2" / "MODEL_CARD.md").read_text())

    def test_an_export_that_fails_leaves_nothing(self):
        root = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        with mock.patch.object(warmup, "write_warmup", side_effect=KeyboardInterrupt):
            with self.assertRaises(KeyboardInterrupt):
                serving.export_model(vector_model(), root, "v", CARD)
        self.assertEmpty(os.listdir(root / "v"))

    def test_refuses_a_name_that_is_no_folder(self):
        for name in ("", "a/b", "..", "7", "two words"):
            with self.assertRaisesRegex(UserError, "name="):
                serving.export_model(
                    None, self.enterContext(tempfile.TemporaryDirectory()), name, CARD
                )


class VectorExportTest(tf.test.TestCase):
    def test_says_samples_and_has_no_png(self):
        model = vector_model()
        path = serving.export_model(
            model, self.enterContext(tempfile.TemporaryDirectory()), "points", CARD
        )
        loaded = tf.saved_model.load(str(path))
        self.assertCountEqual(
            loaded.signatures,
            [
                *("serving_default", "sample", "latents", "sample_truncated", "nearest_latent"),
                *("interpolate", "interpolate_linear", "interpolate_spherical", "critic_features"),
            ],
        )
        seed = tf.constant([[7, 0], [8, 0]])
        answer = loaded.signatures["sample"](seed=seed)
        self.assertAllClose(answer["samples"], model.sample_from_seeds(seed)[0])
        features = loaded.signatures["critic_features"](samples=answer["samples"])["features"]
        self.assertAllClose(features, model.critic_features(answer["samples"]))
        between = loaded.signatures["interpolate"](
            start=tf.constant([[3.0, 0, 0, 0, 0]]),
            end=tf.constant([[0, 3.0, 0, 0, 0]]),
            fraction=tf.constant([0.5]),
        )["samples"]
        middle = 3.0 * np.sqrt(0.5) * np.array([[1, 1, 0, 0, 0]], np.float32)
        self.assertAllClose(between, model.decode(middle))
        self.assertTrue((path / "samples.png").is_file())
        serve, ask = serving.serving_command(path).splitlines()
        self.assertIn("--model_name=points", serve)
        self.assertEqual(json.loads(shlex.split(ask)[-1])["signature_name"], "sample")


class SignatureTest(tf.test.TestCase):
    def test_a_method_adds_its_own(self):
        class WithMean(SMMD):
            def export_signatures(self):
                spec = tf.TensorSpec([None, *IMAGE_SHAPE], tf.float32, "images")
                return {"mean": (lambda x: {"mean": tf.reduce_mean(x, [1, 2, 3])}, [spec])}

        found = signatures.signatures(image_model(WithMean))
        self.assertEqual(list(found)[-1], "mean")
        traced = signatures.trace({"mean": found["mean"]})
        images = requests(3)["critic_features"]["images"]
        self.assertAllClose(
            traced["mean"](images)["mean"], images.numpy().mean(axis=(1, 2, 3)), rtol=1e-5
        )

    def test_a_taken_name_is_refused(self):
        class Clashing(SMMD):
            def export_signatures(self):
                return {"sample": (tf.identity, [])}

        with self.assertRaisesRegex(ValueError, "'sample', a name every export has"):
            signatures.signatures(image_model(Clashing))

    def test_a_tensor_without_a_batch_axis_is_refused(self):
        spec = tf.TensorSpec([None, 2], tf.float32, "x")
        for function, inputs in (
            (lambda x: {"mean": tf.reduce_mean(x)}, (spec,)),
            (lambda x: {"x": x}, (tf.TensorSpec([1, 2], tf.float32, "x"),)),
            (lambda x: {"x": x}, (tf.TensorSpec([None, 2], tf.float32),)),
        ):
            with self.assertRaisesRegex(ValueError, "every tensor needs a name and a leading"):
                signatures.trace({"bad": signatures.Signature(function, inputs)})


class InterpolationTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        random = np.random.default_rng(0)
        self.start, self.end = random.normal(size=(2, 6, 4)).astype(np.float32)
        self.fraction = np.float32([0.0, 0.1, 0.3, 0.5, 0.9, 1.0])

    def test_linear(self):
        t = self.fraction[:, None].astype(np.float64)
        expected = (1 - t) * self.start + t * self.end
        self.assertAllClose(latent_paths.linear(self.start, self.end, self.fraction), expected)

    def test_spherical_equals_the_formula(self):
        start, end, t = (v.astype(np.float64) for v in (self.start, self.end, self.fraction))
        cosine = (
            np.sum(start * end, 1) / np.linalg.norm(start, axis=1) / np.linalg.norm(end, axis=1)
        )
        angle = np.arccos(cosine)[:, None]
        t = t[:, None]
        expected = (np.sin((1 - t) * angle) * start + np.sin(t * angle) * end) / np.sin(angle)
        actual = latent_paths.spherical(self.start, self.end, self.fraction)
        self.assertAllClose(actual, expected, rtol=1e-5, atol=1e-5)

    def test_spherical_stays_on_the_sphere(self):
        start = self.start / np.linalg.norm(self.start, axis=1, keepdims=True)
        end = self.end / np.linalg.norm(self.end, axis=1, keepdims=True)
        path = latent_paths.spherical(start, end, self.fraction)
        self.assertAllClose(tf.norm(path, axis=1), np.ones(6), atol=1e-5)

    def test_spherical_survives_degenerate_pairs(self):
        one = np.float32([[1, 0], [1, 0], [0, 0], [1, 0], [0, 0], [1, 0], [1, 0]])
        two = np.float32([[1, 0], [3, 0], [0, 2], [0, 0], [0, 0], [-1, 0], [1, 1e-5]])
        half = np.full([len(one)], 0.5, np.float32)
        middle = latent_paths.spherical(one, two, half)
        root = np.sqrt(0.5)
        expected = [[1, 0], [2, 0], [0, 2 * root], [root, 0], [0, 0], [0, 0], [1, 5e-6]]
        self.assertAllClose(middle, expected, rtol=0, atol=1e-6)
        self.assertAllClose(latent_paths.spherical(one, two, 0 * half), one, atol=1e-6)
        self.assertAllClose(latent_paths.spherical(one, two, 2 * half), two, atol=1e-6)

    def test_clips_the_fraction(self):
        for path in (latent_paths.linear, latent_paths.spherical):
            far = path(self.start, self.end, np.float32([-1] * 3 + [2] * 3))
            self.assertAllClose(far, np.concatenate([self.start[:3], self.end[3:]]), atol=1e-5)

    def test_every_distribution_has_its_path(self):
        self.assertIs(latent_paths.path_of("uniform"), latent_paths.linear)
        self.assertIs(latent_paths.path_of("normal"), latent_paths.spherical)
        with self.assertRaisesRegex(ValueError, "latent_distribution='cauchy'"):
            latent_paths.path_of("cauchy")


class VersionsTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory())) / "model"

    def write(self, version=None):
        with versions.new_version(self.folder, version) as (temporary, final):
            self.assertFalse(final.exists())
            self.assertFalse(temporary.name.isdigit())
            (temporary / "variables").mkdir()
            (temporary / "variables" / "data").write_text(final.name)
        return final

    def test_counts_up_from_the_highest(self):
        self.assertEqual(list(versions.version_folders(self.folder)), [])
        self.assertEqual(self.write().name, "1")
        self.assertEqual(self.write(5).name, "5")
        self.assertEqual(self.write().name, "6")
        self.assertEqual(self.write(2).name, "2")
        self.assertEqual(list(versions.version_folders(self.folder)), [1, 2, 5, 6])

    def test_what_a_killed_export_left_is_removed(self):
        leftover = self.folder / ".tmp-1" / "variables"
        leftover.mkdir(parents=True)
        (leftover / "data").write_text("half")
        self.assertEqual(list(versions.version_folders(self.folder)), [])
        self.assertEqual((self.write() / "variables" / "data").read_text(), "1")
        self.assertEqual(os.listdir(self.folder), ["1"])

    def test_an_error_inside_leaves_nothing(self):
        with self.assertRaisesRegex(RuntimeError, "in the middle"):
            with versions.new_version(self.folder) as (temporary, _):
                (temporary / "data").write_text("half")
                raise RuntimeError("in the middle")
        self.assertEmpty(os.listdir(self.folder))

    def test_exports_at_the_same_time_do_not_meet(self):
        threads = [threading.Thread(target=self.write) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(list(versions.version_folders(self.folder)), [1, 2, 3, 4])
        for version in "1234":
            data = self.folder / version / "variables" / "data"
            self.assertEqual(data.read_text(), version)

    def test_refuses_what_is_no_version(self):
        for version in (0, -1, 1.5, True, "2"):
            with self.assertRaisesRegex(UserError, "version="):
                self.write(version)


if __name__ == "__main__":
    tf.test.main()
