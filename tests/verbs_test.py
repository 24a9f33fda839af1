"""evaluate and export on a run that main made.

`main` is a process of its own, and so are one refusal and one --help; the rest share one.
"""

import json
import pathlib
import subprocess
import sys
import tempfile

import tensorflow as tf

import command_lines
from kgzoo import data
from kgzoo.evaluation import pictures

ROOT = pathlib.Path(__file__).resolve().parent.parent
TINY = [
    *("--config.generator_width=4", "--config.critic_width=4", "--config.latent_dim=4"),
    *("--config.num_samples=40", "--config.sample_every_steps=0", "--config.batch_size=8"),
    *("--config.score_every_steps=2", "--config.checkpoint_every_steps=1"),
    *("--config.critic_steps=1", "--config.keep_checkpoints=2"),
]


def verb(name: str, *arguments: str) -> subprocess.CompletedProcess:
    """Runs `python -m kgzoo.<name>` in the clone."""
    command = [sys.executable, "-m", f"kgzoo.{name}", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)


class VerbsTest(tf.test.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.folder = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        cls.run_folder = cls.folder / "run"
        cls.trained = verb("main", *TINY, "--steps=4", f"--workdir={cls.run_folder}")
        assert cls.trained.returncode == 0, cls.trained.stderr
        digits = data.load("digits", "test")
        for index in range(20):
            pictures.save_png(cls.folder / "images" / f"{index}.png", digits.examples[index])
        export = next((cls.run_folder / "export").glob("*/1"))
        cls.out, cls.models = cls.folder / "out.json", cls.folder / "models"
        score = ("--num_samples=40", "--json")
        to = (f"--to={cls.models}", "--name=digits", "--checkpoint=best")
        lines = {
            "run": ["evaluate", cls.run_folder, *score],
            "export": ["evaluate", export, "--dataset=digits", *score],
            "images": ["evaluate", cls.folder / "images", "--dataset=digits", f"--out={cls.out}"],
            "no data": ["evaluate", cls.folder],
            "checkpoint": ["evaluate", cls.run_folder, "--checkpoint=last"],
            "flag": ["evaluate", cls.run_folder, "--extractr=x"],
            "version 1": ["export", cls.run_folder, *to],
            "version 2": ["export", cls.run_folder, *to],
            "no run": ["export", cls.folder / "none"],
        }
        done = command_lines.many(list(lines.values()), cls.folder)
        cls.done = dict(zip(lines, done, strict=True))

    def assert_done(self, name):
        self.assertEqual(self.done[name]["code"], 0, self.done[name]["err"])
        return self.done[name]["out"]

    def test_run_folder_is_complete_and_the_next_commands_are_printed(self):
        for name in ("config.json", "metrics.jsonl", "scores.json", "result.json", "events"):
            self.assertTrue((self.run_folder / name).exists(), name)
        steps = [
            json.loads(line)["step"]
            for line in (self.run_folder / "metrics.jsonl").read_text().splitlines()
        ]
        self.assertEqual(steps[-1], 4)
        for word in ("FID", "untrained", "tensorflow_model_server", "--steps=8", "sample.png"):
            self.assertIn(word, self.trained.stdout)

    def test_scores_say_how_they_were_computed(self):
        scores = json.loads((self.run_folder / "scores.json").read_text())
        for name in ("fid", "kid", "inception_score"):
            for fact in ("value", "convention", "num_samples", "extractor", "seed"):
                self.assertIn(fact, scores[name])
        self.assertEqual(scores["fid"]["num_samples"], 40)
        self.assertEqual(scores["fid"]["num_reference"], 450)
        self.assertIn("fid", scores["untrained"])

    def test_evaluate_gives_the_same_score_for_the_run_and_its_export(self):
        found = (json.loads(self.assert_done(name)) for name in ("run", "export"))
        values = [card["fid"]["value"] for card in found]
        trained = json.loads((self.run_folder / "scores.json").read_text())["fid"]["value"]
        self.assertAllClose(values, [trained, trained], rtol=1e-4)

    def test_evaluate_scores_a_folder_of_images(self):
        self.assert_done("images")
        card = json.loads(self.out.read_text())
        self.assertEqual(card["fid"]["num_samples"], 20)
        # They are real: far below the untrained generator.
        self.assertLess(card["fid"]["value"], 20)

    def test_evaluate_refuses_what_it_cannot_score(self):
        typed = verb("evaluate", "nowhere")
        refused = {"nowhere": {"code": typed.returncode, "err": typed.stderr}, **self.done}
        for name, word in (
            *(("nowhere", "nowhere"), ("no data", "--dataset")),
            *(("checkpoint", "newest"), ("flag", "extractor")),
        ):
            self.assertEqual(refused[name]["code"], 2, name)
            self.assertEqual(refused[name]["err"].strip().count("\n"), 0, refused[name]["err"])
            self.assertIn(word, refused[name]["err"])

    def test_export_writes_the_next_version_of_the_best_checkpoint(self):
        for version in ("1", "2"):
            self.assert_done(f"version {version}")
            self.assertTrue((self.models / "digits" / version / "saved_model.pb").exists())
        self.assertEqual(self.done["no run"]["code"], 2)
        self.assertEqual(verb("export", "--help").returncode, 0)


if __name__ == "__main__":
    tf.test.main()
