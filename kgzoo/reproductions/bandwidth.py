"""Figure 9 of the Kernel GAN paper: its objective against the bandwidth, for two generators.

Sinn and Rawat (2018), https://arxiv.org/abs/1705.09199, appendix A.4. X are 100 training images of
MNIST. The "ideal" generator gives 100 other training images; the other one gives the mean of X a
hundred times. Eq. (12) with a single bandwidth and phi = 0, averaged over 100 random selections.

The figure's axes are not in the text. Chosen here: pixels in [0, 1], the grid of bandwidths.
"""

import functools
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from kgzoo.reproductions import figure

__all__ = ["GENERATORS", "PARTS", "curves", "run"]

GENERATORS = ("ideal", "mean image")
PARTS = ("total", "first", "second")
_LOG4 = float(np.log(4.0))
_IMAGES = 100
_SELECTIONS = {False: 100, True: 5}
_GRID = (0.05, 100.0)
_POINTS = {False: 78, True: 34}
_CURVE = "curve only"
_COLOURS = {"ideal": "black", "mean image": "#c0392b"}


def run(
    folder: pathlib.Path,
    quick: bool = False,
    data_dir: str = "",
    dataset: str = "mnist",
    seed: int = 0,
) -> dict[str, Any]:
    """Evaluates the objective on the grid and writes bandwidth.png and bandwidth.json.

    Args:
        folder: for the files.
        quick: 5 selections instead of 100, a coarser grid.
        data_dir: of prepared TFDS data sets; empty: the TFDS default.
        dataset: another set of images than mnist.
        seed: of the selections.

    Returns:
        What the JSON file holds: settings, findings and the averaged curves.

    Raises:
        UserError: if the data set is not on disk, or matplotlib is not installed.
    """
    from kgzoo import data

    drawing, axes = figure.new_figure(1, 3, 12.0, 4.2, sharex=True)
    images = data.load(dataset, "train", data_dir or None).examples
    bandwidths = np.geomspace(*_GRID, _POINTS[quick])
    selections = [
        curves(*_select(images, seed, index), bandwidths) for index in range(_SELECTIONS[quick])
    ]
    mean = {
        generator: {
            part: np.mean([one[generator][part] for one in selections], 0) for part in PARTS
        }
        for generator in GENERATORS
    }
    _draw(drawing, axes[0], bandwidths, mean, len(selections))
    result = {
        "settings": {
            "paper": "arXiv:1705.09199, appendix A.4, Figure 9",
            "dataset": dataset,
            "images": _IMAGES,
            "selections": len(selections),
            "offset": 0.0,
            "seed": seed,
            "chosen_by_us": "pixels in [0, 1], the grid of bandwidths; computed in float64",
            "quick": quick,
        },
        "findings": _findings(bandwidths, mean),
        "bandwidths": _rounded(bandwidths),
        "curves": {
            generator: {part: _rounded(values) for part, values in parts.items()}
            for generator, parts in mean.items()
        },
    }
    return figure.write(folder, "bandwidth", drawing, result)


def _select(images: np.ndarray, seed: int, index: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns two disjoint samples of training images, float64 [n, pixels] in [0, 1]."""
    chosen = np.random.RandomState([seed, index]).permutation(len(images))[: 2 * _IMAGES]
    pixels = images[chosen].reshape([len(chosen), -1]) / 255.0
    return pixels[:_IMAGES], pixels[_IMAGES:]


def curves(
    real: np.ndarray, other: np.ndarray, bandwidths: np.ndarray
) -> dict[str, dict[str, np.ndarray]]:
    """Returns the objective and its halves at every bandwidth, by `kgzoo.discrepancies`.

    Args:
        real: X, [n, d].
        other: what the ideal generator gives, [n, d]; the other one gives the mean of `real`.
        bandwidths: [b].

    Returns:
        Generator -> part (total, first, second) -> values [b], float64.
    """
    samples = (other, np.repeat(real.mean(axis=0, keepdims=True), len(real), axis=0))
    objective, found = _objective(), {}
    for generator, fake in zip(GENERATORS, samples, strict=True):
        values = objective(real, fake, bandwidths).numpy()
        found[generator] = dict(zip(PARTS, values.T, strict=True))
    return found


@functools.cache
def _objective() -> Any:
    """Returns the graph from samples [n, d], [m, d] and bandwidths [b] to the parts [b, 3]."""
    import tensorflow as tf

    from kgzoo.discrepancies import jensen_shannon

    def at(real: tf.Tensor, fake: tf.Tensor, bandwidth: tf.Tensor) -> tf.Tensor:
        value, halves = jensen_shannon.jensen_shannon(real, fake, bandwidth)
        return tf.stack([value, halves["jsd_first"], halves["jsd_second"]])

    samples = tf.TensorSpec([None, None], tf.float64)

    @tf.function(input_signature=[samples, samples, tf.TensorSpec([None], tf.float64)])
    def parts(real, fake, bandwidths):
        return tf.map_fn(lambda bandwidth: at(real, fake, bandwidth), bandwidths)

    return parts


def _findings(
    bandwidths: np.ndarray, curves_of: Mapping[str, Mapping[str, np.ndarray]]
) -> list[dict[str, str]]:
    ideal, mean = (curves_of[generator] for generator in GENERATORS)
    difference = mean["total"] - ideal["total"]
    lowest, worst = int(np.argmin(mean["total"])), int(np.argmax(difference))

    def order(index: int) -> str:
        which = "lower" if difference[index] < 0 else "higher"
        return f"mean image {which} by {abs(difference[index]):.2g}"

    rows = [
        (f"sigma {bandwidths[-1]:g}", order(-1), "large sigma: mean image lower (better)"),
        (f"sigma {bandwidths[worst]:.3g}", order(worst), "small sigma: mean image higher (worse)"),
        ("sigma where they cross", _crossings(bandwidths, difference), _CURVE),
        (
            "mean image, lowest value + log 4",
            f"{mean['total'][lowest] + _LOG4:.4f} at sigma {bandwidths[lowest]:.3g}",
            "below 0",
        ),
        (
            "mean image below -log 4",
            _range(bandwidths, mean["total"] < -_LOG4),
            "for large sigma",
        ),
        ("ideal, lowest value + log 4", f"{ideal['total'].min() + _LOG4:.2g}", _CURVE),
    ]
    for name, paper in zip(GENERATORS, (_CURVE, "large imbalance"), strict=True):
        rows.append((f"{name}, largest imbalance", _imbalance(bandwidths, curves_of[name]), paper))
    return [
        {"quantity": quantity, "found": found, "paper": paper} for quantity, found, paper in rows
    ]


def _imbalance(bandwidths: np.ndarray, parts: Mapping[str, np.ndarray]) -> str:
    at = int(np.argmax(np.abs(parts["first"] - parts["second"])))
    halves = f"first half {parts['first'][at]:.3f}, second {parts['second'][at]:.3f}"
    return f"{halves} at sigma {bandwidths[at]:.3g}"


def _crossings(bandwidths: np.ndarray, difference: np.ndarray) -> str:
    """Says where the difference changes sign."""
    places = _roots(bandwidths, difference)
    return ", ".join(f"{place:.3g}" for place in places) or "nowhere"


def _roots(bandwidths: np.ndarray, difference: np.ndarray) -> list[float]:
    """Returns where the difference changes sign, by interpolation in log sigma."""
    # Far to the left both are 0 to the last digit, where a sign means nothing.
    solid = np.abs(difference) > 1e-9
    log, difference = np.log(bandwidths[solid]), difference[solid]
    at = np.flatnonzero(difference[:-1] * difference[1:] < 0)
    shares = difference[at] / (difference[at] - difference[at + 1])
    return np.exp(log[at] + shares * (log[at + 1] - log[at])).tolist()


def _range(bandwidths: np.ndarray, holds: np.ndarray) -> str:
    where = bandwidths[holds]
    return f"for sigma from {where[0]:.3g} to {where[-1]:.3g}" if len(where) else "nowhere"


def _rounded(values: np.ndarray) -> list[float]:
    return [float(f"{value:.8g}") for value in values]


def _draw(
    drawing: Any,
    axes: Any,
    bandwidths: np.ndarray,
    curves_of: Mapping[str, Mapping[str, np.ndarray]],
    selections: int,
) -> None:
    titles = ("(a) objective (12)", "(b) first half (real points)", "(c) second half (generated)")
    for axis, part, title in zip(axes, PARTS, titles, strict=True):
        _draw_curves(axis, bandwidths, curves_of, part)
        bound = -_LOG4 if part == "total" else -_LOG4 / 2
        label = "-log 4" if part == "total" else "-log 2"
        axis.axhline(bound, color="#555555", linestyle=":", linewidth=1.0, label=label)
        axis.set(title=title, xlabel="bandwidth σ (pixels in [0, 1])")
        axis.legend(frameon=False)
    roots = _roots(bandwidths, curves_of["mean image"]["total"] - curves_of["ideal"]["total"])
    if roots:
        # Where the order reverses, the curves lie within a hundredth of each other.
        inset = axes[0].inset_axes([0.16, 0.3, 0.3, 0.4])
        _draw_curves(inset, bandwidths, curves_of, "total")
        inset.set(xlim=(roots[0] / 2.5, roots[0] * 1.25), ylim=(-0.08, 0.005))
        inset.set_title("where they cross", fontsize=8)
        inset.minorticks_off()
        inset.set_xticks([roots[0]], [f"{roots[0]:.2f}"])
        inset.set_yticks([0.0, -0.05])
        inset.tick_params(labelsize=7)
    drawing.suptitle(
        f"Kernel GAN objective of {_IMAGES} + {_IMAGES} images, φ = 0, "
        f"mean of {selections} selections (Kernel GAN paper, Fig. 9)"
    )


def _draw_curves(
    axis: Any,
    bandwidths: np.ndarray,
    curves_of: Mapping[str, Mapping[str, np.ndarray]],
    part: str,
) -> None:
    for generator in GENERATORS:
        style = {"color": _COLOURS[generator], "label": generator, "linewidth": 1.6}
        axis.plot(bandwidths, curves_of[generator][part], **style)
    axis.set_xscale("log")
    axis.grid(color="#e4e4e4", linewidth=0.6)
