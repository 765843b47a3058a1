"""The bundled sample: small, offline, attributed, really trained, and made by the script beside it."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from cli_run import script_module
from PIL import Image

from shiftaudit import sample
from shiftaudit.images.decode import DecodedImage
from shiftaudit.images.find import find_images
from shiftaudit.images.labels import read_labels
from shiftaudit.images.stream import stream
from shiftaudit.records.codec import structure
from shiftaudit.records.report import Preprocessing

MODELS = [sample.model_path(), sample.antialiased_model_path()]


def load(path: Path) -> tuple[torch.jit.ScriptModule, Preprocessing, tuple[str, ...]]:
    carried = {"shiftaudit.json": ""}
    model = torch.jit.load(path, _extra_files=carried)
    facts = json.loads(carried["shiftaudit.json"])
    assert facts["schema_version"] == 1
    return model, structure(facts["preprocessing"], Preprocessing, path.name), tuple(facts["class_names"])


def views(canvas: torch.Tensor, size: int, reach: int) -> torch.Tensor:
    """Every second crop within ±reach of the centre, unshifted first: (views, N, C, size, size)."""
    start = (canvas.shape[-1] - size) // 2
    axis = range(-reach, reach + 1, 2)
    shifts = [(0, 0)] + [(dy, dx) for dy in axis for dx in axis if (dy, dx) != (0, 0)]
    return torch.stack([canvas[..., start - y : start - y + size, start - x : start - x + size] for y, x in shifts])


def answers(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Predictions (views, N) over crop shifts, and true classes (N,)."""
    model, preprocessing, class_names = load(path)
    files, skipped = find_images(sample.images_path())
    assert skipped == []
    labels = read_labels("auto", files, class_names=class_names, n_classes=len(class_names)).by_path
    decoded = [item for item in stream(files, preprocessing, preprocessing.resize, 0) if isinstance(item, DecodedImage)]
    assert len(decoded) == len(files)
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (preprocessing.mean, preprocessing.std))
    canvas = (torch.from_numpy(np.stack([item.pixels for item in decoded])).float() / 255 - mean) / std
    with torch.inference_mode():
        predictions = torch.stack([model(view).argmax(1) for view in views(canvas, preprocessing.size, 4)])
    return predictions.numpy(), np.array([labels[item.relative] for item in decoded])


def consistency(predictions: np.ndarray) -> float:
    pairs = [(i, j) for i in range(len(predictions)) for j in range(i)]
    return float(np.mean([(predictions[i] == predictions[j]).mean() for i, j in pairs]))


def test_the_models_are_well_above_chance_and_the_blurred_one_is_more_consistent() -> None:
    (plain, truth), (blurred, _) = (answers(path) for path in MODELS)
    assert 0.6 < np.mean(plain[0] == truth) < 1.0
    assert 0.6 < np.mean(blurred[0] == truth) < 1.0
    assert 0.85 < consistency(plain) < 0.95
    assert consistency(blurred) > consistency(plain) + 0.02


def test_the_images_are_eight_of_each_class_and_large_enough_to_be_moved() -> None:
    files, _ = find_images(sample.images_path())
    names = [file.relative.split("/")[0] for file in files]
    assert {name: names.count(name) for name in names} == dict.fromkeys(load(MODELS[0])[2], 8)
    for file in files:
        with Image.open(file.path) as image:
            assert image.size == (96, 96)
            assert image.mode in ("L", "RGB")


def test_the_sample_is_small_and_attributed() -> None:
    files = [path for path in sample.images_path().parent.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    assert sum(path.stat().st_size for path in files) < 2_500_000
    attribution = (sample.images_path().parent / "ATTRIBUTION.md").read_text(encoding="utf-8")
    for folder in sample.images_path().iterdir():
        assert f"| {folder.name} | `" in attribution


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.name)
def test_the_model_files_name_no_folder_of_the_machine_that_made_them(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        for name in archive.namelist():
            assert b"/site-packages/" not in archive.read(name)
            assert b"make_sample" not in archive.read(name).replace(b"__torch__.make_sample", b"")


@pytest.fixture(scope="module")
def script() -> ModuleType:
    pytest.importorskip("skimage")
    return script_module("make_sample")


def test_the_script_cuts_the_images_that_are_bundled(script: ModuleType, tmp_path: Path) -> None:
    script.write_images(tmp_path / "images")
    for name in script.CLASSES:
        for number in range(script.TEST_CELLS):
            made, kept = (folder / name / f"{number}.jpg" for folder in (tmp_path / "images", sample.images_path()))
            with Image.open(made) as first, Image.open(kept) as second:
                difference = np.asarray(first, dtype=int) - np.asarray(second, dtype=int)
            assert np.abs(difference).max() <= 8  # JPEG encoders differ a little between Pillow's builds


def test_training_crops_touch_no_test_cell(script: ModuleType) -> None:
    # Cut from photographs whose test cells are painted in one colour that is in none of them otherwise.
    painted = {}
    for name in script.CLASSES:
        pixels = np.minimum(np.asarray(script.photograph(name)), 200)
        for x, y in script.test_cells(script.photograph(name)):
            pixels[y : y + script.CELL, x : x + script.CELL] = 255
        painted[name] = Image.fromarray(pixels)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(script, "photograph", painted.__getitem__)
        crops, classes = script.training_crops(5, np.random.default_rng(0))
    assert crops.shape == (50, 3, script.SIZE, script.SIZE)
    assert classes.bincount().tolist() == [5] * 10
    assert int(crops.max()) <= 200


def test_the_script_trains_and_writes_models_that_load(script: ModuleType, tmp_path: Path) -> None:
    crops, classes = script.training_crops(2, np.random.default_rng(0))
    for antialiased in (False, True):
        model = script.train(antialiased, crops, classes, steps=2, seed=0)
        (tmp_path / "model.pt").write_bytes(script.torchscript_bytes(model))
        loaded, preprocessing, class_names = load(tmp_path / "model.pt")
        x = torch.randn(2, 3, preprocessing.size, preprocessing.size, generator=torch.Generator().manual_seed(0))
        with torch.inference_mode():
            torch.testing.assert_close(loaded(x), model(x))
        assert class_names == script.CLASSES
        again = script.train(antialiased, crops, classes, steps=2, seed=0)
        assert script.torchscript_bytes(again) == (tmp_path / "model.pt").read_bytes()
