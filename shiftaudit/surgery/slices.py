"""Strided slices: which calls take every n-th row or column of a map, and whether the map can be filtered in front of them.

All slices of one map are one site. The case that breaks the naive way: patch merging takes four phases by two slices each, the
rows first and then the columns of those, so that the eight slices of one site are a tree of chains; and in
`x[:, :, ::2][:, :, ::2]` the second slice reads the first and is a site of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from shiftaudit.stages.ops import SLICE
from shiftaudit.surgery.graph import Call, Graph, Size, Uses, Value
from shiftaudit.surgery.maps import is_feature_map
from shiftaudit.surgery.ops import kind_of, slice_steps

WRITTEN_SLICES = "its slices are written to"
WRITTEN_MAP = "its map is changed in place after a slice was taken"
BRANCHES = "its slices are in different branches"


@dataclass(frozen=True)
class SlicedMap:
    """A map (N, C, H, W) or (N, H, W, C) of which slices skip rows or columns."""

    readers: tuple[Call, ...]
    """The slices that read it, in program order."""
    axes: tuple[int, int]
    """Of its rows and columns."""
    stride: Size
    blocker: str | None


def base_of(call: Call, graph: Graph, uses: Uses) -> Value:
    """The map that the chain of slices to which `call` belongs starts from; see `chain_start`."""
    chain = [call]
    while (maker := uses.makers.get(chain[0].source)) is not None and maker.name == "slice":
        chain.insert(0, maker)
    return chain[chain_start(slice_steps(one, graph) for one in chain)].source


def sliced_map(base: Value, graph: Graph, uses: Uses) -> SlicedMap | None:
    """How slices read `base`, a 4-D map; None where none of them skips rows or columns."""
    users = [user for user in uses.readers(base) if user.source == base]
    below = {user: steps for user in users if (steps := _steps_below(user, graph, uses))}
    together = {dim: step for steps in below.values() for dim, step in steps.items()}
    axes = spatial_axes(together)
    if axes is None or not is_feature_map(base, set(together) & set(axes), graph, uses):
        return None
    readers = tuple(user for user, steps in below.items() if set(steps) & set(axes))
    cuts = [cut.outs[0] for reader in readers for cut in _chain(reader, graph, uses)]
    first = uses.position[readers[0]]
    blocker = None
    if any(user.in_place and user.source == cut for cut in cuts for user in uses.readers(cut)):
        blocker = WRITTEN_SLICES
    elif any(user.in_place and uses.position[user] > first for user in users):
        blocker = WRITTEN_MAP
    elif any(reader.block != readers[0].block for reader in readers[1:]):
        blocker = BRANCHES
    return SlicedMap(readers, axes, (together.get(axes[0], 1), together.get(axes[1], 1)), blocker)


def spatial_axes(steps: Iterable[int]) -> tuple[int, int] | None:
    """The axes (y, x) along which slices of a 4-D map skip rows and columns; None where they skip channels or images alone.

    Args:
        steps: dimensions in which a slice takes every n-th entry. Maps may hold their channels last, as Swin's do, but
            skipping along dimension 1 alone takes every n-th channel of the usual layout.

    >>> spatial_axes([2, 3]), spatial_axes([1, 2]), spatial_axes([1])
    ((2, 3), (1, 2), None)
    """
    dimensions = set(steps) - {0}
    if dimensions == {1, 2}:
        return 1, 2
    return (2, 3) if dimensions & {2, 3} else None


def chain_start(skipped: Iterable[Iterable[int]]) -> int:
    """Which of several slices, each reading the one before, starts the chain that the last belongs to.

    Each axis is skipped along once in a chain: a slice that skips rows for the second time starts one of its own.

    Args:
        skipped: the axes along which each skips, from the map on.

    >>> chain_start([[2], [3]]), chain_start([[2], [3], [2], [3]]), chain_start([[2, 3], [2]])
    (0, 2, 1)
    """
    start, axes = 0, set[int]()
    for index, own in enumerate(map(set, skipped)):
        if axes & own:
            start, axes = index, set()
        axes |= own
    return start


def _steps_below(call: Call, graph: Graph, uses: Uses) -> dict[int, int]:
    """Steps by dimension, of a slice and of the slices of it."""
    return {dim: step for one in _chain(call, graph, uses) for dim, step in slice_steps(one, graph).items()}


def _chain(call: Call, graph: Graph, uses: Uses, axes: frozenset[int] = frozenset()) -> Iterator[Call]:
    """A slice and the slices of it, as far as each skips along axes of its own."""
    steps = slice_steps(call, graph)
    if kind_of(call) != SLICE or axes & set(steps):
        return
    yield call
    for user in uses.readers(call.outs[0]):
        if user.source == call.outs[0]:
            yield from _chain(user, graph, uses, axes | set(steps))
