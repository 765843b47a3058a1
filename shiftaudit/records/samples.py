"""One line of a samples file: everything measured on one image, at full precision."""

from __future__ import annotations

from dataclasses import dataclass

from shiftaudit.records.report import Environment, ImageResult, ModelInfo, ProtocolInfo, SkippedStage
from shiftaudit.records.words import OpName

SlotErrors = tuple[tuple[tuple[float | None, float | None], ...], ...]
"""[slot][view] → (1 − cos, relative L2); None where the maps could not be compared."""


@dataclass(frozen=True)
class ImageScore:
    """The answers on one image and, by role (`circular`, `crop`, `padding`), the errors in every watched tensor."""

    image: ImageResult
    slot_errors: dict[str, SlotErrors]


@dataclass(frozen=True)
class StageLayout:
    """One stage as discovered, before anything was measured; `*_slot` index the slot errors of every image."""

    name: str
    op: OpName
    layer_stride: tuple[float, float]
    stride: tuple[float, float]
    input_size: tuple[int, int]
    output_size: tuple[int, int]
    channels: int
    input_slot: int
    output_slot: int


@dataclass(frozen=True)
class SamplesHeader:
    """First line of a samples file: what makes rows of two files belong to one report."""

    schema_version: int
    tool_version: str
    model: ModelInfo
    protocol: ProtocolInfo
    environment: Environment
    layout: tuple[StageLayout, ...]
    skipped_stages: tuple[SkippedStage, ...]
    class_names: tuple[str, ...] | None
    limit: int | None
    shard: str | None = None
    """`i/n` where the file holds one of n shards."""
