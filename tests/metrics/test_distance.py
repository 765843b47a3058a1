"""Change against distance: against sums made by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from report_builder import image_id

from shiftaudit.metrics.columns import ViewColumns
from shiftaudit.metrics.distance import by_distance
from shiftaudit.records.cause import Change, ImageDamage, SplitView
from shiftaudit.records.report import ImageResult, Views

Rows = list[tuple[tuple[int, int], float, bool]]
"""(shift, variation, whether the answer is that of the unshifted view)."""


def image(index: int, rows: Rows) -> ImageResult:
    shifts, variation, same = zip(*rows, strict=True)
    answers = tuple(1 if keeps else 2 for keeps in same)
    views = Views(shifts, answers, (0.5,) * len(rows), (0.0,) * len(rows), 0, variation)
    return ImageResult(image_id(index), f"{index}.png", None, 1, 0.9, False, {"circular": views})


def test_a_view_counts_at_the_farther_of_its_two_axes_and_an_image_once() -> None:
    first = [((1, 0), 0.1, True), ((0, -1), 0.3, False), ((-4, 2), 0.5, True)]
    images = [image(k, first) for k in range(10)] + [
        image(k + 10, [((1, 1), 0.8, False), ((3, 0), 0.7, True)]) for k in range(10)
    ]
    near, far = by_distance(ViewColumns(images, "circular"))
    assert [(one.nearest, one.farthest, one.n_images, one.n_views) for one in (near, far)] == [
        (1, 1, 20, 30),
        (2, 4, 20, 20),
    ]
    assert near.variation.value == pytest.approx((0.2 + 0.8) / 2)
    assert near.agreement.value == pytest.approx((0.5 + 0.0) / 2)
    assert far.variation.value == pytest.approx(0.6)
    assert far.mean == 3.5
    assert near.variation.ci_low < near.variation.value < near.variation.ci_high


def test_ranges_of_few_images_are_put_together_and_every_view_is_in_one() -> None:
    rng = np.random.default_rng(0)
    images = [
        image(k, [((int(y), int(x)), float(rng.random()), True) for y, x in rng.integers(-32, 33, (8, 2))])
        for k in range(40)
    ]
    bins = by_distance(ViewColumns(images, "circular"), (16.0, 16.0))
    assert min(one.n_images for one in bins) >= 10
    assert bins[0].nearest == 1
    assert bins[-1].farthest == 32
    assert all(after.nearest == before.farthest + 1 for before, after in itertools.pairwise(bins))
    moved = sum(any(shift) for one in images for shift in one.views["circular"].shifts)
    assert sum(one.n_views for one in bins) == moved
    assert [d for one in bins for d in one.lattice] == [16, 32]


def test_a_few_images_alone_have_ranges_too() -> None:
    [one] = by_distance(ViewColumns([image(0, [((5, 0), 0.5, True)])], "circular"))
    assert (one.nearest, one.farthest, one.variation.value, one.variation.ci_low) == (1, 5, 0.5, None)
    assert by_distance(ViewColumns([image(0, [((0, 0), 0.0, True)])], "circular")) == ()
    assert by_distance(ViewColumns([], "circular")) == ()


def test_the_lattice_needs_both_axes() -> None:
    rows: Rows = [((8, 8), 0.1, True), ((8, 3), 0.1, True), ((0, -8), 0.1, True), ((7, 7), 0.1, True)]
    [one] = by_distance(ViewColumns([image(0, rows)], "circular"), (8.0, 8.0))
    assert one.lattice == (8,)
    assert one.n_lattice == 2
    [unknown] = by_distance(ViewColumns([image(0, rows)], "circular"))
    assert unknown.lattice == ()
    assert unknown.n_lattice == 0


def test_a_distance_has_the_causes_of_its_own_views() -> None:
    images = [image(k, [((1, 0), 0.4, False), ((8, 0), 0.6, True)]) for k in range(12)]
    near = SplitView((1, 0), Change(True, 0.4), Change(True, 0.3), Change(False, 0.1))
    far = SplitView((8, 0), Change(False, 0.6), Change(False, 0.2), Change(False, 0.5))
    damage = [ImageDamage((near if k < 10 else far,), ()) for k in range(12)]
    first, *others = by_distance(ViewColumns(images, "circular"), (8.0, 8.0), damage)
    assert first.split is not None
    assert first.split.variation.aliasing_share.value == pytest.approx((0.4 + 0.3 - 0.1) / 2)
    assert first.split.answers.ceiling.value == 1.0
    # Two images are too few where twelve were taken apart.
    assert all(one.split is None for one in others)
