"""What the codes of implicit autoencoders tell of MNIST: the KernelNet paper's Figures 7 and 8.

Zhou et al. (2019), arXiv:1912.00979, section 4.2, appendix G.2. Figure 7: t-SNE of codes under a
kernel with and without the data-dependent part. Figure 8: a support vector machine on codes of few
labelled images. The runs are those of `kgzoo.reproduce nll`; a row that is missing is trained, as
far as the others are.

The paper prints no number for either, nor how codes are drawn, t-SNE's or the machine's settings,
how many labels and draws. Here: codes without noise of images binarised by one fixed draw, what
scikit-learn has by default, and pixels beside the codes. That classes are "more separable" is told
by the share of points whose ten nearest neighbours vote for their own class.
"""

import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kgzoo import data
from kgzoo.errors import UserError
from kgzoo.reproductions import figure, nll, nll_runs
from kgzoo.reproductions.nll_runs import Plan

__all__ = ["accuracies", "neighbours_agree", "run"]

_PLANES = ("info_ivae_ikl", "info_ivae_dk")
_METHODS = ("info_ivae_rbf", *_PLANES, "vae")
_PIXELS = "pixels"
_COLOURS = {
    "info_ivae_rbf": "#2471a3",
    "info_ivae_ikl": "#1e8449",
    "info_ivae_dk": "#c0392b",
    "vae": "#888888",
    _PIXELS: "black",
}
_LABELS = (10, 30, 100, 300, 1000, 3000)
# By whether it is quick: draws of labels, points of t-SNE, test images of the machine.
_DRAWS, _POINTS, _TESTED = ({True: 5, False: 20}, {True: 1000, False: 3000}, {True: 2000, False: 0})
_NEIGHBOURS = 10
_BATCH = 1000
_C = 10.0


def run(
    folder: pathlib.Path,
    quick: bool = False,
    runs: str = "",
    scale: str = "",
    steps: int = 0,
    data_dir: str = "",
    dataset: str = "mnist",
    binarization: str = "dynamic",
    seed: int = 0,
) -> dict[str, Any]:
    """Trains what is missing; writes latents.png and latents.json.

    Args:
        folder: of the two files.
        quick: fewer points, draws and tested images.
        runs: folder of the run folders; empty: that of `nll` beside `folder`.
        scale: of what is to be trained where `runs` holds no row yet, see `nll_runs.SCALES`.
        steps: that every row is to have at least; 0: what rows have, missing ones as many as the
            furthest, or the scale's.
        data_dir: of prepared TFDS data sets; empty: the TFDS default.
        dataset: mnist, or digits, which needs nothing on disk.
        binarization: of the training images in `runs`, `dynamic` or `fixed`.
        seed: of trainings, t-SNE and draws.

    Returns:
        What the JSON file holds: settings, findings, the curves of Figure 8, and how well codes
        and the planes of Figure 7 keep classes apart.

    Raises:
        UserError: if an option is wrong, the data set is not on disk, matplotlib is not
            installed, or a signal stopped a training, whose state is then saved.
    """
    spent = nll.scale_of(False, scale, steps=steps)
    where = pathlib.Path(runs).expanduser() if runs else folder.parent / "nll"
    plan = Plan(where, dataset, data_dir, binarization, spent.steps, seed)
    resolved = plan.compose(_METHODS[0])
    data.check(dataset, data_dir or None)
    canvas, axes = figure.new_figure(1, 3, 14.0, 5.0, width_ratios=(1.0, 1.0, 1.15))
    sources = nll_runs.load(plan, resolved)
    done, codes = {}, {}
    for method in _METHODS:
        own = plan._replace(steps=_steps(where, method, steps, spent.steps))
        trained = nll_runs.train(method, own, sources[0])
        if trained.diverged:
            raise UserError(f"{method} in {where} has no codes: {trained.diverged}")
        done[method] = trained.model.steps_done
        codes[method] = [_codes(trained.model, source) for source in _drawn(sources)]
        del trained
    labels = [source.labels for source in sources]
    codes[_PIXELS] = [_pixels(source) for source in _drawn(sources)]
    planes = _planes(codes, labels[1], _POINTS[quick], seed)
    for axis, method in zip(axes[0], _PLANES, strict=False):
        _draw_plane(axis, planes[method], done[method], method)
    curves = _curves(codes, labels, _DRAWS[quick], _TESTED[quick], seed)
    _draw_curves(axes[0, -1], curves)
    result = {
        "settings": {
            "paper": "arXiv:1912.00979, section 4.2, appendix G.2, Figures 7 and 8",
            "dataset": dataset,
            "runs": where,
            "steps": done,
            "codes": "of the encoder without noise; images binarised by one fixed draw",
            "t_sne": f"scikit-learn's defaults, {len(planes[_PLANES[0]]['labels'])} test images",
            "machine": f"support vectors, Gaussian kernel, C = {_C:g}, gamma by the variance of "
            "the codes; as many labels of every class as possible",
            "draws": _DRAWS[quick],
            "tested": len(labels[1][: _TESTED[quick] or None]),
            "neighbours": _NEIGHBOURS,
            "seed": seed,
            "quick": quick,
        },
        "findings": _findings(planes, curves, done),
        "planes": {
            method: {name: of[name] for name in ("kept_apart_codes", "kept_apart_plane")}
            for method, of in planes.items()
        },
        "curves": curves,
    }
    return figure.write(folder, "latents", canvas, result)


def _steps(runs: pathlib.Path, method: str, wanted: int, scale: int) -> int:
    """Returns up to which step a row is to be trained; what it has, where nothing is said."""
    own = nll_runs.furthest(runs, [method])
    return wanted or own or nll_runs.furthest(runs, nll_runs.PRINTED) or scale


def _drawn(sources: Sequence[data.Source]) -> list[data.Source]:
    return [data.binarize(source) for source in sources]


def _codes(model: Any, source: data.Source) -> np.ndarray:
    """Returns codes `[n, latent_dim]` of a split."""
    return np.concatenate([model.encode(images).numpy() for images in data.batches(source, _BATCH)])


def _pixels(source: data.Source) -> np.ndarray:
    return source.examples.reshape([source.num_examples, -1]).astype(np.float32) / 255.0


def _planes(
    codes: Mapping[str, Sequence[np.ndarray]], labels: np.ndarray, points: int, seed: int
) -> dict[str, dict[str, Any]]:
    """Returns t-SNE's plane of the first test images' codes, and how far classes keep apart."""
    import threadpoolctl
    from sklearn import manifold

    found = {}
    for method in _PLANES:
        print(f"latents: t-SNE of {method}", file=sys.stderr, flush=True)
        own, classes = codes[method][1][:points], labels[:points]
        perplexity = min(30.0, (len(own) - 1) / 3)
        # One thread: the same plane on any number of cores, and no waiting where they are busy.
        with threadpoolctl.threadpool_limits(1):
            plane = manifold.TSNE(perplexity=perplexity, random_state=seed).fit_transform(own)
        found[method] = {
            "plane": plane,
            "labels": classes,
            "kept_apart_codes": neighbours_agree(own, classes),
            "kept_apart_plane": neighbours_agree(plane, classes),
        }
    return found


def neighbours_agree(points: np.ndarray, labels: np.ndarray) -> float:
    """Returns the share of points `[n, d]` whose ten nearest others vote for their own class.

    On a tie the smallest class wins.
    """
    from sklearn import neighbors

    count = min(_NEIGHBOURS, len(points) - 1)
    nearest = neighbors.NearestNeighbors(n_neighbors=count).fit(points)
    # Without an argument a point is not its own neighbour.
    votes = labels[nearest.kneighbors(return_distance=False)]
    winners = [np.bincount(row).argmax() for row in votes]
    return float(np.mean(winners == labels))


def _curves(
    codes: Mapping[str, Sequence[np.ndarray]],
    labels: Sequence[np.ndarray],
    draws: int,
    tested: int,
    seed: int,
) -> dict[str, dict[str, list]]:
    """Returns for all codes the accuracy over the number of labels: mean and deviation."""
    counts = [count for count in _LABELS if count <= len(labels[0])]
    test_labels, curves = labels[1][: tested or None], {}
    for name, (train, test) in codes.items():
        print(f"latents: support vector machines on {name}", file=sys.stderr, flush=True)
        found = [
            accuracies(train, labels[0], test[: tested or None], test_labels, count, draws, seed)
            for count in counts
        ]
        curves[name] = {
            "labels": counts,
            "accuracy": [float(values.mean()) for values in found],
            "deviation": [float(values.std(ddof=1)) for values in found],
        }
    return curves


def accuracies(
    train: np.ndarray,
    train_labels: np.ndarray,
    test: np.ndarray,
    test_labels: np.ndarray,
    count: int,
    draws: int,
    seed: int,
) -> np.ndarray:
    """Returns the test accuracy of support vector machines that see `count` labels, `[draws]`.

    Args:
        train: `[n, d]`.
        train_labels: `[n]`.
        test: `[m, d]`.
        test_labels: `[m]`.
        count: labels of a draw, as equally shared by the classes as they can be.
        draws: how many; the same ones for any `train` of the same images.
        seed: of the draws.
    """
    from sklearn import svm

    found = []
    for draw in range(draws):
        chosen = _labelled(train_labels, count, np.random.RandomState([seed, count, draw]))
        machine = svm.SVC(C=_C).fit(train[chosen], train_labels[chosen])
        found.append(machine.score(test, test_labels))
    return np.array(found)


def _labelled(labels: np.ndarray, count: int, random: np.random.RandomState) -> np.ndarray:
    """Returns positions of `count` examples: one of every class in turn."""
    order = random.permutation(len(labels))
    # The rank of an example among those of its class, in the order of the draw.
    rank = np.empty(len(labels), int)
    for label in np.unique(labels):
        own = order[labels[order] == label]
        rank[own] = np.arange(len(own))
    return order[np.argsort(rank[order], kind="stable")[:count]]


def _findings(
    planes: Mapping[str, Mapping[str, Any]],
    curves: Mapping[str, Mapping[str, list]],
    steps: Mapping[str, int],
) -> list[dict[str, str]]:
    findings = []
    for method, of in planes.items():
        more = "more separable (Fig. 7)" if method == _PLANES[-1] else "less separable (Fig. 7)"
        found = f"{of['kept_apart_codes']:.1%} of codes, {of['kept_apart_plane']:.1%} of the plane"
        findings.append((f"{method}: nearest {_NEIGHBOURS} vote for the class", found, more))
    for name, curve in curves.items():
        places = sorted({0, len(curve["labels"]) // 2, len(curve["labels"]) - 1})
        found = "; ".join(
            f"{curve['labels'][at]}: {curve['accuracy'][at]:.1%} +- {curve['deviation'][at]:.1%}"
            for at in places
        )
        paper = "not given" if name in ("vae", _PIXELS) else "curve only (Fig. 8)"
        findings.append((f"{name}: accuracy by number of labels", found, paper))
    said = ", ".join(f"{method} {step:,}" for method, step in steps.items())
    findings.append(("updates", said, f"{nll_runs.PAPER_STEPS:,}"))
    return [
        {"quantity": quantity, "found": found, "paper": paper}
        for quantity, found, paper in findings
    ]


def _draw_plane(axis: Any, of: Mapping[str, Any], steps: int, method: str) -> None:
    import matplotlib

    colours = matplotlib.colormaps["tab10"]
    for label in np.unique(of["labels"]):
        own = of["plane"][of["labels"] == label]
        style = {"color": colours(int(label) % 10), "markersize": 2.5, "markeredgewidth": 0}
        axis.plot(*own.T, "o", label=str(label), **style)
        # In the middle of the class: a legend of ten colours is slower to read.
        place = np.median(own, axis=0)
        axis.text(*place, str(label), ha="center", va="center", fontweight="bold")
    told = f"{of['kept_apart_plane']:.1%} among their own"
    axis.set_title(f"t-SNE of {method}, step {steps:,} (Fig. 7)\n{told}")
    axis.set(xticks=[], yticks=[])


def _draw_curves(axis: Any, curves: Mapping[str, Mapping[str, list]]) -> None:
    for name, curve in curves.items():
        style = {"color": _COLOURS[name], "linestyle": "--" if name == _PIXELS else "-"}
        mean, deviation = np.array(curve["accuracy"]), np.array(curve["deviation"])
        axis.plot(curve["labels"], mean, marker=".", label=name, **style)
        band = (mean - deviation, mean + deviation)
        axis.fill_between(curve["labels"], *band, color=style["color"], alpha=0.12, linewidth=0)
    axis.set(xscale="log", xlabel="labelled images", ylabel="accuracy on test images")
    axis.set_xticks(curve["labels"], [str(count) for count in curve["labels"]])
    axis.minorticks_off()
    axis.set_title("Support vectors on codes (Fig. 8)\n+- 1 deviation over draws")
    axis.grid(alpha=0.25)
    axis.legend(frameon=False)
