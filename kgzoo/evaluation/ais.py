"""Log-likelihoods of decoder-based models by annealed importance sampling (AIS).

The model is p(z) = N(0, I), p(x|z) by a decoder. `estimate` gives log p(x) of test points: the mean
of `chains` weights of `kgzoo.evaluation.ais_chains`, which is unbiased for p(x), so that its
logarithm is a lower bound of log p(x) in expectation. `bidirectional_gap` says how far below: on
data simulated from the model an exact posterior sample is at hand, the chains can run backwards
from it, and their weights give an upper bound.

    estimate(logits, ...)                          Bernoulli logits, a Keras model or function, or
    estimate(Bernoulli(logits), ...)               the same, or
    estimate(Likelihood(log_likelihood), ...)      any log p(x|z).

References:
    Wu, Burda, Salakhutdinov & Grosse (2017), https://arxiv.org/abs/1611.04273.
    Grosse, Ghahramani & Adams (2015), Sandwiching the marginal likelihood using bidirectional Monte
    Carlo, https://arxiv.org/abs/1511.02543.
"""

import dataclasses
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from scipy import special

from kgzoo.errors import UserError
from kgzoo.evaluation import ais_chains, ais_run
from kgzoo.evaluation.ais_likelihoods import Bernoulli, Likelihood, as_likelihood

__all__ = ["Bernoulli", "Estimate", "Gap", "Likelihood", "bidirectional_gap", "estimate"]

_SIMULATION = 5  # beside the purposes of seeds in ais_chains


@dataclasses.dataclass(frozen=True)
class Estimate:
    """What AIS says of n points.

    Attributes:
        log_likelihoods: of each point, [n], float64, natural logarithms.
        mean: over points.
        standard_error: of the mean over points, None for one point: what another draw of test
            points would change. The bias of AIS is not in it.
        effective_sample_sizes: of each point's weights, (sum w)^2 / sum w^2 in [1, chains], [n].
        acceptance: mean over all moves.
        acceptance_by_stage: the same in each tenth of the schedule; None without a move there.
        step_size: of each stage.
        settings: all that the numbers depend on beside decoder and examples.
    """

    log_likelihoods: np.ndarray
    mean: float
    standard_error: float | None
    effective_sample_sizes: np.ndarray
    acceptance: float
    acceptance_by_stage: list[float | None]
    step_size: list[float]
    settings: dict[str, Any]

    def as_json(self) -> dict[str, Any]:
        """Returns all fields as JSON takes them; a number that is not finite becomes None."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        for name in ("log_likelihoods", "effective_sample_sizes"):
            fields[name] = [_finite(value) for value in fields[name].tolist()]
        fields["mean_effective_sample_size"] = float(np.mean(self.effective_sample_sizes))
        fields["num_points"] = len(self.log_likelihoods)
        return {
            name: _finite(value) if isinstance(value, float) else value
            for name, value in fields.items()
        }


@dataclasses.dataclass(frozen=True)
class Gap:
    """Bounds of the mean log-likelihood of simulated points, in nats.

    Attributes:
        lower: mean of the forward estimates.
        upper: mean of the backward estimates.
        gap: upper - lower; in expectation at least the bias of the forward estimate.
        standard_error: of the gap, over points; None for one point.
        forward: the forward estimate.
        upper_bounds: of each point, [n].
    """

    lower: float
    upper: float
    gap: float
    standard_error: float | None
    forward: Estimate
    upper_bounds: np.ndarray

    def as_json(self) -> dict[str, Any]:
        """Returns all but the single points' numbers as JSON takes them."""
        names = ("lower", "upper", "gap", "standard_error")
        fields = {name: _finite(getattr(self, name)) for name in names}
        forward = self.forward
        return {
            **fields,
            "num_points": len(self.upper_bounds),
            "acceptance": forward.acceptance,
            "step_size": forward.step_size,
            "settings": forward.settings,
        }


def estimate(
    decoder: Likelihood | Callable[[tf.Tensor], tf.Tensor],
    examples: np.ndarray,
    latent_dim: int,
    *,
    chains: int = 10,
    temperatures: int = 1000,
    leapfrog_steps: int = 10,
    schedule: str = "sigmoid",
    step_size: float | Sequence[float] | None = None,
    seed: int = 0,
    batch_size: int = 50,
    workers: int | None = None,
    folder: str | os.PathLike | None = None,
    progress: ais_run.Progress | None = None,
    jit: bool = True,
) -> Estimate:
    """Estimates log p(x) of examples by AIS; a lower bound in expectation.

    A point's chains are drawn from the seed and the point's index among `examples`. `batch_size`,
    `workers` and `jit` therefore change the result by rounding alone: by little with few
    temperatures; with many, a move at the edge of acceptance may turn out otherwise, after which
    that chain is another sample of the same law. The step sizes come from the first ten points;
    give those of an earlier estimate to compare points across data sets.

    Args:
        decoder: Bernoulli logits (a Keras model or function) or a `Likelihood`.
        examples: [n, ...]; in {0, 1} for Bernoulli logits.
        latent_dim: of z.
        chains: for each point.
        temperatures: moves of each chain, from the prior to the posterior.
        leapfrog_steps: of each move.
        schedule: `sigmoid` (Wu et al.) or `linear`: the powers beta of p(x|z).
        step_size: of the leapfrog steps, one number or one for each tenth of the schedule; None
            tunes them in a pilot run to an acceptance of 0.65-0.8, then keeps them fixed.
        seed: of everything.
        batch_size: points that run together.
        workers: batches that run at once; None: as many as processor cores with `jit`, whose
            programs use one core each, and one without.
        folder: keeps every finished batch; a later call with the same settings, decoder and
            examples goes on from there.
        progress: is told (done, total) moves, counted over points, after every 50 temperatures.
        jit: compile by XLA.

    Returns:
        The estimate.

    Raises:
        UserError: arguments out of range or of shapes that do not fit, or a folder that holds
            another estimate.
    """
    settings = dict(
        latent_dim=latent_dim,
        chains=chains,
        temperatures=temperatures,
        leapfrog_steps=leapfrog_steps,
        schedule=schedule,
        step_size=step_size,
        seed=seed,
    )
    run = ais_run.Run(decoder, examples, settings, batch_size=batch_size, workers=workers, jit=jit)
    return _summary(*run.forward(folder, progress), settings)


def bidirectional_gap(
    decoder: Likelihood | Callable[[tf.Tensor], tf.Tensor],
    latent_dim: int,
    *,
    points: int = 50,
    chains: int = 10,
    temperatures: int = 1000,
    leapfrog_steps: int = 10,
    schedule: str = "sigmoid",
    step_size: float | Sequence[float] | None = None,
    seed: int = 0,
    batch_size: int = 50,
    workers: int | None = None,
    progress: ais_run.Progress | None = None,
    jit: bool = True,
) -> Gap:
    """Bounds log p(x) from both sides on points simulated from the model.

    z ~ p(z), x ~ p(x|z): z is an exact sample of the posterior of x. The chains that begin there
    and run to the prior have weights unbiased for 1 / p(x); minus their logarithm is an upper bound
    in expectation. The gap holds for data like the model's own; real data may be further away.

    Args:
        decoder: Bernoulli logits or a `Likelihood` that has `simulate`.
        latent_dim: of z.
        points: to simulate.
        chains: as in `estimate`, and so the rest.
        temperatures: moves of each chain.
        leapfrog_steps: of each move.
        schedule: `sigmoid` or `linear`.
        step_size: as in `estimate`.
        seed: of everything, the points included.
        batch_size: points that run together.
        workers: batches that run at once.
        progress: is told (done, total) moves, forward and backward.
        jit: compile by XLA.

    Returns:
        The bounds.

    Raises:
        UserError: as `estimate`, or a decoder without `simulate`.
    """
    decoder = as_likelihood(decoder)
    if decoder.simulate is None:
        raise UserError("decoder has no simulate function; give Likelihood(..., simulate=...).")
    for name, value, least in (("points", points, 1), ("latent_dim", latent_dim, 1)):
        ais_run.whole(name, value, least)
    ais_run.whole("seed", seed, 0)
    settings = dict(
        latent_dim=latent_dim,
        chains=chains,
        temperatures=temperatures,
        leapfrog_steps=leapfrog_steps,
        schedule=schedule,
        step_size=step_size,
        seed=seed,
    )
    seeds = tf.random.split(tf.constant([seed, _SIMULATION], tf.int64), 2)
    latents = tf.random.stateless_normal([points, latent_dim], seeds[0])
    examples = decoder.simulate(latents, seeds[1])
    run = ais_run.Run(decoder, examples, settings, batch_size=batch_size, workers=workers, jit=jit)

    def half(offset: int) -> ais_run.Progress | None:
        return progress and (lambda done, total: progress(offset * total + done, 2 * total))

    forward = _summary(*run.forward(None, half(0)), settings)
    upper = -_log_mean(run.backward(latents.numpy(), forward.step_size, half(1)))
    gaps = upper - forward.log_likelihoods
    return Gap(
        lower=forward.mean,
        upper=float(upper.mean()),
        gap=float(gaps.mean()),
        standard_error=_standard_error(gaps),
        forward=forward,
        upper_bounds=upper,
    )


def _summary(
    weights: np.ndarray, accepted: np.ndarray, steps: list[float], settings: dict[str, Any]
) -> Estimate:
    values, by_stage = _log_mean(weights), accepted.mean(axis=0)
    sizes = 2.0 * special.logsumexp(weights, axis=1) - special.logsumexp(2.0 * weights, axis=1)
    moves = np.bincount(ais_chains.stages(settings["temperatures"]), minlength=len(by_stage))
    return Estimate(
        log_likelihoods=values,
        mean=float(values.mean()),
        standard_error=_standard_error(values),
        effective_sample_sizes=np.exp(sizes),
        acceptance=float(np.nansum(by_stage * moves) / moves.sum()),
        acceptance_by_stage=[_finite(rate) for rate in by_stage.tolist()],
        step_size=steps,
        settings=settings,
    )


def _log_mean(weights: np.ndarray) -> np.ndarray:
    return special.logsumexp(weights, axis=1) - np.log(weights.shape[1])


def _standard_error(values: np.ndarray) -> float | None:
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else None


def _finite(value: float | None) -> float | None:
    return value if value is not None and np.isfinite(value) else None
