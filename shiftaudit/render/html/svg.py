"""Where the parts of a drawing lie, in units of its view box; templates/svg.html.j2 draws them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from shiftaudit.render.colours import heat, hexadecimal
from shiftaudit.render.grids import Grid
from shiftaudit.render.numbers import number, percent, signed

_LEVELS = 40
_SIDE = 240.0
_DOTS_WIDTH, _DOTS_HEIGHT = 250.0, 96.0


@dataclass(frozen=True)
class Words:
    """A piece of text: `anchor` is the part of it that lies at (x, y), as SVG names it."""

    text: str
    x: float
    y: float
    anchor: str = "middle"
    dim: bool = False


@dataclass(frozen=True)
class HeatMap:
    """A grid of coloured cells with its axes and scale."""

    title: str
    width: float
    height: float
    cell: float
    paths: tuple[tuple[str, str], ...]
    """(colour, path): cells of one colour share a path, in units of cells, which keeps large maps small."""
    origin: tuple[float, float, float] | None
    """(x, y, radius) of the ring where the image is not moved; None where the map has no such cell."""
    words: tuple[Words, ...]
    end: str
    """The value of the brightest colour."""


@dataclass(frozen=True)
class Bar:
    """A bar of 100 units: up to `start` one kind, and on for `length` another."""

    title: str
    start: float
    length: float
    kind: str


@dataclass(frozen=True)
class Dot:
    """One view: where it lies, whether the answer changed, and what it is."""

    x: float
    y: float
    flipped: bool
    title: str


@dataclass(frozen=True)
class Dots:
    """Probability against distance."""

    title: str
    width: float
    height: float
    dots: tuple[Dot, ...]
    unshifted: float
    """Height of the line of the unmoved image."""
    levels: tuple[float, ...]
    """Heights of the lines of the grid."""
    words: tuple[Words, ...]


def heat_map(grid: Grid, title: str, *, shares: bool = False, top: float | None = None) -> HeatMap:
    """Lay a grid out; the brightest colour is that of `top`, by default the grid's largest value."""
    top = grid.top if top is None else top
    cell = _SIDE / max(len(grid.ys), len(grid.xs))
    paths: dict[int, list[str]] = defaultdict(list)
    for i, row in enumerate(grid.rows):
        for j, value in enumerate(row):
            if value is not None:
                paths[round(value / top * _LEVELS) if top > 0 else 0].append(f"M{j} {i}h1v1h-1z")
    origin = None
    if 0 in grid.ys and 0 in grid.xs:
        x, y = (grid.xs.index(0) + 0.5) * cell, (grid.ys.index(0) + 0.5) * cell
        origin = (x, y, max(2.5, min(6.0, cell * 0.3)))
    return HeatMap(
        title=title,
        width=cell * len(grid.xs),
        height=cell * len(grid.ys),
        cell=cell,
        paths=tuple((hexadecimal(heat(level / _LEVELS)), "".join(d)) for level, d in sorted(paths.items())),
        origin=origin,
        words=tuple(_axes(grid, cell)),
        end=percent(top) if shares else number(top),
    )


def _axes(grid: Grid, cell: float) -> list[Words]:
    width, height = cell * len(grid.xs), cell * len(grid.ys)
    below, left = height + 15, -6.0
    words = [
        Words(signed(value), (index + 0.5) * cell, below)
        for index, value in enumerate(grid.xs)
        if value in (grid.xs[0], 0, grid.xs[-1])
    ]
    words += [
        Words(signed(value), left, (index + 0.5) * cell + 4, "end")
        for index, value in enumerate(grid.ys)
        if value in (grid.ys[0], 0, grid.ys[-1])
    ]
    words.append(Words("dx", width * 0.26, below, dim=True))
    words.append(Words("dy", left, height * 0.26 + 4, "end", dim=True))
    return words


def gain_bar(before: float | None, after: float | None, top: float, title: str, *, worst: bool) -> Bar:
    """From 0 to what comes in, and on to what goes out: the second part is what a stage adds, or takes away."""
    low, high = before or 0.0, after or 0.0
    scale = 100 / top if top > 0 else 0.0
    kind = "worst" if worst else "gain" if high >= low else "loss"
    return Bar(title, min(low, high) * scale, max(abs(high - low) * scale, 0.4), kind)


def dots(views: Sequence[tuple[float, float, bool, str]], unshifted: float, title: str) -> Dots:
    """Views as (distance in px, probability, whether the answer changed, title); those that changed lie on top."""
    reach = max(distance for distance, _, _, _ in views)

    def y(probability: float) -> float:
        return (1 - probability) * _DOTS_HEIGHT

    marks = [
        Dot(distance / reach * _DOTS_WIDTH if reach else 0.0, y(probability), flipped, label)
        for distance, probability, flipped, label in sorted(views, key=lambda view: view[2])
    ]
    below = _DOTS_HEIGHT + 15
    words = [Words(text, -6, y(level) + 4, "end") for level, text in ((0.0, "0"), (0.5, ".5"), (1.0, "1"))]
    words += [
        Words("0", 0, below),
        Words(f"{reach:.3g} px", _DOTS_WIDTH, below, "end"),
        Words("probability", 0, -7, "start", dim=True),
        Words("distance moved", _DOTS_WIDTH / 2, below, dim=True),
    ]
    levels = (y(0.0), y(0.5), y(1.0))
    return Dots(title, _DOTS_WIDTH, _DOTS_HEIGHT, tuple(marks), y(unshifted), levels, tuple(words))
