"""One node of an ONNX graph as a module, and the table of operations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import onnx
import torch
from torch import Tensor, nn

from shiftaudit.models.onnx.file import Unreadable

Input = Tensor | None
"""An operand; None where it is optional and left out."""
Operation = Callable[..., Any]
"""(node, *inputs) → a tensor, or a tuple of one for each output."""

OPERATIONS: dict[str, Operation] = {}
"""By the name of the operation, of ONNX's own domain."""

STRIDED = ("Conv", "MaxPool", "AveragePool")
"""Operations whose stride a patch may change."""


def operation(*names: str) -> Callable[[Operation], Operation]:
    """Enter a function into the table under these names."""

    def enter(function: Operation) -> Operation:
        OPERATIONS.update(dict.fromkeys(names, function))
        return function

    return enter


class OnnxNode(nn.Module):
    """Computes what a node computes, from those of its inputs that are not held.

    Args:
        proto: the node.
        opset: of ONNX's own domain.
        held: the operands known beforehand, by position: parameters and buffers follow the module to its device, numbers of
            whole type (sizes, axes) stay where they can be read.

    Raises:
        Unreadable: its operation is not in the table.
    """

    is_operation = True
    """Stages and sites are named after the module itself."""

    def __init__(self, proto: onnx.NodeProto, opset: int, held: Mapping[int, Tensor]) -> None:
        super().__init__()
        if proto.domain not in ("", "ai.onnx") or proto.op_type not in OPERATIONS:
            kind = f"{proto.domain}.{proto.op_type}" if proto.domain else proto.op_type
            raise Unreadable(f"operation {kind} (node {proto.name or 'without a name'}) is not one that is read")
        self.proto = proto
        self.opset = opset
        self.read_attributes()
        self.stride: list[int] | None = None
        if proto.op_type in STRIDED:
            self.stride = [int(step) for step in self.attributes.get("strides", ())] or None
        self.seen_pads: list[int] | None = None
        """The padding of the last run where the node leaves it to the map's size (`auto_pad`)."""
        self.n_outputs = max(1, sum(bool(name) for name in proto.output))
        self.names: dict[int, str] = {}
        self.numbers: dict[int, Tensor] = {}
        for position, value in held.items():
            self._hold(position, value)

    def _hold(self, position: int, value: Tensor) -> None:
        name = {1: "weight", 2: "bias"}.get(position, f"input_{position}")
        if isinstance(value, nn.Parameter):
            self.register_parameter(name, value)
        elif value.is_floating_point():
            self.register_buffer(name, value)
        else:
            self.numbers[position] = value
            return
        self.names[position] = name

    def read_attributes(self) -> None:
        """Take the node's attributes as they stand in `proto`."""
        self.attributes = {
            attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in self.proto.attribute
        }

    def get(self, name: str, default: Any = None) -> Any:
        """An attribute of the node."""
        value = self.attributes.get(name, default)
        return value.decode() if isinstance(value, bytes) else value

    @property
    def live(self) -> list[int]:
        """Positions of the inputs that are computed while the graph runs, in order."""
        known = self.names.keys() | self.numbers.keys()
        return [at for at, name in enumerate(self.proto.input) if name and at not in known]

    def forward(self, *given: Tensor) -> Any:
        """The node's output, or a tuple of several."""
        inputs: list[Input] = [None] * len(self.proto.input)
        for position, value in zip(self.live, given, strict=True):
            inputs[position] = value
        for position, number in self.numbers.items():
            inputs[position] = number
        for position, name in self.names.items():
            inputs[position] = getattr(self, name)
        out = OPERATIONS[self.proto.op_type](self, *inputs)
        if self.n_outputs == 1:
            return out[0] if isinstance(out, tuple) else out
        return tuple(out)[: self.n_outputs]


def set_attributes(proto: onnx.NodeProto, values: dict[str, list[int]], without: Sequence[str] = ()) -> None:
    """Give a node these attributes, in place of those it has of the names, and take others from it."""
    kept = [attribute for attribute in proto.attribute if attribute.name not in (*values, *without)]
    del proto.attribute[:]
    proto.attribute.extend([*kept, *(onnx.helper.make_attribute(name, value) for name, value in values.items())])


def integers(value: Input) -> list[int]:
    """The whole numbers of a tensor of sizes or axes."""
    assert value is not None
    return [int(number) for number in value.flatten().tolist()]


_TYPES: dict[int, torch.dtype] = {
    onnx.TensorProto.FLOAT: torch.float32,
    onnx.TensorProto.FLOAT16: torch.float16,
    onnx.TensorProto.DOUBLE: torch.float64,
    onnx.TensorProto.BFLOAT16: torch.bfloat16,
    onnx.TensorProto.INT8: torch.int8,
    onnx.TensorProto.UINT8: torch.uint8,
    onnx.TensorProto.INT16: torch.int16,
    onnx.TensorProto.INT32: torch.int32,
    onnx.TensorProto.INT64: torch.int64,
    onnx.TensorProto.BOOL: torch.bool,
}


def torch_type(code: int) -> torch.dtype:
    """The torch type of an ONNX element type.

    Raises:
        Unreadable: torch has none.
    """
    if code not in _TYPES:
        raise Unreadable(f"tensors of type {onnx.TensorProto.DataType.Name(code)} are not read")
    return _TYPES[code]
