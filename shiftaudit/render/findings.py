"""What is picked out of a report: its metrics in order, the stage that adds most error, the images that change most often."""

from __future__ import annotations

from collections.abc import Iterable

from shiftaudit.metrics.vocabulary import METRICS
from shiftaudit.records.report import AuditReport, ImageResult, ProtocolResult, Stage
from shiftaudit.records.words import CIRCULAR, Protocol

_KNOWN = {measure.name: place for place, measure in enumerate(METRICS)}


def metric_names(protocols: Iterable[ProtocolResult]) -> list[str]:
    """The union of all metric names, known ones first in their fixed order, unknown ones behind in theirs."""
    names = dict.fromkeys(name for result in protocols for name in result.metrics)
    return sorted(names, key=lambda name: _KNOWN.get(name, len(_KNOWN)))


def added(stage: Stage, protocol: Protocol) -> float | None:
    """What a stage adds to the equivariance error: output minus input, None where either was not measured."""
    errors = stage.errors.get(protocol)
    if errors is None or errors.output.value is None:
        return None
    return errors.output.value - (errors.input.value or 0.0)


def stage_protocol(report: AuditReport) -> Protocol | None:
    """The protocol whose stage errors lead: circular where measured, since 0 means alias-free there."""
    for protocol in (CIRCULAR, *report.protocol.protocols):
        if any(protocol in stage.errors for stage in report.stages):
            return protocol
    return None


def worst_stage(report: AuditReport, protocol: Protocol | None = None) -> int | None:
    """Index of the stage that adds most error, None when no stage adds any."""
    protocol = protocol or stage_protocol(report)
    if protocol is None:
        return None
    gains = [(added(stage, protocol) or 0.0, -index) for index, stage in enumerate(report.stages)]
    best = max(gains, default=(0.0, 0))
    return -best[1] if best[0] > 0 else None


def flips(image: ImageResult) -> tuple[int, int]:
    """(views whose answer differs from the unshifted one, views) over all protocols."""
    answers = [answer for views in image.views.values() for answer in views.predictions]
    return sum(answer != image.prediction for answer in answers), len(answers)


def least_stable(report: AuditReport, n: int) -> list[ImageResult]:
    """The `n` images whose answers change most often, worst first; images that never change are left out."""

    def badness(image: ImageResult) -> tuple[float, str]:
        changed, total = flips(image)
        return (-changed / total if total else 0.0, image.path)

    return sorted((image for image in report.per_image if flips(image)[0]), key=badness)[:n]


def is_degenerate(report: AuditReport) -> bool:
    """Whether any protocol carries the degenerate flag."""
    return any(result.degenerate for result in report.protocols.values())
