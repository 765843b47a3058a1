"""Values of options, whoever gives them."""

from __future__ import annotations

import pytest

from shiftaudit.errors import InputError
from shiftaudit.records.digits import MAX_INTEGER
from shiftaudit.records.settings import Settings


@pytest.mark.parametrize("seed", [MAX_INTEGER, 10**5000], ids=["2^63", "thousands of digits"])
def test_a_number_with_which_a_report_could_not_be_read_again_is_refused(seed: int) -> None:
    assert Settings(seed=MAX_INTEGER - 1).seed == MAX_INTEGER - 1
    with pytest.raises(InputError, match="--seed got a whole number"):
        Settings(seed=seed)
