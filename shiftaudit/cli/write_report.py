"""Print a report in the format asked for, and write the files asked for."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from shiftaudit.cli import stdout
from shiftaudit.files import path_to_write, write_text_atomically
from shiftaudit.records.options import check_values, option
from shiftaudit.records.report import AuditReport

if TYPE_CHECKING:
    from shiftaudit.reports import Result

FORMATS = ("table", "json", "markdown", "github-benchmark", "model-card")


@dataclass(frozen=True)
class ReportOutputs:
    """Where a report goes, and in which form."""

    output_file: Path | None = option(
        None, "Write the report as JSON to this file.", flag="--output-file -o", metavar="PATH", parse=path_to_write
    )
    format: str = option(
        "table", "table, json, markdown, github-benchmark or model-card.", flag="--format -f", choices=FORMATS
    )
    html: Path | None = option(None, "Write the report as one offline web page.", metavar="PATH", parse=path_to_write)
    no_images: bool = option(False, "Embed no images in the web page.")

    def __post_init__(self) -> None:
        check_values(self)

    def emit(self, report: AuditReport, images: Sequence[Path] = ()) -> None:
        """Write the report's files, then print it: a report on disk is not lost to a closed pipe."""
        from shiftaudit.records.codec import dumps

        if self.output_file is not None:
            write_text_atomically(self.output_file, dumps(report))
        if self.html is not None:
            from shiftaudit.reports import web_page

            write_text_atomically(self.html, web_page(report, images=[] if self.no_images else images))
        print_report(report, self.format)


def print_report(report: Result, format: str) -> None:
    """Write the report to stdout in one of the formats of `shiftaudit.reports`."""
    from shiftaudit.render.terminal import detect
    from shiftaudit.reports import DRAWN, format_report

    stdout.write(format_report(report, format, terminal=detect(sys.stdout)), utf8=format not in DRAWN)
