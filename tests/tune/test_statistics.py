from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from shiftaudit.errors import InputError
from shiftaudit.tune.statistics import reestimate


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Dropout(0.5)).eval()


def batches(count: int = 80) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [3 * torch.randn(16, 1, 8, 8, generator=generator) + 1 for _ in range(count)]


@pytest.mark.parametrize("form", ["eager", "scripted"])
def test_statistics_become_those_of_the_images_and_weights_stay(form: str) -> None:
    original = network()
    module = torch.jit.script(original) if form == "scripted" else original
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    reestimate(module, batches())
    after = module.state_dict()
    with torch.no_grad():
        maps = original[0](torch.cat(batches(200)))
    assert torch.allclose(after["1.running_mean"], maps.mean((0, 2, 3)), atol=0.15)
    assert torch.allclose(after["1.running_var"], maps.var((0, 2, 3)), rtol=0.1)
    assert all(torch.equal(after[name], before[name]) for name in before if name.endswith(("weight", "bias")))
    assert not any(layer.training for layer in module.modules())


def test_a_traced_file_keeps_its_statistics_and_says_so() -> None:
    traced = torch.jit.trace(network(), torch.zeros(1, 1, 8, 8))
    with pytest.raises(InputError, match="measured anew"):
        reestimate(traced, batches(2))


def test_a_network_without_batch_norm_is_refused() -> None:
    with pytest.raises(InputError, match="measured anew"):
        reestimate(nn.Sequential(nn.Conv2d(1, 2, 3)), batches(1))
