"""From per-image rows to the metrics of a report: sums and counts first, one division at the end. No torch."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from shiftaudit.metrics.counts import ViewCounts, view_counts
from shiftaudit.metrics.definitions import Measure
from shiftaudit.metrics.intervals import mean_metric
from shiftaudit.metrics.vocabulary import METRICS
from shiftaudit.metrics.worst import worst_shift
from shiftaudit.records.report import (
    ImageResult,
    Metric,
    ProtocolResult,
    Shift,
    ShiftCount,
    Views,
    WorstShift,
)
from shiftaudit.records.words import Protocol

DEGENERATE_SHARE = 0.95
SMALLEST_SUBGROUP = 10
"""Of fewer images that a model's own answers choose no value is given, only their number."""


def protocol_result(
    images: Sequence[ImageResult], protocol: Protocol, *, shifts: str, max_shift: int
) -> ProtocolResult:
    """All metrics of one protocol over the images that have it."""
    scored = ImageValues([image for image in images if protocol in image.views])
    rows = [(i, i.views[protocol], c) for i, c in zip(scored.images, scored.counts(protocol), strict=True) if c]
    labelled = any(image.label is not None for image, _, _ in rows)
    metrics: dict[str, Metric] = {}
    for measure in METRICS:
        if not measure.is_mean or (measure.needs_labels and not labelled):
            continue
        if measure.only_diagonal and shifts != "diagonal":
            continue
        values = scored.of(measure, protocol)
        n_pairs = sum(
            measure.comparisons(row[2]) for row, value in zip(rows, values, strict=True) if not math.isnan(value)
        )
        n = int((~np.isnan(values)).sum())
        if measure.subgroup is not None and n < SMALLEST_SUBGROUP:
            metrics[measure.name] = Metric(None, None, None, n, n_pairs, "none", measure.higher_is_better)
            continue
        metrics[measure.name] = mean_metric(
            values,
            n_pairs=n_pairs,
            higher_is_better=measure.higher_is_better,
            kind=measure.kind,
            high=measure.largest,
        )
    by_shift = _by_shift(rows)
    single = not shifts.split(":")[0].isdecimal() and not shifts.startswith("iid")
    worst = worst_shift([(image, views) for image, views, _ in rows], max_shift, single=single)
    if worst is not None:
        metrics["max_flips"] = _flips(worst)
    share, degenerate = _degenerate([image for image, _, _ in rows])
    return ProtocolResult(
        metrics=metrics,
        by_shift=by_shift,
        n_predictions=sum(1 + counts.n_views for _, _, counts in rows),
        n_near_ties=sum(image.near_tie + views.near_ties for image, views, _ in rows),
        top_class_share=share,
        degenerate=degenerate,
        worst_shift=worst,
    )


class ImageValues:
    """The values of a report's images, one array a measure; the views of every image are counted once for all of them."""

    def __init__(self, images: Sequence[ImageResult]) -> None:
        self.images = images
        self._counts: dict[Protocol, list[ViewCounts | None]] = {}

    def counts(self, protocol: Protocol) -> list[ViewCounts | None]:
        """By image; None where it was not scored under the protocol."""
        if protocol not in self._counts:
            self._counts[protocol] = [view_counts(image, protocol) for image in self.images]
        return self._counts[protocol]

    def of(self, measure: Measure, protocol: Protocol) -> NDArray[np.float64]:
        """The measure of every image, shape (n_images,); NaN where an image has none."""
        pairs = zip(self.images, self.counts(protocol), strict=True)
        return np.array([measure.of_image(image, protocol, counts) for image, counts in pairs], dtype=np.float64)


def _by_shift(rows: Sequence[tuple[ImageResult, Views, ViewCounts]]) -> tuple[ShiftCount, ...]:
    seen: Counter[Shift] = Counter()
    agree: Counter[Shift] = Counter()
    for image, views, _ in rows:
        for shift, prediction in zip(views.shifts, views.predictions, strict=True):
            seen[shift] += 1
            agree[shift] += prediction == image.prediction
    return tuple(ShiftCount(dy, dx, seen[dy, dx], agree[dy, dx]) for dy, dx in sorted(seen))


def _flips(worst: WorstShift) -> Metric:
    """Without an interval: one around a maximum would have to know how it was chosen. Its p-value stands with the shift."""
    flips = worst.n_views - worst.n_agree
    return Metric(flips / worst.n_views, None, None, worst.n_views, worst.n_views, "none", False)


def _degenerate(images: Sequence[ImageResult]) -> tuple[float, bool]:
    """The share of the most frequent answer, and whether it is suspicious: nearly all images, and not what the labels say."""
    if not images:
        return math.nan, False
    top, count = Counter(image.prediction for image in images).most_common(1)[0]
    share = count / len(images)
    labels = [image.label for image in images if image.label is not None]
    expected = labels.count(top) / len(labels) if labels else 0.0
    return share, len(images) >= 2 and share >= DEGENERATE_SHARE and expected < DEGENERATE_SHARE
