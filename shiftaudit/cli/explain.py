"""`shiftaudit explain [TERM]`: what a metric or word means, in plain words."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from shiftaudit.cli import stdout


def explain(
    term: Annotated[
        str | None, typer.Argument(help="A metric or term, such as consistency; none lists them all.")
    ] = None,
) -> None:
    """Say in plain words what a metric or term means, how it is computed and where it comes from."""
    from shiftaudit.render.explain import explain as explain_term
    from shiftaudit.render.explain import overview
    from shiftaudit.render.terminal import detect, plain_lines

    terminal = detect(sys.stdout)
    width = min(terminal.width, 100)
    text = overview(width) if term is None else explain_term(term, width)
    stdout.write(plain_lines(text, terminal))
