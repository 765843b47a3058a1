"""A report as a figure for a paper: where answers change, the change against the distance moved, and the stages' errors.

Imports Matplotlib, an extra. Figures are made without pyplot, so no window opens and no setting of the caller changes; the
same report makes the same file.
"""

from __future__ import annotations

import io
import math
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from shiftaudit.records.report import AuditReport
from shiftaudit.render import distance, findings
from shiftaudit.render.characters import clean
from shiftaudit.render.colours import heat
from shiftaudit.render.grids import LEAST, Grid, flip_grid

WIDTH = 3.35
"""Inches: a column of a two-column page (85 mm)."""

_MAP_HEIGHT, _CURVE_HEIGHT, _PER_STAGE, _STAGES_FRAME = 1.75, 1.35, 0.14, 0.75
_CELLS = 33
_MOST_STAGES = 24
_MOST_LATTICE_LINES = 8
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
    """Maps of changed answers over the shift, the change against the distance, and the stages' errors, where measured."""
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
    top = max(grid.highest(LEAST) for grid in grids.values()) or 1.0
    axes = part.subplots(1, len(grids), squeeze=False)[0]
    for axis, (protocol, grid) in zip(axes, grids.items(), strict=True):
        drawn = _map(axis, grid, 100 * top)
        axis.set_title(protocol)
        axis.set_xlabel("dx (px)")
        axis.locator_params(integer=True, nbins=5)
    axes[0].set_ylabel("dy (px)")
    part.colorbar(drawn, ax=list(axes), label=f"changed answers (%)\ngrey: below {LEAST} views", shrink=0.9)


def _map(axis: Axes, grid: Grid, top: float) -> Any:
    half = grid.cell / 2
    values = [
        [math.nan if value is None or count < LEAST else 100 * value for value, count in zip(*row, strict=True)]
        for row in zip(grid.rows, grid.counts, strict=True)
    ]
    extent = (grid.xs[0] - half, grid.xs[-1] + half, grid.ys[-1] + half, grid.ys[0] - half)
    axis.set_facecolor("0.85")
    return axis.imshow(values, cmap=_COLOURS, vmin=0, vmax=top, extent=extent, interpolation="nearest")


def _curve(axis: Axes, report: AuditReport) -> None:
    """Change against distance with its intervals, under each protocol; of the first also what either cause alone does."""
    for place, (protocol, result) in enumerate(report.protocols.items()):
        for curve in distance.curves(result.by_distance)[: None if place == 0 else 1]:
            label = protocol if curve.kind == "change" else curve.label
            xs, ys = [point.x for point in curve.points], [point.y for point in curve.points]
            spread = [[point.y - point.low for point in curve.points], [point.high - point.y for point in curve.points]]
            style = "-" if curve.kind == "change" else "--"
            axis.errorbar(xs, ys, yerr=spread, marker=".", linewidth=1, elinewidth=0.5, linestyle=style, label=label)
    lattice = distance.lattice(next(iter(report.protocols.values())).by_distance)[:_MOST_LATTICE_LINES]
    for step in lattice:
        axis.axvline(step, color="0.7", linewidth=0.6, linestyle=":")
    axis.set_xscale("log", base=2)
    axis.xaxis.set_major_formatter("{x:.0f}")
    axis.set_xlabel("distance moved (px); bars: ≈95 %" + ("; dotted: total stride" if lattice else ""))
    axis.set_ylabel("change (total variation)")
    axis.set_ylim(bottom=0)
    if axis.lines:
        axis.legend()


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
        axis.set_title(f"the first {len(shown)} stages of {len(shown) + more}", loc="left")
    axis.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2, borderaxespad=0.2)  # beside no bar
