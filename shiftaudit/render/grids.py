"""Lay counts out on a grid: flips over the shift (dy, dx), and a stage's error over phase."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from shiftaudit.records.report import PhaseError, ProtocolResult, Shift

# Fewer views a cell than this, and a map shows chance rather than a pattern.
_VIEWS_PER_CELL, _PAIRS_PER_PHASE = 6, 10
# A stride keeps this many cells however few views there are: with fewer, its lattice cannot be seen.
_PHASES_KEPT = 4
_LATTICE_PERIODS_UP_TO = 16


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
        return max((value for row in self.rows for value in row if value is not None), default=0.0)


def flip_grid(result: ProtocolResult, max_cells: int) -> Grid | None:
    """The share of answers that change, over the shift: at most max_cells × max_cells cells, None without shifts.

    Shifts on a regular grid keep a cell each where they fit; others are pooled into equal squares around the unmoved
    picture, as many as leave each about six views or more.
    """
    samples = [(count.dy, count.dx, count.n_images - count.n_agree, count.n_images) for count in result.by_shift]
    return grid_of(samples, max_cells) if any(sample[3] for sample in samples) else None


def probability_grid(shifts: Sequence[Shift], probabilities: Sequence[float], max_cells: int) -> Grid | None:
    """One picture's probability over the shift, where the shifts form a full grid; None otherwise."""
    samples = [(dy, dx, value, 1) for (dy, dx), value in zip(shifts, probabilities, strict=True)]
    axis = _axis(samples)
    return grid_of(samples, max_cells) if axis is not None and len(axis) > 2 else None


def grid_of(samples: Sequence[tuple[int, int, float, int]], max_cells: int) -> Grid:
    """Pool samples (dy, dx, sum, count) into cells.

    >>> grid = grid_of([(-1, 0, 1.0, 2), (0, -1, 0.0, 2), (0, 1, 2.0, 2), (1, 0, 0.0, 1)], 9)
    >>> grid.rows[0], grid.rows[1], grid.cell
    ((None, 0.5, None), (0.0, None, 1.0), 1)
    """
    axis = _axis(samples)
    regular = axis is not None and len(axis) <= max_cells
    centres = axis if axis is not None and regular else _squares(samples, max_cells)
    cell = centres[1] - centres[0] if len(centres) > 1 else 1
    return _pool(samples, centres, cell, pooled=not regular and cell > 1)


def _axis(samples: Sequence[tuple[int, int, float, int]]) -> list[int] | None:
    """The positions along an axis where the shifts form a full square grid and all are seen equally often."""
    points = {(dy, dx): count for dy, dx, _, count in samples if dy or dx}
    positions = sorted({value for point in points for value in point} | {0})
    steps = {after - before for before, after in itertools.pairwise(positions)}
    is_full = len(points) == len(positions) ** 2 - 1 and len(set(points.values())) == 1
    return positions if len(steps) == 1 and is_full else None


def _squares(samples: Sequence[tuple[int, int, float, int]], max_cells: int) -> list[int]:
    reach = max((max(abs(dy), abs(dx)) for dy, dx, _, _ in samples), default=0)
    views = sum(count for _, _, _, count in samples)
    wanted = min(max_cells, 2 * reach + 1, max(3, math.isqrt(views // _VIEWS_PER_CELL)))
    smallest = math.ceil((2 * reach + 1) / (2 * max(1, (wanted - 1) // 2) + 1))
    # Odd, so that a cell reaches as far to the left of its middle as to the right; and no outermost cell is nearly empty.
    for cell in range(smallest + 1 - smallest % 2, 2 * reach + 3, 2):
        half = max(1, math.ceil((reach - cell // 2) / cell))
        if half * cell + cell // 2 - reach <= cell // 3:
            break
    return [k * cell for k in range(-half, half + 1)]


def _pool(samples: Sequence[tuple[int, int, float, int]], centres: Sequence[int], cell: int, *, pooled: bool) -> Grid:
    n, middle = len(centres), centres[0]
    sums, counts = [[0.0] * n for _ in range(n)], [[0] * n for _ in range(n)]
    for dy, dx, total, count in samples:
        i, j = (min(n - 1, max(0, math.floor((value - middle) / cell + 0.5))) for value in (dy, dx))
        sums[i][j] += total
        counts[i][j] += count
    rows = tuple(
        tuple(total / count if count else None for total, count in zip(row, numbers, strict=True))
        for row, numbers in zip(sums, counts, strict=True)
    )
    return Grid(tuple(centres), tuple(centres), rows, tuple(map(tuple, counts)), cell, pooled)


def phase_grid(by_phase: Sequence[PhaseError], stride: tuple[float, float], max_cells: int) -> Grid | None:
    """A stage's output error over phase, repeated so that the lattice of its stride shows; None without phases.

    Phase (0, 0), a whole number of strides, lies at the corners, and in the middle of small strides, where a period to
    each side is shown. Sparse or wide maps are pooled in squares centred on the multiples of the stride.
    """
    sy, sx = (round(value) for value in stride)
    if not by_phase or min(sy, sx) < 1:
        return None
    fold, pairs = 1, sum(phase.n_pairs for phase in by_phase)
    while (max(sy, sx) > _PHASES_KEPT * fold and pairs < _PAIRS_PER_PHASE * sy * sx / fold**2) or (
        max(sy, sx) / fold + 1 > max_cells
    ):
        fold *= 2
    ny, nx = max(1, sy // fold), max(1, sx // fold)
    sums: dict[tuple[int, int], list[float]] = {}
    for phase in by_phase:
        for (y, part_y), (x, part_x) in itertools.product(_cells(phase.py, fold), _cells(phase.px, fold)):
            total, weight = sums.setdefault((y % ny, x % nx), [0.0, 0.0]), part_y * part_x * phase.n_pairs
            total[0] += phase.value * weight
            total[1] += weight
    two = max(ny, nx) <= min(_LATTICE_PERIODS_UP_TO, (max_cells - 1) // 2)
    rows_at, columns_at = (range(-count if two else 0, count + 1) for count in (ny, nx))
    cells = [[sums.get((y % ny, x % nx)) for x in columns_at] for y in rows_at]
    return Grid(
        tuple(y * fold for y in rows_at),
        tuple(x * fold for x in columns_at),
        tuple(tuple(c[0] / c[1] if c and c[1] else None for c in row) for row in cells),
        tuple(tuple(c[1] if c else 0 for c in row) for row in cells),
        fold,
        fold > 1,
    )


def _cells(phase: int, fold: int) -> list[tuple[int, float]]:
    """The cells around multiples of `fold` that a phase belongs to: one, or half to each of two from the border.

    >>> _cells(3, 4), _cells(2, 4), _cells(5, 1)
    ([(1, 1.0)], [(0, 0.5), (1, 0.5)], [(5, 1.0)])
    """
    whole, rest = divmod(2 * phase, 2 * fold)
    return [(whole, 0.5), (whole + 1, 0.5)] if rest == fold else [(whole + (rest > fold), 1.0)]
