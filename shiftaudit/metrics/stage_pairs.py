"""Which stage of one report is which of another's. No torch."""

from __future__ import annotations

from collections.abc import Sequence

from shiftaudit.records.report import Stage

StagePair = tuple[str, Stage | None, Stage | None]


def pair_stages(a: Sequence[Stage], b: Sequence[Stage]) -> list[StagePair]:
    """The stages of two reports side by side, under the name they have in the first that has them.

    A patch puts its blur where the stride was, so names change, but neither the number of stages nor the strides do: where both
    lists have the same strides in the same order they are paired by position. Otherwise equal names are paired, and what only one
    side has stands alone.
    """
    if [stage.stride for stage in a] == [stage.stride for stage in b]:
        return [(first.name, first, second) for first, second in zip(a, b, strict=True)]
    by_name = {stage.name: stage for stage in b}
    pairs: list[StagePair] = [(stage.name, stage, by_name.pop(stage.name, None)) for stage in a]
    return pairs + [(name, None, stage) for name, stage in by_name.items()]
