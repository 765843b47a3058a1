"""Whether lines of a samples file can be what was measured: one that was edited or damaged gets a sentence, and no report."""

from __future__ import annotations

import math
from collections.abc import Iterable

from shiftaudit.errors import InputError
from shiftaudit.records.cause import ImageDamage
from shiftaudit.records.report import ImageResult
from shiftaudit.records.samples import ImageScore, SamplesHeader

_FARTHEST = 2**16
_ROUNDING = 0.01
_UNRELATED = math.sqrt(2) + _ROUNDING
"""No distance of two maps is larger, see `shiftaudit.stages.standard`."""


def check_header(header: SamplesHeader, what: str) -> None:
    """Raises InputError where the stages and their calibration do not go together; `what` names the line."""
    if not header.protocol.protocols:
        raise InputError(f"{what} names no protocol")
    slots = _slots(header)
    for stage in header.layout:
        if min(stage.input_slot, stage.output_slot) < 0:
            raise InputError(f"{what} has a negative slot at the stage {stage.name}")
        if not all(1e-6 < stride < _FARTHEST for stride in stage.stride):
            raise InputError(f"{what} has a stride that is none at the stage {stage.name}")
    if header.calibration and len(header.calibration) < slots:
        raise InputError(f"{what} has {len(header.calibration)} calibrations for {slots} slots")
    if not _within((one.distance for one in header.calibration), 1e-6, _UNRELATED):
        raise InputError(f"{what} has a calibration that is no distance of two images")


def check_score(header: SamplesHeader, score: ImageScore, what: str) -> None:
    """Raises InputError where the row of an image cannot be of the header's run; `what` names the line."""
    image = score.image
    for protocol in header.protocol.protocols:
        if protocol not in image.views:
            raise InputError(f"{what} has no views of the protocol {protocol}")
        farthest = min(_FARTHEST, header.protocol.max_shift(protocol))
        if any(abs(step) > farthest for shift in image.views[protocol].shifts for step in shift):
            raise InputError(f"{what} has a shift of more than {farthest} px in {protocol}")
    if not _within(_shares(image, score.damage), -_ROUNDING, 1 + _ROUNDING):
        raise InputError(f"{what} has a probability, or a change of one, that is not between 0 and 1")
    slots = _slots(header)
    for role, errors in score.slot_errors.items():
        if len(errors) < slots:
            raise InputError(f"{what} has errors in {len(errors)} of {slots} slots under {role}")
        if not _within((error for slot in errors for error in slot if error is not None), 0.0, _UNRELATED):
            raise InputError(f"{what} has an error under {role} that is no distance of two maps")


def _slots(header: SamplesHeader) -> int:
    return 1 + max((max(stage.input_slot, stage.output_slot) for stage in header.layout), default=-1)


def _shares(image: ImageResult, damage: ImageDamage | None) -> Iterable[float]:
    yield image.probability
    for views in image.views.values():
        yield from views.probabilities
        yield from views.js_divergence
        yield from views.variation
    for view in () if damage is None else damage.views:
        yield from (change.variation for change in (view.observed, view.aliasing, view.border))
    for stage in () if damage is None else damage.stages:
        yield stage.change.variation
        if stage.wrapped is not None:
            yield stage.wrapped


def _within(values: Iterable[float], low: float, high: float) -> bool:
    return all(low <= value <= high for value in values)
