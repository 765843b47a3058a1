from __future__ import annotations

from collections import OrderedDict

import pytest
import torch
from networks import reexported, reloaded
from torch import Tensor, nn

from shiftaudit.errors import ModelError, PatchError
from shiftaudit.surgery.blurpool import BlurPool
from shiftaudit.tune.filters import set_strength
from shiftaudit.tune.targets import choose_taps, tapped


def tiny(blurred: bool) -> nn.Sequential:
    """conv, [max-pool | dense max + blur], conv, [strided conv | conv + blur], head: same weights, same names."""
    torch.manual_seed(0)
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    layers["conv1"] = nn.Conv2d(3, 6, 3, padding=1)
    layers["bn1"] = nn.BatchNorm2d(6)
    layers["relu1"] = nn.ReLU()
    layers["pool"] = nn.Sequential(nn.MaxPool2d(2, 1), BlurPool(6)) if blurred else nn.MaxPool2d(2)
    layers["conv2"] = nn.Conv2d(6, 8, 3, padding=1)
    layers["relu2"] = nn.ReLU()
    layers["conv3"] = nn.Conv2d(8, 40, 3, stride=1 if blurred else 2, padding=1)
    layers["relu3"] = nn.ReLU()
    layers["blur"] = BlurPool(40) if blurred else nn.Identity()
    layers["conv4"] = nn.Conv2d(40, 8, 1)
    layers["avg"] = nn.AdaptiveAvgPool2d(1)
    layers["flat"] = nn.Flatten()
    layers["fc"] = nn.Linear(8, 5)
    return nn.Sequential(layers).eval()


def in_form(kind: str, module: nn.Module) -> nn.Module:
    if kind == "exported":
        return reexported(module, torch.zeros(2, 3, 16, 16))
    if kind == "traced":
        return reloaded(torch.jit.trace(module, X, check_trace=False)).eval()
    return reloaded(torch.jit.script(module)).eval() if kind == "scripted" else module


def logits(output: Tensor, batch: int) -> Tensor:
    assert len(output) == batch
    return output


X = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("kind", ["eager", "scripted", "traced", "exported"])
def test_strength_zero_computes_the_original_and_one_the_patched_model(kind: str) -> None:
    original, patched = tiny(False), tiny(True)
    full = patched(X)
    model = in_form(kind, patched)
    assert set_strength(model, 0.0) == 2
    torch.testing.assert_close(model(X), original(X))
    set_strength(model, 1.0)
    torch.testing.assert_close(model(X), full)
    assert not torch.allclose(full, original(X), atol=1e-3)


def test_a_model_without_blurpool_cannot_be_tuned() -> None:
    with pytest.raises(PatchError, match="holds no BlurPool"):
        set_strength(tiny(False), 0.5)


@pytest.mark.parametrize("kind", ["eager", "scripted", "traced", "exported"])
def test_taps_are_the_inputs_of_the_layers_they_are_named_after(kind: str) -> None:
    module = tiny(True)
    expected = module[:5](X), module[:9](X), module[:12](X)
    model = in_form(kind, module)
    network = tapped(model, logits)
    assert network.names == ("conv1", "conv2", "conv3", "conv4", "fc")
    answer, tensors = network.run(X, ["conv2", "conv4", "fc"])
    torch.testing.assert_close(answer, module(X))
    torch.testing.assert_close(tensors[0], module[:4](X))
    torch.testing.assert_close(tensors[1], expected[1])
    torch.testing.assert_close(tensors[2], expected[2])


@pytest.mark.parametrize("kind", ["scripted", "exported"])
def test_gradients_of_taps_reach_the_models_own_parameters(kind: str) -> None:
    model = in_form(kind, tiny(True))
    _, (features,) = tapped(model, logits).run(X, ["conv4"])
    assert features is not None
    features.square().sum().backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    assert all(gradients[f"{layer}.weight"].abs().sum() > 0 for layer in ("conv1", "conv2", "conv3"))
    assert gradients["conv4.weight"] is None and gradients["fc.weight"] is None


@pytest.mark.parametrize("kind", ["scripted", "exported"])
def test_taps_follow_the_strength_of_the_filters(kind: str) -> None:
    model = in_form(kind, tiny(True))
    network = tapped(model, logits)
    set_strength(model, 0.0)
    _, (plain,) = network.run(X, ["conv4"])
    set_strength(model, 1.0)
    _, (full,) = network.run(X, ["conv4"])
    torch.testing.assert_close(plain, tiny(False)[:9](X))
    torch.testing.assert_close(full, tiny(True)[:9](X))


def test_chosen_taps_lie_behind_a_filter_and_are_the_narrow_ones_of_their_level() -> None:
    choice = choose_taps(tapped(tiny(True), logits), tapped(in_form("scripted", tiny(False)), logits), X)
    # conv1 reads the image; conv3's output differs in shape from the original's, but taps are inputs.
    assert choice.names == ("conv2", "conv3", "conv4", "fc")
    assert choice.levels == ((0, 1), (2,), (3,))


def test_wide_maps_of_a_level_are_left_out() -> None:
    def wide(blurred: bool) -> nn.Module:
        torch.manual_seed(0)
        pool = BlurPool(3) if blurred else nn.MaxPool2d(1, 2)
        return nn.Sequential(pool, nn.Conv2d(3, 9, 1), nn.Conv2d(9, 4, 1), nn.Conv2d(4, 2, 1), nn.Flatten()).eval()

    choice = choose_taps(tapped(wide(True), logits), tapped(wide(False), logits), X)
    assert choice.names == ("1", "3")


def test_networks_that_share_nothing_are_refused() -> None:
    with pytest.raises(ModelError, match="share no layer"):
        choose_taps(tapped(tiny(True), logits), tapped(nn.Sequential(nn.Conv2d(3, 5, 1)), logits), X)
    with pytest.raises(ModelError, match="share no layer"):
        choose_taps(tapped(tiny(False), logits), tapped(tiny(False), logits), X)


class Residual(nn.Module):
    """As torchvision writes MobileNetV2's blocks: whether there is a shortcut is an attribute, and each answer a branch."""

    def __init__(self, *, shortcut: bool) -> None:
        super().__init__()
        self.shortcut = shortcut
        self.width = 4
        self.conv = nn.Sequential(
            nn.Conv2d(self.width, self.width, 3, padding=1), nn.BatchNorm2d(self.width), nn.Dropout(0.5)
        )

    def forward(self, x: Tensor) -> Tensor:
        if self.shortcut and self.width == 4:
            return x + self.conv(x)
        else:  # noqa: RET505
            return self.conv(x)


def test_layers_in_branches_that_attributes_decide_are_compared_in_scripts_too() -> None:
    torch.manual_seed(0)
    eager = nn.Sequential(nn.Conv2d(3, 4, 3), Residual(shortcut=True), Residual(shortcut=False), nn.Flatten())
    script = in_form("scripted", eager)
    ours, theirs = tapped(script, logits), tapped(eager.eval(), logits)
    assert ours.names == theirs.names == ("0", "1.conv.0", "2.conv.0")
    for module in (eager, script):
        module.train()  # what the mode decides is still decided when it runs
    torch.manual_seed(1)
    answer, taps = ours.run(X, ours.names)
    torch.manual_seed(1)
    expected, wanted = theirs.run(X, theirs.names)
    torch.testing.assert_close((answer, *taps), (expected, *wanted))
