"""From the rows of images to why answers change: the damage of each grid of stages, and the split of a change. No torch.

Every number is a mean over images of a mean over the image's views, with an interval clustered by image; overlap and shares are
differences taken within each view, so their intervals are paired.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from shiftaudit.metrics.intervals import Kind, mean_metric
from shiftaudit.records.cause import Cause, Change, Damage, ImageDamage, Split, SplitView, StageChange
from shiftaudit.records.metric import Metric
from shiftaudit.records.words import Protocol


def damage(rows: Sequence[ImageDamage | None], grid: int, together: Sequence[str]) -> Damage | None:
    """The damage of one grid of stages; None where no image was sampled there."""
    changes = [[s.change for s in row.stages if s.grid == grid] if row else [] for row in rows]
    if not any(changes):
        return None
    borders = [
        [s.change.variation - s.wrapped for s in row.stages if s.grid == grid and s.wrapped is not None] if row else []
        for row in rows
    ]
    return Damage(
        _mean_of_images([[float(c.changed) for c in of] for of in changes], "share"),
        _mean_of_images([[c.variation for c in of] for of in changes], "real"),
        tuple(together),
        _mean_of_images(borders, "real", low=-1.0) if any(borders) else None,
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
    answers, variation = splits(views)
    return Cause(
        protocol=protocol,
        answers=answers,
        variation=variation,
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


def splits(views: Sequence[Sequence[SplitView]]) -> tuple[Split, Split]:
    """A change and its causes, from the views of each image that were taken apart: in answers, and in total variation."""
    return _split(views, lambda change: float(change.changed), "share"), _split(views, lambda c: c.variation, "real")


def _split(views: Sequence[Sequence[SplitView]], of: Callable[[Change], float], kind: Kind) -> Split:
    """Of a change as a number in [0, 1]."""

    def metric(number: Callable[[SplitView], float], low: float = 0.0, high: float = 1.0) -> Metric:
        return _mean_of_images([[number(view) for view in of_image] for of_image in views], kind, low=low, high=high)

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


def _mean_of_images(values: Sequence[Sequence[float]], kind: Kind, *, low: float = 0.0, high: float = 1.0) -> Metric:
    """The mean over images of the mean of what each has, with its interval; an image that has nothing does not count."""
    means = np.array([math.fsum(of) / len(of) if of else math.nan for of in values], dtype=np.float64)
    n_pairs = sum(map(len, values))
    return mean_metric(means, n_pairs=n_pairs, higher_is_better=False, kind=kind, low=low, high=high)
