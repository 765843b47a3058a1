"""What was measured for each demand of a gate, and the words for demands that cannot be met. No torch."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

from shiftaudit.errors import InputError
from shiftaudit.metrics.paired import Estimate
from shiftaudit.records.gate import Flips, RuleName


@dataclass(frozen=True)
class Check:
    """One rule with what was measured for it."""

    name: str
    rule: RuleName
    estimate: Estimate
    threshold: float
    higher_is_better: bool
    baseline: float | None
    candidate: float | None
    flips: Flips | None = None


def require_share(value: float, what: str) -> float:
    """The value, if it is one a margin, floor or limit can have; `what` names it in the message.

    Raises:
        InputError: it lies outside [0, 1].
    """
    if not 0 <= value <= 1:
        raise InputError(f"the {what} is {value}; expected a share between 0 and 1")
    return value


def close_matches(name: str, known: Iterable[str]) -> str:
    """A hint that names what the user may have meant, else everything there is (the first ten)."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    return (
        f"did you mean {' or '.join(close)}?"
        if close
        else f"there are {', '.join(names[:10])}{' …' if len(names) > 10 else ''}"
    )
