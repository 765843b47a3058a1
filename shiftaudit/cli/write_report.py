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
Html = Annotated[Path | None, typer.Option("--html", help="Write the report as one offline web page.")]
NoImages = Annotated[bool, typer.Option("--no-images", help="Embed no pictures in the web page.")]
ReportFormat = Annotated[str, typer.Option("--format", "-f", help="table, json or markdown.")]


def check_outputs(format: str, *paths: Path | None, keep: Sequence[Path] = ()) -> None:
    """Everything that could fail when the results are there, checked before the work begins.

    Raises:
        InputError: an unknown format, a file that cannot be written, two results for one file, or one for a file to `keep`.
    """
    if format not in FORMATS:
        raise InputError(f"--format got {format!r}; expected one of {', '.join(FORMATS)}")
    outputs = [path for path in paths if path is not None]
    for number, path in enumerate(outputs):
        check_writable(path)
        if path.is_file() and any(kept.is_file() and path.samefile(kept) for kept in keep):
            raise InputError(f"cannot write {path}: it is the model", hint="choose another path")
        if path.absolute() in [other.absolute() for other in outputs[:number]]:
            raise InputError(f"two results would be written to {path}", hint="give each its own file")


def emit_report(
    report: AuditReport, format: str, output_file: Path | None, html: Path | None, images: Sequence[Path]
) -> None:
    """Write the report's files, then print it: a report on disk is not lost to a closed pipe."""
    from shiftaudit.records.codec import dumps

    if output_file is not None:
        write_text_atomically(output_file, dumps(report))
    if html is not None:
        from shiftaudit.cli.web_page import web_page

        write_text_atomically(html, web_page(report, images=images))
    if format == "json":
        sys.stdout.write(dumps(report))
    elif format == "markdown":
        from shiftaudit.render import markdown

        sys.stdout.write(markdown.render(report))
    else:
        from shiftaudit.render import table
        from shiftaudit.render.terminal import detect

        text = table.render(report, detect(sys.stdout))
        sys.stdout.write(text if text.endswith("\n") else text + "\n")
