"""The command line: fast answers, one sentence and exit code 2 for every mistake, precedence."""

import pathlib
import re
import subprocess
import sys
import tempfile
import textwrap
import unittest
from unittest import mock

import command_lines
from kgzoo import catalog, config
from kgzoo.errors import UserError

# Command line, and what the sentence must hold: the field, the value, the remedy.
MISTAKES = {
    "method": (["--method=smd"], ["method", "'smd'", "did you mean 'smmd'?"]),
    "method_far": (["--method=zzzz"], ["'zzzz'", "choose one of", "sn_swgan"]),
    "field": (["--config.critic_stpes=3"], ["critic_stpes", "did you mean 'critic_steps'?"]),
    "field_far": (["--config.qqqq=3"], ["--config.qqqq", "--help"]),
    "flag": (["--methd=smmd"], ["--methd", "did you mean 'method'?"]),
    "flag_far": (["--qqqq=1"], ["--qqqq", "--help"]),
    "positional": (["method=smmd"], ["method=smmd", "did you mean '--method'?"]),
    "no_value": (["--config.seed"], ["--config.seed", "--config.seed=value"]),
    "steps_word": (["--steps=many"], ["steps", "many"]),
    "steps_negative": (["--steps=-1"], ["steps=-1", "0 or more"]),
    "seed": (["--seed=2147483648"], ["seed=2147483648", "at most"]),
    "number": (["--config.critic_steps=1.5"], ["critic_steps=1.5", "whole number"]),
    "zero": (["--config.critic_steps=0"], ["critic_steps=0", "1 or more"]),
    "infinite": (["--config.scale_weight=inf"], ["scale_weight=inf", "finite"]),
    "rate": (["--config.critic_learning_rate=0"], ["critic_learning_rate=0", "positive"]),
    "beta": (["--config.adam_beta1=1"], ["adam_beta1=1", "[0, 1)"]),
    "choice": (["--config.kernel=gausian"], ["kernel='gausian'", "did you mean 'gaussian'?"]),
    "range": (["--config.image_range=(0,255)"], ["image_range=(0.0, 255.0)", "choose one of"]),
    "strategy": (["--strategy=mirored"], ["strategy='mirored'", "did you mean 'mirrored'?"]),
    "truth": (["--config.deterministic=perhaps"], ["deterministic=perhaps", "true or false"]),
    "override": (["--config.method=gan"], ["--config.method", "use --method"]),
    "dataset": (["--dataset=digit"], ["digit", "did you mean 'digits'?"]),
    "missing": (["--dataset=cifar10", "--data_dir=/nonexistent"], ["cifar10", "/nonexistent"]),
    "folder": (["--dataset=image_folder:/nonexistent"], ["/nonexistent"]),
    "card": (["--config=configs/smd_table1a.py"], ["smd_table1a.py", "configs/smmd_table1a.py"]),
    "card_argument": (["--config=configs/smmd_table1a.py:smd"], ["smd", "smmd"]),
    "card_method": (
        ["--config=configs/smmd_table1a.py:smmd", "--method=gan"],
        ["--method=gan", "method=smmd", "smmd_table1a.py"],
    ),
}
CARD = '''
"""A card for a test."""


def get_config(argument=None):
    """Returns fields."""
    fields = {"method": "hinge", "dataset": "ring2d", "latent_dim": 7, "critic_width": 9}
    return {**fields, "spectral_constant": 2.5}
'''


class AnswersTest(unittest.TestCase):
    """All lines in one process that never loads TensorFlow."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        temporary = tempfile.TemporaryDirectory()
        cls.addClassCleanup(temporary.cleanup)
        cls.folder = pathlib.Path(temporary.name)
        lines = [["--help"], ["--list_methods"], *(line for line, _ in MISTAKES.values())]
        done = command_lines.many(lines, cls.folder)
        cls.help, cls.list, *rest = done
        cls.mistakes = dict(zip(MISTAKES, rest, strict=True))

    def test_help_names_every_flag_and_field(self):
        self.assertEqual((self.help["code"], self.help["err"]), (0, ""))
        for name in ("--method", "--dataset", "--workdir", "--steps", "--seed", "--strategy"):
            self.assertIn(name, self.help["out"])
        for field in set(config.FIELDS) - {"method", "dataset"}:
            self.assertIn(f"--config.{field} ", self.help["out"])

    def test_the_list_names_every_method_and_its_paper(self):
        self.assertEqual((self.list["code"], self.list["err"]), (0, ""))
        for name, row in catalog.ROWS.items():
            self.assertRegex(self.list["out"], rf"(?m)^{name}\s+{re.escape(row.summary[:20])}")
            self.assertIn(row.paper, self.list["out"])

    def test_every_mistake_is_one_sentence(self):
        for name, (line, words) in MISTAKES.items():
            with self.subTest(name):
                done = self.mistakes[name]
                self.assertEqual(done["code"], 2, line)
                self.assertRegex(done["err"], r"\Akgzoo: [^\n]+\n\Z")
                for word in words:
                    self.assertIn(word, done["err"])

    def test_tensorflow_stays_away(self):
        for name, done in {"help": self.help, "list": self.list, **self.mistakes}.items():
            self.assertFalse(done["tensorflow"], name)

    def test_nothing_is_left_on_disk(self):
        self.assertEqual([path.name for path in self.folder.iterdir()], ["results.json"])


class ProgramTest(unittest.TestCase):
    """As it is typed."""

    def run_program(self, *line):
        with tempfile.TemporaryDirectory() as folder:
            return subprocess.run(
                [sys.executable, "-m", *line],
                capture_output=True,
                text=True,
                cwd=folder,
                env=command_lines.environment(),
            )

    def test_exit_codes(self):
        for module in ("kgzoo.main", "kgzoo"):
            for line, code in ((["--help"], 0), (["-h"], 0), (["--method=smd"], 2)):
                done = self.run_program(module, *line)
                self.assertEqual(done.returncode, code, (module, line, done.stderr))
                self.assertNotIn("Traceback", done.stderr)
                self.assertEqual(done.stderr.count("\n"), 1 if code else 0)

    def test_verbs(self):
        done = self.run_program("kgzoo", "trian")
        self.assertEqual(done.returncode, 2)
        self.assertRegex(done.stderr, r"\Akgzoo: .*trian.*did you mean 'train'\?\n\Z")
        for verb in ("train", "evaluate", "export"):
            self.assertEqual(self.run_program("kgzoo", verb, "--help").returncode, 0)


class ComposeTest(unittest.TestCase):
    """base < data set < catalogue row < run card < override."""

    def card(self, text=CARD):
        folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        path = folder / "card.py"
        path.write_text(textwrap.dedent(text))
        return str(path)

    def test_precedence(self):
        def base(field):
            return config.FIELDS[field][0]

        row, settings = catalog.row("hinge"), config.DATASET_SETTINGS["ring2d"]
        resolved = config.compose(card=self.card(), overrides=[("critic_width", "11")])
        self.assertEqual((resolved.method, resolved.dataset), ("hinge", "ring2d"))
        # The base alone says it.
        self.assertEqual(resolved.num_samples, base("num_samples"))
        # The data set over the base.
        self.assertNotEqual(settings["generator_width"], base("generator_width"))
        self.assertEqual(resolved.generator_width, settings["generator_width"])
        # The row over the base.
        self.assertNotEqual(row.spectral, base("spectral"))
        self.assertEqual(resolved.spectral, row.spectral)
        # The card over the data set.
        self.assertNotEqual(settings["latent_dim"], 7)
        self.assertEqual(resolved.latent_dim, 7)
        # The card over the row.
        self.assertNotEqual(row.spectral_constant, 2.5)
        self.assertEqual(resolved.spectral_constant, 2.5)
        # The override over the card; the last of two.
        self.assertEqual(resolved.critic_width, 11)
        twice = config.compose(overrides=[("critic_width", "11"), ("critic_width", "12")])
        self.assertEqual(twice.critic_width, 12)

    def test_the_row_wins_over_the_data_set(self):
        row = catalog.row("smmd")
        self.assertNotEqual(row.latent_distribution, "normal")
        with mock.patch.dict(
            config.DATASET_SETTINGS, {"ring2d": {"latent_distribution": "normal"}}
        ):
            resolved = config.compose("smmd", "ring2d")
        self.assertEqual(resolved.latent_distribution, row.latent_distribution)

    def test_an_equal_choice_is_no_contradiction(self):
        self.assertEqual(config.compose("hinge", "ring2d", self.card()).method, "hinge")

    def test_a_contradiction_names_both(self):
        card = self.card()
        for choice, words in (
            ({"method": "smmd"}, ("--method=smmd", "method=hinge", card)),
            ({"dataset": "digits"}, ("--dataset=digits", "dataset=ring2d", card)),
        ):
            with self.assertRaises(UserError) as caught:
                config.compose(card=card, **choice)
            for word in words:
                self.assertIn(word, str(caught.exception))

    def test_bad_cards_are_refused(self):
        for text, words in (
            ("def get_config(argument):\n    return {'latent_dmi': 3}", "latent_dmi.*latent_dim"),
            ("def get_config(argument):\n    return {'latent_dim': 'x'}", "latent_dim=x.*whole"),
            ("x = 1", "get_config"),
        ):
            with self.subTest(text), self.assertRaisesRegex(UserError, words):
                config.compose(card=self.card(text))

    def test_it_is_locked(self):
        resolved = config.compose()
        with self.assertRaises((AttributeError, KeyError)):
            resolved.critic_stpes = 3

    def test_values_keep_their_types(self):
        resolved = config.compose(
            overrides={"steps": "1_000", "scale_weight": "1e1", "image_range": "(-1, 1)"}
        )
        self.assertEqual(
            (resolved.steps, resolved.scale_weight, resolved.image_range), (1000, 10.0, (-1, 1))
        )
        self.assertIs(type(resolved.steps), int)
        self.assertIs(type(resolved.scale_weight), float)
        self.assertIs(config.compose(overrides={"deterministic": "false"}).deterministic, False)

    def test_every_row_and_data_set_composes(self):
        for name in catalog.names():
            for dataset in config.DATASET_SETTINGS:
                self.assertEqual(config.compose(name, dataset).method, name)

    def test_a_resolved_config_composes_to_itself(self):
        for name in catalog.names():
            resolved = config.compose(name, "mnist")
            rest = {k: v for k, v in resolved.items() if k not in ("method", "dataset")}
            as_text = {field: str(value) for field, value in rest.items()}
            again = config.compose(name, "mnist", overrides=as_text)
            self.assertEqual(again.to_dict(), resolved.to_dict())


class ChoicesTest(unittest.TestCase):
    """What is refused before TensorFlow is loaded is what the packages refuse."""

    def test_choices_are_what_the_packages_accept(self):
        from kgzoo import kernels, methods, networks
        from kgzoo.data import source
        from kgzoo.discrepancies import (
            adversarial,
            jensen_shannon,
            kernel_scale,
            mmd,
            ratio_matching,
            repulsive,
        )
        from kgzoo.evaluation import features
        from kgzoo.kernels import bandwidths, spectral
        from kgzoo.methods import (
            augmentation,
            base,
            fixed_kernel,
            gan,
            gradient_constrained,
            kernel_gan,
            latent_objective,
            mmd_gan,
            smmd,
            trained_kernel,
        )
        from kgzoo.networks import blocks
        from kgzoo.training import rate_schedule, runtime

        families = (mmd_gan, smmd, gradient_constrained, latent_objective)

        accepted = {
            "strategy": runtime.strategy_names(),
            "precision": methods.precision.PRECISIONS,
            "network": networks.names(),
            "kernel": kernels.names(),
            "kernel_expectation": spectral.EXPECTATIONS,
            "kernel_penalty_norm": trained_kernel._NORMS,
            "kernel_penalty_pairs": trained_kernel._PAIRS,
            "scale_form": kernel_scale.FORMS,
            "space": fixed_kernel._SPACES,
            "bandwidth_rule": bandwidths.RULES,
            "bandwidth_schedule": kernel_gan._SCHEDULES,
            "mixture": jensen_shannon.MIXTURES,
            "density_kernels": kernel_gan._DENSITY_KERNELS,
            "bounded_correction": jensen_shannon.CORRECTIONS,
            "positivity": ratio_matching.POSITIVITIES,
            "positivity_reduction": ratio_matching.REDUCTIONS,
            "estimator": mmd.ESTIMATORS,
            "spectral": blocks.SPECTRAL,
            "extractor": ["", *features.names()],
            "latent_distribution": base._DISTRIBUTIONS,
            "image_range": base._RANGES,
            "mmd_scope": base._SCOPES,
            "objective": [
                *("", *adversarial.LOSSES),
                *(name for family in families for name in family._OBJECTIVES),
            ],
            "penalty": dict.fromkeys((*gan._PENALTIES, *mmd_gan._PENALTIES)),
            "bounding": repulsive.BOUNDINGS,
            "augmentation": augmentation.AUGMENTATIONS,
            "optimizer": methods._OPTIMIZERS,
            "binarization": source.BINARIZATIONS,
            "aggregate_divergence": latent_objective._DIVERGENCES,
            "information": latent_objective._DIVERGENCES,
            "learning_rate_schedule": rate_schedule.NAMES,
        }
        self.assertEqual(set(accepted), set(config.CHOICES))
        for field, names in accepted.items():
            self.assertCountEqual(config.CHOICES[field], names, field)
            self.assertIn(config.FIELDS[field][0], names, field)

    def test_every_setting_of_a_row_is_a_field(self):
        for name, row in catalog.ROWS.items():
            self.assertLessEqual(set(row.settings()), set(config.FIELDS), name)

    def test_every_field_of_a_class_is_a_field(self):
        from kgzoo import methods

        for name in catalog.names():
            self.assertLessEqual(set(methods.method_class(name).config_fields), set(config.FIELDS))


if __name__ == "__main__":
    unittest.main()
