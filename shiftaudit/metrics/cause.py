"""From the rows of images to why answers change: the damage of each grid of stages, and the split of a change. No torch.

Every number is a mean over images of a mean over the image's views, with an interval clustered by image; overlap and shares are
differences taken within each view, so their intervals are paired.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from shiftaudit.metrics.intervals import Kind, mean_metric
from shiftaudit.records.cause import Cause, Change, Damage, ImageDamage, Split, SplitView, StageChange
from shiftaudit.records.metric import Metric
from shiftaudit.records.words import Protocol


def _changed(change: Change) -> float:
    return float(change.changed)


def _variation(change: Change) -> float:
    return change.variation


def damage(rows: Sequence[ImageDamage | None], grid: int, together: Sequence[str]) -> Damage | None:
    """The damage of one grid of stages; None where no image was sampled there."""
    changes = [[s.change for s in row.stages if s.grid == grid] if row else [] for row in rows]
    if not any(changes):
        return None
    means = ImageMeans(sum(map(len, changes)))
    borders = [
        [s.change.variation - s.wrapped for s in row.stages if s.grid == grid and s.wrapped is not None] if row else []
        for row in rows
    ]
    return Damage(
        means.metric([[_changed(c) for c in of] for of in changes], "share"),
        means.metric([[c.variation for c in of] for of in changes], "real"),
        tuple(together),
        ImageMeans(sum(map(len, borders))).metric(borders, "real", low=-1.0) if any(borders) else None,
    )


def cause(
    rows: Sequence[ImageDamage | None],
    protocol: Protocol,
    total_stride: tuple[float, float],
    left_out: Sequence[str] = (),
) -> Cause | None:
    """Why answers change; None where no view was taken apart.

    Args:
        rows: one entry an image, None where nothing was measured.
        protocol: the one the views are of.
        total_stride: of the network, (y, x).
        left_out: names of stages that cannot be sampled elsewhere.
    """
    views = [row.views if row else () for row in rows]
    everything = [view for of in views for view in of]
    if not everything:
        return None
    means = ImageMeans(len(everything))
    return Cause(
        protocol=protocol,
        answers=split(means, views, _changed, "share"),
        variation=split(means, views, _variation, "real"),
        total_stride=total_stride,
        n_views=len(everything),
        n_images=sum(map(bool, views)),
        n_answers=sum(2 * len(row.views) + _answers_of(row.stages) for row in rows if row),
        left_out=tuple(left_out),
    )


def _answers_of(stages: Sequence[StageChange]) -> int:
    """One a change, and with circular padding one more each and one at rest."""
    wrapped = sum(stage.wrapped is not None for stage in stages)
    return len(stages) + wrapped + (wrapped > 0)


def split(means: ImageMeans, views: Sequence[Sequence[SplitView]], of: Callable[[Change], float], kind: Kind) -> Split:
    """A change and its causes.

    Args:
        means: of the images.
        views: those of each image that were taken apart.
        of: a change as a number in [0, 1].
        kind: of that number.
    """

    def metric(number: Callable[[SplitView], float], low: float = 0.0, high: float = 1.0) -> Metric:
        return means.metric([[number(view) for view in of_image] for of_image in views], kind, low=low, high=high)

    observed = metric(lambda v: of(v.observed))
    aliasing = metric(lambda v: of(v.aliasing))
    return Split(
        observed=observed,
        aliasing=aliasing,
        border=metric(lambda v: of(v.border)),
        overlap=metric(lambda v: of(v.aliasing) + of(v.border) - of(v.observed), -1.0, 2.0),
        aliasing_share=metric(lambda v: (of(v.observed) + of(v.aliasing) - of(v.border)) / 2, -0.5),
        ceiling=min(observed, aliasing, key=lambda one: one.value or 0.0),
    )


def _mean(values: Iterable[float]) -> float:
    listed = list(values)
    return math.fsum(listed) / len(listed)


class ImageMeans:
    """Means over images of what each image has; images without rows do not count.

    Args:
        n_rows: comparisons behind a mean, of all images.
    """

    def __init__(self, n_rows: int) -> None:
        self._n_rows = n_rows

    def metric(
        self,
        values: Sequence[Sequence[float]],
        kind: Kind,
        *,
        low: float = 0.0,
        high: float = 1.0,
        higher_is_better: bool = False,
    ) -> Metric:
        """The mean, with its interval; arguments as in `mean_metric`."""
        means: NDArray[np.float64] = np.array([_mean(of) if of else math.nan for of in values])
        return mean_metric(
            means, n_pairs=self._n_rows, higher_is_better=higher_is_better, kind=kind, low=low, high=high
        )
