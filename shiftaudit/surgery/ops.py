"""Read one ATen call as an operation that can make a feature map smaller, in one form for every graph."""

from __future__ import annotations

from dataclasses import dataclass, replace

from shiftaudit.records.words import OpName
from shiftaudit.stages.names import static_kind
from shiftaudit.stages.ops import CONV, INTERPOLATE, SLICE, pair
from shiftaudit.surgery.graph import Call, Graph, Shape, Size, Uses, computed
from shiftaudit.surgery.plan import ADAPTIVE_POOLS

COMPUTED = "its parameters are computed while the network runs"
INDICES = "its indices are returned, and blurred values have none"
RANDOM_WINDOWS = "its windows are drawn at random"
ALREADY = "its weights are fixed: it is a filter already"
_PADDED_INSIDE = ("reflect", "replicate", "circular")


@dataclass(frozen=True)
class Op:
    """A call that may be a downsampling site. Pairs are (y, x)."""

    kind: OpName
    entry: Call
    """The call that reads the map: of a convolution the padding in front, where the mode makes that a call of its own."""
    kernel: Size = (1, 1)
    stride: Size = (1, 1)
    padding: Size = (0, 0)
    dilation: Size = (1, 1)
    groups: int = 1
    ceil_mode: bool = False
    count_include_pad: bool = True
    divisor_override: int | None = None
    blocker: str | None = None


def kind_of(call: Call) -> OpName | None:
    """The kind of downsampling operation a call may be: `conv`, `max_pool`, `slice`, …; None for all others."""
    if call.name == "fractional_max_pool2d":
        return "adaptive_max_pool"
    if not call.name or call.numbers.get("transposed") is True:
        return None
    return static_kind(f"aten::{call.name}")


def read_op(call: Call, graph: Graph, uses: Uses) -> Op | None:
    """The convolution, pool or interpolation that a call is, None for all others, slices among them.

    Where the example ran, a stride that depends on the map (adaptive pools, interpolation, a computed one) is told by sizes.
    """
    kind = kind_of(call)
    if kind is None or kind == SLICE:
        return None
    if kind == CONV:
        op = _read_conv(call, graph, uses)
    elif kind in ADAPTIVE_POOLS or kind == INTERPOLATE:
        op = Op(kind, call, blocker=RANDOM_WINDOWS if call.name == "fractional_max_pool2d" else None)
    else:
        op = _read_pool(call, kind)
    if op.blocker is None and call.indices_used:
        op = replace(op, blocker=INDICES)
    before, after = graph.shape(op.entry.source), graph.shape(call.outs[0])
    if before is None or after is None or len(before) != 4 or len(after) != 4:
        return op
    return _sized(op, before, after)


def slice_steps(call: Call, graph: Graph) -> dict[int, int]:
    """Steps above one by dimension, counted from the front, of a call that takes every n-th row, column or channel."""
    if kind_of(call) != SLICE:
        return {}
    factor = call.numbers.get("downscale_factor")
    if factor is not None:
        return {} if computed(factor) else {2: factor, 3: factor}
    rank = len(graph.shape(call.source) or ())
    dim, step = call.numbers.get("dim"), call.numbers.get("step")
    return {dim % rank: step} if rank and isinstance(dim, int) and isinstance(step, int) and step > 1 else {}


def _read_conv(call: Call, graph: Graph, uses: Uses) -> Op:
    weight = graph.shape(call.tensors["weight"])
    kernel = (weight[-2], weight[-1]) if weight is not None and len(weight) == 4 else (1, 1)
    stride, padding, dilation = (call.numbers[key] for key in ("stride", "padding", "dilation"))
    if any(map(computed, (stride, padding, dilation))):
        return Op(CONV, call, kernel, blocker=COMPUTED)
    size = (0, 0) if isinstance(padding, str) else pair(padding)
    entry = call
    inside = _inner_padding(call, uses) if size == (0, 0) and not call.in_blur else None
    if inside is not None:
        entry, size = inside
    return Op(CONV, entry, kernel, pair(stride), size, pair(dilation), _groups(call, graph))


def _groups(conv: Call, graph: Graph) -> int:
    """By the sizes, since the number may be read from the map: `groups=x.shape[1]`."""
    source, weight = graph.shape(conv.source), graph.shape(conv.tensors["weight"])
    return 1 if not source or not weight else source[1] // weight[1]


def _inner_padding(conv: Call, uses: Uses) -> tuple[Call, Size] | None:
    """The pad in front of a convolution that wraps around or mirrors: `padding_mode` makes it, so it belongs to the layer."""
    assert conv.source is not None
    pad = uses.makers.get(conv.source)
    if pad is None or pad.name != "pad" or pad.numbers["mode"] not in _PADDED_INSIDE or pad.block != conv.block:
        return None
    sides = pad.numbers["pad"]
    if computed(sides) or len(sides) != 4 or len(uses.readers(conv.source)) > 1:
        return None
    left, right, top, bottom = sides
    return (pad, (top, left)) if left == right and top == bottom else None


def _read_pool(call: Call, kind: OpName) -> Op:
    numbers = call.numbers
    if any(map(computed, numbers.values())):
        return Op(kind, call, blocker=COMPUTED)
    return Op(
        kind,
        call,
        pair(numbers["kernel_size"]),
        pair(numbers["stride"] or numbers["kernel_size"]),
        pair(numbers["padding"]),
        pair(numbers.get("dilation", 1)),
        ceil_mode=numbers["ceil_mode"],
        count_include_pad=numbers.get("count_include_pad", True),
        divisor_override=numbers.get("divisor_override"),
    )


def _sized(op: Op, before: Shape, after: Shape) -> Op:
    pairs = list(zip(before[2:], after[2:], strict=True))
    if op.blocker == COMPUTED:
        near = [max(1, round(big / small)) for big, small in pairs]
        return replace(op, stride=pair(near))
    if op.kind not in (*ADAPTIVE_POOLS, INTERPOLATE):
        return op
    # A reduction by less than two has no whole stride, but it does reduce.
    ratio = pair([max(2, big // small) if big > small else 1 for big, small in pairs])
    return replace(op, kernel=ratio, stride=ratio)
