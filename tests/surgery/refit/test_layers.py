"""The layers on a tape, and which of them are fitted."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from shiftaudit.surgery.refit.layers import find_layers
from shiftaudit.surgery.refit.tape import record


@pytest.mark.parametrize("function", [nn.ReLU(), nn.SELU(), nn.RReLU(), nn.LogSigmoid(), nn.Threshold(0.1, 0.0)])
def test_a_layer_before_any_activation_is_no_projection(function: nn.Module) -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), function, nn.Conv2d(4, 4, 3)).eval()
    assert [layer.activated for layer in find_layers(record(network, torch.zeros(1, 3, 8, 8)))] == [True, False]
