"""Change against the distance moved: as rows of text and as the lines of a drawing.

`rows` are for terminals and Markdown, `curves` for drawings: the page's SVG (`render/html/distance.py`) and the
figure of a paper (`render/figures.py`) draw the same curves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from shiftaudit.records.distance import DistanceBin
from shiftaudit.records.metric import Metric
from shiftaudit.records.report import AuditReport
from shiftaudit.render.numbers import about, number, percent

CurveKind = Literal["change", "aliasing", "border"]
"""The change as observed, and what either cause alone does."""

LABELS: dict[CurveKind, str] = {"change": "change", "aliasing": "aliasing alone", "border": "border alone"}
UNIT = "mean total variation of the probabilities"


@dataclass(frozen=True)
class Row:
    """One range of distances as text; a dash where it was not split, or too few images were."""

    distance: str
    images: str
    views: str
    change: str
    interval: str
    """Of the change."""
    agreement: str
    aliasing: str
    border: str
    ceiling: str
    """Points of changed answers that a perfect anti-aliasing could win at this distance."""


@dataclass(frozen=True)
class Point:
    """Where a curve is at one range of distances; `low` and `high` are the ends of its interval, or where it is, too."""

    x: float
    """Mean distance of the views, in input pixels."""
    y: float
    low: float
    high: float
    title: str


@dataclass(frozen=True)
class Curve:
    """One curve, from near to far; never empty."""

    kind: CurveKind
    label: str
    points: tuple[Point, ...]


def bins_of(report: AuditReport) -> tuple[DistanceBin, ...]:
    """The ranges of distance of the protocol whose views are taken apart, which is the first."""
    first = next(iter(report.protocols.values()), None)
    return first.by_distance if first is not None else ()


def rows(bins: Sequence[DistanceBin]) -> list[Row]:
    """One row a range, as text."""
    return [_row(one) for one in bins]


def _row(one: DistanceBin) -> Row:
    split = one.split
    return Row(
        distance=distance_text(one),
        images=f"{one.n_images:,}",
        views=f"{one.n_views:,}",
        change=number(one.variation.value, 3),
        interval=_interval(one.variation),
        agreement=percent(one.agreement.value),
        aliasing=number(split.variation.aliasing.value, 3) if split else "–",
        border=number(split.variation.border.value, 3) if split else "–",
        ceiling=percent(split.answers.ceiling.value) if split else "–",
    )


def _interval(metric: Metric) -> str:
    if metric.ci_low is None or metric.ci_high is None:
        return ""
    return f"{about(metric.method)}[{number(metric.ci_low, 3)}, {number(metric.ci_high, 3)}]"


def range_text(one: DistanceBin) -> str:
    """A range of distances."""
    return f"{one.nearest} px" if one.nearest == one.farthest else f"{one.nearest} to {one.farthest} px"


def distance_text(one: DistanceBin) -> str:
    """A range of distances, marked where it holds multiples of the total stride."""
    marks = ", ".join(map(str, one.lattice[:4])) + (", …" if len(one.lattice) > 4 else "")
    return range_text(one) + (f" (lattice: {marks})" if marks else "")


def curves(bins: Sequence[DistanceBin]) -> list[Curve]:
    """The change and, where views were taken apart, what either cause alone does; curves without points are left out."""
    of: dict[CurveKind, Callable[[DistanceBin], Metric | None]] = {
        "change": lambda one: one.variation,
        "aliasing": lambda one: one.split.variation.aliasing if one.split else None,
        "border": lambda one: one.split.variation.border if one.split else None,
    }
    found = [Curve(kind, LABELS[kind], tuple(_points(bins, kind, metric))) for kind, metric in of.items()]
    return [curve for curve in found if curve.points]


def _points(
    bins: Sequence[DistanceBin], kind: CurveKind, metric_of: Callable[[DistanceBin], Metric | None]
) -> list[Point]:
    points = []
    for one in bins:
        metric = metric_of(one)
        if metric is not None and metric.value is not None:
            low, high = (metric.value if end is None else max(0.0, end) for end in (metric.ci_low, metric.ci_high))
            title = f"{range_text(one)}: {LABELS[kind]} {number(metric.value, 3)} {_interval(metric)}"
            points.append(Point(one.mean, metric.value, low, high, title.rstrip()))
    return points


def lattice(bins: Sequence[DistanceBin]) -> tuple[int, ...]:
    """The multiples of the total stride among the distances: shifts by them on both axes cannot alias."""
    return tuple(d for one in bins for d in one.lattice)
