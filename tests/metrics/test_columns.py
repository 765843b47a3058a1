"""Images in columns: the same numbers as one image at a time."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
from report_builder import VIEWS, make_images

from shiftaudit.metrics.columns import Outcomes, ViewColumns, distinct
from shiftaudit.metrics.counts import view_counts
from shiftaudit.metrics.definitions import Measure
from shiftaudit.metrics.vocabulary import METRICS
from shiftaudit.records.report import ImageResult, Views
from shiftaudit.records.words import Protocol

IMAGES = [
    *make_images(60, flips=0.5, wrong=0.3, seed=0),
    *make_images(9, flips=0.5, wrong=0.3, seed=1, labelled=False),
    *make_images(9, flips=0.5, wrong=0.3, seed=1, protocols=("crop",)),
]
MEANS = [measure for measure in METRICS if measure.is_mean]


def pair_share(answers: list[int]) -> float:
    return mean([a == b for a, b in itertools.combinations(answers, 2)])


def mean(values: list[float]) -> float:
    return math.fsum(values) / len(values) if values else math.nan


ONE_BY_ONE: dict[str, Callable[[ImageResult, Views], float]] = {
    "consistency": lambda _, views: pair_share(views.predictions),
    "agreement_with_unshifted": lambda one, views: mean([a == one.prediction for a in views.predictions]),
    "stable": lambda one, views: {*views.predictions} <= {one.prediction},
    "mean_abs_change": lambda one, views: mean([abs(p - one.probability) for p in views.probabilities]),
    "js_divergence": lambda _, views: mean(views.js_divergence),
    "accuracy": lambda one, _: one.prediction == one.label,
    "accuracy_shifted": lambda one, views: mean([a == one.label for a in views.predictions]),
    "accuracy_worst": lambda one, views: {one.prediction, *views.predictions} == {one.label},
    "consistency_correct": lambda one, views: (
        pair_share(views.predictions) if one.prediction == one.label else math.nan
    ),
    "consistency_incorrect": lambda one, views: (
        math.nan if one.prediction == one.label else pair_share(views.predictions)
    ),
    "adjacent_change": lambda one, views: mean(
        [a != b for a, b in itertools.pairwise((one.prediction, *views.predictions))]
    ),
    "adjacent_mean_abs_change": lambda one, views: mean(
        [abs(a - b) for a, b in itertools.pairwise((one.probability, *views.probabilities))]
    ),
}


def one_by_one(measure: Measure, protocol: Protocol) -> list[float]:
    return [
        math.nan
        if protocol not in one.views or (measure.needs_labels and one.label is None)
        else float(ONE_BY_ONE[measure.name](one, one.views[protocol]))
        for one in IMAGES
    ]


@pytest.mark.parametrize("measure", MEANS, ids=lambda measure: measure.name)
@pytest.mark.parametrize("protocol", ["circular", "crop"])
def test_the_values_of_many_images_are_those_of_each(measure: Measure, protocol: Protocol) -> None:
    values = measure.of_views(ViewColumns(IMAGES, protocol))
    np.testing.assert_allclose(values, one_by_one(measure, protocol), rtol=1e-14, atol=1e-16)
    assert measure.of_views(ViewColumns([], protocol)).tolist() == []


@pytest.mark.parametrize("measure", [m for m in MEANS if m.by_counts], ids=lambda measure: measure.name)
def test_comparisons_are_those_of_the_images_that_have_a_value(measure: Measure) -> None:
    some = np.arange(len(IMAGES)) % 3 == 0
    each = {"pairs": VIEWS * (VIEWS - 1) // 2, "views": VIEWS, "images": 1}[measure.compared]
    assert ViewColumns(IMAGES, "crop").outcomes.total(measure.comparisons, some) == some.sum() * each


def test_images_that_a_baseline_counted_have_the_outcomes_of_a_report() -> None:
    views = ViewColumns(IMAGES, "circular")
    counted = Outcomes.of_counts(
        [None if one.label is None else one.prediction == one.label for one in IMAGES],
        [view_counts(one, "circular") for one in IMAGES],
    )
    for measure in filter(lambda measure: measure.by_counts and measure.per_protocol, MEANS):
        np.testing.assert_array_equal(counted.of(measure.of_counts), views.outcomes.of(measure.of_counts))


@pytest.mark.parametrize("scale", [1, 7, 2**40])
def test_distinct_rows_are_those_of_numpy(scale: int) -> None:
    pairs = np.random.default_rng(0).integers(-4, 5, size=(200, 2)) * scale
    found, place = distinct(pairs)
    assert found.tolist() == np.unique(pairs, axis=0).tolist()
    assert (found[place] == pairs).all()
    assert [part.tolist() for part in distinct(pairs[:0])] == [[], []]
