"""What a Hugging Face image processor does to an image, found out by giving it images.

Every family has a class of its own, with its own reading of `size`, `crop_pct` or `include_top`; what comes out for plain images
and ramps says it for all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from shiftaudit.errors import InputError
from shiftaudit.records.report import Preprocessing

MEASURED, SQUEEZED = "processor", "processor, cut where it squeezes"

_SIDE = 256
"""Of the images given: a ramp over it has one level a pixel."""
_RESAMPLING = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic", 4: "box", 5: "hamming"}
_KEEPS_SHAPE = 1.1
"""Two sides resized alike differ by less than this factor."""


@dataclass(frozen=True)
class Processed:
    """What a processor does."""

    preprocessing: Preprocessing
    reversed_channels: bool
    """Whether it gives blue first. The preprocessing is of red first all the same."""


def measured(processor: Any, channels: int) -> Processed | None:
    """What `processor` does; None where it makes no input of one size, or none of this many channels.

    Raises:
        InputError: its input is not square.
    """
    if not getattr(processor, "do_resize", True):
        return None  # inputs are as large as the images
    try:
        black, white = (_run(processor, np.full((_SIDE, _SIDE), value), channels) for value in (0, 255))
    except Exception:  # it takes other images than these
        return None
    if black.ndim != 3 or black.shape != white.shape or len(black) != channels:
        return None
    if black.shape[1] != black.shape[2]:
        raise InputError(
            f"the processor makes images of {black.shape[1]}×{black.shape[2]}; only square inputs can be scored"
        )
    low, high = black.mean((1, 2)), white.mean((1, 2))
    if not (high > low).all():
        return None

    def levels(pixels: NDArray[Any]) -> NDArray[Any]:
        values = (_run(processor, pixels, channels) - low[:, None, None]) / (high - low)[:, None, None]
        return np.asarray(255 * values.mean(0))

    # A ramp tells how many pixels of the image lie between two of the input.
    ramp = np.arange(_SIDE)
    across = _steps(levels(np.tile(ramp, (_SIDE, 1))).mean(0))
    wide = np.tile(np.repeat(ramp, 2), (_SIDE, 1)), np.tile(ramp[:, None], (1, 2 * _SIDE))
    along, down = 2 * _steps(levels(wide[0]).mean(0)), _steps(levels(wide[1]).mean(1))
    if not min(across, along, down) > 0:
        return None
    size = int(black.shape[1])
    squeezes = not 1 / _KEEPS_SHAPE < along / down < _KEEPS_SHAPE
    reversed_channels = channels == 3 and _blue_first(processor, low, high)
    std, mean = 1 / (high - low), -low / (high - low)
    order = slice(None, None, -1) if reversed_channels else slice(None)
    used = Preprocessing(
        size=size,
        resize=size if squeezes else max(size, round(_SIDE / across)),
        mean=tuple(round(float(value), 6) + 0.0 for value in mean[order]),
        std=tuple(round(float(value), 6) for value in std[order]),
        interpolation=_interpolation(processor),
        channels=channels,
        source=SQUEEZED if squeezes else MEASURED,
    )
    return Processed(used, reversed_channels)


def _run(processor: Any, pixels: NDArray[Any], channels: int) -> NDArray[Any]:
    image = Image.fromarray(pixels.astype(np.uint8))
    if channels == 3 and pixels.ndim == 2:
        image = image.convert("RGB")
    return np.asarray(processor(images=image, return_tensors="pt")["pixel_values"][0].float().numpy(), np.float64)


def _steps(profile: NDArray[Any]) -> float:
    """Levels from one pixel to the next, where no border is near."""
    inside = (profile > 8) & (profile < 247)
    return float(np.polyfit(np.flatnonzero(inside), profile[inside], 1)[0]) if inside.sum() > 2 else 0.0


def _blue_first(processor: Any, low: NDArray[Any], high: NDArray[Any]) -> bool:
    red = np.zeros((_SIDE, _SIDE, 3))
    red[..., 0] = 255
    seen = (_run(processor, red, 3).mean((1, 2)) - low) / (high - low)
    return int(np.argmax(seen)) == 2


def _interpolation(processor: Any) -> str:
    value = getattr(processor, "resample", None)
    name = str(getattr(value, "name", value)).lower()  # of Pillow's and torchvision's enumerations
    number = int(value) if isinstance(value, int) else -1
    return _RESAMPLING.get(number) or (name if name in _RESAMPLING.values() else "bilinear")
