"""A network's downsampling stages: what is known of each, and the list of them that needs no images. No torch."""

from __future__ import annotations

from dataclasses import dataclass

from shiftaudit.records.skipped import SkippedStage
from shiftaudit.records.words import OpName


@dataclass(frozen=True)
class Downsampling:
    """One operation that makes a feature map smaller. Pairs are (y, x)."""

    name: str
    """Qualified module name (`layer2.0.conv2`), with `/op` appended where the module holds the op in its own code."""
    op: OpName
    stride: tuple[float, float]
    """Cumulative, of the output: input pixels per feature pixel."""
    layer_stride: tuple[float, float]
    level: int
    """1 for the first cumulative stride from the input, 2 for the next; all stages with one stride share it."""
    input_size: tuple[int, int]
    output_size: tuple[int, int]
    channels: int
    """Of the output."""


@dataclass(frozen=True)
class ListedStage(Downsampling):
    """One as it is listed."""

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
