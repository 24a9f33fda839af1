"""A user's own Inception: small stand-ins for it as a frozen graph and as a SavedModel."""

import hashlib
import json
import pathlib
import pickle
from unittest import mock

import numpy as np
import tensorflow as tf

from kgzoo.errors import UserError
from kgzoo.evaluation import features, inception

_WEIGHTS = np.array([[1.0, -2.0, 0.5, 3.0], [0.0, 1.0, -1.0, 2.0], [2.0, 0.0, 1.0, -1.0]])


def _frozen_graph(path, batch=None, input_name="Mul", output="pool_3", logits="logits"):
    """Features: the mean of each channel in the upper left 150x150 pixels."""
    graph = tf.Graph()
    with graph.as_default():
        x = tf.compat.v1.placeholder(tf.float32, (batch, 299, 299, 3), input_name)
        pool = tf.reduce_mean(x[:, :150, :150], axis=(1, 2), keepdims=True, name=output)
        if logits:
            weights = tf.constant(_WEIGHTS, tf.float32)
            tf.matmul(tf.reshape(pool, (-1, 3)), weights, name=logits)
    path.write_bytes(graph.as_graph_def().SerializeToString())
    return path


class _Network(tf.Module):
    def __init__(self):
        super().__init__()
        self.weights = tf.Variable(_WEIGHTS, dtype=tf.float32)

    @tf.function(input_signature=[tf.TensorSpec((None, 299, 299, 3), tf.float32)])
    def __call__(self, images):
        pool = tf.reduce_mean(images[:, :150, :150], axis=(1, 2), keepdims=True)
        return {"pool_3": pool, "logits": tf.matmul(pool[:, 0, 0], self.weights)}


def _resized(images):
    """Oracle in float64: bilinear, half-pixel centres, edges repeated, no antialiasing."""
    size = images.shape[1]
    centres = np.clip((np.arange(299) + 0.5) * size / 299 - 0.5, 0, size - 1)
    low = np.minimum(centres.astype(int), size - 2)
    matrix = np.zeros((299, size))
    matrix[np.arange(299), low] = 1 - (centres - low)
    matrix[np.arange(299), low + 1] += centres - low
    return np.einsum("yi,nijc,xj->nyxc", matrix, images, matrix)


def _expected(images):
    scaled = 2 * _resized(images / 255.0) - 1
    x = scaled[:, :150, :150].mean(axis=(1, 2))
    x = np.repeat(x, 3 // x.shape[1], axis=1)
    return x, x @ _WEIGHTS


class InceptionTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        self.folder = pathlib.Path(self.get_temp_dir())
        random = np.random.RandomState(0)
        self.images = random.randint(0, 256, size=(7, 16, 16, 3)).astype(np.uint8)

    def _check(self, name, images):
        extractor = features.get(name, images.shape[1:])
        x, logits = extractor.extract(images)
        self.assertEqual((x.dtype, logits.dtype), (np.float32, np.float32))
        expected, expected_logits = _expected(images)
        self.assertAllClose(x, expected, atol=1e-5)
        self.assertAllClose(logits, expected_logits, atol=1e-4)
        return extractor

    def test_a_frozen_graph(self):
        path = _frozen_graph(self.folder / "graph.pb")
        self.enter_context(mock.patch.object(inception, "_BATCH_SIZE", 3))
        extractor = self._check(f"inception:{path}", self.images)
        self.assertIsNone(extractor.class_frequencies)
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        self.assertEqual(extractor.fingerprint, sha256)
        facts = extractor.describe()
        json.dumps(facts, allow_nan=False)
        self.assertEqual((facts["sha256"], facts["file"], facts["dim"]), (sha256, "graph.pb", 3))
        self.assertEqual(facts["input_range"], [-1.0, 1.0])
        self.assertIn("bilinear to 299x299", facts["resize"])
        tensors = {"input": "Mul:0", "features": "pool_3:0", "logits": "logits:0"}
        self.assertEqual(facts["tensors"], tensors)
        x, _ = extractor.extract(self.images, batch_size=5)
        self.assertAllClose(x, extractor.extract(self.images)[0], atol=1e-6)
        self._check(f"inception:{path}", self.images[:3, :8, :8, :1])
        black_and_white = np.stack([np.zeros((9, 9, 3)), np.ones((9, 9, 3))])
        extremes = features.get(f"inception:{path}", (9, 9, 3)).extract(black_and_white)[0]
        self.assertAllClose(extremes, [[-1.0] * 3, [1.0] * 3], atol=1e-5)

    def test_a_graph_for_a_fixed_number_of_images(self):
        path = _frozen_graph(self.folder / "four.pb", batch=4)
        self._check(f"inception:{path}", self.images[:6])

    def test_other_tensor_names(self):
        path = _frozen_graph(self.folder / "other.pb", None, "images", "deep/pool", "scores")
        with self.assertRaisesRegex(UserError, "no tensor 'pool_3:0'; name one by ,features="):
            features.get(f"inception:{path}", (16, 16, 3))
        # A single placeholder needs no name, logits that are not there are left out.
        extractor = features.get(f"inception:{path},features=deep/pool", (16, 16, 3))
        self.assertIsNone(extractor.extract(self.images[:2])[1])
        self.assertFalse(extractor.has_logits)
        name = f"inception:{path},input=images:0,features=deep/pool:0,logits=scores"
        self.assertEqual(self._check(name, self.images[:2]).name, name)
        extractor = features.get(f"{name.rpartition(',')[0]},logits=none", (16, 16, 3))
        self.assertFalse(extractor.has_logits)
        with self.assertRaisesRegex(UserError, "no tensor 'score:0'; .*mean 'scores'"):
            features.get(f"inception:{path},features=deep/pool,logits=score", (16, 16, 3))
        with self.assertRaisesRegex(UserError, "inception option='pool=a'"):
            features.get(f"inception:{path},pool=a", (16, 16, 3))

    def test_a_saved_model(self):
        network = _Network()
        for name, signatures in (("call", None), ("signature", network.__call__)):
            path = self.folder / name
            tf.saved_model.save(network, str(path), signatures=signatures)
            extractor = self._check(f"inception:{path}", self.images[:5])
            digest = extractor.describe()["sha256"]
            self.assertEqual(digest, inception.checksum(path))
        self._check(f"inception:{path}/saved_model.pb", self.images[:2])
        with self.assertRaisesRegex(UserError, "inception features='pool_2'.*mean 'pool_3'"):
            features.get(f"inception:{path},features=pool_2", (16, 16, 3))
        # The weights are in other files than the graph.
        weights = path / "variables" / "variables.data-00000-of-00001"
        weights.write_bytes(weights.read_bytes()[:-1] + b"?")
        self.assertNotEqual(inception.checksum(path), digest)

    def test_refusals(self):
        random = np.random.RandomState(1)
        noise = self.folder / "noise.pb"
        noise.write_bytes(random.bytes(1000))
        pickled = self.folder / "network.pkl"
        pickled.write_bytes(pickle.dumps({"weights": 1}))
        (self.folder / "empty").mkdir()
        broken = self.folder / "broken"
        broken.mkdir()
        (broken / "saved_model.pb").write_bytes(random.bytes(100))
        for name, shape, message in (
            ("inception:", (16, 16, 3), "no path"),
            ("inception:/nowhere.pb", (16, 16, 3), "neither a frozen graph"),
            (f"inception:{pickled}", (16, 16, 3), "neither a frozen graph"),
            (f"inception:{self.folder / 'empty'}", (16, 16, 3), "neither a frozen graph"),
            (f"inception:{noise}", (16, 16, 3), "is not a frozen graph"),
            (f"inception:{broken}", (16, 16, 3), "cannot be loaded"),
            (f"inception:{noise}", (16, 16, 4), "1 or 3 channels"),
            (f"inception:{noise}", (16,), "1 or 3 channels"),
            (f"inception:{noise}", None, "needs image_shape"),
        ):
            with self.assertRaisesRegex(UserError, message):
                features.get(name, shape)


if __name__ == "__main__":
    tf.test.main()
