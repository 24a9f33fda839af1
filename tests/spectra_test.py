"""Spectra of critics: singular values of the kernels that act, for every kind of layer."""

import json
import pathlib
import tempfile

import keras
import numpy as np
import tensorflow as tf

import contract
from kgzoo.layers import SpectralConv2D, SpectralDense
from kgzoo.training import spectra
from kgzoo.training.summaries import Summaries


def with_singular_values(shape, values, seed=0):
    """Returns a kernel whose reshaped matrix has the given singular values."""
    random = np.random.RandomState(seed)
    rows, columns = int(np.prod(shape[:-1])), shape[-1]
    left = np.linalg.qr(random.standard_normal((rows, len(values))))[0]
    right = np.linalg.qr(random.standard_normal((columns, len(values))))[0]
    return (left * np.array(values) @ right.T).reshape(shape)


class SpectrumTest(tf.test.TestCase):
    def test_hand_made_kernels(self):
        for shape, values in (
            ((6, 3), [4.0, 2.0, 0.5]),
            ((2, 5), [3.0, 0.75]),
            ((3, 3, 2, 4), [8.0, 1.0, 0.5, 0.25]),
            ((7, 1), [2.0]),
        ):
            found = spectra.spectrum(with_singular_values(shape, values))
            self.assertAllClose(found.singular_values, values, rtol=1e-12)
            self.assertAllClose(found.sigma, values[0], rtol=1e-12)
            self.assertAllClose(found.condition, values[0] / values[-1], rtol=1e-10)
            self.assertIsNone(found.layer_sigma)

    def test_a_singular_kernel_has_no_condition_number(self):
        self.assertIsNone(spectra.spectrum(np.zeros((4, 2))).condition)
        self.assertIsNone(spectra.spectrum(np.diag([1.0, 0.0])).condition)


class CriticTest(tf.test.TestCase):
    def test_plain_layers_in_order_and_nested(self):
        inner = keras.Sequential([keras.Input([4, 4, 5]), keras.layers.Conv2DTranspose(3, 2)])
        critic = keras.Sequential(
            [
                keras.Input([4, 4, 2]),
                keras.layers.Conv2D(5, 3, padding="same"),
                keras.layers.LeakyReLU(),
                inner,
                keras.layers.Flatten(),
                keras.layers.Dense(2, name="named"),
            ]
        )
        found = spectra.critic_spectra(critic)
        self.assertEqual(list(found), ["1_conv2d", "2_conv2dtranspose", "3_dense"])
        first, up, last = critic.layers[0], inner.layers[0], critic.layers[-1]
        # [height, width, outputs, inputs] in the transposed one.
        matrices = (
            first.kernel.numpy().reshape(-1, 5),
            np.moveaxis(up.kernel.numpy(), 2, 3).reshape(-1, 3),
            last.kernel.numpy(),
        )
        for spectrum, matrix in zip(found.values(), matrices, strict=True):
            values = np.linalg.svd(matrix.astype(np.float64), compute_uv=False)
            self.assertAllClose(spectrum.singular_values, values, rtol=1e-12)
            self.assertAllClose(spectrum.condition, np.linalg.cond(matrix), rtol=1e-4)
            self.assertIsNone(spectrum.layer_sigma)

    def test_spectral_layers_show_the_kernel_that_acts(self):
        critic = keras.Sequential(
            [
                keras.Input([6, 6, 2]),
                SpectralConv2D(4, 3, padding="same", norm="operator", constant=1.5),
                keras.layers.Flatten(),
                SpectralDense(3, learned_gain=True),
            ]
        )
        pico, gain = critic.layers[0], critic.layers[-1]
        gain.gain.assign(-0.7)
        for layer in (pico, gain):
            layer.power_iterate(200)
        found = spectra.critic_spectra(critic)
        self.assertEqual(list(found), ["1_conv2d", "2_dense"])
        # Largest singular value of the convolution as a dense matrix, column by column.
        basis = tf.reshape(tf.eye(72), [72, 6, 6, 2])
        operator = tf.reshape(tf.nn.conv2d(basis, pico.kernel, 1, "SAME"), [72, -1]).numpy()
        operator_sigma = np.linalg.norm(operator.astype(np.float64), 2)
        matrix_sigma = np.linalg.norm(pico.kernel.numpy().reshape(-1, 4).astype(np.float64), 2)
        self.assertGreater(abs(operator_sigma / matrix_sigma - 1), 0.05)
        self.assertAllClose(found["1_conv2d"].layer_sigma, operator_sigma, rtol=1e-3)
        self.assertAllClose(found["1_conv2d"].sigma, 1.5 * matrix_sigma / operator_sigma, rtol=1e-3)
        # A gain scales all singular values; neither it nor sigma changes the condition number.
        kernel = gain.kernel.numpy().astype(np.float64)
        self.assertAllClose(found["2_dense"].layer_sigma, np.linalg.norm(kernel, 2), rtol=1e-4)
        self.assertAllClose(found["2_dense"].sigma, 0.7, rtol=1e-4)
        self.assertAllClose(found["2_dense"].condition, np.linalg.cond(kernel), rtol=1e-4)

    def test_all_critics_of_the_contract_have_some(self):
        for name in ("hinge", "sn_smmd", "smmd"):
            critic = contract.model(name).critic
            found = spectra.critic_spectra(critic)
            kernels = [v for v in critic.trainable_variables if v.path.endswith("/kernel")]
            self.assertLen(found, len(kernels), name)


class RecordTest(tf.test.TestCase):
    def test_lines_and_events(self):
        workdir = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        kernels = {
            "1_dense": with_singular_values((6, 3), [4, 2, 0.5]),
            "2_dense": np.zeros((3, 1)),
        }
        found = {name: spectra.spectrum(kernel) for name, kernel in kernels.items()}
        summaries = Summaries(workdir, 0)
        summaries.spectra(7, found)
        summaries.close()
        (line,) = map(json.loads, (workdir / "spectra.jsonl").read_text().splitlines())
        self.assertEqual(line["step"], 7)
        first, second = line["layers"].values()
        self.assertEqual(first["singular_values"], [4.0, 2.0, 0.5])
        self.assertAllClose([first["sigma"], first["condition"]], [4.0, 8.0], rtol=1e-9)
        self.assertEqual((second["sigma"], second["condition"]), (0.0, None))
        (events,) = (workdir / "events").iterdir()
        tags = {
            value.tag
            for record in tf.data.TFRecordDataset(str(events)).as_numpy_iterator()
            for value in tf.compat.v1.Event.FromString(record).summary.value
        }
        self.assertEqual(
            tags,
            {
                *("spectra/1_dense/sigma", "spectra/1_dense/condition"),
                *("spectra/1_dense/singular_values", "spectra/2_dense/sigma"),
                "spectra/2_dense/singular_values",
            },
        )


if __name__ == "__main__":
    tf.test.main()
