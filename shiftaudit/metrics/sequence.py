"""Stop early and stay honest: a confidence sequence for a mean of values in [0, 1].

Looking at an ordinary 95 % interval after every image and stopping when it is narrow breaks its promise. A confidence sequence
keeps it at every time at once, so one may stop whenever one likes. This is the hedged capital process of Waudby-Smith and Ramdas
(2024, "Estimating means of bounded random variables by betting", theorem 3): for every candidate mean m two gamblers bet that the
values lie above m and below it; where one of them has grown 2/α-fold, m is ruled out for good. The bets may be chosen freely from
the past. The usual choice is good at all times; ours is the one that is best when the wanted half-width is reached. No torch.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from shiftaudit.errors import InputError
from shiftaudit.records.report import Metric

METHOD: Final = "confidence-sequence"
_GRID = 4001
_LARGEST_BET = 0.75
"""Of the stake that would ruin a gambler in one round."""


class ConfidenceSequence:
    """Add values one by one; `low` and `high` hold the mean with probability `1 − alpha`, simultaneously over all times.

    Args:
        target: the half-width at which one means to stop.
        alpha: chance that the mean is ever outside.

    Raises:
        InputError: `target` is not between 0.0005 and 0.5.

    >>> sequence = ConfidenceSequence(0.02)
    >>> for value in [1.0, 0.9] * 500:
    ...     sequence.add(value)
    >>> sequence.low < 0.95 < sequence.high, sequence.half_width < 0.02
    (True, True)
    """

    def __init__(self, target: float, alpha: float = 0.05) -> None:
        if not 0.0005 <= target < 0.5:
            raise InputError(f"--precision got {target}; expected a half-width between 0.0005 and 0.5, such as 0.01")
        self.target = target
        self.low, self.high = 0.0, 1.0
        self._threshold = math.log(2 / alpha)
        self._n = 0
        self._sum = 0.0
        self._squares = 0.0
        self._means = np.linspace(0, 1, _GRID)
        self._above = np.zeros(_GRID)
        self._below = np.zeros(_GRID)
        with np.errstate(divide="ignore"):
            self._cap_above = _LARGEST_BET / self._means
            self._cap_below = _LARGEST_BET / (1 - self._means)

    def add(self, value: float) -> None:
        """The next image's share.

        Raises:
            InputError: the value is outside [0, 1].
        """
        if not 0 <= value <= 1:
            raise InputError(f"a confidence sequence takes values in [0, 1], got {value}")
        # From earlier values only, with one pseudo-observation of 1/2 and variance 1/4. With variance v, a margin of
        # log(2/α)/(nλ) + vλ/2 falls to the target soonest for λ = target/v.
        variance = (0.25 + self._squares) / (self._n + 1)
        bet = self.target / variance
        self._above += np.log1p(np.minimum(bet, self._cap_above) * (value - self._means))
        self._below += np.log1p(np.minimum(bet, self._cap_below) * (self._means - value))
        self._n += 1
        self._sum += value
        self._squares += (value - (0.5 + self._sum) / (self._n + 1)) ** 2
        alive = self._means[np.maximum(self._above, self._below) < self._threshold]
        if len(alive):
            # The true mean lies between grid points: one step of slack on each side.
            step = 1 / (_GRID - 1)
            self.low, self.high = max(self.low, float(alive[0]) - step), min(self.high, float(alive[-1]) + step)

    @property
    def half_width(self) -> float:
        """Half the length of the interval."""
        return (self.high - self.low) / 2

    @property
    def reached(self) -> bool:
        """Whether the interval is as narrow as wanted."""
        return self.half_width <= self.target

    def metric(self, metric: Metric) -> Metric:
        """The metric with its interval replaced by this one, which holds although its width decided when to stop."""
        if metric.value is None:
            return metric
        low, high = min(self.low, metric.value), max(self.high, metric.value)
        return Metric(metric.value, low, high, metric.n_images, metric.n_pairs, METHOD, metric.higher_is_better)
