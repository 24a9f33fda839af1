"""A map of what a critic sees: t-SNE of its outputs, coloured by class."""

from typing import Any, NamedTuple

import numpy as np

from kgzoo.data.source import at_least
from kgzoo.errors import UserError
from kgzoo.evaluation import curves
from kgzoo.evaluation.neighbours import as_matrices

__all__ = ["CriticMap", "critic_map"]

_FEWEST = 12  # points that t-SNE takes
_MOST_CLASSES = 20  # colours that can be told apart, more or less
_OTHERS = "#dddddd"
_NO_CLASS = 0.25  # the grey of points whose class is unknown, or beyond the colours


class CriticMap(NamedTuple):
    """t-SNE of a critic's outputs.

    Attributes:
        picture: [height, width, 3] uint8.
        real: [m, 2] float32, where the real examples lie.
        generated: [n, 2] float32; [0, 2] if none were given.
    """

    picture: np.ndarray
    real: np.ndarray
    generated: np.ndarray


def critic_map(
    real: np.ndarray,
    labels: np.ndarray | None = None,
    generated: np.ndarray | None = None,
    classes: np.ndarray | None = None,
    perplexity: float = 30.0,
    seed: int = 0,
) -> CriticMap:
    """Maps a critic's outputs to the plane, real and generated ones together, coloured by class.

    One panel shows the real examples in their classes' colours, the other one the generated; each
    has the other's points below it in grey. Neighbours in the map are neighbours to the critic;
    distances between groups mean nothing.

    Args:
        real: [m, d] outputs of the critic on real examples.
        labels: [m] integers, their classes; dark grey without.
        generated: [n, d] outputs on generated examples.
        classes: [n] integers, such as a classifier finds in them.
        perplexity: of t-SNE; a third of the points where there are fewer.
        seed: of t-SNE.

    Returns:
        The picture and the points; the same on one machine for equal arguments (one thread).

    Raises:
        UserError: other shapes, values that are not finite, fewer than 12 examples in all, a
            perplexity of 1 or less, or matplotlib is not installed.

    References:
        Repulsive MMD-GAN paper, Figure 4 (2560 real examples of CIFAR-10).
    """
    if not perplexity > 1.0:
        raise UserError(f"perplexity={perplexity} is not possible; give more than 1.")
    if generated is None:
        if classes is not None:
            raise UserError("classes are given without generated outputs; give both or neither.")
        real = as_matrices(real, real, ("real", "real"))[0]
        generated = real[:0]
    else:
        real, generated = as_matrices(real, generated, ("real", "generated"))
    labels = _integers(labels, len(real), "labels")
    classes = _integers(classes, len(generated), "classes")
    figure, axes = curves.blank_figure(1, 2 if len(generated) else 1, 4.2, 4.2)
    points = _embedded(np.concatenate([real, generated]), perplexity, seed)
    shown, made = points[: len(real)], points[len(real) :]
    names = _names(labels, classes)
    _draw(axes[0, 0], f"{len(real)} real", shown, labels, made, names)
    if len(made):
        _draw(axes[0, 1], f"{len(made)} generated", made, classes, shown, names)
        for axis in axes[0]:
            axis.set(xlim=axes[0, 0].get_xlim(), ylim=axes[0, 0].get_ylim())
    handles = _legend(axes[0, 0], names)
    if handles:
        options = {"frameon": False, "fontsize": 8, "title_fontsize": 8, "title": "class"}
        figure.legend(handles=handles, loc="outside right center", markerscale=1.5, **options)
    return CriticMap(curves.rgb(figure), shown, made)


def _integers(values: np.ndarray | None, count: int, name: str) -> np.ndarray | None:
    if values is None:
        return None
    values = np.asarray(values)
    if values.shape != (count,) or not np.issubdtype(values.dtype, np.integer):
        raise UserError(
            f"{name} are {values.dtype} {list(values.shape)}; give {count} integers, one an output."
        )
    return values


def _embedded(features: np.ndarray, perplexity: float, seed: int) -> np.ndarray:
    """Returns [n, 2] float32."""
    if len(features) < _FEWEST:
        raise UserError(
            f"{len(features)} examples are too few for t-SNE; give at least {_FEWEST} in all."
        )
    import threadpoolctl
    from sklearn import manifold

    # t-SNE does not see a common scale, float32 does.
    features = features.astype(np.float64) - features.mean(axis=0, dtype=np.float64)
    scale = np.abs(features).max()
    features = (features / scale if scale > 0.0 else features).astype(np.float32)
    # PCA needs two directions that differ; a collapsed critic has none.
    spread = np.linalg.svd(features[:2000], compute_uv=False)
    flat = len(spread) < 2 or spread[1] <= 1e-6 * max(spread[0], 1e-6)
    tsne = manifold.TSNE(
        perplexity=min(perplexity, (len(features) - 1) / 3),
        init="random" if flat else "pca",
        random_state=at_least("seed", seed, 0),
        n_jobs=1,
    )
    # OpenMP sums forces in another order with every number of threads.
    with threadpoolctl.threadpool_limits(1):
        return tsne.fit_transform(features)


def _names(*groups: np.ndarray | None) -> list[int]:
    """Returns the classes in ascending order, as many as there are colours for."""
    known = [group for group in groups if group is not None]
    found = np.unique(np.concatenate(known)).tolist() if known else []
    return found[:_MOST_CLASSES]


def _colours(count: int) -> Any:
    import matplotlib

    return matplotlib.colormaps["tab10" if count <= 10 else "tab20"].colors


def _draw(
    axis: Any,
    title: str,
    points: np.ndarray,
    classes: np.ndarray | None,
    others: np.ndarray,
    names: list[int],
) -> None:
    axis.scatter(*others.T, s=6, color=_OTHERS, linewidths=0)
    # One call, so that no class is drawn over all the others.
    colours = np.full((len(points), 3), _NO_CLASS)
    if classes is not None:
        for name, colour in zip(names, _colours(len(names)), strict=False):
            colours[classes == name] = colour
    axis.scatter(*points.T, s=8, c=colours, linewidths=0)
    axis.set_title(title, fontsize=9)
    axis.set(xticks=[], yticks=[])
    for spine in axis.spines.values():
        spine.set(visible=True, color="#999999")


def _legend(axis: Any, names: list[int]) -> list[Any]:
    """Returns a dot and a name for each class."""
    pairs = zip(names, _colours(len(names)), strict=False)
    return [axis.plot([], [], ".", color=colour, label=str(name))[0] for name, colour in pairs]
