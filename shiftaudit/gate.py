"""The gate: judge a candidate against a baseline so that noise never fails it and a real regression does. No torch.

Each rule ends in one of three outcomes. FAIL: the candidate is surely worse than the rule accepts (one-sided tests on
per-image differences, all rules of the gate sharing one error rate by Holm's method). PASS: it is surely acceptable.
INCONCLUSIVE: the images cannot tell, and how many would is reported.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from shiftaudit.comparable import environment_differences, require_same_images, require_same_protocol
from shiftaudit.errors import InputError, NoVerdictError
from shiftaudit.gate_rules import Check, Rules, make_checks
from shiftaudit.paired import Estimate, HolmStep, holm
from shiftaudit.records.gate import (
    FAIL,
    GATE_SCHEMA_VERSION,
    INCONCLUSIVE,
    PASS,
    Baseline,
    GateResult,
    Verdict,
)
from shiftaudit.version import __version__

ALPHA = 0.05
POLICIES = ("warn", "pass", "fail")
EXIT_PASS, EXIT_FAIL, EXIT_NO_VERDICT = 0, 1, 3


def judge(
    candidate: Baseline,
    baseline: Baseline,
    rules: Rules | None = None,
    *,
    alpha: float = ALPHA,
    on_inconclusive: str = "warn",
) -> GateResult:
    """Judge a candidate (a report turned into a baseline by `baseline_of`) against a baseline.

    Args:
        alpha: largest accepted chance that a candidate which violates no rule fails, over all rules together.
        on_inconclusive: `warn` and `pass` let an inconclusive gate through (exit code 0), `fail` does not (3).

    Raises:
        NoVerdictError: other views or other images on the two sides, or nothing to judge.
        InputError: a rule names something unknown or unmeasured, or a setting is out of range.
    """
    if not 0 < alpha < 0.5:
        raise InputError(f"alpha is {alpha}; expected an error rate between 0 and 0.5")
    if on_inconclusive not in POLICIES:
        raise InputError(f"--on-inconclusive got {on_inconclusive!r}; expected {', '.join(POLICIES)}")
    require_same_protocol(candidate.protocol, baseline.protocol)
    require_same_images(candidate, baseline)
    checks = make_checks(candidate, baseline, rules or Rules())
    verdicts = [*judge_checks(checks, alpha), *_degenerate(candidate, baseline)]
    if not verdicts:
        raise NoVerdictError("there is nothing to judge: every margin is off and no floor or stage limit is set")
    outcome = overall(verdicts)
    return GateResult(
        schema_version=GATE_SCHEMA_VERSION,
        tool_version=__version__,
        outcome=outcome,
        exit_code=exit_code(outcome, on_inconclusive),
        on_inconclusive=on_inconclusive,
        alpha=alpha,
        baseline_model=baseline.model.source,
        candidate_model=candidate.model.source,
        n_images=baseline.data.n_images,
        n_labelled=baseline.data.n_labelled,
        verdicts=tuple(verdicts),
        warnings=tuple(_warnings(candidate, baseline)),
        refresh_baseline=outcome == PASS and any(verdict.improved for verdict in verdicts),
    )


def judge_checks(checks: Sequence[Check], alpha: float) -> list[Verdict]:
    """The verdict of every check; the chance that any acceptable one fails is at most `alpha`."""
    steps = holm([_p_value(check) for check in checks], alpha)
    return [_verdict(check, step, alpha, len(checks)) for check, step in zip(checks, steps, strict=True)]


def overall(verdicts: Sequence[Verdict]) -> str:
    """`fail` if any rule failed, else `inconclusive` if any is, else `pass`."""
    outcomes = {verdict.outcome for verdict in verdicts}
    return next((outcome for outcome in (FAIL, INCONCLUSIVE) if outcome in outcomes), PASS)


def exit_code(outcome: str, on_inconclusive: str) -> int:
    """The process's exit code; it depends on nothing else.

    >>> exit_code("fail", "pass"), exit_code("inconclusive", "fail"), exit_code("inconclusive", "warn")
    (1, 3, 0)
    """
    if outcome == FAIL:
        return EXIT_FAIL
    return EXIT_NO_VERDICT if outcome == INCONCLUSIVE and on_inconclusive == "fail" else EXIT_PASS


def _oriented(check: Check) -> tuple[Estimate, float]:
    """Estimate and limit with the sign turned so that more is better."""
    sign = 1 if check.higher_is_better else -1
    return Estimate(sign * check.estimate.mean, check.estimate.standard_error, check.estimate.n), sign * check.threshold


def _p_value(check: Check) -> float:
    estimate, limit = _oriented(check)
    p_value = estimate.p_below(limit)
    if check.flips is None or check.rule != "margin":
        return p_value
    # For yes/no outcomes the exact test must agree that anything was lost at all.
    one_sided = check.flips.p_value / 2 if check.flips.lost > check.flips.gained else 1.0
    return max(p_value, one_sided)


def _verdict(check: Check, step: HolmStep, alpha: float, n_checks: int) -> Verdict:
    estimate, limit = _oriented(check)
    surely_above, surely_below = estimate.bound(alpha), estimate.bound(1 - step.alpha)
    outcome = FAIL if step.rejected else PASS if surely_above >= limit else INCONCLUSIVE
    needed = None
    if outcome == INCONCLUSIVE:
        needed = estimate.images_to_decide(limit, step.alpha if estimate.mean < limit else alpha)
    low, high = (surely_above, surely_below) if check.higher_is_better else (-surely_below, -surely_above)
    return Verdict(
        name=check.name,
        rule=check.rule,
        outcome=outcome,
        baseline=check.baseline,
        candidate=check.candidate,
        estimate=check.estimate.mean,
        low=_finite(low),
        high=_finite(high),
        threshold=check.threshold,
        p_value=step.adjusted_p,
        n_images=check.estimate.n,
        images_needed=needed,
        improved=check.rule == "margin" and estimate.bound(alpha / n_checks) > 0,
        higher_is_better=check.higher_is_better,
        flips=check.flips,
    )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _degenerate(candidate: Baseline, baseline: Baseline) -> list[Verdict]:
    """A classifier that says one thing is perfectly consistent, so becoming one is a failure of its own."""
    if not candidate.degenerate or baseline.degenerate:
        return []
    return [
        Verdict(
            name="degenerate",
            rule="degenerate",
            outcome=FAIL,
            baseline=0.0,
            candidate=1.0,
            estimate=1.0,
            low=None,
            high=None,
            threshold=0.0,
            p_value=None,
            n_images=candidate.data.n_images,
            images_needed=None,
            improved=False,
            higher_is_better=False,
        )
    ]


def _warnings(candidate: Baseline, baseline: Baseline) -> list[str]:
    warnings = environment_differences(candidate.environment, baseline.environment)
    if candidate.tool_version != baseline.tool_version:
        warnings.append(
            f"shiftaudit {baseline.tool_version} made the baseline and {candidate.tool_version} the candidate"
        )
    if candidate.degenerate and baseline.degenerate:
        warnings.append("both models give (nearly) all images one answer, which is consistent and says nothing")
    if candidate.model.sha256 is not None and candidate.model.sha256 == baseline.model.sha256:
        warnings.append("the candidate is the very model the baseline was made of")
    if baseline.data.n_labelled == 0:
        warnings.append("no image has a label, so accuracy is not gated: a worse model can be more consistent")
    return warnings
