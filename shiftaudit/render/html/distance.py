"""Change against the distance moved as an SVG drawing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from shiftaudit.records.distance import DistanceBin
from shiftaudit.render import distance
from shiftaudit.render.html.svg import Words
from shiftaudit.render.numbers import number

_WIDTH, _HEIGHT = 420.0, 150.0
_MOST_MARKS = 8
_TITLE = "Change against the distance moved"


@dataclass(frozen=True)
class Mark:
    """A point of a curve; the bar of its interval is from `low` to `high`, one height where it has none."""

    x: float
    y: float
    low: float
    high: float
    title: str


@dataclass(frozen=True)
class DrawnCurve:
    """One curve, in units of the view box."""

    kind: str
    path: str
    marks: tuple[Mark, ...]
    label: Words | None
    """None where there is nothing to tell it from."""


@dataclass(frozen=True)
class Plot:
    """Distance to the right, doubling with every step; change upwards, from 0."""

    title: str
    width: float
    height: float
    curves: tuple[DrawnCurve, ...]
    lattice: tuple[float, ...]
    """Where the multiples of the total stride are."""
    words: tuple[Words, ...]


def highest(bins: Sequence[DistanceBin]) -> float:
    """The highest value or end of an interval, where a drawing ends above; 0 where there is nothing to draw."""
    points = (point for curve in distance.curves(bins) for point in curve.points)
    return max((point.high for point in points), default=0.0)


def plot(bins: Sequence[DistanceBin], top: float) -> Plot | None:
    """Where everything lies; None where there is nothing to draw. The macro `svg.curves` draws it.

    `top` is the value at the upper end; drawings to be compared have the same.
    """
    curves = distance.curves(bins)
    if not curves:
        return None
    top = top or 1.0
    near, far = math.log2(bins[0].nearest), math.log2(bins[-1].farthest)

    def x(pixels: float) -> float:
        return (math.log2(pixels) - near) / (far - near or 1.0) * _WIDTH

    def y(value: float) -> float:
        return (1 - value / top) * _HEIGHT

    lattice = distance.lattice(bins)[:_MOST_MARKS]
    drawn = []
    for row, curve in enumerate(curves):
        marks = tuple(Mark(x(p.x), y(p.y), y(p.low), y(p.high), p.title) for p in curve.points)
        path = "M" + "L".join(f"{mark.x:.4g} {mark.y:.4g}" for mark in marks)
        label = Words(curve.label, _WIDTH + 22, 16.0 * row + 8, "start") if lattice or len(curves) > 1 else None
        drawn.append(DrawnCurve(curve.kind, path, marks, label))
    words = [Words("0", -6, y(0.0) + 4, "end"), Words(number(top, 3), -6, y(top) + 4, "end")]
    words += [Words(str(d), x(d), _HEIGHT + 15) for d in _ticks(bins)]
    words.append(Words("px moved", _WIDTH + 12, _HEIGHT + 15, "start", dim=True))
    words.append(Words("change (total variation)", 0, -10, "start", dim=True))
    if lattice:
        words.append(Words("total stride", _WIDTH + 22, 16.0 * len(curves) + 8, "start"))
    return Plot(_TITLE, _WIDTH, _HEIGHT, tuple(drawn), tuple(map(x, lattice)), tuple(words))


def _ticks(bins: Sequence[DistanceBin]) -> list[int]:
    """The powers of two among the distances, and the farthest."""
    near, far = bins[0].nearest, bins[-1].farthest
    found = [2**k for k in range(far.bit_length()) if near <= 2**k <= far]
    # The farthest gets a tick of its own where the last power of two leaves room for it.
    return found if found and far < 1.3 * found[-1] else [*found, far]
