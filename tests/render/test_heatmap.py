from __future__ import annotations

import re

import numpy as np
import pytest
from fake_report import fake_report

from shiftaudit.records.report import PhaseError
from shiftaudit.render import heatmap
from shiftaudit.render.grids import flip_grid, grid_of, phase_grid
from shiftaudit.render.terminal import Terminal


def test_a_full_grid_keeps_one_cell_a_shift() -> None:
    result = fake_report(grid=8).protocols["circular"]
    grid = flip_grid(result, 33)
    assert grid is not None
    assert grid.ys == grid.xs == tuple(range(-32, 33, 8))
    for count in result.by_shift:
        value = grid.rows[grid.ys.index(count.dy)][grid.xs.index(count.dx)]
        assert value == pytest.approx(1 - count.n_agree / count.n_images)
    assert grid.rows[4][4] is None, "the unshifted view is no shift"


def test_pooling_loses_no_view() -> None:
    rng = np.random.default_rng(0)
    samples = [
        (int(y), int(x), float(f), 1)
        for y, x, f in zip(*rng.integers(-32, 33, (2, 500)), rng.integers(0, 2, 500), strict=True)
    ]
    grid = grid_of(samples, 21)
    assert sum(map(sum, grid.counts)) == 500
    total = sum(
        v * n
        for row, counts in zip(grid.rows, grid.counts, strict=True)
        for v, n in zip(row, counts, strict=True)
        if v is not None
    )
    assert total == pytest.approx(sum(sample[2] for sample in samples))
    assert len(grid.ys) <= 21
    assert grid.ys[0] == -grid.ys[-1]


def test_the_lattice_is_clean_only_at_whole_strides() -> None:
    phases = [PhaseError(y, x, 5, 0.0 if y == x == 0 else 0.1) for y in range(4) for x in range(4)]
    grid = phase_grid(phases, (4.0, 4.0), 65)
    assert grid is not None
    clean = {
        (y, x) for y, row in zip(grid.ys, grid.rows, strict=True) for x, v in zip(grid.xs, row, strict=True) if v == 0
    }
    assert clean == {(y, x) for y in (-4, 0, 4) for x in (-4, 0, 4)}


def test_a_sparse_map_is_pooled_around_whole_strides() -> None:
    phases = [PhaseError(0, 0, 200, 0.0), PhaseError(31, 0, 200, 1.0), PhaseError(16, 16, 200, 0.9)]
    grid = phase_grid(phases, (32.0, 32.0), 65)
    assert grid is not None
    assert grid.cell > 1
    assert grid.rows[0][0] == pytest.approx(0.5), "31 is next to 0, a stride further"


@pytest.mark.parametrize(
    "terminal",
    [
        Terminal(40),
        Terminal(80),
        Terminal(80, unicode=False),
        Terminal(60, colour=True),
        Terminal(60, colour=True, true_colour=True),
    ],
)
@pytest.mark.parametrize("grid", [None, 4])
def test_heatmaps_fit_the_terminal(terminal: Terminal, grid: int | None) -> None:
    text = heatmap.render(fake_report(grid=grid), terminal)
    lines = re.sub(r"\x1b\[[\d;]*m", "", text).splitlines()
    maps = [line for line in lines if not line.startswith(("Error", "Answers"))]
    assert max(map(len, maps)) <= terminal.width
    assert ("\x1b[" in text) is terminal.colour
    assert terminal.unicode or text.isascii()


def test_worse_is_darker_ink_without_colour() -> None:
    grid = grid_of([(-1, 0, 0.0, 1), (0, -1, 1.0, 1), (0, 1, 0.5, 1), (1, 0, 1.0, 1)], 9)
    rows = heatmap.draw(grid, Terminal(40)).splitlines()
    assert rows[1][5:7] == "@@"
    assert rows[1][7:9] == "··"
    assert rows[1][9:11] not in ("@@", "  ")
