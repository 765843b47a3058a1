"""The maps of the page: answers that change over the shift, and a stage's error over phase."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shiftaudit.metrics.stage_pairs import pair_stages
from shiftaudit.records.report import AuditReport, ProtocolResult, Stage
from shiftaudit.records.words import Protocol
from shiftaudit.render import sentences
from shiftaudit.render.grids import LEAST, Grid, flip_grid, phase_grid
from shiftaudit.render.html import svg
from shiftaudit.render.numbers import pair_text

_CELLS = 33


@dataclass(frozen=True)
class ShiftMap:
    """One protocol of one report; without a drawing where no answer changes."""

    title: str
    drawing: svg.HeatMap | None
    has_gaps: bool
    """Whether a cell other than that of the unmoved image is empty."""


@dataclass(frozen=True)
class PhaseMap:
    """One stage of one report."""

    label: str
    stage: str
    words: str
    drawing: svg.HeatMap


def shift_maps(sides: Sequence[tuple[str, AuditReport]]) -> list[ShiftMap]:
    """Which shifts change the answer, protocol by protocol; all reports share a scale, so that colours can be compared."""
    maps = []
    for protocol in dict.fromkeys(name for _, report in sides for name in report.protocols):
        results = [(label, report.protocols[protocol]) for label, report in sides if protocol in report.protocols]
        found = [(label, result, grid) for label, result in results if (grid := flip_grid(result, _CELLS)) is not None]
        top = max((grid.highest(LEAST) for _, _, grid in found), default=0.0)
        maps += [_shift_map(label, protocol, result, grid, top) for label, result, grid in found]
    return maps


def _shift_map(label: str, protocol: Protocol, result: ProtocolResult, grid: Grid, top: float) -> ShiftMap:
    pooled = f", in squares of {grid.cell} px" if grid.pooled else ""
    title = f"{f'{label}: share' if label else 'Share'} of answers that change, by shift ({protocol}{pooled})"
    empty = {
        (y, x)
        for y, row in zip(grid.ys, grid.rows, strict=True)
        for x, value in zip(grid.xs, row, strict=True)
        if value is None
    }
    worst, words = result.worst_shift, sentences.worst_shift_text(result)
    named = None if worst is None or words is None else svg.Named(worst.dy, worst.dx, worst.half_width, words)
    drawing = None
    if grid.top > 0 or top > 0:
        drawing = svg.heat_map(grid, title, shares=True, top=top, least=LEAST, named=named)
    return ShiftMap(title, drawing, bool(grid.top > 0 and empty - {(0, 0)}))


def phase_maps(sides: Sequence[tuple[str, AuditReport]], most: int) -> list[tuple[PhaseMap, ...]]:
    """Error over phase of the stages that err most, in the order of the network: of each stage one map a report.

    The maps of one stage have one scale. At most `most` maps.
    """
    (first, before), *rest = sides
    rows: list[list[tuple[str, Stage | None]]] = [[(first, stage)] for stage in before.stages]
    for second, after in rest:
        rows = [[(first, one), (second, two)] for _, one, two in pair_stages(before.stages, after.stages)]
    groups = [(index, group) for index, row in enumerate(rows) if (group := _grids(row))]
    tops = {index: max(grid.highest(LEAST) for *_, grid in group) for index, group in groups}
    worst = sorted((entry for entry in groups if tops[entry[0]] > 0), key=lambda entry: -tops[entry[0]])
    chosen = sorted(worst[: most // len(sides)], key=lambda entry: entry[0])
    return [tuple(_phase_map(*one, tops[index]) for one in group) for index, group in chosen]


def _grids(row: Sequence[tuple[str, Stage | None]]) -> list[tuple[str, Stage, Protocol, Grid]]:
    return [
        (label, stage, protocol, grid)
        for label, stage in row
        if stage is not None
        for protocol, errors in stage.errors.items()
        if (grid := phase_grid(errors.by_phase, stage.stride, _CELLS)) is not None
    ]


def _phase_map(label: str, stage: Stage, protocol: Protocol, grid: Grid, top: float) -> PhaseMap:
    stride = pair_text(stage.stride)
    title = f"{stage.name}: error by shift within the stride of {stride} px ({protocol})"
    words = f", stride {stride}" + (f", in squares of {grid.cell} px" if grid.pooled else "")
    return PhaseMap(label, stage.name, words, svg.heat_map(grid, title, top=top, least=LEAST))
