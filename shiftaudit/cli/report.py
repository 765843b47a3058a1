"""`shiftaudit report`: a saved report as a web page, or on the terminal with its heatmaps."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shiftaudit.cli import options as opt
from shiftaudit.cli.stderr import say
from shiftaudit.cli.write_report import print_report
from shiftaudit.errors import InputError


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("report")(report)


def report(
    report: opt.Report,
    other: Annotated[
        Path | None,
        typer.Argument(metavar="OTHER.json", help="A second report, shown as what comes after the first."),
    ] = None,
    output_file: Annotated[
        Path | None,
        opt.output("Write it to this file instead: .html, .json, .md, .txt; .csv, .parquet (rows); .svg, .png, .pdf."),
    ] = None,
    images: Annotated[
        list[Path] | None, typer.Option("--images", help="The folder that was scored: adds thumbnails to the page.")
    ] = None,
    no_images: Annotated[bool, typer.Option("--no-images", help="Embed no pictures, even with --images.")] = False,
    format: Annotated[
        str, opt.form("table", "heatmap", "markdown", "json", help="Without -o: table, heatmap, markdown or json.")
    ] = "table",
) -> None:
    """Show a saved report again: as a web page with -o, else on the terminal. Needs no model and no torch."""
    from shiftaudit.records.reading import read_report

    first = read_report(report)
    second = read_report(other) if other is not None else None
    if output_file is None:
        if second is not None:
            raise InputError("a second report needs -o PAGE.html", hint="`shiftaudit compare` compares on the terminal")
        print_report(first, format)
        return
    from shiftaudit.reports import save_report

    save_report(first, output_file, other=second, images=[] if no_images else images or [])
    say(f"wrote {output_file}")
