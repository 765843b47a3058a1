"""Means of bounded values: against exact binomial sums, drawn weights, and by their error rates under skewed losses."""

from __future__ import annotations

import math
from fractions import Fraction
from math import comb

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shiftaudit.metrics.bounded import MAX_POINTS, bounded_mean, probability_positive


def binomial_tail(k, n, p):
    """P(X >= k) for X ~ Binomial(n, p), summed in fractions."""
    p = Fraction(p).limit_denominator(1000)
    return float(sum(comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(k, n + 1)))


@pytest.mark.parametrize("n", [1, 2, 7, 40, 120])
@pytest.mark.parametrize("p", [0.003, 0.2, 0.5, 0.97])
def test_for_yes_or_no_outcomes_it_is_the_exact_binomial_test(n, p):
    for k in sorted({0, 1, n // 2, n}):
        if k > n:
            continue
        sample = bounded_mean(np.array([1.0] * k + [0.0] * (n - k)), 0.0, 1.0)
        at_most = 1 - binomial_tail(k + 1, n, p)
        assert sample.p_below(p) == pytest.approx(at_most, abs=1e-8)
        assert sample.negated().p_below(-p) == pytest.approx(binomial_tail(k, n, p), abs=1e-8)


def test_its_limits_are_where_the_exact_test_turns():
    sample = bounded_mean(np.array([1.0] * 17 + [0.0] * 3), 0.0, 1.0)
    low, high = sample.bound(0.025), sample.bound(0.975)
    # Clopper and Pearson's 95 % interval of 17 out of 20, from printed tables.
    assert (low, high) == pytest.approx((0.6211, 0.9679), abs=5e-5)


@pytest.mark.parametrize(("lost", "gained"), [(4, 0), (8, 1), (3, 3), (1, 6)])
def test_at_a_limit_of_zero_it_is_mcnemars_exact_test(lost, gained):
    values = np.array([-1.0] * lost + [1.0] * gained + [0.0] * 30)
    exact = sum(comb(lost + gained, i) for i in range(gained + 1)) / 2 ** (lost + gained)
    assert bounded_mean(values, -1.0, 1.0).p_below(0.0) == pytest.approx(exact, abs=1e-9)


def test_it_is_the_quantile_of_randomly_weighted_means():
    rng = np.random.default_rng(4)
    values = rng.beta(1, 3, 25)
    weights = rng.exponential(size=(200_000, 26))
    means = weights @ np.append(values, 1.0) / weights.sum(axis=1)
    for probability in (0.9, 0.975):
        assert bounded_mean(values, 0, 1).bound(probability) == pytest.approx(
            np.quantile(means, probability), abs=0.002
        )


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=20), st.floats(0.001, 0.4))
@example([0.0, 3.5582915992472243e-222], 0.25)
def test_bounds_lie_in_the_range_and_around_the_mean_and_turn_with_the_values(values, alpha):
    sample = bounded_mean(np.array(values), -1.0, 1.0)
    low, high = sample.bound(alpha), sample.bound(1 - alpha)
    assert -1 <= low <= sample.mean + 1e-12
    assert sample.mean - 1e-12 <= high <= 1
    turned = bounded_mean(-np.array(values), -1.0, 1.0)
    assert turned.bound(1 - alpha) == pytest.approx(-low, abs=1e-6)


def test_many_different_values_keep_their_mean_and_their_interval():
    values = np.random.default_rng(2).beta(2, 5, 20_000)
    sample = bounded_mean(values, 0.0, 1.0)
    assert len(sample.values) <= MAX_POINTS
    assert np.dot(sample.values, sample.counts) / 20_000 == pytest.approx(values.mean(), abs=1e-12)
    half = 1.96 * values.std() / math.sqrt(20_000)
    assert sample.bound(0.975) - sample.mean == pytest.approx(half, rel=0.03)
    assert sample.mean - sample.bound(0.025) == pytest.approx(half, rel=0.03)


def test_values_outside_the_range_and_none_at_all_are_refused():
    with pytest.raises(ValueError, match=r"between 0\.0 and 1\.0"):
        bounded_mean(np.array([0.5, 1.2]), 0.0, 1.0)
    with pytest.raises(ValueError, match="no image"):
        bounded_mean(np.array([math.nan]), 0.0, 1.0)


def test_a_sum_of_one_sign_is_certain():
    ones = np.ones(3)
    assert probability_positive(-ones, ones) == 0.0
    assert probability_positive(ones, ones) == 1.0


def false_alarms(points, shares, n, limit, alpha, trials=20_000):
    """How often a sample of `n` from a distribution whose mean is exactly `limit` is called surely below it."""
    points, shares = np.array(points), np.array(shares)
    assert float(points @ shares) == pytest.approx(limit)
    drawn = np.random.default_rng(n).multinomial(n, shares, size=trials)
    samples, times = np.unique(drawn, axis=0, return_counts=True)
    called = [bounded_mean(np.repeat(points, counts), -1, 1).p_below(limit) < alpha for counts in samples]
    return float(times @ np.array(called)) / trials


def t_test_alarms(points, shares, n, limit, trials=20_000):
    """The same of the one-sided t test with an imaginary image in its variance, which the gate used before."""
    rng = np.random.default_rng(n)
    values = rng.choice(points, p=shares, size=(trials, n))
    means = values.mean(axis=1)
    errors = np.sqrt((((values - means[:, None]) ** 2).sum(axis=1) + 1) / (n - 1) / n)
    return float(np.mean((means - limit) / errors < -1.66))


@pytest.mark.parametrize("n", [10, 30, 100, 300])
@pytest.mark.parametrize("loss", [0.031, 0.05, 0.1, 0.3])
def test_the_level_holds_where_every_image_loses_a_little_and_rare_ones_gain_all(n, loss):
    rare = (loss - 0.03) / (1 + loss)
    assert false_alarms([-loss, 1.0], [1 - rare, rare], n, -0.03, 0.05) <= 0.05 + 0.005


@pytest.mark.parametrize("n", [30, 100])
def test_the_level_holds_with_rare_losses_and_rare_gains(n):
    for gain, lose in ((0.02, 0.01), (0.01, 0.02), (0.005, 0.005)):
        rest = (-0.03 - gain + lose) / (1 - gain - lose)
        shares = [1 - gain - lose, gain, lose]
        assert false_alarms([rest, 1.0, -1.0], shares, n, -0.03, 0.05, 2000) <= 0.05 + 0.015


def test_the_t_test_did_not_hold_it():
    rare = 0.02 / 1.05
    assert t_test_alarms([-0.05, 1.0], [1 - rare, rare], 100, -0.03) > 0.12
