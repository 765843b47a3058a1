"""Stages sampled at other phases: against really shifted images, in a network where nothing but the phases can differ."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from shiftaudit.errors import ModelError
from shiftaudit.models.pack import pack_eager
from shiftaudit.stages.damage import PhaseMode, can_wrap, find_sites, rehearsed
from shiftaudit.stages.find import discover
from shiftaudit.stages.grid import Grid, Move

SIZE = 64
SHIFTS = [(0, 0), (1, 0), (3, -5), (-7, 12), (16, 32), (31, -31), (-2, 17)]


def _conv(before: int, after: int, kernel: int, stride: int, **options: int) -> nn.Conv2d:
    padding = options.get("dilation", 1) * (kernel - 1) // 2
    return nn.Conv2d(before, after, kernel, stride, padding, padding_mode="circular", **options)


class AllCircular(nn.Module):
    """Every kind of stage, and nothing that knows where the image begins."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = _conv(3, 8, 3, 2), nn.BatchNorm2d(8)
        self.depthwise, self.shortcut = _conv(8, 16, 5, 2, groups=8), nn.Conv2d(8, 16, 1, 2)
        self.plain, self.dilated = _conv(16, 16, 3, 1), _conv(16, 16, 3, 2, dilation=2)
        self.head = nn.Linear(16 * 4 + 16, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.stem(x)).relu()
        x = self.depthwise(x).relu() + self.shortcut(x)
        x = F.max_pool2d(x, 2)
        x = F.max_pool2d(F.pad(x, (1, 1, 1, 1), mode="circular"), 3, 2)
        a, b, c, d = x[:, :, 0::2, 0::2], x[:, :, 1::2, 0::2], x[:, :, 0::2, 1::2], x[:, :, 1::2, 1::2]
        half = F.adaptive_avg_pool2d(x, (x.shape[2] // 2, x.shape[3] // 2))
        summed = x[:, :, ::2, ::2] + F.avg_pool2d(self.plain(x), 2) + half + self.dilated(x)
        return self.head(torch.cat([summed, a, b, c, d], 1).mean((2, 3)))


def _network() -> nn.Module:
    torch.manual_seed(0)
    module = AllCircular().eval()
    module.norm.running_mean.normal_()
    return module


def _exported(module: nn.Module, example: Tensor) -> nn.Module:
    shapes = {"x": {0: torch.export.Dim("batch", min=1)}}
    return torch.export.export(module, (example.repeat(2, 1, 1, 1),), dynamic_shapes=shapes).module()


def _packed(module: nn.Module, example: Tensor) -> nn.Module:
    assert pack_eager(module)
    return module


FORMS: dict[str, Callable[[nn.Module, Tensor], nn.Module]] = {
    "eager": lambda module, example: module,
    "scripted": lambda module, example: torch.jit.script(module),
    "traced": torch.jit.trace,
    "exported": _exported,
    "packed": _packed,
}


def _sampled(module: nn.Module, batch: Tensor, moves: list[Move], *, wrapped: bool = False) -> Tensor:
    sites, left_out = find_sites(discover(module, module, batch[:1]))
    tried = rehearsed(sites, module, batch[:1])
    assert not left_out
    assert not tried.failed
    mode = PhaseMode(tried.sites, tried.sizes)
    with torch.inference_mode(), mode.moving(moves, wrapped=wrapped):
        return module(batch)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_in_a_circular_network_phases_are_all_there_is_to_a_shift(form: str) -> None:
    image = torch.randn(1, 3, SIZE, SIZE)
    module = FORMS[form](_network(), image)
    shifted = torch.cat([image.roll(shift, (-2, -1)) for shift in SHIFTS])
    with torch.inference_mode():
        answers = module(shifted)
    assert float((answers - answers[:1]).abs().max()) > 0.05
    # The image at rest, sampled where the shifted one would be, gives the shifted one's answers.
    at_rest = _sampled(module, image.repeat(len(SHIFTS), 1, 1, 1), [Move(shift) for shift in SHIFTS])
    torch.testing.assert_close(at_rest, answers, atol=1e-5, rtol=0)
    # The shifted image, sampled where the one at rest was, gives its answers: borders change nothing here.
    glued = _sampled(module, shifted, [Move((-dy, -dx)) for dy, dx in SHIFTS])
    torch.testing.assert_close(glued, answers[:1].expand_as(glued), atol=1e-5, rtol=0)


class Zeros(nn.Module):
    """Zero padding, a shortcut, a reflected blur and a pool: borders count."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.branch = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 8, 3, 2, 1)
        self.shortcut, self.head = nn.Conv2d(8, 8, 1, 2), nn.Linear(8, 6)
        self.blur = nn.Conv2d(8, 8, 3, 2, groups=8)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(self.stem(x).relu(), 3, 2, 1)
        x = (self.branch(x) + self.shortcut(x)).relu()
        return self.head(self.blur(F.pad(x, (1, 1, 1, 1), mode="reflect")).mean((2, 3)))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_every_form_of_a_network_is_sampled_alike(form: str) -> None:
    torch.manual_seed(1)
    image = torch.randn(1, 3, SIZE, SIZE)
    moves = [Move(shift) for shift in SHIFTS]
    plain = Zeros().eval()
    expected = _sampled(plain, image.repeat(len(moves), 1, 1, 1), moves)
    found = _sampled(FORMS[form](plain, image), image.repeat(len(moves), 1, 1, 1), moves)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def _circular_pad(x: Tensor) -> Tensor:
    return F.pad(x, (1, 1, 1, 1), mode="circular")


def _as_circular(network: Zeros, x: Tensor) -> Tensor:
    """What `Zeros` computes when everything in it pads circularly."""

    def conv(layer: nn.Conv2d, x: Tensor) -> Tensor:
        return F.conv2d(_circular_pad(x), layer.weight, layer.bias, 2, groups=layer.groups)

    x = F.max_pool2d(_circular_pad(conv(network.stem, x).relu()), 3, 2)
    x = (conv(network.branch, x) + network.shortcut(x)).relu()
    return network.head(conv(network.blur, x).mean((2, 3)))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_padded_circularly_a_network_has_no_border_left(form: str) -> None:
    torch.manual_seed(1)
    image = torch.randn(1, 3, SIZE, SIZE)
    plain = Zeros().eval()
    with torch.no_grad():
        expected = torch.cat([_as_circular(plain, image.roll(shift, (-2, -1))) for shift in SHIFTS])
    moves = [Move(shift) for shift in SHIFTS]
    found = _sampled(FORMS[form](plain, image), image.repeat(len(moves), 1, 1, 1), moves, wrapped=True)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_a_network_that_cannot_pad_circularly_is_left_at_that_whoever_reports_it() -> None:
    """A loaded model puts what its network raises into words of its own."""

    def refused(_: Tensor) -> Tensor:
        raise ModelError("the model failed")

    assert not can_wrap(PhaseMode({}), refused, torch.randn(1, 3, SIZE, SIZE))


def test_a_circular_network_is_the_same_when_it_is_padded_circularly() -> None:
    image = torch.randn(1, 3, SIZE, SIZE)
    moves = [Move(shift) for shift in SHIFTS]
    rows = image.repeat(len(moves), 1, 1, 1)
    torch.testing.assert_close(_sampled(_network(), rows, moves, wrapped=True), _sampled(_network(), rows, moves))


_CONV = nn.Conv2d(3, 4, 3)


@pytest.mark.parametrize(
    ("layer", "dense"),
    [
        (
            nn.Conv2d(3, 4, 3, padding="same"),
            lambda n, x: F.conv2d(_circular_pad(x), n.weight, n.bias),
        ),
        (nn.AvgPool2d(3, 1, 1, count_include_pad=False), lambda n, x: F.avg_pool2d(_circular_pad(x), 3, 1)),
        (nn.Sequential(nn.ReplicationPad2d(1), _CONV), lambda n, x: _CONV(_circular_pad(x))),
        (nn.Sequential(nn.ConstantPad2d((1, 1, 1, 1), 3.0), _CONV), lambda n, x: _CONV(_circular_pad(x))),
    ],
    ids=["same", "average", "replicate", "constant"],
)
def test_whatever_pads_can_pad_circularly(layer: nn.Module, dense: Callable[[Any, Tensor], Tensor]) -> None:
    network = nn.Sequential(nn.MaxPool2d(2), layer, nn.Flatten()).eval()
    image = torch.randn(1, 3, 16, 16)
    found = _sampled(network, image, [Move((0, 0))], wrapped=True)
    with torch.no_grad():
        torch.testing.assert_close(found, dense(layer, F.max_pool2d(image, 2)).flatten(1), atol=1e-5, rtol=0)


def test_a_zero_padded_convolution_continues_with_zeros() -> None:
    torch.manual_seed(2)
    conv = nn.Conv2d(3, 4, 3, 2, 1, bias=False).eval()
    network = nn.Sequential(conv, nn.Flatten())
    image = torch.randn(1, 3, 8, 8)
    found = _sampled(network, image, [Move(Grid((1, 1), (2, 2)).shift((1, 0)))]).view(1, 4, 4, 4)
    with torch.no_grad():
        expected = F.conv2d(F.pad(image, (1, 1, 0, 2)), conv.weight, stride=2)[:, :, :4, :4]
    torch.testing.assert_close(found, expected)


def test_only_the_stages_of_one_grid_move_when_asked() -> None:
    image = torch.randn(1, 3, SIZE, SIZE)
    module = _network()
    grid = Grid((2, 2), (4, 4))
    alone = _sampled(module, image, [Move(grid.shift((1, 1)), only=grid)])
    # Further grids stand still under a shift by less than their own stride, but for those it carries over to.
    assert float((alone - _sampled(module, image, [Move((0, 0))])).abs().max()) > 1e-3
    with torch.inference_mode():
        torch.testing.assert_close(_sampled(module, image, [Move((0, 0))]), module(image))


def test_a_stage_of_fractional_stride_is_left_out_with_the_reason() -> None:
    network = nn.Sequential(nn.AdaptiveAvgPool2d(5), nn.Flatten())
    sites, left_out = find_sites(discover(network, network, torch.randn(1, 3, 8, 8)))
    assert not sites
    assert "no whole number" in left_out[0]
