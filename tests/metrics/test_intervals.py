"""Intervals: against textbook values, a brute-force bootstrap, and by their coverage in simulations."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from shiftaudit.metrics.intervals import MAX_UNITS, ClusterBootstrap, student_cdf, student_quantile, wilson

VIEWS = 8


def pair_shares(right: NDArray[np.int64]) -> NDArray[np.float64]:
    """Share of agreeing pairs among VIEWS views of which `right` hold one class and the rest another."""
    left = VIEWS - right
    return (right * (right - 1) + left * (left - 1)) / (VIEWS * (VIEWS - 1))


def metric(values, kind="share", **kwargs):
    values = np.asarray(values, dtype=float)
    return ClusterBootstrap(len(values), **kwargs).metric(values, n_pairs=1, higher_is_better=True, kind=kind)


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    # Newcombe (1998), Statistics in Medicine 17, Table I, method 3.
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_gives_the_published_intervals(successes, n, low, high):
    assert wilson(successes, n) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize(("successes", "n"), [(-1, 3), (4, 3), (0, 0)])
def test_wilson_refuses_impossible_counts(successes, n):
    with pytest.raises(ValueError, match="successes"):
        wilson(successes, n)


@pytest.mark.parametrize(
    ("probability", "df", "t"),
    [(0.975, 1, 12.7062), (0.975, 5, 2.5706), (0.95, 30, 1.6973), (0.995, 120, 2.6174), (0.025, 2, -4.3027)],
)
def test_student_quantiles_are_those_of_the_tables(probability, df, t):
    assert student_quantile(probability, df) == pytest.approx(t, abs=5e-5)
    assert student_cdf(t, df) == pytest.approx(probability, abs=1e-5)


def test_student_with_many_degrees_of_freedom_is_normal():
    assert student_quantile(0.975, 1e6) == pytest.approx(1.959966, abs=1e-5)


def test_the_interval_is_that_of_a_brute_force_bootstrap():
    rng = np.random.default_rng(3)
    values = rng.beta(3, 1, 150)
    ours = metric(values, n_resamples=8000)
    brute = np.array([rng.choice(values, 150).mean() for _ in range(8000)])
    assert ours.value == pytest.approx(values.mean(), abs=1e-12)
    assert (ours.ci_low, ours.ci_high) == pytest.approx(tuple(np.quantile(brute, [0.025, 0.975])), abs=0.0025)


def test_the_order_of_the_images_changes_nothing():
    values = np.random.default_rng(0).random(300)
    assert metric(values) == metric(values[::-1]) == metric(np.random.default_rng(1).permutation(values))


def test_another_seed_moves_the_interval_a_little_and_the_value_not_at_all():
    values = np.random.default_rng(0).random(300)
    one, two = metric(values), metric(values, seed=1)
    assert one.value == two.value
    assert one.ci_low != two.ci_low
    assert one.ci_low == pytest.approx(two.ci_low, abs=0.004)


def test_images_that_were_not_measured_count_for_nothing():
    values = np.array([0.2, 0.9, math.nan, 0.4, math.nan])
    bootstrap = ClusterBootstrap(5)
    with_gaps = bootstrap.metric(values, n_pairs=3, higher_is_better=False, kind="real")
    assert with_gaps.n_images == 3
    assert with_gaps.value == pytest.approx(0.5)
    assert (with_gaps.ci_low, with_gaps.ci_high) == (metric([0.2, 0.9, 0.4], "real").ci_low, with_gaps.ci_high)
    assert (with_gaps.n_pairs, with_gaps.higher_is_better) == (3, False)


def test_nothing_measured_gives_nothing_and_one_image_gives_no_interval():
    assert metric([math.nan, math.nan]).value is None
    assert metric([]).method == "none"
    alone = metric([0.4])
    assert (alone.value, alone.ci_low, alone.ci_high, alone.method) == (0.4, None, None, "none")


def test_extremes_get_wilsons_interval_since_resampling_would_claim_certainty():
    assert metric(np.ones(50)).method == "wilson"
    assert (metric(np.ones(50)).ci_low, metric(np.ones(50)).ci_high) == wilson(50, 50)
    assert (metric(np.zeros(50)).ci_low, metric(np.zeros(50)).ci_high) == wilson(0, 50)
    assert metric([0.0, 0.0], "real").method == "cluster-bootstrap"


def test_equal_values_of_a_known_range_get_an_interval_with_a_width_that_is_the_rule_of_three():
    """Without one of 3 / n images or so, a rare image that was not drawn is taken to be impossible."""
    tied = ClusterBootstrap(30).metric(np.full(30, 0.2), n_pairs=0, higher_is_better=False, kind="real", largest=1.0)
    assert tied.method == "bounded-mean"
    # One imaginary image at an end of the range has a weight below 1 - 0.025 ** (1 / n) in 97.5 % of deals.
    weight = 1 - 0.025 ** (1 / 30)
    assert (tied.ci_low, tied.ci_high) == pytest.approx((0.2 - 0.2 * weight, 0.2 + 0.8 * weight), abs=1e-6)


def test_yes_or_no_outcomes_get_wilsons_interval():
    values = [1.0] * 30 + [0.0] * 10
    assert (metric(values, "binary").ci_low, metric(values, "binary").ci_high) == wilson(30, 40)


def test_wrong_shapes_and_infinite_values_are_refused():
    with pytest.raises(ValueError, match=r"shape \(3,\)"):
        ClusterBootstrap(3).metric(np.zeros(4), n_pairs=1, higher_is_better=True, kind="share")
    with pytest.raises(ValueError, match="finite"):
        metric([0.0, math.inf])


def test_many_images_are_resampled_in_groups_to_the_same_interval():
    n = 5 * MAX_UNITS
    values = np.random.default_rng(2).beta(5, 1, n)
    grouped = metric(values, "real")
    half = 1.96 * values.std() / math.sqrt(n)
    assert grouped.value - grouped.ci_low == pytest.approx(half, rel=0.1)
    assert grouped.ci_high - grouped.value == pytest.approx(half, rel=0.1)


def coverage(n_images, a, b, trials=400, seed=5):
    """Share of intervals that hold the true consistency: ours, and the iid interval that counts every pair by itself.

    An image's views give its main class with a probability of its own, Beta(a, b), so pairs of one image are correlated.
    """
    rng = np.random.default_rng(seed)
    truth = (a * (a + 1) + b * (b + 1)) / ((a + b) * (a + b + 1))
    bootstrap, pairs = ClusterBootstrap(n_images), VIEWS * (VIEWS - 1) // 2
    clustered = iid = 0
    for _ in range(trials):
        shares = pair_shares(rng.binomial(VIEWS, rng.beta(a, b, n_images)))
        ours = bootstrap.metric(shares, n_pairs=1, higher_is_better=True, kind="share")
        clustered += ours.ci_low <= truth <= ours.ci_high
        low, high = wilson(shares.sum() * pairs, n_images * pairs)
        iid += low <= truth <= high
    return clustered / trials, iid / trials


@pytest.mark.parametrize(("a", "b"), [(2.0, 0.3), (5.0, 0.5), (3.0, 1.0)])
def test_intervals_cover_the_truth_95_times_in_100_and_iid_intervals_do_not(a, b):
    ours, iid = coverage(200, a, b)
    assert 0.92 <= ours <= 0.98
    assert iid < 0.75


def test_intervals_of_twenty_images_still_cover_nearly_as_often_as_they_claim():
    assert coverage(20, 2.0, 0.6)[0] >= 0.92
