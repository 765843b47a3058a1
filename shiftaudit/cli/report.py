"""`shiftaudit report`: a saved report as a web page, or on the terminal with its heatmaps."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from shiftaudit.errors import InputError
from shiftaudit.records.report import AuditReport

_FORMATS = ("table", "heatmap", "markdown", "json")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("report")(report)


def report(
    report: Annotated[Path, typer.Argument(metavar="REPORT.json", help="A report written by `shiftaudit score -o`.")],
    other: Annotated[
        Path | None,
        typer.Argument(metavar="OTHER.json", help="A second report, shown as what comes after the first."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output-file", "-o", help="Write one offline web page to this file.")
    ] = None,
    images: Annotated[
        list[Path] | None, typer.Option("--images", help="The folder that was scored: adds thumbnails to the page.")
    ] = None,
    no_images: Annotated[bool, typer.Option("--no-images", help="Embed no pictures, even with --images.")] = False,
    format: Annotated[
        str, typer.Option("--format", "-f", help=f"Without -o: {', '.join(_FORMATS[:-1])} or {_FORMATS[-1]}.")
    ] = "table",
) -> None:
    """Show a saved report again: as a web page with -o, else on the terminal. Needs no model and no torch."""
    from shiftaudit.records.reading import read_report

    if format not in _FORMATS:
        raise InputError(f"--format got {format!r}; expected one of {', '.join(_FORMATS)}")
    first = read_report(report)
    second = read_report(other) if other is not None else None
    if output is None:
        if second is not None:
            raise InputError("a second report needs -o PAGE.html", hint="`shiftaudit compare` compares on the terminal")
        sys.stdout.write(_text(first, format))
        return
    from shiftaudit.cli.web_page import web_page
    from shiftaudit.files import check_writable, write_text_atomically

    check_writable(output)
    write_text_atomically(output, web_page(first, second, images=[] if no_images else images or []))
    sys.stderr.write(f"wrote {output}\n")


def _text(report: AuditReport, format: str) -> str:
    from shiftaudit.records.codec import dumps
    from shiftaudit.render import heatmap, markdown, table
    from shiftaudit.render.terminal import detect

    if format == "json":
        return dumps(report)
    if format == "markdown":
        return markdown.render(report)
    draw = heatmap.render if format == "heatmap" else table.render
    return draw(report, detect(sys.stdout))
