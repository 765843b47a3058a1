"""Strided slices of an fx graph: which nodes take every n-th row or column of a map, and whether they can be filtered."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from torch import fx, nn

from shiftaudit.surgery.fx_ops import Pair, operation_name, read
from shiftaudit.surgery.plan import SLICE, WRITTEN_MAP, WRITTEN_SLICES, chain_start, spatial_axes

_OPERATORS_IN_PLACE = {
    "iadd",
    "isub",
    "imul",
    "itruediv",
    "ifloordiv",
    "imod",
    "ipow",
    "iand",
    "ior",
    "ixor",
    "setitem",
}


@dataclass(frozen=True)
class SlicedMap:
    """A map (N, C, H, W) or (N, H, W, C) of which slices skip rows or columns."""

    readers: tuple[fx.Node, ...]
    """The slices that read it, in the order of execution."""
    axes: tuple[int, int]
    """Of its rows and columns."""
    stride: Pair
    blocker: str | None


def base_of(node: fx.Node, modules: dict[str, nn.Module]) -> fx.Node:
    """The map that the chain of slices to which `node` belongs starts from; see `chain_start`."""
    maps, skipped = [node], list[Iterable[int]]()
    while (op := read(maps[0], modules)) is not None and op.kind == SLICE and isinstance(maps[0].args[0], fx.Node):
        maps.insert(0, maps[0].args[0])
        skipped.insert(0, op.steps)
    return maps[chain_start(skipped)]


def sliced_map(base: fx.Node, modules: dict[str, nn.Module]) -> SlicedMap | None:
    """How slices read `base`, a 4-D map; None where none of them skips rows or columns."""
    below = {user: steps for user in base.users if (steps := _steps_below(user, modules))}
    together = {dim: step for steps in below.values() for dim, step in steps.items()}
    axes = spatial_axes(together)
    if axes is None:
        return None
    order = {node: at for at, node in enumerate(base.graph.nodes)}
    readers = sorted((user for user, steps in below.items() if set(steps) & set(axes)), key=order.__getitem__)
    blocker = None
    if any(
        _writes(user, node, modules) for reader in readers for node in _chain(reader, modules) for user in node.users
    ):
        blocker = WRITTEN_SLICES
    elif any(_writes(user, base, modules) and order[user] > order[readers[0]] for user in base.users):
        blocker = WRITTEN_MAP
    return SlicedMap(tuple(readers), axes, (together.get(axes[0], 1), together.get(axes[1], 1)), blocker)


def _steps_below(node: fx.Node, modules: dict[str, nn.Module]) -> dict[int, int]:
    """Steps by dimension, of a slice and of the slices of it."""
    return {dim: step for one in _chain(node, modules) if (op := read(one, modules)) for dim, step in op.steps.items()}


def _chain(node: fx.Node, modules: dict[str, nn.Module], axes: frozenset[int] = frozenset()) -> Iterator[fx.Node]:
    """A slice and the slices of it, as far as each skips along axes of its own."""
    op = read(node, modules)
    if op is None or op.kind != SLICE or axes & set(op.steps):
        return
    yield node
    for user in node.users:
        yield from _chain(user, modules, axes | set(op.steps))


def _writes(node: fx.Node, value: fx.Node, modules: dict[str, nn.Module]) -> bool:
    """Whether a node changes the value that it reads first."""
    if not node.args or node.args[0] is not value:
        return False
    if node.op == "call_module":
        return bool(getattr(modules[str(node.target)], "inplace", False))
    name = operation_name(node)
    in_place = name.endswith("_") and not name.endswith("__")
    return in_place or name in _OPERATORS_IN_PLACE or node.kwargs.get("inplace") is True
