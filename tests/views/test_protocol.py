"""Settings to a protocol: what is filled in, and that one protocol has one description."""

from __future__ import annotations

import pytest

from shiftaudit.errors import InputError
from shiftaudit.records.settings import Settings
from shiftaudit.views.protocol import resolve


@pytest.mark.parametrize(("written", "meant"), [("08", "8"), ("grid:04", "grid:4"), ("iid:02", "iid:2")])
def test_the_same_shifts_written_otherwise_are_the_same_protocol(written: str, meant: str) -> None:
    assert resolve(Settings(shifts=written), 64)[1] == resolve(Settings(shifts=meant), 64)[1]


def test_a_preset_that_does_not_fit_a_small_input_offers_no_option_it_refuses() -> None:
    with pytest.raises(
        InputError, match="up to 32 px wraps past the middle of a 32 px input; the published protocol is for"
    ):
        resolve(Settings(preset="aps"), 32)
