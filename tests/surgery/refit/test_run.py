"""Whole refits of small networks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from networks import reloaded
from patch_networks import randomise
from torch import Tensor, nn

from shiftaudit.errors import InputError, ModelError
from shiftaudit.records.refit import RefitSettings
from shiftaudit.surgery.patch import PatchOptions, patch
from shiftaudit.surgery.refit import match
from shiftaudit.surgery.refit.run import fit_layers
from shiftaudit.surgery.refit.walk import Batches

RIDGE = 1e-3
SETTINGS = RefitSettings(layers="all", ridge=RIDGE)


def images(channels: int = 4, size: int = 12, count: int = 3, n: int = 6) -> Batches:
    def load(number: int) -> Tensor:
        return torch.randn(n, channels, size, size, generator=torch.Generator().manual_seed(number))

    return Batches(count, load, lambda number: number == 1)


def patched(module: nn.Module, channels: int = 4, size: int = 12, filter_size: int = 3) -> nn.Module:
    example = torch.randn(1, channels, size, size)
    return patch(module, PatchOptions(filter_size, stem=True), example_input=example).module


KINDS: dict[str, Callable[[], nn.Module]] = {
    "pointwise": lambda: nn.Conv2d(4, 6, 1),
    "dense": lambda: nn.Conv2d(4, 6, 3, padding=1),
    "without padding": lambda: nn.Conv2d(4, 6, (2, 3)),
    "padding same": lambda: nn.Conv2d(4, 6, (1, 5), padding="same", dilation=(1, 2)),
    "dilated": lambda: nn.Conv2d(4, 6, 3, padding=2, dilation=2),
    "depthwise": lambda: nn.Conv2d(4, 4, 3, padding=1, groups=4),
    "depthwise, two outputs a channel": lambda: nn.Conv2d(4, 8, 3, padding=1, groups=4),
    "grouped": lambda: nn.Conv2d(4, 6, 3, padding=1, groups=2),
    "no bias": lambda: nn.Conv2d(4, 6, 3, padding=1, bias=False),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("norm", [False, True])
def test_a_convolution_is_what_least_squares_gives(kind: str, norm: bool) -> None:
    torch.manual_seed(0)
    conv = KINDS[kind]()
    follower = nn.BatchNorm2d(conv.out_channels) if norm else nn.Identity()
    original = randomise(nn.Sequential(nn.MaxPool2d(2), conv, follower))
    if norm:
        nn.init.uniform_(follower.weight, 0.5, 1.5)
    copy, batches = patched(original), images()
    fitted = fit_layers(copy, original, batches, SETTINGS).module
    x = torch.cat([batches.load(number) for number in range(batches.count)])
    read = copy.get_submodule("0")(x).detach() if not isinstance(copy, torch.fx.GraphModule) else _after_pool(x)
    with torch.no_grad():
        want, got = original(x), fitted(x)
        had = original[2](original[1](read))
    intercept = norm or conv.bias is not None
    expected = had + _least_squares(conv, read, want - had, intercept)
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)


def _after_pool(x: Tensor) -> Tensor:
    only_pool = patched(nn.Sequential(nn.MaxPool2d(2)))
    with torch.no_grad():
        return only_pool(x)


def _least_squares(conv: nn.Conv2d, read: Tensor, missing: Tensor, intercept: bool) -> Tensor:
    """What ridge regression adds to the output, by NumPy on an augmented system, each group on its own."""
    spans = [d * (k - 1) for d, k in zip(conv.dilation, conv.kernel_size, strict=True)]
    if conv.padding == "same":
        read = F.pad(read, [spans[1] // 2, spans[1] - spans[1] // 2, spans[0] // 2, spans[0] - spans[0] // 2])
    padding = 0 if isinstance(conv.padding, str) else conv.padding
    columns = F.unfold(read, conv.kernel_size, conv.dilation, padding).double()
    columns = columns.unflatten(1, (conv.groups, -1)).permute(1, 0, 3, 2).flatten(1, 2).numpy()
    targets = missing.double().flatten(2).unflatten(1, (conv.groups, -1)).permute(1, 0, 3, 2).flatten(1, 2).numpy()
    added = []
    for x, y in zip(columns, targets, strict=True):
        centred = x - x.mean(0) if intercept else x
        pull = np.sqrt(RIDGE * np.square(centred).sum(0).mean())
        ones = np.ones((len(x), 1)) if intercept else np.zeros((len(x), 1))
        system = np.vstack([np.hstack([x, ones]), np.hstack([pull * np.eye(x.shape[1]), np.zeros((x.shape[1], 1))])])
        solution = np.linalg.lstsq(system, np.vstack([y, np.zeros((x.shape[1], y.shape[1]))]), rcond=None)[0]
        added.append(np.hstack([x, ones]) @ solution)
    whole = torch.from_numpy(np.concatenate(added, 1)).view(len(missing), -1, missing.shape[1]).transpose(1, 2)
    return whole.reshape(missing.shape).float()


def test_a_linear_layer_on_tokens_is_what_least_squares_gives() -> None:
    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.pool, self.linear = nn.MaxPool2d(2), nn.Linear(4, 5)

        def forward(self, x: Tensor) -> Tensor:
            return self.linear(self.pool(x).flatten(2).transpose(1, 2))

    torch.manual_seed(0)
    original, batches = Tokens().eval(), images()
    fitted = fit_layers(patched(original), original, batches, SETTINGS).module
    x = torch.cat([batches.load(number) for number in range(batches.count)])
    read = _after_pool(x)
    with torch.no_grad():
        had = original.linear(read.flatten(2).transpose(1, 2))
        missing = (original(x) - had).transpose(1, 2).unflatten(2, read.shape[2:])
        pointwise = nn.Conv2d(4, 5, 1)
        expected = had + _least_squares(pointwise, read, missing, True).flatten(2).transpose(1, 2)
        torch.testing.assert_close(fitted(x), expected, rtol=1e-4, atol=1e-5)


class Residual(nn.Module):
    """A strided block with a shortcut, squeeze-and-excitation and a dense connection."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.stem = nn.Conv2d(4, 8, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(8)
        self.conv1, self.bn1 = nn.Conv2d(8, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8)
        self.squeeze = nn.Conv2d(8, 8, 1)
        self.conv2, self.bn2 = nn.Conv2d(8, 8, 3, 1, 1, bias=False), nn.BatchNorm2d(8)
        self.down, self.bn3 = nn.Conv2d(8, 8, 1, 2, bias=False), nn.BatchNorm2d(8)
        self.dense = nn.Conv2d(8, 4, 1)
        self.fc = nn.Linear(12, 3)
        self.relu = nn.ReLU(inplace=inplace)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn(self.stem(x)))
        y = self.relu(self.bn1(self.conv1(x)))
        y = y * self.squeeze(y.mean((2, 3), keepdim=True)).sigmoid()
        y = self.bn2(self.conv2(y))
        y += self.bn3(self.down(x))
        y = self.relu(y)
        y = torch.cat([y, self.relu(self.dense(y))], 1)
        return self.fc(y.mean((2, 3)))


def residual(inplace: bool = False) -> nn.Module:
    torch.manual_seed(0)
    return randomise(Residual(inplace))


def relative(a: Tensor, b: Tensor) -> float:
    return float((a - b).square().sum() / (b - b.mean(0)).square().sum())


@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("memory", [1.0, 0.0, 2e-5])
def test_every_layer_behind_the_change_is_fitted_whatever_the_memory(inplace: bool, memory: float) -> None:
    original = residual(inplace)
    copy = patched(original)
    batches = images(count=12)
    settings = RefitSettings(layers="all", ridge=RIDGE, memory=memory)
    fitted = fit_layers(copy, original, batches, settings)
    assert [layer.name.split(".")[0] for layer in fitted.layers] == ["squeeze", "conv2", "down", "dense", "fc"]
    assert fitted.unchanged == ("stem.weight", "conv1.weight")
    with torch.no_grad():
        x = batches.load(100)
        assert relative(fitted.module(x), original(x)) < 0.5 * relative(copy(x), original(x))
    roomy = fit_layers(copy, original, batches, SETTINGS)
    for name, value in roomy.module.state_dict().items():
        torch.testing.assert_close(fitted.module.state_dict()[name], value, rtol=0, atol=0, msg=name)


def _forms() -> dict[str, tuple[nn.Module, nn.Module]]:
    original = residual()
    example = torch.randn(2, 4, 12, 12)
    scripted, traced = torch.jit.script(original), torch.jit.trace(original, example)
    batch = {0: torch.export.Dim("batch", min=1)}
    exported = torch.export.export(original, (example,), dynamic_shapes=(batch,)).module()
    return {
        "eager": (patched(original), original),
        "scripted": (patched(scripted), scripted),
        "traced": (patched(traced), traced),
        "exported": (patched(exported), exported),
        "eager copy of a scripted original": (patched(original), scripted),
    }


@pytest.mark.parametrize("form", ["scripted", "traced", "exported", "eager copy of a scripted original"])
def test_all_forms_of_a_network_come_to_the_same_weights(form: str) -> None:
    forms = _forms()
    first, second = (fit_layers(*forms[name], images(), SETTINGS).module for name in ("eager", form))
    expected, got = first.state_dict(), second.state_dict()
    assert expected.keys() == got.keys()
    for name, value in expected.items():
        torch.testing.assert_close(got[name], value, rtol=1e-3, atol=1e-4, msg=name)


def test_a_filter_of_size_1_leaves_the_weights() -> None:
    original = residual()
    fitted = fit_layers(patched(original, filter_size=1), original, images(), RefitSettings(layers="all"))
    assert not fitted.layers
    for name, value in original.state_dict().items():
        torch.testing.assert_close(fitted.module.state_dict()[name], value, rtol=0, atol=1e-6)


def test_a_change_that_later_layers_can_undo_is_undone() -> None:
    torch.manual_seed(0)
    original = nn.Sequential(nn.Conv2d(4, 4, 1, bias=False), nn.Conv2d(4, 6, 1), nn.Conv2d(6, 3, 1)).eval()
    copy = nn.Sequential(nn.Conv2d(4, 4, 1, bias=False), nn.Conv2d(4, 6, 1), nn.Conv2d(6, 3, 1)).eval()
    copy.load_state_dict(original.state_dict())
    with torch.no_grad():
        copy[0].weight.copy_(torch.randn(4, 4).view(4, 4, 1, 1))
    # The first layer itself is fitted first; with it out of reach the second undoes the mixing of the channels.
    settings = RefitSettings(layers="all", ridge=1e-12)
    frozen = _Frozen(original), _Frozen(copy)
    fitted = fit_layers(frozen[1], frozen[0], images(), settings).module
    x = images().load(9)
    with torch.no_grad():
        torch.testing.assert_close(fitted(x), original(x), rtol=1e-5, atol=1e-5)


class _Frozen(nn.Module):
    """The first of three convolutions computed in a way that cannot be fitted; its weight has the same key in both."""

    def __init__(self, layers: nn.Sequential) -> None:
        super().__init__()
        self.mix = layers[0].weight.detach()[:, :, 0, 0].clone()  # a constant, no parameter
        self.rest = layers[1:]

    def forward(self, x: Tensor) -> Tensor:
        return self.rest(torch.einsum("oi,nihw->nohw", self.mix, x))


def test_the_modules_given_stay_as_they_are_and_the_copy_can_be_trained() -> None:
    original = residual()
    copy = patched(torch.jit.script(original))
    before = [{name: value.clone() for name, value in module.state_dict().items()} for module in (copy, original)]
    fitted = fit_layers(copy, original, images(), SETTINGS).module
    for module, state in zip((copy, original), before, strict=True):
        assert all(torch.equal(value, state[name]) for name, value in module.state_dict().items())
    assert any(not torch.equal(value, before[0][name]) for name, value in fitted.state_dict().items())
    assert [p.requires_grad for p in fitted.parameters()] == [p.requires_grad for p in copy.parameters()]
    assert all(p.is_leaf for p in fitted.parameters())
    again, x = reloaded(fitted), images().load(5)
    torch.testing.assert_close(again(x), fitted(x))
    again(x).sum().backward()


def test_a_second_sweep_does_no_harm() -> None:
    original, batches = residual(), images(count=12)
    copy, x = patched(original), batches.load(100)
    errors = []
    for sweeps in (1, 2):
        settings = RefitSettings(layers="all", ridge=RIDGE, sweeps=sweeps)
        with torch.no_grad():
            errors.append(relative(fit_layers(copy, original, batches, settings).module(x), original(x)))
    assert errors[1] < 1.2 * errors[0]


def test_an_attention_block_is_fitted_behind_its_skip() -> None:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patch = nn.Conv2d(4, 8, 2, 2)
            self.attend = nn.MultiheadAttention(8, 2, batch_first=True)
            self.mlp = nn.Sequential(nn.LayerNorm(8), nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 8), nn.Dropout())
            self.fc = nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Tensor:
            x = self.patch(F.max_pool2d(x, 2)).flatten(2).transpose(1, 2)
            x = x + self.attend(x, x, x, need_weights=False)[0]
            x = x + self.mlp(x)
            return self.fc(x.mean(1))

    torch.manual_seed(0)
    original = Block().eval()
    fitted = fit_layers(patched(original, size=16), original, images(size=16), SETTINGS)
    names = [layer.name for layer in fitted.layers]
    assert names == [
        "patch.weight", "attend.in_proj_weight", "attend.out_proj.weight", "mlp.1.weight", "mlp.3.weight", "fc.weight",
    ]  # fmt: skip
    assert all(layer.error <= layer.error_before for layer in fitted.layers)


def test_bad_input_gets_a_sentence() -> None:
    original = residual()
    copy = patched(original)
    flat = Batches(3, lambda number: torch.full((6, 4, 12, 12), 0.1 * number), lambda _: False)
    with pytest.raises(InputError, match="one colour"):
        fit_layers(copy, original, flat, SETTINGS)
    with pytest.raises(InputError, match="no images"):
        fit_layers(copy, original, Batches(0, images().load, lambda _: False), SETTINGS)
    with pytest.raises(ModelError, match=r"another network: .* the first is fc.weight"):
        wider = residual()
        wider.fc = nn.Linear(12, 4)
        fit_layers(copy, wider, images(), SETTINGS)
    broken = residual()
    with torch.no_grad():
        broken.conv2.weight[0, 0] = float("nan")
    with pytest.raises(ModelError, match="NaN"):
        fit_layers(copy, broken, images(), SETTINGS)
    with pytest.raises(ModelError, match="not finite"):
        huge = Batches(3, lambda number: images().load(number) * 1e38, lambda _: False)
        fit_layers(copy, original, huge, SETTINGS)


def test_dead_channels_and_too_few_rows_are_no_hindrance() -> None:
    original = residual()
    with torch.no_grad():
        original.bn1.weight[:7] = 0
        original.bn1.bias[:7] = 0
        original.bn2.weight[0] = 0
    few = Batches(1, lambda _: torch.randn(2, 4, 12, 12, generator=torch.Generator().manual_seed(0)), lambda _: False)
    fitted = fit_layers(patched(original), original, few, SETTINGS).module
    assert all(bool(torch.isfinite(value).all()) for value in fitted.state_dict().values())


def test_a_layer_too_wide_for_its_equations_is_left_with_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(match, "WIDEST", 50)
    original = nn.Sequential(
        nn.Conv2d(4, 4, 3), nn.MaxPool2d(2), nn.Conv2d(4, 2, 1), nn.Flatten(), nn.Linear(50, 51), nn.Linear(51, 3)
    )
    fitted = fit_layers(patched(original), original.eval(), images(), SETTINGS)
    assert [layer.name for layer in fitted.layers] == ["2.weight", "4.weight"]
    assert [(layer.name, "51 numbers" in layer.reason) for layer in fitted.left] == [("5.weight", True)]
