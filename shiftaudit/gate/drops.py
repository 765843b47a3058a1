"""Stop a baseline from being lowered unnoticed. No torch."""

from __future__ import annotations

from shiftaudit.errors import InputError, NoVerdictError
from shiftaudit.gate.anchor import first_measurement
from shiftaudit.gate.comparable import require_same_conditions
from shiftaudit.gate.judge import ALPHA, decide
from shiftaudit.gate.metric_rules import DEFAULT_MARGINS, anchor_checks, metric_checks
from shiftaudit.gate.rules import Check
from shiftaudit.records.gate import ANCHOR, FAIL, Baseline, Rules


def require_no_sure_drop(new: Baseline, old: Baseline) -> None:
    """Refuse a new baseline that is surely lower. Baselines of other images or views cannot be compared and pass.

    Raises:
        InputError: a metric with a default margin surely dropped, by however little, or lies surely below the anchor by more
            than its margin.
    """
    checks: list[Check] = []
    if _comparable(new, old):
        checks += metric_checks(new, old, Rules(margins=dict.fromkeys(DEFAULT_MARGINS, 0.0)))
    if old.anchor is not None and _comparable(new, first := first_measurement(old)):
        checks += anchor_checks(new, first, Rules())
    failed = [check for check, (_, outcome) in zip(checks, decide(checks, ALPHA), strict=True) if outcome == FAIL]
    if failed:
        names = [f"{check.name} (against the anchor)" if check.rule == ANCHOR else check.name for check in failed]
        raise InputError(
            f"the new baseline is surely lower in {', '.join(names)}, and later models would be judged by it",
            hint="pass --accept-drop if that is meant",
        )


def _comparable(new: Baseline, earlier: Baseline) -> bool:
    try:
        require_same_conditions(new, earlier)
    except NoVerdictError:
        return False
    return True
