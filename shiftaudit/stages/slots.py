"""What a watched pass found: stages, the calls that sample, and the tensors to measure before and behind them."""

from __future__ import annotations

from dataclasses import dataclass, field

from shiftaudit.records.words import OpName
from shiftaudit.stages.ops import Pair


@dataclass(frozen=True)
class Slot:
    """One tensor to measure: the input or the output of the watched call with this index."""

    call: int
    is_output: bool
    kind: str
    """The call's kind, checked again on every pass."""
    shape: tuple[int, ...]
    """(C, H, W), or (H, W, C) when `channels_last_axis`."""
    stride: Pair
    channels_last_axis: bool

    @property
    def size(self) -> tuple[int, int]:
        """(H, W)."""
        return (self.shape[0], self.shape[1]) if self.channels_last_axis else (self.shape[1], self.shape[2])

    @property
    def channels(self) -> int:
        return self.shape[2] if self.channels_last_axis else self.shape[0]


@dataclass(frozen=True)
class Sampler:
    """A call that keeps every n-th value."""

    index: int
    kind: str
    axis: int | None = None
    """Of a slice: whether it skips rows (0) or columns (1)."""


@dataclass(frozen=True)
class FoundStage:
    """One downsampling operation: where it is, and the slots of its input and output."""

    name: str
    """Empty until all calls of the pass are known."""
    op: OpName
    layer_stride: tuple[float, float]
    input_slot: int
    output_slot: int
    samplers: tuple[Sampler, ...] = field(default=(), compare=False)
    """The calls that keep every n-th value: one, or each slice of several."""
    low_pass: bool = field(default=False, compare=False)
    """A convolution with a fixed smoothing filter."""
