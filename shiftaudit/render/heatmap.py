"""Heatmaps for terminals: half blocks in colour, shaded characters without; flips over the shift, errors over phase."""

from __future__ import annotations

from collections.abc import Sequence

from shiftaudit.records.report import AuditReport
from shiftaudit.render import facts
from shiftaudit.render.colours import ASCII_SHADES, RGB, heat, xterm256
from shiftaudit.render.grids import Grid, flip_grid, phase_grid
from shiftaudit.render.terminal import Terminal, plain_lines

_MAX_CELLS = 33
_INDENT = 5
_RESET = "\x1b[0m"


def render(report: AuditReport, terminal: Terminal | None = None) -> str:
    """All heatmaps of a report: per protocol over (dy, dx), and per stage over phase; fits the terminal's width."""
    limits = terminal or Terminal()
    parts = []
    for protocol, result in report.protocols.items():
        grid = flip_grid(result, _cells(limits))
        if grid is not None:
            parts.append(f"Answers that change, by shift ({protocol})\n" + draw(grid, limits, percent=True))
    for stage in report.stages:
        for protocol, errors in stage.errors.items():
            grid = phase_grid(errors.by_phase, stage.stride, _cells(limits))
            if grid is not None and grid.top > 0:
                name = "".join(c for c in stage.name if c.isprintable())
                title = f"Error by phase, {name} (stride {facts.pair_text(stage.stride)}, {protocol})"
                parts.append(f"{title}\n{draw(grid, limits)}")
    return plain_lines("\n".join(parts), limits)


def _cells(terminal: Terminal) -> int:
    per_cell = 1 if terminal.colour and terminal.unicode else 2
    return max(3, min(_MAX_CELLS, (terminal.width - _INDENT - len("  dx")) // per_cell))


def draw(grid: Grid, terminal: Terminal, *, percent: bool = False, top: float | None = None) -> str:
    """One grid with its axes and scale; `top` is the value of the brightest colour, the largest one by default."""
    top = grid.top if top is None else top
    colour = terminal.colour and terminal.unicode
    lines = _half_blocks(grid, top, terminal) if colour else _shades(grid, top, _blank(terminal))
    labels = _row_labels(grid, 2 if colour else 1)
    body = [f"{label:>{_INDENT - 1}} {line}" for label, line in zip(labels, lines, strict=True)]
    return "\n".join([*body, _column_labels(grid, 1 if colour else 2), _legend(top, terminal, percent=percent)]) + "\n"


def _row_labels(grid: Grid, rows_per_line: int) -> list[str]:
    labels = [""] * -(-len(grid.ys) // rows_per_line)
    for index, y in enumerate(grid.ys):
        if y in (grid.ys[0], 0, grid.ys[-1]) and not labels[index // rows_per_line]:
            labels[index // rows_per_line] = facts.signed(y)
    return labels


def _column_labels(grid: Grid, width: int) -> str:
    first, last = facts.signed(grid.xs[0]), facts.signed(grid.xs[-1])
    line = list(" " * (_INDENT + max(width * len(grid.xs), len(first) + len(last) + 1)))
    line[_INDENT : _INDENT + len(first)] = first
    line[len(line) - len(last) :] = last
    if 0 in grid.xs[1:-1]:
        place = _INDENT + width * grid.xs.index(0)
        if all(c == " " for c in line[place - 1 : place + 2]):
            line[place] = "0"
    return "".join(line) + "  dx"


def _legend(top: float, terminal: Terminal, *, percent: bool) -> str:
    end = facts.percent(top) if percent else facts.number(top)
    if terminal.colour and terminal.unicode:
        scale = "".join(_cell(heat(k / 15), None, terminal, " ") for k in range(16)) + _RESET
        return f"{'dy':>{_INDENT - 1}} 0 {scale} {end}"
    return f"{'dy':>{_INDENT - 1}} 0 [{ASCII_SHADES}] {end}   {_blank(terminal)} no data"


def _blank(terminal: Terminal) -> str:
    return "·" if terminal.unicode else "?"


def _shades(grid: Grid, top: float, blank: str) -> list[str]:
    return ["".join((blank if value is None else _shade(value, top)) * 2 for value in row) for row in grid.rows]


def _shade(value: float, top: float) -> str:
    if value <= 0 or top <= 0:
        return ASCII_SHADES[0]
    return ASCII_SHADES[max(1, min(len(ASCII_SHADES) - 1, round(value / top * (len(ASCII_SHADES) - 1))))]


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
