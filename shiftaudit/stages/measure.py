"""Measure the equivariance error of every stage inside the forward pass, keeping no features but one reference view an image.

The naive way stores the features of all views and compares them afterwards: gigabytes for a ResNet. Here each watched tensor is
compared the moment it exists. The first row of an image's first pass is the unshifted view, kept as the reference; every later
row is compared with the reference moved by that row's shift. Fractional shifts of the reference are cached by residue
(shift mod stride): a stage of stride 2 has only four of them, the rest is a roll.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from shiftaudit.records.report import Shift
from shiftaudit.records.words import CIRCULAR
from shiftaudit.stages import ops
from shiftaudit.stages.calls import CallWatcher
from shiftaudit.stages.find import Discovery, Slot
from shiftaudit.stages.ops import OpCall
from shiftaudit.stages.standard import Reference

Row = tuple[str, Shift]
"""Protocol and shift of one row of a batch."""

NOT_MEASURED = math.nan


class SlotWatcher(CallWatcher):
    """Shows the maps of every slot to `see` as they come by."""

    def __init__(self, discovery: Discovery) -> None:
        super().__init__()
        self.slots = discovery.slots
        self._before = _by_call(discovery.slots, is_output=False)
        self._after = _by_call(discovery.slots, is_output=True)

    def see(self, index: int, maps: Tensor) -> None:
        """Take what slot `index` holds: (N, H, W, C), which the network may overwrite later."""
        raise NotImplementedError

    def on_call(self, call: OpCall) -> Any:
        if call.index in self._before:
            self._look(self._before[call.index], call.kind, call.source)
        out = call.run()
        if call.index in self._after:
            self._look(self._after[call.index], call.kind, ops.output_of(out))
        return out

    def _look(self, indices: list[int], kind: str, tensor: Tensor | None) -> None:
        if tensor is None:
            return
        tensor = tensor.dequantize() if tensor.is_quantized else tensor
        # Whatever the network computes in, maps are compared in full precision.
        with torch.autocast(tensor.device.type, enabled=False):
            for index in indices:
                slot = self.slots[index]
                if kind == slot.kind and tuple(tensor.shape[1:]) == slot.shape:
                    self.see(index, tensor if slot.channels_last_axis else tensor.permute(0, 2, 3, 1))


class StageProbe(SlotWatcher):
    """Watches forward passes and collects the distance of `Reference.compare` for each slot and shifted row of an image.

    Use: each pass of an image inside `with probe.watching(rows, …):`, then `errors`.
    """

    def __init__(self, discovery: Discovery) -> None:
        super().__init__(discovery)
        self.errors: list[list[float]] = []
        self._references: dict[int, Reference] = {}
        self._rows: Sequence[Row] = ()
        self._holds_reference = self._keeps_reference = False

    @contextmanager
    def watching(self, rows: Iterable[Row], *, first_is_reference: bool, is_last: bool = False) -> Iterator[None]:
        """Measure the one forward pass that runs inside.

        Slots that it does not reach, because the network took another path than when it was discovered, get `NOT_MEASURED`.

        Args:
            rows: the shifted views, in order.
            first_is_reference: row 0 is the unshifted view of a new image, before these; what was measured before is forgotten.
            is_last: no other pass of this image follows, so the reference need not outlive this one.
        """
        if first_is_reference:
            self.errors = [[] for _ in self.slots]
            self._references = {}
        self._rows = tuple(rows)
        self._holds_reference, self._keeps_reference = first_is_reference, not is_last
        self.n_calls = 0
        expected = [len(errors) + len(self._rows) for errors in self.errors]
        with self:
            yield
        for errors, length in zip(self.errors, expected, strict=True):
            errors.extend([NOT_MEASURED] * (length - len(errors)))

    def see(self, index: int, maps: Tensor) -> None:
        """Compare the rows with the reference, which may be the first of them."""
        # Behind the rows asked for there may be others: a network with a fixed batch size has its batches filled up.
        first = int(self._holds_reference)
        reference = self._references.get(index)
        if first:
            # A reference is a copy: the network may overwrite its maps once this call is over.
            reference = Reference(maps[0])
            if self._keeps_reference:
                self._references[index] = reference
        self.errors[index] += [
            NOT_MEASURED if reference is None else _compare(reference, view, self.slots[index], row)
            for view, row in zip(maps[first : first + len(self._rows)], self._rows, strict=True)
        ]


def _compare(reference: Reference, view: Tensor, slot: Slot, row: Row) -> float:
    protocol, shift = row
    dy, dx = shift[0] / slot.stride[0], shift[1] / slot.stride[1]
    found = reference.compare(view, dy, dx, wraps=protocol == CIRCULAR)
    return NOT_MEASURED if found is None else found


def _by_call(slots: Sequence[Slot], *, is_output: bool) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for index, slot in enumerate(slots):
        if slot.is_output is is_output:
            found.setdefault(slot.call, []).append(index)
    return found
