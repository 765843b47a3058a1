"""Image files for tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from shiftaudit.images.stream import ImageFile
from shiftaudit.records.report import Preprocessing


def preset(size: int = 16, resize: int = 20, channels: int = 3, interpolation: str = "bilinear") -> Preprocessing:
    return Preprocessing(size, resize, (0.5,) * channels, (0.25,) * channels, interpolation, channels, "options")


EXACT = preset(size=8, resize=8)  # 8×8 images pass through it unchanged


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def as_file(path: Path) -> ImageFile:
    return ImageFile(path, path.name)


def save(path: Path, pixels: np.ndarray, **options: object) -> ImageFile:
    Image.fromarray(pixels).save(path, **options)
    return as_file(path)
