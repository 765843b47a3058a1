"""The maps of the page: answers that change over the shift, and a stage's error over phase."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shiftaudit.records.report import AuditReport
from shiftaudit.records.words import Protocol
from shiftaudit.render.grids import Grid, flip_grid, phase_grid
from shiftaudit.render.html import svg
from shiftaudit.render.numbers import pair_text

_SHIFT_CELLS, _PHASE_CELLS = 33, 65


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
        grids = [(label, grid) for label, result in results if (grid := flip_grid(result, _SHIFT_CELLS)) is not None]
        top = max((grid.top for _, grid in grids), default=0.0)
        maps += [_shift_map(label, protocol, grid, top) for label, grid in grids]
    return maps


def _shift_map(label: str, protocol: Protocol, grid: Grid, top: float) -> ShiftMap:
    pooled = f", in squares of {grid.cell} px" if grid.pooled else ""
    title = f"{f'{label}: share' if label else 'Share'} of answers that change, by shift ({protocol}{pooled})"
    empty = {
        (y, x)
        for y, row in zip(grid.ys, grid.rows, strict=True)
        for x, value in zip(grid.xs, row, strict=True)
        if value is None
    }
    drawing = svg.heat_map(grid, title, shares=True, top=top) if top > 0 else None
    return ShiftMap(title, drawing, bool(grid.top > 0 and empty - {(0, 0)}))


def phase_maps(label: str, report: AuditReport, most: int) -> list[PhaseMap]:
    """Error over phase of the `most` stages that err most, in the order of the network."""
    found = [
        (index, protocol, grid)
        for index, stage in enumerate(report.stages)
        for protocol, errors in stage.errors.items()
        if (grid := phase_grid(errors.by_phase, stage.stride, _PHASE_CELLS)) is not None and grid.top > 0
    ]
    worst = sorted(found, key=lambda entry: -entry[2].top)[:most]
    maps = []
    for index, protocol, grid in sorted(worst, key=lambda entry: entry[0]):
        stage = report.stages[index]
        stride = pair_text(stage.stride)
        title = f"{stage.name}: error by shift within the stride of {stride} px ({protocol})"
        words = f", stride {stride}" + (f", in squares of {grid.cell} px" if grid.pooled else "")
        maps.append(PhaseMap(label, stage.name, words, svg.heat_map(grid, title)))
    return maps
