"""The models of export/: as Python loads them, as C++ loads them, as a server is asked.

`KGZOO_EXPORTS=folder python -m pytest tests/shipped_test.py` asks the exports of another folder.
"""

import contextlib
import io
import json
import os
import pathlib
import re
import shlex
import unittest

import keras
import numpy as np
import tensorflow as tf
from absl import flags
from absl.testing import flagsaver, parameterized
from tensorflow.python.tools import saved_model_cli
from tensorflow_serving.apis import prediction_log_pb2

import kgzoo
from c_loader import LIBRARY, CExport
from kgzoo import config, presets
from kgzoo.serving import repository, warmup

ROOT = pathlib.Path(__file__).resolve().parent.parent
FOLDER = pathlib.Path(os.environ.get("KGZOO_EXPORTS", ROOT / "export"))
# Of what ships, beside which there may be others.
SHIPPED = {
    *("smmd_digits", "sn_smmd_digits", "mmd_rep_digits", "kernel_gan_digits", "gram_ring2d"),
    *("smmd_mnist", "sn_smmd_mnist", "gcmmd_mnist", "mmd_rep_b_mnist", "rep_dk_mnist"),
    *("gram_mnist", "mmd_net_mnist", "kernel_gan_ae_mnist", "info_ivae_dk_mnist"),
    *("mmd_rep_cifar10", "mmd_rep_b_cifar10"),
}
EXPORTS = {
    name: list(presets.version_folders(FOLDER / name).values())[-1][0]
    for name in repository.model_names(FOLDER)
    if name in SHIPPED or "KGZOO_EXPORTS" in os.environ
}
# A decorator wants one case, also where the class is skipped.
EACH = list(EXPORTS.items()) or [("none", None)]
_DTYPES = {"DT_FLOAT": "float32", "DT_INT32": "int32", "DT_STRING": "string"}
_CARD = ("## Signatures", "## Limits", "seed", "steps", "samples.png")
_MOST_BYTES, _MOST_BYTES_IN_ALL = 4_000_000, 60_000_000
_MOST_PARAMETERS = 800_000


def request(signature, count):
    """Legal values for every input of a SignatureDef, other ones in each row."""
    rng, found = np.random.default_rng(count), {}
    for key, info in signature.inputs.items():
        shape = [count, *(dim.size for dim in info.tensor_shape.dim[1:])]
        if tf.as_dtype(info.dtype).is_floating:
            found[key] = rng.random(shape, np.float32)
        else:
            found[key] = rng.integers(0, 9, shape, np.int32)
    return found


@unittest.skipUnless(EXPORTS, f"there is no export in {FOLDER.name}/")
@unittest.skipUnless(LIBRARY.is_file(), f"this TensorFlow has no {LIBRARY.name}")
class ShippedTest(tf.test.TestCase, parameterized.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        # The first request for a signature prepares it: each export is opened once for all tests.
        cls.stack, cls.opened = contextlib.ExitStack(), {}
        cls.addClassCleanup(cls.stack.close)

    def in_c(self, path):
        """The export, open in the C API."""
        if path not in self.opened:
            self.opened[path] = self.stack.enter_context(CExport(path))
        return self.opened[path]

    @parameterized.named_parameters(*EACH)
    def test_answers_c_as_python(self, path):
        """Every signature, at batch sizes that nobody compiled."""
        loaded = tf.saved_model.load(str(path))
        export = self.in_c(path)
        self.assertCountEqual(export.signatures, loaded.signatures)
        for name, signature in export.signatures.items():
            for count in (1, 3):
                asked = request(signature, count)
                wanted = loaded.signatures[name](
                    **{key: tf.constant(value) for key, value in asked.items()}
                )
                found = export.ask(name, **asked)
                self.assertCountEqual(found, wanted)
                for key, value in found.items():
                    self.assertLen(value, count)
                    if value.dtype == object:
                        self.assertAllEqual(value, wanted[key])
                    else:
                        self.assertAllClose(value, wanted[key], rtol=1e-4, atol=1e-4, msg=name)

    @parameterized.named_parameters(*EACH)
    def test_the_warm_up_replays(self, path):
        seen, export = set(), self.in_c(path)
        for record in tf.data.TFRecordDataset(str(path / warmup.WARMUP_FILE)):
            log = prediction_log_pb2.PredictionLog.FromString(record.numpy())
            asked = log.predict_log.request
            self.assertEqual(asked.model_spec.name, path.parent.name)
            tensors = {key: tf.make_ndarray(value) for key, value in asked.inputs.items()}
            name = asked.model_spec.signature_name
            for value in export.ask(name, **tensors).values():
                seen.add((name, len(value)))
                if value.dtype == np.float32:
                    self.assertAllInSet(np.isfinite(value), [True])
        self.assertEqual(seen, {(name, n) for name in export.signatures for n in (1, 2)})

    @parameterized.named_parameters(*EACH)
    def test_lists_what_the_card_says(self, path):
        """Names, keys, shapes and dtypes, as saved_model_cli prints them."""
        card = (path / "MODEL_CARD.md").read_text(encoding="utf-8")
        for words in (
            *_CARD,
            *json.loads((path / presets.FACTS_FILE).read_text())["command"].split(),
        ):
            self.assertIn(words, card)
        names = self.cli(path)
        self.assertIn('"serving_default"', names)
        for name in re.findall(r'SignatureDef key: "(\w+)"', names):
            if name.startswith("__"):
                continue
            self.assertIn(f"| {name} |", card)
            listed = self.cli(path, signature_def=name)
            found = re.findall(r"\['(\w+)'\] tensor_info:\s+dtype: (\w+)\s+shape: \((.*)\)", listed)
            self.assertGreaterEqual(len(found), 2, listed)
            for key, dtype, shape in found:
                self.assertTrue(shape.startswith("-1"), f"{name} {key} {shape}")
                sizes = ", ".join(["n", *shape.split(", ")[1:]])
                self.assertIn(f"`{key}` [{sizes}] {_DTYPES[dtype]}", card)

    def cli(self, path, **options):
        """What `saved_model_cli show` prints."""
        flags.FLAGS.mark_as_parsed()
        with flagsaver.flagsaver(dir=str(path), tag_set="serve", **options):
            with contextlib.redirect_stdout(io.StringIO()) as out:
                saved_model_cli.show()
        return out.getvalue()

    @parameterized.named_parameters(*EACH)
    def test_the_preset_is_the_export(self, path):
        model = kgzoo.load(path)
        images = model.sample(3, seed=5)
        seeds = np.array([[5, index] for index in range(3)], np.int32)
        answer = self.in_c(path).ask("sample", seed=seeds)
        key = "images" if model.kind == "image" else "samples"
        wanted = images / 255 if images.dtype == np.uint8 else images
        # Bytes are rounded.
        tolerance = 0.51 / 255 if images.dtype == np.uint8 else 1e-4
        self.assertAllClose(answer[key], wanted, rtol=0, atol=tolerance)
        for name, network in model._networks().items():
            self.assertLessEqual(network.count_params(), _MOST_PARAMETERS, name)
        again = keras.saving.load_model(path / "model.keras", safe_mode=True)
        self.assertAllEqual(again.sample(3, seed=5), images)

    def test_sizes(self):
        sizes = [each.stat().st_size for path in EXPORTS.values() for each in path.rglob("*")]
        self.assertLessEqual(max(sizes), _MOST_BYTES)
        self.assertLessEqual(sum(sizes), _MOST_BYTES_IN_ALL)


class ListTest(tf.test.TestCase):
    def test_what_ships(self):
        found = set(repository.model_names(ROOT / "export"))
        self.assertLessEqual(SHIPPED, found)
        self.assertLen(SHIPPED, 16)

    def test_commands_give_the_recorded_fields(self):
        """Each line of export/README.md trains with what the model was trained with."""
        for name in sorted(SHIPPED):
            with self.subTest(name):
                facts = json.loads((ROOT / "export" / name / "1" / presets.FACTS_FILE).read_text())
                *_, card, workdir = shlex.split(facts["command"])
                self.assertEqual(workdir, f"--workdir=runs/zoo/{name}")
                fields = config.compose(card=str(ROOT / card.removeprefix("--config=")))
                self.assertEqual(facts["config"], json.loads(json.dumps(dict(fields))))
                self.assertEqual(facts["steps"], fields.steps)


if __name__ == "__main__":
    tf.test.main()
