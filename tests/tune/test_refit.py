"""The crops that a refit sees, and what a refitted copy wins."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torch import nn

from shiftaudit import sample
from shiftaudit.audit.audit import audit
from shiftaudit.images.find import find_images
from shiftaudit.models import LoadedModel, load_model
from shiftaudit.records.patch import PatchOptions
from shiftaudit.records.refit import RefitSettings
from shiftaudit.records.report import Preprocessing
from shiftaudit.records.settings import Settings
from shiftaudit.surgery.patch import patch
from shiftaudit.tune.refit import _Crops, refit


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


def test_a_refitted_copy_wins_the_aliasing_part_of_a_change_and_leaves_the_border_part() -> None:
    """On images that it was not fitted on; docs/concepts.md has the full figures, with intervals."""
    model = load_model(str(sample.model_path()))
    files, _ = find_images([sample.images_path()])
    patched = patch(model.module, PatchOptions(stem=True), input_size=64)
    copy = model.with_module(patched.module, patch_record=patched.record)
    fitted = refit(copy, model, files[::2], RefitSettings(crops=100)).model

    def parts(of: LoadedModel) -> tuple[float, float]:
        settings = Settings(workers=0, protocol="circular", shifts="4", damage=4)
        cause = audit(of, files[1::2], settings).cause
        assert cause is not None
        observed, aliasing = cause.variation.observed.value, cause.variation.aliasing_share.value
        assert observed is not None
        assert aliasing is not None
        return aliasing, observed - aliasing

    before, after = parts(model), parts(fitted)
    assert after[0] < before[0] / 2
    assert before[0] - after[0] > 2 * abs(before[1] - after[1])
