"""Gates on made-up pairs of networks whose true consistency and accuracy are known. Run as a script for the docs' tables.

An image is as hard for both networks as their similarity says: its views give one class with probability
logistic(a + b z), where z is normal and correlated between the networks and between the two protocols. `a` is solved for the
wanted true consistency, so that "no change" and "a drop of exactly this much" are exact.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shiftaudit.gate.judge import decide
from shiftaudit.gate.rules import Check
from shiftaudit.metrics.paired import detectable_drop, paired_difference

OUTCOMES = ("pass", "quiet", "evidence", "fail")
VIEWS = 8
SPREAD = 4.0
PROTOCOL_CORRELATION = 0.9
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(100)


@dataclass(frozen=True)
class Pair:
    """Two networks: the baseline's consistency and accuracy, how alike they are, and what the candidate loses."""

    consistency: float = 0.93
    accuracy: float = 0.8
    similarity: float = 0.95
    drop: float = 0.0
    accuracy_drop: float = 0.0


def _agreement(level: float) -> float:
    p = 1 / (1 + np.exp(-(level + SPREAD * _NODES)))
    return float((_WEIGHTS * (p**2 + (1 - p) ** 2)).sum() / _WEIGHTS.sum())


def _level(consistency: float) -> float:
    low, high = 0.0, 40.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _agreement(middle) < consistency else (low, middle)
    return low


def _mix(rng: np.random.Generator, z: NDArray[np.float64], correlation: float) -> NDArray[np.float64]:
    return correlation * z + np.sqrt(1 - correlation**2) * rng.normal(size=z.shape)


def _answers(rng: np.random.Generator, z: NDArray[np.float64], consistency: float) -> NDArray[np.float64]:
    """Per-image consistency under one protocol, shape of z."""
    same = rng.binomial(VIEWS, 1 / (1 + np.exp(-(_level(consistency) + SPREAD * z))))
    other = VIEWS - same
    return (same * (same - 1) + other * (other - 1)) / (VIEWS * (VIEWS - 1))


def simulate(
    pair: Pair, n_images: int, n_gates: int, *, margin: float, seed: int = 0, alpha: float = 0.05
) -> dict[str, float]:
    """Shares of the outcomes over `n_gates` gates, and the standard deviation of an image's difference."""
    rng = np.random.default_rng(seed)
    shape = (n_gates, n_images)
    shared = rng.normal(size=shape)
    sides = []
    for drop in (0.0, pair.drop):
        z = _mix(rng, shared, np.sqrt(pair.similarity))
        sides.append([_answers(rng, _mix(rng, z, PROTOCOL_CORRELATION), pair.consistency - drop) for _ in range(2)])
    luck = rng.random(shape)
    right = luck < pair.accuracy
    # A tenth of the images, at random, are answered anew; the rest keep their answer but for the drop.
    anew = rng.random(shape) < 1 - pair.similarity
    still = np.where(anew, rng.random(shape), luck) < pair.accuracy - pair.accuracy_drop
    counts = dict.fromkeys(OUTCOMES, 0)
    for gate in range(n_gates):
        columns = {
            "accuracy": (still[gate].astype(float), right[gate].astype(float)),
            "circular.consistency": (sides[1][0][gate], sides[0][0][gate]),
            "crop.consistency": (sides[1][1][gate], sides[0][1][gate]),
        }
        checks = [
            Check(
                name, "margin", paired_difference(ours, theirs), -margin, True, float(theirs.mean()), float(ours.mean())
            )
            for name, (ours, theirs) in columns.items()
        ]
        counts[_outcome(checks, alpha)] += 1
    spread = float((sides[1][0] - sides[0][0]).std())
    return {**{name: count / n_gates for name, count in counts.items()}, "spread": spread}


@dataclass(frozen=True)
class Creep:
    """In how many runs the gate stopped (exit code 1 or 3), and failed, by each step; counts by step, the first step first."""

    stopped: tuple[int, ...]
    failed: tuple[int, ...]


def creep(n_images: int, n_runs: int, *, drop: float, anchor: bool, steps: int = 10, seed: int = 0) -> Creep:
    """Networks that each lose `drop` of consistency against the one before, to which the baseline is moved every time."""
    rng = np.random.default_rng(seed)
    stopped, failed = np.zeros(steps, int), np.zeros(steps, int)
    for _ in range(n_runs):
        z = rng.normal(size=n_images)
        answers = []
        for step in range(steps + 1):
            answers.append([_answers(rng, _mix(rng, z, PROTOCOL_CORRELATION), 0.93 - step * drop) for _ in range(2)])
            z = _mix(rng, z, 0.99)
        outcomes = [_creep_outcome(answers, step, anchor=anchor) for step in range(1, steps + 1)]
        for counts, stops in ((stopped, ("evidence", "fail")), (failed, ("fail",))):
            at = next((step for step, outcome in enumerate(outcomes) if outcome in stops), steps)
            counts[at:] += 1
    return Creep(tuple(stopped.tolist()), tuple(failed.tolist()))


def _creep_outcome(answers: list[list[NDArray[np.float64]]], step: int, *, anchor: bool) -> str:
    earlier = [step - 1, 0] if anchor and step > 1 else [step - 1]
    pairs = [(answers[step][protocol], answers[one][protocol]) for one in earlier for protocol in range(2)]
    return _outcome(
        [Check("consistency", "margin", paired_difference(*pair), -0.03, True, None, None) for pair in pairs], 0.05
    )


def _outcome(checks: list[Check], alpha: float) -> str:
    """`evidence` and `quiet` are the two kinds of inconclusive: exit code 3 and 0 by default."""
    decided = [(outcome, check) for check, (_, outcome) in zip(checks, decide(checks, alpha), strict=True)]
    if any(outcome == "fail" for outcome, _ in decided):
        return "fail"
    if any(outcome == "inconclusive" and check.estimate.mean < check.threshold for outcome, check in decided):
        return "evidence"
    return "quiet" if any(outcome == "inconclusive" for outcome, _ in decided) else "pass"


def detectable(n_images: int, *, similarity: float, what: str, margin: float = 0.03, seed: int = 0) -> float | None:
    """The median drop that the gate calls detectable with so many images, of an unchanged network."""
    rng = np.random.default_rng([seed, n_images])
    found = []
    for _ in range(5):
        if what == "accuracy":
            luck = rng.random(n_images)
            anew = np.where(rng.random(n_images) < 1 - similarity, rng.random(n_images), luck)
            ours, theirs = (anew < 0.8).astype(float), (luck < 0.8).astype(float)
        else:
            shared = rng.normal(size=n_images)
            ours, theirs = (_answers(rng, _mix(rng, shared, np.sqrt(similarity)), 0.93) for _ in range(2))
        found.append(detectable_drop(paired_difference(ours, theirs), margin, 0.05 / 3))
    known = sorted(1.0 if drop is None else drop for drop in found)
    return None if known[2] == 1.0 else known[2]


_NO_CHANGE = ("no change", {})
_MARGIN = ("consistency drops by the margin", {"drop": 1.0})
_TWICE = ("consistency drops by twice the margin", {"drop": 2.0})
_ACCURACY = ("accuracy drops by twice the margin", {"accuracy_drop": 2.0})
# Similarity, what is true (drops in margins), numbers of images.
DOCUMENTED = (
    (0.95, _NO_CHANGE, (100, 200, 500, 2000)),
    (0.95, _MARGIN, (200, 500)),
    (0.95, _TWICE, (100, 200, 500, 2000)),
    (0.95, _ACCURACY, (100, 500)),
    (0.7, _NO_CHANGE, (500, 2000)),
    (0.7, _TWICE, (500,)),
    (0.7, _ACCURACY, (2000,)),
)
SIZES = (30, 50, 100, 200, 500, 1000, 2000, 5000)
GATES = 500


def documented_rows(largest: int = 2000) -> list[str]:
    """The rows of the table of outcomes in docs/ci.md, up to a number of images."""
    rows = []
    for similarity, (title, drops), sizes in DOCUMENTED:
        pair = Pair(similarity=similarity, **{name: times * 0.03 for name, times in drops.items()})
        for n in (size for size in sizes if size <= largest):
            result = simulate(pair, n, GATES, margin=0.03)
            shares = " | ".join(f"{result[name] * 100:.1f} %" for name in OUTCOMES)
            rows.append(f"| {similarity} | {title} | {n} | {shares} |")
    return rows


def detectable_rows() -> list[str]:
    """The rows of the table of detectable drops in docs/ci.md."""
    rows = []
    for n in SIZES:
        drops = [
            detectable(n, similarity=similarity, what=what)
            for what in ("consistency", "accuracy")
            for similarity in (0.95, 0.7)
        ]
        rows.append(f"| {n:,} | " + " | ".join("–" if drop is None else f"{drop * 100:.1f}" for drop in drops) + " |")
    return rows


def unchanged_rows() -> list[str]:
    """The rows of the table of unchanged networks in docs/ci.md."""
    rows, runs = [], 300
    for n in (100, 200, 300, 500):
        seen = creep(n, runs, drop=0.0, anchor=True)
        rows.append(f"| {n} | {100 * seen.stopped[-1] / runs:.2g} % | {100 * seen.failed[-1] / runs:.2g} % |")
    return rows


def main() -> None:
    """Print the rows of the tables in docs/ci.md."""
    sys.stdout.write("\n".join([*detectable_rows(), "", *documented_rows(), "", *unchanged_rows()]) + "\n")


if __name__ == "__main__":
    main()
