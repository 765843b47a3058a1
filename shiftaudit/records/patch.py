"""What a patch did: options, one record per downsampling site, and the whole.

Sizes are (height, width), strides and filters (y, x); drift is in input pixels, positive when sample centres moved down
or right; multiply-adds are counted for one image.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from shiftaudit.errors import PatchError
from shiftaudit.records.options import option
from shiftaudit.records.words import OpName

PATCH_SCHEMA_VERSION = 1
_SITES = "Sites"

FILTER_SIZES: tuple[int, ...] = (1, 2, 3, 4, 5, 6, 7)
PADS: tuple[str, ...] = ("reflect", "replicate", "zeros", "circular")
POST_ACTIVATION = "post-activation"
PRE_CONV = "pre-conv"
PLACEMENTS: tuple[str, ...] = (POST_ACTIVATION, PRE_CONV)

# What is done at a site.
Action = Literal[
    "blur_after_tail", "blur_after_op", "blur_before_conv", "blur_after_pool", "blur_before_slice", "leave"
]
BLUR_AFTER_TAIL: Final = "blur_after_tail"
BLUR_AFTER_OP: Final = "blur_after_op"
BLUR_BEFORE_CONV: Final = "blur_before_conv"
BLUR_AFTER_POOL: Final = "blur_after_pool"
BLUR_BEFORE_SLICE: Final = "blur_before_slice"
LEAVE: Final = "leave"


Backend = Literal["fx", "torchscript", "onnx"]
"""The graph that was rewritten."""


@dataclass(frozen=True)
class PatchOptions:
    """What the user asked for.

    Raises:
        PatchError: a value is out of range.
    """

    filter_size: int = option(3, "1 to 7; even sizes move the sample grid, 1 changes nothing.")
    pad: str = option("reflect", "reflect, replicate, zeros or circular.")
    strength: float = option(
        1.0, "Strength of the filters: 1 is full, less blends in plain subsampling.", above=0, most=1
    )
    """Rows of size 3 are [a, 1 - 2a, a] with a = strength / 4."""
    stem: bool = option(
        False, "Patch the strided convolution on the input, too.", flag="--stem/--no-stem", group=_SITES
    )
    patchify: bool = option(False, "Blur ahead of patch embeddings, too.", group=_SITES)
    """Convolutions whose windows do not overlap."""
    placement: str = option(POST_ACTIVATION, "post-activation, or pre-conv (cheap: blur, then the strided conv).")
    """`post-activation`: dense convolution, norm, activation, BlurPool. `pre-conv`: blur, then strided convolution."""
    fold: bool = option(
        False, "Merge filters into the convolutions behind them, where that is exact and costs no more."
    )
    """The weights of those convolutions are wider than the original's."""
    only: tuple[str, ...] = option((), "Sites to patch, by name: 'layer[34].*'.", group=_SITES)
    """Patterns (`*`, `?`, `[...]`), or one as text; when given, no other site is patched."""
    skip: tuple[str, ...] = option((), "Sites to leave, by name.", group=_SITES)

    def __post_init__(self) -> None:
        for name in ("only", "skip"):
            patterns = getattr(self, name)
            object.__setattr__(self, name, (patterns,) if isinstance(patterns, str) else tuple(patterns))
        if self.filter_size not in FILTER_SIZES or not isinstance(self.filter_size, int):
            raise PatchError(f"filter size {self.filter_size} is not supported", hint="use 1 to 7")
        for value, known, what in ((self.pad, PADS, "pad mode"), (self.placement, PLACEMENTS, "placement")):
            if value not in known:
                raise PatchError(f"unknown {what} {value!r}", hint=f"use one of {', '.join(known)}")
        if not 0 < self.strength <= 1:
            raise PatchError(f"filter strength {self.strength} is not supported", hint="use more than 0, at most 1")


@dataclass(frozen=True)
class SiteRecord:
    """One downsampling site: what it was, and what was done or why not."""

    name: str
    op: OpName
    kernel: tuple[int, int]
    stride: tuple[int, int]
    channels: int
    """Of the output."""
    input_size: tuple[int, int]
    output_size: tuple[int, int]
    action: Action
    """`leave` where nothing was changed."""
    filter_size: tuple[int, int]
    """(1, 1) where nothing was changed; 1 along an axis that is not subsampled."""
    pad: str | None
    """The mode really used at this size, after a fallback on small maps; None where nothing was changed."""
    reason: str
    drift: tuple[float, float]
    """How far this site alone moves the sample grid, in input pixels."""
    macs_before: int
    macs_after: int
    """Of the site alone, its blur included."""
    folded: bool = False
    """The blur is part of the convolution's weight."""
    not_folded: str | None = None
    """Why not, where that was asked for."""


@dataclass(frozen=True)
class PatchRecord:
    """The whole patch: carried inside a patched file and printed by the command line."""

    schema_version: int
    tool_version: str
    backend: Backend
    options: PatchOptions
    input_size: tuple[int, int]
    """Height and width the sizes and multiply-adds were taken at."""
    sites: tuple[SiteRecord, ...]
    drift: tuple[float, float]
    """How far the deepest feature map's sample grid moved along the worst path, in input pixels."""
    macs_before: int
    macs_after: int
    """Of all convolutions, linear layers and blurs of the network."""
    notes: tuple[str, ...] = ()
    strength: float = 1.0
    """Of the filters: 1 is the full binomial filter, less is a blend with plain subsampling."""

    @property
    def patched(self) -> tuple[SiteRecord, ...]:
        """The sites that were changed."""
        return tuple(site for site in self.sites if site.action != LEAVE)

    @property
    def folded(self) -> tuple[SiteRecord, ...]:
        """The sites whose filter is part of a convolution's weight."""
        return tuple(site for site in self.sites if site.folded)

    @property
    def left(self) -> tuple[SiteRecord, ...]:
        """The sites that were left as they are."""
        return tuple(site for site in self.sites if site.action == LEAVE)
