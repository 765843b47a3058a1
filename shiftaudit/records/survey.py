"""A network's downsampling stages as they are listed without images. No torch."""

from __future__ import annotations

from dataclasses import dataclass

from shiftaudit.records.skipped import SkippedStage


@dataclass(frozen=True)
class ListedStage:
    """One downsampling operation. Pairs are (y, x)."""

    name: str
    op: str
    stride: tuple[float, float]
    layer_stride: tuple[float, float]
    level: int
    input_size: tuple[int, int]
    output_size: tuple[int, int]
    channels: int
    filtering: str
    """`filtered`: a fixed low-pass filter comes with it; `averaged`: an average-pool's weak box filter; else `aliased`."""
    patch_action: str | None
    """What `patch` would do with its default options; None where it does not see the operation."""
    patch_reason: str | None


@dataclass(frozen=True)
class StageList:
    """All stages of a network at the size of its preprocessing."""

    source: str
    input_size: int
    stages: tuple[ListedStage, ...]
    skipped: tuple[SkippedStage, ...]
    patch_note: str | None
    """Why `patch` cannot work on this model, None where it can."""
