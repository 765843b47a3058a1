"""Where the sampling grids of a network lie: which phase each stage has when the grid follows a shift. Integers only, no torch.

Under a circular shift by d input pixels (content moves by +d), a network with circular padding computes the values that it
computes on the image at rest when it samples that at other phases. A stage whose input has cumulative stride a and whose output
has c takes them `p = (c/a)·[d/c] − [d/a]` pixels further on, and its output has moved by [d/c]; [·] is the nearest whole number,
so that of all such phases these leave the grid nearest to where it was, and borders count as little as can be. All stages between
the same two strides, such as the main branch and the shortcut of a residual block, share one phase: otherwise their maps would
lie beside each other, which no shift of the image does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from shiftaudit.records.report import Shift

Pair = tuple[float, float]


@dataclass(frozen=True)
class Grid:
    """The strides of a stage, (y, x) input pixels per feature pixel, before and behind it."""

    before: Pair
    after: Pair

    @property
    def is_whole(self) -> bool:
        """Whether all strides are whole numbers, so that the phases of a shift are too."""
        strides = (*self.before, *self.after)
        return all(math.isclose(s, round(s)) and s >= 1 for s in strides) and all(
            round(after) % round(before) == 0 for before, after in zip(self.before, self.after, strict=True)
        )

    def phase(self, shift: Shift) -> Shift:
        """The phase (py, px) at which this stage samples when the image moves by `shift`; (0, 0) is the image at rest.

        >>> stem, next_one = Grid((1, 1), (2, 2)), Grid((2, 2), (4, 4))
        >>> [(stem.phase((d, 0))[0], next_one.phase((d, 0))[0]) for d in (0, 1, 2, 3, 4)]
        [(0, 0), (1, -1), (0, 1), (1, 0), (0, 0)]
        """
        found = []
        for d, before, after in zip(shift, self.before, self.after, strict=True):
            a, c = round(before), round(after)
            found.append(c // a * _nearest(d, c) - _nearest(d, a))
        return found[0], found[1]

    def shift(self, phase: Shift) -> Shift:
        """The shift of the image under which this stage, and none before it, has another phase: `phase`.

        >>> Grid((2, 2), (4, 4)).phase(Grid((2, 2), (4, 4)).shift((1, 0)))
        (1, 0)
        """
        return -phase[0] * round(self.before[0]), -phase[1] * round(self.before[1])

    @property
    def phases(self) -> tuple[range, range]:
        """The phases along each axis, those nearest to 0."""
        counts = [round(after) // round(before) for before, after in zip(self.before, self.after, strict=True)]
        rows, columns = (range(-((n - 1) // 2), n // 2 + 1) for n in counts)
        return rows, columns


def _nearest(shift: int, stride: int) -> int:
    """`shift / stride`, rounded; halves up."""
    return (2 * shift + stride) // (2 * stride)


@dataclass(frozen=True)
class Move:
    """What one row of a batch does to the sampling grids: they follow a shift, all of them or those of one grid."""

    shift: Shift
    only: Grid | None = None

    def phase(self, grid: Grid) -> Shift:
        """The phase of the stages of one grid."""
        return grid.phase(self.shift) if self.only in (None, grid) else (0, 0)
