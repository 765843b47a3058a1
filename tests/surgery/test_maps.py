"""What is no feature map is not filtered: rotary embeddings, position encodings."""

from __future__ import annotations

import pytest
import torch
from patch_networks import form
from torch import Tensor, nn

from shiftaudit.stages.find import discover
from shiftaudit.surgery.patch import plan_patch

FORMS = ("eager", "exported", "scripted", "traced")


class _Rotary(nn.Module):
    """Turns the channels of tokens in pairs, as networks with rotary embeddings do."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.last = nn.Conv2d(3, 8, 4, 4), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        heads = self.stem(x).flatten(2).transpose(1, 2).reshape(1, 64, 2, 4).transpose(1, 2)
        turned = torch.stack([-heads[..., 1::2], heads[..., ::2]], -1).reshape(1, 2, 64, 4)
        out: Tensor = self.last((heads + turned).transpose(1, 2).reshape(1, 64, 8))
        return out


class _Fourier(nn.Module):
    """Adds sines and cosines of every place, of which a table holds the frequencies in turn."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 4, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        places = torch.arange(8.0).view(1, 8, 1, 1).expand(1, 8, 8, 8) / torch.arange(1.0, 9.0)
        places = torch.stack([places[:, :, :, 0::2].sin(), places[:, :, :, 1::2].cos()], 4).flatten(3)
        return x + places.permute(0, 3, 1, 2)


class _OneAxis(nn.Module):
    """Skips the columns of a map, behind a norm and a permutation."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 8, 3, padding=1), nn.LayerNorm(8)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.conv(x).permute(0, 2, 3, 1)).relu()
        return x.permute(0, 3, 1, 2)[:, :, :, ::2].sin()


@pytest.mark.parametrize("how", FORMS)
@pytest.mark.parametrize("network", [_Rotary, _Fourier])
def test_slices_of_what_is_no_map_are_no_sites(network: type[nn.Module], how: str) -> None:
    x = torch.rand(1, 3, 32, 32)
    module = form(network().eval(), how, x)
    assert [site.name for site in plan_patch(module, example_input=x).sites] == ["stem"]
    assert [stage.name for stage in discover(module, module, x).stages] == ["stem"]


@pytest.mark.parametrize("how", FORMS)
def test_a_slice_along_one_axis_of_a_map_is_a_site(how: str) -> None:
    x = torch.rand(1, 3, 32, 32)
    module = form(_OneAxis().eval(), how, x)
    assert [site.op for site in plan_patch(module, example_input=x).sites] == ["slice"]
    assert [stage.op for stage in discover(module, module, x).stages] == ["slice"]
