"""Whether a sliced tensor is a feature map, and the sliced axes its rows and columns.

`x[..., ::2]` alone does not say so. Rotary embeddings take every second channel of their tokens, (N, heads, tokens, channels),
and position encodings every second frequency of a table that depends on the size of the image alone; to blur either changes what
the network computes without making it smaller. A slice of rows and columns is one of a map; a slice along one axis is followed
back to the convolution, pool or image that has the axis as its rows or columns.
"""

from __future__ import annotations

from collections.abc import Iterable

from shiftaudit.surgery.graph import Call, Graph, Uses, Value, computed

_OF_MAPS = ("conv", "pool", "batch_norm", "upsample", "pixel_shuffle", "group_norm", "instance_norm")
"""Parts of the names of calls whose results are maps (N, C, H, W)."""
_KEEP_RANK = (
    "slice",
    "pad",
    "constant_pad_nd",
    "cat",
    "roll",
    "flip",
    "linear",
    "reflection_pad2d",
    "replication_pad2d",
)


def is_feature_map(base: Value, steps: Iterable[int], graph: Graph, uses: Uses) -> bool:
    """Whether `base`, of which slices skip along the dimensions `steps`, is a map made of the image."""
    skipped = sorted(set(steps))
    if not _is_of_image(base, graph, uses):
        return False
    return len(skipped) > 1 or _is_spatial(base, skipped[0], graph, uses)


def _is_of_image(base: Value, graph: Graph, uses: Uses) -> bool:
    """Whether a value depends on the network's input, beyond its size."""
    waiting, seen = [base], {base}
    while waiting:
        value = waiting.pop()
        maker = uses.makers.get(value)
        if maker is None:
            if graph.stored(value) is None and len(graph.shape(value) or ()) == 4:
                return True
            continue
        new = [read for read in maker.reads if read not in seen]
        seen.update(new)
        waiting += new
    return False


def _is_spatial(value: Value, axis: int, graph: Graph, uses: Uses) -> bool:
    """Whether one axis of a value is the rows or columns of the image or of a map that a layer of maps has made."""
    while (maker := uses.makers.get(value)) is not None:
        if any(part in maker.name for part in _OF_MAPS):
            return axis in (2, 3)
        step = _back(maker, axis, graph) if maker.name else None
        if step is None:
            return not maker.name  # what comes out of a branch may be a map
        value, axis = step
    return axis in (2, 3) and graph.stored(value) is None


def _back(call: Call, axis: int, graph: Graph) -> tuple[Value, int] | None:
    """What a call has read, and which of its axes became `axis`; None where that cannot be told."""
    source, after = call.source, graph.shape(call.outs[0])
    if call.name in ("permute", "transpose"):
        moved = reordered(call, len(after or ()))
        return None if moved is None or source is None else (source, moved[axis])
    alike = [value for value in call.reads if graph.shape(value) == after and graph.stored(value) is None]
    if call.name == "linear" and after is not None and axis == len(after) - 1:
        return None
    if alike and call.name not in ("view", "reshape", "_unsafe_view"):
        return alike[0], axis
    if call.name in _KEEP_RANK and call.reads:
        return call.reads[0], axis
    return None


def reordered(call: Call, rank: int) -> list[int] | None:
    """The dimensions of what a permutation or transposition reads, in the order of its result; None where they are computed."""
    if call.name == "permute":
        dims = call.numbers["dims"]
        return None if computed(dims) else [dim % rank for dim in dims]
    first, second = call.numbers.get("dim0"), call.numbers.get("dim1")
    if not isinstance(first, int) or not isinstance(second, int):
        return None
    order = list(range(rank))
    order[first], order[second] = order[second], order[first]
    return order
