"""A traced copy says what of its original it does not have."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import prune

from shiftaudit.records.patch import PatchOptions
from shiftaudit.surgery.patch import plan_patch


class _Straight(torch.autograd.Function):
    """Rounds, with the gradient of what does not."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.round()

    @staticmethod
    def backward(ctx: Any, *grad: Tensor) -> Tensor:
        return grad[0]


class _Rounding(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return F.max_pool2d(_Straight.apply(self.conv(x)), 2)


class _Casting(_Rounding):
    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast("cuda", enabled=False):
            return F.max_pool2d(self.conv(x), 2)


def _notes(network: nn.Module) -> str:
    return "; ".join(plan_patch(network.eval(), input_size=16).notes)


def test_gradients_of_a_function_are_named() -> None:
    assert "gradients of an autograd.Function (1) are not in the copy" in _notes(nn.Sequential(nn.ReLU(), _Rounding()))


def test_regions_of_autocast_are_named() -> None:
    assert "regions of torch.autocast (the network) are not in the copy" in _notes(_Casting())


def test_hooks_are_named_where_the_copy_does_not_call_their_module() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.MaxPool2d(2))
    network[0].register_forward_hook(lambda module, given, out: None)
    assert "hooks" not in _notes(network)
    network.register_forward_hook(lambda module, given, out: None)
    assert "forward hooks (the network) are not called by the copy" in _notes(network)


def test_a_pruned_convolution_is_no_fixed_filter() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.ReLU())
    prune.l1_unstructured(network[0], "weight", 0.5)
    assert [site.action for site in plan_patch(network.eval(), PatchOptions(stem=True), input_size=16).sites] != [
        "leave"
    ]
