"""Small random Hugging Face classifiers, one of a family, and folders of them as `save_pretrained` lays them out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers as hf
from torch import nn

LABELS = {0: "cat", 1: "dog", 2: "bear"}
SIDE = 64
_FOUR = {"hidden_sizes": [8, 8, 16, 16], "depths": [1, 1, 1, 1]}
_TOKENS = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
_WINDOWS = {"embed_dim": 8, "depths": [1, 1], "num_heads": [2, 2], "window_size": 4, "image_size": SIDE}

CONFIGS: dict[str, Callable[..., Any]] = {
    "resnet": lambda **o: hf.ResNetConfig(embedding_size=8, layer_type="basic", **_FOUR, **o),
    "vit": lambda **o: hf.ViTConfig(image_size=SIDE, patch_size=8, **_TOKENS, **o),
    "convnext": lambda **o: hf.ConvNextConfig(**_FOUR, **o),
    "mobilenet_v2": lambda **o: hf.MobileNetV2Config(depth_multiplier=0.25, min_depth=8, image_size=SIDE, **o),
    "mobilenet_v1": lambda **o: hf.MobileNetV1Config(depth_multiplier=0.25, image_size=SIDE, **o),
    "swin": lambda **o: hf.SwinConfig(**_WINDOWS, **o),
    "regnet": lambda **o: hf.RegNetConfig(embedding_size=8, groups_width=8, **_FOUR, **o),
    "efficientnet": lambda **o: hf.EfficientNetConfig(
        image_size=SIDE, width_coefficient=0.25, depth_coefficient=0.2, hidden_dim=320, **o
    ),
    "poolformer": lambda **o: hf.PoolFormerConfig(**_FOUR, **o),
    "mobilevit": lambda **o: hf.MobileViTConfig(
        image_size=SIDE, hidden_sizes=[16, 24, 32], neck_hidden_sizes=[8, 8, 16, 16, 16, 24, 32], **o
    ),
    "segformer": lambda **o: hf.SegformerConfig(num_attention_heads=[1, 1, 2, 2], **_FOUR, **o),
    "bit": lambda **o: hf.BitConfig(embedding_size=8, num_groups=4, **_FOUR, **o),
}


def config_of(family: str, **changes: Any) -> Any:
    """The configuration of a small network of this family, with three classes."""
    labels = {"id2label": LABELS, "label2id": {name: index for index, name in LABELS.items()}}
    return CONFIGS[family](**(labels | changes))


def network_of(family: str, **changes: Any) -> nn.Module:
    """A small random network of this family, in eval mode."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = hf.AutoModelForImageClassification.from_config(config_of(family, **changes)).eval()
        for parameter in network.parameters():
            if parameter.dim() > 1:
                nn.init.kaiming_normal_(parameter)  # its own weights are so small that no image matters
        return network


def saved(folder: Path, family: str, processor: Any = None, **changes: Any) -> Path:
    """The folder of a small network of this family, and of a processor if there is one."""
    hf.utils.logging.disable_progress_bar()
    network_of(family, **changes).save_pretrained(folder)
    if processor is not None:
        processor.save_pretrained(folder)
    return folder
