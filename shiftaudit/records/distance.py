"""How much answers change with the distance an image is moved."""

from __future__ import annotations

from dataclasses import dataclass

from shiftaudit.records.cause import Split
from shiftaudit.records.metric import Metric


@dataclass(frozen=True)
class DistanceSplit:
    """The views of one range of distances that were taken apart, in both units."""

    answers: Split
    """The share of answers that change; its `ceiling` is what a perfect anti-aliasing could win at this distance."""
    variation: Split
    """The total variation of the probabilities."""


@dataclass(frozen=True)
class DistanceBin:
    """The views moved by one range of distances, max(|dy|, |dx|) in input pixels, both ends included."""

    nearest: int
    farthest: int
    mean: float
    """Mean distance of the views."""
    n_images: int
    n_views: int
    variation: Metric
    """Mean total variation between the probabilities and those of the unshifted view, ½ Σ |p − q|, in [0, 1]."""
    agreement: Metric
    """Share of views with the answer of the unshifted view."""
    lattice: tuple[int, ...]
    """Distances in this range that are multiples of the network's total stride; none where that is not known."""
    n_lattice: int
    """Views whose dy and dx are both such multiples, so that nothing can alias in them."""
    split: DistanceSplit | None
    """The causes; None where too few images have views of this range that were taken apart."""
