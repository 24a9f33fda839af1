"""evaluate and export on a run that main made, each in a process of its own."""

import json
import pathlib
import subprocess
import sys
import tempfile

import tensorflow as tf

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
        cls.folder = pathlib.Path(tempfile.mkdtemp())
        cls.run_folder = cls.folder / "run"
        cls.trained = verb("main", *TINY, "--steps=4", f"--workdir={cls.run_folder}")
        assert cls.trained.returncode == 0, cls.trained.stderr

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
        export = next((self.run_folder / "export").glob("*/1"))
        values = []
        for target in ([self.run_folder], [export, "--dataset=digits"]):
            done = verb("evaluate", *target, "--num_samples=40", "--json")
            self.assertEqual(done.returncode, 0, done.stderr)
            values.append(json.loads(done.stdout)["fid"]["value"])
        trained = json.loads((self.run_folder / "scores.json").read_text())["fid"]["value"]
        self.assertAllClose(values, [trained, trained], rtol=1e-4)

    def test_evaluate_scores_a_folder_of_images(self):
        digits = data.load("digits", "test")
        for index in range(20):
            pictures.save_png(self.folder / "images" / f"{index}.png", digits.examples[index])
        out = self.folder / "out.json"
        done = verb("evaluate", self.folder / "images", "--dataset=digits", f"--out={out}")
        self.assertEqual(done.returncode, 0, done.stderr)
        card = json.loads(out.read_text())
        self.assertEqual(card["fid"]["num_samples"], 20)
        # They are real: far below the untrained generator.
        self.assertLess(card["fid"]["value"], 20)

    def test_evaluate_refuses_what_it_cannot_score(self):
        for arguments, word in (
            (["nowhere"], "nowhere"),
            ([self.folder], "--dataset"),
            ([self.run_folder, "--checkpoint=last"], "newest"),
            ([self.run_folder, "--extractr=x"], "extractor"),
        ):
            done = verb("evaluate", *arguments)
            self.assertEqual(done.returncode, 2)
            self.assertEqual(done.stderr.strip().count("\n"), 0, done.stderr)
            self.assertIn(word, done.stderr)

    def test_export_writes_the_next_version_of_the_best_checkpoint(self):
        to = self.folder / "models"
        for version in ("1", "2"):
            arguments = [self.run_folder, f"--to={to}", "--name=digits", "--checkpoint=best"]
            done = verb("export", *arguments)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertTrue((to / "digits" / version / "saved_model.pb").exists())
        self.assertEqual(verb("export", self.folder / "none").returncode, 2)


if __name__ == "__main__":
    tf.test.main()
