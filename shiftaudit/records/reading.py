"""Read saved reports: the schema's version first, so that an old file gets a sentence, not a list of missing keys."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from shiftaudit.errors import InputError, NoVerdictError
from shiftaudit.records.codec import record_of_line, structure
from shiftaudit.records.collector import uncollected
from shiftaudit.records.json_files import parse_json, read_bytes
from shiftaudit.records.layout import ROWS
from shiftaudit.records.report import SCHEMA_VERSION, AuditReport, ImageResult

_BEGIN: Final = f'\n "{ROWS}": [\n  '.encode()
_BETWEEN: Final = b",\n  "
_END: Final = b"\n ]"
_EMPTY: Final = f'\n "{ROWS}": []'.encode()


def check_schema(data: Any, expected: int, what: str, remake: str) -> dict[str, Any]:
    """The parsed JSON as a dict, if it is one and of the schema version this program reads.

    Raises:
        InputError: not a JSON object with a `schema_version`.
        NoVerdictError: another schema version; `remake` says which command writes a new file.
    """
    version = data.get("schema_version") if isinstance(data, dict) else None
    if not isinstance(version, int) or isinstance(version, bool):
        raise InputError(f"{what} has no schema_version, so it is not a file that shiftaudit wrote")
    if version != expected:
        age, hint = (
            ("older", f"make it again with `{remake}`") if version < expected else ("newer", "upgrade shiftaudit")
        )
        raise NoVerdictError(
            f"{what}: schema_version {version} is {age} than the {expected} this shiftaudit reads", hint=hint
        )
    return dict(data)


def as_report(data: Any, what: str) -> AuditReport:
    """Parsed JSON as a report; `what` names the file in messages. Raises as `check_schema`, and InputError."""
    if isinstance(data, dict) and "images" in data and "per_image" not in data:
        raise InputError(
            f"{what} is a baseline; expected a report", hint="`shiftaudit score … -o FILE` writes a report"
        )
    plain = check_schema(data, SCHEMA_VERSION, what, "shiftaudit score MODEL IMAGES -o report.json")
    return structure(plain, AuditReport, what)


@uncollected()
def read_report(path: str | Path) -> AuditReport:
    """The report saved by `shiftaudit score -o`, or by `AuditReport.save`.

    Raises:
        InputError: the file is missing, not JSON or not a report.
        NoVerdictError: it has another schema version.
    """
    text = read_bytes(Path(path))
    report = report_by_lines(text, str(path))
    return as_report(parse_json(text, str(path)), str(path)) if report is None else report


def report_by_lines(text: bytes, what: str) -> AuditReport | None:
    """The report of a JSON text whose images stand one a line, as `layout.parts` writes them; None for any other text.

    Such a line is, byte for byte, what is written for the image that is read from it. So no key of it is unknown or stands
    there twice, and nothing is left to check; all the rest, without the images, is read as any JSON is. Lines that were
    written otherwise are as good, and take twice as long.
    """
    begin = text.find(_BEGIN)
    end = text.find(_END, begin)
    if begin < 0 or end < 0:
        return None
    try:
        report = as_report(parse_json(text[:begin] + _EMPTY + text[end + len(_END) :], what), what)
    except (InputError, NoVerdictError):
        return None
    images = []
    for line in _lines(text, begin + len(_BEGIN), end):
        image = record_of_line(line, ImageResult)
        if image is None:
            return None
        images.append(image)
    return replace(report, per_image=tuple(images))


def _lines(text: bytes, begin: int, end: int) -> Iterator[bytes]:
    """One after another, for a copy of them all would be as large as the file."""
    while (stop := text.find(_BETWEEN, begin, end)) >= 0:
        yield text[begin:stop]
        begin = stop + len(_BETWEEN)
    yield text[begin:end]


load_report = read_report
"""The same, beside `load_model`."""
