"""Paired tests on the same images under two models: differences of means, flips of yes/no outcomes, many tests at once.

No torch. An image's difference is one number, so the pairs of views inside an image never count as independent.
Sources: Student's paired t; Agresti and Min (2005) for not trusting ties; McNemar (1947) and Fisher
(1935), exact; Holm (1979).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from shiftaudit.metrics.intervals import student_cdf, student_quantile

POWER = 0.8
MAX_IMAGES = 10_000_000

_quantile = lru_cache(maxsize=4096)(student_quantile)


@dataclass(frozen=True)
class Estimate:
    """A mean over `n` images with its standard error; `inf` where one image or none says nothing about the spread.

    `extreme` is how far from the mean an image can lie that is too rare to be among the `n`; 0 where none can.
    """

    mean: float
    standard_error: float
    n: int
    extreme: float = 0.0

    def bound(self, probability: float) -> float:
        """One end of Student's interval: the true mean lies below it with this probability.

        >>> estimate = Estimate(0.5, 0.1, 11)
        >>> round(estimate.bound(0.975), 4), round(estimate.bound(0.025), 4)
        (0.7228, 0.2772)
        """
        if self.standard_error == 0 or probability == 0.5:
            return self.mean
        if math.isinf(self.standard_error):
            return math.copysign(math.inf, probability - 0.5)
        return self.mean + _quantile(probability, self.n - 1) * self.standard_error

    def surely_above(self, alpha: float) -> float:
        """The lower end: `bound(alpha)`, but no nearer to the mean than what `n` images can rule out at all.

        A loss of `extreme` that hits a share of images is missed by all of them with probability (1 - share)^n, so a
        share of 1 - alpha^(1/n) stays plausible: the rule of three, 3/n at 5 % (Hanley and Lippman-Hand, 1983).

        >>> round(Estimate(0.0, 0.001, 100, extreme=1.0).surely_above(0.05), 4)
        -0.0295
        """
        unseen = self.extreme * (1 - alpha ** (1 / self.n)) if self.n else math.inf
        return min(self.bound(alpha), self.mean - unseen)

    def p_below(self, limit: float) -> float:
        """One-sided p-value of "the true mean is at least `limit`": small when it is surely below."""
        if self.standard_error == 0:
            return 0.0 if self.mean < limit else 1.0
        if math.isinf(self.standard_error):
            return 1.0
        return student_cdf((self.mean - limit) / self.standard_error, self.n - 1)

    def images_to_decide(self, limit: float, alpha: float) -> int | None:
        """How many images would tell the mean from `limit` with 80 % power at one-sided `alpha`, if it stays as it is.

        None where no affordable number would: the mean lies on the limit, or its spread is unknown.

        >>> Estimate(-0.01, 0.008, 500).images_to_decide(-0.03, 0.05)
        495
        >>> Estimate(-0.03, 0.008, 500).images_to_decide(-0.03, 0.05) is None
        True
        """
        distance = abs(self.mean - limit)
        if distance == 0 or math.isinf(self.standard_error):
            return None
        normal = NormalDist()
        quantiles = normal.inv_cdf(1 - alpha) + normal.inv_cdf(POWER)
        # The imaginary image weighs the less, the more real ones there are.
        imaginary = self.extreme**2
        variance = max(self.standard_error**2 * self.n - imaginary / max(self.n - 1, 1), 0.0)

        def decided(n: int) -> bool:
            enough = quantiles * math.sqrt((variance + imaginary / (n - 1)) / n) <= distance
            return enough and (self.mean < limit or self.extreme * (1 - alpha ** (1 / n)) <= distance)

        return smallest(decided, MAX_IMAGES)


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


def estimate_mean(values: NDArray[np.float64], *, extreme: float = 1.0) -> Estimate:
    """The mean of per-image values in [-1, 1], shape (n,), with a standard error that does not trust ties.

    One imaginary image as far away as a share can be (`extreme`) is added to the sum of squares, not to the mean:
    with many ties the plain t interval is too narrow, because the rare image that differs may not be among the few.
    NaN entries are left out.

    Raises:
        ValueError: no value is left.

    >>> import numpy as np
    >>> estimate = estimate_mean(np.array([0.0, -0.5, 0.0, 0.1]))
    >>> round(estimate.mean, 3), round(estimate.standard_error, 3), estimate.n
    (-0.1, 0.319, 4)
    >>> estimate_mean(np.zeros(3), extreme=0.0).standard_error
    0.0
    """
    values = np.asarray(values, dtype=np.float64)
    values = values[~np.isnan(values)]
    n = len(values)
    if n == 0:
        raise ValueError("no image was measured")
    mean = float(values.mean())
    if n == 1:
        return Estimate(mean, math.inf, 1, extreme)
    squares = float(((values - mean) ** 2).sum()) + extreme**2
    return Estimate(mean, math.sqrt(squares / (n - 1) / n), n, extreme)


def paired_difference(
    candidate: NDArray[np.float64], baseline: NDArray[np.float64], *, extreme: float = 1.0, same_model: bool = False
) -> Estimate:
    """The mean of candidate minus baseline over the images that both measured; entry i of both is the same image.

    Args:
        extreme: the largest difference that a rare image can have, 0 for the plain paired t; see `estimate_mean`.
        same_model: both are answers of the very same network. Where they are equal too the difference is known to be 0.

    Raises:
        ValueError: the shapes differ, or no image was measured by both.
    """
    if np.shape(candidate) != np.shape(baseline):
        raise ValueError(f"expected equal shapes, got {np.shape(candidate)} and {np.shape(baseline)}")
    difference = np.asarray(candidate, dtype=np.float64) - np.asarray(baseline, dtype=np.float64)
    estimate = estimate_mean(difference, extreme=extreme)
    return Estimate(0.0, 0.0, estimate.n) if same_model and not np.nan_to_num(difference).any() else estimate


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
