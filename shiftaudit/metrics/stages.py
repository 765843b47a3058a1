"""From per-image errors of watched tensors to the stages of a report. No torch.

An image's error at a stage is the mean over its watched views, in units of the distance of two unrelated images; the report's is
the mean over images, with an interval clustered by image.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from shiftaudit.metrics.cause import cause, damage
from shiftaudit.metrics.columns import ViewColumns
from shiftaudit.metrics.distance import by_distance
from shiftaudit.metrics.intervals import mean_metric
from shiftaudit.records.cause import Cause, Damage
from shiftaudit.records.distance import DistanceBin
from shiftaudit.records.report import Level, Metric, PhaseError, Shift, SkippedStage, Stage, StageErrors
from shiftaudit.records.samples import Calibration, ImageScore, SamplesHeader, SlotErrors, StageLayout
from shiftaudit.records.words import CIRCULAR, Protocol

Unit = Literal["error", "cosine"]
"""A distance in units of that of unrelated images, or as 1 − cos: half the square, for maps of equal spread."""


@dataclass(frozen=True)
class StageReport:
    """The part of a report that comes from feature maps."""

    stages: tuple[Stage, ...]
    levels: tuple[Level, ...]
    skipped: tuple[SkippedStage, ...]


def stage_report(header: SamplesHeader, scores: Sequence[ImageScore]) -> StageReport:
    """Aggregate the errors and the damage of every stage.

    Args:
        header: of the run: the network's stages, as discovered, and the calibration of their errors.
        scores: one entry an image, with errors by slot.
    """
    layout, protocols, size = header.layout, header.protocol.protocols, header.model.preprocessing.size
    table = _Table(scores, header.calibration)
    numbers = _levels(layout)
    damages = _damages(layout, scores)
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
                fits=_fits(stage, size),
                damage=None if stage.grid is None else damages.get(stage.grid),
                n_constant=header.calibration[stage.output_slot].n_constant if header.calibration else 0,
            )
        )
    return StageReport(tuple(stages), tuple(_level_records(layout, numbers, table, protocols)), tuple(skipped))


def cause_report(header: SamplesHeader, scores: Sequence[ImageScore]) -> Cause | None:
    """Why answers change, where that was measured."""
    left_out = [stage.name for stage in header.not_sampled]
    return cause([score.damage for score in scores], header.protocol.protocols[0], total_stride(header), left_out)


def total_stride(header: SamplesHeader) -> tuple[float, float]:
    """Of the whole network, (y, x): the largest of any stage, as far as stages were looked for."""
    layout = header.layout
    return max((s.stride[0] for s in layout), default=1.0), max((s.stride[1] for s in layout), default=1.0)


def distances(
    header: SamplesHeader, scores: Sequence[ImageScore], protocol: Protocol, views: ViewColumns
) -> tuple[DistanceBin, ...]:
    """Change against distance under one protocol; its causes stand with the protocol whose views were taken apart."""
    apart = [score.damage for score in scores] if protocol == header.protocol.protocols[0] else []
    stride = total_stride(header) if header.layout else None
    return by_distance(views, stride, apart)


def _damages(layout: Sequence[StageLayout], scores: Sequence[ImageScore]) -> dict[int, Damage]:
    """The damage of every sampling grid, by its number."""
    rows = [score.damage for score in scores]
    names: dict[int, list[str]] = defaultdict(list)
    for stage in layout:
        if stage.grid is not None:
            names[stage.grid].append(stage.name)
    found = {grid: damage(rows, grid, together) for grid, together in names.items()}
    return {grid: one for grid, one in found.items() if one is not None}


def _fits(stage: StageLayout, size: int) -> bool:
    """Whether stride × map is the input's size, on both axes."""
    return all(math.isclose(s * n, size) for s, n in zip(stage.stride, stage.output_size, strict=True))


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
            per_stage = [table.per_image(stage.output_slot, protocol, "error") for stage in members]
            largest = max(table.largest(stage.output_slot, "error") for stage in members)
            if (metric := table.metric(per_stage, largest)) is not None:
                errors[protocol] = metric
        records.append(Level(number, stride, tuple(stage.name for stage in members), errors))
    return records


class _Table:
    """Errors of all images, indexed by slot and role."""

    def __init__(self, scores: Sequence[ImageScore], calibration: Sequence[Calibration]) -> None:
        self._scores = scores
        self._calibration = calibration
        self.per_image = cache(self._per_image)  # stages share slots, and levels are made of stages

    def _per_image(self, slot: int, role: str, unit: Unit) -> tuple[NDArray[np.float64], int]:
        """The mean error of each image (NaN where it has none), and the number of comparisons behind them."""
        means, n_pairs = np.full(len(self._scores), np.nan), 0
        scale = self._unit(slot)
        for row, score in enumerate(self._scores):
            values = [value for value in _errors(score.slot_errors, role, slot) if value is not None]
            if values:
                numbers = [value / scale if unit == "error" else value * value / 2 for value in values]
                means[row] = math.fsum(numbers) / len(numbers)
                n_pairs += len(values)
        return means, n_pairs

    def _unit(self, slot: int) -> float:
        return self._calibration[slot].distance if self._calibration else math.sqrt(2)

    def largest(self, slot: int, unit: Unit) -> float:
        """No image has a larger error there, but for rounding: no squared distance is above 2."""
        return 1.00001 * (math.sqrt(2) / self._unit(slot) if unit == "error" else 1.0)

    def metric(self, parts: Sequence[tuple[NDArray[np.float64], int]], largest: float) -> Metric | None:
        """Of several tensors the mean of each image's errors."""
        means = np.mean([errors for errors, _ in parts], axis=0)
        n_pairs = sum(n for _, n in parts)
        if n_pairs == 0 or np.isnan(means).all():
            return None
        return mean_metric(means, n_pairs=n_pairs, higher_is_better=False, kind="real", high=largest)

    def stage_errors(self, stage: StageLayout, protocol: Protocol) -> StageErrors | None:
        found = [
            self.metric([self.per_image(slot, protocol, unit)], self.largest(slot, unit))
            for unit in get_args(Unit)
            for slot in (stage.input_slot, stage.output_slot)
        ]
        before, after, before_cos, after_cos = found
        if before is None or after is None or before_cos is None or after_cos is None:
            return None
        circular, slot = protocol == CIRCULAR, stage.output_slot
        return StageErrors(
            input=before,
            output=after,
            input_cos=before_cos,
            output_cos=after_cos,
            by_phase=self._by_phase(stage) if circular else (),
            floor=None if circular or not self._calibration else self._calibration[slot].floor / self._unit(slot),
        )

    def _by_phase(self, stage: StageLayout) -> tuple[PhaseError, ...]:
        if not all(math.isclose(s, round(s)) for s in stage.stride):
            return ()
        step = (round(stage.stride[0]), round(stage.stride[1]))
        sums: dict[Shift, list[float]] = defaultdict(list)
        unit = self._unit(stage.output_slot)
        for score in self._scores:
            shifts = score.image.views[CIRCULAR].shifts
            for (dy, dx), error in zip(shifts, _errors(score.slot_errors, CIRCULAR, stage.output_slot), strict=False):
                if error is not None:
                    sums[dy % step[0], dx % step[1]].append(error)
        return tuple(
            PhaseError(py, px, len(values), math.fsum(values) / len(values) / unit)
            for (py, px), values in sorted(sums.items())
        )


def _errors(slot_errors: dict[str, SlotErrors], role: str, slot: int) -> tuple[float | None, ...]:
    of_role = slot_errors.get(role)
    return of_role[slot] if of_role else ()
