"""How often the printed intervals hold the truth, in made-up populations of images. Run as a script for the docs' table.

Every image has a probability of its own with which one of its views gives its main answer, drawn from a beta distribution: with a
concentration of 0.1 an image is nearly always clear or nearly always not, with 10 all images are alike. What its eight views
have in common is why they do not count as eight. Nothing here is taken from the package but the intervals themselves.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from shiftaudit.metrics.bounded import BoundedMean, bounded_mean
from shiftaudit.metrics.intervals import SMALLEST_APPROXIMATE, skewed_interval

Values = NDArray[np.float64]
Population = Callable[[np.random.Generator, tuple[int, int]], Values]
"""Values of shape (runs, images)."""

VIEWS = 8
SIZES = (10, 20, 50, 100, 500)
TRUTHS = (0.8, 0.9, 0.95, 0.98, 0.99)
CONCENTRATIONS = (0.1, 1.0, 10.0)
TAIL = 0.05


def agreement(truth: float, concentration: float) -> Population:
    """The share of views that keep an answer."""
    a, b = truth * concentration, (1 - truth) * concentration
    return lambda rng, shape: rng.binomial(VIEWS, rng.beta(a, b, shape)) / VIEWS


def consistency(truth: float, concentration: float) -> Population | None:
    """The share of agreeing pairs of views; None where images so alike are more consistent than that in any case."""

    def mean(level: float) -> float:
        a, b = level * concentration, (1 - level) * concentration
        return (a * (a + 1) + b * (b + 1)) / ((a + b) * (a + b + 1))

    low, high = 0.5, 1.0
    if mean(low) > truth:
        return None
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if mean(middle) < truth else (low, middle)

    def draw(rng: np.random.Generator, shape: tuple[int, int]) -> Values:
        same = rng.binomial(VIEWS, rng.beta(low * concentration, (1 - low) * concentration, shape))
        other = VIEWS - same
        return (same * (same - 1) + other * (other - 1)) / (VIEWS * (VIEWS - 1))

    return draw


def aliasing_share(changed: float, alone: float) -> Population:
    """(observed + aliasing - border) / 2 of one view: `changed` of the images can change, and either cause does with `alone`."""

    def draw(rng: np.random.Generator, shape: tuple[int, int]) -> Values:
        can = rng.random(shape) < changed
        aliasing, border = (can & (rng.random(shape) < alone) for _ in range(2))
        return ((aliasing | border).astype(float) + aliasing - border) / 2

    return draw


def difference_of_agreement(before: float, after: float, touched: float) -> Population:
    """Agreement of one model less that of another: a share of the images is touched, the others' views are drawn anew only."""

    def draw(rng: np.random.Generator, shape: tuple[int, int]) -> Values:
        old = rng.beta(before, 1 - before, shape)
        new = np.where(rng.random(shape) < touched, rng.beta(after, 1 - after, shape), old)
        return (rng.binomial(VIEWS, new) - rng.binomial(VIEWS, old)) / VIEWS

    return draw


def difference_of_change(of: Population, factor: float, spread: float) -> Population:
    """A change of probability under two models: that of the second is the first's times a log-normal factor, at most 1."""

    def draw(rng: np.random.Generator, shape: tuple[int, int]) -> Values:
        first = of(rng, shape)
        return np.minimum(first * factor * np.exp(spread * rng.normal(size=shape)), 1.0) - first

    return draw


def smaller_mean_coverage(
    changed: float, chances: tuple[float, float], n: int, runs: int, *, correlated: bool, seed: int = 0
) -> float:
    """How often the interval of the smaller of two means, which is how a ceiling is chosen, holds the smaller of the true ones.

    A share `changed` of the images can change, and does with these chances when observed and by aliasing alone.
    """
    rng, held = np.random.default_rng([seed, n]), 0
    for _ in range(runs):
        can, luck = rng.random(n) < changed, rng.random((2, n))
        samples = [(can & (luck[0 if correlated else i] < chance)).astype(float) for i, chance in enumerate(chances)]
        smaller = min(samples, key=lambda sample: float(sample.mean()))
        held += _holds(bounded_mean(smaller, 0.0, 1.0), changed * min(chances))
    return held / runs


def _holds(estimate: BoundedMean, value: float) -> bool:
    """Whether the interval holds a value, without looking for its ends."""
    middle = estimate._middle_p(value)
    return 2 * min(middle, 1 - middle) >= TAIL


def change_of_probability(size: float, variety: float) -> Population:
    """Mean |p - q| over the views of an image whose logit moves by `size`, times a factor that varies between images."""

    def draw(rng: np.random.Generator, shape: tuple[int, int]) -> Values:
        logits = rng.normal(2, 2.5, shape)
        spread = size * np.exp(variety * rng.normal(size=shape))
        moved = logits[..., None] + spread[..., None] * rng.normal(size=(*shape, VIEWS))
        return np.abs(_logistic(moved) - _logistic(logits)[..., None]).mean(-1)

    return draw


def _logistic(x: Values) -> Values:
    return 0.5 * (1 + np.tanh(x / 2))


def stage_error(variation: float) -> Population:
    """Log-normal errors of a stage, with this coefficient of variation."""
    s = math.sqrt(math.log1p(variation**2))
    return lambda rng, shape: 0.2 * np.exp(s * rng.normal(size=shape) - s * s / 2)


def rare_change(share: float) -> Population:
    """Hardly any change, but a large one for a share of the images."""
    return lambda rng, shape: np.where(
        rng.random(shape) < share, rng.uniform(0.2, 0.8, shape), 0.002 * rng.exponential(size=shape)
    )


def share_coverage(draw: Population, truth: float, n: int, runs: int, *, low: float = 0.0, seed: int = 0) -> float:
    """How often the interval of a share holds the truth."""
    samples = draw(np.random.default_rng([seed, n]), (runs, n))
    return sum(_holds(bounded_mean(sample, low, 1.0), truth) for sample in samples) / runs


def real_coverage(draw: Population, n: int, runs: int, *, seed: int = 0) -> float:
    """How often the interval of a real number holds the truth, which is the mean of a million images."""
    truth = float(draw(np.random.default_rng(seed), (200, 5000)).mean())
    ends = [skewed_interval(sample) for sample in draw(np.random.default_rng([seed, n]), (runs, n))]
    return sum(low <= truth <= high for low, high in ends) / runs


def yes_no_coverage(n: int) -> float:
    """The smallest for yes/no outcomes over all truths, exactly: the chance of every count whose interval holds the truth."""
    truths = np.arange(0.8, 0.9951, 0.0025)
    held = np.zeros_like(truths)
    for count in range(n // 2, n + 1):
        low, high = bounded_mean(np.repeat([1.0, 0.0], [count, n - count]), 0.0, 1.0).interval(1 - TAIL)
        chance = math.comb(n, count) * truths**count * (1 - truths) ** (n - count)
        held += np.where((low <= truths) & (truths <= high), chance, 0.0)
    return float(held.min())


SHARES = (("agreement with unshifted, accuracy over shifts", agreement), ("consistency", consistency))
CAUSES = ((0.05, 0.5), (0.1, 0.9), (0.3, 0.5), (0.5, 0.2))
DIFFERENCES = ((0.9, 0.9, 0.0), (0.9, 0.9, 1.0), (0.9, 0.95, 0.2), (0.95, 0.8, 0.1), (0.98, 0.9, 0.05))
"""Agreement before and after, and the share of images that the change touches."""
CEILINGS = ((0.3, (0.5, 0.5)), (0.3, (0.5, 0.45)), (0.6, (0.4, 0.2)), (0.1, (0.8, 0.8)))
CHANGES = ((0.1, 0.5), (0.5, 0.5), (0.5, 1.0), (2.0, 1.0))
VARIATIONS = (0.3, 0.6)


def rows(runs: int = 400) -> Iterator[str]:
    """The rows of the table in docs/measures.md: the smallest coverage by the number of images."""
    yield _row("stable, accuracy (yes or no)", yes_no_coverage)
    for name, make in SHARES:
        cases = [(truth, draw) for truth in TRUTHS for c in CONCENTRATIONS if (draw := make(truth, c)) is not None]
        yield _row(name, lambda n, cases=cases: min(share_coverage(draw, truth, n, runs) for truth, draw in cases))
    # By symmetry each cause has half of the change.
    causes = [(changed * (1 - (1 - alone) ** 2) / 2, aliasing_share(changed, alone)) for changed, alone in CAUSES]
    yield _row(
        "what aliasing causes of changed answers",
        lambda n: min(share_coverage(draw, truth, n, runs, low=-0.5) for truth, draw in causes),
    )
    pairs = [(touched * (after - before), case) for case in DIFFERENCES for before, after, touched in [case]]
    yield _row(
        "`compare`: difference of agreement",
        lambda n: min(
            share_coverage(difference_of_agreement(*case), truth, n, runs, low=-1.0) for truth, case in pairs
        ),
    )
    yield _row(
        "ceiling, the smaller of two means",
        lambda n: min(smaller_mean_coverage(*case, n, runs, correlated=c) for case in CEILINGS for c in (False, True)),
    )
    for name, draws in (
        (
            "`compare`: difference of changes of probability",
            [difference_of_change(change_of_probability(*case), 0.7, 0.5) for case in CHANGES],
        ),
        ("change of probability, divergence, damage", [change_of_probability(*case) for case in CHANGES]),
        ("stage errors", [stage_error(variation) for variation in VARIATIONS]),
        ("the same, where images vary a hundredfold", [change_of_probability(0.2, 1.5)]),
        ("the same, where 1 image in 20 has all the change", [rare_change(0.05)]),
    ):
        yield _row(
            name, lambda n, draws=draws: min(real_coverage(draw, n, 10 * runs) for draw in draws), SMALLEST_APPROXIMATE
        )


def _row(name: str, coverage: Callable[[int], float], smallest: int = 0) -> str:
    return f"| {name} | " + " | ".join(f"{100 * coverage(n):.1f} %" if n >= smallest else "–" for n in SIZES) + " |"


def main() -> None:
    """Print the rows of the table in docs/measures.md."""
    for row in rows():
        sys.stdout.write(row + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
