"""The flat graph of a scripted or traced module, as the surgery sees it.

The graph of `forward` is flattened and its operations are changed in place. What is inserted are the layers that eager networks
get, as attributes of the module, so a saved file needs `torch.jit.load` alone; `set_strength` finds them by class.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor

from shiftaudit.errors import PatchError
from shiftaudit.models.loaded import last_line
from shiftaudit.records.patch import Backend
from shiftaudit.stages.align import align
from shiftaudit.stages.names import held, may_stride, owner_of, scripted_ops, static_kind
from shiftaudit.stages.ops import CONV, is_low_pass
from shiftaudit.surgery.blurpool import BlurPool
from shiftaudit.surgery.graph import Call, Graph, NewLayer, Shape, Size, Stored, Value
from shiftaudit.surgery.torchscript.flatten import (
    add_call,
    copied,
    flat_graph,
    key,
    run_for_shapes,
    scripted,
    tensors,
    walk,
)
from shiftaudit.surgery.torchscript.lower import lower

_PACKED = (
    "quantized::",
    "prepacked::",
    "mkldnn_prepacked::",
    "xnnpack::",
    "aten::quantize_per_tensor",
    "aten::mkldnn_conv",
)


class ScriptGraph(Graph):
    """A copy of `module`, flattened and run once on `example` (N, C, H, W) in eval mode; `module` is untouched.

    Raises:
        PatchError: the model has no `forward`, does not run on the example, or computes with quantised or packed weights.
    """

    backend: Backend = "torchscript"
    copy: torch.jit.ScriptModule

    def __init__(self, module: torch.jit.ScriptModule, example: Tensor) -> None:
        if not module._c._has_method("forward"):
            raise PatchError("the TorchScript model has no forward method, so there is nothing to patch")
        self.example = example
        self.copy = copied(module)
        static = scripted_ops(self.copy, merged=False)
        by_position, self.output = run_for_shapes(self.copy, example)
        self.graph = flat_graph(self.copy)
        self.itself = next(iter(self.graph.inputs()))
        self.training = bool(getattr(self.copy, "training", False))  # frozen modules have no such flag
        _refuse_packed(self.graph)
        values = list(tensors(self.graph))
        self.shapes: dict[Value, Shape] = {key(values[at][0]): shape for at, shape in by_position.items()}
        self.shapes |= {key(value): tuple(example.shape) for value in list(self.graph.inputs())[1:2]}
        self.values: dict[Value, Any] = {key(value): value for value, _ in values}
        self.held = self._held()
        nodes = [node for node in walk(self.graph) if static_kind(node.kind()) is not None and may_stride(node)]
        runtime = [(str(static_kind(node.kind())), self._weight(node)) for node in nodes]
        self.names: dict[Value, str] = {
            key(node.outputsAt(0)): name for node, name in zip(nodes, align(static, runtime), strict=True)
        }
        blurs = {name for name, child in self.copy.named_modules() if _is_blur(child)}
        self.calls = [self._marked(call, blurs) for call in lower(self.graph)]

    def shape(self, value: Value) -> Shape | None:
        return self.shapes.get(value)

    def stored(self, value: Value) -> Stored | None:
        return self.held.get(value)

    def name(self, call: Call, op: str) -> str:
        weight = self.stored(call.tensors["weight"]) if op == CONV else None
        return owner_of(None if weight is None else weight.name) or self.names.get(call.outs[0], op)

    def class_name(self, call: Call, stored: Stored) -> str:
        return str(getattr(held(self.copy, owner_of(stored.name)), "original_name", ""))

    def can_insert_after(self, value: Value) -> bool:
        return value in self.values

    def insert_before(self, calls: Sequence[Call], new: NewLayer) -> None:
        first = calls[0].node
        value = self._call(new, first.inputsAt(0), before=first)
        for call in calls:
            call.node.replaceInput(0, value)

    def insert_after(self, value: Value, new: NewLayer) -> None:
        before = self.values[value]
        after = self._call(new, before, after=before.node())
        before.replaceAllUsesAfterNodeWith(after.node(), after)

    def set_argument(self, call: Call, name: Literal["stride", "padding"], value: Size) -> None:
        # Tensors come first among the arguments; a bias that is None is among the numbers.
        at = (*call.tensors, *call.numbers).index(name)
        with self.graph.insert_point_guard(call.node):
            call.node.replaceInput(at, self.graph.insertConstant(list(value)))

    def replace(self, call: Call, new: NewLayer) -> None:
        result = self._call(new, call.node.inputsAt(0), before=call.node)
        for output in call.node.outputs():  # nothing reads a max-pool's indices, but a tuple may hold them
            output.replaceAllUsesWith(result)
        call.node.destroy()

    def finish(self) -> torch.jit.ScriptModule:
        self.graph.lint()
        patched = copied(self.copy)
        training = any(bool(getattr(child, "training", False)) for child in patched.modules())
        tried = copied(patched).eval() if training else patched
        try:
            with torch.no_grad():
                output = tried(self.example)
        except Exception as error:
            raise PatchError(f"the patched network does not run, and was not written: {last_line(error)}") from error
        self.check_shape(output)
        return patched

    def _held(self) -> dict[Value, Stored]:
        """Parameters, buffers and constants, by the chain of attributes that reads them."""
        parameters = {name for name, _ in self.copy.named_parameters(remove_duplicate=False)}
        paths = {key(self.itself): ""}
        held: dict[Value, Stored] = {}
        for node in walk(self.graph):
            value: Any = next(iter(node.outputs()), None)
            if node.kind() == "prim::GetAttr" and key(node.input()) in paths:
                path = f"{paths[key(node.input())]}.{node.s('name')}".removeprefix(".")
                paths[key(value)] = path
                if value.type().kind() == "TensorType":
                    held[key(value)] = Stored(path, path in parameters)
            elif node.kind() == "prim::Constant" and value.type().kind() == "TensorType":
                tensor = value.toIValue()
                self.shapes[key(value)] = tuple(tensor.shape)
                # Frozen networks keep their weights as constants: without a parameter anywhere, what they hold was learned.
                held[key(value)] = Stored(None, learned=not parameters and not is_low_pass(tensor))
        return held

    def _weight(self, node: Any) -> str | None:
        stored = self.held.get(key(node.inputsAt(1))) if static_kind(node.kind()) == CONV else None
        return None if stored is None else stored.name

    def _marked(self, call: Call, blurs: set[str]) -> Call:
        """The call, marked where it belongs to a filter that an earlier patch put in."""
        owner = self.names.get(call.outs[0], "").rpartition("/")[0] if call.outs else ""
        return replace(call, in_blur=owner in blurs) if owner else call

    def _call(self, new: NewLayer, value: Any, *, after: Any = None, before: Any = None) -> Any:
        """Add `self.<role>_<site>(value)`, and the layer as an attribute of the module."""
        name = f"{new.role}_{re.sub('[^0-9A-Za-z]', '_', new.site)}"
        while self.copy._c.hasattr(name):
            name += "_"
        compiled = scripted(new.layer.train(self.training))
        self.copy._c._register_attribute(name, compiled._c._type(), compiled._c)
        return add_call(self.graph, self.itself, (name, compiled), value, after=after, before=before)


def _is_blur(module: torch.nn.Module) -> bool:
    return getattr(module, "original_name", "") == BlurPool.__name__


def _refuse_packed(graph: Any) -> None:
    for node in walk(graph):
        if str(node.kind()).startswith(_PACKED):
            raise PatchError(
                f"the model computes with quantised or packed weights ({node.kind()}) and cannot be patched",
                hint="patch the float model, before it is quantised or optimised",
            )
