"""Many images in columns: their views one after another, and what is counted of them once for all images alike. No torch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from shiftaudit.metrics.definitions import Measure
from shiftaudit.records.gate import ViewCounts
from shiftaudit.records.report import Views

Outcome = tuple[bool | None, ViewCounts | None]
"""Whether the unshifted answer is right, None without a label, and the counts of an image's views, None without views."""

_LARGEST = 2**31


class Outcomes:
    """The outcomes of images in order. Most images share theirs with many others, so a measure is taken of each kind once."""

    def __init__(self, rows: Iterable[Outcome]) -> None:
        places: dict[Outcome, int] = {}
        self._kind = np.fromiter((places.setdefault(row, len(places)) for row in rows), dtype=np.int64)
        self._kinds = list(places)

    def of(self, measure: Measure) -> NDArray[np.float64]:
        """The measure of every image, shape (n_images,); NaN where an image has none."""
        return np.array([measure.of_counts(*kind) for kind in self._kinds], dtype=np.float64)[self._kind]

    def comparisons(self, measure: Measure, of: NDArray[np.bool_]) -> int:
        """How many comparisons of views are behind the values of some images, all of which have views."""
        counts = [0 if views is None else measure.comparisons(views) for _, views in self._kinds]
        images = np.bincount(self._kind[of], minlength=len(counts)).tolist()
        return sum(n * count for n, count in zip(images, counts, strict=True))


def shifts_of(views: Iterable[Views]) -> NDArray[np.int64]:
    """The shifts of all views, (dy, dx), shape (n_views, 2)."""
    numbers = chain.from_iterable(chain.from_iterable(one.shifts for one in views))
    return np.fromiter(numbers, dtype=np.int64).reshape(-1, 2)


def answers_of(views: Iterable[Views]) -> NDArray[np.int64]:
    """The answers to all views, shape (n_views,)."""
    return np.fromiter(chain.from_iterable(one.predictions for one in views), dtype=np.int64)


def changes_of(predictions: Iterable[int], views: Sequence[Views]) -> NDArray[np.bool_]:
    """Whether each view has another answer than its unshifted image, shape (n_views,)."""
    unshifted = np.fromiter(predictions, dtype=np.int64)
    lengths = np.array([len(one.predictions) for one in views], dtype=np.int64)
    changed: NDArray[np.bool_] = answers_of(views) != np.repeat(unshifted, lengths)
    return changed


def distinct(pairs: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The distinct rows of (n, 2) whole numbers in order, and the place of each row among them.

    >>> [part.tolist() for part in distinct(np.array([[1, 2], [-1, 5], [1, 2]]))]
    [[[-1, 5], [1, 2]], [1, 0, 1]]
    """
    low = pairs.min(axis=0, initial=_LARGEST)
    width = int(pairs[:, 1].max(initial=-_LARGEST)) - int(low[1]) + 1
    if np.abs(pairs).max(initial=0) >= _LARGEST:
        found, place = np.unique(pairs, axis=0, return_inverse=True)
        return found, place.reshape(-1)
    # As one number a row: sorting pairs takes many times as long.
    keys, place = np.unique((pairs[:, 0] - low[0]) * width + (pairs[:, 1] - low[1]), return_inverse=True)
    return np.stack([keys // width + low[0], keys % width + low[1]], axis=1), place.reshape(-1)
