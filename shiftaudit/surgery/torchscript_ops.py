"""Read one node of a TorchScript graph: ATen calls that can make a feature map smaller, in one form."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from shiftaudit.records.words import OpName
from shiftaudit.stages.names import static_kind
from shiftaudit.surgery.plan import ADAPTIVE_POOLS, COMPUTED, CONV, INDICES, INTERPOLATE, SLICE, Size

# Where stride, padding, dilation and groups are among a convolution's arguments.
_CONV_ARGUMENTS = {
    "aten::conv2d": (3, 4, 5, 6),
    "aten::_convolution_mode": (3, 4, 5, 6),
    "aten::_convolution": (3, 4, 5, 8),
    "aten::convolution": (3, 4, 5, 8),
}
TRANSPOSED = 6

_ACTIVATIONS = {
    "relu", "relu6", "leaky_relu", "prelu", "elu", "selu", "celu", "gelu", "silu", "mish", "sigmoid", "tanh", "hardtanh",
    "hardsigmoid", "hardswish", "softplus", "softsign", "clamp", "clamp_min", "rrelu", "log_sigmoid", "threshold",
}  # fmt: skip
_POINTWISE = {"batch_norm", "dropout", "feature_dropout"}


@dataclass(frozen=True)
class Op:
    """A node that may be a downsampling site. Pairs are (y, x)."""

    kind: OpName
    kernel: Size = (1, 1)
    stride: Size = (1, 1)
    padding: Size = (0, 0)
    dilation: Size = (1, 1)
    groups: int = 1
    ceil_mode: bool = False
    count_include_pad: bool = True
    divisor_override: int | None = None
    blocker: str | None = None
    steps: dict[int, int] = field(default_factory=dict)
    """Of a slice: step by dimension, counted from the front."""


def walk(block: Any) -> Iterator[Any]:
    """Every node of a graph or block in program order, blocks inside it included."""
    for node in block.nodes():
        yield node
        for inner in node.blocks():
            yield from walk(inner)


def key(value: Any) -> int:
    """Identity of a value of one graph."""
    return int(value.unique())


def operation(node: Any) -> str:
    """`relu` for `aten::relu` and `aten::relu_`; "" for nodes that are no ATen calls."""
    kind = str(node.kind())
    return kind.removeprefix("aten::").removesuffix("_") if kind.startswith("aten::") else ""


def pointwise(node: Any) -> str | None:
    """`norm` or `activation` where the node works on each pixel alone (in eval mode), None otherwise."""
    name = operation(node)
    if name in _ACTIVATIONS:
        return "activation"
    return "norm" if name in _POINTWISE else None


def only_checks(node: Any, value: Any) -> bool:
    """Whether `node` reads `value` only to see its rank, or its size inside an `if` that can do nothing but raise.

    Scripted batch-norm looks at both.
    """
    if node.kind() == "aten::dim":
        return True
    if node.kind() != "aten::size":
        return False
    block, home = node.owningBlock(), value.node().owningBlock()
    outermost = None
    while block != home:
        outermost = block.owningNode()
        if outermost is None or outermost.kind() == "prim::Param":
            return False
        block = outermost.owningBlock()
    return (
        outermost is not None and not outermost.outputsSize() and all(_is_pure(inner) for inner in walk_into(outermost))
    )


def walk_into(node: Any) -> Iterator[Any]:
    """Every node inside the blocks of `node`."""
    for block in node.blocks():
        yield from walk(block)


def _is_pure(node: Any) -> bool:
    kind = str(node.kind())
    effects = ("prim::SetAttr", "prim::CallMethod", "prim::CallFunction", "prim::Print")
    return (not kind.endswith("_") or kind.endswith("__")) and kind not in effects


def constant(value: Any) -> Any:
    """The value where it is a constant or a list of constants, else None; a constant None reads as None too."""
    node = value.node()
    if node.kind() == "prim::ListConstruct":
        items = [constant(item) for item in node.inputs()]
        return None if any(item is None for item in items) else items
    return value.toIValue() if node.kind() == "prim::Constant" else None


def read(node: Any, weight_shape: tuple[int, ...] | None, rank: int) -> Op | None:
    """The node as an `Op`, None when it is no operation that could make a map smaller.

    Args:
        weight_shape: of a convolution's weight, as far as the run showed it.
        rank: of the tensor it reads.
    """
    kind = static_kind(node.kind())
    if kind is None:
        return None
    inputs = list(node.inputs())
    if kind == CONV:
        return _read_conv(node, inputs, weight_shape)
    if kind == SLICE:
        return _read_slice(node, inputs, rank)
    if kind in ADAPTIVE_POOLS:
        return Op(kind, blocker=INDICES if _indices_used(node) else None)
    if kind == INTERPOLATE:
        return Op(kind)
    return _read_pool(node, kind, inputs)


def _read_conv(node: Any, inputs: list[Any], weight_shape: tuple[int, ...] | None) -> Op | None:
    if node.kind() not in _CONV_ARGUMENTS or weight_shape is None:
        return Op(CONV, stride=(2, 2), blocker="the weights are packed for a backend") if weight_shape is None else None
    at_stride, at_padding, at_dilation, at_groups = _CONV_ARGUMENTS[node.kind()]
    if at_groups == 8 and constant(inputs[TRANSPOSED]):
        return None
    stride, padding, dilation, groups = (constant(inputs[at]) for at in (at_stride, at_padding, at_dilation, at_groups))
    kernel = (weight_shape[-2], weight_shape[-1])
    if stride is None or padding is None or dilation is None or groups is None:
        return Op(CONV, kernel, blocker=COMPUTED)
    size = (0, 0) if isinstance(padding, str) else _pair(padding)
    return Op(CONV, kernel, _pair(stride), size, _pair(dilation), groups)


def _read_pool(node: Any, kind: OpName, inputs: list[Any]) -> Op:
    values = [constant(value) for value in inputs[1:6]]
    if any(value is None for value in values[:5]):
        return Op(kind, blocker=COMPUTED)
    kernel, stride, padding = _pair(values[0]), _pair(values[1] or values[0]), _pair(values[2])
    if kind == "avg_pool":
        divisor = constant(inputs[6])
        computed = divisor is None and not inputs[6].node().mustBeNone()
        return Op(
            kind, kernel, stride, padding, ceil_mode=values[3], count_include_pad=values[4], divisor_override=divisor,
            blocker=COMPUTED if computed else None,
        )  # fmt: skip
    return Op(
        kind, kernel, stride, padding, _pair(values[3]), ceil_mode=values[4],
        blocker=INDICES if _indices_used(node) else None,
    )  # fmt: skip


def _read_slice(node: Any, inputs: list[Any], rank: int) -> Op | None:
    if node.kind() == "aten::pixel_unshuffle":
        factor = constant(inputs[1])
        return None if factor is None else Op(SLICE, stride=(factor, factor), steps={2: factor, 3: factor})
    if inputs[0].type().kind() != "TensorType":
        return None
    dim, step = constant(inputs[1]), constant(inputs[4])
    strided = rank > 0 and dim is not None and step is not None and step > 1
    return Op(SLICE, steps={dim % rank: step} if strided else {})


def _indices_used(node: Any) -> bool:
    """Whether anything reads a pool's second output; library code packs both into a tuple and takes the first."""
    if node.outputsSize() < 2:
        return False
    for use in node.outputsAt(1).uses():
        if use.user.kind() != "prim::TupleConstruct":
            return True
        for reader in use.user.output().uses():
            if reader.user.kind() != "prim::TupleIndex" or constant(reader.user.inputsAt(1)) != 0:
                return True
    return False


def _pair(values: list[int]) -> Size:
    return int(values[0]), int(values[-1])
