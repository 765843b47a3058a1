"""Phases against what they are phases of: a list of samples, moved and sampled again."""

import itertools

import pytest

from shiftaudit.stages.grid import Grid, Move


@pytest.mark.parametrize("factors", [(2, 2, 2), (4, 2), (3, 2), (1, 2, 3)])
def test_sampling_at_the_phases_of_a_shift_keeps_the_samples_a_moved_signal_gives(factors):
    length = 2 * 3 * 4 * 12
    strides = list(itertools.accumulate((1, *factors), lambda a, b: a * b))
    for shift in range(-14, 15):
        moved = [(i - shift) % length for i in range(length)]
        at_rest = list(range(length))
        for before, after in itertools.pairwise(strides):
            factor = after // before
            phase = Grid((before, 1), (after, 1)).phase((shift, 0))[0]
            assert abs(phase) <= factor
            moved, at_rest = moved[::factor], (at_rest[phase:] + at_rest[:phase])[::factor]
            by = (2 * shift + after) // (2 * after)
            assert [at_rest[(i - by) % len(at_rest)] for i in range(len(moved))] == moved


def test_a_move_of_one_grid_leaves_the_others_at_rest():
    stem, deeper = Grid((1, 1), (2, 2)), Grid((2, 2), (4, 4))
    move = Move(deeper.shift((1, 1)), only=deeper)
    assert move.phase(deeper) == (1, 1)
    assert move.phase(stem) == (0, 0)


def test_a_grid_of_fractional_stride_has_no_phases():
    assert not Grid((1, 1), (1.5, 1.5)).is_whole
    assert not Grid((2, 2), (3, 3)).is_whole
    assert Grid((2.0, 1.0), (4.0, 3.0)).is_whole
