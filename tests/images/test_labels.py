"""True classes from folders and CSV files: right, or absent with a reason, never silently wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from torchvision.datasets import ImageFolder

from shiftaudit.errors import InputError
from shiftaudit.images.file import ImageFile
from shiftaudit.images.find import find_images
from shiftaudit.images.labels import Labels, read_labels

PETS = ("cat", "dog", "polar bear")


def folder_of(root: Path, *names: str) -> list[ImageFile]:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    return find_images(root)[0]


def labels(
    mode: str, files: list[ImageFile], names: tuple[str, ...] | None = None, n_classes: int | None = None
) -> Labels:
    return read_labels(mode, files, class_names=names, n_classes=n_classes)


def refusal(files: list[ImageFile], names: tuple[str, ...] | None = None, n_classes: int | None = None) -> str:
    """Why `folder` refuses, after checking that `auto` says the same and gives no labels."""
    with pytest.raises(InputError) as caught:
        labels("folder", files, names, n_classes)
    automatic = labels("auto", files, names, n_classes)
    assert automatic == Labels(note=f"no labels: {caught.value.message}")
    return caught.value.message


@pytest.mark.parametrize("mode", ["auto", "folder"])
def test_folders_that_bear_class_names_are_matched_whatever_their_case_and_spacing(tmp_path: Path, mode: str) -> None:
    files = folder_of(tmp_path, "Polar_Bear/a.png", "cat/a.png", "cat/b.png")
    found = labels(mode, files, PETS)
    assert found.by_path == {"Polar_Bear/a.png": 2, "cat/a.png": 0, "cat/b.png": 0}
    assert found.source == "folder"
    assert found.note == "labels from 2 folders, which bear the names of classes"


def test_a_folder_without_images_does_not_spoil_names(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    assert labels("folder", folder_of(tmp_path, "cat/a.png", "dog/a.png"), PETS).by_path["dog/a.png"] == 1


def test_a_name_that_two_classes_share_is_not_guessed(tmp_path: Path) -> None:
    files = folder_of(tmp_path, "crane/a.png", "dog/a.png")
    assert "'crane' is none of" in refusal(files, ("crane", "dog", "crane"))
    assert labels("auto", files, ("crane", "dog", "Crane")).by_path == {"crane/a.png": 0, "dog/a.png": 1}


def test_folders_named_by_numbers_are_indices(tmp_path: Path) -> None:
    files = folder_of(tmp_path, "0/a.png", "2/a.png", "010/a.png")
    assert labels("auto", files, n_classes=11).by_path == {"0/a.png": 0, "010/a.png": 10, "2/a.png": 2}
    assert labels("auto", files, tuple("abcdefghijk")).by_path["010/a.png"] == 10
    assert "not class indices (from 0) of a model with 10 classes" in refusal(files, n_classes=10)


def test_classes_named_by_numbers_are_matched_by_name(tmp_path: Path) -> None:
    files = folder_of(tmp_path, "1/a.png", "2/a.png")
    assert labels("auto", files, ("1", "2", "3")).by_path == {"1/a.png": 0, "2/a.png": 1}


def test_one_folder_a_class_is_numbered_as_torchvision_numbers_it(tmp_path: Path) -> None:
    files = folder_of(tmp_path, *(f"{name}/a.png" for name in ("b", "B", "a b", "_", "é", "z")))
    expected = {Path(path).relative_to(tmp_path).as_posix(): index for path, index in ImageFolder(tmp_path).samples}
    assert labels("auto", files, n_classes=6).by_path == expected
    assert "6 folders cannot be told to be classes of a model with 7 classes" in refusal(files, n_classes=7)
    assert "an unknown number of classes" in refusal(files)


def test_a_limit_does_not_change_what_folders_mean(tmp_path: Path) -> None:
    files = folder_of(tmp_path, "a/1.png", "b/1.png", "c/1.png")
    assert labels("auto", files[1:], n_classes=3).by_path == {"b/1.png": 1, "c/1.png": 2}
    assert "3 folders" in refusal(files[1:], n_classes=2)


def test_sorted_order_is_not_trusted_where_names_say_otherwise_except_for_wordnet(tmp_path: Path) -> None:
    files = folder_of(tmp_path / "pets", "hamster/a.png", "dog/a.png", "cat/a.png")
    assert refusal(files, PETS) == "the folder 'hamster' is none of the model's class names"
    wordnet = folder_of(tmp_path / "wordnet", "n02123045/a.png", "n02084071/a.png")
    assert labels("auto", wordnet, ("dog", "cat")).by_path == {"n02084071/a.png": 0, "n02123045/a.png": 1}


def test_images_outside_one_level_of_folders_have_no_folder_labels(tmp_path: Path) -> None:
    files = folder_of(tmp_path / "mixed", "a/1.png", "b/1.png", "1.png")
    assert "not all in one level of class folders (1.png)" in refusal(files, n_classes=2)
    deeper = folder_of(tmp_path / "deep", "a/x/1.png", "b/1.png")
    assert "(a/x/1.png)" in refusal(deeper, n_classes=2)
    one = folder_of(tmp_path / "one", "0/1.png")
    assert "fewer than two class folders" in refusal(one, n_classes=2)


def test_none_gives_none(tmp_path: Path) -> None:
    found = labels("none", folder_of(tmp_path, "cat/a.png", "dog/a.png"), PETS)
    assert (found.by_path, found.source, found.note) == ({}, "none", "")


def csv_labels(
    root: Path, text: str, names: tuple[str, ...] | None = PETS, n_classes: int | None = 3
) -> dict[str, int]:
    files = folder_of(root / "images", "x/a.png", "x/b.png", "c.png")
    (root / "labels.csv").write_text(text, encoding="utf-8")
    found = labels(str(root / "labels.csv"), files, names, n_classes)
    assert found.source == "csv"
    return dict(found.by_path)


@pytest.mark.parametrize("header", ["", "path,label\n", "\ufefffilename,class\n", "File , Target \r\n"])
def test_a_csv_file_gives_names_or_indices_by_path_or_file_name(tmp_path: Path, header: str) -> None:
    text = header + 'x/a.png,Polar bear\n\nb.png , 1\n"c.png","cat"\nabsent.png,dog\n'
    assert csv_labels(tmp_path, text) == {"x/a.png": 2, "x/b.png": 1, "c.png": 0}


def test_a_header_says_which_column_holds_the_label(tmp_path: Path) -> None:
    assert csv_labels(tmp_path, "path,photographer,label\nc.png,Ann,2\n") == {"c.png": 2}
    with pytest.raises(InputError, match="no column named label; its header is path, breed"):
        csv_labels(tmp_path, "path,breed\nc.png,2\n")


@pytest.mark.parametrize(
    "text",
    [
        "label,path\n2,c.png\n",
        "image_id,photographer,category\nc.png,Ann,2\n",
        "path;label\nc.png;2\n",
        "c.png\t2\n",
    ],
)
def test_columns_stand_where_the_header_says_and_may_be_separated_otherwise(tmp_path: Path, text: str) -> None:
    assert csv_labels(tmp_path, text) == {"c.png": 2}


def test_a_class_may_bear_the_name_of_a_column(tmp_path: Path) -> None:
    assert csv_labels(tmp_path, "c.png,image\n", names=("cat", "image"), n_classes=2) == {"c.png": 1}


def test_paths_in_a_csv_file_may_be_absolute_or_from_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path.parent)
    rows = f"{tmp_path.name}/images/x/a.png,2\n{tmp_path / 'images' / 'c.png'},1\n"
    assert csv_labels(tmp_path, rows) == {"x/a.png": 2, "c.png": 1}


def test_images_the_csv_leaves_out_have_no_label_and_windows_paths_work(tmp_path: Path) -> None:
    assert csv_labels(tmp_path, ".\\x\\a.png,2\n") == {"x/a.png": 2}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("c.png,cat\nx/a.png,hamster\n", r"line 2: unknown label 'hamster'; expected a class name or index \(0 to 2\)"),
        ("c.png,3\n", "line 1: unknown label '3'"),
        ("c.png,-1\n", "line 1: unknown label '-1'"),
        ("c.png,1.0\n", "line 1: unknown label '1.0'"),
        (f"c.png,{'9' * 5000}\n", "line 1: unknown label '9+…'; expected a class name or index"),
        ("c.png\n", "line 1: expected a path and a label, got 'c.png'"),
        ("path,label\nc.png,\n", "line 2: expected a path and a label"),
        ("c.png,cat\nc.png,dog\n", "line 2: c.png has a second, different label 'dog'"),
        ("absent.png,cat\n", "labels none of the 3 images; its first column"),
        ("", "labels none of the 3 images; its first column"),
        ('c.png,"cat\n', "not a readable CSV file"),
    ],
)
def test_a_bad_csv_file_is_an_input_error_that_names_the_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        csv_labels(tmp_path, text)


def test_a_file_name_that_two_images_bear_must_be_given_in_full(tmp_path: Path) -> None:
    files = folder_of(tmp_path / "images", "x/a.png", "y/a.png")
    (tmp_path / "labels.csv").write_text("a.png,0\n")
    with pytest.raises(InputError, match=r"line 1: a.png is the name of 2 images; give the whole path"):
        labels(str(tmp_path / "labels.csv"), files)


def test_without_names_and_count_any_index_is_taken(tmp_path: Path) -> None:
    assert csv_labels(tmp_path, "c.png,999\n", names=None, n_classes=None) == {"c.png": 999}
    with pytest.raises(InputError, match=r"expected a class index$"):
        csv_labels(tmp_path, "c.png,cat\n", names=None, n_classes=None)


def test_a_missing_or_unreadable_file_is_an_input_error(tmp_path: Path) -> None:
    files = folder_of(tmp_path / "images", "a.png")
    with pytest.raises(InputError, match="--labels got 'folders', which is no file; use auto, folder, none"):
        labels("folders", files)
    with pytest.raises(InputError, match="not a readable CSV file"):
        labels(str(tmp_path), files)
    (tmp_path / "labels.csv").write_bytes(b"a.png,\xff\n")
    with pytest.raises(InputError, match="not a readable CSV file"):
        labels(str(tmp_path / "labels.csv"), files)
