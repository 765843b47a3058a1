"""Strides are read off where values lie in the image, whatever a network does between its stages."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from patch_networks import form
from torch import Tensor, nn

from shiftaudit.stages.find import Discovery, discover

FORMS = ("eager", "exported", "scripted", "traced")


class _Between(nn.Module):
    """A convolution of stride 2, something, and a layer that reads it."""

    def __init__(self, between: Callable[[Tensor], Tensor], last: nn.Module) -> None:
        super().__init__()
        self.stem, self.between, self.last = nn.Conv2d(3, 4, 3, 2, 1), between, last

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.last(self.between(self.stem(x)))
        return out


def _found(network: nn.Module, size: int = 32) -> Discovery:
    return discover(network.eval(), network, torch.rand(1, 3, size, size))


def _attention_over_reduced_keys(x: Tensor) -> Tensor:
    keys = F.avg_pool2d(x, 4).flatten(2).transpose(1, 2)
    tokens = x.flatten(2).transpose(1, 2)
    mixed = (tokens @ keys.transpose(1, 2)).softmax(-1) @ keys + tokens
    return mixed.transpose(1, 2).reshape(x.shape)


def _attention_in_one_call(x: Tensor) -> Tensor:
    keys = F.avg_pool2d(x, 4).flatten(2).transpose(1, 2)
    tokens = x.flatten(2).transpose(1, 2)
    return F.scaled_dot_product_attention(tokens, keys, keys).transpose(1, 2).reshape(x.shape)


def _attention_over_channels(x: Tensor) -> Tensor:
    tokens = x.flatten(2)
    return ((tokens @ tokens.transpose(1, 2)).softmax(-1) @ tokens).reshape(x.shape)


def _attention_in_stacked_windows(x: Tensor) -> Tensor:
    """Channels before values, as `v @ attention.T`, in windows that are stacked in the batch."""
    n, c, h, w = x.shape
    tokens = x.view(n, c, h // 4, 4, w // 4, 4).permute(0, 2, 4, 1, 3, 5).reshape(-1, c, 16)
    mixed = tokens @ (tokens.transpose(1, 2) @ tokens).softmax(-1).transpose(1, 2)
    return mixed.view(n, h // 4, w // 4, c, 4, 4).permute(0, 3, 1, 4, 2, 5).reshape(x.shape)


def _with_a_class_token(x: Tensor) -> Tensor:
    tokens = torch.cat([torch.zeros(len(x), 1, x.shape[1]), x.flatten(2).transpose(1, 2)], 1)
    tokens = (tokens @ tokens.transpose(1, 2)).softmax(-1) @ tokens
    return tokens[:, 1:].transpose(1, 2).reshape(x.shape)


def _by_fourier(x: Tensor) -> Tensor:
    return torch.fft.irfft2(torch.fft.rfft2(x), s=(x.shape[2], x.shape[3]))


@pytest.mark.parametrize(
    "between",
    [
        _attention_over_reduced_keys, _attention_in_one_call, _attention_over_channels, _with_a_class_token, _by_fourier,
        _attention_in_stacked_windows,
        lambda x: torch.roll(x, (1, 1), (2, 3)),
    ],
)  # fmt: skip
def test_a_stage_behind_attention_has_the_stride_of_its_map(between: Callable[[Tensor], Tensor]) -> None:
    found = _found(_Between(between, nn.Conv2d(4, 4, 3, 2, 1)))
    assert found.slots[found.stages[-1].output_slot].stride == (4, 4)
    assert found.slots[found.stages[-1].output_slot].size == (8, 8)


def _windows(x: Tensor) -> Tensor:
    """(N, C, H, W) in windows of 2×2: (N, windows, values, C)."""
    n, c, h, w = x.shape
    return x.view(n, c, h // 2, 2, w // 2, 2).permute(0, 2, 4, 3, 5, 1).reshape(n, h * w // 4, 4, c)


class _Mean(nn.Module):
    """A head: the mean over tokens."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(1)


def _five_dimensions(x: Tensor) -> Tensor:
    return x.unsqueeze(2)[:, :, :, ::2, ::2].squeeze(2)


def _every_second(x: Tensor) -> Tensor:
    every = torch.arange(0, x.shape[2], 2)
    return x.index_select(2, every)[:, :, :, every]


MERGED = {
    "reshape": (lambda x: _windows(x).flatten(2), nn.Linear(16, 4)),
    "maximum over windows": (lambda x: _windows(x).amax(2), nn.Linear(4, 4)),
    "unfold": (lambda x: F.unfold(x, 2, stride=2).transpose(1, 2), nn.Linear(16, 4)),
    "einsum": (lambda x: torch.einsum("nlvc->nlc", _windows(x)), nn.LayerNorm(4)),
    "before the head": (lambda x: _windows(x).amax(2), _Mean()),
    "five dimensions": (_five_dimensions, nn.Conv2d(4, 4, 1)),
    "index": (_every_second, nn.Conv2d(4, 4, 1)),
    "space to depth": (
        lambda x: x.view(1, 4, 8, 2, 8, 2).permute(0, 3, 5, 1, 2, 4).reshape(1, 16, 8, 8),
        nn.BatchNorm2d(16),
    ),
    "one axis at a time": (lambda x: x.flatten(2), nn.Conv1d(4, 4, 2, 2)),
}


@pytest.mark.parametrize("name", MERGED)
def test_a_map_that_no_watched_call_makes_smaller_is_named_and_counts(name: str) -> None:
    found = _found(_Between(*MERGED[name]))
    assert [stage.name for stage in found.stages] == ["stem"]
    assert [stage.name.split("/")[0] for stage in found.skipped] == ["last"]
    assert max(found.total_stride) == 4


def test_a_stage_behind_a_reshaped_map_has_the_stride_of_both() -> None:
    network = nn.Sequential(_Between(_every_second, nn.Conv2d(4, 4, 1)), nn.MaxPool2d(2))
    found = _found(network)
    assert found.slots[found.stages[-1].output_slot].stride == (8, 8)


def test_pooling_inside_windows_stacked_in_the_batch_is_named_and_not_measured() -> None:
    def stacked(x: Tensor) -> Tensor:
        return x.view(1, 4, 2, 8, 2, 8).permute(0, 2, 4, 1, 3, 5).reshape(4, 4, 8, 8)

    found = _found(_Between(stacked, nn.MaxPool2d(2)))
    assert [stage.name for stage in found.stages] == ["stem"]
    assert [(stage.name, "stacked in the batch" in stage.reason) for stage in found.skipped] == [("last", True)]
    assert found.total_stride == (4, 4)


def test_every_second_channel_of_tokens_is_no_stage() -> None:
    def rotated(x: Tensor) -> Tensor:
        heads = x.flatten(2).transpose(1, 2).reshape(1, 256, 2, 2).transpose(1, 2)
        return torch.stack([-heads[..., 1::2], heads[..., ::2]], -1).reshape(heads.shape)

    found = _found(_Between(rotated, nn.Linear(2, 2)))
    assert [stage.name for stage in found.stages] == ["stem"]
    assert found.skipped == ()


class _Merging(nn.Module):
    """Patch merging by reshaping, as scripts can hold it."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.reduction = nn.Conv2d(3, 4, 3, 2, 1), nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).permute(0, 2, 3, 1)
        x = x.reshape(1, 8, 2, 8, 2, 4).permute(0, 1, 3, 4, 2, 5).flatten(3)
        return self.reduction(x)


@pytest.mark.parametrize("how", FORMS)
def test_every_form_of_a_network_counts_what_reshaping_makes_smaller(how: str) -> None:
    x = torch.rand(1, 3, 32, 32)
    network = form(_Merging().eval(), how, x)
    assert discover(network, network, x).total_stride == (4, 4)
