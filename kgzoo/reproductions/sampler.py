"""An implicit sampler that learns two densities on the line: Figure 5 of the KernelNet paper.

Zhou, Chen and Xu (2019), https://arxiv.org/abs/1912.00979, appendix G.2: a fully connected network
of three layers with 20 hidden units, fed with Gaussian noise, learns to sample Laplace(0, 2) and
0.3 N(-2, 1) + 0.7 N(2, 1). It is the encoder of an implicit autoencoder without the decoder, so
what is minimised is KL[q(z) || p(z)], whose gradient needs of q the score alone:

    d KL / d phi = E[(d z / d phi)^T (grad log q(z) - grad log p(z))],   z = f_phi(noise)

The score of q comes from the batch itself: by the Stein gradient estimator (Li and Turner, 2018),
which is the paper's, or by the spectral one (Shi, Sun and Zhu, 2018). The paper shows densities and
no number. Here: the Kolmogorov-Smirnov distance between 10,000 fresh samples and the exact
distribution function, and the share of the mixture's left mode. What the paper leaves open was
set after a few tries; `search=True` trains all that differ from it in one field, on other seeds.
"""

import math
import pathlib
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from scipy import optimize, special

from kgzoo.discrepancies import score_estimators
from kgzoo.errors import UserError, unknown_name
from kgzoo.reproductions import figure, provenance

__all__ = ["ARMS", "TARGETS", "Samplers", "Setting", "ks_distance", "run", "valley"]

_STEPS, _QUICK_STEPS, _SEARCH_STEPS = 4000, 300, 2000
_SEEDS, _FIRST_SEARCH_SEED = 3, 100
_NUM_SAMPLES = 10_000
_HIDDEN = (20, 20)
_POINTS, _QUICK_POINTS = 20, 5  # of the curve over the steps
_WEIGHTS, _TRAINING, _SAMPLES = 201, 202, 203  # draws: weights, noise of training and of samples
# Distances of exact samples: mean and 95 % quantile of Kolmogorov's law, over sqrt(n).
_EXACT_MEAN, _EXACT_95 = (round(value / _NUM_SAMPLES**0.5, 5) for value in (0.86873, 1.35810))
_BINS = 65
_COLOURS = {"laplace": "#d35400", "mixture": "#2471a3"}


class Target(NamedTuple):
    """A density on the line; `log_density` is TensorFlow's, `cdf` NumPy's, both elementwise."""

    title: str
    log_density: Callable[[tf.Tensor], tf.Tensor]
    cdf: Callable[[np.ndarray], np.ndarray]
    reach: float
    paper: str


def _laplace_log_density(z: tf.Tensor) -> tf.Tensor:
    return -tf.abs(z) / 2.0 - math.log(4.0)


def _laplace_cdf(z: np.ndarray) -> np.ndarray:
    tail = np.exp(-np.abs(z) / 2.0) / 2.0
    return np.where(z < 0, tail, 1.0 - tail)


def _mixture_log_density(z: tf.Tensor) -> tf.Tensor:
    left = math.log(0.3) - tf.square(z + 2.0) / 2.0
    right = math.log(0.7) - tf.square(z - 2.0) / 2.0
    return tf.reduce_logsumexp(tf.stack([left, right]), axis=0) - math.log(2.0 * math.pi) / 2.0


def _mixture_cdf(z: np.ndarray) -> np.ndarray:
    return 0.3 * special.ndtr(z + 2.0) + 0.7 * special.ndtr(z - 2.0)


TARGETS: Mapping[str, Target] = {
    "laplace": Target(
        "Laplace(0, 2)", _laplace_log_density, _laplace_cdf, 13.0, "a picture (Fig. 5 left)"
    ),
    "mixture": Target(
        "0.3 N(−2, 1) + 0.7 N(2, 1)",
        _mixture_log_density,
        _mixture_cdf,
        6.5,
        "perfectly generates multi-mode samples (Fig. 5 right)",
    ),
}


class Setting(NamedTuple):
    """What the paper leaves open.

    Attributes:
        noise_dim: dimensions of the Gaussian noise.
        activation: of the hidden layers.
        batch_size: samples of a step, of which the score is estimated.
        learning_rate: of Adam at first; it falls to 0 as half a cosine.
        bandwidth: of the estimator's Gaussian kernel, times the batch's median distance.
        ridge: of the Stein gradient estimator.
        eigenfunctions: of the spectral estimator.
    """

    noise_dim: int = 1
    activation: str = "tanh"
    batch_size: int = 100
    learning_rate: float = 1e-2
    bandwidth: float = 0.5
    ridge: float = 0.01
    eigenfunctions: int = 10


class Arm(NamedTuple):
    """A score estimator: from samples [..., n, 1] to scores; and the fields that it alone has."""

    title: str
    scores: Callable[[tf.Tensor, Setting], tf.Tensor]
    tried: Mapping[str, Sequence[Any]]


def _stein(samples: tf.Tensor, setting: Setting) -> tf.Tensor:
    return score_estimators.stein_scores(samples, setting.ridge, setting.bandwidth)


def _spectral(samples: tf.Tensor, setting: Setting) -> tf.Tensor:
    return score_estimators.spectral_scores(samples, setting.eigenfunctions, setting.bandwidth)


ARMS: Mapping[str, Arm] = {
    "stein": Arm("Stein gradient estimator", _stein, {"ridge": (0.001, 0.1, 1.0)}),
    "spectral": Arm("spectral estimator", _spectral, {"eigenfunctions": (3, 6, 15)}),
}
# A batch of 200 comes out better in the search, and takes several times as long.
_SETTING = Setting()
# By the search, beside each arm's own.
_TRIED: Mapping[str, Sequence[Any]] = {
    "noise_dim": (2, 10),
    "activation": ("relu",),
    "batch_size": (50, 200),
    "learning_rate": (1e-3, 3e-3, 3e-2),
    "bandwidth": (0.25, 1.0, 2.0),
}


class Samplers:
    """Samplers of every target with several seeds, trained at once by one graph.

    Weights are [targets, seeds, inputs, outputs], samples [targets, seeds, n, 1]. Adam treats every
    number by itself and the loss is a sum, so that each sampler learns as if it were alone.

    Args:
        arm: the score estimator.
        setting: of the training.
        seeds: of weights and noise, one for each sampler of a target.
        steps: of the whole training, over which the rate falls.
    """

    def __init__(self, arm: Arm, setting: Setting, seeds: Sequence[int], steps: int):
        self._arm, self._setting, self._seeds = arm, setting, seeds
        self._activation = keras.activations.get(setting.activation)
        sizes = (setting.noise_dim, *_HIDDEN, 1)
        # Glorot's rule; a seed's samplers begin at the same weights whatever the target.
        self._layers = [
            (
                tf.Variable(self._normal([i, o], _WEIGHTS, layer) * math.sqrt(2.0 / (i + o))),
                tf.Variable(tf.zeros([len(TARGETS), len(seeds), 1, o])),
            )
            for layer, (i, o) in enumerate(zip(sizes[:-1], sizes[1:], strict=True))
        ]
        self._weights = [weight for layer in self._layers for weight in layer]
        self._optimizer = keras.optimizers.Adam(
            keras.optimizers.schedules.CosineDecay(setting.learning_rate, steps)
        )
        self._optimizer.build(self._weights)
        # A concrete function: of a new one for every setting TensorFlow would warn.
        run = tf.function(self._steps, autograph=False)
        self._run = run.get_concrete_function(tf.TensorSpec([], tf.int32))

    def _normal(self, shape: Sequence[int], stream: int, step: int | tf.Tensor) -> tf.Tensor:
        """Returns draws [targets, seeds, *shape], the same for all targets."""
        keys = [tf.random.fold_in([seed, stream], step) for seed in self._seeds]
        draws = tf.stack([tf.random.stateless_normal(shape, key) for key in keys])
        return tf.stack([draws] * len(TARGETS))

    def _decode(self, noise: tf.Tensor) -> tf.Tensor:
        """Returns samples [targets, seeds, n, 1] of noise [targets, seeds, n, noise_dim]."""
        x = noise
        for kernel, bias in self._layers[:-1]:
            x = self._activation(tf.matmul(x, kernel) + bias)
        kernel, bias = self._layers[-1]
        return tf.matmul(x, kernel) + bias

    def gradients(self, noise: tf.Tensor) -> list[tf.Tensor]:
        """Returns those of KL[q || p] by all weights, estimated; noise as in `_decode`."""
        with tf.GradientTape() as tape:
            samples = self._decode(noise)
            still = tf.stop_gradient(samples)
            difference = self._arm.scores(still, self._setting) - target_scores(still)
            loss = tf.reduce_sum(difference * samples) / noise.shape[-2]
        return tape.gradient(loss, self._weights)

    def _steps(self, count: tf.Tensor) -> None:
        shape = [self._setting.batch_size, self._setting.noise_dim]

        def step(done: tf.Tensor) -> tuple[tf.Tensor]:
            at = tf.cast(self._optimizer.iterations, tf.int32)
            noise = self._normal(shape, _TRAINING, at)
            self._optimizer.apply(self.gradients(noise), self._weights)
            return (done + 1,)

        tf.while_loop(lambda done: done < count, step, (tf.constant(0),))

    def advance(self, steps: int) -> None:
        """Trains all samplers for so many steps."""
        self._run(tf.constant(steps, tf.int32))

    def samples(self, count: int) -> np.ndarray:
        """Returns samples [targets, seeds, count] of noise that no step has seen."""
        shape = [count, self._setting.noise_dim]
        at = tf.cast(self._optimizer.iterations, tf.int32)
        return self._decode(self._normal(shape, _SAMPLES, at)).numpy()[..., 0]


def target_scores(samples: tf.Tensor) -> tf.Tensor:
    """Returns grad log p at samples [targets, ...], in the order of `TARGETS`."""
    with tf.GradientTape() as tape:
        tape.watch(samples)
        parts = zip(TARGETS.values(), tf.unstack(samples), strict=True)
        values = tf.stack([target.log_density(z) for target, z in parts])
    return tape.gradient(values, samples)


def ks_distance(samples: np.ndarray, cdf: Callable[[np.ndarray], np.ndarray]) -> float:
    """Returns the Kolmogorov-Smirnov distance between samples [n] and the law of a continuous cdf.

    A sample that is not a number makes it 1, the largest there is.
    """
    exact = cdf(np.sort(np.asarray(samples, np.float64)))
    if np.isnan(exact).any():
        return 1.0
    ranks = np.arange(len(exact) + 1) / len(exact)
    return float(max(np.max(ranks[1:] - exact), np.max(exact - ranks[:-1])))


def valley() -> float:
    """Returns the place between the mixture's modes where its density is least."""

    def value(z: float) -> float:
        return float(_mixture_log_density(tf.constant(z, tf.float64)))

    return float(optimize.minimize_scalar(value, bounds=(-2.0, 2.0), method="bounded").x)


def run(
    folder: pathlib.Path,
    quick: bool = False,
    steps: int = 0,
    seeds: int = 0,
    arms: str = "",
    search: bool = False,
) -> dict[str, Any]:
    """Trains the samplers, and writes sampler.png and sampler.json.

    Args:
        folder: for the files.
        quick: one seed and 300 steps.
        steps: of each training; 0: 4,000, or 300 when quick.
        seeds: samplers of each target and arm, seeds 0, 1 and so on; 0: 3, or 1 when quick.
        arms: some of `ARMS`, by commas; empty: all.
        search: whether every setting of the search is trained as well (minutes), with seeds 100,
            101 and so on, 2,000 steps, or `steps` if these are fewer.

    Returns:
        What the JSON file holds: settings, findings, and of each arm the curves over the steps.

    Raises:
        UserError: if an option is wrong, or matplotlib is not installed.
    """
    usual = (_QUICK_STEPS, 1) if quick else (_STEPS, _SEEDS)
    changed = bool(steps or seeds or arms)
    steps, seeds = _whole("steps", steps) or usual[0], _whole("seeds", seeds) or usual[1]
    names = list(dict.fromkeys(name for name in arms.split(",") if name)) or list(ARMS)
    for name in names:
        if name not in ARMS:
            raise unknown_name("arm", name, ARMS)
    canvas, axes = figure.new_figure(len(names), 3, 11.5, 3.3 * len(names))
    points = np.linspace(0, steps, 1 + min(steps, _QUICK_POINTS if quick else _POINTS))
    points = points.round().astype(int).tolist()
    found, drawn = {}, {}
    for name in names:
        found[name], drawn[name] = _train(ARMS[name], range(seeds), points)
        _tell(f"{name} done, {found[name]['seconds']:.0f} s")
    for row, name in zip(axes, names, strict=True):
        _draw(row, ARMS[name], found[name], drawn[name])
    canvas.suptitle(f"A sampler of {_HIDDEN[0]} + {_HIDDEN[1]} hidden units after {steps:,} steps")
    result = {
        "settings": {
            "paper": "arXiv:1912.00979, appendix G.2, Figure 5",
            "steps": steps,
            "seeds": seeds,
            "hidden_units": _HIDDEN,
            **_SETTING._asdict(),
            "optimizer": "adam, its rate falling to 0 as half a cosine",
            "samples": _NUM_SAMPLES,
            "ks_of_exact_samples": {"mean": _EXACT_MEAN, "quantile_95": _EXACT_95},
            "search": _search(names, min(steps, _SEARCH_STEPS), seeds) if search else None,
            "budget": provenance.budget("quick" if quick else "cpu", changed),
            "quick": quick,
        },
        "findings": [row for name in names for row in _findings(ARMS[name], found[name])],
        "arms": found,
    }
    return figure.write(folder, "sampler", canvas, result)


def _whole(option: str, value: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise UserError(f"{option}={value!r} is out of range; give a whole number of at least 1.")
    return value


def _tell(text: str) -> None:
    print(f"sampler: {text}", file=sys.stderr, flush=True)


def _train(
    arm: Arm, seeds: Sequence[int], points: Sequence[int], setting: Setting = _SETTING
) -> tuple[dict[str, Any], np.ndarray]:
    """Returns distances at every point and shares at the last, and samples [targets, seeds, n]."""
    began, last = time.monotonic(), 0
    model = Samplers(arm, setting, seeds, int(points[-1]))
    curves: dict[str, list] = {name: [] for name in TARGETS}
    for point in points:
        model.advance(point - last)
        samples, last = model.samples(_NUM_SAMPLES), point
        for (name, target), own in zip(TARGETS.items(), samples, strict=True):
            curves[name].append([ks_distance(one, target.cdf) for one in own])
    left = np.mean(samples[list(TARGETS).index("mixture")] < valley(), axis=-1)
    of = {"at_steps": points, "ks_at_steps_by_seed": curves, "left_share_by_seed": left}
    # The distance hardly feels the tails; this does.
    of["deviation_by_seed"] = dict(zip(TARGETS, np.std(samples, axis=-1), strict=True))
    return {**of, "seconds": time.monotonic() - began}, samples


def _search(names: Sequence[str], steps: int, seeds: int) -> dict[str, Any]:
    """Trains the setting, and those that differ from it in one field; returns a row for each."""
    own = range(_FIRST_SEARCH_SEED, _FIRST_SEARCH_SEED + seeds)
    rows = []
    for name in names:
        fields = (_TRIED | ARMS[name].tried).items()
        for change in ({}, *({key: value} for key, values in fields for value in values)):
            found, _ = _train(ARMS[name], own, [steps], _SETTING._replace(**change))
            mean = np.mean(list(found["ks_at_steps_by_seed"].values()))
            rows.append({"arm": name, "changed": change, "ks_mean": mean, **found})
            _tell(f"search, {name} {change or 'as chosen'}: mean distance {mean:.4f}")
    return {"steps": steps, "seeds": list(own), "rows": rows}


def _findings(arm: Arm, of: Mapping[str, Any]) -> list[dict[str, Any]]:
    rows = []
    for name, target in TARGETS.items():
        first, ks = (np.array(of["ks_at_steps_by_seed"][name][at]) for at in (0, -1))
        worst = f"worst of {len(ks)} {ks.max():.4f}" if len(ks) > 1 else "one seed"
        found = f"{ks.mean():.4f}, {worst}; untrained {first.mean():.2f}"
        found += f", exact samples {_EXACT_MEAN:.4f}"
        rows.append((f"KS distance, {target.title}", found, target.paper))
    left = of["left_share_by_seed"]
    exact = f"{float(_mixture_cdf(valley())):.3f} exactly"
    shares = ", ".join(f"{share:.3f}" for share in left)
    rows.append(("share of the left mode", shares, exact))
    return [{"quantity": f"{arm.title}: {text}", "found": f, "paper": p} for text, f, p in rows]


def _draw(axes: Sequence[Any], arm: Arm, of: Mapping[str, Any], samples: np.ndarray) -> None:
    """Draws each target with the samples of seed 0, and the distances over the steps."""
    for axis, (name, target), own in zip(axes, TARGETS.items(), samples, strict=False):
        grid = np.linspace(-target.reach, target.reach, 601)
        exact = np.exp(target.log_density(tf.constant(grid)))
        # By the number of all samples: those outside the picture count too.
        weights = np.full(_NUM_SAMPLES, _BINS / (2.0 * target.reach * _NUM_SAMPLES))
        bins = np.linspace(-target.reach, target.reach, _BINS + 1)
        label = f"Q, {_NUM_SAMPLES:,} samples"
        axis.hist(own[0], bins, weights=weights, color=_COLOURS[name], alpha=0.45, label=label)
        axis.plot(grid, exact, color="black", linewidth=1.2, label="P, exact")
        distance = of["ks_at_steps_by_seed"][name][-1][0]
        axis.set_title(f"{arm.title}\n{target.title}, KS {distance:.4f}", fontsize=9)
        axis.set(xlabel="z", ylabel="density", xlim=bins[[0, -1]], ylim=(0.0, 1.35 * exact.max()))
        axis.legend(loc="upper left", frameon=False, fontsize=8)
    axis = axes[-1]
    for name, target in TARGETS.items():
        curve = np.array(of["ks_at_steps_by_seed"][name])
        lines = (curve.min(axis=1), curve.max(axis=1))
        axis.fill_between(of["at_steps"], *lines, color=_COLOURS[name], alpha=0.2, linewidth=0)
        colour = {"color": _COLOURS[name], "linewidth": 1.2}
        axis.plot(of["at_steps"], curve.mean(axis=1), label=target.title, **colour)
    axis.axhline(_EXACT_MEAN, color="black", linewidth=0.8, linestyle="--", label="exact samples")
    axis.set(yscale="log", ylim=(0.005, 1.0), xlabel="step", ylabel="KS distance")
    told = f"mean and range of {curve.shape[1]} seeds" if curve.shape[1] > 1 else "one seed"
    axis.set_title(f"{arm.title}\n{told}", fontsize=9)
    axis.grid(alpha=0.25)
    axis.legend(loc="upper right", frameon=False, fontsize=8)
