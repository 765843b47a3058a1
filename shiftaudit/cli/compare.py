"""`shiftaudit compare A.json B.json`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from shiftaudit.cli import stdout
from shiftaudit.errors import InputError


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("compare")(compare_reports)


def compare_reports(
    a: Annotated[Path, typer.Argument(metavar="A.json", help="A report written by `shiftaudit score -o`.")],
    b: Annotated[Path, typer.Argument(metavar="B.json", help="Another one, of the same images.")],
    format: Annotated[str, typer.Option("--format", "-f", help="table, json or markdown.")] = "table",
    output: Annotated[Path | None, typer.Option("--output-file", "-o", help="Write to this file instead.")] = None,
) -> None:
    """Put two reports side by side, with paired intervals on the images they share. Informs, never judges."""
    from shiftaudit.files import check_writable, write_text_atomically
    from shiftaudit.gate.compare import compare
    from shiftaudit.records.reading import read_report
    from shiftaudit.render.compare import FORMATS, render_comparison
    from shiftaudit.render.terminal import Terminal, detect

    if format not in FORMATS:
        raise InputError(f"--format got {format!r}; expected {', '.join(FORMATS)}")
    if output is not None:
        check_writable(output)
    terminal = detect(sys.stdout) if output is None else Terminal()
    text = render_comparison(compare(read_report(a), read_report(b)), format, terminal)
    if output is not None:
        write_text_atomically(output, text)
    else:
        stdout.write(text, utf8=format != "table")
