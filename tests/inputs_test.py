"""What is done to a critic's inputs and labels, alone and inside every kind of method."""

import tempfile

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized

import contract
from kgzoo import config as configs
from kgzoo import kernels, methods
from kgzoo.discrepancies import mmd
from kgzoo.errors import UserError
from kgzoo.methods import augmentation
from kgzoo.methods.inputs import CriticInputs
from kgzoo.methods.noise import Noise

_SHAPE = (8, 8, 1)


def _noise(update=0, step=5, seed=3):
    return Noise(seed, tf.constant(step, tf.int64), update)


class _Fixed:
    """Noise whose uniform numbers are given: one row of eight for every example."""

    def __init__(self, numbers):
        self._numbers = np.asarray(numbers, np.float32)

    def unit(self, purpose, shape):
        assert purpose == "augmentation"
        return tf.constant(np.tile(self._numbers[:, None], (1, int(shape[1]), 1)))


# Numbers at which DiffAugment does nothing to the colours, moves nothing and cuts nothing out.
_STILL = {"brightness": 0.5, "saturation": 0.5, "contrast": 0.5, "row": 0.5, "column": 0.5}


def _augmented(images, image_range=(0.0, 1.0), cut=None, **changes):
    """DiffAugment with chosen numbers; without `cut` the square is taken out of the comparison."""
    numbers = [*{**_STILL, **changes}.values(), *(cut or (0.0, 0.0)), 0.0]
    fixed = _Fixed([numbers] * len(images))
    return augmentation.diffaugment(
        tf.constant(images, tf.float32), fixed, "real", image_range
    ).numpy()


def _images(n=3, size=8, channels=2, seed=0, low=0.0, high=1.0):
    random = np.random.RandomState(seed)
    return random.uniform(low, high, size=(n, size, size, channels)).astype(np.float32)


class DiffAugmentTest(parameterized.TestCase, tf.test.TestCase):
    @parameterized.parameters(((0.0, 1.0),), ((-1.0, 1.0),))
    def test_colours(self, image_range):
        # Zhao et al. (2020), on [-1, 1]: x + U(-.5, .5); away from or to the grey of each pixel by
        # a factor U(0, 2); away from or to the mean of the image by a factor U(.5, 1.5).
        low, high = image_range
        images = _images(low=low, high=high)
        span = (high - low) / 2
        brightness, saturation, contrast = 0.9, 0.2, 0.7
        found = _augmented(
            images,
            image_range,
            brightness=brightness,
            saturation=saturation,
            contrast=contrast,
        )
        x = images.astype(float) + (brightness - 0.5) * span
        grey = x.mean(axis=3, keepdims=True)
        x = grey + (x - grey) * 2 * saturation
        mean = x.mean(axis=(1, 2, 3), keepdims=True)
        x = mean + (x - mean) * (contrast + 0.5)
        # The corner of the square: rows and columns 0 and 1.
        keep = np.ones((8, 8), bool)
        keep[:2, :2] = False
        self.assertAllClose(found[:, keep], x[:, keep], atol=1e-6)
        self.assertAllClose(found[:, ~keep], np.full_like(found[:, ~keep], (low + high) / 2))

    def test_still_numbers_change_nothing_but_the_square(self):
        images = _images()
        found = _augmented(images)
        self.assertAllClose(found[:, 2:], images[:, 2:], atol=1e-6)

    @parameterized.parameters(((0.0, 1.0), 8), ((-1.0, 1.0), 8), ((-1.0, 1.0), 16))
    def test_translation_moves_pixels_exactly(self, image_range, size):
        low, high = image_range
        images = _images(size=size, low=low, high=high)
        most = size // 8
        for down in range(-most, most + 1):
            for right in range(-most, most + 1):
                row, column = ((shift + most + 0.5) / (2 * most + 1) for shift in (down, right))
                # The square in the corner that the shift empties or next to it.
                found = _augmented(images, image_range, row=row, column=column)
                expected = np.full_like(images, (low + high) / 2)
                for i in range(size):
                    for j in range(size):
                        if 0 <= i - down < size and 0 <= j - right < size:
                            expected[:, i, j] = images[:, i - down, j - right]
                expected[:, : size // 4, : size // 4] = (low + high) / 2
                self.assertAllClose(found, expected, atol=1e-6)

    def test_cutout_is_a_square_of_half_the_side(self):
        images, size = _images(), 8
        for centre in range(size + 1):
            cut = ((centre + 0.5) / (size + 1), (size - centre + 0.5) / (size + 1))
            found = _augmented(images, cut=cut)
            expected = images.copy()
            rows = slice(max(0, centre - 2), max(0, centre + 2))
            columns = slice(max(0, size - centre - 2), max(0, size - centre + 2))
            expected[:, rows, columns] = 0.5
            self.assertAllClose(found, expected, atol=1e-6)
            if 2 <= centre <= 6:
                self.assertEqual(np.sum(np.any(np.abs(found - images) > 1e-5, axis=3)), 3 * 16)

    def test_every_example_has_numbers_of_its_own(self):
        images = np.tile(_images(1), (6, 1, 1, 1))
        found = augmentation.diffaugment(tf.constant(images), _noise(), "real", (0.0, 1.0))
        self.assertLen({image.tobytes() for image in found.numpy()}, 6)

    def test_a_function_of_seed_step_update_slot_and_example(self):
        images = tf.constant(_images(4))

        def run(slot="real", **where):
            noise = _noise(**where)
            return augmentation.diffaugment(images, noise, slot, (0.0, 1.0)).numpy()

        self.assertAllEqual(run(), run())
        others = [run(slot="fake"), run(update=1), run(step=6), run(seed=4)]
        for other in others:
            self.assertNotAllClose(other, run())
        # What is in the other rows does not matter, nor what else was drawn.
        first = augmentation.diffaugment(
            tf.concat([images[:1], tf.zeros_like(images[1:])], 0), _noise(), "real", (0.0, 1.0)
        )
        self.assertAllEqual(first[0], run()[0])

    def test_shifts_and_squares_are_spread_evenly(self):
        numbers = _noise().unit("augmentation", [4000, 3, 8]).numpy()[:, 0]
        self.assertAllClose(numbers.mean(0), np.full(8, 0.5), atol=0.03)
        marks = np.zeros((4000, 16, 16, 1), np.float32)
        marks[:, 8, 8] = 1.0
        fixed = numbers.copy()
        fixed[:, :3], fixed[:, 5:] = 0.5, 0.0
        moved = augmentation.diffaugment(tf.constant(marks), _Fixed(fixed), "real", (0.0, 1.0))
        rows = np.argmax(moved.numpy().max(axis=(2, 3)), axis=1) - 8
        counts = np.bincount(rows + 2, minlength=5)
        self.assertLen(counts, 5)
        self.assertAllClose(counts / 4000, np.full(5, 0.2), atol=0.03)

    @parameterized.parameters("diffaugment", "shift_and_flip")
    def test_gradient_against_finite_differences(self, name):
        # Affine in the images: its difference is exact for any step.
        def operation(x):
            if name == "diffaugment":
                return augmentation.diffaugment(x, _noise(), "fake", (-1.0, 1.0))
            return augmentation.shift_and_flip(x, _noise())

        random = np.random.RandomState(2)
        images, direction, weights = random.normal(size=(3, 4, 8, 8, 2)).astype(np.float32)
        with tf.GradientTape() as outer:
            x = tf.constant(images)
            outer.watch(x)
            with tf.GradientTape() as tape:
                tape.watch(x)
                value = tf.reduce_sum(weights * operation(x))
            gradient = tape.gradient(value, x)
            squared = tf.reduce_sum(gradient * x)
        change = weights * (operation(x + direction) - operation(x))
        self.assertAllClose(np.sum(gradient * direction), np.sum(change), rtol=1e-3, atol=1e-3)
        # And once more: a gradient penalty differentiates through it.
        self.assertAllClose(outer.gradient(squared, x), gradient, rtol=1e-4, atol=1e-5)


class ShiftAndFlipTest(tf.test.TestCase):
    def _run(self, images, mirror, down, right, most):
        row, column = ((shift + most + 0.5) / (2 * most + 1) for shift in (down, right))
        fixed = _Fixed([[mirror, row, column, 0, 0, 0, 0, 0]] * len(images))
        return augmentation.shift_and_flip(tf.constant(images), fixed).numpy()

    def test_against_numpy(self):
        for size in (8, 16):
            images, most = _images(2, size), max(1, size // 8)
            for mirror in (0.2, 0.8):
                source = images[:, :, ::-1] if mirror < 0.5 else images
                padded = np.pad(source, ((0, 0), (most, most), (most, most), (0, 0)), "symmetric")
                for down in range(-most, most + 1):
                    for right in range(-most, most + 1):
                        top, left = most - down, most - right
                        expected = padded[:, top : top + size, left : left + size]
                        found = self._run(images, mirror, down, right, most)
                        self.assertAllClose(found, expected, atol=1e-6)

    def test_half_are_mirrored_and_noise_is_its_own(self):
        images = np.tile(
            np.linspace(0, 1, 8, dtype=np.float32)[None, None, :, None], (900, 8, 1, 1)
        )
        moved = augmentation.shift_and_flip(tf.constant(images), _noise()).numpy()
        falling = np.mean(moved[:, 4, 6, 0] < moved[:, 4, 2, 0])
        self.assertAllClose(falling, 0.5, atol=0.06)
        self.assertAllEqual(moved, augmentation.shift_and_flip(tf.constant(images), _noise()))
        self.assertNotAllClose(moved, augmentation.shift_and_flip(tf.constant(images), _noise(1)))


class InstanceNoiseTest(tf.test.TestCase):
    def _noise_added(self, slot, inputs, **where):
        zero = tf.zeros([500, 4, 4, 2])
        return inputs.apply(zero, _noise(**where), slot, (-1.0, 1.0)).numpy()

    def test_standard_deviation_in_the_models_range(self):
        inputs = CriticInputs(instance_noise=0.3)
        real, fake = (self._noise_added(slot, inputs) for slot in ("real", "fake"))
        for values in (real, fake):
            self.assertAllClose(np.std(values), 0.3, rtol=0.03)
            self.assertAllClose(np.mean(values), 0.0, atol=0.01)
        # Real and generated examples have noise of their own.
        self.assertLess(abs(np.corrcoef(real.ravel(), fake.ravel())[0, 1]), 0.03)
        self.assertAllEqual(real, self._noise_added("real", inputs))
        for where in ({"step": 6}, {"update": 1}, {"seed": 4}):
            self.assertNotAllClose(real, self._noise_added("real", inputs, **where))

    def test_falls_linearly(self):
        inputs = CriticInputs(instance_noise=0.5, instance_noise_steps=200)
        for step, factor in ((0, 1.0), (50, 0.75), (199, 0.005), (200, 0.0), (10**6, 0.0)):
            still = self._noise_added("fake", CriticInputs(instance_noise=0.5), step=step)
            found = self._noise_added("fake", inputs, step=step)
            self.assertAllClose(found, factor * still, rtol=1e-4, atol=1e-6)

    def test_the_gradient_passes(self):
        inputs = CriticInputs(instance_noise=0.5)
        x = tf.constant(_images())
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = tf.reduce_sum(inputs.apply(x, _noise(), "fake", (0.0, 1.0)) ** 2)
        noised = inputs.apply(x, _noise(), "fake", (0.0, 1.0))
        self.assertAllClose(tape.gradient(value, x), 2 * noised)

    def test_off(self):
        x = tf.constant(_images())
        self.assertAllEqual(CriticInputs().apply(x, _noise(), "real", (0.0, 1.0)), x)
        self.assertEqual(CriticInputs().bandwidth(_noise()), 1.0)


class BandwidthTest(parameterized.TestCase, tf.test.TestCase):
    def test_log_uniform(self):
        inputs = CriticInputs(random_bandwidth=3.0)
        draws = [float(inputs.bandwidth(_noise(update))) for update in range(400)]
        logs = np.log(draws) / np.log(4.0)
        self.assertAllInRange(logs, -1.0, 1.0)
        self.assertAllClose([np.mean(logs), np.var(logs)], [0.0, 1 / 3], atol=0.09)
        self.assertEqual(draws[0], float(inputs.bandwidth(_noise())))

    @parameterized.parameters("mmd_opt", "smmd", "mmd_rbf", "mmd_gan_gp")
    def test_is_another_kernel(self, method):
        # Features over b under a kernel are features under the kernel of bandwidth b.
        plain, random = (
            contract.model(method, random_bandwidth=r, critic_steps=1) for r in (0.0, 2.0)
        )
        for update in range(2):
            noise = Noise(5, tf.constant(2, tf.int64), update)
            batch = methods.Batch(tf.constant(_images(8, 8, 1)), noise)
            factor = float(random._untracked.inputs.bandwidth(noise))
            self.assertGreater(abs(np.log(factor)), 0.05)
            plain.kernel = _Scaled(random.kernel, factor)
            for player in ("critic", "generator"):
                value = random.losses(batch, (player,))[player][0]
                expected = plain.losses(batch, (player,))[player][0]
                self.assertAllClose(value, expected, rtol=1e-3, atol=1e-6, msg=player)

    def test_bounds_move_along(self):
        # They are bounds on the kernel's values: exp(-4 / 2) and exp(-0.25 / 2), whatever b.
        model = contract.model("mmd_rep_b", random_bandwidth=50.0)
        for update in range(4):
            noise = Noise(5, tf.constant(2, tf.int64), update)
            batch = methods.Batch(tf.constant(_images(8, 8, 1)), noise)
            diagnostics = model.losses(batch, ("critic",))["critic"][1]
            self.assertGreater(diagnostics["bounded_kernel_xx"], np.exp(-2.0) - 1e-6)
            self.assertLess(diagnostics["bounded_kernel_yy"], np.exp(-0.125) + 1e-6)


class _Scaled(kernels.Kernel):
    """k(x / factor, y / factor)."""

    def __init__(self, kernel, factor):
        self._kernel, self._factor = kernel, factor

    def matrix(self, x, y):
        return self._kernel.matrix(x / self._factor, y / self._factor)

    @property
    def at_zero(self):
        return self._kernel.at_zero

    @property
    def slope(self):
        return self._kernel.slope / self._factor**2

    def get_config(self):
        return {"kernel": self._kernel, "factor": self._factor}


class MethodTest(parameterized.TestCase, tf.test.TestCase):
    """The fields inside methods: who sees what."""

    @parameterized.parameters("gan", "smmd", "mmd_gan")
    def test_both_players_see_the_changed_examples(self, method):
        model = contract.compiled(
            method, instance_noise=0.3, augmentation="diffaugment", critic_steps=1
        )
        seen, outputs = [], model.critic_outputs

        def noting(examples):
            seen.append(examples.numpy())
            return outputs(examples)

        model.critic_outputs = noting
        images = _images(8, 8, 1)
        model.train_step(images)
        inputs = CriticInputs(instance_noise=0.3, augmentation="diffaugment")
        low, high = model.image_range
        real = low + (high - low) * images
        everything = np.concatenate(seen)
        for update in range(2):
            noise = Noise(model.seed, tf.constant(0, tf.int64), update)
            changed = inputs.apply(tf.constant(real), noise, "real", model.image_range).numpy()
            distance = np.abs(everything[:, None] - changed[None]).max(axis=(2, 3, 4)).min(0)
            # The generator of a GAN sees no real examples.
            if method != "gan" or update == 0:
                self.assertAllClose(distance, np.zeros(8), atol=1e-5)
        # Nobody sees an example as it was.
        self.assertGreater(np.abs(everything[:, None] - real[None]).max(axis=(2, 3, 4)).min(), 0.1)

    def test_generated_examples_are_changed_and_pass_the_gradient(self):
        fields = {"instance_noise": 0.3, "augmentation": "diffaugment"}
        plain, model = contract.model("gan"), contract.model("gan", **fields)
        batch = methods.Batch(tf.zeros([8, *_SHAPE]), _noise(1))
        raw = plain.generate(batch, ("generator",))
        with tf.GradientTape() as tape:
            fake = model.generate(batch, ("generator",))
            value = tf.reduce_sum(fake**2)
        expected = CriticInputs(**fields).apply(raw, batch.noise, "fake", model.image_range)
        self.assertAllClose(fake, expected, atol=1e-6)
        variables = [v.value for v in model.generator.trainable_variables]
        gradients = tape.gradient(value, variables)
        self.assertGreater(max(float(tf.norm(g)) for g in gradients if g is not None), 1e-3)
        with tf.GradientTape() as tape:
            value = tf.reduce_sum(model.generate(batch, ("critic",)) ** 2)
        self.assertTrue(all(g is None for g in tape.gradient(value, variables)))

    def test_samples_and_features_stay_clean(self):
        fields = {"instance_noise": 9.0, "augmentation": "diffaugment", "random_bandwidth": 5.0}
        plain, model = contract.model("mmd_opt"), contract.model("mmd_opt", **fields)
        latents = tf.random.stateless_uniform([3, model.latent_dim], [1, 2])
        self.assertAllEqual(model.decode(latents), plain.decode(latents))
        self.assertAllEqual(model.sample(3, seed=4), plain.sample(3, seed=4))
        images = tf.constant(_images(3, 8, 1))
        self.assertAllEqual(model.critic_features(images), plain.critic_features(images))

    def test_fields_survive_the_config(self):
        fields = {
            "instance_noise": 0.25,
            "instance_noise_steps": 30,
            "label_smoothing": 0.2,
            "random_bandwidth": 0.5,
            "augmentation": "diffaugment",
        }
        self.assertCountEqual(fields, CriticInputs.names())
        model = contract.model("smmd", **fields)
        again = type(model).from_config(model.get_config())
        for each in (model, again):
            self.assertEqual({name: getattr(each, name) for name in fields}, fields)
            self.assertEqual(each._untracked.inputs, CriticInputs(**fields))

    def test_fit_and_keras_files(self):
        model = contract.toy("mmd_rep", instance_noise=0.1, random_bandwidth=1.0)
        points = np.random.RandomState(0).normal(size=(8, 2)).astype(np.float32)
        model.fit(points, batch_size=8, verbose=0)
        with tempfile.TemporaryDirectory() as folder:
            model.save(f"{folder}/model.keras")
            loaded = keras.saving.load_model(f"{folder}/model.keras")
        for each in (model, loaded):
            each.fit(points, batch_size=8, shuffle=False, verbose=0)
        for one, other in zip(model.weights, loaded.weights, strict=True):
            self.assertAllEqual(one, other)


class LabelSmoothingTest(parameterized.TestCase, tf.test.TestCase):
    """Every row's critic and no row's generator."""

    _EPSILON = 0.25

    def _compare(self, method, critic):
        model = contract.model(method, critic_steps=1)
        batch = methods.Batch(tf.constant(_images(8, 8, 1)), _noise())
        plain = model.losses(batch, ("critic", "generator"))
        # Read at every update: no second model needs to be built.
        model.label_smoothing = self._EPSILON
        smooth = model.losses(batch, ("critic", "generator"))
        self.assertAllClose(smooth["generator"][0], plain["generator"][0], rtol=1e-5, atol=1e-7)
        expected = critic(model, batch, float(plain["critic"][0]))
        self.assertGreater(abs(expected - float(plain["critic"][0])), 1e-5)
        self.assertAllClose(smooth["critic"][0], expected, rtol=1e-4, atol=1e-6)

    @parameterized.parameters("gan", "gan_minimax", "bgan", "hinge", "sn_gan")
    def test_losses_with_labels(self, method):
        def critic(model, batch, plain):
            real = model.critic(batch.real).numpy().astype(float)
            if method == "hinge":
                change = np.maximum(1 + real, 0) - np.maximum(1 - real, 0)
            else:
                # softplus(r) - softplus(-r) = r.
                change = real
            return plain + self._EPSILON * np.mean(change)

        self._compare(method, critic)

    @parameterized.parameters(("mmd_opt", 2), ("smmd", 2), ("swgan", 1), ("mmd_rbf", 2))
    def test_distances_shrink(self, method, power):
        factor = (1 + self._EPSILON) ** power
        self._compare(method, lambda model, batch, plain: plain / factor)

    @parameterized.parameters("mmd_rep", "mmd_lambda", "mmd_rep_gp")
    def test_repulsive_losses_change_shape(self, method):
        repulsion = 0.5 if method == "mmd_lambda" else 1.0

        def critic(model, batch, plain):
            fake = model.generate(batch, ("critic",))
            x, y = (tf.cast(model.critic(v), tf.float64) for v in (batch.real, fake))
            xx, xy, yy = map(float, mmd.mean_kernels(model.kernel, x, y, "u_statistic"))
            e = self._EPSILON
            mixed = (yy + 2 * e * xy + e**2 * xx) / (1 + e) ** 2
            loss = repulsion * xx + (1 - repulsion) * (xy + e * xx) / (1 + e) - mixed
            if method != "mmd_rep_gp":
                return loss
            unsmoothed = xx - yy - 1
            return plain * (loss - 1) / unsmoothed

        self._compare(method, critic)


class WrongArgumentTest(parameterized.TestCase, tf.test.TestCase):
    @parameterized.parameters(
        ("instance_noise", -0.1),
        ("instance_noise", float("nan")),
        ("instance_noise", float("inf")),
        ("instance_noise_steps", -1),
        ("random_bandwidth", -1.0),
        ("random_bandwidth", float("inf")),
        ("label_smoothing", 1.0),
        ("label_smoothing", -0.1),
        ("label_smoothing", float("nan")),
        ("augmentation", "diffaugmnt"),
    )
    def test_out_of_range(self, field, value):
        with self.assertRaisesRegex(UserError, f"{field}={value!r}"):
            CriticInputs(**{field: value}).check("image", True)

    def test_what_does_not_go_together(self):
        with self.assertRaisesRegex(UserError, "augmentation='diffaugment' is for images"):
            CriticInputs(augmentation="diffaugment").check("vector", True)
        with self.assertRaisesRegex(UserError, "random_bandwidth=0.5 needs .* kernel"):
            CriticInputs(random_bandwidth=0.5).check("image", False)
        small = {"generator_width": 2, "critic_width": 2, "latent_dim": 4}
        for method, fields in (
            ("hinge", {"random_bandwidth": 0.5}),
            ("gan", {"label_smoothing": 1.0}),
            ("smmd", {"augmentation": "flip"}),
        ):
            with self.assertRaisesRegex(UserError, next(iter(fields))):
                config = configs.compose(method, "digits", overrides={**small, **fields})
                methods.build(config, "image", _SHAPE)
        with self.assertRaisesRegex(UserError, "is for images"):
            contract.toy("gan", augmentation="diffaugment")

    def test_a_linear_kernel_has_no_bandwidth(self):
        for method, fields in (("swgan", {}), ("mmd_opt", {"kernel": "linear"})):
            with self.assertRaisesRegex(UserError, "random_bandwidth"):
                contract.model(method, random_bandwidth=0.5, **fields)


if __name__ == "__main__":
    tf.test.main()
