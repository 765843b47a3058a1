"""Join the operations that a graph lists with those that a run made.

The naive way gives the n-th operation of a run the n-th name of the graph. A scripted `x = small(x) if x.size(2) < 32
else large(x)` and a loop of two turns round `last` list [small, large, last] and run [large, last, last]: counting
names large's run `small`. Weights do not settle it: pools have none, and frozen or packed ones have no name. So the
lists are compared as texts are, by their longest common subsequence, in which weights known to be equal count double.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from shiftaudit.stages.names import NamedOp, owner_of


def align(static: Sequence[NamedOp], runtime: Sequence[tuple[str, str | None]]) -> list[str]:
    """Names for the operations of a run: the longest common subsequence of the graph's operations and the run's.

    Args:
        static: the graph's operations in program order.
        runtime: (kind, weight name or None) in the order they ran.

    A pair must agree in kind, and in the weight where both are known. What the graph does not explain (a loop's second turn)
    is named by its weight, or by kind and ordinal.

    >>> from shiftaudit.stages.names import NamedOp
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
            names.append(by_weight.get(weight) or owner_of(weight) or weight)
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
