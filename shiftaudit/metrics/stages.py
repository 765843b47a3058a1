"""From per-image errors of watched tensors to the stages of a report. No torch.

An image's error at a stage is the mean over its watched views; the report's is the mean over images, with an interval clustered
by image.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shiftaudit.metrics.intervals import ClusterBootstrap
from shiftaudit.records.report import Level, Metric, PhaseError, Shift, SkippedStage, Stage, StageErrors
from shiftaudit.records.samples import ImageScore, SlotErrors, StageLayout
from shiftaudit.records.words import CIRCULAR, PADDING, Protocol

_COSINE, _L2 = 0, 1


@dataclass(frozen=True)
class StageReport:
    """The part of a report that comes from feature maps."""

    stages: tuple[Stage, ...]
    levels: tuple[Level, ...]
    skipped: tuple[SkippedStage, ...]


def stage_report(
    layout: Sequence[StageLayout], scores: Sequence[ImageScore], protocols: Sequence[Protocol]
) -> StageReport:
    """Aggregate the errors of every stage.

    Args:
        layout: the network's stages, as discovered.
        scores: one entry an image, with errors by slot.
        protocols: those to report.
    """
    table = _Table(scores)
    numbers = _levels(layout)
    stages, skipped = [], []
    for stage in layout:
        errors = {p: found for p in protocols if (found := table.stage_errors(stage, p)) is not None}
        if not errors:
            skipped.append(SkippedStage(stage.name, stage.op, "its feature maps could not be compared on any image"))
            continue
        stages.append(
            Stage(
                name=stage.name,
                op=stage.op,
                stride=stage.stride,
                layer_stride=stage.layer_stride,
                level=numbers[_key(stage.stride)],
                input_size=stage.input_size,
                output_size=stage.output_size,
                channels=stage.channels,
                errors=errors,
            )
        )
    return StageReport(tuple(stages), tuple(_level_records(layout, numbers, table, protocols)), tuple(skipped))


def _key(stride: tuple[float, float]) -> tuple[float, float]:
    return (round(stride[0], 6), round(stride[1], 6))


def _levels(layout: Sequence[StageLayout]) -> dict[tuple[float, float], int]:
    strides = sorted({_key(stage.stride) for stage in layout}, key=lambda s: (s[0] * s[1], s))
    return {stride: number for number, stride in enumerate(strides, start=1)}


def _level_records(
    layout: Sequence[StageLayout], numbers: dict[tuple[float, float], int], table: _Table, protocols: Sequence[Protocol]
) -> list[Level]:
    records = []
    for stride, number in numbers.items():
        members = [stage for stage in layout if _key(stage.stride) == stride]
        errors: dict[Protocol, Metric] = {}
        for protocol in protocols:
            per_stage = [table.per_image(stage.output_slot, protocol, _COSINE) for stage in members]
            if (
                per_stage
                and (metric := table.metric(np.mean([v for v, _ in per_stage], axis=0), per_stage)) is not None
            ):
                errors[protocol] = metric
        records.append(Level(number, stride, tuple(stage.name for stage in members), errors))
    return records


class _Table:
    """Errors of all images, indexed by slot and role."""

    def __init__(self, scores: Sequence[ImageScore]) -> None:
        self._scores = scores
        self._bootstrap = ClusterBootstrap(len(scores))

    def per_image(self, slot: int, role: str, which: int) -> tuple[NDArray[np.float64], int]:
        """The mean error of each image (NaN where it has none), and the number of comparisons behind them."""
        means, n_pairs = np.full(len(self._scores), np.nan), 0
        for row, score in enumerate(self._scores):
            values = [value for pair in _errors(score.slot_errors, role, slot) if (value := pair[which]) is not None]
            if values:
                means[row] = math.fsum(values) / len(values)
                n_pairs += len(values)
        return means, n_pairs

    def metric(self, means: NDArray[np.float64], parts: Sequence[tuple[NDArray[np.float64], int]]) -> Metric | None:
        n_pairs = sum(n for _, n in parts)
        if n_pairs == 0 or np.isnan(means).all():
            return None
        return self._bootstrap.metric(means, n_pairs=n_pairs, higher_is_better=False, kind="real")

    def _slot_metric(self, slot: int, role: str, which: int) -> Metric | None:
        part = self.per_image(slot, role, which)
        return self.metric(part[0], [part])

    def stage_errors(self, stage: StageLayout, protocol: Protocol) -> StageErrors | None:
        found = [
            self._slot_metric(slot, protocol, which)
            for which in (_COSINE, _L2)
            for slot in (stage.input_slot, stage.output_slot)
        ]
        before, after, before_l2, after_l2 = found
        if before is None or after is None or before_l2 is None or after_l2 is None:
            return None
        circular = protocol == CIRCULAR
        return StageErrors(
            input=before,
            output=after,
            input_l2=before_l2,
            output_l2=after_l2,
            by_phase=self._by_phase(stage) if circular else (),
            padding=self._slot_metric(stage.output_slot, PADDING, _COSINE) if circular else None,
        )

    def _by_phase(self, stage: StageLayout) -> tuple[PhaseError, ...]:
        if not all(math.isclose(s, round(s)) for s in stage.stride):
            return ()
        step = (round(stage.stride[0]), round(stage.stride[1]))
        sums: dict[Shift, list[float]] = defaultdict(list)
        for score in self._scores:
            shifts = score.image.views[CIRCULAR].shifts
            for (dy, dx), error in zip(shifts, _errors(score.slot_errors, CIRCULAR, stage.output_slot), strict=False):
                if (value := error[_COSINE]) is not None:
                    sums[dy % step[0], dx % step[1]].append(value)
        return tuple(
            PhaseError(py, px, len(values), math.fsum(values) / len(values))
            for (py, px), values in sorted(sums.items())
        )


def _errors(slot_errors: dict[str, SlotErrors], role: str, slot: int) -> tuple[tuple[float | None, float | None], ...]:
    of_role = slot_errors.get(role)
    return of_role[slot] if of_role else ()
