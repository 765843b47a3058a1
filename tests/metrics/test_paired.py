"""Paired tests: against closed forms, brute-force sums, and by their error rates in simulations."""

from __future__ import annotations

import math
from fractions import Fraction
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shiftaudit.metrics.bounded import bounded_mean
from shiftaudit.metrics.paired import (
    StudentMean,
    detectable_drop,
    fisher,
    holm,
    images_to_decide,
    mcnemar,
    paired_difference,
)


@pytest.mark.parametrize(("lost", "gained"), [(0, 0), (1, 0), (5, 1), (3, 12), (40, 60), (7, 7)])
def test_mcnemar_is_the_exact_binomial_sum(lost, gained):
    n = lost + gained
    tail = Fraction(sum(comb(n, k) for k in range(min(lost, gained) + 1)), 2**n)
    assert mcnemar(lost, gained) == pytest.approx(float(min(Fraction(1), 2 * tail)), rel=1e-9)


def test_mcnemar_does_not_underflow_with_thousands_of_flips():
    assert 0 <= mcnemar(100, 5000) < 1e-300
    assert mcnemar(25_000, 25_000) == 1.0


def test_mcnemar_refuses_negative_counts():
    with pytest.raises(ValueError, match="counts"):
        mcnemar(-1, 2)


def test_holm_is_the_textbook_example():
    # Sorted p-values 0.005, 0.01, 0.03, 0.04 against 0.0125, 0.0167, 0.025, 0.05: it stops at the third.
    steps = holm([0.01, 0.04, 0.03, 0.005], 0.05)
    assert [step.rejected for step in steps] == [True, False, False, True]
    assert [step.adjusted_p for step in steps] == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert steps[1].alpha == steps[2].alpha == pytest.approx(0.025)


@given(st.lists(st.floats(0, 1), max_size=8), st.floats(0.001, 0.2))
def test_holm_rejects_exactly_where_its_adjusted_p_value_is_below_alpha(p_values, alpha):
    steps = holm(p_values, alpha)
    for p, step in zip(p_values, steps, strict=True):
        assert step.rejected == (p < step.alpha)
        if abs(step.adjusted_p - alpha) > 1e-12:
            assert step.rejected == (step.adjusted_p < alpha)


def test_a_difference_is_the_mean_over_images_that_both_measured():
    estimate = paired_difference(np.array([0.5, math.nan, 1.0, 0.2]), np.array([1.0, 0.1, 1.0, math.nan]))
    assert (estimate.mean, estimate.n) == (-0.25, 2)


def test_identical_outcomes_leave_no_smaller_a_loss_plausible_than_the_rule_of_three_does():
    for n in (3, 20, 100, 500):
        estimate = paired_difference(np.full(n, 0.5), np.full(n, 0.5))
        assert estimate.mean == 0.0
        assert estimate.bound(0.05) == pytest.approx(-(1 - 0.05 ** (1 / n)), rel=1e-6)
        assert estimate.p_below(0.0) == 1.0


def test_one_image_alone_decides_nothing():
    estimate = paired_difference(np.array([0.5]), np.array([1.0]))
    assert estimate.bound(0.95) > 0.8
    assert estimate.bound(0.05) < -0.9
    # The chance that an exponential variable is more than half of another: 2/3.
    assert estimate.p_below(0.0) == pytest.approx(1 / (1 + 0.5))


def test_different_shapes_and_nothing_measured_are_refused():
    with pytest.raises(ValueError, match="equal shapes"):
        paired_difference(np.zeros(2), np.zeros(3))
    with pytest.raises(ValueError, match="no image"):
        paired_difference(np.array([math.nan]), np.array([0.0]))


@pytest.mark.parametrize(
    "estimate",
    [
        StudentMean(-0.05, 0.012, 40),
        bounded_mean(np.random.default_rng(0).normal(-0.05, 0.08, 40).clip(-1, 1), -1, 1),
    ],
)
def test_bounds_and_p_values_tell_the_same_story(estimate):
    for alpha in (0.001, 0.0125, 0.05):
        assert estimate.p_below(estimate.bound(1 - alpha)) == pytest.approx(alpha, rel=1e-5)
        turned = estimate.negated()
        assert turned.bound(1 - alpha) == pytest.approx(-estimate.bound(alpha), abs=1e-12)


def test_as_many_images_as_it_asks_for_do_decide_in_about_4_of_5_cases():
    rng = np.random.default_rng(0)
    half = rng.normal(0.0, 0.25, 50).clip(-1, 1)
    n = images_to_decide(bounded_mean(np.concatenate([half, -half]), -1, 1), -0.03, 0.05)
    decided = [bounded_mean(rng.normal(0, 0.25, n).clip(-1, 1), -1, 1).bound(0.05) > -0.03 for _ in range(300)]
    assert np.mean(decided) == pytest.approx(0.8, abs=0.09)


@pytest.mark.parametrize("n", [5, 30, 300])
def test_the_number_of_images_that_decide_does_not_depend_on_how_many_there_are_by_now(n):
    # All the same so far: the rule of three wants ln 0.05 / ln 0.97 images, however few were seen.
    assert images_to_decide(bounded_mean(np.zeros(n), -1, 1), -0.03, 0.05) == 99
    spread = bounded_mean(np.tile([0.25, -0.25, 0.0, 0.0, 0.0], n), -1, 1)
    assert images_to_decide(spread, -0.03, 0.05) == 253


def test_no_number_of_images_decides_what_lies_on_the_limit_or_has_no_known_spread():
    assert images_to_decide(StudentMean(-0.03, 0.01, 50), -0.03, 0.05) is None
    assert images_to_decide(StudentMean(0.0, math.inf, 1), -0.03, 0.05) is None


@pytest.mark.parametrize("n", [50, 100, 500])
def test_a_drop_called_detectable_is_detected_in_about_4_of_5_cases(n):
    """Yes/no outcomes of which 3 % change anyhow, half of them for the better."""
    rng = np.random.default_rng(n)

    def changes(lost):
        either = np.where(rng.random(n) < 0.03, rng.choice([-1.0, 1.0], n), 0.0)
        return bounded_mean(np.where(rng.random(n) < lost, -1.0, either), -1, 1)

    drop = detectable_drop(changes(0.0), 0.03, 0.05)
    found = np.mean([changes(drop).p_below(-0.03) < 0.05 for _ in range(300)])
    assert 0.68 <= found <= 0.92
    assert detectable_drop(bounded_mean(np.zeros(2), -1, 1), 0.03, 0.01) is None


def test_fisher_is_the_exact_hypergeometric_sum():
    def exact(a, n_a, b, n_b):
        ways = sum(comb(n_a, k) * comb(n_b, a + b - k) for k in range(a + 1) if 0 <= a + b - k <= n_b)
        return ways / comb(n_a + n_b, a + b)

    for case in [(0, 5, 3, 5), (1, 80, 40, 80), (2, 2, 0, 2), (0, 3, 0, 3), (5, 9, 9, 9), (0, 2000, 200, 2000)]:
        assert fisher(*case) == pytest.approx(exact(*case), rel=1e-7)
