"""Galleries: interpolations, neighbours, carpets, maps and curves, each against plain NumPy."""

import json
import pathlib
import tempfile
from unittest import mock

import numpy as np
import tensorflow as tf
from scipy.spatial import distance

from kgzoo.errors import UserError
from kgzoo.evaluation import carpets, curves, embeddings, galleries, pictures
from kgzoo.methods import latent_paths

LINEAR = latent_paths.path_of("uniform")


def uniform(*shape, seed=0):
    return np.random.RandomState(seed).uniform(-1.0, 1.0, size=shape).astype(np.float32)


def flat(latents, side=8, channels=1):
    """Images of one grey each: the first latent coordinate, from [-1, 1]."""
    grey = (np.asarray(latents)[:, 0] + 1.0) / 2.0
    return np.broadcast_to(grey[:, None, None, None], (len(grey), side, side, channels))


def pixels(images):
    return np.asarray(images).reshape(len(images), -1)


def two_classes(images):
    """Logits that the mean grey m decides: 8 m - 4 for class 0, nothing for class 1."""
    grey = pixels(images).mean(axis=1)
    return np.stack([8.0 * grey - 4.0, np.zeros(len(images))], axis=1)


def new_folder(test):
    folder = tempfile.TemporaryDirectory()
    test.addCleanup(folder.cleanup)
    return pathlib.Path(folder.name)


def entropy(logits):
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return -(p * np.log(p)).sum(axis=1)


class InterpolationTest(tf.test.TestCase):
    def _greys(self, picture, rows, columns, scale):
        """The middle pixel of every cell, the gaps beside the ends left out."""
        parts = [(0, 1), (1, columns - 1), (columns - 1, columns)]
        left, found = 0, []
        for start, end in parts:
            x = left + 1 + np.arange(end - start) * (8 * scale + 1) + 4 * scale
            y = 1 + np.arange(rows) * (8 * scale + 1) + 4 * scale
            found.append(picture[y][:, x, 0])
            left += (end - start) * (8 * scale + 1) + 1 + 8
        return np.concatenate(found, axis=1)

    def test_straight_path(self):
        starts, ends = uniform(3, 4), uniform(3, 4, seed=1)
        picture = galleries.interpolation_grid(flat, starts, ends, LINEAR, columns=5)
        t = np.linspace(0, 1, 5)
        expected = ((1 - t) * starts[:, :1] + t * ends[:, :1] + 1) / 2 * 255
        self.assertAllClose(self._greys(picture, 3, 5, 26), expected, atol=1.0)

    def test_path_along_the_sphere(self):
        starts, ends = np.float32([[1.0, 0.0]]), np.float32([[0.0, 1.0]])
        path = latent_paths.path_of("normal")
        picture = galleries.interpolation_grid(flat, starts, ends, path, columns=7)
        expected = (np.cos(np.linspace(0, np.pi / 2, 7)) + 1) / 2 * 255
        found = self._greys(picture, 1, 7, 22)
        self.assertAllClose(found[0], expected, atol=1.0)

    def test_sizes_and_channels(self):
        for side, channels in ((8, 1), (33, 3), (64, 3)):
            picture = galleries.interpolation_grid(
                lambda z, s=side, c=channels: flat(z, s, c), uniform(2, 3), uniform(2, 3), LINEAR
            )
            self.assertEqual((picture.dtype, picture.shape[2]), (np.uint8, 3))
            self.assertLess(max(picture.shape), 1400)

    def test_refusals(self):
        z = uniform(2, 3)
        for arguments in (
            (flat, z, z[:1], LINEAR),
            (flat, z, z, LINEAR, 2),
            (lambda latents: latents, z, z, LINEAR),
            (flat, np.repeat(z, 600, 0), np.repeat(z, 600, 0), LINEAR),
        ):
            with self.assertRaises(UserError):
                galleries.interpolation_grid(*arguments)


class NeighboursTest(tf.test.TestCase):
    def test_nearest_by_pixels_and_by_features(self):
        random = np.random.RandomState(0)
        train = random.randint(0, 256, size=(50, 8, 8, 3)).astype(np.uint8)
        samples = random.uniform(size=(4, 8, 8, 3)).astype(np.float32)
        samples[2] = train[17] / 255.0
        of_train = uniform(50, 3)
        with mock.patch.object(galleries, "_PART", 12):  # the last part is smaller than k
            found = galleries.neighbour_columns(
                samples, train, 3, (of_train[[5, 6, 7, 8]], of_train)
            )
        apart = distance.cdist(samples.reshape(4, -1), train.reshape(50, -1) / 255.0)
        order = np.argsort(apart, axis=1)[:, :3]
        self.assertAllEqual(found.indices, order)
        self.assertAllClose(found.distances, np.take_along_axis(apart, order, 1), atol=1e-5)
        self.assertEqual(found.indices[2, 0], 17)
        self.assertAllEqual(found.feature_indices[:, 0], [5, 6, 7, 8])
        # 4 rows of 8 pixels: 20 times as large. The sample, 3 neighbours, 3 neighbours.
        row = found.picture[1 + 2 * 161 + 80]
        cells = [81, 162 + 8 + 81, 162 + 8 + 484 + 8 + 81]
        shown = [samples[2], train[17] / 255.0, train[7] / 255.0]
        for at, image in zip(cells, shown, strict=True):
            self.assertAllClose(row[at] / 255.0, image[4, 4], atol=1 / 255)

    def test_refusals(self):
        images = np.zeros((3, 8, 8, 1), np.uint8)
        for arguments in (
            (images, images, 4),
            (images, images[:, :4]),
            (images, images, 2, (np.zeros((3, 2)), np.zeros((2, 2)))),
            (np.full((3, 8, 8, 1), np.nan), images, 2),
        ):
            with self.assertRaises(UserError):
                galleries.neighbour_columns(*arguments)


class CarpetTest(tf.test.TestCase):
    def test_entropies_of_logits(self):
        logits = 3.0 * np.random.RandomState(0).normal(size=(20, 5))
        self.assertAllClose(carpets.entropies(logits), entropy(logits), rtol=1e-12)
        extreme = carpets.entropies([[1e4, 0.0], [0.0, 0.0]])
        self.assertAllClose(extreme, [0.0, np.log(2.0)])
        for bad in ([[0.0]], [1.0, 2.0], [[np.nan, 0.0]]):
            with self.assertRaises(UserError):
                carpets.entropies(bad)

    def test_convex_combinations_of_the_paper(self):
        corners, side, refine = uniform(4, 3, seed=3), 4, 3
        found = carpets.entropy_carpet(flat, two_classes, corners, LINEAR, side, refine)
        self.assertAllClose(found.most, np.log(2.0))
        self.assertEqual(found.entropies.shape, (12, 12))
        z2, z1, z4, z3 = corners.astype(np.float64)  # x to the right, y upwards
        for row in range(side):
            for column in range(side):
                x, y = column / (side - 1), 1 - row / (side - 1)
                latent = x * y * z1 + (1 - x) * y * z2 + x * (1 - y) * z3 + (1 - x) * (1 - y) * z4
                expected = entropy(two_classes(flat(latent[None])))[0]
                # The middle point of the image's own three by three.
                self.assertAllClose(found.entropies[3 * row + 1, 3 * column + 1], expected)
        self.assertAllEqual(found.entropies[0], found.entropies[1])

    def test_bright_is_uncertain(self):
        corners = np.float32([[-1.0], [1.0], [-1.0], [1.0]])
        found = carpets.entropy_carpet(flat, two_classes, corners, LINEAR, 5, 5)
        half = (found.picture.shape[1] - 8) // 2
        right = found.picture[:, half + 8 :].astype(int).sum(axis=2)
        self.assertEqual(right.shape[1], half)
        # Grey 1/2 is in the middle, and nothing changes downwards.
        self.assertAllEqual(right, np.broadcast_to(right[:1], right.shape))
        self.assertGreater(right[0, half // 2], 2 * right[0, 0])
        self.assertAllClose(found.entropies[:, 12], np.full(25, np.log(2.0)), atol=1e-6)

    def test_refusals(self):
        for arguments in ((uniform(3, 2),), (uniform(4, 2), 1), (uniform(4, 2), 200)):
            with self.assertRaises(UserError):
                carpets.entropy_carpet(flat, two_classes, arguments[0], LINEAR, *arguments[1:])


class SheetTest(tf.test.TestCase):
    def test_rows_are_classes_and_columns_rise_in_entropy(self):
        random = np.random.RandomState(1)
        logits = random.normal(size=(40, 4))
        logits[:, 3] = -20.0  # nobody's class
        logits[:36, 2] = -20.0  # a class of a few
        logits[36:, 2] = 20.0
        images = random.randint(0, 256, size=(40, 8, 8, 1)).astype(np.uint8)
        sheet = carpets.entropy_sheet(images, logits, columns=6)
        self.assertAllEqual(sheet.classes, logits.argmax(axis=1))
        for number in range(4):
            members = np.flatnonzero(sheet.classes == number)
            shown = sheet.indices[number][sheet.indices[number] >= 0]
            self.assertEqual(len(shown), min(6, len(members)))
            self.assertEqual(len(set(shown)), len(shown))
            self.assertContainsSubset(shown, members)
            rising = entropy(logits)[shown]
            self.assertAllEqual(rising, np.sort(rising))
            if len(members):
                extremes = entropy(logits)[members]
                self.assertAllClose(rising[[0, -1]], [extremes.min(), extremes.max()])
        self.assertAllEqual(sheet.indices[3], [-1] * 6)
        scale = 700 // 48
        step = 8 * scale + 1
        cell = sheet.picture[1 : 8 * scale + 1, 1 : 8 * scale + 1, 0]
        self.assertAllEqual(cell[::scale, ::scale], images[sheet.indices[0, 0], ..., 0])
        self.assertAllEqual(np.unique(sheet.picture[3 * step + 1 :]), [64])

    def test_blank_cells_of_floats_have_the_same_grey(self):
        sheet = carpets.entropy_sheet(np.ones((1, 8, 8, 3)), [[1.0, 0.0]], columns=2)
        self.assertAllEqual(np.unique(sheet.picture), [64, 255])

    def test_refusals(self):
        for logits in (np.zeros((3, 2)), np.zeros((2, 300)), np.zeros(2)):
            with self.assertRaises(UserError):
                carpets.entropy_sheet(np.zeros((2, 8, 8, 1)), logits)


class CriticMapTest(tf.test.TestCase):
    def test_groups_of_the_critic_stay_groups(self):
        random = np.random.RandomState(0)
        centres = 20.0 * np.eye(3, 6)
        labels = np.arange(60) % 3
        real = centres[labels] + random.normal(size=(60, 6))
        generated = centres[labels[:30]] + random.normal(size=(30, 6))
        found = embeddings.critic_map(real, labels, generated, labels[:30])
        again = embeddings.critic_map(real, labels, generated, labels[:30])
        self.assertAllEqual(found.real, again.real)
        self.assertAllEqual(found.picture, again.picture)
        self.assertEqual((found.real.shape, found.generated.shape), ((60, 2), (30, 2)))
        middles = np.stack([found.real[labels == c].mean(axis=0) for c in range(3)])
        for points, classes in ((found.real, labels), (found.generated, labels[:30])):
            self.assertAllEqual(distance.cdist(points, middles).argmin(axis=1), classes)
        # The first colours of the palette, in either panel.
        half = round(0.468 * found.picture.shape[1])  # the legend has the rest
        for panel in (found.picture[:, :half], found.picture[:, half : 2 * half]):
            for colour in ((31, 119, 180), (255, 127, 14), (44, 160, 44)):
                far = np.abs(panel.astype(int) - colour).max(axis=-1)
                self.assertLess(far.min(), 12)  # dots have soft edges

    def test_a_collapsed_critic_and_one_output(self):
        for real in (np.zeros((20, 4)), np.arange(20.0)[:, None], 1e30 * uniform(20, 3)):
            self.assertTrue(np.isfinite(embeddings.critic_map(real).real).all())

    def test_refusals(self):
        real = uniform(20, 3)
        for options in (
            {"labels": np.zeros(19, int)},
            {"labels": np.zeros(20)},
            {"classes": np.zeros(20, int)},
            {"generated": uniform(20, 4)},
            {"perplexity": 1.0},
            {"generated": np.full((2, 3), np.inf)},
        ):
            with self.assertRaises(UserError):
                embeddings.critic_map(real, **options)
        with self.assertRaisesRegex(UserError, "too few"):
            embeddings.critic_map(real[:5])


class CurvesTest(tf.test.TestCase):
    def _write(self, name, *lines):
        path = new_folder(self) / name
        path.write_text("\n".join(lines), encoding="utf-8")
        return path

    def test_reads_what_a_killed_and_diverged_run_leaves(self):
        path = self._write(
            "metrics.jsonl",
            '{"step": 1, "loss": 2.0, "note": "x", "images_per_second": 5}',
            '{"step": 2, "loss": NaN, "done": true}',
            "not JSON",
            "[3]",
            '{"loss": 9.0}',
            '{"step": 4, "loss": 7.0}',
            '{"step": 3, "loss": -Infinity}',
            '{"step": 3, "kid": 0.5}',
            '{"step": 5, "lo',
        )
        series = curves.read_series(path)
        self.assertEqual(list(series), ["loss", "kid"])
        self.assertAllEqual(series["loss"], [(1, 2.0), (2, np.nan), (3, -np.inf)])
        self.assertEqual(series["kid"], [(3.0, 0.5)])
        self.assertEqual(curves.read_series(path.with_name("missing.jsonl")), {})

    def test_crosses_tell_where_values_are_not_finite(self):
        def redness(*values):
            lines = (json.dumps({"step": i, "loss": v}) for i, v in enumerate(values))
            picture = curves.training_curves(self._write("metrics.jsonl", *lines)).astype(int)
            return ((picture[..., 0] > 200) & (picture[..., 1:].max(axis=-1) < 60)).sum()

        self.assertEqual(redness(1.0, 2.0, 3.0), 0)
        self.assertGreater(redness(1.0, np.nan, 3.0), 5)
        self.assertGreater(redness(np.inf, np.nan), 5)
        self.assertEqual(redness(1e-200, 1e300, 1.0, 5.0), 0)

    def test_spectra(self):
        def line(step, *values):
            return json.dumps({"step": step, "layers": {"1_dense": {"singular_values": values}}})

        path = self._write("s", line(0, 1.0, 3.0, None, np.nan), line(5, 2.0, 0.0), line(6), "{")
        found = curves.read_spectra(path)["1_dense"]
        self.assertEqual([(s, v.tolist()) for s, v in found], [(0, [3.0, 1.0]), (5, [2.0, 0.0])])
        self.assertEqual(curves.singular_values(path).shape[2], 3)
        many = {f"{i}_dense": {"singular_values": [i + 1.0]} for i in range(30)}
        path = self._write("s", json.dumps({"step": 0, "layers": many}))
        self.assertLess(curves.singular_values(path).shape[0], 1000)

    def test_nothing_to_draw(self):
        for draw in (curves.training_curves, curves.singular_values):
            with self.assertRaisesRegex(UserError, "holds no"):
                draw(self._write("empty.jsonl", '{"step": 1}', '{"step": 2, "layers": [1]}'))

    def test_without_matplotlib(self):
        with mock.patch.dict("sys.modules", {"matplotlib": None}):
            with self.assertRaisesRegex(UserError, "pip install matplotlib"):
                curves.blank_figure(1, 1, 1.0, 1.0)


class GalleryTest(tf.test.TestCase):
    def _folder(self):
        return new_folder(self)

    def test_everything_that_a_model_allows(self):
        run, latents = self._folder(), uniform(20, 3)
        (run / "metrics.jsonl").write_text('{"step": 1, "loss": 2.0}\n{"st')
        (run / "spectra.jsonl").write_text("")
        train = np.random.RandomState(0).randint(0, 256, size=(30, 8, 8, 1)).astype(np.uint8)
        arguments = dict(
            latents=latents,
            decode=flat,
            path=LINEAR,
            train=train,
            extract=lambda images: (
                np.asarray(images).reshape(len(images), -1),
                two_classes(images),
            ),
            real=train,
            labels=np.arange(30) % 2,
            critic_features=lambda images: pixels(images)[:, :4],
            run=run,
        )
        samples = flat(latents)
        written = galleries.write_gallery(self._folder() / "new", samples, **arguments)
        names = "samples interpolation neighbours classes carpet critic curves".split()
        self.assertEqual([p.name for p in written], [f"{n}.png" for n in names] + ["gallery.json"])
        self.assertEqual(sorted(p.name for p in written[0].parent.iterdir()),
                         sorted(p.name for p in written))  # fmt: skip
        for path in written[:-1]:
            self.assertEqual(tf.io.decode_png(path.read_bytes()).shape[2], 3)
        facts = json.loads(written[-1].read_text())
        apart = distance.cdist(samples[:8].reshape(8, -1), train.reshape(30, -1) / 255.0)
        self.assertAllClose(
            facts["neighbours"]["distances"], np.sort(apart, axis=1)[:, :5], atol=1e-5
        )
        grey = (latents[:, 0] + 1) / 2
        self.assertEqual(facts["classes"]["counts"], [(grey > 0.5).sum(), (grey <= 0.5).sum()])
        again = galleries.write_gallery(self._folder(), samples, **arguments)
        for one, other in zip(written, again, strict=True):
            self.assertEqual(one.read_bytes(), other.read_bytes())

    def test_vectors_and_models_that_allow_little(self):
        points = uniform(40, 2)
        written = galleries.write_gallery(
            self._folder(), points, kind="vector", decode=flat, latents=points, path=LINEAR,
            run=self._folder(), critic_features=np.tanh, real=points, train=points,
        )  # fmt: skip
        self.assertEqual([p.name for p in written], ["samples.png", "critic.png", "gallery.json"])
        expected = pictures.scatter(points)
        self.assertAllEqual(tf.io.decode_png(written[0].read_bytes()), expected)

    def test_an_extractor_that_is_no_classifier(self):
        images = flat(uniform(20, 2))
        written = galleries.write_gallery(
            self._folder(), images, train=images, extract=lambda x: (np.zeros((len(x), 2)), None)
        )
        names = ["samples.png", "neighbours.png", "gallery.json"]
        self.assertEqual([path.name for path in written], names)

    def test_refusals(self):
        with self.assertRaisesRegex(UserError, "at least 4"):
            galleries.write_gallery(
                self._folder(), flat(uniform(9, 2)), latents=uniform(3, 2), decode=flat, path=LINEAR
            )


if __name__ == "__main__":
    tf.test.main()
