"""The rules of a gate: which metrics they may name, what is measured for them, where their limits lie. No torch."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

import numpy as np
from numpy.typing import NDArray

from shiftaudit.errors import InputError
from shiftaudit.paired import Estimate, estimate_mean, mcnemar, paired_difference
from shiftaudit.records.gate import Baseline, BaselineImage, Flips, ViewCounts
from shiftaudit.records.report import Metric
from shiftaudit.stats import CONFIDENCE, student_quantile


def _worst(image: BaselineImage, counts: ViewCounts) -> float:
    return math.nan if image.correct is None else float(image.correct and counts.correct == counts.n_views)


ACCURACY = "accuracy"
# Made per protocol from an image's counts. Every one is a share, higher is better, and NaN where it was not measured.
PER_PROTOCOL: dict[str, Callable[[BaselineImage, ViewCounts], float]] = {
    "consistency": lambda _, counts: counts.consistency,
    "agreement_with_unshifted": lambda _, counts: counts.agreement_with_unshifted,
    "stable": lambda _, counts: float(counts.stable),
    "accuracy_shifted": lambda _, counts: counts.accuracy,
    "accuracy_worst": _worst,
}
BINARY = (ACCURACY, "stable", "accuracy_worst")
DEFAULT_MARGINS: Mapping[str, float] = {"consistency": 0.03, ACCURACY: 0.03}


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
    rule: str
    estimate: Estimate
    threshold: float
    higher_is_better: bool
    baseline: float | None
    candidate: float | None
    flips: Flips | None = None


def make_checks(candidate: Baseline, baseline: Baseline, rules: Rules) -> list[Check]:
    """All rules that apply to the pair. Both sides must hold the same images.

    Raises:
        InputError: a rule names an unknown metric or stage, one that was not measured, or a limit outside [0, 1].
    """
    ids = sorted(baseline.images)
    ours, theirs = measured_shares(candidate, ids), measured_shares(baseline, ids)
    available = [name for name in theirs if name in ours]
    _check_names({**rules.margins, **rules.floors}, available)
    checks = []
    for name, margin in _expand(rules.margins, DEFAULT_MARGINS, available).items():
        checks.append(_margin_check(name, ours[name], theirs[name], _limit(margin, f"margin of {name}")))
    for name, floor in _expand(rules.floors, {}, available).items():
        value = _mean(ours[name])
        limit = _limit(floor, f"floor of {name}")
        checks.append(Check(name, "floor", estimate_mean(ours[name]), limit, True, _mean(theirs[name]), value))
    return checks + _stage_checks(candidate, baseline, rules)


def measured_shares(side: Baseline, ids: Iterable[str]) -> dict[str, NDArray[np.float64]]:
    """Per-image values by metric name, in the order of `ids`; metrics that no image has are left out."""
    images = [side.images[key] for key in ids]
    columns = {ACCURACY: [math.nan if image.correct is None else float(image.correct) for image in images]}
    for protocol in side.protocol.protocols:
        for metric, value in PER_PROTOCOL.items():
            columns[f"{protocol}.{metric}"] = [
                value(image, image.views[protocol]) if protocol in image.views else math.nan for image in images
            ]
    arrays = {name: np.array(column, dtype=np.float64) for name, column in columns.items()}
    return {name: array for name, array in arrays.items() if not np.isnan(array).all()}


def count_flips(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> Flips:
    """How many yes/no outcomes were lost and gained, from arrays of 1, 0 and NaN."""
    lost, gained = int((ours < theirs).sum()), int((ours > theirs).sum())
    return Flips(lost, gained, mcnemar(lost, gained))


def _margin_check(name: str, ours: NDArray[np.float64], theirs: NDArray[np.float64], margin: float) -> Check:
    flips = count_flips(ours, theirs) if name.split(".")[-1] in BINARY else None
    estimate = paired_difference(ours, theirs)
    return Check(name, "margin", estimate, -margin, True, _mean(theirs), _mean(ours), flips)


def _mean(values: NDArray[np.float64]) -> float:
    return float(np.nanmean(values))


def _check_names(named: Mapping[str, float | None], available: list[str]) -> None:
    known = {ACCURACY, *PER_PROTOCOL, *(f"{p}.{m}" for p in ("circular", "crop") for m in PER_PROTOCOL)}
    for name, limit in named.items():
        if name not in known:
            raise InputError(f"the gate knows no metric {name!r}", hint=close_matches(name, known))
        if limit is not None and not any(other == name or other.split(".")[-1] == name for other in available):
            why = "no image has a label" if ACCURACY in name else f"the reports hold {', '.join(available)}"
            raise InputError(f"the gate cannot judge {name!r}: it was not measured; {why}")


def _expand(named: Mapping[str, float | None], defaults: Mapping[str, float], available: list[str]) -> dict[str, float]:
    """Limits by full name: the full name's own, else the short name's, else the default."""
    limits: dict[str, float] = {}
    for full in available:
        short = full.split(".")[-1]
        for table, key in ((named, full), (named, short), (defaults, short)):
            if key in table:
                limit = table[key]
                if limit is not None:
                    limits[full] = limit
                break
    return limits


def _limit(value: float, what: str) -> float:
    if not 0 <= value <= 1:
        raise InputError(f"the {what} is {value}; expected a share between 0 and 1")
    return value


def _stage_checks(candidate: Baseline, baseline: Baseline, rules: Rules) -> list[Check]:
    if not rules.stages and rules.stage_margin is None:
        return []
    if not candidate.stages:
        raise InputError(
            "stage limits are set, but no stage of the candidate was measured", hint="score without --no-stages"
        )
    checks = []
    for name, ceiling in _stage_ceilings(rules.stages, list(candidate.stages)).items():
        metric = stage_metric(candidate.stages[name])
        before = stage_metric(baseline.stages.get(name, {}))
        if metric is not None and metric.value is not None:
            limit = _limit(ceiling, f"limit of stage {name}")
            old = None if before is None else before.value
            checks.append(Check(f"stages.{name}", "ceiling", metric_estimate(metric), limit, False, old, metric.value))
    if rules.stage_margin is not None:
        margin = _limit(rules.stage_margin, "stage margin")
        for name, errors in candidate.stages.items():
            new, old_metric = stage_metric(errors), stage_metric(baseline.stages.get(name, {}))
            if new is not None and old_metric is not None and new.value is not None and old_metric.value is not None:
                rise = independent_difference(new, old_metric)
                checks.append(Check(f"stages.{name}", "margin", rise, margin, False, old_metric.value, new.value))
    return checks


def _stage_ceilings(limits: Mapping[str, float], stages: list[str]) -> dict[str, float]:
    """A ceiling by stage: its own name's, else the first pattern's that matches."""
    ceilings = {name: limits[name] for name in stages if name in limits}
    for pattern, limit in limits.items():
        matching = [name for name in stages if name == pattern or fnmatchcase(name, pattern)]
        if not matching:
            raise InputError(f"the candidate has no stage {pattern!r}", hint=close_matches(pattern, stages))
        for name in matching:
            ceilings.setdefault(name, limit)
    return ceilings


def stage_metric(errors: Mapping[str, Metric]) -> Metric | None:
    """The output error a stage is judged by: under circular shifts, where 0 means free of aliasing, else under crop."""
    return errors.get("circular") or errors.get("crop")


def metric_estimate(metric: Metric) -> Estimate:
    """A reported metric as an estimate: the standard error is read back from its longer side of the 95 % interval."""
    if metric.value is None or metric.ci_low is None or metric.ci_high is None or metric.n_images < 2:
        return Estimate(metric.value or 0.0, math.inf, metric.n_images)
    half = max(metric.value - metric.ci_low, metric.ci_high - metric.value)
    return Estimate(metric.value, half / student_quantile(0.5 + CONFIDENCE / 2, metric.n_images - 1), metric.n_images)


def independent_difference(new: Metric, old: Metric) -> Estimate:
    """New minus old of two reported metrics, as if independent since per-image values are lacking: rather too wide."""
    a, b = metric_estimate(new), metric_estimate(old)
    return Estimate(a.mean - b.mean, math.hypot(a.standard_error, b.standard_error), min(a.n, b.n))


def close_matches(name: str, known: Iterable[str]) -> str:
    """A hint that names what the user may have meant, else everything there is (the first ten)."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    return (
        f"did you mean {' or '.join(close)}?"
        if close
        else f"there are {', '.join(names[:10])}{' …' if len(names) > 10 else ''}"
    )
