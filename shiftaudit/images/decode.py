"""Turn one image into the pixels that views are cut from.

What people's own pipelines do is done here too: 8-bit RGB (alpha dropped, as `convert("RGB")` does), the shorter side
resized and the centre cropped exactly as torchvision's `Resize` and `CenterCrop` do on Pillow images. Two things are
better than in a plain `Image.open(...).convert("RGB")`: the EXIF orientation is applied, and 16-bit grey is scaled, not
clipped to white.
"""

from __future__ import annotations

import hashlib
import math
import warnings
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from shiftaudit.errors import InputError, first_line
from shiftaudit.images.file import ImageFile, UnreadableImageError
from shiftaudit.records.report import Preprocessing

# Only these decoders run on what a folder holds: Pillow's others include one that starts Ghostscript.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")

MAX_PIXELS = 89_478_485
"""Largest image that is decoded (Pillow's own warning limit): 256 MiB of RGB."""

MAX_SIDE = math.isqrt(MAX_PIXELS)
"""Largest side of a square that is as large."""

_INTERPOLATIONS = {filter_.name.lower(): filter_ for filter_ in Image.Resampling}

_ORIENTATION_TAG = 0x0112
_ORIENTATIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

_TIFF_BITS_PER_SAMPLE = 258
_TIFF_PHOTOMETRIC = 262


@dataclass(frozen=True, eq=False)
class DecodedImage:
    """One image, ready for views to be cut from it."""

    id: str
    """SHA-256 of the file's bytes."""
    relative: str
    pixels: NDArray[np.uint8]
    """Shape (channels, canvas, canvas), 0 to 255."""


def decode(file: ImageFile, preprocessing: Preprocessing, canvas: int) -> DecodedImage:
    """Read one image as canvas×canvas pixels.

    The shorter side is resized to max(resize, canvas), then a canvas×canvas square is cut so that its central size×size
    window is the one torchvision's `CenterCrop(size)` cuts from the same resized image. With canvas == size ≤ resize
    the result is byte for byte that of `Resize(resize, interpolation)` and `CenterCrop(size)`. One-channel images are
    made grey (ITU-R 601) before. Animations and multi-page files give their first frame; colour profiles are not
    applied.

    Raises:
        UnreadableImageError: the file cannot be used; the message is the reason.
    """
    data = file.read()
    image = _resize_and_crop(_open(data, preprocessing.channels), preprocessing, canvas)
    pixels = np.asarray(image, dtype=np.uint8)
    pixels = pixels[None] if preprocessing.channels == 1 else pixels.transpose(2, 0, 1)
    # A copy, always: what Pillow hands out is read-only, and no tensor may share that.
    return DecodedImage(hashlib.sha256(data).hexdigest(), file.relative, pixels.copy(order="C"))


def open_image(file: ImageFile, channels: int) -> Image.Image:
    """The whole image at its own size, upright, 8 bits: mode `L` for one channel, `RGB` for three.

    Raises:
        UnreadableImageError: the file cannot be used; the message is the reason.
    """
    return _open(file.read(), channels)


def _open(data: bytes, channels: int) -> Image.Image:
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        # Odd metadata and palettes make Pillow talk on stderr; what is unusable raises as well and is reported by name.
        warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
        return _to_eight_bits(_load(data), channels)


def _load(data: bytes) -> Image.Image:
    """Decode the first frame, upright."""
    try:
        image = Image.open(BytesIO(data), formats=FORMATS)
        if image.width * image.height > MAX_PIXELS:
            raise UnreadableImageError(f"{image.width}×{image.height} pixels, more than the limit of {MAX_PIXELS}")
        image.load()
    except UnreadableImageError:
        raise
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise UnreadableImageError(f"more pixels than the limit of {MAX_PIXELS}") from error
    except UnidentifiedImageError as error:
        raise UnreadableImageError(f"not a {', '.join(FORMATS[:-1])} or {FORMATS[-1]} image") from error
    except Exception as error:  # Pillow's decoders raise nearly every built-in exception on damaged files
        raise UnreadableImageError(f"truncated or damaged: {first_line(error, 120)}") from error
    try:
        # After load(): a TIFF is turned while it is loaded, and has no orientation any more.
        orientation = image.getexif().get(_ORIENTATION_TAG)
    except Exception:  # a damaged metadata block says nothing about the pixels
        orientation = None
    turn = _ORIENTATIONS.get(orientation) if isinstance(orientation, int) else None
    return image if turn is None else image.transpose(turn)


def _to_eight_bits(image: Image.Image, channels: int) -> Image.Image:
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG"):
        image = _high_byte(image)
    elif image.mode in ("I", "F"):
        raise UnreadableImageError("32-bit grey values, whose range nothing states: save it with 8 or 16 bits")
    if channels == 1:
        # By way of RGB, as pipelines do that load colour and then turn grey; for a grey image this changes nothing.
        return image if image.mode == "L" else image.convert("RGB").convert("L")
    return image.convert("RGB")


def _high_byte(image: Image.Image) -> Image.Image:
    """16-bit grey (12-bit in some TIFFs) to 8 bits by dropping the low bits, as Pillow does for 16-bit colour."""
    tags = getattr(image, "tag_v2", {})
    bits = tags.get(_TIFF_BITS_PER_SAMPLE, (16,))[0]
    values = (np.asarray(image).astype(np.int64) >> (bits - 8)).clip(0, 255)
    if tags.get(_TIFF_PHOTOMETRIC) == 0:  # 0 means white; Pillow turns it round for 8 bits only
        values = 255 - values
    return Image.fromarray(values.astype(np.uint8))


def _resize_and_crop(image: Image.Image, preprocessing: Preprocessing, canvas: int) -> Image.Image:
    width, height = image.size
    shorter = max(preprocessing.resize, canvas)
    longer = int(shorter * max(width, height) / min(width, height))
    if shorter * longer > MAX_PIXELS:
        raise UnreadableImageError(f"{width}×{height} is too elongated: resized it would be {shorter}×{longer} pixels")
    new = (shorter, longer) if width <= height else (longer, shorter)
    if new != image.size:
        image = image.resize(new, resampling(preprocessing.interpolation))
    left, top = (_offset(side, preprocessing.size, canvas) for side in new)
    return image.crop((left, top, left + canvas, top + canvas))


def resampling(name: str) -> Image.Resampling:
    """Pillow's filter by the name that `Preprocessing.interpolation` uses.

    Raises:
        InputError: there is no such filter.
    """
    try:
        return _INTERPOLATIONS[name]
    except KeyError:
        raise InputError(
            f"unknown interpolation {name!r}", hint=f"use one of {', '.join(sorted(_INTERPOLATIONS))}"
        ) from None


def _offset(side: int, size: int, canvas: int) -> int:
    # Where CenterCrop(size) would cut, less the room around it. Where that room is odd, or the canvas is as wide as the
    # image, half a pixel may be missing at one end.
    return min(max(0, round((side - size) / 2) - (canvas - size) // 2), side - canvas)
