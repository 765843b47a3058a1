"""The gate's rules on metrics: which they may name, what is measured for them on the images. No torch."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import repeat

import numpy as np
from numpy.typing import NDArray

from shiftaudit.errors import InputError
from shiftaudit.gate.comparable import same_model
from shiftaudit.gate.rules import Check, close_matches, require_share
from shiftaudit.metrics.bounded import bounded_mean
from shiftaudit.metrics.columns import Outcomes
from shiftaudit.metrics.paired import mcnemar, paired_difference
from shiftaudit.metrics.vocabulary import METRICS
from shiftaudit.records.gate import ANCHOR, FLOOR, MARGIN, Baseline, Flips, RuleName, Rules
from shiftaudit.records.words import PROTOCOLS

# Every one is a share, and higher is better.
GATED = {measure.name: measure for measure in METRICS if measure.gated}
DEFAULT_MARGINS: Mapping[str, float] = {"consistency": 0.03, "accuracy": 0.03}


def check_rules(rules: Rules) -> None:
    """Look at the rules alone, before anything is scored for them.

    Raises:
        InputError: a rule names a metric that does not exist, or a limit outside [0, 1].
    """
    known = {*GATED, *(f"{p}.{name}" for p in PROTOCOLS for name, measure in GATED.items() if measure.per_protocol)}
    limits = {"margin": rules.margins, "floor": rules.floors, "margin to the anchor": rules.anchor_margins}
    for kind, named in limits.items():
        for name, limit in named.items():
            if name not in known:
                raise InputError(f"the gate knows no metric {name!r}", hint=close_matches(name, known))
            if limit is not None:
                require_share(limit, f"{kind} of {name}")
    for name, ceiling in rules.stages.items():
        require_share(ceiling, f"limit of stage {name}")
    if rules.stage_margin is not None:
        require_share(rules.stage_margin, "stage margin")


def metric_checks(candidate: Baseline, baseline: Baseline, rules: Rules) -> list[Check]:
    """The margins and floors that apply to the pair. Both sides must hold the same images.

    Raises:
        InputError: a rule names a metric that was not measured.
    """
    columns = _columns(candidate, baseline)
    _require_measured({**rules.margins, **rules.floors, **rules.anchor_margins}, columns)
    same = same_model(candidate.model, baseline.model)
    checks = _margin_checks(columns, (rules.margins, DEFAULT_MARGINS), MARGIN, same=same)
    for name, floor in _expand((rules.floors,), columns).items():
        ours, theirs = columns[name]
        checks.append(
            Check(name, FLOOR, bounded_mean(ours, 0.0, 1.0), floor, True, _mean(theirs), _mean(ours)),
        )
    return checks


def anchor_checks(candidate: Baseline, anchor: Baseline, rules: Rules) -> list[Check]:
    """The margins against the anchor: those against the baseline, where no others are named. The images must be the same."""
    margins = (rules.anchor_margins, rules.margins, DEFAULT_MARGINS)
    return _margin_checks(_columns(candidate, anchor), margins, ANCHOR, same=same_model(candidate.model, anchor.model))


def _margin_checks(
    columns: _Columns, margins: Sequence[Mapping[str, float | None]], rule: RuleName, *, same: bool
) -> list[Check]:
    checks = []
    for name, margin in _expand(margins, columns).items():
        ours, theirs = columns[name]
        flips = count_flips(ours, theirs) if GATED[name.split(".")[-1]].binary else None
        estimate = paired_difference(ours, theirs, same_model=same)
        checks.append(Check(name, rule, estimate, 0.0 - margin, True, _mean(theirs), _mean(ours), flips))
    return checks


_Columns = dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]
"""By metric, the values of both sides image by image."""


def _columns(candidate: Baseline, earlier: Baseline) -> _Columns:
    """What both sides measured, by metric, image by image."""
    ids = sorted(earlier.images)
    ours, theirs = measured_shares(candidate, ids), measured_shares(earlier, ids)
    return {name: (ours[name], theirs[name]) for name in theirs if name in ours}


def measured_shares(side: Baseline, ids: Iterable[str]) -> dict[str, NDArray[np.float64]]:
    """Per-image values by metric name, in the order of `ids`; metrics that no image has are left out."""
    images = [side.images[key] for key in ids]
    correct = [image.correct for image in images]
    answers = Outcomes.of_counts(correct, repeat(None, len(images)))
    columns = {name: answers.of(measure.of_counts) for name, measure in GATED.items() if not measure.per_protocol}
    for protocol in side.protocol.protocols:
        outcomes = Outcomes.of_counts(correct, (image.views.get(protocol) for image in images))
        for name, measure in GATED.items():
            if measure.per_protocol:
                columns[f"{protocol}.{name}"] = outcomes.of(measure.of_counts)
    return {name: column for name, column in columns.items() if not np.isnan(column).all()}


def count_flips(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> Flips:
    """How many yes/no outcomes were lost and gained, from arrays of 1, 0 and NaN."""
    lost, gained = int((ours < theirs).sum()), int((ours > theirs).sum())
    return Flips(lost, gained, mcnemar(lost, gained))


def _mean(values: NDArray[np.float64]) -> float:
    return float(np.nanmean(values))


def _require_measured(named: Mapping[str, float | None], available: Collection[str]) -> None:
    for name, limit in named.items():
        if limit is not None and not any(other == name or other.split(".")[-1] == name for other in available):
            why = "no image has a label" if _needs_labels(name) else f"the reports hold {', '.join(available)}"
            raise InputError(f"the gate cannot judge {name!r}: it was not measured; {why}")


def _needs_labels(name: str) -> bool:
    measure = GATED.get(name.split(".")[-1])
    return measure is not None and measure.needs_labels


def _expand(tables: Sequence[Mapping[str, float | None]], available: Iterable[str]) -> dict[str, float]:
    """Limits by full name: of the first table that has one, the full name's own before the short name's."""
    limits: dict[str, float] = {}
    for full in available:
        keys = (full, full.split(".")[-1])
        limit = next((table[key] for table in tables for key in keys if key in table), None)
        if limit is not None:
            limits[full] = limit
    return limits
