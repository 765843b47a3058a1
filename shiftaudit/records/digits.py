"""Whole numbers in what people write."""

from __future__ import annotations

from typing import Final

MAX_INTEGER: Final = 2**63
"""Integers are below this, or an array could not hold them."""

# Python refuses to read thousands of digits, and nothing that is counted here needs more than these.
_MOST_DIGITS = 18


def whole_number(text: str) -> int | None:
    """The number that a text of decimal digits spells; None for any other text, and for one that counts nothing.

    >>> whole_number("08"), whole_number("-1"), whole_number("٣"), whole_number("9" * 5000)
    (8, None, None, None)
    """
    spells_one = text.isascii() and text.isdecimal() and len(text.lstrip("0")) <= _MOST_DIGITS
    return int(text[-_MOST_DIGITS:]) if spells_one else None
