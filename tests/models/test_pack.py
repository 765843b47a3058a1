"""Packed convolutions: the same answers and features, in a copy, and only where they are certain to fit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from networks import Residual, assert_same_errors, loaded, preprocessing, scripted, seeded, write_images
from torch import Tensor, nn

from shiftaudit.audit.audit import audit
from shiftaudit.images.find import find_images
from shiftaudit.models import LoadedModel
from shiftaudit.models import pack as packed
from shiftaudit.models.fast import answers_of, follow
from shiftaudit.records.settings import Settings
from shiftaudit.stages.ops import PACKED_CONV

EXAMPLE = torch.zeros(1, 3, 16, 16)
Form = Callable[[nn.Module], nn.Module]

pytestmark = pytest.mark.skipif(not packed.can_pack(EXAMPLE), reason="this PyTorch comes without oneDNN")


class Kinds(nn.Module):
    """Six convolutions that can be packed, and four that cannot."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.depthwise = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 8, 3, padding=2, dilation=2, groups=8)
        self.grouped, self.pointwise = nn.Conv2d(8, 8, 3, padding=1, groups=2), nn.Conv2d(8, 8, 1, bias=False)
        self.odd, self.wide = nn.Conv2d(8, 8, (1, 3), padding=(0, 1)), nn.Conv2d(8, 16, 3, (2, 1), 1)
        self.circular = nn.Conv2d(16, 16, 3, padding=1, padding_mode="circular")
        self.same = nn.Conv2d(16, 16, 3, padding="same")
        self.up, self.flat = nn.ConvTranspose2d(16, 4, 2, 2), nn.Conv1d(4, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.pointwise(self.grouped(self.depthwise(self.stem(x)))))
        x = self.up(self.same(self.circular(self.wide(self.odd(x)))))
        return self.flat(x.flatten(2)).mean(2)


def n_packed(module: nn.Module) -> int:
    if isinstance(module, torch.jit.ScriptModule):
        return str(module.graph).count(f" {PACKED_CONV}(")
    return sum(isinstance(layer, packed.PackedConv2d) for layer in module.modules())


def fastest(model: LoadedModel) -> LoadedModel:
    image = torch.randn(EXAMPLE.shape, generator=torch.Generator().manual_seed(0))
    found = follow(model, image).first_alike(lambda form: answers_of(form, image), keep_strided=False, pack=True)
    return found[0] if found else model


def model_of(module: nn.Module, form: Form = lambda module: module) -> LoadedModel:
    return LoadedModel.from_module(form(seeded(module)), preprocessing(16, 22))


@pytest.mark.parametrize("form", [lambda module: module, scripted])
@pytest.mark.parametrize("batch", [1, 5])
def test_every_kind_of_convolution_gives_its_answers(form: Form, batch: int) -> None:
    model = model_of(Kinds(), form)
    fast = fastest(model)
    # In a script a circular convolution is a padding and a plain one.
    assert n_packed(fast.module) == (6 if form is not scripted else 7)
    x = torch.randn(batch, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        torch.testing.assert_close(fast(x), model(x), rtol=1e-5, atol=1e-6)
    assert n_packed(model.module) == 0


@pytest.mark.parametrize("form", [lambda module: module, scripted])
def test_stage_errors_are_those_of_the_network_as_it_is(
    tmp_path: Path, form: Form, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = find_images(write_images(tmp_path))[0]
    settings = Settings(shifts="4", max_shift=2, workers=0)
    model = loaded(form(seeded(Residual())))
    fast = audit(model, files, settings)
    monkeypatch.setattr("shiftaudit.models.fast.Followed.first_alike", lambda *_, **__: None)
    slow = audit(model, files, settings)
    assert [stage.name for stage in fast.stages] == [stage.name for stage in slow.stages]
    assert_same_errors(fast, slow, 1e-6)


def test_a_convolution_with_a_hook_keeps_it() -> None:
    module = seeded(Kinds())
    module.grouped.register_forward_hook(lambda layer, args, out: out + 1)
    model = LoadedModel.from_module(module, preprocessing(16, 22))
    fast = fastest(model)
    assert n_packed(fast.module) == 5
    with torch.inference_mode():
        torch.testing.assert_close(fast(EXAMPLE), model(EXAMPLE), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("form", [lambda module: module, scripted])
def test_without_the_operators_a_network_is_only_folded(form: Form, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object) -> Tensor:
        raise AttributeError("no such operator")

    monkeypatch.setattr(packed, "_packed_weight", missing)
    model = model_of(Residual(), form)
    fast = fastest(model)
    assert fast is not model
    assert n_packed(fast.module) == 0


@pytest.mark.parametrize("form", [lambda module: module, scripted])
def test_a_packed_network_that_answers_otherwise_is_dropped(form: Form, monkeypatch: pytest.MonkeyPatch) -> None:
    right = packed._packed_weight
    monkeypatch.setattr(packed, "_packed_weight", lambda weight, *geometry: right(weight * 1.01, *geometry))
    fast = fastest(model_of(Residual(), form))
    assert n_packed(fast.module) == 0
