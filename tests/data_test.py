"""Data sets: what `kgzoo.data.load` returns, and what it says when it cannot."""

import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
from unittest import mock

import numpy as np
import tensorflow as tf
from absl.testing import parameterized
from scipy import stats
from scipy.spatial import transform
from sklearn import datasets

import datadir
from kgzoo import data
from kgzoo.data import images, pipeline, records, synthetic
from kgzoo.errors import UserError


def centre_square(image):
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return image[top : top + side, left : left + side]


def block_means(image, size):
    """Area averages by an integer factor, in float64."""
    factor = len(image) // size
    blocks = image.astype(np.float64).reshape(size, factor, size, factor, -1)
    return blocks.mean(axis=(1, 3))


def area_weights(stored, wanted):
    """[wanted, stored] weights of an area average: how much of each pixel a new one covers."""
    edges = np.linspace(0.0, stored, wanted + 1)
    ends = np.minimum(edges[1:, np.newaxis], np.arange(1, stored + 1))
    overlap = ends - np.maximum(edges[:-1, np.newaxis], np.arange(stored))
    return np.clip(overlap, 0.0, None) * wanted / stored


def area_means(image, size):
    """Area averages of a square image by any factor, in float64."""
    weights = area_weights(len(image), size)
    rows = np.tensordot(weights, image.astype(np.float64), axes=1)
    return np.matmul(weights, rows)


def bicubic_weights(stored, wanted):
    """[wanted, stored] weights of Keys' cubic (a = -1/2), half-pixel centres, renormalised."""
    centre = (np.arange(wanted) + 0.5) * stored / wanted - 0.5
    t = np.abs(centre[:, np.newaxis] - np.arange(stored))
    near = 1.5 * t**3 - 2.5 * t**2 + 1.0
    far = -0.5 * t**3 + 2.5 * t**2 - 4.0 * t + 2.0
    weights = np.where(t <= 1.0, near, np.where(t < 2.0, far, 0.0))
    return weights / weights.sum(axis=1, keepdims=True)


def smooth_pictures(count, height, width, channels, seed=0):
    random = np.random.RandomState(seed)
    coarse = random.randint(0, 256, (count, 4, 4, channels)).astype(np.float32)
    pictures = tf.image.resize(coarse, [height, width], method="bilinear")
    return np.rint(pictures.numpy()).astype(np.uint8)


class SourceTest(tf.test.TestCase):
    def test_refuses_contradictions(self):
        points = np.zeros((3, 2), np.float32)
        for fields in (
            {"kind": "sound", "examples": points},
            {"examples": None},
            {"examples": points, "stream": lambda key: None},
            {"examples": points.astype(np.float64)},
            {"examples": points[:2]},
            {"num_examples": 0, "examples": points[:0]},
        ):
            fields = {"kind": "vector", "shape": (2,), "num_examples": 3, **fields}
            with self.assertRaises(UserError, msg=str(fields)):
                data.Source("mine", **fields)

    def test_examples_cannot_be_changed_in_place(self):
        source = data.load("gaussian")
        with self.assertRaises(ValueError):
            source.examples[0] = 0.0

    def test_every_embedded_set_describes_itself_in_json(self):
        toys = ["ring2d", "ring2d_wide", "ring3d", "mog", "gaussian", "laplace1d", "mixture1d"]
        self.assertEqual(data.names(), ["digits", *toys])
        for name in data.names():
            data.check(name)
            for split in ("train", "test"):
                source = data.load(name, split)
                facts = json.loads(json.dumps(source.describe()))
                self.assertEqual((facts["name"], facts["split"]), (name, split))
                self.assertEqual(facts["num_examples"], len(source.examples))
                self.assertEqual(facts["shape"], list(source.examples.shape[1:]))
                self.assertEqual(facts["kind"], source.kind)
                self.assertIn("preprocessing", facts)

    def test_batches_are_in_stored_order(self):
        source = data.load("digits", "test")
        parts = list(data.batches(source, 200))
        self.assertEqual([len(part) for part in parts], [200, 200, 50])
        self.assertAllEqual(np.concatenate(parts), source.examples)
        parts = list(data.batches(source, 200, limit=210))
        self.assertAllEqual(np.concatenate(parts), source.examples[:210])
        self.assertEqual(sum(map(len, data.batches(source, 7, limit=9999))), 450)
        for wrong in ({"batch_size": 0}, {"batch_size": 2.5}, {"batch_size": 1, "limit": 0}):
            with self.assertRaises(UserError):
                data.batches(source, **wrong)


class ArgumentsTest(tf.test.TestCase):
    def test_wrong_values_name_field_and_remedy(self):
        for arguments, words in (
            ({"name": "digts"}, "did you mean 'digits'"),
            ({"name": "cifr10"}, "did you mean 'cifar10'"),
            ({"name": "Mnist!"}, "did you mean 'mnist'"),
            ({"name": ""}, "choose one of: digits"),
            ({"name": "digits", "split": "valid"}, "split='valid'.*'train' or 'test'"),
            ({"name": "digits", "image_size": 0}, "image_size=0.*at least 1"),
            ({"name": "digits", "image_size": True}, "image_size=True"),
            ({"name": "digits", "memory_limit_bytes": -1}, "memory_limit_bytes=-1"),
            ({"name": "ring2d", "image_size": 32}, "image_size=32.*leave it out"),
        ):
            with self.assertRaisesRegex(UserError, words):
                data.load(**arguments)

    def test_importing_and_checking_is_light(self):
        code = (
            "import sys\n"
            "from kgzoo import data\n"
            "data.names(), data.check('digits')\n"
            "try: data.check('cifr10')\n"
            "except ValueError: pass\n"
            "else: sys.exit('accepted')\n"
            "heavy = {'tensorflow', 'sklearn', 'keras'} & set(sys.modules)\n"
            "sys.exit(str(heavy) if heavy else 0)\n"
        )
        root = pathlib.Path(__file__).resolve().parent.parent
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False
        )
        self.assertEqual(done.returncode, 0, done.stderr)


class SyntheticTest(tf.test.TestCase):
    def test_draws_follow_the_stated_mixture(self):
        for name, num_modes, sd in (
            ("ring2d", 8, 0.01),
            ("ring2d_wide", 8, 0.2**0.5),
            ("mog", 8, 0.02),
            ("gaussian", 1, 1.0),
        ):
            for split, count in (("train", 50_000), ("test", 10_000)):
                source = data.load(name, split)
                modes = source.describe()["modes"]
                centres = np.array(modes["centres"])
                self.assertEqual(source.examples.shape, (count, 2))
                self.assertEqual(source.examples.dtype, np.float32)
                self.assertEqual((len(centres), modes["sd"]), (num_modes, sd))
                self.check_shares(source.labels, np.full(num_modes, 1.0 / num_modes))
                self.check_noise(source.examples - centres[source.labels], [sd, sd])

    def check_shares(self, labels, weights):
        share = np.bincount(labels, minlength=len(weights)) / len(labels)
        spread = np.sqrt(share * (1.0 - share) / len(labels))
        self.assertAllLessEqual(np.abs(share - weights) - 5.0 * spread, 0.0)

    def check_noise(self, noise, sds):
        """Five standard errors of means, of standard deviations and of correlations."""
        count = len(noise)
        self.assertAllLess(np.abs(noise.mean(axis=0)) / sds, 5.0 / np.sqrt(count))
        self.assertAllLess(np.abs(noise.std(axis=0) / sds - 1.0), 5.0 / np.sqrt(2.0 * count))
        correlations = np.corrcoef(noise.T) - np.eye(len(sds))
        self.assertAllLess(np.abs(correlations), 5.0 / np.sqrt(count))

    def test_the_rings_have_radius_two(self):
        for name in ("ring2d", "ring2d_wide"):
            centres = np.array(data.load(name).describe()["modes"]["centres"])
            self.assertAllClose(np.hypot(*centres.T), np.full(8, 2.0))
            gaps = np.linalg.norm(centres - np.roll(centres, 1, axis=0), axis=1)
            self.assertAllClose(gaps, np.full(8, 4.0 * np.sin(np.pi / 8)))

    def test_the_ring_in_space_is_a_flat_one_turned_about_the_second_axis(self):
        turn = transform.Rotation.from_euler("y", 60.0, degrees=True)  # by the right-hand rule
        flat = np.array(data.load("ring2d").describe()["modes"]["centres"])
        for split, count in (("train", 50_000), ("test", 10_000)):
            source = data.load("ring3d", split)
            self.assertEqual(source.examples.shape, (count, 3))
            modes = source.describe()["modes"]
            expected = turn.apply(np.pad(flat, ((0, 0), (0, 1))))
            self.assertAllClose(modes["centres"], expected, atol=1e-12)
            self.assertAllClose(modes["axes"], turn.apply(np.eye(3)), atol=1e-12)
            self.assertEqual(modes["sd"], [0.01, 0.01, 0.1])
            self.check_shares(source.labels, np.full(8, 1 / 8))
            back = turn.inv().apply(source.examples)
            noise = back - np.pad(flat, ((0, 0), (0, 1)))[source.labels]
            self.check_noise(noise, [0.01, 0.01, 0.1])
        # The third axis goes towards the first: noise upwards in the ring moves to the right.
        self.assertAllClose(modes["axes"][2], [np.sin(np.pi / 3), 0.0, 0.5], atol=1e-12)

    def test_targets_on_the_line(self):
        laplace, mixture = data.load("laplace1d"), data.load("mixture1d")
        self.assertEqual((laplace.shape, mixture.shape), ((1,), (1,)))
        self.assertIsNone(laplace.labels)
        facts = laplace.describe()
        self.assertEqual(facts["density"], {"family": "laplace", "location": 0.0, "scale": 2.0})
        self.assertNotIn("modes", facts)
        facts = mixture.describe()
        self.assertEqual(
            facts["modes"], {"centres": [[-2.0], [2.0]], "sd": 1.0, "weights": [0.3, 0.7]}
        )
        self.assertEqual(
            facts["density"],
            {
                "family": "gaussian_mixture",
                "means": [-2.0, 2.0],
                "sds": [1.0, 1.0],
                "weights": [0.3, 0.7],
            },
        )
        self.check_shares(mixture.labels, np.array([0.3, 0.7]))

        def mixed(x):
            return 0.3 * stats.norm.cdf(x, -2.0, 1.0) + 0.7 * stats.norm.cdf(x, 2.0, 1.0)

        cases = (("laplace1d", stats.laplace(0.0, 2.0).cdf), ("mixture1d", mixed))
        for name, distribution in cases:
            for split in ("train", "test"):
                points = data.load(name, split).examples[:, 0].astype(np.float64)
                # The largest gap between the two distribution functions, in standard errors.
                test = stats.kstest(points, distribution)
                self.assertGreater(test.pvalue, 1e-3, f"{name} {split}")

    def test_first_draws_never_change(self):
        for name, split, labels, examples in (
            ("ring2d", "train", [5, 3, 4, 0], [-1.4092094898223877, -1.4157952070236206]),
            ("ring2d", "test", [0, 5, 1, 1], [1.9970951080322266, 0.006978021468967199]),
            ("mog", "train", [0, 7, 5, 0], [1.9651384353637695, 0.0024861523415893316]),
            ("mog", "test", [5, 5, 6, 0], [-1.3963348865509033, -1.4388129711151123]),
            ("gaussian", "train", [0] * 4, [2.788628578186035, 1.4365098476409912]),
            ("gaussian", "test", [0] * 4, [0.5791123509407043, 1.8749825954437256]),
        ):
            source = data.load(name, split)
            self.assertEqual(source.labels[:4].tolist(), labels)
            # The sines of other libraries may differ in their last bit.
            self.assertAllClose(source.examples[0], examples, rtol=2e-7, atol=0.0)

    def test_same_draws_every_time_and_no_draw_in_both_splits(self):
        for name in ("ring2d", "ring2d_wide", "ring3d", "mog", "gaussian"):
            train, again = data.load(name), data.load(name)
            self.assertAllEqual(train.examples, again.examples)
            test = data.load(name, "test")
            both = np.concatenate([train.examples, test.examples])
            self.assertEqual(len(np.unique(both, axis=0)), len(both))
            self.assertEqual(synthetic.NUM_TRAIN + synthetic.NUM_TEST, len(both))
        for name in ("laplace1d", "mixture1d"):
            train, again = data.load(name), data.load(name)
            self.assertAllEqual(train.examples, again.examples)
            # float32 has few enough numbers for a handful of coincidences on the line.
            common = np.intersect1d(train.examples, data.load(name, "test").examples)
            self.assertLess(len(common), 200)


class DigitsTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        self.scans = datasets.load_digits()

    def test_splits_are_disjoint_complete_and_stratified(self):
        parts = {split: data.load("digits", split, image_size=8) for split in ("train", "test")}
        self.assertEqual([len(part.examples) for part in parts.values()], [1347, 450])
        stored = np.rint(self.scans.images * (255.0 / 16.0)).astype(np.uint8)[..., np.newaxis]
        rows = {image.tobytes(): place for place, image in enumerate(stored)}
        self.assertLen(rows, 1797)  # all different, so a picture tells its place
        places = {
            split: [rows[image.tobytes()] for image in part.examples]
            for split, part in parts.items()
        }
        self.assertEqual(sorted(places["train"] + places["test"]), list(range(1797)))
        share = np.bincount(self.scans.target) * 450 / 1797
        count = np.bincount(parts["test"].labels)
        self.assertAllLess(np.abs(count - share), 1.0)
        for split, part in parts.items():
            self.assertAllEqual(part.labels, self.scans.target[places[split]])
            self.assertEqual(places[split], sorted(places[split]))

    def test_sixteen_pixels_by_default_enlarged_bicubically(self):
        source, small = data.load("digits", "test"), data.load("digits", "test", image_size=8)
        self.assertEqual((source.shape, source.examples.dtype), ((16, 16, 1), np.uint8))
        self.assertEqual((source.examples.min(), source.examples.max()), (0, 255))
        values = np.rint(small.examples[..., 0] / (255.0 / 16.0)) * (255.0 / 16.0)
        weights = bicubic_weights(8, 16)
        oracle = np.clip(weights @ values @ weights.T, 0.0, 255.0)
        self.assertLess(np.abs(source.examples[..., 0] - oracle).max(), 0.51)

    def test_other_sizes(self):
        self.assertEqual(data.load("digits", image_size=28).examples.shape, (1347, 28, 28, 1))
        four, eight = (data.load("digits", "test", image_size=size) for size in (4, 8))
        values = np.rint(eight.examples / (255.0 / 16.0)) * (255.0 / 16.0)
        oracle = np.stack([block_means(value, 4) for value in values])
        self.assertLess(np.abs(four.examples - oracle).max(), 0.51)


class CropAndResizeTest(tf.test.TestCase):
    def test_shrinking_averages_areas_of_the_centred_square(self):
        for height, width in ((24, 40), (40, 24), (32, 32), (25, 24)):
            image = np.random.RandomState(1).randint(0, 256, (height, width, 3)).astype(np.uint8)
            result = images.crop_and_resize(tf.constant(image), 8).numpy()
            oracle = block_means(centre_square(image), 8)
            self.assertLess(np.abs(result - oracle).max(), 0.51)

    def test_fractional_factors_weigh_cut_pixels(self):
        image = np.random.RandomState(2).randint(0, 256, (7, 7, 1)).astype(np.uint8)
        result = images.crop_and_resize(tf.constant(image), 3).numpy()
        self.assertLess(np.abs(result - area_means(image, 3)).max(), 0.51)

    def test_the_right_size_is_left_alone_inside_a_graph_of_unknown_shape(self):
        image = np.random.RandomState(3).randint(0, 256, (9, 9, 3)).astype(np.uint8)
        traced = tf.function(
            lambda x: images.crop_and_resize(x, 9),
            input_signature=[tf.TensorSpec((None, None, 3), tf.uint8)],
        )
        self.assertAllEqual(traced(image), image)
        self.assertAllEqual(images.crop_and_resize(tf.constant(image), 9), image)


class ImageFolderTest(tf.test.TestCase):
    def folder(self, pictures, suffix=".png"):
        root = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        for place, picture in enumerate(pictures):
            # Sorted by relative path, not by folder or by time of writing.
            path = root / f"part_{place // 4}" / f"{len(pictures) - place:03d}{suffix}"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(tf.io.encode_png(picture).numpy())
        return root

    def in_order(self, root):
        paths = sorted(path.relative_to(root).as_posix() for path in root.rglob("*.png"))
        return np.stack([tf.io.decode_png((root / path).read_bytes()).numpy() for path in paths])

    def test_sorted_split_and_sized(self):
        root = self.folder(smooth_pictures(21, 24, 40, 3))
        stored = self.in_order(root)
        oracle = np.stack([block_means(centre_square(picture), 8) for picture in stored])
        is_test = np.arange(21) % 10 == 9
        for split, part in (("train", oracle[~is_test]), ("test", oracle[is_test])):
            source = data.load(f"image_folder:{root}", split, image_size=8)
            self.assertEqual((source.kind, source.shape), ("image", (8, 8, 3)))
            self.assertEqual(source.examples.dtype, np.uint8)
            self.assertEqual(source.examples.shape, part.shape)
            self.assertLess(np.abs(source.examples - part).max(), 0.51)
            self.assertIsNone(source.labels)
        self.assertEqual(data.load(f"image_folder:{root}").shape, (32, 32, 3))
        self.assertIn("32x32", data.load(f"image_folder:{root}").describe()["preprocessing"])

    def test_small_folders_keep_one_picture_for_testing(self):
        root = self.folder(smooth_pictures(2, 8, 8, 3))
        stored = self.in_order(root)
        for split, picture in (("train", stored[:1]), ("test", stored[1:])):
            source = data.load(f"image_folder:{root}", split, image_size=8)
            self.assertAllEqual(source.examples, picture)

    def test_grey_only_when_all_are_grey(self):
        grey = smooth_pictures(4, 8, 8, 1)
        root = self.folder(grey)
        source = data.load(f"image_folder:{root}", image_size=8)
        self.assertEqual(source.shape, (8, 8, 1))
        self.assertAllEqual(source.examples, self.in_order(root)[:3])
        (root / "z.jpeg").write_bytes(
            tf.io.encode_jpeg(smooth_pictures(1, 8, 8, 3)[0], quality=100).numpy()
        )
        # The one coloured file is for testing, and makes the training images RGB too.
        for limit in (0, 2 << 30):
            source = data.load(f"image_folder:{root}", image_size=8, memory_limit_bytes=limit)
            (examples,) = data.batches(source, 9)
            self.assertEqual(source.shape, (8, 8, 3))
            self.assertAllEqual(examples, np.repeat(self.in_order(root), 3, axis=-1))
            test = data.load(f"image_folder:{root}", "test", image_size=8)
            self.assertEqual(test.shape, (8, 8, 3))

    def test_alpha_is_dropped(self):
        pictures = smooth_pictures(3, 8, 8, 4)
        root = self.folder(pictures)
        source = data.load(f"image_folder:{root}", image_size=8)
        self.assertAllEqual(source.examples, self.in_order(root)[:2, ..., :3])
        root = self.folder(pictures[..., :2])  # grey and alpha
        source = data.load(f"image_folder:{root}", image_size=8)
        self.assertAllEqual(source.examples, self.in_order(root)[:2, ..., :1])

    def test_streamed_equals_in_memory(self):
        for channels in (1, 3):
            root = self.folder(smooth_pictures(12, 20, 16, channels), suffix=".PNG")
            name = f"image_folder:{root}"
            whole = data.load(name, image_size=8)
            stream = data.load(name, image_size=8, memory_limit_bytes=0)
            self.assertIsNone(stream.examples)
            self.assertEqual((stream.shape, stream.num_examples), (whole.shape, 11))
            parts = list(data.batches(stream, 4))
            self.assertEqual([len(part) for part in parts], [4, 4, 3])
            self.assertAllEqual(np.concatenate(parts), whole.examples)
            self.assertEqual(sum(map(len, data.batches(stream, 4, limit=6))), 6)
            facts = {**whole.describe(), "in_memory": False}
            self.assertEqual(stream.describe(), facts)

    def test_a_damaged_file_is_named(self):
        root = self.folder(smooth_pictures(9, 8, 8, 3))
        name = f"image_folder:{root}"
        damaged = sorted(root.rglob("*.png"))[4]
        damaged.write_bytes(damaged.read_bytes()[:60])
        for limit in (0, 2 << 30):
            with self.assertRaisesRegex(UserError, f"'{damaged}' cannot be decoded.*remove"):
                data.load(name, memory_limit_bytes=limit)
        damaged.write_bytes(b"")
        with self.assertRaisesRegex(UserError, str(damaged)):
            data.load(name)

    def test_missing_and_empty_folders(self):
        root = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        for folder, words in (
            ("", "names no folder"),
            (root / "none", "names no folder"),
            (root, "holds 0 png or jpg files"),
        ):
            for call in (data.load, data.check):
                with self.assertRaisesRegex(UserError, words):
                    call(f"image_folder:{folder}")
        (root / ".hidden.png").write_bytes(b"")
        (root / "notes.txt").write_text("not a picture")
        (root / "one.png").write_bytes(b"")
        with self.assertRaisesRegex(UserError, "holds 1 png"):
            data.check(f"image_folder:{root}")

    def test_the_description_notices_another_file(self):
        root = self.folder(smooth_pictures(4, 8, 8, 3))
        before = data.load(f"image_folder:{root}").describe()
        self.assertEqual(data.load(f"image_folder:{root}").describe(), before)
        copy = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory())) / "copy"
        moved = data.load(f"image_folder:{shutil.copytree(root, copy)}").describe()
        self.assertEqual(moved["fingerprint"], before["fingerprint"])
        first = sorted(root.rglob("*.png"))[0]
        first.write_bytes(tf.io.encode_png(smooth_pictures(1, 9, 8, 3)[0]).numpy())
        after = data.load(f"image_folder:{root}").describe()
        self.assertNotEqual(after["fingerprint"], before["fingerprint"])


class PreparedTest(tf.test.TestCase):
    """Small sets written by TFDS itself, under the names and with the features of the real ones."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.folder = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        cls.faces = smooth_pictures(23, 218, 178, 3)
        cls.write("celeb_a", "2.1.0", (218, 178, 3), {"train": cls.faces, "test": cls.faces[:5]}, 3)
        pictures = smooth_pictures(9, 96, 96, 3, seed=1)
        parts = {"train": pictures[:2], "test": pictures[2:4], "unlabelled": pictures[4:]}
        cls.write("stl10", "1.0.0", (96, 96, 3), parts, labels={"unlabelled": -1})
        cls.rooms = [smooth_pictures(1, 64, 64 + 9 * place, 3)[0] for place in range(6)]
        parts = {"train": cls.rooms[:4], "validation": cls.rooms[4:]}
        cls.write("lsun", "3.1.0", (None, None, 3), parts, config="classroom", labels=None)

    @classmethod
    def write(cls, name, version, shape, parts, shards=1, config=None, labels=(), folder=None):
        import tensorflow_datasets as tfds

        features = {"image": tfds.features.Image(shape=shape, encoding_format="png")}
        if labels is not None:
            features["label"] = tfds.features.ClassLabel(num_classes=10)
            labels = dict(labels)

        def rows(split, pictures):
            for place, picture in enumerate(pictures):
                label = {} if labels is None else {"label": labels.get(split, place % 10)}
                yield {"image": picture, **label}

        def dataset(split, pictures):
            signature = {"image": tf.TensorSpec(shape, tf.uint8)}
            if labels is not None:
                signature["label"] = tf.TensorSpec((), tf.int64)
            return tf.data.Dataset.from_generator(
                lambda: rows(split, pictures), output_signature=signature
            )

        with mock.patch.dict(os.environ, {"TQDM_DISABLE": "1"}):
            tfds.dataset_builders.store_as_tfds_dataset(
                name,
                version,
                tfds.features.FeaturesDict(features),
                {split: dataset(split, pictures) for split, pictures in parts.items()},
                config=config,
                data_dir=folder or cls.folder,
                download_config=tfds.download.DownloadConfig(
                    num_shards=shards, try_download_gcs=False
                ),
            )

    def load(self, name, split="train", **arguments):
        # Nothing may ask the network, not even in vain.
        with mock.patch.object(socket, "getaddrinfo", side_effect=AssertionError("network")):
            return data.load(name, split, data_dir=str(self.folder), **arguments)

    def as_set(self, pictures):
        return sorted(picture.tobytes() for picture in np.asarray(pictures))

    def test_faces_are_cropped_to_178_and_shrunk_to_64(self):
        source = self.load("celeb_a")
        self.assertEqual((source.shape, source.num_examples), ((64, 64, 3), 23))
        self.assertIn("centre crop", source.describe()["preprocessing"])
        self.assertEqual(source.describe()["prepared_as"], "celeb_a/2.1.0")
        # TFDS shuffles what it writes, so the pictures are compared as a set; the labels, which
        # went along, tell which picture is which up to ten.
        squares = [tf.constant(centre_square(face)) for face in self.faces]
        self.assertEqual(squares[0].shape, (178, 178, 3))
        wanted = [tf.image.resize(square, [64, 64], method="area") for square in squares]
        wanted = np.rint(np.stack(wanted)).astype(np.uint8)
        self.assertEqual(self.as_set(source.examples), self.as_set(wanted))
        self.assertEqual(self.load("celeb_a", "test").num_examples, 5)
        exact = self.load("celeb_a", image_size=89)
        oracle = np.stack([block_means(centre_square(face), 89) for face in self.faces])
        nearest = np.abs(exact.examples[:, np.newaxis] - oracle[np.newaxis]).max(axis=(2, 3, 4))
        self.assertAllLess(nearest.min(axis=1), 0.51)
        self.assertAllEqual(nearest.argmin(axis=1) % 10, exact.labels)

    def test_stl10_trains_on_the_unlabelled_images_at_48(self):
        source = self.load("stl10")
        self.assertEqual((source.shape, source.num_examples), ((48, 48, 3), 5))
        self.assertIsNone(source.labels)
        self.assertEqual(source.describe()["prepared_split"], "unlabelled")
        self.assertAllInSet(self.load("stl10", "test").labels, [0, 1])
        self.assertEqual(self.load("stl10", image_size=96).shape, (96, 96, 3))

    def test_lsun_has_one_form_of_many_sizes_and_tests_on_validation(self):
        for name in ("lsun", "lsun/classroom", "lsun/classroom:3.1.0"):
            source = self.load(name)
            self.assertEqual((source.shape, source.num_examples), ((64, 64, 3), 4))
            self.assertIsNone(source.labels)
        wanted = [centre_square(room) for room in self.rooms[:4]]
        self.assertEqual(self.as_set(source.examples), self.as_set(wanted))
        test = self.load("lsun", "test")
        self.assertEqual(test.describe()["prepared_split"], "validation")
        self.assertEqual(test.num_examples, 2)

    def test_streamed_equals_in_memory(self):
        whole = self.load("celeb_a", image_size=16)
        stream = self.load("celeb_a", image_size=16, memory_limit_bytes=23 * 16 * 16 * 3 - 1)
        self.assertIsNone(stream.examples)
        self.assertIsNotNone(
            self.load("celeb_a", image_size=16, memory_limit_bytes=23 * 16 * 16 * 3).examples
        )
        self.assertFalse(stream.describe()["in_memory"])
        self.assertAllEqual(np.concatenate(list(data.batches(stream, 5))), whole.examples)

    def test_the_newest_version_unless_one_is_named(self):
        folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        for version, count in (("9.0.0", 3), ("10.0.0", 4)):
            parts = {"train": smooth_pictures(count, 8, 8, 1)}
            self.write("kmnist", version, (8, 8, 1), parts, folder=folder)
        (folder / "kmnist" / "11.0.0.incompleteABC").mkdir()
        (folder / "kmnist" / "12.0.0").mkdir()
        for name, count in (("kmnist", 4), ("kmnist:9.0.0", 3), ("kmnist:10.0.0", 4)):
            self.assertEqual(data.load(name, data_dir=str(folder)).num_examples, count)
        with self.assertRaisesRegex(UserError, "holds no prepared 'kmnist:8.0.0'"):
            data.check("kmnist:8.0.0", str(folder))
        with self.assertRaisesRegex(UserError, "no split 'test' or 'validation', only 'train'"):
            data.load("kmnist", "test", data_dir=str(folder))
        with mock.patch.dict(os.environ, {"TFDS_DATA_DIR": str(folder)}):
            self.assertEqual(data.load("kmnist").num_examples, 4)

    def test_several_forms_are_not_guessed_between(self):
        folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        for config in ("64x64", "8x8"):
            parts = {"train": smooth_pictures(3, 8, 8, 3)}
            self.write("imagenet_resized", "0.1.0", (8, 8, 3), parts, config=config, folder=folder)
        with self.assertRaisesRegex(UserError, "'imagenet_resized/64x64', 'imagenet_resized/8x8'"):
            data.load("imagenet_resized", data_dir=str(folder))
        source = data.load("imagenet_resized/8x8", data_dir=str(folder))
        self.assertEqual((source.shape, source.num_examples), ((8, 8, 3), 3))

    def test_what_is_not_there_comes_with_its_command(self):
        for name in ("cifar10", "fashion_mnist", "oxford_flowers102"):
            command = rf"tfds.builder\('{name}', data_dir='{self.folder}'\).download_and_prepare"
            with self.assertRaisesRegex(UserError, f"holds no prepared '{name}'.*{command}"):
                self.load(name)
        with self.assertRaisesRegex(UserError, "data_dir='/nowhere' holds no prepared 'mnist'"):
            data.load("mnist", data_dir="/nowhere")
        with self.assertRaisesRegex(UserError, "lsun.*tensorflow-io.*image_folder"):
            data.check("lsun", "/nowhere")

    def test_lost_and_damaged_files(self):
        folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        shutil.copytree(self.folder / "celeb_a", folder / "celeb_a")
        shard = sorted(folder.rglob("celeb_a-train*"))[1]
        whole = shard.read_bytes()
        shard.write_bytes(whole[:-100])
        with self.assertRaisesRegex(UserError, "celeb_a/2.1.0' is damaged.*prepare it again"):
            data.load("celeb_a", data_dir=str(folder))
        shard.write_bytes(b"")
        with self.assertRaisesRegex(UserError, "the 23 examples of its split 'train'"):
            data.load("celeb_a", data_dir=str(folder))
        shard.write_bytes(whole + whole)
        with self.assertRaisesRegex(UserError, "is damaged"):
            data.load("celeb_a", data_dir=str(folder))
        shard.unlink()
        with self.assertRaisesRegex(UserError, f"lacks its file '{shard}'"):
            data.load("celeb_a", data_dir=str(folder))

    def test_sets_without_one_8_bit_image_are_refused(self):
        folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        pictures = {"train": smooth_pictures(2, 8, 8, 4)}
        self.write("omniglot", "3.0.0", (8, 8, 4), pictures, folder=folder)
        with self.assertRaisesRegex(UserError, r"uint8 \[8, 8, 4\].*8-bit grey or RGB"):
            data.load("omniglot", data_dir=str(folder))


class PapersSetsTest(parameterized.TestCase, tf.test.TestCase):
    """The image sets of the SMMD and repulsive papers: TFDS's own features, invented pictures."""

    NAMES = {
        "celeb_a": ("train", "validation", "test"),
        "stl10": ("train", "test", "unlabelled"),
        "imagenet_resized/64x64": ("train", "validation"),
        "lsun/bedroom": ("train", "validation"),
    }
    # A split's number of examples tells which one was read.
    COUNTS = {"train": 13, "validation": 3, "test": 4, "unlabelled": 11}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        import tensorflow_datasets as tfds

        cls.folder = cls.enterClassContext(tempfile.TemporaryDirectory())
        nothing = cls.enterClassContext(tempfile.TemporaryDirectory())
        with mock.patch.object(socket, "getaddrinfo", side_effect=AssertionError("network")):
            for name, splits in cls.NAMES.items():
                # TFDS's own builder gives version and features; nothing of the set is needed.
                builder = tfds.builder(name, data_dir=nothing)
                parts = {}
                for split in splits:
                    with tfds.testing.mock_data(num_examples=cls.COUNTS[split]):
                        parts[split] = builder.as_dataset(split=split)
                base, _, config = name.partition("/")
                with mock.patch.dict(os.environ, {"TQDM_DISABLE": "1"}):
                    tfds.dataset_builders.store_as_tfds_dataset(
                        base,
                        str(builder.version),
                        builder.info.features,
                        parts,
                        config=config or None,
                        data_dir=cls.folder,
                        download_config=tfds.download.DownloadConfig(
                            num_shards=2, try_download_gcs=False
                        ),
                    )

    def load(self, name, split="train", **arguments):
        with mock.patch.object(socket, "getaddrinfo", side_effect=AssertionError("network")):
            return data.load(name, split, data_dir=self.folder, **arguments)

    def stored(self, name, split):
        """The pictures as TFDS itself reads them."""
        import tensorflow_datasets as tfds

        (version,) = (pathlib.Path(self.folder) / name).iterdir()
        dataset = tfds.builder_from_directory(version).as_dataset(split=split)
        return [example["image"] for example in dataset.as_numpy_iterator()]

    @parameterized.parameters(
        ("celeb_a", 64, "train", "test"),
        ("stl10", 48, "unlabelled", "test"),
        ("imagenet_resized/64x64", 64, "train", "validation"),
        ("lsun/bedroom", 64, "train", "validation"),
    )
    def test_default_size_and_splits(self, name, size, train, test):
        for split, stored_as in (("train", train), ("test", test)):
            source = self.load(name, split)
            self.assertEqual(source.describe()["prepared_split"], stored_as)
            self.assertEqual(source.num_examples, self.COUNTS[stored_as])
            self.assertEqual(source.examples.shape[1:], (size, size, 3))
            self.assertEqual(source.examples.dtype, np.uint8)
            self.assertEqual(source.name, name)

    @parameterized.parameters(("celeb_a", 64, 178), ("celeb_a", 160, 178), ("stl10", 48, 96))
    def test_centre_squares_averaged_over_areas(self, name, size, side):
        stored = self.stored(name, {"celeb_a": "train", "stl10": "unlabelled"}[name])
        squares = [centre_square(picture) for picture in stored]
        self.assertEqual({square.shape for square in squares}, {(side, side, 3)})
        oracle = np.stack([area_means(square, size) for square in squares])
        source = self.load(name, image_size=size)
        self.assertEqual(len(source.examples), len(oracle))
        # Both readers keep the stored order.
        self.assertLess(np.abs(source.examples - oracle).max(), 0.51)
        self.assertIn(f"{size}x{size}", source.describe()["preprocessing"])

    def test_the_square_of_a_face_leaves_out_twenty_rows_above_and_below(self):
        rows = np.arange(218, dtype=np.uint8)[:, np.newaxis, np.newaxis]
        face = tf.constant(np.broadcast_to(rows, (218, 178, 3)))
        self.assertAllEqual(images.crop_and_resize(face, 178)[:, 0, 0], np.arange(20, 198))

    def test_imagenet_64_is_taken_as_it_is_stored(self):
        source = self.load("imagenet_resized/64x64")
        self.assertEqual(source.describe()["preprocessing"], "none")
        wanted = sorted(image.tobytes() for image in self.stored(source.name, "train"))
        self.assertEqual(sorted(image.tobytes() for image in source.examples), wanted)
        self.assertLen(source.labels, 13)
        # There is only one form here, so the short name finds it.
        self.assertAllEqual(self.load("imagenet_resized").examples, source.examples)

    @parameterized.product(
        which=(
            ("celeb_a", {}, 64),
            ("celeb_a", {"image_size": 160}, 160),
            ("stl10", {}, 48),
            ("imagenet_resized/64x64", {}, 64),
            ("lsun/bedroom", {}, 64),
        ),
        streamed=(False, True),
    )
    def test_training_batches(self, which, streamed):
        name, options, size = which
        limit = {"memory_limit_bytes": 0} if streamed else {}
        source = self.load(name, **options, **limit)
        self.assertEqual(source.examples is None, streamed)
        self.assertEqual(source.shape, (size, size, 3))
        dataset = pipeline.training_dataset(
            source, seed=3, batch_size=4, batches_per_step=2, num_replicas=2
        )
        self.assertEqual(dataset.element_spec.dtype, tf.uint8)
        # Two epochs and more; each has every picture once.
        elements = list(dataset.take(8).as_numpy_iterator())
        self.assertEqual({element.shape for element in elements}, {(2, 2, size, size, 3)})
        # [steps, replicas, batches, share, ...] to the order in which the steps use them.
        rows = np.stack(elements).reshape(4, 2, 2, 2, size, size, 3).swapaxes(1, 2)
        rows = [row.tobytes() for row in rows.reshape(32, size, size, 3)]
        (whole,) = data.batches(source, source.num_examples)
        whole = sorted(picture.tobytes() for picture in whole)
        self.assertEqual(sorted(rows[: len(whole)]), whole)
        self.assertEqual(sorted(rows[len(whole) : 2 * len(whole)]), whole)
        self.assertNotEqual(rows[: len(whole)], rows[len(whole) : 2 * len(whole)])


class RealDataTest(tf.test.TestCase):
    def folder(self, name):
        folder, reason = datadir.data_dir(name)
        if folder is None:
            self.skipTest(reason)
        return folder

    def test_mnist(self):
        folder = self.folder("mnist")
        test = data.load("mnist", "test", data_dir=folder)
        self.assertEqual((test.shape, test.num_examples), ((28, 28, 1), 10_000))
        # The counts of the digits in the published test set.
        counts = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
        self.assertAllEqual(np.bincount(test.labels), counts)
        self.assertEqual((test.examples.min(), test.examples.max()), (0, 255))
        self.assertEqual(test.describe()["preprocessing"], "none")
        smaller = data.load("mnist", "test", data_dir=folder, image_size=14)
        oracle = np.stack([block_means(image, 14) for image in test.examples[:200]])
        self.assertLess(np.abs(smaller.examples[:200] - oracle).max(), 0.51)

    def test_cifar10_trains_on_the_training_images_alone(self):
        folder = self.folder("cifar10")
        train = data.load("cifar10", data_dir=folder, memory_limit_bytes=1 << 20)
        self.assertEqual((train.shape, train.num_examples), ((32, 32, 3), 50_000))
        test = data.load("cifar10", "test", data_dir=folder)
        self.assertEqual((test.shape, test.num_examples), ((32, 32, 3), 10_000))
        self.assertAllEqual(np.bincount(test.labels), np.full(10, 1000))
        stream = data.load("cifar10", "test", data_dir=folder, memory_limit_bytes=1 << 20)
        (first,) = data.batches(stream, 300, limit=300)
        self.assertAllEqual(first, test.examples[:300])


class BlockLengthTest(tf.test.TestCase):
    def test_bounds(self):
        self.assertEqual(records.block_length(100, 100), 100)
        self.assertEqual(records.block_length(10**6, 10**9), 16_384)
        self.assertEqual(records.block_length(10**6, 10**6 << 20), 128)
        self.assertEqual(records.block_length(2, 2 << 40), 1)


if __name__ == "__main__":
    tf.test.main()
