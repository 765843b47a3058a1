"""Files of class names, in the forms that people have."""

from __future__ import annotations

from pathlib import Path

import pytest

from shiftaudit.errors import InputError
from shiftaudit.images.class_names import read_class_names
from shiftaudit.images.file import ImageFile
from shiftaudit.images.labels import read_labels


@pytest.mark.parametrize(
    "text",
    [
        "cat\npolar bear\ndog\n\n",
        "\ufeffcat\r\npolar bear\r\ndog",
        '["cat", "polar bear", "dog"]',
        '{"0": "cat", "2": "dog", "1": "polar bear"}',
        '{"0": ["n1", "cat"], "1": ["n2", "polar bear"], "2": ["n3", "dog"]}',
        '{"model_type": "resnet", "id2label": {"0": "cat", "1": "polar bear", "2": "dog"}}',
    ],
)
def test_names_are_read_in_the_order_of_classes(tmp_path: Path, text: str) -> None:
    path = tmp_path / "classes"
    path.write_bytes(text.encode())
    assert read_class_names(path) == ("cat", "polar bear", "dog")


@pytest.mark.parametrize(
    "text", ["", "cat\n\ndog", "[1, 2]", "[[]]", '{"0": "cat", "2": "dog"}', '{"a": 1}', "[", "\xff"]
)
def test_what_names_no_classes_is_refused_with_a_sentence(tmp_path: Path, text: str) -> None:
    path = tmp_path / "classes"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match="expected one name a line"):
        read_class_names(path)


def test_folders_name_the_classes_of_a_model_without_names() -> None:
    files = [ImageFile(Path("photos") / name, name) for name in ("cat/1.jpg", "dog/1.jpg")]
    assert read_labels("auto", files, class_names=None, n_classes=2).class_names == ("cat", "dog")
    assert read_labels("auto", files, class_names=("dog", "cat"), n_classes=2).class_names is None
    numbered = [ImageFile(Path("photos") / name, name) for name in ("0/1.jpg", "1/1.jpg")]
    assert read_labels("auto", numbered, class_names=None, n_classes=2).class_names is None


def test_a_file_s_names_stand_before_the_model_s_own(tmp_path: Path) -> None:
    from shiftaudit import ModelOptions, load_model

    path = tmp_path / "classes.txt"
    path.write_text("\n".join(f"class no. {index}" for index in range(1000)))
    options = ModelOptions(weights="none", size=64)
    assert load_model("squeezenet1_1", options).class_names[0] == "tench"
    named = ModelOptions(weights="none", size=64, classes=path)
    assert load_model("squeezenet1_1", named).class_names[0] == "class no. 0"


def test_timm_s_networks_of_imagenet_s_classes_have_their_names() -> None:
    pytest.importorskip("timm")
    from shiftaudit import ModelOptions, load_model

    names = load_model("timm:resnet10t", ModelOptions(weights="none")).class_names
    assert names is not None
    assert (len(names), names[0].split(",")[0]) == (1000, "tench")
