"""Lay counts out on a grid: flips over the shift (dy, dx), and a stage's error over phase."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from shiftaudit.records.report import PhaseError, ProtocolResult, Shift

_VIEWS_PER_CELL = 4
_LATTICE_PERIODS_UP_TO = 16


@dataclass(frozen=True)
class Grid:
    """Values over (dy, dx): `rows[i][j]` belongs to `ys[i]`, `xs[j]` (input pixels); None where not measured."""

    ys: tuple[int, ...]
    xs: tuple[int, ...]
    rows: tuple[tuple[float | None, ...], ...]
    counts: tuple[tuple[int, ...], ...]
    cell: int
    """Width of a cell in pixels; 1 where a cell is a single shift."""

    @property
    def top(self) -> float:
        """The largest value, 0 where there is none."""
        return max((value for row in self.rows for value in row if value is not None), default=0.0)


def flip_grid(result: ProtocolResult, max_cells: int) -> Grid | None:
    """The share of answers that change, over the shift: at most max_cells × max_cells cells, None without shifts.

    Shifts on a regular grid keep a cell each where they fit; others are pooled into equal squares, as many as leave
    each about four views or more.
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
    if axis is None or len(axis) > max_cells:
        axis = _squares(samples, max_cells)
    centres = axis
    cell = centres[1] - centres[0] if len(centres) > 1 else 1
    return _pool(samples, centres, cell)


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
    half = max(1, (wanted - 1) // 2)
    cell = max(1, math.ceil((2 * reach + 1) / (2 * half + 1)))
    return [k * cell for k in range(-half, half + 1)]


def _pool(samples: Sequence[tuple[int, int, float, int]], centres: Sequence[int], cell: int) -> Grid:
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
    return Grid(tuple(centres), tuple(centres), rows, tuple(map(tuple, counts)), cell)


def phase_grid(by_phase: Sequence[PhaseError], stride: tuple[float, float], max_cells: int) -> Grid | None:
    """A stage's output error over phase, repeated so that the lattice of its stride shows; None without phases.

    Phase (0, 0), a whole number of strides, lies at the corners, and in the middle of small strides, where a period to
    each side is shown. Sparse or wide maps are pooled in squares centred on the multiples of the stride.
    """
    sy, sx = (round(value) for value in stride)
    if not by_phase or min(sy, sx) < 1:
        return None
    fold, pairs = 1, sum(phase.n_pairs for phase in by_phase)
    while fold < max(sy, sx) and (pairs < _VIEWS_PER_CELL * sy * sx / fold**2 or max(sy, sx) / fold + 1 > max_cells):
        fold *= 2
    ny, nx = max(1, sy // fold), max(1, sx // fold)
    sums: dict[tuple[int, int], list[float]] = {}
    for phase in by_phase:
        key = (math.floor(phase.py / fold + 0.5) % ny, math.floor(phase.px / fold + 0.5) % nx)
        total = sums.setdefault(key, [0.0, 0.0])
        total[0] += phase.value * phase.n_pairs
        total[1] += phase.n_pairs
    two = max(ny, nx) <= min(_LATTICE_PERIODS_UP_TO, (max_cells - 1) // 2)
    rows_at, columns_at = (range(-count if two else 0, count + 1) for count in (ny, nx))
    cells = [[sums.get((y % ny, x % nx)) for x in columns_at] for y in rows_at]
    return Grid(
        tuple(y * fold for y in rows_at),
        tuple(x * fold for x in columns_at),
        tuple(tuple(c[0] / c[1] if c and c[1] else None for c in row) for row in cells),
        tuple(tuple(int(c[1]) if c else 0 for c in row) for row in cells),
        fold,
    )
