"""How many views go through the network at a time."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")

_ALLOCATION_LIMIT = 32 * 2**20
_FEWEST_VIEWS, _MOST_VIEWS = 4, 64


def batch_size(largest_bytes: int, device: str) -> int:
    """How many views to run in one pass when nobody says.

    On the CPU the largest tensor of a pass should stay below 32 MiB: the C library hands larger blocks back to the system each
    time they are freed, and caches are of that order too. Computed and not timed, since two runs that chose differently would
    differ in their last digits.

    Args:
        largest_bytes: of the largest tensor that one view makes.
        device: the kind of device the network runs on.

    >>> batch_size(96 * 112 * 112 * 4, "cpu"), batch_size(96 * 112 * 112 * 4, "cuda")
    (6, 64)
    """
    if device != "cpu":
        return _MOST_VIEWS
    return min(_MOST_VIEWS, max(_FEWEST_VIEWS, (_ALLOCATION_LIMIT - 1) // max(1, largest_bytes)))


def even_parts(items: Sequence[T], most: int) -> Iterator[Sequence[T]]:
    """Consecutive parts of at most `most` items, as equal as can be; none of nothing.

    >>> [len(part) for part in even_parts(range(13), 9)]
    [7, 6]
    """
    n_parts = max(1, -(-len(items) // most))
    ends = [-(-part * len(items) // n_parts) for part in range(n_parts + 1)]
    for start, end in itertools.pairwise(ends):
        if end > start:
            yield items[start:end]
