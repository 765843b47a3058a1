"""The crops that a refit sees."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torch import nn

from shiftaudit.images.find import find_images
from shiftaudit.models import LoadedModel
from shiftaudit.records.refit import RefitSettings
from shiftaudit.records.report import Preprocessing
from shiftaudit.tune.refit import _Crops


@pytest.mark.parametrize("flip", [False, True])
def test_crops_are_mirrored_only_where_that_is_allowed(flip: bool, tmp_path: Path) -> None:
    ramp = np.tile(np.arange(0, 240, 10, dtype=np.uint8), (24, 1))
    Image.fromarray(ramp).save(tmp_path / "ramp.png")
    model = LoadedModel.from_module(nn.Conv2d(1, 2, 3), Preprocessing(16, 16, (0.0,), (1.0,), "bilinear", 1, "options"))
    files, _ = find_images([tmp_path])
    crops = _Crops(model, RefitSettings(flip=flip, roll=0.0), files, []).batches().load(0)
    rising = crops[..., -1].mean((1, 2)) > crops[..., 0].mean((1, 2))
    assert bool(rising.all()) is not flip
    assert bool(rising.any())
