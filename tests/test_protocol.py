"""Settings to a protocol: what is filled in, and that one protocol has one description."""

from __future__ import annotations

import pytest

from shiftaudit.protocol import Settings, resolve


@pytest.mark.parametrize(("written", "meant"), [("08", "8"), ("grid:04", "grid:4"), ("iid:02", "iid:2")])
def test_the_same_shifts_written_otherwise_are_the_same_protocol(written: str, meant: str) -> None:
    assert resolve(Settings(shifts=written), 64)[1] == resolve(Settings(shifts=meant), 64)[1]
