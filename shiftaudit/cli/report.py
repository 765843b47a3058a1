"""`shiftaudit report`: a saved report as a web page, or on the terminal with its heatmaps."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shiftaudit.cli import options as opt
from shiftaudit.cli.stderr import say
from shiftaudit.cli.write_report import check_full, print_report
from shiftaudit.files import suffix_of
from shiftaudit.records.options import in_words
from shiftaudit.reports import REPORT_FORMATS

_FORMATS = tuple(format for format in REPORT_FORMATS if format != "html")


def report(
    reports: Annotated[
        list[Path],
        typer.Argument(metavar="REPORT.json...", help="Reports written by `shiftaudit score -o`, one or several."),
    ],
    output_file: Annotated[
        Path | None,
        opt.output("Write it to this file instead: .html, .json, .md, .txt; .csv, .parquet (rows); .svg, .png, .pdf."),
    ] = None,
    images: Annotated[
        list[Path] | None, typer.Option("--images", help="The folder that was scored: adds thumbnails to the page.")
    ] = None,
    no_images: Annotated[bool, typer.Option("--no-images", help="Embed no images, even with --images.")] = False,
    full: Annotated[bool, typer.Option("--full", help="All measures and stages instead of a summary.")] = False,
    format: Annotated[str | None, opt.form(*_FORMATS, help=f"Without -o: {in_words(_FORMATS)}.")] = None,
) -> None:
    """Show a saved report again: as a page, figure or rows with -o, else on the terminal. Needs no model and no torch.

    Several reports are shown side by side, the most consistent model first; two on a page as before and after.
    """
    from shiftaudit.records.reading import read_report
    from shiftaudit.reports import leaderboard, save_board, save_report

    check_full(format, full=full)
    read = [read_report(path) for path in reports]
    if output_file is None:
        print_report(read[0] if len(read) == 1 else leaderboard(read), "table" if full else format)
        return
    if len(read) > 2 or (len(read) == 2 and suffix_of(output_file) not in (".html", ".htm")):
        save_board(leaderboard(read), output_file)
    else:
        first, *second = read
        save_report(first, output_file, other=second[0] if second else None, images=[] if no_images else images or [])
    say(f"wrote {output_file}")
