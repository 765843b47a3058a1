"""What is picked out of a report: its metrics in order, the stage that adds most error, the images that change most often."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from shiftaudit.metrics.vocabulary import METRICS
from shiftaudit.records.cause import Damage
from shiftaudit.records.gate import MetricComparison
from shiftaudit.records.report import AuditReport, ImageResult, ProtocolResult, Stage
from shiftaudit.records.words import CIRCULAR, Protocol

NO_DAMAGE = 1e-4
"""A total variation below this is rounding."""
LITTLE = 0.002
"""A total variation below this is not worth a filter."""

_KNOWN = {measure.name: place for place, measure in enumerate(METRICS)}


def metric_names(protocols: Iterable[ProtocolResult]) -> list[str]:
    """The union of all metric names, known ones first in their fixed order, unknown ones behind in theirs."""
    names = dict.fromkeys(name for result in protocols for name in result.metrics)
    return sorted(names, key=lambda name: _KNOWN.get(name, len(_KNOWN)))


def damage(stage: Stage) -> float | None:
    """What sampling elsewhere at a stage does to the probabilities (mean total variation); None where it was not tried."""
    return None if stage.damage is None else stage.damage.variation.value


def stage_errors(stage: Stage, protocol: Protocol | None) -> tuple[float | None, float | None]:
    """The error at a stage's input and at its output; None where it was not measured under the protocol."""
    errors = stage.errors.get(protocol) if protocol else None
    return (errors.input.value, errors.output.value) if errors else (None, None)


def stage_protocol(report: AuditReport) -> Protocol | None:
    """The protocol whose stage errors lead: circular where measured, since 0 means alias-free there."""
    for protocol in (CIRCULAR, *report.protocol.protocols):
        if any(protocol in stage.errors for stage in report.stages):
            return protocol
    return None


def worst_stage(report: AuditReport) -> int | None:
    """Index of the stage that does most damage, the first of those that sample together; None when none does any."""
    found = [(damage(stage) or 0.0, -index) for index, stage in enumerate(report.stages)]
    best = max(found, default=(0.0, 0))
    return -best[1] if best[0] > NO_DAMAGE else None


def together(report: AuditReport) -> list[Damage]:
    """The damage of every sampling grid, each once, in order."""
    return list(dict.fromkeys(stage.damage for stage in report.stages if stage.damage is not None))


def nothing_to_win(report: AuditReport) -> bool:
    """Whether a perfect filter would win nothing: no answer hangs on where stages sample, as far as these images show."""
    cause = report.cause
    if cause is None or cause.left_out:
        return False
    high = cause.variation.aliasing.ci_high
    return (cause.variation.aliasing.value or 0.0) <= NO_DAMAGE or (high is not None and high <= LITTLE)


def no_sign_of_a_win(report: AuditReport) -> bool:
    """Whether the estimate of what aliasing causes is nothing, however wide its interval."""
    cause = report.cause
    return cause is not None and not cause.left_out and (cause.variation.aliasing_share.value or 0.0) <= 0


def flips(image: ImageResult) -> tuple[int, int]:
    """(views whose answer differs from the unshifted one, views) over all protocols."""
    answers = [views.predictions for views in image.views.values()]
    n = sum(map(len, answers))
    return n - sum(row.count(image.prediction) for row in answers), n


def least_stable(report: AuditReport, n: int) -> list[ImageResult]:
    """The `n` images whose answers change most often, worst first; images that never change are left out."""

    def badness(image: ImageResult) -> tuple[float, str]:
        changed, total = flips(image)
        return (-changed / total if total else 0.0, image.path)

    return sorted((image for image in report.per_image if flips(image)[0]), key=badness)[:n]


def surely(metric: MetricComparison) -> Literal["better", "worse"] | None:
    """What B is beyond noise, where the interval of the difference leaves zero out."""
    if metric.ci_low is None or metric.ci_high is None or metric.ci_low <= 0 <= metric.ci_high:
        return None
    return "better" if (metric.ci_low > 0) == metric.higher_is_better else "worse"
