"""Print a report in the format asked for, and write the files asked for."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from shiftaudit.cli import stdout
from shiftaudit.errors import InputError
from shiftaudit.files import path_to_write, write_text_atomically
from shiftaudit.records.options import Checked, in_words, option
from shiftaudit.records.report import AuditReport
from shiftaudit.reports import result_path

if TYPE_CHECKING:
    from shiftaudit.reports import Result

FORMATS = ("summary", "table", "json", "markdown", "github-benchmark", "model-card")


@dataclass(frozen=True)
class ReportOutputs(Checked):
    """Where a report goes, and in which form."""

    output_file: Path | None = option(
        None,
        "Write the report to this file: .json, .html, .md, .txt, .csv, .parquet, .svg, .png or .pdf; .json.gz.",
        flag="--output-file -o",
        metavar="PATH",
        parse=result_path,
    )
    full: bool = option(False, "Print all measures and stages instead of a summary.")
    """The same as the format `table`."""
    format: str = option("summary", f"{in_words(FORMATS)}.", flag="--format -f", choices=FORMATS)
    html: Path | None = option(
        None, "Write the report as one offline web page, too.", metavar="PATH", parse=path_to_write
    )
    no_images: bool = option(False, "Embed no images in the web page.")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_full(self.format, full=self.full)

    def emit(self, report: AuditReport, images: Sequence[Path] = ()) -> None:
        """Write the report's files, then print it: a report on disk is not lost to a closed pipe."""
        from shiftaudit.reports import save_report, web_page

        shown = [] if self.no_images else images
        if self.output_file is not None:
            save_report(report, self.output_file, images=shown)
        if self.html is not None:
            write_text_atomically(self.html, web_page(report, images=shown))
        print_report(report, "table" if self.full else self.format)


def check_full(format: str | None, *, full: bool) -> None:
    """Refuse `--full` beside a format that is no drawing of the report.

    Raises:
        InputError: it is such a one.
    """
    if full and format not in (None, "summary", "table"):
        raise InputError(f"--full is for the terminal, and came with --format {format}", hint="leave one of them out")


def print_report(report: Result, format: str | None) -> None:
    """Write the report to stdout in one of the formats of `shiftaudit.reports`, by default the first."""
    from shiftaudit.render.terminal import detect
    from shiftaudit.reports import DRAWN, format_report, formats_of

    format = format or formats_of(report)[0]
    stdout.write(format_report(report, format, terminal=detect(sys.stdout)), utf8=format not in DRAWN)
