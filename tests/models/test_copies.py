"""Layers that keep a tensor they computed are copied too."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from shiftaudit.models.loaded import LoadedModel


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("how", ["pruned", "weight norm"])
def test_modules_with_computed_weights_are_taken(how: str) -> None:
    layer = nn.Conv2d(3, 4, 3)
    if how == "pruned":
        prune.l1_unstructured(layer, "weight", 0.5)
    else:
        layer = nn.utils.weight_norm(layer)
    network, x = nn.Sequential(layer, nn.ReLU()).eval(), torch.rand(1, 3, 8, 8)
    loaded = LoadedModel.from_module(network)
    assert loaded.module is not network
    assert torch.equal(loaded.module(x), network(x))
