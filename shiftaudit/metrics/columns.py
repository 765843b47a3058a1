"""Many images in columns: their views one after another, and what is counted of them once for all images alike. No torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from itertools import chain, repeat
from operator import attrgetter
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from shiftaudit.records.gate import ViewCounts
from shiftaudit.records.report import ImageResult
from shiftaudit.records.words import Protocol

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Flags = NDArray[np.bool_]

Number = TypeVar("Number", bound=np.generic)

_NONE = -1
_LARGEST_KEY = 2**62


class ViewColumns:
    """The views of images under one protocol, image after image: one row a view. An image without the protocol has none.

    Columns of images have the shape (n_images,), those of views (n_views,).
    """

    def __init__(self, images: Sequence[ImageResult], protocol: Protocol) -> None:
        self.images = images
        self.views = [image.views.get(protocol) for image in images]
        self.known = [views for views in self.views if views is not None]
        self.lengths = np.array([0 if views is None else len(views.shifts) for views in self.views], dtype=np.int64)
        self.image = np.repeat(np.arange(len(images)), self.lengths)
        """The place of each view's image."""

    @cached_property
    def shifts(self) -> Integers:
        """(dy, dx) of all views, shape (n_views, 2)."""
        numbers = chain.from_iterable(chain.from_iterable(views.shifts for views in self.known))
        return np.fromiter(numbers, dtype=np.int64).reshape(-1, 2)

    @cached_property
    def answers(self) -> Integers:
        """The answer to each view."""
        return np.fromiter(chain.from_iterable(views.predictions for views in self.known), dtype=np.int64)

    @cached_property
    def unshifted(self) -> Integers:
        """The answer to each image, unshifted."""
        return np.array([image.prediction for image in self.images], dtype=np.int64)

    @cached_property
    def changed(self) -> Flags:
        """Whether each view has another answer than its unshifted image."""
        changed: Flags = self.answers != self.unshifted[self.image]
        return changed

    @cached_property
    def probability(self) -> Floats:
        """Of each image's unshifted answer."""
        return np.array([image.probability for image in self.images], dtype=np.float64)

    @cached_property
    def probabilities(self) -> Floats:
        """Of each view's unshifted answer."""
        return np.fromiter(chain.from_iterable(views.probabilities for views in self.known), dtype=np.float64)

    @property
    def js_divergence(self) -> Floats:
        """Between each view's probabilities and those of its unshifted image, in nats."""
        return np.fromiter(chain.from_iterable(views.js_divergence for views in self.known), dtype=np.float64)

    @property
    def variation(self) -> Floats:
        """Total variation between the same; NaN where it was not measured."""
        rows = (views.variation or repeat(math.nan, len(views.shifts)) for views in self.known)
        return np.fromiter(chain.from_iterable(rows), dtype=np.float64)

    def before(self, values: NDArray[Number], unshifted: NDArray[Number]) -> NDArray[Number]:
        """The value of the view before each view. The one before an image's first is its unshifted one, of shape (n_images,)."""
        earlier = np.roll(values, 1)
        has = self.lengths > 0
        earlier[(np.cumsum(self.lengths) - self.lengths)[has]] = unshifted[has]
        return earlier

    def means(self, values: NDArray[np.generic]) -> Floats:
        """The mean of every image's views, shape (n_images,); NaN where it has none with a value."""
        numbers = values.astype(np.float64)
        known = ~np.isnan(numbers)
        sums = np.bincount(self.image[known], weights=numbers[known], minlength=len(self.images))
        counts = np.bincount(self.image[known], minlength=len(self.images)).astype(np.float64)
        means: Floats = np.divide(sums, counts, out=np.full(len(self.images), np.nan), where=counts > 0)
        return means

    @cached_property
    def outcomes(self) -> Outcomes:
        """Of every image; one that was not scored under the protocol has none."""
        n = len(self.images)
        labels = np.array([_NONE if image.label is None else image.label for image in self.images], dtype=np.int64)
        labelled = np.array([image.label is not None for image in self.images], dtype=bool)
        scored = np.array([views is not None for views in self.views], dtype=bool)
        right = np.bincount(self.image, self.answers == labels[self.image], n).astype(np.int64)
        rows = [
            np.where(labelled & scored, self.unshifted == labels, _NONE),
            np.where(scored, self.lengths, _NONE),
            self._agreeing_pairs(),
            np.bincount(self.image, ~self.changed, n).astype(np.int64),
            np.where(labelled, right, _NONE),
        ]
        return Outcomes(np.stack(rows, axis=1))

    def _agreeing_pairs(self) -> Integers:
        """How many of the K(K-1)/2 pairs of shifted views hold the same class."""
        pairs = self.lengths * (self.lengths - 1) // 2
        # Nearly all images give one answer; only what the others give is counted.
        varied = np.bincount(self.image, self.answers != self.before(self.answers, self.unshifted), len(pairs)) > 0
        of = varied[self.image]
        groups, place = distinct(np.stack([self.image[of], self.answers[of]], axis=1))
        sizes = np.bincount(place, minlength=len(groups))
        agreeing = np.bincount(groups[:, 0], sizes * (sizes - 1) // 2, len(pairs)).astype(np.int64)
        return np.where(varied, agreeing, pairs)


class Outcomes:
    """The outcomes of images in order. Most images share theirs with many others, so a measure is taken of each kind once.

    Args:
        rows: shape (n_images, 5): whether the unshifted answer is right, how many views there are, how many of their pairs
            agree, how many agree with the unshifted one, how many are right; -1 where there is none.
    """

    def __init__(self, rows: Integers) -> None:
        found, self._kind = distinct(rows)
        self._kinds = [_outcome(*row) for row in found.tolist()]

    @classmethod
    def of_counts(cls, correct: Iterable[bool | None], counts: Iterable[ViewCounts | None]) -> Outcomes:
        """Of images whose views were counted before."""
        of = list(counts)
        rows = np.full((len(of), 5), _NONE, dtype=np.int64)
        rows[:, 0] = [_or_none(right) for right in correct]
        try:
            rows[:, 1:] = np.fromiter(map(_COUNTS, of), np.dtype((np.int64, 4)), len(of))
        except (TypeError, AttributeError):  # some images have no views, or no label
            for row, one in zip(rows, of, strict=True):
                if one is not None:
                    row[1:] = [_or_none(number) for number in _COUNTS(one)]
        return cls(rows)

    def of(self, value: Callable[[bool | None, ViewCounts | None], float]) -> Floats:
        """What `value` makes of the outcome of every image, shape (n_images,)."""
        return np.array([value(*kind) for kind in self._kinds], dtype=np.float64)[self._kind]

    def counts(self) -> list[ViewCounts | None]:
        """Of the views of every image."""
        counts = [counts for _, counts in self._kinds]
        return [counts[kind] for kind in self._kind.tolist()]

    def total(self, count: Callable[[ViewCounts], int], of: Flags) -> int:
        """The sum of a count of the views of some images."""
        counts = [0 if views is None else count(views) for _, views in self._kinds]
        images = np.bincount(self._kind[of], minlength=len(counts)).tolist()
        return sum(n * count for n, count in zip(images, counts, strict=True))


_COUNTS = attrgetter("n_views", "agreeing_pairs", "agreeing_with_unshifted", "correct")


def _or_none(value: int | None) -> int:
    return _NONE if value is None else value


def _outcome(correct: int, n_views: int, pairs: int, same: int, right: int) -> tuple[bool | None, ViewCounts | None]:
    counts = None if n_views == _NONE else ViewCounts(n_views, pairs, same, None if right == _NONE else right)
    return None if correct == _NONE else bool(correct), counts


def changes_of_probability(views: ViewColumns) -> Floats:
    """How far the probability of each image's unshifted answer moves under a shift on average, as a share in [0, 1]."""
    return views.means(np.abs(views.probabilities - views.probability[views.image]))


def divergences(views: ViewColumns) -> Floats:
    """Each image's mean Jensen-Shannon divergence, in nats."""
    return views.means(views.js_divergence)


def adjacent_flips(views: ViewColumns) -> Floats:
    """The share of each image's views whose answer differs from that of the view before, the unshifted one being the first."""
    return views.means(views.answers != views.before(views.answers, views.unshifted))


def adjacent_changes_of_probability(views: ViewColumns) -> Floats:
    """How far the probability of each image's unshifted answer moves from view to view on average, the unshifted one first."""
    return views.means(np.abs(views.probabilities - views.before(views.probabilities, views.probability)))


def distinct(rows: Integers) -> tuple[Integers, Integers]:
    """The distinct rows of (n, k) whole numbers in order, and the place of each row among them.

    >>> [part.tolist() for part in distinct(np.array([[1, 2], [-1, 5], [1, 2]]))]
    [[[-1, 5], [1, 2]], [1, 0, 1]]
    """
    if not len(rows):
        return rows, np.zeros(0, dtype=np.int64)
    low = rows.min(axis=0)
    widths = [int(high) - int(least) + 1 for high, least in zip(rows.max(axis=0), low, strict=True)]
    if math.prod(widths) > _LARGEST_KEY:
        found, place = np.unique(rows, axis=0, return_inverse=True)
        return found, place.reshape(-1)
    # As one number a row: sorting rows takes many times as long.
    keys, place = np.unique(np.ravel_multi_index(tuple((rows - low).T), widths), return_inverse=True)
    return np.stack(np.unravel_index(keys, widths), axis=1) + low, place.reshape(-1)
