"""Calls are numbered, written down and replaced alike in every form of a network."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from networks import Residual, seeded
from torch import Tensor, nn

from shiftaudit.stages.calls import CallWatcher, record_calls
from shiftaudit.stages.find import discover
from shiftaudit.stages.ops import OpCall
from shiftaudit.surgery.blurpool import BlurPool

EXAMPLE = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))


class Zeroing(CallWatcher):
    """Hands back zeros for one call."""

    def __init__(self, index: int) -> None:
        super().__init__()
        self.index = index

    def on_call(self, call: OpCall) -> Any:
        out = call.run()
        return torch.zeros_like(out) if call.index == self.index else out


def form_of(module: nn.Module, form: str) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if form == "scripted":
            return torch.jit.script(module)
        if form == "traced":
            return torch.jit.trace(module, EXAMPLE)
        return torch.export.export(module, (EXAMPLE,)).module() if form == "exported" else module


@pytest.mark.parametrize("form", ["eager", "scripted", "traced", "exported"])
def test_a_watcher_hands_back_another_tensor_for_one_stage(form: str) -> None:
    module = seeded(Residual())
    network = form_of(module, form)
    found = discover(network, network, EXAMPLE)
    stage = next(stage for stage in found.stages if stage.name == "shortcut")
    with torch.inference_mode(), Zeroing(found.slots[stage.output_slot].call):
        changed = network(EXAMPLE)
    torch.nn.init.zeros_(module.shortcut.weight)
    torch.nn.init.zeros_(module.shortcut.bias)
    torch.testing.assert_close(changed, module(EXAMPLE))


def test_calls_are_recorded_with_the_modules_they_ran_in() -> None:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.blur = nn.Conv2d(3, 4, 3, padding=1), BlurPool(4, filter_size=3, stride=2)

        def forward(self, x: Tensor) -> Tensor:
            return self.blur(self.conv(x))

    network = nn.Sequential(Block(), nn.MaxPool2d(2))
    with record_calls(network) as calls:
        network(EXAMPLE)
    seen = [(call.kind, call.modules, call.weight, call.low_pass, call.shrinks) for call in calls if call.is_listed]
    assert seen == [
        ("conv", ("0", "0.conv"), "0.conv.weight", False, False),
        ("conv", ("0", "0.blur"), None, True, True),
        ("max_pool", ("1",), None, False, True),
    ]
