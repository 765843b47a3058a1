"""What patching each downsampling site alone would change, before any training. No torch."""

from __future__ import annotations

from dataclasses import dataclass

from shiftaudit.records.metric import Metric
from shiftaudit.records.patch import PatchOptions
from shiftaudit.records.report import ModelInfo, ProtocolInfo
from shiftaudit.records.words import Protocol


@dataclass(frozen=True)
class Change:
    """A mean over images with its 95 % interval. Differences are patched minus original."""

    value: float
    ci_low: float | None
    ci_high: float | None
    n_images: int


@dataclass(frozen=True)
class Trial:
    """The network with some sites patched, compared with the original on the same views."""

    sites: tuple[str, ...]
    consistency: dict[Protocol, Change]
    """By protocol: the difference in consistency."""
    mean_consistency: Change
    """The difference in the mean of the protocols' consistencies: what the sites are ranked by."""
    agreement: Change
    """Share of images on which the unshifted answer is the original's."""
    accuracy: Change | None
    """The difference in accuracy; None without labels."""
    harmless: bool
    """Whether the answers are still the original's; see `Advice.rule`."""
    gains: bool
    """Whether consistency surely rises: the interval of its difference lies above 0."""
    damage: float | None = None
    """Of the site's stage: how much probability moves when it alone samples elsewhere. None of several, or where unmeasured."""


@dataclass(frozen=True)
class RefitTrial:
    """A trial of a copy that was refitted first, on images that it was not fitted on; and what the copy costs."""

    trial: Trial
    macs_before: int
    macs_after: int
    """Multiply-adds of the whole network for one image."""
    milliseconds_before: float
    milliseconds_after: float
    """For one image on this machine: the median of several runs, original and copy in turn."""


@dataclass(frozen=True)
class Advice:
    """The trials of single sites, by the damage of their stages, of growing sets of them, and what is proposed."""

    model: ModelInfo
    protocol: ProtocolInfo
    options: PatchOptions
    original_consistency: dict[Protocol, float]
    original_accuracy: float | None
    n_images: int
    rule: str
    """When a patch counts as harmless, in words."""
    singles: tuple[Trial, ...]
    combined: tuple[Trial, ...]
    proposal: tuple[str, ...]
    """The sites to patch; empty when no patch is worth having without training."""
    gain: Change | None
    """Of the proposal, in mean consistency."""
    ceiling: Metric | None = None
    """The share of changed answers that a perfect anti-aliasing could win; None where no stage can be sampled elsewhere. Where
    its interval reaches down to 0 nothing is proposed."""
    refitted: tuple[RefitTrial, ...] = ()
    """Growing sets of sites, those that do most damage first, each refitted; empty where that was not asked for."""
