"""What a word of the vocabulary is made of, and a metric beyond that: its unit, its direction and its arithmetic. No torch."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from typing import Literal

from shiftaudit.metrics.columns import Floats, ViewColumns
from shiftaudit.metrics.intervals import Kind
from shiftaudit.records.gate import ViewCounts

Unit = Literal["share", "probability", "nats", "error", "count"]
"""`share` is printed in per cent; a `probability` and a divergence in `nats` lie near 0 and are printed with three digits;
an `error` of features is a plain number, a `count` a whole one."""


_NO_VIEWS = ViewCounts(n_views=0, agreeing_pairs=0, agreeing_with_unshifted=0, correct=None)


@dataclass(frozen=True)
class Term:
    """One word of the vocabulary."""

    name: str
    """As in the JSON and on the command line."""
    label: str
    """Short, for the row of a table."""
    text: str
    """What it is and how to read it."""
    formula: str
    source: str
    _: KW_ONLY
    moved_by: str
    """What moves its value, or what it stands for, and what does not."""
    unit: Unit | None = None
    """Of its value; None for a word that has none."""


@dataclass(frozen=True, kw_only=True)
class Measure(Term):
    """One metric of a report: a mean over images of a number that an image has by itself, so that intervals are clustered by
    image and shards are merged by putting their images together.

    The number of an image is made by one of two functions: `by_counts` from whether the unshifted answer is right and the
    counts of the views, which a baseline keeps too, or `by_views` from the views of a report, of all images in one call. A
    metric with neither is made from all images at once.
    """

    higher_is_better: bool
    by_counts: Callable[[bool | None, ViewCounts], float] | None = None
    by_views: Callable[[ViewColumns], Floats] | None = None
    compared: Literal["pairs", "views", "images"] = "views"
    """What an image is counted by in `Metric.n_pairs`."""
    binary: bool = False
    """Yes or no for each image: McNemar's test where two models are compared."""
    needs_labels: bool = False
    only_diagonal: bool = False
    """Given where the shifts are 1-px steps along the diagonal (`--shifts diagonal`, `--preset azulay`)."""
    per_protocol: bool = True
    """False where only the unshifted view counts, so that all protocols give one value."""
    subgroup: str | None = None
    """Which images have it, where a model's own answers choose them: two models have it on other images."""
    gated: bool = False
    """Whether the gate takes margins and floors for it: paired means, and McNemar's test too where it is binary."""

    @property
    def is_mean(self) -> bool:
        """Whether each image has a value of its own."""
        return self.by_counts is not None or self.by_views is not None

    @property
    def kind(self) -> Kind:
        """How its interval is made."""
        return "share" if self.unit == "share" else "real"

    @property
    def largest(self) -> float:
        """Of an image's values; none lies below 0."""
        return math.log(2) if self.unit == "nats" else 1.0

    def of_counts(self, correct: bool | None, counts: ViewCounts | None) -> float:
        """The value of one image; NaN where it lacks a label (`correct` is None) or its views (`counts` is None)."""
        if self.by_counts is None or (self.needs_labels and correct is None) or (self.per_protocol and counts is None):
            return math.nan
        return self.by_counts(correct, counts or _NO_VIEWS)

    def of_views(self, views: ViewColumns) -> Floats:
        """The value of every image, shape (n_images,); NaN where one lacks a label, or was not scored under the protocol."""
        return views.outcomes.of(self.of_counts) if self.by_views is None else self.by_views(views)

    def comparisons(self, counts: ViewCounts) -> int:
        """How many comparisons of views are behind the value of an image with these counts."""
        return {"pairs": counts.n_pairs, "views": counts.n_views, "images": 1}[self.compared]
