"""Curves as SVG: several runs over steps in one small chart, drawn from plain numbers."""

import dataclasses
import math
from collections.abc import Sequence

from kgzoo.reporting.markup import count, escape, number_text

__all__ = ["COLOURS", "Curve", "chart", "swatch"]

COLOURS = 8  # of the style sheet; then they come again, dashed
_DASHES = ("", "6 3", "2 3", "9 3 2 3")
_WIDTH, _HEIGHT = 360, 210
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 22, 10, 26  # margins of the plot
_LABEL = (14, 10)  # pixels that a run's number takes at its curve's end
_MOST_LABELS = 12
_MOST_POINTS = 160  # of a curve; more are thinned to the least and the largest of each stretch
_LOG_RATIO = 30.0  # a positive range wider than that is drawn on a log scale
_OUTLIERS = 10.0  # times the range of the middle 96 %: beyond that the view is cut
_LARGEST = 1e100


@dataclasses.dataclass(frozen=True)
class Curve:
    """One run's values of one metric.

    Attributes:
        index: of the run, from 0.
        points: (step, value), steps ascending; NaN and infinite values break the line.
    """

    index: int
    points: Sequence[tuple[float, float]]

    @property
    def finite(self) -> list[tuple[float, float]]:
        """The points that can be drawn."""
        return [(s, max(-_LARGEST, min(_LARGEST, v))) for s, v in self.points if math.isfinite(v)]


@dataclasses.dataclass(frozen=True)
class _Axis:
    low: float
    high: float
    start: float  # pixels
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        low, high = self.low, self.high
        if self.log:
            value, low, high = (math.log10(max(v, 1e-100)) for v in (value, low, high))
        share = (value - low) / (high - low)
        return self.start + (self.end - self.start) * max(0.0, min(1.0, share))


def chart(name: str, curves: Sequence[Curve]) -> tuple[str, list[str]]:
    """Draws one metric.

    Args:
        name: of the metric.
        curves: of the runs that have it.

    Returns:
        The SVG element, and notes (text) on what the picture does not say by itself.
    """
    values = sorted(v for curve in curves for _, v in curve.finite)
    steps = [s for curve in curves for s, _ in curve.points]
    notes = [note for curve in curves if (note := _not_finite(curve))]
    if not values:
        return "", notes
    x = _axis(min(steps), max(steps), _LEFT, _WIDTH - _RIGHT, pad=0.0)
    y, outside = _value_axis(values)
    if y.log:
        notes.insert(0, "log scale")
    if outside:
        are = "outlier is" if outside == 1 else "outliers are"
        notes.append(f"{count(outside)} {are} drawn at the edge")
    parts = [_grid(x, y), *(_line(curve, x, y) for curve in curves), _end_labels(curves, x, y)]
    label = f"{name} over steps: " + "; ".join(_in_words(c) for c in curves if c.finite)
    body = "\n".join(part for part in parts if part)
    svg = (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(label)}">\n'
        f"{body}\n</svg>"
    )
    return svg, notes


def swatch(index: int) -> str:
    """Returns a short piece of a run's line, for the legend."""
    return (
        '<svg class="swatch" viewBox="0 0 28 8" aria-hidden="true">'
        f'<path class="s{index % COLOURS}"{_dash(index)} d="M0 4H28"/></svg>'
    )


def _dash(index: int) -> str:
    dash = _DASHES[index // COLOURS % len(_DASHES)]
    return f' stroke-dasharray="{dash}"' if dash else ""


def _in_words(curve: Curve) -> str:
    first, last = curve.finite[0], curve.finite[-1]
    values = f"{number_text(first[1])} to {number_text(last[1])}"
    return f"run {curve.index + 1} from {values} at step {count(last[0])}"


def _not_finite(curve: Curve) -> str:
    """Says where a curve stops being a number."""
    bad = [point for point in curve.points if not math.isfinite(point[1])]
    if not bad:
        return ""
    first, run = count(bad[0][0]), f"run {curve.index + 1}"
    if len(bad) == 1:
        return f"{run}: {number_text(bad[0][1])} at step {first}"
    return f"{run}: {count(len(bad))} values from step {first} on are not finite"


def _axis(low: float, high: float, start: float, end: float, pad: float) -> _Axis:
    if high <= low:
        # One value alone stands in the middle.
        pad_by = abs(low) * 0.1 or 1.0
        return _Axis(low - pad_by, high + pad_by, start, end)
    pad_by = (high - low) * pad
    return _Axis(low - pad_by, high + pad_by, start, end)


def _value_axis(values: Sequence[float]) -> tuple[_Axis, int]:
    """Returns the axis of ascending values, and how many of them lie outside it."""
    bottom, top = _HEIGHT - _BOTTOM, _TOP
    low, high = values[0], values[-1]
    if low > 1e-100 and high / low >= _LOG_RATIO:
        return _Axis(low / 1.2, high * 1.2, bottom, top, log=True), 0
    at = [values[round(q * (len(values) - 1))] for q in (0.02, 0.98)]
    middle = at[1] - at[0]
    if middle > 0 and high - low > _OUTLIERS * middle:
        low, high = max(low, at[0] - middle / 2), min(high, at[1] + middle / 2)
    outside = sum(value < low or value > high for value in values)
    return _axis(low, high, bottom, top, pad=0.05), outside


def _ticks(axis: _Axis, most: int) -> list[float]:
    """Returns round numbers inside the axis."""
    if axis.log:
        first = math.ceil(math.log10(axis.low) - 1e-9)
        last = math.floor(math.log10(axis.high) + 1e-9)
        every = max(1, -(-(last - first + 1) // most))
        decades = [10.0**e for e in range(first, last + 1, every)]
        if len(decades) >= 2:
            return decades
        between = [m * 10.0**e for e in range(first - 1, last + 2) for m in (1, 2, 5)]
        return [value for value in between if axis.low <= value <= axis.high]
    span = axis.high - axis.low
    power = 10.0 ** math.floor(math.log10(span / most))
    step = next(power * m for m in (1, 2, 5, 10) if power * m * most >= span * 0.999)
    first = math.ceil(axis.low / step - 1e-9)
    last = math.floor(axis.high / step + 1e-9)
    return [0.0 if number == 0 else number * step for number in range(first, last + 1)][:20]


def _grid(x: _Axis, y: _Axis) -> str:
    bottom, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
    parts = []
    for value in _ticks(y, 5):
        at = f"{y(value):.1f}"
        parts.append(f'<path class="rule" d="M{_LEFT} {at}H{right}"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{at}" dy=".35em" class="end">{_tick(value)}</text>')
    parts.append(f'<path class="base" d="M{_LEFT} {bottom}H{right}"/>')
    # Steps are whole.
    for value in (value for value in _ticks(x, 4) if value >= 0 and value == round(value)):
        at = f"{x(value):.1f}"
        parts.append(f'<text x="{at}" y="{_HEIGHT - 10}" class="mid">{count(value)}</text>')
    return "\n".join(parts)


def _tick(value: float) -> str:
    return escape(number_text(value, digits=3 if abs(value) < 1e4 else 2))


def _line(curve: Curve, x: _Axis, y: _Axis) -> str:
    """Returns the curve's pieces between values that are not finite, and crosses where they are."""
    pieces: list[list[tuple[float, float]]] = [[]]
    crosses = []
    for step, value in curve.points:
        if math.isfinite(value):
            pieces[-1].append((step, max(-_LARGEST, min(_LARGEST, value))))
        elif pieces[-1] or not crosses:
            crosses.append(f"M{x(step) - 3:.1f} {_TOP}l6 6m0 -6l-6 6")
            pieces.append([])
    most = max(20, _MOST_POINTS // len(pieces))
    style = f's{curve.index % COLOURS}"{_dash(curve.index)}'
    parts = [f'<path class="{style} d="{"".join(crosses)}"/>'] if crosses else []
    paths = []
    for piece in pieces:
        drawn = [f"{x(s):.1f} {y(v):.1f}" for s, v in _thinned(piece, most)]
        if len(drawn) == 1:
            at = drawn[0].split(" ")
            parts.append(
                f'<circle class="k{curve.index % COLOURS}" cx="{at[0]}" cy="{at[1]}" r="3"/>'
            )
        elif drawn:
            paths.append("M" + "L".join(drawn))
    if paths:
        parts.append(f'<path class="{style} d="{"".join(paths)}"/>')
    return "\n".join(parts)


def _thinned(points: Sequence[tuple[float, float]], most: int) -> list[tuple[float, float]]:
    """Keeps the first, the last, and the extremes of each stretch, so that no spike is lost."""
    if len(points) <= most:
        return list(points)
    stretches = most // 2
    kept = {0, len(points) - 1}
    for number in range(stretches):
        start, end = (len(points) * n // stretches for n in (number, number + 1))
        stretch = range(start, end)
        kept.add(min(stretch, key=lambda index: points[index][1]))
        kept.add(max(stretch, key=lambda index: points[index][1]))
    return [points[index] for index in sorted(kept)]


def _end_labels(curves: Sequence[Curve], x: _Axis, y: _Axis) -> str:
    """Writes the runs' numbers at their curves' ends, moved where they would overlap."""
    shown = [curve for curve in curves if curve.finite]
    if len(shown) > _MOST_LABELS or len(shown) < 2:
        return ""
    taken: list[tuple[float, float]] = []
    parts = []
    for curve in shown:
        step, value = curve.finite[-1]
        place = _free(x(step) + 5, y(value), taken)
        if place:
            taken.append(place)
            parts.append(
                f'<text class="t{curve.index % COLOURS}" x="{place[0]:.1f}" y="{place[1]:.1f}" '
                f'dy=".35em">{curve.index + 1}</text>'
            )
    return "\n".join(parts)


def _free(x: float, y: float, taken: Sequence[tuple[float, float]]) -> tuple[float, float] | None:
    """Returns the nearest place above or below that no other label has; None if too far away."""
    width, height = _LABEL
    for shift in (0, 1, -1, 2, -2, 3, -3):
        moved = y + shift * height
        free = all(abs(x - a) >= width or abs(moved - b) >= height - 0.01 for a, b in taken)
        if free and _TOP <= moved <= _HEIGHT - _BOTTOM:
            return x, moved
    return None
