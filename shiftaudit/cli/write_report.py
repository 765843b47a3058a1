"""Print a report in the format asked for, and write the files asked for."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from shiftaudit.errors import InputError
from shiftaudit.files import check_writable, write_text_atomically
from shiftaudit.records.report import AuditReport

FORMATS = ("table", "json", "markdown")

OutputFile = Annotated[Path | None, typer.Option("--output-file", "-o", help="Write the report as JSON to this file.")]
ReportFormat = Annotated[str, typer.Option("--format", help="What to print: table, json or markdown.")]


def check_outputs(format: str, *paths: Path | None) -> None:
    """Everything that could fail when the results are there, checked before the work begins.

    Raises:
        InputError: an unknown format, or a file that cannot be written.
    """
    if format not in FORMATS:
        raise InputError(f"--format got {format!r}; expected one of {', '.join(FORMATS)}")
    for path in paths:
        if path is not None:
            check_writable(path)


def emit_report(
    report: AuditReport, format: str, output_file: Path | None, html: Path | None, images: Sequence[Path]
) -> None:
    """Write the report's files, then print it: a report on disk is not lost to a closed pipe."""
    from shiftaudit.records.codec import dumps

    if output_file is not None:
        write_text_atomically(output_file, dumps(report))
    if html is not None:
        from shiftaudit.render.html import render as render_html
        from shiftaudit.render.thumbnails import make

        write_text_atomically(html, render_html(report, thumbnails=make(report, images)))
    if format == "json":
        sys.stdout.write(dumps(report))
    elif format == "markdown":
        from shiftaudit.render import markdown

        sys.stdout.write(markdown.render(report))
    else:
        from shiftaudit.render import table
        from shiftaudit.render.terminal import detect

        sys.stdout.write(table.render(report, detect(sys.stdout)))
