"""What one image's predictions say, as whole numbers: what rates, intervals and gates are made from. No torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

from shiftaudit.records.gate import ViewCounts
from shiftaudit.records.report import ImageResult
from shiftaudit.records.words import Protocol

__all__ = ["ViewCounts", "agreeing_pairs", "agreeing_with", "count_views", "view_counts"]


def agreeing_pairs(predictions: Sequence[int]) -> tuple[int, int]:
    """How many of the K(K-1)/2 pairs of shifted views hold the same class, and how many pairs there are.

    >>> agreeing_pairs([7, 7, 7, 2]), agreeing_pairs([3]), agreeing_pairs([])
    ((3, 6), (0, 0), (0, 0))
    """
    k = len(predictions)
    pairs = k * (k - 1) // 2
    if k and predictions.count(predictions[0]) == k:  # as nearly always
        return pairs, pairs
    return sum(c * (c - 1) // 2 for c in Counter(predictions).values()), pairs


def agreeing_with(predictions: Sequence[int], reference: int) -> tuple[int, int]:
    """How many predictions equal `reference` (the unshifted answer, or the label), and how many there are.

    >>> agreeing_with([7, 7, 2], 7)
    (2, 3)
    """
    return predictions.count(reference), len(predictions)


def count_views(prediction: int, label: int | None, shifted: Sequence[int]) -> ViewCounts:
    """The counts of one image from its unshifted prediction, its label and the predictions of its shifted views.

    >>> counts = count_views(7, 7, [7, 7, 2])
    >>> counts.agreeing_pairs, counts.n_pairs, counts.agreeing_with_unshifted, counts.correct, counts.stable
    (1, 3, 2, 2, False)
    """
    pairs, _ = agreeing_pairs(shifted)
    same, n_views = agreeing_with(shifted, prediction)
    return _counts(n_views, pairs, same, None if label is None else agreeing_with(shifted, label)[0])


_counts = lru_cache(maxsize=2**16)(ViewCounts)  # most images have the counts of many others


def view_counts(image: ImageResult, protocol: Protocol) -> ViewCounts | None:
    """The counts of a report's row under `protocol`, None when the image was not scored under it."""
    views = image.views.get(protocol)
    return None if views is None else count_views(image.prediction, image.label, views.predictions)
