"""Find the downsampling stages of any running model, by watching one forward pass.

One watcher serves models of every kind, and networks that cannot be traced as well (see `shiftaudit.stages.watch`). What is added
here are the names: of the running module where Python hooks work, of the graph's operations otherwise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from shiftaudit.records.report import SkippedStage
from shiftaudit.stages import ops
from shiftaudit.stages.align import align
from shiftaudit.stages.calls import Call, names_of
from shiftaudit.stages.names import (
    NamedOp,
    exported_ops,
    holds_weight,
    is_exported,
    is_layer,
    label,
    owner_of,
    scripted_ops,
)
from shiftaudit.stages.slots import FoundStage, Slot
from shiftaudit.stages.watch import StageWatcher

__all__ = ["Discovery", "FoundStage", "Slot", "discover"]

_MERGED = "merged"
_REARRANGED = (
    "reads a map made {:.4g}×{:.4g} smaller (stride {:.4g}×{:.4g}) by reshaping, indexing or a reduction over windows, which "
    "is not measured"
)
_WINDOW = "makes the map {:.4g}×{:.4g} smaller (stride {:.4g}×{:.4g}) with a 1-D or 3-D window, which is not covered"


@dataclass(frozen=True)
class Discovery:
    """All stages of a network at one input size."""

    stages: tuple[FoundStage, ...]
    skipped: tuple[SkippedStage, ...]
    slots: tuple[Slot, ...]
    largest_bytes: int = 0
    """Of the largest tensor that one row of a batch makes on its way."""
    unmeasured: tuple[tuple[float, float], ...] = ()
    """Cumulative strides behind the operations in `skipped` that make a map smaller and leave it a map."""

    @property
    def total_stride(self) -> tuple[float, float]:
        """The largest cumulative stride per axis, (1, 1) for a network in which nothing makes a map smaller."""
        strides = [*(self.slots[stage.output_slot].stride for stage in self.stages), *self.unmeasured]
        return (max((s[0] for s in strides), default=1.0), max((s[1] for s in strides), default=1.0))

    def placed_as(self, other: Discovery) -> Discovery:
        """The same stages under the same names, with their slots and calls where they are in another form of the network."""
        stages = tuple(
            replace(own, samplers=form.samplers) for own, form in zip(self.stages, other.stages, strict=True)
        )
        return replace(self, stages=stages, slots=other.slots)

    def measures_the_same_as(self, other: Discovery) -> bool:
        """Whether both have the same stages and tensors in the same order, whatever they are named and where they are called."""

        def essence(found: Discovery) -> tuple[list[FoundStage], list[Slot]]:
            return [replace(stage, name="") for stage in found.stages], [replace(slot, call=0) for slot in found.slots]

        return essence(self) == essence(other)


def unseen(reason: str) -> Discovery:
    """What is known of a network whose feature maps cannot be seen."""
    return Discovery((), (SkippedStage("its stages", None, reason),), ())


def discover(run: Callable[[Tensor], Any], module: nn.Module, example: Tensor) -> Discovery:
    """Watch one forward pass of `run(example)` and return the downsampling stages in the order they run.

    Args:
        run: the forward pass; it must call `module`.
        module: where names come from: eager, scripted, traced or exported.
        example: (N, C, H, W) input.

    A stage is an operation with a stride above 1 along an axis that makes a 4-D map smaller: convolution, pooling, strided
    slicing, interpolation, patch embedding. Reduction to 1×1 is the head, not a stage.
    """
    watcher = StageWatcher(names_of(module))
    with torch.inference_mode(), watcher.following(example, module) as marked:
        run(marked)
    listed = {call.index for call, _ in watcher.found} | {call.index for call, *_ in watcher.skipped}
    names = _names(watcher.calls, module, listed)
    found = sorted(watcher.found, key=lambda seen: seen[0].index)
    stages = tuple(replace(stage, name=names[call.index]) for call, stage in found)
    skipped = [SkippedStage(names[call.index], op, reason) for call, op, reason in watcher.skipped]
    unmeasured = list(watcher.strides_skipped)
    for step in watcher.unseen:
        name = label(step.module, _MERGED, step.is_window) if step.module else f"{_MERGED}_{step.stride[0]:.4g}"
        reason = (_WINDOW if step.is_window else _REARRANGED).format(*step.layer_stride, *step.stride)
        skipped.append(SkippedStage(name, ops.CONV if step.is_window else ops.SLICE, reason))
        unmeasured.append(step.stride)
    return Discovery(stages, tuple(skipped), tuple(watcher.slots), watcher.largest_bytes, tuple(unmeasured))


def _names(calls: list[Call], module: nn.Module, listed: set[int]) -> dict[int, str]:
    """A unique qualified name for every call of `listed`, by its index; others of one name do not count, as in a patch."""
    named = [call for call in calls if call.is_listed]
    static: list[NamedOp] = []
    if isinstance(module, torch.jit.ScriptModule):
        static = scripted_ops(module)
    elif is_exported(module):
        static = exported_ops(module)
    runtime = [(call.kind, call.weight) for call in named]
    bases = align(static, runtime) if static else [_name_of(call, module) for call in named]
    seen: dict[str, int] = {}
    names = {}
    for call, base in zip(named, bases, strict=True):
        if call.index not in listed:
            continue
        seen[base] = seen.get(base, 0) + 1
        names[call.index] = base if seen[base] == 1 else f"{base}@{seen[base]}"
    return names


def _name_of(call: Call, module: nn.Module) -> str:
    """The name of a call of an eager module."""
    owner = owner_of(call.weight)
    if owner:
        return owner
    path = call.modules[-1] if call.modules else ""
    layer = module.get_submodule(path)
    # A module that computes its weight first is still the convolution.
    is_conv = call.kind == ops.CONV and holds_weight(module, path)
    return label(path, call.kind, is_conv or (is_layer(layer) and not any(layer.children())))
