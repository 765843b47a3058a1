"""Names of the operations of TorchScript and exported graphs, in program order.

A running ScriptModule or exported program refuses Python hooks, but its graph says which module every operation belongs to. The
graph lists what *may* run (both branches of an `if`, the body of a loop once), a run what did: `align` joins the two.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard, cast

import torch
from torch import fx, nn

from shiftaudit.records.words import OpName
from shiftaudit.stages import ops

_METHOD_CALL = "prim::CallMethod"
_PROTECTED_CALL = "shiftaudit::CallMethod"
_NN_MODULES = "__torch__.torch.nn."


@dataclass(frozen=True)
class NamedOp:
    """One operation that may make a feature map smaller."""

    name: str
    """The module's qualified name where a `torch.nn` layer is the operation, else `<module>/<kind>`; not unique."""
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
                self.found.append(NamedOp(weight.owner.label(kind), kind, weight.path))
            elif inputs[1].node().kind() == "prim::Constant":
                self.nameless += 1
                self.found.append(NamedOp(f"{kind}_{self.nameless}", kind))
            else:
                self.found.append(NamedOp(module.label(kind), kind))
        elif may_stride(node):
            self.found.append(NamedOp(module.label(kind), kind))


def _with_functions_inlined(graph: Any) -> Any:
    """A copy of a method's graph in which functions are inlined and the calls of methods, which have names, are not."""
    graph = graph.copy()
    _rename_calls(graph, _METHOD_CALL, _PROTECTED_CALL)
    torch._C._jit_pass_inline(graph)
    _rename_calls(graph, _PROTECTED_CALL, _METHOD_CALL)
    return graph


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
                found.append(_exported_op(node, aten_kind))
    return found


def _step(node: fx.Node) -> object:
    return node.args[4] if len(node.args) > 4 else node.kwargs.get("step", 1)


def _exported_op(node: fx.Node, kind: str) -> NamedOp:
    weight = node.args[1] if kind == ops.CONV else None
    name = str(weight.target) if isinstance(weight, fx.Node) and weight.op == "get_attr" else None
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    if not stack:
        owner = name.rpartition(".")[0] if name else ""
        return NamedOp(label(owner, kind, bool(owner)), kind, name)
    path, layer = stack[-1]
    layer = layer if isinstance(layer, str) else f"{layer.__module__}.{layer.__qualname__}"
    return NamedOp(label(str(path), kind, layer.startswith("torch.nn.")), kind, name)


def label(path: str, kind: str, is_layer: bool) -> str:
    """The name of an operation: its layer's where a `torch.nn` layer is the operation, else where it stands and its kind."""
    if is_layer and path:
        return path
    return f"{path}/{kind}" if path else kind


# --- joining a graph with a run ----------------------------------------------------------------------------------------
#
# The naive way gives the n-th operation of a run the n-th name of the graph. A scripted `x = small(x) if x.size(2) < 32 else
# large(x)` and a loop of two turns round `last` list [small, large, last] and run [large, last, last]: counting names large's run
# `small`. Weights do not settle it: pools have none, and frozen or packed ones have no name. So the lists are compared as texts
# are, by their longest common subsequence, in which weights known to be equal count double.


def align(static: Sequence[NamedOp], runtime: Sequence[tuple[str, str | None]]) -> list[str]:
    """Names for the operations of a run: the longest common subsequence of the graph's operations and the run's.

    Args:
        static: the graph's operations in program order.
        runtime: (kind, weight name or None) in the order they ran.

    A pair must agree in kind, and in the weight where both are known. What the graph does not explain (a loop's second turn)
    is named by its weight, or by kind and ordinal.

    >>> ops = [NamedOp("a.conv", "conv", "a.conv.weight"), NamedOp("pool", "max_pool"), NamedOp("b", "conv", "b.weight")]
    >>> align(ops, [("conv", "a.conv.weight"), ("conv", "b.weight"), ("conv", "b.weight"), ("max_pool", None)])
    ['a.conv', 'b', 'b', 'max_pool_1']
    """
    by_weight = {op.weight: op.name for op in reversed(static) if op.weight is not None}
    names: list[str] = []
    ordinals: dict[str, int] = {}
    for (kind, weight), at in zip(runtime, _matches(static, runtime), strict=True):
        if at is not None:
            names.append(static[at].name)
        elif weight is not None:
            names.append(by_weight.get(weight) or weight.rpartition(".")[0] or weight)
        else:
            ordinals[kind] = ordinals.get(kind, 0) + 1
            names.append(f"{kind}_{ordinals[kind]}")
    return names


def _matches(static: Sequence[NamedOp], runtime: Sequence[tuple[str, str | None]]) -> Iterator[int | None]:
    """For each operation of the run the index of the graph's operation that it is."""

    def score(i: int, j: int) -> int:
        op, (kind, weight) = static[i], runtime[j]
        known = op.weight is not None and weight is not None
        return 0 if op.kind != kind or (known and op.weight != weight) else 1 + known

    start = 0
    while start < min(len(static), len(runtime)) and score(start, start) == 2:
        start += 1  # a common beginning needs no search
    yield from range(start)
    yield from _longest(len(static), len(runtime), start, score)


def _longest(n: int, m: int, start: int, score: Callable[[int, int], int]) -> Iterator[int | None]:
    """Best-scoring common subsequence of static[start:n] and runtime[start:m], preferring early operations."""
    best = [[0] * (m + 1) for _ in range(n + 1)]
    for i in reversed(range(start, n)):
        for j in reversed(range(start, m)):
            joined = best[i + 1][j + 1] + score(i, j) if score(i, j) else 0
            best[i][j] = max(best[i + 1][j], best[i][j + 1], joined)

    def joins(i: int, j: int) -> bool:
        return i < n and score(i, j) > 0 and best[i][j] == best[i + 1][j + 1] + score(i, j)

    i = start
    for j in range(start, m):
        # Pass over what did not run, unless it is this call of the run that the graph does not have.
        while i < n and not joins(i, j) and best[i][j] != best[i][j + 1]:
            i += 1
        if joins(i, j):
            yield i
            i += 1
        else:
            yield None
