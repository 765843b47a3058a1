from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from shiftaudit.records.tune import TuneSettings
from shiftaudit.tune.data import NO_LABEL, Batch
from shiftaudit.tune.objective import Objective, relative_error, rolled, window
from shiftaudit.tune.targets import TapChoice, tapped

SIZE = 4


def test_windows_are_cut_from_their_own_canvas() -> None:
    canvas = torch.arange(3 * 36).reshape(3, 1, 6, 6).float()
    views = window(canvas, SIZE, np.random.default_rng(0))
    for one, whole in zip(views, canvas, strict=True):
        found = [(y, x) for y in range(3) for x in range(3) if torch.equal(one, whole[:, y : y + SIZE, x : x + SIZE])]
        assert len(found) == 1


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_about_the_share_asked_for_is_rolled_and_no_pixel_is_lost(share: float) -> None:
    views = torch.arange(400 * 16).reshape(400, 1, 4, 4).float()
    moved = rolled(views, share, 1, np.random.default_rng(0))
    assert torch.equal(moved.flatten(1).sort(1).values, views.flatten(1))
    changed = float((moved != views).flatten(1).any(1).float().mean())
    assert changed == pytest.approx(share * 8 / 9, abs=0.06)  # one roll in nine is by nothing


def linear() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 3))


def objective(settings: TuneSettings, student: nn.Module, answers: nn.Module) -> Objective:
    def select(out: Tensor, _: int) -> Tensor:
        return out

    return Objective(tapped(student, select), tapped(linear(), select), answers, TapChoice((), ()), settings, SIZE)


def divergence(p: Tensor, logits: Tensor) -> float:
    q = logits.log_softmax(-1)
    return float((p * (p.log() - q)).sum(-1).mean().detach())


def test_the_target_is_the_mean_answer_over_the_view_and_the_shifted_ones() -> None:
    settings = TuneSettings(roll=0.0, shift_views=2)
    student, teacher = nn.Sequential(nn.Flatten(), nn.Linear(16, 3)), linear()
    batch = Batch(torch.randn(5, 1, 6, 6), torch.full((5,), NO_LABEL))
    loss = objective(settings, student, teacher).loss(batch, np.random.default_rng(3))
    generator = np.random.default_rng(3)
    views = []
    for _ in range(3):
        views.append(window(batch.canvas, SIZE, generator))
        rolled(views[-1], 0.0, 1, generator)
    target = torch.stack([teacher(view).softmax(-1) for view in views]).mean(0)
    assert float(loss.detach()) == pytest.approx(divergence(target, student(views[0])), rel=1e-5)


def test_centred_images_teach_every_view_the_answer_to_the_middle() -> None:
    settings = TuneSettings(roll=0.0, shift_views=0, centred=True)
    student, teacher = nn.Sequential(nn.Flatten(), nn.Linear(16, 3)), linear()
    batch = Batch(torch.randn(5, 1, 6, 6), torch.full((5,), NO_LABEL))
    loss = objective(settings, student, teacher).loss(batch, np.random.default_rng(3))
    view = window(batch.canvas, SIZE, np.random.default_rng(3))
    target = teacher(batch.canvas[..., 1:5, 1:5]).softmax(-1)
    assert float(loss.detach()) == pytest.approx(divergence(target, student(view)), rel=1e-5)


def test_labels_weigh_by_the_share_of_images_that_have_one() -> None:
    settings = TuneSettings(roll=0.0, shift_views=0, centred=True, labels=1.0)
    student = linear()
    canvas = torch.randn(4, 1, 6, 6)
    known = Batch(canvas, torch.tensor([1, NO_LABEL, 2, NO_LABEL]))
    unknown = replace(known, labels=torch.full((4,), NO_LABEL))
    with_labels, without = (
        objective(settings, student, linear()).loss(batch, np.random.default_rng(0)) for batch in (known, unknown)
    )
    logits = student(window(canvas, SIZE, np.random.default_rng(0)))[[0, 2]]
    entropy = -logits.log_softmax(-1)[[0, 1], [1, 2]].mean()
    assert float((with_labels - without).detach()) == pytest.approx(0.5 * float(entropy.detach()), rel=1e-5)


def test_the_relative_error_is_that_of_numpy() -> None:
    ours, theirs = torch.randn(3, 2, 5, 5), torch.randn(3, 2, 5, 5)
    a, b = ours.numpy().astype(np.float64), theirs.numpy().astype(np.float64)
    expected = np.mean([((x - y) ** 2).sum() / (y**2).sum() for x, y in zip(a, b, strict=True)])
    assert float(relative_error(ours - theirs, theirs)) == pytest.approx(expected, rel=1e-5)
