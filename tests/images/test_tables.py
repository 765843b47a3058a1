"""Parquet files as Hugging Face's data sets lay them out."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pyarrow
import pytest
from image_files import EXACT, noise, save
from pyarrow import parquet

from shiftaudit.errors import InputError
from shiftaudit.images import tables
from shiftaudit.images.find import find_images
from shiftaudit.images.labels import Labels, read_labels
from shiftaudit.images.stream import stream
from shiftaudit.records.report import Skipped

PETS = ["cat", "dog", "polar bear"]


def a_table(
    folder: Path, names: list[str | None], labels: list[object] | None = None, classes: list[str] | None = None
) -> Path:
    images = []
    for number, name in enumerate(names):
        data = save(folder / "one.png", noise(8, 8, seed=number)).path.read_bytes()
        images.append({"bytes": data, "path": name})
    (folder / "one.png").unlink()
    table = pyarrow.table({"image": images} if labels is None else {"image": images, "label": labels})
    if classes:
        features = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": classes}}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    parquet.write_table(table, folder / "train-00000-of-00001.parquet", row_group_size=2)
    return folder / "train-00000-of-00001.parquet"


def labelled(path: Path, names: tuple[str, ...] | None, n_classes: int | None = None) -> Labels:
    return read_labels("auto", find_images(path)[0], class_names=names, n_classes=n_classes)


def test_images_are_known_by_their_names_or_else_by_their_rows(tmp_path: Path) -> None:
    named = find_images(a_table(tmp_path, ["b.png", "/cache/of/another/machine/a.png", "val/c.png"]))[0]
    assert [file.relative for file in named] == ["a.png", "b.png", "val/c.png"]
    for names in ([None] * 11, ["a.png"] * 11, ["a.png", None, *"bcdefghij"]):
        rows = find_images(a_table(tmp_path, names))[0]
        assert [file.relative for file in rows] == [f"{row:02}" for row in range(11)]


def test_labels_are_classes_of_the_model_by_name_or_by_number(tmp_path: Path) -> None:
    path = a_table(tmp_path, ["a", "b", "c"], [2, 0, -1], PETS)
    assert labelled(path, ("polar bear", "dog", "cat")).by_path == {"a": 0, "b": 2}
    assert labelled(path, None, 3).by_path == {"a": 2, "b": 0}
    assert labelled(path, None, 3).class_names == tuple(PETS)
    assert labelled(path, None, 9).note == "no labels: the labels are of 3 classes, the model has 9 classes"
    assert (
        labelled(path, ("ship", "plane", "car")).note == "no labels: the label 'cat' is none of the model's class names"
    )
    plain = a_table(tmp_path, ["a", "b", "c"], ["dog", "cat", None])
    assert labelled(plain, ("cat", "dog")).by_path == {"a": 1, "b": 0}


def test_synonyms_of_the_same_classes_in_the_same_order_are_the_same_classes(tmp_path: Path) -> None:
    path = a_table(tmp_path, ["a", "b", "c"], [2, 0, 1], ["cat, puss", "dog, hound", "crane"])
    found = labelled(path, ("cat", "dog", "crane bird"))
    assert found.by_path == {"a": 2, "b": 0, "c": 1}
    assert found.note.endswith("numbered as the data set's classes")


def test_shards_that_number_other_classes_are_not_put_together(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "y").mkdir()
    paths = [a_table(tmp_path / "x", ["a"], [1], PETS), a_table(tmp_path / "y", ["b"], [1], PETS[::-1])]
    with pytest.raises(InputError, match="number different classes"):
        find_images(paths)


def test_other_columns_are_found_or_named(tmp_path: Path) -> None:
    data = save(tmp_path / "one.png", noise(8, 8)).path.read_bytes()
    table = pyarrow.table({"img": [data], "fine_label": [3], "caption": ["x"]})
    parquet.write_table(table, tmp_path / "a.parquet")
    (file,) = find_images(tmp_path / "a.parquet")[0]
    assert file.read() == data
    parquet.write_table(pyarrow.table({"text": ["x"], "n": [1]}), tmp_path / "a.parquet")
    with pytest.raises(InputError, match=r"a.parquet has no column of images; its columns are text, n; expected"):
        find_images(tmp_path / "a.parquet")


def test_rows_without_bytes_and_groups_that_are_too_large_are_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    rows = pyarrow.array([{"bytes": None, "path": "gone.png"}, None], kind)
    parquet.write_table(pyarrow.table({"image": rows}), tmp_path / "a.parquet")
    files = find_images(tmp_path / "a.parquet")[0]
    assert list(stream(files, EXACT, 8, 0)) == [Skipped(row, "its bytes are not in the table") for row in "01"]
    path = a_table(tmp_path, ["a", "b"])
    monkeypatch.setattr(tables, "MAX_GROUP_BYTES", 10)
    (one, _) = stream(find_images(path)[0], EXACT, 8, 0)
    assert one.reason.startswith("its group of rows unpacks to more than")


def test_a_damaged_group_costs_its_images_alone(tmp_path: Path) -> None:
    path = a_table(tmp_path, ["a", "b", "c", "d"])
    data = bytearray(path.read_bytes())
    start = data.index(b"PNG") - 10
    data[start : start + 40] = b"\xff" * 40
    path.write_bytes(data)
    items = list(stream(find_images(path)[0], EXACT, 8, 0))
    assert isinstance(items[0], Skipped)
    assert not any(isinstance(item, Skipped) for item in items[2:])


def test_without_pyarrow_it_is_said_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = a_table(tmp_path, ["a"])
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(InputError, match=r"needs pyarrow, which is not installed; pip install 'shiftaudit\[pandas\]'"):
        find_images(path)
