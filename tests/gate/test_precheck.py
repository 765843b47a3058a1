"""What is found out before a model is scored for the gate."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
from PIL import Image
from report_builder import make_report

from shiftaudit.errors import NoVerdictError
from shiftaudit.gate.baseline import baseline_of
from shiftaudit.gate.precheck import require_comparable
from shiftaudit.images.find import find_images
from shiftaudit.records.settings import Settings


@pytest.fixture
def folder(tmp_path):
    for index in range(3):
        Image.new("L", (8, 8), 40 * index).save(tmp_path / f"{index}.png")
    return tmp_path


def check(folder, settings=None, size=224, **changes):
    paths = [folder / f"{index}.png" for index in range(3)]
    rows = make_report(3).per_image
    ids = [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]
    report = make_report(images=tuple(replace(row, id=i) for row, i in zip(rows, ids, strict=True)))
    for name, data in changes.items():
        path = folder / f"{name}.png"
        path.unlink(missing_ok=True) if data is None else path.write_bytes(data)
    preprocessing = replace(report.model.preprocessing, size=size)
    require_comparable(settings or Settings(), preprocessing, find_images(folder)[0], baseline_of(report))


def test_the_same_images_under_other_names_are_comparable(folder):
    image = (folder / "0.png").read_bytes()
    check(folder, copy=image)


def test_what_cannot_be_read_was_no_image_for_the_baseline_either(folder):
    check(folder, broken=b"no image")


def test_a_missing_image_and_an_unknown_one_are_found_before_anything_is_scored(folder):
    with pytest.raises(NoVerdictError, match="lacks 1 of the baseline's 3 images and has 0"):
        check(folder, **{"1": None})
    Image.new("L", (8, 8), 200).save(folder / "new.png")
    Image.new("L", (8, 8), 20).save(folder / "1.png")
    with pytest.raises(NoVerdictError, match="lacks 0 of the baseline's 3 images and has 1"):
        check(folder)


def test_an_input_that_makes_other_views_is_found_before_anything_is_scored(folder):
    with pytest.raises(NoVerdictError, match=r"protocol\.max_shift_circular is 16 and was 32"):
        check(folder, size=112)
    with pytest.raises(NoVerdictError, match=r"protocol\.seed is 1 and was 0"):
        check(folder, Settings(seed=1))
