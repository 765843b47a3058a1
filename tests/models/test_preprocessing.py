"""What is done to images: where the values come from, and which are refused."""

from __future__ import annotations

from typing import Any

import pytest

from shiftaudit.errors import InputError
from shiftaudit.models import ModelOptions
from shiftaudit.models.preprocessing import IMAGENET, preset, with_options
from shiftaudit.records.settings import numbers


def test_without_options_nothing_changes() -> None:
    assert with_options(IMAGENET, ModelOptions()) is IMAGENET


def test_each_option_replaces_its_own_field_and_is_recorded() -> None:
    used = with_options(IMAGENET, ModelOptions(interpolation="bicubic"))
    assert (used.interpolation, used.size, used.mean) == ("bicubic", 224, IMAGENET.mean)
    assert used.source == "options and imagenet preset"
    assert used.guessed
    assert not with_options(IMAGENET, ModelOptions(mean=(0.5,) * 3, std=(0.5,) * 3)).guessed


@pytest.mark.parametrize(
    ("size", "resize", "expected"), [(112, None, 128), (299, None, 342), (32, 40, 40), (1, None, 1)]
)
def test_a_size_alone_keeps_the_share_of_the_image(size: int, resize: int | None, expected: int) -> None:
    used = with_options(IMAGENET, ModelOptions(size=size, resize=resize))
    assert (used.size, used.resize) == (size, expected)


def test_grey_images_get_the_mean_of_the_colour_values() -> None:
    used = with_options(IMAGENET, ModelOptions(channels=1))
    assert used.mean == pytest.approx((sum(IMAGENET.mean) / 3,), abs=1e-3)
    assert used.std == pytest.approx((sum(IMAGENET.std) / 3,), abs=1e-3)
    assert preset(1).channels == 1


def test_one_mean_may_stand_for_all_channels() -> None:
    assert with_options(IMAGENET, ModelOptions(mean=(0.5,))).mean == (0.5,)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"size": 0}, "--size got 0; expected at least 1"),
        ({"size": -8}, "--size got -8; expected at least 1"),
        ({"resize": 100}, "--resize 100 is below --size 224"),
        ({"channels": 4}, "--channels got 4; expected 1 or 3"),
        ({"interpolation": "cubic"}, "--interpolation got 'cubic'; expected nearest, bilinear, bicubic"),
        ({"mean": (0.5, 0.5)}, "--mean got 2 values; expected 1 or 3"),
        ({"std": (0.5, 0.5, 0.5, 0.5)}, "--std got 4 values"),
        ({"std": (0.0,)}, "--std got 0; expected values in [0, 1] units"),
        ({"std": (-1.0,)}, "--std got -1"),
        ({"mean": (123.675, 116.28, 103.53)}, "--mean got 123.675; expected values in [0, 1] units; divide by 255"),
        ({"mean": (float("nan"),)}, "--mean got nan"),
        ({"std": (float("inf"),)}, "--std got inf"),
        ({"channels": 1, "mean": (0.1, 0.2, 0.3)}, "--mean got 3 values; expected 1 or 1"),
    ],
)
def test_values_no_image_can_be_prepared_with_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError) as caught:
        with_options(IMAGENET, ModelOptions(**options))
    assert words in str(caught.value)


def test_lists_of_numbers_are_parsed() -> None:
    assert (numbers("0.1, 0.2,0.3"), numbers("0.5")) == ((0.1, 0.2, 0.3), (0.5,))


@pytest.mark.parametrize("text", ["", "a", "0.5;0.5", "0.5,"])
def test_a_malformed_list_of_numbers_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="one number, or one per channel"):
        numbers(text)
