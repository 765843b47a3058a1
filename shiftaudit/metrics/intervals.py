"""95 % intervals of means over images. An image is one observation, however many views it has, since they are not independent.

No torch. Shares and their differences lie between known ends, and near an end a sample says little of what it does not hold:
`BoundedMean.interval` allows for that and holds its level. Changes of probability and errors of features lie far below the end of
their range, which would then decide the width; Student's interval and its correction for skewness (Hall, 1992, "On the removal of
skewness by transformation") are used for these, and what they say is approximate: of a rare large value that the sample does not
hold they know nothing, and of few images there is none. How often each holds is tried in `tests/coverage_simulation.py`.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from shiftaudit.metrics.bounded import bounded_mean
from shiftaudit.records.report import Metric

CONFIDENCE = 0.95
SMALLEST_APPROXIMATE = 20
"""Of fewer images numbers that are no shares get no interval: where 1 image in 5 has all of a change, the approximate one holds
the truth in 98 % of samples of 20 images, but in 90 % of 10 and in 67 % of 5."""

Kind = Literal["share", "real"]
"""`share`: of yes/no outcomes, or a difference of such shares; `real`: any other number of a known range."""


def student_cdf(t: float, df: float) -> float:
    """P(T <= t) for Student's t with `df` degrees of freedom, by the incomplete beta function.

    >>> round(student_cdf(2.0, 10), 6), student_cdf(0.0, 3)
    (0.963306, 0.5)
    """
    if t == 0:
        return 0.5
    tail = 0.5 * _incomplete_beta(df / (df + t * t), df / 2, 0.5)
    return 1 - tail if t > 0 else tail


@lru_cache(maxsize=4096)
def student_quantile(probability: float, df: float) -> float:
    """The t at which `student_cdf(t, df)` equals `probability` (0 < probability < 1), by bisection.

    >>> round(student_quantile(0.975, 10), 4), round(student_quantile(0.05, 4), 4)
    (2.2281, -2.1318)
    """
    if probability == 0.5:
        return 0.0
    if probability > 0.5:
        return -student_quantile(1 - probability, df)
    low, high = -1.0, 0.0
    while student_cdf(low, df) > probability:
        low, high = 2 * low, low
    for _ in range(80):
        middle = (low + high) / 2
        if student_cdf(middle, df) > probability:
            high = middle
        else:
            low = middle
    return (low + high) / 2


def _incomplete_beta(x: float, a: float, b: float) -> float:
    """The regularised incomplete beta function I_x(a, b), by Lentz's method (Press et al., Numerical Recipes, 6.4)."""
    if x <= 0 or x >= 1:
        return 0.0 if x <= 0 else 1.0
    if x > (a + 1) / (a + b + 2):
        return 1 - _incomplete_beta(1 - x, b, a)
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)) / a
    tiny = 1e-300
    c, d = 1.0, 1 / ((1 - (a + b) * x / (a + 1)) or tiny)
    fraction = d
    for m in range(1, 500):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for numerator in (even, odd):
            d = 1 / ((1 + numerator * d) or tiny)
            c = (1 + numerator / c) or tiny
            fraction *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return front * fraction


def mean_metric(
    values: NDArray[np.float64],
    *,
    n_pairs: int,
    higher_is_better: bool,
    kind: Kind,
    low: float = 0.0,
    high: float = 1.0,
) -> Metric:
    """The mean over images with its 95 % interval. It depends neither on the order of the images nor on random numbers.

    Args:
        values: one an image, shape (n_images,), all between `low` and `high`; NaN where an image was not measured.
        n_pairs: comparisons of views behind them.
        higher_is_better: of the values.
        kind: decides how the interval is made. Of values that are all equal it is that of a share, since a spread of 0 says
            nothing of the images that are not here. One image alone has a value and no interval, and so have fewer than
            `SMALLEST_APPROXIMATE` of a real number.
        low: the smallest possible value.
        high: the largest possible value.

    Raises:
        ValueError: another shape, an infinite value, or one beyond the range.

    >>> metric = mean_metric(np.linspace(0.5, 1.0, 100), n_pairs=2800, higher_is_better=True, kind="share")
    >>> round(metric.value, 2), round(metric.ci_low, 2), round(metric.ci_high, 2), metric.method
    (0.75, 0.71, 0.78, 'bounded-mean')
    """
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1:
        raise ValueError(f"expected values of shape (n_images,), got {values.shape}")
    measured = np.sort(values[~np.isnan(values)])
    if np.isinf(measured).any():
        raise ValueError("expected finite values, or NaN for images that were not measured")
    n = len(measured)
    if n < 2:
        value = float(measured[0]) if n else None
        return Metric(value, None, None, n, n_pairs, "none", higher_is_better)
    if kind == "share" or measured[0] == measured[-1]:
        mean = bounded_mean(measured, low, high)
        return Metric(mean.mean, *mean.interval(CONFIDENCE), n, n_pairs, "bounded-mean", higher_is_better)
    value = math.fsum(measured) / n
    if n < SMALLEST_APPROXIMATE:
        return Metric(value, None, None, n, n_pairs, "none", higher_is_better)
    ends = skewed_interval(measured)
    return Metric(value, max(ends[0], low), min(ends[1], high), n, n_pairs, "approximate-t", higher_is_better)


def skewed_interval(values: NDArray[np.float64]) -> tuple[float, float]:
    """Student's interval of a mean together with the one that is corrected for skewness: the farther of both ends each.

    With y = (mean - true mean) / spread and skewness g, Hall's y + g y² / 3 + g² y³ / 27 + g / (6 n) is nearly symmetric.
    Student's alone is too short on the side of the long tail, the corrected one alone is too short for few images.

    Args:
        values: one an image, shape (n,), n at least 2, not all equal.

    >>> low, high = skewed_interval(np.array([0.0, 0.0, 0.0, 0.0, 0.1, 0.0, 0.0, 0.0, 0.4, 0.1]))
    >>> round(low, 3), round(high, 3)  # the mean is 0.06
    (-0.03, 0.383)
    """
    n = len(values)
    mean = float(values.mean())
    deviations = values - mean
    variance = float((deviations**2).mean())
    spread = math.sqrt(variance * n / (n - 1))
    skewness = float((deviations**3).mean()) / variance**1.5
    reach = student_quantile(0.5 + CONFIDENCE / 2, n - 1) / math.sqrt(n)
    corrected = [_without_skewness(end, skewness, n) for end in (reach, -reach)]
    return mean - spread * max(reach, corrected[0]), mean - spread * min(-reach, corrected[1])


def _without_skewness(y: float, skewness: float, n: int) -> float:
    """The inverse of Hall's transformation."""
    y -= skewness / (6 * n)
    third = skewness / 3
    return y if abs(third) < 1e-9 else (math.cbrt(1 + 3 * third * y) - 1) / third
