"""What a gate demands and what was measured for each demand: the records its rules are made of. No torch."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from shiftaudit.errors import InputError
from shiftaudit.metrics.paired import Estimate
from shiftaudit.records.gate import Flips, RuleName


@dataclass(frozen=True)
class Rules:
    """What a gate demands. Names are `consistency` (every protocol) or `crop.consistency`; limits lie in [0, 1].

    A margin of None takes a default margin away.
    """

    margins: Mapping[str, float | None] = field(default_factory=dict)
    """Largest accepted drop against the baseline; DEFAULT_MARGINS fill in what is not named."""
    floors: Mapping[str, float] = field(default_factory=dict)
    """Smallest accepted value of the candidate alone."""
    stages: Mapping[str, float] = field(default_factory=dict)
    """Largest accepted output equivariance error by stage name or pattern (`layer2.*`)."""
    stage_margin: float | None = None
    """Largest accepted rise of any stage's output equivariance error against the baseline."""


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
