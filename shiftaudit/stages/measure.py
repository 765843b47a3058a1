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
from shiftaudit.stages import equivariance, ops
from shiftaudit.stages.calls import CallWatcher
from shiftaudit.stages.find import Discovery, Slot
from shiftaudit.stages.ops import OpCall

Row = tuple[str, Shift]
"""Protocol and shift of one row of a batch."""

NOT_MEASURED = (math.nan, math.nan)

_MAX_RESIDUES = 16
"""Fractional shifts of a reference that are kept: all there are up to a stride of 4, where maps are large. Memory stays bounded
however many shifts are watched."""


class StageProbe(CallWatcher):
    """Watches forward passes and collects (1 − cos, relative L2) for each slot and shifted row of an image.

    Use: each pass of an image inside `with probe.watching(rows, …):`, then `errors`.
    """

    def __init__(self, discovery: Discovery) -> None:
        super().__init__()
        self.errors: list[list[tuple[float, float]]] = []
        self._slots = discovery.slots
        self._before = _by_call(discovery.slots, is_output=False)
        self._after = _by_call(discovery.slots, is_output=True)
        self._references: dict[int, _Reference] = {}
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
            self.errors = [[] for _ in self._slots]
            self._references = {}
        self._rows = tuple(rows)
        self._holds_reference, self._keeps_reference = first_is_reference, not is_last
        self.n_calls = 0
        expected = [len(errors) + len(self._rows) for errors in self.errors]
        with self:
            yield
        for errors, length in zip(self.errors, expected, strict=True):
            errors.extend([NOT_MEASURED] * (length - len(errors)))

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
        # Whatever the network computes in, maps are compared in full precision.
        with torch.autocast(tensor.device.type, enabled=False):
            for index in indices:
                slot = self._slots[index]
                if kind == slot.kind and tuple(tensor.shape[1:]) == slot.shape:
                    self._measure(index, tensor if slot.channels_last_axis else tensor.permute(0, 2, 3, 1))

    def _measure(self, index: int, maps: Tensor) -> None:
        """Compare the rows of (N, H, W, C) maps with the reference, which may be the first of them."""
        # Behind the rows asked for there may be others: a network with a fixed batch size has its batches filled up.
        first = int(self._holds_reference)
        reference = self._references.get(index)
        if first:
            reference = _Reference(maps[0], self._slots[index], keep=self._keeps_reference)
            if self._keeps_reference:
                self._references[index] = reference
        self.errors[index] += [
            NOT_MEASURED if reference is None else reference.compare(view, protocol, shift)
            for view, (protocol, shift) in zip(maps[first : first + len(self._rows)], self._rows, strict=True)
        ]


class _Reference:
    """The features of the unshifted view in one slot, and its fractional shifts."""

    def __init__(self, features: Tensor, slot: Slot, *, keep: bool) -> None:
        # The network may overwrite its maps once this call is over; a copy stays.
        self._features = features.float().contiguous()
        if keep and self._features.data_ptr() == features.data_ptr():
            self._features = self._features.clone()
        self._stride = slot.stride
        self._moved: dict[tuple[float, float], tuple[Tensor, float]] = {}

    def compare(self, view: Tensor, protocol: str, shift: Shift) -> tuple[float, float]:
        dy, dx = shift[0] / self._stride[0], shift[1] / self._stride[1]
        view = view.float()
        if protocol == CIRCULAR:
            whole_y, whole_x = math.floor(dy), math.floor(dx)
            moved, norm = self._residue(dy - whole_y, dx - whole_x)
            distance = equivariance.norm(equivariance.rolled_difference(moved, view, whole_y, whole_x))
            return equivariance.combine_norms(norm, equivariance.norm(view), distance)
        pair = equivariance.overlap(self._features, view, dy, dx)
        return NOT_MEASURED if pair is None else equivariance.equivariance_error(*pair)

    def _residue(self, dy: float, dx: float) -> tuple[Tensor, float]:
        if (dy, dx) not in self._moved:
            if len(self._moved) >= _MAX_RESIDUES:
                self._moved.pop(next(iter(self._moved)))
            moved = equivariance.fourier_shift(self._features, dy, dx)
            # A shift along x comes out turned round, and its norm is the same either way.
            self._moved[dy, dx] = (moved, equivariance.norm(moved if moved.is_contiguous() else moved.transpose(0, 1)))
        return self._moved[dy, dx]


def _by_call(slots: Sequence[Slot], *, is_output: bool) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for index, slot in enumerate(slots):
        if slot.is_output is is_output:
            found.setdefault(slot.call, []).append(index)
    return found
