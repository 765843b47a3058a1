"""What a refit was asked to do and what it reached: the record that travels inside the refitted file. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

RefitLayers = Literal["projections", "all"]
"""`projections`: layers that hand their output on without an activation, and the head. `all`: every layer behind the change."""

REFIT_LAYERS: tuple[RefitLayers, ...] = ("projections", "all")

RIDGES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""What the ridge is chosen from, as shares of the mean diagonal of a layer's Gram matrix."""


@dataclass(frozen=True)
class RefitSettings:
    """How a patched copy is fitted to its original."""

    layers: RefitLayers = "projections"
    crops: int = 500
    """Random crops, at least; filled up to whole batches."""
    ridge: float | None = None
    """Pull towards the present weights, as a share of the mean diagonal; None chooses by held-out crops, layer by layer."""
    holdout: float = 0.2
    """Share of the images, and of the crops, that the ridge is chosen on where it is chosen."""
    sweeps: int = 1
    """How often the layers are walked through."""
    rows: int = 200_000
    """Positions a layer is fitted on, at most; drawn at random from all crops alike."""
    batch_size: int = 8
    min_scale: float = 0.02
    """Smallest share of an image that a crop shows."""
    roll: float = 0.5
    """Share of the crops that are rolled around the edge, as the circular protocol does (up to 32 px at 224)."""
    memory: float = 1.0
    """GiB for what is kept between layers; beyond it passes start anew, which takes longer."""
    seed: int = 0


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
