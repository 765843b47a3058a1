"""Strided slices of a TorchScript graph: which nodes take every n-th row or column of a map, and whether they can be filtered."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from shiftaudit.stages.names import static_kind
from shiftaudit.surgery.plan import SLICE, WRITTEN_MAP, WRITTEN_SLICES, Size, chain_start, spatial_axes
from shiftaudit.surgery.torchscript_ops import read

_RANK = 4


@dataclass(frozen=True)
class SlicedMap:
    """A map (N, C, H, W) or (N, H, W, C) of which slices skip rows or columns."""

    readers: tuple[Any, ...]
    """The slices that read it, in program order."""
    axes: tuple[int, int]
    """Of its rows and columns."""
    stride: Size
    blocker: str | None


def base_of(node: Any) -> Any:
    """The map that the chain of slices to which `node` belongs starts from; see `chain_start`."""
    slices = [node]
    while slices[0].inputsAt(0).node().kind() == "aten::slice":
        slices.insert(0, slices[0].inputsAt(0).node())
    return slices[chain_start(map(_axes, slices))].inputsAt(0)


def sliced_map(base: Any) -> SlicedMap | None:
    """How slices read `base`, a 4-D map; None where none of them skips rows or columns."""
    users = [use.user for use in base.uses() if use.offset == 0]
    below = [(user, steps) for user in users if (steps := _steps_below(user))]
    together = {dim: step for _, steps in below for dim, step in steps.items()}
    axes = spatial_axes(together)
    if axes is None:
        return None
    readers = sorted((user for user, steps in below if set(steps) & set(axes)), key=_Order)
    blocker = None
    if any(_is_written(node.output()) for reader in readers for node in _chain(reader)):
        blocker = WRITTEN_SLICES
    elif any(_writes(user) and readers[0].isBefore(user) for user in users):
        blocker = WRITTEN_MAP
    elif any(reader.owningBlock() != readers[0].owningBlock() for reader in readers[1:]):
        blocker = "its slices are in different branches"
    return SlicedMap(tuple(readers), axes, (together.get(axes[0], 1), together.get(axes[1], 1)), blocker)


class _Order:
    """Sorts nodes of one graph by where they run."""

    def __init__(self, node: Any) -> None:
        self.node = node

    def __lt__(self, other: _Order) -> bool:
        return bool(self.node.isBefore(other.node))


def _steps_below(node: Any) -> dict[int, int]:
    """Steps by dimension, of a slice and of the slices of it."""
    return {dim: step for one in _chain(node) if (op := read(one, None, _RANK)) for dim, step in op.steps.items()}


def _chain(node: Any, axes: frozenset[int] = frozenset()) -> Iterator[Any]:
    """A slice and the slices of it, as far as each skips along axes of its own."""
    if static_kind(node.kind()) != SLICE or read(node, None, _RANK) is None or axes & _axes(node):
        return
    yield node
    for use in node.output().uses():
        if use.offset == 0:
            yield from _chain(use.user, axes | _axes(node))


def _axes(node: Any) -> frozenset[int]:
    """The axes along which a slice skips; none where the node is no slice that can be read."""
    op = read(node, None, _RANK)
    return frozenset() if op is None else frozenset(op.steps)


def _is_written(value: Any) -> bool:
    return any(_writes(use.user) and use.offset == 0 for use in value.uses())


def _writes(node: Any) -> bool:
    """Whether a call changes what it reads first: `aten::add_`, but not `aten::__and__`."""
    kind = str(node.kind())
    return kind.endswith("_") and not kind.endswith("__")
