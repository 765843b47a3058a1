"""A confidence sequence keeps its promise although its own width decides when to stop."""

from __future__ import annotations

import numpy as np
import pytest

from shiftaudit.errors import InputError
from shiftaudit.metrics.sequence import ConfidenceSequence
from shiftaudit.records.report import Metric

SHIFTS = 8


def shares(generator: np.random.Generator, n: int, mean: float, spread: float) -> np.ndarray:
    """Shares of agreeing pairs among eight views whose flips are correlated within an image (beta-binomial)."""
    chance = generator.beta(mean * spread, (1 - mean) * spread, size=n)
    same = generator.binomial(SHIFTS, chance)
    pairs = SHIFTS * (SHIFTS - 1) / 2
    return (same * (same - 1) / 2 + (SHIFTS - same) * (SHIFTS - same - 1) / 2) / pairs


@pytest.mark.parametrize(("mean", "spread"), [(0.95, 2.0), (0.8, 1.0)])
def test_stopping_at_the_wanted_width_keeps_the_coverage(mean: float, spread: float) -> None:
    generator = np.random.default_rng(0)
    truth = shares(np.random.default_rng(1), 400_000, mean, spread).mean()
    missed, used = 0, []
    for _ in range(60):
        values = shares(generator, 3000, mean, spread)
        sequence = ConfidenceSequence(0.04)
        for n, value in enumerate(values, start=1):
            sequence.add(float(value))
            if sequence.reached:
                used.append(n)
                break
        missed += not sequence.low <= truth <= sequence.high
    # At most 5 % of 60 runs may miss on average; eight would be far beyond that.
    assert missed <= 7
    assert len(used) == 60
    # An ordinary interval of this width needs 1.96² s² / 0.04² images; looking all the time costs about twice that.
    fixed = 1.96**2 * shares(np.random.default_rng(2), 100_000, mean, spread).var() / 0.04**2
    assert np.median(used) < 3 * fixed


def test_an_ordinary_interval_watched_all_the_time_breaks_its_promise() -> None:
    generator = np.random.default_rng(3)
    truth = shares(np.random.default_rng(1), 400_000, 0.95, 2.0).mean()
    missed = 0
    for _ in range(60):
        values = shares(generator, 3000, 0.95, 2.0)
        n = np.arange(1, 3001)
        means = values.cumsum() / n
        spread = np.sqrt(np.maximum((values**2).cumsum() / n - means**2, 0))
        half = 1.96 * spread / np.sqrt(n)
        stop = int(np.argmax((half <= 0.04) & (n >= 5)))
        missed += not means[stop] - half[stop] <= truth <= means[stop] + half[stop]
    assert missed > 7


def test_the_interval_only_ever_shrinks_and_holds_the_mean_of_a_constant() -> None:
    sequence = ConfidenceSequence(0.02)
    widths = []
    for _ in range(400):
        sequence.add(1.0)
        widths.append(sequence.half_width)
    assert widths == sorted(widths, reverse=True)
    assert sequence.high == 1.0
    assert sequence.reached


def test_the_metric_keeps_its_value_and_names_the_method() -> None:
    sequence = ConfidenceSequence(0.1)
    for _ in range(50):
        sequence.add(0.5)
    metric = sequence.metric(Metric(0.5, 0.5, 0.5, 50, 400, "cluster-bootstrap", True))
    assert metric.method == "confidence-sequence"
    assert metric.ci_low is not None
    assert metric.ci_low < 0.5


@pytest.mark.parametrize("target", [0.0, 0.5, -1.0, 0.0001])
def test_a_precision_out_of_range_is_refused(target: float) -> None:
    with pytest.raises(InputError, match="--precision"):
        ConfidenceSequence(target)


def test_a_value_that_is_no_share_is_refused() -> None:
    with pytest.raises(InputError, match=r"\[0, 1\]"):
        ConfidenceSequence(0.1).add(1.5)
