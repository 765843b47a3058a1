"""Find the downsampling sites of a TorchScript graph, with their sizes, their tails and what lies before them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor

from shiftaudit.errors import PatchError
from shiftaudit.stages.names import NamedOp, align, may_stride, scripted_ops, static_kind
from shiftaudit.surgery.plan import ADAPTIVE_POOLS, COMPUTED, CONV, INTERPOLATE, SLICE, Site
from shiftaudit.surgery.torchscript_ops import Op, key, only_checks, operation, pointwise, read, walk
from shiftaudit.surgery.torchscript_shapes import Shape, flat_graph, is_blur, network_macs, run_for_shapes, tensors
from shiftaudit.surgery.torchscript_slices import base_of, sliced_map

_LEARNED = ("conv", "linear", "matmul", "mm", "pool")
_PACKED = (
    "quantized::",
    "prepacked::",
    "mkldnn_prepacked::",
    "xnnpack::",
    "aten::quantize_per_tensor",
    "aten::mkldnn_conv",
)


@dataclass(frozen=True)
class FoundSite:
    """A site and where it is in the graph."""

    site: Site
    op: Op
    node: Any
    result: Any
    """The output of the tail; the op's own where there is none."""
    readers: tuple[Any, ...] = ()
    """Of a slice site: the nodes that read the map."""
    channels_last: bool = False


@dataclass(frozen=True)
class Reading:
    """All sites of a module's flat graph in program order, and the multiply-adds of the network for one image."""

    graph: Any
    sites: tuple[FoundSite, ...]
    macs: int
    not_run: int
    """Downsampling operations in branches that the example did not take."""
    output: Any


def read_module(module: torch.jit.ScriptModule, example: Tensor) -> Reading:
    """Flatten the graph of `module`, which is changed, and read its sites; they are run on `example` (N, C, H, W).

    Raises:
        PatchError: the model does not run on the example, or computes with quantised or packed weights.
    """
    static = scripted_ops(module, merged=False)
    by_position, output = run_for_shapes(module, example)
    graph = flat_graph(module)
    for node in walk(graph):
        if str(node.kind()).startswith(_PACKED):
            raise PatchError(
                f"the model computes with quantised or packed weights ({node.kind()}) and cannot be patched",
                hint="patch the float model, before it is quantised or optimised",
            )
    shapes = {key(value): by_position[at] for at, (value, _) in enumerate(tensors(graph)) if at in by_position}
    shapes.update({key(value): tuple(example.shape) for value in list(graph.inputs())[1:2]})
    reader = _Reader(module, graph, static, shapes)
    reader.read_block(graph)
    return Reading(graph, tuple(reader.found), network_macs(graph, shapes) // example.shape[0], reader.not_run, output)


@dataclass(frozen=True)
class _Behind:
    """What a value depends on: the nearest sites, and whether anything learned lies behind it."""

    nearest: frozenset[str] = frozenset()
    learned: bool = False


class _Reader:
    def __init__(
        self, module: torch.jit.ScriptModule, graph: Any, static: list[NamedOp], shapes: dict[int, Shape]
    ) -> None:
        self.module = module
        self.shapes = shapes
        self.found: list[FoundSite] = []
        self.not_run = 0
        self.paths: dict[int, str] = {key(next(iter(graph.inputs()))): ""}
        self.behind: dict[int, _Behind] = {}
        self.sliced: dict[int, str] = {}
        self.taken: dict[str, int] = {}
        self.blurs = {name for name, child in module.named_modules() if is_blur(child)}
        for node in graph.findAllNodes("prim::GetAttr"):
            owner = self.paths.get(key(node.input()))
            if owner is not None:
                self.paths[key(node.output())] = f"{owner}.{node.s('name')}".removeprefix(".")
        nodes = [node for node in walk(graph) if static_kind(node.kind()) is not None and may_stride(node)]
        names = align(static, [(str(static_kind(node.kind())), self._weight(node)) for node in nodes])
        self.names = {key(next(iter(node.outputs()))): name for node, name in zip(nodes, names, strict=True)}

    def _weight(self, node: Any) -> str | None:
        return self.paths.get(key(node.inputsAt(1))) if static_kind(node.kind()) == CONV else None

    def read_block(self, block: Any) -> None:
        for node in block.nodes():
            behind = self._joined(node.inputs())
            inner = list(node.blocks())
            if inner:
                self._read_inner(node, inner, behind)
                continue
            found = self._site(node, behind)
            if found is not None:
                self.found.append(found)
                behind = _Behind(frozenset((found.site.name,)), behind.learned)
            elif static_kind(node.kind()) == SLICE and key(base_of(node)) in self.sliced:
                behind = _Behind(frozenset((self.sliced[key(base_of(node))],)), behind.learned)
            if any(part in operation(node) for part in _LEARNED):
                behind = replace(behind, learned=True)
            for value in node.outputs():
                self.behind[key(value)] = behind
            if node.kind() == "aten::append":
                self.behind[key(node.inputsAt(0))] = behind

    def _read_inner(self, node: Any, inner: list[Any], behind: _Behind) -> None:
        for block in inner:
            for value in block.inputs():
                self.behind[key(value)] = behind
            self.read_block(block)
        for at, value in enumerate(node.outputs()):
            # The first output of a loop's body is its condition.
            results = [list(block.outputs())[at + (node.kind() == "prim::Loop")] for block in inner]
            joined = self._joined(results)
            if node.kind() == "prim::Loop":
                joined = _Behind(joined.nearest | behind.nearest, joined.learned or behind.learned)
            self.behind[key(value)] = joined

    def _joined(self, values: Iterable[Any]) -> _Behind:
        known = [self.behind[key(value)] for value in values if key(value) in self.behind]
        nearest = frozenset(name for item in known for name in item.nearest)
        return _Behind(nearest, any(item.learned for item in known))

    def _site(self, node: Any, behind: _Behind) -> FoundSite | None:
        if static_kind(node.kind()) is None or self._in_blur(node):
            return None
        source = node.inputsAt(0)
        before = self.shapes.get(key(source))
        weight = self._shape_of_weight(node)
        op = read(node, weight, len(before or ()))
        if op is None or op.kind == SLICE:
            return None if op is None else self._slice_site(node, op, behind)
        result = node.outputsAt(0)
        after = self.shapes.get(key(result))
        if before is None or after is None:
            self.not_run += max(op.stride) > 1 and op.blocker is None
            return None
        if len(before) != 4 or len(after) != 4:
            return None
        size_in, size_out = (before[2], before[3]), (after[2], after[3])
        op = _with_sizes(op, size_in, size_out)
        if max(op.stride) <= 1 or (op.kind != CONV and size_out == (1, 1) and _covers(op, size_in)):
            return None
        tail, tail_names = self._tail(result) if op.kind == CONV else (result, ())
        site = Site(
            self._name(node), op.kind, op.kernel, op.stride, size_in, size_out, before[1], after[1], op.padding,
            op.dilation, op.groups, tail_names, not behind.learned, tuple(sorted(behind.nearest)), None, False, op.blocker,
        )  # fmt: skip
        return FoundSite(site, op, node, tail)

    def _in_blur(self, node: Any) -> bool:
        """Whether the node belongs to a filter that an earlier patch put in."""
        return self.names.get(key(node.outputsAt(0)), "").partition("/")[0] in self.blurs

    def _shape_of_weight(self, node: Any) -> Shape | None:
        if static_kind(node.kind()) != CONV:
            return None
        weight = node.inputsAt(1)
        known = self.shapes.get(key(weight))
        value = weight.toIValue() if known is None else None
        return tuple(value.shape) if isinstance(value, Tensor) else known

    def _slice_site(self, node: Any, op: Op, behind: _Behind) -> FoundSite | None:
        """All strided slices of one map are one site, found at the first of them."""
        base = base_of(node)
        shape = self.shapes.get(key(base))
        if not op.steps or key(base) in self.sliced or shape is None or len(shape) != 4:
            return None
        sliced = sliced_map(base)
        if sliced is None:
            return None
        (rows, columns), stride = sliced.axes, sliced.stride
        last = rows == 1
        size = (shape[rows], shape[columns])
        name = self._name(node)
        self.sliced[key(base)] = name
        site = Site(
            name, SLICE, (1, 1), stride, size, (-(-size[0] // stride[0]), -(-size[1] // stride[1])),
            shape[3 if last else 1], shape[3 if last else 1], on_input=not behind.learned,
            after=tuple(sorted(behind.nearest)), blocker=sliced.blocker,
        )  # fmt: skip
        return FoundSite(site, op, node, node.output(), sliced.readers, last)

    def _tail(self, value: Any) -> tuple[Any, tuple[str, ...]]:
        names: list[str] = []
        while len(users := [use.user for use in value.uses() if not only_checks(use.user, value)]) == 1:
            user = users[0]
            what = pointwise(user)
            inside = user.owningBlock() == value.node().owningBlock()
            if what is None or not inside or user.inputsAt(0).unique() != value.unique():
                break
            result = user.outputsAt(0)
            if self.shapes.get(key(result)) != self.shapes.get(key(value)):
                break
            value = result
            names.append(self._label(user))
            if what == "activation":
                break
        return value, tuple(names)

    def _label(self, node: Any) -> str:
        """`bn1`, or the kind of layer where its name is a bare index; the operation where no module is known."""
        owner = self.paths.get(key(node.inputsAt(1))) if node.inputsSize() > 1 else None
        if not owner or "." not in owner:
            return operation(node)
        path = owner.rpartition(".")[0]
        name = path.rpartition(".")[2]
        return str(attrgetter(path)(self.module).original_name) if name.isdigit() else name

    def _name(self, node: Any) -> str:
        weight = self._weight(node)
        name = weight.rpartition(".")[0] if weight else ""
        name = name or self.names[key(next(iter(node.outputs())))]
        self.taken[name] = self.taken.get(name, 0) + 1
        return name if self.taken[name] == 1 else f"{name}@{self.taken[name]}"


def _with_sizes(op: Op, size_in: tuple[int, int], size_out: tuple[int, int]) -> Op:
    """Adaptive pools and interpolation have no stride of their own: the ratio of the sizes, at least 2 where they reduce.

    A stride that is computed while the network runs is told by the sizes as well.
    """
    if op.blocker == COMPUTED:
        near = [max(1, round(big / small)) for big, small in zip(size_in, size_out, strict=True)]
        return replace(op, stride=(near[0], near[1]))
    if op.kind not in (*ADAPTIVE_POOLS, INTERPOLATE):
        return op
    ratio = [max(2, big // small) if big > small else 1 for big, small in zip(size_in, size_out, strict=True)]
    return replace(op, kernel=(ratio[0], ratio[1]), stride=(ratio[0], ratio[1]))


def _covers(op: Op, size: tuple[int, int]) -> bool:
    return op.kind in ADAPTIVE_POOLS or all(k >= s for k, s in zip(op.kernel, size, strict=True))
