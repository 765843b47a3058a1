"""Our patch of torchvision's networks against the paper's own package, which is only called.

Weights are copied by their order of definition, which both sides share. Two choices of the package are set aside in the test:
its ResNet stem takes the maximum over 2×2 pixels where torchvision's takes it over 3×3, and its DenseNet transitions filter
in place of averaging where this project averages first, so that filter size 1 stays the original.
"""

from __future__ import annotations

import pytest
import torch
import torchvision
from torch import Tensor, nn

from shiftaudit.surgery.patch import PatchOptions, patch

pytestmark = pytest.mark.real


def reference(name: str, filter_size: int) -> nn.Module:
    package = pytest.importorskip("antialiased_cnns")
    model = getattr(package, name)(pretrained=False, filter_size=filter_size).eval()
    if name.startswith("resnet"):
        model.maxpool[0] = nn.MaxPool2d(3, 1, 1)
    return model


def copy_weights(source: nn.Module, target: nn.Module) -> None:
    """By order: the package inserts its filters into sequences, so later layers have other numbers in their names."""
    learned = [(key, value) for key, value in source.state_dict().items() if not key.endswith(".filt")]
    names = list(target.state_dict())
    assert len(learned) == len(names)
    target.load_state_dict({name: value for name, (_, value) in zip(names, learned, strict=True)}, strict=True)


def randomise(model: nn.Module) -> None:
    generator = torch.Generator().manual_seed(0)
    for child in model.modules():
        if isinstance(child, nn.BatchNorm2d):
            child.running_mean.normal_(0, 0.1, generator=generator)
            child.running_var.uniform_(0.5, 1.5, generator=generator)


def ours(name: str, filter_size: int, package: nn.Module, x: Tensor) -> nn.Module:
    plain = torchvision.models.get_model(name, weights=None).eval()
    copy_weights(package, plain)
    patched = patch(plain, PatchOptions(filter_size=filter_size), example_input=x).module
    if name.startswith("densenet"):
        for transition in (1, 2, 3):
            patched.set_submodule(f"features.transition{transition}.pool", nn.Identity())
    return patched


@pytest.mark.parametrize("filter_size", [3, 4])
@pytest.mark.parametrize("name", ["resnet18", "resnet50", "vgg16", "densenet121", "mobilenet_v2"])
def test_logits_equal_the_packages(name: str, filter_size: int) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 3, 96, 96)
    package = reference(name, filter_size)
    randomise(package)
    patched = ours(name, filter_size, package, x)
    with torch.no_grad():
        expected, got = package(x), patched(x)
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))


@pytest.mark.parametrize("filter_size", range(1, 8))
def test_layer_equals_the_packages(filter_size: int) -> None:
    from shiftaudit.surgery.blurpool import BlurPool

    package = pytest.importorskip("antialiased_cnns")
    x = torch.randn(2, 3, 17, 20)
    for mode, other in (("reflect", "reflect"), ("replicate", "repl"), ("zeros", "zero")):
        theirs = package.BlurPool(3, pad_type=other, filt_size=filter_size, stride=2)
        torch.testing.assert_close(BlurPool(3, filter_size, 2, mode)(x), theirs(x))
