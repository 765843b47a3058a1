from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from image_files import write_noise
from torch import nn

from shiftaudit.audit.audit import audit
from shiftaudit.errors import InputError, PatchError
from shiftaudit.gate.compare import compare
from shiftaudit.images.file import ImageFile
from shiftaudit.images.find import find_images
from shiftaudit.models import LoadedModel
from shiftaudit.records.advise import Advice, Change, Trial
from shiftaudit.records.codec import plain, structure
from shiftaudit.records.report import Preprocessing
from shiftaudit.records.settings import Settings
from shiftaudit.records.words import PROTOCOLS
from shiftaudit.render.tune import render_advice
from shiftaudit.surgery.patch import PatchOptions, patch
from shiftaudit.tune import advise as advise_module
from shiftaudit.tune.advise import advise, rank_sites

SETTINGS = Settings(shifts="3", max_shift=3, stages=False, workers=0)
LONG = "features.denseblock4.transition.downsampling.convolution"
PREPROCESSING = Preprocessing(24, 24, (0.5,), (0.25,), "bilinear", 3, "options")


def network() -> nn.Module:
    torch.manual_seed(0)
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    layers["conv1"] = nn.Conv2d(3, 6, 3, padding=1)
    layers["relu1"] = nn.ReLU()
    layers["pool"] = nn.MaxPool2d(2)
    layers["conv2"] = nn.Conv2d(6, 6, 3, stride=2, padding=1)
    layers["relu2"] = nn.ReLU()
    layers["flat"] = nn.Flatten()
    layers["fc"] = nn.Linear(216, 5)
    return nn.Sequential(layers)


@pytest.fixture(scope="module")
def model() -> LoadedModel:
    return LoadedModel.from_module(network(), PREPROCESSING)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[ImageFile]:
    return find_images(write_noise(tmp_path_factory.mktemp("images"), 8, 30))[0]


def test_filters_of_size_one_change_nothing_and_the_advice_is_none(model: LoadedModel, images: list[ImageFile]) -> None:
    advice = advise(model, images, SETTINGS, PatchOptions(filter_size=1))
    assert {trial.sites for trial in advice.singles} == {("pool",), ("conv2",)}
    for trial in advice.singles:
        assert trial.mean_consistency.value == 0.0
        assert trial.agreement.value == 1.0
        assert trial.harmless and not trial.gains
    assert advice.proposal == () and advice.gain is None
    assert "none: no site" in render_advice(advice)


def test_a_trial_is_the_audit_of_the_model_with_that_site_patched(model: LoadedModel, images: list[ImageFile]) -> None:
    labels = {file.relative: index % 5 for index, file in enumerate(images)}
    seen: list[str] = []
    advice = advise(model, images, SETTINGS, labels=labels, observer=lambda what, _n, _most: seen.append(what))
    assert seen[:3] == ["the original", "pool", "conv2"]
    original = audit(model, images, SETTINGS, labels=labels)
    assert advice.original_consistency == pytest.approx(
        {name: result.metrics["consistency"].value for name, result in original.protocols.items()}
    )
    for trial in advice.singles:
        module = patch(model.module, PatchOptions(only=trial.sites), input_size=24).module
        report = audit(replace(model, module=module), images, SETTINGS, labels=labels)
        for protocol, change in trial.consistency.items():
            after, before = (r.protocols[protocol].metrics["consistency"].value for r in (report, original))
            assert after is not None and before is not None
            assert change.value == pytest.approx(after - before)
            found = {one.name: one for one in compare(original, report).metrics}[f"{protocol}.consistency"]
            assert (change.ci_low, change.ci_high) == (pytest.approx(found.ci_low), pytest.approx(found.ci_high))
            assert found.ci_low is not None
        same = [a.prediction == b.prediction for a, b in zip(report.per_image, original.per_image, strict=True)]
        assert trial.agreement.value == pytest.approx(np.mean(same))
        assert trial.accuracy is not None
    restored = structure(plain(advice), Advice, "the advice")
    assert plain(restored) == plain(advice)


def test_the_stem_is_tried_only_when_asked_for(images: list[ImageFile]) -> None:
    strided = nn.Sequential(
        nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(144, 3)
    )
    model = LoadedModel.from_module(strided, PREPROCESSING)
    without, with_stem = (advise(model, images, SETTINGS, PatchOptions(stem=stem)) for stem in (False, True))
    assert len(without.singles) == 1 and len(with_stem.singles) == 2


def test_a_model_without_downsampling_and_a_negative_tolerance_are_refused(
    model: LoadedModel, images: list[ImageFile]
) -> None:
    flat = LoadedModel.from_module(nn.Sequential(nn.Conv2d(3, 2, 1), nn.Flatten(), nn.Linear(1152, 2)), PREPROCESSING)
    with pytest.raises(PatchError, match="nothing to patch"):
        advise(flat, images, SETTINGS)
    with pytest.raises(InputError, match="--max-accuracy-drop got -1"):
        advise(model, images, SETTINGS, max_accuracy_drop=-1.0)


def trial(sites: str, gain: float, *, harmless: bool = True, low: float | None = None) -> Trial:
    change = Change(gain, gain - 0.01 if low is None else low, gain + 0.01, 100)
    surely = change.ci_low is not None and change.ci_low > 0
    return Trial(tuple(sites), {"crop": change}, change, Change(1.0, 0.9, 1.0, 100), None, harmless, surely)


def grown(singles: list[Trial], together: dict[str, Trial]) -> tuple[list[str], str | None]:
    trials = SimpleNamespace(names=tuple("abc"), run=lambda sites: together["".join(sites)])
    combined, best = advise_module._grow(trials, singles)  # type: ignore[arg-type]
    return ["".join(item.sites) for item in combined], "".join(best.sites) if best else None


def test_sites_are_added_best_first_as_long_as_each_helps() -> None:
    singles = [trial("b", 0.05), trial("a", 0.04), trial("c", 0.03)]
    together = {"ab": trial("ab", 0.07), "abc": trial("abc", 0.06)}
    assert grown(singles, together) == (["ab", "abc"], "ab")


def test_a_site_that_harms_together_with_the_others_is_left_out() -> None:
    singles = [trial("b", 0.05), trial("a", 0.04), trial("c", 0.03)]
    together = {"ab": trial("ab", 0.09, harmless=False), "bc": trial("bc", 0.06)}
    assert grown(singles, together) == (["ab", "bc"], "bc")


def test_harmful_or_unsure_sites_are_never_proposed() -> None:
    assert grown([trial("a", 0.2, harmless=False)], {}) == ([], None)
    assert grown([trial("a", 0.02, low=-0.01)], {}) == ([], None)


def test_between_equal_gains_the_smaller_patch_is_proposed() -> None:
    singles = [trial("b", 0.05), trial("a", 0.04)]
    assert grown(singles, {"ab": trial("ab", 0.05)}) == (["ab"], "b")


def test_the_proposal_names_the_command(tmp_path: Path) -> None:
    fall = Change(-0.104, -0.284, 0.142, 20)
    advice = Advice(
        model=LoadedModel.from_module(network(), PREPROCESSING).info,
        protocol=SimpleNamespace(),  # type: ignore[arg-type]
        options=PatchOptions(),
        original_consistency={"crop": 0.9},
        original_accuracy=None,
        n_images=100,
        rule="a rule",
        singles=(
            trial("a", 0.04),
            trial("b", -0.2, harmless=False),
            replace(trial("c", -0.1), sites=(LONG,), accuracy=fall),
        ),
        combined=(),
        proposal=("a",),
        gain=Change(0.04, 0.03, 0.05, 100),
    )
    text = render_advice(advice)
    assert " b: not harmless" in text
    assert f" {LONG}: " in text, "names are whole"
    assert "accuracy   −10.4 [−28.4, +14.2]" in text
    assert max(map(len, text.splitlines())) <= 80
    assert "patch 1 of 3 sites (consistency +4.0 [+3.0, +5.0])" in text
    assert "--only 'a'" in text


def test_sites_stand_in_the_order_of_the_damage_that_the_audit_finds(
    model: LoadedModel, images: list[ImageFile]
) -> None:
    advice = advise(model, images, SETTINGS)
    report = audit(model, images, replace(SETTINGS, stages=True, damage=advise_module.DAMAGE_VIEWS))
    known = {stage.name: stage.damage.variation.value for stage in report.stages if stage.damage is not None}
    assert {trial.sites[0]: trial.damage for trial in advice.singles} == pytest.approx(known)
    found = [trial.damage for trial in advice.singles]
    assert found == sorted(found, reverse=True)
    assert report.cause is not None
    assert advice.ceiling == report.cause.answers.ceiling


def test_a_search_ranks_sites_by_damage_and_tries_none_for_it(
    model: LoadedModel, images: list[ImageFile], monkeypatch: pytest.MonkeyPatch
) -> None:
    advice = advise(model, images, SETTINGS)
    monkeypatch.delattr(advise_module, "patched")
    for protocol in PROTOCOLS:
        ranked = rank_sites(model, images, replace(SETTINGS, protocol=protocol), PatchOptions())
        assert ranked == tuple(trial.sites[0] for trial in advice.singles) == ("conv2", "pool")


def test_where_a_filter_may_win_nothing_none_is_proposed(
    model: LoadedModel, images: list[ImageFile], monkeypatch: pytest.MonkeyPatch
) -> None:
    best = trial("a", 0.2, low=0.1)
    monkeypatch.setattr(advise_module, "_grow", lambda trials, singles: ([], best))
    reports = []

    def audited(*args: object, **more: object) -> object:
        report = audit(*args, **more)  # type: ignore[arg-type]
        cause = report.cause
        if cause is not None:
            ceiling = replace(cause.answers.ceiling, value=0.05, ci_low=reports[0], ci_high=0.2)
            report = replace(report, cause=replace(cause, answers=replace(cause.answers, ceiling=ceiling)))
        return report

    monkeypatch.setattr(advise_module, "audit", audited)
    for low, proposal in ((0.0, ()), (0.01, ("a",))):
        reports[:] = [low]
        advice = advise(model, images, SETTINGS)
        assert advice.proposal == proposal
        assert ("do not show that a filter could win" in render_advice(advice)) == (not proposal)
        # Not of consistency, which compares shifted views with each other.
        assert "5.0 points" in render_advice(advice).replace("\n", " ")
        assert "of agreement with the unshifted answer" in render_advice(advice).replace("\n", " ")
