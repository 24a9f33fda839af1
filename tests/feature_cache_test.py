"""Features on disk: the same with and without them, and never an error."""

import dataclasses
import os
import pathlib
from unittest import mock

import numpy as np
import tensorflow as tf

from kgzoo import data
from kgzoo.errors import UserError
from kgzoo.evaluation import archives, feature_cache, features


class _Trap:
    """A pickle of this writes a file when it is read."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return (open, (self.path, "w"))


class FeatureCacheTest(tf.test.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.source = data.load("digits", "test")
        cls.extractor = features.get("digits")
        cls.expected = cls.extractor.extract(cls.source.examples[:60])

    def setUp(self):
        super().setUp()
        self.folder = pathlib.Path(self.get_temp_dir()) / "cache"
        self.enter_context(mock.patch.dict(os.environ, {"KGZOO_CACHE": str(self.folder)}))

    def _extract(self, limit=60, batch_size=256, source=None, extractor=None):
        """Returns features, logits and how often the network ran."""
        extractor = extractor or self.extractor
        with mock.patch.object(extractor, "_apply", wraps=extractor._apply) as apply:
            found = feature_cache.extract(extractor, source or self.source, limit, batch_size)
        return *found, apply.call_count

    def _files(self):
        return sorted(self.folder.iterdir()) if self.folder.is_dir() else []

    def _assert_expected(self, found, calls):
        self.assertAllClose(found[0], self.expected[0], rtol=1e-4, atol=1e-5)
        self.assertAllClose(found[1], self.expected[1], rtol=1e-4, atol=1e-4)
        self.assertEqual(found[2], calls)

    def test_the_second_time_nothing_is_computed(self):
        first = self._extract()
        self._assert_expected(first, 1)
        again = self._extract()
        self._assert_expected(again, 0)
        for one, two in zip(first[:2], again[:2], strict=True):
            self.assertAllEqual(one, two)
            self.assertEqual(two.dtype, np.float32)
        (path,) = self._files()
        self.assertRegex(path.name, r"^digits-test-digits-[0-9a-f]{16}\.npz$")
        # Another process would find it: nothing of the key depends on this one.
        self._assert_expected(self._extract(extractor=features.get("digits")), 0)

    def test_the_same_for_any_batch_size_and_without_a_cache(self):
        for batch_size, calls in ((7, 9), (60, 0), (1, 0)):
            self._assert_expected(self._extract(batch_size=batch_size), calls)
        with mock.patch.dict(os.environ, {"KGZOO_CACHE": ""}):
            self.assertIsNone(feature_cache.folder())
            self._assert_expected(self._extract(batch_size=20), 3)
        self.assertLen(self._files(), 1)

    def test_what_decides_the_features_is_in_the_key(self):
        self._extract()
        changed = self.source.examples.copy()
        changed[3] = 0
        other = dataclasses.replace(self.source, examples=changed)
        found = self._extract(source=other)
        self.assertEqual(found[2], 1)
        self.assertNotAllClose(found[0][3], self.expected[0][3])
        self.assertEqual(self._extract(limit=59)[2], 1)
        # An example past the limit decides nothing.
        changed = self.source.examples.copy()
        changed[100] = 0
        self.assertEqual(
            self._extract(source=dataclasses.replace(self.source, examples=changed))[2], 0
        )
        retrained = features.get("digits")
        retrained.fingerprint = "0" * 64
        self.assertEqual(self._extract(extractor=retrained)[2], 1)
        self.assertLen(self._files(), 4)
        x, logits, calls = self._extract(extractor=features.get("random_conv", (16, 16, 1)))
        self.assertEqual((len(x), logits, calls), (60, None, 1))
        self.assertLen(self._files(), 5)

    def test_a_damaged_file_is_computed_and_written_again(self):
        self._extract()
        (path,) = self._files()
        whole = path.read_bytes()
        x, logits = self.expected
        described = feature_cache._describe(self.extractor, self.source, 60)
        nan = np.where(np.arange(64) == 5, np.float32(np.nan), x)

        def store(description=described, **arrays):
            archives.write(path, description, arrays)

        def pickled():
            trap = np.array([_Trap(self.folder / "executed")], dtype=object)
            np.savez(path, description=np.array(described), features=trap, logits=logits)

        for damage in (
            lambda: path.write_bytes(whole[: len(whole) // 2]),
            lambda: path.write_bytes(b""),
            lambda: path.write_bytes(whole[:3000] + b"\xff" * 99 + whole[3099:]),
            lambda: store(features=x[:59], logits=logits),
            lambda: store(features=x[:, :5], logits=logits),
            lambda: store(features=x.astype(np.float64), logits=logits),
            lambda: store(features=nan, logits=logits),
            lambda: store(features=x),
            lambda: store("another", features=x, logits=logits),
            pickled,
        ):
            damage()
            self._assert_expected(self._extract(), 1)
            self._assert_expected(self._extract(), 0)
            self.assertEqual(self._files(), [path])

    def test_nothing_is_stored_when_it_cannot_or_should_not_be(self):
        blocked = self.folder.parent / "file"
        blocked.write_text("no folder")
        with mock.patch.dict(os.environ, {"KGZOO_CACHE": str(blocked)}):
            self._assert_expected(self._extract(), 1)
            self._assert_expected(self._extract(), 1)
        with mock.patch.object(archives.files, "replace_file", side_effect=OSError("full")):
            self._assert_expected(self._extract(), 1)
        with mock.patch.object(feature_cache, "MAX_BYTES", 60 * (64 + 10) * 4 - 1):
            self._assert_expected(self._extract(), 1)
        ring = data.load("ring2d", "test")
        for source, extractor in (
            (ring, features.get("identity", ring.shape)),
            # A function of the caller's own, which may be another one tomorrow.
            (self.source, features.Extractor("own", (16, 16, 1), 1, False, _own, {})),
        ):
            for _ in range(2):
                self.assertEqual(self._extract(source=source, extractor=extractor)[2], 1)
        self.assertEmpty(self._files())
        with self.assertRaisesRegex(UserError, "limit=0"):
            self._extract(limit=0)

    def test_the_folder(self):
        self.assertEqual(feature_cache.folder(), self.folder)
        with mock.patch.dict(os.environ, {"HOME": str(self.folder)}):
            del os.environ["KGZOO_CACHE"]
            expected = self.folder / ".cache" / "kgzoo" / "features"
            self.assertEqual(feature_cache.folder(), expected)
            os.environ["KGZOO_CACHE"] = "~/kept"
            self.assertEqual(feature_cache.folder(), self.folder / "kept")


def _own(batch):
    return batch.reshape(len(batch), -1)[:, :1], None


if __name__ == "__main__":
    tf.test.main()
