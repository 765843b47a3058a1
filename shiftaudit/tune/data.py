"""Training crops from unlabelled images, and the fixed crops that the best state is chosen on.

A batch depends on the seed and the step's number alone, so that a resumed run continues exactly where it stopped.
"""

from __future__ import annotations

import hashlib
import math
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from shiftaudit.errors import InputError
from shiftaudit.images.decode import decode, open_image, resampling
from shiftaudit.images.file import ImageFile, UnreadableImageError
from shiftaudit.models.preprocessing import normalised
from shiftaudit.records.report import Preprocessing, Skipped

NO_LABEL = -100
"""What `torch.nn.functional.cross_entropy` ignores."""

HOLDOUT_CROPS = 128
"""Held-out crops at least, whatever the number of images."""

HOLDOUT_IMAGES = 256
"""Held-out images at most: more would cost training time and tell little more."""

CACHE_BYTES = 2**30
_KEPT = 4
"""Images are kept with a shorter side of this many training crops: finer detail would rarely be asked for."""
_LABELLED_SCALE = 0.25
"""A labelled crop shows at least this share of the image, or the label might not be in it."""
_RATIO = math.log(4 / 3)


@dataclass(frozen=True, eq=False)
class Batch:
    """Canvases with room for shifted windows."""

    canvas: Tensor
    """Shape (N, C, size + 2·margin, size + 2·margin), normalised."""
    labels: Tensor
    """Shape (N,), int64; `NO_LABEL` where there is none."""


def check_channels(patched: Preprocessing, original: Preprocessing) -> None:
    """Refuse a copy that takes other images than its original.

    Raises:
        InputError: one takes grey images, the other colour.
    """
    if patched.channels != original.channels:
        raise InputError(f"the patched model takes {patched.channels} channels, the original {original.channels}")


def split(
    files: Sequence[ImageFile], holdout: float, seed: int
) -> tuple[list[ImageFile], list[ImageFile], list[Skipped]]:
    """The images to train on, those held out, and those that cannot be read.

    An image is held out or not by its name and the seed alone. With fewer than two images left to hold out, the
    training images themselves are scored (the two lists are then the same).

    Raises:
        InputError: no image can be read, or the share is not in [0, 1).
    """
    if not 0 <= holdout < 1:
        raise InputError(f"--holdout got {holdout}; expected a share of at least 0 and below 1")
    readable, skipped = [], []
    for file in files:
        try:
            # The header alone; damage further in is met when it is decoded.
            Image.open(BytesIO(file.read()) if file.part else file.path).close()
            readable.append(file)
        except Exception:  # Pillow's readers raise nearly every built-in exception
            skipped.append(Skipped(file.relative, "not a readable image"))
    if not readable:
        raise InputError(f"none of {len(files)} images can be read", hint="point IMAGES at a folder of photographs")
    ranked = sorted(readable, key=lambda file: hashlib.sha256(f"{seed}:{file.relative}".encode()).digest())
    count = min(round(holdout * len(ranked)), HOLDOUT_IMAGES)
    held = {file.relative for file in ranked[:count]} if 2 <= count < len(ranked) else set()
    train = [file for file in readable if file.relative not in held]
    return train, [file for file in readable if file.relative in held] or train, skipped


class CropSource:
    """Random resized crops of images, mirrored half of the time.

    Args:
        files: the images.
        preprocessing: of the network; its interpolation and normalisation are used.
        size: side of a training crop.
        margin: room on each side for shifted windows.
        min_scale: smallest share of the image that a crop shows; sizes are drawn log-uniformly up to all of it.
        flip: mirror half of the crops.
        seed: of all draws.
        labels: class by relative path.
    """

    def __init__(
        self,
        files: Sequence[ImageFile],
        preprocessing: Preprocessing,
        *,
        size: int,
        margin: int,
        min_scale: float,
        flip: bool,
        seed: int,
        labels: Mapping[str, int] | None = None,
    ) -> None:
        if not 0 < min_scale <= 1:
            raise InputError(f"--min-scale got {min_scale}; expected a share above 0, at most 1")
        self.files = list(files)
        self.preprocessing = preprocessing
        self.side = size + 2 * margin
        self.min_scale = min_scale
        self.flip = flip
        self.seed = seed
        self.labels = labels or {}
        self._images = _ImageCache(preprocessing.channels, _KEPT * self.side)

    def batch(self, step: int, n: int) -> Batch:
        """The batch of one step: n crops of n random images."""
        generator = np.random.default_rng([self.seed, step])
        crops, labels = [], []
        for _ in range(n):
            crop, label = self._crop(generator)
            crops.append(crop)
            labels.append(label)
        return Batch(normalised(torch.from_numpy(np.stack(crops)), self.preprocessing), torch.tensor(labels))

    def _crop(self, generator: np.random.Generator) -> tuple[NDArray[np.uint8], int]:
        for _ in range(20):
            file = self.files[int(generator.integers(len(self.files)))]
            try:
                image = self._images.get(file)
            except UnreadableImageError:
                continue
            label = self.labels.get(file.relative, NO_LABEL)
            scale = self.min_scale if label == NO_LABEL else max(self.min_scale, _LABELLED_SCALE)
            crop = random_crop(image, generator, self.side, scale, resampling(self.preprocessing.interpolation))
            mirrored = self.flip and generator.random() < 0.5
            return (crop[:, :, ::-1] if mirrored else crop), label
        raise InputError("20 images in a row could not be read", hint="remove damaged files from IMAGES")


def random_crop(
    image: Image.Image, generator: np.random.Generator, side: int, min_scale: float, filter_: Image.Resampling
) -> NDArray[np.uint8]:
    """A random part of an image as side×side pixels, shape (C, side, side), uint8.

    Its share of the image is log-uniform in [min_scale, 1], its aspect ratio in [3/4, 4/3].
    """
    width, height = image.size
    area = width * height * math.exp(generator.uniform(math.log(min_scale), 0.0))
    ratio = math.exp(generator.uniform(-_RATIO, _RATIO))
    w, h = min(width, math.sqrt(area * ratio)), min(height, math.sqrt(area / ratio))
    x, y = generator.uniform(0, width - w), generator.uniform(0, height - h)
    part = image.resize((side, side), filter_, box=(x, y, x + w, y + h), reducing_gap=2.0)
    pixels = np.asarray(part, dtype=np.uint8)
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def holdout_canvases(
    files: Sequence[ImageFile], preprocessing: Preprocessing, *, margin: int, min_scale: float, seed: int
) -> tuple[list[NDArray[np.uint8]], list[str], list[str]]:
    """Fixed canvases (C, size + 2·margin, …) of the held-out images: canvases, an id for each, and their images.

    The first of an image is the one that `score` would cut; where images are few, random crops follow until there are
    `HOLDOUT_CROPS`.
    """
    canvas = preprocessing.size + 2 * margin
    canvases, ids, names = [], [], []
    repeats = max(1, -(-HOLDOUT_CROPS // len(files)))
    for file in files:
        try:
            decoded = decode(file, preprocessing, canvas)
            image = open_image(file, preprocessing.channels) if repeats > 1 else None
        except UnreadableImageError:
            continue
        generator = np.random.default_rng([seed, int(decoded.id[:8], 16)])
        for index in range(repeats):
            if index == 0 or image is None:
                pixels = decoded.pixels
            else:
                filter_ = resampling(preprocessing.interpolation)
                pixels = random_crop(image, generator, canvas, max(min_scale, 0.05), filter_)
            canvases.append(pixels)
            ids.append(hashlib.sha256(f"{decoded.id}:{index}".encode()).hexdigest())
            names.append(file.relative if index == 0 else "")
    if not canvases:
        raise InputError("none of the held-out images can be read", hint="remove damaged files from IMAGES")
    return canvases, ids, names


class _ImageCache:
    """Decoded images, the longest unused dropped first once they fill the room."""

    def __init__(self, channels: int, shorter_side: int) -> None:
        self._channels = channels
        self._shorter_side = shorter_side
        self._images: OrderedDict[str, Image.Image] = OrderedDict()
        self._bytes = 0

    def get(self, file: ImageFile) -> Image.Image:
        image = self._images.pop(file.relative, None)
        if image is None:
            image = self._shrunk(open_image(file, self._channels))
            self._bytes += self._size(image)
        self._images[file.relative] = image
        while self._bytes > CACHE_BYTES and len(self._images) > 1:
            self._bytes -= self._size(self._images.popitem(last=False)[1])
        return image

    def _shrunk(self, image: Image.Image) -> Image.Image:
        factor = self._shorter_side / min(image.size)
        if factor >= 1:
            return image
        width, height = (max(1, round(side * factor)) for side in image.size)
        return image.resize((width, height), Image.Resampling.BOX, reducing_gap=2.0)

    def _size(self, image: Image.Image) -> int:
        return image.width * image.height * self._channels
