"""One colour scale for trouble: dark where all is well, bright where answers change or features alias.

It runs evenly in lightness, so it reads in grey print and for the colour-blind, and on light and dark pages alike.
"""

from __future__ import annotations

RGB = tuple[int, int, int]

_ANCHORS: tuple[RGB, ...] = (
    (11, 16, 44),
    (58, 22, 96),
    (120, 32, 108),
    (184, 52, 86),
    (232, 98, 48),
    (250, 164, 36),
    (252, 232, 140),
)
ASCII_SHADES = " .:-=+*#%@"


def heat(share: float) -> RGB:
    """The colour of a share of the worst value, clipped to [0, 1].

    >>> heat(0.0), heat(2.0)
    ((11, 16, 44), (252, 232, 140))
    """
    place = min(1.0, max(0.0, share)) * (len(_ANCHORS) - 1)
    index = min(int(place), len(_ANCHORS) - 2)
    low, high, part = _ANCHORS[index], _ANCHORS[index + 1], place - index
    red, green, blue = (round(a + (b - a) * part) for a, b in zip(low, high, strict=True))
    return red, green, blue


def hexadecimal(colour: RGB) -> str:
    """`#rrggbb`."""
    return "#{:02x}{:02x}{:02x}".format(*colour)


def xterm256(colour: RGB) -> int:
    """The nearest colour of the 6×6×6 cube of 256-colour terminals.

    >>> xterm256((255, 0, 0)), xterm256((0, 0, 0))
    (196, 16)
    """
    levels = (0, 95, 135, 175, 215, 255)
    red, green, blue = (min((abs(level - part), place) for place, level in enumerate(levels))[1] for part in colour)
    return 16 + 36 * red + 6 * green + blue
