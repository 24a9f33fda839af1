"""One temperature of annealed importance sampling: two densities, one Hamiltonian move."""

import collections
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

__all__ = ["Hamiltonian", "LogLikelihood", "neighbours"]

LogLikelihood = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]

_Results = collections.namedtuple(
    "_Results",
    ("target_log_prob", "gradient", "accepted_results", "proposed_results", "acceptance"),
)
_Density = collections.namedtuple("_Density", ("target_log_prob",))


class Hamiltonian:
    """A Hamiltonian move whose random numbers are given; a `tfp.mcmc.TransitionKernel` in kind.

    `tfp.mcmc.HamiltonianMonteCarlo` draws one tensor for all chains from one seed, so that a
    chain's numbers would depend on the batch it runs in.
    """

    is_calibrated = True

    def __init__(
        self,
        log_prob: Callable[[tf.Tensor], tf.Tensor],
        step_size: tf.Tensor,
        leapfrog_steps: int,
        momentum: tf.Tensor,
        log_uniform: tf.Tensor,
    ):
        self._log_prob, self._step_size, self._steps = log_prob, step_size, leapfrog_steps
        self._momentum, self._log_uniform = momentum, log_uniform

    def _value_and_gradient(self, state: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(state)
            value = self._log_prob(state)
        return value, tape.gradient(value, state)

    def bootstrap_results(self, state: tf.Tensor) -> _Results:
        value, gradient = self._value_and_gradient(state)
        density = _Density(value)
        return _Results(value, gradient, density, density, tf.zeros_like(value))

    def one_step(
        self, state: tf.Tensor, previous: _Results, seed: Any = None
    ) -> tuple[tf.Tensor, _Results]:
        del seed  # the noise is given
        step = self._step_size

        def leap(index, position, momentum):
            position = position + step * momentum
            return index + 1, position, momentum + step * self._value_and_gradient(position)[1]

        # Two half kicks in a row are one: the last kick alone is halved, and is the only place
        # where the log-density is needed beside its gradient.
        momentum = self._momentum + 0.5 * step * previous.gradient
        _, position, momentum = tf.while_loop(
            lambda index, *_: index < self._steps - 1, leap, (0, state, momentum)
        )
        position = position + step * momentum
        value, gradient = self._value_and_gradient(position)
        momentum = momentum + 0.5 * step * gradient

        kinetic = 0.5 * tf.reduce_sum(self._momentum**2 - momentum**2, axis=-1)
        # A comparison with nan is False: a trajectory that diverged is rejected.
        log_ratio = value - previous.target_log_prob + kinetic
        accepted = self._log_uniform < log_ratio
        state = tf.where(accepted[:, None], position, state)
        kept = tf.where(accepted, value, previous.target_log_prob)
        gradient = tf.where(accepted[:, None], gradient, previous.gradient)
        finite = tf.where(tf.math.is_nan(log_ratio), -np.inf, log_ratio)
        acceptance = tf.exp(tf.minimum(finite, 0.0))
        return state, _Results(kept, gradient, _Density(kept), _Density(value), acceptance)


def neighbours(
    log_likelihood: LogLikelihood, examples: tf.Tensor, beta: tf.Tensor, next_beta: tf.Tensor
) -> tuple[Callable, Callable]:
    """Returns log f_k and log f_{k+1}, which share one evaluation of the decoder.

    TFP calls the first, then the second with the same tensor; the second takes over what the first
    computed, so that decoder and gradient run once.
    """
    shared = []

    def log_prior(latents):
        width = latents.shape[-1]
        return -0.5 * (tf.reduce_sum(latents**2, axis=-1) + width * np.log(2.0 * np.pi))

    def proposal(latents):
        value = log_likelihood(latents, examples)
        shared[:] = [latents, value]
        return log_prior(latents) + beta * value

    def target(latents):
        if shared and shared[0] is latents:
            value = shared[1]
        else:
            value = log_likelihood(latents, examples)
        shared.clear()
        return log_prior(latents) + next_beta * value

    return proposal, target
