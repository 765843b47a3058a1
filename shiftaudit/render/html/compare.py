"""The page's part with two reports: before and after, for each metric and for each level of the network."""

from __future__ import annotations

from dataclasses import dataclass

from shiftaudit.metrics.vocabulary import label_of, unit_of
from shiftaudit.records.report import AuditReport, Level, Metric
from shiftaudit.records.words import Protocol
from shiftaudit.render import findings
from shiftaudit.render.numbers import change_text, pair_text, value_text


@dataclass(frozen=True)
class Row:
    """One value of both reports, as text."""

    label: str
    before: str
    after: str
    change: str
    mood: str
    """`better`, `poorer`, or empty where nothing changed or nothing can be said."""


@dataclass(frozen=True)
class ComparePart:
    """Two reports side by side. Whether a difference is more than chance is for `shiftaudit compare` to say."""

    mismatch: str
    """What was made differently, so that the numbers cannot be compared one to one; empty where nothing was."""
    metrics: tuple[Row, ...]
    levels: tuple[Row, ...]


def compare_part(before: AuditReport, after: AuditReport) -> ComparePart:
    """All metrics of `before` that `after` may have too, and the errors by level."""
    rows = []
    for protocol, result in before.protocols.items():
        later = after.protocols.get(protocol)
        for name in findings.metric_names([result]):
            now = later.metrics.get(name) if later else None
            rows.append(_row(f"{label_of(name)} ({protocol})", name, result.metrics[name], now))
    return ComparePart(_mismatch(before, after), tuple(rows), tuple(_levels(before, after)))


def _mismatch(before: AuditReport, after: AuditReport) -> str:
    reasons = []
    if before.protocol.protocol_hash != after.protocol.protocol_hash:
        reasons.append("different shifts or settings")
    if before.data.manifest_sha256 != after.data.manifest_sha256:
        reasons.append("different images")
    return " and ".join(reasons)


def _levels(before: AuditReport, after: AuditReport) -> list[Row]:
    """Mean output error at each cumulative stride: stages have other names after a patch, strides stay."""
    protocol = findings.stage_protocol(before)
    if protocol is None:
        return []
    later = {level.stride: level for level in after.levels}
    return [
        _row(
            f"error at stride {pair_text(level.stride)} ({protocol})",
            "equivariance_error",
            _error(level, protocol),
            _error(later.get(level.stride), protocol),
        )
        for level in before.levels
    ]


def _error(level: Level | None, protocol: Protocol) -> Metric | None:
    return level.errors.get(protocol) if level is not None else None


def _row(label: str, name: str, before: Metric | None, after: Metric | None) -> Row:
    old, new = (value_text(name, metric.value) if metric else "–" for metric in (before, after))
    if before is None or after is None or before.value is None or after.value is None:
        return Row(label, old, new, "–", "")
    difference = after.value - before.value
    better = (difference > 0) == before.higher_is_better
    mood = "" if difference == 0 else "better" if better else "poorer"
    points = " pp" if unit_of(name) == "share" else ""
    return Row(label, old, new, change_text(name, difference) + points, mood)
