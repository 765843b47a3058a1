"""Copies of all forms in ONNX Runtime."""

from __future__ import annotations

import pytest
import torch
from patch_networks import randomise
from torch import Tensor, nn

from shiftaudit.errors import PatchError
from shiftaudit.surgery.export_check import check_onnx
from shiftaudit.surgery.patch import PatchOptions, patch

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(4)
        self.pool, self.fc = nn.MaxPool2d(2), nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.norm(self.conv(x)).relu_())
        return self.fc(torch.cat([x, x + 1], 1)[:, :4].mean((2, 3)))


@pytest.mark.parametrize("form", ["eager", "scripted", "traced"])
def test_copies_of_every_form_compute_the_same_there(form: str) -> None:
    original, x = randomise(Small()).eval(), torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    forms = {
        "eager": lambda: original,
        "scripted": lambda: torch.jit.script(original),
        "traced": lambda: torch.jit.trace(original, x),
    }
    copy = patch(forms[form](), PatchOptions(stem=True, pad="zeros"), example_input=x).module
    assert check_onnx(copy, x) < 1e-5


def test_a_copy_that_decides_by_its_input_is_found_out() -> None:
    class Decides(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * 2 if bool(x.sum() > 0) else x

    with pytest.raises(PatchError, match="computes something else"):
        check_onnx(torch.jit.script(Decides()), torch.ones(1, 3, 8, 8))
