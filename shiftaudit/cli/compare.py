"""`shiftaudit compare A.json B.json`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from shiftaudit.cli import options as opt
from shiftaudit.cli import stdout

_FORMATS = ("table", "json", "markdown")


def compare(
    a: Annotated[Path, typer.Argument(metavar="A.json", help="A report written by `shiftaudit score -o`.")],
    b: Annotated[Path, typer.Argument(metavar="B.json", help="Another one, of the same images.")],
    format: Annotated[str | None, opt.form(*_FORMATS)] = None,
    output_file: Annotated[Path | None, opt.output("Write it to this file instead: .json, .md or .txt.")] = None,
) -> None:
    """Put two reports side by side, with paired intervals on the images they share. Informs, never judges."""
    from shiftaudit.records.reading import read_report

    form = opt.kind_of(format, output_file, _FORMATS)
    reports = read_report(a), read_report(b)
    from shiftaudit.gate import compare as side_by_side
    from shiftaudit.render.compare import render_comparison

    drawn = partial(render_comparison, side_by_side.compare(*reports), form)
    stdout.deliver(drawn, output_file, utf8=form != "table")
