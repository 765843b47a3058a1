"""The assertion for test suites, on the bundled sample."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from shiftaudit import assert_shift_invariant, sample
from shiftaudit.audit.audit import audit
from shiftaudit.errors import InputError, NoVerdictError
from shiftaudit.gate.baseline import baseline_of, baseline_text
from shiftaudit.images.find import find_images
from shiftaudit.models import load_model
from shiftaudit.records.report import Preprocessing
from shiftaudit.records.settings import Settings

FAST = Settings(shifts="4", workers=0, stages=False)


class Constant(nn.Module):
    def __init__(self):
        super().__init__()
        self.bias = nn.Parameter(torch.tensor([1.0, 0.0, 0.0]))

    def forward(self, x):
        return self.bias.expand(len(x), 3)


def test_a_model_above_its_floor_passes_and_one_far_below_fails_with_the_numbers():
    model = load_model(str(sample.antialiased_model_path()))
    result = assert_shift_invariant(model, sample.images_path(), floors={"consistency": 0.7}, settings=FAST)
    assert result.outcome == "pass"
    with pytest.raises(AssertionError, match=r"FAIL: circular.consistency.*\n.*accepted: ≥ 99.9 %"):
        assert_shift_invariant(
            sample.model_path(), sample.images_path(), floors={"circular.consistency": 0.999}, settings=FAST
        )


def test_what_the_images_cannot_tell_fails_only_when_strict():
    folder, floors = sample.images_path() / "cat", {"crop.consistency": 0.9}
    assert assert_shift_invariant(sample.model_path(), folder, floors=floors, settings=FAST).outcome == "inconclusive"
    with pytest.raises(AssertionError, match="images would decide"):
        assert_shift_invariant(sample.model_path(), folder, floors=floors, settings=FAST, strict=True)


def test_a_baseline_brings_its_own_protocol(tmp_path):
    model = load_model(str(sample.model_path()))
    files, _ = find_images([sample.images_path() / "cat", sample.images_path() / "rocket"])
    (tmp_path / "b.json").write_text(baseline_text(baseline_of(audit(model, files, FAST))))
    folders = [sample.images_path() / "cat", sample.images_path() / "rocket"]
    result = assert_shift_invariant(model, folders, baseline=tmp_path / "b.json", labels="none")
    assert (result.outcome, result.n_images) == ("pass", 16)
    with pytest.raises(NoVerdictError, match="lacks 8"):
        assert_shift_invariant(model, folders[0], baseline=tmp_path / "b.json", labels="none")


def test_a_constant_classifier_is_not_called_invariant():
    preprocessing = Preprocessing(32, 32, (0.5,) * 3, (0.5,) * 3, "bilinear", 3, "options")
    with pytest.raises(AssertionError, match="one answer"):
        assert_shift_invariant(
            Constant(),
            sample.images_path(),
            floors={"consistency": 0.5},
            settings=FAST,
            preprocessing=preprocessing,
            labels="none",
        )


def test_one_answer_for_a_few_images_of_one_class_is_no_failure_unless_strict():
    preprocessing = Preprocessing(32, 32, (0.5,) * 3, (0.5,) * 3, "bilinear", 3, "options")
    images = sorted((sample.images_path() / "cat").glob("*"))[:5]
    demand = {"floors": {"consistency": 0.1}, "settings": FAST, "preprocessing": preprocessing, "labels": "none"}
    assert_shift_invariant(Constant(), images, **demand)
    with pytest.raises(AssertionError, match="100 % of 5 images one answer"):
        assert_shift_invariant(Constant(), images, **demand, strict=True)


def test_demanding_nothing_is_a_mistake():
    with pytest.raises(InputError, match="nothing is demanded"):
        assert_shift_invariant(sample.model_path(), sample.images_path())
    with pytest.raises(InputError, match="none is given"):
        assert_shift_invariant(
            sample.model_path(), sample.images_path(), floors={"stable": 0.1}, margins={"stable": 0.1}
        )
    with pytest.raises(InputError, match="module of your own"):
        preprocessing = load_model(str(sample.model_path())).preprocessing
        assert_shift_invariant("x.pt", sample.images_path(), floors={"stable": 0.1}, preprocessing=preprocessing)
