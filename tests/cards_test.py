"""Run cards: all cells compose, docstrings say what the papers print, quick forms train."""

import datetime
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
    "zoo": dict.fromkeys(
        ("smmd", "sn_smmd", "gcmmd", "mmd_rep", "mmd_rep_b", "rep_dk", "gram")
        + ("mmd_net", "kernel_gan", "kernel_gan_ae", "info_ivae_dk")
    ),
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
    "kernelnet_table3": {
        "vae": "90.32",
        "stein_vae": "88.85",
        "spectral_vae": "89.67",
        "sivi": "89.03",
        "info_vae": "88.89",
        "info_ivae": "89.79",
        "info_ivae_rbf": "88.24",
        "info_ivae_ikl": "88.21",
        "info_ivae_dk": "88.16",
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
    "gram_table1": {
        "gram": "24.85 24.82 27.04",
        "gan": "26.82 31.64 30.97",
        "mmd_gan": "40.00 210.85 41.105",
    },
    "gram_table2": {"mmd_gan": "38.39 40.27"},
    "gram_table8": {
        "mmd_gan": "5.35 5.21 5.31",
        "gan": "5.17 4.94 5.27",
        "gram": "5.73 5.44 5.45",
    },
    "gram_figure5": dict.fromkeys(("gram", "gan", "mmd_gan")),
    "gram_mnist": {"gram": None},
    "kernel_gan_table1": {
        "kernel_gan,fc": "0.408 23.005 6.601 -1.384 -0.740 -0.644 0.019",
        "kernel_gan,dc": "0.289 20.713 7.464 -1.385 -0.740 -0.645 0.017",
        "kernel_gan_ae": "0.365 14.674 6.916 -1.371 -0.769 -0.603 0.084",
        "mmd_net_ae": "0.361 14.730 6.948 -1.372 -0.776 -0.596 0.091",
        "mmd_net": "0.293 27.852 7.408 -1.383 -0.689 -0.694 0.005",
    },
    "kernel_gan_table2": {
        "sigma5.0": "2.117 28.973",
        "sigma1.0": "1.388 21.075",
        "sigma0.5": "1.096 18.268",
        "sigma0.1": "1.079 17.295",
        "sigma0.05": "0.783 16.272",
        "sigma0.01": "0.406 15.378",
        "sum": "0.365 14.730",
    },
    "kernel_gan_images": {
        "kernel_gan_critic": "4.22",
        "mmd_net_ae": "3.94",
        "mmd_net": "3.47",
        "mmd_gan": "6.17",
        "wgan": "5.88",
    },
    "kernelnet_table1": {
        "sn_mmd": "31.5 6.9",
        "sn_mmd_ikl": "30.4 6.9",
        "sn_mmd_dk": "27.7 7.2",
        "sn_smmd": "25.0 7.3",
        "sn_smmd_ikl": "26.4 7.3",
        "sn_smmd_dk": "24.3 7.4",
        "mmd_rep": "16.7 8.0",
        "rep_ikl": "16.3 8.0",
        "rep_dk": "14.6 8.2",
        "rep_dk_pd": None,
    },
    "kernelnet_table2": {
        "wgan_gp": "31.1 6.9 55.1 8.4 29.2 2.7 65.7 7.5",
        "sn_gan": "25.5 7.6 43.2 8.8 22.6 2.7 47.5 11.2",
        "smmd": "31.5 7.0 43.7 8.4 18.4 2.7 38.4 10.7",
        "sn_smmd": "25.0 7.3 40.6 8.5 12.4 2.8 36.6 10.9",
        "sn_smmd_dk": "24.3 7.4 40.0 8.5 11.3 2.9 35.7 11.2",
        "cr_gan": "18.7 7.9",
        "mmd_rep": "16.7 8.0 36.7 9.4 16.8 2.9 31.0 11.5",
        "rep_dk": "14.6 8.2 33.4 9.3 16.1 2.9 30.1 11.7",
    },
    "kernelnet_table4": {
        "mmd_rep": "16.7 8.0 36.7 9.4 16.8 2.9 31.0 11.5",
        "rep_dk": "14.6 8.2 33.4 9.3 16.5 2.9 30.1 11.7",
        "rep_dk2": "15.2 8.1 34.9 9.3 16.1 2.9 30.5 11.7",
        "rep_dk_pd": None,
    },
    "baselines": {"gan": "26.82", "gan_minimax": "", "wgan": "5.88", "cr_gan": "7.9 18.7"},
    "toys": dict.fromkeys(
        "lipmmd gcmmd sn_gcmmd smmd swgan mmd_opt mmd_rbf mmd_rep mmd_rep_b rep_dk wgan_gp gan gram"
        " mmd_net mmd_gan kernel_gan".split()
    ),
}

# Of every card the cell that CI trains, chosen for speed and so that all networks take part.
FAST = {
    "zoo": "mmd_rep,digits",
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
    "gram_table1": "gram,celeb_a,weaker",
    "gram_table2": "mmd_gan",
    "gram_table8": "gan,seed2",
    "gram_figure5": "gram,dim16",
    "gram_mnist": "gram",
    "kernel_gan_table1": "mmd_net,fc",
    "kernel_gan_table2": "sigma0.01",
    "kernel_gan_images": "kernel_gan_critic",
    "kernelnet_table1": "sn_mmd_ikl",
    "kernelnet_table2": "sn_smmd_dk",
    "kernelnet_table4": "rep_dk2,stl10",
    "kernelnet_table3": "info_ivae_dk,digits",
    "baselines": "gan",
    "toys": "kernel_gan,mog",
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
        changed = {*config.QUICK, "image_size", "autoencoder_steps"}
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

    def test_kernel_gans_train_as_appendix_a3_says(self):
        wide, narrow = (100, 50, 10, 5, 1, 0.5, 0.1, 0.05, 0.01), (1, 0.5, 0.1, 0.05, 0.01)
        fields = "network bandwidths latent_dim batch_size optimizer learning_rate_multiplier"
        for argument, network, bandwidths in (
            ("kernel_gan,fc", "gmmn", wide),
            ("kernel_gan,dc", "dcgan_small", wide),
            ("mmd_net,fc", "gmmn", wide),
            ("kernel_gan_ae", "gmmn", narrow),
            ("mmd_net_ae", "gmmn", narrow),
        ):
            found = self.of("kernel_gan_table1", argument, *fields.split())
            self.assertEqual(found, (network, bandwidths, 10, 1000, "rmsprop", 1.0), argument)
        card = "kernel_gan_table2"
        for sigma in (5.0, 1.0, 0.5, 0.1, 0.05, 0.01):
            self.assertEqual(self.of(card, f"sigma{sigma}", "bandwidths"), ((sigma,),))
        whole = compose("kernel_gan_table1", "kernel_gan_ae").to_dict()
        self.assertEqual(compose(card, "sum").to_dict(), whole)
        fields = (
            "output_dim bandwidths autoencoder_weight clip_weights critic_steps steps latent_dim"
        )
        for dataset, latents in (("cifar10", 128), ("celeb_a", 64)):
            argument = f"kernel_gan_critic,{dataset}"
            found = self.of("kernel_gan_images", argument, *fields.split())
            self.assertEqual(found, (100, (1, 2, 4, 8, 16), 100, 0.01, 5, 5000, latents))

    def test_gram_trains_as_section_4_and_appendix_b_say(self):
        fields = "network generator_width critic_width output_dim batch_size critic_learning_rate"
        networks = {"dcgan": "gram_dcgan", "weaker": "gram_dcgan_weak"}
        for argument in cells("gram_table1"):
            method, dataset, critic = argument.split(",")
            outputs = {"cifar10": 128, "celeb_a": 64}[dataset]
            found = self.of("gram_table1", argument, *fields.split())
            rest = (1 if method == "gan" else outputs, 64, 5e-5)
            self.assertEqual(found, (networks[critic], 32, 32, *rest), argument)
            self.assertEqual(
                *self.of("gram_table1", argument, "critic_learning_rate", "generator_learning_rate")
            )
        self.assertEqual(self.of("gram_table1", "gram", "bandwidths"), ((1, 2, 4, 8, 16),))
        first = {**compose("gram_table1", "gram").to_dict(), "image_size": 0}
        self.assertEqual(compose("gram_table8", "gram").to_dict(), first)
        self.assertEqual(self.of("gram_table8", "gram,seed2", "seed"), (2,))
        fields = "critic_learning_rate generator_learning_rate batch_size output_dim latent_dim"
        for word, wanted in (
            ("rate5e-5", (5e-5, 5e-5, 64, 128, 128)),
            ("rate1e-3", (1e-3, 1e-3, 64, 128, 128)),
            ("batch256", (5e-5, 5e-5, 256, 128, 128)),
            ("dim1000", (5e-5, 5e-5, 64, 1000, 128)),
        ):
            self.assertEqual(self.of("gram_figure5", f"gram,{word}", *fields.split()), wanted)
        self.assertEqual(self.of("gram_figure5", "gan,dim1000", "output_dim"), (1,))
        fields = "network generator_width critic_width latent_dim output_dim batch_size bandwidths"
        found = self.of("gram_mnist", "gram", *fields.split())
        self.assertEqual(found, ("gram_mnist", 600, 16, 100, 100, 200, (0.1, 1, 10, 100)))
        fields = "adam_beta1 learning_rate_multiplier image_range latent_distribution"
        found = self.of("gram_mnist", "gram", *fields.split())
        self.assertEqual(found, (0.5, 1.0, (0.0, 1.0), "uniform"))

    def test_kernel_net_trains_as_appendix_f_says(self):
        fields = "kernel critic_steps steps kernel_learning_rate_ratio adam_beta2 output_dim"
        omega = ("kernel_penalty_generator_weight", "kernel_penalty_weight")
        for card in ("kernelnet_table1", "kernelnet_table2", "kernelnet_table4"):
            for argument in cells(card):
                method, dataset = argument.split(",")
                found = self.of(card, argument, "latent_distribution", "latent_dim", "batch_size")
                self.assertEqual(found, ("uniform", 128, 64), argument)
                schedule = self.of(card, argument, "learning_rate_schedule")
                self.assertEqual(schedule, ("relative_kid",), argument)
                if "_dk" not in method and "_ikl" not in method:
                    continue
                kernel = method.split("_", 2 if method.startswith("sn") else 1)[-1]
                longer = 50_000 if dataset.startswith("imagenet") else 0
                wanted = (kernel, 5, 150_000 + longer, 0.01, 0.9, 1)
                weights = (0.0, 0.1)
                if method.startswith("rep"):
                    wanted = (kernel, 1, 200_000 + 2 * longer, 0.5, 0.999, 16)
                    weights = (0.1, 0.1)
                self.assertEqual(self.of(card, argument, *fields.split()), wanted, argument)
                self.assertEqual(self.of(card, argument, *omega), weights, argument)
        for dataset, shape in (
            ("cifar10", ("sndcgan", 32)),
            ("stl10", ("sndcgan", 48)),
            ("celeb_a", ("dcgan_resnet", 160)),
            ("imagenet_resized/64x64", ("resnet", 64)),
        ):
            for card in ("kernelnet_table2", "kernelnet_table4"):
                found = self.of(card, f"rep_dk,{dataset}", "network", "image_size")
                self.assertEqual(found, shape)

    def test_toys_of_the_gram_and_kernel_gan_papers(self):
        fields = "network generator_width batch_size latent_distribution optimizer"
        rates = ("generator_learning_rate", "learning_rate_multiplier")
        for method, optimizer, rate in (
            ("gram", "adam", 1e-3),
            ("mmd_net", "rmsprop", 1e-3),
            ("mmd_gan", "adam", 5e-5),
        ):
            found = self.of("toys", f"{method},ring2d", *fields.split())
            self.assertEqual(found, ("mlp_two", 100, 200, "normal", optimizer))
            self.assertEqual(self.of("toys", f"{method},ring2d", *rates), (rate, 1.0))
        fields = "network latent_dim bandwidths bandwidth_schedule bandwidth_every_steps steps"
        falling = (0.8, 0.4, 0.2, 0.1, 0.05, 0.025)
        found = self.of("toys", "kernel_gan,mog", *fields.split())
        self.assertEqual(found, ("mlp_tanh", 100, falling, "staircase", 10_000, 60_000))


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
                    numbers = re.findall(r"-?\d[\d.]*", before)
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
    # All cards in so many days.
    DAYS = 4

    def cards_of(self, day):
        return dict(list(FAST.items())[day % self.DAYS :: self.DAYS])

    def test_one_cell_of_a_quarter_of_the_cards(self):
        """The others on the next days; all of them, and more cells, under `-m slow`."""
        today = self.cards_of(datetime.date.today().toordinal())
        self.train({card: [argument] for card, argument in today.items()})

    def test_the_turn_comes_to_every_card(self):
        seen = [card for day in range(self.DAYS) for card in self.cards_of(day)]
        self.assertEqual(sorted(seen), sorted(FAST))


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
