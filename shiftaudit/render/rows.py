"""A report's answers as a table of plain values: a row for each view of each image, for data frames, CSV and Parquet files."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Any

from shiftaudit.records.report import AuditReport, ImageResult
from shiftaudit.records.words import UNSHIFTED
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
    `label`, `label_name` and `correct` are None without a label.
    """
    for image in report.per_image:
        shared = {
            "model": report.model.source,
            "path": image.path,
            "id": image.id,
            "label": image.label,
            "label_name": None if image.label is None else class_name(report, image.label),
        }
        for view in _views(image):
            row = {**shared, **view}
            row["prediction_name"] = class_name(report, row["prediction"])
            row["agrees"] = row["prediction"] == image.prediction
            row["correct"] = None if image.label is None else row["prediction"] == image.label
            yield {column: row[column] for column in COLUMNS}


def _views(image: ImageResult) -> Iterator[Row]:
    unshifted = (UNSHIFTED, (0, 0), image.prediction, image.probability, 0.0)
    shifted = [
        (protocol, *view)
        for protocol, views in image.views.items()
        for view in zip(views.shifts, views.predictions, views.probabilities, views.js_divergence, strict=True)
    ]
    for protocol, (dy, dx), prediction, probability, divergence in (unshifted, *shifted):
        yield {
            "protocol": protocol,
            "dy": dy,
            "dx": dx,
            "prediction": prediction,
            "probability": probability,
            "js_divergence": divergence,
        }


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
