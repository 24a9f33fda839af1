"""The early critic schedule: what it counts, and what an extra critic update changes."""

import itertools

import keras
import numpy as np
import tensorflow as tf
from absl.testing import parameterized

import contract
from kgzoo import layers
from kgzoo.errors import UserError
from kgzoo.methods.schedule import UpdateSchedule

_CRITIC_STEPS = 5


def _extra(step, early_critic_steps, early_steps, every):
    """Li et al. (2017): early_critic_steps in all, in the first steps and in every `every`-th."""
    early = step < early_steps or (every > 0 and step % every == 0)
    return max(0, early_critic_steps - _CRITIC_STEPS) if early else 0


class UpdateScheduleTest(parameterized.TestCase, tf.test.TestCase):
    @parameterized.product(early_critic_steps=(0, 3, 5, 6, 100), early_steps=(0, 1, 7, 25))
    def test_against_brute_force(self, early_critic_steps, early_steps):
        for every in (0, 1, 2, 7, 10, 500):
            schedule = UpdateSchedule(early_critic_steps, early_steps, every)
            counts = [_extra(step, early_critic_steps, early_steps, every) for step in range(60)]
            found = [schedule.extra(step, _CRITIC_STEPS) for step in range(60)]
            self.assertEqual(found, counts)
            before = [schedule.extra_before(step, _CRITIC_STEPS) for step in range(61)]
            self.assertEqual(before, [0, *itertools.accumulate(counts)])

    def test_far_steps_cost_nothing(self):
        # 25 first steps, and 500, 1000, ..., below 10^12.
        schedule = UpdateSchedule(100, 25, 500)
        expected = 95 * (25 + 10**12 // 500 - 1)
        self.assertEqual(schedule.extra_before(10**12, 5), expected)
        self.assertEqual(schedule.extra(10**12, 5), 95)
        self.assertEqual(schedule.extra_before(10**12 + 1, 5), expected + 95)

    def test_the_default_has_none(self):
        schedule = UpdateSchedule()
        schedule.check(5)
        self.assertEqual([schedule.extra(step, 1) for step in range(600)], [0] * 600)
        self.assertEqual(schedule.extra_before(600, 1), 0)

    def test_out_of_range(self):
        for name in ("early_critic_steps", "early_steps", "early_every_steps"):
            for value in (-1, 2.5, True, float("nan")):
                with self.assertRaisesRegex(UserError, f"{name}={value}"):
                    UpdateSchedule(**{name: value}).check(1)

    def test_a_method_has_it(self):
        model = contract.toy("wgan", early_critic_steps=9, early_steps=3, early_every_steps=5)
        self.assertEqual(model.critic_steps, 5)
        found = [model.extra_updates(step) for step in range(8)]
        self.assertEqual(found, [4, 4, 4, 0, 0, 4, 0, 0])
        self.assertEqual(model.extra_updates_before(8), 16)
        again = type(model).from_config(model.get_config())
        self.assertEqual(again.extra_updates_before(8), 16)


def _values(variables):
    return [np.array(variable.numpy()) for variable in variables]


class CriticStepTest(parameterized.TestCase, tf.test.TestCase):
    def setUp(self):
        super().setUp()
        self.examples = np.random.RandomState(0).normal(size=(8, 2)).astype(np.float32)

    def _toy(self, **overrides):
        model = contract.toy("wgan_gp", **overrides)
        model.compile({p: keras.optimizers.SGD(0.01) for p in model.players})
        return model

    def test_changes_the_critic_and_its_optimizer_alone(self):
        model = self._toy(critic_steps=2)
        model.step.assign(3)
        critic = {id(variable) for variable in model.critic.variables}
        others = [v for v in model.weights if id(v) not in critic]
        others += model.optimizers["generator"].variables
        before, weights = _values(others), _values(model.critic.trainable_variables)
        logs = model.extra_update(self.examples, tf.constant(0))
        self.assertIn("critic_loss", logs)
        self.assertNotIn("generator_loss", logs)
        for variable, value in zip(others, before, strict=True):
            self.assertAllEqual(variable, value, msg=variable.path)
        self.assertEqual(model.steps_done, 3)
        moved = [
            np.any(new != old)
            for new, old in zip(_values(model.critic.trainable_variables), weights, strict=True)
            if old.ndim > 1
        ]
        self.assertTrue(all(moved))
        self.assertEqual(int(model.optimizers["critic"].iterations), 1)
        self.assertEqual(int(model.optimizers["generator"].iterations), 0)

    def test_noise_differs_by_index_and_step_and_from_the_schedules(self):
        model = self._toy(critic_steps=2)
        latents, losses = [], model.losses

        def noting(batch, players):
            latents.append(batch.noise.latents(2, 3, "normal").numpy())
            return losses(batch, players)

        model.losses = noting
        for index in range(3):
            model.extra_update(self.examples, tf.constant(index))
        model.train_step(self.examples)
        for index in range(3):
            model.extra_update(self.examples, tf.constant(index))
        self.assertLen({value.tobytes() for value in latents}, len(latents))
        # And it is a function of step and index.
        model.step.assign(0)
        model.extra_update(self.examples, tf.constant(1))
        self.assertAllEqual(latents[-1], latents[1])

    def test_in_a_graph_the_index_is_a_tensor(self):
        one, other = self._toy(), self._toy()
        step = tf.function(other.extra_update)
        for index in range(3):
            expected = one.extra_update(self.examples, tf.constant(index))
            self.assertAllClose(step(self.examples, tf.constant(index)), expected, rtol=1e-4)
        self.assertAllClose(_values(one.weights), _values(other.weights), rtol=1e-4, atol=1e-6)
        self.assertEqual(step.experimental_get_tracing_count(), 1)

    def test_clips_and_iterates_like_every_critic_update(self):
        model = contract.toy("wgan", clip_weights=0.02, critic_batch_norm=False)
        model.extra_update(self.examples, tf.constant(0))
        for variable in model.critic.trainable_variables:
            self.assertLessEqual(np.max(np.abs(variable)), np.float32(0.02))
        model = contract.toy("sn_gan")
        vectors = [layer.spectral_u for layer in layers.spectral_layers(model.critic)]
        before = _values(vectors)
        model.extra_update(self.examples, tf.constant(0))
        after = _values(vectors)
        self.assertTrue(any(np.any(a != b) for a, b in zip(after, before, strict=True)))


class JointUpdateTest(parameterized.TestCase, tf.test.TestCase):
    @parameterized.parameters(
        *("gan", "wgan_gp", "sobolev_gan", "cr_gan", "mmd_rep_b", "sn_mmd_l2", "mmd_gan", "smmd"),
        *("gcmmd", "rep_dk", "kernel_gan_critic"),
    )
    def test_the_gradients_are_those_of_separate_updates(self, name):
        model = contract.compiled(name, critic_steps=1, early_critic_steps=0, joint_update=True)
        contract.wake(model)
        (players,) = model.schedule
        self.assertCountEqual(players, model.players)
        examples = contract.source(name).examples[:8]
        batch = model._batch(tf.constant(examples), 0)

        def gradients(of, wanted):
            with tf.GradientTape(persistent=True) as tape:
                losses = model.losses(batch, of)
            return [
                tape.gradient(losses[player][0], [v.value for v in model.players[player]])
                for player in wanted
            ]

        apart = [*gradients(players[:-1], players[:-1]), *gradients(("generator",), ("generator",))]
        together = gradients(players, players)
        for player, separate, joint in zip(players, apart, together, strict=True):
            largest = max(float(tf.reduce_max(tf.abs(g))) for g in joint if g is not None)
            self.assertGreater(largest, 0.0)
            for one, other in zip(separate, joint, strict=True):
                self.assertEqual(one is None, other is None)
                if one is not None:
                    self.assertAllClose(one, other, rtol=1e-3, atol=1e-4 * largest, msg=player)

    def test_one_generator_pass_and_both_players_move(self):
        model = contract.toy("hinge", joint_update=True)
        model.compile({p: keras.optimizers.SGD(0.01) for p in model.players})
        passes, run = [], model.generate
        model.generate = lambda *arguments: passes.append(1) or run(*arguments)
        before = _values(model.trainable_variables)
        logs = model.train_step(np.random.RandomState(0).normal(size=(8, 2)).astype(np.float32))
        self.assertLen(passes, 1)
        self.assertContainsSubset({"critic_loss", "generator_loss"}, logs)
        for player in model.players:
            self.assertEqual(int(model.optimizers[player].iterations), 1)
        after = _values(model.trainable_variables)
        moved = [np.any(a != b) for a, b in zip(after, before, strict=True) if a.ndim > 1]
        self.assertTrue(all(moved))

    def test_needs_one_critic_update_a_step(self):
        with self.assertRaisesRegex(UserError, "joint_update=True .*critic_steps=5; set"):
            contract.toy("wgan", joint_update=True)

    @parameterized.parameters("gram", "mmd_net", "vae")
    def test_refused_where_it_has_no_effect(self, name):
        with self.assertRaisesRegex(UserError, "joint_update=True.*(leave it out|set )"):
            contract.model(name, joint_update=True)


if __name__ == "__main__":
    tf.test.main()
