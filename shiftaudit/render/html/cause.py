"""The page's part about the cause of changes: sentences, and the change against the distance moved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shiftaudit.records.report import AuditReport
from shiftaudit.render import sentences
from shiftaudit.render.html import svg
from shiftaudit.render.numbers import number


@dataclass(frozen=True)
class Row:
    """One range of distances; the bar's first part is what the border alone changes."""

    distance: str
    views: str
    change: str
    aliasing: str
    border: str
    bar: svg.Bar


@dataclass(frozen=True)
class CausePart:
    """One report's."""

    label: str
    source: str
    texts: tuple[str, ...]
    rows: tuple[Row, ...]
    top: str


def cause_parts(sides: Sequence[tuple[str, AuditReport]]) -> list[CausePart]:
    """One part for each report that says why answers change; all bars have one scale."""
    bins = [one for _, report in sides if report.cause for one in report.cause.by_distance]
    top = max((max(one.observed, one.border) for one in bins), default=0.0)
    return [_part(label, report, top) for label, report in sides if report.cause is not None]


def _part(label: str, report: AuditReport, top: float) -> CausePart:
    rows = []
    for one in report.cause.by_distance if report.cause else ():
        title = f"{one.nearest} to {one.farthest} px: border alone {number(one.border)}, change {number(one.observed)}"
        rows.append(
            Row(
                distance=sentences.distance_text(report.cause, one) if report.cause else "",
                views=f"{one.n_views:,}",
                change=number(one.observed, 3),
                aliasing=number(one.aliasing, 3),
                border=number(one.border, 3),
                bar=svg.gain_bar(one.border, one.observed, top, title, worst=False),
            )
        )
    return CausePart(label, report.model.source, tuple(sentences.cause_texts(report)), tuple(rows), number(top))
