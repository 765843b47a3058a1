"""Quantised networks: their stages are found and measured, and `patch` refuses them by name."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.ao.quantization import get_default_qconfig_mapping, quantize_dynamic, quantize_fx

from shiftaudit.errors import PatchError
from shiftaudit.stages.damage import find_sites, rehearsed
from shiftaudit.stages.find import discover
from shiftaudit.stages.measure import StageProbe
from shiftaudit.surgery.patch import patch

pytestmark = pytest.mark.filterwarnings("ignore")  # torch.ao.quantization and torch.jit announce their ends


class _Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.next, self.pool = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 8, 3, 2, 1), nn.MaxPool2d(2)
        self.last = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.last(self.pool(self.next(self.conv(x).relu()).relu()).mean((2, 3)))
        return out


def _int8(x: Tensor) -> nn.Module:
    engines = torch.backends.quantized.supported_engines
    torch.backends.quantized.engine = next(
        engine for engine in ("onednn", "fbgemm", "x86", "qnnpack") if engine in engines
    )
    prepared = quantize_fx.prepare_fx(_Network().eval(), get_default_qconfig_mapping(), (x,))
    prepared(x)
    return quantize_fx.convert_fx(prepared)


@pytest.mark.parametrize("how", ["int8", "traced int8", "dynamic"])
def test_stages_of_quantised_networks_are_found_under_their_names(how: str) -> None:
    x = torch.rand(1, 3, 32, 32)
    network = quantize_dynamic(_Network().eval(), {nn.Linear}) if how == "dynamic" else _int8(x)
    network = torch.jit.trace(network, x) if how == "traced int8" else network
    found = discover(network, network, x)
    assert [(stage.name, stage.op) for stage in found.stages] == [
        ("conv", "conv"),
        ("next", "conv"),
        ("pool", "max_pool"),
    ]
    assert found.total_stride == (8, 8)
    with pytest.raises(PatchError, match=r"quantised .*cannot be patched"):
        patch(network, example_input=x)


def test_stages_of_an_int8_network_are_measured_but_not_sampled_elsewhere() -> None:
    x = torch.rand(1, 3, 32, 32)
    network, views = _int8(x), torch.cat([x, x.roll(1, 2)])
    found = discover(network, network, x)
    probe = StageProbe(found)
    with torch.inference_mode(), probe.watching([("circular", (1, 0))], first_is_reference=True):
        network(views)
    assert all(0 <= errors[0] < 2 for errors in probe.errors)
    tried = rehearsed(find_sites(found)[0], network, x)
    assert not tried.sites
    assert set(tried.failed.values()) == {"it computes with quantised numbers"}
