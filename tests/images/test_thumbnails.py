from __future__ import annotations

import dataclasses
import io
from hashlib import sha256
from pathlib import Path

import numpy as np
from PIL import Image
from report_builder import fake_report

from shiftaudit.images.thumbnails import thumbnails


def test_thumbnails_are_those_of_the_very_files_that_were_scored(tmp_path: Path) -> None:
    report, files = fake_report(4), []
    for index, image in enumerate(report.per_image):
        path = tmp_path / image.path
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(np.full((300, 260, 3), 60 * index, np.uint8)).save(path)
        files.append(path)
    images = [
        dataclasses.replace(i, id=sha256(f.read_bytes()).hexdigest())
        for i, f in zip(report.per_image, files, strict=True)
    ]
    changed = dataclasses.replace(images[0], id="0" * 64)
    made = thumbnails([changed, *images[1:]], report.model.preprocessing, tmp_path)
    assert set(made) == {image.id for image in images[1:]}
    assert all(Image.open(io.BytesIO(data)).size == (192, 192) for data in made.values())
