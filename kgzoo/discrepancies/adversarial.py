"""Classical adversarial losses on critic scores (repulsive MMD-GAN paper, appendix B.1).

Scores are logits `[n]` or `[n, 1]`: high means real.
"""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from kgzoo.errors import UserError
from kgzoo.kernels.arguments import as_numbers, non_negative, of_one_type

__all__ = ["LOSSES", "AdversarialLoss"]


def _score(name: str, scores: tf.Tensor) -> tf.Tensor:
    scores = as_numbers(name, scores)
    if scores.shape.rank not in (1, 2) or 0 in scores.shape.as_list():
        raise UserError(f"{name} has shape {scores.shape}; give scores [n] or [n, 1], n >= 1.")
    return scores


class AdversarialLoss(NamedTuple):
    """A pair of losses, made of three functions of one score.

    Attributes:
        on_real, on_fake: what the critic minimises on a real and on a generated example.
        on_generated: what the generator minimises.
        has_labels: whether the critic is a classifier, whose labels may be smoothed.
    """

    on_real: Callable[[tf.Tensor], tf.Tensor]
    on_fake: Callable[[tf.Tensor], tf.Tensor]
    on_generated: Callable[[tf.Tensor], tf.Tensor]
    has_labels: bool = True

    def critic(self, real: tf.Tensor, fake: tf.Tensor, label_smoothing: float = 0.0) -> tf.Tensor:
        """The critic's loss on scores of real and generated examples.

        Args:
            real, fake: scores.
            label_smoothing: epsilon; a real example is real with weight 1 - epsilon and generated
                with weight epsilon (one-sided; Salimans et al., 2016, section 3.4). A critic
                without labels sees the mixture (Q + epsilon P) / (1 + epsilon) for Q, as under a
                kernel (`mmd.smooth_labels`): weights of the former kind would leave its bias free
                to fall for ever.
        """
        real, fake = of_one_type(real=_score("real", real), fake=_score("fake", fake))
        non_negative("critic", "label_smoothing", label_smoothing, below=1.0)
        on_real, on_fake = tf.reduce_mean(self.on_real(real)), tf.reduce_mean(self.on_fake(fake))
        if label_smoothing:
            mistaken = tf.reduce_mean(self.on_fake(real))
            if self.has_labels:
                on_real = (1.0 - label_smoothing) * on_real + label_smoothing * mistaken
            else:
                on_fake = (on_fake + label_smoothing * mistaken) / (1.0 + label_smoothing)
        return on_real + on_fake

    def generator(self, fake: tf.Tensor) -> tf.Tensor:
        """The generator's loss on scores of generated examples."""
        return tf.reduce_mean(self.on_generated(_score("fake", fake)))


def _logistic_real(score: tf.Tensor) -> tf.Tensor:
    return tf.nn.softplus(-score)


def _negative(score: tf.Tensor) -> tf.Tensor:
    return -score


LOSSES: dict[str, AdversarialLoss] = {
    # softplus(-D(x)) + softplus(D(y)) and its negative; Goodfellow et al. (2014), eq. 1.
    "minimax": AdversarialLoss(
        _logistic_real, tf.nn.softplus, lambda score: -tf.nn.softplus(score)
    ),
    # The same critic; softplus(-D(y)); Goodfellow et al. (2014), section 3.
    "non_saturating": AdversarialLoss(_logistic_real, tf.nn.softplus, _logistic_real),
    # relu(1 - D(x)) + relu(1 + D(y)) and -D(y); Tran et al. (2017).
    "hinge": AdversarialLoss(
        lambda score: tf.nn.relu(1.0 - score), lambda score: tf.nn.relu(1.0 + score), _negative
    ),
    # D(y) - D(x) and -D(y); Arjovsky et al. (2017), algorithm 1.
    "wasserstein": AdversarialLoss(_negative, lambda score: score, _negative, has_labels=False),
    # The logistic critic; (log D - log(1 - D))^2 / 2; Hjelm et al. (2018).
    "boundary_seeking": AdversarialLoss(
        _logistic_real, tf.nn.softplus, lambda score: 0.5 * tf.square(score)
    ),
}
