"""Small JPEGs of images that were scored, as the network sees them unmoved."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from shiftaudit.errors import InputError
from shiftaudit.images.decode import decode
from shiftaudit.images.find import find_images
from shiftaudit.records.report import ImageResult, Preprocessing

_SIDE = 192
_QUALITY = 78


def thumbnails(
    images: Iterable[ImageResult], preprocessing: Preprocessing, folder: Path | Sequence[Path]
) -> dict[str, bytes]:
    """JPEG bytes by image id; files that are gone or have changed are left out.

    Args:
        images: of a report.
        preprocessing: the report's; grey networks get colour thumbnails all the same.
        folder: what was scored.

    Raises:
        InputError: there are no images in the folder.
    """
    files, _ = find_images(folder)
    by_path = {file.relative: file for file in files}
    colour = replace(preprocessing, channels=3)
    made = {}
    for image in images:
        file = by_path.get(image.path)
        if file is None:
            continue
        try:
            decoded = decode(file, colour, colour.size)
        except InputError:
            continue
        if decoded.id == image.id:
            made[image.id] = _jpeg(Image.fromarray(np.ascontiguousarray(decoded.pixels.transpose(1, 2, 0))))
    return made


def _jpeg(image: Image.Image) -> bytes:
    if image.width > _SIDE:
        image = image.resize((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=_QUALITY, optimize=True)
    return buffer.getvalue()
