"""The gate's rules on stages: limits on their equivariance error, and on its rise against the baseline. No torch.

A baseline keeps a stage's error as a reported metric, not by image, so that a rise is judged as if the two were independent.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

from shiftaudit.errors import InputError
from shiftaudit.gate.rules import Check, close_matches, require_share
from shiftaudit.metrics.intervals import CONFIDENCE, student_quantile
from shiftaudit.metrics.paired import StudentMean
from shiftaudit.records.gate import MARGIN, Baseline, RuleName, Rules
from shiftaudit.records.report import Metric
from shiftaudit.records.words import PROTOCOLS, Protocol


def stage_checks(candidate: Baseline, baseline: Baseline, rules: Rules) -> list[Check]:
    """The stage rules that apply to the pair.

    Raises:
        InputError: a rule is set and no stage it is about was measured, or a pattern matches no stage.
    """
    checks = []
    if rules.stages:
        _require_stages(candidate, "candidate", "score it without --no-stages")
        checks += [
            _ceiling_check(candidate, baseline, name, limit)
            for name, limit in _ceilings(rules.stages, candidate.stages).items()
        ]
    if rules.stage_margin is not None:
        _require_stages(candidate, "candidate", "score it without --no-stages")
        _require_stages(baseline, "baseline", "save one of a report made without --no-stages")
        risen = stage_margin_checks(candidate, baseline, rules.stage_margin, MARGIN)
        if not risen:
            raise InputError(
                "a stage margin is set, but candidate and baseline share no stage that both measured",
                hint="give ceilings with --stage-limit, or save a baseline of the new network",
            )
        checks += risen
    return checks


def stage_margin_checks(candidate: Baseline, earlier: Baseline, margin: float | None, rule: RuleName) -> list[Check]:
    """The rise of every stage that both sides measured; none without a margin."""
    if margin is None:
        return []
    require_share(margin, "stage margin")
    found = (_margin_check(candidate, earlier, name, margin, rule) for name in candidate.stages)
    return [check for check in found if check is not None]


def stages_not_judged(candidate: Baseline, earlier: Iterable[Baseline | None], rules: Rules) -> list[str]:
    """One sentence that names the stages a stage margin cannot judge because one side lacks them, if there are any."""
    if rules.stage_margin is None:
        return []
    measured = _measured_names(candidate)
    lacking = sorted(set().union(*(measured ^ _measured_names(side) for side in earlier if side is not None)))
    if not lacking:
        return []
    names = ", ".join(lacking[:3]) + (f" and {len(lacking) - 3} more" if len(lacking) > 3 else "")
    return [f"the stage margin judges no stage that only one side has: {names}"]


def _measured_names(side: Baseline) -> set[str]:
    return {name for name, errors in side.stages.items() if _measured(errors) is not None}


def _require_stages(side: Baseline, what: str, hint: str) -> None:
    if not side.stages:
        raise InputError(f"stage rules are set, but no stage of the {what} was measured", hint=hint)


def _ceilings(limits: Mapping[str, float], stages: Mapping[str, Mapping[str, Metric]]) -> dict[str, float]:
    """A ceiling by measured stage: its own name's, else the first pattern's that matches."""
    ceilings = {name: limits[name] for name in stages if name in limits}
    for pattern, limit in limits.items():
        matching = [name for name in stages if name == pattern or fnmatchcase(name, pattern)]
        if not matching:
            raise InputError(f"the candidate has no stage {pattern!r}", hint=close_matches(pattern, stages))
        measured = [name for name in matching if _measured(stages[name]) is not None]
        if not measured:
            raise InputError(f"the gate cannot judge stage {pattern!r}: its error was not measured")
        for name in measured:
            ceilings.setdefault(name, limit)
    return ceilings


def _ceiling_check(candidate: Baseline, baseline: Baseline, name: str, ceiling: float) -> Check:
    metric = _measured(candidate.stages[name])
    assert metric is not None  # _ceilings leaves out what was not measured
    limit = require_share(ceiling, f"limit of stage {name}")
    old = _measured(baseline.stages.get(name, {}))
    before = None if old is None else old.value
    return Check(f"stages.{name}", "ceiling", metric_estimate(metric), limit, False, before, metric.value)


def _margin_check(candidate: Baseline, earlier: Baseline, name: str, margin: float, rule: RuleName) -> Check | None:
    ours, theirs = candidate.stages[name], earlier.stages.get(name, {})
    for protocol in PROTOCOLS:
        new, old = _measured(ours, protocol), _measured(theirs, protocol)
        if new is not None and old is not None:
            return Check(f"stages.{name}", rule, independent_difference(new, old), margin, False, old.value, new.value)
    return None


def _measured(errors: Mapping[str, Metric], *protocols: Protocol) -> Metric | None:
    """The first of the protocols' metrics that has a value."""
    metrics = (errors.get(protocol) for protocol in protocols or PROTOCOLS)
    return next((metric for metric in metrics if metric is not None and metric.value is not None), None)


def metric_estimate(metric: Metric) -> StudentMean:
    """A reported metric as an estimate: the standard error is read back from its longer side of the 95 % interval."""
    if metric.value is None or metric.ci_low is None or metric.ci_high is None or metric.n_images < 2:
        return StudentMean(metric.value or 0.0, math.inf, metric.n_images)
    half = max(metric.value - metric.ci_low, metric.ci_high - metric.value)
    return StudentMean(
        metric.value, half / student_quantile(0.5 + CONFIDENCE / 2, metric.n_images - 1), metric.n_images
    )


def independent_difference(new: Metric, old: Metric) -> StudentMean:
    """New minus old of two reported metrics, as if independent since per-image values are lacking: rather too wide."""
    a, b = metric_estimate(new), metric_estimate(old)
    return StudentMean(a.mean - b.mean, math.hypot(a.standard_error, b.standard_error), min(a.n, b.n))
