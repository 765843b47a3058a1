"""Whether two files of one network give the same answers: a model and what it was converted to, for instance."""

from __future__ import annotations

from dataclasses import dataclass

from shiftaudit.records.metric import Metric, Shift
from shiftaudit.records.words import ModelKind, Role


@dataclass(frozen=True)
class Farthest:
    """The view on which two models differ most."""

    path: str
    role: Role
    """The protocol it was cut for, or `unshifted`."""
    shift: Shift
    """(dy, dx) in input pixels, positive when the content moves down or right."""
    probability: float
    """Largest difference of a class probability there."""
    logit: float
    """Largest difference of a logit there."""


@dataclass(frozen=True)
class Against:
    """The model of a report and another one, on the same views of the same images, prepared in the same way."""

    source: str
    """Of the other one."""
    kind: ModelKind
    sha256: str | None
    agreement: Metric
    """Share of views, the unshifted ones included, to which both give the same top-1 answer."""
    largest_logit: float
    """The largest magnitude of a logit of the report's own model, which differences of logits are to be seen against."""
    farthest: Farthest
