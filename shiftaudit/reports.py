"""A report in any of its forms: the one place that knows which forms there are, for the command line and for Python alike.

It stands above the rooms: records hold numbers, `render` makes text of them, and images of the images are read here.
Neither torch nor rich is imported before a form needs it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from shiftaudit.errors import InputError, from_extra
from shiftaudit.files import (
    check_writable,
    is_device,
    path_to_write,
    suffix_of,
    write_parts_atomically,
    write_text_atomically,
)
from shiftaudit.records.collector import uncollected
from shiftaudit.records.gate import Comparison, GateResult
from shiftaudit.records.leaderboard import Leaderboard, entry_of, ranked
from shiftaudit.records.options import Option, check_value, in_words
from shiftaudit.records.report import AuditReport

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

    from shiftaudit.render.terminal import Terminal

REPORT_FORMATS = ("summary", "table", "heatmap", "markdown", "html", "csv", "json", "github-benchmark", "model-card")
_FIGURES = ("svg", "png", "pdf")

DRAWN = ("summary", "table", "heatmap")
"""Formats for people, of a terminal's width; programs read the others, as UTF-8."""

_BY_SUFFIX = {
    ".json": "json", ".html": "html", ".htm": "html", ".md": "markdown", ".txt": "table", ".csv": "csv",
    ".parquet": "parquet", ".svg": "svg", ".png": "png", ".pdf": "pdf",
}  # fmt: skip
"""What is written into a file, by how its name ends."""


Images = str | Path | Sequence[str | Path]
Result = AuditReport | Comparison | GateResult | Leaderboard


def format_report(
    report: Result,
    format: str | None = None,
    *,
    images: Images = (),
    terminal: Terminal | None = None,
) -> str:
    """A report, a comparison or a gate's result as text that ends in a newline.

    Args:
        report: from `score`, `read_report`, `compare`, `judge` or `leaderboard`.
        format: of a report `summary` (a dozen lines), `table` (all of it), `heatmap`, `markdown`, `html`, `csv` (a row a
            view), `json`, `github-benchmark` or `model-card`; of a comparison `table`, `json` or `markdown`; of a gate's
            result `table`, `json`, `markdown`, `junit` or `github`; of a leaderboard `table`, `csv`, `html` or `json`. The
            first of these by default.
        images: what was scored, for the thumbnails of `html`.
        terminal: width and colour of what is drawn for a terminal; 80 columns without colour by default.

    Raises:
        InputError: there is no such format, or there is no image in `images`.
    """
    known, render = _forms_of(report)
    format = format or known[0]
    check_value("format", format, Option("", choices=known))
    if isinstance(report, AuditReport) and format == "html":
        text = web_page(report, images=images)
    else:
        text = render(report, format, terminal)
    return text if text.endswith("\n") else text + "\n"


def formats_of(report: Result) -> tuple[str, ...]:
    """What `format_report` can make of it."""
    return _forms_of(report)[0]


def _forms_of(report: Result) -> tuple[tuple[str, ...], Callable[..., str]]:
    """The formats of a result, and what makes text of it, a format and a terminal."""
    if isinstance(report, GateResult):
        from shiftaudit.render.gate import formats

        return formats.FORMATS, formats.render_gate
    if isinstance(report, Comparison):
        from shiftaudit.render import compare

        return compare.FORMATS, compare.render_comparison
    if isinstance(report, Leaderboard):
        from shiftaudit.render import leaderboard

        return leaderboard.FORMATS, _board_text
    return REPORT_FORMATS, _text


def _text(report: AuditReport, format: str, terminal: Terminal | None) -> str:
    if format == "json":
        from shiftaudit.records.codec import dumps

        return dumps(report)
    if format == "markdown":
        from shiftaudit.render import markdown

        return markdown.render(report)
    if format in ("github-benchmark", "model-card"):
        from shiftaudit.render import trends

        return (trends.model_card if format == "model-card" else trends.github_benchmark)(report)
    if format == "csv":
        from shiftaudit.render.rows import COLUMNS, csv_text, rows_of

        return csv_text(COLUMNS, rows_of(report))
    from shiftaudit.render import heatmap, summary, table

    draw = {"summary": summary.render, "table": table.render, "heatmap": heatmap.render}[format]
    return draw(report, terminal)


def _board_text(board: Leaderboard, format: str, terminal: Terminal | None) -> str:
    if format == "json":
        from shiftaudit.records.codec import dumps

        return dumps(board)
    if format == "html":
        from shiftaudit.render.html import leaderboard as page

        return page.render(board)
    from shiftaudit.render import leaderboard

    return leaderboard.render_csv(board) if format == "csv" else leaderboard.render(board, terminal)


def leaderboard(reports: Sequence[AuditReport]) -> Leaderboard:
    """Several reports side by side, the most consistent model first, for `format_report`."""
    return ranked([entry_of(report) for report in reports])


def board_format(path: Path) -> str:
    """What is written into a file of many models.

    Raises:
        InputError: it cannot be written into a file whose name ends like this.
    """
    format = file_format(path)
    if format not in formats_of(Leaderboard(())):
        raise InputError(
            f"several models cannot be written to {path}", hint="end its name in .csv, .html, .json or .txt"
        )
    return format


def save_board(board: Leaderboard, path: Path) -> None:
    """Write many models into a file, as `save_report` does one."""
    write_text_atomically(path, format_report(board, board_format(path)))


def web_page(report: AuditReport, other: AuditReport | None = None, *, images: Images = ()) -> str:
    """One offline page, with thumbnails of the images it shows where their folder is given.

    Args:
        report: what the page is about.
        other: a second report, shown as what comes after the first.
        images: the folders or files that were scored; none for a page without thumbnails.

    Raises:
        InputError: there are no images in the folders.
    """
    from shiftaudit.render.html.page import render, shown_images

    comparison = None
    if other is not None:
        from shiftaudit.gate.compare import compare

        comparison = compare(report, other)
    folders = [Path(path) for path in ([images] if isinstance(images, (str, Path)) else images)]
    if not folders:
        return render(report, other, comparison)
    from shiftaudit.images.thumbnails import thumbnails

    shown = thumbnails(shown_images(report), report.model.preprocessing, folders)
    return render(report, other, comparison, thumbnails=shown)


def file_format(path: Path) -> str:
    """What is written into a file of this name; into a device such as /dev/stdout, JSON.

    Raises:
        InputError: no kind of file ends like this.

    >>> file_format(Path("page.HTML"))
    'html'
    """
    if is_device(path):
        return "json"
    if suffix_of(path) not in _BY_SUFFIX:
        raise InputError(
            f"cannot tell what to write into {path}", hint=f"end its name in {in_words(tuple(_BY_SUFFIX))}"
        )
    return _BY_SUFFIX[suffix_of(path)]


def result_path(text: str | Path) -> Path:
    """The path of a result, of which `file_format` knows what is written into it.

    Raises:
        InputError: it is a folder's, or no kind of file ends like this.
    """
    path = path_to_write(text)
    file_format(path)
    return path


def save_report(
    report: AuditReport, path: str | Path, *, other: AuditReport | None = None, images: Images = ()
) -> None:
    """Write a report into a file, in one step; what is written follows from how the file's name ends.

    Args:
        report: from `score` or `read_report`.
        path: `.json` (to be read again), `.html`, `.md`, `.txt`; `.csv` and `.parquet` (a row for each view); `.svg`, `.png`
            and `.pdf` (a figure for a paper). With `.gz` after it, it is compressed; `.json.gz` is read like `.json`.
        other: a second report, what comes after the first; for a page alone.
        images: what was scored, for the thumbnails of a page.

    Raises:
        InputError: the name ends otherwise, the file cannot be written, or an extra is missing.
    """
    path = Path(path)
    format = file_format(path)
    if other is not None and format != "html":
        raise InputError(f"two reports cannot be written to {path}", hint="end its name in .html")
    check_writable(path)
    with uncollected():
        write_parts_atomically(path, _content(report, format, other, images))


def _content(report: AuditReport, format: str, other: AuditReport | None, images: Images) -> Iterable[bytes]:
    if format == "json":
        from shiftaudit.records.layout import parts

        return (part.encode("utf-8", "backslashreplace") for part in parts(report))
    if format == "html":
        return [web_page(report, other, images=images).encode()]
    if format in _FIGURES:
        drawn = figure(report)
        from shiftaudit.render.figures import figure_bytes

        return [figure_bytes(drawn, format)]
    return [_parquet(report) if format == "parquet" else format_report(report, format).encode()]


def figure(report: AuditReport) -> Figure:
    """The report's figure; see `AuditReport.plot`."""
    with from_extra("figures", "figures need matplotlib, which"):
        from shiftaudit.render.figures import draw
    return draw(report)


def data_frame(report: AuditReport) -> DataFrame:
    """A row for each view; see `AuditReport.to_pandas`."""
    with from_extra("pandas", "data frames need pandas, which"):
        from pandas import DataFrame
    from shiftaudit.render.rows import COLUMNS, rows_of

    frame = DataFrame(list(rows_of(report)), columns=list(COLUMNS))
    # Missing labels would make numbers of classes fractions, and missing truths objects.
    return frame.astype({"label": "Int64", "correct": "boolean"})


def _parquet(report: AuditReport) -> bytes:
    frame = data_frame(report)
    with from_extra("pandas", "Parquet files need pyarrow, which"):
        import pyarrow  # noqa: F401  # what pandas writes them with
    return bytes(frame.to_parquet(index=False))
