"""Rows of scored images to a report. No torch: `merge` puts rows together on machines that run no network."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from shiftaudit.audit.samples import Line, path_of
from shiftaudit.errors import InputError
from shiftaudit.files import sha256_of_set
from shiftaudit.images.duplicates import without_duplicates
from shiftaudit.metrics.columns import ViewColumns
from shiftaudit.metrics.measures import protocol_result
from shiftaudit.metrics.stages import cause_report, distances, stage_report
from shiftaudit.records.collector import uncollected
from shiftaudit.records.report import SCHEMA_VERSION, AuditReport, DataInfo, ProtocolResult, Skipped
from shiftaudit.records.samples import ImageScore, SamplesHeader
from shiftaudit.records.words import Protocol


@uncollected()
def summarise(header: SamplesHeader, lines: Iterable[Line]) -> AuditReport:
    """The report of a set of lines; their order does not matter, and copies of one image count once.

    Raises:
        InputError: no line is a scored image.
    """
    scores, skipped = _split(lines)
    if not scores:
        reasons = "; ".join(f"{item.path}: {item.reason}" for item in skipped[:3])
        what = f"none of {len(skipped)} files could be scored" if len(skipped) > 1 else "no image could be scored"
        raise InputError(f"{what} ({reasons})", hint="point IMAGES at readable images")
    images = [score.image for score in scores]
    protocol = header.protocol
    found = stage_report(header, scores)
    return AuditReport(
        schema_version=SCHEMA_VERSION,
        tool_version=header.tool_version,
        model=header.model,
        data=DataInfo(
            n_images=len(images),
            n_labelled=sum(image.label is not None for image in images),
            manifest_sha256=sha256_of_set(image.id for image in images),
            skipped=tuple(skipped),
            limit=header.limit,
        ),
        protocol=protocol,
        environment=header.environment,
        protocols={name: _of_protocol(header, scores, name) for name in protocol.protocols},
        stages=found.stages,
        levels=found.levels,
        skipped_stages=header.skipped_stages + found.skipped,
        per_image=tuple(images),
        class_names=header.class_names,
        cause=cause_report(header, scores),
        n_calibration=header.n_calibration,
    )


def _of_protocol(header: SamplesHeader, scores: Sequence[ImageScore], name: Protocol) -> ProtocolResult:
    views, protocol = ViewColumns([score.image for score in scores], name), header.protocol
    result = protocol_result(views, shifts=protocol.shifts, max_shift=protocol.max_shift(name))
    return replace(result, by_distance=distances(header, scores, name, views))


def _split(lines: Iterable[Line]) -> tuple[list[ImageScore], list[Skipped]]:
    kept = list(without_duplicates(sorted(lines, key=path_of), _identity))
    return [line for line in kept if isinstance(line, ImageScore)], [line for line in kept if isinstance(line, Skipped)]


def _identity(line: Line) -> tuple[str, str] | None:
    return None if isinstance(line, Skipped) else (line.image.id, line.image.path)
