"""The contract of every method: what each catalogue name must do, on a small model of its own.

`contract_test.py` makes two test classes for every name from the mixins below, so that a new row is
tested without being asked. `Quick` runs for all names. `Full` costs half a minute a name: it runs
for one name a day, in turn, and for the rest under `-m slow`. To choose the names yourself:

  KGZOO_CONTRACT_NAMES=smmd,hinge python -m pytest tests/contract_test.py      (or =all)
"""

import datetime
import functools
import json
import os
import pathlib
import tempfile

import keras
import numpy as np
import tensorflow as tf

from kgzoo import catalog, config, data, layers, methods, serving
from kgzoo.data.pipeline import training_dataset
from kgzoo.errors import UserError
from kgzoo.methods import Method
from kgzoo.training.checkpoints import Checkpoints

__all__ = [
    "BATCH_SIZE",
    "Full",
    "Quick",
    "TOY",
    "batches",
    "compiled",
    "day_of_year",
    "model",
    "names_in_full",
    "source",
    "state",
    "tiny_config",
    "toy",
    "wake",
]

BATCH_SIZE = 8
_IMAGE_SIZE = 8
# So few that three steps run into the second epoch.
_NUM_EXAMPLES = 40
_NAMES_A_DAY = 1
_MOST_CRITIC_STEPS = 2
_ROOMY_CLIP = 0.5
_TINY = {
    "generator_width": 4,
    "critic_width": 4,
    "latent_dim": 4,
    "batch_size": BATCH_SIZE,
    "ema_half_life_images": 20.0,
    "seed": 5,
}
# A run of the loop that costs next to nothing: two dense networks on points of the plane.
TOY = {
    "network": "mlp",
    "generator_width": 4,
    "critic_width": 4,
    "latent_dim": 2,
    "batch_size": 8,
    "learning_rate_multiplier": 5.0,
    "sample_every_steps": 0,
    "num_samples": 32,
    "ema_half_life_images": 20.0,
}
_REMEDY = r"choose|give|set |use |did you mean"


def day_of_year() -> int:
    """Returns today's number in the year, the same for all who run tests now."""
    return datetime.datetime.now(datetime.UTC).timetuple().tm_yday


def names_in_full() -> list[str]:
    """Returns the names whose whole contract is tested today, or those that the user asks for."""
    asked = os.environ.get("KGZOO_CONTRACT_NAMES")
    names = catalog.names()
    if asked:
        return names if asked == "all" else [catalog.row(name).name for name in asked.split(",")]
    first = _NAMES_A_DAY * day_of_year()
    return [names[(first + i) % len(names)] for i in range(_NAMES_A_DAY)]


def tiny_config(name: str, **overrides):
    """Returns the config of a catalogue name on its `contract_data`, with narrow networks."""
    row = catalog.row(name)
    few = {"critic_steps": min(_MOST_CRITIC_STEPS, row.critic_steps)}
    if row.clip_weights:
        # Four filters with weights of 0.01 pass nothing on.
        few["clip_weights"] = _ROOMY_CLIP
    if row.contract_data != "digits":
        # Four ReLU units a layer are dead on most of the plane.
        few |= {"generator_width": 16, "critic_width": 16}
    if row.score_eigenfunctions:
        # Codes of four dimensions have fewer that are more than rounding.
        few["score_eigenfunctions"] = 4
    return config.compose(name, row.contract_data, overrides={**_TINY, **few, **overrides})


@functools.cache
def _source(name: str) -> data.Source:
    size = _IMAGE_SIZE if name == "digits" else None
    whole = data.load(name, image_size=size)
    examples = whole.examples[:_NUM_EXAMPLES]
    return data.Source(name, whole.kind, whole.shape, len(examples), examples)


def source(name: str) -> data.Source:
    """Returns the first examples of a catalogue name's `contract_data`, images at 8 x 8."""
    return _source(catalog.row(name).contract_data)


def wake(method: Method, seed: int = 0) -> None:
    """Gives every kernel the size at which losses and gradients are of order one.

    The networks start small (deviation 0.02) for real widths: four filters wide, they put the
    critic's gradients below float32's resolution, and every test would pass on zeros.
    """
    random = np.random.RandomState(seed)
    # A trained kernel starts at a size of its own.
    kernel = {id(variable) for variable in method.players.get("kernel", ())}
    for variable in method.trainable_variables:
        if id(variable) in kernel:
            continue
        shape = tuple(variable.shape)
        if len(shape) > 1:
            deviation = np.sqrt(2.0 / np.prod(shape[:-1]))
            variable.assign(deviation * random.standard_normal(shape))
    # Where kernels are normalised, the size of the features is in the gains.
    for layer in layers.spectral_layers(method.critic) if method.has_critic else ():
        if layer.gain is not None:
            layer.gain.assign(2.0)
    method.average.reset(method.generator)


def model(name: str, **overrides) -> Method:
    """Returns the small model of a catalogue name, always the same one, not compiled."""
    keras.utils.set_random_seed(0)
    examples = source(name)
    method = methods.build(tiny_config(name, **overrides), examples.kind, examples.shape)
    wake(method)
    return method


def compiled(name: str, optimizers=None, **overrides) -> Method:
    """Returns `model`, compiled with `optimizers(players)` or the row's own."""
    method = model(name, **overrides)
    make = optimizers or functools.partial(methods.build_optimizers, tiny_config(name, **overrides))
    method.compile(make(method.players))
    return method


def toy(name: str = "gan", seed: int = 0, **overrides) -> Method:
    """Returns a compiled model of two dense networks on points of the plane: traced in a second."""
    settings = config.compose(name, "gaussian", overrides={**TOY, **overrides})
    keras.utils.set_random_seed(seed)
    method = methods.build(settings, "vector", (2,))
    wake(method, seed)
    method.compile(methods.build_optimizers(settings, method.players))
    return method


def batches(name: str, method: Method, start_step: int = 0, **arguments) -> tf.data.Dataset:
    """Returns the training data of a model, one element a step and replica."""
    return training_dataset(
        source(name),
        seed=3,
        batch_size=BATCH_SIZE,
        batches_per_step=len(method.schedule),
        start_step=start_step,
        **arguments,
    )


def state(method: Method) -> dict[str, np.ndarray]:
    """Returns all that a step changes: weights, averages, statistics, slots and counters."""
    found = {f"weights/{i}/{w.path}": w for i, w in enumerate(method.weights)}
    for player, optimizer in method.optimizers.items():
        found |= {f"{player}/{i}/{v.path}": v for i, v in enumerate(optimizer.variables)}
    return {key: np.asarray(keras.ops.convert_to_numpy(value)) for key, value in found.items()}


def _gradient_descent(players):
    return {player: keras.optimizers.SGD(0.01) for player in players}


def _scheduled(method: Method) -> list[str]:
    """Returns the players of a step; an autoencoder may be trained before the first one alone."""
    players = {player for entry in method.schedule for player in entry}
    return [player for player in method.players if player in players]


class _Contract:
    """What the two mixins share; a subclass sets `name` and derives from `tf.test.TestCase`."""

    name = ""

    def assert_same_state(self, one: Method, other: Method, **tolerance) -> None:
        """Compares two models of one name, bit for bit unless tolerances are given."""
        ours, theirs = state(one), state(other)
        # The number of a model in its process is part of a path.
        self.assertLen(theirs, len(ours))
        for (key, mine), yours in zip(ours.items(), theirs.values(), strict=True):
            if tolerance:
                self.assertAllClose(mine, yours, msg=key, **tolerance)
            else:
                np.testing.assert_array_equal(mine, yours, err_msg=f"{self.name}: {key}")

    def assert_finite_losses(self, method: Method, logs: dict) -> None:
        """Every player of a step has a finite loss in the logs, and all else there is finite."""
        for player in _scheduled(method):
            self.assertIn(f"{player}_loss", logs)
        for key, value in logs.items():
            self.assertTrue(np.isfinite(float(value)), f"{self.name}: {key} is {float(value)}")


class Quick(_Contract):
    """Config round trip, one eager step, refusals: a second or two a name."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.method = model(cls.name)

    def test_config_round_trip(self):
        stored = self.method.get_config()
        text = json.dumps(stored)
        for field in ("critic_steps", "batch_size", "seed", *type(self.method).config_fields):
            self.assertIn(field, stored)
        again = type(self.method).from_config(stored)
        # Not assertEqual, which prints both networks.
        self.assertTrue(json.dumps(stored) == text, f"{self.name}: from_config took it apart")
        self.assertTrue(json.dumps(again.get_config()) == text, f"{self.name}: another config")
        self.assertEqual(list(again.players), list(self.method.players))
        self.assertEqual(again.schedule, self.method.schedule)
        self.assertLen(again.weights, len(self.method.weights))
        again.set_weights(self.method.get_weights())
        latents = tf.random.stateless_uniform([3, self.method.latent_dim], [1, 2])
        self.assertAllEqual(again.decode(latents), self.method.decode(latents))

    def test_one_eager_step(self):
        method = compiled(self.name)
        method.step.assign(6)
        before = {player: [v.numpy() for v in vs] for player, vs in method.players.items()}
        average = [w.numpy() for w in method.average.weights]
        noise, losses = [], method.losses

        def noting(batch, players):
            noise.append((int(batch.noise.step), batch.noise.update))
            return losses(batch, players)

        method.losses = noting
        logs = method.train_step(next(iter(batches(self.name, method))))
        # Every update of every step has noise of its own.
        self.assertEqual(noise, [(6, update) for update in range(len(method.schedule))])
        self.assertEqual(int(method.step), 7)
        self.assert_finite_losses(method, logs)
        for player in _scheduled(method):
            variables = method.players[player]
            # A bias before a normalisation or under a stationary kernel has no gradient.
            moved = {
                v.path: np.any(v.numpy() != old)
                for v, old in zip(variables, before[player], strict=True)
                if len(v.shape) > 1
            }
            self.assertNotEmpty(moved, player)
            self.assertTrue(all(moved.values()), f"{self.name}: {player} stood still: {moved}")
            updates = sum(player in entry for entry in method.schedule)
            self.assertEqual(int(method.optimizers[player].iterations), updates)
        after = [w.numpy() for w in method.average.weights]
        self.assertTrue(any(np.any(a != b) for a, b in zip(average, after, strict=True)))

    def test_samples_come_from_the_average_row_by_row(self):
        method = self.method
        self.addCleanup(method.set_weights, method.get_weights())
        latents = tf.random.stateless_uniform([3, method.latent_dim], [1, 2])
        samples = method.decode(latents)
        self.assertEqual(tuple(samples.shape), (3, *method.sample_shape))
        self.assertAllClose(method.decode(latents[:1]), samples[:1], rtol=0, atol=1e-5)
        for weight in method.generator.weights:
            weight.assign(0.5 * weight)
        self.assertAllEqual(method.decode(latents), samples)
        method.average.reset(method.generator)
        self.assertNotAllClose(method.decode(latents), samples)
        if method.kind == "image":
            self.assertAllInRange(samples, 0.0, 1.0)

    def test_refuses_wrong_arguments(self):
        cls = type(self.method)
        # The networks are not built anew for every mistake.
        good = {field: getattr(self.method, field) for field in self.method.get_config()}
        wrong = {
            "critic_steps": 0,
            "batch_size": 0,
            "mmd_scope": "local",
            "image_range": (0.0, 9.0),
        }
        wrong |= {"latent_distribution": "cauchy", "kind": "sound", "ema_half_life_images": -1.0}
        for field in cls.config_fields:
            if isinstance(good[field], bool) or good[field] is None:
                continue
            wrong[field] = float("nan") if isinstance(good[field], (int, float)) else "nonsense"
            if isinstance(good[field], tuple):
                wrong[field] = (1.0, float("nan"))
        for field, value in wrong.items():
            with self.subTest(field), self.assertRaises(UserError) as caught:
                cls(**{**good, field: value})
            message = str(caught.exception)
            self.assertIn(field, message)
            self.assertIn(str(value), message)
            self.assertRegex(message, _REMEDY)
            self.assertNotIn("\n", message)


class Full(_Contract):
    """Graph and eager agree, bfloat16 trains, files and checkpoints hold everything."""

    def test_graph_steps_equal_eager_steps(self):
        one, other = (compiled(self.name, _gradient_descent) for _ in range(2))
        graph = tf.function(other.train_step)
        # Several steps: what was frozen when the graph was traced shows in the second.
        for batch in batches(self.name, one).take(3):
            expected, logs = one.train_step(batch), graph(batch)
            self.assert_finite_losses(other, logs)
            self.assertAllClose(expected, logs, rtol=1e-3, atol=1e-5)
        # A critic that normalises batches of eight divides rounding errors by small deviations, and
        # one activation that changes its side moves a weight by 2e-4.
        atol = 1e-3 if catalog.row(self.name).critic_batch_norm else 1e-5
        self.assert_same_state(one, other, rtol=1e-3, atol=atol)

    def test_mixed_bfloat16_step(self):
        method = compiled(self.name, precision="mixed_bfloat16", critic_steps=1)
        # With the layers of a network within the network, as in a code space.
        computed = {layer.compute_dtype for layer in method.generator._flatten_layers()}
        self.assertIn("bfloat16", computed)
        for weight in method.weights:
            self.assertIn(weight.dtype, ("float32", "int64"), weight.path)
        step = tf.function(method.train_step)
        for batch in batches(self.name, method).take(2):
            logs = step(batch)
            self.assert_finite_losses(method, logs)
            for key, value in logs.items():
                self.assertEqual(value.dtype, tf.float32, key)
        for key, value in state(method).items():
            self.assertTrue(np.all(np.isfinite(value)), key)
        self.assertEqual(method.decode(tf.zeros([1, method.latent_dim])).dtype, tf.float32)

    def test_a_keras_file_goes_on_training(self):
        method = compiled(self.name, clip_gradient_norm=0.5, critic_steps=1)
        for batch in batches(self.name, method).take(2):
            method.train_step(batch)
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "model.keras"
            method.save(path)
            loaded = keras.saving.load_model(path)
        self.assertIs(type(loaded), type(method))
        self.assertTrue(loaded.compiled)
        self.assert_same_state(method, loaded)
        for player, optimizer in method.optimizers.items():
            self.assertEqual(optimizer.get_config(), loaded.optimizers[player].get_config())
        # One batch an epoch: one step each.
        examples = source(self.name).examples[:BATCH_SIZE]
        for each in (method, loaded):
            each.fit(examples, batch_size=BATCH_SIZE, shuffle=False, verbose=0)
            self.assertEqual(int(each.step), 3)
        self.assert_same_state(method, loaded)

    def test_resumes_bit_for_bit(self):
        # Eagerly: what is at stake is that nothing is left out of a checkpoint or the data order.
        whole = compiled(self.name)
        with tempfile.TemporaryDirectory() as folder:
            for batch in batches(self.name, whole).take(4):
                if int(whole.step) == 2:
                    Checkpoints(pathlib.Path(folder)).save(whole, {})
                whole.train_step(batch)
            resumed = methods.build(
                tiny_config(self.name, seed=5), source(self.name).kind, source(self.name).shape
            )
            resumed.compile(methods.build_optimizers(tiny_config(self.name), resumed.players))
            self.assertIsNotNone(Checkpoints(pathlib.Path(folder)).restore(resumed))
        self.assertEqual(int(resumed.step), 2)
        for batch in batches(self.name, resumed, start_step=2).take(2):
            resumed.train_step(batch)
        self.assert_same_state(whole, resumed)

    def test_the_export_equals_python(self):
        method = compiled(self.name)
        # So that average and generator differ.
        method.train_step(next(iter(batches(self.name, method))))
        row = catalog.row(self.name)
        card = serving.ModelCard(row.name, row.paper, source(self.name).describe(), steps=1, seed=5)
        with tempfile.TemporaryDirectory() as folder:
            loaded = tf.saved_model.load(
                str(serving.export_model(method, folder, self.name, card))
            ).signatures
        output = "images" if method.kind == "image" else "samples"
        for n in (1, 2, 7):
            seed = tf.random.stateless_uniform([n, 2], [n, 1], -9, 9, tf.int32)
            samples, latents = method.sample_from_seeds(seed)
            answer = loaded["sample"](seed=seed)
            self.assertAllClose(answer[output], samples, rtol=0, atol=1e-5)
            self.assertAllEqual(answer["latents"], latents)
            answer = loaded["serving_default"](latents=latents)
            self.assertAllClose(answer[output], samples, rtol=0, atol=1e-5)
            if method.has_critic:
                expected = method.critic_features(samples)
                answer = loaded["critic_features"](**{output: samples})
                self.assertAllClose(answer["features"], expected, rtol=1e-5, atol=1e-5)
