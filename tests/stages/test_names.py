"""Names read from graphs agree with the names that hooks give an eager model."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import small_families as small
import torch
from networks import reexported, reloaded
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from shiftaudit.stages.align import align
from shiftaudit.stages.find import discover
from shiftaudit.stages.names import NamedOp, exported_ops, is_exported, scripted_ops


def _forms(model: nn.Module, example: Tensor) -> dict[str, nn.Module]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tracing a model that checks sizes warns
        traced = torch.jit.trace(model, example, check_trace=False)
        scripted = torch.jit.script(model)
    return {
        "scripted": scripted,
        "traced": traced,
        "reloaded": reloaded(scripted),
        "reloaded trace": reloaded(traced),
        "exported": reexported(model, example),
    }


EXPECTED = {
    small.resnet: [
        "conv1", "maxpool", "layer2.0.conv1", "layer2.0.downsample.0", "layer3.0.conv1", "layer3.0.downsample.0",
        "layer4.0.conv1", "layer4.0.downsample.0",
    ],
    small.googlenet: ["conv1.conv", "maxpool1", "maxpool2", "maxpool3", "maxpool4"],
    small.densenet: [
        "features.conv0", "features.pool0", "features.transition1.pool", "features.transition2.pool",
        "features.transition3.pool",
    ],
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:Scripted GoogleNet always returns")
@pytest.mark.parametrize("network", EXPECTED)
def test_stages_of_every_stored_form_have_the_names_of_the_eager_model(network: Callable[[], nn.Module]) -> None:
    model, example = network().eval(), torch.zeros(1, 3, 64, 64)
    found = {form: [s.name for s in discover(m, m, example).stages] for form, m in _forms(model, example).items()}
    found["eager"] = [s.name for s in discover(model, model, example).stages]
    assert found == dict.fromkeys(found, EXPECTED[network])


class _Functional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.kernel = nn.Parameter(torch.ones(4, 4, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = torch.nn.functional.max_pool2d(self.conv(x), 2)
        x = torch.nn.functional.conv2d(x, self.kernel, stride=2)
        return x[:, :, ::2, 1:]


class _Listed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.parts = nn.ModuleList([_Functional(), nn.AvgPool2d(2)])

    def forward(self, x: Tensor) -> Tensor:
        for part in self.parts:
            x = part(x)
        return x


def test_functional_operations_are_named_after_the_module_whose_code_or_weight_they_use() -> None:
    model, example = _Listed().eval(), torch.zeros(1, 3, 40, 40)
    expected = [
        NamedOp("parts.0.conv", "conv", "parts.0.conv.weight"),
        NamedOp("parts.0/max_pool", "max_pool"),
        NamedOp("parts.0", "conv", "parts.0.kernel"),
        NamedOp("parts.0/slice", "slice"),
        NamedOp("parts.1", "avg_pool"),
    ]
    forms = _forms(model, example)
    exported = forms.pop("exported")
    assert is_exported(exported)
    assert exported_ops(exported) == expected
    assert {form: scripted_ops(m) for form, m in forms.items()} == dict.fromkeys(forms, expected)
    eager = [stage.name for stage in discover(model, model, example).stages]
    assert eager == ["parts.0/max_pool", "parts.0", "parts.0/slice", "parts.1"]


def test_a_frozen_module_has_no_names_and_its_convolutions_are_numbered() -> None:
    frozen = torch.jit.freeze(torch.jit.script(_Listed().eval()))
    assert [op.name for op in scripted_ops(frozen)] == ["conv_1", "max_pool", "conv_2", "slice", "avg_pool"]


class _Branches(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.small = nn.MaxPool2d(2)
        self.large = nn.AvgPool2d(2)
        self.last = nn.Conv2d(3, 3, 1, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.small(x) if x.size(2) < 32 else self.large(x)
        for _ in range(2):
            x = self.last(x)
        return x


@pytest.mark.parametrize(("size", "branch"), [(24, "small"), (48, "large")])
def test_the_branch_that_ran_gives_its_name_and_a_loop_repeats_it(size: int, branch: str) -> None:
    scripted = torch.jit.script(_Branches().eval())
    assert [op.name for op in scripted_ops(scripted)] == ["small", "large", "last"]
    found = discover(scripted, scripted, torch.zeros(1, 3, size, size))
    assert [stage.name for stage in found.stages] == [branch, "last", "last@2"]


def test_merged_slices_are_listed_as_they_run() -> None:
    class Merging(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.cat([x[:, ::2, ::2], x[:, 1::2, ::2], x[:, ::2, 1::2], x[:, 1::2, 1::2]], 3)

    scripted = torch.jit.script(Merging())
    assert len(scripted_ops(scripted)) == 6
    assert len(scripted_ops(scripted, merged=False)) == 8


class Merging(nn.Module):
    """Hugging Face's patch merging: four phases of a view of the tokens, then layers that are called."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(12)
        self.reduction = nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = x.view(x.shape[0], 8, 8, x.shape[2])
        phases = [x[:, row::2, column::2, :] for column in (0, 1) for row in (0, 1)]
        out: Tensor = self.reduction(self.norm(torch.cat(phases, -1).view(x.shape[0], -1, 12)))
        return out


def test_slices_of_a_view_are_merged_as_the_interpreter_does_it() -> None:
    x = torch.zeros(1, 64, 3)
    traced = torch.jit.trace(nn.Sequential(Merging()), x)
    ran: list[int] = []

    class Count(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if func is torch.ops.aten.slice.Tensor and args[4:] == (2,):
                ran.append(1)
            return func(*args, **(kwargs or {}))

    with torch.inference_mode(), Count():
        traced(x)
    assert len(scripted_ops(traced)) == len(ran) == 6


def test_alignment_never_joins_different_kinds_or_weights() -> None:
    static = [NamedOp("a", "conv", "a.weight"), NamedOp("b", "conv", "b.weight"), NamedOp("p", "max_pool")]
    assert align(static, [("conv", "b.weight"), ("max_pool", None)]) == ["b", "p"]
    assert align(static, [("max_pool", None), ("conv", "a.weight")]) == ["max_pool_1", "a"]
    assert align(static, [("avg_pool", None), ("conv", None)]) == ["avg_pool_1", "a"]
    assert align(static, [("conv", "elsewhere.weight"), ("max_pool", None)]) == ["elsewhere", "p"]
    assert align([], [("max_pool", None), ("max_pool", None)]) == ["max_pool_1", "max_pool_2"]
    assert align(static, []) == []
