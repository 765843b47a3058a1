"""The stages of one member of each torchvision family, and of awkward little networks."""

from __future__ import annotations

import pytest
import torch
import torchvision
from torch import Tensor, nn

from shiftaudit.stages.find import Discovery, discover


def stages_of(module: nn.Module, size: int = 64, channels: int = 3) -> Discovery:
    return discover(module, module, torch.zeros(1, channels, size, size))


def listed(found: Discovery) -> list[tuple[str, str, float]]:
    return [(stage.name, stage.op, found.slots[stage.output_slot].stride[0]) for stage in found.stages]


def conv(*rows: tuple[str, float]) -> list[tuple[str, str, float]]:
    return [(name, "conv", stride) for name, stride in rows]


RESNET = [
    ("conv1", "conv", 2),
    ("maxpool", "max_pool", 4),
    ("layer2.0.conv1", "conv", 8),
    ("layer2.0.downsample.0", "conv", 8),
    ("layer3.0.conv1", "conv", 16),
    ("layer3.0.downsample.0", "conv", 16),
    ("layer4.0.conv1", "conv", 32),
    ("layer4.0.downsample.0", "conv", 32),
]
EXPECTED: dict[str, list[tuple[str, str, float]]] = {
    "resnet18": RESNET,
    "resnet50": [(name.replace("0.conv1", "0.conv2"), op, stride) for name, op, stride in RESNET],
    "vgg11": [(f"features.{i}", "max_pool", s) for i, s in ((2, 2), (5, 4), (10, 8), (15, 16), (20, 32))],
    "alexnet": [("features.0", "conv", 4)] + [(f"features.{i}", "max_pool", s) for i, s in ((2, 8), (5, 16), (12, 32))],
    "densenet121": [
        ("features.conv0", "conv", 2),
        ("features.pool0", "max_pool", 4),
        *[(f"features.transition{i}.pool", "avg_pool", 4 * 2**i) for i in (1, 2, 3)],
    ],
    "inception_v3": [
        ("Conv2d_1a_3x3.conv", "conv", 2),
        ("maxpool1", "max_pool", 4),
        ("maxpool2", "max_pool", 8),
        ("Mixed_6a.branch3x3.conv", "conv", 16),
        ("Mixed_6a.branch3x3dbl_3.conv", "conv", 16),
        ("Mixed_6a/max_pool", "max_pool", 16),
        ("Mixed_7a.branch3x3_2.conv", "conv", 32),
        ("Mixed_7a.branch7x7x3_4.conv", "conv", 32),
        ("Mixed_7a/max_pool", "max_pool", 32),
    ],
    "googlenet": [("conv1.conv", "conv", 2)] + [(f"maxpool{i}", "max_pool", 2 * 2**i) for i in (1, 2, 3, 4)],
    "mobilenet_v2": conv(
        ("features.0.0", 2), *[(f"features.{i}.conv.1.0", s) for i, s in ((2, 4), (4, 8), (7, 16), (14, 32))]
    ),
    "mobilenet_v3_small": conv(
        ("features.0.0", 2),
        ("features.1.block.0.0", 4),
        *[(f"features.{i}.block.1.0", s) for i, s in ((2, 8), (4, 16), (9, 32))],
    ),
    "efficientnet_b0": conv(
        ("features.0.0", 2), *[(f"features.{i}.0.block.1.0", s) for i, s in ((2, 4), (3, 8), (4, 16), (6, 32))]
    ),
    "regnet_x_400mf": conv(
        ("stem.0", 2),
        *[(f"trunk_output.block{i}.block{i}-0.{part}.0", 2 * 2**i) for i in (1, 2, 3, 4) for part in ("proj", "f.b")],
    ),
    "shufflenet_v2_x0_5": [
        ("conv1.0", "conv", 2),
        ("maxpool", "max_pool", 4),
        *conv(*[(f"stage{i}.0.branch{b}", 2.0 * 2**i) for i in (2, 3, 4) for b in ("1.0", "2.3")]),
    ],
    "squeezenet1_0": [("features.0", "conv", 2)]
    + [(f"features.{i}", "max_pool", s) for i, s in ((2, 4), (6, 8), (11, 16))],
    "mnasnet0_5": conv(
        ("layers.0", 2), *[(f"layers.{i}.0.layers.3", s) for i, s in ((8, 4), (9, 8), (10, 16), (12, 32))]
    ),
    "convnext_tiny": [
        ("features.0.0", "patch_embedding", 4),
        *conv(*[(f"features.{i}.1", 2.0 ** (i // 2 + 2)) for i in (2, 4, 6)]),
    ],
    "vit_b_32": [("conv_proj", "patch_embedding", 32)],
    "swin_t": [("features.0.0", "patch_embedding", 4)]
    + [(f"features.{i}/slice", "slice", 2.0 ** (i // 2 + 2)) for i in (2, 4, 6)],
    "swin_v2_t": [("features.0.0", "patch_embedding", 4)]
    + [(f"features.{i}/slice", "slice", 2.0 ** (i // 2 + 2)) for i in (2, 4, 6)],
    "maxvit_t": [
        ("stem.0.0", "conv", 2),
        *[
            (f"blocks.{i}.layers.0.layers.MBconv.{part}", op, 4 * 2**i)
            for i in (0, 1, 2, 3)
            for part, op in (("proj.0", "avg_pool"), ("layers.conv_b.0", "conv"))
        ],
    ],
}
SIZES = {"inception_v3": 299, "maxvit_t": 224, "vit_b_32": 224}


@pytest.mark.parametrize("name", EXPECTED)
def test_torchvision_family_has_its_known_stages(name: str) -> None:
    options = {"init_weights": False} if name in ("inception_v3", "googlenet") else {}
    module = torchvision.models.get_model(name, weights=None, **options).eval()
    # 128 px keeps every map above 1×1 and runs fast; the stage list does not depend on the size.
    found = stages_of(module, SIZES.get(name, 128))
    assert listed(found) == EXPECTED[name]
    assert found.skipped == ()


def test_a_shortcut_shares_the_slot_of_the_main_branch_input() -> None:
    found = stages_of(torchvision.models.resnet18(weights=None).eval(), 64)
    main, shortcut = (next(s for s in found.stages if s.name == n) for n in ("layer2.0.conv1", "layer2.0.downsample.0"))
    assert main.input_slot == shortcut.input_slot
    assert main.output_slot != shortcut.output_slot


def test_hooks_are_removed_even_when_the_network_raises() -> None:
    class Breaks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)

        def forward(self, x: Tensor) -> Tensor:
            self.conv(x)
            raise ValueError("no")

    module = Breaks()
    with pytest.raises(ValueError, match="no"):
        stages_of(module)
    assert not module.conv._forward_hooks
    assert not module.conv._forward_pre_hooks


class Functional(nn.Module):
    """Pools and slices in its own code, one of them twice, and an in-place operation between conv and pool."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, stride=(2, 1), padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x).relu_()
        x = nn.functional.max_pool2d(x, 2)
        x = nn.functional.max_pool2d(x, 2)
        x = x[:, :, ::2]
        x = nn.functional.interpolate(x * 1.0, scale_factor=0.5)
        return nn.functional.adaptive_avg_pool2d(x, 1).flatten(1)


def test_functional_operations_are_named_by_their_module_and_numbered() -> None:
    found = stages_of(Functional())
    assert [(s.name, found.slots[s.output_slot].stride) for s in found.stages] == [
        ("conv", (2, 1)),
        ("max_pool", (4, 2)),
        ("max_pool@2", (8, 4)),
        ("slice", (16, 4)),
        ("interpolate", (32, 8)),
    ]


def test_an_in_place_operation_separates_the_conv_output_from_the_pool_input() -> None:
    found = stages_of(Functional())
    assert found.stages[0].output_slot != found.stages[1].input_slot
    assert found.stages[1].output_slot == found.stages[2].input_slot


def test_a_strided_operation_that_reaches_one_pixel_is_skipped_with_its_reason() -> None:
    found = stages_of(nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 5, 8, 8), nn.Flatten()), 16)
    assert [s.name for s in found.stages] == ["0"]
    assert [(s.name, s.op) for s in found.skipped] == [("1", "conv")]
    assert "1×1" in found.skipped[0].reason


def test_squeeze_and_excitation_does_not_change_the_stride() -> None:
    class Squeeze(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.pool = nn.AdaptiveAvgPool2d(1)
            self.gate = nn.Conv2d(3, 3, 1)
            self.down = nn.Conv2d(3, 4, 3, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.down(torch.sigmoid(self.gate(self.pool(x))) * x).mean((2, 3))

    found = stages_of(Squeeze())
    assert listed(found) == [("down", "conv", 2)]


def test_a_module_called_twice_has_two_stages() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.down = nn.Conv2d(3, 3, 3, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.down(self.down(x)).mean((2, 3))

    assert listed(stages_of(Twice())) == [("down", "conv", 2), ("down@2", "conv", 4)]


def test_upsampling_lowers_the_stride_again() -> None:
    module = nn.Sequential(nn.Conv2d(3, 3, 4, 4), nn.Upsample(scale_factor=2), nn.MaxPool2d(2), nn.Flatten())
    assert [(name, stride) for name, _, stride in listed(stages_of(module))] == [("0", 4), ("2", 4)]


def test_a_network_without_downsampling_has_no_stage() -> None:
    found = stages_of(nn.Sequential(nn.Conv2d(3, 3, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()))
    assert found.stages == ()
    assert found.total_stride == (1, 1)


def test_explicit_padding_before_a_convolution_is_not_part_of_its_input() -> None:
    class Same(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3, stride=2)

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(nn.functional.pad(x, (0, 1, 0, 1))).mean((2, 3))

    found = stages_of(Same(), 16)
    assert found.slots[found.stages[0].input_slot].size == (16, 16)
    assert found.slots[found.stages[0].output_slot].size == (8, 8)
