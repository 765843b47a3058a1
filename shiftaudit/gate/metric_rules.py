"""The gate's rules on metrics: which they may name, what is measured for them on the images. No torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from shiftaudit.errors import InputError
from shiftaudit.gate.comparable import same_model
from shiftaudit.gate.rules import Check, Rules, close_matches, require_share
from shiftaudit.metrics.paired import estimate_mean, mcnemar, paired_difference
from shiftaudit.records.gate import Baseline, BaselineImage, Flips, ViewCounts


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


def check_rules(rules: Rules) -> None:
    """Look at the rules alone, before anything is scored for them.

    Raises:
        InputError: a rule names a metric that does not exist, or a limit outside [0, 1].
    """
    known = {ACCURACY, *PER_PROTOCOL, *(f"{p}.{m}" for p in ("circular", "crop") for m in PER_PROTOCOL)}
    for kind, named in (("margin", rules.margins), ("floor", rules.floors)):
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
    ids = sorted(baseline.images)
    ours, theirs = measured_shares(candidate, ids), measured_shares(baseline, ids)
    available = [name for name in theirs if name in ours]
    _require_measured({**rules.margins, **rules.floors}, available)
    same = same_model(candidate.model, baseline.model)
    checks = [
        _margin_check(name, ours[name], theirs[name], margin, same=same)
        for name, margin in _expand(rules.margins, DEFAULT_MARGINS, available).items()
    ]
    for name, floor in _expand(rules.floors, {}, available).items():
        value = _mean(ours[name])
        checks.append(Check(name, "floor", estimate_mean(ours[name]), floor, True, _mean(theirs[name]), value))
    return checks


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


def _margin_check(
    name: str, ours: NDArray[np.float64], theirs: NDArray[np.float64], margin: float, *, same: bool
) -> Check:
    flips = count_flips(ours, theirs) if name.split(".")[-1] in BINARY else None
    estimate = paired_difference(ours, theirs, same_model=same)
    return Check(name, "margin", estimate, 0.0 - margin, True, _mean(theirs), _mean(ours), flips)


def _mean(values: NDArray[np.float64]) -> float:
    return float(np.nanmean(values))


def _require_measured(named: Mapping[str, float | None], available: list[str]) -> None:
    for name, limit in named.items():
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
