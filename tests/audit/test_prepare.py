"""Preparing a model is three passes: as it is, as it scores, as it is watched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from networks import Residual, preprocessing, scripted, seeded, write_images
from torch import Tensor, nn

import shiftaudit
from shiftaudit.audit.prepare import Prepared, batch_size, even_parts, prepare
from shiftaudit.errors import InputError
from shiftaudit.models import LoadedModel
from shiftaudit.models.pack import PackedConv2d
from shiftaudit.records.report import AuditReport
from shiftaudit.records.settings import Settings
from shiftaudit.stages.find import discover
from shiftaudit.views.protocol import resolve


def model_of(form: str) -> LoadedModel:
    module = seeded(Residual())
    return LoadedModel.from_module(scripted(module) if form == "scripted" else module, preprocessing())


def prepared(model: LoadedModel, **changes: Any) -> Prepared:
    settings, protocol = resolve(Settings(workers=0, **changes), 16)
    return prepare(model, protocol, settings)


@pytest.mark.parametrize(("stages", "passes"), [(True, 3), (False, 2)])
@pytest.mark.parametrize("form", ["eager", "scripted"])
def test_three_passes_do(form: str, stages: bool, passes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    run = LoadedModel.__call__
    monkeypatch.setattr(LoadedModel, "__call__", lambda model, batch: (calls.append(len(batch)), run(model, batch))[1])
    prepared(model_of(form), stages=stages)
    assert calls == [1] * passes


def test_a_hook_on_a_layer_counts_three_runs_too() -> None:
    model, runs = model_of("eager"), []
    model.module.head.register_forward_hook(lambda *_: runs.append(1))
    prepared(model)
    assert len(runs) == 3


def test_batch_norm_is_folded_in_eager_networks_but_not_behind_convolutions_that_are_measured() -> None:
    layers = (nn.Conv2d(3, 4, 3, 2), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4), nn.Flatten())
    made = prepared(LoadedModel.from_module(seeded(nn.Sequential(*layers, nn.Linear(100, 5))), preprocessing()))
    names = {
        form: [name for name, layer in model.module.named_modules() if isinstance(layer, nn.Identity)]
        for form, model in (("fast", made.fast), ("watched", made.watched))
    }
    assert names == {"fast": ["1", "4"], "watched": ["4"]}


@pytest.mark.parametrize("form", ["eager", "scripted"])
def test_stages_have_the_model_s_names_and_the_watched_form_s_places(form: str) -> None:
    model = model_of(form)
    made = prepared(model)
    assert [stage.name for stage in made.stages.stages] == ["stem", "pool", "branch", "shortcut"]
    watched = discover(made.watched, made.watched.module, torch.zeros(1, 3, 16, 16))
    assert made.stages.slots == watched.slots
    assert made.n_classes == 5
    assert made.watched is not model


def test_a_given_batch_is_taken() -> None:
    assert prepared(model_of("eager"), batch_size=7).batch == 7


def test_nothing_is_packed_for_autocast() -> None:
    made = prepared(model_of("eager"), autocast=True)
    for model in (made.fast, made.watched):
        assert not any(isinstance(layer, PackedConv2d) for layer in model.module.modules())


def test_a_script_is_refused_for_compilation_before_it_runs() -> None:
    with pytest.raises(InputError, match="--compile got a TorchScript model"):
        prepared(model_of("scripted"), compile=True)


def test_a_network_whose_other_forms_differ_is_watched_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shiftaudit.models.fast.TOLERANCE", -1.0)
    model = model_of("eager")
    made = prepared(model)
    assert made.fast is model
    assert made.watched is model
    assert [stage.name for stage in made.stages.stages] == ["stem", "pool", "branch", "shortcut"]


class Classic(nn.Module):
    """The network of many a tutorial: what stands behind its last map is a `view`, which wants channels first in memory."""

    def __init__(self, view: bool) -> None:
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4))
        self.pool = nn.MaxPool2d(2)
        self.fc = nn.Linear(196, 5)
        self.as_view = view

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.pool(torch.relu(self.conv(x)))
        return self.fc(x.view(-1, 196) if self.as_view else x.flatten(1))


@pytest.mark.parametrize("form", ["eager", "scripted", "exported"])
def test_a_network_that_needs_channels_first_gets_its_report(form: str, tmp_path: Path) -> None:
    def report(module: nn.Module) -> AuditReport:
        model = LoadedModel.from_module(module, preprocessing())
        return shiftaudit.score(model, folder, Settings(shifts="3", max_shift=4, workers=0, damage=2))

    folder = write_images(tmp_path / "images", n=3)
    module: Any = seeded(Classic(view=True))
    if form == "scripted":
        module = torch.jit.script(module)
    elif form == "exported":
        batch = ({0: torch.export.Dim("batch")},)
        module = torch.export.export(module, (torch.zeros(2, 3, 16, 16),), dynamic_shapes=batch).module()
    got, wanted = report(module), report(seeded(Classic(view=False)))
    assert [stage.errors["circular"].output.value for stage in got.stages] == pytest.approx(
        [stage.errors["circular"].output.value for stage in wanted.stages], abs=1e-4
    )
    for one, other in zip(got.per_image, wanted.per_image, strict=True):
        assert one.views["circular"].probabilities == pytest.approx(other.views["circular"].probabilities, abs=1e-5)


@given(st.integers(0, 200), st.integers(1, 40))
def test_parts_are_complete_ordered_even_and_small_enough(n: int, most: int) -> None:
    parts = [list(part) for part in even_parts(range(n), most)]
    assert [item for part in parts for item in part] == list(range(n))
    sizes = [len(part) for part in parts]
    assert all(0 < size <= most for size in sizes)
    assert not sizes or max(sizes) - min(sizes) <= 1
    assert len(parts) == -(-n // most)


class Wide(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 10, 3, padding=1), nn.Linear(10, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.conv(x)).mean((2, 3)))


def test_the_size_of_a_batch_follows_from_the_largest_map() -> None:
    module = Wide().eval()
    found = discover(module, module, torch.zeros(2, 3, 32, 32))
    assert found.largest_bytes == 10 * 32 * 32 * 4
    for largest in (1, found.largest_bytes, 3_000_000, 10**9):
        views = batch_size(largest, "cpu")
        assert 4 <= views <= 64
        assert views in (4, 64) or views * largest < 2**25 <= (views + 1) * largest
