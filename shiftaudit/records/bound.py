"""A copy within a bound: what was searched for, what was tried, and what held-out images say of it. No torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from shiftaudit.errors import InputError
from shiftaudit.records.advise import Change
from shiftaudit.records.options import Checked, option
from shiftaudit.records.words import BOTH, PROTOCOLS

_BOUND = "Within a bound"

ERROR_RATE = 0.05
"""How often a claim may be wrong: of harm within the bound, and of a gain."""

Measure = Literal["accuracy", "agreement"]
"""What may fall: accuracy where every image has a label, else agreement with the original. Both of the unmoved image."""


@dataclass(frozen=True)
class BoundOptions(Checked):
    """The search for the most consistent copy whose harm is within a bound.

    Raises:
        InputError: a value is out of range, or the bound comes without images, or images without a bound.
    """

    max_drop: float | None = option(
        None,
        "Search sites, filter sizes and strengths for the most consistent copy whose accuracy (without labels: agreement with "
        "the original) surely falls by no more than this.",
        group=_BOUND,
        above=0,
        below=1,
    )
    images: tuple[Path, ...] = option(
        (), "Images of the search; half of them are held out to verify the copy.", metavar="FOLDER", group=_BOUND
    )
    labels: str = option("auto", "auto, folder, none, or a CSV file of path,label.", group=_BOUND)
    goal: str = option(
        BOTH, "Protocol under which consistency must rise: both, circular or crop.", flag="--for", choices=(BOTH, *PROTOCOLS),
        group=_BOUND,
    )  # fmt: skip
    budget: float = option(30.0, "Minutes after which no further copy is tried.", group=_BOUND, above=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.max_drop is None) != (not self.images):
            raise InputError(
                "--max-drop and --images belong together, and one of them is missing",
                hint="give --max-drop 0.01 --images FOLDER",
            )


@dataclass(frozen=True)
class Candidate:
    """One refitted copy on the held-out images."""

    sites: tuple[str, ...]
    filter_size: int
    strength: float
    macs: int
    """Multiply-adds of the whole network for one image."""
    harm: Change
    """How far the measure falls; `ci_high` is a one-sided 95 % bound, and `ci_low` another."""
    gain: Change
    """In consistency, the mean of the protocols asked for, with its 95 % interval."""
    verified: bool
    """Whether harm is surely within the bound, by the rule of `Search`; False for what was looked at to be shown alone."""


@dataclass(frozen=True)
class Search:
    """What was tried, and which copy was chosen.

    The copies were fitted and put in order on the fitting share, from the least harm to the most, leaving out those that another
    one beats in both harm and gain. On the held-out share they are tested in this order, each at 5 %, up to the first that fails:
    in such a sequence the chance that any false claim is made is 5 % in all (Angelopoulos et al., 2021, "Learn then Test"). The
    last that passed is chosen, the most consistent by the fitting share, where the interval of its gain lies above 0.
    """

    max_drop: float
    measure: Measure
    goal: str
    n_fitting: int
    n_held: int
    fitting_sha256: tuple[str, ...]
    held_sha256: tuple[str, ...]
    n_fitted: int
    """Copies that were refitted."""
    n_planned: int
    """Copies that would have been, with time for all."""
    original_measure: float
    original_consistency: float
    """Of the original, on the held-out images."""
    candidates: tuple[Candidate, ...]
    """Those looked at on the held-out images, in the order they were tested."""
    chosen: int | None
    """Index into `candidates`; None where no copy is within the bound and surely more consistent."""


def smallest_drop(n_images: int) -> float:
    """The smallest bound that `n_images` can verify: with not one changed answer among them.

    >>> round(smallest_drop(299), 4), round(smallest_drop(40), 3)
    (0.01, 0.072)
    """
    return 1 - ERROR_RATE ** (1 / n_images) if n_images else 1.0


def images_needed(max_drop: float) -> int:
    """How many held-out images can verify a bound.

    >>> images_needed(0.01), images_needed(0.1)
    (299, 29)
    """
    return math.ceil(math.log(ERROR_RATE) / math.log1p(-max_drop))
