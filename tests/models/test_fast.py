"""Folding batch-norm for the audit: the same answers, the same features where they are measured, and nothing folded unseen."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from networks import Residual, assert_same_errors, loaded, preprocessing, scripted, seeded, write_images
from torch import Tensor, nn

from shiftaudit.audit.audit import audit
from shiftaudit.images.find import find_images
from shiftaudit.models import LoadedModel
from shiftaudit.models.fast import folded
from shiftaudit.records.settings import Settings

EXAMPLE = torch.zeros(1, 3, 16, 16)


class Shapes(nn.Module):
    """A strided and a plain pair, a convolution two layers read, and a batch-norm called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.stem_norm = nn.Conv2d(3, 6, 3, 2, 1, bias=False), nn.BatchNorm2d(6)
        self.plain, self.plain_norm = nn.Conv2d(6, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.forked, self.forked_norm = nn.Conv2d(6, 6, 1), nn.BatchNorm2d(6)
        self.shared_a, self.shared_b, self.shared_norm = nn.Conv2d(6, 6, 1), nn.Conv2d(6, 6, 1), nn.BatchNorm2d(6)
        self.head = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.plain_norm(self.plain(torch.relu(self.stem_norm(self.stem(x))))))
        fork = self.forked(x)
        x = torch.relu(self.forked_norm(fork)) + fork
        x = self.shared_norm(self.shared_a(x)) + self.shared_norm(self.shared_b(x))
        return self.head(x.mean((2, 3)))


def model_of(module: nn.Module, form: Callable[[nn.Module], nn.Module] = lambda module: module) -> LoadedModel:
    return LoadedModel.from_module(form(seeded(module)), preprocessing(16, 22))


def folded_names(model: LoadedModel, *, keep_strided: bool) -> list[str]:
    other = folded(model, EXAMPLE, keep_strided=keep_strided)
    return sorted(name for name, layer in other.module.named_modules() if isinstance(layer, nn.Identity))


def test_only_pairs_that_nobody_else_reads_or_calls_are_folded() -> None:
    model = model_of(Shapes())
    assert folded_names(model, keep_strided=False) == ["plain_norm", "stem_norm"]
    assert folded_names(model, keep_strided=True) == ["plain_norm"]


@pytest.mark.parametrize("keep_strided", [False, True])
@pytest.mark.parametrize("form", [lambda module: module, scripted])
@pytest.mark.parametrize("network", [Shapes, Residual])
def test_logits_stay(network: type[nn.Module], form: Callable[[nn.Module], nn.Module], keep_strided: bool) -> None:
    model = model_of(network(), form)
    x = torch.randn(5, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    other = folded(model, EXAMPLE, keep_strided=keep_strided)
    with torch.inference_mode():
        torch.testing.assert_close(other(x), model(x), rtol=1e-5, atol=1e-5)


def test_a_scripted_network_is_folded_but_for_its_strided_convolutions() -> None:
    model = model_of(Shapes(), scripted)
    kept = {
        k: str(folded(model, EXAMPLE, keep_strided=k).module.graph).count("aten::batch_norm") for k in (True, False)
    }
    # Five calls; the plain pair goes in both, the strided one only where its output is not measured.
    assert kept[True] == kept[False] + 1
    assert kept[True] < 5


def test_the_model_its_weights_and_its_hash_stay_as_they_are() -> None:
    model = model_of(Shapes())
    before = {name: tensor.clone() for name, tensor in model.module.state_dict().items()}
    other = folded(model, EXAMPLE, keep_strided=False)
    assert other.info == model.info
    for name, tensor in model.module.state_dict().items():
        torch.testing.assert_close(tensor, before[name], rtol=0, atol=0)


class ReadsItsWeights(Shapes):
    """Uses a convolution's weights a second time, behind the layer's back."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * self.plain.weight.sum()


class ReadsItsStatistics(Shapes):
    """Uses a batch-norm's weights a second time: there are none after folding."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + self.plain_norm.weight.sum()


@pytest.mark.parametrize("network", [ReadsItsWeights, ReadsItsStatistics])
def test_a_fold_that_changes_the_answers_is_thrown_away(network: type[nn.Module]) -> None:
    model = model_of(network())
    assert folded(model, EXAMPLE, keep_strided=True) is model


def test_networks_without_pairs_stay_as_they_are() -> None:
    model = model_of(nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(196, 3)))
    assert folded(model, EXAMPLE, keep_strided=False) is model


class Pruned(nn.Module):
    """Batch-norms that switch channels off, as pruned and freshly initialised networks have them: folding would leave the
    strided convolutions nothing to measure there."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.first_norm = nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8)
        self.second, self.second_norm = nn.Conv2d(8, 12, 3, 2, 1, bias=False), nn.BatchNorm2d(12)
        self.head = nn.Linear(12, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.first_norm(self.first(x)))
        return self.head(torch.relu(self.second_norm(self.second(x))).mean((2, 3)))


@pytest.mark.parametrize("network", [Residual, Pruned])
def test_stage_errors_are_those_of_the_unfolded_network(
    network: type[nn.Module], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = find_images(write_images(tmp_path))[0]
    settings = Settings(shifts="4", max_shift=2, workers=0)
    module = seeded(network())
    if isinstance(module, Pruned):
        module.first_norm.weight.data[:3] = module.second_norm.weight.data[:4] = 0
    fast = audit(loaded(module), files, settings)
    monkeypatch.setattr("shiftaudit.models.fast.Followed.first_alike", lambda *_, **__: None)
    slow = audit(loaded(module), files, settings)
    assert [s.name for s in fast.stages] == [s.name for s in slow.stages]
    assert fast.model == slow.model
    assert_same_errors(fast, slow, 1e-5)


SCORE_SCRIPTS = """
import sys, warnings
warnings.simplefilter("ignore")
import torch, torchvision
from shiftaudit.audit.prepare import prepare
from shiftaudit.models import LoadedModel
from shiftaudit.records.report import Preprocessing
from shiftaudit.records.settings import Settings
from shiftaudit.views.protocol import resolve
preprocessing = Preprocessing(32, 36, (0.5,), (0.25,), "bilinear", 3, "options")
for dtype in (torch.half, torch.bfloat16, torch.double):
    model = LoadedModel.from_module(torch.jit.script(torchvision.models.resnet18().eval().to(dtype)), preprocessing)
    settings, protocol = resolve(Settings(), 32)
    made = prepare(model, protocol, settings)
    print(dtype, made.fast is model, made.watched is model)
"""


def test_scripts_in_other_types_than_float32_stay_as_they_are_and_do_not_end_the_process() -> None:
    done = subprocess.run([sys.executable, "-c", SCORE_SCRIPTS], capture_output=True, text=True, check=False)
    expected = [f"torch.{name} True True" for name in ("float16", "bfloat16", "float64")]
    assert (done.returncode, done.stdout.splitlines()) == (0, expected), done.stderr
