"""Real photographs at several sizes, cut from the ones that scikit-image and scikit-learn bring."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_images

from shiftaudit.images.file import ImageFile
from shiftaudit.images.find import find_images

_SIDES = ((375, 500), (480, 640), (333, 500), (500, 500))


def write_photographs(folder: Path, n: int) -> list[ImageFile]:
    """`n` different JPEG images of ImageNet's usual sizes in `folder`, from a fixed seed."""
    sources = [Image.fromarray(array) for array in [*load_sample_images().images, *_scikit_image()]]
    generator = np.random.default_rng(0)
    for i in range(n):
        image, (height, width) = sources[i % len(sources)], _SIDES[i % len(_SIDES)]
        share = generator.uniform(0.5, 1.0)
        side_y, side_x = int(image.height * share), int(image.width * share)
        top = int(generator.integers(0, image.height - side_y + 1))
        left = int(generator.integers(0, image.width - side_x + 1))
        cut = image.crop((left, top, left + side_x, top + side_y)).resize((width, height), Image.Resampling.LANCZOS)
        cut.save(folder / f"{i:04d}.jpg", quality=90)
    return find_images(folder)[0]


def _scikit_image() -> list[Any]:
    from skimage import data as untyped

    data: Any = untyped

    return [data.astronaut(), data.chelsea(), data.coffee(), data.rocket()]
