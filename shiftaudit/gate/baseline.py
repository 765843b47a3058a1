"""Baselines: the part of a report that later reports are judged against, reviewable in a diff. No torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from shiftaudit.errors import InputError, NoVerdictError
from shiftaudit.gate.consistent import digest, require_consistent
from shiftaudit.metrics.columns import ViewColumns
from shiftaudit.records.codec import plain, structure
from shiftaudit.records.collector import uncollected
from shiftaudit.records.gate import BASELINE_SCHEMA_VERSION, Baseline, BaselineData, BaselineImage
from shiftaudit.records.json_files import parse_json, read_bytes
from shiftaudit.records.reading import as_report, check_schema, report_by_lines
from shiftaudit.records.report import AuditReport

SAVE = "shiftaudit baseline save REPORT.json -o baseline.json"


@uncollected()
def baseline_of(report: AuditReport) -> Baseline:
    """The baseline a report makes. Images with the same bytes count once."""
    return Baseline(
        schema_version=BASELINE_SCHEMA_VERSION,
        tool_version=report.tool_version,
        model=replace(
            report.model,
            source=_name(report.model.source),
            weights=report.model.weights and _name(report.model.weights),
        ),
        data=BaselineData(report.data.n_images, report.data.n_labelled, report.data.manifest_sha256),
        protocol=report.protocol,
        environment=report.environment,
        degenerate=report.degenerate,
        top_class_share=report.top_class_share,
        metrics={name: dict(result.metrics) for name, result in report.protocols.items()},
        stages={
            stage.name: {protocol: errors.output for protocol, errors in stage.errors.items()}
            for stage in report.stages
        },
        images=_images(report),
        anchored=True,
    )


def _name(source: str) -> str:
    """Without folders: weights, and sources given through the library, may be paths, and a baseline holds none."""
    return source.replace("\\", "/").rsplit("/", 1)[-1]


def _images(report: AuditReport) -> dict[str, BaselineImage]:
    protocols = {protocol for image in report.per_image for protocol in image.views}
    counts = {protocol: ViewColumns(report.per_image, protocol).outcomes.counts() for protocol in protocols}
    return {
        image.id: BaselineImage(
            label=image.label,
            correct=None if image.label is None else image.prediction == image.label,
            views={protocol: count for protocol in image.views if (count := counts[protocol][place]) is not None},
        )
        for place, image in enumerate(report.per_image)
    }


def savable(report: AuditReport) -> Baseline:
    """The baseline of a report that may serve as one.

    Raises:
        InputError: the report was made with `--limit`, or holds no image.
    """
    if report.data.limit is not None:
        raise InputError(
            f"the report was made with --limit {report.data.limit}, so it does not stand for all images",
            hint="score all images without --limit first",
        )
    if not report.per_image:
        raise InputError("the report holds no image to compare with")
    return baseline_of(report)


def refuse_in_ci(environ: Mapping[str, str], *, force: bool) -> None:
    """Stop a baseline from being moved by the very job that it is there to check.

    Raises:
        InputError: the variable `CI` is set and `force` is not.
    """
    if running_in_ci(environ) and not force:
        raise InputError(
            "refused to update a baseline in CI, where it would approve any model",
            hint="update it on your machine and commit it, or pass --force",
        )


def running_in_ci(environ: Mapping[str, str]) -> bool:
    """Whether the variable `CI` says so, as all large CI services do.

    >>> running_in_ci({"CI": "true"}), running_in_ci({"CI": "false"}), running_in_ci({})
    (True, False, False)
    """
    return environ.get("CI", "").lower() not in ("", "0", "false", "no")


@uncollected()
def baseline_text(baseline: Baseline) -> str:
    """The baseline as JSON: sorted keys, floats rounded, one line an image, a newline at the end."""
    data: dict[str, Any] = plain(baseline)
    data["digest"] = digest(data)
    return _layout(data, "\n") + "\n"


def _layout(data: Mapping[str, Any], line: str) -> str:
    """An object with a key a line, and its images and those of its anchor one a line; `line` ends a line and begins the next."""
    parts = []
    for key in sorted(data):
        value = data[key]
        if key == "images" and value:
            text = (
                "{"
                + ",".join(f"{line}  {json.dumps(one)}: {_line(value[one])}" for one in sorted(value))
                + f"{line} }}"
            )
        elif key == "anchor" and value:
            text = _layout(value, f"{line} ")
        else:
            text = _block(value).replace("\n", f"{line} ")
        parts.append(f'{line} "{key}": {text}')
    return "{" + ",".join(parts) + f"{line}}}"


# Made once, for making them takes longer than writing an image.
_line = json.JSONEncoder(sort_keys=True, allow_nan=False).encode
_block = json.JSONEncoder(sort_keys=True, allow_nan=False, indent=1).encode


def as_baseline(data: Any, what: str) -> Baseline:
    """Parsed JSON of a baseline, or of a report, as a baseline; `what` names the file in messages.

    Raises:
        InputError: neither a baseline nor a report.
        NoVerdictError: another schema version.
    """
    if isinstance(data, dict) and "per_image" in data:
        return baseline_of(as_report(data, what))
    baseline = structure(check_schema(data, BASELINE_SCHEMA_VERSION, what, f"{SAVE} --force"), Baseline, what)
    if baseline.digest != digest(data):
        raise InputError(
            f"{what} was changed after it was made: its digest is not that of its content",
            hint=f"make it again with `{SAVE} --force`",
        )
    require_consistent(baseline, what, f"{SAVE} --force")
    return baseline


@uncollected()
def read_baseline(path: str | Path) -> Baseline:
    """The baseline saved in a file; a report is taken as the baseline it makes.

    Raises:
        NoVerdictError: the file does not exist, or has another schema version.
        InputError: it is no baseline.
    """
    path = Path(path)
    if not path.exists():
        raise NoVerdictError(
            f"the baseline {path} does not exist, so there is nothing to compare with", hint=f"make one with `{SAVE}`"
        )
    text = read_bytes(path)
    report = report_by_lines(text, str(path))
    return as_baseline(parse_json(text, str(path)), str(path)) if report is None else baseline_of(report)
