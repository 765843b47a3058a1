"""Intervals of means over images, resampled by image because the views of one image are not independent.

No torch. Sources: Wilson (1927) for shares of yes/no outcomes; the percentile bootstrap over clusters (Efron and
Tibshirani, 1993), widened for few images as in Hesterberg (2015), "What teachers should know about the bootstrap".
"""

from __future__ import annotations

import math
from functools import lru_cache
from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from shiftaudit.metrics.bounded import bounded_mean
from shiftaudit.records.report import Metric

CONFIDENCE = 0.95
# Above this many images the resampled units are random groups of images: the spread between groups tells the same
# variance (to about 1 % of the interval's width), and cost and memory stop growing with the number of images.
MAX_UNITS = 4096
_CHUNK = 250
_CACHED_SIZES = 4

Kind = Literal["share", "binary", "real"]


def wilson(successes: float, n: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Two-sided Wilson score interval of a share of `n` independent yes/no outcomes.

    Raises:
        ValueError: `n` is not positive, or `successes` lies outside [0, n].

    >>> low, high = wilson(9, 10)
    >>> round(low, 4), round(high, 4)
    (0.5958, 0.9821)
    >>> wilson(0, 4)[0], wilson(4, 4)[1]
    (0.0, 1.0)
    """
    if n <= 0 or not 0 <= successes <= n:
        raise ValueError(f"expected 0 <= successes <= n with n > 0, got {successes} of {n}")
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    share = successes / n
    centre = share + z * z / (2 * n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    low = 0.0 if successes == 0 else (centre - half) / scale
    high = 1.0 if successes == n else (centre + half) / scale
    return low, high


def student_cdf(t: float, df: float) -> float:
    """P(T <= t) for Student's t with `df` degrees of freedom, by the incomplete beta function.

    >>> round(student_cdf(2.0, 10), 6), student_cdf(0.0, 3)
    (0.963306, 0.5)
    """
    if t == 0:
        return 0.5
    tail = 0.5 * _incomplete_beta(df / (df + t * t), df / 2, 0.5)
    return 1 - tail if t > 0 else tail


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


class ClusterBootstrap:
    """Percentile intervals of means over images, one resampling unit an image, the same resamples for every metric.

    A result depends on the multiset of values and the seed alone, not on the order of the images.

    Args:
        n_images: length of every array of values.
        n_resamples: at least 2,000 for a 95 % interval that does not move in its second digit.
        seed: of the resamples.

    >>> import numpy as np
    >>> bootstrap = ClusterBootstrap(100)
    >>> values = np.linspace(0.5, 1.0, 100)
    >>> metric = bootstrap.metric(values, n_pairs=2800, higher_is_better=True, kind="share")
    >>> round(metric.value, 2), round(metric.ci_low, 2), round(metric.ci_high, 2), metric.method
    (0.75, 0.72, 0.78, 'cluster-bootstrap')
    """

    def __init__(self, n_images: int, n_resamples: int = 2000, seed: int = 0) -> None:
        self.n_images = n_images
        self.n_resamples = n_resamples
        self.seed = seed

    def metric(
        self,
        values: NDArray[np.float64],
        *,
        n_pairs: int,
        higher_is_better: bool,
        kind: Kind,
        largest: float | None = None,
    ) -> Metric:
        """The mean of `values` (shape (n_images,), NaN where an image was not measured) with its 95 % interval.

        `binary` values (0 or 1) and `share` values that all hold the same extreme get Wilson's interval with one trial
        an image: there resampling would claim certainty. Where all other values are equal it would too, so values of at least
        0 whose `largest` is known get the bound of `bounded_mean`. One image alone has a value and no interval.

        Raises:
            ValueError: the shape is not (n_images,), or a value is infinite.
        """
        measured = self._measured(values)
        n = len(measured)
        if n == 0:
            return Metric(None, None, None, 0, n_pairs, "none", higher_is_better)
        value = float(measured.mean())
        if n == 1:
            return Metric(value, None, None, 1, n_pairs, "none", higher_is_better)
        if kind == "binary" or (kind == "share" and value in (0.0, 1.0)):
            low, high = wilson(float(measured.sum()), n)
            return Metric(value, low, high, n, n_pairs, "wilson", higher_is_better)
        tail = (1 - CONFIDENCE) / 2
        if largest is not None and measured[0] == measured[-1]:
            bounded = bounded_mean(measured, 0.0, largest)
            low, high = bounded.bound(tail), bounded.bound(1 - tail)
            return Metric(value, low, high, n, n_pairs, "bounded-mean", higher_is_better)
        means = self.means(values)
        low, high = percentile(means, tail, n), percentile(means, 1 - tail, n)
        return Metric(value, min(low, value), max(high, value), n, n_pairs, "cluster-bootstrap", higher_is_better)

    def means(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """The means of all resamples, shape (n_resamples,).

        NaN entries of `values` are left out; at least one other must stay.
        """
        measured = self._measured(values)
        n = len(measured)
        if n == 0:
            raise ValueError("no image was measured")
        units = min(n, MAX_UNITS)
        # Values are sorted, so that their order cannot matter, then dealt to units by a fixed permutation.
        dealt = measured[np.random.default_rng([self.seed, n]).permutation(n)]
        unit_of = np.arange(n) % units
        sums = np.bincount(unit_of, weights=dealt, minlength=units)
        sizes = np.bincount(unit_of, minlength=units).astype(np.float64)
        both = np.stack([sums, sizes], axis=1)
        weights = _resamples(self.seed, units, self.n_resamples)
        totals = np.concatenate(
            [weights[i : i + _CHUNK].astype(np.float64) @ both for i in range(0, len(weights), _CHUNK)]
        )
        means: NDArray[np.float64] = totals[:, 0] / totals[:, 1]
        return means

    def _measured(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        values = np.asarray(values, dtype=np.float64)
        if values.shape != (self.n_images,):
            raise ValueError(f"expected values of shape ({self.n_images},), got {values.shape}")
        measured = np.sort(values[~np.isnan(values)])
        if np.isinf(measured).any():
            raise ValueError("expected finite values, or NaN for images that were not measured")
        return measured


@lru_cache(maxsize=_CACHED_SIZES)
def _resamples(seed: int, units: int, n_resamples: int) -> NDArray[np.uint8]:
    """How often each unit is drawn, shape (n_resamples, units). Shared by all measures of a report: it is most of their cost."""
    generator = np.random.default_rng([seed, units, 1])
    weights = np.empty((n_resamples, units), dtype=np.uint8)
    for start in range(0, n_resamples, _CHUNK):
        rows = weights[start : start + _CHUNK]
        drawn = generator.integers(0, units, rows.shape)
        drawn += units * np.arange(len(rows))[:, None]
        rows[:] = np.bincount(drawn.ravel(), minlength=rows.size).reshape(rows.shape)
    return weights


def percentile(means: NDArray[np.float64], probability: float, n: int) -> float:
    """The quantile of resampled means of `n` images, widened as Student's t interval is wider than the normal one.

    The plain percentile interval is too narrow by sqrt((n-1)/n) and by the ratio of normal and t quantiles, which
    matters below some 50 images (Hesterberg, 2015).
    """
    return float(np.quantile(means, _widened(probability, n)))


@lru_cache(maxsize=64)
def _widened(probability: float, n: int) -> float:
    return NormalDist().cdf(math.sqrt(n / (n - 1)) * student_quantile(probability, n - 1))
