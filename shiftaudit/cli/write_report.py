"""Print a report in the format asked for, and write the files asked for."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from shiftaudit.cli import stdout
from shiftaudit.errors import InputError
from shiftaudit.files import check_writable, write_text_atomically
from shiftaudit.records.options import check_values, option
from shiftaudit.records.report import AuditReport

FORMATS = ("table", "json", "markdown")


@dataclass(frozen=True)
class ReportOutputs:
    """Where a report goes, and in which form."""

    output_file: Path | None = option(None, "Write the report as JSON to this file.", flag="--output-file -o")
    format: str = option("table", "table, json or markdown.", flag="--format -f", choices=FORMATS)
    html: Path | None = option(None, "Write the report as one offline web page.")
    no_images: bool = option(False, "Embed no pictures in the web page.")

    def __post_init__(self) -> None:
        check_values(self)

    def check(self, *more: Path | None, keep: Sequence[Path] = ()) -> None:
        """Everything that could fail when the results are there, checked before the work begins.

        Raises:
            InputError: a file that cannot be written, two results for one file, or one for a file to `keep`.
        """
        outputs = [path for path in (self.output_file, self.html, *more) if path is not None]
        for number, path in enumerate(outputs):
            check_writable(path)
            if path.is_file() and any(kept.is_file() and path.samefile(kept) for kept in keep):
                raise InputError(f"cannot write {path}: it is the model", hint="choose another path")
            if path.absolute() in [other.absolute() for other in outputs[:number]]:
                raise InputError(f"two results would be written to {path}", hint="give each its own file")

    def emit(self, report: AuditReport, images: Sequence[Path] = ()) -> None:
        """Write the report's files, then print it: a report on disk is not lost to a closed pipe."""
        from shiftaudit.records.codec import dumps

        if self.output_file is not None:
            write_text_atomically(self.output_file, dumps(report))
        if self.html is not None:
            from shiftaudit.reports import web_page

            write_text_atomically(self.html, web_page(report, images=[] if self.no_images else images))
        print_report(report, self.format)


def print_report(report: AuditReport, format: str) -> None:
    """Write the report to stdout in one of the formats of `shiftaudit.reports`."""
    from shiftaudit.render.terminal import detect
    from shiftaudit.reports import DRAWN, format_report

    stdout.write(format_report(report, format, terminal=detect(sys.stdout)), utf8=format not in DRAWN)
