"""Small drawings as inline SVG: heatmaps, bars from input to output, dots of probability against shift."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from shiftaudit.render import numbers
from shiftaudit.render.colours import heat, hexadecimal
from shiftaudit.render.grids import Grid
from shiftaudit.render.html.markup import Html, join, tag

_LEVELS = 40
_SIDE = 240.0


def heat_map(grid: Grid, title: str, *, percent: bool = False, top: float | None = None) -> Html:
    """A grid as one SVG with axes and scale; cells of one colour share a path, which keeps large maps small."""
    top = grid.top if top is None else top
    rows, columns = len(grid.ys), len(grid.xs)
    cell = _SIDE / max(rows, columns)
    width, height = cell * columns, cell * rows
    paths: dict[int, list[str]] = defaultdict(list)
    for i, row in enumerate(grid.rows):
        for j, value in enumerate(row):
            if value is not None:
                paths[round(value / top * _LEVELS) if top > 0 else 0].append(f"M{j} {i}h1v1h-1z")
    cells = [tag("path", d="".join(d), fill=hexadecimal(heat(level / _LEVELS))) for level, d in sorted(paths.items())]
    frame = tag("rect", x=0, y=0, width=width, height=height, class_="blank")
    drawn = tag("g", cells, transform=f"scale({cell:.5g})", shape_rendering="crispEdges")
    end = numbers.percent(top) if percent else numbers.number(top)
    return tag(
        "svg",
        tag("title", title),
        tag(
            "g",
            frame,
            drawn,
            _cross(grid, cell),
            _axes(grid, cell),
            _scale(height + 40, width, end),
            transform="translate(38,6)",
        ),
        viewBox=f"0 0 {width + 52:.5g} {height + 52:.5g}",
        role="img",
        aria_label=title,
        class_="map",
    )


def _cross(grid: Grid, cell: float) -> Html:
    """A ring where the picture is not moved: light on dark, so that it is seen on every cell."""
    if 0 not in grid.ys or 0 not in grid.xs:
        return Html()
    x, y = (grid.xs.index(0) + 0.5) * cell, (grid.ys.index(0) + 0.5) * cell
    radius = max(2.5, min(6.0, cell * 0.3))
    return join([tag("circle", cx=x, cy=y, r=radius, class_=kind) for kind in ("origin under", "origin")])


def _axes(grid: Grid, cell: float) -> Html:
    texts = []
    for index, value in enumerate(grid.xs):
        if value in (grid.xs[0], 0, grid.xs[-1]):
            x, y = (index + 0.5) * cell, len(grid.ys) * cell + 15
            texts.append(tag("text", numbers.signed(value), x=x, y=y, text_anchor="middle"))
    for index, value in enumerate(grid.ys):
        if value in (grid.ys[0], 0, grid.ys[-1]):
            texts.append(tag("text", numbers.signed(value), x=-6, y=(index + 0.5) * cell + 4, text_anchor="end"))
    quarter_x, quarter_y = len(grid.xs) * cell * 0.26, len(grid.ys) * cell * 0.26
    texts.append(tag("text", "dx", x=quarter_x, y=len(grid.ys) * cell + 15, text_anchor="middle", class_="dim"))
    texts.append(tag("text", "dy", x=-6, y=quarter_y + 4, text_anchor="end", class_="dim"))
    return join(texts)


def _scale(y: float, width: float, end: str) -> Html:
    steps = 24
    bar = [
        tag(
            "rect",
            x=20 + k * (width - 80) / steps,
            y=y - 9,
            width=(width - 80) / steps + 0.5,
            height=9,
            fill=hexadecimal(heat(k / (steps - 1))),
        )
        for k in range(steps)
    ]
    return join(tag("text", "0", x=10, y=y, text_anchor="middle"), bar, tag("text", end, x=width - 54, y=y))


def gain_bar(before: float | None, after: float | None, top: float, label: str, *, worst: bool) -> Html:
    """A bar from 0 to a stage's input error, and on to its output error: what the stage adds is the coloured part."""
    low, high = before or 0.0, after or 0.0
    scale = 100 / top if top > 0 else 0.0
    start, length = min(low, high) * scale, abs(high - low) * scale
    kind = "worst" if worst else "gain" if high >= low else "loss"
    return tag(
        "svg",
        tag("rect", x=0, y=1, width=100, height=10, class_="track"),
        tag("rect", x=0, y=1, width=start, height=10, class_="carried"),
        tag("rect", x=start, y=1, width=max(length, 0.4), height=10, class_=kind),
        viewBox="0 0 100 12",
        preserveAspectRatio="none",
        role="img",
        aria_label=label,
        class_="bar",
    )


def gauge(value: float, low: float | None, high: float | None, label: str) -> Html:
    """A share from 0 to 100 % as a bar, with its interval as a lighter band."""
    band = None
    if low is not None and high is not None:
        band = tag("rect", x=low * 100, y=0, width=max(0.4, (high - low) * 100), height=12, class_="band")
    return tag(
        "svg",
        tag("rect", x=0, y=3, width=100, height=6, class_="track"),
        tag("rect", x=0, y=3, width=value * 100, height=6, class_="kept"),
        band,
        viewBox="0 0 100 12",
        preserveAspectRatio="none",
        role="img",
        aria_label=label,
        class_="bar",
    )


@dataclass(frozen=True)
class Dot:
    """One view: how far it was moved, the probability of the unshifted answer, and whether the answer changed."""

    distance: float
    probability: float
    flipped: bool


def dots(series: Sequence[Dot], unshifted: float, reach: float, label: str) -> Html:
    """Probability against shift: a ring where the answer stayed, a filled diamond where it changed."""
    width, height = 250.0, 96.0

    def x(distance: float) -> float:
        return distance / reach * width if reach else 0.0

    def y(probability: float) -> float:
        return (1 - probability) * height

    marks = []
    for dot in sorted(series, key=lambda one: one.flipped):
        cx, cy = x(dot.distance), y(dot.probability)
        if dot.flipped:
            marks.append(tag("path", d=f"M{cx:.4g} {cy - 4.5:.4g}l4.5 4.5l-4.5 4.5l-4.5 -4.5z", class_="flip"))
        else:
            marks.append(tag("circle", cx=cx, cy=cy, r=3, class_="stay"))
    grid = [tag("line", x1=0, x2=width, y1=y(level), y2=y(level), class_="grid") for level in (0.0, 0.5, 1.0)]
    texts = [
        tag("text", text, x=-6, y=y(level) + 4, text_anchor="end")
        for level, text in ((0.0, "0"), (0.5, ".5"), (1.0, "1"))
    ]
    texts += [
        tag("text", "0", x=0, y=height + 15, text_anchor="middle"),
        tag("text", f"{reach:.3g} px", x=width, y=height + 15, text_anchor="end"),
        tag("text", "probability", x=0, y=-7, class_="dim"),
        tag("text", "distance moved", x=width / 2, y=height + 15, text_anchor="middle", class_="dim"),
    ]
    line = tag("line", x1=0, x2=width, y1=y(unshifted), y2=y(unshifted), class_="unshifted")
    body = tag("g", grid, line, marks, texts, transform="translate(24,20)")
    return tag(
        "svg",
        tag("title", label),
        body,
        viewBox=f"0 0 {width + 34} {height + 40}",
        role="img",
        aria_label=label,
        class_="dots",
    )
