"""Decide how pixels become the network's input, and say where the decision came from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shiftaudit.errors import InputError
from shiftaudit.images.decode import MAX_SIDE
from shiftaudit.records.report import Preprocessing
from shiftaudit.records.settings import ModelOptions
from shiftaudit.records.words import INTERPOLATIONS

if TYPE_CHECKING:
    from torch import Tensor

IMAGENET = Preprocessing(
    size=224,
    resize=256,
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
    interpolation="bilinear",
    channels=3,
    source="imagenet preset",
)


def preset(channels: int) -> Preprocessing:
    """The ImageNet preset for a network with this many input channels; grey images get the means of the colour values.

    >>> preset(1).mean
    (0.449,)
    """
    if channels == 3:
        return IMAGENET
    mean = round(sum(IMAGENET.mean) / 3, 3)
    std = round(sum(IMAGENET.std) / 3, 3)
    return replace(IMAGENET, mean=(mean,), std=(std,), channels=channels)


def normalised(pixels: Tensor, used: Preprocessing) -> Tensor:
    """The network's input, float32, of uint8 pixels (…, C, H, W)."""
    scaled = pixels.float().div_(255)
    mean, std = (scaled.new_tensor(values).view(-1, 1, 1) for values in (used.mean, used.std))
    return scaled.sub_(mean).div_(std)


def from_transforms(transforms: Any) -> Preprocessing | None:
    """The preprocessing of torchvision's `ImageClassification` transforms; None for transforms of another kind."""
    try:
        return Preprocessing(
            size=int(transforms.crop_size[0]),
            resize=int(transforms.resize_size[0]),
            mean=tuple(float(m) for m in transforms.mean),
            std=tuple(float(s) for s in transforms.std),
            interpolation=str(transforms.interpolation.value),
            channels=3,
            source="weights",
        )
    except (AttributeError, TypeError, IndexError):
        return None


def with_options(base: Preprocessing, options: ModelOptions) -> Preprocessing:
    """`base` with what the user said put in its place.

    A size given without a resize scales the resize in proportion; other channels without means get the preset's for those.

    Raises:
        InputError: a value is out of range, or the number of means does not fit the channels.
    """
    said = {
        name: value
        for name in ("size", "resize", "mean", "std", "interpolation", "channels")
        if (value := getattr(options, name)) is not None
    }
    if not said:
        return base
    if "channels" in said and said["channels"] != base.channels:
        grey = preset(said["channels"]) if said["channels"] in (1, 3) else base
        base = replace(base, mean=grey.mean, std=grey.std)
    if said.get("size", 0) > 0 and "resize" not in said:
        base = resized(base, said["size"])
    known = base.source != IMAGENET.source or said.keys() >= {"mean", "std"}
    merged = replace(base, **said, source="options" if known else f"options and {IMAGENET.source}")
    check(merged)
    return merged


def resized(base: Preprocessing, size: int) -> Preprocessing:
    """`base` at another size of input, the resize in proportion, so that the same part of the image is seen.

    >>> resized(IMAGENET, 112).resize
    128
    """
    return replace(base, size=size, resize=max(size, round(base.resize * size / base.size)))


def fitting(shape: Sequence[int | None], channels: int, path: Path) -> Preprocessing:
    """The ImageNet preset at the size and channels that a file insists on.

    Args:
        shape: (N, C, H, W) of its input, None where any size goes.
        channels: of the preset where the file has none that images have.
        path: named in the message.

    Raises:
        InputError: it insists on images that are not square.
    """
    _, given, height, width = shape
    if height != width and height is not None and width is not None:
        raise InputError(f"{path} takes images of {height}×{width}; only square inputs can be scored")
    base = preset(given if given in (1, 3) else channels)
    side = height or width
    return base if side is None else resized(base, side)


def check(value: Preprocessing) -> None:
    """Refuse values that no image can be prepared with.

    Raises:
        InputError: one is out of range, or the number of means does not fit the channels.
    """
    if value.channels not in (1, 3):
        raise InputError(f"--channels got {value.channels}; expected 1 (grey) or 3 (RGB)")
    if value.size < 1:
        raise InputError(f"--size got {value.size}; expected a positive number of pixels")
    for name, side in (("--size", value.size), ("--resize", value.resize)):
        if side > MAX_SIDE:
            raise InputError(f"{name} got {side}; expected at most {MAX_SIDE} pixels")
    if value.resize < value.size:
        raise InputError(
            f"--resize {value.resize} is below --size {value.size}", hint="the crop must fit into the resized image"
        )
    if value.interpolation not in INTERPOLATIONS:
        raise InputError(f"--interpolation got {value.interpolation!r}; expected one of {', '.join(INTERPOLATIONS)}")
    for name, values in (("--mean", value.mean), ("--std", value.std)):
        if len(values) not in (1, value.channels):
            raise InputError(f"{name} got {len(values)} values; expected 1 or {value.channels}, one per channel")
        for number in values:
            if not 0 <= number <= 1 or (name == "--std" and number == 0):
                raise InputError(
                    f"{name} got {number:g}; expected values in [0, 1] units",
                    hint="divide by 255" if 1 < number <= 255 else None,
                )
