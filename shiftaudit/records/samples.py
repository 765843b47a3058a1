"""One line of a samples file: everything measured on one image, at full precision."""

from __future__ import annotations

from dataclasses import dataclass

from shiftaudit.records.cause import ImageDamage
from shiftaudit.records.report import Environment, ImageResult, ModelInfo, ProtocolInfo, SkippedStage
from shiftaudit.records.words import OpName

SlotErrors = tuple[tuple[float | None, ...], ...]
"""[slot][view] → distance, see `shiftaudit.stages.standard`; None where the maps could not be compared."""


@dataclass(frozen=True)
class ImageScore:
    """The answers on one image and, by protocol, the errors in every watched tensor."""

    image: ImageResult
    slot_errors: dict[str, SlotErrors]
    damage: ImageDamage | None = None


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
    grid: int | None
    """Number of the sampling grid, which stages between the same two strides share; None where it cannot be sampled elsewhere."""


@dataclass(frozen=True)
class Calibration:
    """What the maps of unrelated images give in one slot, in the units of its errors."""

    distance: float
    """The mean distance of two images: an error of 1."""
    floor: float
    """What interpolation alone is charged with at half a pixel (crop)."""
    n_constant: int
    """Channels that say the same everywhere, and are left out."""


@dataclass(frozen=True)
class RunImages:
    """The images and labels of a whole run, all shards together: rows of another run are told by them."""

    n_files: int
    """Files to be scored."""
    n_unusable: int
    """What looked like an image and was found to be none before anything was read."""
    names_sha256: str
    """Of the files' names and sizes."""
    labels_sha256: str


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
    not_sampled: tuple[SkippedStage, ...] = ()
    """Stages that cannot be sampled elsewhere, and why."""
    calibration: tuple[Calibration, ...] = ()
    """By slot; empty before the first images were seen."""
    n_calibration: int = 0
    """Images the calibration was made with."""
    shard: str | None = None
    """`i/n` where the file holds one of n shards."""
    images: RunImages | None = None
    """None until a run has them."""
