"""A network that fx cannot follow is told of a form that takes it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from shiftaudit.errors import PatchError
from shiftaudit.surgery.patch import patch


class _Asks(nn.Module):
    """Asks for a value, which a script can hold; with code that a script cannot hold, an export or a trace."""

    def __init__(self, ask: Callable[[Tensor], bool] | None) -> None:
        super().__init__()
        self.conv, self.next, self.ask = nn.Conv2d(3, 4, 3, 2), nn.Conv2d(4, 4, 3, 2), ask

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        if x.shape[2] < 0 or self.asked(x):
            return x
        out: Tensor = self.next(x)
        return out

    def asked(self, x: Tensor) -> bool:
        return bool(x.sum() > 1e9)


class _InPython(_Asks):
    def asked(self, x: Tensor) -> bool:
        return x.shape[0] > len({**{"a": 1}, "b": 2})


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("network", "form"), [(_Asks, "torch.jit.script"), (_InPython, "torch.export.export")])
def test_the_form_that_is_advised_takes_the_network(network: type[_Asks], form: str) -> None:
    with pytest.raises(PatchError) as refused:
        patch(network(None).eval(), example_input=torch.rand(1, 3, 16, 16))
    assert form in str(refused.value.hint)


def test_lazy_layers_are_named() -> None:
    network = nn.Sequential(nn.LazyConv2d(4, 3, 2), nn.MaxPool2d(2)).eval()
    with pytest.raises(PatchError, match="lazy layers without weights"):
        patch(network, example_input=torch.rand(1, 3, 16, 16))
