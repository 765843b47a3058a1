"""The collector of cycles rests while records are made, and only then."""

from __future__ import annotations

import gc

import pytest

from shiftaudit.records.collector import uncollected


def test_the_collector_goes_on_as_it_was_even_after_an_error() -> None:
    with pytest.raises(KeyError), uncollected():
        assert not gc.isenabled()
        raise KeyError
    assert gc.isenabled()
    gc.disable()
    try:
        with uncollected():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
