"""A flat TorchScript graph as a list of calls, branches and loops included.

What a branch or loop puts out is a call without a name that reads what its blocks return. Two things look like reads of a map
and are none: a batch-norm compiled from Python asks for the rank and, in training, checks the size of its input; so a size
that is read inside an `if` that can do nothing but raise counts as read for nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import torch

from shiftaudit.surgery.graph import COMPUTED, SIZE, Call, Value
from shiftaudit.surgery.torchscript.flatten import key, walk

_PLAIN = ("IntType", "BoolType", "FloatType", "StringType", "NumberType", "DeviceObjType", "NoneType")
_ONLY_TYPE = ("prim::dtype", "prim::device", "aten::dim")
_EFFECTS = ("prim::SetAttr", "prim::CallMethod", "prim::CallFunction", "prim::Print")
_INDEX = ("aten::__getitem__", "aten::select")


def lower(block: Any, where: tuple[int, ...] = ()) -> Iterator[Call]:
    """The calls of a graph or block in program order.

    Args:
        where: the numbers of the blocks it stands in.
    """
    for at, node in enumerate(block.nodes()):
        inner = list(node.blocks())
        if not inner:
            yield from _call(node, where)
            continue
        for number, one in enumerate(inner):
            if list(one.inputs()):
                yield _passing(node, node.inputs(), one.inputs(), where)
            yield from lower(one, (*where, at, number))
        # The first output of a loop's body is its condition; the body may not run at all.
        loop = node.kind() == "prim::Loop"
        for position, value in enumerate(node.outputs()):
            results = [list(one.outputs())[position + loop] for one in inner]
            yield _passing(node, [*results, *(node.inputs() if loop else ())], [value], where)
    if not where:
        yield _passing(block.return_node(), block.outputs(), [], where)


def constant(value: Any) -> Any:
    """The value where it is a constant or a list of constants; `COMPUTED`, whole or in its place of the list, where it is not."""
    node = value.node()
    if node.kind() == "prim::ListConstruct":
        return [constant(item) for item in node.inputs()]
    return value.toIValue() if node.kind() == "prim::Constant" else COMPUTED


def _call(node: Any, where: tuple[int, ...]) -> Iterator[Call]:
    kind = str(node.kind())
    if kind in ("prim::Constant", "prim::GetAttr"):
        return
    if kind in (*_ONLY_TYPE, "aten::size"):
        source = (key(node.inputsAt(0)),)
        yield Call(SIZE, node, source, (), {"self": source[0]}, {"dims": _dims(node)}, block=where)
    elif not kind.startswith("aten::"):
        yield _passing(node, node.inputs(), node.outputs(), where)
    else:
        yield _aten(node, kind.removeprefix("aten::"), where)


def _aten(node: Any, name: str, where: tuple[int, ...]) -> Call:
    in_place = name.endswith("_") and not name.endswith("__")
    given = dict(zip(_argument_names(node.schema()), node.inputs(), strict=False))
    tensors = {name: key(value) for name, value in given.items() if _is_tensor(value)}
    numbers = {name: constant(value) for name, value in given.items() if name not in tensors}
    outs = tuple(key(value) for value in node.outputs())
    reads = _reads(node.inputs())
    if name == "append":  # the list holds what was put into it
        outs = (*outs, key(node.inputsAt(0)))
    return Call(
        name.removesuffix("_") if in_place else name, node, reads, outs, tensors, numbers, in_place, where,
        indices_used=_indices_used(node),
    )  # fmt: skip


def _passing(node: Any, inputs: Any, outputs: Any, where: tuple[int, ...]) -> Call:
    return Call("", node, _reads(inputs), tuple(key(value) for value in outputs), block=where)


def _reads(values: Any) -> tuple[Value, ...]:
    """The values that are no plain numbers, and of a list that is made on the spot what it holds."""
    found: list[Value] = []
    for value in values:
        maker = value.node()
        if maker.kind() == "prim::ListConstruct":
            found += _reads(maker.inputs())
        elif not _is_plain(value.type()) and (maker.kind() != "prim::Constant" or _is_tensor(value)):
            found.append(key(value))
    return tuple(found)


def _is_plain(kind: Any) -> bool:
    return kind.kind() in _PLAIN or (kind.kind() == "ListType" and _is_plain(kind.getElementType()))


def _is_tensor(value: Any) -> bool:
    kind = value.type()
    if kind.kind() == "OptionalType":
        kind = kind.getElementType()
    return bool(kind.kind() == "TensorType")


@cache
def _argument_names(schema: str) -> tuple[str, ...]:
    return tuple(argument.name for argument in torch._C.parse_schema(schema).arguments)


def _dims(node: Any) -> tuple[int, ...] | None:
    """The dimensions whose size a node reads; None for all."""
    if node.kind() != "aten::size" or _only_checked(node):
        return ()
    if node.inputsSize() > 1:
        given = [constant(node.inputsAt(1))]
    else:
        users = [use.user for use in node.output().uses()]
        if any(user.kind() not in _INDEX for user in users):
            return None
        given = [constant(user.inputsAt(1)) for user in users]
    return tuple(given) if all(isinstance(dim, int) and dim >= 0 for dim in given) else None


def _only_checked(node: Any) -> bool:
    """Whether a size is read inside an `if` that can do nothing but raise."""
    block, home = node.owningBlock(), node.inputsAt(0).node().owningBlock()
    outermost = None
    while block != home:
        outermost = block.owningNode()
        if outermost is None or outermost.kind() == "prim::Param":
            return False
        block = outermost.owningBlock()
    inside = [] if outermost is None else [one for block in outermost.blocks() for one in walk(block)]
    return outermost is not None and not outermost.outputsSize() and all(map(_is_pure, inside))


def _is_pure(node: Any) -> bool:
    kind = str(node.kind())
    return (not kind.endswith("_") or kind.endswith("__")) and kind not in _EFFECTS


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
