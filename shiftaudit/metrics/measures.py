"""From per-image rows to the metrics of a report: sums and counts first, one division at the end. No torch."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from shiftaudit.metrics.columns import Outcome, Outcomes, changes_of, distinct, shifts_of
from shiftaudit.metrics.counts import view_counts
from shiftaudit.metrics.definitions import Measure
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
from shiftaudit.records.words import Protocol

DEGENERATE_SHARE = 0.95
SMALLEST_SUBGROUP = 10
"""Of fewer images that a model's own answers choose no value is given, only their number."""


def protocol_result(
    images: Sequence[ImageResult], protocol: Protocol, *, shifts: str, max_shift: int
) -> ProtocolResult:
    """All metrics of one protocol over the images that have it."""
    scored = ImageValues([image for image in images if protocol in image.views])
    images = scored.images
    views = [image.views[protocol] for image in images]
    labelled = any(image.label is not None for image in images)
    metrics: dict[str, Metric] = {}
    for measure in METRICS:
        if not measure.is_mean or (measure.needs_labels and not labelled):
            continue
        if measure.only_diagonal and shifts != "diagonal":
            continue
        values = scored.of(measure, protocol)
        measured = ~np.isnan(values)
        n, n_pairs = int(measured.sum()), scored.outcomes(protocol).comparisons(measure, measured)
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
    moves, changed = shifts_of(views), changes_of((image.prediction for image in images), views)
    lengths = np.array([len(one.shifts) for one in views], dtype=np.int64)
    worst = worst_shift(lengths, moves, changed, max_shift, single=single)
    if worst is not None:
        metrics["max_flips"] = _flips(worst)
    share, degenerate = _degenerate(images)
    return ProtocolResult(
        metrics=metrics,
        by_shift=_by_shift(moves, changed),
        n_predictions=sum(1 + len(one.predictions) for one in views),
        n_near_ties=sum(image.near_tie for image in images) + sum(one.near_ties for one in views),
        top_class_share=share,
        degenerate=degenerate,
        worst_shift=worst,
    )


class ImageValues:
    """The values of a report's images, one array a measure; the views of every image are counted once for all of them."""

    def __init__(self, images: Sequence[ImageResult]) -> None:
        self.images = images
        self._outcomes: dict[Protocol, Outcomes] = {}

    def outcomes(self, protocol: Protocol) -> Outcomes:
        """By image; one that was not scored under the protocol has none."""
        if protocol not in self._outcomes:
            self._outcomes[protocol] = Outcomes(_outcome(image, protocol) for image in self.images)
        return self._outcomes[protocol]

    def of(self, measure: Measure, protocol: Protocol) -> NDArray[np.float64]:
        """The measure of every image, shape (n_images,); NaN where an image has none."""
        if measure.by_views is None:
            return self.outcomes(protocol).of(measure)
        values = np.full(len(self.images), np.nan)
        places = [place for place, image in enumerate(self.images) if protocol in image.views]
        images = [self.images[place] for place in places]
        values[places] = measure.by_views(images, [image.views[protocol] for image in images])
        return values


def _outcome(image: ImageResult, protocol: Protocol) -> Outcome:
    counts = view_counts(image, protocol)
    return (None if image.label is None or counts is None else image.prediction == image.label), counts


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
