"""Intervals: against textbook values, what they may not depend on, and by their coverage in simulations."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
from coverage_simulation import (
    agreement,
    aliasing_share,
    change_of_probability,
    consistency,
    difference_of_agreement,
    real_coverage,
    share_coverage,
    smaller_mean_coverage,
    stage_error,
    yes_no_coverage,
)

from shiftaudit.metrics.intervals import (
    SMALLEST_APPROXIMATE,
    mean_metric,
    skewed_interval,
    student_cdf,
    student_quantile,
)


def metric(values, kind="share", **kwargs):
    return mean_metric(np.asarray(values, dtype=float), n_pairs=1, higher_is_better=True, kind=kind, **kwargs)


@pytest.mark.parametrize(
    ("probability", "df", "t"),
    [(0.975, 1, 12.7062), (0.975, 5, 2.5706), (0.95, 30, 1.6973), (0.995, 120, 2.6174), (0.025, 2, -4.3027)],
)
def test_student_quantiles_are_those_of_the_tables(probability, df, t):
    assert student_quantile(probability, df) == pytest.approx(t, abs=5e-5)
    assert student_cdf(t, df) == pytest.approx(probability, abs=1e-5)


def test_student_with_many_degrees_of_freedom_is_normal():
    assert student_quantile(0.975, 1e6) == pytest.approx(1.959966, abs=1e-5)


@pytest.mark.parametrize("kind", ["share", "real"])
def test_the_order_of_the_images_changes_nothing(kind):
    values = np.random.default_rng(0).random(300)
    assert (
        metric(values, kind) == metric(values[::-1], kind) == metric(np.random.default_rng(1).permutation(values), kind)
    )


def test_images_that_were_not_measured_count_for_nothing():
    values = np.array([0.2, 0.9, math.nan, 0.4, math.nan])
    with_gaps = mean_metric(values, n_pairs=3, higher_is_better=False, kind="share")
    assert with_gaps.n_images == 3
    assert with_gaps.value == pytest.approx(0.5)
    assert (with_gaps.ci_low, with_gaps.ci_high) == (metric([0.2, 0.9, 0.4]).ci_low, with_gaps.ci_high)
    assert (with_gaps.n_pairs, with_gaps.higher_is_better) == (3, False)


def test_nothing_measured_gives_nothing_and_one_image_gives_no_interval():
    assert metric([math.nan, math.nan]).value is None
    assert metric([]).method == "none"
    alone = metric([0.4])
    assert (alone.value, alone.ci_low, alone.ci_high, alone.method) == (0.4, None, None, "none")


@pytest.mark.parametrize("kind", ["share", "real"])
def test_equal_values_get_an_interval_with_a_width_that_is_the_rule_of_three(kind):
    """Without one of 3 / n images or so, a rare image that was not drawn is taken to be impossible."""
    tied = metric(np.full(30, 0.2), kind)
    assert tied.method == "bounded-mean"
    # One imaginary image at an end of the range has a weight below 1 - 0.05 ** (1 / n) in 95 % of deals, and counts half.
    weight = 1 - 0.05 ** (1 / 30)
    assert (tied.ci_low, tied.ci_high) == pytest.approx((0.2 - 0.2 * weight, 0.2 + 0.8 * weight), abs=1e-6)
    assert metric(np.ones(50), kind).ci_high == 1.0
    assert metric(np.ones(50), kind).ci_low == pytest.approx(0.05 ** (1 / 50), abs=1e-6)


def test_no_interval_reaches_beyond_the_possible_range():
    skewed = metric([0.0] * 19 + [0.9], "real")
    assert (skewed.ci_low, skewed.ci_high <= 1.0, skewed.method) == (0.0, True, "approximate-t")
    assert metric([0.0, 1.5], high=2.0).ci_high <= 2.0
    assert metric([-1.0, -1.0, 1.0], low=-1.0).ci_low >= -1


def test_of_few_images_numbers_that_are_no_shares_have_no_interval():
    """It would hold the truth in 67 % of samples of 5 images, and in 90 % of 10, where 1 image in 5 has all of a change."""
    few = np.linspace(0.1, 0.3, SMALLEST_APPROXIMATE - 1)
    assert metric(few, "real").ci_low is None
    assert metric(few, "real").value == pytest.approx(0.2)
    assert metric(few, "share").ci_low is not None
    assert metric(np.linspace(0.1, 0.3, SMALLEST_APPROXIMATE), "real").method == "approximate-t"


def test_differences_of_shares_and_the_smaller_of_two_means_are_covered():
    runs = 60
    draw = difference_of_agreement(0.98, 0.9, 0.05)
    assert share_coverage(draw, 0.05 * -0.08, 50, runs, low=-1.0) >= required(runs)
    for correlated in (False, True):
        assert smaller_mean_coverage(0.3, (0.5, 0.5), 50, runs, correlated=correlated) >= required(runs)


def test_wrong_shapes_and_impossible_values_are_refused():
    with pytest.raises(ValueError, match="shape"):
        metric(np.zeros((4, 2)))
    with pytest.raises(ValueError, match="finite"):
        metric([0.0, math.inf])
    with pytest.raises(ValueError, match="between 0"):
        metric([0.0, 1.1])


def test_of_many_images_both_kinds_are_the_normal_interval():
    values = np.random.default_rng(2).beta(5, 1, 20_000)
    half = 1.96 * values.std() / math.sqrt(len(values))
    for kind in ("share", "real"):
        found = metric(values, kind)
        assert found.value - found.ci_low == pytest.approx(half, rel=0.02)
        assert found.ci_high - found.value == pytest.approx(half, rel=0.02)


def test_without_skewness_the_interval_is_students():
    values = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])
    half = 2.7764 * values.std(ddof=1) / math.sqrt(5)
    assert skewed_interval(values) == pytest.approx((-half, half), abs=1e-3)


def test_the_long_tail_gets_the_longer_side():
    low, high = skewed_interval(np.array([0.0] * 9 + [1.0]))
    assert high - 0.1 > 2 * (0.1 - low)


def test_fifty_thousand_images_take_no_longer_than_a_blink():
    values = np.random.default_rng(2).beta(5, 1, 50_000)
    for kind in ("share", "real"):
        start = time.process_time()
        metric(values, kind)
        assert time.process_time() - start < 0.5


@pytest.mark.parametrize("n", [10, 20, 50])
def test_yes_or_no_outcomes_are_covered_for_every_truth(n):
    """Exactly, by summing over all counts. Wilson's interval falls to 90 % at n = 10 and a truth of 0.99."""
    assert yes_no_coverage(n) >= 0.92


def required(runs):
    """The least share of runs that shows a coverage of 92 % or more, but for chance (two standard deviations)."""
    return 0.92 - 2 * math.sqrt(0.92 * 0.08 / runs)


@pytest.mark.parametrize("concentration", [0.1, 1.0, 10.0])
@pytest.mark.parametrize(("truth", "n"), [(0.8, 10), (0.99, 10), (0.95, 20), (0.98, 100)])
def test_shares_are_covered_however_alike_the_views_of_an_image_are(truth, n, concentration):
    """Student's interval holds the truth in 11 to 94 % of runs at n = 10."""
    runs = 40
    assert share_coverage(agreement(truth, concentration), truth, n, runs) >= required(runs)
    if (draw := consistency(truth, concentration)) is not None:
        assert share_coverage(draw, truth, n, runs) >= required(runs)


def test_what_a_cause_does_is_covered():
    draw = aliasing_share(0.1, 0.5)
    assert share_coverage(draw, 0.1 * 0.75 / 2, 20, 60, low=-0.5) >= required(60)


@pytest.mark.parametrize("n", [20, 100, 500])
@pytest.mark.parametrize(
    "draw",
    [change_of_probability(0.1, 0.5), change_of_probability(0.5, 1.0), stage_error(0.6)],
    ids=["small", "large", "stage"],
)
def test_changes_of_probability_and_errors_are_covered(draw, n):
    assert real_coverage(draw, n, 1000) >= required(1000)
