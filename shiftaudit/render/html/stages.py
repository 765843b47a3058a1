"""The page's part about stages: the error that comes in and goes out, and the damage, from input to output."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shiftaudit.records.cause import Damage
from shiftaudit.records.report import AuditReport, SkippedStage, Stage
from shiftaudit.records.words import Protocol
from shiftaudit.render import findings
from shiftaudit.render.html import svg
from shiftaudit.render.html.maps import PhaseMap, phase_maps
from shiftaudit.render.numbers import metric_text, number, pair_text, percent, points_interval, sizes_text
from shiftaudit.render.sentences import damage_interval, stage_notes

_MAPS = 8


@dataclass(frozen=True)
class Row:
    """One stage, as text but for its bar."""

    name: str
    op: str
    stride: str
    size: str
    bar: svg.Bar
    before: str
    after: str
    damage: str
    damage_interval: str
    damage_bar: svg.Gauge | None
    worst: bool


@dataclass(frozen=True)
class Chart:
    """All stages of one report."""

    label: str
    source: str
    rows: tuple[Row, ...]
    skipped: tuple[SkippedStage, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class StagesPart:
    """What the page shows of stages; all charts have one scale, so that their bars can be compared.

    Of each stage there is one map a report; those of one stage have one scale.
    """

    protocol: Protocol | None
    top: str
    charts: tuple[Chart, ...]
    maps: tuple[tuple[PhaseMap, ...], ...]


def stages_part(sides: Sequence[tuple[str, AuditReport]]) -> StagesPart | None:
    """Where in the network the damage is done; None where stages were not asked for."""
    measured = [(label, report) for label, report in sides if report.stages or report.skipped_stages]
    if not measured:
        return None
    protocol = findings.stage_protocol(measured[0][1])
    ends = [end for _, report in measured for stage in report.stages for end in findings.stage_errors(stage, protocol)]
    top = max((end for end in ends if end is not None), default=0.0)
    damages = [stage.damage.variation for _, report in measured for stage in report.stages if stage.damage]
    scale = _Scale(protocol, top, max((one.ci_high or one.value or 0.0 for one in damages), default=0.0))
    charts = []
    for label, report in measured:
        worst = findings.worst_stage(report)
        rows = [_row(stage, scale, index == worst) for index, stage in enumerate(report.stages)]
        charts.append(Chart(label, report.model.source, tuple(rows), report.skipped_stages, tuple(stage_notes(report))))
    return StagesPart(protocol, number(top), tuple(charts), tuple(phase_maps(measured, _MAPS)))


@dataclass(frozen=True)
class _Scale:
    """Whose errors are shown, and the ends of the scales of errors and of damage."""

    protocol: Protocol | None
    error: float
    damage: float


def _row(stage: Stage, scale: _Scale, worst: bool) -> Row:
    before, after = findings.stage_errors(stage, scale.protocol)
    n = stage.errors[scale.protocol].output.n_pairs if scale.protocol in stage.errors else 0
    title = f"{stage.name}: error in {number(before)}, out {number(after)}, n {n:,}"
    return Row(
        name=stage.name,
        op=stage.op,
        stride=pair_text(stage.stride),
        size=sizes_text(stage.input_size, stage.output_size),
        bar=svg.gain_bar(before, after, scale.error, title, worst=worst),
        before=number(before, 4),
        after=number(after, 4),
        damage=number(findings.damage(stage)),
        damage_interval=damage_interval(stage),
        damage_bar=None if stage.damage is None else _gauge(stage.name, stage.damage, scale.damage),
        worst=worst,
    )


def _gauge(name: str, damage: Damage, top: float) -> svg.Gauge | None:
    changed = f"{percent(damage.changed.value)} {points_interval(damage.changed)}".rstrip()
    return svg.gauge(
        damage.variation, top, f"{name}: damage {metric_text('damage', damage.variation)}, {changed} of answers change"
    )
