"""Read saved reports: the schema's version first, so that an old file gets a sentence, not a list of missing keys."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from shiftaudit.errors import InputError, NoVerdictError
from shiftaudit.records.codec import structure
from shiftaudit.records.collector import uncollected
from shiftaudit.records.json_files import read_json
from shiftaudit.records.report import SCHEMA_VERSION, AuditReport


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
    return as_report(read_json(Path(path)), str(path))


load_report = read_report
"""The same, beside `load_model`."""
