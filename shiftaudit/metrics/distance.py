"""Change against distance: the views of a protocol by how far they are moved, with their causes where views were taken apart.

Ranges of distance double: 1, 2, 3 to 4, 5 to 8, … px. A range in which fewer than ten images have a view is put together with
the next, so that each has an interval that means something. No torch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import chain, repeat

import numpy as np
from numpy.typing import NDArray

from shiftaudit.metrics.cause import ImageMeans, split
from shiftaudit.metrics.columns import changes_of, shifts_of
from shiftaudit.metrics.intervals import mean_metric
from shiftaudit.records.cause import Change, ImageDamage, SplitView
from shiftaudit.records.distance import DistanceBin, DistanceSplit
from shiftaudit.records.metric import Shift
from shiftaudit.records.report import ImageResult
from shiftaudit.records.words import Protocol

ENOUGH = 10
"""Images with a view in a range of distances, where there are as many."""

Range = tuple[int, int]


def distance(shift: Shift) -> int:
    """The farther of the two axes, in input pixels.

    >>> distance((3, -5))
    5
    """
    return max(abs(shift[0]), abs(shift[1]))


def by_distance(
    images: Sequence[ImageResult],
    protocol: Protocol,
    total_stride: tuple[float, float] | None = None,
    damage: Sequence[ImageDamage | None] = (),
) -> tuple[DistanceBin, ...]:
    """The change at every range of distances that has views.

    Args:
        images: of a report.
        protocol: whose views.
        total_stride: of the network, (y, x) input pixels; None where it is not known.
        damage: what was found on each image where views of this protocol were taken apart; empty where none was.
    """
    moved = _moved(images, protocol)
    apart = [row.views if row else () for row in damage] or [()] * len(images)
    n_apart = sum(map(bool, apart))
    return tuple(
        _bin(moved, between, total_stride, [_within(views, between) for views in apart], n_apart)
        for between in _ranges(moved)
    )


@dataclass(frozen=True)
class _Moved:
    """All views of a protocol in columns, one row a view."""

    n_images: int
    image: NDArray[np.int64]
    """Place of the view's image."""
    shifts: NDArray[np.int64]
    """(dy, dx), shape (n_views, 2)."""
    distance: NDArray[np.int64]
    """As `distance`, of every view."""
    agrees: NDArray[np.float64]
    variation: NDArray[np.float64]
    """NaN where it was not measured."""

    def n_within(self, between: Range) -> int:
        """Images that have a view in a range of distances."""
        return int(np.count_nonzero(np.bincount(self.image[self._kept(between)])))

    def _kept(self, between: Range) -> NDArray[np.bool_]:
        kept: NDArray[np.bool_] = (between[0] <= self.distance) & (self.distance <= between[1])
        return kept

    def within(self, between: Range) -> _Moved:
        """The views of a range of distances."""
        kept = self._kept(between)
        return replace(
            self,
            image=self.image[kept],
            shifts=self.shifts[kept],
            distance=self.distance[kept],
            agrees=self.agrees[kept],
            variation=self.variation[kept],
        )

    def means(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """The mean of every image's views, shape (n_images,); NaN where it has none with a value."""
        known = ~np.isnan(values)
        sums = np.bincount(self.image[known], weights=values[known], minlength=self.n_images)
        counts = np.bincount(self.image[known], minlength=self.n_images).astype(np.float64)
        means: NDArray[np.float64] = np.divide(sums, counts, out=np.full(self.n_images, np.nan), where=counts > 0)
        return means


def _moved(images: Sequence[ImageResult], protocol: Protocol) -> _Moved:
    rows = [(place, image, image.views[protocol]) for place, image in enumerate(images) if protocol in image.views]
    counts = np.array([len(views.shifts) for _, _, views in rows], dtype=np.int64)
    moved = [views for _, _, views in rows]
    shifts = shifts_of(moved)
    return _Moved(
        n_images=len(images),
        image=np.repeat(np.array([place for place, _, _ in rows], dtype=np.int64), counts),
        shifts=shifts,
        distance=np.maximum(np.abs(shifts[:, 0]), np.abs(shifts[:, 1])),
        agrees=(~changes_of((image.prediction for _, image, _ in rows), moved)).astype(np.float64),
        variation=np.fromiter(
            chain.from_iterable(views.variation or repeat(math.nan, len(views.shifts)) for views in moved), np.float64
        ),
    )


def _ranges(moved: _Moved) -> list[Range]:
    """Ranges that double, put together until each has views of enough images."""
    reach = int(moved.distance.max(initial=0))
    enough = min(ENOUGH, moved.n_within((1, reach)))
    found: list[Range] = []
    nearest, farthest = 1, 1
    while nearest <= reach:
        last = min(farthest, reach)
        if moved.n_within((nearest, last)) >= enough:
            found.append((nearest, last))
            nearest = last + 1
        elif last == reach:
            # What is left over at the far end goes to the range before.
            found[-1:] = [(found[-1][0] if found else nearest, reach)]
            nearest = reach + 1
        farthest *= 2
    return found


def _within(views: Sequence[SplitView], between: Range) -> list[SplitView]:
    return [view for view in views if between[0] <= distance(view.shift) <= between[1]]


def _bin(
    moved: _Moved,
    between: Range,
    total_stride: tuple[float, float] | None,
    apart: Sequence[Sequence[SplitView]],
    n_apart: int,
) -> DistanceBin:
    views = moved.within(between)
    n_views = len(views.image)
    return DistanceBin(
        nearest=between[0],
        farthest=between[1],
        mean=int(views.distance.sum()) / n_views,
        n_images=views.n_within(between),
        n_views=n_views,
        variation=mean_metric(
            views.means(views.variation), n_pairs=n_views, higher_is_better=False, kind="real", high=1.0
        ),
        agreement=mean_metric(
            views.means(views.agrees), n_pairs=n_views, higher_is_better=True, kind="share", high=1.0
        ),
        lattice=_lattice(between, total_stride),
        n_lattice=_on_lattice(views.shifts, total_stride),
        split=_split(apart, n_apart),
    )


def _split(apart: Sequence[Sequence[SplitView]], n_apart: int) -> DistanceSplit | None:
    if sum(map(bool, apart)) < min(ENOUGH, max(2, n_apart)):
        return None
    means = ImageMeans(sum(map(len, apart)))
    changed: Callable[[Change], float] = lambda change: float(change.changed)  # noqa: E731
    return DistanceSplit(
        answers=split(means, apart, changed, "share"),
        variation=split(means, apart, lambda change: change.variation, "real"),
    )


def _lattice(between: Range, total_stride: tuple[float, float] | None) -> tuple[int, ...]:
    """Distances in a range at which a shift may be a multiple of the total stride on both axes."""
    steps = [] if total_stride is None else [round(s) for s in total_stride if math.isclose(s, round(s)) and s > 1]
    found = {d for step in steps for d in range(step, between[1] + 1, step) if d >= between[0]}
    return tuple(sorted(found)) if len(steps) == 2 else ()


def _on_lattice(shifts: NDArray[np.int64], total_stride: tuple[float, float] | None) -> int:
    """How many of the shifts are multiples of the total stride on both axes."""
    if total_stride is None:
        return 0
    left = shifts % np.array(total_stride)
    return int((np.isclose(left, 0) | np.isclose(left, total_stride)).all(axis=1).sum())
