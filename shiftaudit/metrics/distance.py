"""Change against distance: the views of a protocol by how far they are moved, with their causes where views were taken apart.

Ranges of distance double: 1, 2, 3 to 4, 5 to 8, … px. A range in which fewer than ten images have a view is put together with
the next, so that each has an interval that means something. No torch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from shiftaudit.metrics.cause import splits
from shiftaudit.metrics.columns import Flags, Floats, Integers, ViewColumns
from shiftaudit.metrics.intervals import mean_metric
from shiftaudit.records.cause import ImageDamage, SplitView
from shiftaudit.records.distance import DistanceBin, DistanceSplit
from shiftaudit.records.metric import Shift

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
    views: ViewColumns,
    total_stride: tuple[float, float] | None = None,
    damage: Sequence[ImageDamage | None] = (),
) -> tuple[DistanceBin, ...]:
    """The change at every range of distances that has views.

    Args:
        views: of the images of a report.
        total_stride: of the network, (y, x) input pixels; None where it is not known.
        damage: what was found on each image where views of this protocol were taken apart; empty where none was.
    """
    distances = np.abs(views.shifts).max(axis=1, initial=0)
    apart = [row.views for row in damage if row and row.views]
    variation = views.variation
    return tuple(
        _bin(views, variation, distances, between, total_stride, [_within(rows, between) for rows in apart])
        for between in _ranges(views, distances)
    )


def _kept(distances: Integers, between: Range) -> Flags:
    """Which views lie in a range of distances."""
    kept: Flags = (between[0] <= distances) & (distances <= between[1])
    return kept


def _n_images(views: ViewColumns, kept: Flags) -> int:
    """Images that have one of the views."""
    return int(np.count_nonzero(np.bincount(views.image[kept])))


def _ranges(views: ViewColumns, distances: Integers) -> list[Range]:
    """Ranges that double, put together until each has views of enough images."""
    reach = int(distances.max(initial=0))
    enough = min(ENOUGH, _n_images(views, _kept(distances, (1, reach))))
    found: list[Range] = []
    nearest, farthest = 1, 1
    while nearest <= reach:
        last = min(farthest, reach)
        if _n_images(views, _kept(distances, (nearest, last))) >= enough:
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
    views: ViewColumns,
    variation: Floats,
    distances: Integers,
    between: Range,
    total_stride: tuple[float, float] | None,
    apart: Sequence[Sequence[SplitView]],
) -> DistanceBin:
    kept = _kept(distances, between)
    n_views = int(kept.sum())
    agreement = views.means(np.where(kept, ~views.changed, math.nan))
    return DistanceBin(
        nearest=between[0],
        farthest=between[1],
        mean=int(distances[kept].sum()) / n_views,
        n_images=_n_images(views, kept),
        n_views=n_views,
        variation=mean_metric(
            views.means(np.where(kept, variation, math.nan)),
            n_pairs=n_views,
            higher_is_better=False,
            kind="real",
            high=1.0,
        ),
        agreement=mean_metric(agreement, n_pairs=n_views, higher_is_better=True, kind="share", high=1.0),
        lattice=_lattice(between, total_stride),
        n_lattice=_on_lattice(views.shifts[kept], total_stride),
        split=_split(apart),
    )


def _split(apart: Sequence[Sequence[SplitView]]) -> DistanceSplit | None:
    """Of the images that were taken apart, each with its views in one range of distances."""
    if sum(map(bool, apart)) < min(ENOUGH, max(2, len(apart))):
        return None
    answers, variation = splits(apart)
    return DistanceSplit(answers=answers, variation=variation)


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
