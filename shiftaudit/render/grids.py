"""Lay counts out on a grid: flips over the shift (dy, dx), and a stage's error over phase."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from shiftaudit.records.report import PhaseError, ProtocolResult, Shift

Sample = tuple[int, int, float, int]
"""(dy, dx, sum, count): what `count` views under one shift add up to."""

# Fewer views a cell than this, and a map shows chance rather than a pattern.
_VIEWS_PER_CELL, _PAIRS_PER_PHASE = 6, 10
# A stride keeps this many cells however few views there are: with fewer, its lattice cannot be seen.
_PHASES_KEPT = 4
_LATTICE_PERIODS_UP_TO = 16

LEAST = 5
"""Cells of fewer views say nothing and get no colour."""


@dataclass(frozen=True)
class Grid:
    """Values over (dy, dx): `rows[i][j]` belongs to `ys[i]`, `xs[j]` (input pixels); None where not measured."""

    ys: tuple[int, ...]
    xs: tuple[int, ...]
    rows: tuple[tuple[float | None, ...], ...]
    counts: tuple[tuple[float, ...], ...]
    """How many views each cell is made of; one on the border of two pooled cells counts half in each."""
    cell: int
    """Pixels between the middles of two cells."""
    pooled: bool = False
    """Whether a cell stands for several shifts, of a square around its middle."""

    @property
    def top(self) -> float:
        """The largest value, 0 where there is none."""
        return self.highest(0)

    def highest(self, least: float) -> float:
        """The largest value of the cells made of at least this many views, 0 where there is none."""
        cells = zip((c for row in self.rows for c in row), (n for row in self.counts for n in row), strict=True)
        return max((value for value, count in cells if value is not None and count >= least), default=0.0)


def flip_grid(result: ProtocolResult, max_cells: int) -> Grid | None:
    """The share of answers that change, over the shift: at most max_cells × max_cells cells, None without shifts.

    Shifts on a regular grid keep a cell each where they fit; others are pooled into equal squares around the unmoved
    image, as many as leave each about six views or more.
    """
    samples = [(count.dy, count.dx, count.n_images - count.n_agree, count.n_images) for count in result.by_shift]
    return grid_of(samples, max_cells) if any(sample[3] for sample in samples) else None


def probability_grid(shifts: Sequence[Shift], probabilities: Sequence[float], max_cells: int) -> Grid | None:
    """One image's probability over the shift, where the shifts form a full grid; None otherwise."""
    samples = [(dy, dx, value, 1) for (dy, dx), value in zip(shifts, probabilities, strict=True)]
    layout = _regular(samples)
    return grid_of(samples, max_cells) if layout is not None and len(layout.cells) > 2 else None


def grid_of(samples: Sequence[Sample], max_cells: int) -> Grid:
    """Put samples (dy, dx, sum, count) into cells.

    >>> grid = grid_of([(-1, 0, 1.0, 2), (0, -1, 0.0, 2), (0, 1, 2.0, 2), (1, 0, 0.0, 1)], 9)
    >>> grid.rows[0], grid.rows[1], grid.cell
    ((None, 0.5, None), (0.0, None, 1.0), 1)
    """
    regular = _regular(samples)
    fits = regular is not None and len(regular.cells) <= max_cells
    layout = regular if regular is not None and fits else _squares(samples, max_cells)
    tally = _Tally()
    for dy, dx, total, count in samples:
        tally.add((layout.cell_of(dy), layout.cell_of(dx)), total, count)
    return tally.grid(layout.cells, layout.cells, layout.size, pooled=not fits and layout.size > 1)


@dataclass(frozen=True)
class _Layout:
    """Cells along either axis of a map of shifts: cell number k lies around k × size pixels."""

    size: int
    cells: range

    def cell_of(self, pixels: int) -> int:
        """The cell of a shift; what lies beyond the outermost cell belongs to it."""
        nearest = math.floor(pixels / self.size + 0.5)
        return min(self.cells[-1], max(self.cells[0], nearest))


def _regular(samples: Sequence[Sample]) -> _Layout | None:
    """A cell for each position, where the shifts form a full square grid and all are seen equally often."""
    points = {(dy, dx): count for dy, dx, _, count in samples if dy or dx}
    positions = sorted({value for point in points for value in point} | {0})
    steps = {after - before for before, after in itertools.pairwise(positions)}
    is_full = len(points) == len(positions) ** 2 - 1 and len(set(points.values())) == 1
    if len(steps) != 1 or not is_full:
        return None
    step = steps.pop()
    return _Layout(step, range(positions[0] // step, positions[-1] // step + 1))


def _squares(samples: Sequence[Sample], max_cells: int) -> _Layout:
    """Equal squares around the unmoved image, as many as leave each enough views.

    A square is an odd number of pixels wide, so that it reaches as far to the left of its middle as to the right, and no
    outermost one lies beyond the shifts for more than a third.
    """
    reach = max((max(abs(dy), abs(dx)) for dy, dx, _, _ in samples), default=0)
    views = sum(count for _, _, _, count in samples)
    wanted = min(max_cells, 2 * reach + 1, max(3, math.isqrt(views // _VIEWS_PER_CELL)))
    a_side = max(1, (wanted - 1) // 2)
    smallest = math.ceil((2 * reach + 1) / (2 * a_side + 1))
    for size in range(smallest | 1, 2 * reach + 1, 2):
        a_side = max(1, math.ceil((reach - size // 2) / size))
        beyond = a_side * size + size // 2 - reach
        if beyond <= size // 3:
            return _Layout(size, range(-a_side, a_side + 1))
    return _Layout(2 * reach + 1, range(-1, 2))


class _Tally:
    """The sum and the number of the samples in each cell, by the cell's numbers (y, x)."""

    def __init__(self) -> None:
        self._cells: dict[tuple[int, int], tuple[float, float]] = {}

    def add(self, cell: tuple[int, int], total: float, count: float) -> None:
        before, seen = self._cells.get(cell, (0.0, 0))
        self._cells[cell] = (before + total, seen + count)

    def grid(self, ys: range, xs: range, size: int, *, pooled: bool, period: tuple[int, int] | None = None) -> Grid:
        """The means of cells `size` pixels wide; after a `period` of cells they repeat."""

        def cell(y: int, x: int) -> tuple[float, float]:
            key = (y, x) if period is None else (y % period[0], x % period[1])
            return self._cells.get(key, (0.0, 0))

        cells = [[cell(y, x) for x in xs] for y in ys]
        return Grid(
            ys=tuple(y * size for y in ys),
            xs=tuple(x * size for x in xs),
            rows=tuple(tuple(total / count if count else None for total, count in row) for row in cells),
            counts=tuple(tuple(count for _, count in row) for row in cells),
            cell=size,
            pooled=pooled,
        )


def phase_grid(by_phase: Sequence[PhaseError], stride: tuple[float, float], max_cells: int) -> Grid | None:
    """A stage's output error over phase, repeated so that the lattice of its stride shows; None without phases.

    Phase (0, 0), a whole number of strides, lies at the corners, and in the middle of small strides, where a period to
    each side is shown. Sparse or wide maps are pooled in squares centred on the multiples of the stride.
    """
    sy, sx = (round(value) for value in stride)
    if not by_phase or min(sy, sx) < 1:
        return None
    size = _phase_cell(sum(phase.n_pairs for phase in by_phase), sy, sx, max_cells)
    period = (max(1, sy // size), max(1, sx // size))
    tally = _Tally()
    for phase in by_phase:
        for (y, part_y), (x, part_x) in itertools.product(_parts(phase.py, size), _parts(phase.px, size)):
            weight = part_y * part_x * phase.n_pairs
            tally.add((y % period[0], x % period[1]), phase.value * weight, weight)
    both_sides = max(period) <= min(_LATTICE_PERIODS_UP_TO, (max_cells - 1) // 2)
    ys, xs = (range(-count if both_sides else 0, count + 1) for count in period)
    return tally.grid(ys, xs, size, pooled=size > 1, period=period)


def _phase_cell(n_pairs: int, sy: int, sx: int, max_cells: int) -> int:
    """Pixels a side of a cell, a power of two: wide enough for the map to fit and for its cells to hold enough pairs."""
    size, longest = 1, max(sy, sx)
    while True:
        too_wide = longest / size + 1 > max_cells
        too_sparse = longest > _PHASES_KEPT * size and n_pairs < _PAIRS_PER_PHASE * sy * sx / size**2
        if not too_wide and not too_sparse:
            return size
        size *= 2


def _parts(phase: int, size: int) -> list[tuple[int, float]]:
    """The cells around multiples of `size` that a phase belongs to: one, or half to each of two from the border.

    >>> _parts(3, 4), _parts(2, 4), _parts(5, 1)
    ([(1, 1.0)], [(0, 0.5), (1, 0.5)], [(5, 1.0)])
    """
    before, rest = divmod(phase, size)
    if 2 * rest == size:
        return [(before, 0.5), (before + 1, 0.5)]
    return [(before + (2 * rest > size), 1.0)]
