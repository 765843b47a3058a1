"""Images in columns: the same numbers as one image at a time."""

from __future__ import annotations

import numpy as np
import pytest
from report_builder import VIEWS, make_images

from shiftaudit.metrics.columns import distinct
from shiftaudit.metrics.measures import ImageValues
from shiftaudit.metrics.vocabulary import METRICS

IMAGES = [
    *make_images(60, flips=0.5, wrong=0.3, seed=0),
    *make_images(9, flips=0.5, wrong=0.3, seed=1, labelled=False),
    *make_images(9, flips=0.5, wrong=0.3, seed=1, protocols=("crop",)),
]
MEANS = [measure for measure in METRICS if measure.is_mean]


@pytest.mark.parametrize("measure", MEANS, ids=lambda measure: measure.name)
@pytest.mark.parametrize("protocol", ["circular", "crop"])
def test_the_values_of_many_images_are_those_of_each(measure, protocol) -> None:  # type: ignore[no-untyped-def]
    values = ImageValues(IMAGES).of(measure, protocol)
    np.testing.assert_array_equal(values, [measure.of_image(one, protocol) for one in IMAGES])
    assert ImageValues([]).of(measure, protocol).tolist() == []


@pytest.mark.parametrize("measure", [m for m in MEANS if m.by_counts], ids=lambda measure: measure.name)
def test_comparisons_are_those_of_the_images_that_have_a_value(measure) -> None:  # type: ignore[no-untyped-def]
    some = np.arange(len(IMAGES)) % 3 == 0
    each = {"pairs": VIEWS * (VIEWS - 1) // 2, "views": VIEWS, "images": 1}[measure.compared]
    assert ImageValues(IMAGES).outcomes("crop").comparisons(measure, some) == some.sum() * each


@pytest.mark.parametrize("scale", [1, 7, 2**40])
def test_distinct_rows_are_those_of_numpy(scale: int) -> None:
    pairs = np.random.default_rng(0).integers(-4, 5, size=(200, 2)) * scale
    found, place = distinct(pairs)
    assert found.tolist() == np.unique(pairs, axis=0).tolist()
    assert (found[place] == pairs).all()
    assert [part.tolist() for part in distinct(pairs[:0])] == [[], []]
