"""Names of the operations of TorchScript and exported graphs, in program order.

A running ScriptModule or exported program refuses Python hooks, but its graph says which module every operation belongs to. The
graph lists what *may* run (both branches of an `if`, the body of a loop once), a run what did:
`shiftaudit.stages.align` joins the two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, TypeGuard, cast

import torch
from torch import Tensor, fx, nn

from shiftaudit.records.words import OpName
from shiftaudit.stages import ops

_METHOD_CALL = "prim::CallMethod"
_PROTECTED_CALL = "shiftaudit::CallMethod"
_NN_MODULES = "__torch__.torch.nn."


@dataclass(frozen=True)
class NamedOp:
    """One operation that may make a feature map smaller."""

    name: str
    """Qualified name of the module that holds the convolution's weight, or of the `torch.nn` layer that is the operation; else
    `<module>/<kind>`. Not unique."""
    kind: str
    """`conv`, `max_pool`, `avg_pool`, `adaptive_avg_pool`, `adaptive_max_pool`, `slice` or `interpolate`."""
    weight: str | None = None
    """Qualified name of a convolution's weight, where the graph has it."""


def static_kind(aten_name: str) -> OpName | None:
    """The kind of an ATen operation, None where it cannot make a feature map smaller.

    >>> static_kind("aten::max_pool2d_with_indices"), static_kind("aten::relu")
    ('max_pool', None)
    """
    kind = ops.KINDS.get(aten_name)
    return None if kind in ops.HELPERS else cast(OpName, kind)


# --- TorchScript -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Module:
    path: str
    cpp: Any
    """The `torch._C.ScriptModule`."""

    def label(self, kind: str) -> str:
        name = str(self.cpp._type().qualified_name())
        return label(self.path, kind, name.startswith(_NN_MODULES))

    def holds_weight(self) -> bool:
        return bool(self.path and self.cpp.hasattr("weight")) and is_kernel(self.cpp.getattr("weight"))


@dataclass(frozen=True)
class _Attribute:
    path: str
    owner: _Module


_Value = _Module | _Attribute


def scripted_ops(module: torch.jit.ScriptModule, *, merged: bool = True) -> list[NamedOp]:
    """The operations of a scripted, traced, frozen or loaded module's `forward`, in program order.

    Methods are followed into submodules and functions; both branches of an `if` appear, a loop's body once. A convolution whose
    weight is a constant, as in frozen modules, is named `conv_1`, `conv_2`, …

    Args:
        merged: list what runs: the interpreter merges repeated computations first, and the four phases of a patch merging are
            six slices then, not eight. Without it, list what the graph holds.

    Raises:
        RuntimeError: the module has no `forward`.
    """
    return _ScriptReader(merged).read(_Module("", module._c), "forward", [])


class _ScriptReader:
    def __init__(self, merged: bool) -> None:
        self.merged = merged
        self.found: list[NamedOp] = []
        self.nameless = 0

    def read(self, module: _Module, method: str, arguments: Sequence[_Value | None]) -> list[NamedOp]:
        graph = _with_functions_inlined(module.cpp._get_method(method).graph)
        if self.merged:
            torch._C._jit_pass_cse(graph)
            _merge_slices(graph)
        values: dict[str, _Value] = {}
        for value, bound in zip(graph.inputs(), [module, *arguments], strict=False):
            if bound is not None:
                values[value.debugName()] = bound
        self._block(graph, module, values)
        return self.found

    def _block(self, block: Any, module: _Module, values: dict[str, _Value]) -> None:
        for node in block.nodes():
            kind = node.kind()
            if kind == "prim::GetAttr":
                _bind_attribute(node, values)
            elif kind == _METHOD_CALL:
                inputs = [values.get(value.debugName()) for value in node.inputs()]
                if isinstance(inputs[0], _Module) and inputs[0].cpp._has_method(node.s("name")):
                    self.read(inputs[0], node.s("name"), inputs[1:])
            elif (named := static_kind(kind)) is not None:
                self._operation(node, named, module, values)
            for inner in node.blocks():
                self._block(inner, module, values)

    def _operation(self, node: Any, kind: str, module: _Module, values: dict[str, _Value]) -> None:
        inputs = list(node.inputs())
        if kind == ops.CONV:
            weight = values.get(inputs[1].debugName())
            if isinstance(weight, _Attribute):
                self.found.append(NamedOp(owner_of(weight.path) or kind, kind, weight.path))
            elif inputs[1].node().kind() == "prim::Constant":
                self.nameless += 1
                self.found.append(NamedOp(f"{kind}_{self.nameless}", kind))
            else:
                self.found.append(NamedOp(module.path if module.holds_weight() else module.label(kind), kind))
        elif may_stride(node):
            self.found.append(NamedOp(module.label(kind), kind))


def _with_functions_inlined(graph: Any) -> Any:
    """A copy of a method's graph in which functions are inlined and the calls of methods, which have names, are not.

    Branches that constants decide are taken: `lp_pool2d` has two average pools, one for a stride that is None.
    """
    graph = graph.copy()
    _rename_calls(graph, _METHOD_CALL, _PROTECTED_CALL)
    torch._C._jit_pass_inline(graph)
    _rename_calls(graph, _PROTECTED_CALL, _METHOD_CALL)
    torch._C._jit_pass_constant_propagation(graph)
    return graph


def _merge_slices(graph: Any) -> None:
    """Make equal slices one. Common subexpressions are left apart where a method might write to what they read, since its call is
    not inlined here; the interpreter, which inlines it, sees that it does not."""
    first: dict[tuple[str, ...], Any] = {}
    for node in list(graph.nodes()):
        if node.kind() != "aten::slice":
            continue
        reads = tuple(
            repr(value.toIValue()) if value.node().kind() == "prim::Constant" else value.debugName()
            for value in node.inputs()
        )
        kept = first.setdefault(reads, node)
        if kept is not node:
            node.output().replaceAllUsesWith(kept.output())
            node.destroy()


def _rename_calls(graph: Any, old: str, new: str) -> None:
    for call in list(graph.findAllNodes(old)):
        standin = graph.create(new, list(call.inputs()), len(list(call.outputs())))
        standin.s_("name", call.s("name"))
        standin.insertBefore(call)
        for before, after in zip(call.outputs(), standin.outputs(), strict=True):
            after.setType(before.type())
        call.replaceAllUsesWith(standin)
        call.destroy()


def _bind_attribute(node: Any, values: dict[str, _Value]) -> None:
    owner = values.get(node.input().debugName())
    if not isinstance(owner, _Module):
        return
    name = node.s("name")
    path = f"{owner.path}.{name}" if owner.path else name
    value = owner.cpp.getattr(name)
    value = getattr(value, "_c", value)
    bound = _Module(path, value) if isinstance(value, torch._C.ScriptModule) else _Attribute(path, owner)
    values[node.output().debugName()] = bound


def may_stride(node: Any) -> bool:
    """False for an `aten::slice` that reads no tensor or skips nothing; a step computed at run time may skip."""
    if node.kind() != "aten::slice":
        return True
    inputs = list(node.inputs())
    if inputs[0].type().kind() != "TensorType" or len(inputs) < 5:
        return False
    step = inputs[4].toIValue()
    return step is None or step > 1


# --- exported programs -------------------------------------------------------------------------------------------------


def is_exported(module: nn.Module) -> TypeGuard[fx.GraphModule]:
    """Whether a module is an exported program's `.module()`: an fx graph of ATen calls."""
    return isinstance(module, fx.GraphModule) and any(
        isinstance(node.target, torch._ops.OpOverload) for node in module.graph.nodes
    )


def exported_ops(module: fx.GraphModule) -> list[NamedOp]:
    """The operations of an exported program, in program order, with the names of the modules it was exported from.

    Layers that were inserted since are calls of modules: whatever such a layer might do is listed, under its name. Guards, whose
    result nobody reads, are not.
    """
    found: list[NamedOp] = []
    for node in module.graph.nodes:
        if node.op == "call_module" and node.users:
            layer = type(module.get_submodule(str(node.target)))
            is_layer = layer.__module__.startswith("torch.nn.")
            for kind in dict.fromkeys(ops.KINDS.values()):
                if kind not in ops.HELPERS:
                    found.append(NamedOp(label(str(node.target), kind, is_layer), kind))
        elif isinstance(node.target, torch._ops.OpOverload):
            aten_kind = static_kind(node.target._schema.name)
            skips_nothing = node.target is torch.ops.aten.slice.Tensor and _step(node) == 1
            if aten_kind is not None and not skips_nothing:
                found.append(_exported_op(node, aten_kind, module))
    return found


def _step(node: fx.Node) -> object:
    return node.args[4] if len(node.args) > 4 else node.kwargs.get("step", 1)


def _exported_op(node: fx.Node, kind: str, module: nn.Module) -> NamedOp:
    weight = node.args[1] if kind == ops.CONV else None
    name = str(weight.target) if isinstance(weight, fx.Node) and weight.op == "get_attr" else None
    owner = owner_of(name)
    if owner:
        return NamedOp(owner, kind, name)
    recorded = recorded_in(node)
    if recorded is None:
        return NamedOp(kind, kind, name)
    path, layer = recorded
    is_layer = layer.startswith("torch.nn.") or (kind == ops.CONV and holds_weight(module, path))
    return NamedOp(label(path, kind, is_layer), kind, name)


def recorded_in(node: fx.Node) -> tuple[str, str] | None:
    """Path and class of the innermost module in whose forward a step was recorded; loaded programs name their classes."""
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    if not stack:
        return None
    path, kind = stack[-1]
    return str(path), kind if isinstance(kind, str) else f"{kind.__module__}.{kind.__qualname__}"


def owner_of(weight: str | None) -> str:
    """The module that holds a convolution's weight, which names the convolution in every form of a network; "" for none.

    >>> owner_of("stem.conv.weight"), owner_of("weight")
    ('stem.conv', '')
    """
    return (weight or "").rpartition(".")[0]


def holds_weight(module: nn.Module, path: str) -> bool:
    """Whether the module at `path` holds a convolution's weight, so that a weight which its code computes is this one, scaled."""
    return bool(path) and is_kernel(held(module, f"{path}.weight"))


def held(module: nn.Module, path: str) -> Any:
    """What a module holds under a qualified name; None for nothing."""
    return reduce(lambda found, part: getattr(found, part, None), path.split("."), cast(Any, module))


def is_kernel(value: object) -> bool:
    """Whether a value can be the weight of a 2-D convolution."""
    return isinstance(value, Tensor) and value.dim() == 4


def is_layer(layer: nn.Module) -> bool:
    """Whether a module's code is one operation under its own name: a layer of `torch.nn`, or one that says so of itself."""
    is_torchs = type(layer).__module__.startswith(("torch.nn.", "torch.ao.nn."))
    return is_torchs or getattr(type(layer), "is_operation", False)


def label(path: str, kind: str, is_whole: bool) -> str:
    """The name of an operation: its layer's where that is the operation (`is_layer`), else where it stands and its kind."""
    if is_whole and path:
        return path
    return f"{path}/{kind}" if path else kind
