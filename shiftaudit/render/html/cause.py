"""The page's part about the cause of changes: sentences, and the change against the distance moved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shiftaudit.records.report import AuditReport
from shiftaudit.render import distance, sentences
from shiftaudit.render.html.distance import Plot, highest, plot


@dataclass(frozen=True)
class CausePart:
    """One report's."""

    label: str
    source: str
    texts: tuple[str, ...]
    plot: Plot | None
    rows: tuple[distance.Row, ...]


def cause_parts(sides: Sequence[tuple[str, AuditReport]]) -> list[CausePart]:
    """One part for each report that says how answers change with distance, or why; their curves have one scale."""
    top = max(highest(distance.bins_of(report)) for _, report in sides)
    parts = [_part(label, report, top) for label, report in sides]
    return [part for part in parts if part.texts or part.rows]


def _part(label: str, report: AuditReport, top: float) -> CausePart:
    bins = distance.bins_of(report)
    texts = tuple(sentences.cause_texts(report))
    return CausePart(label, report.model.source, texts, plot(bins, top), tuple(distance.rows(bins)))
