"""Image files for tests."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow
from PIL import Image
from pyarrow import parquet

from shiftaudit.images.file import ImageFile
from shiftaudit.records.report import Preprocessing


def preset(size: int = 16, resize: int = 20, channels: int = 3, interpolation: str = "bilinear") -> Preprocessing:
    return Preprocessing(size, resize, (0.5,) * channels, (0.25,) * channels, interpolation, channels, "options")


EXACT = preset(size=8, resize=8)  # 8×8 images pass through it unchanged


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def write_noise(folder: Path, count: int, height: int, width: int | None = None) -> Path:
    """So many images of random noise, as PNG, in `folder`."""
    folder.mkdir(exist_ok=True)
    generator = np.random.default_rng(0)
    for index in range(count):
        save(folder / f"{index:02d}.png", generator.integers(0, 256, (height, width or height, 3), dtype=np.uint8))
    return folder


def as_file(path: Path) -> ImageFile:
    return ImageFile(path, path.name)


def save(path: Path, pixels: np.ndarray, **options: object) -> ImageFile:
    Image.fromarray(pixels).save(path, **options)
    return as_file(path)


def packed_noise(folder: Path, suffix: str, n: int = 3) -> Path:
    """An archive of n images of noise that stand in a folder beside it."""
    (folder / "photos").mkdir()
    for number in range(n):
        save(folder / "photos" / f"{number}.png", noise(8, 8, seed=number))
    return packed(folder / "photos", folder / f"photos{suffix}")


def packed(folder: Path, path: Path, *, beside: Mapping[str, bytes] | None = None) -> Path:
    """A folder's files as an archive of the kind that `path` ends in, with more members beside them."""
    path.parent.mkdir(exist_ok=True)
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    contents = {file.relative_to(folder).as_posix(): file.read_bytes() for file in files}
    contents |= beside or {}
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in contents.items():
                archive.writestr(name, data)
    elif path.suffix == ".tar":
        with tarfile.open(path, "w") as archive:
            for name, data in contents.items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
    else:
        rows = [{"bytes": data, "path": name} for name, data in contents.items()]
        parquet.write_table(pyarrow.table({"image": rows}), path, row_group_size=3)
    return path
