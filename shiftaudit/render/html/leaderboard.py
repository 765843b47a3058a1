"""The page of many models: a table that can be sorted, and consistency against accuracy. Complete without its script."""

from __future__ import annotations

from dataclasses import dataclass

from shiftaudit.metrics import published
from shiftaudit.records.leaderboard import Leaderboard
from shiftaudit.render.html.templating import render_template
from shiftaudit.render.leaderboard import cell_text, heading
from shiftaudit.render.numbers import percent
from shiftaudit.version import __version__

WIDTH, HEIGHT = 560.0, 320.0
_NAMED_UP_TO = 16
_MARGIN = 0.02


@dataclass(frozen=True)
class Point:
    """One model, where it lies in the drawing, and what it is."""

    x: float
    y: float
    name: str
    title: str


@dataclass(frozen=True)
class Scatter:
    """Consistency (up) against accuracy (to the right)."""

    label: str
    points: tuple[Point, ...]
    named: bool
    """Whether there is room for the names."""
    accuracy: tuple[float, float]
    """At the left and at the right end."""
    consistency: tuple[float, float]
    """At the lower and at the upper end."""


def render(board: Leaderboard) -> str:
    """The page as text."""
    names = [name for name in board.columns if name.endswith(".consistency")]
    return render_template(
        "leaderboard.html.j2",
        {
            "board": board,
            "heading": heading,
            "cell_text": cell_text,
            "scatters": [drawn for name in names if (drawn := scatter(board, name)) is not None],
            "size": (WIDTH, HEIGHT),
            "published": published,
            "version": __version__,
        },
    )


def scatter(board: Leaderboard, name: str) -> Scatter | None:
    """The models of which both were measured; None with fewer than two."""
    measured = []
    for entry in board.entries:
        both = entry.metric("accuracy"), entry.metric(name)
        x, y = (None if metric is None else metric.value for metric in both)
        if x is not None and y is not None:
            measured.append((x, y, entry.model))
    if len(measured) < 2:
        return None
    left, right = _ends([x for x, _, _ in measured])
    low, high = _ends([y for _, y, _ in measured])
    points = tuple(
        Point(
            round((x - left) / (right - left) * WIDTH, 1),
            round((high - y) / (high - low) * HEIGHT, 1),
            model,
            f"{model}: accuracy {percent(x)}, {heading(name)} {percent(y)}",
        )
        for x, y, model in measured
    )
    return Scatter(heading(name), points, len(points) <= _NAMED_UP_TO, (left, right), (low, high))


def _ends(values: list[float]) -> tuple[float, float]:
    """A little more than the range of the values, within [0, 1].

    >>> _ends([0.5, 0.9])
    (0.48, 0.92)
    """
    return round(max(0.0, min(values) - _MARGIN), 2), round(min(1.0, max(values) + _MARGIN), 2)
