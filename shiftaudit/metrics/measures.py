"""From per-image rows to the metrics of a report: sums and counts first, one division at the end. No torch."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np

from shiftaudit.metrics.counts import ViewCounts, view_counts
from shiftaudit.metrics.intervals import ClusterBootstrap, wilson
from shiftaudit.metrics.vocabulary import METRICS
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
_CELLS = 4
_MIN_CELL_VIEWS = 10


def protocol_result(
    images: Sequence[ImageResult], protocol: Protocol, *, shifts: str, max_shift: int
) -> ProtocolResult:
    """All metrics of one protocol over the images that have it."""
    rows = [(i, i.views[protocol], c) for i in images if (c := view_counts(i, protocol)) is not None]
    labelled = any(image.label is not None for image, _, _ in rows)
    bootstrap = ClusterBootstrap(len(rows))
    metrics: dict[str, Metric] = {}
    for measure in METRICS:
        if not measure.is_mean or (measure.needs_labels and not labelled):
            continue
        if measure.only_diagonal and shifts != "diagonal":
            continue
        values = np.array([measure.of_image(image, protocol, counts) for image, _, counts in rows], dtype=np.float64)
        n_pairs = sum(
            measure.comparisons(row[2]) for row, value in zip(rows, values, strict=True) if not math.isnan(value)
        )
        n = int((~np.isnan(values)).sum())
        if measure.subgroup is not None and n < SMALLEST_SUBGROUP:
            metrics[measure.name] = Metric(None, None, None, n, n_pairs, "none", measure.higher_is_better)
            continue
        metrics[measure.name] = bootstrap.metric(
            values, n_pairs=n_pairs, higher_is_better=measure.higher_is_better, kind=measure.kind
        )
    by_shift = _by_shift(rows)
    worst = _worst_shift(
        by_shift, max_shift, single=not shifts.split(":")[0].isdecimal() and not shifts.startswith("iid")
    )
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


def _by_shift(rows: Sequence[tuple[ImageResult, Views, ViewCounts]]) -> tuple[ShiftCount, ...]:
    seen: Counter[Shift] = Counter()
    agree: Counter[Shift] = Counter()
    for image, views, _ in rows:
        for shift, prediction in zip(views.shifts, views.predictions, strict=True):
            seen[shift] += 1
            agree[shift] += prediction == image.prediction
    return tuple(ShiftCount(dy, dx, seen[dy, dx], agree[dy, dx]) for dy, dx in sorted(seen))


def _worst_shift(by_shift: Sequence[ShiftCount], max_shift: int, *, single: bool) -> WorstShift | None:
    """The shift with the highest flip rate; ties go to the one with more views, then the smaller shift.

    Random shifts hold one or two images each, so they are pooled into 4×4 cells of the shift range; cells with fewer than
    ten views say nothing and are left out.
    """
    pooled: dict[tuple[int, int], list[int]] = defaultdict(lambda: [0, 0])
    width = 1 if single else math.ceil((2 * max_shift + 1) / _CELLS)
    for count in by_shift:
        cell = (count.dy, count.dx) if single else ((count.dy + max_shift) // width, (count.dx + max_shift) // width)
        pooled[cell][0] += count.n_images
        pooled[cell][1] += count.n_agree
    candidates = [(n_agree / n, -n, cell) for cell, (n, n_agree) in pooled.items() if single or n >= _MIN_CELL_VIEWS]
    if not candidates:
        return None
    _, _, cell = min(candidates)
    n, n_agree = pooled[cell]
    if single:
        return WorstShift(*cell, 0, n, n_agree)
    # The outermost cell reaches past the range where the width does not divide it; its middle must not.
    centre = [min(index * width - max_shift + width // 2, max_shift) for index in cell]
    return WorstShift(centre[0], centre[1], width // 2, n, n_agree)


def _flips(worst: WorstShift) -> Metric:
    flips = worst.n_views - worst.n_agree
    low, high = wilson(flips, worst.n_views)
    return Metric(flips / worst.n_views, low, high, worst.n_views, worst.n_views, "wilson", False)


def _degenerate(images: Sequence[ImageResult]) -> tuple[float, bool]:
    """The share of the most frequent answer, and whether it is suspicious: nearly all images, and not what the labels say."""
    if not images:
        return math.nan, False
    top, count = Counter(image.prediction for image in images).most_common(1)[0]
    share = count / len(images)
    labels = [image.label for image in images if image.label is not None]
    expected = labels.count(top) / len(labels) if labels else 0.0
    return share, len(images) >= 2 and share >= DEGENERATE_SHARE and expected < DEGENERATE_SHARE
