"""Settings that do not go together are refused in one sentence, before anything is trained."""

import numpy as np
import tensorflow as tf
from absl.testing import parameterized

import contract
from kgzoo import catalog, methods
from kgzoo.errors import UserError
from kgzoo.evaluation import score_card
from kgzoo.training import rate_schedule

_FIELDS_OF_OTHERS = (
    *(("smmd", "penalty", "gradient"), ("smmd", "activation_weight", 1.0)),
    *(("smmd", "bounding", "paper"), ("smmd", "repulsion", 1.0)),
    *(("gan", "kernel", "linear"), ("gan", "autoencoder_weight", 1.0)),
    *(("mmd_rep", "scale_weight", 3.0), ("wgan_gp", "regularization", 3.0)),
)


class RefusalsTest(parameterized.TestCase, tf.test.TestCase):
    def refused(self, sentence, name, **fields):
        with self.assertRaisesRegex(UserError, sentence) as caught:
            contract.model(name, **fields)
        self.assertNotIn("\n", str(caught.exception))

    @parameterized.parameters(*_FIELDS_OF_OTHERS)
    def test_fields_of_other_families(self, name, field, value):
        sentence = f"{field}={value!r} is not used by {name}; .* such as "
        self.refused(sentence, name, **{field: value})

    def test_every_row_builds_with_its_own_settings(self):
        for name in catalog.names():
            methods._refuse_unused(methods.method_class(name), contract.tiny_config(name))

    def test_a_product_of_constants_needs_normalised_layers(self):
        self.refused("spectral_product=64", "smmd", spectral_product=64.0)

    def test_an_early_schedule_is_longer_than_the_usual_one(self):
        self.refused("early_critic_steps=2 .* critic_steps=2", "wgan_gp", early_critic_steps=2)

    def test_lipmmd(self):
        self.refused("estimator='unbiased'", "lipmmd", estimator="unbiased")
        self.refused("regularization=1e-09 is too small", "lipmmd", regularization=1e-9)
        self.refused("ridge=0.1", "lipmmd", ridge=0.1)

    def test_relative_kid_needs_test_examples(self):
        model = contract.toy("mmd_rep")
        points = contract.data.Source("gaussian", "vector", (2,), 3, np.eye(3, 2, dtype=np.float32))
        reference = score_card.prepare(points, "identity")
        settings = contract.config.compose(
            "mmd_rep", "gaussian", overrides={"learning_rate_schedule": "relative_kid"}
        )
        with self.assertRaisesRegex(UserError, "learning_rate_schedule='relative_kid' .* 3 test"):
            rate_schedule.from_config(model, reference, settings)


if __name__ == "__main__":
    tf.test.main()
