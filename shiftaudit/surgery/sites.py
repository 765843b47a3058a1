"""Read the downsampling sites of a graph: their sizes, their tails, and what lies before them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from shiftaudit.stages.ops import CONV, SLICE
from shiftaudit.surgery.fold import why_kernel_stays
from shiftaudit.surgery.graph import Call, Graph, Size, Uses, Value
from shiftaudit.surgery.ops import ALREADY, Op, kind_of, read_op, slice_steps
from shiftaudit.surgery.plan import ADAPTIVE_POOLS, Site
from shiftaudit.surgery.slices import base_of, sliced_map
from shiftaudit.surgery.tails import Tail, find_tail

# A call of one of these has learned, or looked around: what comes behind it is no longer the network's input.
_LEARNED = ("conv", "linear", "matmul", "mm", "pool")
_TYPE_ONLY = "other"
"""The argument that gives a cast its type: `weight.to(x)` holds nothing of x."""
_CASTS = ("to", "type_as", "expand_as", "view_as")


@dataclass(frozen=True)
class Place:
    """Where a site is in its graph."""

    op: Op
    call: Call
    end: Value
    """Of the tail; the call's own result where there is none."""
    readers: tuple[Call, ...] = ()
    """Of a slice site: the slices that read the map that is to be filtered."""
    channels_last: bool = False


@dataclass(frozen=True)
class Sites:
    """All sites of a graph in program order."""

    sites: tuple[Site, ...]
    not_run: int
    """Downsampling operations in branches that the example did not take."""


def read_sites(graph: Graph) -> Sites:
    """Find the operations that make a feature map smaller."""
    return _Reader(graph).read()


@dataclass(frozen=True)
class _Behind:
    """What a value depends on: the nearest sites on each path, and whether anything learned lies there."""

    nearest: frozenset[str] = frozenset()
    learned: bool = False


class _Reader:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.uses = Uses(graph.calls)
        self.sites: list[Site] = []
        self.not_run = 0
        self.behind: dict[Value, _Behind] = {}
        self.sliced: dict[Value, str] = {}
        self.taken: dict[str, int] = {}

    def read(self) -> Sites:
        for call in self.graph.calls:
            known = [self.behind[value] for value in call.reads if value in self.behind]
            nearest = frozenset(name for item in known for name in item.nearest)
            behind = _Behind(nearest, any(item.learned for item in known))
            name = self._slice_site(call, behind) if kind_of(call) == SLICE else self._site(call, behind)
            if name is not None:
                behind = replace(behind, nearest=frozenset((name,)))
            if any(part in call.name for part in _LEARNED):
                behind = replace(behind, learned=True)
            for value in call.outs:
                self.behind[value] = behind
        return Sites(tuple(self.sites), self.not_run)

    def _site(self, call: Call, behind: _Behind) -> str | None:
        op = read_op(call, self.graph, self.uses)
        if op is None:
            return None
        before, after = self.graph.shape(op.entry.source), self.graph.shape(call.outs[0])
        if before is None or after is None:
            self.not_run += max(op.stride) > 1 and op.blocker is None
            return None
        if len(before) != 4 or len(after) != 4 or max(op.stride) <= 1:
            return None
        size_in, size_out = before[2:], after[2:]
        if op.kind != CONV and size_out == (1, 1) and _covers(op, (before[2], before[3])):
            return None
        is_conv = op.kind == CONV
        tail = find_tail(call.outs[0], self.graph, self.uses) if is_conv else Tail(call.outs[0])
        why_fixed = self.graph.why_fixed(call)
        site = Site(
            self._name(call, op.kind), op.kind, op.kernel, op.stride, (size_in[0], size_in[1]), (size_out[0], size_out[1]),
            before[1], after[1], op.padding, op.dilation, op.groups, tail.names, not behind.learned,
            tuple(sorted(behind.nearest)), self.graph.shares_stride(call), is_conv and why_fixed is not None,
            why_kernel_stays(call, op.entry, self.graph) if is_conv else None, self._blocker(call, op, why_fixed),
            Place(op, call, tail.end),
        )  # fmt: skip
        self.sites.append(site)
        return site.name

    def _blocker(self, call: Call, op: Op, why_fixed: str | None) -> str | None:
        if call.in_blur or (op.kind == CONV and self._is_fixed(call.tensors["weight"])):
            return ALREADY
        return op.blocker or (why_fixed if op.kind != CONV else None)

    def _is_fixed(self, weight: Value) -> bool:
        """Whether a convolution's weight comes from buffers and numbers alone: someone else's BlurPool.

        It may be cast and expanded on the way, for the type and the channels of the map.
        """
        stored = self.graph.stored(weight)
        if stored is not None:
            return not stored.learned
        maker = self.uses.makers.get(weight)
        if maker is None or not maker.name:
            return False
        # A pruned weight is `mask * weight`, where the other factor counts.
        of_type = maker.tensors.get(_TYPE_ONLY) if maker.name in _CASTS else None
        return all(self._is_fixed(value) for value in maker.reads if value != of_type)

    def _slice_site(self, call: Call, behind: _Behind) -> str | None:
        """All strided slices of one map are one site, found at the first of them."""
        base = base_of(call, self.graph, self.uses)
        if base in self.sliced:
            return self.sliced[base]
        shape, steps = self.graph.shape(base), slice_steps(call, self.graph)
        sliced = sliced_map(base, self.graph, self.uses) if steps and shape is not None and len(shape) == 4 else None
        if shape is None or sliced is None or not set(steps) & set(sliced.axes):
            return None
        (rows, columns), stride = sliced.axes, sliced.stride
        channels = shape[3 if rows == 1 else 1]
        size = (shape[rows], shape[columns])
        op = Op(SLICE, call)
        site = Site(
            self._name(call, SLICE), SLICE, (1, 1), stride, size, (-(-size[0] // stride[0]), -(-size[1] // stride[1])),
            channels, channels, on_input=not behind.learned, after=tuple(sorted(behind.nearest)),
            blocker=ALREADY if call.in_blur else sliced.blocker,
            place=Place(op, call, call.outs[0], sliced.readers, channels_last=rows == 1),
        )  # fmt: skip
        self.sites.append(site)
        self.sliced[base] = site.name
        return site.name

    def _name(self, call: Call, op: str) -> str:
        name = self.graph.name(call, op)
        self.taken[name] = self.taken.get(name, 0) + 1
        return name if self.taken[name] == 1 else f"{name}@{self.taken[name]}"


def _covers(op: Op, size: Size) -> bool:
    return op.kind in ADAPTIVE_POOLS or all(k >= s for k, s in zip(op.kernel, size, strict=True))
