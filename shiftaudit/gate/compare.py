"""Two reports side by side: each metric of both, and the difference on the images they share. No torch, no verdict."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from shiftaudit.errors import NoVerdictError
from shiftaudit.gate.comparable import environment_differences, require_same_protocol, same_model, taught_warnings
from shiftaudit.gate.metric_rules import count_flips
from shiftaudit.metrics.columns import ViewColumns
from shiftaudit.metrics.definitions import Measure
from shiftaudit.metrics.intervals import mean_metric
from shiftaudit.metrics.measures import SMALLEST_SUBGROUP
from shiftaudit.metrics.stage_pairs import pair_stages
from shiftaudit.metrics.vocabulary import MEASURES
from shiftaudit.records.collector import uncollected
from shiftaudit.records.gate import GATE_SCHEMA_VERSION, Comparison, MetricComparison, StageComparison
from shiftaudit.records.report import AuditReport, Metric
from shiftaudit.records.words import IntervalMethod, Protocol
from shiftaudit.version import __version__


@uncollected()
def compare(a: AuditReport, b: AuditReport) -> Comparison:
    """All metrics of two reports. Differences are B minus A, paired on the bytes of the images, with 95 % intervals.

    Where the protocols differ the values stand side by side and a warning says why there is no difference between them.
    """
    rows_a, rows_b = ({image.id: image for image in report.per_image} for report in (a, b))
    shared = sorted(rows_a.keys() & rows_b.keys())
    warnings = environment_differences(b.environment, a.environment)
    warnings += taught_warnings((a.model, rows_a), (b.model, rows_b))
    paired = bool(shared)
    try:
        require_same_protocol(b.protocol, a.protocol)
    except NoVerdictError as error:
        paired = False
        warnings.insert(0, f"no differences are given: {error.message}")
    if not shared:
        warnings.insert(0, "the reports share no image, so no differences are given")
    elif len(shared) < max(len(rows_a), len(rows_b)):
        warnings.append(
            "the two sides hold other images too: each value is over all of its own, differences over shared ones"
        )
    same = same_model(a.model, b.model)
    metrics = []
    images_a, images_b = ([rows[key] for key in shared] for rows in (rows_a, rows_b))
    pairs = {
        protocol: (ViewColumns(images_a, protocol), ViewColumns(images_b, protocol))
        for protocol in (a.protocols if paired else ())
    }
    for name, (protocol, metric) in _names(a, b).items():
        sides = tuple(_metric(report, protocol, metric) for report in (a, b))
        metrics.append(_compare_metric(name, metric, sides, pairs.get(protocol), same=same))
    return Comparison(
        schema_version=GATE_SCHEMA_VERSION,
        tool_version=__version__,
        model_a=a.model.source,
        model_b=b.model.source,
        n_shared=len(shared),
        n_only_a=len(rows_a) - len(shared),
        n_only_b=len(rows_b) - len(shared),
        metrics=tuple(metrics),
        stages=tuple(_stages(a, b)),
        warnings=tuple(warnings),
    )


def _names(a: AuditReport, b: AuditReport) -> dict[str, tuple[Protocol, str]]:
    """Full name → (protocol, metric). What is the same in every protocol is named once."""
    names: dict[str, tuple[Protocol, str]] = {}
    for report in (a, b):
        for protocol, result in report.protocols.items():
            for metric in result.metrics:
                once = metric in MEASURES and not MEASURES[metric].per_protocol
                names.setdefault(metric if once else f"{protocol}.{metric}", (protocol, metric))
    return names


def _metric(report: AuditReport, protocol: Protocol, metric: str) -> Metric | None:
    result = report.protocols.get(protocol)
    return None if result is None else result.metrics.get(metric)


def _compare_metric(
    name: str,
    metric: str,
    sides: Sequence[Metric | None],
    pairs: tuple[ViewColumns, ViewColumns] | None,
    *,
    same: bool,
) -> MetricComparison:
    first, second = sides
    known = first or second
    difference = low = high = None
    n, flips, subgroup, enough = 0, None, None, True
    method: IntervalMethod = "none"
    value_a, value_b = (None if side is None else side.value for side in sides)
    measure = MEASURES.get(metric)
    if pairs is not None and measure is not None and measure.is_mean:
        values_a, values_b = (measure.of_views(side) for side in pairs)
        shared = ~np.isnan(values_a - values_b)
        n = int(shared.sum())
        if measure.subgroup is not None:
            subgroup, enough = f"both {measure.subgroup}", n >= SMALLEST_SUBGROUP
            value_a, value_b = (float(values[shared].mean()) if enough else None for values in (values_a, values_b))
        if n and enough:
            found = _difference((values_b - values_a)[shared], measure, same=same)
            difference, low, high, method = found.value, found.ci_low, found.ci_high, found.method
            flips = count_flips(values_b, values_a) if measure.binary else None
    return MetricComparison(
        name=name,
        a=value_a,
        b=value_b,
        difference=difference,
        ci_low=low,
        ci_high=high,
        n_images=n,
        higher_is_better=known is None or known.higher_is_better,
        flips=flips,
        subgroup=subgroup,
        method=method,
    )


def _difference(values: NDArray[np.float64], measure: Measure, *, same: bool) -> Metric:
    """Of the same model it is known to be 0 where all values are."""
    n = len(values)
    if same and not values.any():
        return Metric(0.0, 0.0, 0.0, n, n, "none", measure.higher_is_better)
    return mean_metric(
        values,
        n_pairs=n,
        higher_is_better=measure.higher_is_better,
        kind=measure.kind,
        low=-measure.largest,
        high=measure.largest,
    )


def _stages(a: AuditReport, b: AuditReport) -> list[StageComparison]:
    """Every stage of either report under every protocol, in the order of A, then what only B has."""
    rows = []
    for name, first, second in pair_stages(a.stages, b.stages):
        sides = [stage.errors if stage is not None else {} for stage in (first, second)]
        for protocol in dict.fromkeys([*sides[0], *sides[1]]):
            outputs = [errors[protocol].output if protocol in errors else None for errors in sides]
            rows.append(StageComparison(name, protocol, outputs[0], outputs[1]))
    return rows
