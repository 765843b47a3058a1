"""Shifts are drawn fairly and reproducibly, and views move the way their sign says."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch

from shiftaudit.errors import InputError
from shiftaudit.records.words import PROTOCOLS
from shiftaudit.views.shifts import centre, cut, draw_shifts


def image_id(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


def test_random_shifts_depend_on_seed_image_and_protocol_alone() -> None:
    first = draw_shifts("8", 32, seed=0, image_id=image_id(1), protocol="circular")
    assert first == draw_shifts("8", 32, seed=0, image_id=image_id(1), protocol="circular")
    assert first != draw_shifts("8", 32, seed=1, image_id=image_id(1), protocol="circular")
    assert first != draw_shifts("8", 32, seed=0, image_id=image_id(2), protocol="circular")
    assert first != draw_shifts("8", 32, seed=0, image_id=image_id(1), protocol="crop")


def test_random_shifts_use_each_stratum_of_each_axis_once() -> None:
    for number in range(50):
        shifts = np.array(draw_shifts("5", 12, seed=0, image_id=image_id(number), protocol="crop"))
        # 25 values in five strata of five.
        for axis in (0, 1):
            assert sorted((shifts[:, axis] + 12) // 5) == [0, 1, 2, 3, 4]


def test_each_random_shift_is_uniform_over_the_whole_range() -> None:
    drawn = np.array([draw_shifts("4", 3, seed=0, image_id=image_id(n), protocol="crop")[2] for n in range(4900)])
    counts = np.zeros((7, 7))
    np.add.at(counts, (drawn[:, 0] + 3, drawn[:, 1] + 3), 1)
    # Chi-square over 49 cells has mean 48 and standard deviation 9.8; five of them are far beyond chance.
    assert ((counts - 100) ** 2 / 100).sum() < 48 + 5 * 9.8
    assert counts.min() > 0


def test_published_draws_stay_in_their_published_ranges() -> None:
    crops = np.array([draw_shifts("iid:2", 16, seed=0, image_id=image_id(n), protocol="crop") for n in range(600)])
    rolls = np.array([draw_shifts("iid:2", 32, seed=0, image_id=image_id(n), protocol="circular") for n in range(600)])
    # Offsets 0..31 of a 224 window on a 256 canvas are shifts 16..−15 from its centre.
    assert (crops.min(), crops.max()) == (-15, 16)
    assert (rolls.min(), rolls.max()) == (-32, 31)


def test_the_grid_holds_every_step_but_the_unshifted_view() -> None:
    shifts = draw_shifts("grid:1", 1, seed=0, image_id="00", protocol="crop")
    assert len(shifts) == 8
    assert (0, 0) not in shifts


@pytest.mark.parametrize("spec", ["0", "-3", "grid", "grid:0", "grid:x", "spiral", "", "8.5", "iid:"])
def test_a_malformed_specification_is_refused(spec: str) -> None:
    with pytest.raises(InputError, match=r"--shifts got"):
        draw_shifts(spec, 8, seed=0, image_id="00", protocol="crop")


def test_more_shifts_than_rows_are_different_places_of_the_whole_range() -> None:
    seen = set()
    for number in range(200):
        shifts = draw_shifts("8", 1, seed=0, image_id=image_id(number), protocol="crop")
        assert len(set(shifts)) == 8
        seen.update(shifts)
    assert len(seen) == 9


def test_more_shifts_than_places_are_refused_with_a_way_out() -> None:
    with pytest.raises(InputError, match=r"use fewer --shifts"):
        draw_shifts("10", 1, seed=0, image_id="00", protocol="crop")


def test_a_positive_shift_moves_content_down_and_right_in_both_protocols() -> None:
    canvas = torch.zeros(1, 8, 8, dtype=torch.uint8)
    canvas[0, 3, 3] = 9
    for protocol in PROTOCOLS:
        view = cut(canvas, protocol, [(1, 2)], 4)[0]
        assert view.shape == (1, 4, 4)
        # The pixel is at (1, 1) in the unshifted view.
        assert view[0, 2, 3] == 9
    assert centre(canvas, 4)[0, 1, 1] == 9


def test_a_crop_brings_in_real_pixels_and_a_roll_brings_back_the_same() -> None:
    canvas = torch.arange(36).view(1, 6, 6)
    assert cut(canvas, "crop", [(1, 0)], 4)[0][0, 0].tolist() == canvas[0, 0, 1:5].tolist()
    rolled = cut(canvas, "circular", [(1, 0)], 4)[0]
    assert sorted(rolled.flatten().tolist()) == sorted(centre(canvas, 4).flatten().tolist())


def test_a_crop_beyond_the_canvas_is_refused() -> None:
    with pytest.raises(InputError, match="leaves the 6×6 canvas"):
        cut(torch.zeros(1, 6, 6), "crop", [(2, 0)], 4)
