from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest
from report_builder import fake_report

from shiftaudit.records.report import AuditReport, PhaseError
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
    middle = grid.rows[grid.ys.index(0)][grid.xs.index(0)]
    assert middle == pytest.approx(0.5), "31 is next to 0, a stride further"


@pytest.mark.parametrize("reach", [1, 2, 4, 9, 16, 31, 32])
@pytest.mark.parametrize("views", [10, 300, 5000])
def test_pooled_cells_lie_evenly_around_the_unmoved_image(reach: int, views: int) -> None:
    """A mirrored set of shifts gives the mirrored map, and no row of cells lies beyond the shifts."""
    shifts = [*np.random.default_rng(reach).integers(-reach, reach + 1, (views, 2)).tolist(), [reach, -reach]]
    values = np.random.default_rng(views).random(len(shifts)).tolist()
    plain = grid_of([(y, x, v, 1) for (y, x), v in zip(shifts, values, strict=True)], 33)
    mirrored = grid_of([(-y, -x, v, 1) for (y, x), v in zip(shifts, values, strict=True)], 33)
    assert plain.counts == tuple(row[::-1] for row in mirrored.counts[::-1])
    assert plain.cell % 2 == 1
    assert len(plain.ys) <= 33
    assert plain.ys[-1] - plain.cell // 2 <= max(reach, plain.cell)


def test_pooled_phases_lie_evenly_around_whole_strides() -> None:
    rng = np.random.default_rng(0)
    phases = [PhaseError(int(y), int(x), 1, float(rng.random())) for y, x in rng.integers(0, 16, (200, 2))]
    mirrored = [PhaseError(-p.py % 16, -p.px % 16, p.n_pairs, p.value) for p in phases]
    plain, other = phase_grid(phases, (16.0, 16.0), 65), phase_grid(mirrored, (16.0, 16.0), 65)
    assert plain is not None and other is not None
    assert plain.cell > 1
    assert np.allclose(np.array(plain.rows, float), np.array(other.rows, float)[::-1, ::-1])


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
    assert max(map(len, lines)) <= terminal.width
    assert ("\x1b[" in text) is terminal.colour
    assert terminal.unicode or text.isascii()


CASES = {
    "heatmap_80": (fake_report(), Terminal(80)),
    "heatmap_120": (fake_report(grid=4), Terminal(120)),
    "heatmap_colour_80": (fake_report(), Terminal(80, colour=True, true_colour=True)),
}


@pytest.mark.parametrize("name", CASES)
def test_the_maps_are_the_golden_ones(golden: Callable[[str, str], None], name: str) -> None:
    report, terminal = CASES[name]
    golden(heatmap.render(report, terminal), f"{name}.txt")


def test_pooling_is_said_and_a_grid_is_not_pooled() -> None:
    def titles(report: AuditReport) -> list[str]:
        return [line for line in heatmap.render(report, Terminal(120)).splitlines() if line.startswith("Share")]

    assert all("in squares of" in title for title in titles(fake_report()))
    assert not any("in squares of" in title for title in titles(fake_report(grid=8)))


def test_marks_are_readable_on_every_colour() -> None:
    grid = grid_of([(-1, 0, 0.0, 1), (0, -1, 1.0, 1), (0, 1, 0.5, 1), (1, 0, 0.8, 1)], 9)
    marks = {(y, x): "a" for y in (-1, 0, 1) for x in (-1, 0, 1)}
    text = heatmap.draw(grid, Terminal(40, colour=True, true_colour=True), marks=marks)
    found = re.findall(r"48;2;(\d+);(\d+);(\d+);38;2;(\d+);(\d+);(\d+)ma", text)
    assert len(found) == 4
    for numbers in found:
        paper, ink = ([int(n) for n in numbers[k : k + 3]] for k in (0, 3))
        light, dark = sorted((luminance(paper), luminance(ink)), reverse=True)
        assert (light + 0.05) / (dark + 0.05) > 4.5, "WCAG AA"


def luminance(colour: list[int]) -> float:
    linear = [c / 255 / 12.92 if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in colour]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_worse_is_darker_ink_without_colour() -> None:
    grid = grid_of([(-1, 0, 0.0, 1), (0, -1, 1.0, 1), (0, 1, 0.5, 1), (1, 0, 1.0, 1)], 9)
    rows = heatmap.draw(grid, Terminal(40)).splitlines()
    assert rows[1][5:7] == "@@"
    assert rows[1][7:9] == "··"
    assert rows[1][9:11] not in ("@@", "  ")
