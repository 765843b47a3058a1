"""One image under the microscope, on a terminal: which shifts flip the answer to what, as a map and along a diagonal."""

from __future__ import annotations

import string
import textwrap
from collections.abc import Sequence

from shiftaudit.records.report import Shift, Views
from shiftaudit.records.words import Protocol
from shiftaudit.render import numbers
from shiftaudit.render.characters import clean
from shiftaudit.render.grids import grid_of
from shiftaudit.render.heatmap import MAX_CELLS, draw
from shiftaudit.render.terminal import Terminal, plain_lines

_ANSWERS = 6
_LETTERS = string.ascii_lowercase
_BESIDE_THE_MAP, _BESIDE_THE_BARS = 9, 26
_LEVELS = "▁▂▃▄▅▆▇█"
_LEVELS_ASCII = "12345678"


def class_name(names: Sequence[str] | None, index: int) -> str:
    """The class's name where there are names, its number otherwise."""
    return clean(names[index]) if names is not None and 0 <= index < len(names) else f"class {index}"


def render(
    path: str,
    prediction: int,
    probability: float,
    grids: dict[Protocol, Views],
    diagonals: dict[Protocol, Views],
    names: Sequence[str] | None,
    terminal: Terminal,
) -> str:
    """The answer, and for each protocol the map over (dy, dx), the diagonal and the answers it flips to."""
    head = f"{clean(path)}: {class_name(names, prediction)}, {numbers.percent(probability)}"
    lines = [textwrap.fill(head, terminal.width), ""]
    for protocol, views in grids.items():
        flips = flips_by_answer(views, prediction)
        lines += [
            textwrap.fill(line, terminal.width, subsequent_indent="      ")
            for line in _answers(protocol, views, flips, names)
        ]
        lines += _map(views, flips, probability, terminal)
        if protocol in diagonals:
            lines += _diagonal(diagonals[protocol], prediction, probability, terminal)
        lines.append("")
    return plain_lines("\n".join(lines), terminal)


def flips_by_answer(views: Views, prediction: int) -> dict[int, list[Shift]]:
    """The shifts that change the answer, by the new answer: most frequent answer first, nearest shift first."""
    found: dict[int, list[Shift]] = {}
    for shift, answer in sorted(
        zip(views.shifts, views.predictions, strict=True), key=lambda one: (one[0][0] ** 2 + one[0][1] ** 2, one[0])
    ):
        if answer != prediction:
            found.setdefault(answer, []).append(shift)
    return dict(sorted(found.items(), key=lambda entry: (-len(entry[1]), entry[0])))


def _answers(protocol: Protocol, views: Views, flips: dict[int, list[Shift]], names: Sequence[str] | None) -> list[str]:
    """How many shifts change the answer, and to what: the letter in front of each is the one on the map."""
    changed = sum(len(shifts) for shifts in flips.values())
    if not changed:
        return [f"{protocol}: no shift of {len(views.shifts)} changes the answer"]
    lines = [f"{protocol}: {changed} of {len(views.shifts)} shifts change the answer"]
    for letter, (answer, shifts) in list(zip(_LETTERS, flips.items(), strict=False))[:_ANSWERS]:
        found = f"{numbers.counted(len(shifts), 'shift')}, the nearest {numbers.shift_text(shifts[0])}"
        lines.append(f"  {letter} = {class_name(names, answer)}: {found}")
    if len(flips) > _ANSWERS:
        lines.append(f"  and {len(flips) - _ANSWERS} more classes, with the letters that follow")
    return lines


def _map(views: Views, flips: dict[int, list[Shift]], probability: float, terminal: Terminal) -> list[str]:
    samples = [
        (dy, dx, max(0.0, probability - value), 1)
        for (dy, dx), value in zip(views.shifts, views.probabilities, strict=True)
    ]
    cells = min(MAX_CELLS, (terminal.width - _BESIDE_THE_MAP) // 2)
    grid = grid_of([(0, 0, 0.0, 1), *samples], cells)
    marks = {}
    if not grid.pooled:
        marks = {
            shift: _LETTERS[min(index, len(_LETTERS) - 1)]
            for index, shifts in enumerate(flips.values())
            for shift in shifts
        }
    words = "; a letter where the answer changes" if marks else ""
    return [
        f"Probability lost, by shift{words}",
        draw(grid, terminal, top=max(grid.top, 0.05), marks=marks).rstrip("\n"),
    ]


def _diagonal(views: Views, prediction: int, probability: float, terminal: Terminal) -> list[str]:
    """The probability along the diagonal as one row of bars, with a mark under each shift that flips the answer."""
    levels = _LEVELS if terminal.unicode else _LEVELS_ASCII
    count = min(len(views.shifts), terminal.width - _BESIDE_THE_BARS)
    values = [probability, *views.probabilities[:count]]
    bars = "".join(levels[min(7, max(0, int(value * 8)))] for value in values)
    marks = "".join("x" if answer != prediction else " " for answer in views.predictions[:count])
    last = numbers.signed(views.shifts[count - 1][0])
    title = f"Probability of the first answer, unmoved and along the diagonal to ({last}, {last})"
    lines = [
        textwrap.fill(title, terminal.width),
        f"     {bars}  {min(values):.2f} to {max(values):.2f}",
    ]
    return [*lines, "      " + marks + "  x: another answer"] if marks.strip() else lines
