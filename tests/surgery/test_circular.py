"""With circular padding throughout, aliasing is the only cause of stage error, and the patch lowers it at every stage."""

from __future__ import annotations

from pathlib import Path

import pytest
from networks import loaded, seeded, write_images
from torch import Tensor, nn

from shiftaudit.audit.api import score
from shiftaudit.records.settings import Settings
from shiftaudit.surgery.patch import PatchOptions, patch


def conv(before: int, after: int, stride: int) -> nn.Conv2d:
    return nn.Conv2d(before, after, 3, stride, 1, padding_mode="circular")


class Circular(nn.Module):
    """A strided stem, both pools, and a residual step with a shortcut; no window looks over the edge."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv(3, 8, 2)
        self.norm = nn.BatchNorm2d(8)
        self.relu = nn.ReLU()
        self.pool = nn.MaxPool2d(2)
        self.branch = conv(8, 12, 2)
        self.shortcut = nn.Conv2d(8, 12, 1, 2)
        self.average = nn.AvgPool2d(2)
        self.head = nn.Linear(12, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.relu(self.norm(self.stem(x))))
        x = self.relu(self.branch(x)) + self.shortcut(x)
        return self.head(self.average(x).mean((2, 3)))


def stage_errors(module: nn.Module, images: Path) -> list[float]:
    """The error at the output of every stage, in the order they run."""
    settings = Settings(shifts="6", max_shift=16, workers=0, protocol="circular")
    report = score(loaded(module, 64, 72), images, settings)
    return [stage.errors["circular"].output.value for stage in report.stages]


@pytest.mark.parametrize("filter_size", [2, 3, 4, 7])
def test_stage_error_falls_at_every_patched_stage(tmp_path: Path, filter_size: int) -> None:
    """With two taps, the weakest filter, on average: where a blur follows an activation, its input aliases more than the
    convolution's own output that the original is measured at."""
    model = seeded(Circular())
    images = write_images(tmp_path / "images", n=3, side=80)
    result = patch(model, PatchOptions(filter_size, pad="circular", stem=True), input_size=64)
    before, after = stage_errors(model, images), stage_errors(result.module, images)
    assert len(result.record.patched) == len(before) == len(after) == 5
    assert sum(after) < sum(before)
    assert filter_size == 2 or all(patched < original for original, patched in zip(before, after, strict=True))
