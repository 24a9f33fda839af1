"""The chains behind `kgzoo.evaluation.ais`: annealed importance sampling with Hamiltonian moves.

Between the prior p(z) = N(0, I) and the posterior lie the densities

    f_k(z) = p(z) p(x|z)^beta_k,    0 = beta_0 < ... < beta_T = 1.

A chain starts at z ~ p(z), gains log f_{k+1}(z) - log f_k(z) and moves by a kernel that leaves
f_{k+1} invariant, for k = 0 .. T-1; the mean of the exponentiated gains is unbiased for p(x) (Neal,
2001). Every k is one call of `tfp.mcmc.sample_annealed_importance_chain` of one step, for two
reasons. TFP's chain knows the linear schedule alone, while any schedule is a sequence of single
steps. And from its second step on (TFP 0.25) it hands the kernel the log-density and gradient that
the kernel kept under the previous temperature, whose move then does not leave f_{k+1} invariant;
within one step everything is evaluated under f_{k+1}.

All randomness of a point is drawn from (seed, index of the point), so its chains are the same in
any batch; only the rounding of a product of other shape differs.

References:
    Neal (2001), Annealed importance sampling, Statistics and Computing 11.
    Wu, Burda, Salakhutdinov & Grosse (2017), On the quantitative analysis of decoder-based
    generative models, https://arxiv.org/abs/1611.04273.
"""

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf
from scipy import special

from kgzoo.evaluation import ais_moves

__all__ = ["SCHEDULES", "STAGES", "Chains", "stages"]

# A run has so many stages, each with a step size of its own, found by a pilot run.
STAGES = 10
# Compiled once for so many temperatures: noise is drawn and progress told after each.
_SEGMENT = 50
_PILOT_POINTS, _PILOT_STEPS, _PILOT_TRIES = 10, 10, 8
_LEAST_ACCEPTANCE, _ACCEPTANCE, _MOST_ACCEPTANCE = 0.65, 0.72, 0.8
_LARGEST_STEP = 1.0  # in standard deviations of the prior
# Step sizes tried are powers of this: rounding seldom leads the pilot to another one.
_RATIO = 2.0**-0.25
# Step sizes vary by so much from one temperature to the next: trajectories of one length may
# return to where they began in a direction whose period they are.
_JITTER, _GOLDEN = 0.2, (5.0**0.5 - 1.0) / 2.0
_START, _MOVES, _PILOT_START, _PILOT_MOVES, _REVERSE_MOVES = range(5)


def _linear(temperatures: int) -> np.ndarray:
    return np.arange(temperatures + 1) / temperatures


def _sigmoid(temperatures: int) -> np.ndarray:
    # Wu et al. (2017), released code: a sigmoid over [-4, 4], scaled to reach 0 and 1.
    values = special.expit(4.0 * (2.0 * _linear(temperatures) - 1.0))
    return (values - values[0]) / (values[-1] - values[0])


#: By name: functions of the number T of temperatures to beta_0 .. beta_T.
SCHEDULES = {"linear": _linear, "sigmoid": _sigmoid}


class Chains:
    """Chains of all points of a batch, annealed together by one compiled function.

    Args:
        log_likelihood: latents [m, latent_dim], examples [m, ...] -> log p(x|z), [m].
        example_shape: of one example.
        latent_dim: of the latents.
        chains: for every point.
        temperatures: T, the number of moves.
        leapfrog_steps: of every move.
        schedule: a name of `SCHEDULES`.
        seed: of all chains.
        batch_size: points that run together.
        jit: compile by XLA.
    """

    def __init__(
        self,
        log_likelihood: ais_moves.LogLikelihood,
        example_shape: Sequence[int],
        *,
        latent_dim: int,
        chains: int,
        temperatures: int,
        leapfrog_steps: int,
        schedule: str,
        seed: int,
        batch_size: int,
        jit: bool,
    ):
        self._log_likelihood, self._latent_dim = log_likelihood, latent_dim
        self._chains, self._leapfrog_steps = chains, leapfrog_steps
        self._temperatures, self._betas = temperatures, SCHEDULES[schedule]
        self._seed, self._batch_size = seed, batch_size
        self._segment, self._noise = self._compile(example_shape, jit)

    def tune(self, examples: np.ndarray) -> list[float]:
        """Finds a step size for each stage by a short run on the first points.

        A stage is repeated from where it began, its step size corrected after each try, until the
        acceptance lies in [0.65, 0.8]; the points then go on to the next. The measured run keeps
        the result fixed: adapting within it would make a move depend on the chain's past, and its
        kernel would no longer leave the density invariant.

        Args:
            examples: [n, ...]; the first ten are used.

        Returns:
            `STAGES` step sizes, at most 1.
        """
        examples = examples[:_PILOT_POINTS]
        indices = [batch for batch, _ in self._batches(np.arange(len(examples)))]
        states = [self._starts(batch, _PILOT_START) for batch in indices]
        power, found = 4, []
        for stage in range(STAGES):
            tried = set()
            for _ in range(_PILOT_TRIES):
                tried.add(power)
                ends, rate = self._try(stage, _LARGEST_STEP * _RATIO**power, examples, states)
                if _LEAST_ACCEPTANCE <= rate <= _MOST_ACCEPTANCE:
                    break
                change = 1.5 * (rate - _ACCEPTANCE) / np.log(_RATIO)
                change = round(change) or int(np.sign(change))
                following = max(power + change, 0)
                # Of two neighbours, one accepted too often and one too seldom: the smaller step.
                if following in tried:
                    following = max(following, power)
                if following == power:
                    break
                power = following
            found.append(_LARGEST_STEP * _RATIO**power)
            states = ends
        return found

    def _try(
        self, stage: int, step: float, examples: np.ndarray, states: list[tf.Tensor]
    ) -> tuple[list[tf.Tensor], float]:
        """Makes the pilot's moves of one stage; returns where they end and their acceptance."""
        betas = self._betas(STAGES * _PILOT_STEPS)[stage * _PILOT_STEPS :][: _PILOT_STEPS + 1]
        steps, ends, rates = _jittered(np.full(_PILOT_STEPS, step)), [], []
        batches = self._batches(np.arange(len(examples)))
        for (indices, count), state in zip(batches, states, strict=True):
            noise = self._noise_of(indices, _PILOT_MOVES, stage)
            end, _, accepted = self._call(state, examples[indices], betas, steps, noise)
            ends.append(end)
            rates.append(accepted[:_PILOT_STEPS, : count * self._chains])
        return ends, float(np.mean(np.concatenate(rates, axis=1)))

    def anneal(
        self,
        examples: np.ndarray,
        indices: np.ndarray,
        step_size: Sequence[float],
        *,
        ends: np.ndarray | None = None,
        after_segment: Callable[[int], None] = lambda moves: None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Runs the chains of at most `batch_size` points.

        Args:
            examples: [n, ...], of all points.
            indices: of the points to run, [b].
            step_size: of each stage, [`STAGES`].
            ends: [n, latent_dim], exact samples of each posterior; the chains then run from there
                to the prior, and their weights are unbiased for 1 / p(x).
            after_segment: is told the number of moves (of one chain of each point) just made.

        Returns:
            The logarithms of the weights, [b, chains], float64, and the acceptance of each point
            by stage of the schedule, [b, `STAGES`].
        """
        ((padded, count),) = self._batches(indices)
        betas, steps = self._betas(self._temperatures), self._steps(step_size)
        if ends is None:
            state, moves, steps = self._starts(padded, _START), _MOVES, steps[1:]
        else:
            state, moves = tf.repeat(ends[padded], self._chains, axis=0), _REVERSE_MOVES
            betas, steps = betas[::-1], steps[:-1][::-1]
        log_weights, accepted = 0.0, []
        for block, first in enumerate(range(0, self._temperatures, _SEGMENT)):
            here = slice(first, first + _SEGMENT)
            noise = self._noise_of(padded, moves, block)
            state, gained, rates = self._call(
                state, examples[padded], betas[first : first + _SEGMENT + 1], steps[here], noise
            )
            log_weights = log_weights + gained.numpy().astype(np.float64)
            accepted.append(rates.numpy()[: len(steps[here])])
            after_segment(len(steps[here]) * count)
        accepted = np.concatenate(accepted).reshape(self._temperatures, len(padded), -1)
        accepted = accepted.mean(axis=-1)[:, :count]
        if ends is not None:
            accepted = accepted[::-1]
        return log_weights.reshape(len(padded), self._chains)[:count], _by_stage(accepted)

    def _batches(self, indices: np.ndarray) -> list[tuple[np.ndarray, int]]:
        """Returns indices in batches filled up with their last one, and how many are real."""
        batches = []
        for first in range(0, len(indices), self._batch_size):
            part = indices[first : first + self._batch_size]
            padding = np.full(self._batch_size - len(part), part[-1])
            batches.append((np.concatenate([part, padding]).astype(np.int64), len(part)))
        return batches

    def _steps(self, step_size: Sequence[float]) -> np.ndarray:
        """Returns the step size at each of beta_0 .. beta_T, between stages interpolated."""
        middles = (np.arange(STAGES) + 0.5) / STAGES
        places = np.linspace(0.0, 1.0, self._temperatures + 1)
        return _jittered(np.exp(np.interp(places, middles, np.log(step_size))))

    def _starts(self, indices: np.ndarray, purpose: int) -> tf.Tensor:
        shape = [self._chains, self._latent_dim]

        def draw(index):
            seed = tf.random.fold_in(self._key(purpose), index)
            return tf.random.stateless_normal(shape, seed, alg="philox")

        starts = tf.map_fn(draw, tf.constant(indices), fn_output_signature=tf.float32)
        return tf.reshape(starts, [-1, self._latent_dim])

    def _compile(self, example_shape: Sequence[int], jit: bool) -> tuple[Callable, Callable]:
        """Returns `_run_segment` and `_draw` as graphs of one shape, which nothing traces again."""
        points, rows = self._batch_size, self._batch_size * self._chains
        latents, key = [rows, self._latent_dim], tf.TensorSpec([2], tf.int64)
        shapes = (latents, [points, *example_shape], [_SEGMENT + 1], [_SEGMENT])
        shapes += ([_SEGMENT, *latents], [_SEGMENT, rows])
        # A decoder is not for autograph to rewrite.
        run = tf.function(self._run_segment, autograph=False, jit_compile=jit or None)
        segment = run.get_concrete_function(
            *(tf.TensorSpec(shape) for shape in shapes), tf.TensorSpec([], tf.int32)
        )
        noise = tf.function(self._draw, autograph=False).get_concrete_function(
            tf.TensorSpec([points], tf.int64), key, tf.TensorSpec([], tf.int64)
        )
        return segment, noise

    def _key(self, purpose: int) -> tf.Tensor:
        return tf.constant([self._seed, purpose], tf.int64)

    def _noise_of(self, indices: np.ndarray, purpose: int, block: int) -> tuple:
        return self._noise(tf.constant(indices), self._key(purpose), tf.constant(block, tf.int64))

    def _draw(
        self, indices: tf.Tensor, seed: tf.Tensor, block: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the noise of one segment: momenta [t, rows, d], log of uniforms [t, rows]."""
        shape = [_SEGMENT, self._chains, self._latent_dim]

        def draw(index):
            key = tf.random.fold_in(tf.random.fold_in(seed, index), block)
            keys = tf.random.split(key, 2, alg="philox")
            momenta = tf.random.stateless_normal(shape, keys[0], alg="philox")
            uniforms = tf.random.stateless_uniform(shape[:-1], keys[1], alg="philox")
            return momenta, tf.math.log(uniforms)

        momenta, uniforms = tf.map_fn(draw, indices, fn_output_signature=(tf.float32, tf.float32))
        momenta = tf.reshape(tf.transpose(momenta, [1, 0, 2, 3]), [_SEGMENT, -1, self._latent_dim])
        return momenta, tf.reshape(tf.transpose(uniforms, [1, 0, 2]), [_SEGMENT, -1])

    def _call(
        self,
        state: tf.Tensor,
        examples: np.ndarray,
        betas: np.ndarray,
        steps: np.ndarray,
        noise: tuple[tf.Tensor, tf.Tensor],
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        # Always the same shapes, so that nothing is traced or compiled twice.
        count = len(steps)
        betas = np.pad(betas, (0, _SEGMENT - count), mode="edge").astype(np.float32)
        steps = np.pad(steps, (0, _SEGMENT - count), mode="edge").astype(np.float32)
        arguments = (state, examples, betas, steps, *noise, np.int32(count))
        return self._segment(*(tf.convert_to_tensor(argument) for argument in arguments))

    def _run_segment(
        self,
        state: tf.Tensor,
        examples: tf.Tensor,
        betas: tf.Tensor,
        steps: tf.Tensor,
        momenta: tf.Tensor,
        uniforms: tf.Tensor,
        count: tf.Tensor,
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Makes `count` moves; returns states, weights gained [rows], acceptance [t, rows]."""
        # Its import takes a second, which importing this module should not cost.
        from tensorflow_probability.python.mcmc import sample_annealed_importance

        examples = tf.repeat(examples, self._chains, axis=0)
        rows = state.shape[0]

        def move(index, state, weights, accepted):
            proposal, target = ais_moves.neighbours(
                self._log_likelihood, examples, betas[index], betas[index + 1]
            )

            def kernel(log_prob):
                noise = momenta[index], uniforms[index]
                return ais_moves.Hamiltonian(log_prob, steps[index], self._leapfrog_steps, *noise)

            chain = sample_annealed_importance.sample_annealed_importance_chain
            state, gained, results = chain(
                1, proposal, target, state, kernel, seed=tf.zeros([2], tf.int32)
            )
            rate = results.inner_results.acceptance[None]
            accepted = tf.tensor_scatter_nd_update(accepted, [[index]], rate)
            return index + 1, state, weights + gained, accepted

        start = (0, state, tf.zeros([rows]), tf.zeros([_SEGMENT, rows]))
        _, state, weights, accepted = tf.while_loop(lambda index, *_: index < count, move, start)
        return state, weights, accepted


def _jittered(steps: np.ndarray) -> np.ndarray:
    places = (np.arange(len(steps)) * _GOLDEN) % 1.0
    return steps * (1.0 + _JITTER * (2.0 * places - 1.0))


def stages(temperatures: int) -> np.ndarray:
    """Returns the stage, 0 .. `STAGES` - 1, of each of so many moves."""
    return np.arange(temperatures) * STAGES // temperatures


def _by_stage(accepted: np.ndarray) -> np.ndarray:
    """Averages [temperatures, n] over stages: [n, `STAGES`]; nan where a stage has no move."""
    means, of = np.full([accepted.shape[1], STAGES], np.nan), stages(len(accepted))
    for stage in np.unique(of):
        means[:, stage] = accepted[of == stage].mean(axis=0)
    return means
