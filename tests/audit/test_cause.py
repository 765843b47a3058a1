"""Damage and cause in networks where the truth is known, through the whole audit."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from networks import Residual, preprocessing, seeded, write_images
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from shiftaudit.audit.audit import Audit, audit
from shiftaudit.audit.damages import share_of
from shiftaudit.gate.baseline import baseline_of
from shiftaudit.gate.judge import judge
from shiftaudit.images.file import ImageFile
from shiftaudit.images.find import find_images
from shiftaudit.models import LoadedModel
from shiftaudit.records.cause import ImageDamage
from shiftaudit.records.gate import Rules
from shiftaudit.records.report import AuditReport
from shiftaudit.records.samples import ImageScore
from shiftaudit.records.settings import Settings
from shiftaudit.render import findings, sentences, verdict

SIZE = 32


def run(module: nn.Module, folder: Path, size: int = SIZE, **changes: Any) -> AuditReport:
    settings = Settings(**{"shifts": "6", "max_shift": 8, "damage": 4, "workers": 0, "protocol": "circular", **changes})
    model = LoadedModel.from_module(module, preprocessing(size, size + 16))
    return audit(model, find_images(folder)[0], settings)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(tmp_path_factory.mktemp("images"), n=6, side=50)


def split(report: AuditReport) -> tuple[float, float, float]:
    """(observed, aliasing, border), total variation."""
    assert report.cause is not None
    found = report.cause.variation
    numbers = (found.observed.value, found.aliasing.value, found.border.value)
    assert None not in numbers
    return numbers  # type: ignore[return-value]


class _CircularPool(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return F.max_pool2d(F.pad(x, (1, 1, 1, 1), mode="circular"), 3, 2)


class Ideal(nn.Module):
    """Low-pass to an eighth of the sampling rate, every second sample, and a square that stays below Nyquist's frequency."""

    def __init__(self, padding_mode: str) -> None:
        super().__init__()
        self.mix = nn.Conv2d(3, 6, 3, padding=1, padding_mode=padding_mode)
        self.head = nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        side = x.shape[-1]
        frequency = torch.fft.fftfreq(side, 1 / side).abs()
        keep = (frequency[:, None] < side / 8) & (frequency[None, :] < side / 8)
        low = torch.fft.ifft2(torch.fft.fft2(x) * keep).real
        return self.head(self.mix(low[:, :, ::2, ::2]).square().mean((2, 3)))


def test_with_circular_padding_all_of_the_change_is_aliasing(folder: Path) -> None:
    module = seeded(Residual(padding_mode="circular"))
    module.pool = _CircularPool()
    observed, aliasing, border = split(run(module, folder))
    assert observed > 0.005
    assert aliasing == pytest.approx(observed, abs=1e-5)
    assert border == pytest.approx(0, abs=1e-5)


def test_behind_an_ideal_filter_a_better_one_can_win_nothing(folder: Path) -> None:
    report = run(seeded(Ideal("zeros"), seed=3), folder)
    observed, aliasing, border = split(report)
    assert observed > 1e-4
    # The sampling grid lies up to half a pixel otherwise to the zeros at the border, which is all that differs.
    assert aliasing < 0.2 * observed
    assert border == pytest.approx(observed, rel=0.1)
    assert report.cause is not None
    share = report.cause.variation.aliasing_share.value
    assert share is not None
    assert abs(share) < 0.15 * observed


def test_with_both_nothing_changes(folder: Path) -> None:
    report = run(seeded(Ideal("circular"), seed=3), folder)
    assert split(report) == pytest.approx((0, 0, 0), abs=1e-5)
    assert findings.worst_stage(report) is None


def damages(report: AuditReport) -> list[tuple[float, float]]:
    """(damage, what borders have in it) of every sampling grid, total variation."""
    found = [(one.variation.value, one.border and one.border.value) for one in findings.together(report)]
    assert all(border is not None for _, border in found)
    return found  # type: ignore[return-value]


def test_borders_have_nothing_in_the_damage_of_stages_that_pad_circularly(folder: Path) -> None:
    module = seeded(Residual(padding_mode="circular"))
    module.pool = _CircularPool()
    found = damages(run(module, folder))
    assert len(found) == 3
    for damage, border in found:
        assert damage > 1e-3
        assert border == pytest.approx(0, abs=1e-6)


def test_behind_an_ideal_filter_borders_have_all_of_a_stage_s_damage(folder: Path) -> None:
    [(damage, border)] = damages(run(seeded(Ideal("zeros"), seed=3), folder))
    assert damage > 1e-6
    assert border == pytest.approx(damage, rel=1e-2)
    [(damage, border)] = damages(run(seeded(Ideal("circular"), seed=3), folder))
    assert (damage, border) == pytest.approx((0, 0), abs=1e-6)


def test_zero_padding_has_a_part_in_the_damage_of_stages(folder: Path) -> None:
    found = damages(run(seeded(Residual()), folder, damage=6))
    assert any(abs(border) > 1e-4 for _, border in found)


def test_on_the_lattice_of_the_total_stride_nothing_aliases(folder: Path) -> None:
    report = run(seeded(Residual()), folder, shifts="grid:8", damage=20)
    observed, aliasing, border = split(report)
    assert observed > 1e-3
    assert aliasing == 0
    assert report.cause is not None
    assert report.cause.variation.aliasing_share.value == pytest.approx(0, abs=1e-6)
    assert findings.nothing_to_win(report)
    assert "patch" not in verdict.next_step(report)
    assert border == pytest.approx(observed, abs=1e-6)


def _written_otherwise() -> dict[str, nn.Module]:
    """One network in other words: batch-norm folded, a bias that the norm takes off again, scripted, frozen, traced, exported."""
    plain = seeded(Residual())
    folded, biased = copy.deepcopy(plain), copy.deepcopy(plain)
    folded.stem, folded.norm = fuse_conv_bn_eval(folded.stem, folded.norm), nn.Identity()
    with torch.no_grad():
        biased.stem.bias += 5
        biased.norm.running_mean += 5
    example = torch.zeros(2, 3, SIZE, SIZE)
    batch = {"x": {0: torch.export.Dim("batch", min=1)}}
    return {
        "folded": folded,
        "biased": biased,
        "scripted": torch.jit.script(plain),
        "frozen": torch.jit.freeze(torch.jit.script(plain)),
        "traced": torch.jit.trace(plain, example),
        "exported": torch.export.export(plain, (example,), dynamic_shapes=batch).module(),
    }


@pytest.fixture(scope="module")
def plain(folder: Path) -> AuditReport:
    return run(seeded(Residual()), folder, protocol="both", shifts="4")


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("form", ["folded", "biased", "scripted", "frozen", "traced", "exported"])
def test_the_way_a_network_is_written_down_changes_neither_errors_nor_damage(
    folder: Path, plain: AuditReport, form: str
) -> None:
    other = run(_written_otherwise()[form], folder, protocol="both", shifts="4")
    for ours, theirs in zip(plain.stages, other.stages, strict=True):
        for protocol, errors in ours.errors.items():
            assert theirs.errors[protocol].input.value == pytest.approx(errors.input.value, abs=1e-4)
            assert theirs.errors[protocol].output.value == pytest.approx(errors.output.value, abs=1e-4)
        assert ours.damage is not None
        assert theirs.damage is not None
        assert theirs.damage.variation.value == pytest.approx(ours.damage.variation.value, abs=1e-4)
    assert split(other) == pytest.approx(split(plain), abs=1e-4)
    assert findings.worst_stage(other) == findings.worst_stage(plain)
    renamed = tuple(
        type(stage)(**{**vars(stage), "name": known.name})
        for stage, known in zip(other.stages, plain.stages, strict=True)
    )
    named = type(other)(**{**vars(other), "stages": renamed})
    result = judge(baseline_of(named), baseline_of(plain), Rules(stage_margin=0.05))
    assert all(verdict.outcome != "fail" for verdict in result.verdicts)


def test_a_grid_that_does_not_fit_the_input_is_named_and_padding_is_not_blamed(folder: Path) -> None:
    class Valid(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.head = nn.Conv2d(3, 6, 7, stride=2), nn.Linear(6, 5)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.stem(x).relu().mean((2, 3)))

    report = run(seeded(Valid()), folder, size=33)
    assert not report.stages[0].fits
    [line] = sentences.geometry_texts(report)
    assert "The grid itself moves" in line
    assert "33 px" in line


def test_channels_that_hold_one_value_are_counted_and_change_no_error(folder: Path, plain: AuditReport) -> None:
    module = seeded(Residual())
    with torch.no_grad():
        module.stem.weight[1], module.stem.bias[1] = 0, 0.5
    report = run(module, folder, protocol="both", shifts="4", damage=1)
    stem = report.stages[0]
    assert (stem.name, stem.n_constant, plain.stages[0].n_constant) == ("stem", 1, 0)
    assert any(f"1 of {stem.channels} at stem" in line for line in sentences.stage_notes(report))
    # Nothing but what interpolation is charged with has a floor, which is stated.
    assert stem.errors["crop"].floor is not None
    assert stem.errors["circular"].floor is None
    alone = run(module, folder, protocol="crop", shifts="4", damage=0)
    floor = max(stage.errors["crop"].floor or 0 for stage in alone.stages)
    assert f"Of an error under crop, interpolation alone may account for up to {floor:.3f}." in sentences.stage_notes(
        alone
    )
    assert not any("interpolation" in note for note in sentences.stage_notes(report))


class Blind(Residual):
    """The head does not look at what comes of the branch; it pads and slices what is no map."""

    def forward(self, x: Tensor) -> Tensor:
        seen = self.relu(self.norm(self.stem(x)))
        unseen = self.branch(self.pool(seen)).mean((2, 3)) * 0
        return self.head(F.pad(seen.mean((2, 3)), (1, 2))[:, :8] + unseen)


def test_a_stage_that_no_answer_depends_on_has_an_error_and_no_damage(folder: Path) -> None:
    """What a stage added to the error was once called its part; the error says nothing of the answers."""
    report = run(seeded(Blind()), folder)
    errors = {stage.name: stage.errors["circular"].output.value for stage in report.stages}
    damage = {stage.name: stage.damage.variation.value for stage in report.stages if stage.damage}
    assert errors["branch"] > errors["stem"] > 0
    assert damage["branch"] == pytest.approx(0, abs=1e-6)
    assert damage["stem"] > 1e-3
    worst = findings.worst_stage(report)
    assert worst is not None
    assert report.stages[worst].name == "stem"


def test_stages_between_the_same_strides_sample_together(plain: AuditReport) -> None:
    damages = {stage.name: stage.damage for stage in plain.stages}
    assert damages["branch"] is not None
    assert damages["branch"].together == ("branch", "shortcut")
    assert damages["branch"] == damages["shortcut"]
    assert len(findings.together(plain)) == 3


def test_no_more_than_asked_is_taken_apart(folder: Path) -> None:
    assert run(seeded(Residual()), folder, damage=0).cause is None
    one = run(seeded(Residual()), folder, damage=1)
    assert one.cause is not None
    # Two answers a view, one a stage, and with circular padding two more.
    assert (one.cause.n_views, one.cause.n_images, one.cause.n_answers) == (6, 6, 30)


def test_by_default_some_images_are_taken_apart_and_one_more_changes_no_other(tmp_path: Path) -> None:
    write_images(tmp_path, n=54, side=50)
    model = LoadedModel.from_module(seeded(Residual()), preprocessing(SIZE, SIZE + 16))
    audit_run = Audit(model, Settings(shifts="2", max_shift=4, workers=0, protocol="circular"))
    files = find_images(tmp_path)[0]

    def apart(files: Sequence[ImageFile]) -> dict[str, ImageDamage | None]:
        audit_run.begin(files)
        lines = [line for line in audit_run.lines(files, {}) if isinstance(line, ImageScore)]
        return {line.image.id: line.damage for line in lines}

    everything = apart(files)
    assert 4 <= sum(found is not None for found in everything.values()) <= 20
    # In a small folder a larger share is, and with what they have in the large one.
    small = apart(files[:20])
    assert 4 <= sum(found is not None for found in small.values()) <= 16
    assert all(small[image] == everything[image] for image in small if everything[image] is not None)
    assert share_of(50, None) == share_of(1000, None) < share_of(49, None) < share_of(10, None) == 1
    # Three answers a view that is taken apart, beside the 17 of every image: at most 15 % more from 12 images on.
    assert all(3 * share_of(n, None) <= 0.15 * 17 for n in (12, 20, 49, 50, 1000))
