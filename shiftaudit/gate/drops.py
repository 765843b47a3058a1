"""Stop a baseline from being lowered unnoticed. No torch."""

from __future__ import annotations

from shiftaudit.errors import InputError, NoVerdictError
from shiftaudit.gate.comparable import require_same_images, require_same_protocol
from shiftaudit.gate.judge import ALPHA, decide
from shiftaudit.gate.metric_rules import DEFAULT_MARGINS, metric_checks
from shiftaudit.records.gate import FAIL, Baseline, Rules


def require_no_sure_drop(new: Baseline, old: Baseline, alpha: float = ALPHA) -> None:
    """Refuse a new baseline that is surely lower. Baselines of other images or views cannot be compared and pass.

    Raises:
        InputError: a metric with a default margin surely dropped, by however little.
    """
    try:
        require_same_protocol(new.protocol, old.protocol)
        require_same_images(new, old)
    except NoVerdictError:
        return
    checks = metric_checks(new, old, Rules(margins=dict.fromkeys(DEFAULT_MARGINS, 0.0)))
    names = [check.name for check, (_, outcome) in zip(checks, decide(checks, alpha), strict=True) if outcome == FAIL]
    if names:
        raise InputError(
            f"the new baseline is surely lower in {', '.join(names)}, and later models would be judged by it",
            hint="pass --accept-drop if that is meant",
        )
