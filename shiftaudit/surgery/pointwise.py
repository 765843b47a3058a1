"""Which ATen calls work on each pixel alone, in eval mode: the one table, and how such a call carries a map's layout on.

A map may be permuted on the way (`LayerNorm2d` moves its channels last and back), so a layout, the axes of the rows and of the
columns, goes along with every value. A call is pointwise where it mixes nothing along these two axes.
"""

from __future__ import annotations

from collections.abc import Mapping

from shiftaudit.surgery.graph import SIZE, Call, Graph, Shape, Value, computed
from shiftaudit.surgery.maps import reordered

Layout = tuple[int, int]
"""The axes of rows and columns."""
USUAL: Layout = (2, 3)

ACTIVATIONS = frozenset({
    "relu", "relu6", "leaky_relu", "prelu", "elu", "selu", "celu", "gelu", "silu", "mish", "sigmoid", "tanh", "hardtanh",
    "hardsigmoid", "hardswish", "softplus", "clamp", "clamp_min", "rrelu", "log_sigmoid", "threshold",
})  # fmt: skip
NORMS = frozenset({"batch_norm", "layer_norm", "dropout", "feature_dropout"})
"""Calls that belong to a norm. So does a reduction over the channels."""
_REDUCTIONS = frozenset({"mean", "var", "std", "sum", "amax", "linalg_vector_norm"})
_ELEMENTWISE = frozenset({
    "add", "sub", "rsub", "mul", "div", "pow", "square", "sqrt", "rsqrt", "reciprocal", "neg", "abs", "contiguous", "clone",
    "to", "detach",
})  # fmt: skip
_BY_CHANNEL = frozenset({"batch_norm", "prelu"})
"""Their other tensors belong to the channels, which are dimension 1."""


def label(call: Call) -> str:
    """The call's name in a sentence: a hardtanh from 0 to 6 is ReLU6, which is stored as that; a mean over channels is a norm."""
    clipped = call.name == "hardtanh" and (call.numbers["min_val"], call.numbers["max_val"]) == (0, 6)
    return "relu6" if clipped else "norm" if call.name in _REDUCTIONS else call.name


def is_norm(call: Call) -> bool:
    """Whether the call makes what it belongs to a norm."""
    return call.name in NORMS or call.name in _REDUCTIONS


def reads_only_size(call: Call, layout: Layout) -> bool:
    """Whether all that is read of a map is its rank, or sizes that do not change with the rows and columns."""
    return call.name == SIZE and call.numbers["dims"] is not None and not set(call.numbers["dims"]) & set(layout)


def carried(call: Call, layouts: Mapping[Value, Layout], graph: Graph) -> Layout | None:
    """The layout of a pointwise call's result; None where the call is not pointwise.

    Args:
        layouts: of the values that depend on the map, by value. All other values must be the same at every pixel.
    """
    own = {layouts[value] for value in call.reads if value in layouts}
    if len(own) != 1 or call.source is None or len(call.outs) != 1:
        return None
    (layout,) = own
    if call.name in ("permute", "transpose"):
        order = reordered(call, 4)
        return None if order is None else (order.index(layout[0]), order.index(layout[1]))
    if call.name in _BY_CHANNEL:
        return layout if layout == USUAL and not _uses_batch_statistics(call) else None
    if call.name == "layer_norm":
        normalised = call.numbers["normalized_shape"]
        return None if computed(normalised, whole=True) or max(layout) >= 4 - len(normalised) else layout
    if call.name in _REDUCTIONS:
        return layout if _over_channels(call, layout) else None
    if call.name not in ACTIVATIONS | NORMS | _ELEMENTWISE:
        return None
    others = [graph.shape(value) for value in call.tensors.values() if value not in layouts]
    return layout if all(_same_at_every_pixel(shape, layout) for shape in others) else None


def _uses_batch_statistics(call: Call) -> bool:
    return call.name == "batch_norm" and (call.numbers["training"] is True or "running_mean" not in call.tensors)


def _over_channels(call: Call, layout: Layout) -> bool:
    dims = call.numbers.get("dim")
    dims = [dims] if isinstance(dims, int) else dims
    if not dims or computed(dims) or call.numbers.get("keepdim") is not True:
        return False
    return not {dim % 4 for dim in dims} & set(layout)


def _same_at_every_pixel(shape: Shape | None, layout: Layout) -> bool:
    """Whether a tensor of this shape is broadcast along rows and columns."""
    if shape is None:
        return False
    full = (1,) * (4 - len(shape)) + shape
    return len(full) == 4 and full[layout[0]] == full[layout[1]] == 1
