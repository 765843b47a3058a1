"""A refit on images: which crops of them both networks see, and the record of it all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from shiftaudit.errors import InputError
from shiftaudit.images.file import ImageFile
from shiftaudit.models import LoadedModel
from shiftaudit.records.refit import RefitRecord, RefitSettings
from shiftaudit.records.report import Skipped
from shiftaudit.records.words import CIRCULAR
from shiftaudit.surgery.refit.run import fit_layers
from shiftaudit.surgery.refit.walk import Batches, Observer
from shiftaudit.tune.data import CropSource, check_channels, split
from shiftaudit.tune.objective import rolled
from shiftaudit.views.shifts import default_max_shift


@dataclass(frozen=True, eq=False)
class RefitResult:
    """The fitted model, and what was done. The models given are not changed."""

    model: LoadedModel
    record: RefitRecord
    skipped: tuple[Skipped, ...]


def refit(
    patched: LoadedModel,
    teacher: LoadedModel,
    images: Sequence[ImageFile],
    settings: RefitSettings | None = None,
    observer: Observer | None = None,
) -> RefitResult:
    """Win back what a patch cost in closed form: each layer is fitted to what the original computes on unlabelled images.

    Args:
        patched: the copy, of any form that runs on this device.
        teacher: the original it was made from.
        images: two or more; random crops of them are used.
        settings: see `RefitSettings`.
        observer: told the batches done, those to do, and the layer at hand.

    Raises:
        InputError: settings or images that cannot be used.
        ModelError: the two are not the same network but for the patch, or hold NaN.
    """
    settings = settings or RefitSettings()
    check_channels(patched.preprocessing, teacher.preprocessing)
    share = settings.holdout if settings.ridge is None else 0.0
    fitting, held, skipped = split(images, share, settings.seed)
    files = [*fitting, *(file for file in held if file not in fitting)]
    if len(files) < 2:
        raise InputError("a refit got 1 image; expected 2 or more", hint="about 50 photographs are enough")
    crops = _Crops(patched, settings, fitting, held if held is not fitting else [])
    fitted = fit_layers(patched.module, teacher.module, crops.batches(), settings, observer)
    record = RefitRecord(
        settings=settings,
        teacher=teacher.info.source,
        teacher_sha256=teacher.info.sha256,
        n_images=len(files),
        n_holdout=len(files) - len(fitting),
        n_crops=crops.count * crops.size,
        image_sha256=tuple(file.sha256() for file in sorted(files, key=lambda file: file.relative)),
        layers=fitted.layers,
        unchanged=fitted.unchanged,
        left=fitted.left,
    )
    return RefitResult(patched.with_module(fitted.module, refit_record=record), record, tuple(skipped))


class _Crops:
    """Batches of crops; every so many of them show held-out images alone."""

    def __init__(
        self, model: LoadedModel, settings: RefitSettings, fitting: list[ImageFile], held: list[ImageFile]
    ) -> None:
        self.settings = settings
        self.size = model.fixed_batch or settings.batch_size
        self.count = -(-settings.crops // self.size)
        self._every = round(1 / settings.holdout) if held else 0
        self._limit = default_max_shift(CIRCULAR, model.preprocessing.size)
        self._like = model.random_input()
        self._sources = [
            CropSource(
                files,
                model.preprocessing,
                size=model.preprocessing.size,
                margin=0,
                min_scale=settings.min_scale,
                flip=settings.flip,
                seed=settings.seed,
            )
            for files in (fitting, held)
        ]

    def batches(self) -> Batches:
        return Batches(self.count, self._load, self._is_held)

    def _is_held(self, number: int) -> bool:
        return self._every > 0 and number % self._every == self._every - 1

    def _load(self, number: int) -> Tensor:
        crops = self._sources[self._is_held(number)].batch(number, self.size).canvas
        generator = np.random.default_rng([self.settings.seed, number, 3])
        moved = rolled(crops, self.settings.roll, self._limit, generator)
        return moved.to(self._like)
