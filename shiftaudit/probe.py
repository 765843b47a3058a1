"""Measure the equivariance error of every stage inside the forward pass, keeping no features but one reference view an image.

The naive way stores the features of all views and compares them afterwards: gigabytes for a ResNet. Here each watched tensor is
compared the moment it exists. The first row of an image's first pass is the unshifted view, kept as the reference; every later
row is compared with the reference moved by that row's shift. Fractional shifts of the reference are cached by residue
(shift mod stride): a stage of stride 2 has only four of them, the rest is a roll.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from shiftaudit import metrics, ops
from shiftaudit.discovery import Discovery, Slot
from shiftaudit.records.report import Shift
from shiftaudit.shifts import CIRCULAR

Row = tuple[str, Shift]
"""Protocol and shift of one row of a batch."""

NOT_MEASURED = (math.nan, math.nan)


class StageProbe(TorchDispatchMode):
    """Watches forward passes and collects (1 − cos, relative L2) for each slot and shifted row.

    Use: `begin_image()`, then for each pass of that image `rows(...)` and the forward pass inside `with probe:`, then `errors`.
    """

    def __init__(self, discovery: Discovery) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.errors: list[list[tuple[float, float]]] = []
        self._discovery = discovery
        self._before = _by_call(discovery.slots, is_output=False)
        self._after = _by_call(discovery.slots, is_output=True)
        self._references: list[_Reference | None] = []
        self._rows: Sequence[Row] = ()
        self._holds_reference = False
        self._call = 0
        self._filled: list[bool] = []

    def begin_image(self) -> None:
        """Forget the previous image."""
        n_slots = len(self._discovery.slots)
        self.errors = [[] for _ in range(n_slots)]
        self._references = [None] * n_slots

    def rows(self, rows: Iterable[Row], *, first_is_reference: bool) -> None:
        """Say what the rows of the next pass are; with `first_is_reference` row 0 is the unshifted view, before these."""
        self._rows = tuple(rows)
        self._holds_reference = first_is_reference
        self._call = 0
        self._filled = [False] * len(self.errors)

    def end_pass(self) -> None:
        """Mark the rows of slots that this pass did not reach: the network took another path than when it was discovered."""
        for slot, filled in enumerate(self._filled):
            if not filled:
                self.errors[slot].extend([NOT_MEASURED] * len(self._rows))

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kind = _KIND_OF.get(func, "")
        if kind == "":
            kind = _KIND_OF.setdefault(func, ops.KINDS.get(func._schema.name))
        if kind is None:
            return func(*args, **(kwargs or {}))
        call = self._call
        self._call += 1
        if call in self._before:
            self._measure(self._before[call], kind, ops.input_of(kind, args, kwargs or {}))
        out = func(*args, **(kwargs or {}))
        if call in self._after:
            self._measure(self._after[call], kind, ops.output_of(out))
        return out

    def _measure(self, indices: list[int], kind: str, tensor: Tensor | None) -> None:
        for index in indices:
            slot = self._discovery.slots[index]
            if tensor is None or kind != slot.kind or tuple(tensor.shape[1:]) != slot.shape or self._filled[index]:
                continue
            self._filled[index] = True
            maps = tensor if slot.channels_last_axis else tensor.permute(0, 2, 3, 1)
            start = 0
            if self._holds_reference:
                self._references[index] = _Reference(maps[0], slot)
                start = 1
            reference = self._references[index]
            for offset, (protocol, shift) in enumerate(self._rows):
                row = maps[start + offset]
                self.errors[index].append(
                    NOT_MEASURED if reference is None else reference.compare(row, protocol, shift)
                )


class _Reference:
    """The features of the unshifted view in one slot, and its fractional shifts."""

    def __init__(self, features: Tensor, slot: Slot) -> None:
        self._features = features.float().contiguous().clone()
        self._stride = slot.stride
        self._rows: dict[float, Tensor] = {}
        self._moved: dict[tuple[float, float], tuple[Tensor, float]] = {}

    def compare(self, view: Tensor, protocol: str, shift: Shift) -> tuple[float, float]:
        dy, dx = shift[0] / self._stride[0], shift[1] / self._stride[1]
        view = view.float()
        if protocol == CIRCULAR:
            whole = (math.floor(dy), math.floor(dx))
            moved, norm = self._residue(dy - whole[0], dx - whole[1])
            difference = moved.roll(whole, (0, 1)).sub_(view)
            distance = float(torch.linalg.vector_norm(difference))
            return metrics.combine_norms(norm, float(torch.linalg.vector_norm(view)), distance)
        pair = metrics.overlap(self._features, view, dy, dx)
        return NOT_MEASURED if pair is None else metrics.equivariance_error(*pair)

    def _residue(self, dy: float, dx: float) -> tuple[Tensor, float]:
        if (dy, dx) not in self._moved:
            if dy not in self._rows:
                self._rows[dy] = metrics.shift_rows(self._features, dy)
            moved = metrics.shift_columns(self._rows[dy], dx)
            self._moved[dy, dx] = (moved, float(torch.linalg.vector_norm(moved)))
        return self._moved[dy, dx]


_KIND_OF: dict[Any, str | None] = {}


def _by_call(slots: Sequence[Slot], *, is_output: bool) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for index, slot in enumerate(slots):
        if slot.is_output is is_output:
            found.setdefault(slot.call, []).append(index)
    return found
