"""A report as a figure for a paper: where answers change, how far a shift has to be, and what each stage adds.

Imports Matplotlib, an extra. Figures are made without pyplot, so no window opens and no setting of the caller changes; the
same report makes the same file.
"""

from __future__ import annotations

import io
import math
from collections import defaultdict
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from shiftaudit.records.report import AuditReport, ProtocolResult
from shiftaudit.render import findings
from shiftaudit.render.characters import clean
from shiftaudit.render.colours import heat
from shiftaudit.render.grids import Grid, flip_grid

WIDTH = 3.35
"""Inches: a column of a two-column page (85 mm)."""

_MAP_HEIGHT, _CURVE_HEIGHT, _PER_STAGE, _STAGES_FRAME = 1.75, 1.35, 0.14, 0.75
_CELLS = 33
_MOST_STAGES = 24
_FEWEST_VIEWS = 10
_COLOURS = LinearSegmentedColormap.from_list("shiftaudit", [[part / 255 for part in heat(k / 63)] for k in range(64)])
_STYLE: Any = {
    "font.size": 7,
    "axes.titlesize": 7,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "legend.frameon": False,
    # Text stays text, so that it can be searched and edited; identifiers do not depend on chance.
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
    "svg.hashsalt": "shiftaudit",
}


class ReportFigure(Figure):
    """A Matplotlib figure that notebooks show as it is returned."""

    def _repr_png_(self) -> bytes:
        return figure_bytes(self, "png")


def draw(report: AuditReport) -> ReportFigure:
    """Maps of changed answers over the shift, the curve over its length, and the stages' errors, as far as they were measured."""
    stages = findings.stage_protocol(report) is not None
    heights = [_MAP_HEIGHT, _CURVE_HEIGHT] if report.protocols else []
    if stages:
        heights.append(_STAGES_FRAME + _PER_STAGE * min(len(report.stages), _MOST_STAGES))
    with mpl.rc_context(_STYLE):
        figure = ReportFigure(figsize=(WIDTH, sum(heights) or 1.0), layout="constrained")
        FigureCanvasAgg(figure)
        parts = list(figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]) if heights else []
        if report.protocols:
            _maps(parts[0], report)
            _curve(parts[1].subplots(), report)
        if stages:
            _stages(parts[-1].subplots(), report)
    return figure


def figure_bytes(figure: Figure, kind: str) -> bytes:
    """The figure as a file of `svg`, `pdf` or `png` (300 dots an inch), without the date."""
    buffer = io.BytesIO()
    dated: dict[str, Any] = {"svg": {"Date": None}, "pdf": {"CreationDate": None, "ModDate": None}}.get(kind, {})
    with mpl.rc_context(_STYLE):
        figure.savefig(buffer, format=kind, dpi=300, metadata=dated)
    return buffer.getvalue()


def _maps(part: Any, report: AuditReport) -> None:
    """A map for each protocol on one scale, so that colours can be compared."""
    grids = {name: grid for name, result in report.protocols.items() if (grid := flip_grid(result, _CELLS)) is not None}
    if not grids:
        return
    top = max(grid.top for grid in grids.values()) or 1.0
    axes = part.subplots(1, len(grids), squeeze=False)[0]
    for axis, (protocol, grid) in zip(axes, grids.items(), strict=True):
        drawn = _map(axis, grid, 100 * top)
        axis.set_title(protocol)
        axis.set_xlabel("dx (px)")
    axes[0].set_ylabel("dy (px)")
    part.colorbar(drawn, ax=list(axes), label="changed answers (%)", shrink=0.9)


def _map(axis: Axes, grid: Grid, top: float) -> Any:
    half = grid.cell / 2
    values = [[math.nan if value is None else 100 * value for value in row] for row in grid.rows]
    extent = (grid.xs[0] - half, grid.xs[-1] + half, grid.ys[-1] + half, grid.ys[0] - half)
    axis.set_facecolor("0.85")
    return axis.imshow(values, cmap=_COLOURS, vmin=0, vmax=top, extent=extent, interpolation="nearest")


def _curve(axis: Axes, report: AuditReport) -> None:
    for protocol, result in report.protocols.items():
        points = by_distance(result)
        axis.plot([x for x, _ in points], [100 * y for _, y in points], marker=".", linewidth=1, label=protocol)
    axis.set_xlabel("length of the shift (px)")
    axis.set_ylabel("changed answers (%)")
    axis.set_ylim(bottom=0)
    axis.legend()


def by_distance(result: ProtocolResult, most: int = 10) -> list[tuple[float, float]]:
    """(mean length of the shifts, share of changed answers) of at most `most` ranges of lengths, which hold ten views or more."""
    longest = max((math.hypot(count.dy, count.dx) for count in result.by_shift), default=0.0)
    pooled: dict[int, list[float]] = defaultdict(lambda: [0.0, 0.0, 0.0])
    for count in result.by_shift:
        length = math.hypot(count.dy, count.dx)
        cell = pooled[min(most - 1, int(most * length / (longest or 1.0)))]
        for place, value in enumerate((length * count.n_images, count.n_images - count.n_agree, count.n_images)):
            cell[place] += value
    return [(length / n, changed / n) for _, (length, changed, n) in sorted(pooled.items()) if n >= _FEWEST_VIEWS]


def _stages(axis: Axes, report: AuditReport) -> None:
    """Error at the output of each stage over that at its input; of many stages the first, as the network runs."""
    protocol = findings.stage_protocol(report)
    shown = [stage for stage in report.stages if protocol in stage.errors][:_MOST_STAGES]
    places = range(len(shown))
    errors = [stage.errors[protocol] for stage in shown if protocol is not None]
    axis.barh(places, [error.output.value or 0.0 for error in errors], color="#b83456", label="output")
    axis.barh(places, [error.input.value or 0.0 for error in errors], color="0.7", height=0.4, label="input")
    axis.set_yticks(places, [clean(stage.name) for stage in shown])
    axis.invert_yaxis()
    axis.set_xlabel(f"equivariance error ({protocol})")
    more = len([stage for stage in report.stages if protocol in stage.errors]) - len(shown)
    if more:
        axis.set_title(f"the first {len(shown)} stages of {len(shown) + more}")
    axis.legend()
