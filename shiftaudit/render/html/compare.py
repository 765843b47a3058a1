"""The page's part with two reports: what the change did, measure by measure and image by image."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from shiftaudit.metrics.vocabulary import label_of, unit_of
from shiftaudit.records.gate import Comparison, MetricComparison
from shiftaudit.records.report import AuditReport, ImageResult, Level
from shiftaudit.records.words import Protocol
from shiftaudit.render import findings
from shiftaudit.render.findings import surely
from shiftaudit.render.numbers import about, change_text, number, value_text
from shiftaudit.render.numbers import pair_text as pair
from shiftaudit.render.sentences import class_name

Mood = Literal["better", "poorer", "pale"]
"""What the interval of a difference says; pale where it holds both."""

_TOLD = ("consistency", "accuracy")


@dataclass(frozen=True)
class Difference:
    """A difference with its paired interval, in words."""

    text: str
    mood: Mood


@dataclass(frozen=True)
class Row:
    """One value of both reports, as text."""

    label: str
    before: str
    after: str
    change: Difference


@dataclass(frozen=True)
class Moved:
    """An image that became stable, or no longer is: its answer to the unmoved image, and how many of its views had another."""

    path: str
    label: str | None
    before: str
    after: str
    changed_before: tuple[int, int]
    changed_after: tuple[int, int]


@dataclass(frozen=True)
class ComparePart:
    """Two reports side by side."""

    verdict: tuple[tuple[str, Difference], ...]
    """What the change did to what matters most: (what, how much)."""
    warnings: tuple[str, ...]
    metrics: tuple[Row, ...]
    levels: tuple[Row, ...]
    gained: tuple[Moved, ...]
    """Images whose answer changed under some shift before, and does no longer."""
    lost: tuple[Moved, ...]
    """Images whose answer no shift changed before, and some shift does now."""


def compare_part(before: AuditReport, after: AuditReport, comparison: Comparison) -> ComparePart:
    """What `comparison` says of two reports, the errors by level, and the images gained and lost."""
    told = [
        (_label(one), _difference(one))
        for one in sorted(comparison.metrics, key=lambda one: one.name.endswith("accuracy"))
        if one.name.rpartition(".")[2] in _TOLD and one.difference is not None
    ]
    gained, lost = _moved(before, after)
    return ComparePart(
        verdict=tuple(told),
        warnings=comparison.warnings,
        metrics=tuple(_row(one) for one in comparison.metrics),
        levels=tuple(_levels(before, after)),
        gained=tuple(gained),
        lost=tuple(lost),
    )


def _label(one: MetricComparison) -> str:
    protocol, _, name = one.name.rpartition(".")
    return f"{label_of(name)} ({protocol})" if protocol else label_of(name)


def _row(one: MetricComparison) -> Row:
    of = "" if one.subgroup is None else f", {one.subgroup}: {one.n_images:,}"
    return Row(_label(one) + of, value_text(one.name, one.a), value_text(one.name, one.b), _difference(one))


def _difference(one: MetricComparison) -> Difference:
    if one.difference is None:
        return Difference("–", "pale")
    text = change_text(one.name, one.difference) + (" points" if unit_of(one.name) == "share" else "")
    if one.ci_low is None or one.ci_high is None:
        return Difference(text, "pale")
    text += f" {about(one.method)}[{change_text(one.name, one.ci_low)}, {change_text(one.name, one.ci_high)}]"
    moods: dict[str | None, Mood] = {"better": "better", "worse": "poorer", None: "pale"}
    return Difference(text, moods[surely(one)])


def _levels(before: AuditReport, after: AuditReport) -> Iterator[Row]:
    """Mean output error at each cumulative stride: stages have other names after a patch, strides stay."""
    protocol = findings.stage_protocol(before)
    if protocol is None:
        return
    later = {level.stride: level for level in after.levels}
    for level in before.levels:
        old, new = _error(level, protocol), _error(later.get(level.stride), protocol)
        change = "–" if old is None or new is None else change_text("equivariance_error", new - old)
        label = f"error at stride {pair(level.stride)} ({protocol})"
        yield Row(label, number(old), number(new), Difference(change, "pale"))


def _error(level: Level | None, protocol: Protocol) -> float | None:
    return level.errors[protocol].value if level is not None and protocol in level.errors else None


def _moved(before: AuditReport, after: AuditReport) -> tuple[list[Moved], list[Moved]]:
    """The images gained and those lost, most views first."""
    later = {image.id: image for image in after.per_image}
    both = [_moved_of(before, after, image, later[image.id]) for image in before.per_image if image.id in later]
    gained = [one for one in both if one.changed_before[0] and not one.changed_after[0]]
    lost = [one for one in both if one.changed_after[0] and not one.changed_before[0]]
    return (
        sorted(gained, key=lambda one: (-one.changed_before[0], one.path)),
        sorted(lost, key=lambda one: (-one.changed_after[0], one.path)),
    )


def _moved_of(before: AuditReport, after: AuditReport, was: ImageResult, now: ImageResult) -> Moved:
    return Moved(
        path=was.path,
        label=None if was.label is None else class_name(before, was.label),
        before=class_name(before, was.prediction),
        after=class_name(after, now.prediction),
        changed_before=findings.flips(was),
        changed_after=findings.flips(now),
    )
