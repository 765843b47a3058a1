"""What the terminal can show: width, colour, Unicode; and rich output as plain text under these limits."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import StringIO
from typing import TextIO

from rich import box
from rich.console import Console
from rich.table import Table

from shiftaudit.records.digits import whole_number

MIN_WIDTH, MAX_WIDTH = 40, 140

_ASCII = str.maketrans(
    {
        "≤": "<=", "→": "->", "·": "-", "±": "+/-", "×": "x", "−": "-", "–": "-", "…": "...", "≈": "~", "─": "-", "━": "=",
        "◀": "<", "▲": "^", "█": "#", "▀": '"', "▄": ",", "│": "|", "├": "+", "└": "`", "≠": "!=", "½": "1/2", "•": "*",
    }
)  # fmt: skip


@dataclass(frozen=True)
class Terminal:
    """The limits of where the text goes. The default is a pipe: 80 columns, no colour, Unicode."""

    width: int = 80
    colour: bool = False
    true_colour: bool = False
    unicode: bool = True


def detect(stream: TextIO, environ: dict[str, str] | None = None) -> Terminal:
    """Read the limits of a stream from it and from NO_COLOR, FORCE_COLOR, TERM, COLORTERM and COLUMNS.

    >>> detect(StringIO(), {"FORCE_COLOR": "1", "NO_COLOR": "1"}).colour
    False
    """
    env = dict(os.environ) if environ is None else environ
    is_terminal = stream.isatty() and env.get("TERM", "") not in ("dumb", "unknown", "")
    colour = not env.get("NO_COLOR") and (is_terminal or bool(env.get("FORCE_COLOR")))
    width = whole_number(env.get("COLUMNS", ""))
    if width is None:
        width = shutil.get_terminal_size((80, 24)).columns if stream.isatty() else 80
    encoding = (getattr(stream, "encoding", None) or "utf-8").lower().replace("-", "")
    return Terminal(
        width=max(MIN_WIDTH, min(MAX_WIDTH, width)),
        colour=colour,
        true_colour=env.get("COLORTERM", "") in ("truecolor", "24bit"),
        unicode=encoding.startswith("utf"),
    )


def to_text(draw: Callable[[Console], None], terminal: Terminal) -> str:
    """Everything that `draw` prints on a rich console of these limits, without blanks at line ends."""
    buffer = StringIO()
    console = Console(
        file=buffer,
        width=terminal.width,
        height=100,
        color_system=("truecolor" if terminal.true_colour else "256") if terminal.colour else None,
        force_terminal=terminal.colour,
        no_color=not terminal.colour,
        legacy_windows=False,
        highlight=False,
        markup=False,
        emoji=False,
        # An explicit environment keeps COLUMNS, TERM and NO_COLOR from being read a second time.
        _environ={},
    )
    draw(console)
    return plain_lines(buffer.getvalue(), terminal)


def table(*headings: str, right: Sequence[str]) -> Table:
    """A table with a line under its head, without rows yet; the columns of `right` follow, aligned right."""
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in headings:
        made.add_column(heading)
    for heading in right:
        made.add_column(heading, justify="right")
    return made


def plain_lines(text: str, terminal: Terminal) -> str:
    """The text without blanks at line ends, in ASCII where the terminal has no Unicode."""
    text = "".join(line.rstrip() + "\n" for line in text.splitlines())
    return text if terminal.unicode else text.translate(_ASCII).encode("ascii", "backslashreplace").decode("ascii")
