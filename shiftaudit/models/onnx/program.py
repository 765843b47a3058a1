"""An ONNX graph as a torch program: one module for each node, called in the order of the file.

The program is what feature maps are read from and what a patch is planned and made on; each of its modules still holds the node
it stands for, so that a changed program can be written back. Nothing in a file decides what runs: operations come from a table,
names become attributes only after all but letters, digits and a few signs were taken out.
"""

from __future__ import annotations

import keyword
import operator
import re
from collections.abc import Mapping
from dataclasses import dataclass

import onnx
import torch
from torch import Tensor, fx, nn

from shiftaudit.models.onnx import HEADER, arithmetic, arrays, layers  # noqa: F401 - three fill the table of operations
from shiftaudit.models.onnx.arrays import tensor_of
from shiftaudit.models.onnx.file import Unreadable
from shiftaudit.models.onnx.node import OnnxNode
from shiftaudit.stages.ops import is_low_pass

_UNSAFE = re.compile(r"[^A-Za-z0-9_./:-]")
_QUANTISED = ("QuantizeLinear", "DequantizeLinear")


@dataclass(frozen=True)
class Header:
    """What a file says beside the nodes that became modules."""

    model: onnx.ModelProto
    """With its nodes, and without the weights that modules hold."""
    opset: int
    known: frozenset[str]
    """Outputs of the nodes that were computed beforehand, since all they read is stored."""


def is_quantised(module: nn.Module) -> bool:
    """Whether a program computes with whole numbers in the place of real ones."""
    return any(isinstance(node, OnnxNode) and node.proto.op_type in _QUANTISED for node in module.modules())


def opset_of(model: onnx.ModelProto) -> int:
    """The version of ONNX's own operations; 1 where the file does not say."""
    return max((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), default=1)


def read_program(model: onnx.ModelProto, input_name: str) -> fx.GraphModule:
    """The graph of `model`, which must hold its weights, as a module: (N, C, H, W) → its output, or a dict of several.

    Raises:
        Unreadable: an operation or a type of the graph is not one that is read.
    """
    return _Reader(model, input_name).read()


class _Reader:
    def __init__(self, model: onnx.ModelProto, input_name: str) -> None:
        self.model = model
        self.opset = opset_of(model)
        self.input_name = input_name
        self.root = fx.GraphModule(nn.Module(), fx.Graph())
        self.graph = fx.Graph()
        self.live: dict[str, fx.Node] = {}
        self.known: dict[str, Tensor] = {}
        self.computed: set[str] = set()
        self.weights: dict[str, nn.Parameter] = {}
        self.stored = {tensor.name: tensor for tensor in model.graph.initializer}
        self.names = _Names(self.root)

    def read(self) -> fx.GraphModule:
        _without_copies(self.model.graph)
        self.live[self.input_name] = self.graph.placeholder("image")
        for proto in self.model.graph.node:
            self._node(proto)
        outputs = [value.name for value in self.model.graph.output]
        missing = [name for name in outputs if name not in self.live]
        if missing:
            raise Unreadable(f"output {missing[0]} does not depend on the image")
        if len(outputs) == 1:
            self.graph.output(self.live[outputs[0]])
        else:
            self.graph.output({name: self.live[name] for name in outputs})
        self.graph.lint()
        self.root.graph = self.graph
        self.root.meta[HEADER] = Header(self._without_weights(), self.opset, frozenset(self.computed))
        return self.root

    def _node(self, proto: onnx.NodeProto) -> None:
        outputs = [name for name in proto.output if name]
        if all(not name or name in self.known or name in self.stored for name in proto.input):
            self._compute(proto, outputs)
            return
        held = {at: value for at, name in enumerate(proto.input) if (value := self._held(name, proto, at)) is not None}
        node = OnnxNode(proto, self.opset, held)
        name = self.names.free(proto)
        self.root.add_submodule(name, node)
        try:
            arguments = tuple(self.live[proto.input[at]] for at in node.live)
        except KeyError as error:
            raise Unreadable(f"node {proto.name} reads {error}, which nothing computes") from None
        call = self.graph.call_module(name, arguments)
        if len(outputs) == 1:
            self.live[outputs[0]] = call
            return
        for at, output in enumerate(outputs):
            self.live[output] = self.graph.call_function(operator.getitem, (call, at))

    def _compute(self, proto: onnx.NodeProto, outputs: list[str]) -> None:
        """A node whose operands are all known, beforehand: no image changes what it gives."""
        held = {at: value for at, name in enumerate(proto.input) if (value := self._value(name)) is not None}
        with torch.no_grad():
            results = OnnxNode(proto, self.opset, held)()
        self.known.update(zip(outputs, results if isinstance(results, tuple) else (results,), strict=True))
        self.computed.update(outputs)

    def _value(self, name: str) -> Tensor | None:
        """The tensor of this name where it is stored or was computed beforehand."""
        if name in self.stored and name not in self.known:
            self.known[name] = tensor_of(self.stored[name])
        return self.known.get(name)

    def _held(self, name: str, proto: onnx.NodeProto, at: int) -> Tensor | None:
        """The same as the module of a node is to hold it: a parameter where it was learned."""
        if name in self.weights:
            return self.weights[name]
        value = self._value(name)
        if value is None or not value.is_floating_point() or (name in self.computed and value.dim() < 2):
            return value  # a number, or a list of numbers that the graph's own code holds
        if proto.op_type == "Conv" and at == 1 and is_low_pass(value):
            return value  # somebody's filter, which is not learned
        return self.weights.setdefault(name, nn.Parameter(value))

    def _without_weights(self) -> onnx.ModelProto:
        rest = onnx.ModelProto()
        rest.CopyFrom(self.model)
        del rest.graph.initializer[:]
        rest.graph.initializer.extend(
            tensor for tensor in self.model.graph.initializer if tensor.name not in self.weights
        )
        return rest


def _without_copies(graph: onnx.GraphProto) -> None:
    """Let nodes read stored tensors themselves: exporters store equal ones once and hand out copies by `Identity`."""
    stored, kept = {tensor.name for tensor in graph.initializer}, {value.name for value in graph.output}
    copied: dict[str, str] = {}
    rest = []
    for node in graph.node:
        for at, name in enumerate(node.input):
            node.input[at] = copied.get(name, name)
        if node.op_type == "Identity" and node.input[0] in stored and node.output[0] not in kept:
            copied[node.output[0]] = node.input[0]
        else:
            rest.append(node)
    if copied:
        rest = [onnx.NodeProto.FromString(node.SerializeToString()) for node in rest]
        del graph.node[:]
        graph.node.extend(rest)


class _Names:
    """Names of nodes as paths of modules: the file's own where it can be, made up and numbered where there is none."""

    def __init__(self, root: nn.Module) -> None:
        self._reserved = frozenset(dir(root))
        self._paths: set[str] = set()
        self._inner: set[str] = set()
        self._unnamed: dict[str, int] = {}

    def free(self, proto: onnx.NodeProto) -> str:
        """A name for a node that no other has.

        >>> names = _Names(nn.Module())
        >>> [names.free(onnx.NodeProto(op_type="Conv", name=name)) for name in ("", "", "a.b/c", "a.b/c", 'x"y', "if")]
        ['Conv_1', 'Conv_2', 'a.b/c', 'a.b/c_', 'x_y', 'if_']
        """
        name = _UNSAFE.sub("_", proto.name)
        if not name:
            self._unnamed[proto.op_type] = self._unnamed.get(proto.op_type, 0) + 1
            name = f"{proto.op_type}_{self._unnamed[proto.op_type]}"
        parts = [f"{p}_" if not p or keyword.iskeyword(p) or p in self._reserved else p for p in name.split(".")]
        if any(".".join(parts[:end]) in self._paths for end in range(1, len(parts))):
            parts = ["_".join(parts)]  # a node cannot stand inside another
        path = ".".join(parts)
        while path in self._paths or path in self._inner:
            path += "_"
        self._paths.add(path)
        self._inner.update(".".join(parts[:end]) for end in range(1, len(parts)))
        return path


def stored_weights(node: OnnxNode, header: Header) -> Mapping[str, Tensor]:
    """The learned operands of a node, by their name in the file; those that other nodes of the file compute are left out."""
    named = {node.proto.input[at]: node._parameters.get(name) for at, name in node.names.items()}
    return {name: weight for name, weight in named.items() if weight is not None and name not in header.known}
