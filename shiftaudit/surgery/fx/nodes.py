"""What an fx node says of itself: the layer it belongs to, which of its arguments are computed, what it reads of a size."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import fx, nn
from torch.utils._pytree import tree_leaves

from shiftaudit.stages.names import is_layer, recorded_in
from shiftaudit.surgery.graph import Layer

_SIZE_ATTRIBUTES = ("shape", "dtype", "device", "ndim")
aten = torch.ops.aten


def layer_of(node: fx.Node, module: fx.GraphModule) -> Layer | None:
    """The module that a node calls, or the one whose forward made the node."""
    if node.op == "call_module":
        target = str(node.target)
        layer = module.get_submodule(target)
        return Layer(target, type(layer).__name__, own_code=not (isinstance(layer, nn.Conv2d) or is_layer(layer)))
    recorded = recorded_in(node)
    if recorded is None:
        return None
    path, kind = recorded
    path = path.removeprefix("L['self'].").removeprefix("L__self___")
    return Layer(path, kind.rpartition(".")[2], own_code=not kind.startswith("torch.nn.modules."))


def computed_arguments(node: fx.Node, names: Sequence[str], is_tensor: Callable[[fx.Node], bool]) -> set[str]:
    """Names of a call's arguments that hold numbers which other nodes compute.

    Args:
        names: of the ATen call that the node makes, whose arguments are those of the function, in order.
    """
    if node.target is operator.getitem:
        steps = [item.step for item in tree_leaves(node.args[1]) if isinstance(item, slice)]
        return {"step"} if any(isinstance(step, fx.Node) for step in steps) else set()
    given = dict(zip(names, node.args, strict=False)) | node.kwargs
    held = {name: [leaf for leaf in tree_leaves(value) if isinstance(leaf, fx.Node)] for name, value in given.items()}
    return {name for name, nodes in held.items() if not all(map(is_tensor, nodes))}


def size_read(node: fx.Node) -> tuple[int, ...] | Literal["all"] | None:
    """The dimensions, as they are written, whose size a node reads; () for the rank alone, None for no size at all."""
    if node.op == "call_method" and node.target in ("size", "dim"):
        return () if node.target == "dim" else _indices(node, list(node.args[1:]) or list(node.kwargs.values()))
    if node.op != "call_function":
        return None
    if node.target is getattr and node.args[1] in _SIZE_ATTRIBUTES:
        return _indices(node, []) if node.args[1] == "shape" else ()
    return _indices(node, [node.args[1]]) if node.target is aten.sym_size.int else None


def _indices(node: fx.Node, given: list[Any]) -> tuple[int, ...] | Literal["all"]:
    if not given:
        given = [user.args[1] for user in node.users if user.target is operator.getitem]
        if len(given) < len(node.users):
            return "all"
    return tuple(given) if all(isinstance(index, int) for index in given) else "all"


def values_alone(node: fx.Node) -> bool:
    """Whether all that is read of a call's several results is the first: exported programs return indices that nobody reads."""
    return all(user.target is operator.getitem and (user.args[1] == 0 or not user.users) for user in node.users)


def source_of(node: fx.Node) -> fx.Node:
    """The map a node reads."""
    source = node.args[0] if node.args else node.kwargs.get("input", node.kwargs.get("self"))
    assert isinstance(source, fx.Node)
    return source
