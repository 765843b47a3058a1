"""Exact identities that the equivariance error must hold, whatever the network's weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from networks import Residual, loaded, preprocessing, seeded, write_images
from PIL import Image
from torch import Tensor, nn

from shiftaudit.audit.audit import audit
from shiftaudit.images.find import find_images
from shiftaudit.models import LoadedModel
from shiftaudit.records.report import AuditReport
from shiftaudit.records.settings import Settings


def run(module: nn.Module, folder: Path, size: int = 16, **changes: object) -> AuditReport:
    settings = Settings(**{"shifts": "grid:1", "max_shift": 3, "workers": 0, **changes})  # type: ignore[arg-type]
    return audit(LoadedModel.from_module(module, preprocessing(size, size + 6)), find_images(folder)[0], settings)


def test_a_constant_image_has_error_zero_at_every_stage(tmp_path: Path) -> None:
    Image.new("RGB", (30, 30), (90, 20, 200)).save(tmp_path / "flat.png")
    report = run(seeded(Residual(padding_mode="circular")), tmp_path, protocol="circular")
    assert len(report.stages) == 4
    # The stem's map is constant as well, and so are all the maps behind it. The 3×3 max-pool pads with minus infinity.
    for stage in report.stages:
        assert stage.errors["circular"].output.value == pytest.approx(0, abs=1e-5)
    assert report.protocols["circular"].metrics["consistency"].value == 1.0


class StrideOne(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, padding=1, padding_mode="circular")
        self.second = nn.Conv2d(6, 6, 5, padding=2, padding_mode="circular")
        self.down = nn.Conv2d(6, 5, 2, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(self.second(self.conv(x).relu()).relu()).mean((2, 3))


def test_a_circular_network_of_stride_one_has_error_zero_at_every_shift(tmp_path: Path) -> None:
    report = run(seeded(StrideOne()), write_images(tmp_path), protocol="circular")
    [stage] = report.stages
    assert stage.name == "down"
    assert stage.errors["circular"].input.value == pytest.approx(0, abs=1e-5)
    output = stage.errors["circular"].output.value
    assert output is not None
    assert output > 1e-4


def test_a_circular_network_has_error_zero_at_multiples_of_its_total_stride_only(tmp_path: Path) -> None:
    module = seeded(Residual(padding_mode="circular"))
    module.pool = nn.MaxPool2d(2, 2)
    report = run(module, write_images(tmp_path), protocol="circular", shifts="grid:1", max_shift=8)
    assert [stage.stride for stage in report.stages] == [(2, 2), (4, 4), (8, 8), (8, 8)]
    for stage in report.stages:
        clean = {(p.py, p.px): p.value for p in stage.errors["circular"].by_phase}
        assert len(clean) == stage.stride[0] ** 2
        assert clean.pop((0, 0)) == pytest.approx(0, abs=1e-5)
        assert min(clean.values()) > 1e-6


class IdealDownsampling(nn.Module):
    """Keeps the low frequencies only, strictly below the new Nyquist frequency, then takes every second sample."""

    def forward(self, x: Tensor) -> Tensor:
        side = x.shape[-1]
        frequency = torch.fft.fftfreq(side, 1 / side).abs()
        keep = (frequency[:, None] < side / 4) & (frequency[None, :] < side / 4)
        low = torch.fft.ifft2(torch.fft.fft2(x) * keep).real
        small = low[:, :, ::2, ::2]
        return small.flatten(1)[:, :5] + small.mean()


def test_ideal_low_pass_downsampling_has_error_zero_at_every_whole_shift(tmp_path: Path) -> None:
    report = run(IdealDownsampling(), write_images(tmp_path), protocol="circular", shifts="grid:1", max_shift=4)
    [stage] = report.stages
    assert stage.op == "slice"
    assert stage.stride == (2, 2)
    assert len(stage.errors["circular"].by_phase) == 4
    for phase in stage.errors["circular"].by_phase:
        assert phase.value == pytest.approx(0, abs=1e-5)


def test_plain_subsampling_is_clean_at_even_shifts_only(tmp_path: Path) -> None:
    class Plain(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x[:, :, ::2, ::2].mean((2, 3))

    report = run(Plain(), write_images(tmp_path), protocol="circular", shifts="grid:1", max_shift=4)
    by_phase = {(p.py, p.px): p.value for p in report.stages[0].errors["circular"].by_phase}
    assert by_phase[0, 0] == 0
    assert all(value > 1e-6 for phase, value in by_phase.items() if phase != (0, 0))


def test_a_crop_of_a_linear_ramp_has_next_to_no_error(tmp_path: Path) -> None:
    ramp = np.broadcast_to(np.arange(30, dtype=np.uint8)[:, None, None] * 4, (30, 30, 3))
    Image.fromarray(np.ascontiguousarray(ramp)).save(tmp_path / "ramp.png")

    class Average(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return nn.functional.avg_pool2d(x, 2).flatten(1)[:, :4]

    prepared = preprocessing(16, 30)
    report = audit(
        LoadedModel.from_module(Average(), prepared),
        find_images(tmp_path)[0],
        Settings(protocol="crop", shifts="grid:1", max_shift=3, workers=0),
    )
    # Nothing aliases in the inside of a ramp; what is left is interpolation next to the border, and below its floor.
    found = report.stages[0].errors["crop"]
    assert found.output.value == pytest.approx(0, abs=0.005)
    assert found.floor is not None
    assert found.floor > found.output.value


def test_networks_of_one_input_size_share_the_unshifted_answer_between_protocols(tmp_path: Path) -> None:
    module = seeded(Residual())
    folder = write_images(tmp_path)
    one = audit(loaded(module), find_images(folder)[0], Settings(workers=0, protocol="both", shifts="3", max_shift=2))
    assert [i.prediction for i in one.per_image] == [
        i.prediction
        for i in audit(
            loaded(module), find_images(folder)[0], Settings(workers=0, protocol="crop", shifts="3", max_shift=2)
        ).per_image
    ]
