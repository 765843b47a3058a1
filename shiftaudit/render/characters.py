"""Text from outside, made harmless: characters that command a terminal, break a page or change what a reader sees."""

from __future__ import annotations

# Characters that turn the direction of the text behind them: with these, `x\u202egpj.exe` looks like `xexe.jpg`.
_TURNING = (*range(0x202A, 0x202F), *range(0x2066, 0x206A))
_CONTROL = (*range(32), *range(127, 160))
# Neither HTML nor UTF-8 has lone surrogates, and HTML has no non-characters.
_UNWRITABLE = (
    *range(0xD800, 0xE000),
    *range(0xFDD0, 0xFDF0),
    *(plane + last for plane in range(0, 0x110000, 0x10000) for last in (0xFFFE, 0xFFFF)),
)
_REPLACED = dict.fromkeys((*_CONTROL, *_TURNING, *_UNWRITABLE), "\N{REPLACEMENT CHARACTER}")


def clean(text: str) -> str:
    """The text with a replacement character for each one that a terminal would obey, that a page cannot hold, or that would
    change the direction of what stands behind it; and for the mark of a command that CI runners look for within lines (`##[`).

    >>> clean("a\\x1b[31mb\\u202ec")
    'a�[31mb�c'
    """
    return text.translate(_REPLACED).replace("##[", "#\N{REPLACEMENT CHARACTER}[")
