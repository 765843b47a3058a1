"""Where the parts of a drawing lie, in units of its view box; templates/svg.html.j2 draws them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from shiftaudit.records.metric import Metric
from shiftaudit.render.colours import heat, hexadecimal
from shiftaudit.render.grids import Grid
from shiftaudit.render.numbers import counted, number, percent, shift_text, signed

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
class Cell:
    """One cell of a map: its outline, in units of cells, and what it says when the mouse rests on it."""

    path: str
    title: str


@dataclass(frozen=True)
class Box:
    """An outline on a map, around what the words name."""

    x: float
    y: float
    width: float
    height: float
    title: str


@dataclass(frozen=True)
class Named:
    """A square of shifts, (dy, dx) ± half_width pixels, and what is said of it."""

    dy: int
    dx: int
    half_width: int
    title: str


@dataclass(frozen=True)
class HeatMap:
    """A grid of coloured cells with its axes and scale."""

    title: str
    width: float
    height: float
    cell: float
    shades: tuple[tuple[str, tuple[Cell, ...]], ...]
    """(colour, the cells that have it)."""
    few: tuple[Cell, ...]
    """Cells of too few views for a colour."""
    hatching: str
    """The lines through those, as one path."""
    origin: tuple[float, float, float] | None
    """(x, y, radius) of the ring where the image is not moved; None where the map has no such cell."""
    box: Box | None
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
class Gauge:
    """A value as a bar of 100 units, with its interval as a lighter band; without one `low` and `high` are the value."""

    title: str
    value: float
    low: float
    high: float


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


def heat_map(
    grid: Grid,
    title: str,
    *,
    top: float,
    shares: bool = False,
    least: int = 0,
    named: Named | None = None,
) -> HeatMap:
    """Lay a grid out.

    Args:
        grid: what is drawn.
        title: of the whole.
        top: the value of the brightest colour.
        shares: the values are shares, told in per cent.
        least: cells of fewer views get no colour.
        named: a place that the words beside the map name.
    """
    cell = _SIDE / max(len(grid.ys), len(grid.xs))
    shades: dict[int, list[Cell]] = defaultdict(list)
    few: list[Cell] = []
    hatching = []
    for i, (row, counts) in enumerate(zip(grid.rows, grid.counts, strict=True)):
        for j, (value, count) in enumerate(zip(row, counts, strict=True)):
            if value is None:
                continue
            one = Cell(f"M{j} {i}h1v1h-1z", _cell_title(grid, i, j, value, count, shares=shares))
            if count < least:
                few.append(one)
                hatching.append(f"M{j} {i + 0.5}l.5-.5M{j} {i + 1}l1-1M{j + 0.5} {i + 1}l.5-.5")
            else:
                shades[round(min(1.0, value / top) * _LEVELS) if top > 0 else 0].append(one)
    return HeatMap(
        title=title,
        width=cell * len(grid.xs),
        height=cell * len(grid.ys),
        cell=cell,
        shades=tuple((hexadecimal(heat(level / _LEVELS)), tuple(cells)) for level, cells in sorted(shades.items())),
        few=tuple(few),
        hatching="".join(hatching),
        origin=_origin(grid, cell),
        box=None if named is None else _box(grid, cell, named),
        words=tuple(_axes(grid, cell)),
        end=percent(top) if shares else number(top),
    )


def _cell_title(grid: Grid, i: int, j: int, value: float, count: float, *, shares: bool) -> str:
    around = "around " if grid.pooled else ""
    return f"{around}{shift_text((grid.ys[i], grid.xs[j]))}: {percent(value) if shares else number(value)}, n {count:g}"


def _origin(grid: Grid, cell: float) -> tuple[float, float, float] | None:
    if 0 not in grid.ys or 0 not in grid.xs:
        return None
    x, y = (grid.xs.index(0) + 0.5) * cell, (grid.ys.index(0) + 0.5) * cell
    return x, y, max(2.5, min(6.0, cell * 0.3))


def _box(grid: Grid, cell: float, named: Named) -> Box:
    """The square's outline, cut to the map."""

    def ends(middle: int, first: int, count: int) -> tuple[float, float]:
        place = (middle - first) / grid.cell + 0.5
        half = (named.half_width + 0.5) / grid.cell
        return max(0.0, place - half) * cell, min(float(count), place + half) * cell

    left, right = ends(named.dx, grid.xs[0], len(grid.xs))
    above, below = ends(named.dy, grid.ys[0], len(grid.ys))
    return Box(left, above, right - left, below - above, named.title)


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


def gauge(metric: Metric, top: float, title: str) -> Gauge | None:
    """A metric on a scale from 0 to `top`; None where it has no value. The title ends with how many are behind it."""
    if metric.value is None:
        return None
    low, high = (metric.value if end is None else end for end in (metric.ci_low, metric.ci_high))
    scale = 100 / top if top > 0 else 0.0
    title = f"{title}, n {metric.n_pairs:,} on {counted(metric.n_images, 'image')}"
    return Gauge(title, metric.value * scale, max(0.0, low) * scale, min(top, high) * scale)


def dots(views: Sequence[tuple[float, float, bool, str]], unshifted: float, title: str, name: str) -> Dots:
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
        Words(f"probability, {name}", 0, -7, "start", dim=True),
        Words("distance moved", _DOTS_WIDTH / 2, below, dim=True),
    ]
    levels = (y(0.0), y(0.5), y(1.0))
    return Dots(title, _DOTS_WIDTH, _DOTS_HEIGHT, tuple(marks), y(unshifted), levels, tuple(words))
