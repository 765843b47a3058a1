"""What a refit was asked to do and what it reached: the record that travels inside the refitted file. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from shiftaudit.records.options import Checked, option

_FITTING = "Fitting"

RefitLayers = Literal["projections", "all"]
"""`projections`: layers that hand their output on without an activation, and the head. `all`: every layer behind the change."""

REFIT_LAYERS: tuple[RefitLayers, ...] = ("projections", "all")

RIDGES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""What the ridge is chosen from, as shares of the mean diagonal of a layer's Gram matrix."""


@dataclass(frozen=True)
class RefitSettings(Checked):
    """How a patched copy is fitted to its original.

    Raises:
        InputError: a value is out of range.
    """

    layers: RefitLayers = option(
        "projections",
        "projections (layers that hand on without an activation, and the head) or all.",
        group=_FITTING,
        choices=REFIT_LAYERS,
    )
    crops: int = option(500, "Random crops of the images, half of them rolled around the edge.", least=1)
    """At least; filled up to whole batches."""
    ridge: float | None = option(
        None,
        "Pull towards the present weights, in mean squares of what a layer reads [the best on held-out images].",
        group=_FITTING,
        above=0,
    )
    """As a share of the mean diagonal of a layer's Gram matrix; None chooses by held-out crops, layer by layer."""
    holdout: float = option(0.2, "Share of the images that the ridge is chosen on.", group=_FITTING, above=0, below=1)
    """And of the crops."""
    sweeps: int = option(1, "How often the layers are walked through.", group=_FITTING, least=1)
    rows: int = option(100_000, "Positions that a layer is fitted on, at most.", group=_FITTING, least=1)
    """Drawn at random, from all crops alike."""
    batch_size: int = option(8, "Crops in one pass.", group=_FITTING, least=1)
    min_scale: float = option(0.02, "Smallest share of an image that a crop shows.", group=_FITTING, above=0, most=1)
    flip: bool = option(True, "Mirror half of the crops.", group=_FITTING)
    roll: float = option(0.5, least=0, most=1, hidden=True)
    """Share of the crops that are rolled around the edge, as the circular protocol does (up to 32 px at 224)."""
    memory: float = option(1.0, "GiB for what is kept between layers; less is slower.", group=_FITTING, least=0)
    """Where it does not suffice, passes start anew from the images."""
    seed: int = option(0, "Seed of the crops and positions.", least=0)


@dataclass(frozen=True)
class LayerRecord:
    """One layer that was fitted.

    Errors are relative squared errors of its output, norm and skip included: 0 is the original's, 1 no better than its mean.
    """

    name: str
    """State-dict key of the weight."""
    rows: int
    """Positions it was fitted on."""
    ridge: float | None
    """None where no ridge did better on the held-out crops than the weights it had, which stayed."""
    error_before: float
    """With all layers before it fitted, and this one not yet."""
    error: float
    """What is left."""
    held_error_before: float | None
    """The same on the crops that the ridge was chosen on; None where there are none."""
    held_error: float | None
    """On these crops, of the fit without them."""


@dataclass(frozen=True)
class LeftLayer:
    """A layer that could not be fitted, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class RefitRecord:
    """Everything needed to tell what was done and to do it again."""

    settings: RefitSettings
    teacher: str
    teacher_sha256: str | None
    n_images: int
    n_holdout: int
    """Images that the ridge alone was chosen on."""
    n_crops: int
    image_sha256: tuple[str, ...]
    """Of the files' bytes, in the order of their paths."""
    layers: tuple[LayerRecord, ...]
    """In the order of the last sweep."""
    unchanged: tuple[str, ...]
    """Layers that compute what the original's do, since no change reaches them."""
    left: tuple[LeftLayer, ...]
