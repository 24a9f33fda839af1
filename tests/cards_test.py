"""Run cards: all cells compose, docstrings say what the papers print, quick forms train."""

import importlib.util
import itertools
import os
import pathlib
import re
import tempfile
import unittest
from unittest import mock

import numpy as np
import pytest

import command_lines
from kgzoo import catalog, config
from kgzoo.errors import UserError

ROOT = pathlib.Path(__file__).resolve().parent.parent
CARDS = sorted(path.stem for path in (ROOT / "configs").glob("*.py"))

# Typed from the papers' tables, row by row; None where the card has no number of the row.
PRINTED = {
    "smmd_table1a": {
        "wgan_gp": "6.9 31.1 22.2 2.7 29.2 22.0",
        "mmd_gan_gp_l2": "6.9 31.4 23.3 2.6 20.5 13.0",
        "sobolev_gan": "7.0 30.3 22.3 2.9 16.4 10.6",
        "smmd": "7.0 31.5 22.2 2.7 18.4 11.5",
        "sn_gan": "7.2 26.7 16.1 2.7 22.6 14.6",
        "sn_swgan": "7.2 28.5 17.6 2.8 14.1 7.7",
        "sn_smmd": "7.3 25.0 16.6 2.8 12.4 6.1",
        "swgan": None,
        "mmd_gan_gp": None,
    },
    "smmd_table1b": {
        "bgan": "10.7 43.9 47.0",
        "sn_gan": "11.2 47.5 44.4",
        "smmd": "10.7 38.4 39.3",
        "sn_smmd": "10.9 36.6 34.6",
    },
    "smmd_table2": {
        "mmd_opt": "5.5 73.9 39.4",
        "sn_wgan": "2.2 208.5 178.9",
        "sn_wgan_gp": "2.5 154.3 125.3",
        "sn_sobolev_gan": "2.9 140.2 130.0",
        "sn_mmd_gp": "4.6 96.8 59.5",
        "sn_mmd_l2": "7.1 31.9 21.7",
        "sn_mmd": "6.9 31.5 21.7",
        "sn_mmd_gp_l2": "6.9 32.3 20.9",
        "sn_smmd": "7.3 25.0 16.6",
    },
    "smmd_figure8": dict.fromkeys(("gcmmd", "sn_gcmmd", "smmd", "sn_smmd")),
    "repulsive_table1": {
        "gan": "7.39 23.23 8.25 48.53 10.64 0.2895 23.66 0.1027",
        "hinge": "7.33 23.46 8.24 49.44 8.60 0.2894 16.73 0.0946",
        "mmd_rbf": "7.05 28.38 8.13 57.52 13.03 0.2937",
        "mmd_rq": "7.22 27.00 8.11 54.05 12.74 0.2935",
        "mmd_rbf_b": "7.18 25.25 8.07 51.86 10.09 0.3090 32.29 0.1001",
        "mmd_rep": "7.99 16.65 9.36 36.67 7.20 0.2761 16.91 0.0901",
        "mmd_rep_b": "8.29 16.21 9.34 37.63 6.79 0.2659 12.52 0.0908",
    },
    "repulsive_table_s3": {
        "hinge": "23.60 22.89 47.10 47.24 10.02 9.08 27.38 17.20",
        "mmd_rbf": "26.56 26.50 53.17 54.23 13.06 12.81",
        "mmd_rep": "19.98 17.00 40.40 37.15 8.51 6.81 74.03 16.01",
        "mmd_rep_b": "18.24 16.65 39.78 37.31 7.09 6.42 20.12 11.22",
    },
    "repulsive_table_s4": {
        "mmd_rep_gp": "7.26 23.01",
        "smmd": "7.0 31.5",
        "sn_smmd": "7.3 25.0",
    },
    "repulsive_table_s5": {
        "dim1": "64 7.43 22.43",
        "dim4": "64 7.81 17.87",
        "dim16": "32 8.20 16.99",
        "dim64": "32 8.08 15.65",
        "dim256": "32 7.96 16.61",
    },
    "repulsive_figure3": {"mmd_lambda": None},
    "gram_table4": {
        "full": "5.35 5.43",
        "fsr": "5.40 5.15",
        "ae": "3.26 3.68",
        "none": "3.51 3.87",
    },
    "baselines": {"gan": "26.82", "gan_minimax": "", "wgan": "5.88", "cr_gan": "7.9 18.7"},
    "toys": dict.fromkeys(
        "lipmmd gcmmd sn_gcmmd smmd swgan mmd_opt mmd_rbf mmd_rep mmd_rep_b wgan_gp gan".split()
    ),
}

# Of every card the cell that CI trains, chosen for speed and so that all networks take part.
FAST = {
    "smmd_table1a": "sn_gan,celeb_a",
    "smmd_table1b": "sn_gan",
    "smmd_table2": "sn_wgan",
    "smmd_figure8": "gcmmd",
    "repulsive_table1": "mmd_rep,celeb_a",
    "repulsive_table_s3": "hinge,stl10,pim",
    "repulsive_table_s4": "mmd_rep_gp",
    "repulsive_table_s5": "dim256",
    "repulsive_figure3": "lambda2,rbf_b",
    "gram_table4": "full",
    "baselines": "gan",
    "toys": "mmd_rep,ring2d",
}


def load(card):
    """The card's module."""
    spec = importlib.util.spec_from_file_location(card, ROOT / "configs" / f"{card}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def axes(card):
    module = load(card)
    return [module.METHODS, module.DATASETS, *getattr(module, "CHOICES", ())]


def cells(card):
    """Arguments of all the card's cells, without `quick`."""
    return [",".join(words) for words in itertools.product(*axes(card))]


def compose(card, argument=""):
    return config.compose(card=f"configs/{card}.py" + (f":{argument}" if argument else ""))


class ComposeTest(unittest.TestCase):
    """Composed as main does it; TensorFlow takes no part."""

    def test_every_cell_composes(self):
        for card in CARDS:
            for argument in cells(card):
                with self.subTest(f"{card}:{argument}"):
                    method, dataset, *_ = argument.split(",")
                    whole, quick = compose(card, argument), compose(card, f"{argument},quick")
                    for resolved in (whole, quick):
                        self.assertEqual((resolved.method, resolved.dataset), (method, dataset))
                    self.assertGreaterEqual(whole.steps, 1000)
                    self.assertLessEqual((quick.steps, quick.batch_size), (10, 16))
                    self.assertLessEqual(max(quick.generator_width, quick.critic_width), 8)
                    self.assertLess(quick.early_critic_steps, 2)

    def test_quick_changes_neither_networks_nor_losses(self):
        changed = {*config.QUICK, "image_size"}
        for card in CARDS:
            for argument in cells(card):
                whole, quick = compose(card, argument), compose(card, f"{argument},quick")
                differ = {name for name in whole if whole[name] != quick[name]}
                self.assertLessEqual(differ, changed, f"{card}:{argument}")

    def test_words_come_in_any_order_and_have_defaults(self):
        for card in CARDS:
            first = compose(card)
            self.assertEqual(first.to_dict(), compose(card, cells(card)[0]).to_dict(), card)
            for argument in cells(card):
                backwards = ",".join(reversed(argument.split(",")))
                self.assertEqual(
                    compose(card, argument).to_dict(), compose(card, backwards).to_dict()
                )

    def test_words_of_a_card_are_disjoint(self):
        for card in CARDS:
            words = [word for axis in axes(card) for word in axis]
            self.assertEqual(len({*words, "quick"}), len(words) + 1, card)

    def test_unknown_and_double_words_are_one_sentence(self):
        for card in CARDS:
            known = axes(card)
            several = next((axis for axis in known if len(axis) > 1), None)
            mistakes = {"qikc": "'qikc'.*did you mean 'quick'", "zzzz": "'zzzz'.*choose one of"}
            if several:
                mistakes[f"{several[0]},{several[1]}"] = f"'{several[0]}' and '{several[1]}'"
            for argument, words in mistakes.items():
                with self.subTest(f"{card}:{argument}"):
                    with self.assertRaisesRegex(UserError, words) as caught:
                        compose(card, argument)
                    self.assertRegex(str(caught.exception), r"\A[^\n]+[.?]\Z")

    def test_the_card_of_every_row_takes_it(self):
        for name, row in catalog.ROWS.items():
            self.assertEqual(compose(row.run_card.removesuffix(".py"), name).method, name)


class SettingsTest(unittest.TestCase):
    """What only the tables say."""

    def of(self, card, argument, *names):
        resolved = compose(card, argument)
        return tuple(resolved[name] for name in names)

    def test_smmd_trains_as_section_4_says(self):
        schedule = "schedule every_steps lag patience decay p_value".split()
        names = ["learning_rate_schedule", *(f"relative_kid_{name}" for name in schedule[1:])]
        for card in ("smmd_table1a", "smmd_table1b", "smmd_table2", "smmd_figure8"):
            for argument in cells(card):
                found = self.of(card, argument, *names)
                self.assertEqual(found, ("relative_kid", 2000, 10, 3, 0.8, 0.1), argument)
        shape = ("network", "image_size", "batch_size", "critic_learning_rate", "steps")
        for card, argument, wanted in (
            ("smmd_table1a", "smmd,cifar10", ("sndcgan", 32, 64, 1e-4, 150_000)),
            ("smmd_table1a", "smmd,celeb_a", ("dcgan_resnet", 160, 64, 1e-4, 150_000)),
            ("smmd_table1b", "smmd", ("resnet", 64, 192, 2e-4, 150_000)),
            ("smmd_table1b", "sn_gan", ("resnet", 64, 192, 2e-4, 250_000)),
            ("smmd_table2", "sn_mmd", ("sndcgan", 0, 64, 1e-4, 150_000)),
        ):
            self.assertEqual(self.of(card, argument, *shape), wanted)
            self.assertEqual(
                *self.of(card, argument, "critic_learning_rate", "generator_learning_rate")
            )
        self.assertEqual(self.of("smmd_table1b", "smmd", "mmd_scope"), ("replica",))
        self.assertEqual(self.of("smmd_figure8", "gcmmd", "learning_rate_multiplier"), (1.0,))

    def test_repulsive_rates_networks_and_normalisation(self):
        rates = ("critic_learning_rate", "generator_learning_rate", "network", "image_size")
        wanted = {
            "cifar10": (5e-4, 2e-4, "sndcgan", 32),
            "stl10": (2e-4, 2e-4, "sndcgan", 48),
            "celeb_a": (1e-4, 2e-4, "dcgan64", 64),
            "lsun/bedroom": (2e-4, 1e-4, "dcgan64", 64),
        }
        for card in ("repulsive_table1", "repulsive_table_s3"):
            for argument in cells(card):
                dataset = argument.split(",")[1]
                self.assertEqual(self.of(card, argument, *rates), wanted[dataset], argument)
                constant = ("learning_rate_schedule", "steps", "critic_steps", "batch_size")
                found = self.of(card, argument, *constant)
                self.assertEqual(found, ("constant", 100_000, 1, 64))
        spectral = ("spectral", "spectral_constant", "spectral_product")
        for method in load("repulsive_table1").METHODS:
            found = self.of("repulsive_table1", method, *spectral)
            self.assertEqual(found, ("pico", 1 / 0.55, 0.0))
            outputs = 1 if method in ("gan", "hinge") else 16
            self.assertEqual(self.of("repulsive_table1", method, "output_dim"), (outputs,))
        for method, product in (("hinge", 128), ("mmd_rbf", 128), ("mmd_rep_b", 64)):
            found = self.of("repulsive_table_s3", f"{method},pico", *spectral)
            self.assertEqual(found, ("pico", 1.0, product))
            found = self.of("repulsive_table_s3", f"{method},pim", *spectral)
            self.assertEqual(found, ("pim", 1.0, 0.0))

    def test_axes_of_their_own(self):
        for dimension, product in ((1, 64), (4, 64), (16, 32), (64, 32), (256, 32)):
            fields = ("output_dim", "spectral_product", "spectral", "repulsion")
            found = self.of("repulsive_table_s5", f"dim{dimension}", *fields)
            self.assertEqual(found, (dimension, product, "pico", 1.0))
        for value in (-1, -0.5, 0, 0.5, 1, 2):
            for kernel, bounding in (("rbf", "none"), ("rbf_b", "paper")):
                fields = ("repulsion", "bounding", "kernel", "output_dim")
                found = self.of("repulsive_figure3", f"lambda{value},{kernel}", *fields)
                self.assertEqual(found, (value, bounding, "gaussian", 16))
        for word, weights in (
            ("full", (8, 16)),
            ("fsr", (0, 16)),
            ("ae", (8, 0)),
            ("none", (0, 0)),
        ):
            for batch_size in (64, 300):
                fields = ("autoencoder_weight", "feasible_set_weight", "batch_size")
                found = self.of("gram_table4", f"{word},batch{batch_size}", *fields)
                self.assertEqual(found, (*weights, batch_size))
        fields = ("spectral", "output_dim", "scale_weight", "learning_rate_schedule", "steps")
        found = self.of("repulsive_table_s4", "mmd_rep_gp", *fields)
        self.assertEqual(found, ("none", 1, 0.1, "constant", 100_000))
        cited = compose("repulsive_table_s4", "sn_smmd").to_dict()
        own = compose("smmd_table1a", "sn_smmd,cifar10").to_dict()
        self.assertEqual({**cited, "image_size": 32}, own)


class DocstringsTest(unittest.TestCase):
    """What a card says of itself."""

    def lines(self, card):
        return load(card).__doc__.splitlines()

    def test_every_card_is_known_here(self):
        self.assertEqual(sorted(PRINTED), CARDS)
        self.assertEqual(sorted(FAST), CARDS)

    def test_rows_and_printed_scores(self):
        for card, rows in PRINTED.items():
            for row, scores in rows.items():
                with self.subTest(f"{card}:{row}"):
                    found = [line for line in self.lines(card) if line.split()[:1] == [row]]
                    (line,) = (line for line in found if "not measured" in line)
                    before = line[: line.index("not measured")].replace(row, "", 1)
                    numbers = re.findall(r"[\d.]+", before)
                    self.assertEqual(" ".join(numbers), scores or "")
                    if scores is None:
                        self.assertIn("not printed", before)

    def test_every_word_and_what_differs_is_mentioned(self):
        for card in CARDS:
            text = load(card).__doc__
            for word in (
                "quick",
                "Differs from",
                "not measured",
                "Hours",
                *itertools.chain(*axes(card)),
            ):
                self.assertRegex(text, rf"(?i)(?<![\w-]){re.escape(word)}(?![\w-])", card)

    def test_commands_compose(self):
        for card in CARDS:
            commands = re.findall(r"python -m kgzoo\.main (.*)", load(card).__doc__)
            self.assertGreaterEqual(len(commands), 2, card)
            self.assertTrue(any(",quick" in command for command in commands), card)
            for command in commands:
                given = dict(flag[2:].split("=", 1) for flag in command.split())
                self.assertLessEqual(set(given), {"config", "data_dir"})
                self.assertEqual(given["config"].partition(":")[0], f"configs/{card}.py")
                config.compose(card=given["config"])


class CitationTest(unittest.TestCase):
    def test_every_key_of_the_catalogue_has_its_reference(self):
        text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
        keys = re.findall(r"BibTeX key: (\w+)", text)
        self.assertEqual(len(keys), len(set(keys)))
        self.assertLessEqual({row.bibtex for row in catalog.ROWS.values()}, set(keys))


class Training(unittest.TestCase):
    """Runs quick forms as they are typed, on small sets prepared by TFDS under the real names."""

    # Name: version, stored shape, splits to train and test on.
    SETS = {
        "cifar10": ("3.0.2", (32, 32, 3), ("train", "test")),
        "mnist": ("3.0.1", (28, 28, 1), ("train", "test")),
        "stl10": ("1.0.0", (96, 96, 3), ("unlabelled", "test")),
        "celeb_a": ("2.1.0", (218, 178, 3), ("train", "test")),
        "lsun/bedroom": ("3.1.0", (None, None, 3), ("train", "validation")),
        "imagenet_resized/64x64": ("0.1.0", (64, 64, 3), ("train", "validation")),
    }
    _ANY_SIZE = (80, 96, 3)

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.folder = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        for name, facts in cls.SETS.items():
            cls.prepare(name, *facts)

    @classmethod
    def prepare(cls, name, version, shape, splits):
        import tensorflow as tf
        import tensorflow_datasets as tfds

        random = np.random.RandomState(len(name))
        stored = cls._ANY_SIZE if None in shape else shape

        def dataset():
            coarse = random.randint(0, 256, (24, 4, 4, shape[-1]))
            pictures = tf.cast(tf.image.resize(coarse, stored[:2]), tf.uint8)
            return tf.data.Dataset.from_tensor_slices({"image": pictures})

        base, _, form = name.partition("/")
        with mock.patch.dict(os.environ, {"TQDM_DISABLE": "1"}):
            tfds.dataset_builders.store_as_tfds_dataset(
                base,
                version,
                tfds.features.FeaturesDict(
                    {"image": tfds.features.Image(shape=shape, encoding_format="png")}
                ),
                {split: dataset() for split in splits},
                config=form or None,
                data_dir=cls.folder,
                download_config=tfds.download.DownloadConfig(num_shards=1, try_download_gcs=False),
            )

    def train(self, cards):
        """Trains `{card: arguments}` in one process and looks at what was left on disk."""
        named = [(card, f"{argument},quick") for card, words in cards.items() for argument in words]
        with tempfile.TemporaryDirectory() as folder:
            workdirs = [pathlib.Path(folder) / f"run{place}" for place in range(len(named))]
            lines = [
                [f"--config=configs/{card}.py:{argument}", f"--workdir={workdir}"]
                + [f"--data_dir={self.folder}"]
                for (card, argument), workdir in zip(named, workdirs, strict=True)
            ]
            done = command_lines.many(lines, pathlib.Path(folder))
            for (card, argument), workdir, result in zip(named, workdirs, done, strict=True):
                with self.subTest(f"{card}:{argument}"):
                    self.assertEqual(result["code"], 0, result["err"][-3000:])
                    self.assertTrue((workdir / "scores.json").is_file())
                    self.assertTrue((workdir / "samples" / "step_00000004.png").is_file())
                    metrics = (workdir / "metrics.jsonl").read_text()
                    resolved = compose(card, argument)
                    scheduled = resolved.learning_rate_schedule == "relative_kid"
                    self.assertEqual("relative_kid_p_value" in metrics, scheduled)


class FastTrainingTest(Training):
    def test_one_cell_of_every_card(self):
        self.train({card: [argument] for card, argument in FAST.items()})


@pytest.mark.slow
class TrainingTest(Training):
    """Every method, every data set and every further word of every card, each at least once."""


def _slow_cells(card):
    methods, datasets, *choices = axes(card)
    count = max(len(methods), len(datasets))
    pairs = zip(itertools.cycle(methods), itertools.cycle(datasets), range(count))
    arguments = [f"{method},{dataset}" for method, dataset, _ in pairs]
    return arguments + [f"{methods[0]},{word}" for axis in choices for word in axis[1:]]


def _slow_test(card):
    def test(self):
        self.train({card: _slow_cells(card)})

    return test


for _card in CARDS:
    setattr(TrainingTest, f"test_{_card}", _slow_test(_card))


del Training

if __name__ == "__main__":
    unittest.main()
