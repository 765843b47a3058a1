"""Why answers change: what stages do to them when they sample elsewhere, and what of a change is aliasing and what the border."""

from __future__ import annotations

from dataclasses import dataclass

from shiftaudit.records.metric import Metric, Shift
from shiftaudit.records.words import Protocol

# --- rows of one image ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Change:
    """One answer against that of the unshifted view."""

    changed: bool
    """The top-1 class is another."""
    variation: float
    """Total variation between the probabilities, ½ Σ |p − q|, in [0, 1]."""


@dataclass(frozen=True)
class SplitView:
    """One shifted view of one image, and what either cause alone does at that shift."""

    shift: Shift
    observed: Change
    aliasing: Change
    """The image at rest, all stages sampling it where they would sample the shifted view."""
    border: Change
    """The shifted view, all stages sampling it where they sampled the image at rest, so that only borders have moved."""


@dataclass(frozen=True)
class StageChange:
    """The image at rest, the stages of one grid sampling it at another phase."""

    grid: int
    """As in `StageLayout.grid`."""
    phase: Shift
    change: Change
    wrapped: float | None = None
    """The total variation of the same where the whole network pads circularly, against its own answer at rest: what is left
    without a border. None where that was not measured."""


@dataclass(frozen=True)
class ImageDamage:
    """What was found on one image."""

    views: tuple[SplitView, ...]
    stages: tuple[StageChange, ...]


# --- a report ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Damage:
    """What sampling at another phase does to the answers, for one stage and those that share its grid."""

    changed: Metric
    """Share of answers that change."""
    variation: Metric
    """Mean total variation of the probabilities."""
    together: tuple[str, ...]
    """The stages between the same two strides, which sample together: another phase of one alone would lay its map beside the
    others'."""
    border: Metric | None = None
    """What borders have in `variation`: it, minus what is left of it where the whole network pads circularly. Below 0 where
    the wrapped edge is worse than the padding. None where that was not measured (`--damage N` measures it)."""


@dataclass(frozen=True)
class Split:
    """A change and its causes, in one unit: the share of answers that change, or the total variation of the probabilities."""

    observed: Metric
    aliasing: Metric
    """What aliasing alone would change."""
    border: Metric
    """What padding, the wrapped or new edge, and whatever else depends on place would change alone."""
    overlap: Metric
    """aliasing + border − observed: what either alone would change, and what both owe to the grid's other place to the border."""
    aliasing_share: Metric
    """(observed + aliasing − border) / 2: what aliasing causes of the change; the border causes the rest."""
    ceiling: Metric
    """The smaller of observed and aliasing: the most that a perfect anti-aliasing could win."""


@dataclass(frozen=True)
class Cause:
    """Why answers change under one protocol; by distance moved in `DistanceBin.split`."""

    protocol: Protocol
    answers: Split
    variation: Split
    total_stride: tuple[float, float]
    """Shifts by its multiples, (y, x) pixels, do not alias."""
    n_views: int
    """Views that were taken apart, of all images."""
    n_images: int
    """Images whose views they are."""
    n_answers: int
    """Answers that were computed for this and for the stages' damage, beside those of the views."""
    left_out: tuple[str, ...]
    """Stages that cannot be sampled elsewhere; their aliasing is counted with the border."""
