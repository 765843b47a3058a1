"""Consistency as published, to compare one's own numbers with. No torch."""

from __future__ import annotations

from dataclasses import dataclass

SOURCE = (
    "Zhang's figures of 2020 for BlurPool with filter size 4, published with the package antialiased-cnns; the method is that of "
    "Making Convolutional Networks Shift-Invariant Again, ICML 2019, whose own table has filter sizes 2, 3 and 5"
)
PROTOCOL = (
    "ImageNet's validation images, resized to 256, two crops of 224 at random offsets; the share of images whose two answers "
    "agree. `--preset zhang` measures it; numbers on other images cannot be compared with these."
)


@dataclass(frozen=True)
class Published:
    """One network, before and after anti-aliasing; shares in [0, 1]."""

    network: str
    accuracy: float
    consistency: float
    accuracy_antialiased: float
    consistency_antialiased: float


PUBLISHED = (
    Published("resnet18", 0.6974, 0.8511, 0.7167, 0.8836),
    Published("resnet50", 0.7616, 0.8920, 0.7741, 0.9132),
    Published("vgg16", 0.7159, 0.8852, 0.7296, 0.9091),
    Published("densenet121", 0.7443, 0.8881, 0.7579, 0.9035),
    Published("mobilenet_v2", 0.7188, 0.8650, 0.7272, 0.8773),
)
