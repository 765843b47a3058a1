"""The mean of values between two known ends, with bounds that hold for few images and for skewed values. No torch.

A sample of shares says nothing of a rare image that it does not hold, and the t interval forgets it: where every image
loses a little and a rare one gains all, it rejects a true limit at n = 100 in 14 % of cases that claim 5 %. The bound of
Gaffke (2005, "Three test statistics for a nonparametric one-sided hypothesis on the mean of a nonnegative variable") sets one
imaginary image at the far end of the range beside the n real ones and gives all of them random weights, uniform over all
ways to share out 1. The upper bound is a quantile of that weighted mean. For yes/no outcomes it is the exact interval of
Clopper and Pearson (1934), for the difference of two of them at limit 0 McNemar's exact test, and for n equal values the rule of
three; for many images it is Student's interval. No distribution is known on which it holds less often than it says
(Phan, Thomas and Learned-Miller, 2021, "Towards practical mean bounds for small samples"), and the tests try.

The weights are exponential variables over their sum, so the weighted mean lies above t exactly when a sum of exponential
variables times (value - t) is positive. Its probability is an integral of its known transform, taken along a curve through the
saddle point (Daniels, 1954): no random numbers, and nine digits.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Above this many different values they are shared out between the points of a grid, which keeps the mean exactly.
MAX_POINTS = 128
_STEP = 0.05
_NODES = 40
_LAST = 14.0
_BEND = 0.5
_FAR = 20.0
_NOTHING = 1e-15


@dataclass(frozen=True)
class BoundedMean:
    """The mean of `n` values in [low, high], of which `counts[j]` are `values[j]`; see `bounded_mean`."""

    values: tuple[float, ...]
    counts: tuple[float, ...]
    low: float
    high: float
    mean: float
    n: int

    @property
    def spread(self) -> float:
        """Standard deviation of the values, without an imaginary one."""
        values, counts = np.array(self.values), np.array(self.counts)
        return math.sqrt(max(float(counts @ (values - self.mean) ** 2), 0.0) / float(counts.sum()))

    def negated(self) -> BoundedMean:
        """The same of the values times -1."""
        return BoundedMean(tuple(-v for v in self.values), self.counts, -self.high, -self.low, -self.mean, self.n)

    def scaled(self, n: int) -> BoundedMean:
        """What `n` images would show if they are as these are."""
        return replace(self, counts=tuple(count * n / self.n for count in self.counts), n=n)

    def p_below(self, limit: float) -> float:
        """One-sided p-value of "the true mean is at least `limit`": small when it is surely below.

        >>> import numpy as np
        >>> losses = bounded_mean(np.array([-1.0] * 4 + [0.0] * 6), -1.0, 1.0)
        >>> round(losses.p_below(0.0), 6), 1 / 2**4
        (0.0625, 0.0625)
        """
        if limit >= self.high:
            return 0.0 if self.mean < limit else 1.0
        if limit <= self.low:
            return 1.0
        offsets = np.array([*self.values, self.high]) - limit
        return probability_positive(offsets, np.array([*self.counts, 1.0]))

    def bound(self, probability: float) -> float:
        """One end of the interval: the true mean lies below it with at least this probability, or at most, below 0.5.

        >>> import numpy as np
        >>> sample = bounded_mean(np.array([1.0] * 9 + [0.0]), 0.0, 1.0)
        >>> round(sample.bound(0.975), 4), round(sample.bound(0.025), 4)  # Clopper and Pearson: 0.9975, 0.5550
        (0.9975, 0.555)
        """
        if probability == 0.5:
            return self.mean
        if probability < 0.5:
            return -self.negated().bound(1 - probability)
        return self._upper(1 - probability, self.p_below)

    def interval(self, confidence: float) -> tuple[float, float]:
        """Both ends of a two-sided interval, shorter than that between two bounds, which each hold in any case.

        It takes the mean of two p-values, with the imaginary image at the far end and at the near end. For yes/no outcomes this
        is the mid-p interval (Lancaster, 1961; Agresti and Gottard, 2005). The two sides together hold their level, though one
        of them need not.

        >>> import numpy as np
        >>> low, high = bounded_mean(np.array([1.0] * 9 + [0.0]), 0.0, 1.0).interval(0.95)
        >>> round(low, 3), round(high, 3)
        (0.597, 0.995)
        """
        alpha, negated = (1 - confidence) / 2, self.negated()
        return -negated._upper(alpha, negated._middle_p), self._upper(alpha, self._middle_p)

    def _middle_p(self, limit: float) -> float:
        return (self.p_below(limit) + 1 - self.negated().p_below(-limit)) / 2

    def _upper(self, alpha: float, p_value: Callable[[float], float]) -> float:
        """The limit at which the p-value is `alpha`: bracketed from a normal guess, then closed in on by false position.

        The p-value's normal quantile is nearly a straight line, so that few steps do.
        """
        if self.mean >= self.high:
            return self.high
        normal = NormalDist()
        wanted = normal.inv_cdf(alpha)

        def excess(limit: float) -> float:
            return normal.inv_cdf(min(max(p_value(limit), 1e-300), 1 - 1e-15)) - wanted

        centre = (self.mean * self.n + self.high) / (self.n + 1)
        deviation = math.sqrt(self.spread**2 + (self.high - centre) ** 2 / self.n) / math.sqrt(self.n + 1)
        low, high = self.mean, min(centre - wanted * deviation, (centre + self.high) / 2)
        at_low, stayed = excess(low), ""
        while (at_high := excess(high)) > 0:
            low, at_low = high, at_high
            high = min(high + deviation / 2, (high + self.high) / 2)
        for _ in range(60):
            if high - low <= 1e-9 * (self.high - self.low):
                break
            middle = high - at_high * (high - low) / (at_high - at_low)
            at = excess(middle)
            if abs(at) <= 1e-8:
                return middle
            # An end that stays for the second time counts half, or it would never move (the Illinois rule).
            if at > 0:
                low, at_low, at_high, stayed = middle, at, at_high / (2 if stayed == "high" else 1), "high"
            else:
                high, at_high, at_low, stayed = middle, at, at_low / (2 if stayed == "low" else 1), "low"
        return high


def bounded_mean(values: NDArray[np.float64], low: float, high: float) -> BoundedMean:
    """The mean of per-image values in [low, high], shape (n,), NaN entries left out.

    Raises:
        ValueError: no value is left, or one lies outside.
    """
    values = np.asarray(values, dtype=np.float64)
    values = values[~np.isnan(values)]
    if len(values) == 0:
        raise ValueError("no image was measured")
    slack = 1e-9 * (high - low)
    if values.min() < low - slack or values.max() > high + slack:
        raise ValueError(f"expected values between {low} and {high}, got {values.min()} to {values.max()}")
    points, counts = np.unique(np.clip(values, low, high), return_counts=True)
    weights = np.asarray(counts, dtype=np.float64)
    if len(points) > MAX_POINTS:
        points, weights = _on_grid(points, weights, low, high)
    return BoundedMean(
        tuple(points.tolist()), tuple(weights.tolist()), low, high, math.fsum(values) / len(values), len(values)
    )


def _on_grid(
    points: NDArray[np.float64], weights: NDArray[np.float64], low: float, high: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    place = (points - low) / (high - low) * (MAX_POINTS - 1)
    left = np.minimum(np.floor(place).astype(np.int64), MAX_POINTS - 2)
    right_share = place - left
    shares = np.zeros(MAX_POINTS)
    np.add.at(shares, left, weights * (1 - right_share))
    np.add.at(shares, left + 1, weights * right_share)
    kept = shares > 0
    return np.linspace(low, high, MAX_POINTS)[kept], shares[kept]


def probability_positive(offsets: NDArray[np.float64], shapes: NDArray[np.float64]) -> float:
    """P(sum of offsets[j] * G_j > 0) for independent gamma variables G_j with the given shapes and scale 1.

    >>> import numpy as np
    >>> round(probability_positive(np.array([-1.0, 2.0]), np.array([1.0, 1.0])), 9)
    0.666666667
    """
    # What is nothing beside the largest changes no digit, and its square would vanish among the floats.
    offsets = np.where(np.abs(offsets) < _NOTHING * np.abs(offsets).max(), 0.0, offsets)
    if offsets.max() <= 0:
        return 0.0
    if offsets.min() >= 0:
        return 1.0
    if float(shapes @ offsets) > 0:
        return 1 - probability_positive(-offsets, shapes)
    start = _crossing(offsets, shapes)
    scale = 1 / math.sqrt(float(shapes @ (offsets / (1 - offsets * start)) ** 2))
    # A hyperbola, bent to the side where the transform falls off faster far from the axis.
    far = _log_transform(offsets, shapes, start + scale * _FAR * np.array([1j + _BEND, 1j - _BEND])).real
    bend = _BEND if far[0] <= far[1] else -_BEND
    total, largest, begin = 0.0, 0.0, 0.0
    while begin < _LAST:
        u = begin + _STEP * np.arange(_NODES)
        z = start + scale * (1j * np.sinh(u) + bend * (np.cosh(u) - 1))
        slope = scale * (1j * np.cosh(u) + bend * np.sinh(u))
        terms = np.exp(_log_transform(offsets, shapes, z)) / z * slope
        total += float(terms.imag.sum()) - (float(terms[0].imag) / 2 if begin == 0 else 0.0)
        block = float(np.abs(terms).max())
        largest = max(largest, block)
        if block < 1e-13 * largest:
            break
        begin += _STEP * _NODES
    return min(max(total * _STEP / math.pi, 0.0), 1.0)


def _log_transform(offsets: NDArray[np.float64], shapes: NDArray[np.float64], z: NDArray[Any]) -> NDArray[Any]:
    transform: NDArray[Any] = -(shapes @ np.log1p(-offsets[:, None] * z))
    return transform


def _crossing(offsets: NDArray[np.float64], shapes: NDArray[np.float64]) -> float:
    """Where the curve of integration crosses the real axis: near the saddle point, and not too near the pole at 0.

    Any place between 0 and 1 / max(offsets) gives the same integral, so that the search may be coarse.
    """
    pole = 1 / float(offsets.max())
    low, high = 0.0, pole
    for _ in range(24):
        middle = (low + high) / 2
        slope = float(shapes @ (offsets / (1 - offsets * middle)))
        low, high = (middle, high) if slope < 0 else (low, middle)
    deviation = 1 / math.sqrt(float(shapes @ offsets**2))
    return max(low, min(deviation, pole / 2))
