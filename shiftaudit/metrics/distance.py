"""Change against distance: the views of a protocol by how far they are moved, with their causes where views were taken apart.

Ranges of distance double: 1, 2, 3 to 4, 5 to 8, … px. A range in which fewer than ten images have a view is put together with
the next, so that each has an interval that means something. No torch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from shiftaudit.metrics.cause import ImageMeans, split
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
    seen = [image.views[protocol].shifts if protocol in image.views else () for image in images]
    apart = [row.views if row else () for row in damage] or [()] * len(images)
    return tuple(
        _bin(
            images, protocol, between, total_stride, [_within(views, between) for views in apart], sum(map(bool, apart))
        )
        for between in _ranges(seen)
    )


def _ranges(shifts: Sequence[Sequence[Shift]]) -> list[Range]:
    """Ranges that double, put together until each has views of enough images."""
    distances = [{distance(shift) for shift in of} - {0} for of in shifts]
    reach = max((d for of in distances for d in of), default=0)
    enough = min(ENOUGH, sum(map(bool, distances)))
    found: list[Range] = []
    nearest, farthest = 1, 1
    while nearest <= reach:
        last = min(farthest, reach)
        if sum(any(nearest <= d <= last for d in of) for of in distances) >= enough:
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
    images: Sequence[ImageResult],
    protocol: Protocol,
    between: Range,
    total_stride: tuple[float, float] | None,
    apart: Sequence[Sequence[SplitView]],
    n_apart: int,
) -> DistanceBin:
    variations: list[list[float]] = []
    agreements: list[list[float]] = []
    shifts: list[Shift] = []
    for image in images:
        views = image.views.get(protocol)
        places = [k for k, s in enumerate(views.shifts) if between[0] <= distance(s) <= between[1]] if views else []
        agreements.append([float(views.predictions[k] == image.prediction) for k in places] if views else [])
        variations.append([views.variation[k] for k in places] if views and views.variation else [])
        shifts += [views.shifts[k] for k in places] if views else []
    means = ImageMeans(len(shifts))
    return DistanceBin(
        nearest=between[0],
        farthest=between[1],
        mean=math.fsum(map(distance, shifts)) / len(shifts),
        n_images=sum(map(bool, agreements)),
        n_views=len(shifts),
        variation=means.metric(variations, "real"),
        agreement=means.metric(agreements, "share", higher_is_better=True),
        lattice=_lattice(between, total_stride),
        n_lattice=sum(_on_lattice(shift, total_stride) for shift in shifts),
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


def _on_lattice(shift: Shift, total_stride: tuple[float, float] | None) -> bool:
    return total_stride is not None and all(
        np.isclose(d % stride, 0) or np.isclose(d % stride, stride)
        for d, stride in zip(shift, total_stride, strict=True)
    )
