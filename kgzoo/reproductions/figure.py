"""Figures of the reproductions: drawn off screen by matplotlib, written whole or not at all."""

import io
import json
import pathlib
from collections.abc import Mapping
from typing import Any

from kgzoo.errors import UserError
from kgzoo.evaluation import files

__all__ = ["new_figure", "write"]

_DOTS_PER_INCH = 150
_STYLE = {
    "axes.labelsize": 9,
    "axes.titlesize": 10,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.titlesize": 12,
    "font.size": 9,
    "legend.fontsize": 8,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
}


def new_figure(
    rows: int, columns: int, width: float, height: float, **options: Any
) -> tuple[Any, Any]:
    """Makes a figure that needs no screen and leaves pyplot's state alone.

    Args:
        rows: of panels.
        columns: of panels.
        width: in inches.
        height: in inches.
        **options: of `matplotlib.figure.Figure.subplots`.

    Returns:
        The figure, and its axes as an array [rows, columns].

    Raises:
        UserError: if matplotlib is not installed.
    """
    try:
        import matplotlib
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise UserError(
            "reproductions draw with matplotlib, which is not installed; "
            "type pip install matplotlib pillow."
        ) from None
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        return figure, figure.subplots(rows, columns, squeeze=False, **options)


def write(
    folder: pathlib.Path, name: str, figure: Any, result: Mapping[str, Any]
) -> dict[str, Any]:
    """Writes `<name>.png` and `<name>.json`, each under a temporary name first.

    Args:
        folder: made when missing.
        name: of both files, without ending.
        figure: from `new_figure`.
        result: what the JSON file is to hold; NumPy's numbers and arrays are turned into Python's.

    Returns:
        `result` as the JSON file holds it.

    Raises:
        ValueError: if a number is not finite, which JSON has no word for; say None instead.
    """
    text = json.dumps(result, indent=2, allow_nan=False, default=_plain)
    files.replace_file(folder / f"{name}.png", _png(figure))
    files.replace_file(folder / f"{name}.json", (text + "\n").encode())
    return json.loads(text)


def _png(figure: Any) -> bytes:
    """Returns a PNG with a palette: a third of the size, and no difference to the eye."""
    from PIL import Image

    drawn, picture = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", dpi=_DOTS_PER_INCH, facecolor="white")
    # Median cut, the default, would give up the rare colours of markers and thin lines.
    colours = Image.open(drawn).convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE)
    colours.save(picture, format="PNG", optimize=True)
    return picture.getvalue()


def _plain(value: Any) -> Any:
    """Returns NumPy's numbers and arrays, and paths, as what JSON knows."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, pathlib.PurePath):
        return str(value)
    raise TypeError(f"{type(value).__name__} does not go into JSON.")
