"""`score A --against B`: do two forms of a network answer alike, and where do they differ most?"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from cli_run import InProcess
from networks import Residual, loaded, seeded, write_images
from onnx_files import exported, saved
from torch import nn

from shiftaudit.audit.against import answer_against
from shiftaudit.errors import InputError
from shiftaudit.images.find import find_images
from shiftaudit.records.reading import read_report
from shiftaudit.records.settings import Settings
from shiftaudit.views.protocol import plan_views, resolve

QUICK = Settings(shifts="3", max_shift=4, workers=0)
FLAGS = ("--size", 16, "--resize", 20, "--shifts", 3, "--workers", 0, "--no-stages", "-q")


def residual() -> nn.Module:
    return seeded(Residual())


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return write_images(tmp_path / "images", n=3)


class Shifted(nn.Module):
    """Adds to the logits, and more to those of a brighter image."""

    def __init__(self, by: list[float]) -> None:
        super().__init__()
        self.inner = residual()
        self.register_buffer("by", torch.tensor(by))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x) + self.by * (1 + x.mean((1, 2, 3), keepdim=True).flatten(1))


def test_a_network_answers_as_itself(images: Path) -> None:
    files, _ = find_images(images)
    found = answer_against(loaded(residual()), loaded(residual()), files, QUICK)
    assert (found.agreement.value, found.agreement.n_images, found.agreement.n_pairs) == (1.0, 3, 3 * 7)
    assert (found.farthest.probability, found.farthest.logit) == (0.0, 0.0)


def test_the_largest_difference_is_found_with_its_view(images: Path) -> None:
    files, _ = find_images(images)
    found = answer_against(loaded(residual()), loaded(Shifted([0.0, 0.0, 50.0, 0.0, 0.0])), files, QUICK)
    assert found.farthest.logit > 0.4
    assert 0 < found.farthest.probability <= 1
    assert found.largest_logit > 0
    assert found.agreement.value is not None
    assert found.agreement.value < 1
    info = resolve(QUICK, 16)[1]
    shifts = {shift for image in files for views in plan_views(info, image.sha256()).values() for shift in views}
    assert found.farthest.shift in shifts | {(0, 0)}


def test_other_classes_are_refused(images: Path) -> None:
    files, _ = find_images(images)
    with pytest.raises(InputError, match="has 5 classes and Residual 7"):
        answer_against(loaded(residual()), loaded(seeded(Residual(classes=7))), files, QUICK)


def test_a_converted_file_is_compared_with_its_original(
    images: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = InProcess(images.parent, monkeypatch, capsys)
    torch.jit.save(torch.jit.script(residual()), "net.pt")
    saved(Path("net.onnx"), exported(residual, "torchscript"))
    code, out, err = run("score", "net.pt", "images", "--against", "net.onnx", "-o", "report.json", *FLAGS)
    assert (code, err) == (0, "")
    assert "net.onnx: the same answer to 100 % of 21 views" in " ".join(out.split())
    assert "They differ most on" in " ".join(out.split())
    against = read_report(Path("report.json")).against
    assert against is not None
    assert (against.source, against.kind, against.agreement.value) == ("net.onnx", "onnx", 1.0)
    assert against.farthest.logit < 1e-4
    code, out, _ = run("report", "report.json", "--format", "markdown")
    assert (code, "**Against net.onnx:** the same answer" in out) == (0, True)
    code, _, err = run("score", "net.pt", "images", "--against", "no.onnx", *FLAGS)
    assert (code, "no such file" in err) == (2, True)
    code, _, err = run("score", "net.pt", "images", "--against", "net.onnx", "--shard", "1/2", "--samples", "s", *FLAGS)
    assert (code, "whole runs" in err) == (2, True)
