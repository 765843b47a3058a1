"""What an audit left out, and why."""

from __future__ import annotations

from dataclasses import dataclass

from shiftaudit.records.words import OpName


@dataclass(frozen=True)
class Skipped:
    """A file that was not scored."""

    path: str
    reason: str


@dataclass(frozen=True)
class SkippedStage:
    """A downsampling operation that was seen but not measured."""

    name: str
    op: OpName | None
    """None where it stands for all stages of a model whose feature maps cannot be seen."""
    reason: str

    def __str__(self) -> str:
        return f"{self.name} ({self.op}): {self.reason}" if self.op else f"{self.name}: {self.reason}"
