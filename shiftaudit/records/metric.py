"""One number of a report with its interval, and the shift that numbers are given for."""

from __future__ import annotations

from dataclasses import dataclass

from shiftaudit.records.words import IntervalMethod

Shift = tuple[int, int]


@dataclass(frozen=True)
class Metric:
    """A mean over images with a 95 % interval clustered by image; `None` where nothing could be measured."""

    value: float | None
    ci_low: float | None
    ci_high: float | None
    n_images: int
    n_pairs: int
    """Pairs of views (consistency) or single comparisons (everything else) behind the value."""
    method: IntervalMethod
    higher_is_better: bool
