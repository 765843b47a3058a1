"""Merge a filter into the convolution it stands in front of: one convolution with a wider kernel, which computes the same.

Both are linear, so the only question is the border. The filter pads the map and leaves it at its size; a convolution without
padding of its own then reads what is there, and a wider kernel on the map padded as the filter pads it does both at once. A
convolution that pads reads zeros beside the *filtered* map, which no kernel on the map itself does; nor does a filter behind a
convolution, which pads what that puts out. Those stay as they are, and so does what would cost more.
"""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.fx
import torch.nn.functional as F
from torch import Tensor, nn

from shiftaudit.records.patch import BLUR_AFTER_OP, BLUR_AFTER_TAIL, LEAVE
from shiftaudit.stages.ops import CONV
from shiftaudit.surgery.blurpool import blur_padding, padded_map
from shiftaudit.surgery.cost import macs_at, wide_kernel
from shiftaudit.surgery.graph import Call, Graph, Size
from shiftaudit.surgery.plan import Decision, Plan

torch.fx.wrap("padded_map")


class PadMap(nn.Module):
    """What is left of a filter that was folded: (N, C, H, W) padded by [left, right, top, bottom] as a BlurPool pads."""

    def __init__(self, padding: list[int], pad_mode: str) -> None:
        super().__init__()
        self.padding, self.pad_mode = padding, pad_mode

    def forward(self, x: Tensor) -> Tensor:
        """The padded map."""
        return padded_map(x, self.padding, self.pad_mode)


def merged(weight: Tensor, kernel: Tensor) -> Tensor:
    """The weight (O, I / groups, y + fy - 1, x + fx - 1) that filters with `kernel` (fy, fx) and then convolves with `weight`.

    >>> merged(torch.ones(1, 1, 1, 2), torch.tensor([[0.25, 0.5, 0.25]]))
    tensor([[[[0.2500, 0.7500, 0.7500, 0.2500]]]])
    """
    rows, columns = kernel.shape
    maps = weight.detach().double().flatten(0, 1).unsqueeze(1)
    taps = kernel.to(maps).flip(0, 1)[None, None]
    wide = F.conv2d(F.pad(maps, [columns - 1, columns - 1, rows - 1, rows - 1]), taps)
    return wide.reshape(*weight.shape[:2], *wide.shape[2:]).to(weight.dtype)


def own_padding(decision: Decision) -> Size | None:
    """The padding (y, x) of zeros that does what the filter's did, so that nothing is left of it; None where none does."""
    left, right, top, bottom = blur_padding(list(decision.filter_size))
    return (top, left) if decision.pad_used == "zeros" and (top, left) == (bottom, right) else None


def why_kernel_stays(call: Call, entry: Call, graph: Graph) -> str | None:
    """Why a convolution cannot be given a wider kernel, or None.

    Args:
        entry: the call that reads the map for it: its own, or the padding in front.
    """
    stored = graph.stored(call.tensors["weight"])
    if stored is None or not stored.learned:
        return "its weight is computed"
    if stored.name is None:
        return "its weight is a constant of a frozen file"
    if entry is not call or isinstance(call.numbers["padding"], str):
        return "it pads the map in a way of its own"
    readers = [one for one in graph.calls if one is not call and stored in map(graph.stored, one.reads)]
    return "its weight is read elsewhere too" if readers else graph.why_kernel_fixed(call)


def fold_plan(plan: Plan) -> Plan:
    """The plan with every filter that can be, and is worth it, folded; the others say why not."""
    return replace(plan, decisions=tuple(_folded(decision) for decision in plan.decisions))


def _folded(decision: Decision) -> Decision:
    if decision.action == LEAVE or max(decision.filter_size) == 1:
        return decision
    reason = _why_not(decision)
    if reason is not None:
        return replace(decision, not_folded=reason)
    size = wide_kernel(decision)
    reason = f"{decision.reason}, both in one {size[0]}×{size[1]} kernel"
    return replace(decision, folded=True, reason=reason, keeps_stride=True)


def _why_not(decision: Decision) -> str | None:
    site = decision.site
    if site.op != CONV:
        return "it filters for no convolution"
    if decision.action == BLUR_AFTER_TAIL:
        return f"{site.tail[-1]} stands between convolution and filter: --placement pre-conv filters in front"
    if decision.action == BLUR_AFTER_OP:
        return (
            "it pads what the convolution puts out, which differs at the borders: --placement pre-conv filters in front"
        )
    if site.opaque or site.kernel_stays is not None:
        return site.kernel_stays or "the convolution has code of its own"
    if site.padding != (0, 0):
        return "the convolution pads the filtered map, and a wider kernel the unfiltered: the borders would differ"
    if site.dilation != (1, 1):
        return "its kernel is dilated"
    apart, together = macs_at(decision), macs_at(replace(decision, folded=True))
    if together > apart:
        return f"one kernel costs {together:,} multiply-adds, filter and convolution {apart:,}"
    return None
