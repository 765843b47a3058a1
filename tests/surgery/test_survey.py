from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from networks import Residual, loaded, seeded
from torch import nn

from shiftaudit.records.report import SkippedStage
from shiftaudit.records.survey import ListedStage, StageList
from shiftaudit.render.stages import render
from shiftaudit.render.terminal import Terminal
from shiftaudit.surgery.blurpool import BlurPool
from shiftaudit.surgery.survey import survey


class Mixed(nn.Module):
    """An aliased convolution, a BlurPool, an average-pool and a learned depthwise convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.blur = BlurPool(4, filter_size=3, stride=2)
        self.average = nn.AvgPool2d(2)
        self.depthwise = nn.Conv2d(4, 4, 3, stride=2, padding=1, groups=4)
        self.head = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.depthwise(self.average(self.blur(self.stem(x)))).mean((2, 3)))


def listed(module: nn.Module) -> StageList:
    return survey(loaded(seeded(module), size=32, resize=40))


def test_filtered_averaged_and_aliased_stages_are_told_apart() -> None:
    stages = listed(Mixed()).stages
    assert [(stage.op, stage.filtering) for stage in stages] == [
        ("conv", "aliased"),
        ("conv", "filtered"),
        ("avg_pool", "averaged"),
        ("conv", "aliased"),
    ]
    assert [stage.stride for stage in stages] == [(2, 2), (4, 4), (8, 8), (16, 16)]
    assert [stage.level for stage in stages] == [1, 2, 3, 4]


def test_what_patch_would_do_stands_beside_each_stage() -> None:
    found = listed(Residual())
    actions = {stage.name: stage.patch_action for stage in found.stages}
    assert actions == {
        "stem": "leave",
        "pool": "blur_after_pool",
        "branch": "blur_after_op",
        "shortcut": "blur_before_conv",
    }
    assert found.patch_note is None
    assert [stage.level for stage in found.stages] == [1, 2, 3, 3]


def test_table_and_tree_name_every_stage_and_fit() -> None:
    found = listed(Residual())
    for tree in (False, True):
        for width in (40, 80, 120):
            text = render(found, Terminal(width), tree=tree)
            assert max(map(len, text.splitlines())) <= width
            if width >= 80:
                assert all(stage.name in text for stage in found.stages)
    assert "4 downsampling stages, 4 without a low-pass filter" in text


def made_up(name: str, op: str, stride: int, filtering: str, action: str | None, reason: str | None) -> ListedStage:
    size = 224 // stride
    return ListedStage(
        name, op, (stride, stride), (2, 2), 1, (2 * size, 2 * size), (size, size), 8, filtering, action, reason
    )


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_list_is_the_golden_one(golden: Callable[[str, str], None], width: int) -> None:
    stages = (
        made_up("conv1", "conv", 2, "aliased", "leave", "reads the network's input, as in the paper's weights: --stem"),
        made_up("maxpool", "max_pool", 4, "aliased", "blur_after_pool", None),
        made_up("layer2.0.conv1", "conv", 8, "aliased", "blur_after_tail", None),
        made_up("layer2.0.downsample.0", "conv", 8, "averaged", "blur_before_conv", None),
        made_up("features.block3.attention.depthwise_conv.pool/conv", "conv", 16, "filtered", None, None),
    )
    skipped = (SkippedStage("head.unfold", "unfold", "its output has no size of a map"),)
    text = render(StageList("resnet.pt", 224, stages, skipped, None), Terminal(width))
    golden(text, f"stages_{width}.txt")
    assert max(map(len, text.splitlines())) <= width


def test_a_network_without_stages_is_said_to_alias_nothing() -> None:
    flat = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    found = listed(flat)
    assert found.stages == ()
    assert "nothing aliases" in render(found, Terminal())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_networks_of_any_precision_are_said_to_be_what_patch_can_do(dtype: torch.dtype) -> None:
    found = listed(Mixed().to(dtype))
    assert found.patch_note is None
    assert [stage.patch_action for stage in found.stages] == [stage.patch_action for stage in listed(Mixed()).stages]
