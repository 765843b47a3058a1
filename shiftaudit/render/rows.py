"""A report's answers as a table of plain values: a row for each view of each image, for data frames, CSV and Parquet files."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Any

from shiftaudit.records.report import AuditReport, ImageResult, Shift
from shiftaudit.records.words import UNSHIFTED, Role
from shiftaudit.render.sentences import class_name

Row = dict[str, Any]

COLUMNS = (
    "model", "path", "id", "label", "label_name", "protocol", "dy", "dx", "prediction", "prediction_name", "agrees",
    "correct", "probability", "js_divergence",
)  # fmt: skip


def rows_of(report: AuditReport) -> Iterator[Row]:
    """One row for each view, those of an image together, its unshifted view first.

    `dy` and `dx` are in input pixels, positive when the content moves down or right. `agrees` says whether the answer is that
    of the unshifted view, `probability` is of the unshifted answer's class, `js_divergence` (nats) is from the unshifted view.
    `label`, `label_name` and `correct` are None without a label. Halves of surrogate pairs in names become escapes (`\\udc80`).
    """
    for image in report.per_image:
        label_name = None if image.label is None else _escaped(class_name(report, image.label))
        shared = (_escaped(report.model.source), _escaped(image.path), _escaped(image.id), image.label, label_name)
        for protocol, (dy, dx), prediction, probability, divergence in _views(image):
            answer = (prediction, _escaped(class_name(report, prediction)), prediction == image.prediction)
            correct = None if image.label is None else prediction == image.label
            values = (*shared, protocol, dy, dx, *answer, correct, probability, divergence)
            yield dict(zip(COLUMNS, values, strict=True))


def _escaped(text: str) -> str:
    """Halves of surrogate pairs as the escapes that JSON has for them, for no table's file can hold them."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def _views(image: ImageResult) -> Iterator[tuple[Role, Shift, int, float, float]]:
    yield UNSHIFTED, (0, 0), image.prediction, image.probability, 0.0
    for protocol, views in image.views.items():
        columns = (views.shifts, views.predictions, views.probabilities, views.js_divergence)
        yield from ((protocol, *view) for view in zip(*columns, strict=True))


def csv_text(columns: tuple[str, ...], rows: Iterator[Row]) -> str:
    """Rows as CSV with a header; None is an empty cell, and numbers have the six digits that reports have.

    >>> csv_text(("a", "b"), iter([{"a": 0.12345678, "b": None}]))
    'a,b\\n0.123457,\\n'
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: f"{v:.6g}" if isinstance(v, float) else v for name, v in row.items()} for row in rows)
    return text.getvalue()
