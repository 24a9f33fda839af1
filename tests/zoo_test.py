"""Models by name and path, presets without slots, fine-tuning, frozen layers, --init_from."""

import json
import os
import pathlib
import shlex
import shutil
import subprocess
import sys
import tempfile
import types
from unittest import mock

import keras
import numpy as np
import tensorflow as tf

import contract
import kgzoo
from kgzoo import export as export_verb
from kgzoo import main, presets, results, serving, zoo
from kgzoo.errors import UserError
from kgzoo.methods.gan import GAN
from kgzoo.methods.smmd import SMMD
from kgzoo.training import loop, run_folder

_TOY_FLAGS = ["--method=gan", "--dataset=gaussian", "--steps=2"]
_TOY_FLAGS += [
    f"--config.{field}={value}"
    for field, value in {**contract.TOY, "log_every_steps": 2, "keep_checkpoints": 1}.items()
]


def image_model(spectral="pim") -> SMMD:
    """A small method on images, trained for two steps, so that average and generator differ."""
    model = contract.model("smmd", critic_steps=1, spectral=spectral)
    model.compile(
        {
            "generator": keras.optimizers.Adam(0.003, 0.4, 0.8, clipnorm=2.0),
            "critic": keras.optimizers.RMSprop(0.002, 0.7),
        }
    )
    examples = contract.source("smmd").examples[: contract.BATCH_SIZE]
    for _ in range(2):
        model.train_step(examples)
    return model


def export(model, root, name="smmd_test", **fields) -> pathlib.Path:
    data = {"name": "digits", "split": "train"}
    facts = {"method": "smmd", "paper": "A paper", "data": data, "steps": 2, "seed": 5, **fields}
    return serving.export_model(model, root, name, serving.ModelCard(**facts))


def numbers(variables):
    return [keras.ops.convert_to_numpy(variable).copy() for variable in variables]


def fixed(variables, before):
    after = numbers(variables)
    return [bool(np.array_equal(x, y)) for x, y in zip(before, after, strict=True)]


MADE = types.SimpleNamespace()


def setUpModule():
    MADE.holder = tempfile.TemporaryDirectory()
    MADE.home = pathlib.Path(MADE.holder.name) / "models"
    MADE.model = image_model()
    MADE.path = export(MADE.model, MADE.home, config={"latent_dim": 4}, command="python x")
    MADE.expected = MADE.model.sample(5, seed=3)


def tearDownModule():
    MADE.holder.cleanup()


class Home:
    """One export of a small model in a KGZOO_HOME of its own; part of the test classes below."""

    def setUp(self):
        super().setUp()
        vars(self).update(vars(MADE))
        self.enterContext(mock.patch.dict(os.environ, {presets.HOME: str(self.home)}))
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))

    def refuses(self, pattern, *arguments):
        with self.assertRaisesRegex(UserError, pattern) as caught:
            kgzoo.load(*arguments)
        self.assertNotIn("\n", str(caught.exception))


class LoadTest(Home, tf.test.TestCase):
    def test_same_samples_by_every_way(self):
        for way in ("smmd_test", "smmd_test/1", self.path, str(self.path.parent), self.path.parent):
            self.assertEqual(presets.find(way), self.path / "model.keras")
        loaded = kgzoo.load("smmd_test")
        self.assertIs(type(loaded), SMMD)
        self.assertAllClose(loaded.sample(5, seed=3), self.expected, atol=1e-5)
        self.assertAllClose(serving.sample_export(self.path, 5, 3), self.expected, atol=1e-5)
        # A second time, and under another policy than it was made under.
        policy = keras.mixed_precision.global_policy()
        keras.mixed_precision.set_global_policy("mixed_bfloat16")
        try:
            again = kgzoo.load(str(self.path / "model.keras"))
        finally:
            keras.mixed_precision.set_global_policy(policy)
        self.assertAllClose(again.sample(5, seed=3), self.expected, atol=1e-5)
        self.assertAllClose(again.weights[0], loaded.weights[0])

    def test_preset_has_settings_and_no_slots(self):
        whole = self.folder / "whole.keras"
        self.model.save(whole)
        self.assertLess((self.path / "model.keras").stat().st_size, 0.75 * whole.stat().st_size)
        # The model that was exported still has its own.
        self.assertEqual(int(self.model.optimizers["generator"].iterations), 2)
        loaded = kgzoo.load("smmd_test")
        for _ in range(2):
            for player, optimizer in self.model.optimizers.items():
                found = loaded.optimizers[player]
                self.assertEqual(found.get_config(), optimizer.get_config())
                self.assertEqual(int(found.iterations), 0)
                self.assertTrue(all(not np.any(v) for v in numbers(found.variables[2:])))
            loaded.compile()
        loaded.compile({"critic": keras.optimizers.SGD(0.5)})
        self.assertIsInstance(loaded.optimizers["critic"], keras.optimizers.SGD)
        self.assertAllClose(loaded.optimizers["generator"].learning_rate, 0.003)
        # What has slots is still loaded with them.
        slots = keras.saving.load_model(whole).optimizers["generator"].variables
        self.assertAllClose(numbers(slots), numbers(self.model.optimizers["generator"].variables))

    def test_facts(self):
        facts = json.loads((self.path / "preset.json").read_text(encoding="utf-8"))
        expected = {"name": "smmd_test", "version": 1, "method": "smmd", "dataset": "digits"}
        expected |= {"kind": "image", "sample_shape": [8, 8, 1], "steps": 2, "seed": 5}
        expected |= {"command": "python x", "config": {"latent_dim": 4}, "scores": None}
        for key, value in expected.items():
            self.assertEqual(facts[key], value, key)
        self.assertEqual(facts["sha256"], presets.sha256(self.path / "model.keras"))
        self.assertEqual(set(facts["versions"]), {"kgzoo", "tensorflow", "keras"})

    def test_list_and_order_of_places(self):
        # Versions are numbers, 007 is 7, and a name of KGZOO_HOME goes before that of a clone.
        home, clone = self.folder / "home", self.folder / "clone"
        for folder, versions in ((home, ("2", "007", "10", "x")), (clone, ("10", "30"))):
            for version in versions:
                shutil.copytree(self.path, folder / "a" / version)
        (home / "empty" / "1").mkdir(parents=True)
        (home / "a" / "2" / "preset.json").write_text("[")
        with mock.patch.object(presets, "_folders", lambda: iter([home, clone])):
            listed = kgzoo.list_models()
            self.assertEqual(presets.find("a"), home / "a" / "10" / "model.keras")
            self.assertEqual(presets.find("a/7"), home / "a" / "007" / "model.keras")
            self.assertEqual(presets.find("a/30"), clone / "a" / "30" / "model.keras")
        self.assertEqual([model.version for model in listed], [2, 7, 10, 30])
        self.assertEqual([model.method for model in listed], [None, "smmd", "smmd", "smmd"])
        self.assertEqual(listed[2].path, home / "a" / "10" / "model.keras")

    def test_refusals(self):
        self.refuses("did you mean 'smmd_test'", "smmd_tset")
        self.refuses("xylophone.*models.*list_models", "xylophone")
        self.refuses("no version 7; choose 1", "smmd_test/7")
        self.refuses("does not exist; give", self.folder / "x")
        self.refuses("does not exist; give", "no/such/x.keras")
        self.refuses("holds no model.keras and no run", self.folder)
        self.refuses("no .keras file", self.path / "saved_model.pb")
        self.refuses("is no model", "")
        self.refuses("not known", "x" * 5000)
        self.refuses("checkpoint='last'", "smmd_test", "last")
        self.refuses("does not exist", "smmd_test/" + "1" * 5000)
        self.refuses("nobody_here.*write the path without ~", "~nobody_here/x")
        with mock.patch.dict(os.environ, {presets.HOME: "~nobody_here"}):
            self.refuses("write the path without ~", "smmd_test")
        unknown = TypeError("Could not locate class 'EnergyGAN'. Make sure it is decorated.")
        with mock.patch.object(keras.saving, "load_model", side_effect=unknown):
            self.refuses("holds a EnergyGAN, .* set KGZOO_METHODS", "smmd_test")
        with mock.patch.dict(os.environ, {presets.HOME: str(self.path / "saved_model.pb")}):
            self.refuses("KGZOO_HOME=.* is not a folder; set", "smmd_test")
            with self.assertRaisesRegex(UserError, "is not a folder"):
                kgzoo.list_models()
            # A path needs no home.
            self.assertEqual(presets.find(self.path), self.path / "model.keras")

    def test_damage(self):
        broken = shutil.copytree(self.path, self.folder / "x" / "1") / "model.keras"
        content = bytearray(broken.read_bytes())
        content[len(content) // 2] ^= 8
        broken.write_bytes(content)
        self.refuses("is not the file that preset.json", broken)
        (broken.parent / "preset.json").unlink()
        for content in (b"", b"no archive", self.path.joinpath("model.keras").read_bytes()[:3000]):
            broken.write_bytes(content)
            self.refuses("cannot be loaded", broken)
        keras.Sequential([keras.Input([2]), keras.layers.Dense(1)]).save(broken)
        self.refuses("holds a Sequential", broken)

    def test_a_signal_is_no_damage(self):
        stopped = loop.Stopped("SIGTERM: nothing is lost", 15)
        with mock.patch.object(keras.saving, "load_model", side_effect=stopped):
            with self.assertRaises(loop.Stopped):
                kgzoo.load("smmd_test")

    def test_safe_mode_only(self):
        path = self.folder / "lambda.keras"
        model = keras.Sequential([keras.Input([2]), keras.layers.Lambda(lambda x: x)])
        model.save(path)
        self.refuses("cannot be loaded.*ambda", path)

    def test_import_is_light(self):
        code = (
            "import sys, kgzoo; kgzoo.__version__; kgzoo.list_models(); "
            "assert {'load', 'list_models'} <= set(dir(kgzoo)); "
            "assert not {'tensorflow', 'keras', 'numpy'} & set(sys.modules)"
        )
        root = pathlib.Path(kgzoo.__file__).resolve().parent.parent
        subprocess.run([sys.executable, "-c", code], check=True, cwd=root)


class FineTuneTest(Home, tf.test.TestCase):
    def test_fit_moves_and_the_average_follows(self):
        model = kgzoo.load("smmd_test")
        # Of a run whose average has a half-life of thousands of steps.
        model.average.momentum = 0.9999
        model.step.assign(40_000)
        model.average.restart(model.steps_done)
        before = numbers(model.average.values)
        dark = np.zeros([64, 8, 8, 1], np.uint8)
        model.compile({"generator": keras.optimizers.SGD(0.0)})
        kernel = model.generator.trainable_variables[0]
        kernel.assign_add(tf.ones(kernel.shape))
        model.fit(dark, batch_size=8, epochs=5, verbose=0)
        index = [weight is kernel for weight in model.generator.weights].index(True)
        moved = numbers(model.average.values)[index]
        # After 40 steps next to nothing is left of what was before; the distance was about 1.
        self.assertGreater(np.abs(before[index] - numbers([kernel])[0]).mean(), 0.9)
        self.assertAllClose(moved, kernel, atol=1e-3)
        # Later it has its usual pace.
        model.average.restart(model.steps_done - 10**7)
        kernel.assign_add(tf.ones(kernel.shape))
        model.train_step(dark[:8])
        self.assertAllClose(numbers(model.average.values)[index], moved, atol=2e-4)

    def test_saved_while_fine_tuned_it_goes_on(self):
        images = contract.source("smmd").examples[:16]
        model = kgzoo.load("smmd_test")
        # As after thousands of steps, when the average has become slow.
        model.average.momentum = 0.9999
        model.step.assign(40_000)
        model.average.restart(40_000)
        model.fit(images, batch_size=8, verbose=0)
        begun, path = int(model.step), self.folder / "tuned.keras"
        self.assertEqual(begun, 40_002)
        model.save(path)
        model.save_weights(self.folder / "tuned.weights.h5")
        weights = kgzoo.load("smmd_test")
        weights.load_weights(self.folder / "tuned.weights.h5")
        model.fit(images, batch_size=8, verbose=0)
        for again in (kgzoo.load(path), keras.saving.load_model(path)):
            self.assertEqual(again.average.first_step, 40_000)
            again.average.momentum = 0.9999
            again.fit(images, batch_size=8, verbose=0)
            for value, expected in zip(again.average.values, model.average.values, strict=True):
                self.assertAllClose(value, expected, rtol=1e-4, atol=1e-5)
        self.assertEqual(weights.average.first_step, 40_000)
        # An export begins anew, as do its optimizers.
        exported = kgzoo.load(export(model, self.folder))
        self.assertEqual(exported.average.first_step, 40_004)
        # What was never restarted has a file as ever, and begins anew.
        self.model.save(path)
        self.assertEqual(keras.saving.load_model(path).average.first_step, 0)
        self.assertEqual(kgzoo.load(path).average.first_step, 2)

    def test_fit_changes_samples(self):
        model = kgzoo.load("smmd_test")
        images = np.float32(contract.source("smmd").examples[:32] / 255)
        history = model.fit(images, batch_size=8, verbose=0).history
        self.assertIn("generator_loss", history)
        self.assertEqual(model.steps_done, 6)
        self.assertGreater(np.abs(model.sample(5, seed=3) - self.expected).max(), 1e-4)

    def test_frozen_layers_stay(self):
        model = kgzoo.load("smmd_test")
        critic = [layer for layer in model.critic.layers if layer.weights]
        names = model.freeze_critic(2)
        self.assertEqual(names, [layer.name for layer in critic[:2]])
        images = contract.source("smmd").examples[:16]
        with self.assertRaisesRegex(UserError, "critic.*call compile"):
            model.fit(images, batch_size=8, verbose=0)
        model.compile()
        low = [v for layer in critic[:2] for v in layer.variables if "spectral_u" not in v.path]
        # The loss does not depend on the last bias.
        high = [v for layer in critic[2:] for v in layer.trainable_variables if v.ndim > 1]
        before, above = numbers(low), numbers(high)
        model.fit(images, batch_size=8, verbose=0)
        self.assertTrue(all(fixed(low, before)))
        self.assertFalse(any(fixed(high, above)))
        self.assertTrue(np.isfinite(model.sample(2)).all())
        # It survives a file, and can be undone.
        model.save_preset(self.folder / "frozen.keras")
        loaded = kgzoo.load(self.folder / "frozen.keras")
        count = len(model.players["critic"])
        self.assertLen(loaded.players["critic"], count)
        loaded.freeze_critic(0)
        self.assertGreater(len(loaded.players["critic"]), count)
        with self.assertRaisesRegex(UserError, "frozen or freed"):
            loaded.fit(images, batch_size=8, verbose=0)
        with self.assertRaisesRegex(UserError, "count"):
            model.freeze_critic(99)

    def test_a_critic_frozen_whole(self):
        model = contract.toy("gan")
        model.freeze_critic(len([layer for layer in model.critic.layers if layer.weights]))
        model.compile()
        before = numbers(model.critic.variables)
        model.fit(np.zeros([16, 2], np.float32), batch_size=8, verbose=0)
        self.assertTrue(all(fixed(model.critic.variables, before)))

    def test_no_critic_to_freeze(self):
        model = contract.model("mmd_net")
        with self.assertRaisesRegex(UserError, "has no critic"):
            model.freeze_critic(1)


class RunTest(Home, tf.test.TestCase):
    def test_nothing_says_where_things_lay(self):
        for text, expected in (
            ("/data/ann/x.pb", "…/x.pb"),
            ("inception:/data/ann/x.pb", "inception:…/x.pb"),
            ("image_folder:~/my photos/", "image_folder:…/my photos"),
            ("/a/smmd/3", "…/smmd/3"),
            ("p(y|x)/q, 1/2 and https://example.org/x", None),
            ("export/smmd", None),
        ):
            self.assertEqual(results._portable({"a": [text, 1]}), {"a": [expected or text, 1]})
        words = ["python", "--dataset=image_folder:/a/my photos", "--data_dir", "/a", "--steps=2"]
        expected = "python '--dataset=image_folder:…/my photos' --steps=2"
        self.assertEqual(results._anywhere(shlex.join(words)), expected)
        self.assertEqual(results._anywhere("x --init_from=/a/b --data_dir=c"), "x --init_from=…/b")

    def test_a_file_is_exported(self):
        file = self.folder / "mine.keras"
        self.model.save(file)
        with mock.patch("builtins.print"):
            self.assertEqual(export_verb.main(["x", str(file), f"--to={self.folder}"]), 0)
        path = self.folder / "mine" / "1"
        self.assertAllClose(
            serving.sample_export(path, 5, seed=3), self.expected, rtol=0, atol=1e-5
        )
        self.assertIn("saved by hand", (path / "MODEL_CARD.md").read_text(encoding="utf-8"))
        with self.assertRaisesRegex(UserError, "no.keras"):
            export_verb.main(["x", str(self.folder / "no.keras")])

    """Run folders: loaded, and begun with the networks of another model."""

    def train(self, workdir, *flags):
        with mock.patch("builtins.print"):
            return main.main(["kgzoo", *_TOY_FLAGS, f"--workdir={workdir}", *flags])

    def test_init_from(self):
        first, second = self.folder / "first", self.folder / "second"
        self.assertEqual(self.train(first), 0)
        donor = kgzoo.load(first)
        self.assertIs(type(donor), GAN)
        self.assertEqual(int(donor.optimizers["critic"].iterations), 2)
        preset = next((first / "export").glob("*/1"))
        self.assertAllClose(kgzoo.load(preset).sample(4), donor.sample(4), atol=1e-5)

        begun = []

        def keep(model, name):
            record = original(model, name)
            begun.append((numbers(model.generator.weights), numbers(model.critic.weights)))
            begun.append(model.sample(4))
            return record

        original = zoo.initialize
        with mock.patch.object(zoo, "initialize", keep):
            self.assertEqual(self.train(second, f"--init_from={preset}", "--seed=9"), 0)
            self.assertAllEqual(begun[0][0][0], donor.generator.weights[0])
            self.assertAllEqual(begun[0][1][-1], donor.critic.weights[-1])
            self.assertAllClose(begun[1], donor.sample(4), atol=1e-5)
            # More steps: a resume, which needs the preset no more.
            shutil.rmtree(first)
            more = ["--steps=3", "--seed=9", "--data_dir=/some/where"]
            self.assertEqual(self.train(second, f"--init_from={preset}", *more), 0)
            self.assertLen(begun, 2)
            with self.assertRaisesRegex(UserError, "init_from"):
                self.train(second, *more)
        config = run_folder.read_config(second)["config"]
        self.assertEqual(config["init_from"], str(preset))
        record = json.loads((second / "init_from.json").read_text())
        self.assertEqual((record["step"], record["method"]), (2, "gan"))
        self.assertLen(record["sha256"], 64)
        # Both exports of the run say so, and one by hand.
        with mock.patch("builtins.print"):
            by_hand = self.folder / "by_hand"
            self.assertEqual(export_verb.main(["x", str(second), f"--to={by_hand}"]), 0)
        cards = [*(second / "export").glob("*/*/MODEL_CARD.md"), *by_hand.glob("*/1/MODEL_CARD.md")]
        self.assertLen(cards, 3)
        for card in cards:
            name, sha256 = preset.parent.name, record["sha256"]
            line = f"| fine-tuned from | `…/{name}/1` (`gan`, step 2, SHA-256 `{sha256}`; "
            self.assertIn(line + "taken: generator ", card.read_text(encoding="utf-8"))
            facts = json.loads((card.parent / "preset.json").read_text(encoding="utf-8"))
            told = {"path": record["path"], "init_from": record["init_from"]}
            self.assertEqual({**facts["begun"], **told}, record)
            self.assertNotIn("path", facts["begun"])
            # No folder of this machine, in a line that works on others.
            self.assertIn("--seed=9", facts["command"])
            self.assertNotIn("data_dir", facts["command"])
            # Nothing of a published export says where things lay.
            for each in (card.read_text(encoding="utf-8"), json.dumps(facts, ensure_ascii=False)):
                self.assertNotIn(str(self.folder), each)
        for damaged in ("{", "[1]", "{}", json.dumps({**record, "step": "2"})):
            (second / "init_from.json").write_text(damaged)
            self.assertIsNone(run_folder.read_init_from(second))

    def test_init_from_what_does_not_fit(self):
        with self.assertRaisesRegex(UserError, "did you mean 'smmd_test'"):
            self.train(self.folder / "x", "--init_from=smmd_tset")
        self.assertFalse((self.folder / "x").exists())
        with self.assertRaisesRegex(UserError, "init_from=smmd_test has sample_shape"):
            self.train(self.folder / "x", "--init_from=smmd_test")
        with self.assertRaisesRegex(UserError, "--init_from is empty"):
            self.train(self.folder / "x", "--init_from=")

    def test_critic_layers_where_shapes_fit(self):
        # Without spectral normalisation and with another number of outputs.
        model = contract.model("smmd", critic_steps=1, output_dim=3, seed=8)
        record = zoo.initialize(model, "smmd_test")
        total = len([layer for layer in model.critic.layers if layer.weights])
        self.assertEqual(record["networks"]["critic"], f"{total - 1} of {total} layers")
        self.assertAllEqual(model.critic.weights[0], self.model.critic.weights[0])
        self.assertAllClose(model.sample(5, seed=3), self.expected, atol=1e-5)
        for fields, pattern in (
            ({"latent_dim": 5}, "latent_dim=4 and this run 5"),
            ({"generator_width": 6}, r"set --config.network and --config.generator_width as there"),
            ({"latent_distribution": "normal"}, "set --config.latent_distribution"),
            ({"image_range": (-1.0, 1.0)}, "set --config.image_range"),
        ):
            with self.assertRaisesRegex(UserError, pattern):
                zoo.initialize(contract.model("smmd", **fields), "smmd_test")
        made = {"network": "dcgan_small", "generator_width": 8, "else": 1}
        with (
            mock.patch.object(presets, "facts", lambda path: {"config": made}),
            self.assertRaisesRegex(UserError, "network=dcgan_small and --config.generator_width=8"),
        ):
            zoo.initialize(contract.model("smmd", generator_width=6), "smmd_test")


if __name__ == "__main__":
    tf.test.main()
