"""Paired tests on the same images under two models: differences of means, flips of yes/no outcomes, many tests at once.

No torch. An image's difference is one number, so the pairs of views inside an image never count as independent.
Sources: Gaffke (2005) for shares and their differences, see `shiftaudit.metrics.bounded`; Student's t where only a mean and its
standard error are known; McNemar (1947) and Fisher (1935), exact; Holm (1979).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from shiftaudit.metrics.bounded import BoundedMean, bounded_mean
from shiftaudit.metrics.intervals import student_cdf, student_quantile

POWER = 0.8
MAX_IMAGES = 10_000_000
_SPARE = NormalDist().inv_cdf(POWER)
"""In 4 of 5 cases a mean comes out less than so many standard errors worse than it is."""


@dataclass(frozen=True)
class StudentMean:
    """A mean over `n` images of which only the standard error is known: `inf` where nothing is known of the spread."""

    mean: float
    standard_error: float
    n: int

    @property
    def spread(self) -> float:
        """Standard deviation of one image."""
        return self.standard_error * math.sqrt(self.n)

    def negated(self) -> StudentMean:
        """The same of the values times -1."""
        return replace(self, mean=-self.mean)

    def scaled(self, n: int) -> StudentMean:
        """What `n` images would show if they are as these are."""
        return StudentMean(self.mean, self.standard_error * math.sqrt(self.n / n), n)

    def bound(self, probability: float) -> float:
        """One end of Student's interval: the true mean lies below it with this probability.

        >>> estimate = StudentMean(0.5, 0.1, 11)
        >>> round(estimate.bound(0.975), 4), round(estimate.bound(0.025), 4)
        (0.7228, 0.2772)
        """
        if self.standard_error == 0 or probability == 0.5:
            return self.mean
        if math.isinf(self.standard_error) or self.n < 2:
            return math.copysign(math.inf, probability - 0.5)
        return self.mean + student_quantile(probability, self.n - 1) * self.standard_error

    def p_below(self, limit: float) -> float:
        """One-sided p-value of "the true mean is at least `limit`": small when it is surely below."""
        if self.standard_error == 0:
            return 0.0 if self.mean < limit else 1.0
        if math.isinf(self.standard_error) or self.n < 2:
            return 1.0
        return student_cdf((self.mean - limit) / self.standard_error, self.n - 1)


Estimate = BoundedMean | StudentMean


def images_to_decide(estimate: Estimate, limit: float, alpha: float) -> int | None:
    """How many images would tell the mean from `limit` with 80 % power at one-sided `alpha`, if they are as these are.

    None where no affordable number would: the mean lies on the limit, or its spread is unknown.

    >>> images_to_decide(StudentMean(-0.01, 0.008, 500), -0.03, 0.05)
    496
    >>> images_to_decide(StudentMean(-0.03, 0.008, 500), -0.03, 0.05) is None
    True
    """
    if estimate.mean > limit:
        estimate, limit = estimate.negated(), -limit
    if estimate.mean == limit or math.isinf(estimate.spread):
        return None
    return smallest(lambda n: _detected(estimate.scaled(n), limit, alpha), MAX_IMAGES)


def _detected(estimate: Estimate, limit: float, alpha: float) -> bool:
    """Whether this mean is surely below `limit` in 4 of 5 cases, and not only when chance is kind."""
    return estimate.p_below(limit - _SPARE * estimate.spread / math.sqrt(estimate.n)) < alpha


def detectable_drop(difference: BoundedMean, margin: float, alpha: float) -> float | None:
    """The smallest true drop that so many images tell from `margin` with 80 % power at one-sided `alpha`.

    It is what such images would show: as many change as do now, for the better and the worse alike, and on top of them a share
    loses as much as an image that changes typically does. None where not even the loss of everything would be seen.

    >>> import numpy as np
    >>> round(detectable_drop(bounded_mean(np.zeros(100), -1.0, 1.0), 0.03, 0.05), 3)
    0.111
    """
    size = np.abs(np.array(difference.values))
    weights = np.array(difference.counts) / sum(difference.counts)
    changed = float(weights @ size)
    typical = float(weights @ size**2) / changed if changed else 1.0
    # Half of the weight at each value and half at its negative, so that the mean is 0 before the loss.
    values = (*difference.values, *(-value for value in difference.values))
    halves = np.concatenate([weights, weights]) / 2 * difference.n

    def sample(drop: float) -> BoundedMean:
        share = min(drop / typical, 1.0)
        counts = (*((1 - share) * halves).tolist(), share * difference.n)
        return BoundedMean((*values, -max(drop, typical)), counts, -1.0, 1.0, -drop, difference.n)

    def detected(drop: float) -> bool:
        kind = drop - _SPARE * sample(drop).spread / math.sqrt(difference.n)
        return kind > margin and sample(kind).p_below(-margin) < alpha

    low, high = margin, 1.0
    if not detected(high):
        return None
    while high - low > 5e-4:
        middle = (low + high) / 2
        low, high = (low, middle) if detected(middle) else (middle, high)
    return high


def detectable_distance(estimate: Estimate, alpha: float) -> float | None:
    """How far beyond a limit the mean must lie so that so many images, as wide as these, tell it with 80 % power."""
    distance = estimate.bound(1 - alpha) - estimate.mean + _SPARE * estimate.spread / math.sqrt(estimate.n)
    return distance if math.isfinite(distance) else None


def smallest(decided: Callable[[int], bool], largest: int) -> int | None:
    """The smallest number of images from 2 to `largest` at which `decided` turns true and stays so; None if it never does.

    >>> smallest(lambda n: n >= 495, 1000), smallest(lambda n: False, 1000)
    (495, None)
    """
    low, high = 1, 2
    while not decided(high):
        if high == largest:
            return None
        low, high = high, min(2 * high, largest)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if decided(middle) else (middle, high)
    return high


def paired_difference(
    candidate: NDArray[np.float64], baseline: NDArray[np.float64], *, same_model: bool = False
) -> Estimate:
    """The mean of candidate minus baseline over the images that both measured; entry i of both is the same image.

    Args:
        same_model: both are answers of the very same network. Where they are equal too the difference is known to be 0.

    Raises:
        ValueError: the shapes differ, no image was measured by both, or a difference is larger than 1.
    """
    if np.shape(candidate) != np.shape(baseline):
        raise ValueError(f"expected equal shapes, got {np.shape(candidate)} and {np.shape(baseline)}")
    difference = np.asarray(candidate, dtype=np.float64) - np.asarray(baseline, dtype=np.float64)
    estimate = bounded_mean(difference, -1.0, 1.0)
    return StudentMean(0.0, 0.0, estimate.n) if same_model and not np.nan_to_num(difference).any() else estimate


@dataclass(frozen=True)
class HolmStep:
    """One test of a family: whether it is rejected, the level it was compared with, and its adjusted p-value."""

    rejected: bool
    alpha: float
    adjusted_p: float


def holm(p_values: Sequence[float], alpha: float) -> list[HolmStep]:
    """Holm's step-down: the chance of any false rejection in the whole family stays at most `alpha`.

    The level of a test that was not reached is the level at which the procedure stopped, so that a bound drawn at that
    level always tells the same story as the decision.

    >>> [(step.rejected, round(step.alpha, 4)) for step in holm([0.04, 0.001, 0.03], 0.05)]
    [(False, 0.025), (True, 0.0167), (False, 0.025)]
    """
    steps: dict[int, HolmStep] = {}
    m = len(p_values)
    stopped_at: float | None = None
    adjusted = 0.0
    for rank, index in enumerate(sorted(range(m), key=lambda i: p_values[i])):
        level = alpha / (m - rank)
        adjusted = max(adjusted, min(1.0, p_values[index] * (m - rank)))
        if stopped_at is None and p_values[index] >= level:
            stopped_at = level
        steps[index] = HolmStep(stopped_at is None, level if stopped_at is None else stopped_at, adjusted)
    return [steps[index] for index in range(m)]


def mcnemar(lost: int, gained: int) -> float:
    """Exact two-sided p-value that `lost` and `gained` of the images whose yes/no outcome changed are equally likely.

    >>> round(mcnemar(8, 1), 5), mcnemar(0, 0), mcnemar(3, 3)
    (0.03906, 1.0, 1.0)
    """
    if lost < 0 or gained < 0:
        raise ValueError(f"expected counts, got {lost} and {gained}")
    return min(1.0, 2 * _binomial_lower_tail(min(lost, gained), lost + gained))


def _binomial_lower_tail(k: int, n: int) -> float:
    """P(X <= k) for X ~ Binomial(n, 1/2): the largest term, and the falling ones below it until they add nothing."""
    if n == 0:
        return 1.0
    top = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) - n * math.log(2)
    term, total = 1.0, 1.0
    for i in range(k, 0, -1):
        term *= i / (n - i + 1)
        total += term
        if term < 1e-17 * total:
            break
    return math.exp(top) * total


def fisher(successes_a: int, n_a: int, successes_b: int, n_b: int) -> float:
    """Exact one-sided p-value that A has so small a share of successes by chance, if it has no smaller one than B.

    Fisher (1935): the hypergeometric probability of `successes_a` or fewer among all successes of both.

    >>> round(fisher(0, 10, 5, 10), 4), round(fisher(5, 10, 0, 10), 4)
    (0.0163, 1.0)
    """
    total, n = successes_a + successes_b, n_a + n_b

    def choose(m: int, k: int) -> float:
        return math.lgamma(m + 1) - math.lgamma(k + 1) - math.lgamma(m - k + 1)

    lowest = max(0, total - n_b)
    terms = [choose(n_a, k) + choose(n_b, total - k) - choose(n, total) for k in range(lowest, successes_a + 1)]
    return min(1.0, math.fsum(math.exp(term) for term in terms))
