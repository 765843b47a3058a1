"""What must not change a report: batches, workers, the order and names of files, neighbours, a fixed batch."""

from __future__ import annotations

import random
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from networks import Residual, loaded, preprocessing, seeded, write_images
from torch import Tensor, nn

from shiftaudit.audit.audit import audit
from shiftaudit.images.find import find_images
from shiftaudit.models import ModelOptions, load_model
from shiftaudit.records import codec
from shiftaudit.records.report import AuditReport, ImageResult
from shiftaudit.records.settings import Settings

SETTINGS = Settings(shifts="5", max_shift=3, stage_views=2, workers=0, batch_size=32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(tmp_path_factory.mktemp("images"), n=8)


def report(folder: Path, **changes: Any) -> AuditReport:
    return audit(loaded(seeded(Residual())), find_images(folder)[0], replace(SETTINGS, **changes))


@pytest.fixture(scope="module")
def reference(folder: Path) -> AuditReport:
    return report(folder)


def assert_alike(one: Any, two: Any, where: str = "report") -> None:
    """Equal but for floats, which agree to 1e-5."""
    if isinstance(one, float) and isinstance(two, float):
        assert one == pytest.approx(two, abs=1e-5), where
    elif isinstance(one, dict):
        assert one.keys() == two.keys(), where
        for key in one:
            assert_alike(one[key], two[key], f"{where}.{key}")
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(two), where
        for index, (first, second) in enumerate(zip(one, two, strict=True)):
            assert_alike(first, second, f"{where}[{index}]")
    else:
        assert one == two, where


def rows(found: AuditReport) -> dict[str, ImageResult]:
    """By content, without names."""
    return {image.id: replace(image, path="") for image in found.per_image}


@pytest.mark.parametrize("batch_size", [1, 7, 256])
def test_the_batch_size_changes_nothing_but_float_noise(folder: Path, reference: AuditReport, batch_size: int) -> None:
    assert_alike(asdict(report(folder, batch_size=batch_size)), asdict(reference))


def test_workers_change_no_byte(folder: Path, reference: AuditReport) -> None:
    assert codec.dumps(report(folder, workers=2)) == codec.dumps(reference)
    assert codec.dumps(report(folder, workers=None)) == codec.dumps(reference)


def test_the_same_settings_give_the_same_bytes(folder: Path, reference: AuditReport) -> None:
    assert codec.dumps(report(folder)) == codec.dumps(reference)


def test_the_order_of_the_files_changes_no_byte(folder: Path, reference: AuditReport) -> None:
    files = find_images(folder)[0]
    random.Random(3).shuffle(files)
    assert codec.dumps(audit(loaded(seeded(Residual())), files, SETTINGS)) == codec.dumps(reference)


def test_new_names_in_another_order_change_nothing_but_the_names(
    folder: Path, reference: AuditReport, tmp_path: Path
) -> None:
    names = [path.name for path in sorted(folder.iterdir())]
    for old, new in zip(names, reversed(names), strict=True):
        (tmp_path / f"new_{new}").write_bytes((folder / old).read_bytes())
    renamed = report(tmp_path)
    assert rows(renamed) == rows(reference)
    assert renamed.data.manifest_sha256 == reference.data.manifest_sha256
    for name, result in reference.protocols.items():
        for metric, value in result.metrics.items():
            other = renamed.protocols[name].metrics[metric]
            assert (other.n_images, other.n_pairs) == (value.n_images, value.n_pairs)
            assert_alike(other.value, value.value, f"{name}.{metric}")
    for one, two in zip(renamed.stages, reference.stages, strict=True):
        for name, errors in two.errors.items():
            assert_alike(one.errors[name].output.value, errors.output.value, f"{two.name}.{name}")


def test_a_new_image_changes_no_other_image_s_row(folder: Path, reference: AuditReport, tmp_path: Path) -> None:
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    new = write_images(tmp_path / "new", n=1, seed=9)
    (new / "00.png").rename(tmp_path / "035.png")
    more = rows(report(tmp_path))
    assert len(more) == len(reference.per_image) + 1
    assert {key: row for key, row in more.items() if key in rows(reference)} == rows(reference)


class Bound(nn.Module):
    """Once traced, it takes four images at a time and no other number."""

    def __init__(self, batch: int | None) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, stride=2, padding=1)
        self.pool = nn.MaxPool2d(2)
        self.head = nn.Linear(6 * 16, 5)
        self.batch = batch

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.conv(x).relu())
        return self.head(x.reshape(self.batch or x.shape[0], 96))


def test_a_file_bound_to_its_batch_gives_the_rows_of_a_free_one(folder: Path, tmp_path: Path) -> None:
    bound, free = seeded(Bound(4)), seeded(Bound(None))
    torch.jit.save(torch.jit.trace(bound, torch.zeros(4, 3, 16, 16)), tmp_path / "bound.pt")
    with pytest.raises(RuntimeError):
        bound(torch.zeros(3, 3, 16, 16))
    prepared = preprocessing()
    options = ModelOptions(size=prepared.size, resize=prepared.resize, mean=prepared.mean, std=prepared.std)
    files = find_images(folder)[0]
    one = audit(load_model(str(tmp_path / "bound.pt"), options), files, SETTINGS)
    two = audit(loaded(free), files, SETTINGS)
    assert_alike([asdict(row) for row in one.per_image], [asdict(row) for row in two.per_image])
    assert_alike([asdict(stage) for stage in one.stages], [asdict(stage) for stage in two.stages])
