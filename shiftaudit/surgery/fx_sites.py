"""Find the downsampling sites of an fx graph, with their sizes, their tails and what lies before them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils.flop_counter import FlopCounterMode

from shiftaudit.errors import PatchError
from shiftaudit.surgery.fx_ops import Op, Pair, operation_name, pointwise, read, shape_of, source_of
from shiftaudit.surgery.fx_slices import base_of, sliced_map
from shiftaudit.surgery.fx_trace import SCRIPT_HINT
from shiftaudit.surgery.plan import ADAPTIVE_POOLS, CONV, INTERPOLATE, SLICE, Site

_LEARNED = (nn.Conv2d, nn.Linear, nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)
_LEARNED_NAMES = ("conv", "linear", "matmul", "mm", "pool")


@dataclass(frozen=True)
class FoundSite:
    """A site and where it is in the graph."""

    site: Site
    op: Op
    node: fx.Node
    tail: fx.Node
    """The last node of the tail; the node itself where there is none."""
    slices: tuple[fx.Node, ...] = ()
    """Of a slice site: the nodes that read the map that is to be filtered."""
    channels_last: bool = False


@dataclass(frozen=True)
class Reading:
    """All sites of a graph in the order of execution, and the multiply-adds of the network."""

    sites: tuple[FoundSite, ...]
    macs: int
    output: Any
    """What the graph returned for the example."""


class _Shapes(fx.Interpreter):
    """Runs the graph once and notes in `meta` the shape of every tensor, and whether a node puts out several."""

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        n.meta.pop("shape", None)
        n.meta["several"] = isinstance(result, (tuple, list))
        if isinstance(result, Tensor):
            n.meta["shape"] = tuple(result.shape)
            n.meta["quantised"] = result.is_quantized
        elif isinstance(result, (tuple, list)) and result and isinstance(result[0], Tensor):
            n.meta["shape"] = tuple(result[0].shape)
        return result


def read_graph(graph_module: fx.GraphModule, example: Tensor) -> Reading:
    """Run the graph on `example` (N, C, H, W) and read its sites.

    Raises:
        PatchError: the graph does not run on the example, or computes with quantised tensors.
    """
    counter = FlopCounterMode(display=False)
    try:
        with torch.no_grad(), _without_gradients(graph_module), counter:
            output = _Shapes(graph_module).run(example)
    except Exception as error:
        message = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise PatchError(
            f"the traced model does not run on an input of shape {tuple(example.shape)}: {message}", hint=SCRIPT_HINT
        ) from error
    if any(node.meta.get("quantised") for node in graph_module.graph.nodes):
        raise PatchError(
            "the model computes with quantised tensors and cannot be patched", hint="patch the float model"
        )
    sites = _Reader(graph_module).read()
    return Reading(sites, counter.get_total_flops() // 2 // example.shape[0], output)


@contextmanager
def _without_gradients(module: nn.Module) -> Iterator[None]:
    """The counter of multiply-adds fails on a layer that is given a parameter as its input, unless it wants no gradient."""
    wanted = [parameter for parameter in module.parameters() if parameter.requires_grad]
    try:
        for parameter in wanted:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter in wanted:
            parameter.requires_grad_(True)


class _Reader:
    def __init__(self, graph_module: fx.GraphModule) -> None:
        self.graph = graph_module.graph
        self.modules = dict(graph_module.named_modules(remove_duplicate=False))
        self.parameters = {name for name, _ in graph_module.named_parameters(remove_duplicate=False)}
        self.found: list[FoundSite] = []
        self.names: dict[str, int] = {}
        # What each value depends on: the nearest sites, and whether anything learned lies behind it.
        self.nearest: dict[fx.Node, frozenset[str]] = {}
        self.learned: dict[fx.Node, bool] = {}
        self.sliced: dict[fx.Node, str] = {}

    def read(self) -> tuple[FoundSite, ...]:
        for node in self.graph.nodes:
            inputs = node.all_input_nodes
            near = frozenset().union(*(self.nearest[item] for item in inputs))
            learned = any(self.learned[item] for item in inputs)
            op = read(node, self.modules)
            found = None if op is None else self._site(node, op, near, learned)
            if found is not None:
                self.found.append(found)
                near = frozenset((found.site.name,))
            elif op is not None and op.kind == SLICE and base_of(node, self.modules) in self.sliced:
                near = frozenset((self.sliced[base_of(node, self.modules)],))
            self.nearest[node] = near
            self.learned[node] = learned or self._learns(node)
        return tuple(self.found)

    def _learns(self, node: fx.Node) -> bool:
        if node.op == "call_module":
            return any(isinstance(child, _LEARNED) for child in self.modules[str(node.target)].modules())
        return any(part in operation_name(node) for part in _LEARNED_NAMES)

    def _site(self, node: fx.Node, op: Op, near: frozenset[str], learned: bool) -> FoundSite | None:
        if op.kind == SLICE:
            return self._slice_site(node, op, near, learned)
        before, after = shape_of(source_of(node)), shape_of(node)
        if before is None or after is None or len(before) != 4 or len(after) != 4:
            return None
        size_in, size_out = (before[2], before[3]), (after[2], after[3])
        op = _with_sizes(op, size_in, size_out)
        if op.weight is not None and self._is_fixed(op.weight):
            op = replace(op, blocker="its weights are fixed: it is a filter already")
        if max(op.stride) <= 1 or (op.kind != CONV and size_out == (1, 1) and _covers(op, size_in)):
            return None
        name, group = self._name(node, op)
        tail, tail_names = self._tail(node) if op.kind == CONV else (node, ())
        site = Site(
            name, op.kind, op.kernel, op.stride, size_in, size_out, before[1], after[1], op.padding, op.dilation, op.groups,
            tail_names, not learned, tuple(sorted(near)), group, op.opaque, op.blocker,
        )  # fmt: skip
        return FoundSite(site, op, node, tail)

    def _slice_site(self, node: fx.Node, op: Op, near: frozenset[str], learned: bool) -> FoundSite | None:
        """All strided slices of one map are one site, found at the first of them."""
        base = base_of(node, self.modules)
        shape = shape_of(base)
        if not op.steps or base in self.sliced or shape is None or len(shape) != 4:
            return None
        sliced = sliced_map(base, self.modules)
        if sliced is None:
            return None
        (rows, columns), stride = sliced.axes, sliced.stride
        last = rows == 1
        size = (shape[rows], shape[columns])
        name = self._unique(f"{_owner(node)}/slice" if node.op == "call_function" else str(node.target))
        self.sliced[base] = name
        site = Site(
            name, SLICE, (1, 1), stride, size, (-(-size[0] // stride[0]), -(-size[1] // stride[1])),
            shape[3 if last else 1], shape[3 if last else 1], on_input=not learned, after=tuple(sorted(near)),
            blocker=sliced.blocker,
        )  # fmt: skip
        return FoundSite(site, op, base, base, sliced.readers, last)

    def _is_fixed(self, weight: fx.Node) -> bool:
        """Whether a convolution's weight comes from buffers and numbers alone: someone else's BlurPool."""
        if weight.op == "placeholder":
            return False
        if weight.op == "get_attr":
            return weight.target not in self.parameters
        # Methods such as `.to(x.dtype)` and `.expand(x.shape[1], ...)` take no more than a type or size from the map.
        sources = weight.all_input_nodes[:1] if weight.op == "call_method" else weight.all_input_nodes
        return all(self._is_fixed(item) for item in sources)

    def _tail(self, node: fx.Node) -> tuple[fx.Node, tuple[str, ...]]:
        names: list[str] = []
        while len(node.users) == 1:
            user = next(iter(node.users))
            what = pointwise(user, self.modules)
            if what is None or user.all_input_nodes[:1] != [node] or shape_of(user) != shape_of(node):
                break
            node = user
            names.append(self._label(user))
            if what == "activation":
                break
        return node, tuple(names)

    def _label(self, node: fx.Node) -> str:
        """`bn1`, or the kind of layer where its name is a bare index."""
        if node.op != "call_module":
            return operation_name(node)
        name = str(node.target).rpartition(".")[2]
        return type(self.modules[str(node.target)]).__name__ if name.isdigit() else name

    def _name(self, node: fx.Node, op: Op) -> tuple[str, str | None]:
        if node.op == "call_module":
            target = str(node.target)
            return self._unique(target), target if op.kind == CONV else None
        if op.weight is not None and op.weight.op == "get_attr":
            return self._unique(str(op.weight.target).rpartition(".")[0] or op.kind), None
        owner, own_code = _owner_and_kind(node)
        return self._unique((f"{owner}/{op.kind}" if owner else op.kind) if own_code else owner), None

    def _unique(self, name: str) -> str:
        name = name.removeprefix("/")
        self.names[name] = self.names.get(name, 0) + 1
        return name if self.names[name] == 1 else f"{name}@{self.names[name]}"


def _with_sizes(op: Op, size_in: Pair, size_out: Pair) -> Op:
    if op.kind not in (*ADAPTIVE_POOLS, INTERPOLATE):
        return op
    ratio = tuple(max(1, big // small) for big, small in zip(size_in, size_out, strict=True))
    if op.kind == INTERPOLATE or ratio == (1, 1):
        # A reduction by less than two has no integer stride, but it does reduce.
        ratio = tuple(
            2 if big > small and r == 1 else r for big, small, r in zip(size_in, size_out, ratio, strict=True)
        )
    return Op(op.kind, (ratio[0], ratio[1]), (ratio[0], ratio[1]), output_size=op.output_size, blocker=op.blocker)


def _covers(op: Op, size: Pair) -> bool:
    return op.kind in ADAPTIVE_POOLS or all(k >= s for k, s in zip(op.kernel, size, strict=True))


def _owner(node: fx.Node) -> str:
    return _owner_and_kind(node)[0]


def _owner_and_kind(node: fx.Node) -> tuple[str, bool]:
    """The module whose forward made the node, and whether it did so in code of its own (False for a `torch.nn` layer)."""
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    if not stack:
        return "", True
    name, kind = stack[-1]
    kind = kind if isinstance(kind, str) else f"{kind.__module__}.{kind.__qualname__}"
    return str(name).removeprefix("L['self'].").removeprefix("L__self___"), not kind.startswith("torch.nn.modules.")
