"""torchvision's families as ONNX files: what is found, decided, computed and measured is that of the network itself."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small_families as small
import torch
from networks import preprocessing, write_images
from onnx_files import answers, exported, saved
from torch import nn

import shiftaudit
from shiftaudit.models import LoadedModel, load_model
from shiftaudit.models.carried import Carried
from shiftaudit.records.patch import PatchOptions, SiteRecord
from shiftaudit.records.report import StageErrors
from shiftaudit.records.settings import ModelOptions, Settings
from shiftaudit.surgery.onnx.write import onnx_bytes
from shiftaudit.surgery.patch import patch, plan_patch

SIZES = {"vgg": 224}
"""Its head pools to 7×7, which the older exporter can write for maps that 7 divides."""
OLDER = (
    "convnext", "densenet", "efficientnet", "googlenet", "mnasnet", "mobilenet_v2", "mobilenet_v3", "regnet_y", "resnet",
    "shufflenet", "squeezenet", "swin", "vgg",
)  # fmt: skip
DYNAMO = ("convnext", "efficientnet", "shufflenet", "swin")
FILES = [*((name, "torchscript") for name in OLDER), *((name, "dynamo") for name in DYNAMO)]
ACTIVATIONS = ("relu", "relu6", "silu", "hardswish", "gelu")
QUICK = Settings(shifts="2", max_shift=4, workers=0)


def network(name: str) -> nn.Module:
    """With the statistics of its own maps: with others, two images are as good as one behind a dozen layers."""
    torch.manual_seed(0)
    model: nn.Module = getattr(small, name)()
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = 1.0
    with torch.no_grad():
        model.train()(torch.randn(4, 3, 64, 64))
    return model.eval()


BUILDERS: dict[str, Any] = {name: functools.partial(network, name) for name in OLDER}


def decided(sites: tuple[SiteRecord, ...]) -> list[tuple[Any, ...]]:
    """Sites and decisions without names, and without norms, which an export folds away: the blur stands where it stood."""

    def of(site: SiteRecord) -> tuple[Any, ...]:
        behind = [part for part in site.reason.split(" → ") if part in ACTIVATIONS]
        return (
            site.op, site.kernel, site.stride, site.channels, site.input_size, site.output_size, site.filter_size, site.pad,
            site.drift, site.macs_before, site.macs_after, behind, site.action.replace("after_tail", "after_op"),
        )  # fmt: skip

    return [of(site) for site in sites]


def measured(stage: StageErrors) -> tuple[Any, ...]:
    return stage.op, stage.stride, stage.layer_stride, stage.input_size, stage.output_size, stage.channels


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(tmp_path_factory.mktemp("families") / "images", n=2)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "how"), FILES)
def test_a_family_is_the_same_as_an_onnx_file(name: str, how: str, images: Path, tmp_path: Path) -> None:
    size = SIZES.get(name, 48)
    image = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(0))
    options = ModelOptions(size=size, resize=size + 8, mean=(0.5,), std=(0.25,))
    original, everything = network(name), PatchOptions(filter_size=1, stem=True, patchify=True)
    data = exported(BUILDERS[name], how, size)
    model = load_model(str(saved(tmp_path / "net.onnx", data)), options)

    wanted = plan_patch(original, everything, example_input=image)
    result = patch(model.module, everything, example_input=image)
    assert len(wanted.sites) >= 4
    assert decided(result.record.sites) == decided(wanted.sites)

    same = answers(onnx_bytes(result.module, Carried().to_json(), image), image)[0]
    np.testing.assert_allclose(same, answers(data, image)[0], rtol=1e-5, atol=1e-5)

    used = preprocessing(size=size, resize=size + 8)
    got = shiftaudit.score(model, images, QUICK)
    want = shiftaudit.score(LoadedModel.from_module(original, used), images, QUICK)
    assert list(map(measured, got.stages)) == list(map(measured, want.stages))
    for stage, other in zip(got.stages, want.stages, strict=True):
        for protocol, errors in stage.errors.items():
            assert errors.input.value == pytest.approx(other.errors[protocol].input.value, abs=1e-4)
            assert errors.output.value == pytest.approx(other.errors[protocol].output.value, abs=1e-4)
