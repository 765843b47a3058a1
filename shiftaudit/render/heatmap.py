"""Heatmaps for terminals: flips over the shift, errors over phase; coloured blocks, or shaded characters without colour."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

from shiftaudit.records.report import AuditReport, Stage
from shiftaudit.render import numbers
from shiftaudit.render.colours import ASCII_SHADES, RGB, heat, xterm256
from shiftaudit.render.grids import Grid, flip_grid, phase_grid
from shiftaudit.render.terminal import Terminal, plain_lines

MAX_CELLS = 33
# Larger maps put two rows of cells into one line where there is colour.
_FULL_CELLS_UP_TO = 21
_INDENT = 5
_RESET = "\x1b[0m"
_BRIGHT = 330
_PHASES = (
    "Equivariance error by phase: where a shift lands between the samples that a stage keeps. Whole strides, at the corners "
    "and in the middle, keep the same samples and are clean but for padding; in between, brighter aliases more."
)


def render(report: AuditReport, terminal: Terminal | None = None) -> str:
    """All heatmaps of a report: per protocol over (dy, dx), and per stage over phase; fits the terminal's width."""
    limits = terminal or Terminal()
    parts = []
    for protocol, result in report.protocols.items():
        grid = flip_grid(result, _cells(limits))
        if grid is not None:
            squares = f", in squares of {grid.cell} px" if grid.pooled else ""
            title = f"Share of answers that change, by shift ({protocol}{squares})"
            parts.append(f"{textwrap.fill(title, limits.width)}\n{draw(grid, limits, percent=True)}")
    phases = [map_ for stage in report.stages for map_ in _phase_maps(stage, limits)]
    if phases:
        parts.append(textwrap.fill(_PHASES, limits.width) + "\n")
    return plain_lines("\n".join([*parts, *phases]), limits)


def _phase_maps(stage: Stage, terminal: Terminal) -> list[str]:
    """The error maps of a stage over phase, one a protocol."""
    found = []
    for protocol, errors in stage.errors.items():
        grid = phase_grid(errors.by_phase, stage.stride, _cells(terminal))
        if grid is not None and grid.top > 0:
            name = "".join(c for c in stage.name if c.isprintable())
            title = f"Error by phase, {name} (stride {numbers.pair_text(stage.stride)}, {protocol})"
            found.append(f"{textwrap.fill(title, terminal.width)}\n{draw(grid, terminal)}")
    return found


def _cells(terminal: Terminal) -> int:
    per_cell = 1 if terminal.colour and terminal.unicode else 2
    return max(3, min(MAX_CELLS, (terminal.width - _INDENT - len("  dx")) // per_cell))


def draw(
    grid: Grid,
    terminal: Terminal,
    *,
    percent: bool = False,
    top: float | None = None,
    marks: Mapping[tuple[int, int], str] | None = None,
) -> str:
    """One grid with its axes and scale.

    Args:
        grid: the values.
        terminal: decides on colour, characters and width.
        percent: whether the values are shares.
        top: the value of the brightest colour, the largest one by default.
        marks: a letter at (y, x); on shades it replaces the cell.
    """
    top = grid.top if top is None else top
    colour = terminal.colour and terminal.unicode
    is_small = len(grid.ys) <= _FULL_CELLS_UP_TO and 2 * len(grid.xs) + _INDENT + len("  dx") <= terminal.width
    half = colour and not marks and not is_small
    if half:
        lines = _half_blocks(grid, top, terminal)
    elif colour:
        lines = _blocks(grid, top, marks or {}, terminal)
    else:
        lines = _shades(grid, top, marks or {}, _blank(terminal))
    labels = _row_labels(grid, 2 if half else 1)
    body = [f"{label:>{_INDENT - 1}} {line}" for label, line in zip(labels, lines, strict=True)]
    return "\n".join([*body, _column_labels(grid, 1 if half else 2), _legend(top, terminal, percent=percent)]) + "\n"


def _row_labels(grid: Grid, rows_per_line: int) -> list[str]:
    labels = [""] * -(-len(grid.ys) // rows_per_line)
    for index, y in enumerate(grid.ys):
        if y in (grid.ys[0], 0, grid.ys[-1]) and not labels[index // rows_per_line]:
            labels[index // rows_per_line] = numbers.signed(y)
    return labels


def _column_labels(grid: Grid, width: int) -> str:
    first, last = numbers.signed(grid.xs[0]), numbers.signed(grid.xs[-1])
    line = list(" " * (_INDENT + max(width * len(grid.xs), len(first) + len(last) + 1)))
    line[_INDENT : _INDENT + len(first)] = first
    line[len(line) - len(last) :] = last
    if 0 in grid.xs[1:-1]:
        place = _INDENT + width * grid.xs.index(0)
        if all(c == " " for c in line[place - 1 : place + 2]):
            line[place] = "0"
    return "".join(line) + "  dx"


def _legend(top: float, terminal: Terminal, *, percent: bool) -> str:
    end = numbers.percent(top) if percent else numbers.number(top)
    if terminal.colour and terminal.unicode:
        scale = "".join(_cell(heat(k / 15), None, terminal, " ") for k in range(16)) + _RESET
        return f"{'dy':>{_INDENT - 1}} 0 {scale} {end}"
    return f"{'dy':>{_INDENT - 1}} 0 [{ASCII_SHADES}] {end}   {_blank(terminal)} no data"


def _blank(terminal: Terminal) -> str:
    return "·" if terminal.unicode else "?"


def _shades(grid: Grid, top: float, marks: Mapping[tuple[int, int], str], blank: str) -> list[str]:
    return [
        "".join(
            (marks.get((y, x)) or (blank if value is None else _shade(value, top))) * 2
            for x, value in zip(grid.xs, row, strict=True)
        )
        for y, row in zip(grid.ys, grid.rows, strict=True)
    ]


def _shade(value: float, top: float) -> str:
    if value <= 0 or top <= 0:
        return ASCII_SHADES[0]
    return ASCII_SHADES[max(1, min(len(ASCII_SHADES) - 1, round(value / top * (len(ASCII_SHADES) - 1))))]


def _blocks(grid: Grid, top: float, marks: Mapping[tuple[int, int], str], terminal: Terminal) -> list[str]:
    """A cell is two coloured blanks, with its mark in ink that can be read on them."""
    lines = []
    for y, row in zip(grid.ys, grid.rows, strict=True):
        cells = []
        for x, value in zip(grid.xs, row, strict=True):
            mark = marks.get((y, x), " ")
            if value is None:
                cells.append(_RESET + mark + " ")
                continue
            paper = heat(value / (top or 1.0))
            ink = None if mark == " " else (0, 0, 0) if sum(paper) > _BRIGHT else (255, 255, 255)
            cells.append(_cell(paper, ink, terminal, mark + " "))
        lines.append("".join(cells) + _RESET)
    return lines


def _half_blocks(grid: Grid, top: float, terminal: Terminal) -> list[str]:
    """Two rows of cells a line: the upper one as foreground of an upper half block, the lower one as background."""
    lines = []
    for index in range(0, len(grid.rows), 2):
        upper = grid.rows[index]
        lower: Sequence[float | None] = grid.rows[index + 1] if index + 1 < len(grid.rows) else [None] * len(upper)
        cells = [_pair(above, below, top, terminal) for above, below in zip(upper, lower, strict=True)]
        lines.append("".join(cells) + _RESET)
    return lines


def _pair(above: float | None, below: float | None, top: float, terminal: Terminal) -> str:
    scale = top or 1.0
    if above is None and below is None:
        return _RESET + " "
    if above is None:
        return _RESET + _cell(None, heat((below or 0.0) / scale), terminal, "▄")
    if below is None:
        return _RESET + _cell(None, heat(above / scale), terminal, "▀")
    return _cell(heat(below / scale), heat(above / scale), terminal, "▀")


def _cell(background: RGB | None, foreground: RGB | None, terminal: Terminal, character: str) -> str:
    codes = [
        _code(colour, layer, terminal) for colour, layer in ((background, 48), (foreground, 38)) if colour is not None
    ]
    return f"\x1b[{';'.join(codes)}m{character}"


def _code(colour: RGB, layer: int, terminal: Terminal) -> str:
    if terminal.true_colour:
        return f"{layer};2;{colour[0]};{colour[1]};{colour[2]}"
    return f"{layer};5;{xterm256(colour)}"
