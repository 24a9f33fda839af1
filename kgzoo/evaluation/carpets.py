"""What a classifier thinks of a generator's images: entropy carpets, and samples by class.

An entropy carpet (Kernel GAN paper, Figures 10-15) is a square of latents spanned by four of them,
its images, and at every point the entropy of a classifier's answer: dark where the image is plainly
of one class, bright where it is none. A good generator has few and sharp bright lines.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy import special

from kgzoo.data.source import at_least
from kgzoo.errors import UserError
from kgzoo.evaluation import pictures

__all__ = ["Carpet", "Path", "Sheet", "decoded", "entropies", "entropy_carpet", "entropy_sheet"]

# Start and end [n, latent_dim], fraction [n] in [0, 1] -> [n, latent_dim].
Path = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]

_BLANK = np.uint8(64)  # the separators' grey: nothing is there
_SIDE = 700  # pixels that the larger side of a grid aims at
_GAP = 8  # white pixels between the two halves of a carpet
_MOST_POINTS = 512  # on a side of a carpet
_MOST_CLASSES = 200
# From no entropy to the largest possible one; brightness rises all the way.
_RAMP = ((8, 6, 30), (66, 18, 104), (168, 48, 92), (242, 132, 48), (252, 242, 190))


class Carpet(NamedTuple):
    """An entropy carpet.

    Attributes:
        picture: [height, width, 3] uint8: the images to the left, the entropies to the right.
        entropies: [points, points] float64, in nats, as drawn: row 0 is on top.
        most: the entropy drawn brightest, log of the number of classes.
    """

    picture: np.ndarray
    entropies: np.ndarray
    most: float


class Sheet(NamedTuple):
    """Samples by class and entropy.

    Attributes:
        picture: [height, width, 3] uint8; row i shows samples that the classifier takes for i.
        indices: [classes, columns] int64 of the samples shown, -1 where the cell is blank.
        classes: [n] int64, the most probable class of every sample.
        entropies: [n] float64, in nats.
    """

    picture: np.ndarray
    indices: np.ndarray
    classes: np.ndarray
    entropies: np.ndarray


def decoded(
    decode: Callable[[np.ndarray], np.ndarray], latents: np.ndarray, batch_size: int = 256
) -> np.ndarray:
    """Returns the images [n, h, w, c] of latents [n, latent_dim], some at a time.

    Raises:
        UserError: the latents are no matrix, or the images have not 1 or 3 channels.
    """
    latents = np.asarray(latents, np.float32)
    if latents.ndim != 2 or 0 in latents.shape:
        raise UserError(f"latents have shape {list(latents.shape)}; give [n, latent_dim].")
    starts = range(0, len(latents), at_least("batch_size", batch_size, 1))
    parts = [np.asarray(decode(latents[start : start + batch_size])) for start in starts]
    images = np.concatenate(parts)
    if images.ndim != 4 or images.shape[-1] not in (1, 3):
        raise UserError(
            f"decode returns shape {list(images.shape)}; galleries of latents show images "
            "[n, height, width, channels] with 1 or 3 channels."
        )
    return images


def entropies(logits: np.ndarray) -> np.ndarray:
    """Returns the entropy of every answer of a classifier, in nats.

    Args:
        logits: [n, classes], at least 2 classes.

    Returns:
        [n] float64 in [0, log classes].

    Raises:
        UserError: another shape, or values that are not finite.
    """
    logits = np.asarray(logits, np.float64)
    if logits.ndim != 2 or len(logits) < 1 or logits.shape[1] < 2:
        raise UserError(
            f"logits have shape {list(logits.shape)}; give [n, classes] with 2 classes or more."
        )
    if not np.isfinite(logits).all():
        raise UserError("logits hold NaN or infinity; classify images of a finite model.")
    return special.entr(special.softmax(logits, axis=1)).sum(axis=1)


def entropy_carpet(
    decode: Callable[[np.ndarray], np.ndarray],
    classify: Callable[[np.ndarray], np.ndarray],
    corners: np.ndarray,
    path: Path,
    side: int = 10,
    refine: int = 5,
) -> Carpet:
    """Draws the images of a square of latents, and the classifier's entropy at each of its points.

    With the straight path the latents are the paper's convex combinations, `x y z1 + (1 - x) y z2 +
    x (1 - y) z3 + (1 - x) (1 - y) z4`. Otherwise the path leads along the top and the bottom edge,
    and then from the one to the other.

    Args:
        decode: latents [n, latent_dim] float32 -> images [n, h, w, 1 or 3] in [0, 1].
        classify: images -> logits [n, classes].
        corners: [4, latent_dim]: top left, top right, bottom left, bottom right.
        path: between latents, straight or along a sphere, as the latents' distribution wants it.
        side: images on a side.
        refine: points of the carpet across one image. The middle one of an odd number is that
            image itself; beyond the middles of the outer images nothing changes.

    Raises:
        UserError: other shapes, a side below 2, or more than 512 points on a side.

    References:
        Kernel GAN paper, section "Entropy carpets", Figures 10-15.
    """
    side, refine = at_least("side", side, 2), at_least("refine", refine, 1)
    corners = np.asarray(corners, np.float32)
    if corners.ndim != 2 or len(corners) != 4:
        raise UserError(f"corners have shape {list(corners.shape)}; give [4, latent_dim].")
    points = side * refine
    if points > _MOST_POINTS:
        raise UserError(
            f"side={side} times refine={refine} exceeds {_MOST_POINTS} points; give smaller ones."
        )
    images = decoded(decode, _square(corners, np.linspace(0.0, 1.0, side), path))
    # The carpet's points lie where the images' pixels lie, in units of the step between images.
    at = np.clip(((np.arange(points) + 0.5) / refine - 0.5) / (side - 1), 0.0, 1.0)
    found = []
    for latents in np.array_split(_square(corners, at, path), points):
        found.append(entropies(np.asarray(classify(decoded(decode, latents, len(latents))))))
    carpet = np.concatenate(found).reshape(points, points)
    # The number of classes is known after the first answer only.
    most = float(np.log(np.asarray(classify(images[:1])).shape[1]))
    manifold = pictures.grid(images, side, max(1, _SIDE // (side * max(images.shape[1:3]))))
    spread = np.arange(len(manifold)) * points // len(manifold)
    coloured = _coloured(carpet / most)[spread][:, spread]
    gap = np.full((len(manifold), _GAP, 3), 255, np.uint8)
    return Carpet(np.concatenate([manifold, gap, coloured], axis=1), carpet, most)


def entropy_sheet(images: np.ndarray, logits: np.ndarray, columns: int = 12) -> Sheet:
    """Draws samples by predicted class, one row each, from the lowest entropy to the highest.

    Of a class with more samples than columns those are shown that stand at evenly spaced ranks, the
    surest and the least sure of all included: a row tells of the whole class, not of its best.
    Where a class has fewer, the cells to the right stay blank.

    Args:
        images: [n, h, w, 1 or 3] uint8, or float in [0, 1].
        logits: [n, classes] of a classifier on these images.
        columns: of the picture.

    Raises:
        UserError: other shapes, unequal n, or more than 200 classes.
    """
    columns = at_least("columns", columns, 1)
    images, found = np.asarray(images), entropies(logits)
    if images.ndim != 4 or len(images) != len(found):
        raise UserError(
            f"images {list(images.shape)} do not fit {len(found)} rows of logits; give "
            "[n, height, width, channels] and [n, classes]."
        )
    predicted = np.argmax(logits, axis=1)
    count = np.shape(logits)[1]
    if count > _MOST_CLASSES:
        raise UserError(f"logits have {count} classes; a sheet shows {_MOST_CLASSES} at most.")
    indices = np.full((count, columns), -1, np.int64)
    for number in range(count):
        members = np.flatnonzero(predicted == number)
        members = members[np.argsort(found[members], kind="stable")]
        shown = min(columns, len(members))
        ranks = np.rint(np.linspace(0, len(members) - 1, shown)).astype(int)
        indices[number, :shown] = members[ranks]
    cells = images[indices.ravel()]
    cells[indices.ravel() < 0] = _BLANK if images.dtype == np.uint8 else _BLANK / 255.0
    scale = max(1, _SIDE // max(count * images.shape[1], columns * images.shape[2]))
    return Sheet(pictures.grid(cells, columns, scale), indices, predicted, found)


def _square(corners: np.ndarray, at: np.ndarray, path: Path) -> np.ndarray:
    """Returns the latents [k * k, latent_dim] at all pairs of `at` [k]: rows down, then columns."""
    count = len(at)
    fraction = np.asarray(at, np.float32)
    top, bottom = (
        np.asarray(path(start.repeat(count, 0), end.repeat(count, 0), fraction))
        for start, end in ((corners[0:1], corners[1:2]), (corners[2:3], corners[3:4]))
    )
    down = fraction.repeat(count)
    return np.asarray(path(np.tile(top, (count, 1)), np.tile(bottom, (count, 1)), down))


def _coloured(shares: np.ndarray) -> np.ndarray:
    """Returns the ramp's colours [..., 3] uint8 of numbers in [0, 1]."""
    stops = np.linspace(0.0, 1.0, len(_RAMP))
    channels = [np.interp(shares, stops, channel) for channel in zip(*_RAMP, strict=True)]
    return np.rint(np.stack(channels, axis=-1)).astype(np.uint8)
