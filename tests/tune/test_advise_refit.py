"""What patching is worth with a refit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from image_files import write_noise
from patch_networks import randomise
from torch import nn

from shiftaudit.images.find import find_images
from shiftaudit.models import LoadedModel
from shiftaudit.records.advise import RefitTrial
from shiftaudit.records.codec import plain, structure
from shiftaudit.records.patch import PatchOptions
from shiftaudit.records.report import Preprocessing
from shiftaudit.records.settings import Settings
from shiftaudit.render.tune import render_advice
from shiftaudit.surgery.patch import plan_patch
from shiftaudit.tune import bound
from shiftaudit.tune.advise import advise
from shiftaudit.tune.advise_refit import with_refit

SETTINGS = Settings(shifts="2", max_shift=3, stages=False, workers=0)


def test_growing_sets_are_refitted_and_judged_on_images_that_were_not_fitted_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, _ = find_images(write_noise(tmp_path, 8, 24))
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.MaxPool2d(2), nn.Conv2d(4, 4, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Linear(4, 3),
    )  # fmt: skip
    model = LoadedModel.from_module(
        randomise(net).eval(), Preprocessing(16, 16, (0.5,), (0.25,), "bilinear", 3, "options")
    )
    fitted_on: list[set[str]] = []
    own = bound.refit

    def watched(copy, original, images, settings):  # type: ignore[no-untyped-def]
        fitted_on.append({file.relative for file in images})
        return own(copy, original, images, replace(settings, crops=16))

    monkeypatch.setattr(bound, "refit", watched)
    options = PatchOptions(stem=True)
    advice = with_refit(advise(model, files, SETTINGS, options), model, files, SETTINGS)
    assert [len(one.trial.sites) for one in advice.refitted] == [2, 1]
    assert [one.trial.agreement.n_images for one in advice.refitted] == [4, 4]
    assert all(len(names) == 4 for names in fitted_on)
    plan = plan_patch(model.module, options, input_size=16)
    assert (advice.refitted[0].macs_before, advice.refitted[0].macs_after) == (plan.macs_before, plan.macs_after)
    assert all(one.milliseconds_before > 0 < one.milliseconds_after for one in advice.refitted)
    assert structure(plain(advice.refitted[0]), RefitTrial, "a trial").trial.sites == advice.refitted[0].trial.sites
    text = " ".join(render_advice(advice).split())
    assert "refit, on 4 images it was not fitted on" in text
