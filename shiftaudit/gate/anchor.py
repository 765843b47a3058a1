"""The anchor of a baseline: the measurement it began with, which an update of the baseline does not move. No torch.

Where a baseline is refreshed after every change, each candidate is judged against the one before it, and many drops within the
margin add up to one far beyond it. The gate judges against the anchor too, by rules of their own.
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from shiftaudit.errors import InputError, NoVerdictError
from shiftaudit.gate.comparable import require_same_conditions
from shiftaudit.records.gate import Anchor, AnchorUse, Baseline, Rules


def anchored_by(new: Baseline, old: Baseline) -> Baseline:
    """The new measurement with the anchor of the baseline that it replaces; where that has none, it is the anchor itself.

    Raises:
        InputError: the anchor was measured on other images, views or labels, so that nothing could be judged against it.
    """
    first = first_measurement(old)
    try:
        require_comparable_anchor(new, first)
    except NoVerdictError as error:
        raise InputError(error.message, hint="pass --re-anchor to make the new measurement the anchor") from error
    differing = {key: image for key, image in first.images.items() if image != new.images[key]}
    return replace(new, anchored=True, anchor=Anchor(**_kept(first), images=differing))


def first_measurement(baseline: Baseline) -> Baseline:
    """What the anchor measured, or the baseline itself where it has none."""
    anchor = baseline.anchor
    if anchor is None:
        return baseline
    return replace(baseline, **_kept(anchor), images=baseline.images | anchor.images, metrics={}, anchor=None)


def _kept(measured: Baseline | Anchor) -> dict[str, Any]:
    """What an anchor and a baseline both say, by field, but for the images."""
    return {field.name: getattr(measured, field.name) for field in fields(Anchor) if field.name != "images"}


def anchor_use(baseline: Baseline, rules: Rules) -> AnchorUse:
    """What the gate does with the baseline's anchor."""
    if not rules.anchor:
        return "off"
    if baseline.anchor is not None:
        return "judged"
    return "itself" if baseline.anchored else "none"


def judged_anchor(baseline: Baseline, rules: Rules) -> Baseline | None:
    """What the anchor measured, where the gate judges against it."""
    return first_measurement(baseline) if anchor_use(baseline, rules) == "judged" else None


def require_comparable_anchor(candidate: Baseline, first: Baseline) -> None:
    """Raises NoVerdictError that names what is not the same for the candidate as for the anchor."""
    try:
        require_same_conditions(candidate, first)
    except NoVerdictError as error:
        raise NoVerdictError(
            f"the anchor of the baseline cannot be judged against: {error.message}",
            hint="set a new anchor with `shiftaudit baseline update REPORT.json --re-anchor`, or pass --no-anchor",
        ) from error
