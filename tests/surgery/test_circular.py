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


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(tmp_path_factory.mktemp("circular") / "images", n=3, side=80)


def patched_errors(images: Path, filter_size: int) -> list[float]:
    result = patch(seeded(Circular()), PatchOptions(filter_size, pad="circular", stem=True), input_size=64)
    errors = stage_errors(result.module, images)
    assert len(result.record.patched) == len(errors) == 5
    return errors


@pytest.fixture(scope="module")
def subsampled(images: Path) -> list[float]:
    """Of the filter with one tap, which computes what the original does, measured where longer filters are: behind the tails."""
    return patched_errors(images, 1)


@pytest.mark.parametrize("filter_size", [2, 3, 4, 7])
def test_stage_error_falls_at_every_patched_stage(images: Path, subsampled: list[float], filter_size: int) -> None:
    after = patched_errors(images, filter_size)
    assert all(filtered < original for original, filtered in zip(subsampled, after, strict=True))


def test_a_stage_moves_behind_its_activation_where_its_error_is_larger(images: Path, subsampled: list[float]) -> None:
    """So two taps, the weakest filter, can put out more than the unpatched convolution does before its activation: at `branch`,
    .35 instead of .30, where the unpatched network behind the activation has .47."""
    stem, pool, branch, shortcut, average = zip(
        stage_errors(seeded(Circular()), images), subsampled, patched_errors(images, 2), strict=True
    )
    for original, behind, _ in (stem, branch, shortcut):
        assert behind > original
    for original, behind, _ in (pool, average):
        assert behind == pytest.approx(original, abs=1e-4)
    assert branch[0] < branch[2] < branch[1]
