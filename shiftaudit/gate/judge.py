"""The gate: judge a candidate against a baseline so that noise never fails it and a real regression does. No torch.

Each rule ends in one of three outcomes. FAIL: the candidate is surely worse than the rule accepts (one-sided tests on
per-image differences, all rules of the gate sharing one error rate by Holm's method). PASS: it is surely acceptable.
INCONCLUSIVE: the images cannot tell, and how many would is reported. An inconclusive rule whose estimate lies beyond the limit is
evidence without proof; what becomes of it is the policy's to say.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import get_args

from shiftaudit.errors import InputError, NoVerdictError
from shiftaudit.gate.anchor import anchor_use, judged_anchor, require_comparable_anchor
from shiftaudit.gate.baseline import baseline_of
from shiftaudit.gate.comparable import judging_warnings, require_same_conditions
from shiftaudit.gate.consistent import require_consistent
from shiftaudit.gate.metric_rules import anchor_checks, check_rules, metric_checks
from shiftaudit.gate.rules import Check
from shiftaudit.gate.stage_rules import stage_checks, stage_margin_checks, stages_not_judged
from shiftaudit.metrics.bounded import BoundedMean
from shiftaudit.metrics.measures import DEGENERATE_SHARE
from shiftaudit.metrics.paired import (
    MAX_IMAGES,
    Estimate,
    HolmStep,
    detectable_distance,
    detectable_drop,
    fisher,
    holm,
    images_to_decide,
    smallest,
)
from shiftaudit.records.gate import (
    ANCHOR,
    DEGENERATE,
    FAIL,
    GATE_SCHEMA_VERSION,
    INCONCLUSIVE,
    MARGIN,
    PASS,
    Baseline,
    GateResult,
    Outcome,
    Policy,
    Rules,
    Verdict,
)
from shiftaudit.records.report import AuditReport
from shiftaudit.version import __version__

ALPHA = 0.05
DEGENERATE_ALPHA = 0.001
POLICIES: tuple[Policy, ...] = get_args(Policy)
DEFAULT_POLICY: Policy = "evidence"
EXIT_PASS, EXIT_FAIL, EXIT_NO_VERDICT = 0, 1, 3


def judge(
    candidate: Baseline | AuditReport,
    baseline: Baseline | AuditReport,
    rules: Rules | None = None,
    *,
    alpha: float = ALPHA,
    on_inconclusive: str = DEFAULT_POLICY,
) -> GateResult:
    """Judge a candidate against a baseline; a report stands for the baseline that it makes.

    Args:
        candidate: what is judged.
        baseline: what it is judged against, from `read_baseline`.
        rules: what is demanded; the default margins without any.
        alpha: largest accepted chance that a candidate which violates no rule fails, over all rules together.
        on_inconclusive: `evidence` lets an inconclusive gate through (exit code 0) unless an estimate lies beyond its limit (3),
            `warn` and `pass` always do, `fail` never does.

    Raises:
        NoVerdictError: other views or other images on the two sides, or nothing to judge.
        InputError: a rule names something unknown or unmeasured, or a setting is out of range.
    """
    rules = rules or Rules()
    policy = check_settings(rules, alpha, on_inconclusive)
    candidate, baseline = (
        baseline_of(side) if isinstance(side, AuditReport) else side for side in (candidate, baseline)
    )
    require_consistent(candidate, "the candidate", "shiftaudit score MODEL IMAGES -o report.json")
    require_same_conditions(candidate, baseline)
    first = judged_anchor(baseline, rules)
    verdicts = _verdicts(candidate, baseline, first, rules, alpha)
    outcome = overall(verdicts)
    return GateResult(
        schema_version=GATE_SCHEMA_VERSION,
        tool_version=__version__,
        outcome=outcome,
        exit_code=exit_code(verdicts, policy),
        on_inconclusive=policy,
        alpha=alpha,
        baseline_model=baseline.model.source,
        candidate_model=candidate.model.source,
        n_images=baseline.data.n_images,
        n_labelled=baseline.data.n_labelled,
        verdicts=tuple(verdicts),
        warnings=(*judging_warnings(candidate, baseline), *stages_not_judged(candidate, (baseline, first), rules)),
        refresh_baseline=outcome == PASS and any(verdict.improved for verdict in verdicts),
        anchor=anchor_use(baseline, rules),
        anchor_model=None if first is None else first.model.source,
    )


def _verdicts(
    candidate: Baseline, baseline: Baseline, first: Baseline | None, rules: Rules, alpha: float
) -> list[Verdict]:
    checks = metric_checks(candidate, baseline, rules) + stage_checks(candidate, baseline, rules)
    # What has become degenerate is measured by the side that was not.
    varied = baseline
    if first is not None:
        require_comparable_anchor(candidate, first)
        checks += anchor_checks(candidate, first, rules)
        checks += stage_margin_checks(candidate, first, rules.stage_margin, ANCHOR)
        varied = first if baseline.degenerate else baseline
    verdicts = [*judge_checks(checks, alpha), *_degenerate(candidate, varied)]
    if not verdicts:
        raise NoVerdictError("there is nothing to judge: every margin is off and no floor or stage limit is set")
    return verdicts


def check_settings(rules: Rules, alpha: float, on_inconclusive: str) -> Policy:
    """The policy. Refuses what no gate can be judged by, before anything is scored for it.

    Raises:
        InputError: a rule names an unknown metric, or a setting is out of range.
    """
    if not 0 < alpha < 0.5:
        raise InputError(f"--alpha got {alpha}; expected an error rate between 0 and 0.5")
    check_rules(rules)
    for policy in POLICIES:
        if policy == on_inconclusive:
            return policy
    raise InputError(f"--on-inconclusive got {on_inconclusive!r}; expected {', '.join(POLICIES)}")


def judge_checks(checks: Sequence[Check], alpha: float) -> list[Verdict]:
    """The verdict of every check; the chance that any acceptable one fails is at most `alpha`."""
    decided = decide(checks, alpha)
    return [
        _verdict(check, step, outcome, alpha, len(checks))
        for check, (step, outcome) in zip(checks, decided, strict=True)
    ]


def decide(checks: Sequence[Check], alpha: float) -> list[tuple[HolmStep, Outcome]]:
    """The outcome of every check, with its place in the family of tests, and nothing that only a reader needs."""
    oriented = [_oriented(check) for check in checks]
    steps = holm([estimate.p_below(limit) for estimate, limit in oriented], alpha)
    return [
        (step, FAIL if step.rejected else PASS if _surely_acceptable(estimate, limit, alpha) else INCONCLUSIVE)
        for step, (estimate, limit) in zip(steps, oriented, strict=True)
    ]


def _surely_acceptable(estimate: Estimate, limit: float, alpha: float) -> bool:
    return estimate.mean >= limit and estimate.negated().p_below(-limit) <= alpha


def overall(verdicts: Sequence[Verdict]) -> Outcome:
    """`fail` if any rule failed, else `inconclusive` if any is, else `pass`."""
    outcomes = {verdict.outcome for verdict in verdicts}
    return FAIL if FAIL in outcomes else INCONCLUSIVE if INCONCLUSIVE in outcomes else PASS


def exit_code(verdicts: Sequence[Verdict], on_inconclusive: Policy) -> int:
    """The process's exit code; it depends on nothing else."""
    if overall(verdicts) == FAIL:
        return EXIT_FAIL
    return EXIT_NO_VERDICT if any(verdict.stops(on_inconclusive) for verdict in verdicts) else EXIT_PASS


def _oriented(check: Check) -> tuple[Estimate, float]:
    """Estimate and limit with the sign turned so that more is better."""
    sign = 1 if check.higher_is_better else -1
    return check.estimate if sign > 0 else check.estimate.negated(), sign * check.threshold


def _verdict(check: Check, step: HolmStep, outcome: Outcome, alpha: float, n_checks: int) -> Verdict:
    estimate, limit = _oriented(check)
    surely_above, surely_below = estimate.bound(alpha), estimate.bound(1 - step.alpha)
    needed = None
    if outcome == INCONCLUSIVE:
        needed = images_to_decide(estimate, limit, alpha if estimate.mean > limit else step.alpha)
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
        beyond=estimate.mean < limit,
        detectable=_detectable(check, estimate, alpha / n_checks),
        improved=check.rule == MARGIN and estimate.bound(alpha / n_checks) > 0,
        higher_is_better=check.higher_is_better,
        flips=check.flips,
    )


def _detectable(check: Check, estimate: Estimate, alpha: float) -> float | None:
    """At the level of the strictest of the gate's tests, so that no other rule need fail for this one to be seen."""
    margin = abs(check.threshold) if check.rule in (MARGIN, ANCHOR) else None
    if margin is not None and isinstance(estimate, BoundedMean):
        return detectable_drop(estimate, margin, alpha)
    distance = detectable_distance(estimate, alpha)
    return None if distance is None else distance + (margin or 0.0)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _degenerate(candidate: Baseline, baseline: Baseline) -> list[Verdict]:
    """A classifier that says one thing is perfectly consistent, so becoming one is a failure of its own.

    Few images, or images of nearly one class, get one answer by chance too: Fisher's exact test on the images that got
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
            name=DEGENERATE,
            rule=DEGENERATE,
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
            # The share always lies beyond the threshold here; that it is no chance is what there may be evidence for.
            beyond=p_value < ALPHA,
            detectable=None,
            improved=False,
            higher_is_better=False,
        )
    ]
