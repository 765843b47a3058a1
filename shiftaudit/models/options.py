"""What a user may say about a model beside its name."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ModelOptions:
    """All optional; None means: as the file or the weights say."""

    weights: str | None = None
    """`DEFAULT`, `none` (random, seeded), a member of the weights enum, or a file. None is `DEFAULT` for a name."""
    arch: str | None = None
    """Network of a state dict: a torchvision name, `timm:NAME` or an import string."""
    trust: bool = False
    """Load files that can run Python: `.pt2` and pickled modules."""
    size: int | None = None
    resize: int | None = None
    mean: tuple[float, ...] | None = None
    """In [0, 1] units, one value or one a channel."""
    std: tuple[float, ...] | None = None
    interpolation: str | None = None
    channels: int | None = None
    output: str | None = None
    """Key or index of the logits among several outputs."""
    seed: int = 0
    """Of random weights."""
