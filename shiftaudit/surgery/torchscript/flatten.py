"""A TorchScript module as one flat graph, and the shape of every tensor in it, by running a copy that writes them down."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from shiftaudit.errors import PatchError
from shiftaudit.models.loaded import last_line
from shiftaudit.models.torchscript import no_jit_warnings
from shiftaudit.stages.names import held, static_kind
from shiftaudit.surgery.graph import Shape

# Attributes that are set on a module from outside: its mode, and how far the filter of a BlurPool has grown.
_SET_ANEW = ("training", "strength")
_PLAIN = ("IntType", "BoolType", "FloatType", "ListType", "StringType")


class _ShapeLog(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.log = torch.jit.Attribute([], list[tuple[int, list[int]]])

    def forward(self, x: Tensor, at: int) -> None:
        """Note the shape of value number `at`."""
        self.log.append((at, x.size()))  # type: ignore[attr-defined]


def walk(block: Any) -> Iterator[Any]:
    """Every node of a graph or block in program order, blocks inside it included."""
    for node in block.nodes():
        yield node
        for inner in node.blocks():
            yield from walk(inner)


def key(value: Any) -> int:
    """Identity of a value of one graph."""
    return int(value.unique())


def copied(module: torch.jit.ScriptModule) -> torch.jit.ScriptModule:
    """An independent copy, made as a file is: saved to memory and loaded again.

    Raises:
        PatchError: the module cannot be saved.
    """
    buffer = io.BytesIO()
    try:
        with no_jit_warnings():
            torch.jit.save(module, buffer)
            buffer.seek(0)
            loaded: torch.jit.ScriptModule = torch.jit.load(buffer)
    except Exception as error:
        raise PatchError(
            f"the TorchScript model cannot be copied: {last_line(error)}",
            hint="one that torch.jit.optimize_for_inference made cannot be saved either: patch the network before that",
        ) from error
    return loaded


def scripted(layer: nn.Module) -> torch.jit.ScriptModule:
    """`torch.jit.script`, without its notice of deprecation."""
    with no_jit_warnings():
        result: torch.jit.ScriptModule = torch.jit.script(layer)
    return result


def flat_graph(module: torch.jit.ScriptModule) -> Any:
    """The graph of `forward`, changed in place: calls inlined, constants folded, so that each operation can be rewritten."""
    graph = module._c._get_method("forward").graph
    torch._C._jit_pass_inline(graph)
    _fold_attributes(
        module, graph, [node for node in walk(graph) if static_kind(node.kind()) or node.kind() == "aten::pad"]
    )
    torch._C._jit_pass_constant_propagation(graph)
    return graph


def straight_graph(module: torch.jit.ScriptModule) -> Any:
    """A copy of the graph of `forward` without the branches that the module's attributes decide (`if self.has_shortcut:`).

    What depends on tensors, the mode or a filter's strength is left to be decided when it runs.
    """
    graph = module._c._get_method("forward").graph.copy()
    torch._C._jit_pass_inline(graph)
    _fold_attributes(module, graph, list(graph.findAllNodes("prim::If")))
    torch._C._jit_pass_constant_propagation(graph)
    return graph


def _fold_attributes(module: torch.jit.ScriptModule, graph: Any, pending: list[Any]) -> None:
    """Give nodes what they make from attributes (`self.kernel // 2`) as constants, unless it may be set anew."""
    written = {*_SET_ANEW, *(node.s("name") for node in graph.findAllNodes("prim::SetAttr"))}
    seen: set[int] = set()
    while pending:
        holder = pending.pop()
        pending += [block.returnNode() for block in holder.blocks()]
        for at, value in enumerate(list(holder.inputs())):
            maker = value.node()
            if maker.kind() == "prim::GetAttr" and maker.s("name") not in written:
                stored = _stored_constant(module, value)
                if stored is not None:
                    with graph.insert_point_guard(holder):
                        holder.replaceInput(at, graph.insertConstant(stored))
            elif value.type().kind() in _PLAIN and key(value) not in seen:
                seen.add(key(value))
                pending.append(maker)


def attribute_path(value: Any) -> str:
    """`a.b` of what reads `self.a.b`; "" for all else."""
    parts: list[str] = []
    while (node := value.node()).kind() == "prim::GetAttr":
        parts.insert(0, node.s("name"))
        value = node.inputsAt(0)
    return ".".join(parts)


def _stored_constant(module: torch.jit.ScriptModule, value: Any) -> Any:
    """What `self.a.b` holds where that is a number, a text or a list of whole numbers, else None."""
    found = held(module, attribute_path(value))
    whole = isinstance(found, list) and bool(found) and all(isinstance(item, int) for item in found)
    return found if isinstance(found, (bool, int, float, str)) or whole else None


def tensors(graph: Any) -> Iterator[tuple[Any, Any]]:
    """Tensors that ATen calls read and put out, each with the call, in program order; one tensor may come several times.

    What other nodes put out, such as an `if`, is taken where a call reads it: before, it may hold nothing.
    """
    for node in walk(graph):
        if not str(node.kind()).startswith("aten::"):
            continue
        given = [value for value in node.inputs() if not str(value.node().kind()).startswith("aten::")]
        for value in (*given, *node.outputs()):
            if value.type().kind() == "TensorType":
                yield value, node


def run_for_shapes(module: torch.jit.ScriptModule, example: Tensor) -> tuple[dict[int, Shape], Any]:
    """Shapes by position in `tensors`, of those that were computed, and the output of the model.

    A tensor computed several times, in a loop, has the shape of the first time.

    Raises:
        PatchError: the model does not run on the example.
    """
    observed = copied(module)
    observed.eval()
    graph = flat_graph(observed)
    log = scripted(_ShapeLog())
    observed._c._register_attribute("shiftaudit_shapes", log._c._type(), log._c)
    itself = next(iter(graph.inputs()))
    for position, (value, node) in enumerate(list(tensors(graph))):
        add_call(graph, itself, ("shiftaudit_shapes", log), value, after=node, number=position)
    try:
        with torch.no_grad():
            output = observed(example)
    except Exception as error:
        message = f"the model does not run on an input of shape {tuple(example.shape)}: {last_line(error)}"
        raise PatchError(message, hint="give the size the model takes with --size") from error
    shapes: dict[int, Shape] = {}
    noted = getattr(observed._c.getattr("shiftaudit_shapes"), "_c", None)
    for position, shape in (noted or observed._c.getattr("shiftaudit_shapes")).getattr("log"):
        shapes.setdefault(position, tuple(shape))
    return shapes, output


def add_call(
    graph: Any,
    itself: Any,
    layer: tuple[str, torch.jit.ScriptModule],
    value: Any,
    *,
    after: Any = None,
    before: Any = None,
    number: int | None = None,
) -> Any:
    """Insert `self.<name>(value)`, or `self.<name>(value, number)`, and return its output.

    Args:
        itself: the graph's `self`, which holds the layer as an attribute.
        layer: the attribute's name and the layer.
        after: the node to insert behind, or `before`: the node to insert in front of.
    """
    name, module = layer
    attribute = graph.create("prim::GetAttr", [itself], 1)
    attribute.s_("name", name)
    attribute.output().setType(module._c._type())
    if after is not None:
        attribute.insertAfter(after)
    else:
        attribute.insertBefore(before)
    arguments = [attribute.output(), value]
    if number is not None:
        constant = graph.create("prim::Constant", [], 1)
        constant.i_("value", number)
        constant.output().setType(torch._C.IntType.get())
        constant.insertAfter(attribute)
        arguments.append(constant.output())
    call = graph.create("prim::CallMethod", arguments, 1)
    call.s_("name", "forward")
    call.insertAfter(arguments[-1].node() if number is not None else attribute)
    call.output().setType(torch._C.NoneType.get() if number is not None else torch._C.TensorType.get())
    return call.output()
