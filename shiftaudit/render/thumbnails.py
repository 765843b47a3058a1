"""Small JPEGs of the least stable images, as the network sees them unmoved."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from shiftaudit.errors import InputError
from shiftaudit.images.decode import decode
from shiftaudit.images.find import find_images
from shiftaudit.records.report import AuditReport
from shiftaudit.render import findings
from shiftaudit.render.html.images import SHOWN

_SIDE = 192
_QUALITY = 78


def make(report: AuditReport, folder: Path | Sequence[Path]) -> dict[str, bytes]:
    """JPEG bytes by image id, for the images the page shows; files that are gone or have changed are left out.

    Raises:
        InputError: there are no pictures in the folder.
    """
    files, _ = find_images(folder)
    by_path = {file.relative: file for file in files}
    colour = replace(report.model.preprocessing, channels=3)
    found = {}
    for image in findings.least_stable(report, SHOWN):
        file = by_path.get(image.path)
        if file is None:
            continue
        try:
            decoded = decode(file, colour, colour.size)
        except InputError:
            continue
        if decoded.id == image.id:
            found[image.id] = _jpeg(Image.fromarray(np.ascontiguousarray(decoded.pixels.transpose(1, 2, 0))))
    return found


def _jpeg(picture: Image.Image) -> bytes:
    if picture.width > _SIDE:
        picture = picture.resize((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=_QUALITY, optimize=True)
    return buffer.getvalue()
