"""MS-SSIM of random pairs, against the published formula in float64 SciPy."""

import itertools
import json

import numpy as np
import tensorflow as tf
from absl.testing import parameterized
from scipy import ndimage

from kgzoo import data
from kgzoo.errors import UserError
from kgzoo.evaluation import similarity


def smooth(n, height, width, channels, seed):
    """Images in [0, 1] with structure at all scales."""
    noise = np.random.RandomState(seed).normal(size=(n, height, width, channels))
    images = sum(
        ndimage.gaussian_filter(noise, (0, blur, blur, 0)) * blur for blur in (1.0, 2.0, 4.0)
    )
    return (images - images.min()) / (images.max() - images.min())


def halved(image):
    """Means of 2 x 2 pixels; an odd side repeats its last row or column."""
    image = np.pad(image, [(0, side % 2) for side in image.shape], mode="symmetric")
    return (image[::2, ::2] + image[1::2, ::2] + image[::2, 1::2] + image[1::2, 1::2]) / 4


def reference(a, b, powers, size):
    """Wang et al. (2003), eq. (7), of one channel: contrast-structure, and SSIM at the coarsest."""
    ticks = np.arange(size) - (size - 1) / 2
    window = np.exp(-(ticks**2) / (2 * 1.5**2))
    window /= window.sum()
    inside = slice(size // 2, None if size == 1 else -(size // 2))

    def mean(image):
        image = ndimage.correlate1d(image, window, axis=0)
        return ndimage.correlate1d(image, window, axis=1)[inside, inside]

    product = 1.0
    for scale, power in enumerate(powers):
        if scale:
            a, b = halved(a), halved(b)
        mean_a, mean_b = mean(a), mean(b)
        variances = mean(a * a) - mean_a**2 + mean(b * b) - mean_b**2
        structure = (2 * (mean(a * b) - mean_a * mean_b) + 0.03**2) / (variances + 0.03**2)
        luminance = (2 * mean_a * mean_b + 0.01**2) / (mean_a**2 + mean_b**2 + 0.01**2)
        last = scale == len(powers) - 1
        product *= max(0.0, np.mean(structure * luminance if last else structure)) ** power
    return product


WEIGHTS = np.array([0.0448, 0.2856, 0.3001, 0.2363, 0.1333])


class MultiScaleTest(parameterized.TestCase, tf.test.TestCase):
    @parameterized.parameters(
        ((16, 16, 1), 2, 7),
        ((28, 28, 1), 2, 11),
        ((32, 32, 3), 2, 11),
        ((64, 64, 3), 3, 11),
        ((176, 176, 1), 5, 11),
        ((8, 30, 1), 2, 3),
        ((43, 51, 1), 3, 11),
    )
    def test_equals_the_formula(self, shape, scales, size):
        images = smooth(4, *shape, seed=0)
        powers = WEIGHTS[:scales] / WEIGHTS[:scales].sum()
        expected = [
            np.mean([reference(a[..., c], b[..., c], powers, size) for c in range(shape[-1])])
            for a, b in itertools.combinations(images, 2)
        ]
        found = similarity.ms_ssim(images, num_pairs=100)
        self.assertAllClose(found["value"], np.mean(expected), atol=2e-5)
        self.assertAllClose(found["std_across_pairs"], np.std(expected, ddof=1), atol=2e-5)
        self.assertBetween(found["value"], 0.02, 0.9)
        self.assertEqual((found["scales"], found["filter_size"]), (scales, size))
        self.assertEqual(found["num_pairs"], 6)
        self.assertAllClose(found["power_factors"], powers)
        self.assertIn("all pairs", found["convention"])
        json.dumps(found, allow_nan=False)

    def test_random_pairs_are_of_different_images(self):
        # Half the images are white, half black: pairs of one kind have 1, the others nearly 0.
        images = np.zeros((200, 16, 16, 1), np.uint8)
        images[::2] = 255
        found = similarity.ms_ssim(images, num_pairs=2000, seed=1)
        self.assertEqual(found["num_pairs"], 2000)
        self.assertAllClose(found["value"], 99 / 199, atol=0.04)
        self.assertIn("random pairs", found["convention"])
        same = similarity.ms_ssim(images, num_pairs=2000, seed=1)
        self.assertAllClose(found["value"], same["value"], rtol=1e-6)
        self.assertNotEqual(found["value"], similarity.ms_ssim(images, 2000, seed=2)["value"])
        # A pair of one image with itself would show here.
        unlike = np.stack([np.eye(16)[:, :, None], 1 - np.eye(16)[:, :, None]] * 1)
        self.assertLess(similarity.ms_ssim(unlike)["value"], 0.5)
        self.assertIsNone(similarity.ms_ssim(unlike)["std_across_pairs"])

    def test_pairs_cover_everything_but_the_diagonal(self):
        first, second, _ = similarity._pairs(12, 60, 0)
        self.assertTrue((first != second).all())
        first, second = np.concatenate(
            [similarity._pairs(12, 60, seed)[:2] for seed in range(60)], axis=1
        )
        counts = np.zeros((12, 12), int)
        np.add.at(counts, (first, second), 1)
        # 3600 draws over 132 cells: 27 each.
        self.assertBetween(counts[~np.eye(12, dtype=bool)].min(), 8, 27)
        self.assertEqual(counts[np.eye(12, dtype=bool)].sum(), 0)

    def test_bytes_are_the_images_they_stand_for(self):
        digits = data.load("digits", "test").examples[:40]
        found = similarity.ms_ssim(digits, 100)
        self.assertAllClose(found["value"], similarity.ms_ssim(digits / 255.0, 100)["value"])
        # One class is more alike than all.
        labels = data.load("digits", "test").labels
        zeros = data.load("digits", "test").examples[labels == 0]
        self.assertGreater(similarity.ms_ssim(zeros, 300)["value"], found["value"] + 0.1)

    def test_refusals(self):
        images = smooth(3, 16, 16, 1, seed=1)
        for wrong, message in (
            (images[:1], "images has 1 image"),
            (images[:0], r"images has shape \[0, 16, 16, 1\]"),
            (images[..., 0], r"images has shape \[3, 16, 16\]"),
            (images[:, :7], "images of 7x16 pixels are too small"),
            (images * 255, r"images spans \[0, 255\]; scale floats"),
            (images * np.nan, "images holds NaN"),
            ((images * 255).astype(np.int64), "images has dtype int64"),
        ):
            with self.assertRaisesRegex(UserError, message):
                similarity.ms_ssim(wrong)
        with self.assertRaisesRegex(UserError, "num_pairs=0"):
            similarity.ms_ssim(images, 0)


if __name__ == "__main__":
    tf.test.main()
