"""Grids, scatter plots, histograms and PNG files, pixel by pixel."""

import pathlib
import warnings
from unittest import mock

import numpy as np
import tensorflow as tf

from kgzoo.errors import UserError
from kgzoo.evaluation import pictures


class GridTest(tf.test.TestCase):
    def test_every_pixel_is_at_its_place(self):
        images = np.random.RandomState(0).randint(0, 256, size=(5, 4, 3, 3)).astype(np.uint8)
        grid = pictures.grid(images, columns=2, scale=3)
        self.assertEqual(grid.shape, (3 * (4 * 3 + 1) + 1, 2 * (3 * 3 + 1) + 1, 3))
        expected = np.full(grid.shape, grid[0, 0, 0])
        for index in range(5):
            for y in range(12):
                for x in range(9):
                    row, column = index // 2 * 13 + 1 + y, index % 2 * 10 + 1 + x
                    expected[row, column] = images[index, y // 3, x // 3]
        self.assertAllEqual(grid, expected)

    def test_readable_size(self):
        shape = pictures.grid(np.zeros((64, 16, 16, 1), np.uint8)).shape
        self.assertBetween(shape[0], 400, 600)
        self.assertEqual(shape[0], shape[1])
        self.assertBetween(pictures.grid(np.zeros((64, 64, 64, 3), np.uint8)).shape[0], 400, 600)

    def test_grey_and_floats(self):
        grey = np.arange(8, dtype=np.uint8).reshape(2, 2, 2, 1) * 36
        grid = pictures.grid(grey, scale=1)
        self.assertAllEqual(grid[1, 1:3], np.repeat(grey[0, 0], 3, axis=-1))
        self.assertAllEqual(pictures.grid(grey / 255.0, scale=1), grid)
        wild = np.array([-1.0, 2.0, np.nan, 0.5]).reshape(1, 2, 2, 1)
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # NumPy's, of casting NaN to an integer
            inner = pictures.grid(wild, scale=1)[1:3, 1:3, 0]
        self.assertAllEqual(inner, [[0, 255], [0, 128]])

    def test_errors(self):
        for images in (np.zeros((0, 4, 4, 1)), np.zeros((4, 4, 1)), np.zeros((2, 4, 4, 2))):
            with self.assertRaisesRegex(UserError, "1 or 3 channels"):
                pictures.grid(images)
        with self.assertRaisesRegex(UserError, "columns=0"):
            pictures.grid(np.zeros((2, 4, 4, 1)), columns=0)
        with self.assertRaisesRegex(UserError, "scale=0"):
            pictures.grid(np.zeros((2, 4, 4, 1)), scale=0)


def _redness(picture):
    """How much more red than blue: positive where samples are, negative where the reference is."""
    return picture[..., 0].astype(int) - picture[..., 2].astype(int)


class ScatterTest(tf.test.TestCase):
    def test_points_are_where_they_belong(self):
        corners = np.array([[-1.0, -1.0], [1.0, 1.0]])
        picture = pictures.scatter(np.array([[1.0, 0.0]]), reference=corners)
        self.assertEqual((picture.shape, picture.dtype), ((480, 480, 3), np.uint8))
        rows, columns = np.nonzero(_redness(picture) > 40)
        # The view is [-1.5, 1.5] on 455 pixels from pixel 12 on; y points upwards.
        self.assertAllClose(rows.mean(), 12 + 455 * 0.5, atol=1.0)
        self.assertAllClose(columns.mean(), 12 + 455 * 2.5 / 3, atol=1.0)
        rows, columns = np.nonzero(_redness(picture) < -15)
        self.assertAllClose([rows.min(), rows.max()], [12 + 455 / 6, 12 + 455 * 5 / 6], atol=3.0)
        lower_left = columns[rows > 240]
        self.assertAllClose(lower_left.mean(), 12 + 455 / 6, atol=1.0)

    def test_view_follows_the_reference_not_the_points(self):
        reference = np.random.RandomState(0).normal(size=(50, 2))
        empty = _redness(pictures.scatter(reference[:1], reference)) < -15
        for scale in (0.0, 100.0):
            points = scale * np.random.RandomState(1).normal(size=(1, 2))
            moved = _redness(pictures.scatter(points, reference)) < -15
            self.assertLess(np.mean(moved != empty), 1e-3)

    def test_far_points_are_drawn_on_the_frame(self):
        picture = pictures.scatter(np.array([[1e6, 0.0]]), reference=np.array([[-1.0, -1], [1, 1]]))
        columns = np.nonzero(_redness(picture) > 40)[1]
        self.assertNotEmpty(columns)
        self.assertGreaterEqual(columns.min(), 463)

    def test_one_repeated_point(self):
        picture = pictures.scatter(np.ones((10, 2)))
        self.assertGreater(np.sum(_redness(picture) > 40), 5)

    def test_errors(self):
        with self.assertRaisesRegex(UserError, r"\[n, 2\]"):
            pictures.scatter(np.zeros((3, 3)))
        with self.assertRaisesRegex(UserError, "NaN"):
            pictures.scatter(np.full((3, 2), np.nan))


class ViewsTest(tf.test.TestCase):
    def test_points_are_where_they_belong_in_both_panels(self):
        corners = np.array([[-1.0, -1.0, -1.0], [1.0, 1.0, 1.0]])
        picture = pictures.views(np.array([[1.0, 0.5, -0.5]]), reference=corners)
        self.assertEqual((picture.shape, picture.dtype), ((480, 960, 3), np.uint8))
        # The view is [-1.5, 1.5] on 455 pixels from pixel 12 on; the second coordinate upwards.
        for panel, horizontal in ((picture[:, :480], 1.0), (picture[:, 480:], -0.5)):
            rows, columns = np.nonzero(_redness(panel) > 40)
            self.assertAllClose(rows.mean(), 12 + 455 * (1.5 - 0.5) / 3, atol=1.0)
            self.assertAllClose(columns.mean(), 12 + 455 * (1.5 + horizontal) / 3, atol=1.0)

    def test_panels_have_one_scale_and_follow_the_reference(self):
        reference = np.random.RandomState(0).normal(size=(40, 3)) * [4.0, 1.0, 0.5] + [9.0, 0, 0]
        wide = _redness(pictures.views(1e6 * reference[:1], reference)) < -15
        extents = []
        for panel in (wide[:, :480], wide[:, 480:]):
            extents.append(np.ptp(np.nonzero(panel)[1]) - 4)  # without the discs' radii
        expected = 455 * np.ptp(reference, axis=0)[[0, 2]] / (1.5 * np.ptp(reference[:, 0]))
        self.assertAllClose(extents, expected, atol=3.0)
        rows = [np.nonzero(panel)[0] for panel in (wide[:, :480], wide[:, 480:])]
        self.assertAllClose(rows[0].min(), rows[1].min(), atol=1.0)

    def test_errors(self):
        with self.assertRaisesRegex(UserError, r"points have shape \[4, 2\]; give \[n, 3\]"):
            pictures.views(np.zeros((4, 2)))
        with self.assertRaisesRegex(UserError, "reference hold NaN"):
            pictures.views(np.zeros((4, 3)), np.full((2, 3), np.nan))


class PictureTest(tf.test.TestCase):
    def test_one_entry_for_all_kinds(self):
        random = np.random.RandomState(0)
        images, points = random.uniform(size=(4, 8, 8, 1)), random.normal(size=(20, 5))
        self.assertAllEqual(pictures.picture(images, "image"), pictures.grid(images))
        self.assertAllEqual(
            pictures.picture(points, "vector", reference=points[:9]),
            pictures.scatter(points[:, :2], points[:9, :2]),
        )
        self.assertAllEqual(
            pictures.picture(points[:, :1], "vector"), pictures.histogram(points[:, 0])
        )
        self.assertAllEqual(
            pictures.picture(points[:, :3], "vector", reference=points[:9, :3]),
            pictures.views(points[:, :3], points[:9, :3]),
        )
        with self.assertRaisesRegex(UserError, "kind='sound'"):
            pictures.picture(points, "sound")
        with self.assertRaisesRegex(UserError, r"\[n, d\]"):
            pictures.picture(images, "vector")

    def test_histogram_bars(self):
        # Three quarters of the values in one place, a quarter in another: one bar fills the frame,
        # the other a third of it.
        values = np.array([0.0, 0.0, 0.0, 1.0])
        picture = pictures.histogram(values, reference=np.array([0.0, 1.0]), bins=3)
        red = _redness(picture) > 60
        bar_columns = [int(12 + 456 * share) for share in (1 / 6, 3 / 6, 5 / 6)]
        heights = [int(red[:, column].sum()) for column in bar_columns]
        self.assertAllClose(heights, [454, 0, 151], atol=2)
        self.assertEqual(np.nonzero(red[:, bar_columns[2]])[0].max(), 466)  # stands on the frame

    def test_histograms_lie_over_each_other(self):
        # Samples left, data left and right: where they overlap the bar is darker than red alone.
        samples, reference = np.zeros(10), np.array([0.0, 0.0, 0.0, 3.0])
        picture = pictures.histogram(samples, reference, bins=3).astype(int)
        left, middle, right = (int(20 + 456 * share) for share in (1 / 6, 3 / 6, 5 / 6))
        low, high = picture[440], picture[60]
        self.assertGreater(_redness(low)[left], 60)
        self.assertLess(_redness(low)[right], -15)
        self.assertAllEqual(low[middle], [255, 255, 255])
        self.assertGreater(_redness(high)[left], 60)
        self.assertLess(low[left].sum(), high[left].sum() - 40)  # data ends at three quarters
        self.assertAllEqual(high[right], [255, 255, 255])

    def test_a_line_marks_zero(self):
        reference = np.array([-1.0, 3.0])  # seen from -2 to 4
        picture = pictures.histogram(reference, reference)
        column = round(12 + 456 / 3)
        self.assertAllEqual(picture[100, column], [228, 228, 228])
        self.assertAllEqual(picture[100, column + 3], [255, 255, 255])
        apart = pictures.histogram(reference + 100.0, reference + 100.0)
        self.assertNotIn([228, 228, 228], apart.reshape(-1, 3).tolist())


class SavePngTest(tf.test.TestCase):
    def test_round_trip_and_replacement(self):
        path = pathlib.Path(self.get_temp_dir()) / "samples" / "step_1.png"
        random = np.random.RandomState(0)
        for shape in ((5, 7, 3), (5, 7, 1)):
            array = random.randint(0, 256, size=shape).astype(np.uint8)
            pictures.save_png(path, array)
            self.assertAllEqual(tf.io.decode_png(path.read_bytes()), array)
        self.assertEqual([p.name for p in path.parent.iterdir()], ["step_1.png"])

    def test_interrupted_writing_leaves_the_old_file(self):
        path = pathlib.Path(self.get_temp_dir()) / "a.png"
        pictures.save_png(path, np.zeros((2, 2, 3), np.uint8))
        before = path.read_bytes()
        with mock.patch("os.replace", side_effect=OSError("killed")), self.assertRaises(OSError):
            pictures.save_png(path, np.ones((2, 2, 3), np.uint8))
        self.assertEqual(path.read_bytes(), before)
        self.assertEqual([p.name for p in path.parent.iterdir()], ["a.png"])


if __name__ == "__main__":
    tf.test.main()
