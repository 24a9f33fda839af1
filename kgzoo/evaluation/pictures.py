"""Pictures of samples: grids of images, scatter plots of points, histograms of numbers; PNG files.

Drawn with NumPy alone, so that the same samples give the same bytes everywhere.
"""

import os
import pathlib

import numpy as np

from kgzoo.data.source import at_least
from kgzoo.errors import UserError, shown
from kgzoo.evaluation import arrays, files

__all__ = ["grid", "histogram", "picture", "save_png", "scatter", "views"]

_PAPER = (255, 255, 255)
_FRAME = (110, 110, 110)
_ZERO_LINES = (228, 228, 228)
_SEPARATOR = 64
_SAMPLES = (208, 72, 32)
_REFERENCE = (150, 178, 214)
_GRID_SIDE = 512  # pixels that an enlarged grid aims at
_VIEWS = ([0, 1], [2, 1])  # of 3-D points: the coordinates to the right and upwards in each panel
_LARGEST = 1e30  # coordinate that is drawn
_MARGIN = 12  # pixels between the frame and the picture's edge


def grid(images: np.ndarray, columns: int | None = None, scale: int | None = None) -> np.ndarray:
    """Lays images out row by row with one-pixel separators.

    Args:
        images: [n, h, w, c] with 1 or 3 channels, uint8 or float in [0, 1] (clipped).
        columns: of the grid; as square as possible when None.
        scale: integer enlargement, pixels repeated; when None as large as fits about 512 pixels.

    Returns:
        [height, width, 3] uint8. Missing images of the last row are left in the separator's grey.

    Raises:
        UserError: another shape, or columns or scale < 1.
    """
    images = _as_uint8(images)
    count, height, width = images.shape[:3]
    columns = at_least("columns", int(np.ceil(np.sqrt(count))) if columns is None else columns, 1)
    rows = -(-count // columns)
    if scale is None:
        scale = max(1, _GRID_SIDE // max(rows * height, columns * width))
    scale = at_least("scale", scale, 1)
    images = images.repeat(scale, axis=1).repeat(scale, axis=2)
    step_y, step_x = height * scale + 1, width * scale + 1
    canvas = np.full((rows * step_y + 1, columns * step_x + 1, 3), _SEPARATOR, np.uint8)
    for index, image in enumerate(images):
        top, left = index // columns * step_y + 1, index % columns * step_x + 1
        canvas[top : top + step_y - 1, left : left + step_x - 1] = image
    return canvas


def scatter(points: np.ndarray, reference: np.ndarray | None = None, size: int = 480) -> np.ndarray:
    """Draws 2-D points (red) over reference points (light blue) in a frame with its zero lines.

    The view is the reference's range plus a quarter on each side, so that pictures of one run show
    the same window; without a reference it is the points' own. Points outside it are drawn on the
    frame. Both axes have one scale.

    Args:
        points: [n, 2].
        reference: [m, 2] or None.
        size: height and width in pixels.

    Returns:
        [size, size, 3] uint8.

    Raises:
        UserError: points that are not [n, 2] or not finite.
    """
    points = _as_matrix(points, "points", 2)
    drawn = points if reference is None else _as_matrix(reference, "reference", 2)
    low, high = drawn.min(axis=0), drawn.max(axis=0)
    side = 1.5 * max(float((high - low).max()), 1e-3)
    below = None if reference is None else drawn
    return _panel(points, below, (low + high - side) / 2, side, size)


def histogram(
    values: np.ndarray, reference: np.ndarray | None = None, size: int = 480, bins: int = 60
) -> np.ndarray:
    """Draws the histogram of numbers (red bars) over that of a reference (light blue bars).

    Numbers outside the view are counted in its first or last bar; a grey line marks zero.

    Args:
        values: [n] or [n, 1].
        reference: [m], [m, 1] or None; gives the range, as in `scatter`.
        size: height and width in pixels.
        bins: number of bars.

    Returns:
        [size, size, 3] uint8; the highest bar fills the frame.

    Raises:
        UserError: values that are not numbers in one dimension, or not finite.
    """
    values = _as_matrix(_as_column(values, "values"), "values", 1)[:, 0]
    drawn = values
    if reference is not None:
        drawn = _as_matrix(_as_column(reference, "reference"), "reference", 1)[:, 0]
    middle, half = (drawn.max() + drawn.min()) / 2, 0.75 * max(np.ptp(drawn), 1e-3)
    edges = np.linspace(middle - half, middle + half, bins + 1)
    canvas = np.empty((size, size, 3), np.float64)
    canvas[:] = _PAPER
    if edges[0] < 0.0 < edges[-1]:
        zero = _MARGIN + (size - 2 * _MARGIN) * (half - middle) / (2.0 * half)
        canvas[_MARGIN:-_MARGIN, round(zero)] = _ZERO_LINES
    layers = [(values, np.array(_SAMPLES))]
    if reference is not None:
        layers.insert(0, (drawn, np.array(_REFERENCE)))
    shares = [np.histogram(np.clip(v, edges[0], edges[-1]), edges)[0] / len(v) for v, _ in layers]
    highest = max(share.max() for share in shares)
    columns = np.linspace(_MARGIN, size - _MARGIN, bins + 1).astype(int)
    for share, (_, colour) in zip(shares, layers, strict=True):
        tops = size - _MARGIN - np.rint(share / highest * (size - 2 * _MARGIN)).astype(int)
        for left, right, top in zip(columns[:-1], columns[1:], tops, strict=True):
            bar = canvas[top : size - _MARGIN, left : right - 1]
            bar[:] = 0.35 * bar + 0.65 * colour
    _draw_frame(canvas)
    return np.rint(canvas).astype(np.uint8)


def views(points: np.ndarray, reference: np.ndarray | None = None, size: int = 480) -> np.ndarray:
    """Draws 3-D points in two panels: seen along the third axis, and along the first.

    Left the first coordinate is drawn to the right, in the right panel the third one is; the second
    coordinate points upwards in both, so a point has one height. Both have one scale.

    Args:
        points: [n, 3].
        reference: [m, 3] or None, as in `scatter`.
        size: height, and width of one panel, in pixels.

    Returns:
        [size, 2 * size, 3] uint8.

    Raises:
        UserError: points that are not [n, 3] or not finite.
    """
    points = _as_matrix(points, "points", 3)
    reference = None if reference is None else _as_matrix(reference, "reference", 3)
    drawn = points if reference is None else reference
    middle = (drawn.min(axis=0) + drawn.max(axis=0)) / 2
    side = 1.5 * max(float(np.ptp(drawn, axis=0).max()), 1e-3)
    panels = []
    for axes in _VIEWS:
        below = None if reference is None else reference[:, axes]
        panels.append(_panel(points[:, axes], below, middle[axes] - side / 2, side, size))
    return np.concatenate(panels, axis=1)


def picture(samples: np.ndarray, kind: str, reference: np.ndarray | None = None) -> np.ndarray:
    """Draws samples of either kind of data.

    Args:
        samples: [n, h, w, c] images, or vectors [n, d]: a histogram for d = 1, two views for d = 3,
            otherwise a scatter plot of the first two coordinates.
        kind: "image" or "vector".
        reference: vectors [m, d] to draw below the samples; images take none.

    Returns:
        [height, width, 3] uint8.

    Raises:
        UserError: another kind or shape.
    """
    if kind == "image":
        return grid(samples)
    if kind != "vector":
        raise UserError(f"kind={shown(kind)} is not known; choose 'image' or 'vector'.")
    samples = arrays.as_array(samples, "samples")
    if samples.ndim != 2:
        raise UserError(f"Vector samples have shape {list(samples.shape)}; give [n, d].")
    if reference is not None:
        reference = arrays.as_array(reference, "reference")
        if reference.ndim != 2:
            raise UserError(f"reference has shape {list(reference.shape)}; give [m, d].")
    if samples.shape[1] == 1:
        return histogram(samples, reference)
    if samples.shape[1] == 3:
        return views(samples, reference)
    return scatter(samples[:, :2], None if reference is None else reference[:, :2])


def save_png(path: str | os.PathLike, array: np.ndarray) -> pathlib.Path:
    """Writes a PNG file; it is whole or absent.

    Args:
        path: of the file; its folder is made.
        array: [height, width, 1 or 3] uint8.

    Returns:
        The path.

    Raises:
        UserError: another dtype or shape.
    """
    import tensorflow as tf

    array = arrays.as_array(array, "array")
    fits = array.ndim == 3 and array.dtype == np.uint8 and array.shape[-1] in (1, 3)
    if not fits or 0 in array.shape:
        raise UserError(
            f"A picture has dtype {array.dtype} and shape {list(array.shape)}; give uint8 "
            "[height, width, 1 or 3]."
        )
    return files.replace_file(path, tf.io.encode_png(array).numpy())


def _as_uint8(images: np.ndarray) -> np.ndarray:
    """Returns [n, h, w, 1 or 3] uint8 or float in [0, 1] as uint8 [n, h, w, 3]."""
    images = arrays.as_array(images, "images")
    if images.ndim != 4 or images.shape[-1] not in (1, 3) or 0 in images.shape:
        raise UserError(
            f"Images have shape {list(images.shape)}; give [n, height, width, channels] with "
            "1 or 3 channels."
        )
    if images.dtype.kind in "iu" and images.dtype != np.uint8:
        raise UserError(f"Images have dtype {images.dtype}; give uint8 or floats in [0, 1].")
    if images.dtype != np.uint8:
        # A diverged model still deserves its picture: what is not a number is black.
        images = np.rint(255.0 * np.clip(np.nan_to_num(images), 0.0, 1.0)).astype(np.uint8)
    return np.broadcast_to(images, (*images.shape[:3], 3))


def _as_matrix(values: np.ndarray, name: str, dim: int) -> np.ndarray:
    values = arrays.as_array(values, name).astype(np.float64)
    if values.ndim != 2 or values.shape[1] != dim or len(values) < 1:
        raise UserError(f"{name} have shape {list(values.shape)}; give [n, {dim}].")
    if not np.isfinite(values).all():
        raise UserError(f"{name} hold NaN or infinity; draw samples of a model that is finite.")
    arrays.refuse_beyond(values, name, _LARGEST)
    return values


def _as_column(values: np.ndarray, name: str) -> np.ndarray:
    values = arrays.as_array(values, name)
    return values[:, np.newaxis] if values.ndim == 1 else values


def _panel(
    points: np.ndarray, reference: np.ndarray | None, corner: np.ndarray, side: float, size: int
) -> np.ndarray:
    """Draws [n, 2] points over a reference in the square window `side` wide from `corner` on."""
    inner = size - 2 * _MARGIN - 1

    def pixels(values):
        unit = np.clip((values - corner) / side, 0.0, 1.0)
        return _MARGIN + np.stack([1.0 - unit[:, 1], unit[:, 0]], axis=1) * inner  # row, column

    canvas = np.empty((size, size, 3), np.float64)
    canvas[:] = _PAPER
    zero_row, zero_column = np.rint(pixels(np.zeros((1, 2)))[0]).astype(int)
    if corner[1] < 0.0 < corner[1] + side:
        canvas[zero_row, _MARGIN:-_MARGIN] = _ZERO_LINES
    if corner[0] < 0.0 < corner[0] + side:
        canvas[_MARGIN:-_MARGIN, zero_column] = _ZERO_LINES
    _draw_frame(canvas)
    if reference is not None:
        _draw_discs(canvas, pixels(reference), _REFERENCE, opacity=0.5)
    _draw_discs(canvas, pixels(points), _SAMPLES, opacity=0.6)
    return np.rint(canvas).astype(np.uint8)


def _draw_frame(canvas: np.ndarray):
    first, last = _MARGIN, len(canvas) - _MARGIN - 1
    canvas[[first, last], first : last + 1] = _FRAME
    canvas[first : last + 1, [first, last]] = _FRAME


def _draw_discs(
    canvas: np.ndarray, centres: np.ndarray, colour: tuple[int, int, int], opacity: float
):
    """Blends soft discs of about two pixels' radius, denser where they overlap, into `canvas`."""
    height, width = canvas.shape[:2]
    base = np.floor(centres).astype(int)
    transparency = np.ones((height, width))
    for dy in range(-2, 4):
        for dx in range(-2, 4):
            pixel = base + (dy, dx)
            distance = np.linalg.norm(pixel - centres, axis=1)
            alpha = opacity * np.clip(2.5 - distance, 0.0, 1.0)
            inside = ((pixel >= 0) & (pixel < (height, width))).all(axis=1)
            rows, columns = pixel[inside].T
            np.multiply.at(transparency, (rows, columns), 1.0 - alpha[inside])
    canvas *= transparency[..., None]
    canvas += (1.0 - transparency[..., None]) * np.array(colour, np.float64)
