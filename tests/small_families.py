"""Small members of torchvision's families: one block where the published networks have many equal ones, and one layer as head.

A second block of a kind adds time and no new kind of site.
"""

from __future__ import annotations

import torch
import torchvision
from torch import nn
from torchvision.models.convnext import CNBlockConfig
from torchvision.models.regnet import BlockParams
from torchvision.models.vgg import make_layers


def _first_blocks(model: nn.Module, *stages: str) -> nn.Module:
    """The network with the first block alone of each of these sequences."""
    for name in stages:
        model.set_submodule(name, model.get_submodule(name)[:1])
    return model


def resnet() -> nn.Module:
    return _first_blocks(torchvision.models.resnet18(), "layer1", "layer2", "layer3", "layer4")


def densenet() -> nn.Module:
    return torchvision.models.DenseNet(8, (2, 2, 2, 2), 16, num_classes=10)


def swin() -> nn.Module:
    return torchvision.models.SwinTransformer([4, 4], 24, [1, 1, 1, 1], [1, 2, 2, 4], [4, 4], num_classes=10)


def convnext() -> nn.Module:
    sizes = ((16, 32), (32, 48), (48, 64), (64, None))
    return torchvision.models.ConvNeXt([CNBlockConfig(*pair, 1) for pair in sizes], num_classes=10)


def shufflenet() -> nn.Module:
    return torchvision.models.ShuffleNetV2([2, 2, 2], [24, 48, 96, 192, 64], num_classes=10)


def mobilenet_v2() -> nn.Module:
    steps = [[1, 8, 1, 1], [6, 16, 2, 2], [6, 16, 1, 2], [6, 24, 1, 2], [6, 24, 1, 1], [6, 32, 1, 2]]
    return torchvision.models.MobileNetV2(10, inverted_residual_setting=steps)


def mobilenet_v3() -> nn.Module:
    return torchvision.models.mobilenet_v3_small(num_classes=10)


def squeezenet() -> nn.Module:
    return torchvision.models.SqueezeNet("1_0", 10)


def googlenet() -> nn.Module:
    model = torchvision.models.GoogLeNet(10, init_weights=False)
    # These put out as many channels as they take.
    for name in ("inception4b", "inception4c", "inception5a"):
        model.set_submodule(name, nn.Identity())
    return model


def regnet_y() -> nn.Module:
    sizes = {"depths": [1] * 4, "widths": [16, 24, 32, 48], "group_widths": [8] * 4}
    blocks = BlockParams(**sizes, bottleneck_multipliers=[1.0] * 4, strides=[2] * 4, se_ratio=0.25)
    return torchvision.models.RegNet(blocks, num_classes=10)


def mnasnet() -> nn.Module:
    return _first_blocks(torchvision.models.MNASNet(0.5, 10), *(f"layers.{i}" for i in range(8, 14)))


def efficientnet() -> nn.Module:
    return _first_blocks(torchvision.models.efficientnet_b0(num_classes=10), *(f"features.{i}" for i in range(1, 8)))


def vgg() -> nn.Module:
    with torch.device("meta"):  # its head of 120 million numbers is never made
        model = torchvision.models.VGG(nn.Identity(), init_weights=False)
    model.features = make_layers([8, "M", 16, "M", 16, 16, "M", 24, "M", 24, "M"], batch_norm=True)
    model.classifier = nn.Linear(24 * 7 * 7, 10)
    return model


def alexnet() -> nn.Module:
    with torch.device("meta"):
        model = torchvision.models.AlexNet()
    layers = model.features.to_empty(device="cpu")
    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            layer.reset_parameters()
    model.classifier = nn.Linear(256 * 6 * 6, 10)
    return model


FAMILIES = (
    (resnet, 8, 65), (mobilenet_v2, 5, 65), (squeezenet, 4, 97), (googlenet, 5, 65), (shufflenet, 8, 65), (densenet, 5, 65),
    (swin, 4, 66), (efficientnet, 5, 65),
)  # fmt: skip
"""Networks, how many sites each has, and a size of image."""
