"""What the predictions of one image say, as whole numbers; `shiftaudit.metrics.columns` counts many at once. No torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from shiftaudit.records.gate import ViewCounts
from shiftaudit.records.report import ImageResult
from shiftaudit.records.words import Protocol


def count_views(prediction: int, label: int | None, shifted: Sequence[int]) -> ViewCounts:
    """The counts of one image from its unshifted prediction, its label and the predictions of its shifted views.

    >>> counts = count_views(7, 7, [7, 7, 2])
    >>> counts.agreeing_pairs, counts.n_pairs, counts.agreeing_with_unshifted, counts.correct, counts.stable
    (1, 3, 2, 2, False)
    """
    answers = Counter(shifted)
    pairs = sum(count * (count - 1) // 2 for count in answers.values())
    return ViewCounts(len(shifted), pairs, answers[prediction], None if label is None else answers[label])


def view_counts(image: ImageResult, protocol: Protocol) -> ViewCounts | None:
    """The counts of a report's row under `protocol`, None when the image was not scored under it."""
    views = image.views.get(protocol)
    return None if views is None else count_views(image.prediction, image.label, views.predictions)
