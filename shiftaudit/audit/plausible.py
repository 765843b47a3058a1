"""Whether lines of a samples file can be what was measured: one that was edited or damaged gets a sentence, and no report."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import chain

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
    slots = slots_of(header)
    for stage in header.layout:
        if min(stage.input_slot, stage.output_slot) < 0:
            raise InputError(f"{what} has a negative slot at the stage {stage.name}")
        if not all(1e-6 < stride < _FARTHEST for stride in stage.stride):
            raise InputError(f"{what} has a stride that is none at the stage {stage.name}")
    if header.calibration and len(header.calibration) < slots:
        raise InputError(f"{what} has {len(header.calibration)} calibrations for {slots} slots")
    if not _within([one.distance for one in header.calibration], 1e-6, _UNRELATED):
        raise InputError(f"{what} has a calibration that is no distance of two images")


def check_score(header: SamplesHeader, slots: int, score: ImageScore, what: str) -> None:
    """Raises InputError where the row of an image cannot be of the header's run with its slots; `what` names the line."""
    image = score.image
    for protocol in header.protocol.protocols:
        if protocol not in image.views:
            raise InputError(f"{what} has no views of the protocol {protocol}")
        farthest = min(_FARTHEST, header.protocol.max_shift(protocol))
        if not _within([*chain.from_iterable(image.views[protocol].shifts)], -farthest, farthest):
            raise InputError(f"{what} has a shift of more than {farthest} px in {protocol}")
    if not all(_within(some, -_ROUNDING, 1 + _ROUNDING) for some in _shares(image, score.damage)):
        raise InputError(f"{what} has a probability, or a change of one, that is not between 0 and 1")
    for role, errors in score.slot_errors.items():
        if len(errors) < slots:
            raise InputError(f"{what} has errors in {len(errors)} of {slots} slots under {role}")
        if not _within([error for slot in errors for error in slot if error is not None], 0.0, _UNRELATED):
            raise InputError(f"{what} has an error under {role} that is no distance of two maps")


def slots_of(header: SamplesHeader) -> int:
    """How many slots the stages of a run read."""
    return 1 + max((max(stage.input_slot, stage.output_slot) for stage in header.layout), default=-1)


def _shares(image: ImageResult, damage: ImageDamage | None) -> Iterable[Sequence[float]]:
    yield (image.probability,)
    for views in image.views.values():
        yield from (views.probabilities, views.js_divergence, views.variation)
    for view in () if damage is None else damage.views:
        yield (view.observed.variation, view.aliasing.variation, view.border.variation)
    for stage in () if damage is None else damage.stages:
        yield (stage.change.variation, stage.change.variation if stage.wrapped is None else stage.wrapped)


def _within(values: Sequence[float], low: float, high: float) -> bool:
    """Whether no value is outside; none is NaN, which is refused where lines are read."""
    return not values or (low <= min(values) and max(values) <= high)
