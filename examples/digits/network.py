"""The small reference network for one-channel images (Zhang 2019), and the same with max-pool where it has BlurPool."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from shiftaudit.surgery.blurpool import BlurPool

MEAN, STD = 0.1307, 0.3081
SIZE = 28


def _conv(inputs: int, outputs: int) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]


class SmallNet(nn.Module):
    """Images (N, 1, 28, 28) to logits (N, classes).

    `antialiased` chooses BlurPool (filter 3) at the two downsampling layers; without it they are max-pools.
    """

    def __init__(self, *, antialiased: bool, classes: int = 10) -> None:
        super().__init__()
        first, second = (BlurPool(64), BlurPool(256)) if antialiased else (nn.MaxPool2d(2), nn.MaxPool2d(2))
        self.features = nn.Sequential(
            *_conv(1, 32), *_conv(32, 64), first, *_conv(64, 128), *_conv(128, 256), second, nn.AdaptiveAvgPool2d(7)
        )
        self.classifier = nn.Sequential(
            nn.Linear(256 * 49, 4096),
            nn.ReLU(inplace=True),
            nn.Dropout(),
            nn.Linear(4096, 4096),
            nn.ReLU(inplace=True),
            nn.Dropout(),
            nn.Linear(4096, classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, classes)."""
        return self.classifier(torch.flatten(self.features(x), 1))


def aliased() -> SmallNet:
    """The max-pool twin, for `shiftaudit score network:aliased --weights twin.pth`."""
    return SmallNet(antialiased=False)


def antialiased() -> SmallNet:
    """The paper's network."""
    return SmallNet(antialiased=True)
