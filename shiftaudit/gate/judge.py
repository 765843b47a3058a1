"""The gate: judge a candidate against a baseline so that noise never fails it and a real regression does. No torch.

Each rule ends in one of three outcomes. FAIL: the candidate is surely worse than the rule accepts (one-sided tests on
per-image differences, all rules of the gate sharing one error rate by Holm's method). PASS: it is surely acceptable.
INCONCLUSIVE: the images cannot tell, and how many would is reported.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from shiftaudit.errors import InputError, NoVerdictError
from shiftaudit.gate.comparable import environment_differences, require_same_images, require_same_protocol
from shiftaudit.gate.metric_rules import check_rules, metric_checks
from shiftaudit.gate.rules import Check
from shiftaudit.gate.stage_rules import stage_checks, stages_not_judged
from shiftaudit.metrics.measures import DEGENERATE_SHARE
from shiftaudit.metrics.paired import MAX_IMAGES, Estimate, HolmStep, fisher, holm, mcnemar, smallest
from shiftaudit.records.gate import (
    FAIL,
    GATE_SCHEMA_VERSION,
    INCONCLUSIVE,
    PASS,
    Baseline,
    GateResult,
    Outcome,
    Rules,
    Verdict,
)
from shiftaudit.version import __version__

ALPHA = 0.05
DEGENERATE_ALPHA = 0.001
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
    rules = rules or Rules()
    check_settings(rules, alpha, on_inconclusive)
    require_same_protocol(candidate.protocol, baseline.protocol)
    require_same_images(candidate, baseline)
    checks = metric_checks(candidate, baseline, rules) + stage_checks(candidate, baseline, rules)
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
        warnings=(*_warnings(candidate, baseline), *stages_not_judged(candidate, baseline, rules)),
        refresh_baseline=outcome == PASS and any(verdict.improved for verdict in verdicts),
    )


def check_settings(rules: Rules, alpha: float, on_inconclusive: str) -> None:
    """Refuse what no gate can be judged by, before anything is scored for it.

    Raises:
        InputError: a rule names an unknown metric, or a setting is out of range.
    """
    if not 0 < alpha < 0.5:
        raise InputError(f"--alpha got {alpha}; expected an error rate between 0 and 0.5")
    if on_inconclusive not in POLICIES:
        raise InputError(f"--on-inconclusive got {on_inconclusive!r}; expected {', '.join(POLICIES)}")
    check_rules(rules)


def judge_checks(checks: Sequence[Check], alpha: float) -> list[Verdict]:
    """The verdict of every check; the chance that any acceptable one fails is at most `alpha`."""
    steps = holm([_p_value(check) for check in checks], alpha)
    return [_verdict(check, step, alpha, len(checks)) for check, step in zip(checks, steps, strict=True)]


def overall(verdicts: Sequence[Verdict]) -> Outcome:
    """`fail` if any rule failed, else `inconclusive` if any is, else `pass`."""
    outcomes = {verdict.outcome for verdict in verdicts}
    return next((outcome for outcome in (FAIL, INCONCLUSIVE) if outcome in outcomes), PASS)


def exit_code(outcome: Outcome, on_inconclusive: str) -> int:
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
    return replace(check.estimate, mean=sign * check.estimate.mean), sign * check.threshold


def _p_value(check: Check) -> float:
    estimate, limit = _oriented(check)
    p_value = estimate.p_below(limit)
    if check.flips is None or check.rule != "margin":
        return p_value
    # For yes/no outcomes the exact test must agree that anything was lost at all.
    return max(p_value, _more_lost(check.flips.lost, check.flips.gained))


def _more_lost(lost: int, gained: int) -> float:
    """McNemar's exact p-value, one-sided: small when surely more was lost than gained."""
    return mcnemar(lost, gained) / 2 if lost > gained else 1.0


def _verdict(check: Check, step: HolmStep, alpha: float, n_checks: int) -> Verdict:
    estimate, limit = _oriented(check)
    surely_above, surely_below = estimate.surely_above(alpha), estimate.bound(1 - step.alpha)
    outcome: Outcome = FAIL if step.rejected else PASS if surely_above >= limit else INCONCLUSIVE
    needed = _images_needed(check, estimate, limit, alpha, step.alpha) if outcome == INCONCLUSIVE else None
    low, high = (surely_above, surely_below) if check.higher_is_better else (-surely_below, -surely_above)
    if estimate.extreme:  # a share, or the difference of two
        low, high = max(low, -1.0 if check.rule == "margin" else 0.0), min(high, 1.0)
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


def _images_needed(check: Check, estimate: Estimate, limit: float, pass_alpha: float, fail_alpha: float) -> int | None:
    """Images that would decide in 4 of 5 cases if what was found stays as it is; None where none would."""
    if estimate.mean >= limit:
        return estimate.images_to_decide(limit, pass_alpha)
    needed = estimate.images_to_decide(limit, fail_alpha)
    if needed is None or check.flips is None or check.rule != "margin":
        return needed
    lost, gained = check.flips.lost / estimate.n, check.flips.gained / estimate.n
    exact = smallest(lambda n: _more_lost(round(lost * n), round(gained * n)) < fail_alpha, MAX_IMAGES)
    return None if exact is None else max(needed, exact)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _degenerate(candidate: Baseline, baseline: Baseline) -> list[Verdict]:
    """A classifier that says one thing is perfectly consistent, so becoming one is a failure of its own.

    Few images, or pictures of nearly one class, get one answer by chance too: Fisher's exact test on the images that got
    another answer must rule that out at a level so small that it takes nothing from the gate's error rate.
    """
    if not candidate.degenerate or baseline.degenerate:
        return []
    n, m = candidate.data.n_images, baseline.data.n_images
    ours, theirs = candidate.top_class_share, baseline.top_class_share

    def chance(scale: float) -> float:
        sizes = round(n * scale), round(m * scale)
        others = [round(size * (1 - share)) for size, share in zip(sizes, (ours, theirs), strict=True)]
        return fisher(others[0], sizes[0], others[1], sizes[1])

    p_value = chance(1)
    outcome: Outcome = FAIL if p_value < DEGENERATE_ALPHA else INCONCLUSIVE
    needed = None
    if outcome == INCONCLUSIVE:
        needed = smallest(lambda images: chance(images / n) < DEGENERATE_ALPHA, MAX_IMAGES)
    return [
        Verdict(
            name="degenerate",
            rule="degenerate",
            outcome=outcome,
            baseline=theirs,
            candidate=ours,
            estimate=ours,
            low=None,
            high=None,
            threshold=DEGENERATE_SHARE,
            p_value=p_value,
            n_images=n,
            images_needed=needed,
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
