"""Whether another form of a model gives the same answers, in words."""

from __future__ import annotations

from shiftaudit.records.against import Against
from shiftaudit.records.words import UNSHIFTED
from shiftaudit.render.numbers import interval_text, percent, shift_text


def against_texts(against: Against) -> tuple[str, str]:
    """What both have in common, and where they differ most."""
    metric, far = against.agreement, against.farthest
    interval = interval_text("agreement", metric)
    same = (
        f"the same answer to {percent(metric.value)} of {metric.n_pairs:,} views{f' {interval}' if interval else ''}."
    )
    where = "not moved" if far.role == UNSHIFTED else f"{far.role} {shift_text(far.shift)} px"
    return same, (
        f"They differ most on {far.path}, {where}: by {far.probability:.1e} in a probability, and by {far.logit:.1e} in a logit, "
        f"the largest of which is {against.largest_logit:.3g}."
    )
