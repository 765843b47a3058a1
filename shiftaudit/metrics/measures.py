"""From per-image rows to the metrics of a report: sums and counts first, one division at the end. No torch."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from shiftaudit.metrics.columns import ViewColumns, distinct
from shiftaudit.metrics.intervals import mean_metric
from shiftaudit.metrics.vocabulary import METRICS
from shiftaudit.metrics.worst import worst_shift
from shiftaudit.records.report import (
    ImageResult,
    Metric,
    ProtocolResult,
    ShiftCount,
    WorstShift,
)

DEGENERATE_SHARE = 0.95
SMALLEST_SUBGROUP = 10
"""Of fewer images that a model's own answers choose no value is given, only their number."""


def protocol_result(views: ViewColumns, *, shifts: str, max_shift: int) -> ProtocolResult:
    """All metrics of one protocol over the images that have it."""
    images = [image for image, of in zip(views.images, views.views, strict=True) if of is not None]
    labelled = any(image.label is not None for image in images)
    metrics: dict[str, Metric] = {}
    for measure in METRICS:
        if not measure.is_mean or (measure.needs_labels and not labelled):
            continue
        if measure.only_diagonal and shifts != "diagonal":
            continue
        values = measure.of_views(views)
        measured = ~np.isnan(values)
        n, n_pairs = int(measured.sum()), views.outcomes.total(measure.comparisons, measured)
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
    single = not shifts.split(":")[0].isdecimal() and not shifts.startswith("iid")
    worst = worst_shift(views.lengths, views.shifts, views.changed, max_shift, single=single)
    if worst is not None:
        metrics["max_flips"] = _flips(worst)
    share, degenerate = _degenerate(images)
    return ProtocolResult(
        metrics=metrics,
        by_shift=_by_shift(views.shifts, views.changed),
        n_predictions=len(images) + len(views.image),
        n_near_ties=sum(image.near_tie for image in images) + sum(of.near_ties for of in views.known),
        top_class_share=share,
        degenerate=degenerate,
        worst_shift=worst,
    )


def _by_shift(shifts: NDArray[np.int64], changed: NDArray[np.bool_]) -> tuple[ShiftCount, ...]:
    found, place = distinct(shifts)
    seen, agree = (np.bincount(of, minlength=len(found)).tolist() for of in (place, place[~changed]))
    return tuple(ShiftCount(dy, dx, seen[i], agree[i]) for i, (dy, dx) in enumerate(found.tolist()))


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
