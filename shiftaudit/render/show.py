"""One image under the microscope, on a terminal: which shifts flip the answer to what, as a map and along a diagonal."""

from __future__ import annotations

from collections.abc import Sequence

from shiftaudit.records.report import Shift, Views
from shiftaudit.render import facts
from shiftaudit.render.grids import grid_of
from shiftaudit.render.heatmap import draw
from shiftaudit.render.table import clean
from shiftaudit.render.terminal import Terminal, plain_lines

_ANSWERS = 6
_LEVELS = "▁▂▃▄▅▆▇█"
_LEVELS_ASCII = "12345678"


def class_name(names: Sequence[str] | None, index: int) -> str:
    """The class's name where there are names, its number otherwise."""
    return clean(names[index]) if names is not None and 0 <= index < len(names) else f"class {index}"


def render(
    path: str,
    prediction: int,
    probability: float,
    grids: dict[str, Views],
    diagonals: dict[str, Views],
    names: Sequence[str] | None,
    terminal: Terminal,
) -> str:
    """The answer, and for each protocol the map over (dy, dx), the diagonal and the answers it flips to."""
    lines = [f"{clean(path)}: {class_name(names, prediction)}, {facts.percent(probability)}", ""]
    for protocol, views in grids.items():
        lines += _map(protocol, views, prediction, probability, names, terminal)
        if protocol in diagonals:
            lines += _diagonal(diagonals[protocol], prediction, terminal)
        lines.append("")
    return plain_lines("\n".join(lines), terminal)


def _map(
    protocol: str, views: Views, prediction: int, probability: float, names: Sequence[str] | None, terminal: Terminal
) -> list[str]:
    flips = flips_by_answer(views, prediction)
    changed = sum(len(shifts) for shifts in flips.values())
    head = f"{protocol}: {changed} of {len(views.shifts)} shifts change the answer"
    lines = [head if changed else f"{protocol}: no shift of {len(views.shifts)} changes the answer"]
    for answer, shifts in list(flips.items())[:_ANSWERS]:
        dy, dx = shifts[0]
        nearest = f"({facts.signed(dy)}, {facts.signed(dx)})"
        lines.append(
            f"  to {class_name(names, answer)}: {len(shifts)} {'shift' if len(shifts) == 1 else 'shifts'}, the nearest {nearest}"
        )
    if len(flips) > _ANSWERS:
        lines.append(f"  and to {len(flips) - _ANSWERS} more classes")
    samples = [
        (dy, dx, max(0.0, probability - value), 1)
        for (dy, dx), value in zip(views.shifts, views.probabilities, strict=True)
    ]
    grid = grid_of([(0, 0, 0.0, 1), *samples], 33)
    lines.append("Probability lost, by shift")
    return [*lines, draw(grid, terminal, top=max(grid.top, 0.05)).rstrip("\n")]


def flips_by_answer(views: Views, prediction: int) -> dict[int, list[Shift]]:
    """The shifts that change the answer, by the new answer: most frequent answer first, nearest shift first."""
    found: dict[int, list[Shift]] = {}
    for shift, answer in sorted(
        zip(views.shifts, views.predictions, strict=True), key=lambda one: (one[0][0] ** 2 + one[0][1] ** 2, one[0])
    ):
        if answer != prediction:
            found.setdefault(answer, []).append(shift)
    return dict(sorted(found.items(), key=lambda entry: (-len(entry[1]), entry[0])))


def _diagonal(views: Views, prediction: int, terminal: Terminal) -> list[str]:
    """The probability along the diagonal as one row of bars, with a mark under each shift that flips the answer."""
    levels = _LEVELS if terminal.unicode else _LEVELS_ASCII
    count = min(len(views.shifts), terminal.width - 5)
    chosen = range(count)
    bars = "".join(levels[min(7, max(0, int(views.probabilities[k] * 8)))] for k in chosen)
    marks = "".join("x" if views.predictions[k] != prediction else " " for k in chosen)
    last = facts.signed(views.shifts[count - 1][0])
    lines = [f"Probability along the diagonal, (+1, +1) to ({last}, {last}); x marks another answer", "     " + bars]
    return [*lines, "     " + marks] if marks.strip() else lines
